"""Results of batches: many answers in one body, each with its own model and usage, all at batch prices."""

from collections.abc import Callable

import msgspec

from farebox.core.events import Stored
from farebox.core.meters import Usage, input_tokens, output_tokens
from farebox.providers.documents import Document, Tree
from farebox.providers.protocol import Metered, SubUsage
from farebox.providers.readers import sum_usage


class Answered(msgspec.Struct, frozen=True):
    """One answer of a batch."""

    model: str
    usage: Usage
    marks: tuple[str, ...] = ()


ReadLine = Callable[[bytes], tuple[Answered, ...]]
"""What one line holds: empty where it failed or is no result at all. Never raises."""
ReadLinks = Callable[[bytes], tuple[Stored, ...]]
"""What a document says of other stored objects. Never raises."""


class Lines:
    """Cuts JSON Lines into documents. A very long line is skimmed by `tree`."""

    __slots__ = ("_document",)

    def __init__(self, tree: Tree) -> None:
        self._document = Document(tree)

    def feed(self, data: bytes) -> list[bytes]:
        *whole, rest = data.split(b"\n")
        out = []
        for line in whole:
            self._document.add(line)
            out.append(self._document.take())
        if rest:
            self._document.add(rest)
        return out

    def end(self) -> list[bytes]:
        return [self._document.take()]


class BatchFold:
    """The sum of a batch's answers: the first model's on top, those of further models as parts."""

    def __init__(
        self, object_id: str | None, tree: Tree, read_line: ReadLine, read_links: ReadLinks | None = None
    ) -> None:
        self._object_id = object_id
        self._tree = tree
        self._read_line = read_line
        self._read_links = read_links
        self._objects: tuple[Stored, ...] = ()
        self._by_model: dict[str, Usage] = {}
        self._marks: tuple[str, ...] = ()

    @property
    def tree(self) -> Tree:
        return self._tree

    def take(self, document: bytes, whole: bool) -> None:
        if not document:
            return
        if self._read_links is not None:
            self._objects = self._read_links(document)
        for answered in self._read_line(document):
            self._by_model[answered.model] = sum_usage(self._by_model.get(answered.model, {}), answered.usage)
            self._marks += tuple(mark for mark in answered.marks if mark not in self._marks)

    @property
    def running(self) -> tuple[int, int]:
        sums = self._by_model.values()
        return sum(input_tokens(usage) for usage in sums), sum(output_tokens(usage) for usage in sums)

    def metered(self, ended: bool) -> Metered:
        models = list(self._by_model)
        return Metered(
            usage=self._by_model[models[0]] if models else {},
            quality="exact",
            usage_raw=msgspec.json.encode(self._by_model) if models else b"",
            model=models[0] or None if models else None,
            batch=bool(models),
            parts=tuple(SubUsage(model, self._by_model[model], "batch") for model in models[1:]),
            object_id=self._object_id,
            objects=self._objects,
            complete=ended,
            marks=self._marks,
        )
