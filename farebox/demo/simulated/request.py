"""From bytes on a socket to a Call: which provider, which path, which prompt."""

import re
from collections.abc import Mapping

import msgspec

from farebox.demo.simulated import anthropic, gemini, openai
from farebox.demo.simulated.answer import Answer, Call, Json
from farebox.demo.simulated.plan import prompt_text

KEPT_BYTES_MAX = 1 << 20
"""Of a body, this much is kept; the rest is counted."""
PROVIDERS = {
    "openai": openai.respond,
    "anthropic": anthropic.respond,
    "gemini": gemini.respond,
    "groq": openai.respond,
}
_FIELD = re.compile(rb'name="([a-z_]+)"\r\n(?:content-[^\r]*\r\n)*\r\n([^\r]{0,4096})\r\n', re.IGNORECASE)


def route(path: str) -> tuple[str, str]:
    """The provider and the path below its base: '/groq/openai/v1/models' -> ('groq', '/v1/models'). Without a
    provider's name in front, the API's own shape tells."""
    first, _, rest = path[1:].partition("/")
    if first in PROVIDERS:
        below = "/" + rest
        return first, below.removeprefix("/openai") if first == "groq" else below
    if path.startswith("/v1beta"):
        return "gemini", path
    if path.startswith("/v1/messages"):
        return "anthropic", path
    return "openai", path


def call_of(method: str, target: str, headers: Mapping[str, str], body: bytes, body_bytes: int) -> Call:
    """Read one request. A body that is no JSON object has no fields."""
    path, _, query = target.partition("?")
    provider, below = route(path)
    fields = _fields(headers.get("content-type", ""), body)
    return Call(provider, method, below, query, headers, body, body_bytes, fields, prompt_text(fields))


def _fields(content_type: str, body: bytes) -> Json:
    if content_type.startswith("multipart/"):
        return {name.decode(): value.decode("utf-8", "replace") for name, value in _FIELD.findall(body)}
    if not body:
        return {}
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return decoded if isinstance(decoded, dict) else {}


def respond(call: Call) -> Answer:
    """The provider's answer; a malformed directive is answered 400 by that provider."""
    try:
        return PROVIDERS[call.provider](call)
    except msgspec.DecodeError as failure:
        return refusal(call, f"the prompt's directive cannot be read: {failure}")


def refusal(call: Call, message: str) -> Answer:
    """400 in the provider's own shape."""
    if call.provider == "anthropic":
        return anthropic.error(call, 400, message)
    if call.provider == "gemini":
        return gemini.error(400, message)
    return openai.error(call, 400, message)
