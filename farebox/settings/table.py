"""Every setting of Farebox: its name, default, range and help stand here once.

The structs below are both the type that the code reads (`settings.server.port`) and the table that validation,
`farebox init`, `serve --print-settings` and `docs/reference/settings.md` are made from (`SETTINGS`). A name's suffix is
its unit: `_s` seconds, `_ms` milliseconds, `_bytes`, `_days`.

A value comes from farebox.toml, is overridden by `FAREBOX_SECTION_KEY` in the environment, and that by a flag.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from farebox.core.routes import RETRY_ON, Route, read_route
from farebox.core.units import UnitRule, read_rules
from farebox.errors import InvalidRoute, SettingsError


def _note(help: str, low: float | None = None, high: float | None = None, **extra: bool) -> Meta:  # noqa: A002 (reads best in the table)
    return Meta(description=help, ge=low, le=high, extra=dict(extra))


GIB: Final = 1024**3
Kind = Literal["str", "int", "float", "bool", "list", "path", "map", "span", "targets"]


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The one public port, and what a client may do on it."""

    host: Annotated[str, _note("address to listen on")] = "127.0.0.1"
    port: Annotated[int, _note("port to listen on; 0 takes a free one", 0, 65535)] = 3273
    workers: Annotated[int, _note("gateway processes, one a core", 1, 256)] = 1
    auth: Annotated[
        Literal["required", "open"],
        _note("open lets calls in without a Farebox key; only on loopback or private addresses"),
    ] = "required"
    drain_s: Annotated[float, _note("how long open calls may go on after SIGTERM", 0, 3600)] = 30
    control_listen: Annotated[str, _note("HOST:PORT of a further port for API and dashboard alone")] = ""
    header_bytes_max: Annotated[int, _note("request line and headers of one call", 1024, 1024**2)] = 65536
    headers_max: Annotated[int, _note("header lines of one call", 8, 1024)] = 128
    body_bytes_max: Annotated[int, _note("request body that is read whole", 1024, 2 * GIB)] = 134217728
    upload_bytes_max: Annotated[int, _note("request body that is streamed through", 1024, 1024 * GIB)] = 2147483648
    connections_max: Annotated[int, _note("open client connections of one worker", 1, 1_000_000)] = 20000
    header_timeout_s: Annotated[float, _note("from a request's first byte to the end of its headers", 0.1, 3600)] = 15
    body_idle_timeout_s: Annotated[float, _note("silence inside a request body", 0.1, 3600)] = 60
    keepalive_s: Annotated[float, _note("silence between two calls of one connection", 0.1, 3600)] = 75
    pipelined_max: Annotated[int, _note("calls that one connection may send ahead", 1, 1024)] = 16
    buffer_bytes_max: Annotated[int, _note("bytes held for a slow reader before the sender is paused", 4096, GIB)] = (
        262144
    )
    objects_wait_s: Annotated[
        float, _note("longest wait to learn whose a stored object is, for keys bound to a tenant", 0.01, 600)
    ] = 5
    tls_cert: Annotated[str, _note("certificate chain (PEM) to serve https with", path=True)] = ""
    tls_key: Annotated[str, _note("private key (PEM) of tls_cert", path=True)] = ""


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """Connections to the providers."""

    connect_timeout_s: Annotated[float, _note("connecting to a provider, TLS included", 0.1, 600)] = 10
    first_byte_timeout_s: Annotated[float, _note("from the request sent to the answer's first byte", 0.1, 86400)] = 600
    idle_timeout_s: Annotated[float, _note("silence inside an answer", 0.1, 86400)] = 300
    websocket_idle_s: Annotated[float, _note("silence of both sides of a realtime session", 0.1, 86400)] = 600
    pool_idle_s: Annotated[float, _note("how long an unused connection is kept", 0, 3600)] = 55
    pool_max: Annotated[int, _note("unused connections that one worker keeps to one provider", 1, 100_000)] = 2000
    tls_verify: Annotated[bool, _note("check the providers' certificates")] = True
    ca_file: Annotated[str, _note("certificates to trust instead of the system's (PEM)", path=True)] = ""
    client_gone: Annotated[
        Literal["auto", "cancel", "drain"],
        _note("when a caller hangs up: hang up too, read on to learn the cost, or as fits the provider"),
    ] = "auto"
    drain_s_max: Annotated[float, _note("longest reading on for a caller that is gone", 0, 3600)] = 120
    drain_calls_max: Annotated[
        int, _note("answers that one worker reads on at the same time; further ones are hung up on", 0, 1_000_000)
    ] = 1000
    drain_bytes_max: Annotated[int, _note("most of one answer that is read on", 0, 1024 * GIB)] = 67108864


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """What is written before anything can interrupt a call."""

    fsync: Annotated[
        Literal["interval", "call"], _note("interval: power loss may cost the last fsync_ms; call: nothing, but slower")
    ] = "interval"
    fsync_ms: Annotated[int, _note("time between two syncs to disk", 1, 60_000)] = 50
    segment_bytes: Annotated[int, _note("size of one journal file", 65536, GIB)] = 16777216
    full: Annotated[
        Literal["refuse", "pass"], _note("when the disk is full: refuse calls (503), or let them pass unrecorded")
    ] = "refuse"


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The store of events and what is asked of it."""

    memory_bytes: Annotated[
        int, _note("memory of the store; 0 = the smaller of 1 GiB and a quarter of the machine", 0)
    ] = 0
    threads: Annotated[int, _note("threads of the store; 0 = by the machine", 0, 256)] = 0
    query_timeout_s: Annotated[float, _note("longest answer to a question", 0.1, 3600)] = 30
    events_keep_days: Annotated[int, _note("keep single events so long; 0 = for ever; sums always stay", 0, 36500)] = 0
    usage_raw_keep_days: Annotated[int, _note("keep the providers' usage objects so long; 0 = for ever", 0, 36500)] = 90
    objects_keep_days: Annotated[
        int, _note("remember who made a stored object so long after it was last heard of; 0 = for ever", 0, 36500)
    ] = 400
    objects_max: Annotated[
        int, _note("stored objects that are remembered, about 300 bytes each; the oldest go first", 1000, 10**9)
    ] = 10000000
    ingest_ms: Annotated[int, _note("time between two readings of the journals", 10, 60_000)] = 200
    batch_max: Annotated[int, _note("events in one transaction", 1, 1_000_000)] = 125000
    promoted_tags: Annotated[
        tuple[str, ...], _note("tags that are summed ahead, so that grouping by them is fast")
    ] = ()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How limits are counted and what happens while they cannot be."""

    grace: Annotated[
        int,
        _note(
            "calls that one worker lets through unchecked while the authority on limits cannot be reached and it holds "
            "no lease",
            0,
            1_000_000,
        ),
    ] = 1000
    subjects_per_minute: Annotated[
        int,
        _note(
            "new subjects a minute that get accounts of their own, for each limit; further calls count on the shared "
            "subject (other)",
            1,
            10_000_000,
        ),
    ] = 6000
    throttle_wait_s: Annotated[
        float,
        _note(
            "longest wait of a throttled call for its next minute; what would wait longer is refused; 0 = no wait",
            0,
            60,
        ),
    ] = 2
    throttle_waiting_max: Annotated[
        int, _note("throttled calls that wait at one worker at the same time; more are refused", 0, 1_000_000)
    ] = 1000


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """Customers, plans and revenue."""

    time_zone: Annotated[str, _note("whose days and months plans, revenue and closes go by (IANA name)")] = "UTC"
    stripe_webhook_secret: Annotated[
        str, _note("signing secret (whsec_…) of the Stripe webhook that tells of customers and invoices", secret=True)
    ] = ""


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """How often alerts are looked for, and how they are told."""

    limits_s: Annotated[float, _note("time between two looks at the limits' accounts", 0.1, 3600)] = 5
    ledger_s: Annotated[float, _note("time between two looks at the ledger", 0.1, 86_400)] = 60
    attempts_max: Annotated[
        int, _note("times that a message is sent before it is a dead letter; 12 of them take about 16 hours", 1, 30)
    ] = 12
    retry_s: Annotated[
        float, _note("pause after the first attempt that failed; it doubles with each further one", 0.1, 3600)
    ] = 30
    keep_days: Annotated[int, _note("keep the history so long, at least 40 days; 0 = for ever", 0, 36500)] = 400
    dashboard_url: Annotated[str, _note("address of this server for links in messages; unsaid: paths alone")] = ""


