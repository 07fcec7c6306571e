"""`farebox prices`: what models cost here, and how that is changed. No price is overwritten: rows are added, dated."""

import time
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from farebox.cli import context, price_views
from farebox.cli.context import Config, Data, Json, Token, Url, UsageError
from farebox.cli.price_views import Change, served, usd
from farebox.core import figures
from farebox.core.meters import BY_NAME
from farebox.core.money import parse_usd
from farebox.core.price_text import shown_row
from farebox.core.pricing import PriceBook, PriceRow
from farebox.errors import FareboxError

REPRICE_TIMEOUT_S: Final = 600.0
_HEADLINE: Final = frozenset({"input", "cache_read", "output", "image", "page", "seconds", "characters"})

app = context.command_group("Prices: list, show, set, update, compare, unpriced, reprice.")

Provider = Annotated[str, typer.Argument(help="As in the proxy route: openai, anthropic, gemini …")]
Model = Annotated[str, typer.Argument(help="The model, by any name it answers to.")]
At = Annotated[str | None, typer.Option("--at", help="On that day (2026-11-30) instead of now.")]
From = Annotated[
    str | None,
    typer.Option(
        "--from", help="First day on which it holds.", show_default="today, or ever for a model without a price"
    ),
]
Rate = Annotated[str | None, typer.Option(help="Dollars per million tokens.")]


