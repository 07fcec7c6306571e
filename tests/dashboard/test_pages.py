"""What pages show: the same rows as their files, escaped, with doors, under filters that live in the address."""

import csv
import html
import io
import re
from decimal import Decimal

import pytest
from dashboard_site import EVENT, NASTY, Browser, Losses, Site

from farebox.core.limit_text import read_limit
from farebox.core.queries import EventsQuery, UsageQuery
from farebox.dashboard.page import Page, View
from farebox.errors import KeeperUnavailable, NotFound
from farebox.reports.plan_calculator import PlanCalculator
from farebox.reports.statement import Statement
from farebox.reports.tiers import Tiers

ID = EVENT["id"]
PATHS = ("/", "/customers", "/customers/acme", "/users", "/features", "/models", "/calls", f"/calls/{ID}", "/reports",
         "/reports/losses", "/limits", "/alerts", "/channels", "/books", "/plans", "/providers", "/prices",
         "/audit", "/keys", "/settings", "/help")  # fmt: skip


@pytest.fixture
def report():
    return Losses()


@pytest.fixture
def browser(tmp_path, report) -> Browser:
    site = Site(tmp_path, reports=(report,), facts=lambda: object())
    browser = site.logged_in()
    browser.site = site
    yield browser
    site.close()


def cells(text: str) -> list[list[str]]:
    """The rows of a page's first table, as text."""
    table = re.search(r'<table id="rows">(.*?)</table>', text, re.S)
    if table is None:
        return []
    body = re.search(r"<tbody>(.*?)</tbody>", table[1], re.S)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.S)
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in rows]
    return [[html.unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in row] for row in found]


@pytest.mark.parametrize("path", PATHS)
def test_every_page_answers_as_html_json_and_csv_with_the_same_rows(browser, path):
    page = browser.get(path)
    assert page.status_code == 200, page.text
    base = "/overview" if path == "/" else path
    data = browser.get(f"{base}.json").json()
    text = browser.get(f"{base}.csv")
    assert text.headers["content-type"].startswith("text/csv")
    lines = list(csv.reader(io.StringIO(text.text)))
    assert lines[0] == [column["name"] for column in data["columns"]]
    assert len(lines) - 1 == len(data["data"])
    assert f'href="{base}.json' in page.text
    if path != f"/calls/{ID}":  # its table is a sum
        shown = cells(page.text)
        assert len(shown) == min(100, len(data["data"]))
        first = data["columns"][0]
        if first["kind"] == "text":
            assert [row[0] for row in shown] == [str(row[first["name"]]) for row in data["data"][:100]]


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/customers.json", "/login", "/static/none.css"])
def test_every_answer_carries_the_strict_policy(browser, path):
    headers = browser.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PATHS)
def test_no_page_has_a_style_or_a_script_of_its_own(browser, path):
    text = browser.get(path).text
    assert not re.search(r"<[^>]+\sstyle=", text)
    assert not re.search(r"<[^>]+\son[a-z]+=", text)
    assert not re.search(r'<script(?! src=| type="application/json">)', text)
    assert "<style" not in text


@pytest.mark.parametrize("path", PATHS)
def test_names_from_outside_are_never_markup(browser, path):
    event = {**EVENT, **dict.fromkeys(("tenant", "user", "feature", "model_billed", "endpoint"), NASTY)}
    event |= {"tags": {NASTY: NASTY}, "usage_raw": {NASTY: NASTY}, "marks": [NASTY]}
    site = browser.site
    site.keeper.answers["events"] = {"data": [event], "next_cursor": None}
    site.keeper.answers["event"] = {
        "event": event,
        "attempts": [event, event],
        "arithmetic": [],
        "corrections": [event],
    }
    browser.send("/keys", "/keys/create", name=NASTY)
    assert "<script>alert" not in browser.get(path, params={"q": "", "tenant": NASTY, "sort": NASTY}).text


def test_a_customer_of_any_name_has_a_page(browser):
    for name in (NASTY.replace("%2F", ""), "a/b", "x.json", "x.csv", "ü ñ", "..", "a?b#c"):
        link = re.search(r'href="(/customers/[^"]+)"', _listed(browser, name))
        assert link, name
        page = browser.get(html.unescape(link[1]))
        assert page.status_code == 200, name
        assert page.headers["content-type"].startswith("text/html"), name
        assert browser.site.keeper.last("usage").where["tenant"] == (name,), name


