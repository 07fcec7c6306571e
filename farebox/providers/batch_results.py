"""Results of batches: many answers in one body, each with its own model and usage, all at batch prices."""

from collections.abc import Callable
from typing import Final, NamedTuple

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
    reported_cost: int | None = None
    """Pico-dollars, where the provider says what this answer cost."""
    region: str | None = None


class Group(NamedTuple):
    """Answers of one model whose prompts are of one length, as far as any price goes by it."""

    model: str
    length: int


LENGTHS: Final = (100_000, 128_000, 200_000, 256_000, 272_000, 512_000)
"""Prompt lengths at which prices change, up to or from these."""


def length_of(prompt_tokens: int) -> int:
    """Two prompts are alike to every price if this is the same for both."""
    return sum((prompt_tokens >= tokens) + (prompt_tokens > tokens) for tokens in LENGTHS)


GROUPS_MAX: Final = 1000
"""Batches name few models. What comes after so many is one group without a name, and so without a price."""

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
    """The sums of a batch's answers: the first group's on top, those of further models and lengths as parts."""

    def __init__(
        self, object_id: str | None, tree: Tree, read_line: ReadLine, read_links: ReadLinks | None = None
    ) -> None:
        self._object_id = object_id
        self._tree = tree
        self._read_line = read_line
        self._read_links = read_links
        self._objects: tuple[Stored, ...] = ()
        self._sums: dict[Group, Usage] = {}
        self._longest: dict[Group, int] = {}
        self._regions: set[str | None] = set()
        self._marks: tuple[str, ...] = ()
        self._stated = 0
        self._states_all = True

    @property
    def tree(self) -> Tree:
        return self._tree

    def take(self, document: bytes, whole: bool) -> None:
        if not document:
            return
        if self._read_links is not None:
            self._objects = self._read_links(document)
        for answered in self._read_line(document):
            prompt = input_tokens(answered.usage)
            group = self._group(answered.model, length_of(prompt))
            self._sums[group] = sum_usage(self._sums.get(group, {}), answered.usage)
            self._longest[group] = max(self._longest.get(group, 0), prompt)
            if len(self._regions) < 2:
                self._regions.add(answered.region)
            self._marks += tuple(mark for mark in answered.marks if mark not in self._marks)
            self._stated += answered.reported_cost or 0
            self._states_all = self._states_all and answered.reported_cost is not None

    def _group(self, model: str, length: int) -> Group:
        group = Group(model, length)
        if group in self._sums or len(self._sums) < GROUPS_MAX:
            return group
        if "too_many_models" not in self._marks:
            self._marks += ("too_many_models",)
        return Group("", length)

    @property
    def running(self) -> tuple[int, int]:
        sums = self._sums.values()
        return sum(input_tokens(usage) for usage in sums), sum(output_tokens(usage) for usage in sums)

    def metered(self, ended: bool) -> Metered:
        own, *others = self._sums or (None,)
        by_model: dict[str, Usage] = {}
        for group, usage in self._sums.items():
            by_model[group.model] = sum_usage(by_model.get(group.model, {}), usage)
        is_mixed = len(self._regions) > 1
        return Metered(
            usage=self._sums[own] if own else {},
            quality="exact",
            usage_raw=msgspec.json.encode(by_model) if own else b"",
            model=own.model or None if own else None,
            batch=own is not None,
            region=next(iter(self._regions)) if len(self._regions) == 1 else None,
            parts=tuple(SubUsage(other.model, self._sums[other], "batch", self._prompt(other)) for other in others),
            prompt_tokens=self._prompt(own) if own else None,
            reported_cost=self._reported_cost(),
            object_id=self._object_id,
            objects=self._objects,
            complete=ended,
            marks=(*self._marks, "region_mixed") if is_mixed else self._marks,
        )

    def _reported_cost(self) -> int | None:
        """The sum, where each answer says what it cost."""
        return self._stated if self._sums and self._states_all else None

    def _prompt(self, group: Group) -> int | None:
        """The longest prompt, where the sum of them would be taken for a longer one."""
        is_alike = length_of(input_tokens(self._sums[group])) == group.length
        return None if is_alike else self._longest[group]
