"""A refused call is an event too: what is known of it, without a cost.

The first refusal of a subject is written at once. Those that repeat it within a minute are counted, and written
as one event that stands for all of them: a caller that runs against a limit in a loop does not fill the ledger.
"""

import contextlib
from typing import Final

from msgspec.structs import replace

from farebox.core.attribution import NO_FIELDS, Attribution, merge
from farebox.core.events import NO_LIMITS, Head, Limits, Tail
from farebox.core.windows import MINUTE_US
from farebox.errors import CallRefused, JournalFull, LimitRefused
from farebox.gateway import admission
from farebox.gateway.admission import Caller
from farebox.gateway.call import Meters
from farebox.gateway.ids import IdMaker
from farebox.gateway.request import Request
from farebox.ledger import records
from farebox.providers.protocol import Endpoint

REPEATED_MAX: Final = 4096
"""Refusals whose repetitions are counted at a time, about 2 KiB each; beyond that each one is written by itself."""


class Repeated:
    """What repeated a refusal since it was written: how many calls, and what is the same in all of them."""

    __slots__ = ("count", "head", "last_us", "session", "tags", "tail", "task", "until_us")

    def __init__(self, head: Head, tail: Tail) -> None:
        self.head = head
        self.tail = tail
        self.task = head.task
        self.session = head.session
        self.tags = head.tags
        self.count = 0
        self.last_us = head.started_at_us
        self.until_us = head.started_at_us + MINUTE_US

    def add(self, who: Attribution, moment_us: int) -> None:
        self.count += 1
        self.last_us = moment_us
        if who.task != self.task:
            self.task = None
        if who.session != self.session:
            self.session = None
        if who.tags != self.tags:
            self.tags = None


class Refusals:
    """The refused calls of one worker on their way into its journal. A worker that is killed loses at most the counts
    of its last minute, never a first refusal."""

    __slots__ = ("_ids", "_meters", "_repeated")

    def __init__(self, meters: Meters, ids: IdMaker) -> None:
        self._meters = meters
        self._ids = ids
        self._repeated: dict[tuple[object, ...], Repeated] = {}
        """By what must be the same; the oldest first."""

    def take(
        self,
        plans: dict[str, str],
        caller: Caller,
        provider: str,
        endpoint: Endpoint,
        request: Request,
        path: str,
        refused: CallRefused,
        moment_us: int,
    ) -> None:
        """Write the refusal, or count it where it repeats one of the last minute."""
        who = _attribution(plans, caller, request)
        limit_id = refused.limit_id if isinstance(refused, LimitRefused) else None
        subject = refused.shown.get("subject") if isinstance(refused, LimitRefused) else None
        same = (
            caller.key.id, provider, path, refused.code, limit_id, subject, who.tenant, who.workspace, who.user,
            who.tier, who.feature,
        )  # fmt: skip
        found = self._repeated.get(same)
        if found is not None:
            if moment_us < found.until_us:
                found.add(who, moment_us)
                return
            del self._repeated[same]
            self._tell(found)
        head = self._head(caller, provider, endpoint, request, path, who, moment_us)
        limits = NO_LIMITS if limit_id is None else Limits(refused_by=limit_id)
        tail = Tail(moment_us, None, refused.status, "refused", refused.code, cost_source="computed", limits=limits)
        self._write(head, tail, 1)
        if len(self._repeated) < REPEATED_MAX:
            self._repeated[same] = Repeated(head, tail)

    def sweep(self, now_us: int) -> None:
        """Write the counts whose minute is over."""
        while self._repeated:
            same, oldest = next(iter(self._repeated.items()))
            if oldest.until_us > now_us:
                return
            del self._repeated[same]
            self._tell(oldest)

    def flush(self) -> None:
        """Write all counts: the worker ends."""
        repeated, self._repeated = self._repeated, {}
        for found in repeated.values():
            self._tell(found)

    def _head(
        self,
        caller: Caller,
        provider: str,
        endpoint: Endpoint,
        request: Request,
        path: str,
        who: Attribution,
        moment_us: int,
    ) -> Head:
        event_id = self._ids.make(moment_us)
        return Head(
            event_id, event_id, 1, moment_us, provider, endpoint.operation, path[:512], endpoint.model,
            bool(endpoint.streaming), caller.key.id or None, caller.byok, who.tenant, who.workspace, who.user, who.tier,
            who.feature, who.task, who.session, who.tags, None, None, None, request.retries,
        )  # fmt: skip

    def _tell(self, found: Repeated) -> None:
        if not found.count:
            return
        event_id = self._ids.make(found.last_us)
        head = replace(
            found.head, id=event_id, call_id=event_id, started_at_us=found.last_us, task=found.task,
            session=found.session, tags=found.tags, retries=0,
        )  # fmt: skip
        self._write(head, replace(found.tail, finished_at_us=found.last_us), found.count)

    def _write(self, head: Head, tail: Tail, count: int) -> None:
        """On a full disk it only counts: a refusal is not money."""
        with contextlib.suppress(JournalFull):
            self._meters.journal.append(records.refused(records.encode_head(head), tail, count))


def _attribution(plans: dict[str, str], caller: Caller, request: Request) -> Attribution:
    """As much attribution as the call's head gives; where that is what was wrong, what is bound to the key."""
    try:
        return admission.merge_sources(plans, caller, request, NO_FIELDS)
    except CallRefused:
        return merge(caller.key.bind, {}, None, NO_FIELDS)