def _listed(browser: Browser, name: str) -> str:
    site = browser.site
    one = {"tenant": name, "user": "u", "calls": 1, "spend": "1", "avg_cost": "1", "spend_estimated": "0",
           "calls_unpriced": 0, "last_at": None, "users": 1, "refused": 0}  # fmt: skip
    site.keeper.answers["usage"] = lambda query: {
        "rows": [{**one, **({"day": "2027-01-10"} if "day" in query.group_by else {})}]
    }
    return re.search(r'<table id="rows">.*?</table>', browser.get("/customers").text, re.S)[0]


def test_filters_in_the_address_reach_the_question(browser):
    browser.get("/features?period=7d&tenant=acme&tier=free&tag=region%3Deu&feature=")
    query: UsageQuery = next(p for m, p in browser.site.keeper.asked if m == "usage")
    assert query.where == {"tenant": ("acme",), "tier": ("free",), "tag.region": ("eu",)}
    assert query.until_us - query.since_us <= 7 * 86_400_000_000
    browser.get("/calls?since=2026-11-01&until=2026-11-02&state=refused")
    asked: EventsQuery = browser.site.keeper.last("events")
    assert asked.until_us - asked.since_us == 2 * 86_400_000_000  # the last day is one of the period
    assert asked.where == {"state": ("refused",)}


def test_filters_stay_on_the_way_to_another_page(browser):
    text = browser.get("/customers?period=7d&tier=free").text
    assert 'href="/features?period=7d&amp;tier=free"' in text
    assert 'href="/customers/acme?period=7d&amp;tier=free"' in text


def test_what_cannot_be_asked_is_told_with_what_to_write(browser):
    for path in (
        "/customers?period=fortnight",
        "/customers?since=yesterday",
        "/customers?tag=region",
        "/calls?until=x&since=1d",
    ):
        answer = browser.get(path)
        assert answer.status_code == 400, path
        assert "This cannot be asked" in answer.text


@pytest.mark.parametrize("path", ["/", "/customers", "/reports/losses", "/calls"])
@pytest.mark.parametrize("far", ["since=2026-01-01&until=9999-12-31", "since=0001-01-01", "until=9999-12-31"])
def test_a_period_without_end_is_told_to_be_too_far(browser, path, far):
    answer = browser.get(f"{path}?{far}")
    assert answer.status_code == 400
    assert "1970 to 2200" in answer.text


def test_an_end_alone_ends_a_period_of_the_usual_length(browser):
    browser.get("/calls?until=2026-11-01")
    asked = browser.site.keeper.last("events")
    assert asked.until_us == 1_793_577_600_000_000  # the day is one of it
    assert asked.until_us - asked.since_us == 7 * 86_400_000_000


def test_rows_are_ordered_and_searched_on_the_server(browser):
    by_cost = browser.get("/reports/losses.json?sort=-cost").json()["data"]
    assert [row["tenant"] for row in by_cost] == [NASTY, "acme"]
    by_margin = browser.get("/reports/losses.json?sort=margin").json()["data"]
    assert [row["margin"] for row in by_margin] == ["-412.1", None]  # the unknown stands last
    page = browser.get("/reports/losses?sort=-cost&q=ACME").text
    assert [row[0] for row in cells(page)] == ["acme"]
    assert 'aria-sort="descending"' in page


def test_shares_in_files_have_two_places_as_those_of_reports(browser):
    for path in ("/customers", "/users", "/features", "/models"):
        for row in csv.DictReader(io.StringIO(browser.get(f"{path}.csv").text)):
            assert re.fullmatch(r"(\d+\.\d\d)?", row["share"]), row


def test_money_reads_like_money(browser):
    page = browser.get("/reports/losses").text
    first, second = cells(page)
    assert first[2:5] == ["−$412.10", "−41.2 %", "<$0.0001"]
    assert second[2:5] == ["–", "–", "$12,480"]
    assert 'title="not known: no price, or nothing to compute it from">–' in page
    assert 'class="usd loss" title="−$412.10"' in page
    assert 'title="$0.00001"' in page


def test_an_estimated_sum_carries_its_mark(browser):
    page = browser.get("/customers").text
    assert "$1.50 of it is estimated; 1 calls have no price and are not in it" in page
    assert "is estimated: calls that were interrupted" in page


