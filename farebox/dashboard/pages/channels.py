"""Channels: where alerts are sent. Of their addresses only a hint is ever shown."""

from typing import Any, Final
from urllib.parse import urlencode

from farebox.alerts.apprise import understood
from farebox.core.events import iso_us
from farebox.dashboard.forms import Field, Form, as_typed
from farebox.dashboard.page import Action, Done, Page, View, Visit
from farebox.directory.rows import ChannelRow
from farebox.reports.report import Answer, Column

COLUMNS: Final = (
    Column("name", "Channel", door="/channels?channel={id}"),
    Column("kind", "Kind"),
    Column("hint", "Address"),
    Column("state", "State", "flag"),
    Column("note", "Why"),
    Column("rules", "Rules", "count", "Alert rules that tell it."),
    Column("created_at", "Added", "moment"),
)
KINDS: Final = {"apprise": "chat or e-mail (Apprise)", "webhook": "webhook: signed JSON"}


async def show(visit: Visit) -> View:
    directory = visit.parts.directory
    told = [channel for row in await visit.run(directory.alert_rules.list) for channel in row.rule.channels]
    named = visit.filters.query.get("channel", "")
    if named:
        row = await visit.run(directory.channels.get, named)
        answer = Answer(sentence=_about(row), columns=COLUMNS, rows=[_row(row, told)])
        more = {"managed": as_typed(visit, _forms(row)), "up": True}
        return View(row.name, answer, template="manage.html", more=more, caption="Channel")
    rows = await visit.run(directory.channels.list)
    on = sum(row.disabled_at_us is None for row in rows)
    sentence = (
        f"{on} of {len(rows)} channels are in use." if rows else "No channel yet: alerts are only in the history."
    )
    more = {"managed": as_typed(visit, [_new(is_open=not rows)]), "up": False}
    answer = Answer(sentence=sentence, columns=COLUMNS, rows=[_row(row, told) for row in rows])
    return View("Channels", answer, template="manage.html", more=more, caption="All channels",
                empty="Add the first one above.")  # fmt: skip


async def add(visit: Visit) -> View | Done:
    form, directory = visit.form, visit.parts.directory
    kind, url = form.get("kind", ""), form.get("url", "").strip()
    if kind == "apprise":
        await visit.run(understood, url)
    row, secret = await visit.run(
        directory.channels.add, form.get("name", "").strip(), kind, url, to="owner" if form.get("to") else "",
        allow_private=bool(form.get("allow_private")), by=visit.by,
    )  # fmt: skip
    if form.get("all_rules"):
        await visit.run(directory.alert_rules.tell_all, row.id, by=visit.by)
    if not secret:
        return Done(_href(row), f"Added {row.name}: send a test message.")
    view = await show(Visit(visit.parts, visit.viewer, "/channels", visit.names, visit.filters))
    once = {"secret": secret, "secret_title": f"The secret of {row.name}",
            "secret_hint": "It signs each message: keep it where they arrive. It is not shown again."}  # fmt: skip
    return View(view.title, view.answer, template=view.template, more={**view.more, **once}, caption=view.caption)


async def test(visit: Visit) -> Done:
    row = await visit.run(visit.parts.directory.channels.get, visit.filters.query.get("channel", ""))
    await visit.run(visit.parts.send_test, row.id)
    return Done(_href(row), f"{row.name} took a test message.")


async def switch(visit: Visit) -> Done:
    channels, named = visit.parts.directory.channels, visit.filters.query.get("channel", "")
    if visit.form.get("state") == "on":
        row = await visit.run(channels.enable, named, visit.by)
        return Done(_href(row), f"{row.name} is on.")
    row = await visit.run(channels.disable, named, "by hand", visit.by)
    return Done(_href(row), f"{row.name} is off: nothing is sent there.")


async def remove(visit: Visit) -> Done:
    row = await visit.run(visit.parts.directory.channels.remove, visit.filters.query.get("channel", ""), by=visit.by)
    return Done("/channels", f"Removed {row.name}. Rules go on without it.")


def _row(row: ChannelRow, told: list[str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "hint": row.hint,
        "state": "on" if row.disabled_at_us is None else "off",
        "note": row.note or None,
        "rules": told.count(row.id),
        "created_at": iso_us(row.created_at_us),
    }


def _about(row: ChannelRow) -> str:
    return f"{row.name} is on." if row.disabled_at_us is None else f"{row.name} is off: {row.note or 'by hand'}."


def _new(*, is_open: bool) -> Form:
    fields = (
        Field("name", "Name", "", "what rules call it", is_required=True),
        Field("kind", "Kind", "apprise", kind="choice", options=KINDS),
        Field("url", "Address", "", "slack://…, msteams://…, mailto://…, or https://…; kept sealed", "password",
              is_required=True, words=("url", "address")),
        Field("all_rules", "Add it to every alert rule", "yes", "else choose it on a rule's page", "check"),
        Field("to", "Tell the owner", "", "e-mail goes to the owner of the customer concerned", "check",
              words=("owner",)),
        Field("allow_private", "Private network", "", "a webhook may be there, and by http", "check",
              words=("private",)),
    )  # fmt: skip
    return Form("/channels/add", "Add a channel", "Add channel", fields, is_open=is_open)


def _forms(row: ChannelRow) -> list[Form]:
    state = "off" if row.disabled_at_us is None else "on"
    question = f"Forget {row.name} and its secrets? Rules go on without it; what waits for it cannot be delivered."
    return [
        Form(_href(row, "/channels/test"), "", "Send a test message"),
        Form(_href(row, "/channels/switch"), "", f"Turn {state}", hidden={"state": state}),
        Form(_href(row, "/channels/remove"), "", "Remove", question=question),
    ]


def _href(row: ChannelRow, path: str = "/channels") -> str:
    return f"{path}?{urlencode({'channel': row.id})}"


CHANNELS: Final = Page(
    "/channels", "analyst", "Channels", show, group="Control",
    actions=(
        Action("/channels/add", "admin", add),
        Action("/channels/test", "admin", test),
        Action("/channels/switch", "admin", switch),
        Action("/channels/remove", "admin", remove),
    ),
)  # fmt: skip
