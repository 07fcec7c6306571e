"""The portal: a customer's own usage by a signed link, without a login, a cookie, a way into the dashboard or money."""

import re
from typing import Any

import pytest
from dashboard_site import NOW_US, Site
from portal_scene import MONEY, NASTY, Ledger, furnish

from farebox.errors import KeeperUnavailable
from farebox.settings import Portal, Settings

HOUR_US = 3600 * 10**6


@pytest.fixture
def shop(site: Site) -> Site:
    return furnished(site)


def furnished(site: Site, tenant: str = "acme", seats: int | None = 5) -> Site:
    furnish(site.directory, tenant, seats)
    site.ledger = Ledger(site.directory)  # type: ignore[attr-defined]
    site.keeper.answers |= site.ledger.answers()  # type: ignore[attr-defined]
    return site


def link(site: Site, tenant: str = "acme", **said: Any) -> str:
    _, token = site.directory.portal_tokens.create(tenant, NOW_US + HOUR_US, **said)
    return f"/portal/{token}"


def test_a_customer_sees_units_months_limits_and_users_without_a_login(shop: Site) -> None:
    answer = shop.client.get(link(shop))
    assert answer.status_code == 200
    for text in ("Name of acme", "Plan pro", "1,847 of 2,000 analyses", "83 % of the allowance", "153 analyses left",
                 "50 requests beyond what is included", "6 of 100 requests a day", "5 seats", "u_1", "98,765 tokens",
                 "5 Jan", "begins anew"):  # fmt: skip
        assert text in answer.text, text


def test_the_json_is_what_the_api_tells(shop: Site) -> None:
    found = shop.client.get(f"{link(shop)}.json").json()
    assert found["units"][0]["text"] == "1,847 of 2,000 analyses"
    assert found["until"] == "2027-01-15T09:00:00.000000Z"


def test_it_sets_no_cookie_leads_nowhere_and_is_kept_out_of_referrers_and_search(shop: Site) -> None:
    for path in (link(shop), f"{link(shop)}.json", "/portal/fbp_x", "/portal/fbp_x.json", "/portal/", "/portal/a/b"):
        answer = shop.client.get(path)
        assert "set-cookie" not in answer.headers
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-robots-tag"] == "noindex, nofollow"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "script-src" not in answer.headers["content-security-policy"]
        assert "<script" not in answer.text
        assert "<a " not in answer.text
        assert set(re.findall(r'(?:href|src|action)="([^"]*)"', answer.text)) <= {"data:,", style(answer.text)}


def style(text: str) -> str:
    found = re.search(r'href="(/static/farebox-[0-9a-f]+\.css)"', text)
    return found[1] if found else ""


def test_sites_that_may_frame_it_are_those_of_the_settings_unless_the_link_names_its_own(tmp_path: Any) -> None:
    settings = Settings(data=tmp_path, portal=Portal(frame_ancestors=("https://app.acme.com", "https://*.globex.com")))
    site = furnished(Site(tmp_path, settings))
    policy = site.client.get(link(site)).headers["content-security-policy"]
    assert policy.endswith("frame-ancestors https://app.acme.com https://*.globex.com")
    own = link(site, origins=["https://Own.example/"])
    assert site.client.get(own).headers["content-security-policy"].endswith("frame-ancestors https://own.example")
    allowed = site.client.get(f"{own}.json", headers={"origin": "https://own.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://own.example"
    other = site.client.get(f"{own}.json", headers={"origin": "https://app.acme.com"})
    assert "access-control-allow-origin" not in other.headers
    site.close()


def test_expired_revoked_and_forged_links_get_the_same_page(shop: Site) -> None:
    path = link(shop)
    row, token = shop.directory.portal_tokens.create("acme", NOW_US + HOUR_US)
    shop.directory.portal_tokens.revoke("acme", row.id)
    answers = [
        shop.client.get(each) for each in (f"/portal/{token}", f"{path}x", "/portal/fbp_", "/portal/a/b", "/portal/")
    ]
    shop.now_us += HOUR_US
    answers.append(shop.client.get(path))
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert "Ask whoever gave it to you for a new one" in answers[0].text
    assert shop.client.get(f"{path}.json").json()["error"]["code"] == "http_404"


def test_links_that_are_none_are_slowed_and_a_good_one_still_opens(shop: Site) -> None:
    path = link(shop)
    statuses = [shop.client.get("/portal/fbp_guess").status_code for _ in range(64)]
    assert set(statuses) == {404, 429}
    assert statuses[:30] == [404] * 30
    assert shop.client.get(path).status_code == 200


def test_a_link_is_not_opened_more_often_than_its_share(shop: Site) -> None:
    path = link(shop)
    answers = [shop.client.get(f"{path}.json") for _ in range(130)]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert "retry-after" in next(answer for answer in answers if answer.status_code == 429).headers


def test_a_login_makes_no_difference(shop: Site) -> None:
    browser = shop.logged_in("admin")
    assert browser.get(link(shop)).text == shop.client.get(link(shop)).text


def test_names_cannot_become_markup(site: Site) -> None:
    shop = furnished(site, NASTY)
    shop.directory.limits.set(limit_with_message(NASTY))
    shop.ledger.used = {"requests": 999}  # type: ignore[attr-defined]
    for path in (link(shop, NASTY), link(shop, NASTY, user=NASTY)):
        answer = shop.client.get(path)
        assert answer.status_code == 200
        assert "<b onclick" not in answer.text
        assert "&lt;b onclick" in answer.text
        assert shop.client.get(f"{path}.json").json()["tenant"] == NASTY


def limit_with_message(message: str) -> Any:
    from farebox.core.limit_text import read_limit

    return read_limit({"per": "tenant", "amount": "10 requests", "window": "hour", "message": message})


STATES: dict[str, dict[str, Any]] = {
    "as usual": {},
    "all used up": {"used": {"requests": 100, "usd": "99.00", "analyses": 20}},
    "nothing used": {"used": {"requests": 0, "usd": "0.00", "analyses": 0}},
    "unpriced": {"spend": None},
    "no plan": {"tenant": "globex"},
    "no seats": {"seats": None},
    "one user": {"user": "u_1"},
    "the ledger is away": {"error": KeeperUnavailable("the spend in usd at this price is not known")},
    "a defect": {"error": ValueError("cost_usd")},
    "expired": {"later": HOUR_US},
}


@pytest.mark.parametrize("state", STATES)
def test_in_no_state_is_there_a_word_about_money(site: Site, state: str) -> None:
    said = STATES[state]
    shop = furnished(site, seats=said.get("seats", 5))
    for name in ("used", "spend"):
        if name in said:
            setattr(shop.ledger, name, said[name])  # type: ignore[attr-defined]
    path = link(shop, said.get("tenant", "acme"), user=said.get("user"))
    if "error" in said:
        shop.keeper.answers["usage"] = said["error"]
    shop.now_us += said.get("later", 0)
    for each in (path, f"{path}.json"):
        answer = shop.client.get(each)
        assert answer.status_code == (503 if "error" in said else 404 if "later" in said else 200)
        assert not MONEY.search(answer.text), MONEY.search(answer.text)
        assert "777" not in answer.text  # a limit that others share
