"""Margins before and after a change, recomputed by hand: what the ledger says of calls is given."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from bookkeeping import Event, Ledger, asked, at, books, customer, plan, usd
from hypothesis import given
from hypothesis import strategies as st

from farebox.core.customers import Entry
from farebox.core.money import format_usd
from farebox.errors import QueryError
from farebox.reports.customers_pnl import CustomersPnl
from farebox.reports.margin import Margin
from farebox.reports.what_if import NOTHING_MOVED, Change, question, what_if

OCTOBER = {"since": "2026-10-01", "until": "2026-11-01"}


def spent(tenant: str | None, amount: str | None, tier: str | None = "pro", **more: Any) -> Event:
    cost = None if amount is None else usd(amount)
    return Event(at=at("2026-10-10"), cost=cost, tenant=tenant, tier=tier, model="gpt-4.1", **more)


def difference(tenant: str | None, amount: str, tier: str | None = "pro") -> dict[str, Any]:
    return {"month": "2026-10", "tenant": tenant, "tier": tier, "difference": amount}


def found(*differences: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**NOTHING_MOVED, "differences": list(differences), **more}


def made() -> Ledger:
    booked = Entry("2026-10", usd("80"), "stripe", "in_1", 0)
    return Ledger(
        [spent("a", "10"), spent("b", "40"), spent("c", "5", "free"), spent(None, "3", None), spent("d", None, "free")],
        books(
            [customer("a", "pro", name="Acme"), customer("b", "pro", entries=(booked,)), customer("c", "free"),
             customer("z", "pro")],
            plan("pro", "49"), plan("free", "0"),
        ),
    )  # fmt: skip


def of(answer: dict[str, Any], name: str, value: str | None) -> dict[str, Any]:
    [row] = [row for row in answer["tiers" if name == "tier" else "customers"] if row[name] == value]
    return row


def test_another_model_moves_costs_and_margins_by_customer_and_tier() -> None:
    told = found(difference("a", "-6"), difference("b", "-30"), difference(None, "1", None))
    answer = what_if(asked(**OCTOBER), made(), Change([("*", "gpt-4.1-mini")]), told)
    acme = of(answer, "tenant", "a")
    assert (acme["name"], acme["plan"], acme["calls"]) == ("Acme", "pro", 1)
    assert acme["before"] == {
        "ai_cost": format_usd(usd("10")), "revenue": format_usd(usd("49")), "margin": format_usd(usd("39")),
        "margin_percent": "79.59",
    }  # fmt: skip
    assert acme["after"]["ai_cost"] == format_usd(usd("4")) and acme["margin_change"] == format_usd(usd("6"))
    assert [row["tenant"] for row in answer["customers"][:2]] == ["b", "a"]
    pro = of(answer, "tier", "pro")
    assert (pro["before"]["ai_cost"], pro["after"]["ai_cost"]) == (format_usd(usd("50")), format_usd(usd("14")))
    assert pro["after"]["revenue"] == format_usd(usd("178"))
    nobody = of(answer, "tenant", None)
    assert (nobody["before"]["margin"], nobody["after"]["margin"], nobody["margin_change"]) == (None, None, None)
    totals = answer["totals"]
    assert (totals["ai_cost_change"], totals["margin_change"]) == (format_usd(usd("-35")), format_usd(usd("36")))
    assert answer["sentence"] == (
        "Margin in Oct 2026 would be $159.00 (89.3 %) and is $123.00 (69.1 %): AI cost $35.00 less ($58.00 to $23.00), "
        "revenue stays $178.00."
    )
    assert answer["changes"] == ["all other calls: gpt-4.1-mini"]
    assert any("tokenizer" in note for note in answer["notes"])


def test_another_price_of_a_plan_moves_what_was_booked_by_the_difference() -> None:
    answer = what_if(asked(**OCTOBER), made(), Change(plans={"pro": usd("59")}))
    revenues = {row["tenant"]: (row["before"]["revenue"], row["after"]["revenue"]) for row in answer["customers"]}
    assert revenues == {
        "a": (format_usd(usd("49")), format_usd(usd("59"))),
        "b": (format_usd(usd("80")), format_usd(usd("90"))),
        "c": (format_usd(0), format_usd(0)),
        "d": (None, None),
        "z": (format_usd(usd("49")), format_usd(usd("59"))),
        None: (None, None),
    }
    assert answer["totals"]["revenue_change"] == format_usd(usd("30"))
    assert answer["changes"] == ["plan pro: $59.00 a month, which is $49.00 now"]
    assert any("booked revenue too" in note for note in answer["notes"])


def test_a_plan_held_for_part_of_the_month_moves_by_those_days() -> None:
    held = customer("a", "pro", started_on=at("2026-10-22").date())
    answer = what_if(asked(**OCTOBER), Ledger([], books([held], plan("pro", "31"))), Change(plans={"pro": usd("62")}))
    assert (answer["totals"]["before"]["revenue"], answer["totals"]["after"]["revenue"]) == (
        format_usd(usd("10")), format_usd(usd("20")),
    )  # fmt: skip


def test_both_together_are_the_sum_of_both() -> None:
    told = found(difference("b", "-30"))
    both = what_if(asked(**OCTOBER), made(), Change([("chat", "m")], {"pro": usd("59")}), told)
    models = what_if(asked(**OCTOBER), made(), Change([("chat", "m")]), told)
    plans = what_if(asked(**OCTOBER), made(), Change(plans={"pro": usd("59")}))
    change = Decimal(both["totals"]["margin_change"])
    assert change == Decimal(models["totals"]["margin_change"]) + Decimal(plans["totals"]["margin_change"]) == 60


def test_before_is_what_the_reports_show() -> None:
    ledger, span = made(), asked(**OCTOBER)
    answer = what_if(span, ledger, Change(plans={"pro": usd("49")}))
    pnl = {row["tenant"]: row for row in CustomersPnl().answer(span, ledger).rows}
    for row in answer["customers"]:
        shown = pnl[row["tenant"]]
        for name in ("ai_cost", "revenue", "margin", "margin_percent"):
            said = row["before"][name]
            assert (None if said is None else Decimal(said)) == shown[name] and row["after"][name] == said
    tiers = {row["tier"]: row for row in Margin().answer(span, ledger).sections[0].rows}
    for row in answer["tiers"]:
        said = row["before"]["margin"]
        assert (None if said is None else Decimal(said)) == tiers[row["tier"]]["margin"]


@given(st.lists(st.tuples(st.sampled_from("abcz"), st.integers(-(10**13), 10**13)), max_size=12))
def test_rows_add_up_to_the_total_to_the_last_digit(moves: list[tuple[str, int]]) -> None:
    told = found(*(difference(tenant, format_usd(amount)) for tenant, amount in moves))
    answer = what_if(asked(**OCTOBER), made(), Change([("chat", "m")]), told)
    summed = sum(Decimal(row["ai_cost_change"]) for row in answer["customers"] if row["ai_cost_change"])
    assert summed == Decimal(answer["totals"]["ai_cost_change"]) == Decimal(sum(n for _, n in moves)) / 10**12


def test_what_is_left_out_or_counted_otherwise_is_said() -> None:
    told = found(
        stayed=[{"to": "openai/m", "missing": ["web_search"], "attempts": 3, "cost": "0.12"},
                {"to": "groq/m", "missing": ["model"], "attempts": 1, "cost": "2"}],
        unpriced=[{"to": "openai/m", "attempts": 7, "priced": 5, "cost": "1.5"}],
        as_plain={"openai/m": {"cache_write_5m": 12345}},
        amended=2,
        other_calls=9,
        events_kept_from="2026-10-05T00:00:00.000000Z",
    )  # fmt: skip
    notes = what_if(asked(**OCTOBER), made(), Change([("chat", "m")], prices="2 prices of p.csv"), told)["notes"]
    for said in (
        "3 attempts ($0.1200) stay at what they cost: openai/m has no price for web_search.",
        "1 attempt ($2.00) stay at what they cost: groq/m has no price.",
        "7 attempts without a price are in neither sum; 5 attempts of them would cost $1.50 (openai/m).",
        "openai/m has no other price for some tokens (12,345 of cache_write_5m): they cost what plain input costs "
        "there.",
        "2 attempts were corrected by hand or moved: they stay at what they cost.",
        "9 calls of these features write no text (embeddings, images, audio): their model stays.",
        "Calls before 2026-10-05 are kept as sums only: they stay at what they cost.",
        "The new prices are taken as if they had been in force all the time, whatever their dates say.",
        "1 call has no price yet and is in no sum.",
    ):
        assert said in notes


def test_without_revenue_only_costs_are_told() -> None:
    answer = what_if(
        asked(**OCTOBER), Ledger([spent("a", "10")]), Change([("chat", "m")]), found(difference("a", "-4"))
    )
    assert answer["sentence"].startswith("AI cost $4.00 less ($10.00 to $6.00) in Oct 2026; no revenue is known")
    assert answer["totals"]["after"]["margin"] is None


def test_a_plan_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(QueryError, match=r"no plan 'por' \(did you mean pro\?\)"):
        what_if(asked(**OCTOBER), made(), Change(plans={"por": 1}))
    with pytest.raises(QueryError, match="there are free, pro"):
        what_if(asked(**OCTOBER), made(), Change(plans={"zzz": 1}))


def test_the_ledger_is_asked_for_whole_months_and_only_where_calls_change() -> None:
    span = asked("2026-10-20", "2026-11-01", time_zone="UTC")
    assert question(span, Change(plans={"pro": 1}), ()) is None
    found = question(span, Change([("chat", "m")]), ())
    assert found is not None and msgspec.to_builtins(found["swaps"]) == [{"feature": "chat", "model": "m"}]
    assert found["since_us"] == asked(**OCTOBER).since_us
    with pytest.raises(QueryError, match="two models are given for 'chat'"):
        question(span, Change([("chat", "m"), ("chat", "n")]), ())
