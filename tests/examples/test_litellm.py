"""examples/farebox_litellm.py: given what LiteLLM 1.110 gives its callbacks, and with LiteLLM itself where it is."""

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from farebox.core.posting import read_event
from farebox.providers import by_name

START = datetime(2026, 11, 21, 10, 0, 0, 123456)  # without a zone, as LiteLLM has it
END = START + timedelta(milliseconds=812)
NOW_US = 1_900_000_000_000_000
CALL_ID = "35d8125f-1912-4e05-ae9f-8f80fdcb8538"
IS_THERE = importlib.util.find_spec("litellm") is not None
SECRET = "what is the password of the vault"


@pytest.fixture
def logger(example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if IS_THERE:
        monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    else:
        base = ModuleType("litellm.integrations.custom_logger")
        base.CustomLogger = object  # type: ignore[attr-defined]
        for name in ("litellm", "litellm.integrations"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, base.__name__, base)
    return example("farebox_litellm")


def details(**counts: int) -> SimpleNamespace:
    return SimpleNamespace(**counts)


def anthropics() -> SimpleNamespace:
    """An answer with a prompt of 1,136 tokens: 12 new, 1,024 from the cache, 100 written to it for an hour."""
    lives = details(ephemeral_5m_input_tokens=40, ephemeral_1h_input_tokens=60)
    usage = SimpleNamespace(
        prompt_tokens=1136, completion_tokens=188, total_tokens=1324,
        prompt_tokens_details=details(cached_tokens=1024, cache_creation_tokens=100, cache_creation_token_details=lives,
                                      text_tokens=12),
        completion_tokens_details=details(reasoning_tokens=128, text_tokens=60),
        server_tool_use=SimpleNamespace(web_search_requests=2),
    )  # fmt: skip
    return SimpleNamespace(model="claude-haiku-4-5-20251001", usage=usage, service_tier=None)


def kwargs(**more: Any) -> dict[str, Any]:
    metadata = {"tenant_id": "acme", "feature": "summarize", "farebox_tags": {"region": "eu"},
                "hidden_params": {"api_base": "x"}, "user_api_key_team_id": "other"}  # fmt: skip
    return {
        "litellm_call_id": CALL_ID, "model": "claude-haiku-4-5", "custom_llm_provider": "anthropic", "stream": False,
        "call_type": "completion", "user": "u_77", "litellm_params": {"metadata": metadata}, "api_key": SECRET,
        "messages": [{"role": "user", "content": SECRET}], "completion_start_time": END, "cache_hit": None, **more,
    }  # fmt: skip


def sent(logger: ModuleType, told: Any, answer: Any, **more: Any) -> dict[str, Any]:
    hook = logger.FareboxLogger(farebox=told)
    log = hook.log_failure_event if "exception" in more else hook.log_success_event
    log(kwargs=kwargs(**more), response_obj=answer, start_time=START, end_time=END)
    [event] = told.events
    assert SECRET not in repr(event)
    return event


def test_a_call_is_an_event_with_disjoint_counts(logger: ModuleType, told: Any) -> None:
    found = read_event(sent(logger, told, anthropics()), NOW_US)
    assert found.tail.usage == {
        "input": 12, "cache_read": 1024, "cache_write_5m": 40, "cache_write_1h": 60, "output": 60, "reasoning": 128,
        "web_search": 2,
    }  # fmt: skip
    head = found.head
    assert (head.provider, head.operation, head.model_requested) == ("anthropic", "chat", "claude-haiku-4-5")
    assert (head.tenant, head.user, head.feature, head.tags) == ("acme", "u_77", "summarize", {"region": "eu"})
    assert found.tail.model_billed == "claude-haiku-4-5-20251001"
    assert head.started_at_us == int(START.astimezone(UTC).timestamp() * 1e6)
    assert found.tail.finished_at_us - head.started_at_us == 812_000
    assert head.call_id == f"litellm-{CALL_ID}"


def test_openais_counts_plain_dictionaries_and_the_responses_api(logger: ModuleType) -> None:
    given = {"cached_tokens": 60, "cache_write_tokens": 10, "audio_tokens": 5}
    chat = {"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": given,
            "completion_tokens_details": {"audio_tokens": 20}}  # fmt: skip
    assert logger.disjoint(chat, "openai") == {
        "input": 25, "cache_read": 60, "cache_write_30m": 10, "audio_input": 5, "output": 30, "audio_output": 20,
    }  # fmt: skip
    responses = {"input_tokens": 100, "output_tokens": 50, "input_tokens_details": {"cached_tokens": 60},
                 "output_tokens_details": {"reasoning_tokens": 40}}  # fmt: skip
    assert logger.disjoint(responses, "openai") == {"input": 40, "cache_read": 60, "output": 10, "reasoning": 40}
    assert logger.disjoint({"prompt_tokens": 7, "completion_tokens": None}, "openai") == {"input": 7}


def test_tries_of_one_call_have_an_id_each(logger: ModuleType) -> None:
    first, second = (logger.event_of(kwargs(), anthropics(), start, END) for start in (START, END))
    assert first["call_id"] == second["call_id"]
    assert first["id"] != second["id"]
    assert len(first["id"]) <= 64


def test_a_stream_says_when_it_began(logger: ModuleType, told: Any) -> None:
    first = START + timedelta(milliseconds=240)
    event = sent(logger, told, anthropics(), stream=True, completion_start_time=first, call_type="acompletion")
    assert (event["streaming"], event["first_byte_ms"], event["operation"]) == (True, 240.0, "chat")


class RateLimitError(Exception):
    status_code = 429


class Timeout(Exception):
    status_code = 408


def test_a_failure_is_an_event_that_costs_nothing_where_the_provider_answered(logger: ModuleType, told: Any) -> None:
    event = sent(logger, told, None, exception=RateLimitError(SECRET))
    assert (event["state"], event["status"], event["error"]) == ("upstream_error", 429, "RateLimitError")
    assert "no_usage" in read_event(event, NOW_US).tail.marks
    told.events.clear()
    event = sent(logger, told, None, exception=Timeout(SECRET))
    assert (event["state"], event.get("status")) == ("timeout", None)


def test_what_litellms_own_cache_answered_is_no_call(logger: ModuleType, told: Any) -> None:
    hook = logger.FareboxLogger(farebox=told)
    hook.log_success_event(kwargs(cache_hit=True), anthropics(), START, END)
    assert told.events == []


def test_the_proxys_key_says_whose_a_call_is_where_the_call_does_not(logger: ModuleType) -> None:
    proxied = {"metadata": {"user_api_key_team_id": "acme", "user_api_key_end_user_id": "u_1"}}
    event = logger.event_of(kwargs(litellm_params=proxied), anthropics(), START, END)
    assert (event["tenant"], event["user"]) == ("acme", "u_1")


def test_providers_have_our_names(logger: ModuleType) -> None:
    assert {name for name in logger.PROVIDERS.values() if by_name(name) is None} == {"moonshotai"}


@pytest.mark.skipif(not IS_THERE, reason="LiteLLM is heavy, and not among the tests' requirements: pip install litellm")
@pytest.mark.filterwarnings("ignore")
def test_litellm_itself_calls_back(logger: ModuleType, told: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import litellm

    monkeypatch.setattr(litellm, "callbacks", [logger.FareboxLogger(farebox=told)])
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": SECRET}], "metadata": {"tenant_id": "acme"}}
    litellm.completion(model="gpt-4.1-mini", mock_response="hi", **asked)
    list(litellm.completion(model="anthropic/claude-haiku-4-5", mock_response="hi", stream=True, **asked))
    with pytest.raises(litellm.InternalServerError):
        litellm.completion(model="gpt-4.1-mini", mock_response=Exception("no"), **asked)

    async def later() -> None:
        await litellm.acompletion(model="gpt-4.1-mini", mock_response="hi", **asked)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if len(told.events) >= 4:
                return

    asyncio.run(later())
    assert SECRET not in repr(told.events)
    found = [read_event(event, NOW_US) for event in told.events]
    assert sorted((one.head.provider, one.head.streaming, one.tail.state) for one in found) == [
        ("anthropic", True, "done"), ("openai", False, "done"), ("openai", False, "done"),
        ("openai", False, "upstream_error"),
    ]  # fmt: skip
    assert all(one.head.tenant == "acme" for one in found)
    assert all(one.tail.usage for one in found if one.tail.state == "done")
