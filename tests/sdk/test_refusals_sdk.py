"""What the clients of Azure, Bedrock, Cohere, Mistral and Vertex make of a limit, with their own retries, unpatched."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from uuid import uuid4

import boto3
import cohere
import openai
import pytest
from botocore.exceptions import ClientError
from cohere.errors import TooManyRequestsError
from event_stream import chunk, converse
from fake_google import GEMINI
from fake_http import Asked, FakeProvider, Reply, events, plain
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials
from mistralai.client import Mistral
from mistralai.client.errors import SDKError
from mistralai.client.utils.retries import BackoffStrategy, RetryConfig
from running_keeper import Keeper
from running_worker import Running
from scripted import until

from farebox.core.limit_text import read_limit

TEXT = "hello there"
MESSAGES: list[Any] = [{"role": "user", "content": "hi"}]
LLAMA = "meta.llama3-1-70b-instruct-v1:0"
MISTRAL_MODEL, COHERE_MODEL, GEMINI_MODEL = "mistral-small-latest", "command-a-03-2025", "gemini-2.5-flash"
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
BILLED = {"billed_units": {"input_tokens": 10.0, "output_tokens": 5.0}}


def chat(asked: Asked) -> Reply:
    head = {"id": "c", "created": 1, "model": asked.json["model"]}
    if not asked.json.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
        return plain({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})
    piece = {"index": 0, "delta": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    return events({**head, "object": "chat.completion.chunk", "choices": [piece], "usage": USAGE})


def cohere_chat(asked: Asked) -> Reply:
    if not asked.json.get("stream"):
        message = {"role": "assistant", "content": [{"type": "text", "text": TEXT}]}
        return plain({"id": "1", "finish_reason": "COMPLETE", "message": message, "usage": BILLED})
    delta = {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": TEXT}}}}
    return events(delta, {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": BILLED}}, named=True)


def converse_whole(asked: Asked) -> Reply:
    output = {"message": {"role": "assistant", "content": [{"text": TEXT}]}}
    usage = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
    return plain({"output": output, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}})


def eventstream(data: bytes) -> Callable[[Asked], Reply]:
    return lambda _: Reply(data, "application/vnd.amazon.eventstream")


GENERATED = {"generation": TEXT, "prompt_token_count": 10, "generation_token_count": 5, "stop_reason": "stop"}
COUNTED = {"generation": TEXT, "amazon-bedrock-invocationMetrics": {"inputTokenCount": 10, "outputTokenCount": 5}}
MODEL_PATH = f"/model/{LLAMA.replace(':', '%3A')}"
VERTEX_PATH = f"/v1beta1/projects/p/locations/global/publishers/google/models/{GEMINI_MODEL}"


class Scene:
    """A worker with all of the providers, the keeper, and the providers behind it."""

    def __init__(self, worker: Running, fake: FakeProvider, keeper: Keeper, go_on: threading.Event) -> None:
        self.worker, self.fake, self._keeper, self.go_on = worker, fake, keeper, go_on

    def url(self, provider: str) -> str:
        return f"http://localhost:{self.worker.port}/proxy/{provider}"

    @property
    def refusals(self) -> int:
        return self.worker.worker.counters.get("refusals")

    def limited(self, **limit: Any) -> tuple[str, str]:
        """A tenant of its own with this limit, in force -> its name, and the limit's id."""
        tenant = f"tenant-{uuid4().hex[:8]}"
        row = self.worker.directory.limits.set(read_limit({"per": "tenant", "subject": tenant, **limit}))
        assert until(lambda: row.id in {limit.id for limit in self.worker.worker.gate._limits})
        assert until(lambda: row.id in self._keeper.authority.limits)
        return tenant, row.id


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    go_on = threading.Event()

    def slow(asked: Asked) -> Reply:
        assert go_on.wait(30)
        return chat(asked)

    answers = {
        ("POST", "/slow/v1/chat/completions"): slow,
        ("POST", "/openai/deployments/my-gpt/chat/completions"): chat,
        ("POST", f"{MODEL_PATH}/converse"): converse_whole,
        ("POST", f"{MODEL_PATH}/converse-stream"): eventstream(converse(TEXT)),
        ("POST", f"{MODEL_PATH}/invoke"): lambda _: plain(GENERATED),
        ("POST", f"{MODEL_PATH}/invoke-with-response-stream"): eventstream(chunk(COUNTED)),
        ("POST", "/v2/chat"): cohere_chat,
        ("POST", "/v1/chat/completions"): chat,
        ("POST", f"{VERTEX_PATH}:generateContent"): lambda _: plain(GEMINI),
        ("POST", f"{VERTEX_PATH}:streamGenerateContent"): lambda _: events(GEMINI, done=False),
    }
    with FakeProvider(answers) as fake:
        entry = {"base_url": fake.url, "credential": "held"}
        worker = Running(
            tmp_path_factory.mktemp("refusals"),
            f"{fake.url}/slow",
            providers__azure={**entry, "deployments": {"my-gpt": "gpt-4.1-mini"}},
            providers__bedrock={**entry, "region": "us-east-1"},
            providers__cohere=entry,
            providers__mistral=entry,
            providers__vertex=entry,
        )
        keeper = Keeper(worker, ticking=True)
        yield Scene(worker, fake, keeper, go_on)
        go_on.set()
        worker.stop()
        keeper.stop()


