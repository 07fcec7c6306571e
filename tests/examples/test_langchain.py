"""examples/farebox_langchain.py with langchain-core itself: its own model for tests, which answers what it is told."""

import asyncio
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("langchain_core", reason="needs langchain-core")

from langchain_core.caches import InMemoryCache
from langchain_core.language_models import FakeListLLM, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from farebox.core.posting import read_event
from farebox.providers import by_name

NOW_US = 2_000_000_000_000_000
SECRET = "what is the password of the vault"
USAGE: Any = {
    "input_tokens": 1136, "output_tokens": 188, "total_tokens": 1324,
    "input_token_details": {"cache_read": 1024, "cache_creation": 0, "ephemeral_5m_input_tokens": 40,
                            "ephemeral_1h_input_tokens": 60},
    "output_token_details": {"reasoning": 128},
}  # fmt: skip
ANSWER = AIMessage(
    content=SECRET,
    usage_metadata=USAGE,
    response_metadata={"model_name": "claude-haiku-4-5-20251001", "service_tier": "x"},
)
METADATA = {"tenant_id": "acme", "feature": "summarize", "thread_id": "t_1", "farebox_tags": {"region": "eu"}}


class Anthropic(GenericFakeChatModel):
    """Names itself as langchain-anthropic does."""

    def _get_ls_params(self, stop: list[str] | None = None, **more: Any) -> Any:
        return {"ls_provider": "anthropic", "ls_model_name": "claude-haiku-4-5", "ls_model_type": "chat"}


class Streaming(Anthropic):
    """Sends its counts in the last chunk, as real ones do."""

    def _stream(self, messages: list[BaseMessage], *given: Any, run_manager: Any = None, **more: Any) -> Iterator[Any]:
        for chunk in (AIMessageChunk(content="hel"), AIMessageChunk(content="lo", usage_metadata=USAGE)):
            if run_manager:
                run_manager.on_llm_new_token(chunk.content)
            yield ChatGenerationChunk(message=chunk)


class Failing(Anthropic):
    error: Any = None

    def _generate(self, *given: Any, **more: Any) -> Any:
        raise self.error


class RateLimitError(Exception):
    status_code = 429


@pytest.fixture
def handler(example: Callable[[str], ModuleType], told: Any) -> Any:
    return example("farebox_langchain").FareboxHandler(told)


def config(handler: Any, **metadata: Any) -> Any:
    return {"callbacks": [handler], "metadata": metadata or METADATA}


def the_event(told: Any) -> Any:
    [event] = told.events
    assert SECRET not in repr(event)
    return read_event(event, NOW_US)


def test_a_call_is_an_event_with_disjoint_counts(handler: Any, told: Any) -> None:
    Anthropic(messages=iter([ANSWER])).invoke(SECRET, config(handler))
    found = the_event(told)
    head, tail = found.head, found.tail
    assert tail.usage == {
        "input": 12, "cache_read": 1024, "cache_write_5m": 40, "cache_write_1h": 60, "output": 60, "reasoning": 128,
    }  # fmt: skip
    assert (head.provider, head.operation, head.model_requested) == ("anthropic", "chat", "claude-haiku-4-5")
    assert (tail.model_billed, tail.state, head.streaming) == ("claude-haiku-4-5-20251001", "done", False)
    assert (head.tenant, head.feature, head.session, head.tags) == ("acme", "summarize", "t_1", {"region": "eu"})
    assert tail.finished_at_us >= head.started_at_us


def test_a_stream_says_when_it_began_and_what_it_used(handler: Any, told: Any) -> None:
    assert [chunk.content for chunk in Streaming(messages=iter([])).stream("hi", config(handler))][:2] == ["hel", "lo"]
    found = the_event(told)
    assert (found.head.streaming, found.tail.usage["cache_read"]) == (True, 1024)
    assert found.tail.first_byte_us is not None


def test_calls_that_are_awaited_and_batches_have_an_event_each(handler: Any, told: Any) -> None:
    model = Anthropic(messages=iter([ANSWER] * 5))
    asyncio.run(model.ainvoke("hi", config(handler)))
    model.batch(["a", "b", "c", "d"], config(handler))
    assert len({event["id"] for event in told.events}) == 5
    assert handler._running == {}


@pytest.mark.parametrize(
    ("error", "state", "status"),
    [(RateLimitError(SECRET), "upstream_error", 429), (TimeoutError(SECRET), "timeout", None),
     (asyncio.CancelledError(), "client_closed", None)],
)  # fmt: skip
def test_a_failure_is_an_event(handler: Any, told: Any, error: BaseException, state: str, status: int | None) -> None:
    with pytest.raises(type(error)):
        Failing(messages=iter([]), error=error).invoke(SECRET, config(handler))
    found = the_event(told)
    assert (found.tail.state, found.tail.status, found.tail.error) == (state, status, type(error).__name__)
    assert "no_usage" in found.tail.marks


def test_a_model_that_says_no_counts_is_marked(handler: Any, told: Any) -> None:
    Anthropic(messages=iter([AIMessage(content="hi")])).invoke("hi", config(handler))
    assert "no_usage" in the_event(told).tail.marks


def test_models_that_are_no_chat_models_are_completions(handler: Any, told: Any) -> None:
    FakeListLLM(responses=["hi"]).invoke(SECRET, config(handler, ls_model_name="babbage-002"))
    assert the_event(told).head.operation == "completions"


def test_what_langchains_own_cache_answered_is_no_call(handler: Any, told: Any) -> None:
    model = Anthropic(messages=iter([ANSWER]), cache=InMemoryCache())
    for _ in range(2):
        model.invoke("hi", config(handler))
    assert len(told.events) == 1


def test_tiers_of_openai_stand_in_the_names_of_details(example: Callable[[str], ModuleType]) -> None:
    module = example("farebox_langchain")
    usage = {"input_tokens": 100, "output_tokens": 50, "input_token_details": {"flex_cache_read": 60, "flex": 40},
             "output_token_details": {"flex_reasoning": 40, "flex": 10}}  # fmt: skip
    assert module.disjoint(usage, "openai") == {"input": 40, "cache_read": 60, "output": 10, "reasoning": 40}
    writes = {"input_tokens": 100, "output_tokens": 1, "input_token_details": {"cache_creation": 30, "audio": 20}}
    assert module.disjoint(writes, "openai") == {"input": 50, "cache_write_30m": 30, "audio_input": 20, "output": 1}
    assert {name for name in module.PROVIDERS.values() if by_name(name) is None} == set()


def test_calls_that_never_end_are_forgotten_in_time(example: Callable[[str], ModuleType], told: Any) -> None:
    from uuid import uuid4

    module = example("farebox_langchain")
    handler = module.FareboxHandler(told)
    for _ in range(module.RUNNING_MAX + 5):
        handler.on_chat_model_start({}, [[]], run_id=uuid4())
    assert len(handler._running) == module.RUNNING_MAX
