"""Clients that `gateway` makes: where they point, whose their calls are, and what they raise."""

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import cohere
import groq
import openai
import pytest
from evidence import expect_metered, new_mark
from google import genai
from google.genai import types
from harness import Farebox as Server
from harness import Key, directive
from mistralai.client import Mistral

from farebox import Farebox, LimitExceeded
from farebox.client.wrapping import _places, sdk_of
from farebox.demo.simulated import SimulatedProviders
from farebox.errors import FareboxError

URL = "http://farebox.internal:3273"


@pytest.fixture
def nowhere(tmp_path: Any) -> Iterator[Farebox]:
    with Farebox(URL, "fbx_key", spool=tmp_path) as made:
        yield made


def address(client: Any) -> str:
    return _places(sdk_of(client), client)[0].rstrip("/")


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (openai.OpenAI, "/proxy/openai/v1"),
        (anthropic.Anthropic, "/proxy/anthropic"),
        (groq.Groq, "/proxy/groq"),
        (genai.Client, "/proxy/gemini"),
        (Mistral, "/proxy/mistral"),
        (cohere.ClientV2, "/proxy/cohere"),
        (cohere.Client, "/proxy/cohere"),
    ],
)
def test_each_sdk_finds_its_own_provider_at_the_gateway(nowhere: Farebox, kind: Any, path: str) -> None:
    with nowhere.gateway(kind) as client:
        assert type(client) is kind
        assert address(client) == URL + path


def test_another_provider_may_be_named_and_the_sdks_own_options_stand(nowhere: Farebox) -> None:
    with nowhere.gateway(openai.OpenAI, provider="deepseek", timeout=7, max_retries=0) as client:
        assert (address(client), client.api_key, client.timeout) == (URL + "/proxy/deepseek", "fbx_key", 7)
    with nowhere.gateway(openai.OpenAI, base_url=URL + "/v1") as client:
        assert address(client) == URL + "/v1"
    for options in ({"timeout": 7000}, types.HttpOptions(timeout=7000)):
        with nowhere.gateway(genai.Client, http_options=options) as client:
            assert address(client) == URL + "/proxy/gemini"
            assert client._api_client._http_options.timeout == 7000


@pytest.mark.parametrize("kind", [openai.AzureOpenAI, anthropic.AnthropicBedrock, dict, "OpenAI"])
def test_what_needs_more_than_an_address_is_told_so(nowhere: Farebox, kind: Any) -> None:
    with pytest.raises(FareboxError, match=r"wrap\(\)|a class of an official SDK"):
        nowhere.gateway(kind)
    with pytest.raises(FareboxError, match=r"wrap\(\)"):
        nowhere.gateway(genai.Client, vertexai=True)


def prompt(mark: str) -> dict[str, Any]:
    return {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": directive(mark, input=12, output=9)}]}


def test_each_call_is_whose_the_context_says_it_is(fb: Farebox, server: Server, simulated: SimulatedProviders) -> None:
    marks = [new_mark() for _ in range(3)]
    with fb.gateway(openai.OpenAI) as client, fb.context(tenant_id="acme", tags={"région": "Zürich"}):
        with fb.context(task_id=marks[0], user_id="u_1", units={"analyses": 2}):
            client.chat.completions.create(**prompt(marks[0]))
        with fb.task(marks[1], feature="chat"):
            list(client.chat.completions.create(**prompt(marks[1]), stream=True))
        own = {"x-task-id": marks[2], "x-user-id": "from the app's own header"}
        with fb.context(user_id="u_3"):
            client.chat.completions.create(**prompt(marks[2]), extra_headers=own)
    first = expect_metered(server, simulated, marks[0], tenant="acme", user="u_1", units={"analyses": 2})
    assert (first["tags"], first["byok"]) == ({"région": "Zürich"}, False)
    expect_metered(server, simulated, marks[1], tenant="acme", user=None, feature="chat")
    expect_metered(server, simulated, marks[2], tenant="acme", user="from the app's own header")


def test_an_openai_client_reaches_other_providers_and_the_models_own_route(
    fb: Farebox, server: Server, simulated: SimulatedProviders
) -> None:
    marks = [new_mark(), new_mark()]
    llama = {**prompt(marks[0]), "model": "llama-3.3-70b-versatile"}
    with fb.gateway(openai.OpenAI, provider="groq") as client, fb.context(tenant_id="acme", task_id=marks[0]):
        client.chat.completions.create(**llama)
    with fb.gateway(openai.OpenAI, base_url=server.url + "/v1") as client, fb.context(task_id=marks[1]):
        client.chat.completions.create(**prompt(marks[1]))
    expect_metered(server, simulated, marks[0], provider="groq")
    expect_metered(server, simulated, marks[1], provider="openai")


def test_a_copy_of_a_client_raises_what_the_client_raises(connect: Callable[..., Farebox], server: Server) -> None:
    key: Key = server.key(new_mark("key"))
    limit = server.cli_json("limits", "set", "--per", "key", "--subject", key.id, "--amount", "0 requests")
    fb = connect(server, key)
    with fb.gateway(openai.OpenAI, max_retries=0) as client:
        again = client.with_options(timeout=9).copy(max_retries=1)

        def refusal() -> LimitExceeded | None:
            try:
                again.chat.completions.create(**prompt(new_mark()))
            except LimitExceeded as error:
                return error
            return None

        found = None
        for _ in range(20):
            found = found or refusal()
    assert found is not None
    assert found.limit_id == limit["id"]
    carried = pickle.loads(pickle.dumps(found))
    assert (carried.facts, str(carried), carried.limit_id) == (found.facts, str(found), found.limit_id)
