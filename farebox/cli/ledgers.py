"""The ledger that a command asks: the local one, through its keeper or alone, or a server's."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Protocol
from urllib.parse import quote

import typer

from farebox.cli.context import Remote, UsageError, remote_of, settings_of
from farebox.core import asking
from farebox.core.queries import EventsQuery, UsageQuery
from farebox.settings import Settings, load

Where = Annotated[
    list[str] | None,
    typer.Option("--where", "-w", help="Only calls with NAME=VALUE, such as tier=free or tag.region=eu; repeatable."),
]
Since = Annotated[str | None, typer.Option("--since", help="From when: 30d, 24h, 2026-11-01, or all.")]
Until = Annotated[str | None, typer.Option("--until", help="Until when, exclusive; written like --since.")]
Zone = Annotated[str, typer.Option("--time-zone", help="IANA name for days and dates.")]


class Ledger(Protocol):
    """Answers questions in the shapes of the API."""

    def usage(self, query: UsageQuery) -> dict[str, Any]:
        """{"columns": […], "rows": […], "meta": {…}}"""
        ...

    def events(self, query: EventsQuery) -> dict[str, Any]:
        """{"data": […], "next_cursor": …}"""
        ...

    def evidence(self, event_id: str) -> dict[str, Any]:
        """The event's fields with attempts, arithmetic and corrections beside them. Raises NotFound."""
        ...

    def unpriced(self) -> list[dict[str, Any]]: ...

    def verify(self, sample: int) -> dict[str, Any]:
        """{"ok": …, "checks": [{"name", "ok", "detail"}, …]}"""
        ...


class LocalLedger:
    """Through the running keeper's socket, else in this process."""

    def __init__(self, client: Any) -> None:  # Any: keeper's client or the ledger itself, both with `call`
        self.client = client

    def usage(self, query: UsageQuery) -> dict[str, Any]:
        found: dict[str, Any] = self.client.call("usage", query)
        return found

    def events(self, query: EventsQuery) -> dict[str, Any]:
        found: dict[str, Any] = self.client.call("events", query)
        return found

    def evidence(self, event_id: str) -> dict[str, Any]:
        answer = self.client.call("event", {"id": event_id})
        return {**answer["event"], **{name: value for name, value in answer.items() if name != "event"}}

    def unpriced(self) -> list[dict[str, Any]]:
        return list(self.client.call("unpriced"))

    def verify(self, sample: int) -> dict[str, Any]:
        found: dict[str, Any] = self.client.call("verify", {"sample": sample})
        return found


class RemoteLedger:
    """Through a server's API."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote

    def usage(self, query: UsageQuery) -> dict[str, Any]:
        answer = self.remote.call("GET", "/usage", params=_params(asking.usage_pairs(query)))
        return {"columns": answer["meta"]["columns"], "rows": answer["data"], "meta": answer["meta"]}

    def events(self, query: EventsQuery) -> dict[str, Any]:
        found: dict[str, Any] = self.remote.call("GET", "/events", params=_params(asking.events_pairs(query)))
        return found

    def evidence(self, event_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.remote.call("GET", f"/events/{quote(event_id, safe='')}")
        return found

    def unpriced(self) -> list[dict[str, Any]]:
        return list(self.remote.call("GET", "/prices/unpriced")["data"])

    def verify(self, sample: int) -> dict[str, Any]:
        found: dict[str, Any] = self.remote.call("GET", "/verify", params={"sample": str(sample)})
        return found


@contextmanager
def ledger_of(data: Path | None, config: Path | None, url: str | None, token: str | None) -> Iterator[Ledger]:
    """The server of --url, else the ledger of --data, whether or not a server runs on it. Raises FareboxError."""
    if remote := remote_of(url, token):
        try:
            yield RemoteLedger(remote)
        finally:
            remote.close()
        return
    client = connected(settings_of(data, config))
    try:
        yield LocalLedger(client)
    finally:
        client.close()


def connected(settings: Settings, *, may_be_new: bool = False) -> Any:  # Any: as LocalLedger's client
    """The running keeper, else the ledger itself, with the prices that were added. Close it. Raises FareboxError; also
    where the data directory that was asked for is none, unless it `may_be_new`: a wrong one must not read as if nothing
    had been spent. The default one is empty until there are calls."""
    from farebox.ledger.client import connect  # loads the store where no keeper runs

    if not (may_be_new or settings.data.is_dir() or settings.data == load(env={}).data):
        raise UsageError(f"there is no data directory {settings.data}: give --data DIR, or --url of a server")

    def price_rows() -> list[dict[str, object]]:
        from farebox.directory.store import Directory
        from farebox.directory.watch import directory_path

        if not directory_path(settings).exists():
            return []
        directory = Directory.open(settings)
        try:
            return directory.list_price_rows()
        finally:
            directory.close()

    return connect(settings, price_rows)


def stats_of(settings: Settings, ledger: Any) -> dict[str, Any]:
    """The ledger's own figures, while `ledger` may be busy with another question. Raises KeeperUnavailable."""
    from farebox.ledger.client import SOCKET_NAME, KeeperClient
    from farebox.settings import run_dir

    if not isinstance(ledger, KeeperClient):
        return dict(ledger.call("stats"))
    with KeeperClient(run_dir(settings) / SOCKET_NAME) as other:
        return dict(other.call("stats"))


def where_pairs(words: list[str] | None) -> list[tuple[str, str]]:
    """--where words as filters; 'tier=' asks for calls that have none. Raises UsageError."""
    found = []
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"--where {word!r}: write NAME=VALUE, such as tier=free")
        found += [(name, part) for part in value.split(",")]
    return found


def when_pairs(since: str | None, until: str | None, time_zone: str) -> list[tuple[str, str]]:
    """--since and --until as they stand in a query string; 'all' is from the beginning."""
    begins = [] if since in (None, "", "all") else [("since", str(since))]
    return [*begins, *([("until", until)] if until else []), ("time_zone", time_zone)]


def now_us() -> int:
    return time.time_ns() // 1000


def _params(pairs: list[tuple[str, str]]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found
