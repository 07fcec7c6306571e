"""The simulated providers answer as the real ones do, and know what they answered."""

import gzip
import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import httpx
import pytest
from harness import directive, first_line

from farebox.demo.simulated import SimulatedProviders, plan
from farebox.demo.simulated.truth import read_lines

CHAT = "/openai/v1/chat/completions"


def post(simulated: SimulatedProviders, path: str, body: object, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return client.post(simulated.url + path, json=body, headers={"authorization": "Bearer sk-x"} | headers)


def chat_body(prompt: str, **fields: object) -> dict[str, object]:
    return {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": prompt}], **fields}


def test_a_directive_orders_the_counts(simulated: SimulatedProviders) -> None:
    prompt = directive("counts", input=100, cached=24, output=20, reasoning=5)
    answer = post(simulated, CHAT, chat_body(prompt)).json()
    assert answer["model"] == "gpt-4.1-mini-2025-04-14"
    assert answer["usage"]["prompt_tokens"] == 124
    assert answer["usage"]["completion_tokens"] == 25
    assert simulated.served("counts")[0].usage == {"input": 100, "cache_read": 24, "output": 20, "reasoning": 5}


def test_without_a_directive_the_prompt_alone_decides() -> None:
    first, again = plan("What is a ledger?", "gpt-5-mini", None), plan("What is a ledger?", "gpt-5-mini", None)
    assert first == again
    assert first.reasoning > 0
    assert plan("What is a ledger?", "gpt-4.1", None).reasoning == 0
    long = plan("word " * 4000, "gpt-4.1", None)
    assert long.cached > 0
    assert long.cached % 128 == 0


def test_the_callers_bound_holds() -> None:
    bounded = plan(directive(output=500, reasoning=100), "gpt-4.1", 120)
    assert bounded.output + bounded.reasoning == 120


@pytest.mark.parametrize("wanted", [True, False])
def test_an_openai_stream_reports_usage_only_when_asked(simulated: SimulatedProviders, wanted: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if wanted else {}
    body = post(simulated, CHAT, chat_body("Hello", stream=True, **options)).text
    chunks = [json.loads(line[6:]) for line in body.splitlines() if line.startswith("data: {")]
    assert body.endswith("data: [DONE]\n\n")
    assert [chunk["usage"] is not None for chunk in chunks if not chunk["choices"]] == [True] * wanted
    assert all(("usage" in chunk) == wanted for chunk in chunks)


def test_gemini_streams_in_both_framings_with_the_same_counts(simulated: SimulatedProviders) -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": directive(input=9, output=6, reasoning=3)}]}]}
    path = "/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    events = post(simulated, path + "?alt=sse&key=x", body)
    array = post(simulated, path + "?key=x", body).json()
    assert "\r\n\r\n" in events.text
    last = json.loads(events.text.strip().splitlines()[-1][6:])
    assert last["usageMetadata"] == array[-1]["usageMetadata"]
    assert last["usageMetadata"]["totalTokenCount"] == 18
    assert array[0]["usageMetadata"]["totalTokenCount"] < 18


@pytest.mark.parametrize("stream", [False, True])
def test_anthropic_answers_in_openais_format_too_with_all_of_the_prompt_as_input(
    simulated: SimulatedProviders, stream: bool
) -> None:
    prompt = directive(f"compatible-{stream}", input=100, cached=24, output=20, reasoning=5)
    body = {**chat_body(prompt, stream=stream), "model": "claude-haiku-4-5", "stream_options": {"include_usage": True}}
    answer = post(simulated, "/anthropic/v1/chat/completions", body)
    assert answer.status_code == 200, answer.text
    chunks = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    usage = chunks[-1]["usage"] if stream else answer.json()["usage"]
    assert usage == {"prompt_tokens": 124, "completion_tokens": 25, "total_tokens": 149}
    assert simulated.served(f"compatible-{stream}")[0].usage == {"input": 124, "output": 25}


def test_pipelined_requests_are_answered_in_order(simulated: SimulatedProviders) -> None:
    request = b""
    for mark, delay_ms in (("slow", 30), ("fast", 0)):
        body = json.dumps(chat_body(directive(mark, delay_ms=delay_ms), user=mark)).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\ncontent-length: {len(body)}\r\n\r\n"
        request += head.encode() + body
    with socket.create_connection((simulated.host, simulated.port)) as connection:
        connection.sendall(request)
        connection.settimeout(5)
        received = b""
        while received.count(b'"chat.completion"') < 2:
            received += connection.recv(65536)
    slow, fast = simulated.served("slow")[0], simulated.served("fast")[0]
    assert slow.number < fast.number
    assert slow.finished and fast.finished


def test_a_cut_stream_has_no_end_mark(simulated: SimulatedProviders) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        post(simulated, CHAT, chat_body(directive("cut", cut_after=3), stream=True))
    served = simulated.served("cut")[0]
    assert served.pieces_sent == 3
    assert not served.finished


def test_gzip_only_for_those_who_accept_it(simulated: SimulatedProviders) -> None:
    prompt = directive(gzip=True)
    with httpx.Client(trust_env=False) as client:
        headers = {"authorization": "Bearer x", "accept-encoding": "gzip"}
        with client.stream("POST", simulated.url + CHAT, json=chat_body(prompt), headers=headers) as answer:
            raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(raw))["object"] == "chat.completion"
    plain = post(simulated, CHAT, chat_body(prompt), **{"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        (CHAT, chat_body(directive(status=429, retry_after_s=7)), ["error", "code", "rate_limit_exceeded"]),
        ("/anthropic/v1/messages", chat_body(directive(status=529)), ["error", "type", "overloaded_error"]),
        (
            "/gemini/v1beta/models/gemini-2.5-pro:generateContent",
            {"contents": [{"parts": [{"text": directive(status=429, retry_after_s=7)}]}]},
            ["error", "status", "RESOURCE_EXHAUSTED"],
        ),
        ("/groq/openai/v1/chat/completions", chat_body(directive(status=500)), ["error", "type", "server_error"]),
    ],
)
def test_errors_have_each_providers_own_shape(
    simulated: SimulatedProviders, path: str, body: object, kind: list[str]
) -> None:
    answer = post(simulated, path, body, **{"anthropic-version": "2023-06-01"})
    value = answer.json()
    for name in kind[:-1]:
        value = value[name]
    assert value == kind[-1]
    if path == CHAT:
        assert answer.headers["retry-after"] == "7"


def test_a_malformed_directive_is_a_400_that_says_so(simulated: SimulatedProviders) -> None:
    answer = post(simulated, CHAT, chat_body('[[sim:{"input":"many"}]]'))
    assert answer.status_code == 400
    assert "directive" in answer.json()["error"]["message"]


def test_a_call_without_a_credential_is_unauthorized(simulated: SimulatedProviders) -> None:
    with httpx.Client(trust_env=False) as client:
        assert client.post(simulated.url + CHAT, json=chat_body("x")).status_code == 401
        assert client.post(simulated.url + "/anthropic/v1/messages", json={}).status_code == 401
        assert client.post(simulated.url + "/gemini/v1beta/models/m:generateContent", json={}).status_code == 403


def test_a_chunked_upload_is_counted_whole(simulated: SimulatedProviders) -> None:
    boundary, audio = "xyz", b"\0" * 3_000_000
    parts = f'--{boundary}\r\ncontent-disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'.encode()
    parts += f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'.encode()
    whole = parts + audio + f"\r\n--{boundary}--\r\n".encode()
    headers = {"authorization": "Bearer x", "content-type": f"multipart/form-data; boundary={boundary}"}
    pieces = (whole[i : i + 65536] for i in range(0, len(whole), 65536))
    with httpx.Client(trust_env=False) as client:
        answer = client.post(simulated.url + "/openai/v1/audio/transcriptions", content=pieces, headers=headers)
    assert answer.json()["usage"] == {"type": "duration", "seconds": 94}


def test_it_runs_alone_and_logs_each_request_before_it_answers(tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    command = [sys.executable, "-m", "farebox.demo.simulated", "--log", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = json.loads(first_line(process, 20))["base_urls"]["openai"]
        request = urllib.request.Request(
            url + "/v1/chat/completions",
            json.dumps(chat_body(directive("logged", input=7, output=3))).encode(),
            {"authorization": "Bearer x", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200
        process.terminate()
        assert process.wait(10) == 0
    received, finished = read_lines(log)
    assert (received.mark, received.usage) == ("logged", {"input": 7, "output": 3})
    assert finished.finished and finished.number == received.number


def test_static_answers_repeat_byte_for_byte() -> None:
    with SimulatedProviders(static=True) as simulated:
        first, again = post(simulated, CHAT, chat_body("Hi")).content, post(simulated, CHAT, chat_body("Hi")).content
        assert first == again
        assert simulated.truth.count == 2
