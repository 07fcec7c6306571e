"""The call log, and one call down to the arithmetic of its cost."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from farebox.cli.cells import add_row, plain
from farebox.core import figures
from farebox.core.events import DIMENSIONS
from farebox.core.meters import BY_NAME, INPUT_METERS, OUTPUT_METERS, Meter

Row = Mapping[str, object]

_TROUBLE: Final = frozenset({"upstream_error", "timeout", "interrupted"})


def log_view(events: Sequence[Row]) -> RenderableType:
    """A line an attempt, newest first."""
    if not events:
        return Text("No calls match. Widen --since, or drop a --where.", style="dim")
    table = _grid("time (UTC)", "id", "tenant", "user", "feature", "model", "state")
    for name in ("in", "out", "cost", "took"):
        table.add_column(name, justify="right", no_wrap=True)
    for event in events:
        add_row(table, *_log_cells(event))
    return table


def _log_cells(event: Row) -> list[str | Text]:
    usage = _mapping(event.get("usage"))
    state = str(event.get("state"))
    model = f"{event.get('provider')}/{event.get('model_billed') or event.get('model_requested') or figures.NONE}"
    return [
        str(event.get("started_at"))[:19].replace("T", " "),
        str(event.get("id")),
        *(str(event.get(name) or figures.NONE) for name in ("tenant", "user", "feature")),
        model,
        Text(_what(event, state), style="yellow" if state in _TROUBLE else ""),
        figures.count(_sum(usage, INPUT_METERS)),
        figures.count(_sum(usage, OUTPUT_METERS)),
        figures.money(_usd(event.get("cost_usd"))),
        figures.duration(_float(event.get("latency_ms"))),
    ]


def _what(event: Row, state: str) -> str:
    """The state; of refusals that were collapsed, with how many they are."""
    if event.get("kind") != "charge":
        return "correction"
    times = event.get("refused_count")
    return f"{state} x {figures.count(times)}" if isinstance(times, int) and times > 1 else state


def evidence_view(evidence: Row) -> RenderableType:
    """What happened, the sum that makes the cost, who is billed, the other attempts, the corrections, the raw usage.
    `evidence` is the answer of GET /api/v1/events/{id}."""
    blocks: list[RenderableType] = [
        plain(_headline(evidence), "bold"),
        plain(_timing(evidence), "dim"),
        Text(),
        _sum_table(evidence),
        *_said_and_computed(evidence),
        Text(),
        _facts(_attribution(evidence)),
    ]
    attempts = [row for row in _rows(evidence.get("attempts")) if row.get("id") != evidence.get("id")]
    if attempts:
        blocks += [Text("\nOther attempts of this call", style="bold"), log_view(attempts)]
    corrections = _rows(evidence.get("corrections"))
    if corrections:
        blocks += [Text("\nCorrections", style="bold"), _corrections(corrections)]
    if evidence.get("usage_raw") is not None:
        blocks += [Text("\nUsage as the provider sent it", style="bold"), plain(_json(evidence["usage_raw"]))]
    return Group(*blocks)


def _headline(event: Row) -> str:
    cost = _cost(event)
    latest = _latest(event)
    source = f"{latest.get('cost_source')}{'' if latest is event else ', corrected'}"
    price = "no price known" if cost is None else f"{figures.exact(cost)} ({source})"
    model = event.get("model_billed") or event.get("model_requested") or "no model"
    ended = f"{event.get('state')}" + (f" with status {event['status']}" if event.get("status") else "")
    return f"{event.get('provider')} {model}: {price}, {ended}"


def _timing(event: Row) -> str:
    first = event.get("first_byte_ms")
    parts = [
        f"{event.get('id')}",
        f"started {event.get('started_at')}",
        f"took {figures.duration(_float(event.get('latency_ms')))}",
        *([f"first byte after {figures.duration(_float(first))}"] if first is not None else []),
        *([f"attempt {event['attempt']}"] if event.get("attempt", 1) != 1 else []),
        *([f"retry {event['retries']}"] if event.get("retries") else []),
        *([f"error {event['error']}"] if event.get("error") else []),
        *([f"outcome {event['outcome']}"] if event.get("outcome") else []),
    ]
    return " · ".join(parts)


def _sum_table(evidence: Row) -> RenderableType:
    lines = _rows(evidence.get("arithmetic"))
    if not lines:
        return Text(
            "Nothing was billed." if evidence.get("cost_usd") is not None else "No price, so no sum.", style="dim"
        )
    table = _grid("meter")
    for name in ("count", "", "rate", "amount"):
        table.add_column(name, justify="right", no_wrap=True, footer=_total(evidence) if name == "amount" else "")
    table.show_footer = True
    for line in lines:
        add_row(table, *_sum_cells(line))
    latest = _latest(evidence)
    since = latest.get("price_from") or "before records begin"
    price = f"price {latest.get('price_id')}, in force since {since}"
    return Group(table, plain(price, "dim")) if latest.get("price_id") else table


def _sum_cells(line: Row) -> list[str]:
    name = str(line.get("meter"))
    meter = BY_NAME.get(name)
    rate, amount = _usd(line.get("rate")), _usd(line.get("amount"))
    times = f" × {line['multiplier']}" if line.get("multiplier") else ""
    return [
        f"{line['model']} {name}" if line.get("model") else name,
        _counted(line.get("count"), meter),
        "×",
        figures.NONE if rate is None else f"{_quoted(rate, meter)}{times}",
        figures.NONE if amount is None else figures.exact(amount),
    ]


def _counted(count: object, meter: Meter | None) -> str:
    if meter is None or meter.scale == 1 or not isinstance(count, int):
        return f"{count:,}" if isinstance(count, int) else str(count)
    return f"{count / meter.scale:,.3f} {meter.name}"


def _quoted(rate: Decimal, meter: Meter | None) -> str:
    """The rate in the unit that price lists use: tokens by the million, fees by the thousand, audio by the hour."""
    if meter is None or meter.is_token:
        return f"{figures.exact(rate)} per million"
    return f"{figures.exact(rate)} per hour" if meter.scale != 1 else f"{figures.exact(rate / 1000)} per thousand"


def _total(evidence: Row) -> str:
    """What the lines above it add up to: where the provider's own price was booked, that is the computed one."""
    if _latest(evidence).get("cost_source") == "provider":
        cost = _usd(evidence.get("computed_cost_usd"))
    else:
        cost = _cost(evidence)
    return figures.NONE if cost is None else figures.exact(cost)


