"""The options that write a limit, for every command that takes one."""

from typing import Annotated, Any, Final

import typer

from farebox.cli.context import UsageError
from farebox.cli.values import pairs
from farebox.core.asking import words

PER: Final = typer.Option(metavar="NAME", help="Each user, tenant, tier, key, tag.NAME …; all: one amount for all.")
AMOUNT: Final = typer.Option(metavar="TEXT", help="How much, with its unit: '5 usd', '2000 requests'.")

Per = Annotated[str | None, PER]
Amount = Annotated[str | None, AMOUNT]
Where = Annotated[
    list[str] | None, typer.Option("--where", metavar="NAME=VALUE", help="Only calls with this value. Repeatable.")
]
Subject = Annotated[str | None, typer.Option(metavar="VALUE", help="Only this one, in place of what holds for each.")]
Window = Annotated[
    str | None,
    typer.Option(metavar="WINDOW", help="minute, hour, day, week, month, billing or lifetime.", show_default="month"),
]
TimeZone = Annotated[str | None, typer.Option(metavar="ZONE", help="Whose days, weeks and months.", show_default="UTC")]
Action = Annotated[
    str | None,
    typer.Option(metavar="ACTION", help="block, warn, dry_run, downgrade or throttle.", show_default="block"),
]
Model = Annotated[str | None, typer.Option(metavar="MODEL", help="What downgrade turns calls to.")]
Rate = Annotated[int | None, typer.Option(metavar="N", help="Calls a minute that throttle still lets pass.")]
WarnAt = Annotated[
    str | None, typer.Option(metavar="SHARES", help="When to warn, such as 0.5,0.8.", show_default="0.8")
]
Reserve = Annotated[
    str | None,
    typer.Option(metavar="HOW", help="Hold the expected cost of a call, or its ceiling.", show_default="expected"),
]
Strict = Annotated[bool, typer.Option("--strict", help="Never one cent over: refuse calls whose cost has no bound.")]
Unpriced = Annotated[
    str | None, typer.Option(metavar="HOW", help="Models without a price: refuse or pass.", show_default="refuse")
]
AllowUnbounded = Annotated[bool, typer.Option("--allow-unbounded", help="Let unbounded calls pass a strict limit.")]
MinOutput = Annotated[
    int | None, typer.Option(metavar="TOKENS", help="Least output a strict limit leaves a call.", show_default="16")
]
IncludeByok = Annotated[bool, typer.Option("--include-byok", help="Count calls with the caller's own credential, too.")]
AnchorDay = Annotated[int | None, typer.Option(metavar="DAY", help="First day of a billing month.", show_default="1")]
Message = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="For the end customer; may use {amount} {used} {reset_at} {tier}."),
]


def written(
    *, where: list[str] | None, warn_at: str | None, flags: dict[str, bool], **given: str | int | None
) -> dict[str, Any]:
    """A limit's written form, as `core.limit_text.read_limit` takes it: what was said, and nothing else. Raises
    UsageError."""
    said: dict[str, Any] = {
        **given,
        "where": pairs(where, "--where") if where else None,
        "warn_at": None if warn_at is None else _shares(warn_at),
        **{name: True for name, is_set in flags.items() if is_set},
    }
    return {name: value for name, value in said.items() if value is not None}


def _shares(text: str) -> list[float]:
    try:
        return [float(share) for share in words([text])]
    except ValueError:
        raise UsageError(f"--warn-at {text!r}: give shares of the amount, such as 0.5,0.8") from None
