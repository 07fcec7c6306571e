"""How a call ended, in one word: what reports of waste and of successful tasks rest on.

The provider's own word for its end comes first, then what the answer holds, then how the connection ended."""

from typing import Final

from farebox.core.events import CallOutcome
from farebox.providers.protocol import Endpoint, Metered

GENERATES: Final = frozenset({"chat", "responses", "messages", "generate", "completions"})
"""Operations whose answers are text or calls of tools, and end with a reason to finish."""

_TRUNCATED: Final = (
    "length", "max_tokens", "max_output_tokens", "max_length", "max_new_tokens", "model_length", "incomplete",
    "model_context_window_exceeded", "context_length", "token_limit",
)  # fmt: skip
_FILTERED: Final = (
    "content_filter", "content_filtered", "guardrail_intervened", "safety", "recitation", "blocklist", "language",
    "prohibited_content", "spii", "model_armor", "jailbreak", "image_safety", "image_prohibited_content",
    "image_recitation", "error_toxic", "sensitive", "content_policy_violation", "responsibleaipolicyviolation",
)  # fmt: skip
_REFUSED: Final = ("refusal",)
_INVALID: Final = (
    "malformed_function_call", "unexpected_tool_call", "malformed_tool_use", "malformed_model_output",
    "malformed_response", "too_many_tool_calls", "missing_thought_signature", "invalid_function_call",
)  # fmt: skip
_FAILED: Final = (
    "error", "failed", "cancelled", "canceled", "expired", "timeout", "error_limit", "insufficient_system_resource",
    "unexpected_error", "network_error", "no_image",
)  # fmt: skip
_FINISHES: Final[dict[str, CallOutcome]] = {
    **dict.fromkeys(_TRUNCATED, "truncated"),
    **dict.fromkeys(_FILTERED, "filtered"),
    **dict.fromkeys(_REFUSED, "refused"),
    **dict.fromkeys(_INVALID, "invalid"),
    **dict.fromkeys(_FAILED, "failed"),
}
"""Reasons to finish that are no orderly end, of all providers, in lower case: see `docs/explanation/definitions.md`."""
_HELD: Final[dict[str, CallOutcome]] = {"nothing": "empty", "refused": "refused", "invalid": "invalid"}
WORD_MAX: Final = 64


def outcome_of(endpoint: Endpoint, state: str, metered: Metered | None, limited: bool = False) -> CallOutcome | None:
    """How an attempt ended that is in this state. `limited`: a strict limit ended it. None for what nobody bills, for
    batches, whose results end each by itself, for what is not over yet, and for what we refused."""
    if not endpoint.billed or endpoint.operation == "batch" or state == "refused":
        return None
    if limited:
        return "truncated"
    if state == "client_closed":
        return "abandoned"
    if metered is None:
        return None if state == "done" else "failed"
    if state != "done":
        return "filtered" if _word(metered.error) == "filtered" else "failed"
    if metered.pending:
        return None
    if endpoint.operation not in GENERATES:
        return "success"
    finish = metered.finish_reason
    if finish is not None and (ended := _word(finish)) is not None:
        return ended
    if finish is None and not metered.complete:
        return "failed"
    return _HELD.get(metered.content, "success")


def _word(said: str | None) -> CallOutcome | None:
    return None if said is None or len(said) > WORD_MAX else _FINISHES.get(said.lower())
