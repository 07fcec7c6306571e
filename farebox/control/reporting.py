"""Reports on the control plane: facts from the keeper and the directory, in threads of their own."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from farebox.control.parts import Parts
from farebox.core.customers import Books
from farebox.core.limits import Limit
from farebox.directory.store import Directory
from farebox.ledger.client import SOCKET_NAME, KeeperClient
from farebox.reports.asking import asked
from farebox.reports.facts import AskedFacts
from farebox.reports.held import HeldSums
from farebox.reports.report import Answer, Asked, Facts, Report

AT_ONCE: Final = 4
"""Reports that are made at the same time; more wait."""
ANSWER_MARGIN_S: Final = 5
"""The keeper ends a question that takes too long; only then does the wait for its answer end."""
_threads: Final = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="report")


def facts_of(parts: Parts, loop: asyncio.AbstractEventLoop) -> Facts:
    """For a thread other than the loop's: questions go over the loop's connections to the keeper."""
    timeout_s = parts.settings.ledger.query_timeout_s + ANSWER_MARGIN_S

    def ask(method: str, params: object) -> Any:
        return asyncio.run_coroutine_threadsafe(parts.keeper.call(method, params, timeout_s=timeout_s), loop).result()

    return AskedFacts(ask, limits_of(parts.directory), books_of(parts.directory))


def facts_here(parts: Parts) -> Callable[[], Facts]:
    """For threads that have no loop to ask by: each has a connection of its own to the keeper."""
    own, held = threading.local(), HeldSums()

    def make() -> Facts:
        client: KeeperClient | None = getattr(own, "client", None)
        if client is None:
            client = own.client = KeeperClient(parts.run_dir / SOCKET_NAME)
        timeout_s = parts.settings.ledger.query_timeout_s + ANSWER_MARGIN_S
        asking = client

        def ask(method: str, params: object) -> Any:
            return asking.call(method, msgspec.to_builtins(params), timeout_s)

        return AskedFacts(ask, limits_of(parts.directory), books_of(parts.directory), held)

    return make


async def answered(parts: Parts, report: Report, pairs: Sequence[tuple[str, str]]) -> tuple[Asked, Answer]:
    """What these names and values ask, and the answer. Raises QueryError, KeeperUnavailable."""
    loop = asyncio.get_running_loop()
    question = asked(report, pairs, parts.now_us())
    return question, await in_thread(lambda: report.answer(question, facts_of(parts, loop)))


async def in_thread(work: Callable[[], Any]) -> Any:
    """Run what blocks among the reports' threads, so that it keeps no page waiting."""
    return await asyncio.get_running_loop().run_in_executor(_threads, work)


def limits_of(directory: Directory) -> Callable[[], list[Limit]]:
    return lambda: [row.limit for row in directory.limits.list()]


def books_of(directory: Directory) -> Callable[[int | None], Books]:
    return lambda as_of_us: directory.books(as_of_us)
