"""AWS Signature Version 4, for JSON services: a request's headers, from its parts, a credential and a moment.

After https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html: the path is encoded
once more than it stands on the wire (all services but S3), the query is signed as sent, sorted.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote

import msgspec

ALGORITHM: Final = "AWS4-HMAC-SHA256"
_ACCESS_KEY: Final = re.compile(r"[A-Za-z0-9_]{16,128}")
_CALLERS_KEY: Final = re.compile(rb"Credential=([^/,\s]+)")


class AwsCredential(msgspec.Struct, frozen=True):
    access_key: str
    secret_key: str
    session_token: str = ""


def credential(text: str) -> AwsCredential | None:
    """'ACCESS_KEY:SECRET_KEY[:SESSION_TOKEN]' as a credential; None for text that is none, such as an API key."""
    access_key, colon, rest = text.partition(":")
    secret_key, _, session_token = rest.partition(":")
    if not colon or not secret_key or not _ACCESS_KEY.fullmatch(access_key):
        return None
    return AwsCredential(access_key, secret_key, session_token)


def signer_of(authorization: bytes) -> bytes | None:
    """The access key that an `Authorization` header was signed with; None where it is no signature of this kind."""
    if not authorization.startswith(ALGORITHM.encode() + b" "):
        return None
    found = _CALLERS_KEY.search(authorization)
    return found[1] if found else b""


def signature(
    who: AwsCredential,
    region: str,
    service: str,
    *,
    method: str,
    path: str,
    query: str,
    host: str,
    body: bytes,
    at_us: int,
    headers: Mapping[str, str] | None = None,
) -> tuple[tuple[str, str], ...]:
    """The header lines that sign a request: `x-amz-date`, `x-amz-security-token` where there is a session, and
    `authorization`. `path` and `query` (without '?') as they stand on the request line; `headers` are further ones to
    be signed, by lower-case name; `at_us` microseconds since 1970."""
    stamp = datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": stamp}
    if who.session_token:
        added["x-amz-security-token"] = who.session_token
    signed = {"host": host, **(headers or {}), **added}
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{' '.join(signed[name].split())}\n" for name in sorted(signed))
    request = "\n".join(
        (method, canonical_path(path), canonical_query(query), lines, names, hashlib.sha256(body).hexdigest())
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = _signing_key(who.secret_key, stamp[:8], region, service)
    proof = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    value = f"{ALGORITHM} Credential={who.access_key}/{scope}, SignedHeaders={names}, Signature={proof}"
    return (*added.items(), ("authorization", value))


def canonical_path(path: str) -> str:
    """The path without empty and dot segments, each character encoded once more.

    >>> canonical_path("/model/amazon.nova-micro-v1%3A0/converse")
    '/model/amazon.nova-micro-v1%253A0/converse'
    """
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    end = "/" if path.endswith("/") and kept else ""
    return quote(("/" + "/".join(kept) + end).encode("latin-1"), safe="/~")


def canonical_query(query: str) -> str:
    """The pairs of a query as they were sent, in order of their names and values; a name alone gets its '='."""
    if not query:
        return ""
    pairs = sorted((name, value) for name, _, value in (pair.partition("=") for pair in query.split("&")))
    return "&".join(f"{name}={value}" for name, value in pairs)


@lru_cache(maxsize=64)
def _signing_key(secret_key: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
