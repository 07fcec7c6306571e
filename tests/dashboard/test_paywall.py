"""Access that is sold: told by Stripe alone, redeemed once, ended with the subscription; the operator always passes."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dashboard_site import PASSWORD, Site
from selling import NOW_S, SECRET, SESSION, Shop, checkout, subscription, success

DAY_US = 24 * 3600 * 10**6
COMPLETED = "checkout.session.completed"


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    made = Shop(tmp_path)
    yield made
    made.close()


def redeemed(shop: Shop, session: str = SESSION) -> Any:
    """A browser that came back from the checkout."""
    browser = shop.visitor()
    answer = browser.get(success(session))
    assert answer.status_code == 303, answer.text
    return browser


def is_open(browser: Any) -> bool:
    """Whether a browser gets as far as the login."""
    answer = browser.get("/customers")
    assert answer.status_code in (200, 303)
    return answer.status_code == 200 or answer.headers["location"].startswith("/login")


def test_nothing_is_sold_unless_a_setting_says_so(site: Site) -> None:
    for path in ("/pricing", success()):
        assert site.client.get(path).status_code == 404
    assert site.client.get("/").headers["location"] == "/login"


def test_the_webhook_is_not_there_either(tmp_path: Path) -> None:
    shop = Shop(tmp_path, stripe_webhook_secret="", payment_link="")
    answer = shop.send(shop.event(COMPLETED, checkout()))
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    shop.close()


def test_pages_ask_for_access_before_a_login(shop: Shop) -> None:
    visitor = shop.visitor()
    assert visitor.get("/customers").headers["location"] == "/pricing"
    for path in ("/customers.json", "/customers.csv"):
        assert visitor.get(path).status_code == 402
    assert visitor.client.post("/keys/create").status_code == 402
    assert visitor.get("/login").status_code == 200


def test_a_purchase_opens_the_browser_that_made_it_once_the_webhook_has_confirmed_it(shop: Shop) -> None:
    shop.operator()
    buyer = shop.visitor()
    waiting = buyer.get(success())
    assert waiting.status_code == 202
    assert f'http-equiv="refresh" content="2; url=/purchase/success?session_id={SESSION}&amp;polls=1"' in waiting.text
    assert "set-cookie" not in waiting.headers
    assert not is_open(buyer)
    assert shop.bought() == {"taken": 1, "errors": []}
    answer = buyer.get(success())
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("farebox-access=fbw_")
    assert "HttpOnly" in cookie and "SameSite=lax" in cookie
    page = answer.headers["location"]
    assert page.startswith("/login/link/fbl_")
    assert buyer.send(page, page, password=PASSWORD).status_code == 303
    assert buyer.get("/customers").status_code == 200
    assert shop.directory.users.get("buyer@acme.com").role == "admin"
    raw = b"".join(path.read_bytes() for path in shop.settings.data.glob("directory.sqlite3*"))
    assert buyer.client.cookies["farebox-access"].encode() not in raw


def test_waiting_ends_with_advice(shop: Shop) -> None:
    text = shop.visitor().get(f"{success()}&polls=150").text
    assert "http-equiv" not in text
    assert "Your payment is safe" in text
    for odd in ("-1", "x", "９", "9" * 50):
        assert shop.visitor().get(success(), params={"session_id": SESSION, "polls": odd}).status_code == 202


def test_looking_at_a_purchase_writes_nothing_until_it_is_redeemed(shop: Shop) -> None:
    shop.bought("cs_live_unpaid", payment_status="unpaid")
    before = shop.directory.revision
    for session in ("cs_live_none", "cs_live_unpaid"):
        shop.visitor().get(success(session))
    assert shop.directory.revision == before


def test_of_requests_that_redeem_at_once_one_gets_the_cookie(shop: Shop) -> None:
    shop.bought()
    browsers = [shop.visitor() for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda browser: browser.get(success()), browsers))
    assert sorted(answer.status_code for answer in answers) == [303, 409, 409, 409, 409, 409]
    assert sum("set-cookie" in answer.headers for answer in answers) == 1


def test_a_purchase_is_redeemed_once(shop: Shop) -> None:
    shop.bought()
    buyer = redeemed(shop)
    assert buyer.get(success()).headers["location"] == "/"  # the same browser
    answer = shop.visitor().get(success())
    assert answer.status_code == 409
    assert "used already" in answer.text
    assert "set-cookie" not in answer.headers


def test_a_purchase_is_redeemed_within_a_day(shop: Shop) -> None:
    shop.bought()
    shop.site.now_us += DAY_US - 1
    assert shop.visitor().get(success()).status_code == 303
    shop.tell("customer.subscription.deleted", subscription("canceled"))
    shop.bought("cs_live_late", subscription="sub_2")
    shop.site.now_us += DAY_US
    answer = shop.visitor().get(success("cs_live_late"))
    assert answer.status_code == 410
    assert "set-cookie" not in answer.headers


def test_a_notice_that_comes_late_does_not_begin_the_day_anew(shop: Shop) -> None:
    shop.tell(COMPLETED, checkout(), created=NOW_S - 86_400)
    assert shop.visitor().get(success()).status_code == 410


@pytest.mark.parametrize(
    ("session", "event", "why"),
    [
        ({"livemode": False}, {}, "test mode"),
        ({}, {"livemode": False}, "test mode"),
        ({}, {"livemode": None}, "test mode"),
        ({}, {"livemode": "true"}, "test mode"),
        ({"payment_link": "plink_2"}, {}, "payment link"),
        ({"payment_link": None}, {}, "payment link"),
        ({"payment_link": ""}, {}, "payment link"),
        ({"payment_status": "unpaid"}, {}, "not paid"),
        ({"payment_status": None}, {}, "not paid"),
    ],
)
def test_only_what_is_paid_live_and_by_our_payment_link_opens(
    shop: Shop, session: dict[str, Any], event: dict[str, Any], why: str
) -> None:
    if session.get("payment_link") == "":
        answer = shop.send(shop.event(COMPLETED, checkout(**session), **event))
        assert answer.status_code == 400
        assert shop.visitor().get(success()).status_code == 202
        return
    [error] = shop.tell(COMPLETED, checkout(**session), **event)["errors"]
    assert why in error
    answer = shop.visitor().get(success())
    assert answer.status_code == 402
    assert why in answer.text
    assert "set-cookie" not in answer.headers


def test_test_mode_opens_where_a_setting_says_so(tmp_path: Path) -> None:
    shop = Shop(tmp_path, test=True)
    shop.tell(COMPLETED, checkout("cs_test_1", livemode=False), livemode=False)
    redeemed(shop, "cs_test_1")
    shop.close()


def test_a_payment_link_may_be_named_by_its_address_with_its_id_beside(tmp_path: Path) -> None:
    address = "https://buy.stripe.com/x?a=1&b=\"'<i>"
    shop = Shop(tmp_path, payment_link=address, payment_link_id="plink_1")
    page = shop.visitor().get("/pricing").text
    assert 'href="https://buy.stripe.com/x?a=1&amp;b=&#34;&#39;&lt;i&gt;"' in page
    shop.bought()
    redeemed(shop)
    assert "Buy access" not in shop.visitor().get("/pricing").text
    shop.close()


def test_a_payment_that_arrives_later_opens_then(shop: Shop) -> None:
    shop.bought(payment_status="unpaid")
    assert shop.visitor().get(success()).status_code == 402
    shop.tell("checkout.session.async_payment_succeeded", checkout())
    redeemed(shop)


@pytest.mark.parametrize(("event_secret", "age_s"), [("whsec_other", 0), ("", 0), (SECRET, 301), (SECRET, 10_000)])
def test_a_forged_or_old_signature_is_refused(shop: Shop, event_secret: str, age_s: int) -> None:
    event = shop.event(COMPLETED, checkout())
    answer = shop.send(event, secret=event_secret, at_s=int(time.time()) - age_s)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_signature")
    assert shop.visitor().get(success()).status_code == 202


def test_a_changed_body_or_no_signature_is_refused(shop: Shop) -> None:
    from stripe_server import signed

    body, signature = signed(shop.event(COMPLETED, checkout(payment_status="unpaid")), secret=SECRET)
    client = shop.visitor().client
    for content, header in (
        (body.replace(b"unpaid", b"paid"), signature),
        (body, ""),
        (body, "t=1,v1="),
        (b"\xff", "x"),
    ):
        answer = client.post("/api/webhooks/stripe", content=content, headers={"stripe-signature": header})
        assert answer.status_code == 400
    assert client.post("/api/webhooks/stripe", content=body).status_code == 400


@pytest.mark.parametrize(
    "event",
    [{"id": "evt_9"}, {"id": "evt_9", "type": COMPLETED}, {"id": "evt_9", "type": COMPLETED, "data": {"object": {}}},
     {"id": "evt_9", "type": COMPLETED, "data": {"object": []}}, [], "text", 1,
     {"id": "evt_9", "type": COMPLETED, "data": {"object": {"id": 7}}},
     {"id": "evt_9", "type": "customer.subscription.updated", "data": {"object": {"id": "sub_1"}}}],
)  # fmt: skip
def test_a_misshapen_event_is_refused_and_changes_nothing(shop: Shop, event: Any) -> None:
    assert shop.send(event).status_code == 400
    assert not shop.directory.purchases.is_sold()


def test_an_event_is_taken_once(shop: Shop) -> None:
    event = shop.event(COMPLETED, checkout())
    assert [shop.send(event).json()["taken"] for _ in range(3)] == [1, 0, 0]
    redeemed(shop)
    assert shop.bought()["taken"] == 1  # another event of the same session
    assert shop.visitor().get(success()).status_code == 409


def test_other_events_are_left_alone(shop: Shop) -> None:
    assert shop.tell("charge.succeeded", {"id": "ch_1"}) == {"taken": 0, "errors": []}


@pytest.mark.parametrize(
    ("kind", "status", "opens"),
    [("deleted", "canceled", False), ("updated", "unpaid", False), ("updated", "canceled", False),
     ("updated", "paused", False), ("updated", "incomplete_expired", False), ("updated", "past_due", True),
     ("updated", "trialing", True)],
)  # fmt: skip
def test_access_ends_with_the_subscription(shop: Shop, kind: str, status: str, opens: bool) -> None:
    shop.operator()
    shop.bought()
    buyer, colleague = redeemed(shop), shop.user("colleague")
    assert is_open(buyer) and colleague.get("/customers").status_code == 200
    shop.tell(f"customer.subscription.{kind}", subscription(status))
    assert is_open(buyer) == opens
    assert is_open(colleague) == opens


def test_a_subscription_that_is_paid_again_opens_again_and_a_cancelled_one_never(shop: Shop) -> None:
    shop.bought()
    buyer = redeemed(shop)
    shop.tell("customer.subscription.updated", subscription("unpaid"), created=NOW_S + 10)
    assert not is_open(buyer)
    shop.tell("customer.subscription.updated", subscription("active"), created=NOW_S + 5)  # an older notice
    assert not is_open(buyer)
    shop.tell("customer.subscription.updated", subscription("active"), created=NOW_S + 20)
    assert is_open(buyer)
    shop.tell("customer.subscription.deleted", subscription("canceled"), created=NOW_S + 15)
    shop.tell("customer.subscription.updated", subscription("active"), created=NOW_S + 30)
    assert not is_open(buyer)


def test_the_end_of_another_subscription_ends_nothing(shop: Shop) -> None:
    shop.bought()
    buyer = redeemed(shop)
    shop.tell("customer.subscription.deleted", subscription("canceled", "sub_2"))
    assert is_open(buyer)


def test_a_subscription_that_ended_before_its_purchase_was_redeemed_opens_nothing(shop: Shop) -> None:
    shop.tell("customer.subscription.deleted", subscription("canceled"))
    shop.bought()
    answer = shop.visitor().get(success())
    assert answer.status_code == 402
    assert "its subscription has ended" in answer.text


def test_one_installation_has_one_buyer_until_they_leave(shop: Shop) -> None:
    shop.bought()
    shop.bought("cs_live_b2", subscription="sub_2", customer_details={"email": "second@b.com"})
    first, second = redeemed(shop), shop.visitor()
    answer = second.get(success("cs_live_b2"))
    assert answer.status_code == 409
    assert "has its buyer already" in answer.text
    shop.tell("customer.subscription.deleted", subscription("canceled"))
    assert second.get(success("cs_live_b2")).status_code == 303
    assert is_open(second)
    assert not is_open(first)


def test_who_set_it_up_always_passes_and_nobody_else_does(shop: Shop) -> None:
    operator, colleague = shop.operator(), shop.user("colleague")
    assert operator.get("/customers").status_code == 200
    assert colleague.get("/customers").headers["location"] == "/pricing"
    again = shop.visitor()
    assert again.log_in("operator").status_code == 303
    assert again.get("/customers").status_code == 200
    operator_id = shop.directory.users.operator_id()
    shop.directory.users.remove("operator")
    assert shop.directory.users.operator_id() == operator_id  # nobody takes the place
    assert colleague.get("/customers").headers["location"] == "/pricing"


def test_a_purchase_makes_nobody_the_first_admin_and_takes_nobodys_name(shop: Shop) -> None:
    shop.bought()
    buyer = shop.visitor()
    assert buyer.get(success()).headers["location"] == "/login"
    assert shop.directory.users.list() == []
    shop.tell("customer.subscription.deleted", subscription("canceled"))
    shop.operator()
    for number, email in enumerate(("Operator", "", "a\nb@c", "x" * 999), 2):
        shop.bought(f"cs_live_{number}", subscription=f"sub_{number}", customer_details={"email": email})
        assert shop.visitor().get(success(f"cs_live_{number}")).headers["location"] == "/login"
        shop.tell("customer.subscription.deleted", subscription("canceled", f"sub_{number}"))
    assert [user.name for user in shop.directory.users.list()] == ["operator"]


@pytest.mark.parametrize(
    "session", ["", "cs_", "../x", "<script>", "cs_live_" + "a" * 300, "cs_a b", "cs_ä", "{CHECKOUT_SESSION_ID}"]
)
def test_an_address_without_a_session_says_so(shop: Shop, session: str) -> None:
    answer = shop.visitor().get("/purchase/success", params={"session_id": session})
    assert answer.status_code == 404
    assert "session_id=cs_" in answer.text
    assert "<script>" not in answer.text


def test_a_cookie_that_was_made_up_opens_nothing(shop: Shop) -> None:
    shop.bought()
    redeemed(shop)
    for made_up in ("fbw_", "fbw_x", "x", "fbw_" + "a" * 5000):
        browser = shop.visitor()
        browser.client.cookies.set("farebox-access", made_up)
        assert not is_open(browser)


def test_what_customers_and_programs_use_is_not_behind_the_paywall(shop: Shop) -> None:
    _, token = shop.directory.tokens.create("ops", "analyst")
    client = shop.visitor().client
    assert client.get("/api/v1/customers", headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert client.get("/healthz").status_code == 200
    assert client.get("/portal/fbp_x").status_code == 404