class Reports(msgspec.Struct, frozen=True, kw_only=True):
    """Reports that are sent by themselves."""

    weekly_channels: Annotated[
        tuple[str, ...], _note("channels that get the week's report, once a week; none: it is not sent")
    ] = ()
    weekly_at: Annotated[str, _note("when, by the clock of books.time_zone; late by at most three days")] = "mon 07:00"


class Dashboard(msgspec.Struct, frozen=True, kw_only=True):
    """The pages, and who stays logged in to them."""

    session_days: Annotated[float, _note("how long a browser stays logged in", 0.01, 366)] = 14
    failures_max: Annotated[
        int, _note("wrong passwords in five minutes, of one address or for one user, before both have to wait", 1, 1000)
    ] = 10


class Oidc(msgspec.Struct, frozen=True, kw_only=True):
    """Logging in to the dashboard with an identity provider (OpenID Connect), beside passwords."""

    issuer: Annotated[str, _note("address of the identity provider; unsaid: passwords only")] = ""
    client_id: Annotated[str, _note("Farebox's id there; its callback is ADDRESS/login/oidc/callback")] = ""
    client_secret: Annotated[str, _note("the secret of that id; better in the environment", secret=True)] = ""
    name: Annotated[str, _note("what the button says: Log in with NAME")] = "single sign-on"
    admins: Annotated[tuple[str, ...], _note("e-mail addresses, or @domains, that are admins")] = ()
    analysts: Annotated[tuple[str, ...], _note("e-mail addresses, or @domains, that may read")] = ()


