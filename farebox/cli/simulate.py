"""`farebox simulate`: a change tried on the past, from the ledger. Nothing is set."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
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

app = command_group("What a limit, a model or a price would have made of the past.")

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
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="FEATURE:MODEL",
            help="Margin with another model for a feature: summarizer:gpt-4.1-mini, '*:…' for all others. Repeatable. "
            "With a limit: what downgrade turns calls to.",
        ),
    ] = None,
    plan_price: Annotated[
        list[str] | None,
        typer.Option(
            "--plan-price", metavar="PLAN:DOLLARS", help="Margin with another price of a plan: pro:59. Repeatable."
        ),
    ] = None,
    price: Annotated[
        list[Path] | None,
        typer.Option(
            "--price",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Margin with the model prices of a file, as `prices update` takes it. Repeatable.",
        ),
    ] = None,
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
    """Tell what a change would have made of the past. Of a limit: whom it would have stopped, how many calls and how
    much money. Of models, their prices or plans (--model, --plan-price, --price, together if you like): margin before
    and after, by tier and customer. Nothing is set."""
    models = model or []
    is_limit = limit is not None or per is not None or amount is not None or action is not None
    if not is_limit and (models or plan_price or price):
        others = {"--where": where, "--subject": subject, "--window": window, "--rate": rate, "--message": message}
        if given := [name for name, value in others.items() if value]:
            raise UsageError(f"{', '.join(given)} belongs to a limit: leave it out, or say which limit")
        _tell_margins(models, plan_price or [], price or [], since, until, time_zone or "UTC", limit_rows,
                      data, config, url, token, as_json)  # fmt: skip
        return
    if plan_price or price or len(models) > 1 or any(":" in word for word in models):
        raise UsageError("a limit is tried by itself: leave out --plan-price, --price and FEATURE:MODEL, or the limit")
    form = options.written(
        per=per, amount=amount, where=where, subject=subject, window=window, time_zone=time_zone, action=action,
        model=models[0] if models else None, rate=rate, warn_at=warn_at, reserve=reserve, unpriced=unpriced,
        min_output=min_output, anchor_day=anchor_day, message=message,
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


def _tell_margins(
    models: list[str], plan_prices: list[str], files: list[Path], since: str | None, until: str | None, time_zone: str,
    rows: int, data: Path | None, config: Path | None, url: str | None, token: str | None, as_json: bool,
) -> None:  # fmt: skip
    from farebox.cli import what_if
    from farebox.cli.prices import book_of
    from farebox.reports.what_if import Change

    if not 1 <= rows <= ROWS_MAX:
        raise UsageError(f"--limit-rows is {rows}: give 1 to {ROWS_MAX}")
    swaps, plans = what_if.swaps_of(models), what_if.plans_of(plan_prices)
    asked = what_if.period(since, until, time_zone, rows)
    priced, said = what_if.price_rows(files, book_of(data, config, url, token)) if files else ([], "")
    change = Change(swaps, plans, said)
    if remote := remote_of(url, token):
        answer = what_if.asked_remotely(remote, str(since), until, time_zone, change, priced, rows)
    else:
        answer = what_if.asked_here(settings_of(data, config), asked, change, priced)
    if as_json:
        print_json(answer)
        return
    from farebox.cli.what_if_view import what_if_view  # rich, for people only

    console().print(what_if_view(answer))


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
