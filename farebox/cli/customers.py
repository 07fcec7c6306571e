"""`farebox customers`: who pays, on which plan, and how much."""

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
    hint,
    print_json,
    print_table,
    remote_of,
    say,
)
from farebox.cli.plans import NOTHING, quoted
from farebox.cli.portal import portal
from farebox.cli.values import pairs, shown_moment
from farebox.core.book_text import amount as read_amount
from farebox.core.book_text import month as read_month
from farebox.core.statements import Booking, read_statement

app = command_group("Who pays: customers, their plans and revenue.")
app.command()(portal)

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The customer, as calls name it.")]
COLUMNS: Final = ("tenant", "name", "plan", "started", "billing day", "owner", "source")
DETAILS: Final = (
    "name", "owner_email", "plan", "started_on", "billing_anchor", "source", "medium", "campaign", "created_at",
    "changed_at", "removed_at",
)  # fmt: skip


@app.command("set")
def set_(
    tenant: Tenant,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="What people call it.")] = None,
    owner_email: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Who is told of its alerts.")] = None,
    plan: Annotated[str | None, typer.Option(metavar="PLAN", help="The plan that it is on.")] = None,
    plan_from: Annotated[
        str | None,
        typer.Option("--from", metavar="DAY", help="Since when.", show_default="its start for the first, else today"),
    ] = None,
    started_on: Annotated[str | None, typer.Option(metavar="DAY", help="First day as a customer.")] = None,
    billing_anchor: Annotated[
        str | None, typer.Option(metavar="DAY", help="Day of the month on which its billing month begins.")
    ] = None,
    source: Annotated[str | None, typer.Option(metavar="TEXT", help="utm_source.")] = None,
    medium: Annotated[str | None, typer.Option(metavar="TEXT", help="utm_medium.")] = None,
    campaign: Annotated[str | None, typer.Option(metavar="TEXT", help="utm_campaign.")] = None,
    attribute: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Any further one. Repeatable.")
    ] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Set a customer; what is left out stays, none in place of a value clears it."""
    said = {
        "name": name, "owner_email": owner_email, "plan": plan, "plan_from": plan_from, "started_on": started_on,
        "billing_anchor": billing_anchor, "source": source, "medium": medium, "campaign": campaign,
    }  # fmt: skip
    form: dict[str, Any] = {
        field: None if value == NOTHING else value for field, value in said.items() if value is not None
    }
    if attribute:
        given = pairs(attribute, "--attribute")
        form["attributes"] = {key: "" if value == NOTHING else value for key, value in given.items()}
    statement = read_statement({"tenant": tenant, **form})
    if remote := remote_of(url, token):
        if form.get("billing_anchor"):
            form["billing_anchor"] = int(form["billing_anchor"])
        made = remote.call("POST", "/customers", body={"tenant": tenant, **form})
    else:
        directory = directory_of(data, config)
        made = _shown(directory, directory.customers.set(statement, by=actor()))
    if as_json:
        print_json(made)
    else:
        say(f"{made['tenant']}  {_line(made)}")


@app.command("list")
def list_(
    plan: Annotated[str | None, typer.Option(metavar="PLAN", help="Only those on this plan today.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Removed ones too.")] = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """List customers as they stand today."""
    if remote := remote_of(url, token):
        named = {} if plan is None else {"plan": plan}
        rows = remote.listed("/customers", limit=1000, removed=str(every).lower(), **named)
    else:
        directory = directory_of(data, config)
        rows = [_shown(directory, row) for row in directory.customers.list(removed=every)]
        rows = [row for row in rows if plan is None or row["plan"] == plan]
    if as_json:
        print_json(rows)
        return
    columns = (*COLUMNS, "removed (UTC)") if every else COLUMNS
    empty = "No customers. `farebox customers set acme --plan pro` names one, `farebox import FILE` takes many."
    print_table(columns, (_cells(row)[: len(columns)] for row in rows), empty=empty)


@app.command()
def show(
    tenant: Tenant,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Show one customer, with the plans that it was on."""
    if remote := remote_of(url, token):
        row = remote.call("GET", f"/customers/{quoted(tenant)}")
    else:
        directory = directory_of(data, config)
        row = _shown(directory, directory.customers.get(tenant))
    if as_json:
        print_json(row)
        return
    say(f"{row['tenant']}  {_line(row)}")
    details = [(name, _detail(name, row[name])) for name in DETAILS if name in row]
    print_table(("field", "value"), [*details, *row["attributes"].items()], empty="")
    held = ((entry["from"], entry["plan"], shown_moment(entry["entered_at"])) for entry in row["subscriptions"])
    print_table(("from", "plan", "entered (UTC)"), held, empty="It was never on a plan.")


