"""Alerts: what is watched for and who is told, what was found, and what could not be delivered."""

from collections.abc import Mapping
from typing import Any, Final

from farebox.alerts.outbox import Alert, Delivery
from farebox.core.alert_rules import BY_KIND, fields, read_spec, shown_spec
from farebox.core.events import iso_us
from farebox.dashboard.forms import Field, Form, as_typed
from farebox.dashboard.page import Action, Done, Page, View, Visit
from farebox.directory.rows import RuleRow
from farebox.errors import InvalidAlert
from farebox.reports.report import Answer, Column, Section
from farebox.reports.words import some

HISTORY_ROWS: Final = 50
DEAD_ROWS: Final = 10
COLUMNS: Final = (
    Column("about", "Told when", door="/alerts?rule={id}"),
    Column("state", "State", "flag"),
    Column("numbers", "Numbers"),
    Column("channels", "Told to"),
    Column("hourly_max", "At most an hour", "count"),
)
HISTORY: Final = (
    Column("at", "When", "moment"),
    Column("title", "What"),
    Column("told", "Told", hint="How its deliveries went; nobody where its rule has no channel."),
)
DEAD: Final = (
    Column("changed_at", "Given up", "moment"),
    Column("channel", "Channel"),
    Column("title", "What"),
    Column("error", "Why"),
)
NOBODY: Final = "only the history"


async def show(visit: Visit) -> View:
    names = {row.id: row.name for row in await visit.run(visit.parts.directory.channels.list)}
    rule_id = visit.filters.query.get("rule", "")
    if rule_id:
        return _one(visit, await visit.run(visit.parts.directory.alert_rules.get, rule_id), names)
    rows = await visit.run(visit.parts.directory.alert_rules.list)
    found = await visit.run(visit.parts.outbox.history, HISTORY_ROWS)
    dead = await visit.run(visit.parts.outbox.dead)
    history = Section(title="History", columns=HISTORY, rows=[_told(alert, sent, names) for alert, sent in found])
    letters = Section(title="Could not be delivered", columns=DEAD, rows=[_letter(one, names) for one in dead])
    answer = Answer(
        sentence=_sentence(rows, len(found), len(dead)),
        columns=COLUMNS,
        rows=[_listed(row, names) for row in rows],
        sections=(history, *([letters] if dead else ())),
    )
    forms = [_new(), *(_retry(letter) for letter in dead[:DEAD_ROWS])]
    more = {"managed": as_typed(visit, forms), "up": False}
    return View("Alerts", answer, template="manage.html", more=more, caption="Rules")


async def add(visit: Visit) -> Done:
    rules, form = visit.parts.directory.alert_rules, visit.form
    row = await visit.run(
        rules.set, read_spec(form.get("kind", ""), {}), _channels(form), enabled=True, by=visit.by
    )  # fmt: skip
    return Done(f"/alerts?rule={row.id}", f"Added: told when {row.rule.spec.about}. Its numbers can be changed here.")


async def change(visit: Visit) -> Done:
    rules, rule_id = visit.parts.directory.alert_rules, visit.filters.query.get("rule", "")
    row = await visit.run(rules.get, rule_id)
    hourly = visit.form.get("hourly_max", "").strip()
    if not (hourly.isascii() and hourly.isdecimal()):
        raise InvalidAlert(f"hourly_max is a whole number, not {hourly[:40]!r}")
    await visit.run(
        rules.change, rule_id, _numbers(row, visit.form), channels=_channels(visit.form), hourly_max=int(hourly),
        by=visit.by,
    )  # fmt: skip
    return Done(f"/alerts?rule={rule_id}", "Changed.")


async def switch(visit: Visit) -> Done:
    rules, rule_id = visit.parts.directory.alert_rules, visit.filters.query.get("rule", "")
    row = await visit.run(rules.change, rule_id, enabled=visit.form.get("state") == "on", by=visit.by)
    return Done(f"/alerts?rule={rule_id}", "It is on." if row.rule.enabled else "It is off.")


async def remove(visit: Visit) -> Done:
    await visit.run(visit.parts.directory.alert_rules.remove, visit.filters.query.get("rule", ""), by=visit.by)
    return Done("/alerts", "Removed. What it found stays in the history.")


async def retry(visit: Visit) -> Done:
    sent = await visit.run(visit.parts.outbox.retry, visit.form.get("delivery", ""), visit.now_us)
    return Done("/alerts", f"{some(len(sent), 'message is', 'messages are')} on the way again.")


def _listed(row: RuleRow, names: Mapping[str, str]) -> dict[str, Any]:
    rule = row.rule
    numbers = {name: _text(value) for name, value in shown_spec(rule.spec).items() if _text(value)}
    return {
        "id": rule.id,
        "about": rule.spec.about,
        "state": "on" if rule.enabled else "off",
        "numbers": dict(_number(name, value) for name, value in numbers.items()),
        "channels": [names.get(channel, channel) for channel in rule.channels] or NOBODY,
        "hourly_max": rule.hourly_max,
    }


