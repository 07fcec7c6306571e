"""Whether a request asks for JSON, and where: by a schema or JSON mode, or by a tool that must be called.

Whatever else a format's member may say asks for nothing here, so a request is never judged by what it did not ask."""

from typing import Final

import msgspec

from farebox.providers.documents import members_of
from farebox.providers.openai_documents import NULL
from farebox.providers.protocol import JsonIn

_JSON: Final = frozenset({"json_object", "json_schema", "json"})
_CALLED: Final = frozenset({"function", "tool", "any"})
_MUST: Final = frozenset({b'"required"', b'"any"'})
"""A tool choice in one word that leaves the model none."""


class _Format(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None


class _Holder(msgspec.Struct, frozen=True):
    format: _Format | None = None
    type: str | None = None


_decode: Final = msgspec.json.Decoder(_Holder).decode
_NOTHING: Final = _Holder()


def in_chat(response_format: msgspec.Raw, tool_choice: msgspec.Raw) -> JsonIn:
    """Chat completions, and those who speak likewise (Mistral, Cohere)."""
    if tool_choice is not NULL and _must_call(tool_choice):
        return "calls"
    return "text" if response_format is not NULL and _read(response_format).type in _JSON else ""


def in_responses(text: msgspec.Raw, tool_choice: msgspec.Raw) -> JsonIn:
    """The Responses API, where "required" may mean a hosted tool, which has no arguments of the model's."""
    if tool_choice is not NULL and _read(tool_choice).type == "function":
        return "calls"
    return "text" if text is not NULL and _is_json(_read(text).format) else ""


def in_messages(output_format: msgspec.Raw, output_config: msgspec.Raw, tool_choice: msgspec.Raw) -> JsonIn:
    """Anthropic's messages: `output_config.format`, which was `output_format`."""
    if tool_choice is not NULL and _must_call(tool_choice):
        return "calls"
    if output_format is not NULL and _read(output_format).type in _JSON:
        return "text"
    return "text" if output_config is not NULL and _is_json(_read(output_config).format) else ""


def in_converse(text_format: msgspec.Raw, tool_choice: msgspec.Raw) -> JsonIn:
    """Bedrock's Converse: `toolConfig.toolChoice` names what must be called, `outputConfig.textFormat` is a format."""
    if tool_choice is not NULL and members_of(bytes(tool_choice)).keys() & _CALLED:
        return "calls"
    return "text" if text_format is not NULL and _read(text_format).type in _JSON else ""


def _must_call(tool_choice: msgspec.Raw) -> bool:
    return bytes(tool_choice) in _MUST or _read(tool_choice).type in _CALLED


def _is_json(found: _Format | None) -> bool:
    return found is not None and found.type in _JSON


def _read(raw: msgspec.Raw) -> _Holder:
    try:
        return _decode(raw)
    except (ValueError, RecursionError):
        return _NOTHING
