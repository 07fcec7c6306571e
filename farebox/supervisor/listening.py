"""The sockets that clients reach, one a worker, made and kept by the supervisor."""

import contextlib
import errno
import socket
import time
from typing import Final

from farebox.errors import FareboxError

BACKLOG: Final = 4096
RETRY_S: Final = 0.1

Address = tuple[str, int]


def listen(host: str, port: int, count: int, *, patience_s: float = 0) -> list[socket.socket]:
    """`count` listening sockets that share one address (SO_REUSEPORT: the kernel spreads connections over them).

    Port 0 takes a free one. A port that is taken is tried for `patience_s` more. Raises FareboxError, one line, for
    an address that cannot be had.
    """
    family, address = _resolved(host, port)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return _bound(family, address, count)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise _unavailable(host, port, error) from error
        time.sleep(RETRY_S)


def address_of(listener: socket.socket, *, is_tls: bool) -> str:
    """The URL that a client can use."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if is_tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _resolved(host: str, port: int) -> tuple[int, Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise FareboxError(f"server.host {host!r} is no address of this machine: {error.strerror}") from error
    family, _, _, _, address = found[0]
    return family, (str(address[0]), port)


def _bound(family: int, address: Address, count: int) -> list[socket.socket]:
    with contextlib.ExitStack() as undo:
        # SO_REUSEPORT would also let us join a port on which another of our own programs listens: the first bind,
        # without it, tells.
        probe = undo.enter_context(_socket(family))
        probe.bind(address)
        taken = (address[0], int(probe.getsockname()[1]))
        probe.close()
        listeners = []
        for _ in range(count):
            listener = undo.enter_context(_socket(family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(taken)
            listener.listen(BACKLOG)
            listener.setblocking(False)
            listeners.append(listener)
        undo.pop_all()
        return listeners


def _socket(family: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return made


def _unavailable(host: str, port: int, error: OSError) -> FareboxError:
    if error.errno == errno.EADDRINUSE:
        return FareboxError(f"port {port} on {host} is taken: stop what listens there, or give another --port (0: any)")
    if error.errno == errno.EACCES:
        return FareboxError(f"port {port} needs more rights than this user has: give a --port above 1023")
    return FareboxError(f"cannot listen on {host}:{port}: {error.strerror}")
