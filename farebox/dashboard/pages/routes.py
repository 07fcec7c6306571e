"""Routes: which targets stand behind a name, how they fare now, and how often calls had to move on."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from farebox.core.routes import Route, changed_route, read_route, read_target, target_text, written_route
from farebox.dashboard import sums
from farebox.dashboard.forms import Field, Form, as_typed
from farebox.dashboard.page import Action, Done, Page, View, Visit
from farebox.directory.routes import RouteRow, checked_removal, checked_targets
from farebox.reports.report import Answer, Column
from farebox.reports.words import some
from farebox.settings import run_dir
from farebox.telemetry import read_targets

DAY_US: Final = 86_400_000_000
COLUMNS: Final = (
    Column("route", "Route", door="/routes?route={route}"),
    Column("target", "Target", hint="In the order in which they are written."),
    Column("state", "State", "flag", "What the gateway's workers do with it now."),
    Column("attempts", "Attempts, 24 h", "count", "By way of this route."),
    Column("failed", "Failed", "percent", "Of those attempts."),
    Column("p50", "Latency", "ms", "Half of the attempts took no longer."),
    Column("spend", "Spend, 24 h", "usd"),
    Column("weight", "Weight", "count"),
    Column("budget", "Budget"),
)
_ORDERS: Final = {
    "listed": "as listed", "weighted": "by chance and weight", "latency": "the quickest of late first",
    "cost": "the cheapest first",
}  # fmt: skip


async def show(visit: Visit) -> View:
    found = await visit.run(_in_force, visit)
    name = _named(visit)
    went = await _went(visit)
    fares = await visit.run(read_targets, run_dir(visit.parts.settings))
    if name:
        row = await visit.run(visit.parts.directory.routes.get, name, visit.parts.settings.route_table)
        return _one(visit, row, _rows([row], went, fares))
    rows = _rows(found.values(), went, fares)
    bad = sum(row["state"] in ("failing", "rests") for row in rows)
    sentence = (
        f"{some(len(found), 'route')} with {some(len(rows), 'target')}; "
        + (f"{bad} of them are not answering well now." if bad else "all that were called answer.")
        if found
        else "No route yet. A route is a name that calls give in place of a model: where one target fails, the next is "
        "asked, and every attempt is in the books."
    )
    forms = [_form(None, is_open=not found)]
    more = {"managed": as_typed(visit, forms), "up": False}
    return View("Routes", Answer(sentence=sentence, columns=COLUMNS, rows=rows), template="manage.html", more=more,
                caption="Targets of every route", empty="Make the first route above.")  # fmt: skip


async def set_route(visit: Visit) -> Done:
    name = _named(visit) or visit.form.get("name", "").strip()
    written = _written(visit.form)
    row = (await visit.run(_in_force, visit)).get(name) if _named(visit) else None
    route = read_route(name, written) if row is None else changed_route(row.route, written)
    known = await visit.run(visit.parts.directory.providers.known, visit.parts.settings)
    await visit.run(visit.parts.directory.routes.set, checked_targets(route, known), by=visit.by)
    return Done(_href(name), f"Set route {name}; in force within a second.")


async def remove(visit: Visit) -> Done:
    name = _named(visit)
    checked_removal(await visit.run(visit.parts.directory.routes.get, name, visit.parts.settings.route_table))
    await visit.run(visit.parts.directory.routes.remove, name, by=visit.by)
    return Done("/routes", f"Removed route {name}: calls that name it are refused from now on.")


def _named(visit: Visit) -> str:
    return visit.filters.where.get("route", ("",))[0]


def _in_force(visit: Visit) -> dict[str, RouteRow]:
    return visit.parts.directory.routes.in_force(visit.parts.settings.route_table)


async def _went(visit: Visit) -> dict[tuple[str, str], Mapping[str, Any]]:
    """What became of the last day's attempts, by route and target."""
    question = visit.filters.usage(
        ("route", "provider", "model_requested"), ("attempts", "errors", "p50_latency_ms", "spend"),
        since_us=visit.now_us - DAY_US, until_us=visit.now_us,
    )  # fmt: skip
    rows = (await visit.ask("usage", question))["rows"]
    return {(row["route"], f"{row['provider']}/{row['model_requested']}"): row for row in rows if row["route"]}


