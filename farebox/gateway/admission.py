"""Who may call what: identity, restrictions, attribution. It only decides; nothing is sent or written here."""

import ipaddress
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Final
from urllib.parse import unquote

import msgspec

from farebox.core.attribution import NO_FIELDS, Attribution, BodyFields, claim_header, merge, parse_tags
from farebox.core.events import Tag
from farebox.directory.snapshot import KeyView, Snapshot
from farebox.errors import (
    InvalidKey,
    InvalidRequest,
    InvalidTags,
    ModelNotAllowed,
    NoCredential,
    RouteNotAllowed,
)
from farebox.gateway.objects import check_action, is_bound
from farebox.gateway.request import Request
from farebox.gateway.targets import Target
from farebox.providers.documents import read
from farebox.providers.protocol import Endpoint, Intent
from farebox.providers.sigv4 import signer_of

NO_KEY: Final = KeyView(id="", name="open access")
_PREFIX: Final = b"fbx_"
_KNOWN_MAX: Final = 16_384
_SAID_MAX: Final = 4096
_SAID_TAG_BYTES_MAX: Final = 1024
_QUERY_KEYS: Final = frozenset({"key", "api-key"})
"""Where SDKs put a key in the query: Google's, and Azure's for realtime sessions."""
_fields = msgspec.json.Decoder(BodyFields)


class Caller:
    """Who calls, and with whose provider credential. `lines` are the caller's own credential lines, sent unchanged."""

    __slots__ = ("byok", "key", "lines", "query", "signed")

    def __init__(
        self, key: KeyView, byok: bool, lines: list[tuple[bytes, bytes]], query: bytes, signed: bool = False
    ) -> None:
        self.key = key
        self.byok = byok
        self.lines = lines
        self.query = query
        self.signed = signed
        """The caller signed with a credential of its own. That signature is for our host and can not be passed on."""


class Door:
    """What identification rests on: how keys are hashed, and whether one is needed.

    `known` holds the keys that called under the snapshot in force, by the whole secret, and `said` what headers meant
    that a key was last used with; `use` empties both with each new snapshot. They are bounded. `plans` are those of
    known customers, by tenant."""

    __slots__ = ("hosts", "key_hash", "known", "open", "plans", "said")

    def __init__(self, key_hash: Callable[[str], bytes], is_open: bool, hosts: frozenset[bytes]) -> None:
        self.key_hash = key_hash
        self.open = is_open
        self.hosts = hosts
        self.known: dict[bytes, KeyView] = {}
        self.said: dict[bytes, Attribution] = {}
        self.plans: dict[str, str] = {}

    def use(self, snapshot: Snapshot) -> None:
        self.plans = snapshot.plans
        self.known.clear()
        self.said.clear()


def identify(door: Door, snapshot: Snapshot, request: Request, takes_query_key: bool) -> Caller:
    """Find the key and the credential of a call. Raises InvalidKey, RouteNotAllowed."""
    query = request.query
    own: bytes | None = None
    rest, foreign = b"", False
    if query:
        own, rest, foreign = _split_query(query, takes_query_key)
    named = request.farebox_key
    secret = named
    lines: list[tuple[bytes, bytes]] = []
    signed = False
    for line in request.credentials:
        value = line[1]
        signer = signer_of(value) if value.startswith(b"AWS4-") else None
        if signer is not None:
            if signer.startswith(_PREFIX):
                secret = secret or signer
            else:
                signed = True
            continue
        bearer = value.startswith(b"Bearer ") or value[:7].lower() == b"bearer "
        token = value[7:] if bearer else value
        if token.startswith(_PREFIX) or token.lstrip().startswith(_PREFIX):
            secret = secret or token.strip()
        elif token.strip():
            lines.append(line)
    secret = secret or own
    key = _open_caller(door, request) if secret is None else _known(door, snapshot, secret)
    if (lines or foreign) and (named is not None or secret is None):
        return Caller(key, True, lines, rest if own else query)
    return Caller(key, False, [], rest if own or foreign else query, signed)


def _known(door: Door, snapshot: Snapshot, secret: bytes) -> KeyView:
    key = door.known.get(secret) or _found(door, snapshot, secret)
    if key.expires_at_s is not None and key.expires_at_s <= time.time():
        raise InvalidKey("this Farebox key has expired: rotate it with 'farebox keys rotate'")
    return key


def _found(door: Door, snapshot: Snapshot, secret: bytes) -> KeyView:
    try:
        key = snapshot.keys.get(door.key_hash(secret.decode("ascii")))
    except UnicodeDecodeError:
        key = None
    if key is None:
        raise InvalidKey("this Farebox key is not known, or was revoked: create one with 'farebox keys create'")
    if len(door.known) >= _KNOWN_MAX:
        door.known.clear()
    door.known[secret] = key
    return key


def _open_caller(door: Door, request: Request) -> KeyView:
    if not door.open:
        raise InvalidKey("a Farebox key (fbx_…) is needed where the provider's key would go, or in x-farebox-key")
    if request.origin is not None:
        raise RouteNotAllowed("open access refuses calls from browsers (an Origin header was sent)")
    host = (request.host or b"").lower()
    bare = host.rsplit(b":", 1)[0] if not host.endswith(b"]") else host
    if bare not in door.hosts and not _is_private(bare):
        raise RouteNotAllowed("open access refuses calls to an unknown Host: call it by a loopback or private address")
    return NO_KEY


