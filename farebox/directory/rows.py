"""What the directory holds, as values: keys, tokens, providers, limits, channels, alert rules, plans, customers and its
own log. A secret is in none of them, unless sealed."""

import re
from datetime import date
from typing import Final, Literal

import msgspec

from farebox.core.alert_rules import Rule
from farebox.core.attribution import NAMES, TAG_KEY_CHARS_MAX, VALUE_CHARS_MAX
from farebox.core.book_text import CustomerSpec
from farebox.core.customers import Books, Customer, Plan, PlanVersion, Subscription
from farebox.core.events import DIMENSIONS, Tag
from farebox.core.limits import AMOUNT_MAX, Limit, check
from farebox.errors import InvalidEntry, InvalidLimit

Role = Literal["admin", "analyst", "ingest"]
ROLES: Final[tuple[Role, ...]] = ("admin", "analyst", "ingest")
USER_ROLES: Final = ("admin", "analyst")
AUDIENCES: Final = ("team", "customer")
NAME_CHARS_MAX: Final = 200
LIST_MAX: Final = 64
"""Most entries of one of a key's lists."""
WHERE_MAX: Final = 16
WARN_AT_MAX: Final = 16
MESSAGE_CHARS_MAX: Final = 2000
SUBJECT_CHARS_MAX: Final = 2 * VALUE_CHARS_MAX + 1
"""A tenant and one of its own, with a slash between."""
RATE_MAX: Final = 1_000_000
PLACEHOLDERS: Final = ("amount", "used", "reset_at", "tier")
"""What a limit's message may name in braces."""
_PLACEHOLDER: Final = re.compile("{(?:" + "|".join(PLACEHOLDERS) + ")}")


class KeySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What a key may do and whom it bills. Empty lists restrict nothing. Times are microseconds since 1970."""

    name: str
    bind: dict[str, Tag] = {}
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()
    audience: str = "team"
    allow_objects: bool = False
    expires_at_us: int | None = None


class KeyRow(KeySpec, frozen=True, kw_only=True, gc=False):
    """A stored key."""

    id: str
    created_at_us: int
    revoked_at_us: int | None = None

    def is_active(self, now_us: int) -> bool:
        return self.revoked_at_us is None and (self.expires_at_us is None or now_us < self.expires_at_us)


class TokenRow(msgspec.Struct, frozen=True):
    """An admin token."""

    id: str
    name: str
    role: str
    created_at_us: int
    expires_at_us: int | None = None
    revoked_at_us: int | None = None

    def is_active(self, now_us: int) -> bool:
        return self.revoked_at_us is None and (self.expires_at_us is None or now_us < self.expires_at_us)


class PortalRow(msgspec.Struct, frozen=True):
    """A link by which a customer sees its usage; with `user` one of its users, and nothing of the others."""

    id: str
    tenant: str
    created_at_us: int
    expires_at_us: int
    user: str | None = None
    origins: tuple[str, ...] = ()
    """Sites that may show it in a frame of theirs; none: those of the settings."""
    revoked_at_us: int | None = None

    def is_active(self, now_us: int) -> bool:
        return self.revoked_at_us is None and now_us < self.expires_at_us


class ProviderRow(msgspec.Struct, frozen=True):
    """What is stored of a provider; empty and None mean: as the settings say. `credential` stays sealed."""

    name: str
    base_url: str = ""
    wire: str = ""
    credential: bytes | None = None
    credential_hint: str = ""
    """The end of the credential, to tell one from another."""
    headers: dict[str, str] = {}
    ca_file: str = ""
    tls_verify: bool | None = None
    deployments: dict[str, str] = {}
    region: str = ""
    region_class: str = ""
    changed_at_us: int = 0


class LimitRow(msgspec.Struct, frozen=True, gc=False):
    """A stored limit."""

    limit: Limit
    created_at_us: int
    changed_at_us: int
    removed_at_us: int | None = None

    @property
    def id(self) -> str:
        return self.limit.id

    @property
    def is_new(self) -> bool:
        """Whether it was never changed since it was made."""
        return self.changed_at_us == self.created_at_us


class ChannelRow(msgspec.Struct, frozen=True):
    """Where alerts are sent. `sealed` holds its address, and a webhook's secret."""

    id: str
    name: str
    kind: str
    sealed: bytes
    hint: str
    """Of its address, to tell one from another."""
    to: str
    """'owner': e-mail to the owner of the customer that the alert is about; else ''."""
    allow_private: bool
    created_at_us: int
    changed_at_us: int
    disabled_at_us: int | None = None
    note: str = ""
    """Why it is disabled."""


