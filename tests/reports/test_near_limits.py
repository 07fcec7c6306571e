from types import SimpleNamespace

import pytest
from reports_ledger import NOW_US, accounts, percent

from farebox.core.events import iso_us
from farebox.errors import QueryError
from farebox.ledger import service
from farebox.reports.registry import find

NEAR = find("near-limits")


def expected(made, share):
    found = {}
    for limit_id, subject, start, end, amount, used in accounts(made.events, made.limits):
        replaced = limit_id == "lim_calls" and subject == "acme"
        if used >= share * amount and not replaced:
            found[limit_id, subject] = (start, end, amount, used)
    return found


def test_accounts_near_their_limit_come_with_share_and_pace(made):
    _, answer = made.answer(NEAR, ("share", "0.2"), ("top", "10000"))
    wanted = expected(made, 0.2)
    assert wanted
    assert {(row["limit_id"], row["subject"]) for row in answer.rows} == wanted.keys()
    for row in answer.rows:
        start, end, amount, used = wanted[row["limit_id"], row["subject"]]
        assert row["of_limit"] == percent(used, amount)
        assert row["resets_at"] == iso_us(end)
        projected = used * (end - start) // (NOW_US - start)
        assert row["projected"] == percent(projected, amount)
        if used < amount < projected:
            assert row["used_up_at"] == iso_us(start + round((NOW_US - start) * amount / used))
        else:
            assert row["used_up_at"] is None
    assert [row["of_limit"] for row in answer.rows] == sorted((row["of_limit"] for row in answer.rows), reverse=True)


def test_it_says_from_which_share_on_an_account_is_near(made):
    _, answer = made.answer(NEAR, ("share", "0.2"))
    assert "near a limit (20 % used, or more)" in answer.sentence
    _, answer = made.answer(NEAR)
    assert "70 %" in answer.sentence
    assert all(row["of_limit"] >= 70 for row in answer.rows)


def test_projected_lists_who_will_use_all_of_it(made):
    _, answer = made.answer(NEAR, ("share", "projected"), ("top", "10000"))
    wanted = {
        key
        for key, (start, end, amount, used) in expected(made, 0).items()
        if used >= amount or used * (end - start) // (NOW_US - start) > amount
    }
    assert {(row["limit_id"], row["subject"]) for row in answer.rows} == wanted


def test_an_override_stands_in_the_place_of_the_template(made):
    _, answer = made.answer(NEAR, ("share", "0"), ("top", "10000"))
    of_acme = [row["limit_id"] for row in answer.rows if row["subject"] == "acme" and row["unit"] == "requests"]
    assert of_acme in (["lim_acme"], [])


def test_without_limits_it_says_how_to_make_one(made):
    before, made.limits = made.limits, []
    try:
        _, answer = made.answer(NEAR)
    finally:
        made.limits = before
    assert "farebox limits set" in answer.sentence
    assert answer.rows == []


@pytest.mark.parametrize("share", ["2", "-1", "1/0", "much"])
def test_a_share_is_from_nothing_to_all(made, share):
    with pytest.raises(QueryError, match="share"):
        made.answer(NEAR, ("share", share))


def test_filters_are_refused(made):
    with pytest.raises(QueryError, match="no filters"):
        made.answer(NEAR, ("tier", "free"))


def test_it_is_of_now_and_says_so(made):
    _, answer = made.answer(NEAR, ("month", "2026-10"))
    assert any("always of now" in note for note in answer.notes)
    _, answer = made.answer(NEAR, ("as_of", "2026-11-01"))
    assert any("always of now" in note for note in answer.notes)


def test_where_no_keeper_runs_the_ledger_alone_knows_what_limits_have_used(made):
    ledger = SimpleNamespace(store=made.store, ingest=lambda: 0)
    found = service.limits_spent(ledger, service.Spent(tuple(made.limits), 0.1, NOW_US))
    wanted = [row for row in accounts(made.events, made.limits) if row[5] >= row[4] / 10]
    assert sorted(tuple(row) for row in found) == sorted(wanted)
