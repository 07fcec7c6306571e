"""Providers as stored: an address, a sealed credential, whose format it speaks."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select

from farebox.core.origins import checked_base_url
from farebox.directory import schema
from farebox.directory.rows import NAME_CHARS_MAX, ProviderRow
from farebox.directory.vault import Vault
from farebox.directory.views import OTHER_WIRE, credential_context, json_texts
from farebox.directory.writing import Change, Database, json
from farebox.errors import InvalidEntry, NotFound
from farebox.providers import PROVIDERS, google_accounts
from farebox.settings import Settings, check_provider_name, check_region

CREDENTIAL_CHARS_MAX: Final = 8192
DEPLOYMENTS_MAX: Final = 1024
REGION_CLASSES: Final = ("global", "data_zone", "regional")
FRAMING_HEADERS: Final = (
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "expect",
    "upgrade",
    "te",
    "trailer",
)
"""What the gateway itself decides for each request."""
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")


class Providers:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def list(self) -> list[ProviderRow]:
        """What is stored, by name: not those that settings or the environment alone configure."""
        table = schema.providers
        with self._database.reading() as connection:
            return [_provider(row) for row in connection.execute(select(table).order_by(table.c.name)).all()]

    def known(self, settings: Settings) -> set[str]:
        """The names of all that calls can go to, once they have a credential."""
        stored = {row.name for row in self.list()}
        return {*(provider.name for provider in PROVIDERS), *settings.providers, *stored}

    def get(self, name: str) -> ProviderRow | None:
        with self._database.reading() as connection:
            return _find(connection, name)

    def set(
        self,
        name: str,
        *,
        credential: str | None = None,
        base_url: str | None = None,
        wire: str | None = None,
        headers: dict[str, str] | None = None,
        ca_file: str | None = None,
        tls_verify: bool | None = None,
        deployments: dict[str, str] | None = None,
        region: str | None = None,
        region_class: str | None = None,
        by: str = "shell",
    ) -> ProviderRow:
        """Change what is given, keep the rest. A new `base_url` or `wire` clears the stored credential unless one is
        given with it, so that a credential is only ever sent where it was meant for. '' takes a value back; of
        `deployments` those given are changed, and those given as '' taken back; an empty mapping takes all back.

        Raises SettingsError for an address that is none or not allowed, InvalidEntry for a credential that cannot
        be one.
        """
        check_provider_name(name)
        _check_wire(wire)
        _check_headers(headers or {})
        _check_options(deployments or {}, region, region_class)
        base_url = checked_base_url(base_url) if base_url else base_url
        with self._database.changing(by) as change:
            old = _find(change.connection, name) or ProviderRow(name=name)
            known = None if deployments is None else _merged(old.deployments, deployments)
            new = _changed(
                old, base_url=base_url, wire=wire, headers=headers, ca_file=ca_file, tls_verify=tls_verify,
                deployments=known, region=region, region_class=region_class,
            )  # fmt: skip
            moved = (new.base_url, new.wire) != (old.base_url, old.wire)
            if moved:
                new = msgspec.structs.replace(new, credential=None, credential_hint="")
            if credential is not None:
                new = self._with_credential(new, credential)
            new = msgspec.structs.replace(new, changed_at_us=change.at_us)
            _replace(change, new)
            change.log(
                "provider.set", name, base_url=new.base_url, wire=new.wire, credential_set=bool(credential),
                credential_cleared=old.credential is not None and new.credential is None,
            )  # fmt: skip
        return new

    def remove(self, name: str, by: str = "shell") -> None:
        """Forget what is stored of a provider, its credential too. Raises NotFound."""
        table = schema.providers
        with self._database.changing(by) as change:
            if not change.connection.execute(delete(table).where(table.c.name == name)).rowcount:
                raise NotFound(f"nothing is stored of a provider {name!r}: `farebox providers list` shows them")
            change.log("provider.remove", name)

    def credential(self, row: ProviderRow) -> str | None:
        """The stored credential in the clear. Raises SecretsError."""
        return None if row.credential is None else self._vault.open(row.credential, credential_context(row.name))

    def _with_credential(self, row: ProviderRow, credential: str) -> ProviderRow:
        credential = google_accounts.one_line(credential.strip())
        if not credential:
            return msgspec.structs.replace(row, credential=None, credential_hint="")
        if len(credential) > CREDENTIAL_CHARS_MAX or not credential.isascii() or not credential.isprintable():
            raise InvalidEntry(f"a credential is at most {CREDENTIAL_CHARS_MAX} printable ASCII characters on one line")
        return msgspec.structs.replace(
            row, credential=self._vault.seal(credential, credential_context(row.name)), credential_hint=hint(credential)
        )


def _check_wire(wire: str | None) -> None:
    known = [provider.name for provider in PROVIDERS]
    if wire and wire != OTHER_WIRE and wire not in known:
        raise InvalidEntry(f"there is no format {wire!r}: give {', '.join([*known, OTHER_WIRE])}")


def _check_headers(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in FRAMING_HEADERS:
            raise InvalidEntry(f"{name[:80]!r} cannot be a further header")
        if not value.isascii() or not value.isprintable() or len(value) > CREDENTIAL_CHARS_MAX:
            raise InvalidEntry(f"header {name}: at most {CREDENTIAL_CHARS_MAX} printable ASCII characters on one line")


def _check_options(deployments: Mapping[str, str], region: str | None, region_class: str | None) -> None:
    check_region(region or "")
    if region_class and region_class not in REGION_CLASSES:
        raise InvalidEntry(f"region class {region_class!r} is unknown: give {', '.join(REGION_CLASSES)}")
    for name, model in deployments.items():
        if not 1 <= len(name) <= NAME_CHARS_MAX or len(model) > NAME_CHARS_MAX or not (name + model).isprintable():
            raise InvalidEntry(f"a deployment and its model have 1 to {NAME_CHARS_MAX} printable characters")


def _merged(old: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    if not given:
        return {}
    merged = {name: model for name, model in {**old, **given}.items() if model}
    if len(merged) > DEPLOYMENTS_MAX:
        raise InvalidEntry(f"a provider has at most {DEPLOYMENTS_MAX} deployments")
    return merged


def hint(credential: str) -> str:
    """Enough to tell one credential from another, too little to use: its last four characters, of a long one; whose
    it is, of a service account."""
    if google_accounts.looks_like_key_file(credential):
        return google_accounts.service_account(credential).client_email[:254]
    return f"…{credential[-4:]}" if len(credential) >= 16 else "…"


def _changed(row: ProviderRow, **given: object) -> ProviderRow:
    return msgspec.structs.replace(row, **{name: value for name, value in given.items() if value is not None})


def _replace(change: Change, row: ProviderRow) -> None:
    table = schema.providers
    columns = {**msgspec.structs.asdict(row), "headers": json(row.headers), "deployments": json(row.deployments)}
    change.connection.execute(delete(table).where(table.c.name == row.name))
    change.connection.execute(insert(table).values(**columns))


def _find(connection: Connection, name: str) -> ProviderRow | None:
    row = connection.execute(select(schema.providers).where(schema.providers.c.name == name)).one_or_none()
    return None if row is None else _provider(row)


def _provider(row: Row[Any]) -> ProviderRow:  # Any: SQLAlchemy's rows of whole tables are untyped
    texts = {"headers": json_texts(row.headers), "deployments": json_texts(row.deployments)}
    return ProviderRow(**{**row._mapping, **texts})
