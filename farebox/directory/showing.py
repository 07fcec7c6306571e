"""Entries of the directory as shell and API show them: everything but secrets."""

from farebox.core.alert_rules import shown_spec
from farebox.core.events import iso_us
from farebox.core.limit_text import shown_limit
from farebox.directory.rows import ChannelRow, KeyRow, LimitRow, ProviderRow, RuleRow, TokenRow
from farebox.directory.views import Configured


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


def limit_shown(row: LimitRow) -> dict[str, object]:
    """A removed one says so in `removed_at`."""
    removed = {} if row.removed_at_us is None else {"removed_at": _iso(row.removed_at_us)}
    moments = {"created_at": _iso(row.created_at_us), "changed_at": _iso(row.changed_at_us)}
    return {**shown_limit(row.limit), **moments, **removed}


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


def _iso(moment_us: int | None) -> str | None:
    return None if moment_us is None else iso_us(moment_us)
