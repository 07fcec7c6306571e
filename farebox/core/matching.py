"""Which entry of a price sheet a model's name means.

A sheet says for each entry, in order, what names it answers to; the first entry that answers wins. Names come
from strangers: a look-up is a few dictionary probes, and patterns are tried only where no exact name stands.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

NAME_MAX: Final = 256
"""Longer names are nobody's model; refusing them keeps patterns cheap."""

_COMPACT_DATE: Final = re.compile(r"(-)(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


class Match(msgspec.Struct, frozen=True, omit_defaults=True):
    """Names an entry answers to: any clause suffices. `regex` is searched in the lower-cased name; all other
    clauses ignore case. Each item of `every` is a set of Matches that must all hold."""

    equals: tuple[str, ...] = ()
    starts_with: tuple[str, ...] = ()
    ends_with: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()
    every: tuple[tuple["Match", ...], ...] = ()

    def hits(self, name: str) -> bool:
        """Whether a lower-cased name is meant."""
        return (
            any(name == text.lower() for text in self.equals)
            or any(name.startswith(text.lower()) for text in self.starts_with)
            or any(name.endswith(text.lower()) for text in self.ends_with)
            or any(text.lower() in name for text in self.contains)
            or any(re.search(pattern, name) for pattern in self.regex)
            or any(all(clause.hits(name) for clause in clauses) for clauses in self.every)
        )


def dashed_date(name: str) -> str:
    """'gpt-5.2-20251211' -> 'gpt-5.2-2025-12-11': routers write dates without dashes."""
    return _COMPACT_DATE.sub(r"\g<1>\g<2>-\g<3>-\g<4>", name)


class ModelIndex:
    """Finds the first of a sheet's entries that answers to a name, without asking each."""

    def __init__(self, matches: Sequence[Match]) -> None:
        self._equals: dict[str, int] = {}
        self._prefixes: dict[str, int] = {}
        self._patterns: list[tuple[int, Callable[[str], bool]]] = []
        for rank, match in enumerate(matches):
            self._add(rank, match)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})

    def _add(self, rank: int, match: Match) -> None:
        for text in match.equals:
            self._equals.setdefault(text.lower(), rank)
        for text in match.starts_with:
            self._prefixes.setdefault(text.lower(), rank)
        rest = Match(
            ends_with=tuple(text.lower() for text in match.ends_with),
            contains=tuple(text.lower() for text in match.contains),
            every=match.every,
        )
        if rest != _NOTHING:
            self._patterns.append((rank, rest.hits))
        for pattern in match.regex:
            self._patterns.append((rank, _searcher(pattern)))

    def find(self, name: str) -> int | None:
        """The rank of the entry that a lower-cased name means, or None."""
        best = self._equals.get(name, -1)
        for length in self._lengths:
            if length > len(name):
                break
            rank = self._prefixes.get(name[:length], -1)
            if rank >= 0 and (best < 0 or rank < best):
                best = rank
        for rank, hits in self._patterns:
            if 0 <= best <= rank:
                break
            if hits(name):
                return rank
        return best if best >= 0 else None


def _searcher(pattern: str) -> Callable[[str], bool]:
    search = re.compile(pattern).search
    return lambda name: search(name) is not None


_NOTHING: Final = Match()
