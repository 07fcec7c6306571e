"""Webhooks: a signed JSON message to an address of the operator's own.

Headers: `x-farebox-delivery` (the same id on every try), `x-farebox-event` (the kind of alert), and
`x-farebox-signature: t=UNIX,v1=HEX`, where HEX is HMAC-SHA-256 over `UNIX.BODY` under the channel's secret. 2xx is
taken; 410 means that no more are wanted. Redirects are not followed. The connection goes to the very address that was
judged, so that a name cannot mean another one a moment later.
"""

import hmac
import logging
from collections.abc import Sequence
from typing import Final

import httpx
import msgspec

from farebox import __version__
from farebox.alerts.addresses import allowed_addresses
from farebox.alerts.outbox import Delivery
from farebox.alerts.targets import Context, Target
from farebox.core.events import iso_us
from farebox.core.origins import Address
from farebox.errors import DeliveryFailed

TIMEOUT_S: Final = 10.0
GONE: Final = 410
for _chatty in ("httpx", "httpcore"):  # their lines hold whole addresses, and those are secrets
    logging.getLogger(_chatty).setLevel(logging.WARNING)


class Webhooks:
    kind = "webhook"
    timeout_s = TIMEOUT_S

    def send(self, target: Target, delivery: Delivery, context: Context) -> None:
        body = payload(delivery, context)
        url = httpx.URL(target.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = allowed_addresses(url.host, port, allow_private=target.allow_private)
        headers = {
            "host": url.netloc.decode(),
            "content-type": "application/json",
            "user-agent": f"farebox/{__version__}",
            "x-farebox-delivery": delivery.id,
            "x-farebox-event": delivery.alert.kind,
            "x-farebox-signature": signature(target.secret, context.now_us // 1_000_000, body),
        }
        try:
            with httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False, headers=headers) as client:
                _judge(_posted(client, url, addresses, body))
        except httpx.HTTPError as error:
            raise DeliveryFailed(f"no answer from the webhook ({_what(error)})") from None


def _posted(client: httpx.Client, url: httpx.URL, addresses: Sequence[Address], body: bytes) -> int:
    """The status of the first of the host's addresses that can be reached. The answer's body is not read."""
    *others, last = addresses
    extensions = {"sni_hostname": url.host}
    for address in others:
        try:
            with client.stream("POST", url.copy_with(host=str(address)), content=body, extensions=extensions) as answer:
                return answer.status_code
        except httpx.ConnectError:
            continue
    with client.stream("POST", url.copy_with(host=str(last)), content=body, extensions=extensions) as answer:
        return answer.status_code


def payload(delivery: Delivery, context: Context) -> bytes:
    """What is posted: the same for every try of a delivery."""
    alert = delivery.alert
    message = alert.message
    return msgspec.json.encode(
        {
            "id": alert.id,
            "delivery": delivery.id,
            "kind": alert.kind,
            "level": message.level,
            "rule": alert.rule,
            "subject": alert.subject,
            "threshold": alert.threshold,
            "window_start": iso_us(alert.window_start_us),
            "at": iso_us(alert.at_us),
            "title": message.title,
            "text": message.text,
            "link": context.link(message.path),
            "facts": alert.facts,
        }
    )


def signature(secret: str, at_s: int, body: bytes) -> str:
    digest = hmac.digest(secret.encode(), f"{at_s}.".encode() + body, "sha256").hex()
    return f"t={at_s},v1={digest}"


def _judge(status: int) -> None:
    if 200 <= status < 300:
        return
    if status == GONE:
        raise DeliveryFailed("the webhook answered 410: it wants no more messages", is_gone=True)
    hint = ": redirects are not followed, give the address itself" if 300 <= status < 400 else ""
    raise DeliveryFailed(f"the webhook answered {status}{hint}")


def _what(error: httpx.HTTPError) -> str:
    """The error in words that cannot hold the address."""
    if isinstance(error, httpx.TimeoutException):
        return f"none within {TIMEOUT_S:g} s"
    text = str(error)
    return "its certificate is not valid" if "CERTIFICATE_VERIFY_FAILED" in text else type(error).__name__
