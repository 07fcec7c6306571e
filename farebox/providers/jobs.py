"""Work that goes on after its request was answered: a ticket first, then reads until the result stands there.

A ticket and a read that comes too early cost nothing yet ('pending'); the result is billed where it is read, once by
the job's id.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from farebox.providers.documents import Tree, read, tree_of
from farebox.providers.openai_chat import NULL, error_name, is_given
from farebox.providers.protocol import Metered
from farebox.providers.readers import Fold

_WAITING: Final = ("created", "queued", "pending", "in_progress", "processing", "submitted")
_FAILED: Final = ("failed", "expired", "cancelled", "canceled")


class Job(msgspec.Struct, frozen=True):
    """A ticket, a job, or its bare result."""

    id: str | None = None
    request_id: str | None = None
    status: str | None = None
    response: msgspec.Raw = NULL
    usage: msgspec.Raw = NULL
    choices: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    error_message: str | None = None


class JobFold:
    """What a job's answers mean; `result` reads the result, which stands in `response` or is the document itself."""

    def __init__(self, result: Fold, object_id: str | None) -> None:
        self._result = result
        self._object_id = object_id
        self._job: Job | None = None
        self._is_empty = True

    @property
    def tree(self) -> Tree:
        return {**tree_of(Job), **self._result.tree, b"response": self._result.tree}

    def take(self, document: bytes, whole: bool) -> None:
        self._is_empty = not document.strip()
        if self._waits():
            return
        try:
            job = read(document, Job)
        except ValueError:
            self._result.take(document, whole)
            return
        self._job = job
        if is_given(job.response):
            self._result.take(bytes(job.response), whole)
        elif not self._waits():
            self._result.take(document, whole)

    def _waits(self) -> bool:
        job = self._job
        if job is None:
            return self._is_empty and self._object_id is not None  # a read of xAI's that came too early
        if is_given(job.response) or is_given(job.usage) or is_given(job.choices):
            return False
        return (job.status or "").lower() in _WAITING or (job.status is None and job.request_id is not None)

    @property
    def running(self) -> tuple[int, int]:
        return self._result.running

    def metered(self, ended: bool) -> Metered:
        job = self._job or Job()
        object_id = self._object_id or job.request_id or job.id
        if self._waits():
            return Metered(quality="exact", object_id=object_id, pending=ended, complete=ended)
        found = replace(self._result.metered(ended), object_id=object_id)
        if (job.status or "").lower() in _FAILED and not found.usage:
            error = error_name(job.error) or job.error_message or "failed"
            return replace(found, quality="exact", error=error)
        return found
