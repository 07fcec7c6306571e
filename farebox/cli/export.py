"""`farebox export`: events, sums or prices as a file."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
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
    print_json,
    remote_of,
    say,
    settings_of,
)
from farebox.cli.ledgers import RemoteLedger, Since, Until, Where, Zone, connected, now_us, when_pairs, where_pairs
from farebox.cli.waiting import Waiting
from farebox.core import asking, figures
from farebox.core.meters import METERS
from farebox.core.price_text import shown_row
from farebox.core.pricing import PriceRow
from farebox.core.queries import EXPORT_ROWS_MAX, EventsQuery, UsageQuery
from farebox.core.tables import csv_text
from farebox.errors import FareboxError

Kind = Literal["events", "usage", "prices"]
Format = Literal["csv", "jsonl", "parquet"]

app = command_group("Events, usage or prices as CSV, JSONL or Parquet.")

FORMATS: Final[dict[str, Format]] = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}
PAGE: Final = 1000
_PRICE_COLUMNS: Final = (
    "id", "provider", "model", "valid_from", "valid_to", "service_tier", "batch", "speed", "variant", "source",
)  # fmt: skip


@app.command()
def export(
    kind: Annotated[Kind, typer.Argument(help="What: every call, sums of them, or the price table.")],
    file: Annotated[Path, typer.Argument(help="Where to; replaced when all is written.")],
    form: Annotated[
        Format | None, typer.Option("--format", help="As the file's name ends, unless said.", show_default=False)
    ] = None,
    by: Annotated[list[str] | None, typer.Option("--by", help="usage: group by dimensions, tags, model, day …")] = None,
    measures: Annotated[str | None, typer.Option("--measures", help="usage: what to sum.")] = None,
    since: Since = "all",
    until: Until = None,
    where: Where = None,
    time_zone: Zone = "UTC",
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Write events, usage or prices to a file that only its owner can read."""
    chosen = form or _form_of(file)
    target = _target(file)
    pairs = [*when_pairs(since, until, time_zone), *where_pairs(where)]
    if kind == "prices":
        rows = _prices(data, config, remote_of(url, token), target, chosen)
    elif kind == "usage":
        asked = [*pairs, *(("group_by", name) for name in by or ["tenant", "day"])]
        query = asking.usage_query([*asked, *([("measures", measures)] if measures else [])], now_us())
        rows = _written("usage", query, data, config, remote_of(url, token), target, chosen)
    else:
        query_events = asking.events_query(pairs, now_us())
        rows = _written("events", query_events, data, config, remote_of(url, token), target, chosen)
    if as_json:
        print_json({"rows": rows, "path": str(target), "format": chosen})
    else:
        say(f"Wrote {figures.count(rows)} rows to {file} ({figures.size(target.stat().st_size)}).")


def _form_of(file: Path) -> Format:
    """The format that a name asks for by its end. Raises UsageError."""
    end = file.suffix.removeprefix(".").lower()
    if end not in FORMATS:
        raise UsageError(f"{file} does not say its format: end it in .csv, .jsonl or .parquet, or give --format")
    return FORMATS[end]


def _target(file: Path) -> Path:
    target = file.absolute()
    if not target.parent.is_dir():
        raise UsageError(f"there is no directory {target.parent}: make it, or give another path")
    if target.is_dir():
        raise UsageError(f"{file} is a directory: give a file in it")
    return target


def _written(
    kind: Literal["events", "usage"],
    query: EventsQuery | UsageQuery,
    data: Path | None,
    config: Path | None,
    remote: Remote | None,
    target: Path,
    form: Format,
) -> int:
    """The rows that a ledger wrote: here by itself, from afar page by page."""
    if remote is not None:
        with closing(remote):
            return _fetched(RemoteLedger(remote), query, target, form)
    settings = settings_of(data, config)
    if isinstance(query, UsageQuery):
        query = msgspec.structs.replace(query, limit=EXPORT_ROWS_MAX)
    asked = {"kind": kind, "format": form, "path": str(target), "filters": msgspec.to_builtins(query)}
    with closing(connected(settings)) as ledger, Waiting(settings, ledger, query) as waiting:
        rows: int = waiting.call("export", asked)["rows"]
    return rows


