"""Where a channel's host really is, judged at the moment of sending: a name may have come to mean something else."""

import socket
from ipaddress import ip_address

from farebox.core.origins import Address, is_metadata_address, is_public_address
from farebox.errors import DeliveryFailed


def allowed_addresses(host: str, port: int, *, allow_private: bool) -> list[Address]:
    """The host's addresses. Raises DeliveryFailed where it has none, and for good where any of them is link-local or a
    metadata service, or (unless allowed) in a private network."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise DeliveryFailed("the name of its host cannot be looked up") from None
    addresses = list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))
    if any(is_metadata_address(address) for address in addresses):
        raise DeliveryFailed("its host is a link-local or cloud metadata address: it is never called", is_final=True)
    if not allow_private and not all(is_public_address(address) for address in addresses):
        raise DeliveryFailed(
            "its host is in a private network: add the channel anew with --allow-private if that is meant",
            is_final=True,
        )
    return addresses
