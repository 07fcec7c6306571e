"""AWS event streams as a provider writes them, for tests."""

import base64
import json
from binascii import crc32
from typing import Any


def header(name: str, value: str) -> bytes:
    return bytes([len(name)]) + name.encode() + b"\x07" + len(value.encode()).to_bytes(2) + value.encode()


def message(payload: bytes, **headers: str) -> bytes:
    """One message; header names with '_' for '-' and without their leading ':'."""
    block = b"".join(header(":" + name.replace("_", "-"), value) for name, value in headers.items())
    prelude = (12 + len(block) + len(payload) + 4).to_bytes(4) + len(block).to_bytes(4)
    body = prelude + crc32(prelude).to_bytes(4) + block + payload
    return body + crc32(body).to_bytes(4)


def event(kind: str, content: Any) -> bytes:
    payload = content if isinstance(content, bytes) else json.dumps(content).encode()
    return message(payload, event_type=kind, content_type="application/json", message_type="event")


def exception(kind: str, text: str) -> bytes:
    payload = json.dumps({"message": text}).encode()
    return message(payload, exception_type=kind, content_type="application/json", message_type="exception")


def chunk(content: Any) -> bytes:
    """A chunk of an invoke stream: the vendor's own event in base64."""
    return event("chunk", {"bytes": base64.b64encode(json.dumps(content).encode()).decode(), "p": "abcd"})


def converse(*texts: str, usage: dict[str, Any] | None = None, **facts: Any) -> bytes:
    """A stream of ConverseStream: its text in pieces, its end, and then its usage."""
    pieces = [event("messageStart", {"role": "assistant"})]
    pieces += [event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}) for text in texts]
    pieces += [event("contentBlockStop", {"contentBlockIndex": 0}), event("messageStop", {"stopReason": "end_turn"})]
    if usage is not None:
        pieces.append(event("metadata", {"usage": usage, "metrics": {"latencyMs": 5}, **facts}))
    return b"".join(pieces)
