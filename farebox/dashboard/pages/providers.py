"""Providers: where calls go, whose credential they carry, and how their calls went. Never a credential itself."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from farebox.dashboard import sums
from farebox.dashboard.forms import Field, Form, as_typed
from farebox.dashboard.page import Action, Done, Page, View, Visit
from farebox.directory.rows import ProviderRow
from farebox.directory.showing import provider_shown
from farebox.directory.views import OTHER_WIRE, configured
from farebox.errors import NotFound
from farebox.providers import PROVIDERS as WIRES
from farebox.reports.report import Answer, Column

DAY_US: Final = 86_400_000_000
COLUMNS: Final = (
    Column("name", "Provider", door="/providers?provider={name}"),
    Column("state", "State", "flag"),
    Column("credential", "Credential", hint="Where it comes from, with its last characters where it is stored here."),
    Column("attempts", "Attempts, 24 h", "count"),
    Column("failed", "Failed", "percent", "Of the attempts of the last 24 hours."),
    Column("last_at", "Last call", "moment"),
    Column("base_url", "Address"),
    Column("base_url_from", "Given by"),
)


async def show(visit: Visit) -> View:
    rows = await visit.run(_rows, visit)
    went = {row["provider"]: row for row in await _went(visit)}
    shown = [_listed(row, went.get(row["name"], {})) for row in rows]
    name = visit.filters.query.get("name", "") or visit.filters.where.get("provider", ("",))[0]
    if name:
        return await _one(visit, name, shown)
    ready = sum(row["credential"] is not None for row in shown)
    answer = Answer(
        sentence=f"{ready} of {len(shown)} providers have a credential; calls to the others must bring their own.",
        columns=COLUMNS,
        rows=sorted(shown, key=lambda row: (-(row["attempts"] or 0), row["credential"] is None, row["name"])),
    )
    more = {"managed": as_typed(visit, [_new()]), "up": False}
    return View("Providers", answer, template="manage.html", more=more, caption="All providers")


async def set_provider(visit: Visit) -> Done:
    form = visit.form
    name = _named(visit) or form.get("name", "").strip()
    credential = form.get("credential", "").strip()
    had = await visit.run(visit.parts.directory.providers.get, name) if _named(visit) else None
    await visit.run(
        visit.parts.directory.providers.set, name, base_url=_changed(form, "base_url", had),
        wire=_changed(form, "wire", had), region=_changed(form, "region", had), credential=credential or None,
        by=visit.by,
    )  # fmt: skip
    told = " The credential is kept sealed and is not shown again." if credential else ""
    return Done(_href(name), f"Set {name}; in force within a second.{told}")


async def clear(visit: Visit) -> Done:
    await visit.run(visit.parts.directory.providers.set, _named(visit), credential="", by=visit.by)
    return Done(_href(_named(visit)), "The stored credential is forgotten.")


async def remove(visit: Visit) -> Done:
    await visit.run(visit.parts.directory.providers.remove, _named(visit), by=visit.by)
    return Done("/providers", f"What was stored of {_named(visit)} is forgotten, its credential too.")


def _named(visit: Visit) -> str:
    return visit.filters.where.get("provider", ("",))[0]


def _changed(form: Mapping[str, str], name: str, had: ProviderRow | None) -> str | None:
    """What was sent, or None where it is as it was: a changed address would take the credential away."""
    text = form.get(name, "").strip()
    return None if text == (getattr(had, name) if had else "") else text


def _rows(visit: Visit) -> list[dict[str, Any]]:
    stored = {row.name: row for row in visit.parts.directory.providers.list()}
    found = configured(visit.parts.settings, WIRES, stored.values(), visit.parts.env)
    return [provider_shown(entry, stored.get(name)) for name, entry in sorted(found.items())]


async def _went(visit: Visit) -> list[dict[str, Any]]:
    question = visit.filters.usage(
        ("provider",), ("attempts", "errors", "last_at"), since_us=visit.now_us - DAY_US, until_us=visit.now_us
    )
    rows: list[dict[str, Any]] = (await visit.ask("usage", question))["rows"]
    return rows


def _listed(row: Mapping[str, Any], went: Mapping[str, Any]) -> dict[str, Any]:
    attempts, errors = went.get("attempts") or 0, went.get("errors") or 0
    source = row["credential_from"]
    state = "no calls" if not attempts else "failed" if errors == attempts else "answers"
    return {
        **row,
        "credential": None if source is None else f"{source} {row['credential_hint'] or ''}".strip(),
        "state": state,
        "attempts": attempts,
        "failed": sums.percent(Decimal(errors), Decimal(attempts)) if attempts else None,
        "last_at": went.get("last_at"),
    }


async def _one(visit: Visit, name: str, shown: list[dict[str, Any]]) -> View:
    row = next((row for row in shown if row["name"] == name), None)
    if row is None:
        raise NotFound(f"There is no provider {name!r}: the list of providers names all of them.")
    stored = await visit.run(visit.parts.directory.providers.get, name) or ProviderRow(name=name)
    fields = (*_fields(stored), Field("region", "Region", stored.region, "for Bedrock"))
    about = "A new address or format takes the stored credential away, unless one is given with it."
    forms = [Form(_href(name, "/providers/set"), "Change", "Set provider", fields, is_open=True, about=about)]
    if stored.credential is not None:
        question = f"Forget the credential of {name}? Calls must bring their own from then on."
        forms.append(Form(_href(name, "/providers/clear"), "", "Forget the credential", question=question))
    if stored.changed_at_us:
        question = f"Forget all that is stored of {name}, its credential too?"
        forms.append(Form(_href(name, "/providers/remove"), "", "Forget all", question=question))
    credential = row["credential"] or "none: calls must bring their own"
    answer = Answer(sentence=f"Calls go to {row['base_url']}; credential: {credential}.", columns=COLUMNS, rows=[row])
    more = {"managed": as_typed(visit, forms), "up": True}
    return View(name, answer, template="manage.html", more=more, caption="As it is in force")


def _new() -> Form:
    first = Field("name", "Name", "", "openai, anthropic …, or a name of your own", is_required=True)
    return Form("/providers/set", "Set a provider", "Set provider", (first, *_fields(ProviderRow(name=""))))


def _fields(had: ProviderRow) -> tuple[Field, ...]:
    wires = {"": "its own", **{wire.name: wire.name for wire in WIRES}, OTHER_WIRE: OTHER_WIRE}
    hint = f"stored: {had.credential_hint}; empty: stays" if had.credential is not None else "kept sealed, never shown"
    return (
        Field("credential", "Credential", "", hint, "password"),
        Field(
            "base_url", "Address", had.base_url, "https://…; empty: as built in or set", words=("base url", "address")
        ),
        Field("wire", "Format", had.wire, kind="choice", options=wires, words=("wire",)),
    )


def _href(name: str, path: str = "/providers") -> str:
    return f"{path}?{urlencode({'provider': name})}"


PROVIDERS: Final = Page(
    "/providers", "analyst", "Providers", show, group="Setup", key="p",
    actions=(
        Action("/providers/set", "admin", set_provider),
        Action("/providers/clear", "admin", clear),
        Action("/providers/remove", "admin", remove),
    ),
)  # fmt: skip
