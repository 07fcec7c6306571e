"""Scripts for upstreams of the gateway's tests, and the check that a worker's books balance."""

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from running_worker import Peer, Running, read_answer

from farebox.core.events import Head
from farebox.ledger.slots import FLAG_OPEN, SLOT_BYTES

Step = bytes | float | Callable[[Peer], object]
ONCE_EACH = {2, 3}
"""Kinds of records that end an attempt: finished, voided."""


def play(*steps: Step) -> Callable[[Peer], None]:
    """For each request: send the bytes, wait the seconds, call what can be called. Then the next request."""

    def handler(peer: Peer) -> None:
        while True:
            peer.request()
            perform(peer, *steps)

    return handler


def once(*steps: Step) -> Callable[[Peer], None]:
    """As `play`, for one request a connection, which then closes."""

    def handler(peer: Peer) -> None:
        peer.request()
        perform(peer, *steps)

    return handler


def perform(peer: Peer, *steps: Step) -> None:
    for step in steps:
        if isinstance(step, bytes):
            peer.send(step)
        elif isinstance(step, float):
            time.sleep(step)
        else:
            step(peer)


def reset(peer: Peer) -> None:
    """Close so that the other side sees a reset."""
    reset_socket(peer.sock)


def reset_socket(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def wait_for_end(peer: Peer) -> None:
    """Read until the other side hangs up; `upstream.hung_up` is set then."""
    with contextlib.suppress(OSError):
        while peer.sock.recv(65536):
            pass
    hung_up(peer.upstream).set()


@contextlib.contextmanager
def crowded() -> Iterator[str]:
    """The URL of a listener whose queue is full: it neither takes nor refuses a connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(4):
            guest = stack.enter_context(socket.socket())
            guest.setblocking(False)
            guest.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def hung_up(upstream: object) -> threading.Event:
    """Set once a script that waited for the gateway to hang up has seen it."""
    return upstream.__dict__.setdefault("hung_up", threading.Event())  # type: ignore[no-any-return]


def chunked(*pieces: bytes, end: bool = True) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return body + (b"0\r\n\r\n" if end else b"")


def sse_head(*headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 200 OK", b"Content-Type: text/event-stream", b"Transfer-Encoding: chunked", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def delta(text: str) -> bytes:
    return (
        b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-4.1-mini-2025-04-14","choices":'
        b'[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % text.encode()
    )


USAGE_CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-4.1-mini-2025-04-14","choices":[],'
    b'"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}\n\n'
)
DONE = b"data: [DONE]\n\n"
STREAM = b'{"model":"gpt-4.1-mini","stream":true,"messages":[{"role":"user","content":"hi"}]}'
GEMINI_PATH = "/proxy/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
GEMINI_BODY = b'{"contents":[{"parts":[{"text":"hi"}]}]}'


def gemini_event(text: str, output: int) -> bytes:
    return (
        b'data: {"candidates":[{"content":{"parts":[{"text":"%b"}],"role":"model"}}],"usageMetadata":'
        b'{"promptTokenCount":10,"candidatesTokenCount":%d,"totalTokenCount":%d},"modelVersion":"gemini-2.5-flash"}'
        b"\r\n\r\n" % (text.encode(), output, 10 + output)
    )


def call(worker: Running, body: bytes, *headers: str, path: str = "/proxy/openai/v1/chat/completions") -> bytes:
    """The bytes of one POST."""
    return worker.head(path, *headers) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def get(worker: Running, path: str = "/proxy/openai/v1/models", *headers: str) -> bytes:
    return worker.head(path, *headers, method="GET") + b"\r\n"


def ask(worker: Running, data: bytes):  # type: ignore[no-untyped-def]
    """Send these bytes on a connection of their own and read one answer."""
    with worker.connect() as sock:
        sock.sendall(data)
        return read_answer(sock)


def until(condition: Callable[[], object], within_s: float = 5) -> bool:
    """Wait for it; whether it came."""
    end = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def unbalanced(worker: Running) -> list[str]:
    """What is wrong with the records of a worker that has ended: attempts without an end or with two, ends without a
    start, slots and exchanges left behind."""
    started: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for kind, head, _ in worker.records():
        event_id = head.id if isinstance(head, Head) else head
        if kind == 1:
            started[event_id] += 1
        elif kind in ONCE_EACH and (isinstance(head, str) or head.attempt):  # what is billed apart is no attempt
            ended[event_id] += 1
    wrong = [f"{event_id} ended {ended[event_id]} times" for event_id in started if ended[event_id] != 1]
    if not worker.worker.meters.pass_when_full:
        wrong += [f"{event_id} was never started" for event_id in ended if event_id not in started]
    wrong += [f"slot {index} is open" for index in open_slots(worker)]
    if worker.worker.exchanges:
        wrong.append(f"{len(worker.worker.exchanges)} exchanges are left")
    if worker.worker.meters.unsettled:
        wrong.append("records wait for the disk")
    return wrong


def open_slots(worker: Running) -> list[int]:
    try:
        data = (worker.journal_directory / "open.slots").read_bytes()
    except FileNotFoundError:  # a keeper beside it has read all of an ended worker's journal
        return []
    flags = [struct.unpack_from("@q", data, at + 56)[0] for at in range(0, len(data), SLOT_BYTES)]
    return [index for index, flag in enumerate(flags) if flag & FLAG_OPEN]
