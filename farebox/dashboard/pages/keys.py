"""Keys: made, rotated and revoked; a secret is shown once."""

from collections.abc import Mapping
from typing import Any, Final

from farebox.core import asking
from farebox.core.attribution import NAMES
from farebox.dashboard.page import Action, Done, Page, View, Visit
from farebox.directory.rows import KeyRow, KeySpec
from farebox.directory.showing import key_shown
from farebox.errors import DirectoryError
from farebox.reports.report import Answer, Column
from farebox.reports.words import some

COLUMNS: Final = (
    Column("name", "Name"),
    Column("id", "Id", hint="Names the key in the API, in events and in the audit log. It is no secret."),
    Column("bind", "Bound to", hint="Dimensions that no call with it can change."),
    Column("providers", "Providers", hint="None named: any."),
    Column("created_at", "Made", "moment"),
    Column("expires_at", "Expires", "moment"),
    Column("state", "State", "flag"),
)
OVERLAPS: Final = {"0s": "at once", "1h": "in one hour", "24h": "in a day", "7d": "in a week"}


async def show(visit: Visit) -> View:
    rows = [_shown(row, visit.now_us) for row in await visit.run(visit.parts.directory.keys.list)]
    active = [row for row in rows if row["state"] == "active"]
    sentence = f"{len(active)} of {some(len(rows), 'key')} can be used now." if rows else "No key yet: calls need one."
    answer = Answer(sentence=sentence, columns=COLUMNS, rows=rows[::-1])
    more = {"active": active[::-1], "overlaps": OVERLAPS, "secret": "", "secret_of": ""}
    return View(
        "Keys",
        answer,
        template="keys.html",
        more=more,
        caption="All keys",
        empty="Make the first key above, and give it to your app.",
    )


async def create(visit: Visit) -> View:
    row, secret = await visit.run(visit.parts.directory.keys.create, _spec(visit.form, visit.now_us), by=visit.by)
    return await _with_secret(visit, row, secret)


async def rotate(visit: Visit) -> View:
    overlap_s = asking.span_s(visit.form.get("overlap", "0s"))
    row, secret = await visit.run(visit.parts.directory.keys.rotate, visit.form.get("key", ""), overlap_s, by=visit.by)
    return await _with_secret(visit, row, secret)


async def revoke(visit: Visit) -> Done:
    row = await visit.run(visit.parts.directory.keys.revoke, visit.form.get("key", ""), by=visit.by)
    return Done("/keys", f"Revoked {row.name}: calls with it are refused within a second.")


async def _with_secret(visit: Visit, row: KeyRow, secret: str) -> View:
    view = await show(visit)
    more = {**view.more, "secret": secret, "secret_of": f"{row.name} ({row.id})"}
    return View(view.title, view.answer, template=view.template, more=more, caption=view.caption, empty=view.empty)


def _spec(form: Mapping[str, str], now_us: int) -> KeySpec:
    """What the form asks for. Raises FareboxError."""
    expires = form.get("expires", "").strip()
    return KeySpec(
        name=form.get("name", "").strip(),
        bind=_bound(form.get("bind", "")),
        providers=asking.words([form.get("providers", "")]),
        models=asking.words([form.get("models", "")]),
        require=asking.words([form.get("require", "")]),
        trust=("tier",) if form.get("trust_tier") else (),
        audience="customer" if form.get("audience") == "customer" else "team",
        expires_at_us=asking.deadline(expires, now_us) if expires else None,
    )


def _bound(text: str) -> dict[str, Any]:
    found = {}
    for part in asking.words([text.replace("\n", ",")]):
        name, equals, value = part.partition("=")
        if not equals:
            raise DirectoryError(f"bound dimensions are written NAME=VALUE, such as tenant=acme, not {part[:80]!r}")
        found[NAMES.get(name.strip(), name.strip())] = value.strip()
    return found


def _shown(row: KeyRow, now_us: int) -> dict[str, Any]:
    shown = key_shown(row, now_us)
    state = "active" if shown["active"] else "revoked" if shown["revoked_at"] else "expired"
    return {**shown, "state": state}


KEYS: Final = Page(
    "/keys",
    "analyst",
    "Keys",
    show,
    group="Setup",
    key="k",
    actions=(
        Action("/keys/create", "admin", create),
        Action("/keys/rotate", "admin", rotate),
        Action("/keys/revoke", "admin", revoke),
    ),
)