# the clients, as they come; `retries`: with the retries that their SDK leaves out unless asked


def call_azure(scene: Scene, tenant: str, streaming: bool, retries: bool) -> str:
    with openai.AzureOpenAI(
        azure_endpoint=scene.url("azure"),
        api_key=scene.worker.key,
        api_version="2024-10-21",
        default_headers={"x-tenant-id": tenant},
    ) as client:
        asked: dict[str, Any] = {"model": "my-gpt", "messages": MESSAGES}
        if streaming:
            chunks = list(client.chat.completions.create(stream=True, **asked))
            return "".join(choice.delta.content or "" for found in chunks for choice in found.choices)
        return client.chat.completions.create(**asked).choices[0].message.content or ""


def bedrock(scene: Scene, tenant: str) -> Any:
    made = boto3.client(
        "bedrock-runtime",
        endpoint_url=scene.url("bedrock"),
        region_name="us-east-1",
        aws_access_key_id=scene.worker.key,
        aws_secret_access_key="any",
    )
    made.meta.events.register("before-send.*", lambda request, **_: request.headers.update({"x-tenant-id": tenant}))
    return made


def call_converse(scene: Scene, tenant: str, streaming: bool, retries: bool) -> str:
    asked = {"modelId": LLAMA, "messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    client = bedrock(scene, tenant)
    if streaming:
        stream = client.converse_stream(**asked)["stream"]
        return "".join(item["contentBlockDelta"]["delta"]["text"] for item in stream if "contentBlockDelta" in item)
    return str(client.converse(**asked)["output"]["message"]["content"][0]["text"])


def call_invoke(scene: Scene, tenant: str, streaming: bool, retries: bool) -> str:
    asked = {"modelId": LLAMA, "body": b'{"prompt":"hi"}'}
    client = bedrock(scene, tenant)
    if streaming:
        stream = client.invoke_model_with_response_stream(**asked)["body"]
        return "".join(json.loads(item["chunk"]["bytes"])["generation"] for item in stream)
    return str(json.loads(client.invoke_model(**asked)["body"].read())["generation"])


def call_cohere(scene: Scene, tenant: str, streaming: bool, retries: bool) -> str:
    asked: dict[str, Any] = {"model": COHERE_MODEL, "messages": MESSAGES}
    asked["request_options"] = {"additional_headers": {"x-tenant-id": tenant}}
    with cohere.ClientV2(api_key=scene.worker.key, base_url=scene.url("cohere")) as client:
        if not streaming:
            return str(client.chat(**asked).message.content[0].text)  # type: ignore[index,union-attr]
        found = [event for event in client.chat_stream(**asked) if event.type == "content-delta"]
        return "".join(event.delta.message.content.text for event in found)  # type: ignore[union-attr,misc]


def call_mistral(scene: Scene, tenant: str, streaming: bool, retries: bool) -> str:
    asked: dict[str, Any] = {"model": MISTRAL_MODEL, "messages": MESSAGES, "http_headers": {"x-tenant-id": tenant}}
    backoff = BackoffStrategy(initial_interval=100, max_interval=500, exponent=1.5, max_elapsed_time=1_500)
    more = {"retry_config": RetryConfig("backoff", backoff, retry_connection_errors=False)} if retries else {}
    with Mistral(api_key=scene.worker.key, server_url=scene.url("mistral"), **more) as client:
        if not streaming:
            return str(client.chat.complete(**asked).choices[0].message.content)  # type: ignore[union-attr]
        with client.chat.stream(**asked) as stream:
            return "".join(str(event.data.choices[0].delta.content or "") for event in stream)


def call_vertex(scene: Scene, tenant: str, streaming: bool, retries: bool) -> str:
    options = types.HttpOptions(base_url=scene.url("vertex"), headers={"x-tenant-id": tenant})
    if retries:
        options.retry_options = types.HttpRetryOptions(attempts=4, initial_delay=0.2)
    credentials = Credentials(token=scene.worker.key)  # type: ignore[no-untyped-call]
    asked: dict[str, Any] = {"model": GEMINI_MODEL, "contents": "hi"}
    with genai.Client(
        vertexai=True, project="p", location="global", credentials=credentials, http_options=options
    ) as client:
        if not streaming:
            return client.models.generate_content(**asked).text or ""
        return "".join(found.text or "" for found in client.models.generate_content_stream(**asked))


def told_aws(error: Any) -> Any:
    return json.loads(error.response["ResponseMetadata"]["HTTPHeaders"]["x-farebox-error"])


class Client(NamedTuple):
    """`attempts`: how often the SDK, as it comes, asks for what is used up, whole and streamed. `told`: where it shows
    Farebox's facts."""

    call: Callable[[Scene, str, bool, bool], str]
    error: type[Exception]
    attempts: tuple[int, int]
    told: Callable[[Any], Any]


CLIENTS = {
    "azure": Client(call_azure, openai.RateLimitError, (1, 1), lambda error: error.response.json()["farebox"]),
    # botocore tries each 429 again whose name the operation does not list, and Converse lists no quota.
    "bedrock converse": Client(call_converse, ClientError, (1, 1), told_aws),
    "bedrock invoke": Client(call_invoke, ClientError, (1, 1), told_aws),
    # Cohere's SDK tries no stream again, and anything else whatever it is told.
    "cohere": Client(call_cohere, TooManyRequestsError, (3, 1), lambda error: error.body["farebox"]),
    "mistral": Client(call_mistral, SDKError, (1, 1), lambda error: json.loads(error.body)["farebox"]),
    "vertex": Client(call_vertex, errors.ClientError, (1, 1), lambda error: error.details["farebox"]),
}


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", CLIENTS)
def test_a_used_up_limit_is_the_sdks_own_error_with_what_farebox_says_of_it(
    scene: Scene, name: str, streaming: bool
) -> None:
    client = CLIENTS[name]
    tenant, limit = scene.limited(amount="0 requests", message="Ask for more, {used} of {amount} — enough")
    before, asked = scene.refusals, len(scene.fake.asked)
    with pytest.raises(client.error) as caught:
        client.call(scene, tenant, streaming, False)
    told = client.told(caught.value)
    wanted = {"code": "limit_exceeded", "limit_id": limit, "subject": tenant, "amount": 0, "window": "month"}
    assert {key: told[key] for key in wanted} == wanted
    assert "Ask for more" in str(caught.value)
    assert scene.refusals - before == client.attempts[streaming]
    assert len(scene.fake.asked) == asked


@pytest.mark.parametrize(
    ("name", "streaming"),
    [(name, streaming) for name in CLIENTS for streaming in (False, True) if (name, streaming) != ("cohere", True)],
)
def test_what_a_running_call_holds_is_asked_for_again_by_the_sdk_until_it_is_free(
    scene: Scene, name: str, streaming: bool
) -> None:
    tenant, _ = scene.limited(amount="500 tokens", reserve="ceiling")
    scene.go_on.clear()
    before, asked = scene.refusals, len(scene.fake.asked)
    running = json.dumps({"model": "gpt-4.1-mini", "messages": MESSAGES, "max_tokens": 5000}).encode()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(scene.worker.post, running, f"x-tenant-id: {tenant}")
        assert until(lambda: len(scene.fake.asked) > asked)
        second = threads.submit(CLIENTS[name].call, scene, tenant, streaming, True)
        assert until(lambda: scene.refusals > before)
        scene.go_on.set()
        assert first.result(30).status == 200
        assert second.result(30) == ("Hello there" if name == "vertex" else TEXT)


@pytest.mark.parametrize(
    ("call", "name"),
    [(call_converse, "AccessDeniedException"), (call_invoke, "ServiceQuotaExceededException")],
)
def test_boto3_tells_what_is_used_up_from_what_is_only_held(scene: Scene, call: Callable[..., str], name: str) -> None:
    tenant, _ = scene.limited(amount="0 requests")
    client = bedrock(scene, tenant)
    with pytest.raises(ClientError) as caught:
        call(scene, tenant, False, False)
    assert isinstance(caught.value, getattr(client.exceptions, name))
    assert caught.value.response["Error"]["Code"] == name
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429


def test_mistrals_own_retries_do_not_wait_for_the_end_of_the_window(scene: Scene) -> None:
    tenant, _ = scene.limited(amount="0 requests")
    before = scene.refusals
    with pytest.raises(SDKError):
        call_mistral(scene, tenant, False, True)
    assert scene.refusals - before > 1


@pytest.mark.parametrize("model", [f"mistral/{MISTRAL_MODEL}", f"bedrock/{LLAMA}"])
def test_behind_openais_own_route_a_limit_is_told_as_openai_does(scene: Scene, model: str) -> None:
    tenant, _ = scene.limited(amount="0 requests")
    before = scene.refusals
    with (
        openai.OpenAI(
            base_url=f"http://localhost:{scene.worker.port}/v1",
            api_key=scene.worker.key,
            default_headers={"x-tenant-id": tenant},
        ) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.chat.completions.create(model=model, messages=MESSAGES)
    assert caught.value.code == "limit_exceeded"
    assert not {"retry-after-ms", "x-amzn-errortype"} & set(caught.value.response.headers)
    assert scene.refusals - before == 1
