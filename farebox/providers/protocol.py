"""What a provider's file answers. All of it is pure: bytes and values in, values out.

A new provider is one file with an object of this shape and one line in `PROVIDERS`.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from farebox.core.attribution import BodyFields
from farebox.core.events import Stored
from farebox.core.meters import Usage
from farebox.providers.websocket import Frames

BodyKind = Literal["none", "json", "multipart", "opaque"]
Quality = Literal["exact", "estimated", "missing"]
JsonIn = Literal["", "text", "calls"]
ContentKind = Literal["", "some", "nothing", "refused", "invalid"]
Action = Literal["", "make", "read", "change", "delete", "list"]


class Endpoint(msgspec.Struct, frozen=True):
    """One route of a provider's API, as the gateway needs to know it."""

    operation: str
    """chat | responses | messages | generate | completions | embeddings | rerank | audio | image | moderation |
    batch | realtime | other."""
    family: str
    """The provider's own name for the route: picks the reader inside its file."""
    body: BodyKind = "json"
    billed: bool = True
    """False: the provider never charges for it (token counting, moderation, listing)."""
    stored: bool = False
    """Lists, reads or deletes stored objects: keys bound to a tenant need `allow_objects`."""
    admin: bool = False
    """Organisation and admin routes: never proxied with a stored credential."""
    model: str | None = None
    """The model, where the path names it (Gemini, Bedrock, Azure deployments)."""
    streaming: bool | None = None
    """Where the path says whether the answer streams; None where the body says it."""
    object_id: str | None = None
    """The stored object that is read, and perhaps billed, where the path names it."""
    root: str | None = None
    """The stored object that the path leads to or into, where it names one: whose it is decides who may."""
    action: Action = ""
    """What a route of stored objects does; '' where nobody told us, which is closed to keys bound to a tenant."""
    region: str | None = None
    """Where the call is served, in the price book's word, where the path names it."""
    websocket: bool = False
    """A session over a websocket: the request is an upgrade, both directions are read (`Realtime.session`)."""


class Intent(msgspec.Struct, frozen=True, gc=False):
    """What a request asks for, as far as its body says. Never the prompt itself."""

    model: str | None = None
    streaming: bool = False
    output_max: int | None = None
    choices: int = 1
    wants_usage: bool | None = None
    """OpenAI-style streams: whether the caller asked for the usage chunk. None where that question does not arise."""
    service_tier: str | None = None
    variant: str | None = None
    """What a per-piece price depends on, such as '1024x1024/hd' for an image."""
    characters: int = 0
    """Characters of the text to be spoken, where speech is billed by them."""
    audio_ms: int | None = None
    """How long the audio is that is to be transcribed, by its own headers."""
    input_bytes: int = 0
    pieces: int = 1
    """Pieces asked for, where the provider bills pieces (images)."""
    stored: bool = False
    """Whether an answer that is else forgotten shall be kept under its id (chat completions)."""
    json_in: JsonIn = ""
    """Where the answer was asked to be JSON: in its text (a schema, JSON mode), or in the arguments of a tool that must
    be called."""
    background: bool = False
    """Whether the provider works on when nobody listens: hanging up ends nothing."""


class SubUsage(msgspec.Struct, frozen=True):
    """Usage that another model billed inside the same call."""

    model: str
    usage: Usage
    kind: str = ""
    prompt_tokens: int | None = None
    """Where this is the sum of several answers: their longest prompt, which decides what long prompts cost."""


