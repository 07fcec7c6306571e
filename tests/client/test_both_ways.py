"""Gateway and SDK are two ways to one ledger: same events, costs to the last digit and limits, for six SDKs."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import anthropic
import cohere
import groq
import httpx
import openai
import pytest
from evidence import new_mark
from fake_chats import cohere_chat, mistral_chat
from fake_http import FakeProvider
from google import genai
from harness import Farebox as Server
from harness import directive
from mistralai.client import Mistral
from scripted import until

from farebox import Farebox, LimitExceeded
from farebox.client.context import LimitWarning
from farebox.demo.simulated import SimulatedProviders

COUNTS = {"input": 120, "cached": 40, "output": 30}
OF_ITS_OWN = {
    "id", "call_id", "task", "started_at", "finished_at", "latency_ms", "first_byte_ms", "marks",
}  # fmt: skip
"""What two calls that are alike differ in. Their marks: the SDK's are `posted`."""


def chat(model: str) -> Callable[..., Any]:
    def call(client: Any, text: str, streaming: bool, is_async: bool) -> Any:
        messages = [{"role": "user", "content": text}]
        return client.chat.completions.create(model=model, messages=messages, stream=streaming)

    return call


def messages(client: Any, text: str, streaming: bool, is_async: bool) -> Any:
    prompt = [{"role": "user", "content": text}]
    return client.messages.create(model="claude-haiku-4-5", max_tokens=64, messages=prompt, stream=streaming)


def generate(client: Any, text: str, streaming: bool, is_async: bool) -> Any:
    models = client.aio.models if is_async else client.models
    method = models.generate_content_stream if streaming else models.generate_content
    return method(model="gemini-2.5-flash", contents=text)


def mistral(client: Any, text: str, streaming: bool, is_async: bool) -> Any:
    method = getattr(client.chat, ("stream" if streaming else "complete") + ("_async" if is_async else ""))
    return method(model="mistral-small-latest", messages=[{"role": "user", "content": text}])


def command(client: Any, text: str, streaming: bool, is_async: bool) -> Any:
    method = client.chat_stream if streaming else client.chat
    return method(model="command-a-03-2025", messages=[{"role": "user", "content": text}])


class Sdk(NamedTuple):
    plain: Any
    asynchronous: Any
    call: Callable[..., Any]
    own: Callable[[str], dict[str, Any]]
    """What points a client of it at its provider."""


SDKS = {
    "openai": Sdk(openai.OpenAI, openai.AsyncOpenAI, chat("gpt-4.1-mini"), lambda url: {"base_url": url + "/v1"}),
    "anthropic": Sdk(anthropic.Anthropic, anthropic.AsyncAnthropic, messages, lambda url: {"base_url": url}),
    "gemini": Sdk(genai.Client, genai.Client, generate, lambda url: {"http_options": {"base_url": url}}),
    "groq": Sdk(groq.Groq, groq.AsyncGroq, chat("llama-3.3-70b-versatile"), lambda url: {"base_url": url}),
    "mistral": Sdk(Mistral, Mistral, mistral, lambda url: {"server_url": url}),
    "cohere": Sdk(cohere.ClientV2, cohere.AsyncClientV2, command, lambda url: {"base_url": url}),
}
every_sdk = pytest.mark.parametrize("name", SDKS)
every_way_of_asking = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
every_kind = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


class Scene(NamedTuple):
    server: Server
    fb: Farebox
    urls: dict[str, str]
    told: list[LimitWarning]

    def client(self, sdk: Sdk, name: str, way: str, is_async: bool) -> Any:
        kind = sdk.asynchronous if is_async else sdk.plain
        if way == "gateway":
            return self.fb.gateway(kind)
        return self.fb.wrap(kind(api_key="own", **sdk.own(self.urls[name])))

    def call(self, name: str, way: str, text: str, *, streaming: bool, is_async: bool, **who: str) -> None:
        """One call, read to its end, by a client of its own."""
        sdk = SDKS[name]
        client = self.client(sdk, name, way, is_async)
        if is_async:
            asyncio.run(self._async(sdk, client, text, streaming, who))
            return
        with client, self.fb.context(**who):
            answer = sdk.call(client, text, streaming, False)
            if streaming:
                assert list(answer)

    async def _async(self, sdk: Sdk, client: Any, text: str, streaming: bool, who: dict[str, str]) -> None:
        if isinstance(client, genai.Client):
            client.close()
        async with getattr(client, "aio", client):
            with self.fb.context(**who):
                answer = sdk.call(client, text, streaming, True)
                if inspect.isawaitable(answer):
                    answer = await answer
                if streaming:
                    assert [piece async for piece in answer]

    def limited(self, tenant: str, amount: str, **more: object) -> str:
        """A tenant's limit, in force."""
        body = {"per": "tenant", "subject": tenant, "amount": amount, "window": "day", **more}
        headers = {"authorization": f"Bearer {self.server.token}"}
        made = httpx.post(f"{self.server.url}/api/v1/limits", json=body, headers=headers, trust_env=False)
        assert made.status_code < 300, made.text
        assert until(lambda: bool(self.server.api("/limits/explain", tenant=tenant)["limits"]))
        return str(made.json()["id"])


