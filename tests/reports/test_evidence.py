"""A statement as evidence: on page, paper and in files, equal to every other sum to the last digit."""

import csv
import io
import random
from decimal import Decimal
from typing import Any

import pytest
from bookkeeping import NOW, asked, dollars
from reports_ledger import NASTY, NOW_US, TENANTS, Made

from farebox.core.customers import Books, Customer, Plan, PlanVersion, Subscription
from farebox.core.figures import exact
from farebox.core.queries import UsageQuery
from farebox.errors import QueryError
from farebox.ledger.stores.duckdb.usage import usage
from farebox.reports import statement_calls
from farebox.reports.customers_pnl import CustomersPnl
from farebox.reports.overages import Overages
from farebox.reports.pictures import page
from farebox.reports.report import Answer
from farebox.reports.showing import csv_of
from farebox.reports.statement import Statement

MONTHS = ("2026-10", "2026-11")


def rows_of(answer: Answer) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_of(answer.columns, answer.rows))))


def amount(rows: list[dict[str, str]]) -> Decimal:
    return sum((Decimal(row["spend"]) for row in rows if row["spend"]), Decimal(0))


@pytest.mark.parametrize("month", MONTHS)
@pytest.mark.parametrize("tenant", TENANTS)
def test_lines_and_calls_add_up_to_usage_and_to_the_margin_table(made: Made, tenant: str, month: str) -> None:
    question = (("tenant", tenant), ("month", month))
    _, answer = made.answer(Statement(), *question)
    _, by_call = made.answer(Statement(), *question, ("lines", "calls"))
    _, pnl = made.answer(CustomersPnl(), ("month", month), ("top", "10000"))
    (cost,) = [row["ai_cost"] for row in pnl.rows if row["tenant"] == tenant] or [Decimal(0)]
    since, until = {"2026-10": ("2026-10-01", "2026-11-01"), "2026-11": ("2026-11-01", "2026-12-01")}[month]
    query = asked(since=since, until=until)
    found: Any = usage(
        made.store,
        UsageQuery(
            where={"tenant": (tenant,)}, since_us=query.since_us, until_us=query.until_us,
            measures=("spend", "calls", "input_tokens", "output_tokens"),
        ),
        from_events=True,
    )["rows"]  # fmt: skip
    spend = Decimal(found[0]["spend"] or 0) if found else Decimal(0)
    for lines in (rows_of(answer), rows_of(by_call)):
        assert amount(lines) == spend == (cost or 0) == (answer.totals or {})["spend"]
        for name in ("calls", "input_tokens", "output_tokens"):
            assert sum(int(row[name]) for row in lines) == (found[0][name] if found else 0)
    assert not any("do not add up" in note for note in (*answer.notes, *by_call.notes))


def test_a_month_is_named_by_its_name_or_by_this_and_last(made: Made) -> None:
    for word, month in (("this", "2026-11"), ("last", "2026-10")):
        _, said = made.answer(Statement(), ("tenant", "acme"), ("month", word))
        _, named = made.answer(Statement(), ("tenant", "acme"), ("month", month))
        assert (said.rows, said.totals, said.sentence) == (named.rows, named.totals, named.sentence)


def test_each_call_of_a_statement_has_its_id_and_its_page(made: Made) -> None:
    _, answer = made.answer(Statement(), ("tenant", "acme"), ("month", "2026-11"), ("lines", "calls"))
    ids = [row["id"] for row in answer.rows]
    assert len(ids) == len(set(ids)) > 100
    assert [row["started_at"] for row in answer.rows] == sorted(row["started_at"] for row in answer.rows)
    door = next(column.door for column in answer.columns if column.name == "id")
    event = made.ask("event", {"id": random.Random(1).choice(ids)})["event"]
    assert door.format(**event) == f"/calls/{event['id']}" and event["tenant"] == "acme"
    remarks = {row["remark"] for row in answer.rows}
    assert {"own credential", "estimated", "no price", None} <= remarks
    assert any(str(remark).startswith("correction of ") for remark in remarks)


def test_single_calls_are_bounded_and_are_those_of_now(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    question = (("tenant", "acme"), ("month", "2026-11"), ("lines", "calls"))
    with pytest.raises(QueryError, match="earlier moment"):
        made.answer(Statement(), *question, ("as_of", "2026-11-20"))
    monkeypatch.setattr(statement_calls, "CALLS_MAX", 10)
    with pytest.raises(QueryError, match="more than 10 calls"):
        made.answer(Statement(), *question)


def test_an_overage_is_a_sum_that_can_be_checked_and_the_one_that_is_billed(made: Made) -> None:
    before = made.books
    plan = Plan(
        name="pro",
        included={"requests": 3, "usd": dollars(1) // 1000},
        overage_price={"requests": 12_345, "usd": dollars(2)},
    )
    held = (Subscription(NOW.date().replace(month=1, day=1), "pro"),)
    made.books = Books(
        {"acme": Customer(tenant="acme", subscriptions=held)}, {"pro": (PlanVersion(held[0].from_day, plan),)}
    )
    try:
        _, statement = made.answer(Statement(), ("tenant", "acme"), ("month", "2026-10-01"))
        _, overages = made.answer(Overages(), ("month", "2026-10"))
    finally:
        made.books = before
    included = statement.sections[0]
    assert included.title == "What the plan includes"
    assert (included.totals or {})["amount"] == (overages.totals or {})["amount"] > 0
    for row in included.rows:
        assert row["beyond"] == row["used"] - row["included"] > 0
        if row["unit"] == "requests":
            assert row["amount"] == row["beyond"] * row["price"]
            assert row["sum"] == (
                f"{row['used']:,} used − 3 included = {row['beyond']:,}; {row['beyond']:,} × $0.000000012345 = "
                f"${row['amount']:f}".rstrip("0")
            )


@pytest.mark.parametrize("tenant", NASTY)
def test_a_page_that_stands_alone_shows_names_and_runs_none(made: Made, tenant: str) -> None:
    _, answer = made.answer(Statement(), ("tenant", tenant), ("month", "2026-11"))
    html = page(Statement(), answer)
    assert (
        "<script" not in html
        and "<img src=x" not in html
        and " onerror=alert" not in html.replace("&lt;img src=x onerror=alert", "")
    )
    assert "@media print" in html and "default-src 'none'" in html
    assert f"To the last digit the calls cost {exact((answer.totals or {})['spend'])}." in html
    assert "Made at 2026-11-26T15:30:00.000000Z" in html and NOW_US


@pytest.mark.parametrize("lines", ["days", "calls"])
def test_no_cell_of_a_csv_is_a_formula(made: Made, lines: str) -> None:
    for tenant in TENANTS:
        _, answer = made.answer(Statement(), ("tenant", tenant), ("month", "2026-11"), ("lines", lines))
        text = csv_of(answer.columns, answer.rows)
        for row in csv.reader(io.StringIO(text)):
            for cell in row:
                assert not cell.startswith(("=", "+", "@", "\t", "\r")), cell
                if cell.startswith("-"):
                    Decimal(cell)
