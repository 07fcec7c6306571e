"""Values as people read them, as HTML: digits by size, the exact value on hover, '–' with its reason, loss in colour
and with a minus."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import quote, urlencode

from markupsafe import Markup, escape

from farebox.core import figures
from farebox.core.events import DIMENSIONS
from farebox.dashboard.filters import Filters, segment
from farebox.reports.report import CellKind, Column

NUMBERS: Final = frozenset({"count", "usd", "percent", "ratio", "ms", "amount"})
"""Kinds that stand to the right, and whose largest comes first."""
WHY_NONE: Final[dict[str, str]] = {
    "usd": "not known: no price, or nothing to compute it from",
    "percent": "not known: there is nothing to compare with",
    "ratio": "not known: there is nothing to compare with",
    "ms": "not measured",
    "text": "none",
}

BAD_WORDS: Final = frozenset({"upstream error", "timeout", "interrupted", "loss", "over", "failed", "down"})
NONE: Final = "(none)"
"""What stands for a customer, a feature, a user … that calls do not name, in tables as in pictures."""
CALLERS: Final = frozenset({*DIMENSIONS, "series"})
EXACT: Final = frozenset({"started_at"})
"""Moments with their second: those of single calls."""
OFF_WORDS: Final = frozenset({"revoked", "expired", "removed", "default", "off"})

_PERCENT: Final = re.compile(r"(?<=\d) %")

Row = Mapping[str, Any]  # Any: raw values of a report


def text_of(value: Any, kind: CellKind, year: int | None = None) -> str:
    """A value as plain text; times of another year than `year`, where one is given, say theirs."""
    if value is None or value == "":
        return figures.NONE
    match _plain_kind(value, kind):
        case "usd":
            return figures.money(decimal(value))
        case "count":
            return figures.count(int(value))
        case "percent":
            return _percent(decimal(value))
        case "ratio":
            return f"{decimal(value):.2f}".replace("-", "−")
        case "ms":
            return figures.duration(float(value))
        case "month" | "day" | "moment":
            return _when(str(value), kind, year)
        case "flag":
            return "yes" if value is True else "no" if value is False else str(value)
    return joined(value)


def unbroken(text: str) -> str:
    """A sentence in which no line ends between a figure and its percent sign."""
    return _PERCENT.sub("\u00a0%", text)


def joined(value: Any) -> str:
    """Lists and mappings as one line, '–' for empty ones."""
    if isinstance(value, list | tuple):
        return ", ".join(str(entry) for entry in value) or figures.NONE
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={entry}" for name, entry in value.items()) or figures.NONE
    return str(value)


def cell(row: Row, column: Column, filters: Filters) -> Markup:
    """The inside of a table's cell, with its door."""
    value = row.get(column.name)
    if value is None and _names_something(column):
        inside = Markup('<span class="none" title="{}">{}</span>').format(f"no {column.title.lower()} is named", NONE)
    else:
        inside = _marked(row, column, inline(value, column.kind, filters.year, is_exact=column.name in EXACT))
    if column.name in ("share", "used_share") and value is not None:
        inside = _small_bar(decimal(value)) + Markup('<span class="share">{}</span>').format(inside)
    href = door(row, column, filters)
    return Markup(f'<a href="{escape(href)}">{inside}</a>') if href else inside  # noqa: S704 (escaped)


def inline(value: Any, kind: CellKind, year: int | None = None, *, is_exact: bool = False) -> Markup:
    """A value with its exact form on hover; `is_exact`: a moment with its second. Years as `text_of` has them."""
    if value is None or value == "":
        why = WHY_NONE.get(kind, "not known")
        return Markup('<span class="none" title="{}">–</span>').format(why)
    text, kind = text_of(value, kind, year), _plain_kind(value, kind)
    if kind == "usd":
        return _money(text, decimal(value))
    if kind in ("percent", "ratio") and decimal(value) < 0:
        return Markup('<span class="loss">{}</span>').format(text)
    if kind == "count" and abs(int(value)) >= 10**7:
        return Markup('<span title="{}">{}</span>').format(f"{int(value):,}", text)
    if kind == "moment":
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            value, _long(str(value)), text + _seconds(str(value)) if is_exact else text
        )
    if kind == "flag" and isinstance(value, str):
        tone = " bad" if value in BAD_WORDS else " off" if value in OFF_WORDS else ""
        return Markup('<span class="flag{}">{}</span>').format(tone, text)
    return escape(text)


def door(row: Row, column: Column, filters: Filters) -> str:
    """Where a click on a value leads, '' for nowhere."""
    target, value = column.door, row.get(column.name)
    if not target:
        return ""
    if target.startswith("/"):
        return filters.href(_filled(target, row)) if all(row.get(name) is not None for name in _names(target)) else ""
    if "=" in target:
        if target.startswith("report="):
            return _report(row, target)
        return _calls(row, target, filters)
    if target in ("day", "month"):
        return "" if value is None else _period(str(value), target, filters)
    if target == "tenant" and value:
        return filters.href(f"/customers/{segment(value)}", tenant=None)
    pairs_of = {target: "(none)" if value is None else str(value)}
    if target in ("user", "workspace", "task", "session") and row.get("tenant"):
        pairs_of = {"tenant": str(row["tenant"]), **pairs_of}
    return filters.href("/calls?" + urlencode(pairs_of))