def _number(name: str, value: object) -> tuple[str, object]:
    """With its unit behind it: ('lag', '120 s')."""
    words = name.removesuffix("_s").replace("_", " ")
    return (words, f"{value:g} s") if name.endswith("_s") and isinstance(value, (int, float)) else (words, value)


def _told(alert: Alert, deliveries: list[Delivery], names: Mapping[str, str]) -> dict[str, Any]:
    told = [f"{names.get(one.channel, one.channel)}: {one.state}" for one in deliveries]
    return {
        "at": iso_us(alert.at_us),
        "title": alert.message.title,
        "told": "held back: too many this hour" if alert.held_back else told or "nobody",
    }


def _letter(one: Delivery, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "changed_at": iso_us(one.changed_at_us),
        "channel": names.get(one.channel, one.channel),
        "title": one.alert.message.title,
        "error": one.error,
    }


def _sentence(rows: list[RuleRow], found: int, dead: int) -> str:
    on = [row.rule for row in rows if row.rule.enabled]
    silent = sum(not rule.channels for rule in on)
    text = some(len(on), "rule watches", "rules watch")
    text += f"; {silent} of them {'tells' if silent == 1 else 'tell'} nobody: add a channel" if silent else ""
    text += f"; {some(dead, 'message')} could not be delivered" if dead else ""
    return f"{text}." if found else f"{text}; nothing was found yet."


def _new() -> Form:
    kinds = {kind: spec.about for kind, spec in BY_KIND.items()}
    names = (
        Field("kind", "Told when", "limit", kind="choice", options=kinds),
        Field("channels", "Told to", "", "names of channels, with commas; empty: only the history", words=("channel",)),
    )
    return Form("/alerts/add", "Add a rule", "Add rule", names)


def _retry(letter: Delivery) -> Form:
    return Form("/alerts/retry", "", f"Send again: {letter.alert.message.title[:60]}", hidden={"delivery": letter.id})


def _one(visit: Visit, row: RuleRow, names: Mapping[str, str]) -> View:
    rule, rule_id = row.rule, row.rule.id
    said = {name: names.get(channel, channel) for name, channel in enumerate(rule.channels)}
    about = fields(type(rule.spec))
    numbers = tuple(
        Field(name, name.removesuffix("_s").replace("_", " ").capitalize(), _text(value), about[name],
              "check" if isinstance(value, bool) else "text")
        for name, value in shown_spec(rule.spec).items()
    )  # fmt: skip
    told = (
        Field("channels", "Told to", ", ".join(said.values()), "names of channels, with commas", words=("channel",)),
        Field("hourly_max", "At most an hour", str(rule.hourly_max), "messages; beyond them one says so", "number"),
    )
    state = "off" if rule.enabled else "on"
    forms = [
        Form(f"/alerts/change?rule={rule_id}", "Change", "Change rule", (*numbers, *told), is_open=True),
        Form(f"/alerts/switch?rule={rule_id}", "", f"Turn {state}", hidden={"state": state}),
        Form(f"/alerts/remove?rule={rule_id}", "", "Remove", question="Forget this rule? What it found stays."),
    ]
    found = [pair for pair in visit.parts.outbox.history(1000, None, rule.kind) if pair[0].rule == rule_id]
    answer = Answer(
        sentence=f"{'On' if rule.enabled else 'Off'}: told when {rule.spec.about}.",
        columns=HISTORY,
        rows=[_told(alert, sent, names) for alert, sent in found[:HISTORY_ROWS]],
    )
    more = {"managed": as_typed(visit, forms), "up": True, "facts": [("Id", rule_id)]}
    return View(rule.kind.replace("_", " ").capitalize(), answer, template="manage.html", more=more,
                caption="What it found", empty="Nothing yet.")  # fmt: skip


def _numbers(row: RuleRow, form: Mapping[str, str]) -> dict[str, Any]:
    """The form's numbers in the kinds that the rule has."""
    found: dict[str, Any] = {}
    for name, value in shown_spec(row.rule.spec).items():
        text = form.get(name, "").strip()
        if isinstance(value, bool):
            found[name] = bool(text)
        elif isinstance(value, list | tuple):
            found[name] = [part.strip() for part in text.split(",") if part.strip()]
        else:
            found[name] = text or None
    return found


def _channels(form: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(part.strip() for part in form.get("channels", "").split(",") if part.strip())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list | tuple):
        return ", ".join(f"{part:g}" if isinstance(part, float) else str(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


ALERTS: Final = Page(
    "/alerts", "analyst", "Alerts", show, group="Control", key="a",
    actions=(
        Action("/alerts/add", "admin", add),
        Action("/alerts/change", "admin", change),
        Action("/alerts/switch", "admin", switch),
        Action("/alerts/remove", "admin", remove),
        Action("/alerts/retry", "admin", retry),
    ),
)  # fmt: skip
