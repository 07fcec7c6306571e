"""`farebox usage`: who spent what."""

import sys
from typing import Annotated

import typer

from farebox.cli.context import Config, Data, Json, Token, Url, UsageError, command_group, console, print_json
from farebox.cli.ledgers import Since, Until, Where, Zone, ledger_of, now_us, when_pairs, where_pairs
from farebox.core import asking
from farebox.core.queries import LIMIT_MAX, MEASURES, UsageQuery
from farebox.core.tables import csv_text

app = command_group("Who spent what.")


def question(
    by: list[str] | None,
    when: list[tuple[str, str]],
    where: list[str] | None,
    measures: str | None,
    order: str | None,
    top: int,
    at_us: int,
) -> UsageQuery:
    """The command's options as a question. Raises UsageError, QueryError."""
    if not 1 <= top <= LIMIT_MAX:
        raise UsageError(f"--top is {top}: give 1 to {LIMIT_MAX}")
    pairs = [
        *(("group_by", name) for name in by or ()),
        *when,
        *where_pairs(where),
        *([("measures", measures)] if measures else []),
        *([("order", order)] if order else []),
        ("limit", str(top)),
    ]
    return asking.usage_query(pairs, at_us)


@app.command()
def usage(
    by: Annotated[
        list[str] | None, typer.Option("--by", help="Group by dimensions, tags (tag.region), model, day, hour …")
    ] = None,
    since: Since = "30d",
    until: Until = None,
    where: Where = None,
    top: Annotated[int, typer.Option("--top", help="Rows to show.")] = 20,
    measures: Annotated[str | None, typer.Option("--measures", help=f"Of {', '.join(MEASURES)}.")] = None,
    order: Annotated[str | None, typer.Option("--order", help="A measure or group; -NAME for largest first.")] = None,
    time_zone: Zone = "UTC",
    as_json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Who spent what: sums over the ledger by any dimension, the last 30 days unless said."""
    if as_json and as_csv:
        raise UsageError("give --json or --csv, not both")
    query = question(by, when_pairs(since, until, time_zone), where, measures, order, top, now_us())
    with ledger_of(data, config, url, token) as ledger:
        answer = ledger.usage(query)
        if as_json:
            meta = {"columns": answer["columns"], **answer.get("meta", {})}
            print_json({"data": answer["rows"], "next_cursor": None, "meta": meta})
            return
        if as_csv:
            sys.stdout.write(csv_text(answer["columns"], answer["rows"]))
            return
        from farebox.cli.usage_view import Answer, total_query, usage_view  # rich, for people only

        total = ledger.usage(total_query(query))["rows"]
        groups = answer["columns"][: -len(query.measures)]
        console().print(usage_view(Answer(query, groups, answer["rows"], total[0] if total else {})))
