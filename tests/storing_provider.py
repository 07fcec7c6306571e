"""A provider that stores files, batches and their results, and background responses; on two APIs' routes."""

import itertools
import json
import threading
from typing import Any

from running_worker import Peer, response

USAGE = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
MODEL = "gpt-4.1-mini-2025-04-14"
RESPONSE_COST = 1000 * 400_000 + 100 * 1_600_000
BATCH_COST = 2 * RESPONSE_COST // 2
"""Two lines of the same usage, at half the price."""
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "model": "claude-haiku-4-5",
    "usage": {"input_tokens": 9, "output_tokens": 3},
}


class StoringProvider:
    """Pass `handler` to an Upstream. `polls` says how often a response is still in progress when it is read."""

    def __init__(self, polls: int = 1) -> None:
        self.polls = polls
        self._numbers = itertools.count(1)
        self._objects: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def handler(self, peer: Peer) -> None:
        while True:
            head, _, body = peer.request().partition(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            with self._lock:
                status, answer = self.answer(method, target.partition("?")[0], body)
            begun = _begun(method, target)
            extra = [f"Location: /v1/{begun}/rtc_Ab{next(self._numbers)}".encode()] if begun else []
            text = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            peer.send(response(text, *extra, status=status))

    def answer(self, method: str, path: str, body: bytes) -> tuple[bytes, object]:
        parts = path.strip("/").split("/")[1:]
        if parts[:2] == ["messages", "batches"]:
            parts = ["batches", *parts[2:]]
        if parts in (["chat", "completions"], ["fine_tuning", "jobs"]):
            return b"200 OK", {"id": f"{parts[1]}-1", "object": parts[1], "model": MODEL}
        if method == "POST" and parts == ["realtime", "calls"]:
            return b"201 Created", b"v=0\r\n"
        if method == "POST" and len(parts) == 1:
            return b"200 OK", self._make(parts[0], body)
        found = self._objects.get(parts[1]) if len(parts) > 1 else None
        if found is None:
            return b"404 Not Found", {"error": {"message": "no such object", "type": "invalid_request_error"}}
        if method == "DELETE":
            del self._objects[parts[1]]
            return b"200 OK", {"id": parts[1], "deleted": True}
        if parts[2:] in (["content"], ["results"]):
            return b"200 OK", self._results(parts[2])
        return b"200 OK", self._read(parts[0], found, cancel=parts[2:] == ["cancel"])

    def _make(self, kind: str, body: bytes) -> dict[str, Any]:
        number = next(self._numbers)
        if kind == "messages":
            return MESSAGE
        prefix = {"files": "file-", "batches": "batch_", "responses": "resp_"}.get(kind, kind)
        made: dict[str, Any] = {"id": f"{prefix}{number}", "object": kind.removesuffix("s"), "status": "queued"}
        asked = json.loads(body) if body[:1] == b"{" else {}
        if kind == "batches":
            made |= {"object": "batch", "input_file_id": asked.get("input_file_id"), "output_file_id": None}
        if kind == "responses":
            made |= {"model": MODEL, "usage": None, "polls": 0}
            if not asked.get("background"):
                made |= {"status": "completed", "usage": USAGE}
        self._objects[made["id"]] = made
        return made

    def _read(self, kind: str, found: dict[str, Any], *, cancel: bool) -> dict[str, Any]:
        if kind == "batches" and found.get("output_file_id") is None:
            out = f"file-{next(self._numbers)}"
            self._objects[out] = {"id": out, "object": "file"}
            found |= {"status": "completed", "output_file_id": out}
        if kind == "responses" and found["usage"] is None:
            if cancel or found["polls"] >= self.polls:
                found |= {"status": "cancelled" if cancel else "completed", "usage": USAGE}
            else:
                found |= {"status": "in_progress", "polls": found["polls"] + 1}
        return found

    def _results(self, kind: str) -> bytes:
        body = {"id": "x", "object": "chat.completion", "model": MODEL, "usage": {
            "prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}}  # fmt: skip
        line = {"custom_id": "1", "response": {"status_code": 200, "body": body}}
        message = MESSAGE | {"usage": {"input_tokens": 1000, "output_tokens": 100, "service_tier": "batch"}}
        if kind == "results":
            line = {"custom_id": "1", "result": {"type": "succeeded", "message": message}}
        return b"\n".join([json.dumps(line).encode()] * 2) + b"\n"


def _begun(method: str, target: str) -> str:
    """The collection of the call that a request begins; '' for any other request."""
    return "realtime/calls" if method == "POST" and target.endswith("/realtime/calls") else ""
