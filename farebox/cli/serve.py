"""`farebox serve`: the system. `--print-settings` says what it would run with."""

import os
from pathlib import Path
from typing import Annotated

import typer

from farebox.cli.context import Config, Data, Json, command_group, print_json, print_table
from farebox.settings import Effective, explain, find_config

app = command_group("Run the gateway, the ledger and the API.")

MASK = "(set)"


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(metavar="HOST", help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Port; 0 takes a free one.", show_default="3273")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Gateway processes, one a core.", show_default="1")
    ] = None,
    data: Data = None,
    config: Config = None,
    print_settings: Annotated[
        bool, typer.Option("--print-settings", help="Show each effective value and where it came from, and end.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Run the gateway, the ledger and the API until SIGTERM."""
    flags = {"server.host": host, "server.port": port, "server.workers": workers, "data": data}
    settings, effective = explain(config or find_config(os.environ), None, flags)
    if print_settings:
        _print_settings(effective, as_json)
        return 0
    from farebox.bootstrap import serve as run

    return run(settings)


def _print_settings(effective: list[Effective], as_json: bool) -> None:
    if as_json:
        print_json({item.name: {"value": shown(item, plain=False), "source": item.source} for item in effective})
        return
    rows = [(item.name, shown(item, plain=True), item.source) for item in effective]
    print_table(("setting", "value", "from"), rows, empty="")


def shown(item: Effective, *, plain: bool) -> object:
    """A value as it may be printed: secrets only as set or not; `plain` as text."""
    if item.is_secret:
        return MASK if item.value else ""
    if isinstance(item.value, Path):
        return str(item.value)
    if not plain:
        return item.value
    match item.value:
        case bool():
            return str(item.value).lower()
        case float():
            return f"{item.value:.15g}"
        case tuple():
            return ", ".join(item.value)
        case _:
            return item.value
