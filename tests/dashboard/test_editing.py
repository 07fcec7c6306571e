"""Pages that change something: what is in force afterwards, under whose name, and what a wrong form is told."""

import html
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from dashboard_site import NASTY, Browser, Site

from farebox.core.customers import Plan
from farebox.dashboard.app import roles
from farebox.dashboard.cookies import FORM_FIELD
from farebox.errors import DeliveryFailed

ACTIONS = sorted(path for path, role in roles().items() if path.count("/") > 1 and role == "admin")
SIMULATED: dict[str, Any] = {
    "limit": {"action": "block", "per": "user", "model": None},
    "sentence": "each user: 5 usd a month, then block",
    "since": "2026-12-16T00:00:00Z", "until": "2027-01-15T08:00:00Z",
    "totals": {
        "subjects": 9, "subjects_touched": 1, "subjects_stopped": 1, "calls": 100, "calls_beyond": 7,
        "calls_stopped": 7, "spend_usd": "12.5", "spend_stopped_usd": "3.25", "spend_beyond_usd": "3.25",
        "first_at": "2027-01-02T03:04:00Z", "calls_unpriced": 0, "calls_without_other_price": 0,
    },
    "rows": [{
        "subject": f"acme/{NASTY}", "windows_hit": 1, "first_at": "2027-01-02T03:04:00Z", "calls": 20,
        "calls_beyond": 7,
        "calls_stopped": 7, "spend_usd": "8.25", "spend_beyond_usd": "3.25", "spend_stopped_usd": "3.25",
        "spend_passed_usd": "5", "saved_usd": None,
    }],
    "events_kept_from": None, "in_flight": "Running calls pass.",
}  # fmt: skip


@pytest.fixture
def sent() -> list[str]:
    return []


@pytest.fixture
def browser(tmp_path, sent) -> Browser:
    site = Site(tmp_path, send_test=sent.append)
    site.keeper.answers |= {"unpriced": [], "simulate": SIMULATED, "reprice": {"repriced": 3, "amount_usd": "1.5"}}
    browser = site.logged_in("admin", "ann@acme.com")
    browser.site = site
    yield browser
    site.close()


def done(answer: Any) -> str:
    """Where an action that was done leads."""
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def logged(browser: Browser) -> tuple[str, str]:
    entry = browser.site.directory.audit(1)[0]
    assert entry.by.endswith("ann@acme.com")
    return entry.action, entry.subject


def faults(answer: Any) -> list[str]:
    """What stands beside the fields of a form that was refused."""
    assert answer.status_code == 422
    return [html.unescape(text) for text in re.findall(r'<span class="wrong"[^>]*>(.*?)</span>', answer.text)]


@pytest.mark.parametrize(
    "path", sorted(path for path, role in roles().items() if path.count("/") > 1 and role == "admin")
)
def test_no_action_is_done_without_the_forms_token(browser, path):
    before = browser.site.directory.revision
    for token in ({}, {FORM_FIELD: "0" * 64}):
        assert browser.client.post(path, data=token).status_code == 403
    assert browser.site.directory.revision == before


