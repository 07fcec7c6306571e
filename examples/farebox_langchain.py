"""LangChain's calls in Farebox: a callback handler, for LangGraph too.

    from farebox_langchain import FareboxHandler

    handler = FareboxHandler()                      # FAREBOX_URL and FAREBOX_KEY, or FareboxHandler(Farebox(…))
    model.invoke("hi", config={"callbacks": [handler], "metadata": {"tenant_id": "acme", "feature": "summarize"}})

Nothing of a prompt or an answer is sent. See docs/how-to/langchain.md.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.outputs import LLMResult

from farebox import Farebox

WHOSE = {
    "tenant_id": "tenant", "customer_id": "tenant", "workspace_id": "workspace", "user_id": "user", "tier": "tier",
    "feature": "feature", "task_id": "task", "session_id": "session", "thread_id": "session",
}  # fmt: skip
"""Which metadata say whose a call is; of several that mean the same, the first. `thread_id` is LangGraph's."""
PROVIDERS = {
    "google_genai": "gemini", "google_vertexai": "vertex", "amazon_bedrock": "bedrock", "bedrock_converse": "bedrock",
    "azure_openai": "azure", "azure_ai": "azure", "mistralai": "mistral", "anthropic_vertex": "vertex",
}  # fmt: skip
"""Farebox's name for a provider, where LangChain's `ls_provider` is another one."""
TIERS = ("priority", "flex")
"""Service tiers that langchain-openai writes into the names of its details: `flex_cache_read`."""
RUNNING_MAX = 10_000
"""Calls that are remembered while they run."""


@dataclass
class Running:
    """A call until it ends."""

    metadata: Mapping[str, Any]
    parameters: Mapping[str, Any]
    operation: str
    began_s: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    first_s: float | None = None


class FareboxHandler(BaseCallbackHandler):
    """Sends an event for each call of a model, also failed and streamed ones, in the background. Fit for threads."""

    run_inline = True  # in the caller's own context, whose `fb.context(…)` then says whose a call is

    def __init__(self, farebox: Farebox | None = None) -> None:
        self._farebox = farebox or Farebox()
        self._running: dict[UUID, Running] = {}
        self._lock = threading.Lock()

    def on_chat_model_start(
        self, serialized: dict[str, Any], messages: list[list[Any]], *, run_id: UUID, **more: Any
    ) -> None:
        self._began(run_id, "chat", more)

    def on_llm_start(self, serialized: dict[str, Any], prompts: list[str], *, run_id: UUID, **more: Any) -> None:
        self._began(run_id, "completions", more)

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **more: Any) -> None:
        call = self._running.get(run_id)
        if call is not None and call.first_s is None:
            call.first_s = time.monotonic()

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **more: Any) -> None:
        call = self._ended(run_id)
        if call is not None and not _is_cached(response):
            self._farebox.record(event_of(run_id, call, response, None))

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        call = self._ended(run_id)
        if call is not None:
            self._farebox.record(event_of(run_id, call, more.get("response"), error))

    def _began(self, run_id: UUID, operation: str, more: Mapping[str, Any]) -> None:
        with self._lock:
            while len(self._running) >= RUNNING_MAX:
                del self._running[next(iter(self._running))]
            metadata, parameters = more.get("metadata") or {}, more.get("invocation_params") or {}
            self._running[run_id] = Running(metadata, parameters, operation)

    def _ended(self, run_id: UUID) -> Running | None:
        with self._lock:
            return self._running.pop(run_id, None)


