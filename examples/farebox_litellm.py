"""LiteLLM's calls in Farebox: a callback for the SDK and for its proxy.

    import litellm
    from farebox_litellm import FareboxLogger

    litellm.callbacks = [FareboxLogger()]           # FAREBOX_URL and FAREBOX_KEY, or FareboxLogger(farebox=Farebox(…))
    litellm.completion(model="gpt-4.1-mini", messages=[…], metadata={"tenant_id": "acme", "feature": "summarize"})

Nothing of a prompt or an answer is sent. See docs/how-to/litellm.md.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from litellm.integrations.custom_logger import CustomLogger

from farebox import Farebox

WHOSE = {
    "tenant_id": "tenant", "customer_id": "tenant", "workspace_id": "workspace", "user_id": "user", "tier": "tier",
    "feature": "feature", "task_id": "task", "session_id": "session",
    # What LiteLLM's proxy says of the virtual key that was used.
    "user_api_key_team_id": "tenant", "user_api_key_end_user_id": "user", "user_api_key_user_id": "user",
}  # fmt: skip
"""Which metadata say whose a call is; of several that mean the same, the first that is there."""
PROVIDERS = {
    "vertex_ai": "vertex", "vertex_ai_beta": "vertex", "azure_ai": "azure", "azure_text": "azure",
    "bedrock_converse": "bedrock", "together_ai": "together", "fireworks_ai": "fireworks", "cohere_chat": "cohere",
    "text-completion-openai": "openai", "moonshot": "moonshotai",
}  # fmt: skip
"""Farebox's name for a provider, where LiteLLM has another one."""
OPERATIONS = {
    "completion": "chat", "text_completion": "completions", "embedding": "embeddings", "responses": "responses",
    "anthropic_messages": "messages", "rerank": "rerank", "image_generation": "image", "image_edit": "image",
    "transcription": "audio", "speech": "audio", "moderation": "moderation", "generate_content": "generate",
}  # fmt: skip
UNANSWERED = ("APIConnectionError", "Timeout")
"""Errors to which LiteLLM gives a status although no provider answered: what such a call cost is not known."""


class FareboxLogger(CustomLogger):
    """Sends an event for each call, also failed and streamed ones, in the background."""

    def __init__(self, farebox: Farebox | None = None) -> None:
        super().__init__()
        self._farebox = farebox or Farebox()

    def log_success_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._send(kwargs, response_obj, start_time, end_time)

    def log_failure_event(self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any) -> None:
        self._send(kwargs, response_obj, start_time, end_time)

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._send(kwargs, response_obj, start_time, end_time)

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        self._send(kwargs, response_obj, start_time, end_time)

    def _send(self, kwargs: dict[str, Any], response: Any, start: datetime, end: datetime) -> None:
        if kwargs.get("cache_hit") is not True:  # else LiteLLM's own cache answered, and no provider was called
            self._farebox.record(event_of(kwargs, response, start, end))


def event_of(kwargs: Mapping[str, Any], response: Any, start: datetime, end: datetime) -> dict[str, Any]:
    """The event of a call, as POST /api/v1/events takes it. Tries of one call have an id each: they share
    `litellm_call_id`, and not their beginning."""
    call_id = str(kwargs.get("litellm_call_id") or "call")
    provider = str(kwargs.get("custom_llm_provider") or "unknown")
    is_stream = bool(kwargs.get("stream"))
    first = kwargs.get("completion_start_time")
    call_type = str(kwargs.get("call_type") or "completion")
    operation = OPERATIONS.get(call_type) or OPERATIONS.get(call_type.removeprefix("a"), "other")
    event = {
        "id": f"litellm-{call_id[:36]}-{_utc(start).timestamp() * 1e6:.0f}",
        "call_id": f"litellm-{call_id[:36]}",
        "provider": PROVIDERS.get(provider, provider),
        "operation": operation,
        "model_requested": kwargs.get("model"),
        "model_billed": _field(response, "model"),
        "service_tier": _field(response, "service_tier"),
        "streaming": is_stream,
        "started_at": _utc(start).isoformat(),
        "finished_at": _utc(end).isoformat(),
        "first_byte_ms": (first - start).total_seconds() * 1000 if is_stream and first else None,
        **_whose(kwargs),
        **_ending(kwargs.get("exception")),
    }
    usage = _field(response, "usage")
    if usage is not None:
        event |= {"usage": disjoint(usage, event["provider"]), "usage_raw": _plain(usage)}
    return {name: value for name, value in event.items() if value is not None}