def test_a_limit_is_set_changed_overridden_and_removed(browser):
    limits = browser.site.directory.limits
    where = done(browser.send("/limits", "/limits/set", per="user", amount="5 usd", window="month", action="block",
                              where="tier=free", warn_at="0.5, 80 %", message="Wait until {reset_at}"))  # fmt: skip
    row = limits.list()[0]
    assert where == f"/limits?limit={row.id}"
    assert (row.limit.amount, row.limit.where, row.limit.warn_at) == (5 * 10**12, {"tier": "free"}, (0.5, 0.8))
    assert logged(browser) == ("limit.set", row.id)
    assert "each user where tier=free: $5 a month, then block" in browser.get("/limits").text
    own = browser.get(where).text
    assert "</span> Each user where tier=free: $5 a month, then block</h1>" in own
    assert 'value="50 %, 80 %"' in own

    done(browser.send(where, f"/limits/change?limit={row.id}", amount="7.50 usd", action="warn", warn_at="0.9"))
    assert limits.get(row.id).limit.amount == 7_500_000_000_000
    assert limits.get(row.id).limit.action == "warn"
    assert logged(browser) == ("limit.change", row.id)

    done(browser.send(where, f"/limits/override?limit={row.id}", subject=f"acme/{NASTY}", amount="9"))
    [override] = [other.limit for other in limits.list() if other.id != row.id]
    assert (override.subject, override.per, override.amount) == (f"acme/{NASTY}", "user", 9 * 10**12)
    assert "<script>alert" not in browser.get("/limits").text
    assert "<script>alert" not in browser.get(f"/limits?limit={override.id}").text

    assert done(browser.send(where, f"/limits/remove?limit={row.id}")) == "/limits"
    assert [other.id for other in limits.list()] == [override.id]
    assert logged(browser) == ("limit.remove", row.id)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "5 ripe apples"),
        ("amount", "5 eur"),
        ("per", "a planet"),
        ("warn_at", "often"),
        ("rate", "some"),
    ],
)
def test_an_error_of_a_limit_stands_beside_its_field_and_keeps_what_was_typed(browser, field, value):
    sent = {"per": "user", "amount": "5 usd", "action": "throttle" if field == "rate" else "block", field: value}
    answer = browser.send("/limits", "/limits/set", **sent)
    assert len(faults(answer)) == 1
    assert re.search(rf'name="{field}"[^>]*value="{value}"[^>]*aria-invalid', answer.text)
    assert browser.site.directory.limits.list() == []


def test_a_limit_is_tried_on_the_past_before_it_is_set(browser):
    browser.site.directory.limits.set(_limit("user", "1 usd", subject="acme/u_9"))
    answer = browser.send("/limits", "/limits/preview?span=last-month", per="user", amount="5 usd")
    assert answer.status_code == 200
    assert "It would have stopped 1 of 9 users: 7 calls (7.0 %), $3.25 of $12.50" in answer.text
    assert "acme/&lt;script&gt;" in answer.text
    assert 'value="5 usd"' in answer.text
    asked = browser.site.keeper.last("simulate")
    assert (asked["limit"].per, asked["limit"].amount) == ("user", 5 * 10**12)
    assert [other.subject for other in asked["others"]] == ["acme/u_9"]
    assert datetime.fromtimestamp(asked["since_us"] / 1e6, UTC).isoformat() == "2026-12-01T00:00:00+00:00"
    assert len(browser.site.directory.limits.list()) == 1


def test_an_analyst_may_try_a_limit_but_sees_no_form_to_set_it(browser):
    analyst = browser.site.logged_in("analyst", "bob")
    page = analyst.get("/limits").text
    assert "Set limit" not in page
    assert analyst.send("/help", "/limits/preview", per="user", amount="5 usd").status_code == 200


def _limit(per: str, amount: str, **more: Any) -> Any:
    from farebox.core.limit_text import read_limit

    return read_limit({"per": per, "amount": amount, **more})


def test_a_plan_gets_a_new_version_from_a_day_and_keeps_what_held(browser):
    plans = browser.site.directory.plans
    done(browser.send("/plans", "/plans/set", name="pro", price="29", period="month", included="analyses=100",
                      overage_price="analyses=0.20", valid_from="2026-01-01"))  # fmt: skip
    where = done(browser.send("/plans", "/plans/set?plan=pro", price="39.50", period="month", included="analyses=100",
                              valid_from="2027-02-01"))  # fmt: skip
    assert where == "/plans?plan=pro"
    first, second = (version.plan for version in plans.get("pro").versions)
    assert first == Plan(name="pro", price=29 * 10**12, included={"analyses": 100},
                         overage_price={"analyses": 200_000_000_000})  # fmt: skip
    assert second.price == 39_500_000_000_000
    assert second.overage_price == {}
    assert logged(browser) == ("plan.set", "pro")
    assert faults(browser.send("/plans", "/plans/set", name="x", price="1,000"))[0].startswith("Price is '1,000'")
    assert done(browser.send("/plans?plan=pro", "/plans/remove?plan=pro")) == "/plans"
    assert plans.list() == []


