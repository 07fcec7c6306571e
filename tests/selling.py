"""An installation that is sold: the API that Stripe tells, and the pages a buyer sees, over one directory."""

import itertools
from pathlib import Path
from typing import Any

from control_api import NOW_US
from dashboard_site import PASSWORD, QUICK, Browser, Site
from starlette.testclient import TestClient
from stripe_server import signed

from farebox.control.access import token_finder
from farebox.control.app import Joined, create_app
from farebox.control.parts import Parts
from farebox.settings import Paywall, Settings

SECRET = "whsec_paywall"
LINK = "plink_1"
NOW_S = NOW_US // 10**6
SESSION = "cs_live_a1"


def checkout(session: str = SESSION, **more: Any) -> dict[str, Any]:
    made = {"id": session, "object": "checkout.session", "livemode": True, "payment_link": LINK, "status": "complete"}
    details = {"email": "buyer@acme.com"}
    return {**made, "payment_status": "paid", "subscription": "sub_1", "customer_details": details, **more}


def subscription(status: str, subscription_id: str = "sub_1") -> dict[str, Any]:
    return {"id": subscription_id, "object": "subscription", "status": status, "livemode": True}


class Shop:
    """`site` is the dashboard; `tell` is Stripe."""

    def __init__(self, home: Path, **paywall: Any) -> None:
        given: dict[str, Any] = {"stripe_webhook_secret": SECRET, "payment_link": LINK, **paywall}
        self.settings = Settings(data=home, paywall=Paywall(**given))
        self.site = Site(home, self.settings)
        pages = self.site.parts
        parts = Parts(
            keeper=pages.keeper, directory=pages.directory, outbox=pages.outbox, settings=self.settings, env={},
            run_dir=home, now_us=lambda: self.site.now_us,
        )  # fmt: skip
        finder = token_finder(pages.directory, lambda: self.site.now_us)
        self.api = create_app(parts, finder, lambda: 0.0)
        self.app = Joined(self.api, self.site.app)
        self._numbers = itertools.count(1)
        self._clients: list[TestClient] = []

    @property
    def directory(self) -> Any:
        return self.site.directory

    def visitor(self) -> Browser:
        client = TestClient(
            self.app, base_url="http://farebox.test", raise_server_exceptions=False, follow_redirects=False
        )
        self._clients.append(client)
        return Browser(client)

    def event(self, kind: str, found: dict[str, Any], **more: Any) -> dict[str, Any]:
        number = next(self._numbers)
        made = {"id": f"evt_{number}", "object": "event", "type": kind, "livemode": True}
        return {**made, "created": self.site.now_us // 10**6, "data": {"object": found}, **more}

    def send(self, event: dict[str, Any], **signing: Any) -> Any:
        body, signature = signed(event, **{"secret": SECRET, **signing})
        return self.visitor().client.post("/api/webhooks/stripe", content=body, headers={"stripe-signature": signature})

    def tell(self, kind: str, found: dict[str, Any], **more: Any) -> Any:
        answer = self.send(self.event(kind, found, **more))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def bought(self, session: str = SESSION, **more: Any) -> Any:
        return self.tell("checkout.session.completed", checkout(session, **more))

    def operator(self) -> Browser:
        """Whoever runs it, in by the first link."""
        browser = self.visitor()
        page = f"/login/link/{self.directory.users.first_link()}"
        answer = browser.send(page, page, name="operator", password=PASSWORD)
        assert answer.status_code == 303, answer.text
        return browser

    def user(self, name: str, role: str = "admin") -> Browser:
        self.directory.users.create(name, role, QUICK.hash(PASSWORD))
        browser = self.visitor()
        assert browser.log_in(name).status_code == 303
        return browser

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.site.close()


def success(session: str = SESSION) -> str:
    return f"/purchase/success?session_id={session}"
