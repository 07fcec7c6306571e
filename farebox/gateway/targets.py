"""Providers as this worker reaches them: the snapshot's view, the wire format, the pool, all worked out once."""

import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

from farebox import providers
from farebox.directory.snapshot import ProviderView, Snapshot
from farebox.gateway.pool import Origin, Pool, PoolLimits
from farebox.gateway.tokens import TokenSource, minter
from farebox.providers import google_accounts
from farebox.providers.protocol import Endpoint, Provider, ReadsOnce, Signing, Unsigned, Versioned
from farebox.providers.routing import joined

_ROUTES_MAX: Final = 4096


class Target:
    """One configured provider. Immutable but for a bounded memory of its routes."""

    __slots__ = (
        "_routes", "host", "name", "pool", "prefix", "prices_as", "provider", "reading", "region", "signing",
        "takes_query_key", "tokens", "versioned", "view",
    )  # fmt: skip

    def __init__(
        self,
        view: ProviderView,
        provider: Provider,
        pool: Pool,
        host: bytes,
        prefix: str,
        tokens: TokenSource | None = None,
    ) -> None:
        self.name = view.name
        self.view = view
        self.provider = provider
        self.pool = pool
        self.host = host
        self.prefix = prefix
        self.tokens = tokens
        """Where the stored credential is a service account: what its calls carry in place of it."""
        self.region = provider.region(urlsplit(view.base_url).hostname or "")
        self.prices_as = provider.prices_as
        self.takes_query_key = "x-goog-api-key" in provider.credential_headers
        self.reading = provider if isinstance(provider, ReadsOnce) else None
        self.signing = provider if isinstance(provider, Signing) else None
        self.versioned = provider if isinstance(provider, Versioned) else None
        self._routes: dict[tuple[bytes, str], Route] = {}

    def route(self, method: bytes, path: str) -> "Route":
        """What a path below `/proxy/{provider}` is. Worked out once; strangers' paths are remembered in bounds."""
        known = self._routes.get((method, path))
        if known is None:
            upstream = self.provider.upstream_path(path)
            wire_path = joined(self.prefix, self.provider.version_prefix, upstream).encode("latin-1")
            endpoint = self.provider.endpoint(method.decode("latin-1"), upstream)
            known = Route(upstream, wire_path, endpoint, has_dot_segment(path), self._authorization(endpoint))
            if len(self._routes) >= _ROUTES_MAX:
                self._routes.clear()
            self._routes[(method, path)] = known
        return known

    def asks_for_usage(self, query: bytes) -> bool:
        """Whether streams of the version that a query names can be asked for their usage."""
        return self.versioned is None or self.versioned.reports_usage_on_request(query.decode("latin-1"))

    def signed(
        self, method: bytes, path: bytes, query: bytes, forward: list[tuple[bytes, bytes]], body: bytes
    ) -> list[tuple[bytes, bytes]]:
        """The header lines of a request to a provider that has each one signed: the caller's without its own
        signature, and those that sign it for this moment."""
        signing, credential = self.signing, self.view.credential
        assert signing is not None
        lines = [line for line in forward if line[0].lower() not in signing.signature_headers]
        if not credential:
            return lines
        headers = {}
        for name, value in lines:
            lower = name.decode("latin-1").lower()
            if lower.startswith("x-amz-"):  # whatever of theirs is sent must be signed
                headers[lower] = value.decode("latin-1").strip()
        request = Unsigned(
            method.decode(), path.decode("latin-1"), query[1:].decode("latin-1"), self.host.decode("latin-1"),
            headers, body, time.time_ns() // 1000,
        )  # fmt: skip
        signature = signing.sign(credential, request)
        return lines + [(name.encode("latin-1"), value.encode("latin-1")) for name, value in signature]

    def _authorization(self, endpoint: Endpoint) -> bytes:
        credential = self.view.credential
        lines = self.provider.authorize(credential, endpoint) if credential and self.tokens is None else ()
        return b"".join(f"{name}: {value}\r\n".encode("latin-1") for name, value in (*lines, *self.view.headers))


class Route:
    """A path at a provider: below its base URL, as it stands on the request line, what it is, whether it climbs, and
    the header lines that carry the stored credential there."""

    __slots__ = ("authorization", "climbs", "endpoint", "path", "wire_path")

    def __init__(self, path: str, wire_path: bytes, endpoint: Endpoint, climbs: bool, authorization: bytes) -> None:
        self.path = path
        self.wire_path = wire_path
        self.endpoint = endpoint
        self.climbs = climbs
        self.authorization = authorization


def has_dot_segment(path: str) -> bool:
    """Whether a path climbs, in any spelling: such a path could be another route at the provider than here."""
    if "." not in path and "%" not in path:
        return False
    decoded = unquote(unquote(path)).replace("\\", "/")
    return any(segment.split(";")[0] in (".", "..") for segment in decoded.split("/"))


class Targets:
    """All providers of one snapshot. Pools outlive snapshots, so that a changed key costs no connection."""

    __slots__ = ("_limits", "_pools", "_proxies", "_targets", "_tokens")

    def __init__(self, limits: PoolLimits, proxies: dict[str, str]) -> None:
        self._limits = limits
        self._proxies = proxies
        self._pools: dict[Origin, Pool] = {}
        self._tokens: dict[tuple[str, str | None], TokenSource] = {}
        self._targets: dict[str, Target] = {}

    def use(self, snapshot: Snapshot) -> None:
        """Swap to a new snapshot; connections to origins that nobody uses any more are closed."""
        targets = {name: self._target(view) for name, view in snapshot.providers.items()}
        used = {target.pool.origin for target in targets.values()}
        for origin in [origin for origin in self._pools if origin not in used]:
            self._pools.pop(origin).close()
        warm = [target.tokens for target in targets.values()]
        for account in [account for account, tokens in self._tokens.items() if tokens not in warm]:
            self._tokens.pop(account).close()
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
        for tokens in self._tokens.values():
            tokens.close()

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
        provider = providers.installed(view.name, view.wire, view.base_url, view.options)
        return Target(view, provider, pool, host.encode("latin-1"), parts.path.rstrip("/"), self._tokens_of(view))

    def _tokens_of(self, view: ProviderView) -> TokenSource | None:
        """Like pools, tokens outlive snapshots."""
        if view.credential is None or not google_accounts.looks_like_key_file(view.credential):
            return None
        account = (view.credential, view.ca_file)
        tokens = self._tokens.get(account)
        if tokens is None:
            tokens = self._tokens[account] = TokenSource(view.credential, minter(view.ca_file))
        return tokens