def test_a_customer_is_entered_put_on_a_plan_and_pays(browser):
    directory = browser.site.directory
    directory.plans.set("pro", {"price": "29"})
    where = done(browser.send("/books", "/books/set", tenant=NASTY, name="Acme Inc", source="google", plan="pro",
                              attributes="region=eu, size=xl", started_on="2026-11-01"))  # fmt: skip
    row = directory.customers.get(NASTY)
    assert (row.spec.name, row.spec.attributes) == ("Acme Inc", {"region": "eu", "size": "xl"})
    assert row.subscriptions[-1].plan == "pro"
    query = where.partition("?")[2]
    done(browser.send(where, f"/books/set?{query}", name="Acme", source="", attributes="region=us"))
    row = directory.customers.get(NASTY)
    assert (row.spec.name, row.spec.source, row.spec.attributes) == ("Acme", None, {"region": "us"})

    done(browser.send(where, f"/books/revenue?{query}", month="2026-12", amount="99.50", external_id="inv-1"))
    done(browser.send(where, f"/books/revenue?{query}", month="2026-12", amount="99.50", external_id="inv-1"))
    [entry] = directory.customers.revenue(NASTY)
    assert (entry.month, entry.amount, entry.source) == ("2026-12", 99_500_000_000_000, "manual")
    assert "<script>alert" not in browser.get(where).text
    assert faults(browser.send(where, f"/books/revenue?{query}", month="soon", amount="1")) == [
        "Month is 'soon': write it as 2026-11."
    ]
    done(browser.send(where, f"/books/plan?{query}", plan="(none)", plan_from="2027-02-01"))
    assert directory.customers.get(NASTY).subscriptions[-1].plan is None
    assert logged(browser) == ("customer.plan", NASTY)
    done(browser.send(where, f"/books/remove?{query}"))
    assert directory.customers.list() == []


def test_a_file_of_customers_is_taken_and_its_errors_told_by_line(browser):
    table = b"tenant,name,month,revenue\nacme,Acme,2026-12,29\nglobex,Globex,2026-12,many\n,Nobody,,\n"
    answer = _upload(browser, table)
    assert answer.status_code == 200
    assert "2 lines have errors: 1 customer is new" in answer.text
    assert re.search(r'class="number">3</th>.*?revenue is &#39;many&#39;', answer.text, re.S)
    assert [row.tenant for row in browser.site.directory.customers.list()] == ["acme"]
    assert "nothing was taken" in _upload(browser, table.replace(b"acme", b"other"), all_or_none="yes").text
    assert [row.tenant for row in browser.site.directory.customers.list()] == ["acme"]
    assert "column &#39;tenant&#39;" in _upload(browser, b"a,b\n1,2\n").text


def _upload(browser: Browser, content: bytes, **fields: str) -> Any:
    return browser.client.post(
        "/books/import",
        data={FORM_FIELD: browser.token("/books"), **fields},
        files={"file": ("books.csv", content, "text/csv")},
    )


def test_a_rule_is_added_changed_and_turned_off(browser):
    rules = browser.site.directory.alert_rules
    where = done(browser.send("/alerts", "/alerts/add", kind="margin"))
    rule_id = where.partition("rule=")[2]
    done(browser.send(where, f"/alerts/change?rule={rule_id}", shares="0.6, 0.9", hourly_max="7"))
    rule = rules.get(rule_id).rule
    assert (rule.spec.shares, rule.spec.negative, rule.hourly_max) == ((0.6, 0.9), False, 7)
    assert logged(browser) == ("alert.change", rule_id)
    assert faults(browser.send(where, f"/alerts/change?rule={rule_id}", shares="much", hourly_max="7"))
    assert faults(browser.send(where, f"/alerts/change?rule={rule_id}", channels="nowhere", hourly_max="7"))
    done(browser.send(where, f"/alerts/switch?rule={rule_id}", state="off"))
    assert not rules.get(rule_id).rule.enabled
    done(browser.send(where, f"/alerts/remove?rule={rule_id}"))
    assert rule_id not in [row.rule.id for row in rules.list()]


