"""`farebox simulate`: a change tried on the past, from the ledger. Nothing is set."""

from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any, Final

import msgspec
import typer

from farebox.cli import limit_options as options
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
    print_json,
    remote_of,
    settings_of,
)
from farebox.cli.ledgers import Since, Until, connected, now_us
from farebox.core import asking
from farebox.core.backtest import beside
from farebox.core.backtest_report import ROWS_MAX
from farebox.core.limit_text import read_limit
from farebox.core.limits import Limit
from farebox.errors import NotFound
from farebox.settings import Settings

app = command_group("Whom a limit would have stopped in the past.")

REMOTE_TIMEOUT_S: Final = 3600.0


@app.command()
def simulate(
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit",
            metavar="LIMIT",
            help="""An existing one's id (lim_…), or one as JSON: '{"per": "user", "amount": "5 usd"}'. """
            "Or write it with the options of `farebox limits set`:",
        ),
    ] = None,
    per: options.Per = None,
    amount: options.Amount = None,
    where: options.Where = None,
    subject: options.Subject = None,
    window: options.Window = None,
    time_zone: options.TimeZone = None,
    action: options.Action = None,
    model: options.Model = None,
    rate: options.Rate = None,
    warn_at: options.WarnAt = None,
    reserve: options.Reserve = None,
    strict: options.Strict = False,
    unpriced: options.Unpriced = None,
    allow_unbounded: options.AllowUnbounded = False,
    min_output: options.MinOutput = None,
    include_byok: options.IncludeByok = False,
    anchor_day: options.AnchorDay = None,
    message: options.Message = None,
    since: Since = "30d",
    until: Until = None,
    limit_rows: Annotated[int, typer.Option("--limit-rows", metavar="N", help="Most affected subjects to name.")] = 20,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Tell whom a limit would have stopped in the past, how many calls and how much money. Nothing is set."""
    form = options.written(
        per=per, amount=amount, where=where, subject=subject, window=window, time_zone=time_zone, action=action,
        model=model, rate=rate, warn_at=warn_at, reserve=reserve, unpriced=unpriced, min_output=min_output,
        anchor_day=anchor_day, message=message,
        flags={"strict": strict, "allow_unbounded": allow_unbounded, "include_byok": include_byok},
    )  # fmt: skip
    meant = _meant(limit, form)
    if not 1 <= limit_rows <= ROWS_MAX:
        raise UsageError(f"--limit-rows is {limit_rows}: give 1 to {ROWS_MAX}")
    begins = None if since in (None, "", "all") else since
    if remote := remote_of(url, token):
        answer = _asked_remotely(remote, meant, begins, until, limit_rows)
    else:
        answer = _asked_here(settings_of(data, config), meant, begins, until, limit_rows)
    if as_json:
        print_json(answer)
        return
    from farebox.cli.simulate_view import simulate_view  # rich, for people only

    console().print(simulate_view(answer))


def _meant(limit: str | None, form: Mapping[str, Any]) -> str | Mapping[str, Any]:
    """A limit's id, or its written form. Raises UsageError."""
    if limit is None:
        if not form:
            raise UsageError(
                "say which limit: --limit lim_…, --limit with JSON, or --per user --amount '5 usd' as for `limits set`"
            )
        return form
    if form:
        raise UsageError(f"--limit says it all: leave out {', '.join('--' + name.replace('_', '-') for name in form)}")
    text = limit.strip()
    if not text.startswith("{"):
        return text
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise UsageError(f"""--limit is no JSON ({error}): write '{{"per": "user", "amount": "5 usd"}}'""") from None


def _asked_remotely(
    remote: Remote, meant: str | Mapping[str, Any], since: str | None, until: str | None, rows: int
) -> dict[str, Any]:
    with closing(remote):
        form = {"limit": meant, "since": since, "until": until, "rows": rows}
        found: dict[str, Any] = remote.call("POST", "/simulate", body=form, timeout_s=REMOTE_TIMEOUT_S)
        return found


def _asked_here(
    settings: Settings, meant: str | Mapping[str, Any], since: str | None, until: str | None, rows: int
) -> dict[str, Any]:
    chosen = None if isinstance(meant, str) else read_limit(meant)
    limit, living, days = _known(settings, chosen, str(meant))
    now = now_us()
    since_us = None if since is None else asking.instant(since, now, limit.time_zone)
    until_us = now if until is None else asking.instant(until, now, limit.time_zone)
    question = {"limit": limit, "others": beside(limit, living), "since_us": since_us, "until_us": until_us}
    with closing(connected(settings)) as ledger:
        found: dict[str, Any] = ledger.call("simulate", {**question, "rows": rows, "anchor_days": days})
        return found


def _known(settings: Settings, chosen: Limit | None, limit_id: str) -> tuple[Limit, list[Limit], dict[str, int]]:
    """(the chosen limit, or the one of that id; all that are in force; customers' billing days where it goes by them).
    Raises NotFound."""
    from farebox.directory.rows import checked_limit
    from farebox.directory.store import Directory
    from farebox.directory.watch import directory_path

    if not directory_path(settings).exists():
        if chosen is None:
            raise NotFound(f"there is no limit {limit_id!r}: this data directory has none")
        return checked_limit(chosen), [], {}
    with closing(Directory.open(settings)) as directory:
        limit = directory.limits.get(limit_id).limit if chosen is None else checked_limit(chosen)
        days = directory.customers.anchor_days() if limit.window == "billing" else {}
        return limit, [row.limit for row in directory.limits.list()], days