def event_of(run_id: UUID, call: Running, response: LLMResult | None, error: BaseException | None) -> dict[str, Any]:
    """The event of a call, as POST /api/v1/events takes it. LangChain gives each try a run id of its own."""
    usage, told = _usage(response)
    requested = call.metadata.get("ls_model_name") or call.parameters.get("model") or call.parameters.get("model_name")
    provider = str(call.metadata.get("ls_provider") or "unknown")
    event = {
        "id": f"langchain-{run_id}",
        "provider": PROVIDERS.get(provider, provider),
        "operation": call.operation,
        "model_requested": requested or told.get("model_name") or told.get("model"),
        "model_billed": told.get("model_name") or told.get("model"),
        "service_tier": told.get("service_tier"),
        "streaming": call.first_s is not None,
        "started_at": call.started_at.isoformat(),
        "latency_ms": (time.monotonic() - call.began_s) * 1000,
        "first_byte_ms": None if call.first_s is None else (call.first_s - call.began_s) * 1000,
        **_whose(call.metadata),
        **_ending(error),
    }
    if usage:
        event |= {"usage": disjoint(usage, event["provider"]), "usage_raw": dict(usage)}
    return {name: value for name, value in event.items() if value is not None}


def disjoint(usage: Mapping[str, Any], provider: str) -> dict[str, int]:
    """LangChain's usage_metadata as Farebox's meters. `input_tokens` is the sum of all kinds of input, what a cache
    gave or took among them, and `output_tokens` that of all kinds of output, reasoning too."""
    given, made = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    read, written = _detail(given, "cache_read"), _detail(given, "cache_creation")
    usual = "cache_write_30m" if provider in ("openai", "azure") else "cache_write_5m"
    short, long = _detail(given, "ephemeral_5m_input_tokens"), _detail(given, "ephemeral_1h_input_tokens")
    writes = {"cache_write_30m": 0, "cache_write_5m": short, "cache_write_1h": long}
    writes[usual] += max(written - short - long, 0)  # langchain-anthropic has either the sum or its two parts
    plain_in = max(int(usage.get("input_tokens") or 0) - read - sum(writes.values()), 0)
    plain_out = int(usage.get("output_tokens") or 0)
    meters = {"cache_read": read, **writes, "audio_input": min(_detail(given, "audio"), plain_in)}
    for kind, name in (("reasoning", "reasoning"), ("audio", "audio_output")):
        meters[name] = taken = min(_detail(made, kind), plain_out)
        plain_out -= taken
    meters |= {"input": plain_in - meters["audio_input"], "output": plain_out}
    return {meter: count for meter, count in meters.items() if count}


def _detail(details: Mapping[str, Any], name: str) -> int:
    for key in (name, *(f"{tier}_{name}" for tier in TIERS)):
        if isinstance(details.get(key), int) and details[key] > 0:
            return int(details[key])
    return 0


def _usage(response: LLMResult | None) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """(usage_metadata, response_metadata). Several answers to one prompt share their counts: the first says all.
    Models that are no chat models say theirs in `llm_output`."""
    for generation in (response.generations[0] if response is not None and response.generations else ())[:1]:
        message = getattr(generation, "message", None)
        if message is not None and message.usage_metadata:
            return message.usage_metadata, message.response_metadata
        if message is not None:
            return {}, message.response_metadata
    output = (response.llm_output if response is not None else None) or {}
    counts = output.get("token_usage") or {}
    renamed = {"input_tokens": counts.get("prompt_tokens"), "output_tokens": counts.get("completion_tokens")}
    return (renamed if any(renamed.values()) else {}), output


def _is_cached(response: LLMResult) -> bool:
    """Whether LangChain's own cache answered, and no provider was called."""
    usage, _ = _usage(response)
    return usage.get("total_cost") == 0


def _whose(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Dimensions from the metadata of the run, `tags` from its `farebox_tags`."""
    found: dict[str, Any] = {}
    for name, dimension in WHOSE.items():
        if metadata.get(name) not in (None, ""):
            found.setdefault(dimension, str(metadata[name]))
    tags = metadata.get("farebox_tags")
    return {**found, "tags": dict(tags)} if isinstance(tags, Mapping) else found


def _ending(error: BaseException | None) -> dict[str, Any]:
    if error is None:
        return {}
    name = type(error).__name__
    status = getattr(error, "status_code", None)
    state = (
        "timeout" if "timeout" in name.lower() else "client_closed" if "cancel" in name.lower() else "upstream_error"
    )
    return {"state": state, "error": name, "status": status if isinstance(status, int) else None}