def test_a_channel_is_added_tested_and_its_secret_shown_once(browser, sent):
    channels = browser.site.directory.channels
    url = "https://hooks.acme.com/secret-path"
    page = browser.send("/channels", "/channels/add", name="ops", kind="webhook", url=url, all_rules="yes")
    secret = re.search(r'<code id="secret">(fbw_[^<]+)</code>', page.text)[1]
    row = channels.get("ops")
    where = f"/channels?channel={row.id}"
    assert secret not in browser.get(where).text
    assert "secret-path" not in browser.get(where).text
    assert all(row.id in rule.rule.channels for rule in browser.site.directory.alert_rules.list())
    done(browser.send(where, f"/channels/test?channel={row.id}"))
    assert sent == [row.id]
    done(browser.send(where, f"/channels/switch?channel={row.id}", state="off"))
    assert channels.get("ops").disabled_at_us is not None
    refused = browser.send("/channels", "/channels/add", name="x", kind="webhook", url="ftp://x")
    assert refused.status_code == 422
    assert "ftp://x" not in refused.text  # what may hold a secret is not sent back
    done(browser.send(where, f"/channels/remove?channel={row.id}"))
    assert channels.list() == []


def test_a_test_message_that_is_not_taken_is_told(tmp_path):
    def refuse(_channel: str) -> None:
        raise DeliveryFailed("the channel answered 410")

    site = Site(tmp_path, send_test=refuse)
    row, _ = site.directory.channels.add("ops", "webhook", "https://hooks.acme.com/x")
    answer = site.logged_in().send("/channels", f"/channels/test?channel={row.id}")
    assert answer.status_code == 422
    assert "The channel answered 410." in answer.text
    site.close()


def test_a_credential_is_kept_and_never_shown(browser):
    providers = browser.site.directory.providers
    secret = "sk-a-credential-of-forty-characters-1234"
    where = done(browser.send("/providers", "/providers/set", name="openai", credential=secret))
    assert where == "/providers?provider=openai"
    assert providers.credential(providers.get("openai")) == secret
    assert logged(browser) == ("provider.set", "openai")
    for path in ("/providers", where, "/audit", "/providers.json"):
        assert secret not in browser.get(path).text, path
    assert "…1234" in browser.get(where).text
    done(browser.send(where, "/providers/set?provider=openai", region="eu-west-1"))  # all else stays
    assert providers.credential(providers.get("openai")) == secret
    done(browser.send(where, "/providers/set?provider=openai", base_url="https://proxy.acme.com/v1"))
    assert providers.get("openai").credential is None  # it was meant for another address
    answer = browser.send(where, "/providers/set?provider=openai", base_url="ftp://x", credential=secret)
    assert answer.status_code == 422
    assert secret not in answer.text
    done(browser.send(where, "/providers/remove?provider=openai"))
    assert providers.list() == []


def test_a_price_is_set_and_the_past_priced_anew(browser):
    site = browser.site
    missing = {"provider": "openai", "model": "gpt-own", "calls": 3, "first_at": "2026-12-01T00:00:00Z",
               "last_at": "2026-12-02T00:00:00Z"}  # fmt: skip
    site.keeper.answers["unpriced"] = [missing]
    page = browser.get("/prices?provider=openai").text
    assert "1 models that were called have no price." in page
    assert 'value="gpt-own"' in page
    done(browser.send("/prices", "/prices/add", provider="openai", model="gpt-own", input="0.40", output="1.60"))
    [row] = site.directory.prices.list()
    assert (row["model"], row.get("valid_from", "")) == ("gpt-own", "")  # it had none: for all time
    assert logged(browser)[0] == "price.add"
    shown = browser.get("/prices.json?provider=openai&model=gpt-own").json()["data"]
    assert [(line["origin"], Decimal(line["input"])) for line in shown] == [("added", Decimal("0.40"))]
    assert faults(browser.send("/prices", "/prices/add", provider="openai", model="m", input="1", further="sugar=1"))
    assert done(browser.send("/prices", "/prices/reprice")) == "/prices"
    assert site.keeper.last("reprice") == {"dry_run": False}
    assert "Priced anew: 3 calls that had no price, $1.50." in browser.get("/prices").text