class Metered(msgspec.Struct, frozen=True, gc=False):
    """What an answer says was used, as disjoint meters."""

    usage: Usage = {}
    quality: Quality = "missing"
    """exact: the provider said so; estimated: counted by us from what passed; missing: nothing known."""
    usage_raw: bytes = b""
    model: str | None = None
    """The model that served, as the answer names it; None where it does not."""
    priced_as: str | None = None
    """The name to price by, where the provider says more exactly than `model` which of its versions served."""
    service_tier: str | None = None
    """As the provider said it was served, in the provider's own word."""
    batch: bool = False
    speed: str | None = None
    region: str | None = None
    variant: str | None = None
    parts: tuple[SubUsage, ...] = ()
    prompt_tokens: int | None = None
    """Of `usage`, as SubUsage has it."""
    reported_cost: int | None = None
    """Pico-dollars, where the answer carries a price."""
    object_id: str | None = None
    """The stored object that was made or read, and is billed by this answer."""
    objects: tuple[Stored, ...] = ()
    """Further stored objects that the answer names: made, deleted, belonging to whoever made another."""
    apart: "tuple[Metered, ...]" = ()
    """What this answer tells that is billed by itself, each under its own object id, since other answers tell it too: a
    result of a batch that is read in pages, a response of a call that several sessions hear. `usage` has none of it."""
    pending: bool = False
    """Accepted but not billed yet (a background response that is queued): its cost comes with a later read."""
    error: str | None = None
    """The provider's error type or code: of an error answer, or of an error inside a 200 stream."""
    complete: bool = True
    """False where the stream ended before its own end mark."""
    finish_reason: str | None = None
    content: ContentKind = ""
    """What the answer holds, '' where nobody looked: something, nothing, the model's refusal, or not the JSON that was
    asked for."""
    marks: tuple[str, ...] = ()


class Options(msgspec.Struct, frozen=True):
    """What an installation says of a provider beside its address and its credential."""

    deployments: dict[str, str] = {}
    """Names that calls use -> the models behind them: Azure deployments, Bedrock's application profiles."""
    region: str = ""
    region_class: str = ""
    """How far data may travel, where the price depends on it and no answer tells: 'data_zone', 'regional'."""


NO_OPTIONS: Final = Options()


class Unsigned(NamedTuple):
    """A request as it will stand on the wire, ready to be signed."""

    method: str
    path: str
    query: str
    """Without '?'."""
    host: str
    headers: Mapping[str, str]
    """Lines that the scheme wants signed, by lower-case name."""
    body: bytes
    at_us: int


class Reader(Protocol):
    """Reads one answer, streamed or not, chunk by chunk, in linear time and bounded memory; never raises on input."""

    def feed(self, data: bytes) -> bytes:
        """Take the next decoded bytes of the body; return what the client gets of them (the same object,
        unless this reader takes out the usage chunk that Farebox asked for)."""
        ...

    def end(self) -> bytes:
        """The body is over: return bytes that were held back. Idempotent."""
        ...

    def metered(self) -> Metered:
        """What is known so far. May be called at any moment, also of a body that was cut."""
        ...

    @property
    def running(self) -> tuple[int, int]:
        """(input tokens, output tokens) known or estimated so far: cheap, read after every chunk of a stream."""
        ...


