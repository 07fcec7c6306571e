"""The bodies that the API takes. A field that is not known is refused, never ignored."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from farebox.core.alert_rules import HOURLY_MAX, KINDS
from farebox.core.backtest_report import ROWS_MAX
from farebox.core.limit_text import CHOICES

Text = Annotated[str, Field(max_length=4096)]
Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=64)]
TagValue = bool | int | float | Annotated[str, Field(max_length=256)]
Moment = Annotated[str, Field(max_length=64, examples=["90d", "2027-01-01", "2027-01-01T00:00:00Z"])]


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class KeyForm(Form):
    """A Farebox key to be made. Empty lists restrict nothing."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="what the key is for")]
    bind: dict[str, TagValue] = Field(default={}, description="dimensions that no call with it can change")
    providers: Names = Field(default=[], description="providers it may call")
    models: Names = Field(default=[], description="globs of models it may call")
    routes: Names = Field(default=[], description="globs of upstream paths it may call, or of routes by name")
    require: Names = Field(default=[], description="dimensions that each call must carry")
    trust: Names = Field(default=[], description="dimensions believed from the caller, such as tier")
    audience: Literal["team", "customer"] = Field(default="team", description="customer: never told amounts in usd")
    allow_objects: bool = Field(default=False, description="may list, read and delete stored objects")
    expires: Moment | None = Field(default=None, description="in how long (90d) or when")


