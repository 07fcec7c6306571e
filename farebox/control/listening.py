"""Sockets that the control plane listens on."""

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

BACKLOG: Final = 512


def unix_socket(path: Path) -> socket.socket:
    """A listening socket that only this user can connect to. A stale one of a dead process is replaced."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def tcp_socket(host: str, port: int) -> socket.socket:
    """A listening socket on `host:port` (IPv4 or IPv6)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