class Provider(Protocol):
    """One provider's API. Instances are immutable."""

    @property
    def name(self) -> str: ...
    @property
    def base_url(self) -> str:
        """Default origin with optional path prefix, without a trailing slash."""
        ...

    @property
    def version_prefix(self) -> str:
        """Path prefix that callers may leave out ('/v1'), or '' where there is none."""
        ...

    @property
    def credential_env(self) -> tuple[str, ...]:
        """Environment variables that hold a credential, the first one set wins. Of 'A+B' both are needed, and the
        credential is their values with ':' between."""
        ...

    @property
    def credential_headers(self) -> tuple[str, ...]:
        """Lower-case request headers in which this provider's callers put a credential."""
        ...

    @property
    def drains(self) -> bool:
        """True where hanging up does not stop the bill: read on to the end (source: wire notes on disconnects)."""
        ...

    @property
    def known_fields(self) -> frozenset[str]:
        """Attribution-like top-level body fields that this API knows itself, so that they stay in the body."""
        ...

    @property
    def openai_prefix(self) -> str | None:
        """Where this provider's OpenAI-compatible routes begin ('/v1', '/v1beta/openai'); None where it has none."""
        ...

    @property
    def prices_as(self) -> str:
        """The provider's id in the price book."""
        ...

    def upstream_path(self, path: str) -> str:
        """The path below `base_url`, its version prefix added where it was left out, never doubled."""
        ...

    def endpoint(self, method: str, path: str) -> Endpoint:
        """What a route is. `path` as `upstream_path` gives it, without the query. Unknown routes are 'other', unbilled
        only if they cannot cost anything."""
        ...

    def intent(self, endpoint: Endpoint, body: bytes) -> Intent:
        """Read a JSON body (or the fields of a multipart one). Unreadable bodies give an empty Intent."""
        ...

    def with_usage(self, endpoint: Endpoint, intent: Intent, body: bytes) -> bytes | None:
        """The body with the provider's usage report asked for, all other bytes in place; None where not needed."""
        ...

    def authorize(self, secret: str, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        """The headers that carry the credential to this route."""
        ...

    def region(self, host: str) -> str | None:
        """The region that the price book knows, where calling this host means one (data residency); else None."""
        ...

    def reader(
        self, endpoint: Endpoint, intent: Intent, status: int, headers: Mapping[str, str], *, strip_usage: bool = False
    ) -> Reader:
        """A reader for the answer with this status and these headers (lower-case names)."""
        ...

    def error_body(self, status: int, code: str, message: str, extra: Mapping[str, object] | None = None) -> bytes:
        """A refusal in this provider's own error shape, JSON; `extra` stands under 'farebox' beside 'error'."""
        ...


# What only some providers can do. The gateway and the directory ask for it by `isinstance`, once for each provider.


@runtime_checkable
class ReadsOnce(Provider, Protocol):
    """A provider that tells a JSON body's intent and the attribution in it from one reading."""

    def read_once(self, endpoint: Endpoint, body: bytes) -> tuple[Intent, BodyFields] | None:
        """What `intent` gives, and the attribution fields; None where that takes two readings. Of the endpoint it
        depends on the family alone, so that what one provider has read holds for another."""
        ...


@runtime_checkable
class Configurable(Provider, Protocol):
    """A provider that depends on what an installation says of it."""

    @property
    def options_env(self) -> tuple[tuple[str, str], ...]:
        """(option or 'base_url', environment variable that also says it); the first one set wins."""
        ...

    def configured(self, options: Options) -> Provider:
        """The same provider with these options; its `base_url` may follow from them."""
        ...


@runtime_checkable
class Versioned(Provider, Protocol):
    """A provider whose older versions, named in the query, do not know all that newer ones do."""

    def reports_usage_on_request(self, query: str) -> bool:
        """Whether a stream of the version that this query ('?api-version=…') names can be asked for its usage."""
        ...


@runtime_checkable
class Signing(Provider, Protocol):
    """A provider that has each request signed."""

    @property
    def signature_headers(self) -> frozenset[bytes]:
        """Lower-case headers of a caller's own signature: never passed on, since they say nothing of ours."""
        ...

    def sign(self, secret: str, request: Unsigned) -> tuple[tuple[str, str], ...]:
        """The header lines that sign a request; none where this credential is no signing one."""
        ...


@runtime_checkable
class NamesErrors(Provider, Protocol):
    """A provider whose SDKs read from headers what an error is, or what to do about it."""

    def error_headers(
        self, endpoint: Endpoint, status: int, code: str, facts: Mapping[str, object]
    ) -> tuple[tuple[str, str], ...]:
        """Header lines of a refusal at an endpoint; `facts` is what stands under 'farebox' in its body."""
        ...


class Session(Protocol):
    """Reads both directions of one websocket session, in linear time and bounded memory; never raises on input."""

    def upstream(self, data: bytes) -> None:
        """Take the next bytes from the provider, as they came off the wire after the handshake."""
        ...

    def client(self, data: bytes) -> None:
        """Take the next bytes from the caller."""
        ...

    @property
    def upstream_frames(self) -> Frames:
        """Where the provider's direction stands: closed, broken, or open to a frame that is put in."""
        ...

    @property
    def client_frames(self) -> Frames:
        """Where the caller's direction stands."""
        ...

    def metered(self) -> Metered:
        """What is known so far, summed over the session. May be called at any moment."""
        ...

    @property
    def running(self) -> tuple[int, int]:
        """(input tokens, output tokens) that the provider told so far: cheap."""
        ...


@runtime_checkable
class Realtime(Provider, Protocol):
    """A provider that has sessions over websockets."""

    def session(self, endpoint: Endpoint, intent_model: str | None) -> Session | None:
        """A reader for one session on this route; None where the route is no websocket. `intent_model` is the query's
        `model` or `deployment`, where it names one."""
        ...
