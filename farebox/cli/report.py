"""`farebox report`: the questions that a founder asks, answered from the ledger."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from farebox.cli.context import (
    Config,
    Data,
    Json,
    Remote,
    Token,
    Url,
    UsageError,
    command_group,
    console,
    fail,
    hint,
    print_json,
    print_table,
    remote_of,
    settings_of,
)
from farebox.cli.ledgers import Where, connected, now_us, where_pairs
from farebox.errors import NotFound
from farebox.reports.asking import asked
from farebox.reports.facts import Ask, AskedFacts
from farebox.reports.registry import REPORTS, find
from farebox.reports.report import Answer, Asked, Facts, Report
from farebox.reports.showing import csv_of, described, shown
from farebox.settings import Settings

app = command_group("Reports: top customers, tiers, waste, audit and more.")

TABLE_TOP: Final = "20"
REMOTE_TIMEOUT_S: Final = 600.0
Pairs = list[tuple[str, str]]


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def report(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Which report; without one, all are listed.")
    ] = None,
    since: Annotated[str | None, typer.Option("--since", help="From when: 30d, 2026-11-01, or all.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Until when, exclusive; written like --since.")] = None,
    month: Annotated[str | None, typer.Option("--month", help="2026-10, this or last.")] = None,
    time_zone: Annotated[str, typer.Option("--time-zone", help="IANA name for days and months.")] = "UTC",
    where: Where = None,
    by: Annotated[str | None, typer.Option("--by", help="What `trend` is split by: --option by=….")] = None,
    top: Annotated[int | None, typer.Option("--top", help="Rows: 20 in a table, else 100 unless said.")] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Only what had been booked by then.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="NAME=VALUE", help="A report's own option; repeatable.")
    ] = None,
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Write its chart as a picture.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page.")] = None,
    send: Annotated[str | None, typer.Option("--send", metavar="CHANNEL", help="Send it to a channel now.")] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Answer a question from the ledger, or list the questions that there are.

    A report's own options may stand by their names, too: farebox report plan-calculator --like acme --price 59.
    """
    if name is not None and name.startswith("-"):
        raise UsageError(f"{name[:80]!r} is no option here; name a report first")
    if as_json and as_csv:
        raise UsageError("give --json or --csv, not both")
    if name is None:
        _list(as_json)
        return
    chosen = _find(name)
    is_table = not (as_json or as_csv or png or html or send)
    pairs = [
        *_said(since=since, until=until, month=month, time_zone=time_zone, as_of=as_of, by=by),
        *([("top", str(top) if top is not None else TABLE_TOP)] if top is not None or is_table else []),
        *_options(option),
        *_own(context.args, chosen),
        *where_pairs(where),
    ]
    question = asked(chosen, pairs, now_us())
    if remote := remote_of(url, token):
        with closing(remote):
            answered: _Answered = _Remote(remote, chosen, pairs)
            _tell(answered, as_json, as_csv, png, html, send)
        return
    settings = settings_of(data, config)
    with local_facts(settings, may_be_new=chosen.period == "none") as facts:
        answer = chosen.answer(question, facts)
    _tell(_Local(settings, chosen, question, answer), as_json, as_csv, png, html, send)


class _Local:
    """An answer that was made here."""

    def __init__(self, settings: Settings, report: Report, question: Asked, answer: Answer) -> None:
        self._settings = settings
        self._report = report
        self._question = question
        self._answer = answer

    def data(self) -> dict[str, Any]:
        return shown(self._report, self._question, self._answer)

    def csv(self) -> str:
        return csv_of(self._answer.columns, self._answer.rows)

    def png(self) -> bytes:
        from farebox.reports.pictures import png

        return png(self._answer)

    def html(self) -> bytes:
        from farebox.reports.pictures import page

        return page(self._report, self._answer).encode()

    def send(self, channel: str) -> dict[str, Any]:
        from farebox.alerts.dispatcher import send_message
        from farebox.control.alerting import target_of
        from farebox.directory.store import Directory
        from farebox.errors import DeliveryFailed
        from farebox.reports import telling

        with closing(Directory.open(self._settings)) as directory:
            target = target_of(directory, directory.channels.get(channel))
        finding, message = telling.finding(self._report, now_us()), telling.message(self._report, self._answer)
        try:
            send_message(target, finding, message, now_us(), self._settings.alerts.dashboard_url)
        except DeliveryFailed as error:
            return {"ok": False, "error": str(error)}
        return {"ok": True, "error": None}


