"""What a call may come to, before it is sent: how much of each limit to hold for it.

Two answers. `expected` is what calls like it cost, from rates and lengths; it may be wrong in either direction and is
put right when the call settles. `ceiling` is the provable most: at least what any answer can be billed, for calls where
that can be proven at all (inline text, no tools that run at the provider, a known length of the answer).
"""

from typing import Any, Final, NamedTuple

import msgspec

from farebox.core import jsonsplice
from farebox.core.meters import INPUT_METERS, MILLION
from farebox.core.price_rows import Qualifiers
from farebox.core.pricing import PriceBook, Quote
from farebox.providers.charging import REPORTS_COST
from farebox.providers.protocol import Endpoint, Intent

OUTPUT_USUAL: Final = 1024
"""Tokens of an answer of which nothing is known."""
PIECE_USD: Final = 50_000_000_000
"""What a call costs whose price does not go by tokens, until one like it has been seen: 5 cents, about an image."""
TOOL_TOKENS: Final = 1024
"""Tokens that a provider may add of its own to a prompt with tools (Anthropic documents 290 to 806)."""
TEXT_OPERATIONS: Final = frozenset({"chat", "responses", "messages", "generate", "completions"})
NO_OUTPUT: Final = frozenset({"embeddings", "rerank", "moderation"})
_CACHE_MARKS: Final = (b"cache_control", b"cachePoint", b"cache_point")
_CACHE_WRITES: Final = frozenset({"cache_write_5m", "cache_write_30m", "cache_write_1h", "cache_write_12h"})
_PROMPT: Final = INPUT_METERS & {"input", "cache_read"}
_OUTPUT: Final = ("output", "reasoning")

_UNBOUNDED_TYPES: Final = frozenset(
    {
        "image_url", "input_image", "image", "document", "input_audio", "input_file", "file", "video_url",
        "input_video",
        "container_upload", "item_reference", "search_result", "document_url",
    }
)  # fmt: skip
"""Parts of a prompt whose tokens do not follow from the request's own bytes."""
_UNBOUNDED_MEMBERS: Final = frozenset(
    {
        "inline_data", "inlineData", "file_data", "fileData", "file_id", "previous_response_id", "conversation",
        "conversation_id", "cachedContent", "cached_content", "web_search_options", "search_parameters", "plugins",
        "mcp_servers", "audio", "speed", "background", "documents", "connectors", "container", "context_management",
        "video", "promptVariables", "guardrailConfig", "performanceConfig", "safetyModel", "models", "fallbacks",
    }
)  # fmt: skip
_TELLING: Final = _UNBOUNDED_MEMBERS | {"type", "modalities", "responseModalities", "response_modalities"}
"""Members to be looked at, anywhere."""
_DESCRIBING: Final = frozenset(
    {"arguments", "input_schema", "response_format", "responseSchema", "schema", "metadata"}
)  # fmt: skip
"""Members whose insides only describe."""
_TOOL_MEMBERS: Final = frozenset(
    {"type", "function", "name", "description", "input_schema", "parameters", "strict", "cache_control", "toolSpec",
     "cachePoint", "functionDeclarations", "function_declarations", "format", "parametersJsonSchema"}
)  # fmt: skip
"""All members that a tool which the caller runs has, anywhere."""
_OWN_TOOLS: Final = frozenset({None, "function", "custom"})
_STANDARD_TIERS: Final = frozenset({None, "default", "standard", "standard_only", "flex", "on_demand"})


class Rates(NamedTuple):
    """Pico-dollars per million tokens."""

    prompt: int
    output: int
    request: int
    """Pico-dollars for a call."""


