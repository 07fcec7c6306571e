"""Settings: who is logged in and who may, and the settings that this server runs with."""

from pathlib import Path
from typing import Any, Final

from farebox.core.events import iso_us
from farebox.dashboard.page import Action, Done, Page, View, Visit
from farebox.directory.rows import SessionRow, UserRow
from farebox.errors import DirectoryError
from farebox.reports.report import Answer, Column
from farebox.settings import SETTINGS as TABLE
from farebox.settings import Settings

COLUMNS: Final = (
    Column("setting", "Setting"),
    Column("value", "Value"),
    Column(
        "from",
        "From",
        "flag",
        "set: `farebox serve --print-settings` says by what",
    ),
    Column("help", "What it does"),
)
BROWSERS: Final = (
    ("edg/", "Edge"),
    ("opr/", "Opera"),
    ("firefox/", "Firefox"),
    ("chrome/", "Chrome"),
    ("safari/", "Safari"),
)
SYSTEMS: Final = (
    ("iphone", "iPhone"),
    ("ipad", "iPad"),
    ("android", "Android"),
    ("windows", "Windows"),
    ("mac os", "macOS"),
    ("linux", "Linux"),
)


async def show(visit: Visit) -> View:
    rows = _effective(visit.parts.settings)
    own = sum(row["from"] == "set" for row in rows)
    answer = Answer(
        sentence=f"{own} settings differ from their default. They are read at the start: change farebox.toml, or "
        "FAREBOX_* in the environment, and start the server again.",
        columns=COLUMNS,
        rows=rows,
    )
    is_admin = visit.viewer.may("admin")
    users = await visit.run(visit.parts.directory.users.list) if is_admin else []
    sessions = await visit.run(visit.parts.directory.sessions.list, None if is_admin else visit.viewer.user.id)
    names = {user.id: user.name for user in users} | {visit.viewer.user.id: visit.viewer.user.name}
    more = {
        "users": [_user(user) for user in users],
        "sessions": [_session(session, names, visit) for session in sessions],
        "link": "",
        "link_of": "",
    }
    return View("Settings", answer, template="settings.html", more=more, caption="Effective settings")


async def end_session(visit: Visit) -> Done:
    of = None if visit.viewer.may("admin") else visit.viewer.user.id
    await visit.run(visit.parts.directory.sessions.end, visit.form.get("session", ""), visit.by, of=of)
    return Done("/settings", "That session has ended.")


async def add_user(visit: Visit) -> View:
    users = visit.parts.directory.users
    row = await visit.run(users.create, visit.form.get("name", ""), visit.form.get("role", ""), by=visit.by)
    return await _with_link(visit, row)


async def link_user(visit: Visit) -> View:
    return await _with_link(visit, await visit.run(visit.parts.directory.users.get, visit.form.get("user", "")))


async def change_role(visit: Visit) -> Done:
    users = visit.parts.directory.users
    row = await visit.run(users.set_role, visit.form.get("user", ""), visit.form.get("role", ""), visit.by)
    return Done("/settings", f"{row.name} is {row.role} now.")


async def remove_user(visit: Visit) -> Done:
    if visit.form.get("user") == visit.viewer.user.id:
        raise DirectoryError("you cannot remove yourself: ask another admin")
    row = await visit.run(visit.parts.directory.users.remove, visit.form.get("user", ""), by=visit.by)
    return Done("/settings", f"Removed {row.name}: all sessions of theirs have ended.")


async def _with_link(visit: Visit, user: UserRow) -> View:
    secret = await visit.run(visit.parts.directory.users.make_link, user.id, by=visit.by)
    view = await show(visit)
    more = {**view.more, "link": f"/login/link/{secret}", "link_of": user.name}
    return View(view.title, view.answer, template=view.template, more=more, caption=view.caption)


def _effective(settings: Settings) -> list[dict[str, Any]]:
    found = []
    for row in TABLE:
        if row.section.endswith(".*"):
            continue
        section = getattr(settings, row.section) if row.section else settings
        value = getattr(section, row.key)
        shown = ("(set)" if value else "") if row.is_secret else _written(value)
        is_set = row.key != "data" and value != row.default
        found.append({"setting": row.name, "value": shown, "from": "set" if is_set else "default", "help": row.help})
    return found


def _written(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.15g}"
        case tuple():
            return ", ".join(str(entry) for entry in value)
        case Path():
            return str(value)
    return str(value)


def _user(row: UserRow) -> dict[str, Any]:
    seen = None if row.seen_at_us is None else iso_us(row.seen_at_us)
    return {"id": row.id, "name": row.name, "role": row.role, "seen_at": seen, "has_password": row.has_password}


def _session(row: SessionRow, names: dict[str, str], visit: Visit) -> dict[str, Any]:
    return {
        "id": row.id,
        "user": names.get(row.user_id, row.user_id),
        "browser": browser(row.user_agent),
        "user_agent": row.user_agent,
        "address": row.address,
        "began_at": iso_us(row.created_at_us),
        "seen_at": iso_us(row.seen_at_us),
        "is_this": row.id == visit.viewer.session.id,
    }


def browser(user_agent: str) -> str:
    """'Firefox on Linux', as far as it can be told."""
    text = user_agent.casefold()
    name = next((name for mark, name in BROWSERS if mark in text), "")
    system = next((name for mark, name in SYSTEMS if mark in text), "")
    return f"{name or 'A browser'} on {system}" if system else name or user_agent[:40] or "unknown"


SETTINGS: Final = Page(
    "/settings",
    "analyst",
    "Settings",
    show,
    group="Setup",
    key="s",
    actions=(
        Action("/settings/sessions/end", "analyst", end_session),
        Action("/settings/users/add", "admin", add_user),
        Action("/settings/users/link", "admin", link_user),
        Action("/settings/users/role", "admin", change_role),
        Action("/settings/users/remove", "admin", remove_user),
    ),
)