def test_a_report_is_a_page_with_its_own_period_and_options(browser, report):
    page = browser.get("/reports/losses?floor=5&tenant=acme").text
    assert "One customer loses $412.10." in page
    assert "Nothing is estimated." in page
    assert "Who costs more than they pay?" in page
    assert page.count("<figure") == 3
    asked = report.asked[-1]
    assert asked.options == {"floor": "5"}
    assert asked.where == {"tenant": ("acme",)}
    assert (asked.until_us - asked.since_us) / 86_400_000_000 < 31
    browser.get("/reports/losses?period=7d")
    assert report.asked[-1].since_us > asked.since_us or report.asked[-1].since_us != asked.since_us


def test_the_call_log_goes_on_by_cursor_and_keeps_its_filters(browser):
    page = browser.get("/calls?tenant=acme").text
    following = html.unescape(re.search(r'href="([^"]+)"[^>]*rel="next"', page)[1])
    assert "tenant=acme" in following
    browser.get(following)
    assert browser.site.keeper.last("events").cursor == "more"
    assert browser.get("/calls.json").json()["detail"] == {"next_cursor": "more"}


def test_evidence_adds_up_to_the_last_digit(browser):
    page = browser.get(f"/calls/{ID}")
    assert (
        "acme, user u_2, called openai gpt-4.1-mini-2025-04-14 for chat and was answered in 3.4 s: $0.001384."
        in page.text
    )
    for amount in ("$0.000904", "$0.0000128", "$0.0004672", "$0.001384"):
        assert amount in page.text
    data = browser.get(f"/calls/{ID}.json").json()
    assert sum(Decimal(row["amount"]) for row in data["data"]) == Decimal(EVENT["cost_usd"])
    assert data["detail"]["usage_raw"] == EVENT["usage_raw"]


def test_a_key_is_shown_once(browser):
    answer = browser.send("/keys", "/keys/create", name="app", bind="tenant=acme", expires="90d")
    secret = re.search(r"fbx_[\w-]+", answer.text)[0]
    assert secret not in browser.get("/keys").text
    [row] = browser.site.directory.keys.list()
    assert row.bind == {"tenant": "acme"}
    rotated = browser.send("/keys", "/keys/rotate", key=row.id, overlap="1h")
    assert re.search(r"fbx_[\w-]+", rotated.text)[0] != secret
    assert browser.send("/keys", "/keys/revoke", key=row.id).status_code == 303
    assert "Revoked app" in browser.get("/keys").text
    assert "Revoked app" not in browser.get("/keys").text
    assert browser.site.directory.keys.get(row.id).revoked_at_us is not None


def test_what_a_form_got_wrong_is_told_and_what_was_typed_is_kept(browser):
    answer = browser.send("/keys", "/keys/create", name="app", bind="acme")
    assert answer.status_code == 422
    assert "NAME=VALUE" in answer.text
    assert 'value="acme"' in answer.text
    assert browser.site.directory.keys.list() == []


def test_a_new_user_gets_a_link_that_is_shown_once(browser):
    answer = browser.send("/settings", "/settings/users/add", name="ann@acme.com", role="analyst")
    link = re.search(r"/login/link/fbl_[\w-]+", answer.text)[0]
    assert link not in browser.get("/settings").text
    other = browser.site.visitor()
    assert other.send(link, link, password="ann's long password").status_code == 303
    assert "ann@acme.com" in other.get("/").text


def test_secrets_of_the_settings_are_only_told_to_be_set(tmp_path):
    from farebox.settings import Oidc, Settings

    oidc = Oidc(issuer="https://id.test", client_id="f", client_secret="very secret", analysts=("@acme.com",))
    site = Site(tmp_path, Settings(data=tmp_path, oidc=oidc))
    page = site.logged_in("analyst").get("/settings").text
    assert "very secret" not in page
    assert "(set)" in page
    site.close()


def test_a_keeper_that_is_down_is_told_and_not_shown_as_nothing(browser):
    browser.site.keeper.answers["usage"] = KeeperUnavailable("the keeper does not answer")
    answer = browser.get("/customers")
    assert answer.status_code == 503
    assert "calls still flow" in answer.text
    assert browser.get("/customers.json").json()["error"]["code"] == "http_503"