@app.command("list")
def list_(
    provider: Annotated[str | None, typer.Option("--provider", help="Only this provider's.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only models that this glob matches.")] = None,
    history: Annotated[bool, typer.Option("--history", help="Past and coming rows too.")] = False,
    at: At = None,
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Prices in force, per million tokens; those added here first."""
    book = book_of(data, config, url, token)
    wanted = book.provider(provider) if provider else None
    rows = price_views.selected([*reversed(book.overrides), *book.sheet.rows], wanted, model)
    if not history:
        rows = price_views.winning(book, rows, _moment(at))
    added = {row.id for row in book.overrides}
    if as_json:
        context.print_json([{"origin": _origin(row, added), **shown_row(row)} for row in rows])
        return
    context.print_table(
        ("provider", "model", "input", "cached", "output", "served", "from", "until", "origin"),
        [_line(row, added) for row in rows],
        empty="No price matches. `farebox prices list` shows all; `farebox prices set` adds one.",
        right=("input", "cached", "output"),
    )


@app.command()
def show(
    provider: Provider,
    model: Model,
    at: At = None,
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """One model's price: every meter, long prompts, tiers, and where the figures are from."""
    book = book_of(data, config, url, token)
    found = price_views.quote_data(book, provider, model, _moment(at))
    if found is None:
        context.fail(
            f"{provider} {model} has no price{f' on {at}' if at else ''}: its calls are unpriced until "
            f"`farebox prices set {provider} {model} --input … --output …`"
        )
    if as_json:
        context.print_json(found)
    else:
        _print_quote(found)


@app.command("set")
def set_(
    provider: Provider,
    model: Annotated[str, typer.Argument(help="The model's name, or a glob such as 'gpt-4*'.")],
    input_: Annotated[str | None, typer.Option("--input", help="Dollars per million tokens.")] = None,
    output: Rate = None,
    cache_read: Rate = None,
    cache_write: Annotated[str | None, typer.Option(help="Short-lived cache (5 and 30 minutes), per million.")] = None,
    cache_write_1h: Annotated[str | None, typer.Option("--cache-write-1h", help="Per million tokens.")] = None,
    reasoning: Annotated[str | None, typer.Option(help="Per million tokens.", show_default="as output")] = None,
    rate: Annotated[
        list[str] | None, typer.Option("--rate", help="Any meter, METER=DOLLARS per million (seconds: per hour).")
    ] = None,
    from_: From = None,
    tier: Annotated[str | None, typer.Option("--tier", help="Only for this service tier: flex, priority …")] = None,
    batch: Annotated[bool, typer.Option("--batch", help="Only for batch processing.")] = False,
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Add a price that holds from a day on (of a model that had none: for all its calls). Meters that are not named
    cost what they did."""
    named = {
        "input": input_,
        "output": output,
        "cache_read": cache_read,
        "cache_write_5m": cache_write,
        "cache_write_30m": cache_write,
        "cache_write_1h": cache_write_1h,
        "reasoning": reasoning,
    }
    rates = {meter: text for meter, text in named.items() if text is not None} | dict(map(_rate, rate or ()))
    if not rates:
        raise UsageError("no rate given: name at least one, such as --input 0.40 --output 1.60")
    written: dict[str, Any] = {"provider": provider, "model": model, "rates": rates, "batch": batch}
    if tier:
        written["service_tier"] = tier.lower()
    if from_:
        written["valid_from"] = _day(from_)
    book = book_of(data, config, url, token)
    row = row_of(book, written)
    changed = price_views.changes(book, [row], _moment(None))
    _add([row], data, config, url, token)
    if as_json:
        context.print_json(shown_row(row))
        return
    _print_changes(changed)
    if row.valid_from:
        context.say(f"{row.provider} {row.model} costs that from {row.valid_from} on. Booked calls stay as they are.")
    else:
        context.say(f"{row.provider} {row.model} had no price: this one is for all its calls.")
        context.hint("`farebox prices reprice` books the calls that had no price")
    if book.quote(row.provider, row.model, _moment(None)).bands and not row.bands:
        context.hint("Long prompts now cost the same as short ones: give bands in a file to `prices update` if not.")


@app.command()
def update(
    file: Annotated[Path, typer.Argument(help="Rows as .json, .jsonl, .toml or .csv.", exists=True, dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the difference.")] = False,
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show what a price file changes, then add its rows, dated. What is so already is left out."""
    book = book_of(data, config, url, token)
    rows = [row_of(book, written, file.name) for written in price_views.read_file(file.name, text_of(file))]
    changed = price_views.changes(book, rows, _moment(None))
    different = {change.row.id for change in changed}
    added = [row for row in rows if row.id in different]
    if as_json:
        context.print_json(price_views.update_data(added, changed, len(rows) - len(added), dry_run))
    else:
        _print_changes(changed)
    if added and not dry_run:
        _add(added, data, config, url, token)
    if not as_json:
        verb = "would be added" if dry_run else "added"
        context.say(f"{figures.count(len(added))} prices {verb}, {figures.count(len(rows) - len(added))} as they were.")


@app.command()
def compare(
    models: Annotated[list[str], typer.Argument(help="Models, by name.")],
    at: At = None,
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """One model's price across providers, the cheapest first."""
    offers = price_views.compared(book_of(data, config, url, token), models, _moment(at))
    if as_json:
        context.print_json(offers)
        return
    context.print_table(
        ("model", "provider", "name there", "input", "cached", "output", "from"),
        [
            (
                offer["model"],
                offer["provider"],
                offer["name"],
                *(_dollars(offer["rates"].get(meter)) for meter in ("input", "cache_read", "output")),
                offer["price_from"],
            )
            for offer in offers
        ],
        empty=f"Nobody's price for {', '.join(models)} is known: `farebox prices list --model '*NAME*'` finds names.",
        right=("input", "cached", "output"),
    )


@app.command()
def unpriced(
    as_json: Json = False, data: Data = None, config: Config = None, url: Url = None, token: Token = None
) -> None:
    """Models that were called and have no price: what their calls cost is unknown, not zero."""
    remote = context.remote_of(url, token)
    rows = remote.listed("/prices/unpriced") if remote else _rows(_keeper(data, config, "unpriced", {}))
    if as_json:
        context.print_json(rows)
        return
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    context.print_table(columns, [[row.get(key) for key in columns] for row in rows], empty="Every call has a price.")
    if rows:
        context.hint(
            "`farebox prices set PROVIDER MODEL --input … --output … --from DAY`, then `farebox prices reprice`"
        )


@app.command()
def reprice(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be booked.")] = False,
    as_json: Json = False,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Price the calls that had no price, by correction entries."""
    remote = context.remote_of(url, token)
    asked = {"dry_run": dry_run}
    if remote:
        done = remote.call("POST", "/prices/reprice", body=asked)
    else:
        done = _keeper(data, config, "reprice", asked)
    if as_json:
        context.print_json(done)
        return
    verb = "would be priced" if dry_run else "priced"
    context.say(f"{figures.count(done['repriced'])} calls {verb}, ${done['amount_usd']} in all.")


def book_of(data: Path | None, config: Path | None, url: str | None, token: str | None) -> PriceBook:
    """The shipped prices and those added to the directory that the command works on."""
    from farebox.core.price_text import read_row
    from farebox.providers.sheets import load_book

    remote = context.remote_of(url, token)
    if remote is None:
        return load_book(context.directory_of(data, config).prices.list())
    rows = [
        {key: value for key, value in row.items() if key != "origin"}
        for row in remote.listed("/prices", origin="added")
    ]
    return load_book([read_row(row) for row in reversed(rows)])


def _add(rows: list[PriceRow], data: Path | None, config: Path | None, url: str | None, token: str | None) -> None:
    import msgspec

    remote = context.remote_of(url, token)
    if remote is None:
        stored = [msgspec.to_builtins(row) for row in rows]
        context.directory_of(data, config).prices.add(stored, by=context.actor())
    else:
        remote.call("POST", "/prices", body={"rows": [shown_row(row) for row in rows]})


def row_of(book: PriceBook, written: dict[str, Any], file: str = "") -> PriceRow:
    """A row of a price file as it would be added, dated where that is called for. Raises PriceSheetError."""
    from farebox.directory.vault import new_id

    now = datetime.now(UTC)
    source = f"{file or 'prices set'}, {now:%Y-%m-%dT%H:%M:%SZ}"
    provider = written.get("provider")
    named = {**written, "provider": book.provider(provider)} if isinstance(provider, str) else written
    known = book.quote(str(provider), str(written.get("model")), _moment(None)).row is not None
    return price_views.new_row(named, new_id("price_"), now.date().isoformat() if known else "", source)


def _keeper(data: Path | None, config: Path | None, method: str, params: dict[str, Any]) -> Any:
    """Ask the running keeper, else the ledger itself, which then prices with the rows added here."""
    from farebox.ledger.client import connect

    directory = context.directory_of(data, config)
    try:
        with closing(connect(context.settings_of(data, config), directory.list_price_rows)) as keeper:
            return keeper.call(method, params, timeout_s=REPRICE_TIMEOUT_S)
    finally:
        directory.close()


def _rows(answer: Any) -> list[dict[str, Any]]:
    """The rows of an answer, which is a list or holds one."""
    held = answer.get("rows") or answer.get("data") or [] if isinstance(answer, dict) else answer
    return list(held)


def _moment(at: str | None) -> int:
    """Noon UTC of a day, or now."""
    if at is None:
        return time.time_ns() // 1000
    from farebox.core.price_rows import DAY_US, day_us

    return day_us(_day(at)) + DAY_US // 2


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise UsageError(f"{text!r} is no day: write it as 2026-11-30") from None


def _rate(text: str) -> tuple[str, str]:
    meter, equals, dollars = text.partition("=")
    if not equals or meter not in BY_NAME:
        raise UsageError(f"--rate {text!r}: write METER=DOLLARS with one of {', '.join(BY_NAME)}")
    return meter, dollars


def text_of(file: Path) -> str:
    """Raises FareboxError where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FareboxError(f"{file} cannot be read: {error}") from None


def _origin(row: PriceRow, added: set[str]) -> str:
    return "added" if row.id in added else "shipped"


def _line(row: PriceRow, added: set[str]) -> tuple[object, ...]:
    rates = [usd(row.rates.get(meter)) for meter in ("input", "cache_read", "output")]
    return (row.provider, row.model, *rates, served(row), row.valid_from, row.valid_to, _origin(row, added))


def _dollars(text: str | None) -> str:
    return figures.NONE if text is None else f"${text}"


def _print_quote(found: dict[str, Any]) -> None:
    since = f"from {found['price_from']}" if found["price_from"] else "since before records begin"
    context.say(
        f"{found['provider']} {found['model']} (listed as {found['entry']}), {since}, price {found['price_id']}"
    )
    context.say(f"Source: {found['source']}\n")
    bands = found["bands"]
    columns = ("meter", "dollars", *(f"from {figures.count(band['tokens'])} tokens" for band in bands), "per")
    rows = [
        (
            meter,
            _shown(meter, rate)[0],
            *(_shown(meter, band["rates"][meter])[0] for band in bands),
            _shown(meter, rate)[1],
        )
        for meter, rate in found["rates"].items()
    ]
    context.print_table(columns, rows, empty="No standard price.", right=columns[1:-1])
    if found["also"]:
        context.say("")
    for other in found["also"]:
        rates = ", ".join(f"{meter} ${rate}" for meter, rate in other["rates"].items() if meter in _HEADLINE)
        context.say(f"{other['served']}: {rates}")


def _shown(meter: str, rate: str) -> tuple[str, str]:
    return price_views.shown_unit(meter, parse_usd(rate))


def _print_changes(changed: list[Change]) -> None:
    context.print_table(
        ("provider", "model", "served", "meter", "now", "new", "change", "from"),
        [
            (
                c.row.provider,
                c.row.model,
                served(c.row),
                c.meter,
                usd(c.before),
                usd(c.after),
                c.percent,
                c.row.valid_from,
            )
            for c in changed
        ],
        empty="Nothing changes: every price is so already.",
        right=("now", "new", "change"),
    )
