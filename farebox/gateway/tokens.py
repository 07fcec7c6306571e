"""Access tokens for credentials that are service accounts: minted off the loop, one at a time, ahead of expiry.

A token is asked for when the first call needs one and kept warm while calls come. While there is a warm token no call
waits, whatever the token server does. What is signed, sent and answered is never logged.
"""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from typing import Final

from farebox.errors import CallRefused, DirectoryError, NoCredential, TokenUnavailable
from farebox.providers import google_accounts
from farebox.providers.google_accounts import Granted, ServiceAccount

TIMEOUT_S: Final = 10.0
AHEAD_S: Final = 300.0
"""A token is renewed this long before it ends, or in the last quarter of a short life."""
SLACK_S: Final = 10.0
"""A token that ends within this, or within a tenth of a short life, is not sent any more."""
BACKOFF_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
REFUSED_S: Final = 10.0
"""A token that is younger is kept though it was refused: the refused one was its predecessor, or no token helps."""
ANSWER_BYTES_MAX: Final = 65_536

Mint = Callable[[ServiceAccount], Granted]
"""Blocking; called in a thread. Raises NoCredential where the account is refused, TokenUnavailable otherwise."""
Waiter = Callable[[CallRefused | None], None]


class TokenSource:
    """The access token of one service account. Used by the event loop's thread only, but for `mint`."""

    def __init__(self, credential: str, mint: Mint, clock: Callable[[], float] = time.monotonic) -> None:
        self._mint = mint
        self._clock = clock
        self._account: ServiceAccount | None = None
        self._problem: CallRefused | None = None
        """Why the last attempt failed; None once one succeeds."""
        try:
            self._account = google_accounts.service_account(credential)
        except DirectoryError as wrong:
            self._problem = NoCredential(str(wrong))
        self._token = b""
        self._stale_at = -1.0
        self._taken_at = 0.0
        self._renew_at = 0.0
        """From when on the next attempt may begin: ahead of the token's end, or after a back-off."""
        self._failures = 0
        self._minting: asyncio.Task[None] | None = None
        self._waiting: list[Waiter] = []

    def is_warm(self) -> bool:
        """Whether a call can be sent at once. Asking renews a token that is about to end, in the background."""
        now = self._clock()
        if now >= self._stale_at:
            return False
        if now >= self._renew_at:
            self._begin()
        return True

    @property
    def line(self) -> bytes:
        """The header line that carries the token."""
        return b"authorization: Bearer " + self._token + b"\r\n"

    def wait(self, waiter: Waiter) -> None:
        """Call `waiter` on the loop once there is a token (with None) or the attempt has failed (with the refusal).
        During a back-off it gets the last refusal at once."""
        is_backing_off = self._minting is None and self._clock() < self._renew_at and self._problem is not None
        if self._account is None or is_backing_off:
            asyncio.get_running_loop().call_soon(waiter, self._problem)
            return
        self._waiting.append(waiter)
        self._begin()

    def refused(self) -> None:
        """The provider answered 401 to a token of ours, which may have been revoked: a call that comes next waits for
        a new one."""
        if self._clock() - self._taken_at >= REFUSED_S:
            self._stale_at = -1.0
            self._renew_at = 0.0

    def close(self) -> None:
        """Ask for no further tokens; whoever waits is told."""
        if self._minting is not None:
            self._minting.cancel()

    def _begin(self) -> None:
        if self._minting is None and self._account is not None:
            self._minting = asyncio.get_running_loop().create_task(self._renew(self._account))

    async def _renew(self, account: ServiceAccount) -> None:
        problem: CallRefused | None = TokenUnavailable(f"{account.client_email} is in use no longer: try again")
        try:
            self._take(await asyncio.to_thread(self._mint, account))
            problem = None
        except CallRefused as refused:
            problem = refused
        except Exception as defect:  # noqa: BLE001 - an outermost loop: calls that wait must learn of it
            problem = TokenUnavailable(f"no access token could be made for {account.client_email}: {_kind(defect)}")
        finally:
            self._minting = None
            self._problem = problem
            if problem is not None:
                self._renew_at = self._clock() + BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
                self._failures += 1
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter(problem)

    def _take(self, granted: Granted) -> None:
        now, life_s = self._clock(), granted.expires_in
        self._token = granted.access_token.encode("ascii")
        self._taken_at = now
        self._stale_at = now + life_s - min(SLACK_S, life_s / 10)
        self._renew_at = now + max(life_s - AHEAD_S, life_s * 0.75)
        self._failures = 0


def minter(ca_file: str | None) -> Mint:
    """Mints over HTTP, through the environment's proxy, trusting `ca_file` in place of the system's certificates."""

    def mint(account: ServiceAccount) -> Granted:
        return minted(account, ca_file, int(time.time()))

    return mint


def minted(account: ServiceAccount, ca_file: str | None, now_s: int) -> Granted:
    """A fresh token. Blocking. Raises NoCredential, TokenUnavailable."""
    import httpx  # only installations with service accounts pay for it

    jwt = google_accounts.unsigned(account, now_s)
    form = google_accounts.request_body(jwt, _signature(account, jwt))
    verify: ssl.SSLContext | bool = ssl.create_default_context(cafile=ca_file) if ca_file else True
    try:
        with httpx.Client(verify=verify, timeout=TIMEOUT_S, follow_redirects=False) as http:
            answer = http.post(
                account.token_uri, content=form, headers={"content-type": "application/x-www-form-urlencoded"}
            )
    except (httpx.HTTPError, OSError) as error:
        raise TokenUnavailable(f"no token server for {account.client_email} can be reached: {_kind(error)}") from None
    body = answer.content[:ANSWER_BYTES_MAX]
    if answer.status_code in (400, 401, 403):
        said = google_accounts.refusal(body) or f"status {answer.status_code}"
        raise NoCredential(f"Google refused the service account {account.client_email}: {said}: check key and clock")
    granted = google_accounts.granted(body) if answer.status_code == 200 else None
    if granted is None:
        raise TokenUnavailable(f"the token server of {account.client_email} answered {answer.status_code} and no token")
    return granted


def _signature(account: ServiceAccount, jwt: bytes) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = None
    with contextlib.suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = serialization.load_pem_private_key(account.private_key.encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise NoCredential(f"the private_key of {account.client_email} is no RSA key in PEM: store the key file again")
    return key.sign(jwt, padding.PKCS1v15(), hashes.SHA256())


def _kind(error: BaseException) -> str:
    """An error's name and no data of its: messages can hold addresses with secrets."""
    return type(error).__name__
