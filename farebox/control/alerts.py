"""Alerts: the rules, what they found, and what could not be delivered."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.alerts.showing import alert_shown, letter_shown
from farebox.control.access import needs
from farebox.control.answers import Json, page
from farebox.control.forms import AlertChange, AlertForm
from farebox.control.listing import asked, author, page_size, paged, parameters
from farebox.control.parts import parts_of
from farebox.core.alert_rules import KINDS, read_spec
from farebox.directory.showing import rule_shown
from farebox.errors import QueryError

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"])

_KIND = {"kind": "only of this kind"}


@router.post("", dependencies=[needs("admin")], status_code=201)
def set_alert(request: Request, form: AlertForm) -> Response:
    """Make an alert rule. Without channels what it finds is only in the history."""
    row = parts_of(request).directory.alert_rules.set(
        read_spec(form.kind, form.spec),
        form.channels,
        enabled=form.enabled,
        hourly_max=form.hourly_max,
        by=author(request),
    )
    return Json(rule_shown(row), status_code=201)


@router.get("", dependencies=[needs("analyst")], openapi_extra=parameters(_KIND))
def list_alerts(request: Request) -> Response:
    """Alert rules, oldest first."""
    query = asked(request, _KIND)
    rows = [
        row
        for row in parts_of(request).directory.alert_rules.list()
        if query.get("kind", row.rule.kind) == row.rule.kind
    ]
    return paged(rows, query, lambda row: row.id, rule_shown)


@router.get("/history", dependencies=[needs("analyst")], openapi_extra=parameters(_KIND))
def alert_history(request: Request) -> Response:
    """What the rules found, newest first, each with its deliveries: state, attempts, last error."""
    query = asked(request, _KIND)
    kind = query.get("kind")
    if kind is not None and kind not in KINDS:
        raise QueryError(f"there is no alert {kind[:64]!r}: give {', '.join(KINDS)}")
    limit = page_size(query)
    found = parts_of(request).outbox.history(limit + 1, query.get("cursor") or None, kind)
    shown = [alert_shown(alert, deliveries) for alert, deliveries in found[:limit]]
    return page(shown, found[limit - 1][0].id if len(found) > limit else None)


@router.get("/dead", dependencies=[needs("analyst")], openapi_extra=parameters({}))
def dead_letters(request: Request) -> Response:
    """Messages that were given up, newest first."""
    return paged(parts_of(request).outbox.dead(), asked(request), lambda row: row.id, letter_shown)


@router.post("/dead/{delivery_id}/retry", dependencies=[needs("admin")])
def retry_dead_letter(request: Request, delivery_id: str) -> Response:
    """Send a dead letter again (dlv_…), or all of an alert (al_…)."""
    parts = parts_of(request)
    return page([letter_shown(row) for row in parts.outbox.retry(delivery_id, parts.now_us())])


@router.get("/{rule_id}", dependencies=[needs("analyst")])
def get_alert(request: Request, rule_id: str) -> Response:
    """One alert rule."""
    return Json(rule_shown(parts_of(request).directory.alert_rules.get(rule_id)))


@router.patch("/{rule_id}", dependencies=[needs("admin")])
def change_alert(request: Request, rule_id: str, change: AlertChange) -> Response:
    """Change what is sent of a rule; its kind stays."""
    given = change.model_dump(exclude_unset=True)
    row = parts_of(request).directory.alert_rules.change(
        rule_id,
        given.get("spec"),
        channels=given.get("channels"),
        enabled=given.get("enabled"),
        hourly_max=given.get("hourly_max"),
        by=author(request),
    )
    return Json(rule_shown(row))


@router.delete("/{rule_id}", dependencies=[needs("admin")])
def remove_alert(request: Request, rule_id: str) -> Response:
    """Forget a rule. What it found stays in the history."""
    return Json(parts_of(request).directory.alert_rules.remove(rule_id, by=author(request)))
