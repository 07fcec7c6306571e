"""A fake of Google's side of Vertex AI: a token server, and models that take only the tokens it has granted."""

import json
import threading
from base64 import urlsafe_b64decode
from collections.abc import Callable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

EMAIL = "meter@example-project.iam.gserviceaccount.com"
GEMINI = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello there"}]}, "finishReason": "STOP"}],
    "usageMetadata": {
        "promptTokenCount": 80,
        "candidatesTokenCount": 22,
        "totalTokenCount": 117,
        "trafficType": "ON_DEMAND",
        "cachedContentTokenCount": 20,
        "thoughtsTokenCount": 15,
    },
    "modelVersion": "gemini-2.5-flash",
    "responseId": "r1",
}
GEMINI_METERS = {"input": 60, "cache_read": 20, "output": 22, "reasoning": 15}
EMBEDDING = {
    "predictions": [{"embeddings": {"statistics": {"truncated": False, "token_count": 14}, "values": [0.5, 0.25]}}],
    "metadata": {"billableCharacterCount": 55},
}
EMBEDDED = {
    "embedding": {"values": [0.5, 0.25]},
    "usageMetadata": {"promptTokenCount": 14, "totalTokenCount": 14},
    "truncated": False,
}
CLAUDE: dict[str, Any] = {
    "id": "msg_vrtx_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 12,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 7,
    },
}
CLAUDE_METERS = {"input": 12, "cache_read": 1000, "output": 7}


@cache
def private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_file(token_uri: str, **changes: object) -> str:
    """A service account's key file, as Google writes it: many lines."""
    pem = private_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    members = {
        "type": "service_account",
        "project_id": "example-project",
        "private_key_id": "0123456789abcdef",
        "private_key": pem.decode(),
        "client_email": EMAIL,
        "client_id": "1234567890",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": token_uri,
        "token_uri_trusted": True,
    }
    return json.dumps(members | changes, indent=2)


class FakeGoogle:
    """`granted`: tokens so far. `refuse`: (status, body) that the token server answers instead. `calls`: (path,
    headers, body) that reached a model with a good token."""

    def __init__(self, life_s: float = 3600) -> None:
        self.life_s = life_s
        self.granted: list[str] = []
        self.claims: list[dict[str, Any]] = []
        self.asked = 0
        self.refuse: tuple[int, bytes] | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def key_file(self) -> str:
        return key_file(f"{self.url}/token")

    def token(self, form: bytes) -> tuple[int, bytes]:
        """Answer a request for a token, whose signature and claims must be right."""
        self.asked += 1
        self.hold.wait(10)
        if self.refuse is not None:
            return self.refuse
        fields = parse_qs(form.decode())
        assert fields["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        head, claims, signature = fields["assertion"][0].split(".")
        private_key().public_key().verify(
            _decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        assert json.loads(_decoded(head)) == {"alg": "RS256", "typ": "JWT", "kid": "0123456789abcdef"}
        self.claims.append(json.loads(_decoded(claims)))
        self.granted.append(f"ya29.fake-{len(self.granted)}")
        made = {"access_token": self.granted[-1], "expires_in": self.life_s, "token_type": "Bearer"}
        return 200, json.dumps(made).encode()

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
        if headers.get("authorization", "").removeprefix("Bearer ") not in self.granted:
            error = {"error": {"code": 401, "message": "invalid credentials", "status": "UNAUTHENTICATED"}}
            return 401, "application/json", json.dumps(error).encode()
        try:
            json.loads(body)
        except ValueError:
            error = {"error": {"code": 400, "message": "Invalid JSON payload", "status": "INVALID_ARGUMENT"}}
            return 400, _JSON, json.dumps(error).encode()
        self.calls.append((path, headers, body))
        verb = path.partition("?")[0].rpartition(":")[2]
        kind, made = _ANSWERS.get(verb, _ANSWERS["generateContent"])
        return 200, kind, made() if "count-tokens" not in path else b'{"input_tokens":33}'

    def close(self) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def gemini_stream() -> bytes:
    """Server-sent events as Google frames them: CRLF, counts in each chunk, no end mark."""
    early = {"promptTokenCount": 80, "totalTokenCount": 80, "trafficType": "ON_DEMAND"}
    first = {"candidates": [{"content": {"parts": [{"text": "Hello"}]}}], "usageMetadata": early}
    return "".join(f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in (first, GEMINI)).encode()


def claude_stream() -> bytes:
    start = {"type": "message_start", "message": {**CLAUDE, "content": [], "stop_reason": None}}
    usage = {"output_tokens": 7}
    events = [
        start,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": usage},
        {"type": "message_stop"},
    ]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


_JSON, _SSE = "application/json; charset=UTF-8", "text/event-stream"
_ANSWERS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "generateContent": (_JSON, lambda: json.dumps(GEMINI).encode()),
    "streamGenerateContent": (_SSE, gemini_stream),
    "countTokens": (_JSON, lambda: b'{"totalTokens": 33}'),
    "embedContent": (_JSON, lambda: json.dumps(EMBEDDED).encode()),
    "predict": (_JSON, lambda: json.dumps(EMBEDDING).encode()),
    "rawPredict": (_JSON, lambda: json.dumps(CLAUDE).encode()),
    "streamRawPredict": (_SSE, claude_stream),
}


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _handler(google: FakeGoogle) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.path == "/token":
                status, answer = google.token(body)
                kind = _JSON
            else:
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, kind, answer = google.answer(self.path, headers, body)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    return Handler
