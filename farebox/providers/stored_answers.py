"""What answers of free routes say of stored objects: which was made or deleted, and which belongs to which.

A batch's result file is billed where it is read, and only the batch says whose it is; so ids are noted wherever they
pass. Source: the object types of the SDKs (openai 3.52, anthropic 2.11, google-genai 3.4).
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from farebox.core.events import Stored
from farebox.providers.documents import Tree, read, tree_of
from farebox.providers.openai_chat import header
from farebox.providers.protocol import Endpoint, Metered, Reader
from farebox.providers.readers import BodyReader, FixedReader

OBJECTS_MAX: Final = 200
"""Objects that are noted of one answer: a page of a list has at most a hundred, a batch two files each."""


class Named(msgspec.Struct, frozen=True):
    id: str | None = None
    name: str | None = None


class GeminiResults(msgspec.Struct, frozen=True, rename="camel"):
    responses_file: str | None = None


class GeminiMetadata(msgspec.Struct, frozen=True):
    output: GeminiResults | None = None


class Item(msgspec.Struct, frozen=True):
    """An object, as far as it names others."""

    id: str | None = None
    job_id: str | None = None
    batch_id: str | None = None
    name: str | None = None
    input_file_id: str | None = None
    input_files: list[str] | None = None
    output_file: str | None = None
    error_file: str | None = None
    input_dataset_id: str | None = None
    output_dataset_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    training_file: str | None = None
    result_files: list[str] | None = None
    thread_id: str | None = None
    file: Named | None = None
    metadata: GeminiMetadata | None = None
    response: GeminiResults | None = None


class Answer(Item, frozen=True):
    """An object or a page of them."""

    data: list[Item] | None = None
    batch: Item | None = None
    batches: list[Item] | None = None
    operations: list[Item] | None = None


class StoredFold:
    """A JSON answer of a free route of stored objects."""

    tree: Tree = tree_of(Answer)
    running = (0, 0)

    def __init__(self, endpoint: Endpoint, *, by_name: bool = False, marks: tuple[str, ...] = ()) -> None:
        self._endpoint = endpoint
        self._marks = marks
        self._by_name = by_name  # Google names objects by their path
        self._objects: tuple[Stored, ...] = ()

    def take(self, document: bytes, whole: bool) -> None:
        try:
            answer = read(document, Answer)
        except ValueError:
            return
        self._objects = tuple(self._told(answer))[:OBJECTS_MAX]

    def metered(self, ended: bool) -> Metered:
        return Metered(quality="exact", objects=self._objects, complete=ended, marks=self._marks)

    def _told(self, answer: Answer) -> Iterator[Stored]:
        own = _own(answer, self._by_name) or (answer.batch and answer.batch.id)
        if self._endpoint.action == "make":
            own = own or (answer.file.name if answer.file else None)
            if own:
                yield Stored(own)
            if answer.thread_id:
                yield Stored(answer.thread_id)
        for item in (
            answer,
            *((answer.batch,) if answer.batch else ()),
            *(answer.data or answer.batches or answer.operations or ()),
        ):
            yield from links(item, by_name=self._by_name)


def links(item: Item, *, by_name: bool = False) -> Iterator[Stored]:
    """What belongs to whom: a batch to who made its input, where nobody is known to have made it; its results to it."""
    own = _own(item, by_name)
    if not own:
        return
    for source in (item.input_file_id, item.training_file, item.input_dataset_id, *(item.input_files or ())[:1]):
        if source:
            yield Stored(own, "of", source)
    results = [item.output_file_id, item.error_file_id, item.output_file, item.error_file, item.output_dataset_id]
    results += item.result_files or ()
    if not by_name and item.file is not None:
        results.append(item.file.id)
    for told in (item.response, item.metadata.output if item.metadata else None):
        results.append(told.responses_file if told else None)
    for result in dict.fromkeys(results):
        if result and result != own:
            yield Stored(result, "of", own)


def _own(item: Item, by_name: bool) -> str | None:
    """An object's own id: Cohere's jobs and xAI's batches have it under names of their own. Google's names are taken
    without project and location, which its answers spell otherwise than their callers."""
    if not by_name:
        return item.id or item.job_id or item.batch_id
    return short_name(item.name) if item.name else None


def short_name(name: str) -> str:
    """An object of Google's by its name below project and location.

    >>> short_name("projects/7/locations/eu/cachedContents/c1"), short_name("files/f1")
    ('cachedContents/c1', 'files/f1')
    """
    return name.partition("/locations/")[2].partition("/")[2] or name


def stored_reader(
    endpoint: Endpoint, headers: Mapping[str, str], *, by_name: bool = False, marks: tuple[str, ...] = ()
) -> Reader:
    """The reader of a free route's answer: ids are noted where objects are stored, else nothing is looked at."""
    if endpoint.action == "delete" and endpoint.root is not None:
        return FixedReader(Metered(quality="exact", objects=(Stored(endpoint.root, "gone"),)))
    if endpoint.action and header(headers, "content-type") == "application/json":
        return BodyReader(lambda: StoredFold(endpoint, by_name=by_name, marks=marks))
    return FixedReader(Metered(quality="exact", marks=marks))
