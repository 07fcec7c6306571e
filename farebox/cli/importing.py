"""`farebox import`: customers and revenue from a CSV file, each line whole or not at all, the same once."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
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
    actor,
    command_group,
    directory_of,
    hint,
    print_json,
    remote_of,
    say,
)
from farebox.core import customer_csv, figures
from farebox.core.customer_csv import Line

app = command_group("Customers and revenue from a CSV file.")

STRIPE: Final = "stripe"
"""In place of a file. One of that name is ./stripe."""
FILE_BYTES_MAX: Final = 256 * 1024 * 1024
AT_ONCE: Final = 500
"""Lines of one change to the directory: whoever else writes waits no longer than for these."""
REMOTE_AT_ONCE_MAX: Final = 10_000
ERRORS_SHOWN: Final = 50


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A CSV file with a column 'tenant'; stripe: from Stripe's API.")
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Take nothing at all where any line has an error.")] = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> int:
    """Take customers and revenue from a CSV file; the same file again changes nothing.

    Columns: tenant, name, owner_email, started_on, plan, plan_from, billing_anchor, month, revenue, utm_source,
    utm_medium, utm_campaign; any other is an attribute.
    """
    if str(file) == STRIPE:
        if strict or url:
            raise UsageError("from Stripe, import on the server itself, and without --strict")
        return _import_stripe(directory_of(data, config), as_json)
    lines = list(customer_csv.lines(_content(file)))
    tally = Tally()
    tally.failed += [(line.number, str(line.error)) for line in lines if line.error]
    good = [line for line in lines if line.error is None]
    if not (strict and tally.failed):
        remote = remote_of(url, token)
        with _bar(file.name, len(good)) as advance:
            if remote:
                _send(remote, good, tally, advance, strict)
            else:
                _take(directory_of(data, config), good, tally, advance, strict)
    if strict and tally.failed:
        tally.none()
    tally.tell(len(lines), as_json)
    return 1 if tally.failed else 0


def _import_stripe(directory: Any, as_json: bool) -> int:
    import msgspec
    from stripe import StripeError

    from farebox.cli import stripe_import

    client = stripe_import.client_of(stripe_import.environment())
    try:
        with _bar(STRIPE, 0) as advance:
            counted, intake = stripe_import.take_all(directory, client, advance)
    except StripeError as error:
        raise stripe_import.told(error) from None
    skipped = intake.skipped
    if as_json:
        print_json({**msgspec.to_builtins(counted), "skipped": msgspec.to_builtins(skipped)})
        return 1 if counted.errors else 0
    for line in counted.errors[:ERRORS_SHOWN]:
        hint(line)
    for currency, count in skipped.currencies.items():
        hint(f"{figures.count(count)} invoices or credit notes in {currency} were left out: only usd is taken")
    if skipped.plans:
        hint(
            f"{figures.count(skipped.plans)} subscriptions name no plan: give their price a lookup key or metadata.plan"
        )
    say(
        f"{figures.count(counted.customers)} customers, {figures.count(counted.subscriptions)} subscriptions, "
        f"{figures.count(counted.invoices)} paid invoices: {figures.count(counted.created)} customers new, "
        f"{figures.count(counted.changed)} changes, {figures.count(counted.booked)} entries of revenue booked."
    )
    return 1 if counted.errors else 0


class Tally:
    """What became of the lines."""

    def __init__(self) -> None:
        self.created = self.changed = self.unchanged = self.booked = 0
        self.failed: list[tuple[int, str]] = []

    def add(self, line: Line, created: bool, changed: bool, booked: int, error: str | None) -> None:
        if error is not None:
            self.failed.append((line.number, error))
            return
        self.created += created
        self.changed += changed
        self.booked += booked
        self.unchanged += not (created or changed or booked)

    def none(self) -> None:
        """Nothing was taken."""
        self.created = self.changed = self.unchanged = self.booked = 0

    def tell(self, lines: int, as_json: bool) -> None:
        self.failed.sort()
        shown = self.failed[:ERRORS_SHOWN]
        if as_json:
            errors = [{"line": number, "error": error} for number, error in shown]
            counts = {"created": self.created, "changed": self.changed, "unchanged": self.unchanged}
            answer = {"lines": lines, **counts, "booked": self.booked, "failed": len(self.failed), "errors": errors}
            print_json(answer)
            return
        for number, error in shown:
            hint(f"line {number}: {error}")
        if more := len(self.failed) - len(shown):
            hint(f"and {figures.count(more)} lines more")
        said = f"{figures.count(self.created)} customers new, {figures.count(self.changed)} changed"
        said += (
            f", {figures.count(self.booked)} entries of revenue booked, {figures.count(self.unchanged)} lines as before"
        )
        say(f"{figures.count(lines)} lines: {said}, {figures.count(len(self.failed))} with errors.")


def _content(file: Path) -> bytes:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            raise UsageError(f"{file} is larger than {figures.size(FILE_BYTES_MAX)}: import it in parts")
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None


def _take(directory: Any, lines: Sequence[Line], tally: Tally, advance: Any, strict: bool) -> None:
    """`directory` is a Directory, loaded only here; `advance` takes a count of lines."""
    for part in _parts(lines, len(lines) if strict else AT_ONCE):
        taken = directory.customers.take(_followed(part, advance), by=actor(), all_or_none=strict)
        for line, took in zip(part, taken, strict=True):
            error = None if took.error is None else str(took.error)
            tally.add(line, took.is_new, took.changed, took.booked, error)


def _followed(lines: Iterable[Line], advance: Any) -> Iterator[Any]:
    for line in lines:
        yield line.statement
        advance(1)


def _send(remote: Remote, lines: Sequence[Line], tally: Tally, advance: Any, strict: bool) -> None:
    if strict and len(lines) > REMOTE_AT_ONCE_MAX:
        raise UsageError(f"a server takes at most {REMOTE_AT_ONCE_MAX:,} lines with --strict: import in parts")
    for part in _parts(lines, REMOTE_AT_ONCE_MAX if strict else AT_ONCE):
        body = {"lines": [_form(line.written) for line in part], "all_or_none": strict}
        for line, row in zip(
            part, remote.call("POST", "/customers/import", body=body, timeout_s=600)["data"], strict=True
        ):
            tally.add(line, row["created"], row["changed"], row["booked"], row["error"])
        advance(len(part))


def _form(written: dict[str, object]) -> dict[str, object]:
    anchor = written.get("billing_anchor")
    return written if anchor is None else {**written, "billing_anchor": int(str(anchor))}


def _parts(lines: Sequence[Line], size: int) -> Iterator[Sequence[Line]]:
    for at in range(0, len(lines), max(1, size)):
        yield lines[at : at + size]


@contextmanager
def _bar(what: str, total: int) -> Iterator[Any]:
    """Gives what to call with a count of lines done; shown on standard error, on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Console(stderr=True)
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task(what.replace("[", "("), total=total)
        yield lambda count: bar.advance(task, count)