def _is_private(host: bytes) -> bool:
    try:
        address = ipaddress.ip_address(host.decode("latin-1").strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or address.is_private


def _split_query(query: bytes, takes_query_key: bool) -> tuple[bytes | None, bytes, bool]:
    """(Farebox key in ?key= or ?api-key=, the query without them, whether another's secret stood there)."""
    if b"key=" not in query and b"%" not in query:
        return None, query, False
    own: bytes | None = None
    foreign = False
    kept: list[bytes] = []
    for piece in query[1:].split(b"&"):
        name, _, value = piece.partition(b"=")
        called = unquote(name.decode("latin-1")).lower()
        if called in _QUERY_KEYS:
            secret = unquote(value.decode("latin-1")).encode("latin-1", "replace")
            if secret.startswith(_PREFIX):
                own = own or secret
                continue
            if takes_query_key or called == "api-key":
                foreign = True
                continue
        kept.append(piece)
    return own, (b"?" + b"&".join(kept) if kept else b""), foreign


def check_route(
    caller: Caller, target: Target, method: bytes, path: str, endpoint: Endpoint, by: str | None = None
) -> None:
    """Restrictions that need no body. `by`: the name of the route that led there, which a key may be restricted to in
    place of paths. Raises RouteNotAllowed, NoCredential."""
    key = caller.key
    if key.providers and target.name not in key.providers:
        raise RouteNotAllowed(
            f"this key may not call {target.name}: it is restricted to {', '.join(sorted(key.providers))}"
        )
    if key.routes and not _fits(path, key.routes) and (by is None or not _fits(by, key.routes)):
        raise RouteNotAllowed(f"this key may not call {path}: it is restricted to {', '.join(key.routes)}")
    if endpoint.admin and not caller.byok:
        raise RouteNotAllowed(f"{path} is an organisation or admin route: it is never called with a stored credential")
    if endpoint.stored and is_bound(key):
        check_action(key, method.decode(), path, endpoint)
    view = target.view
    if caller.signed and not view.credential:
        raise InvalidRequest(
            "a call that is signed with the caller's own AWS credential can not be passed on, since the signature is "
            f"for this host: send a Bedrock API key as a bearer token, or store a credential for {target.name}"
        )
    if not caller.byok and not view.credential and not _is_local(target):
        raise NoCredential(
            f"no credential for {target.name}: set {' or '.join(target.provider.credential_env) or 'one'} "
            f"or run 'farebox providers set {target.name} --credential …'"
        )


def _fits(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _is_local(target: Target) -> bool:
    """A service of one's own (ollama, vLLM) needs no credential."""
    return not target.provider.credential_env


def check_model(key: KeyView, intent: Intent, endpoint: Endpoint) -> None:
    if not key.models or (intent.model is None and not endpoint.billed):
        return
    if intent.model is None or not _fits(intent.model, key.models):
        named = f"{intent.model!r} is not among them" if intent.model else "the call names none"
        raise ModelNotAllowed(f"this key is restricted to the models {', '.join(key.models)}; {named}")


def attribute(door: Door, caller: Caller, request: Request, fields: BodyFields) -> Attribution:
    """Merge what the call says of itself. Raises InvalidTags, AttributionConflict, AttributionMissing."""
    if fields is not NO_FIELDS:
        return merge_sources(door.plans, caller, request, fields)
    key = caller.key
    # No header's value has a line's end in it, and no dimension an empty name: different headers give different keys.
    said = b"\n".join([*request.dimensions, b"", *request.tags, key.id.encode()])
    found = door.said.get(said)
    if found is None:
        found = merge_sources(door.plans, caller, request, fields)
        if sum(map(len, request.tags)) <= _SAID_TAG_BYTES_MAX:
            if len(door.said) >= _SAID_MAX:
                door.said.clear()
            door.said[said] = found
    return found


def merge_sources(plans: dict[str, str], caller: Caller, request: Request, fields: BodyFields) -> Attribution:
    """The same, without a memory."""
    key = caller.key
    tags: dict[str, Tag] | None = None
    for raw in request.tags:
        more = parse_tags(raw)
        if tags is not None and _contradict(tags, more):
            raise InvalidTags("x-metering-tags and x-farebox-tags contradict each other: send one")
        tags = more if tags is None else {**tags, **more}
    headers: dict[str, str] = {}
    said = request.dimensions
    for at in range(0, len(said), 2):
        name = said[at]
        claim_header(headers, name.decode(), said[at + 1])
    return merge(key.bind, headers, tags, fields, key.require, plans, "tier" in key.trust)


def _contradict(tags: dict[str, Tag], more: dict[str, Tag]) -> bool:
    return any(tags.get(name, value) != value for name, value in more.items())


def body_fields(body: bytes) -> BodyFields:
    """The attribution fields of a JSON body; none where it is no JSON object (its provider will say so)."""
    try:
        found = _fields.decode(body)
        return NO_FIELDS if found == NO_FIELDS else found
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return read(body, BodyFields)  # text cut inside a character has a lone surrogate, which not all readers take
    except ValueError:
        return NO_FIELDS
