"""Attribution: who and what a call is for, merged from four sources in one order, for every route.

Precedence: bound to the key, then headers, then the tags header, then the body. A value from any source that
contradicts a bound dimension refuses the call, so that no caller can bill another's tenant.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import UNSET

from farebox.core.events import DIMENSIONS, Tag
from farebox.errors import AttributionConflict, AttributionMissing, InvalidRequest, InvalidTags

TAGS_MAX: Final = 32
TAG_KEY_CHARS_MAX: Final = 64
VALUE_CHARS_MAX: Final = 256
TAG_NUMBER_MAX: Final = 2**63 - 1
"""What every store of the ledger can hold."""

HEADER_DIMENSIONS: Final[dict[bytes, str]] = {
    b"x-tenant-id": "tenant",
    b"x-customer-id": "tenant",
    b"x-workspace-id": "workspace",
    b"x-user-id": "user",
    b"x-tier": "tier",
    b"x-feature": "feature",
    b"x-task-id": "task",
    b"x-session-id": "session",
}
TAGS_HEADERS: Final = (b"x-metering-tags", b"x-farebox-tags")

NAMES: Final[dict[str, str]] = {
    "tenant_id": "tenant",
    "customer_id": "tenant",
    "tenant": "tenant",
    "customer": "tenant",
    "workspace_id": "workspace",
    "user_id": "user",
    "user_tier": "tier",
    "tier": "tier",
    "plan": "tier",
    "feature": "feature",
    "group": "feature",
    "task_id": "task",
    "session_id": "session",
}
"""Names of dimensions in tags and bodies, beside the dimensions' own."""


class Attribution(msgspec.Struct, frozen=True, gc=False):
    """What a call is attributed to. `ignored` names values of the provider's own fields that cannot be ids."""

    tenant: str | None = None
    workspace: str | None = None
    user: str | None = None
    tier: str | None = None
    feature: str | None = None
    task: str | None = None
    session: str | None = None
    tags: dict[str, Tag] | None = None
    ignored: tuple[str, ...] = ()


class BodyFields(msgspec.Struct, frozen=True, gc=False):
    """The attribution that a JSON body may carry at its top level, as msgspec reads it: all else is skipped.
    A null says nothing, but stands in the body all the same."""

    tenant_id: object = UNSET
    customer_id: object = UNSET
    tenant: object = UNSET
    customer: object = UNSET
    workspace_id: object = UNSET
    user_id: object = UNSET
    user_tier: object = UNSET
    tier: object = UNSET
    plan: object = UNSET
    feature: object = UNSET
    group: object = UNSET
    task_id: object = UNSET
    session_id: object = UNSET
    user: object = UNSET
    safety_identifier: object = UNSET
    metadata: object = UNSET


_PROVIDER_FIELDS: Final = ("user", "safety_identifier", "metadata")
_OWN_FIELDS: Final = tuple(name for name in BodyFields.__struct_fields__ if name not in _PROVIDER_FIELDS)
NO_FIELDS: Final = BodyFields()
NO_PLANS: Final[Mapping[str, str]] = {}


def own_fields(fields: BodyFields, known: frozenset[str]) -> list[str]:
    """Names of Farebox's fields that stand in the body and that the provider's API does not know itself."""
    return [name for name in _OWN_FIELDS if getattr(fields, name) is not UNSET and name not in known]


def identifier(value: str, what: str) -> str:
    """An id as it may be kept: 1 to 256 printable characters, or InvalidTags."""
    if len(value) > VALUE_CHARS_MAX:
        raise InvalidTags(f"{what} has {len(value)} characters; at most {VALUE_CHARS_MAX} are kept")
    if not value.isprintable():
        raise InvalidTags(f"{what} has characters that cannot be printed")
    return value


@lru_cache(maxsize=1024)
def parse_tags(raw: bytes) -> dict[str, Tag]:
    """The tags header: a JSON object of strings, numbers and booleans; not to be changed by who gets it.

    Raises InvalidTags with what is wrong. Apps send few different tags: the last ones are remembered."""
    try:
        tags = msgspec.json.decode(raw, type=dict[str, str | int | float | bool])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidTags(
            'the tags header must be a JSON object of strings, numbers and booleans, such as {"region": "eu"}'
        ) from None
    if len(tags) > TAGS_MAX:
        raise InvalidTags(f"{len(tags)} tags were given; at most {TAGS_MAX} are kept")
    for key, value in tags.items():
        if not 1 <= len(key) <= TAG_KEY_CHARS_MAX or not key.isprintable():
            raise InvalidTags(f"a tag's name has 1 to {TAG_KEY_CHARS_MAX} printable characters, not {key[:80]!r}")
        if isinstance(value, str):
            identifier(value, f"tag {key!r}")
        elif not -TAG_NUMBER_MAX <= value <= TAG_NUMBER_MAX:
            raise InvalidTags(f"tag {key!r} is a number beyond {TAG_NUMBER_MAX}: send it as a string")
    return tags


def parse_units(raw: bytes) -> dict[str, int]:
    """`analyses=1, pages=3` -> counts by unit. Raises InvalidTags for anything else."""
    units: dict[str, int] = {}
    for piece in raw.decode("latin-1").split(","):
        name, equals, count = piece.strip().partition("=")
        digits = count.strip()
        if not equals or not name.isidentifier() or not (digits.isascii() and digits.isdigit()) or len(digits) > 12:
            raise InvalidTags("x-farebox-units must read like 'analyses=1, pages=3'")
        units[name] = units.get(name, 0) + int(digits)
    if len(units) > TAGS_MAX:
        raise InvalidTags(f"{len(units)} units were given; at most {TAGS_MAX} are kept")
    return units