@app.command()
def remove(
    tenant: Tenant,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """From today on it is on no plan and no customer any more; its history stays."""
    if remote := remote_of(url, token):
        row = remote.call("DELETE", f"/customers/{quoted(tenant)}")
    else:
        directory = directory_of(data, config)
        row = _shown(directory, directory.customers.remove(tenant, by=actor()))
    if as_json:
        print_json(row)
    else:
        say(f"Removed {row['tenant']}.")


@app.command()
def revenue(
    tenant: Tenant,
    amount: Annotated[
        str | None, typer.Option(metavar="USD", help="Book this; a correction is a further one, and may be negative.")
    ] = None,
    month: Annotated[str | None, typer.Option(metavar="MONTH", help="For this month, such as 2026-11.")] = None,
    external_id: Annotated[
        str | None, typer.Option("--id", metavar="TEXT", help="Your own id of it: the same is booked once.")
    ] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """What each month comes to; with --month and --amount, book revenue."""
    if (amount is None) != (month is None):
        raise UsageError("to book revenue give both --month and --amount; to see it neither")
    if amount is not None and month is not None:
        booking = Booking(read_month(month), read_amount(amount, "--amount"), "manual", external_id)
        _book(tenant, booking, amount, data, config, url, token, as_json)
        return
    if remote := remote_of(url, token):
        path = f"/customers/{quoted(tenant)}/revenue"
        found = {
            "months": remote.call("GET", path, params={"limit": 1})["meta"]["months"],
            "entries": remote.listed(path, limit=1000),
        }
    else:
        found = _revenue(directory_of(data, config), tenant)
    if as_json:
        print_json(found)
        return
    rows = ((row["month"], row["revenue"], _adjusted(row), "yes" if row["closed"] else "no") for row in found["months"])
    print_table(("month", "revenue (USD)", "of it for", "closed"), rows, right=("revenue (USD)",), empty="No revenue.")


def _book(
    tenant: str, booking: Booking, written: str, data: Any, config: Any, url: Any, token: Any, as_json: bool
) -> None:
    if remote := remote_of(url, token):
        form = {"month": booking.month, "amount": written}
        if booking.external_id:
            form["external_id"] = booking.external_id
        entry = remote.call("POST", f"/customers/{quoted(tenant)}/revenue", body=form)
    else:
        from farebox.directory.showing import entry_shown

        booked, is_new = directory_of(data, config).customers.book(tenant, booking, by=actor())
        entry = entry_shown(booked)
        if not is_new:
            hint("this was booked before")
    if as_json:
        print_json(entry)
    else:
        say(f"{entry['external_id']}  {entry['amount']} usd for {tenant} in {entry['month']}")


def _revenue(directory: Any, tenant: str) -> dict[str, Any]:
    from farebox.directory.showing import entry_shown, months_shown

    entries = directory.customers.revenue(tenant)
    books = directory.books()
    return {
        "months": months_shown(books, books.customers[tenant]),
        "entries": [entry_shown(entry) for entry in entries],
    }


def _shown(directory: Any, row: Any) -> dict[str, Any]:  # Any: loaded only where a command works on --data
    from farebox.directory.showing import customer_shown
    from farebox.directory.writing import now_us

    return customer_shown(row, directory.today(now_us()))


def _line(row: dict[str, Any]) -> str:
    said = row["name"] or "no name"
    plan = f"on {row['plan']}" if row["plan"] else "on no plan"
    return f"{said}, {plan}{', removed' if 'removed_at' in row else ''}"


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    return (
        row["tenant"], row["name"], row["plan"], row["started_on"], row["billing_anchor"], row["owner_email"],
        row["source"], shown_moment(row.get("removed_at")),
    )  # fmt: skip


def _detail(name: str, value: Any) -> object:
    return shown_moment(value) if name.endswith("_at") else value


def _adjusted(row: dict[str, Any]) -> str:
    return ", ".join(f"{month} {value}" for month, value in row["adjustments"].items())
