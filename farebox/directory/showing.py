"""Entries of the directory as shell and API show them: everything but secrets."""

from collections.abc import Mapping
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from farebox.core.alert_rules import shown_spec
from farebox.core.book_text import shown_plan
from farebox.core.customers import Books, Customer, Entry, Plan
from farebox.core.events import iso_us
from farebox.core.limit_text import shown_amount, shown_limit
from farebox.core.months import day_at, following, month_of
from farebox.core.routes import written_route
from farebox.directory.routes import RouteRow
from farebox.directory.rows import (
    ChannelRow,
    CustomerRow,
    KeyRow,
    LimitRow,
    PlanRow,
    PortalRow,
    ProviderRow,
    RuleRow,
    TokenRow,
)
from farebox.directory.views import Configured

MONTHS_MAX: Final = 120


def key_shown(row: KeyRow, now_us: int) -> dict[str, object]:
    return {
        "id": row.id,
        "name": row.name,
        "bind": row.bind,
        "providers": row.providers,
        "models": row.models,
        "routes": row.routes,
        "require": row.require,
        "trust": row.trust,
        "audience": row.audience,
        "allow_objects": row.allow_objects,
        "active": row.is_active(now_us),
        "created_at": _iso(row.created_at_us),
        "expires_at": _iso(row.expires_at_us),
        "revoked_at": _iso(row.revoked_at_us),
    }


def token_shown(row: TokenRow, now_us: int) -> dict[str, object]:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "active": row.is_active(now_us),
        "created_at": _iso(row.created_at_us),
        "expires_at": _iso(row.expires_at_us),
        "revoked_at": _iso(row.revoked_at_us),
    }


def portal_shown(row: PortalRow, now_us: int) -> dict[str, object]:
    return {
        "id": row.id,
        "tenant": row.tenant,
        "user": row.user,
        "origins": row.origins,
        "active": row.is_active(now_us),
        "created_at": _iso(row.created_at_us),
        "expires_at": _iso(row.expires_at_us),
        "revoked_at": _iso(row.revoked_at_us),
    }


def limit_shown(row: LimitRow) -> dict[str, object]:
    """A removed one says so in `removed_at`."""
    removed = {} if row.removed_at_us is None else {"removed_at": _iso(row.removed_at_us)}
    moments = {"created_at": _iso(row.created_at_us), "changed_at": _iso(row.changed_at_us)}
    return {**shown_limit(row.limit), **moments, **removed}


def route_shown(row: RouteRow, health: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """`from` is directory or settings. `health`: how targets fare, by name (see `telemetry.read_targets`)."""
    moments = {} if row.is_of_settings else {
        "created_at": _iso(row.created_at_us), "changed_at": _iso(row.changed_at_us),
    }  # fmt: skip
    fares = [{"target": target.name, **health.get(target.name, {})} for target in row.route.targets]
    return {
        "name": row.route.name,
        **written_route(row.route),
        "from": "settings" if row.is_of_settings else "directory",
        "health": fares,
        **moments,
    }


def provider_shown(entry: Configured, stored: ProviderRow | None) -> dict[str, object]:
    """`credential_from` is directory, settings, the name of an environment variable, or None where calls must bring
    their own. Of further headers only the names: one may be a secret."""
    view = entry.view
    return {
        "name": view.name,
        "wire": view.wire,
        "base_url": view.base_url,
        "base_url_from": entry.base_url_from,
        "credential_from": entry.credential_from or None,
        "credential_hint": stored.credential_hint or None if stored and stored.credential else None,
        "headers": [name for name, _value in view.headers],
        "ca_file": view.ca_file,
        "tls_verify": view.verify,
        "deployments": view.options.deployments,
        "region": view.options.region or None,
        "region_class": view.options.region_class or None,
    }


def channel_shown(row: ChannelRow) -> dict[str, object]:
    """Of its address only a hint."""
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "hint": row.hint,
        "to": row.to or None,
        "allow_private": row.allow_private,
        "enabled": row.disabled_at_us is None,
        "note": row.note or None,
        "created_at": _iso(row.created_at_us),
        "changed_at": _iso(row.changed_at_us),
        "disabled_at": _iso(row.disabled_at_us),
    }


