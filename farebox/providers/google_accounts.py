"""Google service accounts: what a key file says, what is signed with it, and what the token server answers.

Source: Google's "Using OAuth 2.0 for Server to Server Applications": a JWT (RS256) with iss, scope, aud, iat and exp
of at most an hour, exchanged at `token_uri` for an access token. Signing and sending are the gateway's.
"""

from base64 import urlsafe_b64encode
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from farebox.core.origins import checked_base_url
from farebox.errors import DirectoryError, SettingsError

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFE_S: Final = 3600
TOKEN_CHARS_MAX: Final = 8192
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class ServiceAccount(msgspec.Struct, frozen=True):
    """The members of a key file (`"type": "service_account"`) that count. `token_uri_trusted` is ours: true lets its
    owner name a token server that is not Google's."""

    client_email: str
    private_key: str
    token_uri: str = "https://oauth2.googleapis.com/token"  # noqa: S105 (an address)
    private_key_id: str = ""
    project_id: str = ""
    type: str = ""
    token_uri_trusted: bool = False

    def __repr__(self) -> str:
        return f"ServiceAccount({self.client_email!r})"


class Granted(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float = LIFE_S

    def __repr__(self) -> str:
        return f"Granted(expires_in={self.expires_in:g})"


class _Refused(msgspec.Struct, frozen=True):
    error: str = ""
    error_description: str = ""


def looks_like_key_file(credential: str) -> bool:
    """Whether a credential is Google's JSON, no key or token: then `service_account` reads it, or it is wrong."""
    return credential.lstrip().startswith("{") and ('"type"' in credential or '"private_key"' in credential)


def one_line(credential: str) -> str:
    """A key file on one line, as it is stored; any other credential as it is.

    Raises DirectoryError for JSON that is no service account's key file."""
    if not looks_like_key_file(credential):
        return credential
    service_account(credential)
    return msgspec.json.encode(msgspec.json.decode(credential)).decode()


def service_account(credential: str) -> ServiceAccount:
    """The account of a key file. Raises DirectoryError, whose text holds nothing secret."""
    try:
        account = msgspec.json.decode(credential, type=ServiceAccount)
    except msgspec.MsgspecError:
        raise DirectoryError(
            "this JSON is no service account's key file: one has type, client_email and private_key"
        ) from None
    if account.type != "service_account":
        raise DirectoryError(
            f"a credential of type {account.type[:40]!r} cannot be used: give a service account's key file"
        )
    _check_token_uri(account)
    return account


def _check_token_uri(account: ServiceAccount) -> None:
    """Assertions go to Google over TLS, or to where the key file's owner explicitly says."""
    try:
        checked_base_url(account.token_uri)
    except SettingsError as problem:
        raise DirectoryError(f"the key file's token_uri: {problem}") from None
    parts = urlsplit(account.token_uri)
    host = parts.hostname or ""
    is_google = host in ("accounts.google.com", "googleapis.com") or host.endswith(".googleapis.com")
    is_private = parts.scheme == "https" or host in _LOOPBACK
    if not (parts.scheme == "https" and is_google) and not (account.token_uri_trusted and is_private):
        raise DirectoryError(
            f"the key file's token_uri is {host or 'empty'}, not an https address of Google's: correct it, or add "
            '"token_uri_trusted": true to the file if it is yours'
        )


def unsigned(account: ServiceAccount, now_s: int) -> bytes:
    """The JWT that asks for a token, without its signature (RS256 over exactly these bytes)."""
    header = {"alg": "RS256", "typ": "JWT"} | ({"kid": account.private_key_id} if account.private_key_id else {})
    claims = {
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": now_s,
        "exp": now_s + LIFE_S,
    }
    return b".".join(_base64(msgspec.json.encode(part)) for part in (header, claims))


def request_body(jwt: bytes, signature: bytes) -> bytes:
    """The form that is posted to the token server."""
    assertion = (jwt + b"." + _base64(signature)).decode()
    return urlencode({"grant_type": GRANT, "assertion": assertion}).encode()


def granted(body: bytes) -> Granted | None:
    """The token of an answer with status 200; None where it holds none that could be sent."""
    try:
        found = msgspec.json.decode(body, type=Granted, strict=False)
    except msgspec.MsgspecError:
        return None
    token = found.access_token
    is_token = 0 < len(token) <= TOKEN_CHARS_MAX and token.isascii() and token.isprintable() and " " not in token
    return found if is_token and found.expires_in > 0 else None


def refusal(body: bytes) -> str:
    """Why the token server refused, in its own words, bounded and on one line."""
    try:
        said = msgspec.json.decode(body, type=_Refused)
    except msgspec.MsgspecError:
        return ""
    text = ": ".join(part for part in (said.error, said.error_description) if part)
    return "".join(char if char.isprintable() else " " for char in text[:200])


def _base64(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")
