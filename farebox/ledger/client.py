"""How others ask the ledger: the keeper's socket, blocking or not, or the ledger itself where no keeper runs.

Frames: u32 length (little-endian), then msgpack [request id, method, params] one way and [request id, ok, result or
{"code", "message"}] the other. One connection carries one request at a time.
"""

import asyncio
import itertools
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import msgspec

from farebox import errors
from farebox.errors import FareboxError, KeeperUnavailable, LedgerLocked
from farebox.settings import Settings, run_dir

FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
LENGTH: Final = struct.Struct("<I")
SOCKET_NAME: Final = "keeper.sock"
TIMEOUT_S: Final = 40.0
LONG: Final[Mapping[str, float]] = {
    "flush": 120, "verify": 3600, "reprice": 3600, "export": 3600, "retain": 3600, "simulate": 3600, "what_if": 3600,
}  # fmt: skip
"""Methods that may take longer than TIMEOUT_S."""
ERRORS: Final[dict[str, type[FareboxError]]] = {
    "not_found": errors.NotFound,
    "invalid_query": errors.QueryError,
    "ledger_error": errors.LedgerError,
    "busy": KeeperUnavailable,
    "internal": FareboxError,
}
"""Errors by the code that stands for them in a frame."""
_STARTING_S: Final = 5.0
"""How long a keeper that owns the ledger may take to open its socket."""


class Client(Protocol):
    def call(self, method: str, params: object = None, timeout_s: float | None = None) -> Any: ...
    def close(self) -> None: ...


class KeeperClient:
    """Blocking; for one thread. Connects when first asked, and again after the keeper was restarted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self._ids = itertools.count(1)

    def call(self, method: str, params: object = None, timeout_s: float | None = None) -> Any:
        """The result, as msgpack carries it. Raises KeeperUnavailable where nothing answers in time, and the keeper's
        own errors as what they are."""
        limit = timeout_s or LONG.get(method, TIMEOUT_S)
        number = next(self._ids)
        try:
            connection = self._connected(limit)
            connection.sendall(frame([number, method, params]))
            return result(self._receive(connection), number)
        except (OSError, EOFError) as error:
            self.close()
            raise KeeperUnavailable(unavailable(self._path, error)) from error

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connected(self, timeout_s: float) -> socket.socket:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.settimeout(timeout_s)
                connection.connect(str(self._path))
            except OSError:
                connection.close()
                raise
            self._socket = connection
        self._socket.settimeout(timeout_s)
        return self._socket

    def _receive(self, connection: socket.socket) -> bytes:
        (length,) = LENGTH.unpack(_exactly(connection, LENGTH.size))
        if length > FRAME_BYTES_MAX:
            raise EOFError(f"a frame of {length} bytes")
        return _exactly(connection, length)


class AsyncKeeperClient:
    """For one event loop. Keeps up to `connections_max` connections; more questions wait for a free one."""

    def __init__(self, path: Path, connections_max: int = 8) -> None:
        self._path = path
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._room = asyncio.Semaphore(connections_max)
        self._ids = itertools.count(1)

    async def call(self, method: str, params: object = None, timeout_s: float | None = None) -> Any:
        """As KeeperClient.call."""
        limit = timeout_s or LONG.get(method, TIMEOUT_S)
        try:
            async with asyncio.timeout(limit), self._room:
                return await self._ask(frame([number := next(self._ids), method, params]), number)
        except (OSError, EOFError) as error:  # a timeout is an OSError
            raise KeeperUnavailable(unavailable(self._path, error)) from error

    async def close(self) -> None:
        while self._idle:
            _, writer = self._idle.pop()
            writer.close()

    async def _ask(self, request: bytes, number: int) -> Any:
        reader, writer = await self._connection()
        whole = False
        try:
            writer.write(request)
            await writer.drain()
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            if length > FRAME_BYTES_MAX:
                raise EOFError(f"a frame of {length} bytes")
            answer = await reader.readexactly(length)
            whole = True
        finally:
            if whole:
                self._idle.append((reader, writer))
            else:
                writer.close()
        return result(answer, number)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.close()
        return await asyncio.open_unix_connection(str(self._path), limit=1024 * 1024)


def connect(settings: Settings, price_rows: Callable[[], list[dict[str, object]]] | None = None) -> Client:
    """The running keeper, else the ledger itself: locked, its journals ingested first. `price_rows` gives the rows
    added to the directory, for calls that the ledger must price by itself. Raises LedgerLocked where another process
    owns the ledger and does not answer."""
    deadline = time.monotonic() + _STARTING_S
    while True:
        client = KeeperClient(run_dir(settings) / SOCKET_NAME)
        try:
            client.call("ping", timeout_s=TIMEOUT_S)
            return client
        except KeeperUnavailable:
            client.close()
        from farebox.ledger.local import open_ledger  # the store is loaded only where no keeper runs

        try:
            return open_ledger(settings, price_rows)
        except LedgerLocked:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def frame(message: object) -> bytes:
    body = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(body)) + body


def result(body: bytes, number: int) -> Any:
    """What an answer says. Raises the error that it carries, EOFError where it answers another question."""
    try:
        answered, ok, value = msgspec.msgpack.decode(body)
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise EOFError(f"an answer that cannot be read: {error}") from error
    if answered != number:
        raise EOFError("an answer to another question")
    if ok:
        return value
    raise ERRORS.get(value["code"], FareboxError)(value["message"])


def unavailable(path: Path, error: BaseException) -> str:
    why = str(error) or type(error).__name__
    return f"the keeper does not answer at {path} ({why}): see that `farebox serve` runs, and its log"


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(min(size - len(parts), 1024 * 1024))
        if not part:
            raise EOFError("the keeper closed the connection")
        parts += part
    return bytes(parts)
