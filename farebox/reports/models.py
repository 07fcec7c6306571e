"""What each model costs, and what a million of its tokens comes to."""

from typing import Any, Final

from farebox.reports.ranking import DOUBT, RANK, Ranking, answered, bars, most, rank
from farebox.reports.report import Answer, Asked, Column, Facts, Option
from farebox.reports.sums import each, pico
from farebox.reports.words import span

_GROUPS: Final = ("provider", "model")
_MORE: Final = ("input_tokens", "output_tokens", "errors", "p95_latency_ms")
_COLUMNS: Final = (
    Column("provider", "Provider", door="provider"),
    Column("model", "Model", "text", "The model that was billed, else the one asked for.", "model"),
    *RANK,
    Column("input_tokens", "Tokens in", "count", "All that was read, cached or not."),
    Column("output_tokens", "Tokens out", "count", "All that was written, reasoning included."),
    Column("per_million", "Per million", "usd", "Spend for a million tokens, in and out, fees included."),
    Column("errors", "Errors", "count", "Attempts that failed, timed out or were interrupted."),
    Column("p95_latency_ms", "p95", "ms", "Nineteen of twenty attempts took no longer, within 2 %."),
    *DOUBT,
)


class Models:
    name: Final = "models"
    title: Final = "Models"
    question: Final = "What does each model cost?"
    period: Final = "30d"
    options: tuple[Option, ...] = ()

    def answer(self, asked: Asked, facts: Facts) -> Answer:
        ranking = rank(asked, facts, _GROUPS, _MORE)
        _complete(ranking)
        chart = bars(ranking, ("model",), f"Spend by model, {span(asked)}")
        return answered(asked, facts, ranking, _COLUMNS, most(asked, ranking, "model", ("model",)), chart)


def _complete(ranking: Ranking) -> None:
    for row in [*ranking.rows, *([ranking.none] if ranking.none else []), ranking.total]:
        row["per_million"] = _per_million(row)


def _per_million(row: dict[str, Any]) -> Any:
    tokens = row["input_tokens"] + row["output_tokens"]
    return None if row["spend"] is None else each(pico(row["spend"]) * 1_000_000, tokens)
