"""The fragments in a real browser, under the policy that pages have."""

import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from scripted import until

from farebox.reports import charts
from farebox.reports.report import Chart

CHROMIUM = Path("/usr/bin/chromium")
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'"
NAME = "<img src=x onerror=alert(1)>\u202e"
CHARTS = [
    Chart(
        "Spend by tier",
        kind,
        [{"d": f"2026-11-{day:02d}", "t": name, "v": Decimal(day)} for day in range(1, 21) for name in ("pro", NAME)],
        "d",
        "v",
        "USD a day",
        "t",
        marks=[{"x": "2026-11-09", "y": 30, "text": "a spike"}],
    )
    for kind in ("columns", "lines", "area", "bars")
]

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="no browser on this machine")


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.strip("/")
        found = charts.assets().get(name) or charts.Asset(page().encode(), "text/html; charset=utf-8")
        self.send_response(204 if name == "favicon.ico" else 200)
        self.send_header("content-type", found.content_type)
        self.send_header("content-security-policy", POLICY)
        self.end_headers()
        if name != "favicon.ico":
            self.wfile.write(found.content)

    def log_message(self, *args: object) -> None:
        pass


def page() -> str:
    drawn = "".join(charts.fragment(chart) for chart in CHARTS)
    scripts = "<script src=/vega.js defer></script><script src=/charts.js defer></script>"
    return (
        f"<!doctype html><html lang=en><head><link rel=stylesheet href=/charts.css>{scripts}</head><body>{drawn}</body>"
    )


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def opened(site: str) -> Iterator[tuple[Page, list[str]]]:
    said: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--headless", "--disable-gpu"]
        )
        shown = browser.new_page(viewport={"width": 900, "height": 1400})
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.goto(site)
        assert until(lambda: shown.evaluate("document.querySelectorAll('figure.is-drawn').length") == len(CHARTS), 30)
        yield shown, said
        browser.close()


def test_charts_draw_themselves_under_a_strict_policy_and_say_nothing(opened):
    shown, said = opened
    assert said == []
    assert shown.locator("canvas").count() == len(CHARTS)


def test_the_tooltip_shows_every_value_of_the_day_as_text(opened):
    shown, said = opened
    box = shown.locator("canvas").first.bounding_box()
    for step in (0, 2, 4):
        shown.mouse.move(box["x"] + box["width"] / 2 + step, box["y"] + 100)
    tip = shown.locator(".chart-tip")
    tip.wait_for(state="visible")
    told = tip.inner_text()
    assert "Nov 2026" in told and "pro" in told and "<img src=x" in told and "total" in told
    assert shown.locator(".chart-tip img").count() == 0 and said == []


def test_a_chart_follows_the_pages_width(opened):
    shown, _ = opened
    shown.set_viewport_size({"width": 420, "height": 1400})
    assert until(lambda: shown.evaluate("document.querySelector('canvas').getBoundingClientRect().width") < 420, 30)
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_chart_follows_the_theme(opened):
    shown, said = opened
    ground = "document.querySelector('canvas').getContext('2d').getImageData(2, 2, 1, 1).data[0]"
    assert shown.evaluate(ground) > 200
    shown.evaluate("document.documentElement.dataset.theme = 'dark'")
    assert until(lambda: shown.evaluate(ground) < 60, 30)
    assert said == []
