"""The directory as the data plane sees it: immutable, swapped whole, read without a lock."""

import msgspec

from farebox.core.events import Tag
from farebox.core.limits import Limit
from farebox.core.routes import Route
from farebox.providers.protocol import NO_OPTIONS, Options


class KeyView(msgspec.Struct, frozen=True, gc=False):
    """A Farebox key without its secret. Empty `providers`, `models`, `routes` mean no restriction.

    `gc=False` (here and on the rows it is made from): it can be in no cycle, and there may be very many."""

    id: str
    name: str
    bind: dict[str, Tag] = {}
    """Bound dimensions and tags (`tag.region` for a tag)."""
    providers: frozenset[str] = frozenset()
    models: tuple[str, ...] = ()
    """Globs; a call's model must match one."""
    routes: tuple[str, ...] = ()
    """Globs over the upstream path."""
    require: frozenset[str] = frozenset()
    trust: frozenset[str] = frozenset()
    audience: str = "team"
    allow_objects: bool = False
    expires_at_s: float | None = None


class ProviderView(msgspec.Struct, frozen=True):
    """A provider as configured here. `wire` names the entry of PROVIDERS that speaks its format."""

    name: str
    wire: str
    base_url: str
    credential: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers to send (an organisation, a project)."""
    ca_file: str | None = None
    verify: bool = True
    options: Options = NO_OPTIONS


class Snapshot(msgspec.Struct, frozen=True):
    """Everything a call needs to know. `keys` by HMAC-SHA-256 of the whole key."""

    revision: int
    keys: dict[bytes, KeyView]
    providers: dict[str, ProviderView]
    price_overrides: tuple[dict[str, object], ...] = ()
    """Rows as `farebox.core.pricing.PriceRow` reads them."""
    limits: tuple[Limit, ...] = ()
    """The limits in force, targets' budgets among them; the same object as in the snapshot before where none has
    changed."""
    plans: dict[str, str] = {}
    """The plan that each known customer is on today, by tenant: the tier of its calls."""
    anchor_days: dict[str, int] = {}
    """The day on which a customer's billing month begins, by tenant, where it has one of its own."""
    routes: dict[str, Route] = {}
    """By name; the same object as in the snapshot before where none has changed."""