def test_what_is_not_there_is_a_page_that_helps(browser):
    browser.site.keeper.answers["event"] = NotFound("there is no event 'x'")
    for path in ("/nothing", "/calls/x", "/reports/none", "/calls/" + "x" * 80):
        answer = browser.get(path)
        assert answer.status_code == 404, path
        assert "Nothing is here" in answer.text


def test_an_unexpected_error_tells_nothing_of_the_inside(tmp_path):
    async def show(visit: object) -> View:
        raise ZeroDivisionError("inside")

    site = Site(tmp_path, pages=(Page("/broken", "analyst", "Broken", show),))
    answer = site.logged_in().get("/broken")
    assert answer.status_code == 500
    assert "inside" not in answer.text
    assert "content-security-policy" in answer.headers
    site.close()


def test_a_page_that_has_not_changed_is_not_sent_again(browser):
    first = browser.get("/customers")
    again = browser.get("/customers", headers={"if-none-match": first.headers["etag"], "x-live": "1"})
    assert (again.status_code, again.content) == (304, b"")
    browser.site.keeper.answers["usage"] = lambda query: {"rows": []}
    assert browser.get("/customers", headers={"if-none-match": first.headers["etag"]}).status_code == 200


def test_static_files_may_be_kept_for_ever_and_change_their_name_with_their_content(browser):
    path = re.search(r'href="(/static/farebox-[0-9a-f]{16}\.css)"', browser.get("/help").text)[1]
    answer = browser.get(path)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].startswith("text/css")


def test_an_empty_installation_says_what_to_do_first(browser):
    browser.site.keeper.answers["usage"] = {"rows": []}
    page = browser.get("/").text
    assert "First steps" in page
    assert "/proxy/openai/v1" in page
    assert "No key yet" in browser.get("/keys").text


def test_search_finds_calls_and_customers(browser):
    assert browser.get("/find", params={"text": ID}).headers["location"] == f"/calls/{ID}"
    assert browser.get("/find", params={"text": "acme"}).headers["location"] == "/customers/acme"
    browser.site.keeper.answers["usage"] = {"rows": []}
    assert browser.get("/find", params={"text": "acm"}).headers["location"] == "/customers?period=90d&q=acm"


def test_limits_near_their_amount_stand_on_the_overview(browser):
    limit = browser.site.directory.limits.set(read_limit({"per": "tenant", "amount": "5 usd"}))
    used = 4_500_000_000_000
    browser.site.keeper.answers["limits_near"] = [(limit.id, "acme", 0, 1_800_100_000_000_000, 5_000_000_000_000, used)]
    page = browser.get("/").text
    assert "Near their limit" in page
    assert "90.0 %" in page
    assert "$4.50" in page


@pytest.mark.parametrize(("name", "field"), [("plan-calculator", "price"), ("statement", "tenant")])
def test_a_report_that_must_be_told_more_shows_the_form_to_ask_by(tmp_path, name, field):
    site = Site(tmp_path, reports=(PlanCalculator(), Statement()), facts=lambda: object())
    browser = site.logged_in()
    page = browser.get(f"/reports/{name}")
    assert page.status_code == 200
    assert re.search(rf'<input id="[a-z]+-{field}" name="{field}"', page.text)
    assert 'role="alert"' not in page.text
    assert browser.get(f"/reports/{name}.json").status_code == 400
    wrong = browser.get("/reports/plan-calculator?price=abc&calls=10").text
    assert "&#39;abc&#39; is not an amount" in wrong
    assert 'name="price" value="abc"' in wrong
    site.close()


def test_no_half_of_a_customers_page_stays_empty(browser):
    halves = browser.get("/customers/acme").text.partition('<div class="halves">')[2]
    _, first, second = halves.split("\n<div>\n")[:3]
    assert "By feature" in first
    assert "By model" in second.partition("\n</div>")[0]


def test_tiers_have_a_page_of_their_own(tmp_path):
    site = Site(tmp_path, reports=(Tiers(),), facts=lambda: Nothing())
    page = site.logged_in().get("/tiers")
    assert page.status_code == 200, page.text
    assert 'href="/tiers' in page.text
    site.close()


class Nothing:
    """A ledger without calls."""

    def usage(self, query):
        return [] if query.group_by else [{"attempts": 0, "spend": "0", "calls": 0, "users": 0}]

    def ask(self, method, params=None):
        return []

    def limits(self):
        return []
