"""Questions over the keeper's unix socket: framed, bounded, each answered by a thread. The frames are client.py's."""

import asyncio
import contextlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from farebox.errors import FareboxError, KeeperUnavailable, LedgerError, NotFound, QueryError
from farebox.keeper.authority import Authority
from farebox.keeper.authorizing import authorize
from farebox.keeper.explaining import explain
from farebox.keeper.messages import Message
from farebox.ledger.client import FRAME_BYTES_MAX, LENGTH, frame
from farebox.ledger.ledger import Ledger
from farebox.ledger.service import METHODS, answer

READERS: Final = 6
"""Questions answered at the same time; more wait."""
SLOW: Final = frozenset({"verify", "reprice", "export", "retain", "simulate", "what_if"})
"""Methods with a thread of their own, so that they hold up no page."""
SUMS_AT_ONCE: Final = 2
"""Reports' questions at the same time: each may bring a million rows."""
CONNECTIONS_MAX: Final = 256
_question: Final = msgspec.msgpack.Decoder(tuple[int, str, msgspec.Raw]).decode
_message: Final = msgspec.msgpack.Decoder(Message).decode
_log = logging.getLogger("farebox.keeper")


class Server:
    def __init__(self, ledger: Ledger, authority: Authority) -> None:
        self._ledger = ledger
        self._authority = authority
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="answer")
        self._slow = ThreadPoolExecutor(1, thread_name_prefix="slow")
        self._flusher = ThreadPoolExecutor(1, thread_name_prefix="flush")
        self._makers = ThreadPoolExecutor(2, thread_name_prefix="makers")
        self._sums = ThreadPoolExecutor(SUMS_AT_ONCE, thread_name_prefix="sums")
        # A call waits for `makers` and `counted`: no page may keep it waiting.
        self._own = {
            "flush": self._flusher, "makers": self._makers, "counted": self._makers, "authorize": self._makers,
            "sums": self._sums, "changed_sums": self._sums,
        }  # fmt: skip
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, path: Path) -> None:
        """Listen; only the owner may connect. A socket left by a dead keeper is replaced: the ledger's lock says that
        there is no other."""
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._accept, str(path), limit=1024 * 1024)
        finally:
            os.umask(before)

    async def stop(self) -> None:
        """Take no more questions. Those being asked end with the connection."""
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        for pool in (self._readers, self._slow, self._flusher, self._makers, self._sums):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) <= CONNECTIONS_MAX:
                await self._converse(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            return  # the asker is gone, or the keeper ends
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            if length > FRAME_BYTES_MAX:
                return
            body = await reader.readexactly(length)
            writer.write(await self._answer(body))
            await writer.drain()

    async def _answer(self, body: bytes) -> bytes:
        try:
            number, method, raw = _question(body)
            if method == "lease":
                return self._lease(number, raw)
            params: object = msgspec.msgpack.decode(raw)
        except msgspec.DecodeError:
            return frame([0, False, {"code": "invalid_query", "message": "a frame is [number, method, params]"}])
        loop = asyncio.get_running_loop()
        pool = self._slow if method in SLOW else self._own.get(method, self._readers)
        try:
            return await loop.run_in_executor(pool, self._framed, number, method, params)
        except Exception as error:  # noqa: BLE001 - outermost loop: one asker's defect must not end the keeper
            _log.exception("a question failed: %s", method if method in METHODS else "unknown")
            return _refused(number, "internal", f"the keeper failed at {method}: {type(error).__name__}")

    def _lease(self, number: int, raw: msgspec.Raw) -> bytes:
        """Here and now, on the loop: a call waits for it, and it waits for nothing."""
        try:
            said = _message(raw)
        except msgspec.DecodeError as error:
            return _refused(number, "invalid_query", f"lease: {error}")
        return frame([number, True, self._authority.lease(said)])

    def _framed(self, number: int, method: str, params: object) -> bytes:
        try:
            if method == "limits_explain":
                answered = frame([number, True, explain(self._authority, params)])
            elif method == "authorize":
                answered = frame([number, True, authorize(self._authority, self._ledger.pricer, params)])
            elif method == "limits_near":
                answered = frame([number, True, self._authority.near(params)])
            else:
                answered = frame([number, True, answer(self._ledger, method, params)])
        except FareboxError as error:
            return _refused(number, code_of(error), str(error))
        if len(answered) > FRAME_BYTES_MAX:
            return _refused(number, "invalid_query", "the answer is too large: ask for less, or export to a file")
        return answered


def code_of(error: FareboxError) -> str:
    if isinstance(error, NotFound):
        return "not_found"
    if isinstance(error, QueryError):
        return "invalid_query"
    if isinstance(error, KeeperUnavailable):
        return "busy"
    return "ledger_error" if isinstance(error, LedgerError) else "internal"


def _refused(number: int, code: str, message: str) -> bytes:
    return frame([number, False, {"code": code, "message": message}])
