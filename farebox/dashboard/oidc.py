"""Logging in with an identity provider: the code flow of OpenID Connect with PKCE, state and nonce.

Authlib is loaded when somebody logs in: an installation without a provider does not pay for it.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx

from farebox.settings import Settings

SCOPE: Final = "openid email profile"
ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
"""Asymmetric ones alone: an id token signed with the client's own secret, or with nothing, is refused."""
TIMEOUT_S: Final = 10
PENDING_S: Final = 600
PENDING_MAX: Final = 1000
KNOWN_S: Final = 3600
LEEWAY_S: Final = 60


class OidcRefused(Exception):
    """One line for the person who tries to log in."""


@dataclass(frozen=True, slots=True)
class Person:
    email: str
    role: str


@dataclass(frozen=True, slots=True)
class _Pending:
    state: str
    nonce: str
    verifier: str
    callback: str
    goes_to: str
    until_s: float


class Oidc:
    """For one loop. What a login needs until it comes back is kept here, bound to the browser by a cookie."""

    def __init__(self, settings: Settings, now_us: Callable[[], int]) -> None:
        self._oidc = settings.oidc
        self._now_us = now_us
        self._pending: dict[str, _Pending] = {}
        self._known: tuple[float, dict[str, Any]] | None = None

    async def begin(self, binding: str, callback: str, goes_to: str) -> str:
        """Where to send the browser. Raises OidcRefused."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        known = await self._metadata()
        now_s = time.monotonic()
        self._pending = {name: one for name, one in self._pending.items() if one.until_s > now_s}
        while len(self._pending) >= PENDING_MAX:
            del self._pending[next(iter(self._pending))]
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        pending = _Pending(state, nonce, verifier, callback, goes_to, now_s + PENDING_S)
        self._pending[binding] = pending
        return str(
            prepare_grant_uri(
                known["authorization_endpoint"],
                self._oidc.client_id,
                "code",
                redirect_uri=callback,
                scope=SCOPE,
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    async def finish(self, binding: str, answer: Mapping[str, str]) -> tuple[Person, str]:
        """Whom the provider vouches for, and the page to go on to. Each login comes back once. Raises OidcRefused."""
        pending = self._pending.pop(binding, None)
        if pending is None or pending.until_s < time.monotonic():
            raise OidcRefused("This login took too long, or began in another browser: try again.")
        if not secrets.compare_digest(pending.state.encode(), answer.get("state", "").encode()):
            raise OidcRefused("This login was not begun here: try again.")
        if answer.get("error") or not answer.get("code"):
            raise OidcRefused("The identity provider did not let you in: try again, or ask who runs it.")
        claims = await self._claims(pending, answer["code"])
        return self._person(claims), pending.goes_to

    async def _claims(self, pending: _Pending, code: str) -> Mapping[str, Any]:
        from joserfc.errors import JoseError

        known = await self._metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": pending.callback,
            "code_verifier": pending.verifier,
            "client_id": self._oidc.client_id,
        }
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                token = await client.post(known["token_endpoint"], data=form, auth=self._credential())
                keys = await client.get(known["jwks_uri"])
            token.raise_for_status()
            keys.raise_for_status()
            return self._checked(token.json(), keys.json(), pending.nonce)
        except httpx.HTTPError as error:
            raise OidcRefused("The identity provider did not answer as it should: try again.") from error
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise OidcRefused(f"The identity provider's answer is not valid ({type(error).__name__}).") from error

    def _credential(self) -> httpx.Auth:
        """Encoded as RFC 6749, section 2.3.1 has it; nothing for a public client, which PKCE alone protects."""
        if not self._oidc.client_secret:
            return httpx.Auth()
        return httpx.BasicAuth(quote(self._oidc.client_id, safe=""), quote(self._oidc.client_secret, safe=""))

    def _checked(self, token: Mapping[str, Any], keys: Any, nonce: str) -> Mapping[str, Any]:
        """The claims of an id token whose signature, issuer, audience, times, nonce and access token fit."""
        from authlib.oidc.core import CodeIDToken
        from joserfc import jwt
        from joserfc.jwk import KeySet

        decoded = jwt.decode(token["id_token"], KeySet.import_key_set(keys), algorithms=ALGORITHMS)
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {
                "iss": {"essential": True, "values": [self._oidc.issuer, self._oidc.issuer.rstrip("/")]},
                "aud": {"essential": True, "values": [self._oidc.client_id]},
            },
            {"nonce": nonce, "client_id": self._oidc.client_id, "access_token": token.get("access_token")},
        )
        claims.validate(now=self._now_us() // 1_000_000, leeway=LEEWAY_S)
        found: Mapping[str, Any] = dict(claims)
        return found

    def _person(self, claims: Mapping[str, Any]) -> Person:
        email = str(claims.get("email") or "").strip().casefold()
        if not email or claims.get("email_verified") is False:
            raise OidcRefused("The identity provider names no verified e-mail address of yours.")
        role = role_of(email, self._oidc.admins, self._oidc.analysts)
        if role is None:
            raise OidcRefused(f"{email} may not log in here: an admin can add it to oidc.analysts or oidc.admins.")
        return Person(email, role)

    async def _metadata(self) -> dict[str, Any]:
        """What the provider says of itself, asked once an hour."""
        now_s = time.monotonic()
        if self._known is not None and self._known[0] > now_s:
            return self._known[1]
        url = self._oidc.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
                answer = await client.get(url)
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
            if str(found["issuer"]).rstrip("/") != self._oidc.issuer.rstrip("/"):
                raise OidcRefused("The identity provider calls itself by another address than oidc.issuer.")
            _ = found["authorization_endpoint"], found["token_endpoint"], found["jwks_uri"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise OidcRefused("The identity provider does not answer: log in with a password, or try later.") from error
        self._known = now_s + KNOWN_S, found
        return found


def role_of(email: str, admins: tuple[str, ...], analysts: tuple[str, ...]) -> str | None:
    """A name in full goes before a domain, and admin before analyst."""
    domain = "@" + email.rpartition("@")[2]
    for wanted in (email, domain):
        for role, entries in (("admin", admins), ("analyst", analysts)):
            if wanted in {entry.strip().casefold() for entry in entries}:
                return role
    return None