class RuleRow(msgspec.Struct, frozen=True):
    """A stored alert rule."""

    rule: Rule
    created_at_us: int
    changed_at_us: int

    @property
    def id(self) -> str:
        return self.rule.id


class PlanRow(msgspec.Struct, frozen=True):
    """A stored plan, all its versions, oldest first."""

    name: str
    versions: tuple[PlanVersion, ...]
    created_at_us: int
    changed_at_us: int
    removed_at_us: int | None = None

    @property
    def is_new(self) -> bool:
        """Whether it was never changed since it was made."""
        return self.changed_at_us == self.created_at_us

    def plan_on(self, day: date) -> Plan | None:
        return Books({}, {self.name: self.versions}).plan(self.name, day)


class CustomerRow(msgspec.Struct, frozen=True):
    """A stored customer. Its plans, oldest first."""

    spec: CustomerSpec
    subscriptions: tuple[Subscription, ...]
    created_at_us: int
    changed_at_us: int
    removed_at_us: int | None = None

    @property
    def tenant(self) -> str:
        return self.spec.tenant

    @property
    def is_new(self) -> bool:
        """Whether it was never changed since it was made."""
        return self.changed_at_us == self.created_at_us

    def plan_on(self, day: date) -> str | None:
        return Customer(tenant=self.tenant, subscriptions=self.subscriptions).plan_on(day)


class UserRow(msgspec.Struct, frozen=True):
    """Who may open the dashboard."""

    id: str
    name: str
    role: str
    created_at_us: int
    seen_at_us: int | None = None
    has_password: bool = False


class SessionRow(msgspec.Struct, frozen=True):
    """A browser that is logged in."""

    id: str
    user_id: str
    user_agent: str
    address: str
    created_at_us: int
    seen_at_us: int
    expires_at_us: int


class AuditRow(msgspec.Struct, frozen=True):
    """Who did what to which entry. `detail` never holds a secret."""

    at_us: int
    by: str
    action: str
    subject: str
    detail: dict[str, object] = {}


def checked_spec(spec: KeySpec) -> KeySpec:
    """The spec with dimensions by their own names. Raises InvalidEntry with what to write instead."""
    _check_name(spec.name, "key")
    if spec.audience not in AUDIENCES:
        raise InvalidEntry(f"audience {spec.audience!r} is unknown: give {' or '.join(AUDIENCES)}")
    for what in ("bind", "providers", "models", "routes", "require", "trust"):
        entries = getattr(spec, what)
        if len(entries) > LIST_MAX or any(not entry or len(entry) > VALUE_CHARS_MAX for entry in entries):
            raise InvalidEntry(f"{what}: give at most {LIST_MAX} entries of 1 to {VALUE_CHARS_MAX} characters")
    return msgspec.structs.replace(
        spec,
        bind={_bound_name(name): _bound_value(name, value) for name, value in spec.bind.items()},
        require=tuple(_dimension(name, "require") for name in spec.require),
        trust=tuple(_dimension(name, "trust") for name in spec.trust),
    )


def check_token(name: str, role: str) -> None:
    """Raises InvalidEntry."""
    _check_name(name, "token")
    if role not in ROLES:
        raise InvalidEntry(f"role {role!r} is unknown: give {', '.join(ROLES)}")


