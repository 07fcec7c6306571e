"""What people outside the house see, in a real browser: the portal of a customer, and a purchase from checkout to its
end."""

import http.server
import threading

import pytest
from dashboard_site import NOW_US, PASSWORD
from portal_scene import MONEY, Ledger, furnish
from selling import Shop, checkout, subscription, success
from served_dashboard import CHROMIUM, Served

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install one, or name it in CHROMIUM")


@pytest.fixture
def sold(tmp_path):
    shop = Shop(tmp_path)
    served = Served(tmp_path, shop.site, shop.app)
    yield shop, served
    served.close()


def portal(site, **said) -> str:
    furnish(site.directory)
    site.keeper.answers |= Ledger(site.directory).answers()
    _, token = site.directory.portal_tokens.create("acme", NOW_US + 3600 * 10**6, **said)
    return f"/portal/{token}"


def test_a_purchase_opens_the_dashboard_and_its_cancellation_closes_it(sold):
    shop, served = sold
    shop.operator()
    for scripted in (False, True):
        session = f"cs_live_{scripted}"
        page = served.page(scripted=scripted, logged_in=False)
        page.goto("/")
        assert page.url.endswith("/pricing")
        page.goto(success(session))
        page.wait_for_selector("text=Waiting for the payment")
        bought = checkout(session, subscription=f"sub_{scripted}", customer_details={"email": f"{scripted}@acme.com"})
        shop.tell("checkout.session.completed", bought)
        page.wait_for_selector("[name=password]")  # the page went on by itself
        assert "farebox-access" in {cookie["name"] for cookie in page.context.cookies()}
        page.fill("[name=password]", PASSWORD)
        page.click("main button")
        page.wait_for_selector("nav.side")
        page.goto("/customers")
        assert page.url.endswith("/customers")
        shop.tell("customer.subscription.deleted", subscription("canceled", f"sub_{scripted}"))
        page.goto("/customers")
        assert page.url.endswith("/pricing")
        assert page.locator("text=Buy access to this installation").count() == 1
        page.context.close()
    assert served.complaints == []


def test_a_customer_sees_usage_in_a_frame_of_the_product_and_no_money(sold):
    shop, served = sold
    host = Host()
    try:
        open_path, closed_path = portal(shop.site, origins=[host.url]), portal(shop.site)
        for theme, width in (("light", 1280), ("dark", 360)):
            page = served.page(theme, logged_in=False)
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(open_path)
            assert "1,847 of 2,000 analyses" in page.inner_text("main")
            assert not MONEY.search(page.content())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.context.cookies() == []
            assert page.locator("a").count() == 0
            host.frame = served.url + open_path
            page.goto(host.url)
            page.frame_locator("iframe").locator("text=1,847 of 2,000 analyses").wait_for()
            page.context.close()
        assert served.complaints == []
        host.frame = served.url + closed_path
        page = served.page(logged_in=False)
        page.goto(host.url)
        page.wait_for_load_state("networkidle")
        assert page.frame_locator("iframe").locator("text=analyses").count() == 0
        assert any("frame-ancestors" in complaint for complaint in served.complaints)
    finally:
        host.close()


class Host:
    """The product that shows the portal in a frame."""

    def __init__(self) -> None:
        self.frame = ""
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                icon = '<link rel="icon" href="data:,">'
                self.wfile.write(f"<!doctype html>{icon}<iframe src='{outer.frame}' title=usage></iframe>".encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