class KeyChange(Form):
    """What to change of a key; what is left out stays."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = ""
    bind: dict[str, TagValue] = {}
    providers: Names = []
    models: Names = []
    routes: Names = []
    require: Names = []
    trust: Names = []
    audience: Literal["team", "customer"] = "team"
    allow_objects: bool = False
    expires: Moment | None = Field(default=None, description="in how long or when; null: never")


class RotateForm(Form):
    overlap: Moment = Field(default="0s", description="how long the old secret stays valid, such as 24h")


class PortalForm(Form):
    """A link by which a customer sees its own usage."""

    expires_in: Moment = Field(default="1h", description="in how long it ends (24h), or when; a year at most")
    user: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="one user of the customer: nothing of the others is shown"
    )
    origins: Names = Field(
        default=[], description="sites that may show it in a frame or read its JSON, in place of portal.frame_ancestors"
    )


class TokenForm(Form):
    name: Annotated[str, Field(min_length=1, max_length=200, description="whom it is for")]
    role: Literal["admin", "analyst", "ingest"] = Field(description="admin: all; analyst: read; ingest: send events")
    expires: Moment | None = Field(default=None, description="in how long (90d) or when")


def _one_of(name: str, about: str) -> Any:  # Any: pydantic's own type for a field
    """One of the choices of a limit; another one is refused where limits are read, by a clearer message."""
    return Field(default=None, max_length=64, description=about, json_schema_extra={"enum": [*CHOICES[name], None]})


class LimitChange(Form):
    """What to change of a limit: what is left out stays, null is the default."""

    per: Text | None = Field(default=None, description="user, tenant, tier, feature, key, tag.NAME …, or all together")
    where: dict[str, TagValue] | None = Field(default=None, description="only calls with these values")
    subject: Text | None = Field(default=None, description="only this one, in place of what holds for each")
    amount: str | int | float | dict[str, str | int | float] | None = Field(
        default=None, description="how much, with its unit", examples=["5 usd", "2000 requests"]
    )
    unit: Text | None = Field(default=None, description="the amount's, where it does not say itself")
    window: str | None = _one_of("window", "month unless said; billing begins on the anchor day")
    time_zone: Text | None = Field(default=None, description="whose days, weeks and months; UTC unless said")
    action: str | None = _one_of("action", "what happens once the amount is used up; block unless said")
    model: Text | None = Field(default=None, description="what downgrade turns calls to")
    rate: int | None = Field(default=None, description="calls a minute that throttle still lets pass")
    warn_at: float | list[float] | None = Field(default=None, description="shares at which to warn; 0.8 unless said")
    reserve: str | None = _one_of("reserve", "what is held for a call: expected unless said")
    strict: bool | None = Field(default=None, description="zero overshoot: calls without a bound are refused")
    unpriced: str | None = _one_of("unpriced", "models without a price: refuse unless said")
    allow_unbounded: bool | None = Field(default=None, description="let calls without a bound pass a strict limit")
    min_output: int | None = Field(default=None, description="least output that a strict limit leaves; 16 unless said")
    include_byok: bool | None = Field(default=None, description="count calls with the caller's own credential")
    anchor_day: int | None = Field(default=None, description="first day of a billing month; 1 unless said")
    message: Text | None = Field(
        default=None, description="for the end customer; may use {amount} {used} {reset_at} {tier}"
    )


class LimitForm(LimitChange):
    """A limit to be set. What is left out or null is the default."""

    per: Text = Field(description="user, tenant, tier, feature, key, tag.NAME …, or all together")
    amount: str | int | float | dict[str, str | int | float] = Field(
        description="how much, with its unit", examples=["5 usd", "2000 requests"]
    )


Span = Annotated[str | int | float, Field(examples=["20s", "500ms"])]
Statuses = Annotated[list[Annotated[str, Field(min_length=1, max_length=256)] | int], Field(max_length=64)]


class RouteTargetForm(Form):
    target: Text = Field(description="PROVIDER/MODEL", examples=["openai/gpt-4.1-mini"])
    weight: int | None = Field(default=None, description="its share where the order is weighted; 1 unless said")
    timeout: Span | None = Field(default=None, description="longest wait for its answer's first byte")
    budget: Text | None = Field(default=None, description="what it may spend by this route", examples=["50 usd"])
    window: Text | None = Field(default=None, description="for which time: day, month … month unless said")


class RouteChange(Form):
    """What to change of a route: what is left out stays, null is the default."""

    targets: list[Text | RouteTargetForm] | None = Field(
        default=None, description="PROVIDER/MODEL, in the order of trying", max_length=64
    )
    order: Text | None = Field(default=None, description="listed unless said, weighted, latency or cost")
    timeout: Span | None = Field(default=None, description="longest wait of an attempt for its answer's first byte")
    retry_on: Statuses | None = Field(
        default=None, description="what moves a call on: connect, timeout, statuses such as 429 or 5xx"
    )
    sticky: bool | None = Field(default=None, description="calls of a session begin at the same target")
    hedge: Span | None = Field(default=None, description="ask a second target after so long a wait; never unless said")
    break_after: int | None = Field(default=None, description="failures running after which a target rests")
    rest: Span | None = Field(default=None, description="for how long, at first")


class RouteForm(RouteChange):
    """A route to be set. What is left out or null is the default."""

    name: Text = Field(description="what calls name instead of a model", examples=["smart"])
    targets: list[Text | RouteTargetForm] = Field(
        description="PROVIDER/MODEL, in the order of trying", max_length=64, examples=[["openai/gpt-4.1-mini"]]
    )


class SwapForm(Form):
    feature: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="whose calls; *: those of all features that no other entry names, (none): those without one"
    )
    model: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="what serves them instead, by name or as provider/model", examples=["gpt-4.1-mini"]
    )


class SimulateForm(Form):
    """A change to be tried on the past: a limit (as it would be set, or the id of one that was), or other models,
    prices of plans and prices of models, any of them together."""

    limit: LimitForm | Annotated[str, Field(min_length=1, max_length=64, examples=["lim_5f0c2a91d3b8e647"])] | None = (
        None
    )
    models: list[SwapForm] = Field(default=[], max_length=100, description="other models, by feature")
    plan_prices: dict[str, str | int | float] = Field(
        default={}, max_length=100, description="dollars for the plan's own period, by plan", examples=[{"pro": "59"}]
    )
    prices: list[dict[str, Any]] = Field(
        default=[], max_length=1000, description="rows as POST /prices takes them, as if always in force"
    )
    since: Moment | None = Field(default="30d", description="first moment; null: from the first event on (limits only)")
    until: Moment | None = Field(default=None, description="end, exclusive; now unless said")
    time_zone: Text = Field(default="UTC", description="whose months, for margins; a limit says its own")
    rows: int = Field(default=20, ge=1, le=ROWS_MAX, description="most affected subjects or customers to name")

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        changes = bool(self.models or self.plan_prices or self.prices)
        if changes == (self.limit is not None):
            raise ValueError("give a limit, or any of models, plan_prices and prices")
        return self


class AlertChange(Form):
    """What to change of an alert rule; what is left out stays."""

    spec: dict[str, Any] = Field(default={}, description="numbers of the kind; what is left out stays, null: default")
    channels: Names = Field(default=[], description="channels to tell, by id or name; none: only the history")
    enabled: bool = True
    hourly_max: int = Field(default=HOURLY_MAX, description="messages an hour; beyond them one says so")


class AlertForm(Form):
    """An alert rule to be made."""

    kind: str = Field(max_length=64, description="what to watch for", json_schema_extra={"enum": [*KINDS]})
    spec: dict[str, Any] = Field(default={}, description="numbers of the kind; what is left out is the default")
    channels: Names = Field(default=[], description="channels to tell, by id or name; none: only the history")
    enabled: bool = True
    hourly_max: int = Field(default=HOURLY_MAX, description="messages an hour; beyond them one says so")


class ChannelForm(Form):
    """A channel to be added. Its address is kept sealed and never shown again."""

    name: Annotated[str, Field(min_length=1, max_length=200, description="what rules call it")]
    kind: Literal["apprise", "webhook"] = Field(description="webhook: signed JSON to an address of your own")
    url: Text = Field(description="slack://…, mailto://… (Apprise), or https://… of a webhook")
    to: Literal["owner"] | None = Field(default=None, description="e-mail to the owner of the customer concerned")
    allow_private: bool = Field(default=False, description="a webhook may be in a private network, and http")
    all_rules: bool = Field(default=False, description="add it to every alert rule there is")


class ChannelChange(Form):
    enabled: bool = Field(description="false: send nothing there; true: again")


class SendForm(Form):
    channel: Text = Field(description="a channel's id or name")


class ProviderForm(Form):
    """What to change of a provider: what is left out stays, null clears. A new base URL clears the credential."""

    base_url: Text | None = Field(default=None, description="origin with optional path prefix")
    credential: Text | None = Field(default=None, description="the provider's API key; kept sealed, never shown again")
    wire: Text | None = Field(default=None, description="the provider whose format it speaks")
    headers: dict[str, Text] | None = Field(default=None, description="further headers to send")
    ca_file: Text | None = Field(default=None, description="certificates to trust for it (PEM)")
    tls_verify: bool | None = Field(default=None, description="check its certificate")
    deployments: dict[str, Text] | None = Field(
        default=None,
        description="models behind names that calls use; those given are changed, '' takes one back, null all",
    )
    region: Text | None = Field(default=None, description="region to call and to sign for (Bedrock)")
    region_class: Literal["global", "data_zone", "regional"] | None = Field(
        default=None, description="how far data may travel, where prices depend on it (Azure)"
    )


class PricesForm(Form):
    rows: list[dict[str, Any]] = Field(
        min_length=1, max_length=10_000, description="dated rows; they never overwrite an older one"
    )


class RepriceForm(Form):
    dry_run: bool = Field(default=False, description="only say what would change")