def _plain_kind(value: Any, kind: CellKind) -> CellKind:
    """What a limit's amount is a figure of: its text is dollars."""
    return kind if kind != "amount" else "usd" if isinstance(value, str) else "count"


def _names_something(column: Column) -> bool:
    return column.kind == "text" and (column.door in CALLERS or column.name in CALLERS)


def _report(row: Row, target: str) -> str:
    """A report asked with what the row says: 'report=statement&tenant=tenant'."""
    (_, _, name), *pairs = [part.partition("=") for part in target.split("&")]
    return f"/reports/{name}?" + urlencode([(asked, _plain(row, text)) for asked, _, text in pairs])


def _calls(row: Row, target: str, filters: Filters) -> str:
    """The log under the filters that a door writes; a name that the row does not say, or 'all', is no filter."""
    pairs: list[tuple[str, str]] = []
    for part in target.split("&"):
        name, _, text = part.partition("=")
        name, value = _plain(row, name), _plain(row, text)
        if name == "day" and value != "(none)":
            pairs += [("since", value[:10]), ("until", value[:10])]
        elif name not in ("(none)", "all"):
            pairs.append((name, value))
    is_dated = any(name == "since" for name, _ in pairs)
    return filters.href("/calls?" + urlencode(pairs), **({"period": None} if is_dated else {}))


def decimal(value: Any) -> Decimal:
    """A raw number as Decimal, exactly. Raises ValueError."""
    try:
        return value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is no number") from None


def _money(text: str, usd: Decimal) -> Markup:
    """The sign in a quieter colour, so that a column reads as numbers."""
    sign, _, digits = text.partition("$")
    inside = f'{escape(sign)}<span class="currency">$</span>{escape(digits)}'
    kind, exact = "usd loss" if usd < 0 else "usd", escape(figures.exact(usd))
    # A page has some thousand of them, and `Markup.format` takes five times as long.
    return Markup(f'<span class="{kind}" title="{exact}">{inside}</span>')  # noqa: S704 (escaped)


def _marked(row: Row, column: Column, inside: Markup) -> Markup:
    """A thin mark where part of a sum is an estimate, or lacks calls without a price."""
    if column.name != "spend":
        return inside
    why = []
    if (estimated := row.get("spend_estimated")) and decimal(estimated) > 0:
        why.append(f"{figures.money(decimal(estimated))} of it is estimated")
    if unpriced := row.get("calls_unpriced"):
        why.append(f"{figures.count(int(unpriced))} calls have no price and are not in it")
    if not why:
        return inside
    return Markup('{}<span class="unsure" title="{}" role="img" aria-label="{}">~</span>').format(
        inside, "; ".join(why), "; ".join(why)
    )


def _small_bar(share: Decimal) -> Markup:
    """A share as a length, too."""
    tone = " full" if share > 100 else ""
    return Markup(
        '<svg class="small-bar{}" width="48" height="6" aria-hidden="true"><rect class="track" width="48" height="6" '
        'rx="3"/><rect class="fill" width="{:.1f}" height="6" rx="3"/></svg>'
    ).format(tone, max(Decimal(0), min(share, Decimal(100))) * 48 / 100)


def _percent(value: Decimal) -> str:
    if 0 < value < Decimal("0.1"):
        return "<0.1 %"
    return f"{value:.1f} %".replace("-", "−")


def _when(text: str, kind: str, year: int | None) -> str:
    try:
        if kind == "month":
            return f"{date.fromisoformat(text + '-01'):%b %Y}"
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    day = f"{moment.day} {moment:%b}" + ("" if year in (None, moment.year) else f" {moment.year}")
    return day if kind == "day" else f"{day} {moment:%H:%M}"


def _seconds(text: str) -> str:
    try:
        return f":{datetime.fromisoformat(text):%S}"
    except ValueError:
        return ""


def _long(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return text
    return f"{moment.day} {moment:%B %Y, %H:%M:%S} UTC"


def _period(value: str, kind: str, filters: Filters) -> str:
    if kind == "day":
        return filters.href("/calls?" + urlencode({"since": value[:10], "until": value[:10]}), period=None)
    first = date.fromisoformat(value + "-01")
    last = date(first.year + first.month // 12, first.month % 12 + 1, 1).toordinal() - 1
    span = {"since": first.isoformat(), "until": date.fromordinal(last).isoformat()}
    return filters.href("/calls?" + urlencode(span), period=None)


def _names(template: str) -> list[str]:
    return [part.partition("}")[0] for part in template.split("{")[1:]]


def _filled(template: str, row: Row) -> str:
    path, mark, query = template.partition("?")
    for name in _names(path):
        path = path.replace(f"{{{name}}}", segment(row[name]))
    for name in _names(query):
        query = query.replace(f"{{{name}}}", quote(str(row[name]), safe=""))
    return path + mark + query


def _plain(row: Row, template: str) -> str:
    for name in _names(template):
        value = row.get(name)
        template = template.replace(f"{{{name}}}", "(none)" if value is None else str(value))
    return template