def _fetched(ledger: RemoteLedger, query: EventsQuery | UsageQuery, target: Path, form: Format) -> int:
    if form == "parquet":
        raise UsageError("from a remote server give --format jsonl or csv: Parquet is written where the ledger is")
    if isinstance(query, UsageQuery):
        answer = ledger.usage(msgspec.structs.replace(query, limit=PAGE))
        if len(answer["rows"]) == PAGE:
            raise FareboxError(
                f"there are more than {PAGE} rows: ask for less (--by, --since), or export on the server"
            )
        return _save(target, form, answer["columns"], iter(answer["rows"]))
    if form == "csv":
        raise UsageError("events come from a remote server as --format jsonl: they are no flat rows there")
    return _save(target, form, (), _pages(ledger, msgspec.structs.replace(query, limit=PAGE)))


def _pages(ledger: RemoteLedger, query: EventsQuery) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        answer = ledger.events(msgspec.structs.replace(query, cursor=cursor))
        yield from answer["data"]
        cursor = answer["next_cursor"]
        if not cursor:
            return


def _save(target: Path, form: Format, columns: tuple[str, ...] | list[str], rows: Iterator[dict[str, Any]]) -> int:
    """Beside the target first, so that a broken connection leaves no half file. -> rows"""
    part = target.with_name(f".{target.name}.part")
    count = 0
    try:
        with open(part, "w", encoding="utf-8", newline="", opener=_private) as out:
            if form == "csv":
                out.write(csv_text(columns, ()))
            for row in rows:
                out.write(msgspec.json.encode(row).decode() + "\n" if form == "jsonl" else _csv_line(columns, row))
                count += 1
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return count


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _csv_line(columns: tuple[str, ...] | list[str], row: dict[str, Any]) -> str:
    return csv_text(columns, (row,)).partition("\r\n")[2]


def _prices(data: Path | None, config: Path | None, remote: Remote | None, target: Path, form: Format) -> int:
    """The whole table: rows as the API has them in JSONL; flat, with a column a meter, otherwise."""
    if remote is not None:
        with closing(remote):
            rows = remote.listed("/prices", limit=PAGE)
    else:
        rows = [{"origin": origin, **shown_row(row)} for origin, row in _local_book(data, config)]
    if form == "jsonl":
        return _save(target, form, (), iter(rows))
    flat = [{**{name: row.get(name) for name in ("origin", *_PRICE_COLUMNS)}, **row["rates"]} for row in rows]
    columns = ("origin", *_PRICE_COLUMNS, *(meter.name for meter in METERS))
    if form == "csv":
        return _save(target, form, columns, iter(flat))
    return _parquet(target, columns, flat)


def _local_book(data: Path | None, config: Path | None) -> list[tuple[str, PriceRow]]:
    """(origin, row): what was added here, then what ships."""
    from farebox.cli.context import directory_of
    from farebox.providers.sheets import load_book

    directory = directory_of(data, config)
    try:
        book = load_book(directory.list_price_rows())
    finally:
        directory.close()
    return [*(("added", row) for row in book.overrides), *(("shipped", row) for row in book.sheet.rows)]


def _parquet(target: Path, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({name: [_text(row.get(name)) for row in rows] for name in columns}, schema=_texts(columns))
    part = target.with_name(f".{target.name}.part")
    try:
        part.touch(mode=0o600)
        parquet.write_table(table, str(part))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return len(rows)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _texts(columns: tuple[str, ...]) -> Any:  # Any: pyarrow is untyped
    import pyarrow as pa

    return pa.schema([(name, pa.string()) for name in columns])