def checked_user(name: str, role: str) -> str:
    """The name as it is stored: without case, so that ann@acme.com is one person. Raises InvalidEntry."""
    name = name.strip().casefold()
    _check_name(name, "user")
    if role not in USER_ROLES:
        raise InvalidEntry(f"role {role!r} is unknown: give {' or '.join(USER_ROLES)}")
    return name


def check_channel_name(name: str) -> None:
    """Raises InvalidEntry."""
    _check_name(name, "channel")


def checked_limit(limit: Limit) -> Limit:
    """The limit itself. Raises InvalidLimit for what contradicts itself, has no bound or could not be read back."""
    try:
        msgspec.json.decode(msgspec.json.encode(limit), type=Limit)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise InvalidLimit(f"this is no limit: {error}") from None
    check(limit)
    if not 0 <= limit.amount <= AMOUNT_MAX:
        raise InvalidLimit("an amount is not negative, and at most 9,000,000 usd or 9e18")
    _check_text(limit.per, "per", TAG_KEY_CHARS_MAX + len("tag."))
    _check_text(limit.unit, "a unit", TAG_KEY_CHARS_MAX)
    _check_text(limit.subject, "a subject", SUBJECT_CHARS_MAX)
    _check_text(limit.model, "a model", NAME_CHARS_MAX)
    if len(limit.where) > WHERE_MAX:
        raise InvalidLimit(f"where has at most {WHERE_MAX} conditions")
    for name, value in limit.where.items():
        _check_text(name, "a name in where", TAG_KEY_CHARS_MAX + len("tag."))
        _check_text(str(value), f"where: {name}", VALUE_CHARS_MAX)
    if len(limit.warn_at) > WARN_AT_MAX:
        raise InvalidLimit(f"warn_at has at most {WARN_AT_MAX} shares")
    if limit.rate is not None and limit.rate > RATE_MAX:
        raise InvalidLimit(f"a rate is at most {RATE_MAX:,} calls a minute")
    if limit.anchor_day != 1 and limit.window != "billing":
        raise InvalidLimit("an anchor day belongs to the window billing")
    _check_message(limit.message)
    return limit


def _check_text(text: str | None, what: str, chars_max: int) -> None:
    if text is not None and (not 1 <= len(text) <= chars_max or not text.isprintable() or text != text.strip()):
        raise InvalidLimit(f"{what} has 1 to {chars_max} printable characters, not {text[:80]!r}")


def _check_message(message: str | None) -> None:
    if message is None:
        return
    if not 1 <= len(message) <= MESSAGE_CHARS_MAX or not message.replace("\n", " ").isprintable():
        raise InvalidLimit(f"a message has 1 to {MESSAGE_CHARS_MAX:,} printable characters")
    if set(_PLACEHOLDER.sub("", message)) & set("{}"):
        known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise InvalidLimit(f"a message may use {known} and no other braces")


def _check_name(name: str, what: str) -> None:
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable() or name != name.strip():
        raise InvalidEntry(f"a {what}'s name has 1 to {NAME_CHARS_MAX} printable characters, not {name[:80]!r}")


def _dimension(name: str, what: str) -> str:
    known = NAMES.get(name, name)
    if known not in DIMENSIONS:
        raise InvalidEntry(f"{what}: {name!r} is no dimension; there are {', '.join(DIMENSIONS)}")
    return known


def _bound_name(name: str) -> str:
    if name.startswith("tag.") and len(name) > 4:
        return name
    known = NAMES.get(name, name)
    if known not in DIMENSIONS:
        raise InvalidEntry(
            f"bind: {name!r} is no dimension; there are {', '.join(DIMENSIONS)}, and tag.{name} for a tag of that name"
        )
    return known


def _bound_value(name: str, value: Tag) -> Tag:
    if not name.startswith("tag."):
        value = str(value)
    if isinstance(value, str) and (not 1 <= len(value) <= VALUE_CHARS_MAX or not value.isprintable()):
        raise InvalidEntry(f"bind: {name} needs 1 to {VALUE_CHARS_MAX} printable characters")
    return value
