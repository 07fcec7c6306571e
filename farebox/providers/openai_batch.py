"""OpenAI's batch result files: JSON Lines of `{custom_id, response: {status_code, body}}`.

Each line says `service_tier: "default"`, so that it was a batch is known from where it stands only.
"""

import msgspec

from farebox.providers.batch_results import Answered, BatchFold
from farebox.providers.documents import read, tree_of
from farebox.providers.openai_chat import NULL, is_given
from farebox.providers.openai_usage import OpenAIUsage, split


class _Body(msgspec.Struct, frozen=True):
    model: str | None = None
    usage: msgspec.Raw = NULL


class _Response(msgspec.Struct, frozen=True):
    body: _Body | None = None


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
    return (Answered(body.model or "", counted.usage, counted.marks),)


def result_file(file_id: str | None) -> BatchFold:
    """A file that may hold results: any other content costs nothing."""
    return BatchFold(file_id, tree_of(_Line), read_line)