def disjoint(usage: Any, provider: str) -> dict[str, int]:
    """LiteLLM's counts as Farebox's meters. `prompt_tokens` includes what a cache gave or took, for every provider, and
    `completion_tokens` the reasoning. /responses and rerank have other names for the same."""
    into = _count(usage, "prompt_tokens") or _count(usage, "input_tokens")
    out = _count(usage, "completion_tokens") or _count(usage, "output_tokens")
    given = _field(usage, "prompt_tokens_details") or _field(usage, "input_tokens_details")
    made = _field(usage, "completion_tokens_details") or _field(usage, "output_tokens_details")
    read = _count(given, "cached_tokens")
    written = _count(given, "cache_creation_tokens") or _count(given, "cache_write_tokens")
    lives = _field(given, "cache_creation_token_details")
    writes = {
        f"cache_write_{life}": _count(lives, f"ephemeral_{life}_input_tokens") for life in ("5m", "30m", "1h", "12h")
    }
    usual = "cache_write_30m" if provider in ("openai", "azure") else "cache_write_5m"
    writes[usual] += max(written - sum(writes.values()), 0)
    plain_in, plain_out = max(into - read - sum(writes.values()), 0), out
    meters = {"cache_read": read, **writes}
    for kind in ("audio", "image", "video"):
        meters[f"{kind}_input"] = taken = min(_count(given, f"{kind}_tokens"), plain_in)
        plain_in -= taken
    for kind, name in (("reasoning", "reasoning"), ("audio", "audio_output"), ("image", "image_output")):
        meters[name] = taken = min(_count(made, f"{kind}_tokens"), plain_out)
        plain_out -= taken
    meters |= {"input": plain_in, "output": plain_out}
    meters["web_search"] = _count(_field(usage, "server_tool_use"), "web_search_requests")
    return {meter: count for meter, count in meters.items() if count}


def _whose(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Dimensions from the metadata of the call, `tags` from its `farebox_tags`."""
    parameters = kwargs.get("litellm_params") or {}
    metadata = {**(parameters.get("litellm_metadata") or {}), **(parameters.get("metadata") or {})}
    found: dict[str, Any] = {}
    for name, dimension in WHOSE.items():
        if metadata.get(name) not in (None, ""):
            found.setdefault(dimension, str(metadata[name]))
    if kwargs.get("user"):
        found.setdefault("user", str(kwargs["user"]))
    tags = metadata.get("farebox_tags")
    return {**found, "tags": dict(tags)} if isinstance(tags, Mapping) else found


def _ending(error: Any) -> dict[str, Any]:
    if error is None:
        return {}
    name = type(error).__name__
    status = getattr(error, "status_code", None)
    is_answer = name not in UNANSWERED and isinstance(status, int) and 100 <= status <= 599
    state = "timeout" if "Timeout" in name else "upstream_error"
    return {"state": state, "error": name, "status": status if is_answer else None}


def _utc(moment: datetime) -> datetime:
    """LiteLLM's datetimes are local and do not say so."""
    return moment.astimezone(UTC)


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _count(value: Any, name: str) -> int:
    found = _field(value, name)
    return found if isinstance(found, int) and found > 0 else 0


def _plain(usage: Any) -> Any:
    if hasattr(usage, "model_dump"):
        return usage.model_dump(exclude_none=True)
    return usage if isinstance(usage, Mapping) else None
