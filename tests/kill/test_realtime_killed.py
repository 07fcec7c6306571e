"""kill -9 in the middle of a realtime session: it is booked once, by what it had used so far."""

import base64
import hashlib
import os
import socket
from collections.abc import Callable

from harness import Farebox
from running_worker import Upstream
from scripted import once, wait_for_end

EVENT = (
    b'{"type":"response.done","response":{"id":"r","usage":{"input_tokens":100,"output_tokens":20,"total_tokens":120}}}'
)


def test_a_killed_session_is_booked_by_its_last_known_counts(installation: Callable[..., Farebox]) -> None:
    nonce = base64.b64encode(os.urandom(16))
    accept = base64.b64encode(hashlib.sha1(nonce + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    upstream = Upstream(once(head + accept + b"\r\n\r\n\x81" + bytes([len(EVENT)]) + EVENT, wait_for_end))
    server = installation(env={"FAREBOX_PROVIDERS_OPENAI_BASE_URL": upstream.url})
    server.start()
    key = server.key("voice")
    lines = [
        b"GET /proxy/openai/v1/realtime?model=gpt-realtime HTTP/1.1", b"Host: localhost", b"Upgrade: websocket",
        b"Connection: Upgrade", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: " + nonce,
        b"Authorization: Bearer " + key.secret.encode(), b"x-tenant-id: acme",
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.settimeout(10)
        sock.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        data = b""
        while EVENT not in data:
            more = sock.recv(65536)
            assert more, data
            data += more
        server.kill("worker")
        assert sock.recv(100) == b""
    event = server.the_event()
    assert {name: event[name] for name in ("state", "operation", "tenant", "usage", "cost_source", "streaming")} == {
        "state": "interrupted",
        "operation": "realtime",
        "tenant": "acme",
        "usage": {"input": 100, "output": 20},
        "cost_source": "estimated",
        "streaming": True,
    }
    upstream.close()
