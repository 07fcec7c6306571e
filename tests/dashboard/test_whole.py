"""The dashboard of a whole installation in a real browser: what is changed on a page holds for the next call, and a
figure leads down to the call that it is made of."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from harness import Farebox, Key, directive
from scripted import until
from served_dashboard import ARGUMENTS, CHROMIUM

PASSWORD = "a long password"
WITHIN_S = 1.0
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install one, or name it in CHROMIUM")


@pytest.fixture(scope="module")
def page(server: Farebox) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    link = re.search(r"http\S+/login/link/\S+", server.cli("users", "create", "ann", "--role", "admin").stdout)
    assert link
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_context(base_url=server.url).new_page()
        page.set_default_timeout(20_000)
        page.goto(f"/login/link/{link[0].rpartition('/')[2]}")
        page.fill("[name=password]", PASSWORD)
        page.click("main button")
        page.wait_for_selector("nav.side")
        yield page
        browser.close()


def call(server: Farebox, key: Key, user: str, mark: str) -> int:
    body = {"model": "gpt-4.1-mini", "messages": [{"role": "user", "content": directive(mark, input=50, output=10)}]}
    headers = {**key.bearer, "x-tenant-id": "paged", "x-user-id": user, "x-feature": "pages"}
    path = f"{server.url}/proxy/openai/v1/chat/completions"
    return httpx.post(path, json=body, headers=headers, trust_env=False, timeout=20).status_code


def test_a_limit_that_is_changed_on_its_page_stops_the_next_call(server, key, page):
    page.goto("/limits")
    if not page.locator("#limits-set-amount").is_visible():
        page.click("summary:has-text('Set a limit')")
    page.fill("#limits-set-amount", "1000 requests")
    page.fill("#limits-set-where", "feature=pages")
    page.click("button:has-text('Set limit')")
    page.wait_for_selector(".toast:has-text('In force within a second')")
    assert call(server, key, "u_1", "pages-1") == 200

    page.click("summary:has-text('Change')")
    page.locator("[id$=-amount][value='1000 requests']").first.fill("1 requests")
    page.click("button:has-text('Change limit')")
    page.wait_for_selector(".toast:has-text('Changed')")
    assert until(lambda: call(server, key, "u_1", "pages-2") == 429, within_s=WITHIN_S + 4)

    page.click("details.confirm summary:has-text('Remove')")
    page.click("button.danger")
    page.wait_for_selector(".toast:has-text('Removed')")
    assert until(lambda: call(server, key, "u_1", "pages-3") == 200)


def test_a_figure_of_the_overview_leads_down_to_one_call(server, key, page):
    assert call(server, key, "u_2", "pages-4") == 200
    server.flush()
    page.goto("/plans")
    if not page.locator("#plans-set-name").is_visible():
        page.click("summary:has-text('Make a plan')")
    page.fill("#plans-set-name", "gratis")
    page.fill("#plans-set-price", "0")
    page.click("button:has-text('Make plan')")
    page.wait_for_selector(".toast")
    page.goto("/books?customer=paged")
    page.select_option("#books-set-plan", "gratis")
    page.click("button:has-text('Enter customer')")
    page.wait_for_selector(".toast:has-text('paged is entered')")

    page.goto("/")
    assert "more than it pays" in page.locator(".sentence").inner_text()
    page.locator("section:has(h2:text('Losing money')) a:text('paged')").click()
    page.wait_for_url("**/customers/paged**")
    page.locator(".tile:has-text('Spend') a").click()
    page.wait_for_url("**/calls?**tenant=paged**")
    page.locator("#rows td.number a").first.click()
    page.wait_for_selector("table.sum tfoot")
    amounts = page.locator("table.sum tbody td:last-child").all_inner_texts()
    assert len(amounts) >= 2
    assert page.locator("table.sum tfoot td:last-child").inner_text() in page.locator(".sentence").inner_text()
