"""A refused call is an event too: what is known of it, without a cost."""

import contextlib

from farebox.core.attribution import NO_FIELDS, Attribution, merge
from farebox.core.events import NO_LIMITS, Head, Limits, Tail
from farebox.errors import CallRefused, JournalFull, LimitRefused
from farebox.gateway import admission
from farebox.gateway.admission import Caller
from farebox.gateway.call import Meters, now_us
from farebox.gateway.request import Request
from farebox.ledger import records
from farebox.providers.protocol import Endpoint


def record_refusal(
    meters: Meters,
    plans: dict[str, str],
    event_id: str,
    caller: Caller,
    provider: str,
    endpoint: Endpoint,
    request: Request,
    path: str,
    refused: CallRefused,
) -> None:
    """Journal the refusal. On a full disk it only counts: a refusal is not money."""
    who = _attribution(plans, caller, request)
    moment = now_us()
    head = Head(
        event_id, event_id, 1, moment, provider, endpoint.operation, path[:512], endpoint.model,
        bool(endpoint.streaming), caller.key.id or None, caller.byok, who.tenant, who.workspace, who.user, who.tier,
        who.feature, who.task, who.session, who.tags, None, None, None, request.retries,
    )  # fmt: skip
    limits = Limits(refused_by=refused.limit_id) if isinstance(refused, LimitRefused) else NO_LIMITS
    tail = Tail(moment, None, refused.status, "refused", refused.code, cost_source="computed", limits=limits)
    with contextlib.suppress(JournalFull):
        meters.journal.append(records.refused(records.encode_head(head), tail, 1))


def _attribution(plans: dict[str, str], caller: Caller, request: Request) -> Attribution:
    """As much attribution as the call's head gives; where that is what was wrong, what is bound to the key."""
    try:
        return admission.merge_sources(plans, caller, request, NO_FIELDS)
    except CallRefused:
        return merge(caller.key.bind, {}, None, NO_FIELDS)
