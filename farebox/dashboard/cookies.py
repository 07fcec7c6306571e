"""The dashboard's cookies, and the token that each form carries against forged ones."""

import hashlib
import hmac
import secrets
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

FORM_FIELD: Final = "form_token"
THEMES: Final = ("auto", "light", "dark")
_A_YEAR_S: Final = 366 * 86_400


class Cookies:
    """Named `__Host-…` and sent by https alone where browsers come by https."""

    def __init__(self, *, is_secure: bool) -> None:
        self._is_secure = is_secure
        prefix = "__Host-" if is_secure else ""
        self.session: Final = f"{prefix}farebox"
        self.visitor: Final = f"{prefix}farebox-visitor"
        """A random value for those who are not logged in: their forms hang on it."""
        self.oidc: Final = f"{prefix}farebox-oidc"
        self.access: Final = f"{prefix}farebox-access"
        """What a purchase is redeemed for."""
        self.theme: Final = f"{prefix}farebox-theme"

    def set(self, response: Response, name: str, value: str, max_age_s: int) -> None:
        response.set_cookie(
            name, value, max_age=max_age_s, path="/", secure=self._is_secure, httponly=True, samesite="lax"
        )

    def clear(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._is_secure, httponly=True, samesite="lax")

    def theme_of(self, request: Request) -> str:
        said = request.cookies.get(self.theme, "")
        return said if said in THEMES else "auto"

    def set_theme(self, response: Response, theme: str) -> None:
        self.set(response, self.theme, theme if theme in THEMES else "auto", _A_YEAR_S)


def new_visitor() -> str:
    return secrets.token_urlsafe(32)


def form_token(secret: str) -> str:
    """What the forms of a session, or of a visitor, carry. Says nothing of the secret."""
    return hmac.digest(secret.encode(), b"farebox form", hashlib.sha256).hex()


def is_own_form(request: Request, sent: object, secret: str) -> bool:
    """Whether a form was sent from a page of ours: by its token, and by what the browser says of its origin. Without a
    secret there is no such page: the token of none is known to all."""
    if not secret:
        return False
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        return False
    return isinstance(sent, str) and hmac.compare_digest(sent.encode(), form_token(secret).encode())


def own_path(text: str | None) -> str:
    """A path on this server to go on to; '/' for anything that leads elsewhere."""
    path = text or "/"
    is_ours = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if is_ours and not urlsplit(path).netloc else "/"
