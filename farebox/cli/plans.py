"""`farebox plans`: what customers pay and get."""

from typing import Annotated, Any, Final

import typer

from farebox.cli.context import (
    Config,
    Data,
    Json,
    Token,
    Url,
    UsageError,
    actor,
    command_group,
    directory_of,
    print_json,
    print_table,
    remote_of,
    say,
)
from farebox.cli.values import pairs, shown_moment
from farebox.core.book_text import day

app = command_group("What customers pay and get, by plan.")

Name = Annotated[str, typer.Argument(metavar="PLAN", help="Its name, which is also the tier of its customers' calls.")]
NOTHING: Final = "none"
"""In place of a value: the default."""
COLUMNS: Final = ("plan", "price (USD)", "each", "seats", "included", "AI cost expected", "other cost", "since")
VERSION: Final = ("from", "price (USD)", "each", "seats", "included", "overage", "AI cost expected", "other cost")


@app.command("set")
def set_(
    name: Name,
    price: Annotated[str | None, typer.Option(metavar="USD", help="For each period.")] = None,
    period: Annotated[str | None, typer.Option(metavar="PERIOD", help="month or year.")] = None,
    seats: Annotated[str | None, typer.Option(metavar="N", help="Seats that it has.")] = None,
    included: Annotated[
        list[str] | None, typer.Option(metavar="UNIT=N", help="Units included in a billing month. Repeatable.")
    ] = None,
    overage: Annotated[
        list[str] | None, typer.Option(metavar="UNIT=USD", help="Price of each unit beyond. Repeatable.")
    ] = None,
    other_cogs: Annotated[
        str | None, typer.Option(metavar="USD", help="What serving a customer costs beside AI, a month.")
    ] = None,
    expected_ai_cost: Annotated[
        str | None, typer.Option(metavar="USD", help="What AI may cost for a customer, a month; alerts go by it.")
    ] = None,
    valid_from: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="First day on which that holds.", show_default="today")
    ] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Set a plan from a day on; what is left out stays as it reads on that day, none in place of a value clears it."""
    said: dict[str, Any] = {
        "price": price, "period": period, "seats": _count(seats, "--seats"), "other_cogs": other_cogs,
        "expected_ai_cost": expected_ai_cost, "included": _units(included, "--included"),
        "overage_price": _units(overage, "--overage"),
    }  # fmt: skip
    form = {field: None if value == NOTHING else value for field, value in said.items() if value is not None}
    if remote := remote_of(url, token):
        body = {"name": name, **form, **({"valid_from": valid_from} if valid_from else {})}
        made = remote.call("POST", "/plans", body=body)
    else:
        directory = directory_of(data, config)
        made = _shown(directory, directory.plans.set(name, form, _day(valid_from), by=actor()))
    print_json(made) if as_json else _print_plan(made)


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Removed ones too.")] = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List plans as they read today."""
    if remote := remote_of(url, token):
        rows = remote.listed("/plans", removed=str(every).lower())
    else:
        directory = directory_of(data, config)
        rows = [_shown(directory, row) for row in directory.plans.list(removed=every)]
    if as_json:
        print_json(rows)
        return
    columns = (*COLUMNS, "removed (UTC)") if every else COLUMNS
    empty = "No plans. `farebox plans set pro --price 29` makes one."
    print_table(columns, (_cells(row)[: len(columns)] for row in rows), right=_MONEY, empty=empty)


@app.command()
def show(
    name: Name, data: Data = None, config: Config = None, url: Url = None, token: Token = None, as_json: Json = False
) -> None:
    """Show one plan, with what it said from which day on."""
    if remote := remote_of(url, token):
        row = remote.call("GET", f"/plans/{quoted(name)}")
    else:
        directory = directory_of(data, config)
        row = _shown(directory, directory.plans.get(name))
    print_json(row) if as_json else _print_plan(row)


@app.command()
def remove(
    name: Name, data: Data = None, config: Config = None, url: Url = None, token: Token = None, as_json: Json = False
) -> None:
    """End a plan that no customer is on; its history stays."""
    if remote := remote_of(url, token):
        row = remote.call("DELETE", f"/plans/{quoted(name)}")
    else:
        directory = directory_of(data, config)
        row = _shown(directory, directory.plans.remove(name, by=actor()))
    print_json(row) if as_json else say(f"Removed plan {name}.")


def quoted(name: str) -> str:
    """A name as part of a path."""
    from urllib.parse import quote

    return quote(name, safe="")


def _shown(directory: Any, row: Any) -> dict[str, Any]:  # Any: loaded only where a command works on --data
    from farebox.directory.showing import plan_shown
    from farebox.directory.writing import now_us

    return plan_shown(row, directory.today(now_us()))


def _day(text: str | None) -> Any:
    return None if text is None else day(text, "--from")


def _count(text: str | None, option: str) -> int | str | None:
    if text is None or text == NOTHING:
        return text
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(f"{option} {text!r}: give a whole number, or {NOTHING}")
    return int(text)


def _units(given: list[str] | None, option: str) -> dict[str, int | str] | str | None:
    if given is None or given == [NOTHING]:
        return None if given is None else NOTHING
    found: dict[str, int | str] = dict(pairs(given, option))
    if option == "--included":
        found = {
            unit: value if unit == "usd" else _count(str(value), f"{option} {unit}") or 0
            for unit, value in found.items()
        }
    return found


_MONEY: Final = ("price (USD)", "AI cost expected", "other cost")


def _print_plan(row: dict[str, Any]) -> None:
    say(f"{row['name']}{'' if 'removed_at' not in row else '  (removed)'}")
    print_table(VERSION, map(_version, row["versions"]), right=_MONEY, empty="")


def _version(row: dict[str, Any]) -> tuple[object, ...]:
    return (
        row["valid_from"], row["price"], row["period"], row["seats"], _listed(row["included"]),
        _listed(row["overage_price"]), row["expected_ai_cost"], row["other_cogs"],
    )  # fmt: skip


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    return (
        row["name"], row["price"], row["period"], row["seats"], _listed(row["included"]), row["expected_ai_cost"],
        row["other_cogs"], row["versions"][0]["valid_from"], shown_moment(row.get("removed_at")),
    )  # fmt: skip


def _listed(units: dict[str, Any]) -> str:
    return ", ".join(f"{unit}={value}" for unit, value in units.items())