class Ceiling(NamedTuple):
    """What a call can come to at most: `rates`, over `prompt` tokens and, for each of `choices`, as many of output as
    its bound says. `output_max` None: the call says none. `least`: the fewest that make sense (a thinking budget)."""

    rates: Rates
    prompt: int
    choices: int
    output_max: int | None
    least: int

    def tokens(self, output: int) -> int:
        return self.prompt + self.choices * output

    def usd(self, output: int) -> int:
        rates = self.rates
        return -(-(self.prompt * rates.prompt + self.choices * output * rates.output) // MILLION) + rates.request

    def output_for(self, amount: int, unit: str) -> int:
        """The longest answer that surely fits into an amount, below zero where not even the prompt does."""
        if unit == "tokens":
            return (amount - self.prompt) // self.choices
        left = (amount - self.rates.request) * MILLION - self.prompt * self.rates.prompt
        return left // (self.choices * self.rates.output) if self.rates.output else (MILLION if left >= 0 else -1)


def is_priced(book: PriceBook, prices_as: str, endpoint: Endpoint, model: str | None, when_us: int) -> bool:
    """Whether what the call will cost can be known: its model has a price, or its provider states the cost."""
    if model is None or not endpoint.billed or prices_as in REPORTS_COST:
        return True
    return book.quote(prices_as, model, when_us).row is not None


def expected_rates(quote: Quote, prompt: int) -> Rates | None:
    """The rates of a usual call; None where the price does not go by tokens."""
    rates = next((rates for least, rates in quote.bands if prompt >= least), quote.rates)
    if "input" not in rates and "output" not in rates:
        return None
    return Rates(rates.get("input", 0), rates.get("output", 0), rates.get("request", 0))


class Bounds(NamedTuple):
    """How long a call can get at most: counts only, nothing of its text. As `Ceiling`, without rates."""

    prompt: int
    choices: int
    output_max: int | None
    least: int
    writes_cache: bool


def bounds(endpoint: Endpoint, intent: Intent, body: bytes) -> Bounds | str:
    """The most tokens that a call can come to, or why that cannot be told."""
    if endpoint.operation not in TEXT_OPERATIONS and endpoint.operation not in NO_OUTPUT:
        return f"what a call of {endpoint.operation} costs is known only once it is done"
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return "its body cannot be read"
    if not isinstance(document, dict):
        return "its body is no JSON object"
    if problem := _unbounded(document):
        return problem
    prompt = len(body) + (TOOL_TOKENS if document.get("tools") or document.get("toolConfig") else 0)
    writes_cache = any(mark in body for mark in _CACHE_MARKS)
    if endpoint.operation in NO_OUTPUT:
        return Bounds(prompt, 1, 0, 0, writes_cache)
    return Bounds(prompt, max(1, intent.choices), intent.output_max, _thinking_budget(document), writes_cache)


def at_most(
    book: PriceBook, prices_as: str, operation: str, model: str, found: Bounds, when_us: int, region: str | None
) -> Ceiling | str:
    """What a call of these bounds can come to, or why that cannot be told."""
    quote = book.quote(prices_as, model, when_us, Qualifiers(region=region) if region else Qualifiers())
    if quote.row is None or prices_as in REPORTS_COST:
        return f"the price of {model} is not known ahead"
    rates = _most(quote, found.writes_cache)
    if operation in NO_OUTPUT:
        rates = rates._replace(output=0)
    return Ceiling(rates, found.prompt, found.choices, found.output_max, found.least)


def ceiling(
    book: PriceBook,
    prices_as: str,
    endpoint: Endpoint,
    intent: Intent,
    model: str,
    body: bytes,
    when_us: int,
    region: str | None,
) -> Ceiling | str:
    """The most that a call can come to, or why that cannot be told."""
    found = bounds(endpoint, intent, body)
    if isinstance(found, str):
        return found
    return at_most(book, prices_as, endpoint.operation, model, found, when_us, region)


_INVOKE_BOUNDS: Final = ("max_tokens", "max_gen_len", "maxTokens", "max_tokens_to_sample")
_INVOKE_MAKERS: Final = (
    ("anthropic.", "max_tokens"), ("mistral.", "max_tokens"), ("cohere.", "max_tokens"), ("deepseek.", "max_tokens"),
    ("meta.", "max_gen_len"), ("ai21.", "max_tokens"),
)  # fmt: skip
"""Source: the model parameters of Bedrock's user guide."""


def tightened(endpoint: Endpoint, provider: str, body: bytes, tokens: int) -> bytes | None:
    """The body with the bound of its answer set, every other byte in place; None where this format has none."""
    family = endpoint.operation
    if family == "messages":
        return _set(body, "max_tokens", tokens)
    if family == "responses":
        return _set(body, "max_output_tokens", tokens)
    if endpoint.family == "invoke":
        return _invoked(body, endpoint.model or "", tokens)
    if endpoint.family == "legacy.generate":
        return _set(body, "max_tokens", tokens)
    if family == "generate" and endpoint.family != "untold":
        if b'"generation_config"' in body:
            return _set_inside(body, "generation_config", "max_output_tokens", tokens)
        return _set_inside(body, "generationConfig", "maxOutputTokens", tokens)
    if endpoint.family.startswith("converse"):
        return _set_inside(body, "inferenceConfig", "maxTokens", tokens)
    if family not in ("chat", "completions"):
        return None
    members = jsonsplice.members(body)
    for name in ("max_completion_tokens", "max_tokens"):
        if name in members:
            body = jsonsplice.replace_member(body, name, tokens)
            return _set(body, "max_tokens", tokens) if name[4] == "c" and "max_tokens" in members else body
    newer = family == "chat" and provider in ("openai", "azure", "groq")
    return _set(body, "max_completion_tokens" if newer else "max_tokens", tokens)


def _invoked(body: bytes, model: str, tokens: int) -> bytes | None:
    """A body of Bedrock's InvokeModel is that of the model's maker: the bound that it has, else its maker's own."""
    members = jsonsplice.members(body)
    for name in _INVOKE_BOUNDS:
        if name in members:
            return jsonsplice.replace_member(body, name, tokens)
    if "textGenerationConfig" in members or "titan" in model:
        return _set_inside(body, "textGenerationConfig", "maxTokenCount", tokens)
    if "nova" in model:
        old = b'"max_new_tokens"' in bytes(members.get("inferenceConfig") or b"")
        return _set_inside(body, "inferenceConfig", "max_new_tokens" if old else "maxTokens", tokens)
    named = next((name for maker, name in _INVOKE_MAKERS if maker in model), None)
    return None if named is None else _set(body, named, tokens)


def _set(body: bytes, name: str, value: object) -> bytes:
    if name in jsonsplice.members(body):
        return jsonsplice.replace_member(body, name, value)
    at = body.index(b"{") + 1
    rest = body[at:]
    comma = b"" if rest.lstrip()[:1] == b"}" else b","
    return body[:at] + msgspec.json.encode(name) + b":" + msgspec.json.encode(value) + comma + rest


def _set_inside(body: bytes, outer: str, name: str, value: object) -> bytes:
    inner = jsonsplice.members(body).get(outer)
    within = b"{}" if inner is None or bytes(inner) == b"null" else bytes(inner)
    return _set(body, outer, msgspec.Raw(_set(within, name, value)))


def _most(quote: Quote, writes_cache: bool) -> Rates:
    prompt = output = request = 0
    wanted = _PROMPT | _CACHE_WRITES if writes_cache else _PROMPT
    for rates in (quote.rates, *(rates for _, rates in quote.bands)):
        prompt = max(prompt, *(rates.get(meter, 0) for meter in wanted))
        output = max(output, *(rates.get(meter, 0) for meter in _OUTPUT))
        request = max(request, rates.get("request", 0))
    num, den = quote.multiplier
    return Rates(-(-prompt * num // den), -(-output * num // den), request)


def _unbounded(document: dict[str, Any]) -> str | None:
    if not _is_of(document.get("service_tier"), _STANDARD_TIERS):
        return "its service tier may be billed higher"
    if isinstance(document.get("prompt"), dict):
        return "it names a stored prompt"
    for tool in _tools(document):
        if not isinstance(tool, dict) or not _is_of(tool.get("type"), _OWN_TOOLS) or not tool.keys() <= _TOOL_MEMBERS:
            return "it has tools that run at the provider"
    waiting: list[Any] = [{name: value for name, value in document.items() if name not in ("tools", "toolConfig")}]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting.extend(found)
        elif isinstance(found, dict):
            for member, value in found.items():
                if member in _TELLING and (problem := _told(member, value)):
                    return problem
                if member not in _DESCRIBING:
                    waiting.append(value)
    return None


def _told(member: str, value: Any) -> str | None:
    """What a member says against telling a call's most by its bytes."""
    if member in _UNBOUNDED_MEMBERS and value not in (None, False, "standard", [], {}):
        return f"{member} can cost more than its bytes say"
    if member == "type" and _is_of(value, _UNBOUNDED_TYPES):
        return f"a part of type {value} can cost more than its bytes say"
    if member == "modalities" and value != ["text"]:
        return "it may be answered by sound or images"
    if member in ("responseModalities", "response_modalities") and value not in (["TEXT"], ["text"]):
        return "it may be answered by sound or images"
    return None


def _is_of(value: object, known: frozenset[Any]) -> bool:
    """Whether it is one of these words. A member may be anything: a schema's type is a list where null may stand."""
    return (value is None or isinstance(value, str)) and value in known


def _tools(document: dict[str, Any]) -> list[Any]:
    tools = document.get("tools") or []
    config = document.get("toolConfig")
    more = config.get("tools") if isinstance(config, dict) else None
    return [*(tools if isinstance(tools, list) else [tools]), *(more if isinstance(more, list) else [])]


def _thinking_budget(document: dict[str, Any]) -> int:
    thinking = document.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    return budget if isinstance(budget, int) and budget > 0 else 0