class _Remote:
    """An answer that a server makes."""

    def __init__(self, remote: Remote, report: Report, pairs: Pairs) -> None:
        self._remote = remote
        self._path = f"/reports/{report.name}"
        self._params: dict[str, list[str]] = {}
        for name, value in pairs:
            self._params.setdefault(name, []).append(value)

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self._remote.call("GET", self._path, params=self._params, timeout_s=REMOTE_TIMEOUT_S)
        return found

    def csv(self) -> str:
        return self._file("csv").decode()

    def png(self) -> bytes:
        return self._file("png")

    def html(self) -> bytes:
        return self._file("html")

    def send(self, channel: str) -> dict[str, Any]:
        found: dict[str, Any] = self._remote.call(
            "POST", f"{self._path}/send", params=self._params, body={"channel": channel}, timeout_s=REMOTE_TIMEOUT_S
        )
        return found

    def _file(self, form: str) -> bytes:
        return self._remote.read(self._path, {**self._params, "format": form}, REMOTE_TIMEOUT_S)


_Answered = _Local | _Remote


@contextmanager
def local_facts(settings: Settings, *, may_be_new: bool = False) -> Iterator[Facts]:
    """Facts of a data directory, whether or not a server runs on it. Raises FareboxError, as `connected`."""
    from farebox.control.reporting import books_of, limits_of
    from farebox.directory.store import Directory
    from farebox.directory.watch import directory_path

    with closing(connected(settings, may_be_new=may_be_new)) as ledger:
        if not directory_path(settings).exists():
            yield AskedFacts(_asking(ledger, None), list)
            return
        with closing(Directory.open(settings)) as directory:
            yield AskedFacts(_asking(ledger, directory), limits_of(directory), books_of(directory))


def _asking(ledger: Any, directory: Any) -> Ask:
    """Asks the ledger. Where no keeper runs, what limits have used is summed from it alone."""
    from farebox.ledger.client import KeeperClient

    def ask(method: str, params: object) -> Any:
        if method != "limits_near" or isinstance(ledger, KeeperClient):
            return ledger.call(method, params)
        limits = [] if directory is None else [row.limit for row in directory.limits.list()]
        share = params.get("share", 0.0) if isinstance(params, dict) else 0.0
        return ledger.call("limits_spent", {"limits": limits, "share": share})

    return ask


def _tell(
    answered: _Answered, as_json: bool, as_csv: bool, png: Path | None, html: Path | None, send: str | None
) -> None:
    if as_json:
        print_json(answered.data())
    elif as_csv:
        sys.stdout.write(answered.csv())
    elif not (png or html or send):
        from farebox.cli.report_view import report_view  # rich, for people only

        console().print(report_view(answered.data()))
    for path, content in ((png, answered.png), (html, answered.html)):
        if path is not None:
            _write(path, content())
    if send is not None:
        outcome = answered.send(send)
        if not outcome["ok"]:
            fail(f"channel {send} did not take the report: {outcome['error']}")
        hint(f"channel {send} has taken the report")


def _list(as_json: bool) -> None:
    if as_json:
        print_json([described(known) for known in REPORTS])
        return
    rows = [(known.name, known.question, known.period) for known in REPORTS]
    print_table(("report", "answers", "covers"), rows, empty="There are no reports.")


def _find(name: str) -> Report:
    try:
        return find(name)
    except NotFound as error:
        raise UsageError(str(error)) from None


def _said(**options: str | None) -> Pairs:
    return [(name, value) for name, value in options.items() if value]


def _options(words: list[str] | None) -> Pairs:
    found = []
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"--option {word!r}: write NAME=VALUE, such as by=feature")
        found.append((name, value))
    return found


def _own(words: list[str], chosen: Report) -> Pairs:
    """'--like acme' and '--like=acme', where the report has such an option."""
    known = {known.name for known in chosen.options}
    found, at = [], 0
    while at < len(words):
        word = words[at]
        name, equals, value = word.removeprefix("--").partition("=")
        name = name.replace("-", "_") if name not in known else name
        if not word.startswith("--") or name not in known:
            has = f"{chosen.name} has {', '.join(f'--{option}' for option in sorted(known))}" if known else (
                f"{chosen.name} has no options of its own"
            )  # fmt: skip
            raise UsageError(f"{word[:80]!r} is no option here; {has}")
        if not equals:
            at += 1
            if at == len(words):
                raise UsageError(f"{word} needs a value")
            value = words[at]
        found.append((name, value))
        at += 1
    return found


def _write(path: Path, content: bytes) -> None:
    """Readable by its owner only."""
    try:
        with open(path, "wb", opener=_private) as out:
            out.write(content)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")
    hint(f"written to {path}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
