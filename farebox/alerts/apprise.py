"""Slack, Teams, e-mail and the other services that people are told by, through Apprise.

Apprise is loaded when the first message is sent or the first address is checked: it takes most of a second.
"""

import logging
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from farebox.alerts.addresses import allowed_addresses
from farebox.alerts.outbox import Delivery, Document
from farebox.alerts.targets import Context, Target
from farebox.core.channel_urls import SCHEMES, check_apprise_url, hosts_of
from farebox.errors import DeliveryFailed, InvalidAlert

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apprise import AppriseAttachment, NotifyBase

TIMEOUT_S: Final = 60.0
"""E-mail takes several exchanges with its server."""
SECRET_CHARS_MIN: Final = 4
"""Parts of an address from this length on are taken out of errors."""
MAIL: Final = frozenset({"mailto", "mailtos"})
_LINKED: Final = re.compile(r"@(?=everyone|here|channel|all\b|room\b)|<(?=[@!#])|\](?=\()")
_SEPARATORS: Final = str.maketrans(dict.fromkeys("/:@?&=,#+", " "))
_RECIPIENTS: Final = frozenset({"to", "cc", "bcc"})
_LEVELS: Final = {"info": "info", "warning": "warning", "critical": "failure"}
for _chatty in ("requests", "urllib3"):  # their lines hold whole addresses, and those are secrets
    logging.getLogger(_chatty).setLevel(logging.WARNING)
_own_log = logging.getLogger("farebox.alerts")
_log = logging.getLogger("apprise")
_log.propagate = False


class Apprise:
    kind = "apprise"
    timeout_s = TIMEOUT_S

    def send(self, target: Target, delivery: Delivery, context: Context) -> None:
        url = target.url if target.to != "owner" else to_owner(target.url, delivery, context)
        for host in hosts_of(url):
            allowed_addresses(host, 0, allow_private=True)  # one's own chat or mail server may well be near
        with _heard() as lines:
            try:
                taken = _notify(url, delivery, context)
            except InvalidAlert as error:
                raise DeliveryFailed(str(error), is_final=True) from None
            except Exception as error:  # noqa: BLE001 - a plugin's defect is a failed attempt; its text may hold secrets
                raise DeliveryFailed(f"the service could not be used ({type(error).__name__})") from None
        if not taken:
            why = without_secrets("; ".join(lines[-3:]), url)
            raise DeliveryFailed(f"the service did not take it{f': {why}' if why else ''}")


def _notify(url: str, delivery: Delivery, context: Context) -> bool:
    message, document = delivery.alert.message, delivery.document
    level = _LEVELS[message.level]
    if document is not None and url.partition(":")[0] in MAIL:
        service = understood(f"{url}{'&' if '?' in url else '?'}inline=yes")
        attach = _attached(document) if document.pictures else None
        return bool(
            service.notify(
                body=document.html, title=message.title, notify_type=level, body_format="html", attach=attach
            )
        )
    service = understood(url)
    if document is not None:
        from apprise import OverflowMode

        service.overflow_mode = OverflowMode.SPLIT  # a report is longer than some services take at once
    body, title = unlinked(f"{message.text}\n") + context.link(message.path), unlinked(message.title)
    taken = bool(service.notify(body=body, title=title, notify_type=level, body_format="text"))
    if taken and document is not None and document.pictures and _takes_files(service):
        _show(service, document)
    return taken


def _show(service: "NotifyBase", document: Document) -> None:
    """Send the pictures behind the text. That they are not taken, as where a bot may not upload, is no failed delivery:
    the text would be sent again and again."""
    try:
        shown = service.notify(body="", attach=_attached(document))
    except Exception:  # noqa: BLE001 - a plugin's defect; its text may hold secrets
        shown = False
    if not shown:
        _own_log.warning("%s took a report's text and not its pictures", type(service).__name__)


def _attached(document: Document) -> "AppriseAttachment":
    from apprise import AppriseAttachment
    from apprise.attachment.memory import AttachMemory

    attached = AppriseAttachment()
    for name, picture in document.pictures.items():
        attached.add(AttachMemory(content=picture, name=name, mimetype="image/png"))  # type: ignore[no-untyped-call]
    return attached


def _takes_files(service: "NotifyBase") -> bool:
    """Slack's incoming webhooks take text only; its bots take files."""
    return bool(service.attachment_support) and getattr(service, "mode", None) != "hook"


def unlinked(text: str) -> str:
    """Text in which no name of a stranger's calls people or is a link, whatever markup a chat understands. Escaping
    proper is Apprise's, by service."""
    return _LINKED.sub(lambda found: f"{found[0]}\u200b", text)


def understood(url: str) -> "NotifyBase":
    """The service behind an address. Raises InvalidAlert, without repeating the address."""
    from apprise import Apprise as Library
    from apprise import AppriseAsset

    check_apprise_url(url)
    asset = AppriseAsset(
        app_id="Farebox", app_desc="Farebox", app_url="", async_mode=False, http_redirects=False, storage_mode="memory"
    )
    service = Library.instantiate(url, asset=asset)
    if service is None:
        raise InvalidAlert(
            f"this {url.partition('://')[0]}:// address is incomplete: appriseit.com/services shows how it is put "
            "together"
        )
    schemes = {str(name) for attribute in ("protocol", "secure_protocol") for name in _texts(service, attribute)}
    if not schemes & SCHEMES:
        raise InvalidAlert(f"a channel cannot be {type(service).__name__}; there are {', '.join(sorted(SCHEMES))}")
    return service


def without_secrets(text: str, url: str) -> str:
    """What a service said, without any part of the address that it was asked at."""
    rest = url.partition("://")[2]
    for part in sorted(rest.translate(_SEPARATORS).split(), key=len, reverse=True):
        if len(part) >= SECRET_CHARS_MIN:
            text = text.replace(part, "…")
    return " ".join(text.split())[:300]


def to_owner(url: str, delivery: Delivery, context: Context) -> str:
    """The mail channel's address with the customer's owner as its one recipient. Raises DeliveryFailed for good where
    the customer has none."""
    address = context.owner_of(delivery.alert.facts)
    if not address:
        raise DeliveryFailed(_no_owner(delivery), is_final=True)
    scheme, host, _path, query, _fragment = urlsplit(url)
    kept = [(name, value) for name, value in parse_qsl(query) if name.lower() not in _RECIPIENTS]
    return urlunsplit((scheme, host, "/", urlencode([*kept, ("to", address)]), ""))


def _no_owner(delivery: Delivery) -> str:
    return (
        f"there is no owner's e-mail address for {delivery.alert.facts.get('subject', 'this alert')}: give its "
        "customer one with `farebox customers set TENANT --owner-email …`"
    )


def _texts(service: "NotifyBase", attribute: str) -> tuple[object, ...]:
    value = getattr(service, attribute, None)
    return value if isinstance(value, tuple) else (value,)


@contextmanager
def _heard() -> "Iterator[list[str]]":
    """Warnings and errors that Apprise tells in this thread: it answers no more than whether it worked."""
    lines: list[str] = []
    thread = threading.get_ident()

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == thread:
                lines.append(record.getMessage())

    ear = Ear(logging.WARNING)
    _log.addHandler(ear)
    try:
        yield lines
    finally:
        _log.removeHandler(ear)
