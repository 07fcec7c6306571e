"""Whose format a client speaks, and which route a request is: by its class, its address and its path."""

from typing import Any

import anthropic
import openai
import pytest

from farebox.client.calls import Service, begin
from farebox.client.context import NOBODY
from farebox.client.wrapping import meter_client, method_for
from farebox.errors import FareboxError

BODY = b'{"model":"gpt-4.1-mini","messages":[]}'


class Office:
    """Keeps what is metered for it."""

    base_url = "http://farebox"


def service_of(client: Any, provider: str | None = None) -> Service:
    meter_client(client, Office(), provider)  # type: ignore[arg-type]
    return client._client._farebox_metered._service  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("base_url", "path", "provider", "endpoint"),
    [
        (None, "/v1/chat/completions", "openai", "/v1/chat/completions"),
        ("https://api.groq.com/openai/v1", "/openai/v1/chat/completions", "groq", "/openai/v1/chat/completions"),
        ("https://openrouter.ai/api/v1", "/api/v1/chat/completions", "openrouter", None),
        ("https://api.fireworks.ai/inference/v1", "/inference/v1/chat/completions", "fireworks", None),
        ("https://x.openai.azure.com/openai/v1/", "/openai/v1/chat/completions", "azure", None),
        ("https://generativelanguage.googleapis.com/v1beta/openai/", "/v1beta/openai/chat/completions", "gemini", None),
        ("http://proxy.internal/llm/v1", "/llm/v1/chat/completions", "openai", "/v1/chat/completions"),
    ],
)
def test_a_clients_address_says_whose_it_is(
    base_url: str | None, path: str, provider: str, endpoint: str | None
) -> None:
    with openai.OpenAI(base_url=base_url, api_key="k") as client:
        service = service_of(client)
        assert service.provider.name == provider
        call = begin(service, "POST", path, "host", BODY, NOBODY)
    assert call is not None
    assert call.endpoint.operation == "chat"
    assert call.finish("done")
    assert endpoint in (None, call.event()["endpoint"])


def test_azures_own_client_names_the_deployment_in_its_path() -> None:
    made = openai.AzureOpenAI(azure_endpoint="https://x.openai.azure.com", api_key="k", api_version="2025-01-01")
    with made as client:
        path = "/openai/deployments/mine/chat/completions"
        call = begin(service_of(client), "POST", path, "h", BODY, NOBODY)
    assert call is not None
    assert (call.provider.name, call.endpoint.operation, call.endpoint.model) == ("azure", "chat", "mine")


def test_a_provider_may_be_named() -> None:
    with openai.OpenAI(base_url="http://10.0.0.7/v1", api_key="k") as client:
        assert service_of(client, "ollama").provider.name == "ollama"


def test_routes_that_nobody_bills_are_left_alone() -> None:
    with anthropic.Anthropic(api_key="k") as client:
        service = service_of(client)
    for method, path in (("GET", "/v1/models"), ("POST", "/v1/messages/count_tokens"), ("POST", "/v1/../v1/messages")):
        assert begin(service, method, path, "h", b"", NOBODY) is None


def test_parameters_say_which_method_they_are_for() -> None:
    with openai.OpenAI(api_key="k") as client:
        assert method_for(client, {"messages": []}) == client.chat.completions.create
        assert method_for(client, {"model": "gpt-5-mini", "input": ""}) == client.responses.create
        assert method_for(client, {"model": "text-embedding-3-small", "input": ""}) == client.embeddings.create
        assert method_for(client, {"prompt": ""}) == client.completions.create
    with pytest.raises(FareboxError, match="cannot be wrapped"):
        method_for(object(), {})


def test_an_answer_that_no_reader_stands_is_booked_by_estimate(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def feed(self, data: bytes) -> bytes:
            raise ValueError("a defect")

    with openai.OpenAI(api_key="k") as client:
        service = service_of(client)
    call = begin(service, "POST", "/v1/chat/completions", "h", BODY, NOBODY)
    assert call is not None
    call.answered(200, {"content-type": "application/json"})
    call._reader = Broken()  # type: ignore[assignment]
    assert call.take_whole(b"{}") == b"{}"
    assert call.finish("done")
    event = call.event()
    assert (event["cost_source"], event["usage"]) == ("estimated", {"input": len(BODY) // 4 + 1})
    assert "cannot be read" in caplog.text