def rule_shown(row: RuleRow) -> dict[str, object]:
    rule = row.rule
    return {
        "id": rule.id,
        "kind": rule.kind,
        "about": rule.spec.about,
        "spec": shown_spec(rule.spec),
        "channels": list(rule.channels),
        "enabled": rule.enabled,
        "hourly_max": rule.hourly_max,
        "created_at": _iso(row.created_at_us),
        "changed_at": _iso(row.changed_at_us),
    }


def plan_shown(row: PlanRow, today: date) -> dict[str, object]:
    """As it reads today, and all its versions; before its first day, as it will read then."""
    plan = row.plan_on(today)
    versions = [
        {
            "valid_from": version.from_day.isoformat(),
            "entered_at": _iso(version.entered_at_us),
            **_unnamed(version.plan),
        }
        for version in row.versions
    ]
    removed = {} if row.removed_at_us is None else {"removed_at": _iso(row.removed_at_us)}
    moments = {"created_at": _iso(row.created_at_us), "changed_at": _iso(row.changed_at_us)}
    return {"name": row.name, **(_unnamed(plan) if plan else {}), "versions": versions, **moments, **removed}


def _unnamed(plan: Plan) -> dict[str, object]:
    return {name: value for name, value in shown_plan(plan).items() if name != "name"}


def customer_shown(row: CustomerRow, today: date) -> dict[str, object]:
    """As it stands today, with the history of its plans."""
    spec = row.spec
    held = [
        {"plan": held.plan, "from": held.from_day.isoformat(), "entered_at": _iso(held.entered_at_us)}
        for held in row.subscriptions
    ]
    removed = {} if row.removed_at_us is None else {"removed_at": _iso(row.removed_at_us)}
    return {
        "tenant": spec.tenant,
        "name": spec.name,
        "owner_email": spec.owner_email or None,
        "plan": row.plan_on(today),
        "started_on": None if spec.started_on is None else spec.started_on.isoformat(),
        "billing_anchor": spec.billing_anchor,
        "source": spec.source,
        "medium": spec.medium,
        "campaign": spec.campaign,
        "attributes": spec.attributes,
        "subscriptions": held,
        "created_at": _iso(row.created_at_us),
        "changed_at": _iso(row.changed_at_us),
        **removed,
    }


def entry_shown(entry: Entry) -> dict[str, object]:
    return {
        "month": entry.month,
        "amount": shown_amount(entry.amount, "usd"),
        "source": entry.source,
        "external_id": entry.external_id,
        "booked_at": _iso(entry.booked_at_us),
    }


def months_shown(books: Books, customer: Customer) -> list[dict[str, object]]:
    """What each of a customer's months comes to, oldest first: the latest MONTHS_MAX."""
    assert books.as_of_us is not None
    now = month_of(day_at(books.as_of_us, ZoneInfo(books.time_zone)))
    known = [entry.month for entry in customer.entries]
    known += [month_of(held.from_day) for held in customer.subscriptions]
    months = [month for month in sorted({*known, now}) if month <= now][:1]
    while months and months[-1] < now:
        months.append(following(months[-1]))
    later = sorted({entry.month for entry in customer.entries if entry.month > now})
    return [_month_shown(books, customer, month) for month in (*months[-MONTHS_MAX:], *later)]


def _month_shown(books: Books, customer: Customer, month: str) -> dict[str, object]:
    revenue = books.revenue(customer, month)
    adjusted = books.adjustments(customer, month)
    return {
        "month": month,
        "revenue": None if revenue is None else shown_amount(revenue, "usd"),
        "adjustments": {about: shown_amount(amount, "usd") for about, amount in adjusted.items()},
        "closed": books.is_closed(customer, month),
    }


def _iso(moment_us: int | None) -> str | None:
    return None if moment_us is None else iso_us(moment_us)
