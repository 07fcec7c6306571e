"""What Stripe's events say of purchases."""

import itertools

import pytest

from farebox.core.paywall import Bought, Rules, Subscribed, follows, opens, read_event

RULES = Rules(("plink_1",))


def event(kind: str, **found: object) -> dict[str, object]:
    return {"id": "evt_1", "type": kind, "livemode": True, "created": 5, "data": {"object": found}}


def test_a_session_is_read_with_its_objects_expanded_or_not() -> None:
    expanded = {"id": "sub_1", "object": "subscription"}
    for subscription in ("sub_1", expanded):
        said = read_event(
            event("checkout.session.completed", id="cs_1", subscription=subscription, payment_link={"id": "plink_1"},
                  payment_status="paid", customer_email="a@b.com", customer_details=None),
            RULES, 10**12,
        )  # fmt: skip
        assert said == Bought("cs_1", "sub_1", "a@b.com", "", 5_000_000)


def test_a_moment_that_is_none_or_to_come_is_now() -> None:
    for created in (None, "x", True, -1, 10**9):
        told = {**event("checkout.session.completed", id="cs_1", payment_link="plink_1"), "created": created}
        said = read_event(told, RULES, 7_000_000)
        assert isinstance(said, Bought)
        assert said.at_us == 7_000_000


def test_in_whatever_order_they_come_an_end_stays_an_end() -> None:
    told = [Subscribed("sub_1", "active", 1), Subscribed("sub_1", "unpaid", 2), Subscribed("sub_1", "canceled", 3)]
    for order in itertools.permutations(told):
        state: Subscribed | None = None
        for said in order:
            state = said if follows(state, said) else state
        assert state is not None
        assert state.status == "canceled"


@pytest.mark.parametrize(
    ("status", "is_open"),
    [(None, True), ("active", True), ("trialing", True), ("past_due", True), ("unpaid", False), ("canceled", False),
     ("paused", False), ("incomplete", False), ("a new one", False)],
)  # fmt: skip
def test_a_subscription_opens_by_its_status(status: str | None, is_open: bool) -> None:
    assert opens(status) == is_open
