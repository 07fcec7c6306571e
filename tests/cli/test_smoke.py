import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

Shell = Callable[..., Any]

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}


class Openai(BaseHTTPRequestHandler):
    """Answers as an OpenAI-compatible service; `/broken` as one that has nothing to say."""

    seen: list[tuple[str, str | None]] = []
    asked: list[tuple[dict[str, str], bytes]] = []

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        self._send(200, "application/json", json.dumps({"data": [{"id": "tiny"}]}).encode())

    def do_POST(self) -> None:
        self.seen.append((self.path, self.headers.get("authorization")))
        body = self.rfile.read(int(self.headers["content-length"]))
        self.asked.append((dict(self.headers.items()), body))
        if self.path.startswith("/broken"):
            self._send(200, "text/html", b"<p>hello</p>")
            return
        try:
            asked = json.loads(body)
        except ValueError:
            error = {"error": {"message": "no JSON", "type": "invalid_request_error", "code": None, "param": None}}
            self._send(400, "application/json", json.dumps(error).encode())
            return
        choice = {"index": 0, "finish_reason": "stop"}
        about = {"id": "c", "created": 1, "model": asked["model"]}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": "ok"}
            answer = {**about, "object": "chat.completion", "choices": [{**choice, "message": message}], "usage": USAGE}
            self._send(200, "application/json", json.dumps(answer).encode())
            return
        chunks = [
            {**about, "object": "chat.completion.chunk", "choices": [{**choice, "delta": {"content": "ok"}}]},
            {**about, "object": "chat.completion.chunk", "choices": [], "usage": USAGE},
        ]
        events = [json.dumps(chunk) for chunk in chunks] + ["[DONE]"]
        self._send(200, "text/event-stream", "".join(f"data: {event}\n\n" for event in events).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Openai)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_provider_is_tried_whole_streamed_and_wrongly(shell: Shell, url: str) -> None:
    shell("providers", "set", "openai", "--base-url", url, "--credential", "sk-real")
    done = shell("providers", "test", "openai", "--json")
    assert done.code == 0
    (result,) = done.data
    assert result["ok"]
    assert [(step["name"], step["status"]) for step in result["steps"]] == [
        ("answer", 200),
        ("stream", 200),
        ("error", 400),
    ]
    for step in result["steps"][:2]:
        assert step["usage"] == {"input": 1000, "output": 100}
        assert step["cost_usd"] == "0.000140000000", "gpt-4.1-nano: 0.10 and 0.40 a million"
    assert Openai.seen[-1] == ("/v1/chat/completions", "Bearer sk-real")


def test_a_service_of_ones_own_is_asked_for_its_first_model(shell: Shell, url: str) -> None:
    shell("providers", "set", "local", "--base-url", f"{url}/v1")
    (result,) = shell("providers", "test", "local", "--json").data
    assert (result["model"], result["ok"]) == ("tiny", True)
    assert result["steps"][0]["cost_usd"] is None, "no price is not a price of 0"


def test_bedrock_is_tried_with_requests_that_its_access_key_signs(shell: Shell, url: str) -> None:
    held = ("AKIDEXAMPLE000000001", "wJalrXUtnFEMI/K7MDENG", "session")
    shell("providers", "set", "bedrock", "--base-url", url, "--credential", ":".join(held))
    Openai.asked.clear()
    (result,) = shell("providers", "test", "bedrock", "--json").data
    assert result["ok"], result
    assert len(Openai.asked) == 3
    for headers, body in Openai.asked:
        lines = {name.lower(): value for name, value in headers.items()}
        assert lines["x-amz-security-token"] == "session"
        request = AWSRequest("POST", f"http://{lines['host']}/openai/v1/chat/completions", {}, body)
        request.context["timestamp"] = lines["x-amz-date"]
        request.headers["X-Amz-Date"] = lines["x-amz-date"]
        request.headers["X-Amz-Security-Token"] = "session"
        signer = SigV4Auth(Credentials(*held), "bedrock", "us-east-1")
        proof = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
        assert lines["authorization"].endswith(f"Signature={proof}")
        assert held[1] not in str(headers)


def test_what_is_wrong_is_said_and_the_exit_code_is_1(shell: Shell, url: str) -> None:
    shell("providers", "set", "openai", "--base-url", f"{url}/broken", "--credential", "sk-real")
    done = shell("providers", "test", "openai")
    assert done.code == 1
    assert "no usage in the answer" in done.out
    assert "not an error" in done.out
    assert "sk-real" not in done.out + done.err


def test_a_provider_that_cannot_be_reached_is_one_line_of_the_table(shell: Shell) -> None:
    shell("providers", "set", "openai", "--base-url", "http://127.0.0.1:1", "--credential", "sk")
    done = shell("providers", "test")
    assert done.code == 1
    assert "failed: ConnectError" in done.out


def test_without_any_credential_it_says_how_to_store_one(shell: Shell) -> None:
    done = shell("providers", "test")
    assert done.code == 1
    assert "--credential-stdin" in done.err
