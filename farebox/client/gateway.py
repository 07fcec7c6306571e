"""Where the clients of official SDKs find Farebox's gateway, and where they take its key."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from farebox.client.wrapping import KINDS, SDKS
from farebox.errors import FareboxError


class _Place(NamedTuple):
    """`url` is the constructor's argument for an address, `path` what stands there below the gateway's own."""

    url: str
    path: str


_PLACES: Final = {
    "openai": _Place("base_url", "/proxy/openai/v1"),
    "anthropic": _Place("base_url", "/proxy/anthropic"),
    "google": _Place("http_options", "/proxy/gemini"),
    "groq": _Place("base_url", "/proxy/groq"),
    "mistralai": _Place("server_url", "/proxy/mistral"),
    "cohere": _Place("base_url", "/proxy/cohere"),
}


def address(kind: Any, farebox_url: str, key: str, provider: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments for `kind`, an official SDK's class of clients, that make it call by way of the gateway. What
    `options` say of an address or a key stands."""
    name = getattr(kind, "__name__", str(kind))
    package = str(getattr(kind, "__module__", "")).partition(".")[0]
    if package not in SDKS or not isinstance(kind, type):
        raise FareboxError(f"gateway() takes a class of an official SDK, such as openai.OpenAI, and not {name}")
    if any(part in name for part, _ in KINDS) or options.get("vertexai"):
        raise FareboxError(f"{name} takes more than an address: make it with Farebox's URL and key, and wrap() it")
    place = _PLACES[package]
    url = farebox_url + (place.path if provider is None else f"/proxy/{provider}")
    if package == "google":
        return {"api_key": key, **options, place.url: _with_base_url(options.get(place.url), url)}
    return {"api_key": key, place.url: url, **options}


def _with_base_url(http_options: Any, url: str) -> Any:
    """google-genai's `http_options`: a dictionary, its own model, or nothing."""
    if http_options is None or isinstance(http_options, Mapping):
        return {"base_url": url, **(http_options or {})}
    return http_options.model_copy(update={"base_url": http_options.base_url or url})
