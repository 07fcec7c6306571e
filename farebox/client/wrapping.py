"""Where each official SDK keeps its HTTP clients, and which of its methods a call's parameters are for."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from farebox.client.answers import raise_refusals
from farebox.client.calls import Service
from farebox.client.sends import Office, meter
from farebox.errors import FareboxError
from farebox.providers import PROVIDERS, by_name, compatible
from farebox.providers.protocol import Provider

SDKS: Final = {
    "openai": "openai", "anthropic": "anthropic", "groq": "groq", "mistralai": "mistral", "cohere": "cohere",
    "google": "gemini",
}  # fmt: skip
KINDS: Final = (("Azure", "azure"), ("Foundry", "azure"), ("Bedrock", "bedrock"), ("Vertex", "vertex"))
_HOSTS: Final = (
    (".openai.azure.com", "azure"), (".services.ai.azure.com", "azure"), (".cognitiveservices.azure.com", "azure"),
    ("-aiplatform.googleapis.com", "vertex"),
)  # fmt: skip
"""Ends of hosts that each customer has one of its own of."""
FUNNEL: Final = frozenset({"openai", "anthropic", "groq"})
"""SDKs that take any exception below them for a broken connection. Every request of theirs goes through `request`:
there, a refusal can be raised as what it is."""


def sdk_of(client: Any) -> str:
    """The package of an official SDK's client. Raises FareboxError for anything else."""
    package = type(client).__module__.partition(".")[0]
    if package not in SDKS:
        known = "OpenAI, Anthropic, google-genai, Groq, Mistral or Cohere"
        raise FareboxError(f"{type(client).__qualname__} cannot be wrapped: give a client of {known}")
    return package


def wrap_client(client: Any, office: Office, provider: str | None) -> None:
    """Have all calls of an SDK's client metered, and raise LimitExceeded where a limit refuses one. Idempotent."""
    meter_client(client, office, provider)
    if sdk_of(client) in FUNNEL:
        raise_refusals(client)


def meter_client(client: Any, office: Office, provider: str | None) -> None:
    """Have all calls of an SDK's client metered. Idempotent."""
    sdk = sdk_of(client)
    base_url, http_clients = _places(sdk, client)
    parts = urlsplit(base_url)
    service = Service(_provider(sdk, client, parts.hostname or "", provider, base_url), parts.path.rstrip("/"))
    for http_client in http_clients:
        meter(http_client, service, office, raises=sdk not in FUNNEL)


def _places(sdk: str, client: Any) -> tuple[str, list[Any]]:
    if sdk in FUNNEL:
        return str(client.base_url), [client._client]
    if sdk == "mistralai":
        held = client.sdk_configuration
        return held.get_server_details()[0], [found for found in (held.client, held.async_client) if found is not None]
    if sdk == "cohere":
        wrapper = client._client_wrapper
        return wrapper.get_base_url(), [wrapper.httpx_client.httpx_client]
    held = getattr(client, "_api_client", None) or client
    held._use_aiohttp = lambda: False  # its other transport shows nobody its bytes
    return str(held._http_options.base_url), [held._httpx_client, held._async_httpx_client]


def _provider(sdk: str, client: Any, host: str, named: str | None, base_url: str) -> Provider:
    """By name where one is given, else by the host, else by the SDK's own service."""
    if named is not None:
        return by_name(named) or compatible(named, base_url)
    kind = type(client).__name__
    for part, name in KINDS:
        if part in kind:
            return _known(name)
    if sdk == "google" and getattr(getattr(client, "_api_client", client), "vertexai", False):
        return _known("vertex")
    for end, name in _HOSTS:
        if host.endswith(end):
            return _known(name)
    for provider in PROVIDERS:
        if host and urlsplit(provider.base_url).hostname == host:
            return provider
    return _known(SDKS[sdk])


def _known(name: str) -> Provider:
    found = by_name(name)
    assert found is not None, name
    return found


def method_for(client: Any, params: dict[str, Any]) -> Callable[..., Any]:
    """The SDK's method that these parameters are for; takes `stream` out where another method streams."""
    sdk = sdk_of(client)
    is_async = type(client).__name__.startswith("Async")
    if sdk in ("openai", "groq"):
        return _openai(client, params)
    if sdk == "anthropic":
        return client.messages.create  # type: ignore[no-any-return]
    streaming = bool(params.pop("stream", False))
    if sdk == "cohere":
        return client.chat_stream if streaming else client.chat  # type: ignore[no-any-return]
    if sdk == "mistralai":
        return client.chat.stream if streaming else client.chat.complete  # type: ignore[no-any-return]
    models = client.aio.models if is_async and hasattr(client, "aio") else client.models
    return models.generate_content_stream if streaming else models.generate_content  # type: ignore[no-any-return]


def async_method_for(client: Any, params: dict[str, Any]) -> Callable[..., Any]:
    """As `method_for`, of clients that have both kinds of methods."""
    sdk = sdk_of(client)
    if sdk == "google":
        models = getattr(client, "aio", client).models
        streaming = bool(params.pop("stream", False))
        return models.generate_content_stream if streaming else models.generate_content  # type: ignore[no-any-return]
    if sdk == "mistralai":
        return client.chat.stream_async if params.pop("stream", False) else client.chat.complete_async  # type: ignore[no-any-return]
    return method_for(client, params)


def _openai(client: Any, params: dict[str, Any]) -> Callable[..., Any]:
    if "messages" in params:
        return client.chat.completions.create  # type: ignore[no-any-return]
    if "prompt" in params:
        return client.completions.create  # type: ignore[no-any-return]
    if "embed" in str(params.get("model", "")):
        return client.embeddings.create  # type: ignore[no-any-return]
    return client.responses.create  # type: ignore[no-any-return]
