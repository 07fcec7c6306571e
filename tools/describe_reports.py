"""docs/reference/reports.md, made from the registry: what each report answers, its columns and options.

python -m tools.describe_reports > docs/reference/reports.md
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Final

from farebox.core.customers import Books
from farebox.core.queries import EventsQuery, UsageQuery
from farebox.reports.asking import asked
from farebox.reports.registry import REPORTS
from farebox.reports.report import Column, Report

_INTRO: Final = """# Reports

What each report answers, what it covers unless told, its columns and options. This page is written by
`python -m tools.describe_reports`.

```console
$ farebox report                                   # lists them
$ farebox report top-customers --month last
$ farebox report trend --by customer.attr.region --since 90d --csv
$ farebox report tiers --json --url https://farebox.internal
$ farebox report audit --month 2026-10 --html audit.html --send finance
```

The same over the API: `GET /api/v1/reports`, `GET /api/v1/reports/{name}`. Ask with:

| command | API | |
|---|---|---|
| `--since`, `--until` | `since`, `until` | `30d`, a date, RFC 3339, or `all`; the end is exclusive |
| `--month` | `month` | `2026-10`, `this` or `last`, in place of both |
| `--time-zone` | `time_zone` | for days and months; UTC unless said |
| `--where tier=free` | `tier=free` | any dimension, column of an event, or `tag.NAME`; repeatable; empty: has none |
| `--top` | `top` | rows; 100 unless said, 20 in a terminal |
| `--as-of` | `as_of` | only what had been booked by then |
| `--option NAME=VALUE` | `NAME=VALUE` | a report's own options, below |
| `--json`, `--csv`, `--png FILE`, `--html FILE` | `format=json`, `csv`, `png` (with `chart=0`), `html` | |
| `--send CHANNEL` | `POST /api/v1/reports/{name}/send` | tells a channel now |

How they count:

* Money is exact to the pico-dollar, from roll-ups and events together; a share has two places. What is unknown is null
  (–), never 0.
* `calls` are distinct calls that were not refused, attempts are events. Refused calls cost nothing and are told apart.
* Calls with the callers' own provider keys count as calls; what they cost is told in a note, outside every sum.
* A correction counts where it was booked: with its call, or in the open month where the call's month is closed.
* `sure` is the share of a spend that is not estimated; `unpriced` calls have no price yet and no part in any sum.
* Thirty days are today and the 29 days before. A report asks for at most a million sums at once; where there are more,
  the smallest are missing.
"""
_PERIODS: Final = {
    "30d": "today and the 29 days before",
    "month": "this month so far",
    "12 months": "this month and the eleven before",
    "none": "everything, or the present",
}


def as_markdown() -> str:
    """The page."""
    return "\n".join([_INTRO, *_contents(), *(line for report in REPORTS for line in _of(report))]) + "\n"


def _contents() -> Iterator[str]:
    yield "| report | answers |"
    yield "|---|---|"
    for report in REPORTS:
        yield f"| [`{report.name}`](#{report.name}) | {report.question} |"
    yield ""


def _of(report: Report) -> Iterator[str]:
    yield f"## {report.name}"
    yield ""
    yield f"{report.question} Covers {_PERIODS[report.period]}, unless told."
    yield ""
    yield from _columns(columns(report))
    if report.options:
        yield "| option | | unless said |"
        yield "|---|---|---|"
        for option in report.options:
            yield f"| `{option.name}` | {option.hint} | {f'`{option.default}`' if option.default else ''} |"
        yield ""


def _columns(found: Iterable[Column]) -> Iterator[str]:
    yield "| column | kind | |"
    yield "|---|---|---|"
    for column in found:
        yield f"| `{column.name}` | {column.kind} | {column.hint or f'{column.title}.'} |"
    yield ""


class _Nothing:
    """Facts of an empty ledger."""

    def usage(self, query: UsageQuery) -> list[dict[str, object]]:
        return [] if query.group_by else [dict.fromkeys(query.measures, 0)]

    def usage_unordered(self, query: UsageQuery) -> list[dict[str, object]]:
        return []

    def events(self, query: EventsQuery) -> list[dict[str, object]]:
        return []

    def books(self, as_of_us: int | None = None) -> Books:
        return Books({}, {})

    def limits(self) -> list[object]:
        return []

    def ask(self, method: str, params: dict[str, object]) -> object:
        if method == "rates":
            return {"provider": "openai", "model": "gpt-4.1-mini", "rates": {"input": "0.40", "output": "1.60"}}
        return []


_SAMPLES: Final = {
    "plan-calculator": [("price", "20"), ("calls", "1000"), ("model", "gpt-4.1-mini")],
    "statement": [("tenant", "acme")],
}
"""What those reports are asked that answer nothing without."""


def columns(report: Report) -> tuple[Column, ...]:
    """A report's columns: they are the same whatever the ledger holds."""
    return report.answer(asked(report, _SAMPLES.get(report.name, []), 1_000_000 * 86_400 * 365), _Nothing()).columns  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
