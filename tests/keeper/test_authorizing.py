"""Calls that apps send by themselves: held at the authority until their event is counted, or until they expire."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from farebox.core.events import iso_us
from farebox.core.limit_text import read_limit
from farebox.core.limits import Limit, Who
from farebox.core.posting import read_event
from farebox.core.queries import EventsQuery
from farebox.errors import KeeperUnavailable
from farebox.keeper.authority import COUNT_S, HEARD_S, Asked, Authority, Message
from farebox.keeper.authorizing import KEPT_US, authorize
from farebox.keeper.explaining import explain
from farebox.ledger.accepting import Post, post
from farebox.ledger.ledger import Ledger, now_us
from farebox.ledger.service import answer
from farebox.settings import Settings

MODEL = "gpt-4.1-mini"
WHO = {"tenant": "acme", "user": "u_1"}


class Scene:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.now_s = 0.0
        self.passed_us = 0
        self.limits: list[Limit] = []
        self.plans: dict[str, str] = {}
        self.started_at = iso_us(now_us())
        self.ledger = Ledger(Settings(data=home))
        self.authority = Authority(self.ledger, self.now_us, lambda: self.now_s)

    def now_us(self) -> int:
        return now_us() + self.passed_us

    def limit(self, per: str = "user", amount: str = "3 requests", **more: Any) -> str:
        limit = msgspec.structs.replace(
            read_limit({"per": per, "amount": amount, **more}), id=f"lim_{len(self.limits) + 1}"
        )
        self.limits.append(limit)
        self.tick()
        return limit.id

    def tick(self) -> None:
        self.now_s += COUNT_S
        self.authority.use(tuple(self.limits), plans=self.plans)
        self.authority.tick(self.ledger.ingest)

    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(Settings(data=self.home))
        self.authority = Authority(self.ledger, self.now_us, lambda: self.now_s)

    def ask(self, **asked: Any) -> dict[str, Any]:
        params = {"provider": "openai", "model": MODEL, "dimensions": WHO, **asked}
        return authorize(self.authority, self.ledger.pricer, params, self.now_us)

    def post(self, event_id: str, authorization_id: str | None, **said: Any) -> dict[str, Any]:
        event = {
            "id": event_id, "provider": "openai", "model": MODEL, "usage": {"input": 10, "output": 5},
            "started_at": self.started_at, "tenant": "acme", "user": "u_1", **said,
        }  # fmt: skip
        read = read_event(event, now_us())
        named = {event_id: authorization_id} if authorization_id else {}
        return post(self.ledger, Post([(read.head, read.tail)], named))[0]

    def account(self, limit_id: str, **who: str) -> tuple[Any, Any]:
        """(used, held)."""
        found = explain(self.authority, {"dimensions": who or WHO})["limits"]
        entry = next(entry for entry in found if entry["limit_id"] == limit_id)
        return entry["used"], entry["held"]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    made.tick()
    yield made
    made.ledger.close()


def test_where_no_limit_applies_a_call_is_allowed_and_nothing_is_kept(scene: Scene) -> None:
    found = scene.ask()
    assert (found["verdict"], found["held"]) == ("allow", [])
    assert scene.ledger.posted.authorizations() == []


def test_an_authorization_holds_until_its_event_is_counted_and_nothing_counts_twice(scene: Scene) -> None:
    limit = scene.limit("user", "1 usd")
    found = scene.ask(input_tokens=100, output_max=200)
    assert found["verdict"] == "allow"
    worth = "0.00036"  # 100 tokens at $0.40 and 200 at $1.60 a million
    assert found["held"] == [{"limit_id": limit, "amount": worth, "unit": "usd"}]
    assert scene.account(limit) == ("0.00", worth)
    assert scene.post("e1", found["authorization_id"])["verdict"] == "accepted"
    assert scene.account(limit) == ("0.00", worth)
    scene.tick()
    assert scene.account(limit) == ("0.000012", "0.00")
    assert scene.post("e1", found["authorization_id"])["verdict"] == "duplicate"
    scene.tick()
    assert scene.account(limit) == ("0.000012", "0.00")
    assert scene.ledger.posted.authorizations() == []


def test_the_event_names_the_limits_that_let_it_pass_and_the_plan_that_they_went_by(scene: Scene) -> None:
    scene.plans = {"acme": "pro"}
    limit = scene.limit("user", "5 requests", where={"tier": "pro"})
    found = scene.ask()
    assert found["tier"] == "pro"
    scene.post("e1", found["authorization_id"])
    scene.tick()
    assert scene.account(limit, **WHO, tier="pro") == (1, 0)
    ((head, tail),) = [(row["tier"], row["limits"]["admitted"]) for row in _events(scene.ledger)]
    assert (head, tail) == ("pro", (limit,))


def test_as_many_at_once_as_there_are_never_pass_the_limit(scene: Scene) -> None:
    limit = scene.limit("tenant", "20 requests")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda number: scene.ask()["verdict"], range(50)))
    assert (found.count("allow"), found.count("block")) == (20, 30)
    assert scene.account(limit) == (0, 20)


def test_a_refusal_is_told_as_the_gateway_tells_it(scene: Scene) -> None:
    limit = scene.limit("user", "1 requests", message="used {used} of {amount}")
    first = scene.ask()
    busy = scene.ask()
    assert (busy["verdict"], busy["refusal"]["code"], busy["retry_after_s"]) == ("block", "limit_busy", 1)
    scene.post("e1", first["authorization_id"])
    scene.tick()
    refusal = scene.ask()["refusal"]
    assert refusal | {"reset_at": None} == {
        "code": "limit_exceeded", "limit_id": limit, "per": "user", "subject": "acme/u_1", "amount": 1,
        "unit": "requests", "used": 1, "held": 0, "window": "month", "reset_at": None,
        "message": "used 1 requests of 1 requests",
    }  # fmt: skip
    assert refusal["reset_at"].endswith("T00:00:00Z")


def test_a_customers_key_is_told_shares_of_money_and_never_amounts(scene: Scene) -> None:
    scene.limit("user", "0.00000001 usd")
    found = scene.ask(names_usd=False)
    assert found["held"][0]["amount"] is None  # the last of an account can be used
    refusal = scene.ask(names_usd=False)["refusal"]
    assert (refusal["amount"], refusal["unit"]) == (100, "percent")


def test_what_one_limit_stops_holds_nothing_of_the_others(scene: Scene) -> None:
    wide = scene.limit("tenant", "100 requests")
    scene.limit("user", "0 requests")
    assert scene.ask()["verdict"] == "block"
    assert scene.account(wide) == (0, 0)


def test_an_authorization_without_an_event_expires_and_a_late_event_still_counts(scene: Scene) -> None:
    limit = scene.limit("user", "1 requests")
    found = scene.ask()
    scene.passed_us = KEPT_US + 1
    scene.tick()
    assert scene.account(limit) == (0, 0)
    scene.post("late", found["authorization_id"])
    scene.tick()
    assert scene.account(limit) == (1, 0)


def test_an_event_that_came_in_time_is_held_for_until_it_is_counted(scene: Scene) -> None:
    limit = scene.limit("user", "1 requests")
    found = scene.ask()
    scene.post("e1", found["authorization_id"])
    scene.passed_us = KEPT_US + 1
    scene.tick()
    assert scene.account(limit) == (1, 0)


def test_a_restarted_keeper_holds_what_the_one_before_held(scene: Scene) -> None:
    limit = scene.limit("user", "2 requests")
    first, second = scene.ask(), scene.ask()
    scene.post("e1", first["authorization_id"])
    scene.restart()
    with pytest.raises(KeeperUnavailable):
        scene.ask()  # not before all is known
    scene.tick()
    assert scene.account(limit) == (1, 1)
    assert scene.ask()["verdict"] == "block"
    scene.post("e2", second["authorization_id"])
    scene.tick()
    assert scene.account(limit) == (2, 0)


def test_workers_leases_and_authorizations_share_one_account(scene: Scene) -> None:
    limit = scene.limit("user", "3 requests")
    scene.now_s += HEARD_S + 1
    assert scene.ask()["verdict"] == "allow"
    window = scene.authority.applied(_who())[0][0].window
    asked = Asked(limit, "acme/u_1", window.start_us, window.end_us, 1, 0, 0, 2, 2)
    (_, _, ((_, given, *_),)) = scene.authority.lease(Message("worker-1", True, [asked]))
    assert given == 2
    assert scene.ask()["refusal"]["code"] == "limit_busy"
    asked = Asked(limit, "acme/u_1", window.start_us, window.end_us, 2, 0, 0, 0, 0)
    scene.authority.lease(Message("worker-1", True, [asked]))
    assert scene.ask()["verdict"] == "allow"


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ({"action": "warn"}, "warn"),
        ({"action": "dry_run"}, "dry_run"),
        ({"action": "downgrade", "model": "gpt-4.1-nano"}, "downgrade"),
        ({"action": "throttle", "rate": 1}, "warn"),
    ],
)
def test_what_a_used_up_limit_does(scene: Scene, more: dict[str, Any], verdict: str) -> None:
    limit = scene.limit("user", "1 requests", **more)
    scene.post("e1", None)
    scene.tick()
    found = scene.ask()
    assert found["verdict"] == verdict
    assert found["limits"]["warned"][0]["limit_id"] == limit
    assert found.get("model") == more.get("model")
    if more["action"] == "throttle":
        again = scene.ask()["refusal"]
        assert (again["code"], again["window"], again["used"]) == ("limit_busy", "minute", 1)


def test_a_strict_limit_holds_the_ceiling_and_tightens_the_answer(scene: Scene) -> None:
    limit = scene.limit("user", "0.0001 usd", strict=True)
    assert scene.ask(input_tokens=10)["refusal"]["code"] == "unbounded_call"
    found = scene.ask(input_tokens=10, bounds=(50, 0, False), output_max=1000)
    assert found["max_tokens"] == 50  # 50 in at $0.40, 50 out at $1.60 a million
    assert found["strict"] is True
    assert scene.account(limit) == ("0.00", "0.0001")


def test_a_model_without_a_price_is_refused_under_a_limit_in_money(scene: Scene) -> None:
    scene.limit("user", "1 usd")
    assert scene.ask(model="nobodys-model")["refusal"]["code"] == "unpriced_model"


def test_named_units_count_where_they_are_said(scene: Scene) -> None:
    limit = scene.limit("user", "2 analyses")
    assert scene.ask()["held"] == []
    assert scene.ask(units={"analyses": 2})["verdict"] == "allow"
    assert scene.account(limit) == (0, 2)
    assert scene.ask(units={"analyses": 1})["verdict"] == "block"


def test_who_holds_is_told_by_authorization(scene: Scene) -> None:
    scene.limit("user", "2 requests")
    found = scene.ask()
    (holder,) = explain(scene.authority, {"dimensions": WHO})["limits"][0]["holders"]
    assert (holder["worker"], holder["open_calls"]) == ("authorized", 1)
    assert holder["calls"][0]["event_id"] == found["authorization_id"]


def _who() -> Who:

    return Who(WHO, {})


def _events(ledger: Ledger) -> list[dict[str, Any]]:

    return answer(ledger, "events", EventsQuery())["data"]  # type: ignore[index,no-any-return]