class Portal(msgspec.Struct, frozen=True, kw_only=True):
    """The page on which a customer sees its own usage."""

    frame_ancestors: Annotated[
        tuple[str, ...],
        _note(
            "sites that may show it in a frame, such as https://app.acme.com, unless a link names its own; unsaid: none"
        ),
    ] = ()


class Paywall(msgspec.Struct, frozen=True, kw_only=True):
    """For who sells access to an installation: pages open to whoever has bought it. Off unless both first are set."""

    stripe_webhook_secret: Annotated[
        str, _note("signing secret (whsec_…) of the Stripe webhook that tells of purchases", secret=True)
    ] = ""
    payment_link: Annotated[
        str, _note("the payment link that is sold by: its address (https://buy.stripe.com/…), or its id (plink_…)")
    ] = ""
    payment_link_id: Annotated[
        str, _note("its id (plink_…) where payment_link is its address: events name the id alone")
    ] = ""
    role: Annotated[Literal["admin", "analyst"], _note("what the buyer becomes")] = "admin"
    test: Annotated[bool, _note("purchases of Stripe's test mode count, too")] = False

    @property
    def is_on(self) -> bool:
        return bool(self.stripe_webhook_secret)


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """The key that all stored secrets are sealed with."""

    master_key_file: Annotated[
        str,
        _note(
            "file of the master key, outside the data directory; made if missing; ~/.config/farebox/master.key unless "
            "said. FAREBOX_MASTER_KEY in the environment goes before it",
            path=True,
        ),
    ] = ""


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """What is told on standard error. Never a prompt, an answer or a secret."""

    level: Annotated[Literal["debug", "info", "warning", "error"], _note("the least that is logged")] = "info"
    format: Annotated[Literal["text", "json"], _note("lines for people or for machines")] = "text"


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One provider. Any name may be given to a service that speaks a known provider's format."""

    base_url: Annotated[str, _note("origin with optional path prefix, in place of the provider's own")] = ""
    credential: Annotated[
        str, _note("the provider's API key; better in the environment or `providers set`", secret=True)
    ] = ""
    wire: Annotated[str, _note("a provider whose format and prices it shares; unsaid: OpenAI's format, own prices")] = (
        ""
    )
    ca_file: Annotated[str, _note("certificates to trust for it (PEM)", path=True)] = ""
    tls_verify: Annotated[bool, _note("check its certificate")] = True
    deployments: Annotated[
        dict[str, str],
        _note("names that calls use and the models behind them: Azure deployments, Bedrock's application profiles"),
    ] = {}
    region: Annotated[str, _note("the region to call and to sign for (Bedrock)")] = ""
    region_class: Annotated[
        Literal["", "global", "data_zone", "regional"],
        _note("how far data may travel, where prices depend on it and no answer tells (Azure)"),
    ] = ""


class UnitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A unit of your own that calls count in by rule, for limits and usage: `[units.analyses]`."""

    where: Annotated[
        dict[str, str],
        _note('dimensions or tags and their values, all of which a call must have, such as {feature = "analyze"}'),
    ] = {}
    once_per: Annotated[
        str, _note("dimension or tag for each value of which only the first call that is done counts, such as task")
    ] = ""
    count: Annotated[int, _note("how many of the unit such a call counts as", 1, 1_000_000)] = 1


class RouteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A name that stands for several targets, of which the next is tried where one fails: `[routes.smart]`."""

    targets: Annotated[
        tuple[Any, ...],  # Any: texts and tables, which `core.routes` reads
        _note(
            'PROVIDER/MODEL, or a table such as {target = "openai/gpt-4.1-mini", weight = 2, timeout = "5s", '
            'budget = "50 usd", window = "day"}',
            targets=True,
        ),
    ] = ()
    order: Annotated[
        Literal["listed", "weighted", "latency", "cost"],
        _note("which target is first: as listed, by chance and weight, the quickest of late, or the cheapest"),
    ] = "listed"
    timeout: Annotated[
        str, _note("longest wait of an attempt for its answer's first byte, such as 20s or 500ms; empty: "
                   "upstream.first_byte_timeout_s", span=True)
    ] = ""  # fmt: skip
    retry_on: Annotated[
        tuple[str, ...], _note("what moves a call on to the next target: connect, timeout, statuses such as 429 or 5xx")
    ] = RETRY_ON
    sticky: Annotated[
        bool, _note("calls of one session (else user, else tenant) begin at the same target, by weight")
    ] = False
    hedge: Annotated[
        str, _note("ask a second target as well after so long a wait for the first byte, such as 2s; empty: never. "
                   "Both are paid", span=True)
    ] = ""  # fmt: skip
    break_after: Annotated[int, _note("failures running after which a target is left alone for a while", 1, 1000)] = 5
    rest: Annotated[
        str, _note("how long that is at first; twice as long each time that it fails again", span=True)
    ] = "10s"  # fmt: skip


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. Built by `load`; immutable; `to_json` and `from_json` take it to another process."""

    data: Annotated[Path, _note("directory of journals, ledger and directory", path=True)] = Path("farebox-data")
    server: Server = Server()
    upstream: Upstream = Upstream()
    journal: Journal = Journal()
    ledger: Ledger = Ledger()
    limits: Limits = Limits()
    alerts: Alerts = Alerts()
    reports: Reports = Reports()
    books: Books = Books()
    dashboard: Dashboard = Dashboard()
    oidc: Oidc = Oidc()
    portal: Portal = Portal()
    paywall: Paywall = Paywall()
    secrets: Secrets = Secrets()
    log: Log = Log()
    providers: dict[str, ProviderSettings] = {}
    units: dict[str, UnitSettings] = {}
    routes: dict[str, RouteSettings] = {}

    @property
    def route_table(self) -> dict[str, Route]:
        """Routes by name. Raises SettingsError for one that cannot be."""
        try:
            return {name: read_route(name, msgspec.structs.asdict(route)) for name, route in self.routes.items()}
        except InvalidRoute as error:
            raise SettingsError(f"routes: {error}") from None

    @property
    def unit_rules(self) -> tuple[UnitRule, ...]:
        """Raises SettingsError for one that cannot be."""
        return read_rules({unit: (rule.where, rule.once_per, rule.count) for unit, rule in self.units.items()})


class Setting(msgspec.Struct, frozen=True):
    """A row of the table. `section` is '' for `data`, and ends with '.*' where it stands once for each name."""

    section: str
    key: str
    kind: Kind
    default: object
    help: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    is_path: bool = False
    is_secret: bool = False

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        section = self.section.replace(".*", "_<NAME>")
        return "FAREBOX_" + "_".join(part for part in (section.upper(), self.key.upper()) if part)


SECTIONS: Final[dict[str, type[msgspec.Struct]]] = {
    "server": Server,
    "upstream": Upstream,
    "journal": Journal,
    "ledger": Ledger,
    "limits": Limits,
    "alerts": Alerts,
    "reports": Reports,
    "books": Books,
    "dashboard": Dashboard,
    "oidc": Oidc,
    "portal": Portal,
    "paywall": Paywall,
    "secrets": Secrets,
    "log": Log,
    "providers.*": ProviderSettings,
    "units.*": UnitSettings,
    "routes.*": RouteSettings,
}
NAMED: Final = tuple(section.removesuffix(".*") for section in SECTIONS if section.endswith(".*"))
"""Sections that stand once for each name: `[providers.openai]`."""
_KINDS: Final[dict[object, Kind]] = {
    str: "str", int: "int", float: "float", bool: "bool", Path: "path", Literal: "str", tuple: "list", dict: "map",
}  # fmt: skip


def _row(section: str, key: str, hint: Any, default: object) -> Setting:  # Any: a type hint has no better type
    kind, meta = get_args(hint)
    origin = get_origin(kind) or kind
    extra = meta.extra
    of_its_own: Kind | None = "span" if extra.get("span") else "targets" if extra.get("targets") else None
    return Setting(
        section=section,
        key=key,
        kind=of_its_own or _KINDS[origin],
        default=default,
        help=meta.description,
        choices=get_args(kind) if origin is Literal else (),
        low=meta.ge,
        high=meta.le,
        is_path=extra.get("path", False),
        is_secret=extra.get("secret", False),
    )


def _rows(section: str, struct: type[msgspec.Struct]) -> tuple[Setting, ...]:
    hints = get_type_hints(struct, include_extras=True)
    empty = struct()
    return tuple(
        _row(section, key, hint, getattr(empty, key)) for key, hint in hints.items() if get_origin(hint) is Annotated
    )


SETTINGS: Final[tuple[Setting, ...]] = (
    *_rows("", Settings),
    *(row for section, struct in SECTIONS.items() for row in _rows(section, struct)),
)


def to_json(settings: Settings) -> bytes:
    """For a child process. Holds credentials: pass it by a file descriptor, never on a command line."""
    return msgspec.json.encode(settings, enc_hook=str)


def from_json(data: bytes) -> Settings:
    return msgspec.json.decode(data, type=Settings, dec_hook=lambda kind, text: kind(text))
