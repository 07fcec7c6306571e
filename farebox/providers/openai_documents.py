"""The JSON documents of OpenAI's format, as far as metering reads them.

They stand apart from the modules that read them, so that a compiled reader can know where their members are: see
farebox/native.py.
"""

from typing import Final

import msgspec
from msgspec import UNSET

NULL: Final = msgspec.Raw(b"null")


class StreamOptions(msgspec.Struct, frozen=True, gc=False):
    include_usage: bool | None = None


class OpenAIRequest(msgspec.Struct, frozen=True, gc=False):
    """The members of any JSON request that tell what it may cost."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    max_output_tokens: int | None = None
    n: int | None = None
    service_tier: str | None = None
    store: bool | None = None
    background: bool | None = None
    response_format: msgspec.Raw = NULL
    text: msgspec.Raw = NULL
    output_format: msgspec.Raw = NULL
    output_config: msgspec.Raw = NULL
    tool_choice: msgspec.Raw = NULL


class OpenAIBody(OpenAIRequest, frozen=True, gc=False):
    """A request with the attribution that it may carry: the members of `BodyFields`, which see."""

    tenant_id: object = UNSET
    customer_id: object = UNSET
    tenant: object = UNSET
    customer: object = UNSET
    workspace_id: object = UNSET
    user_id: object = UNSET
    user_tier: object = UNSET
    tier: object = UNSET
    plan: object = UNSET
    feature: object = UNSET
    group: object = UNSET
    task_id: object = UNSET
    session_id: object = UNSET
    user: object = UNSET
    safety_identifier: object = UNSET
    metadata: object = UNSET


class CacheWriteDetails(msgspec.Struct, frozen=True, gc=False):
    ttl_30m_tokens: int | None = None
    ttl_12h_tokens: int | None = None


class Modalities(msgspec.Struct, frozen=True, gc=False):
    audio_tokens: int | None = None
    image_tokens: int | None = None
    text_tokens: int | None = None


class InputDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_tokens_details: CacheWriteDetails | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None
    cached_tokens_details: Modalities | None = None


class OutputDetails(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class CachedDetails(msgspec.Struct, frozen=True, gc=False):
    """As the hosted image tool splits `cached_tokens`."""

    cached_image_tokens: int | None = None


class OpenAIUsage(msgspec.Struct, frozen=True, gc=False):
    """Chat says prompt/completion, responses say input/output; some endpoints say `_token_` without the s."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None
    input_token_details: InputDetails | None = None
    output_token_details: OutputDetails | None = None
    cached_tokens: int | None = None
    cached_tokens_details: CachedDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    seconds: float | None = None


class SvgUsage(msgspec.Struct, frozen=True, gc=False):
    """What the model used that wrote an SVG, "separate from image rendering usage" (types/images_response.py)."""

    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    total_tokens: int | None = None


class CalledFunction(msgspec.Struct, frozen=True, gc=False):
    arguments: str | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A call, or a piece of one: only its first piece has an id."""

    id: str | None = None
    index: int | None = None
    function: CalledFunction | None = None


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message or a piece of one. Only its length is of interest, and only where no usage comes."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: CalledFunction | None = None
    annotations: msgspec.Raw = NULL
    audio: msgspec.Raw = NULL
    images: msgspec.Raw = NULL


class Choice(msgspec.Struct, frozen=True, gc=False):
    delta: Message | None = None
    message: Message | None = None
    text: str | None = None
    finish_reason: str | None = None


class BreakdownModel(msgspec.Struct, frozen=True):
    model: str = ""
    usage: OpenAIUsage | None = None


class Breakdown(msgspec.Struct, frozen=True):
    """Groq's compound models: what each model inside used. `usage` is their sum."""

    models: list[BreakdownModel] | None = None


class XGroq(msgspec.Struct, frozen=True):
    usage: msgspec.Raw = NULL
    usage_breakdown: Breakdown | None = None
    error: str | None = None


class ChatDocument(msgspec.Struct, frozen=True, gc=False):
    """A whole answer or one chunk."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    choices: list[Choice] | None = None
    usage: msgspec.Raw = NULL
    status: str | None = None
    x_groq: XGroq | None = None
    usage_breakdown: Breakdown | None = None
    error: msgspec.Raw = NULL


class PlainMessage(msgspec.Struct, frozen=True, gc=False):
    """Whether there is anything in it, and whether it is a refusal."""

    content: msgspec.Raw = NULL
    tool_calls: msgspec.Raw = NULL
    function_call: msgspec.Raw = NULL
    refusal: msgspec.Raw = NULL
    audio: msgspec.Raw = NULL
    images: msgspec.Raw = NULL


class PlainChoice(msgspec.Struct, frozen=True, gc=False):
    finish_reason: str | None = None
    message: PlainMessage | None = None
    text: msgspec.Raw = NULL


class PlainAnswer(msgspec.Struct, frozen=True, gc=False):
    """A whole answer as nearly all are: its usage says all, so that its text need not be looked at."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    choices: list[PlainChoice] | None = None
    usage: msgspec.Raw = NULL
    status: msgspec.Raw = NULL
    x_groq: msgspec.Raw = NULL
    usage_breakdown: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
