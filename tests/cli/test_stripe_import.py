"""Stripe's customers and invoices from the shell, from a server on loopback."""

from collections.abc import Callable
from typing import Any

import pytest
from stripe_making import credit_note, customer, invoice, line, s, subscription
from stripe_server import StripeServer

Shell = Callable[..., Any]


def world() -> dict[str, list[dict[str, Any]]]:
    november = [line(f"il_{number}", 1000, "2026-11-01", "2026-12-01") for number in range(5)]
    long = invoice(4, "cus_3", *november[:1])
    long["lines"]["has_more"] = True
    return {
        "customers": [customer(1), customer(2), customer(3, metadata={})],
        "subscriptions": [
            subscription(1, "cus_1", status="canceled", ended_at=s("2026-06-01")),
            subscription(2, "cus_1", "team", start_date=s("2026-06-01")),
            subscription(4, "cus_2", status="canceled", start_date=s("2026-01-01"), ended_at=s("2026-02-15")),
            subscription(3, "cus_2"),
        ],
        "invoices": [
            invoice(1, "cus_1", line("il_a", 2950, "2026-10-01", "2026-11-01")),
            invoice(2, "cus_2", line("il_b", 2950, "2026-11-01", "2026-12-01")),
            invoice(3, "cus_2", line("il_c", 9900, "2026-11-01", "2026-12-01"), currency="eur"),
            long,
            invoice(5, "cus_1", line("il_d", 100, "2026-11-01", "2026-12-01"), status="void"),
            invoice(6, "cus_1", line("il_e", 100, "2026-11-01", "2026-12-01"), status="open"),
        ],
        "invoices/in_4/lines": november,
        "credit_notes": [credit_note(1, "cus_2", 950), credit_note(2, "cus_2", 100, status="void")],
    }


def months(shell: Shell, tenant: str) -> dict[str, str]:
    found = shell("customers", "revenue", tenant, "--json").data
    sums: dict[str, int] = {}
    for entry in found["entries"]:
        sums[entry["month"]] = sums.get(entry["month"], 0) + round(float(entry["amount"]) * 100)
    return {month: f"{cents / 100:.2f}" for month, cents in sums.items()}


def test_all_of_it_is_taken_page_by_page_and_once(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    with StripeServer(world()) as stripe:
        monkeypatch.setenv("STRIPE_API_KEY", "rk_test")
        monkeypatch.setenv("STRIPE_API_BASE", stripe.url)
        first = shell("import", "stripe")
        assert first.code == 0, first.err
        assert "1 invoices or credit notes in eur were left out" in first.err
        assert "3 customers new" in first.out
        again = shell("import", "stripe", "--json").data
    assert (again["created"], again["changed"], again["booked"], again["errors"]) == (0, 0, 0, [])
    assert any("starting_after=cus_2" in asked for asked in stripe.asked)
    plans = {row["name"]: row["price"] for row in shell("plans", "list", "--json").data}
    assert plans == {"pro": "29.50", "team": "29.50"}
    rows = {row["tenant"]: row for row in shell("customers", "list", "--json").data}
    assert {tenant: row["plan"] for tenant, row in rows.items()} == {
        "tenant_1": "team",
        "tenant_2": "pro",
        "cus_3": None,
    }
    assert (rows["tenant_2"]["billing_anchor"], rows["tenant_2"]["started_on"]) == (15, "2026-02-03")
    assert months(shell, "tenant_1") == {"2026-10": "29.50"}
    assert months(shell, "tenant_2") == {"2026-11": "20.00"}
    assert months(shell, "cus_3") == {"2026-11": "50.00"}


def test_a_key_that_stripe_refuses_is_one_line(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    unset = shell("import", "stripe")
    assert (unset.code, "STRIPE_API_KEY is not set" in unset.err) == (2, True)
    with StripeServer({}) as stripe:
        monkeypatch.setenv("STRIPE_API_KEY", "rk_wrong")
        monkeypatch.setenv("STRIPE_API_BASE", stripe.url)
        refused = shell("import", "stripe")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "Invalid API Key" in refused.err
    assert "rk_wrong" not in refused.err
