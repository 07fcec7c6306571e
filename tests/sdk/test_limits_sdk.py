"""What official SDKs make of a limit: their own rate-limit error, and a retry only where that can help."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import groq
import openai
import pytest
from evidence import new_mark
from google import genai
from google.genai import errors, types
from harness import Farebox, Key, directive

from farebox.demo.simulated import SimulatedProviders

TENANT = "of-the-limits"
Call = Callable[[Farebox, str, dict[str, str], str], Any]


def call_openai(server: Farebox, secret: str, headers: dict[str, str], text: str) -> Any:
    with openai.OpenAI(base_url=f"{server.url}/proxy/openai/v1", api_key=secret, default_headers=headers) as client:
        return client.chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": text}])


def call_anthropic(server: Farebox, secret: str, headers: dict[str, str], text: str) -> Any:
    with anthropic.Anthropic(
        base_url=f"{server.url}/proxy/anthropic", api_key=secret, default_headers=headers
    ) as client:
        return client.messages.create(
            model="claude-haiku-4-5", max_tokens=64, messages=[{"role": "user", "content": text}]
        )


def call_groq(server: Farebox, secret: str, headers: dict[str, str], text: str) -> Any:
    with groq.Groq(base_url=f"{server.url}/proxy/groq", api_key=secret, default_headers=headers) as client:
        return client.chat.completions.create(
            model="llama-3.3-70b-versatile", messages=[{"role": "user", "content": text}]
        )


def call_gemini(server: Farebox, secret: str, headers: dict[str, str], text: str) -> Any:
    options = types.HttpOptions(base_url=f"{server.url}/proxy/gemini", headers=headers)
    client = genai.Client(api_key=secret, http_options=options)
    try:
        return client.models.generate_content(model="gemini-2.5-flash", contents=text)
    finally:
        client.close()


def limited(server: Farebox, subject: str, amount: str) -> str:
    """An override for one user, in force."""
    found = server.cli_json("limits", "set", "--per", "user", "--subject", f"{TENANT}/{subject}", "--amount", amount)
    time.sleep(1.0)
    return str(found["id"])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (call_openai, openai.RateLimitError),
        (call_anthropic, anthropic.RateLimitError),
        (call_groq, groq.RateLimitError),
        (call_gemini, errors.ClientError),
    ],
)
def test_a_used_up_limit_is_the_sdks_own_rate_limit_error_and_is_not_asked_for_again(
    server: Farebox, simulated: SimulatedProviders, key: Key, call: Call, error: type[Exception]
) -> None:
    user, mark = f"stopped-{call.__name__}", new_mark()
    limit = limited(server, user, "1 requests")
    headers = {"x-tenant-id": TENANT, "x-user-id": user}
    call(server, key.secret, headers, directive(mark))
    began = time.monotonic()
    with pytest.raises(error) as raised:
        call(server, key.secret, headers, directive(mark))
    assert time.monotonic() - began < 5, "it did not wait for a retry"
    said = raised.value
    status = said.code if isinstance(said, errors.ClientError) else said.status_code  # type: ignore[attr-defined]
    assert status == 429
    assert "used up" in str(said)
    assert len(simulated.served(mark)) == 1
    refused = [event for event in server.events(user=user) if event["state"] == "refused"]
    assert [event["limits"]["refused_by"] for event in refused] == [limit], "one refusal: it was not tried again"


def test_what_is_only_held_by_a_running_call_is_asked_for_again_by_the_sdk_itself(
    server: Farebox, simulated: SimulatedProviders, key: Key
) -> None:
    user, slow, quick = "busy", new_mark(), new_mark()
    limited(server, user, "2 requests")
    headers = {"x-tenant-id": TENANT, "x-user-id": user}
    with ThreadPoolExecutor(2) as threads:
        running = [
            threads.submit(call_openai, server, key.secret, headers, directive(slow, delay_ms=1500, status=503))
            for _ in range(2)
        ]
        time.sleep(0.7)
        with pytest.raises(openai.OpenAIError) as raised:
            call_openai(server, key.secret, headers, directive(quick))
        for future in running:
            assert isinstance(future.exception(30), openai.OpenAIError)
    # Calls that the provider failed count as requests, too: what was busy is used up by now, and the SDK heard both.
    assert isinstance(raised.value, openai.RateLimitError)
    told = [event["error"] for event in server.events(user=user) if event["state"] == "refused"]
    assert {"limit_busy", "limit_exceeded"} == set(told)
    assert simulated.served(quick) == []
