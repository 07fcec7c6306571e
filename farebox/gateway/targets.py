"""Providers as this worker reaches them: the snapshot's view, the wire format, the pool, all worked out once."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from farebox import providers
from farebox.directory.snapshot import ProviderView, Snapshot
from farebox.gateway.pool import Origin, Pool, PoolLimits
from farebox.providers.protocol import Endpoint, Provider
from farebox.providers.routing import joined

_ENDPOINTS_MAX = 4096


class Target:
    """One configured provider. Immutable but for a bounded memory of its endpoints."""

    __slots__ = ("_endpoints", "authorization", "host", "name", "pool", "prefix", "provider", "view")

    def __init__(self, view: ProviderView, provider: Provider, pool: Pool, host: bytes, prefix: str) -> None:
        self.name = view.name
        self.view = view
        self.provider = provider
        self.pool = pool
        self.host = host
        self.prefix = prefix
        lines = provider.authorize(view.credential) if view.credential else ()
        self.authorization = b"".join(
            f"{name}: {value}\r\n".encode("latin-1") for name, value in (*lines, *view.headers)
        )
        self._endpoints: dict[tuple[bytes, str], tuple[str, Endpoint]] = {}

    def wire_path(self, path: str) -> bytes:
        """The path to put on the request line: below the base URL's own, no version prefix doubled."""
        return joined(self.prefix, self.provider.version_prefix, path).encode("latin-1")

    def endpoint(self, method: bytes, path: str) -> tuple[str, Endpoint]:
        """The path at the provider (below its base URL) and what it is."""
        known = self._endpoints.get((method, path))
        if known is None:
            upstream = self.provider.upstream_path(path)
            known = upstream, self.provider.endpoint(method.decode("latin-1"), upstream)
            if len(self._endpoints) >= _ENDPOINTS_MAX:
                self._endpoints.clear()
            self._endpoints[(method, path)] = known
        return known


class Targets:
    """All providers of one snapshot. Pools outlive snapshots, so that a changed key costs no connection."""

    def __init__(self, limits: PoolLimits, proxies: dict[str, str]) -> None:
        self._limits = limits
        self._proxies = proxies
        self._pools: dict[Origin, Pool] = {}
        self._targets: dict[str, Target] = {}

    def use(self, snapshot: Snapshot) -> None:
        """Swap to a new snapshot; connections to origins that nobody uses any more are closed."""
        targets = {name: self._target(view) for name, view in snapshot.providers.items()}
        used = {target.pool.origin for target in targets.values()}
        for origin in [origin for origin in self._pools if origin not in used]:
            self._pools.pop(origin).close()
        self._targets = targets

    def get(self, name: str) -> Target | None:
        return self._targets.get(name)

    def names(self) -> list[str]:
        return sorted(self._targets)

    def all(self) -> Iterable[Target]:
        return self._targets.values()

    @property
    def opened(self) -> int:
        """Connections opened so far, over all origins in use."""
        return sum(pool.opened for pool in self._pools.values())

    def sweep(self, now: float) -> None:
        for pool in self._pools.values():
            pool.sweep(now)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def _target(self, view: ProviderView) -> Target:
        parts = urlsplit(view.base_url)
        default = 443 if parts.scheme == "https" else 80
        port = parts.port or default
        hostname = parts.hostname or ""
        origin = Origin(parts.scheme, hostname, port, view.verify, view.ca_file)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(origin, self._limits, self._proxies)
        bracketed = f"[{hostname}]" if ":" in hostname else hostname
        host = bracketed if port == default else f"{bracketed}:{port}"
        provider = providers.by_name(view.wire) or providers.compatible(view.name, view.base_url)
        return Target(view, provider, pool, host.encode("latin-1"), parts.path.rstrip("/"))