def _said_and_computed(evidence: Row) -> list[RenderableType]:
    """Where the provider says what the call costs: that, what its counts come to, and the difference."""
    reported = _usd(evidence.get("reported_cost_usd"))
    if reported is None:
        return []
    computed, difference = _usd(evidence.get("computed_cost_usd")), _usd(evidence.get("cost_difference_usd"))
    booked = " (booked)" if _latest(evidence).get("cost_source") == "provider" else ""
    share = f" ({difference / computed:+.2%})".replace("-", "−") if difference is not None and computed else ""
    lines = [
        ("provider says", f"{figures.exact(reported)}{booked}"),
        ("computed", "not all of it has a price" if computed is None else figures.exact(computed)),
        *([("difference", f"{figures.exact(difference)}{share}")] if difference is not None else []),
    ]
    return [Text(), _facts(lines)]


def _latest(evidence: Row) -> Row:
    """The entry whose price counts: the last correction, else the event itself."""
    corrections = _rows(evidence.get("corrections"))
    return corrections[-1] if corrections else evidence


def _cost(evidence: Row) -> Decimal | None:
    """With its corrections, where the answer says so."""
    return _usd(evidence.get("cost_now_usd", evidence.get("cost_usd")))


def _attribution(event: Row) -> list[tuple[str, str]]:
    tags = ", ".join(f"{name}={value}" for name, value in _mapping(event.get("tags")).items())
    marks = event.get("marks")
    named = [(name, str(event[name])) for name in DIMENSIONS if event.get(name)]
    return [
        *named,
        *([("tags", tags)] if tags else []),
        *([("key", str(event["key_id"]))] if event.get("key_id") else []),
        ("endpoint", f"{event.get('endpoint')} ({event.get('operation')})"),
        ("asked for", str(event.get("model_requested") or figures.NONE)),
        *([("service tier", str(event["service_tier"]))] if event.get("service_tier") else []),
        *([("marks", ", ".join(str(mark) for mark in marks))] if isinstance(marks, list | tuple) and marks else []),
    ]


def _facts(pairs: Iterable[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        add_row(table, name, value)
    return table


def _corrections(rows: Sequence[Row]) -> Table:
    table = _grid("booked", "id", "why")
    table.add_column("change", justify="right", no_wrap=True)
    for row in rows:
        marks = row.get("marks")
        why = ", ".join(str(mark) for mark in marks) if isinstance(marks, list | tuple) else ""
        booked = str(row.get("finished_at"))[:19].replace("T", " ")
        cost = _usd(row.get("cost_usd"))
        add_row(table, booked, str(row.get("id")), why, figures.NONE if cost is None else figures.exact(cost))
    return table


def _grid(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", footer_style="bold")
    for name in names:
        table.add_column(name, no_wrap=name in ("time (UTC)", "id"), overflow="fold")
    return table


def _sum(usage: Row, meters: frozenset[str]) -> int:
    return sum(count for name, count in usage.items() if name in meters and isinstance(count, int))


def _mapping(value: object) -> Row:
    return value if isinstance(value, Mapping) else {}


def _rows(value: object) -> Sequence[Row]:
    return value if isinstance(value, list | tuple) else ()


def _usd(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _float(value: object) -> float | None:
    return None if value is None else float(str(value))


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
