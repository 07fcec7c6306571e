"""Access that is sold: the page that offers it, the page behind a purchase, and who may pass.

The installation opens to whoever has its access cookie, and to everybody with a login as long as it is sold. Who set
it up always passes, so that nobody is locked out of their own server.
"""

import re
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from farebox.core.paywall import Purchase
from farebox.dashboard.cookies import Cookies
from farebox.dashboard.page import Viewer
from farebox.dashboard.parts import Parts
from farebox.dashboard.rendering import Renderer
from farebox.errors import FareboxError

ACCESS_S: Final = 366 * 86_400
POLL_S: Final = 2
POLLS_MAX: Final = 150
"""Five minutes; then the page says what to do, and is loaded again by hand."""
_SESSION: Final = re.compile(r"cs_[A-Za-z0-9_]{1,250}")
_SAID: Final[dict[Purchase, tuple[int, str, str]]] = {
    "late": (
        410,
        "This purchase is more than a day old",
        "Access is opened within 24 hours of the payment. Ask whoever runs this installation to open it for you.",
    ),
    "redeemed": (
        409,
        "This purchase was used already",
        "A purchase opens one browser, once. Log in, or ask whoever runs this installation for a login link.",
    ),
    "taken": (
        409,
        "This installation has its buyer already",
        "One installation is sold to one buyer. Ask whoever runs it for a refund.",
    ),
}
_UNKNOWN: Final = (
    404,
    "This address is not whole",
    "It ends in ?session_id=cs_…, as the checkout sends you to it. Go back to the receipt and open its link again.",
)


class NotPaid(Exception):
    """The installation is sold, and this request comes from nobody who has bought it."""


class Paywall:
    def __init__(self, parts: Parts, renderer: Renderer, cookies: Cookies) -> None:
        self._parts = parts
        self._renderer = renderer
        self._cookies = cookies
        self._settings: Final = parts.settings.paywall

    def routes(self) -> list[Route]:
        """What anyone may call. There is nothing at these addresses while nothing is sold."""
        return [
            Route("/pricing", self._pricing, methods=["GET"]),
            Route("/purchase/success", self._success, methods=["GET"]),
        ]

    async def check(self, request: Request, viewer: Viewer | None) -> None:
        """Raises NotPaid where this request may not pass."""
        if self._settings.is_on and not await run_in_threadpool(self._admits, self._cookie(request), viewer):
            raise NotPaid

    def _admits(self, cookie: str, viewer: Viewer | None) -> bool:
        purchases, users = self._parts.directory.purchases, self._parts.directory.users
        if viewer is not None and (purchases.is_sold() or viewer.user.id == users.operator_id()):
            return True
        return purchases.admits(cookie)

    def _cookie(self, request: Request) -> str:
        return request.cookies.get(self._cookies.access, "")

    async def _pricing(self, request: Request) -> Response:
        self._require()
        purchases, link = self._parts.directory.purchases, self._settings.payment_link
        return self._renderer.bare(
            "pricing.html",
            theme=self._cookies.theme_of(request),
            href=link if link.startswith("https://") else "",
            is_open=await run_in_threadpool(purchases.admits, self._cookie(request)),
            is_sold=await run_in_threadpool(purchases.is_sold),
        )

    async def _success(self, request: Request) -> Response:
        """Waits for the webhook by loading itself again; then redeems the purchase, once."""
        self._require()
        session = request.query_params.get("session_id", "")
        if not _SESSION.fullmatch(session):
            return self._said(request, *_UNKNOWN)
        purchases, now_us = self._parts.directory.purchases, self._parts.now_us()
        state, why = await run_in_threadpool(purchases.state, session, now_us)
        if state == "open":  # looked at first: a page that waits, or anybody's guess, shall be no write
            if (redeemed := await self._redeemed(session, now_us)) is not None:
                return redeemed
            state, why = await run_in_threadpool(purchases.state, session, now_us)
        if state == "redeemed" and await run_in_threadpool(purchases.belongs, self._cookie(request), session):
            return RedirectResponse("/", 303)
        if state == "waiting":
            return self._waiting(request, session)
        if state == "refused":
            return self._said(request, 402, "This purchase opens nothing", f"Stripe says of it: {why}.")
        return self._said(request, *_SAID.get(state, _UNKNOWN))

    async def _redeemed(self, session: str, now_us: int) -> Response | None:
        """The way on, with the access cookie; None where another request was faster."""
        found = await run_in_threadpool(self._parts.directory.purchases.redeem, session, now_us)
        if found is None:
            return None
        secret, email = found
        response = RedirectResponse(await run_in_threadpool(self._account, email), 303)
        self._cookies.set(response, self._cookies.access, secret, ACCESS_S)
        return response

    def _account(self, email: str) -> str:
        """Where a buyer goes on to: to a password for a login of their own. A name that is there already stays whose it
        is: anybody may have typed that address. Nobody becomes the first admin by a purchase."""
        users = self._parts.directory.users
        if users.operator_id() is None:
            return "/login"
        try:
            user = users.create(email, self._settings.role, by="purchase")
            return f"/login/link/{users.make_link(user.id, by='purchase')}"
        except FareboxError:
            return "/login"

    def _waiting(self, request: Request, session: str) -> Response:
        polls = request.query_params.get("polls", "0")
        number = int(polls) if polls.isascii() and polls.isdecimal() and len(polls) < 6 else 0
        goes_on = number < POLLS_MAX
        return self._renderer.bare(
            "purchase.html",
            status=202,
            theme=self._cookies.theme_of(request),
            title="Waiting for the payment",
            why="Stripe is about to confirm it. This page goes on by itself."
            if goes_on
            else "Stripe has not confirmed it yet. Your payment is safe: load this page again in a while.",
            again=f"/purchase/success?session_id={session}&polls={number + 1 if goes_on else 0}",
            poll_s=POLL_S if goes_on else 0,
        )

    def _said(self, request: Request, status: int, title: str, why: str) -> Response:
        theme = self._cookies.theme_of(request)
        return self._renderer.bare(
            "purchase.html", status=status, theme=theme, title=title, why=why, again="", poll_s=0
        )

    def _require(self) -> None:
        if not self._settings.is_on:
            raise HTTPException(404)
