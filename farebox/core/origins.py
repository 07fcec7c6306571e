"""Where a provider may live: an http(s) origin with an optional path prefix, and never a metadata service.

Whoever may set a base URL could otherwise point a stored credential, or the gateway itself, at the machine's own
cloud identity (`169.254.169.254` and its kin).
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from farebox.errors import SettingsError

Address = IPv4Address | IPv6Address

METADATA_NAMES: Final = (
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
    "instance-data.ec2.internal",
)
METADATA_NETWORKS: Final[tuple[IPv4Network | IPv6Network, ...]] = (
    IPv4Network("169.254.0.0/16"),  # link-local: AWS, Azure, GCP, Oracle, DigitalOcean
    IPv4Network("100.100.100.200/32"),  # Alibaba Cloud
    IPv4Network("168.63.129.16/32"),  # Azure's wire server
    IPv6Network("fe80::/10"),
    IPv6Network("fd00:ec2::/32"),  # AWS on IPv6
    IPv6Network("fd20:ce::254/128"),  # GCP on IPv6
)
_NAT64: Final = IPv6Network("64:ff9b::/96")
_HOST_CHARS: Final = re.compile(r"[a-z0-9._-]+\Z")
# What inet_aton reads as an address although it does not look like one: 2852039166, 0xa9fea9fe, 0251.254.169.254.
_NUMERIC: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}\.?\Z")


def checked_base_url(text: str) -> str:
    """The base URL in its plain form: lower-case scheme and host, no slash at the end.

    Raises SettingsError for anything but an http(s) origin with an optional path prefix, and for link-local and
    cloud metadata addresses, in whichever notation.
    """
    if not text.isascii() or any(char <= " " or char in '\\"<>^`{|}' for char in text):
        raise SettingsError(f"base_url {text!r} has characters that a URL cannot have")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"base_url {text!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise SettingsError(f"base_url {text!r} is not an http or https address such as https://api.openai.com")
    if "@" in parts.netloc or "?" in text or "#" in text:
        raise SettingsError("base_url is an origin with an optional path prefix: leave out user, '?' and '#'")
    if any(segment in (".", "..") for segment in parts.path.split("/")):
        raise SettingsError(f"base_url {text!r} has '.' or '..' in its path: write the path itself")
    _refuse_metadata(host, text)
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


_FRAME: Final = re.compile(r"https?://(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?")


def checked_frame(text: str) -> str:
    """A site that may show a page of ours in a frame, as a browser's policy writes it: `https://app.acme.com`,
    `https://*.acme.com`. Raises SettingsError."""
    site = text.strip().lower().removesuffix("/")
    if not _FRAME.fullmatch(site) or (site.startswith("http://") and not is_private_host(_host_of(site))):
        raise SettingsError(f"{text[:80]!r} is no site that could show a frame: write it as https://app.acme.com")
    return site


def _host_of(site: str) -> str:
    return urlsplit(site).hostname or ""


def is_metadata_address(address: Address) -> bool:
    """Whether no call may ever be sent there: link-local or cloud metadata, also when wrapped in an IPv6 address."""
    inner = _inner(address)
    if inner is not None and is_metadata_address(inner):
        return True
    return any(address in network for network in METADATA_NETWORKS if network.version == address.version)


def is_public_address(address: Address) -> bool:
    """Whether it is out on the internet: not loopback, private, shared or reserved, nor one of those wrapped."""
    inner = _inner(address)
    return address.is_global and not address.is_multicast and (inner is None or is_public_address(inner))


def _inner(address: Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if not isinstance(address, IPv6Address):
        return None
    inner = address.ipv4_mapped or address.sixtofour
    return IPv4Address(int(address) & 0xFFFFFFFF) if inner is None and address in _NAT64 else inner


def is_private_host(host: str) -> bool:
    """Whether an address to listen on is loopback or of a private network. Names other than localhost are not:
    they may come to mean something else."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or (address.is_private and not address.is_unspecified)


def is_metadata_name(host: str) -> bool:
    """Whether a host's name, or its address in plain form, is a metadata service's."""
    bare = host.lower().rstrip(".")
    if bare in METADATA_NAMES or bare.endswith(".metadata.google.internal"):
        return True
    try:
        return is_metadata_address(ip_address(bare.strip("[]").partition("%")[0]))
    except ValueError:
        return False


def _refuse_metadata(host: str, text: str) -> None:
    bare = host.rstrip(".")
    if bare in METADATA_NAMES or bare.endswith(".metadata.google.internal"):
        raise SettingsError(f"base_url {text!r} is a cloud metadata service: it is never called")
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        if _NUMERIC.match(host):
            raise SettingsError(f"base_url {text!r}: write the address in its plain form, such as 10.0.0.7") from None
        if not _HOST_CHARS.match(host):
            raise SettingsError(f"base_url {text!r} has a host name with characters that none can have") from None
        return
    if is_metadata_address(address):
        raise SettingsError(f"base_url {text!r} is a link-local or cloud metadata address: it is never called")
