"""`farebox verify`: does the ledger still add up?"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from farebox.cli.context import Config, Data, Json, Token, Url, command_group, console, print_json
from farebox.cli.ledgers import ledger_of

app = command_group("Check the ledger's invariants and re-price a sample.")


@app.command()
def verify(
    sample: Annotated[int, typer.Option("--sample", help="Events to price again and compare.", min=0)] = 1000,
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> int:
    """Check the ledger's invariants and re-price a sample of it; exit code 1 where a check fails."""
    with ledger_of(data, config, url, token) as ledger:
        answer = ledger.verify(sample)
    if as_json:
        print_json(answer)
    else:
        _print(answer["checks"])
    return 0 if answer["ok"] else 1


def _print(checks: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from farebox.cli.cells import plain

    table = Table(box=None, pad_edge=False, show_header=False)
    for check in checks:
        mark = Text("ok") if check["ok"] else Text("FAILED", style="bold red")
        table.add_row(mark, plain(str(check["name"])), plain(str(check["detail"])))
    failed = sum(not check["ok"] for check in checks)
    console().print(table)
    console().print(f"{failed} of {len(checks)} checks failed." if failed else f"All {len(checks)} checks hold.")
