"""`farebox routes`: names that stand for several models, of which the next is tried where one fails."""

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
    settings_of,
)
from farebox.cli.plans import quoted
from farebox.core.routes import changed_route, read_route, read_target, target_text

app = command_group("Names that stand for several models, with fallback.")

Name = Annotated[str, typer.Argument(metavar="ROUTE", help="Its name, which calls give in place of a model.")]
COLUMNS: Final = ("route", "targets", "order", "timeout", "moves on at", "from")
FARES: Final = ("target", "calls", "failed", "first byte (ms)", "rests (s)")
_NUMBERS: Final = ("calls", "failed", "first byte (ms)", "rests (s)")


@app.command("set")
def set_(
    name: Name,
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROVIDER/MODEL…", help="In the order of trying; with a weight as PROVIDER/MODEL=3."),
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="ORDER", help="listed, weighted, latency or cost.", show_default="listed")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest wait for an answer's first byte: 20s, 500ms.")
    ] = None,
    retry_on: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT", help="What moves a call on: connect, timeout, 429, 5xx. Repeatable."),
    ] = None,
    sticky: Annotated[
        bool | None, typer.Option("--sticky/--no-sticky", help="Calls of a session begin at the same target.")
    ] = None,
    hedge: Annotated[
        str | None, typer.Option(metavar="TIME", help="Ask a second target after so long a wait. Both are paid.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET=AMOUNT", help="What a target may spend: 'openai/gpt-4.1-mini=50 usd/day'. Repeatable."
        ),
    ] = None,
    break_after: Annotated[
        str | None, typer.Option(metavar="N", help="Failures running after which a target rests.", show_default="5")
    ] = None,
    rest: Annotated[str | None, typer.Option(metavar="TIME", help="For how long at first.", show_default="10s")] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Set a route, or change what is given of one. In force within a second."""
    said: dict[str, Any] = {
        "order": order, "timeout": timeout, "retry_on": retry_on, "sticky": sticky, "hedge": hedge,
        "break_after": break_after, "rest": rest,
    }  # fmt: skip
    written = {field: value for field, value in said.items() if value is not None}
    if targets:
        written["targets"] = [read_target(text) for text in targets]
    if remote := remote_of(url, token):
        had = next((row for row in remote.listed("/routes") if row["name"] == name), None)
        _budgeted(written, budget, [] if had is None else had["targets"])
        if had is None:
            made = remote.call("POST", "/routes", body={"name": name, **written})
        else:
            made = remote.call("PATCH", f"/routes/{quoted(name)}", body=written)
    else:
        from farebox.directory.routes import checked_targets

        directory, settings = directory_of(data, config), settings_of(data, config)
        row = directory.routes.in_force(settings.route_table).get(name)
        _budgeted(written, budget, [] if row is None else _shown(row)["targets"])
        route = read_route(name, written) if row is None else changed_route(row.route, written)
        checked = checked_targets(route, directory.providers.known(settings))
        made = _shown(directory.routes.set(checked, by=actor()))
    print_json(made) if as_json else _print_routes([made])


@app.command("list")
def list_(
    data: Data = None, config: Config = None, url: Url = None, token: Token = None, as_json: Json = False
) -> None:
    """List routes, those of the settings too."""
    if remote := remote_of(url, token):
        rows = remote.listed("/routes")
    else:
        found = directory_of(data, config).routes.in_force(settings_of(data, config).route_table)
        rows = [_shown(row) for _, row in sorted(found.items())]
    print_json(rows) if as_json else _print_routes(rows)


@app.command()
def show(
    name: Name, data: Data = None, config: Config = None, url: Url = None, token: Token = None, as_json: Json = False
) -> None:
    """Show one route, and how its targets fare at a server that runs."""
    if remote := remote_of(url, token):
        row = remote.call("GET", f"/routes/{quoted(name)}")
    else:
        from farebox.settings import run_dir
        from farebox.telemetry import read_targets

        settings = settings_of(data, config)
        found = directory_of(data, config).routes.get(name, settings.route_table)
        row = _shown(found, read_targets(run_dir(settings)))
    if as_json:
        print_json(row)
        return
    _print_routes([row])
    fares = [
        (fare["target"], fare.get("calls"), fare.get("failed"), fare.get("first_byte_ms"), fare.get("rests_s") or None)
        for fare in row["health"]
    ]
    print_table(FARES, fares, right=_NUMBERS, empty="")


@app.command()
def remove(
    name: Name, data: Data = None, config: Config = None, url: Url = None, token: Token = None, as_json: Json = False
) -> None:
    """End a route."""
    if remote := remote_of(url, token):
        row = remote.call("DELETE", f"/routes/{quoted(name)}")
    else:
        from farebox.directory.routes import checked_removal

        directory = directory_of(data, config)
        checked_removal(directory.routes.get(name, settings_of(data, config).route_table))
        row = _shown(directory.routes.remove(name, by=actor()))
    print_json(row) if as_json else say(f"Removed route {name}.")


def _shown(row: Any, health: Any = None) -> dict[str, Any]:  # Any: loaded only where a command works on --data
    from farebox.directory.showing import route_shown

    return route_shown(row, health or {})


def _budgeted(written: dict[str, Any], budget: list[str] | None, had: list[Any]) -> None:
    """Put budgets into the targets. Raises UsageError."""
    for text in budget or ():
        name, equals, amount = text.partition("=")
        said, slash, window = amount.partition("/")
        listed = [entry if isinstance(entry, dict) else {"target": entry} for entry in written.get("targets", had)]
        chosen = [entry for entry in listed if entry["target"] == name.strip()]
        if not equals or not chosen:
            raise UsageError(f"--budget {text!r}: write TARGET=AMOUNT with a target of the route, such as '50 usd/day'")
        chosen[0] |= {"budget": said.strip(), **({"window": window.strip()} if slash else {})}
        written["targets"] = listed


def _print_routes(rows: list[dict[str, Any]]) -> None:
    empty = "No routes. `farebox routes set smart openai/gpt-4.1-mini groq/llama-3.3-70b-versatile` makes one."
    print_table(COLUMNS, map(_cells, rows), empty=empty)


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    return (
        row["name"], ", ".join(map(target_text, row["targets"])), row["order"], row["timeout"],
        ", ".join(row["retry_on"]), row["from"],
    )  # fmt: skip
