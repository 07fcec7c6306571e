"""OpenAI's batch result files: JSON Lines of `{custom_id, response: {status_code, body}}`.

Each line says `service_tier: "default"`, so that it was a batch is known from where it stands only.
"""

import msgspec

from farebox.providers.batch_results import Answered, BatchFold
from farebox.providers.documents import read, tree_of
from farebox.providers.openai_chat import is_given
from farebox.providers.openai_responses import Response, beside
from farebox.providers.openai_usage import OpenAIUsage, split


class _Response(msgspec.Struct, frozen=True):
    body: Response | None = None
    """A chat completion or an embedding has of a response's members what matters here: model and usage."""


class _Line(msgspec.Struct, frozen=True):
    custom_id: str | None = None
    response: _Response | None = None


def read_line(line: bytes) -> tuple[Answered, ...]:
    try:
        found = read(line, _Line)
        if found.custom_id is None or found.response is None or found.response.body is None:
            return ()
        body = found.response.body
        if not is_given(body.usage):
            return ()
        counted = split(read(body.usage, OpenAIUsage))
    except ValueError:
        return ()
    fees, parts, marks = beside(body, body.output or [])
    own = Answered(body.model or "", {**counted.usage, **fees}, counted.marks + marks)
    return (own, *(Answered(part.model, part.usage) for part in parts))


def result_file(file_id: str | None) -> BatchFold:
    """A file that may hold results: any other content costs nothing."""
    return BatchFold(file_id, tree_of(_Line), read_line)