def test_the_audit_log_says_who_changed_what_and_can_be_searched(browser):
    browser.send("/limits", "/limits/set", per="user", amount="5 usd")
    row = browser.site.directory.limits.list()[0]
    browser.send("/limits", f"/limits/change?limit={row.id}", amount="6 usd")
    browser.site.directory.plans.set(NASTY, {"price": "1"}, by="bob")
    entries = browser.get("/audit.json?action=limit").json()["data"]
    assert [entry["action"] for entry in entries] == ["limit.change", "limit.set"]
    assert "amount: 5 usd → 6 usd" in entries[0]["detail"]
    assert [entry["subject"] for entry in browser.get("/audit.json?by=bob").json()["data"]] == [NASTY]
    assert browser.get("/audit.json?subject=%25").json()["data"] == [] or "%" in NASTY
    assert "<script>alert" not in browser.get("/audit").text


def test_a_customers_link_is_made_shown_once_and_ended(browser: Browser) -> None:
    tokens = browser.site.directory.portal_tokens
    empty = browser.get("/portal-links?tenant=acme").text
    assert "Make the first one above" in empty
    assert '<a class="up" href="/customers/acme">Customers</a>' in empty
    made = browser.send("/portal-links?tenant=acme", "/portal-links/create?tenant=acme", expires_in="24h", user="u_7",
                        origins="")  # fmt: skip
    assert made.status_code == 200
    (address,) = re.findall(r"[^\s<>]*/portal/fbp_[^\s<]+", made.text)
    (row,) = tokens.list("acme")
    assert (row.user, row.is_active(browser.site.now_us)) == ("u_7", True)
    again = browser.get("/portal-links?tenant=acme").text
    assert row.id in again and address.rpartition("/")[2] not in again
    done(browser.send("/portal-links?tenant=acme", "/portal-links/revoke?tenant=acme", link=row.id))
    assert tokens.list("acme")[0].revoked_at_us is not None
    assert browser.get("/portal-links").status_code == 400


def test_a_route_is_made_changed_and_removed(browser: Browser) -> None:
    routes = browser.site.directory.routes
    assert "Make the first route above" in browser.get("/routes").text
    assert done(browser.send("/routes", "/routes/set", name="smart",
                             targets="openai/gpt-4.1-mini=3 (50 usd a day), groq/llama-3.3-70b-versatile",
                             order="weighted", timeout="20s", retry_on="", sticky="false", hedge="")
                ) == "/routes?route=smart"  # fmt: skip
    (row,) = routes.list()
    first, second = row.route.targets
    assert (first.weight, first.budget, first.window, second.weight) == (3, "50 usd", "day", 1)
    assert (row.route.order, row.route.timeout_s) == ("weighted", 20.0)
    page = browser.get("/routes?route=smart").text
    assert "openai/gpt-4.1-mini=3 (50 usd a day)" in html.unescape(page), page
    done(browser.send("/routes?route=smart", "/routes/set?route=smart", targets="groq/llama-3.3-70b-versatile",
                      order="listed", timeout="", retry_on="5xx", sticky="true", hedge=""))  # fmt: skip
    (row,) = routes.list()
    assert (row.route.retry_on, row.route.sticky, row.route.timeout_s) == (("5xx",), True, None)
    assert faults(browser.send("/routes", "/routes/set", name="x", targets="gpt", order="listed"))
    assert faults(browser.send("/routes", "/routes/set", name="x", targets="nobody/gpt", order="listed"))
    assert done(browser.send("/routes?route=smart", "/routes/remove?route=smart")) == "/routes"
    assert routes.list() == []
