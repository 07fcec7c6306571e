"""Channels: where alerts are sent. Their addresses are secrets: sealed, and never shown again beyond a hint."""

from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from farebox.core.channel_urls import check_apprise_url, check_webhook_url, url_hint
from farebox.directory import schema
from farebox.directory.rows import ChannelRow, check_channel_name
from farebox.directory.vault import Vault, new_id, new_secret
from farebox.directory.writing import Change, Database, json
from farebox.errors import AlreadyExists, DirectoryError, InvalidAlert, NotFound

KINDS: Final = ("apprise", "webhook")
TO_OWNER: Final = "owner"
CHANNELS_MAX: Final = 200
"""Each may have a thread of its own while it delivers."""
SECRET_PREFIX: Final = "fbw_"  # noqa: S105 (a public prefix)
NOTE_CHARS_MAX: Final = 500


class Opened(msgspec.Struct, frozen=True):
    """A channel's secrets in the clear: for the moment of sending."""

    url: str
    secret: str = ""
    """What a webhook's messages are signed with."""


class Channels:
    """`channel` arguments are ids (`chn_…`) or names."""

    def __init__(self, database: Database, vault: Vault, channels_max: int = CHANNELS_MAX) -> None:
        self._database = database
        self._vault = vault
        self._channels_max = channels_max

    def add(
        self, name: str, kind: str, url: str, *, to: str = "", allow_private: bool = False, by: str = "shell"
    ) -> tuple[ChannelRow, str]:
        """The stored channel and, of a webhook, the secret that signs its messages, which is never shown again.
        Raises InvalidAlert for an address that is not allowed, AlreadyExists for a name that is taken."""
        check_channel_name(name)
        opened = _opened(kind, url, to, allow_private)
        channel_id = new_id("chn_")
        with self._database.changing(by) as change:
            self._check_room(change.connection, name)
            row = ChannelRow(
                channel_id, name, kind, self._sealed(channel_id, opened), url_hint(url, kind), to, allow_private,
                change.at_us, change.at_us,
            )  # fmt: skip
            change.connection.execute(insert(schema.channels).values(**msgspec.structs.asdict(row)))
            change.log("channel.add", channel_id, name=name, kind=kind, hint=row.hint)
        return row, opened.secret

    def list(self) -> list[ChannelRow]:
        """All of them, oldest first."""
        channels = schema.channels
        with self._database.reading() as connection:
            rows = connection.execute(select(channels).order_by(channels.c.created_at_us, channels.c.id)).all()
        return [_channel(row) for row in rows]

    def get(self, channel: str) -> ChannelRow:
        """Raises NotFound."""
        with self._database.reading() as connection:
            return _find(connection, channel)

    def open(self, row: ChannelRow) -> Opened:
        """Raises SecretsError."""
        return msgspec.json.decode(self._vault.open(row.sealed, _context(row.id)), type=Opened)

    def disable(self, channel: str, note: str, by: str = "shell") -> ChannelRow:
        """Send nothing there any more, until it is enabled again. Raises NotFound."""
        with self._database.changing(by) as change:
            row = _find(change.connection, channel)
            if row.disabled_at_us is not None:
                return row
            note = note[:NOTE_CHARS_MAX]
            return _touched(change, row, "channel.disable", disabled_at_us=change.at_us, note=note)

    def enable(self, channel: str, by: str = "shell") -> ChannelRow:
        """Raises NotFound."""
        with self._database.changing(by) as change:
            row = _find(change.connection, channel)
            if row.disabled_at_us is None:
                return row
            return _touched(change, row, "channel.enable", disabled_at_us=None, note="")

    def remove(self, channel: str, by: str = "shell") -> ChannelRow:
        """Forget it and its secrets; rules that name it go on without it. Raises NotFound."""
        channels, rules = schema.channels, schema.alert_rules
        with self._database.changing(by) as change:
            row = _find(change.connection, channel)
            change.connection.execute(delete(channels).where(channels.c.id == row.id))
            for rule_id, named in change.connection.execute(select(rules.c.id, rules.c.channels)).all():
                ids = msgspec.json.decode(named, type=list[str])
                if row.id in ids:
                    left = json([other for other in ids if other != row.id])
                    changed = {"channels": left, "changed_at_us": change.at_us}
                    change.connection.execute(update(rules).where(rules.c.id == rule_id).values(**changed))
            change.log("channel.remove", row.id, name=row.name)
        return row

    def _check_room(self, connection: Connection, name: str) -> None:
        channels = schema.channels
        if connection.execute(select(channels.c.id).where(channels.c.name == name)).first() is not None:
            raise AlreadyExists(f"there is a channel {name!r} already: choose another name, or remove it first")
        if connection.execute(select(func.count()).select_from(channels)).scalar_one() >= self._channels_max:
            raise DirectoryError(f"there are {self._channels_max} channels, the most there can be: remove one first")

    def _sealed(self, channel_id: str, opened: Opened) -> bytes:
        return self._vault.seal(json(opened), _context(channel_id))


def _opened(kind: str, url: str, to: str, allow_private: bool) -> Opened:
    if kind not in KINDS:
        raise InvalidAlert(f"a channel is of kind {' or '.join(KINDS)}, not {kind[:40]!r}")
    if to and (to != TO_OWNER or kind != "apprise" or not url.startswith(("mailto://", "mailtos://"))):
        raise InvalidAlert("`to` can be owner, of a channel that sends e-mail (mailto:// or mailtos://)")
    if kind == "apprise":
        return Opened(check_apprise_url(url))
    return Opened(check_webhook_url(url, allow_private=allow_private), new_secret(SECRET_PREFIX))


def _touched(change: Change, row: ChannelRow, action: str, **columns: Any) -> ChannelRow:
    channels = schema.channels
    columns["changed_at_us"] = change.at_us
    change.connection.execute(update(channels).where(channels.c.id == row.id).values(**columns))
    change.log(action, row.id, name=row.name, note=columns["note"])
    return msgspec.structs.replace(row, **columns)


def _context(channel_id: str) -> str:
    return f"channel/{channel_id}"


def _find(connection: Connection, channel: str) -> ChannelRow:
    channels = schema.channels
    query = select(channels).where(or_(channels.c.id == channel, channels.c.name == channel))
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"there is no channel {channel!r}: `farebox channels list` shows them")
    return _channel(row)


def _channel(row: Row[Any]) -> ChannelRow:  # Any: SQLAlchemy's rows of whole tables are untyped
    return ChannelRow(**row._mapping)
