"""What a customer may be shown over the API, and the links by which it sees it."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from control_api import NOW_US, Api, FakeKeeper
from portal_scene import MONEY, NASTY, Ledger, furnish

from farebox.core.limit_text import read_limit
from farebox.errors import KeeperUnavailable, QueryError
from farebox.portal.limits import told

USAGE = "/api/v1/customers/acme/usage"
LINKS = "/api/v1/customers/acme/portal-tokens"


class Keeper(FakeKeeper):
    async def call(self, method: str, params: object = None, *, timeout_s: float = 30) -> Any:
        answer = await super().call(method, params, timeout_s=timeout_s)
        return answer(params) if callable(answer) else answer


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    api = Api(tmp_path, keeper=Keeper())
    furnish(api.directory)
    api.ledger = Ledger(api.directory)
    api.keeper.answers |= api.ledger.answers()
    yield api
    api.close()


def link(shop: Api, tenant: str = "acme", **form: Any) -> dict[str, Any]:
    answer = shop.ask("POST", f"/api/v1/customers/{quote(tenant, safe='')}/portal-tokens", json=form)
    assert answer.status_code == 201, answer.text
    return answer.json()


def look(shop: Api, token: str, path: str = USAGE, **options: Any) -> Any:
    return shop.ask("GET", path, None, headers={"authorization": f"Bearer {token}"}, **options)


def test_usage_is_told_in_units_of_the_billing_month_and_when_it_begins_anew(shop: Api) -> None:
    answer = shop.get(USAGE).json()
    assert (answer["tenant"], answer["name"], answer["plan"]) == ("acme", "Name of acme", "pro")
    assert answer["period"] == {"starts_at": "2027-01-05T00:00:00.000000Z", "resets_at": "2027-02-05T00:00:00.000000Z"}
    units = {unit["unit"]: unit for unit in answer["units"]}
    assert units["analyses"]["text"] == "1,847 of 2,000 analyses"
    assert (units["analyses"]["percent"], units["analyses"]["left"], units["analyses"]["beyond"]) == (92, 153, 0)
    assert (units["requests"]["used"], units["requests"]["left"], units["requests"]["beyond"]) == (150, 0, 50)
    assert units["percent"]["text"] == "83 % of the allowance"
    assert (units["pages"]["used"], units["pages"]["included"]) == (3, None)
    assert (answer["requests"], answer["tokens"]) == (150, 98_765)


def test_what_cannot_be_counted_is_unknown_and_not_zero(shop: Api) -> None:
    shop.ledger.spend = None
    units = {unit["unit"]: unit for unit in shop.get(USAGE).json()["units"]}
    assert (units["percent"]["used"], units["percent"]["text"]) == (None, "– % of the allowance")


def test_history_goes_by_billing_months_and_not_before_the_start(shop: Api) -> None:
    history = shop.get(USAGE).json()["history"]
    assert [month["from"] for month in history] == [
        "2026-08-05", "2026-09-05", "2026-10-05", "2026-11-05", "2026-12-05", "2027-01-05",
    ]  # fmt: skip
    assert history[-1]["units"] == {"analyses": 1847, "pages": 3}
    assert history[0]["units"] == {"analyses": 12}


def test_limits_are_told_that_count_for_this_customer_alone(shop: Api) -> None:
    limits = {one["text"]: one for one in shop.get(USAGE).json()["limits"]}
    assert set(limits) == {
        "26 % of the allowance a month", "6 of 100 requests a day", "6 of 7 requests a month (feature chat)",
        "each user: 20 analyses a month", "each user: an allowance a billing month",
    }  # fmt: skip
    money = limits["26 % of the allowance a month"]
    assert (money["unit"], money["amount"], money["used"], money["resets_at"]) == (
        "percent", 100, 26, "2027-02-01T00:00:00Z",
    )  # fmt: skip
    assert limits["each user: 20 analyses a month"]["used"] is None


def test_a_user_is_told_its_own_limits_too(shop: Api) -> None:
    texts = {one["text"] for one in shop.get(USAGE, params={"user": "u_1"}).json()["limits"]}
    assert {"6 of 20 analyses a month", "64 % of the allowance a billing month"} <= texts


def test_the_message_of_a_limit_is_shown_once_it_is_reached_unless_it_speaks_of_money(shop: Api) -> None:
    shop.ledger.used = {"requests": 100, "usd": "99.00"}
    limits = shop.get(USAGE).json()["limits"]
    assert [one["message"] for one in limits if one["window"] == "day"] == ["100 requests of 100 requests: wait"]
    assert {one["message"] for one in limits if one["unit"] == "percent"} == {None}


@pytest.mark.parametrize(
    ("message", "is_told"),
    [
        ("Your 10 € are used up", False),
        ("You have used ten £", False),
        ("12 of your budget are gone", False),
        ("twelve EUR are used up", False),
        ("your 10usd are used up", False),
        ("no more cents are left", False),
        ("{used} of {amount} used until {reset_at}: ask us for more", True),
        ("the allowance is used up", True),
    ],
)
def test_a_limit_in_dollars_passes_no_amount_on_whatever_its_message_says(message: str, is_told: bool) -> None:
    limit = read_limit({"per": "tenant", "amount": "10 usd", "window": "month", "message": message})
    limit = msgspec.structs.replace(limit, id="lim_1")
    entry = {"limit_id": "lim_1", "subject": "acme", "amount": "10", "used": "12",
             "window": {"resets_at": "2027-02-01T00:00:00Z"}}  # fmt: skip
    (found,) = told([entry], {"lim_1": limit}, "acme", None)
    assert found["reached"] and (found["message"] is not None) == is_told
    if is_told and "{" in message:
        assert found["message"].startswith("100 % of 100 % used until 2027-02-01")


@pytest.mark.parametrize("message", ["1,000 calls for 10 ₹", "Pay 5 GBP more", "wait 10 minutes"])
def test_a_limit_that_counts_passes_numbers_on_and_no_money(message: str) -> None:
    limit = read_limit({"per": "tenant", "amount": "10 requests", "window": "month", "message": message})
    limit = msgspec.structs.replace(limit, id="lim_1")
    entry = {"limit_id": "lim_1", "subject": "acme", "amount": "10", "used": "12", "window": {"resets_at": None}}
    (found,) = told([entry], {"lim_1": limit}, "acme", None)
    assert found["message"] == (message if "minutes" in message else None)


def test_users_are_told_where_the_plan_has_seats(shop: Api) -> None:
    answer = shop.get(USAGE).json()
    assert answer["seats"] == 5
    assert answer["users"][0] == {"user": "u_1", "requests": 3, "tokens": 1200, "units": {"analyses": 4}}
    furnish(shop.directory, "globex", seats=None)
    assert "users" not in shop.get("/api/v1/customers/globex/usage").json()


def test_a_customer_that_nobody_has_named_has_usage_and_no_plan(shop: Api) -> None:
    answer = shop.get("/api/v1/customers/unheard/usage").json()
    assert (answer["plan"], answer["name"]) == (None, None)
    assert [unit["unit"] for unit in answer["units"]] == ["analyses", "pages"]


def test_a_link_opens_its_own_customer_alone_until_it_expires(shop: Api) -> None:
    made = link(shop)
    assert set(made) >= {"id", "url", "token", "expires_at"}
    assert made["url"] == f"http://testserver/portal/{made['token']}"
    assert look(shop, made["token"]).json()["tenant"] == "acme"
    assert look(shop, made["token"], "/api/v1/customers/globex/usage").status_code == 403
    assert look(shop, made["token"], "/api/v1/customers").status_code == 401
    assert look(shop, made["token"], LINKS).status_code == 401
    assert shop.directory.portal_tokens.verify(made["token"], NOW_US + 3600 * 10**6 - 1) is not None
    assert shop.directory.portal_tokens.verify(made["token"], NOW_US + 3600 * 10**6) is None


def test_a_revoked_link_ends_at_once_and_stays_listed(shop: Api) -> None:
    first, second = link(shop), link(shop, expires_in="24h")
    assert shop.ask("DELETE", f"{LINKS}/{first['id']}").json()["active"] is False
    assert look(shop, first["token"]).status_code == 401
    assert look(shop, second["token"]).status_code == 200
    listed = shop.ask("GET", LINKS).json()["data"]
    assert [(row["id"], row["active"]) for row in listed] == [(first["id"], False), (second["id"], True)]
    assert "fbp_" not in msgspec.json.encode(listed).decode()
    assert shop.ask("DELETE", f"/api/v1/customers/globex/portal-tokens/{second['id']}").status_code == 404
    audited = [row.action for row in shop.directory.audit(3)]
    assert audited == ["portal.revoke", "portal.create", "portal.create"]


def test_a_forged_or_changed_token_opens_nothing(shop: Api) -> None:
    token = link(shop)["token"]
    text, _, signature = token.removeprefix("fbp_").partition(".")
    other = link(shop, "globex")["token"].removeprefix("fbp_").partition(".")
    wrong = (f"fbp_{other[0]}.{signature}", f"fbp_{text}.{other[2]}", f"fbp_{text}.", f"fbp_{text}", "fbp_", "fbp_.",
             token + "A", token[:-1], f"fbp_{text}.{signature}.x", "fbp_" + "a" * 9000)  # fmt: skip
    for forged in wrong:
        shop.now_s += 60
        assert look(shop, forged).status_code == 401, forged[:80]


def test_a_link_for_one_user_tells_nothing_of_the_others(shop: Api) -> None:
    made = link(shop, user="u_1")
    answer = look(shop, made["token"]).json()
    assert "users" not in answer
    assert {one["per"] for one in answer["limits"]} == {"user"}
    assert all(unit["included"] is None for unit in answer["units"])
    asked = [params for method, params in shop.keeper.asked if method == "usage"]
    assert asked and all(query.where["user"] == ("u_1",) for query in asked)
    assert all(params["user"] == "u_1" for method, params in shop.keeper.asked if method == "customer_units")
    assert look(shop, made["token"], params={"user": "u_2"}).status_code == 403


@pytest.mark.parametrize(
    "form",
    [{"expires_in": "0s"}, {"expires_in": "400d"}, {"expires_in": "soon"}, {"expires_in": "-1h"}, {"user": ""},
     {"user": "a\nb"}, {"origins": ["https://a.b; script-src *"]}, {"origins": ["javascript:x"]}, {"origins": ["*"]},
     {"origins": ["http://acme.com"]}, {"origins": [f"https://a{n}.com" for n in range(17)]}, {"rate": "1"}],
)  # fmt: skip
def test_a_link_that_cannot_be_is_refused(shop: Api, form: dict[str, Any]) -> None:
    answer = shop.ask("POST", LINKS, json=form)
    assert answer.status_code in (400, 422), answer.text
    assert shop.ask("GET", LINKS).json()["data"] == []


def test_names_with_anything_in_them_are_kept_as_they_are(shop: Api) -> None:
    made = link(shop, NASTY, user="ü/'\"<x>")
    row = shop.directory.portal_tokens.verify(made["token"], NOW_US)
    assert row is not None
    assert (row.tenant, row.user) == (NASTY, "ü/'\"<x>")
    path = f"/api/v1/customers/{quote(NASTY, safe='')}/usage"
    assert look(shop, made["token"], path).json()["tenant"] == NASTY
    assert look(shop, made["token"]).status_code == 403


def test_no_answer_and_no_error_speaks_of_money(shop: Api) -> None:
    token, alone = link(shop)["token"], link(shop, user="u_1")["token"]
    texts = [shop.get(USAGE).text, shop.get(USAGE, params={"user": "u_1"}).text]
    for secret in (token, alone):
        texts.append(look(shop, secret).text)
        shop.ledger.used = {"requests": 100, "usd": "99.00", "analyses": 20}
        texts.append(look(shop, secret).text)
        texts.append(look(shop, secret, params={"sort": "-spend"}).text)
    inner = KeeperUnavailable("spend_usd of price sheet"), QueryError("there is no measure 'spend'; there are avg_cost")
    for error in inner:
        shop.keeper.answers["usage"] = error
        answer = look(shop, token)
        assert answer.status_code == 503
        texts.append(answer.text)
    texts += [look(shop, token + "x").text, look(shop, token, "/api/v1/customers/globex/usage").text]
    for text in texts:
        assert not MONEY.search(text), text


def test_a_link_is_answered_so_often_a_minute_and_guessing_is_slowed(shop: Api) -> None:
    token = link(shop)["token"]
    answers = [look(shop, token).status_code for _ in range(61)]
    assert answers == [200] * 60 + [429]
    assert [look(shop, "fbp_x.y").status_code for _ in range(31)] == [401] * 30 + [429]
    shop.now_s += 60
    assert look(shop, token).status_code == 200
