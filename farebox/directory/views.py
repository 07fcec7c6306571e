"""Stored rows and settings become what the data plane reads. Pure: no database, no clock."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from farebox.core.events import Tag
from farebox.core.origins import checked_base_url
from farebox.directory.rows import KeySpec, ProviderRow
from farebox.directory.snapshot import KeyView, ProviderView
from farebox.providers.protocol import Configurable, Options, Provider
from farebox.settings import ProviderSettings, Settings

OTHER_WIRE = "openai-compatible"
"""What a service speaks that is not in PROVIDERS and does not say: OpenAI's format under its own name and prices."""


class KeyRecord(msgspec.Struct, frozen=True, gc=False):
    """A key as stored: what it may do, and its hashes with the end (µs) of each; none once it is revoked."""

    id: str
    spec: KeySpec
    hashes: tuple[tuple[bytes, int | None], ...]


class CustomerRecord(msgspec.Struct, frozen=True, gc=False):
    """A customer as stored: its own anchor day, and (first day as ISO text, plan) oldest first."""

    tenant: str
    anchor_day: int | None
    held: tuple[tuple[str, str | None], ...]

    def plan_on(self, day: str) -> str | None:
        return next((plan for from_day, plan in reversed(self.held) if from_day <= day), None)

    def changes_after(self, day: str) -> bool:
        """Whether its plan is known to change on a later day."""
        return bool(self.held) and self.held[-1][0] > day


@lru_cache(maxsize=4096)
def json_names(text: str) -> tuple[str, ...]:
    """A JSON list of names. Remembered, since most keys share the same few lists."""
    return msgspec.json.decode(text, type=tuple[str, ...])


@lru_cache(maxsize=4096)
def _shared(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names)


def json_tags(text: str) -> dict[str, Tag]:
    return msgspec.json.decode(text, type=dict[str, Tag])


def json_texts(text: str) -> dict[str, str]:
    return msgspec.json.decode(text, type=dict[str, str])


def key_views(record: KeyRecord) -> dict[bytes, KeyView]:
    """One view for each hash: an overlapped secret ends with its overlap, and none outlives the key."""
    spec = record.spec
    return {
        hashed: KeyView(
            id=record.id,
            name=spec.name,
            bind=spec.bind,
            providers=_shared(spec.providers),
            models=spec.models,
            routes=spec.routes,
            require=_shared(spec.require),
            trust=_shared(spec.trust),
            audience=spec.audience,
            allow_objects=spec.allow_objects,
            expires_at_s=_earlier_s(spec.expires_at_us, ends_at_us),
        )
        for hashed, ends_at_us in record.hashes
    }


class Configured(msgspec.Struct, frozen=True):
    """A provider as it is in force, with where its credential comes from ('' for none), still sealed where stored."""

    view: ProviderView
    sealed: bytes | None
    credential_from: str
    base_url_from: str


def configured(
    settings: Settings, known: Iterable[Provider], rows: Iterable[ProviderRow], env: Mapping[str, str]
) -> dict[str, Configured]:
    """Every provider that has an address: the known ones, those of the settings, those of the directory.

    What was stored goes before the settings, and those before what the provider's file says. A credential of the
    settings or the environment is used only at the address that they (or the provider's file) give: whoever may
    change the stored address can not have it sent there.
    """
    wires = {provider.name: provider for provider in known}
    stored = {row.name: row for row in rows}
    found: dict[str, Configured] = {}
    for name in (*wires, *settings.providers, *stored):
        if name not in found:
            entry = _configured(settings, wires.get(name), stored.get(name, ProviderRow(name=name)), env)
            if entry.view.base_url:
                found[name] = entry
    return found


def credential_context(name: str) -> str:
    """What a provider's credential is sealed for."""
    return f"provider/{name}"


def _configured(settings: Settings, wire: Provider | None, row: ProviderRow, env: Mapping[str, str]) -> Configured:
    own = settings.providers.get(row.name, ProviderSettings())
    options, said_url = _options(own, row, wire, env)
    if isinstance(wire, Configurable):
        wire = wire.configured(options)
    settled_url = checked_base_url(own.base_url or said_url) if own.base_url or said_url else ""
    settled_url = settled_url or (wire.base_url if wire else "")
    base_url = row.base_url or settled_url
    credential, credential_from = _settings_credential(own, wire, env)
    if row.credential is not None:
        credential, credential_from = None, "directory"
    elif base_url != settled_url:
        credential, credential_from = None, ""
    view = ProviderView(
        name=row.name,
        wire=row.wire or own.wire or (wire.name if wire else OTHER_WIRE),
        base_url=base_url,
        credential=credential,
        headers=tuple(row.headers.items()),
        ca_file=row.ca_file or own.ca_file or settings.upstream.ca_file or None,
        verify=own.tls_verify and settings.upstream.tls_verify if row.tls_verify is None else row.tls_verify,
        options=options,
    )
    base_url_from = "directory" if row.base_url else "settings" if own.base_url or said_url else "built in"
    return Configured(view, row.credential, credential_from, base_url_from)


def _options(
    own: ProviderSettings, row: ProviderRow, wire: Provider | None, env: Mapping[str, str]
) -> tuple[Options, str]:
    """What is said of a provider, stored before settings before environment; and an address that only the latter
    gives. Deployments add up."""
    said: dict[str, str] = {}
    for option, variable in wire.options_env if isinstance(wire, Configurable) else ():
        if env.get(variable):
            said.setdefault(option, env[variable])
    options = Options(
        deployments={**own.deployments, **row.deployments},
        region=row.region or own.region or said.get("region", ""),
        region_class=row.region_class or own.region_class,
    )
    return options, said.get("base_url", "")


def _settings_credential(
    own: ProviderSettings, wire: Provider | None, env: Mapping[str, str]
) -> tuple[str | None, str]:
    if own.credential:
        return own.credential, "settings"
    for variables in wire.credential_env if wire else ():
        values = [env.get(variable, "") for variable in variables.split("+")]
        if all(values):
            return ":".join(values), variables
    return None, ""


def _earlier_s(*moments_us: int | None) -> float | None:
    known = [moment for moment in moments_us if moment is not None]
    return min(known) / 1_000_000 if known else None
