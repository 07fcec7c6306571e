"""The way in and out: login, links that work once, logout, the theme; and who a request comes from."""

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from farebox.dashboard.cookies import FORM_FIELD, Cookies, form_token, is_own_form, new_visitor, own_path
from farebox.dashboard.oidc import Oidc, OidcRefused
from farebox.dashboard.page import Viewer
from farebox.dashboard.parts import Parts
from farebox.dashboard.passwords import CHARS_MIN, Attempts
from farebox.dashboard.paywall import Paywall
from farebox.dashboard.rendering import Renderer
from farebox.directory.rows import UserRow
from farebox.directory.users import LINK_PREFIX
from farebox.errors import FareboxError

SECRET_CHARS_MAX: Final = 200
SESSIONS_TOLD_MAX: Final = 1000
VISITOR_S: Final = 86_400
WRONG: Final = "The name or the password is wrong."


class NotOurForm(HTTPException):
    """A form without the token of the page that it must come from."""


class NotLoggedIn(Exception):
    """The request has no living session."""


class Entrance:
    """`let_in` is the one check of session and role; pages go through it, and the public routes below do not."""

    def __init__(self, parts: Parts, renderer: Renderer) -> None:
        self._parts = parts
        self._renderer = renderer
        self.cookies: Final = Cookies(is_secure=parts.is_secure)
        self.paywall: Final = Paywall(parts, renderer, self.cookies)
        self._attempts = Attempts(parts.settings.dashboard.failures_max, time.monotonic)
        self._told: dict[str, list[str]] = {}
        self._oidc = Oidc(parts.settings, parts.now_us) if parts.settings.oidc.issuer else None

    def routes(self) -> list[Route]:
        """What anyone may call: the way in, the theme. Logging out checks its own form."""
        return [
            Route("/login", self._login_page, methods=["GET"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/login/link/{secret}", self._link_page, methods=["GET"]),
            Route("/login/link/{secret}", self._use_link, methods=["POST"]),
            Route("/login/oidc", self._oidc_start, methods=["GET"]),
            Route("/login/oidc/callback", self._oidc_back, methods=["GET"]),
            Route("/logout", self._logout, methods=["POST"]),
            Route("/theme", self._theme, methods=["POST"]),
            *self.paywall.routes(),
        ]

    async def viewer(self, request: Request) -> Viewer | None:
        secret = request.cookies.get(self.cookies.session, "")
        if not secret or len(secret) > SECRET_CHARS_MAX:
            return None
        found = await run_in_threadpool(self._parts.directory.sessions.find, secret, self._parts.now_us())
        return None if found is None else Viewer(found[1], found[0], secret)

    async def let_in(self, request: Request, role: str) -> Viewer:
        """Raises NotPaid where access is sold and not bought, NotLoggedIn, and 403 where the role is not enough."""
        viewer = await self.viewer(request)
        await self.paywall.check(request, viewer)
        if viewer is None:
            raise NotLoggedIn
        if not viewer.may(role):
            raise HTTPException(
                403, f"This needs the role {role}; you are logged in as {viewer.user.name}, {viewer.user.role}."
            )
        return viewer

    def check_form(self, request: Request, form: FormData | Mapping[str, Any], secret: str) -> None:
        """Raises 403 for a form that was not sent from a page of ours."""
        if not is_own_form(request, form.get(FORM_FIELD), secret):
            raise NotOurForm(403, "This form was not sent from a page of this server, or is too old: load it again.")

    def login_path(self, asked: str) -> str:
        return "/login" if asked == "/" else f"/login?{urlencode({'next': asked})}"

    def tell(self, session_id: str, text: str) -> None:
        """Say something on the next page of a session."""
        while len(self._told) >= SESSIONS_TOLD_MAX:
            del self._told[next(iter(self._told))]
        self._told.setdefault(session_id, []).append(text)

    def told(self, session_id: str) -> list[str]:
        return self._told.pop(session_id, [])

    async def _login_page(self, request: Request) -> Response:
        if await self.viewer(request) is not None:
            return RedirectResponse(own_path(request.query_params.get("next")), 303)
        return await self._login_form(request)

    async def _login_form(self, request: Request, *, why: str = "", name: str = "", status: int = 200) -> Response:
        goes_to = own_path(request.query_params.get("next"))
        are_users = await run_in_threadpool(self._parts.directory.users.exist)
        return self._visitor_page(
            request,
            "login.html",
            status=status,
            why=why,
            name=name,
            goes_to=goes_to,
            are_users=are_users,
            oidc=self._parts.settings.oidc.name if self._oidc else "",
            oidc_href=f"/login/oidc?{urlencode({'next': goes_to})}",
        )

    async def _login(self, request: Request) -> Response:
        form = await request.form(max_files=0, max_fields=10)
        self.check_form(request, form, request.cookies.get(self.cookies.visitor, ""))
        name, password = str(form.get("name", ""))[:300], str(form.get("password", ""))
        sources = f"address {address_of(request)}", f"account {name.strip().casefold()}"
        if wait_s := self._attempts.wait_s(*sources):
            why = f"Too many wrong passwords: wait {_span(wait_s)}. A link from `farebox users link NAME` works now."
            return await self._login_form(request, why=why, name=name, status=429)
        found = await run_in_threadpool(self._parts.directory.users.credential, name)
        if not await run_in_threadpool(self._parts.passwords.fits, password, found[1] if found else None):
            self._attempts.failed(*sources)
            return await self._login_form(request, why=WRONG, name=name, status=401)
        assert found is not None
        self._attempts.succeeded(sources[1])
        return await self._logged_in(request, found[0], own_path(str(form.get("next", "/"))))

    async def _link_page(self, request: Request) -> Response:
        return await self._link_form(request)

    async def _link_form(self, request: Request, *, why: str = "", name: str = "") -> Response:
        """The form of a link. Looking at it does not use it, so that a preview of the address spoils nothing."""
        link = await run_in_threadpool(self._parts.directory.users.link, self._secret(request), self._parts.now_us())
        if link is None:
            return self._visitor_page(request, "spent.html", status=404)
        return self._visitor_page(
            request,
            "link.html",
            status=422 if why else 200,
            why=why,
            name=name,
            link=link,
            chars_min=CHARS_MIN,
            action=request.url.path,
        )

    async def _use_link(self, request: Request) -> Response:
        form = await request.form(max_files=0, max_fields=10)
        self.check_form(request, form, request.cookies.get(self.cookies.visitor, ""))
        users, now_us = self._parts.directory.users, self._parts.now_us()
        link = await run_in_threadpool(users.link, self._secret(request), now_us)
        if link is None:
            return self._visitor_page(request, "spent.html", status=404)
        name, password = str(form.get("name", "")), str(form.get("password", ""))
        try:
            hashed = None if link.kind == "enter" else await run_in_threadpool(self._parts.passwords.hash, password)
            user = await run_in_threadpool(
                users.use_link, self._secret(request), now_us, password_hash=hashed, name=name, by="login link"
            )
        except FareboxError as error:
            return await self._link_form(request, why=str(error), name=name)
        if user is None:
            return self._visitor_page(request, "spent.html", status=404)
        return await self._logged_in(request, user, "/")

    async def _logged_in(self, request: Request, user: UserRow, goes_to: str) -> Response:
        """A fresh session, whatever cookie came along; the page to go on to."""
        valid_s = int(self._parts.settings.dashboard.session_days * 86_400)
        _, secret = await run_in_threadpool(
            self._parts.directory.sessions.begin,
            user,
            valid_s,
            request.headers.get("user-agent", ""),
            address_of(request),
            f"{user.id} {user.name}",
        )
        response = RedirectResponse(goes_to, 303)
        self.cookies.set(response, self.cookies.session, secret, valid_s)
        self.cookies.clear(response, self.cookies.visitor)
        return response

    async def _logout(self, request: Request) -> Response:
        viewer = await self.viewer(request)
        if viewer is not None:
            form = await request.form(max_files=0, max_fields=10)
            self.check_form(request, form, viewer.secret)
            by = f"{viewer.user.id} {viewer.user.name}"
            await run_in_threadpool(self._parts.directory.sessions.end, viewer.session.id, by)
        response = RedirectResponse("/login", 303)
        self.cookies.clear(response, self.cookies.session)
        response.headers["clear-site-data"] = '"cache"'
        return response

    async def _theme(self, request: Request) -> Response:
        form = await request.form(max_files=0, max_fields=10)
        viewer = await self.viewer(request)
        self.check_form(request, form, viewer.secret if viewer else request.cookies.get(self.cookies.visitor, ""))
        response = RedirectResponse(own_path(str(form.get("next", "/"))), 303)
        self.cookies.set_theme(response, str(form.get("theme", "")))
        return response

    async def _oidc_start(self, request: Request) -> Response:
        if self._oidc is None:
            raise HTTPException(404)
        binding = new_visitor()
        try:
            url = await self._oidc.begin(binding, self._callback(request), own_path(request.query_params.get("next")))
        except OidcRefused as error:
            return await self._login_form(request, why=str(error), status=503)
        response = RedirectResponse(url, 303)
        self.cookies.set(response, self.cookies.oidc, binding, 600)
        return response

    async def _oidc_back(self, request: Request) -> Response:
        if self._oidc is None:
            raise HTTPException(404)
        try:
            person, goes_to = await self._oidc.finish(request.cookies.get(self.cookies.oidc, ""), request.query_params)
        except OidcRefused as error:
            return await self._login_form(request, why=str(error), status=403)
        user = await run_in_threadpool(
            self._parts.directory.users.known_by_provider, person.email, person.role, by="oidc"
        )
        response = await self._logged_in(request, user, goes_to)
        self.cookies.clear(response, self.cookies.oidc)
        return response

    def _callback(self, request: Request) -> str:
        said = self._parts.settings.alerts.dashboard_url.rstrip("/")
        scheme = "https" if self._parts.is_secure else "http"
        return f"{said or scheme + '://' + request.headers.get('host', 'localhost')}/login/oidc/callback"

    def _secret(self, request: Request) -> str:
        secret = str(request.path_params["secret"])
        return secret if secret.startswith(LINK_PREFIX) and len(secret) <= SECRET_CHARS_MAX else ""

    def _visitor_page(self, request: Request, template: str, *, status: int = 200, **context: object) -> Response:
        """A page whose form hangs on the visitor's cookie."""
        visitor = request.cookies.get(self.cookies.visitor, "")
        is_new = not visitor or len(visitor) > SECRET_CHARS_MAX
        visitor = new_visitor() if is_new else visitor
        theme = self.cookies.theme_of(request)
        response = self._renderer.bare(template, status=status, theme=theme, token=form_token(visitor), **context)
        if is_new:
            self.cookies.set(response, self.cookies.visitor, visitor, VISITOR_S)
        return response


def address_of(request: Request) -> str:
    """Who to count failures for: the peer's address; behind the gateway, what the gateway says it is."""
    if request.client is not None and request.client.host:
        return request.client.host
    return request.headers.get("x-forwarded-for", "").split(",")[-1].strip()[:64]


def _span(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 90 else f"{-(-seconds // 60)} minutes"