def merge(
    bind: Mapping[str, Tag],
    headers: Mapping[str, str],
    tags: dict[str, Tag] | None,
    fields: BodyFields,
    require: frozenset[str] = frozenset(),
    plans: Mapping[str, str] = NO_PLANS,
    trusts_tier: bool = False,
) -> Attribution:
    """One attribution out of all sources. `headers` are by dimension, `tags` as `parse_tags` gives them.

    The plan of a known customer (`plans`, by tenant) is its tier, whatever the caller says, unless the key is bound to
    a tier, or trusts the caller's. Raises AttributionConflict, AttributionMissing, InvalidTags.
    """
    found: dict[str, str] = {}
    ignored: tuple[str, ...] = ()
    if bind:
        for dimension, value in headers.items():
            _claim(found, bind, dimension, value, "header")
    else:
        found.update(headers)
    if tags:
        tags = _take_dimensions(found, bind, tags)
    if fields is not NO_FIELDS:
        ignored = _take_fields(found, bind, fields)
    for name, bound in bind.items():
        if name.startswith("tag."):
            tags = _bind_tag(tags, name[4:], bound)
        else:
            found[name] = str(bound)
    if plans:
        plan = plans.get(found.get("tenant", ""))
        if plan is not None and "tier" not in bind and not (trusts_tier and "tier" in found):
            found["tier"] = plan
    if require:
        _check_required(require, found)
    get = found.get
    return Attribution(
        get("tenant"), get("workspace"), get("user"), get("tier"), get("feature"), get("task"), get("session"),
        tags or None, ignored,
    )  # fmt: skip


def _check_required(require: frozenset[str], found: Mapping[str, str]) -> None:
    if missing := sorted(name for name in require if name not in found):
        raise AttributionMissing(
            f"this key requires {' and '.join(missing)}: send it by header (x-{missing[0]}-id or x-{missing[0]}) or tag"
        )


def _claim(found: dict[str, str], bind: Mapping[str, Tag], dimension: str, value: str, where: str) -> None:
    """Let a source name a dimension: an earlier source wins, a bound one must agree."""
    bound = bind.get(dimension)
    if bound is not None and str(bound) != value:
        raise AttributionConflict(
            f"this key is bound to {dimension} {str(bound)!r}; the {where} says {value!r}: leave it out"
        )
    if dimension not in found:
        found[dimension] = value


def _take_dimensions(found: dict[str, str], bind: Mapping[str, Tag], tags: dict[str, Tag]) -> dict[str, Tag]:
    """Tags that name a dimension become it; the rest stay tags."""
    rest: dict[str, Tag] = {}
    for key, value in tags.items():
        dimension = NAMES.get(key) or (key if key in DIMENSIONS else None)
        if dimension is None:
            rest[key] = value
        elif text := _text(value):
            _claim(found, bind, dimension, text, f"tag {key!r}")
    return rest


def _take_fields(found: dict[str, str], bind: Mapping[str, Tag], fields: BodyFields) -> tuple[str, ...]:
    for name in _OWN_FIELDS:
        value = getattr(fields, name)
        if value is UNSET or value is None:
            continue
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise InvalidTags(f"{name!r} in the body must be a string")
        if text := identifier(_text(value), f"{name!r} in the body"):
            _claim(found, bind, NAMES[name], text, f"body's {name!r}")
    return _take_provider_fields(found, bind, fields)


def _take_provider_fields(found: dict[str, str], bind: Mapping[str, Tag], fields: BodyFields) -> tuple[str, ...]:
    """The provider's own fields that carry a user. They were not written for us: what cannot be an id is left out
    and named, never refused."""
    ignored: list[str] = []
    metadata = fields.metadata
    nested = metadata.get("user_id") if isinstance(metadata, dict) else None
    for name, value in (
        ("user", fields.user),
        ("metadata.user_id", nested),
        ("safety_identifier", fields.safety_identifier),
    ):
        if not isinstance(value, str) or not value:
            continue
        if len(value) > VALUE_CHARS_MAX or not value.isprintable():
            ignored.append(f"ignored_{name}")
        else:
            _claim(found, bind, "user", value, f"body's {name!r}")
    return tuple(ignored)


def _bind_tag(tags: dict[str, Tag] | None, name: str, bound: Tag) -> dict[str, Tag]:
    tags = dict(tags or {})
    if tags.get(name, bound) != bound:
        raise AttributionConflict(f"this key is bound to tag {name}={bound!r}; the call says {tags[name]!r}")
    tags[name] = bound
    return tags


def _text(value: Tag | object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def claim_header(values: dict[str, str], dimension: str, raw: bytes) -> None:
    """Add one attribution header. Raises InvalidRequest where two say different things for one dimension."""
    try:
        value = raw.decode()
    except UnicodeDecodeError:
        raise InvalidTags(f"the {dimension} header is not UTF-8") from None
    if not value:
        return
    if len(value) > VALUE_CHARS_MAX or not value.isprintable():
        identifier(value, f"the {dimension} header")
    if values.setdefault(dimension, value) != value:
        raise InvalidRequest(f"two headers name the {dimension}, and they differ: send one")
