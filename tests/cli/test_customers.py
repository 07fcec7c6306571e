"""Plans, customers and imports from the shell, on a directory and through a server's API."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from control_api import Api

Shell = Callable[..., Any]
PRO = ("plans", "set", "pro", "--price", "29", "--included", "analyses=100", "--overage", "analyses=0.05")
TABLE = (
    "tenant,name,plan,started_on,month,revenue,utm_source,region\n"
    "acme,Acme,pro,2026-02-03,2026-10,29,google,eu\n"
    "acme,,,,2026-11,31.50,,\n"
    "globex,Globex,gold,,,,,\n"
    'initech,Initech,pro,,2026-11,"1,000",,\n'
)


@pytest.fixture
def pro(shell: Shell) -> Any:
    return shell(*PRO, "--json").data


@pytest.fixture
def table(tmp_path: Path) -> str:
    file = tmp_path / "customers.csv"
    file.write_text(TABLE)
    return str(file)


def test_a_plan_is_set_changed_from_a_day_on_listed_and_removed(shell: Shell) -> None:
    assert shell("plans", "list").out.startswith("No plans.")
    made = shell(*PRO, "--from", "2026-01-01", "--seats", "5", "--expected-ai-cost", "8", "--other-cogs", "3", "--json")
    assert (made.data["price"], made.data["included"], made.data["seats"]) == ("29.00", {"analyses": 100}, 5)
    later = shell("plans", "set", "pro", "--price", "39", "--seats", "none", "--from", "2099-01-01")
    assert [line.split()[:4] for line in later.out.splitlines()[2:]] == [
        ["2026-01-01", "29.00", "month", "5"],
        ["2099-01-01", "39.00", "month", "–"],
    ]
    assert shell("plans", "show", "pro").out == later.out
    assert "29.00" in shell("plans", "list").out
    assert shell("plans", "remove", "pro").out == "Removed plan pro.\n"
    assert shell("plans", "list", "--json").data == []
    assert "pro" in shell("plans", "list", "--all").out


def test_a_customer_is_set_shown_listed_and_removed(shell: Shell, pro: Any) -> None:
    assert shell("customers", "list").out.startswith("No customers.")
    made = shell(
        "customers", "set", "acme", "--name", "Acme", "--plan", "pro", "--from", "2026-11-01",
        "--started-on", "2026-10-01", "--owner-email", "ann@acme.com", "--billing-anchor", "15",
        "--source", "google", "--medium", "cpc", "--campaign", "spring", "--attribute", "region=eu", "--json",
    ).data  # fmt: skip
    assert (made["plan"], made["billing_anchor"], made["attributes"]) == ("pro", 15, {"region": "eu"})
    assert shell("customers", "show", "acme", "--json").data == made
    assert shell("customers", "set", "acme", "--source", "none").out == "acme  Acme, on pro\n"
    assert shell("customers", "show", "acme", "--json").data["source"] is None
    shell("customers", "set", "globex")
    shown = shell("customers", "show", "acme").out
    assert "ann@acme.com" in shown
    assert "2026-11-01" in shown
    assert [line.split()[0] for line in shell("customers", "list").out.splitlines()] == ["tenant", "acme", "globex"]
    assert [row["tenant"] for row in shell("customers", "list", "--plan", "pro", "--json").data] == ["acme"]
    assert shell("customers", "remove", "acme").out == "Removed acme.\n"
    assert "acme" not in shell("customers", "list").out
    assert "acme" in shell("customers", "list", "--all").out


def test_revenue_is_booked_and_shown_by_month(shell: Shell, pro: Any) -> None:
    shell("customers", "set", "acme")
    booked = shell("customers", "revenue", "acme", "--month", "2026-11", "--amount", "40.50", "--id", "inv_1")
    assert booked.out == "inv_1  40.50 usd for acme in 2026-11\n"
    again = shell("customers", "revenue", "acme", "--month", "2026-11", "--amount", "40.50", "--id", "inv_1")
    assert "before" in again.err
    shell("customers", "revenue", "acme", "--month", "2026-11", "--amount", "-0.50")
    found = shell("customers", "revenue", "acme", "--json").data
    assert [entry["amount"] for entry in found["entries"]] == ["40.50", "-0.50"]
    assert found["months"][0]["revenue"] == "40.00"
    assert "40.00" in shell("customers", "revenue", "acme").out
    half = shell("customers", "revenue", "acme", "--month", "2026-11")
    assert (half.code, "both" in half.err) == (2, True)


def test_a_file_is_taken_line_by_line_and_the_same_again_changes_nothing(shell: Shell, pro: Any, table: str) -> None:
    first = shell("import", table)
    assert first.code == 1
    assert [line.partition(":")[0] for line in first.err.splitlines()] == ["line 4", "line 5"]
    assert "no plan 'gold'" in first.err
    assert "without thousands separators" in first.err
    assert (
        first.out
        == "4 lines: 1 customers new, 0 changed, 2 entries of revenue booked, 0 lines as before, 2 with errors.\n"
    )
    acme = shell("customers", "show", "acme", "--json").data
    assert (acme["name"], acme["plan"], acme["source"], acme["attributes"]) == (
        "Acme",
        "pro",
        "google",
        {"region": "eu"},
    )
    again = shell("import", table, "--json").data
    assert (again["created"], again["changed"], again["booked"], again["unchanged"]) == (0, 0, 0, 2)
    assert [row["line"] for row in again["errors"]] == [4, 5]
    assert shell("customers", "show", "acme", "--json").data == acme


def test_a_corrected_file_books_the_difference(shell: Shell, pro: Any, tmp_path: Path) -> None:
    file = tmp_path / "revenue.csv"
    for amount in ("29", "19"):
        file.write_text(f"tenant;month;revenue\nacme;2026-11;{amount}\n")
        assert shell("import", str(file)).code == 0
    found = shell("customers", "revenue", "acme", "--json").data
    assert [entry["amount"] for entry in found["entries"]] == ["29.00", "-10.00"]
    assert found["months"][0]["revenue"] == "19.00"


def test_strict_takes_nothing_at_all_where_any_line_has_an_error(
    shell: Shell, pro: Any, table: str, tmp_path: Path
) -> None:
    refused = shell("import", table, "--strict")
    assert refused.code == 1
    assert shell("customers", "list", "--json").data == []
    only_unknown = tmp_path / "unknown.csv"
    only_unknown.write_text("tenant,plan\nacme,pro\nglobex,gold\n")
    refused = shell("import", str(only_unknown), "--strict")
    assert (refused.code, "line 3" in refused.err) == (1, True)
    assert shell("customers", "list", "--json").data == []
    only_unknown.write_text("tenant,plan\nacme,pro\nglobex,pro\n")
    assert shell("import", str(only_unknown), "--strict").code == 0
    assert len(shell("customers", "list", "--json").data) == 2


def test_only_so_many_errors_are_told(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "wrong.csv"
    file.write_text("tenant,plan\n" + "acme,gold\n" * 80)
    told = shell("import", str(file)).err.splitlines()
    assert (len(told), told[-1]) == (51, "and 30 lines more")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("import", "nothing.csv"), "cannot be read"),
        (("plans", "set", "pro", "--price", "1,000"), "thousands"),
        (("plans", "set", "pro", "--seats", "many"), "whole number"),
        (("plans", "set", "pro", "--from", "soon"), "2026-11-21"),
        (("customers", "set", "acme", "--owner-email", "ann"), "e-mail"),
        (("customers", "set", "acme", "--from", "2026-11-01"), "give the plan"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(shell: Shell, words: tuple[str, ...], says: str) -> None:
    refused = shell(*words)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert says in refused.err


def test_the_same_commands_work_on_a_server(
    shell: Shell, remote: tuple[Api, list[str]], monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    api, there = remote
    monkeypatch.setenv("FAREBOX_TOKEN", api.tokens["admin"])
    assert shell(*PRO, *there, "--json").data["price"] == "29.00"
    assert shell("import", table, "--strict", *there).code == 1
    assert shell("customers", "list", *there, "--json").data == []
    first = shell("import", table, *there, "--json").data
    assert (first["created"], first["booked"], [row["line"] for row in first["errors"]]) == (1, 2, [4, 5])
    assert shell("import", table, *there, "--json").data["unchanged"] == 2
    shell("customers", "set", "a b/c", "--plan", "pro", "--billing-anchor", "7", *there)
    assert [row["tenant"] for row in shell("customers", "list", "--plan", "pro", *there, "--json").data] == [
        "a b/c",
        "acme",
    ]
    shell("customers", "revenue", "acme", "--month", "2026-11", "--amount", "1", *there)
    assert len(shell("customers", "revenue", "acme", *there, "--json").data["entries"]) == 3
    assert shell("customers", "remove", "acme", *there).code == 0
    assert shell("plans", "list", *there).out.splitlines()[1].startswith("pro")
    assert len(api.directory.customers.list()) == 1


def test_a_link_to_the_portal_is_made_listed_and_revoked(shell) -> None:
    made = shell("customers", "portal", "acme", "--expires", "24h", "--json").data
    assert made["url"].endswith(f"/portal/{made['token']}")
    plain = shell("customers", "portal", "acme", "--user", "u_1")
    assert "/portal/fbp_" in plain.out
    assert "whoever has the link can look" in plain.err
    listed = shell("customers", "portal", "acme", "--list")
    assert made["id"] in listed.out
    assert "fbp_" not in listed.out
    assert shell("customers", "portal", "acme", "--revoke", made["id"]).out == f"Revoked {made['id']}.\n"
    assert [row["active"] for row in shell("customers", "portal", "acme", "--list", "--json").data] == [False, True]
    assert shell("customers", "portal", "globex", "--revoke", made["id"]).code == 1
    assert shell("customers", "portal", "acme", "--list", "--revoke", made["id"]).code == 2
    assert shell("customers", "portal", "acme", "--expires", "soon").code == 2
