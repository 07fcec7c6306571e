"""Alert rules: what is watched for and who is told. What they found is not here."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from farebox.core.alert_rules import CHANNELS_MAX, HOURLY_MAX, Rule, Spec, read_spec, shown_spec
from farebox.directory import schema
from farebox.directory.rows import RuleRow
from farebox.directory.vault import new_id
from farebox.directory.writing import Database, json
from farebox.errors import DirectoryError, InvalidAlert, NotFound

RULES_MAX: Final = 200
HOURLY_MAX_MAX: Final = 10_000


class AlertRules:
    """`rule_id` arguments are ids (`alr_…`); channels are given by id or name and kept by id."""

    def __init__(self, database: Database, rules_max: int = RULES_MAX) -> None:
        self._database = database
        self._rules_max = rules_max

    def set(
        self,
        spec: Spec,
        channels: Sequence[str] = (),
        *,
        enabled: bool = True,
        hourly_max: int = HOURLY_MAX,
        by: str = "shell",
    ) -> RuleRow:
        """Make a rule. Raises InvalidAlert, NotFound for a channel that is not there, DirectoryError for one rule too
        many."""
        table = schema.alert_rules
        with self._database.changing(by) as change:
            if change.connection.execute(select(func.count()).select_from(table)).scalar_one() >= self._rules_max:
                raise DirectoryError(f"there are {self._rules_max} alert rules, the most there can be: remove one")
            ids = _channel_ids(change.connection, channels)
            rule = Rule(new_id("alr_"), spec, ids, enabled, _checked_max(hourly_max))
            row = RuleRow(rule, change.at_us, change.at_us)
            moments = {"created_at_us": change.at_us, "changed_at_us": change.at_us}
            change.connection.execute(insert(table).values(id=rule.id, **_columns(rule), **moments))
            change.log("alert.set", rule.id, rule=_logged(rule))
        return row

    def list(self) -> list[RuleRow]:
        """All of them, oldest first; without those that cannot be read, which must not silence the others."""
        table = schema.alert_rules
        with self._database.reading() as connection:
            rows = connection.execute(select(table).order_by(table.c.created_at_us, table.c.id)).all()
        found = []
        for row in rows:
            with contextlib.suppress(DirectoryError):
                found.append(_rule(row))
        return found

    def get(self, rule_id: str) -> RuleRow:
        """Raises NotFound."""
        with self._database.reading() as connection:
            return _find(connection, rule_id)

    def change(
        self,
        rule_id: str,
        written: Mapping[str, Any] | None = None,
        *,
        channels: Sequence[str] | None = None,
        enabled: bool | None = None,
        hourly_max: int | None = None,
        by: str = "shell",
    ) -> RuleRow:
        """Change what is given; of `written` numbers what is left out stays and null is the default. Raises NotFound,
        InvalidAlert."""
        with self._database.changing(by) as change:
            row = _find(change.connection, rule_id)
            rule = row.rule
            spec = rule.spec if written is None else read_spec(rule.kind, {**shown_spec(rule.spec), **written})
            rule = Rule(
                rule.id,
                spec,
                rule.channels if channels is None else _channel_ids(change.connection, channels),
                rule.enabled if enabled is None else enabled,
                rule.hourly_max if hourly_max is None else _checked_max(hourly_max),
            )
            table = schema.alert_rules
            columns = {**_columns(rule), "changed_at_us": change.at_us}
            change.connection.execute(update(table).where(table.c.id == rule_id).values(**columns))
            change.log("alert.change", rule_id, before=_logged(row.rule), after=_logged(rule))
            return RuleRow(rule, row.created_at_us, change.at_us)

    def tell_all(self, channel: str, by: str = "shell") -> int:
        """Add a channel to every rule that has it not; how many those were. Raises NotFound."""
        with self._database.reading() as connection:
            (channel_id,) = _channel_ids(connection, (channel,))
        without = [row.rule for row in self.list() if channel_id not in row.rule.channels]
        for rule in without:
            self.change(rule.id, channels=(*rule.channels, channel_id), by=by)
        return len(without)

    def remove(self, rule_id: str, by: str = "shell") -> dict[str, object]:
        """Forget a rule, also one that cannot be read; {"id", "kind"} of what it was. Raises NotFound. What it has
        found stays in the history."""
        table = schema.alert_rules
        with self._database.changing(by) as change:
            row = change.connection.execute(select(table).where(table.c.id == rule_id)).one_or_none()
            if row is None:
                raise _missing(rule_id)
            change.connection.execute(delete(table).where(table.c.id == rule_id))
            change.log("alert.remove", rule_id, kind=row.kind, spec=row.spec)
        return {"id": row.id, "kind": row.kind}


def _channel_ids(connection: Connection, channels: Sequence[str]) -> tuple[str, ...]:
    if len(channels) > CHANNELS_MAX:
        raise InvalidAlert(f"an alert rule has at most {CHANNELS_MAX} channels")
    table = schema.channels
    found: dict[str, None] = {}
    for channel in channels:
        query = select(table.c.id).where(or_(table.c.id == channel, table.c.name == channel))
        channel_id = connection.execute(query).scalar()
        if channel_id is None:
            raise NotFound(f"there is no channel {channel!r}: `farebox channels list` shows them")
        found[channel_id] = None
    return tuple(found)


def _checked_max(hourly_max: int) -> int:
    if not 1 <= hourly_max <= HOURLY_MAX_MAX:
        raise InvalidAlert(f"hourly_max is 1 to {HOURLY_MAX_MAX:,} messages an hour")
    return hourly_max


def _columns(rule: Rule) -> dict[str, object]:
    return {
        "kind": rule.kind,
        "spec": json(rule.spec),
        "channels": json(rule.channels),
        "enabled": rule.enabled,
        "hourly_max": rule.hourly_max,
    }


def _logged(rule: Rule) -> dict[str, object]:
    return {"kind": rule.kind, "spec": shown_spec(rule.spec), "channels": rule.channels, "enabled": rule.enabled}


def _find(connection: Connection, rule_id: str) -> RuleRow:
    row = connection.execute(select(schema.alert_rules).where(schema.alert_rules.c.id == rule_id)).one_or_none()
    if row is None:
        raise _missing(rule_id)
    return _rule(row)


def _missing(rule_id: str) -> NotFound:
    return NotFound(f"there is no alert rule {rule_id!r}: `farebox alerts list` shows them")


def _rule(row: Row[Any]) -> RuleRow:  # Any: SQLAlchemy's rows of whole tables are untyped
    try:
        spec = read_spec(row.kind, msgspec.json.decode(row.spec, type=dict[str, Any]))
        channels = msgspec.json.decode(row.channels, type=tuple[str, ...])
    except (msgspec.DecodeError, InvalidAlert) as error:
        raise DirectoryError(
            f"alert rule {row.id} cannot be read ({error}): remove it with `farebox alerts remove {row.id}`"
        ) from None
    return RuleRow(Rule(row.id, spec, channels, row.enabled, row.hourly_max), row.created_at_us, row.changed_at_us)
