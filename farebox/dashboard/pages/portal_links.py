"""Links by which a customer sees its own usage, made and ended; an address is shown once."""

from typing import Any, Final
from urllib.parse import urlencode

from farebox.core import asking
from farebox.dashboard.filters import segment
from farebox.dashboard.forms import Field, Form, as_typed
from farebox.dashboard.page import Action, Done, Page, View, Visit
from farebox.directory.rows import PortalRow
from farebox.directory.showing import portal_shown
from farebox.errors import QueryError
from farebox.reports.cells import named
from farebox.reports.report import Answer, Column

COLUMNS: Final = (
    Column("id", "Link", hint="Names it in the API and the audit log. It is no secret."),
    Column("user", "Only user", hint="Nothing of the customer's other users is shown."),
    Column("state", "State", "flag"),
    Column("created_at", "Made", "moment"),
    Column("expires_at", "Ends", "moment"),
)
ENDS: Final = {"1h": "in one hour", "24h": "in a day", "30d": "in a month", "365d": "in a year"}


async def show(visit: Visit) -> View:
    return await _view(visit)


async def create(visit: Visit) -> View:
    form, tenant = visit.form, _tenant(visit)
    expires_at_us = asking.deadline(form.get("expires_in", "24h"), visit.now_us)
    origins = asking.words([form.get("origins", "")])
    user = form.get("user", "").strip() or None
    links = visit.parts.directory.portal_tokens
    row, secret = await visit.run(links.create, tenant, expires_at_us, user, origins, visit.by)
    base = visit.parts.settings.alerts.dashboard_url.rstrip("/")
    return await _view(visit, f"{base}/portal/{secret}", f"The link for {tenant} ({row.id})")


async def revoke(visit: Visit) -> Done:
    tenant = _tenant(visit)
    await visit.run(visit.parts.directory.portal_tokens.revoke, tenant, visit.form.get("link", ""), by=visit.by)
    return Done(_href(tenant), "The link is ended.")


async def _view(visit: Visit, secret: str = "", of: str = "") -> View:
    tenant = _tenant(visit)
    rows = await visit.run(visit.parts.directory.portal_tokens.list, tenant)
    active = [row for row in rows if row.is_active(visit.now_us)]
    fields = (
        Field("expires_in", "Ends", "24h", kind="choice", options=ENDS),
        Field("user", "Only user", "", "empty: the customer as a whole"),
        Field("origins", "Shown in frames of", "", "https://app.acme.com; empty: as portal.frame_ancestors says"),
    )
    about = "Whoever has the link sees the usage in units and percent, and never a cost."
    to = _href(tenant, "/portal-links/create")
    forms = [Form(to, "Make a link", "Make link", fields, is_open=not active, about=about)]
    forms += [
        Form(_href(tenant, "/portal-links/revoke"), "", f"End {row.id}", hidden={"link": row.id},
             question=f"End this link of {tenant}? Whoever has it sees nothing from now on.")
        for row in active
    ]  # fmt: skip
    where = "" if visit.parts.settings.alerts.dashboard_url else "Put the address of this server before it. "
    more = {
        "managed": as_typed(visit, forms), "up": True, "up_title": "Customers",
        "up_href": f"/customers/{segment(tenant)}", "secret": secret, "secret_title": of,
        "secret_hint": f"{where}Give it to the customer now: it is not shown again.",
    }  # fmt: skip
    sentence = f"{named(len(active), 'link')} {'shows' if len(active) == 1 else 'show'} {tenant} its own usage."
    answer = Answer(sentence=sentence, columns=COLUMNS, rows=[_row(row, visit.now_us) for row in reversed(rows)])
    return View(tenant, answer, template="manage.html", more=more, caption="Links of this customer",
                empty="Make the first one above, or let your app make them by the API.")  # fmt: skip


def _row(row: PortalRow, now_us: int) -> dict[str, Any]:
    state = "active" if row.is_active(now_us) else "revoked" if row.revoked_at_us is not None else "expired"
    return {**portal_shown(row, now_us), "state": state}


def _tenant(visit: Visit) -> str:
    tenant = visit.filters.where.get("tenant", ("",))[0]
    if not tenant:
        raise QueryError("Name the customer: its own page leads to its links.")
    return tenant


def _href(tenant: str, path: str = "/portal-links") -> str:
    return f"{path}?{urlencode({'tenant': tenant})}"


PORTAL_LINKS: Final = Page(
    "/portal-links", "analyst", "Links", show,
    actions=(Action("/portal-links/create", "admin", create), Action("/portal-links/revoke", "admin", revoke)),
)  # fmt: skip
