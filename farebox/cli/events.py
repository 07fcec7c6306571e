"""`farebox events`: the call log, and one call down to its arithmetic."""

from typing import Annotated

import typer

from farebox.cli.context import Config, Data, Json, Token, Url, UsageError, command_group, console, print_json
from farebox.cli.ledgers import Since, Until, Where, Zone, ledger_of, now_us, when_pairs, where_pairs
from farebox.core import asking
from farebox.core.queries import LIMIT_MAX

app = command_group("The call log, and one call down to its arithmetic.")


@app.callback(invoke_without_command=True)
def events(
    context: typer.Context,
    since: Since = "24h",
    until: Until = None,
    where: Where = None,
    top: Annotated[int, typer.Option("--top", help="Rows to show, newest first.")] = 20,
    time_zone: Zone = "UTC",
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """The call log, newest first, the last 24 hours unless said. `farebox events show ID` explains one call."""
    if context.invoked_subcommand is not None:
        return
    if not 1 <= top <= LIMIT_MAX:
        raise UsageError(f"--top is {top}: give 1 to {LIMIT_MAX}")
    pairs = [*when_pairs(since, until, time_zone), *where_pairs(where), ("limit", str(top))]
    query = asking.events_query(pairs, now_us())
    with ledger_of(data, config, url, token) as ledger:
        answer = ledger.events(query)
    if as_json:
        print_json(answer)
        return
    from farebox.cli.evidence import log_view  # rich, for people only

    console().print(log_view(answer["data"]))


@app.command()
def show(
    event_id: Annotated[str, typer.Argument(metavar="ID", help="An event's id, as `farebox events` shows it.")],
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Evidence: what happened, the sum that makes the cost, who is billed, what the provider sent."""
    with ledger_of(data, config, url, token) as ledger:
        evidence = ledger.evidence(event_id)
    if as_json:
        print_json(evidence)
        return
    from farebox.cli.evidence import evidence_view  # rich, for people only

    console().print(evidence_view(evidence))
