"""What is measured: something that takes chat calls on a loopback port and passes them to an upstream."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Contender:
    """One gateway, running and ready.

    `headers` are what a call needs beside its body and attribution: the credential, a provider's name.
    `pids` are the processes on the subject core, `helpers` those that serve it elsewhere (a store,
    a keeper). With `ca_file` the port speaks TLS under that certificate.
    """

    name: str
    version: str
    port: int
    path: str
    pids: list[int]
    headers: dict[str, str] = field(default_factory=dict)
    helpers: list[int] = field(default_factory=list)
    ca_file: Path | None = None
