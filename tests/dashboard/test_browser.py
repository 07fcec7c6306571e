"""The dashboard in a real browser: from the first link to every page, in both themes, with nothing refused by the
policy, no error on the console and no serious fault for assistive technology."""

import urllib.parse

import pytest
from dashboard_site import EVENT, NASTY
from served_dashboard import CHROMIUM, Served

PATHS = ("/", "/customers", "/customers/acme", "/users", "/features", "/models", "/calls", f"/calls/{EVENT['id']}",
         "/reports", "/reports/losses",
         "/limits", "/alerts", "/channels", "/books", "/plans", "/providers", "/prices",
         "/audit", "/keys", "/settings", "/help", "/nothing")  # fmt: skip
WIDTHS = (1280, 820, 360)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install one, or name it in CHROMIUM")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    made = Served(tmp_path_factory.mktemp("served"))
    made.log_in_by_the_first_link()
    yield made
    made.close()


@pytest.fixture
def page(served):
    served.complaints.clear()
    made = served.page()
    yield made
    made.context.close()
    assert served.complaints == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_is_without_a_complaint_and_fits_every_width(served, theme):
    served.complaints.clear()
    page = served.page(theme)
    for path in PATHS:
        page.goto(path)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} at {width}"
    page.context.close()
    expected = f"{served.url}/nothing: Failed to load resource: the server responded with a status of 404 (Not Found)"
    assert [said for said in served.complaints if said != expected] == []


def test_no_page_has_a_serious_fault_for_assistive_technology(served):
    # as /customers and /limits: the same templates, and each takes its time
    alike = ("/users", "/features", "/models", "/reports", "/alerts", "/channels", "/plans", "/providers", "/prices")
    for path in (*(path for path in PATHS if path not in alike), "/login"):
        assert faults(served.page(), path, {"resultTypes": ["violations"]}) == {}, path


def test_the_dark_theme_has_contrast_enough(served):
    for path in ("/", "/calls", f"/calls/{EVENT['id']}", "/reports/losses", "/settings"):
        assert faults(served.page("dark"), path, {"runOnly": ["color-contrast"]}) == {}, path


def faults(page, path, options) -> dict[str, list[str]]:
    """Serious ones and worse, each with where it is."""
    from axe_playwright_python.sync_playwright import Axe

    page.goto(path)
    found = Axe().run(page, options=options).response["violations"]
    page.context.close()
    return {
        fault["id"]: [node["html"][:160] for node in fault["nodes"]][:3]
        for fault in found
        if fault["impact"] in ("serious", "critical")
    }


def test_a_table_is_ordered_in_place_and_the_address_says_so(page):
    page.goto("/reports/losses")
    page.evaluate("window.stayed = true")
    page.click("#rows thead a:has-text('Cost')")
    page.wait_for_selector("#rows [aria-sort=descending]")
    assert page.url.endswith("?sort=-cost")
    assert page.locator("#rows tbody th").first.inner_text() == NASTY
    assert page.evaluate("window.stayed")
    page.go_back()
    page.wait_for_selector("#rows:not(:has([aria-sort]))")
    assert page.locator("#rows tbody th").first.inner_text() == "acme"


def test_the_filter_bar_writes_the_address(page):
    page.goto("/customers")
    page.select_option("#filter-period", "7d")
    page.wait_for_url("**/customers?period=7d")
    page.click(".filters summary")
    page.fill("#filter-tier", "free")
    page.click(".filters .primary")
    page.wait_for_url("**tier=free**")
    page.click(".chip:has-text('tier')")
    page.wait_for_url("**/customers?period=7d")


def test_the_keyboard_leads_everywhere(page):
    page.goto("/")
    page.keyboard.press("/")
    page.keyboard.type("acme")
    page.keyboard.press("Enter")
    page.wait_for_url("**/customers/acme")
    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_url("**/customers")
    page.keyboard.press("?")
    assert page.locator("#keys-help").is_visible()


def test_figures_change_by_themselves(served, page):
    page.goto("/")
    page.evaluate("document.body.dataset.liveS")
    before = page.locator(".sentence").inner_text()
    answers = served.site.keeper.answers
    had = answers["usage"]
    answers["usage"] = lambda query: {"rows": [{**row, "calls": 1234} for row in had(query)["rows"]]}
    page.clock.install()
    page.goto("/")
    answers["usage"] = lambda query: {"rows": [{**row, "calls": 4321} for row in had(query)["rows"]]}
    page.clock.run_for(16_000)
    page.wait_for_selector(".sentence:has-text('4,321')")
    answers["usage"] = had
    assert "4,321" not in before


def test_a_key_is_made_and_revoked_and_its_secret_can_be_copied(page):
    page.goto("/keys")
    page.click("summary:has-text('Make a key')") if not page.locator("#field-name").is_visible() else None
    page.fill("#field-name", "browser made")
    page.click("button:has-text('Make key')")
    assert page.locator("#secret").inner_text().startswith("fbx_")
    assert page.locator("[data-copy]").is_visible()
    page.goto("/keys")
    entry = page.locator(".things li:has-text('browser made')")
    entry.locator("summary:has-text('Revoke')").click()
    entry.locator("button.danger").click()
    page.wait_for_selector(".toast:has-text('Revoked browser made')")


def test_the_theme_can_be_chosen_and_stays(page):
    page.goto("/help")
    page.click(".account summary")
    page.click(".choices button:has-text('dark')")
    page.wait_for_selector("html[data-theme=dark]")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 20, 19)"
    page.goto("/customers")
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_every_page_works_without_a_script(served):
    page = served.page(scripted=False)
    for path in PATHS[:-1]:
        page.goto(path)
        assert page.locator("h1").count() == 1, path
    page.goto("/customers")
    page.select_option("#filter-period", "90d")
    page.click(".filters .without-script")
    page.wait_for_url("**period=90d**")
    page.goto("/keys")
    if not page.locator("#field-name").is_visible():
        page.click("summary:has-text('Make a key')")
    page.fill("#field-name", "without script")
    page.click("button:has-text('Make key')")
    assert page.locator("#secret").inner_text().startswith("fbx_")
    page.context.close()


def test_a_name_that_is_a_whole_attack_is_shown_as_a_name(page):
    page.goto("/customers")
    page.click(f"#rows a:has-text('{NASTY[:8]}')")
    page.wait_for_url("**/customers/%3Cscript%3E**")
    assert NASTY in page.locator("h1").inner_text()
    assert page.url.partition("/customers/")[2].startswith(urllib.parse.quote(NASTY[:10], safe="'()"))


def test_a_chart_is_drawn_and_stays_drawn_while_its_figures_do(page):
    page.goto("/customers")
    page.wait_for_selector("figure.is-drawn canvas")
    page.evaluate("document.querySelector('figure.chart').dataset.same = 'yes'")
    page.click("#rows thead a:has-text('Calls')")
    page.wait_for_selector("#rows [aria-sort=descending]")
    assert page.locator("figure.is-drawn[data-same] canvas").count() == 1
    assert page.locator("figure[data-same]").count() == 1
    page.goto("/help")
    assert page.evaluate("window.vegaEmbed === undefined")


def test_the_filter_bar_offers_what_there_is_and_fits_a_phone(page):
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto("/customers")
    page.click(".filters summary")
    page.wait_for_selector("#filter-tenant[list]")
    assert page.locator("#offered-tenant option").count() == 3
    box = page.locator(".filters .sheet").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
