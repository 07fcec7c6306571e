"""Where alerts may be sent: which addresses a channel can have, and what is shown of one.

Apprise knows schemes that write files, run programs or post anything anywhere. Only services that people are told by
are let through here; whatever else can take JSON is a webhook of ours, which is signed.
"""

from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from farebox.core.origins import is_metadata_name, is_public_address
from farebox.errors import InvalidAlert

SCHEMES: Final = frozenset(
    {
        "discord", "gchat", "gotify", "gotifys", "mailto", "mailtos", "matrix", "matrixs", "mmost", "mmosts", "ntfy",
        "ntfys", "opsgenie", "pagerduty", "rocket", "rockets", "slack", "tgram", "webex", "workflow", "workflows",
        "wxteams",
    }
)  # fmt: skip
"""Apprise's schemes that are let through. Microsoft Teams is `workflows://`: its connectors are gone."""
RENAMED: Final = {
    "msteams": "workflows", "teams": "workflows", "telegram": "tgram", "googlechat": "gchat", "mattermost": "mmosts",
    "rocketchat": "rockets", "smtp": "mailto", "smtps": "mailtos", "email": "mailtos",
}  # fmt: skip
"""Names that people try, and what Apprise calls it."""
ON_HOSTS_OF_THEIR_OWN: Final = frozenset(
    {"gotify", "gotifys", "mailto", "mailtos", "matrix", "matrixs", "mmost", "mmosts", "ntfy", "ntfys", "rocket",
     "rockets", "workflow", "workflows"}
)  # fmt: skip
"""Schemes whose host is an address to connect to; in the others it is part of a secret."""
NATIVE_HOSTS: Final = ("hooks.slack.com", "discord.com", "discordapp.com", "chat.googleapis.com")
NATIVE_SUFFIXES: Final = (".webhook.office.com", ".logic.azure.com", ".powerplatform.com")
"""Services whose own https addresses Apprise reads as they are."""
REFUSED_PARAMETERS: Final = frozenset(
    {"attach", "filename", "pgp", "pgpprv", "pgppub", "redirect", "schema", "template", "url", "wkd"}
)
"""Parameters by which Apprise would read files of this machine, look elsewhere, or follow redirects."""
URL_CHARS_MAX: Final = 4096


def check_apprise_url(url: str) -> str:
    """The URL itself. Raises InvalidAlert, without repeating it: it is a secret."""
    scheme, host = _scheme_and_host(url)
    if scheme == "https" and (host in NATIVE_HOSTS or host.endswith(NATIVE_SUFFIXES)):
        pass
    elif scheme not in SCHEMES:
        instead = f": write {RENAMED[scheme]}://" if scheme in RENAMED else ""
        other = " (for an address of your own, make a channel of kind webhook)" if scheme.startswith("http") else ""
        raise InvalidAlert(
            f"a channel cannot be {scheme[:40]!r}{instead}{other}; there are {', '.join(sorted(SCHEMES))}"
        )
    query = parse_qsl(url.partition("?")[2], keep_blank_values=True)
    for name, value in query:
        if name.lower().lstrip(":+-") in REFUSED_PARAMETERS:
            raise InvalidAlert(f"a channel's address cannot have the parameter {name.lower()!r}")
        if name.lower() == "smtp" and is_metadata_name(value):
            raise InvalidAlert("a channel cannot be a link-local or cloud metadata address")
    if scheme in ON_HOSTS_OF_THEIR_OWN and is_metadata_name(host):
        raise InvalidAlert("a channel cannot be a link-local or cloud metadata address")
    return url


def check_webhook_url(url: str, *, allow_private: bool) -> str:
    """The URL itself: https, or with `allow_private` also http and addresses of private networks. Names are looked
    up and judged when something is sent. Raises InvalidAlert."""
    scheme, host = _scheme_and_host(url)
    if scheme != "https" and not (scheme == "http" and allow_private):
        raise InvalidAlert(
            "a webhook's address begins with https://; http:// is for private networks, where that is allowed "
            "(--allow-private)"
        )
    if not host or "@" in urlsplit(url).netloc or "#" in url:
        raise InvalidAlert("a webhook's address is https://HOST/PATH, without a user and without '#'")
    if is_metadata_name(host):
        raise InvalidAlert("a webhook cannot be a link-local or cloud metadata address: it is never called")
    try:
        address = ip_address(host)
    except ValueError:
        return url
    if not is_public_address(address) and not allow_private:
        raise InvalidAlert("a webhook's address is in a private network: allow that with --allow-private")
    return url


def hosts_of(url: str) -> list[str]:
    """The hosts that Apprise would connect to as the URL names them; none for services at fixed addresses."""
    scheme, host = _scheme_and_host(url)
    if scheme not in ON_HOSTS_OF_THEIR_OWN:
        return []
    named = [value for name, value in parse_qsl(url.partition("?")[2]) if name.lower() == "smtp"]
    return [name for name in (host, *named) if name]


def url_hint(url: str, kind: str) -> str:
    """Enough to tell one channel from another, too little to use: a webhook's host, else the scheme and, of a long
    URL, its last four characters."""
    scheme, host = _scheme_and_host(url)
    if kind == "webhook":
        return f"{scheme}://{host}/…"
    return f"{scheme}://…{url[-4:]}" if len(url) >= 32 and "?" not in url else f"{scheme}://…"


def _scheme_and_host(url: str) -> tuple[str, str]:
    if not 1 <= len(url) <= URL_CHARS_MAX or not url.isprintable() or " " in url or "\\" in url:
        raise InvalidAlert(f"a channel's address has 1 to {URL_CHARS_MAX:,} printable characters, and no spaces")
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise InvalidAlert("a channel's address begins with a scheme, such as slack:// or https://")
    try:
        parts = urlsplit(url)
        _ = parts.port if scheme in ("http", "https") else None
        host = parts.hostname or ""
    except ValueError:
        raise InvalidAlert("a channel's address cannot be read: check brackets and port") from None
    return scheme.lower(), host.lower()