@pytest.fixture(scope="module")
def scene(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One Farebox for all of them, with a limit for the customer that is to be refused."""
    answers = {("POST", "/v1/chat/completions"): mistral_chat, ("POST", "/v2/chat"): cohere_chat}
    told: list[LimitWarning] = []
    with FakeProvider(answers) as fake:
        urls = {name: simulated.base_url(name) for name in SDKS} | {"mistral": fake.url, "cohere": fake.url}
        env = {
            "FAREBOX_PROVIDERS_MISTRAL_BASE_URL": fake.url, "MISTRAL_API_KEY": "stored",
            "FAREBOX_PROVIDERS_COHERE_BASE_URL": fake.url, "COHERE_API_KEY": "stored",
        }  # fmt: skip
        home = tmp_path_factory.mktemp("both-ways")
        with Server(home, simulated, env=env) as server:
            fb = Farebox(server.url, server.key("app").secret, spool=home / "spool", on_limit_warning=told.append)
            with fb:
                yield Scene(server, fb, urls, told)


@pytest.fixture(scope="module")
def used_up(scene: Scene) -> str:
    """The limit that lets customer `stopped` make no call at all."""
    made = scene.limited("stopped", "0 requests", message="nothing is left")

    def is_refused() -> bool:
        try:
            scene.call("openai", "gateway", "hi", streaming=False, is_async=False, tenant_id="stopped")
        except LimitExceeded:
            return True
        return False

    assert until(is_refused), "in force at the worker, too"
    return made


@every_kind
@every_way_of_asking
@every_sdk
def test_a_call_is_the_same_event_whichever_way_it_went(
    scene: Scene, name: str, streaming: bool, is_async: bool
) -> None:
    found = {}
    for way in ("gateway", "sdk"):
        task = new_mark(way)
        text = directive(**COUNTS)
        who = {"tenant_id": "acme", "user_id": "Zoë", "tier": "pro", "feature": "summarize", "session_id": "s_1"}
        scene.call(name, way, text, streaming=streaming, is_async=is_async, task_id=task, **who)
        assert scene.fb.flush()
        event = scene.server.the_event(task=task)
        assert (event["state"], event["cost_source"], event["provider"]) == ("done", "computed", name)
        assert float(event["cost_usd"]) > 0
        assert event["marks"] == (["posted"] if way == "sdk" else [])
        found[way] = {field: value for field, value in event.items() if field not in OF_ITS_OWN}
    assert found["sdk"] == found["gateway"]
    assert found["sdk"]["user"] == "Zoë"


@every_kind
@every_way_of_asking
@every_sdk
def test_a_refusal_is_raised_whichever_way_a_call_goes_and_names_its_limit(
    scene: Scene, used_up: str, name: str, streaming: bool, is_async: bool
) -> None:
    for way in ("gateway", "sdk"):
        with pytest.raises(LimitExceeded, match="nothing is left") as refused:
            scene.call(name, way, "hi", streaming=streaming, is_async=is_async, tenant_id="stopped")
        assert (refused.value.limit_id, refused.value.amount, refused.value.unit) == (used_up, 0, "requests")


@every_sdk
def test_a_limit_near_its_end_is_told_of_whichever_way_a_call_goes(scene: Scene, name: str) -> None:
    tenant = new_mark(name)
    limit_id = scene.limited(tenant, "1 requests", action="warn")
    scene.call(name, "sdk", "hi", streaming=False, is_async=False, tenant_id=tenant)
    assert scene.fb.flush()
    for way in ("gateway", "sdk"):

        def warned(way: str = way) -> bool:
            scene.told.clear()
            scene.call(name, way, "hi", streaming=True, is_async=False, tenant_id=tenant)
            return bool(scene.told)

        assert until(warned)
        assert {warning.limit_id for warning in scene.told} == {limit_id}
        assert scene.told[0].share >= 1