def _rows(
    routes: Iterable[RouteRow],
    went: Mapping[tuple[str, str], Mapping[str, Any]],
    fares: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    return [
        {
            "route": row.route.name,
            "target": target.name,
            **_of_day(went.get((row.route.name, target.name), {}), fares.get(target.name, {})),
            "weight": target.weight if row.route.order == "weighted" or row.route.sticky else None,
            "budget": f"{target.budget} a {target.window}" if target.budget else None,
        }
        for row in sorted(routes, key=lambda row: row.route.name)
        for target in row.route.targets
    ]


def _of_day(went: Mapping[str, Any], fares: Mapping[str, Any]) -> dict[str, Any]:
    attempts, errors = went.get("attempts") or 0, went.get("errors") or 0
    state = "not called" if not attempts and not fares.get("calls") else "answers"
    if fares.get("resting"):
        state = "rests"
    elif attempts and errors == attempts:
        state = "failing"
    return {
        "state": state,
        "attempts": attempts,
        "failed": sums.percent(Decimal(errors), Decimal(attempts)) if attempts else None,
        "p50": went.get("p50_latency_ms"),
        "spend": went.get("spend"),
    }


def _one(visit: Visit, row: RouteRow, rows: list[dict[str, Any]]) -> View:
    route = row.route
    forms = [_form(route, is_open=False)]
    if not row.is_of_settings:
        question = f"Remove route {route.name}? Calls that name it are refused from then on."
        forms.append(Form(_href(route.name, "/routes/remove"), "", "Remove", question=question))
    timeout = f"; an attempt waits {route.timeout_s:g} s for the first byte" if route.timeout_s else ""
    by = "; it stands in the settings" if row.is_of_settings else ""
    sentence = f"Tries {_ORDERS[route.order]}; moves on at {', '.join(route.retry_on)}{timeout}{by}."
    more = {"managed": as_typed(visit, forms), "up": True}
    return View(route.name, Answer(sentence=sentence, columns=COLUMNS, rows=rows), template="manage.html", more=more,
                caption="Targets")  # fmt: skip


def _form(route: Route | None, *, is_open: bool) -> Form:
    had = written_route(route) if route is not None else {}
    name = () if route else (Field("name", "Name", "", "what calls give in place of a model", is_required=True),)
    fields = (
        *name,
        Field("targets", "Targets", ", ".join(map(target_text, had.get("targets", ()))), "in the order of trying: "
              "openai/gpt-4.1-mini, groq/llama-3.3-70b-versatile; =2 behind one is its weight", is_required=True,
              words=("target",), is_wide=True),
        Field("order", "Order", had.get("order", "listed"), kind="choice", options=_ORDERS),
        Field("timeout", "Wait for the first byte", had.get("timeout") or "", "20s, 500ms; empty: as for other calls"),
        Field("retry_on", "Moves on at", ", ".join(had.get("retry_on", ())), "empty: connect, timeout, 408, 409, 429, "
              "5xx"),
        Field("sticky", "Calls of a session", str(had.get("sticky", False)).lower(), kind="choice",
              options={"false": "go by the order", "true": "begin at the same target"}),
        Field("hedge", "Second target after", had.get("hedge") or "", "2s; empty: never. Both are paid"),
    )  # fmt: skip
    if route is None:
        return Form("/routes/set", "Make a route", "Make route", fields, is_open=is_open)
    return Form(_href(route.name, "/routes/set"), "Change", "Set route", fields)


def _written(form: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: form.get(name, "").strip() or None for name in ("order", "timeout", "retry_on", "sticky", "hedge")
    }
    found["targets"] = [read_target(text.strip()) for text in form.get("targets", "").split(",") if text.strip()]
    return found


def _href(name: str, path: str = "/routes") -> str:
    return f"{path}?{urlencode({'route': name})}"


ROUTES: Final = Page(
    "/routes", "analyst", "Routes", show, group="Control",
    actions=(Action("/routes/set", "admin", set_route), Action("/routes/remove", "admin", remove)),
)  # fmt: skip
