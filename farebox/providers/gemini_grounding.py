"""What Gemini's answers rest on: searches and maps, billed by the prompt or by the query."""

import re
from typing import Final

import msgspec

from farebox.core.meters import Usage
from farebox.providers.openai_chat import NULL, is_given

QUERIES_MAX: Final = 10_000
"""Distinct queries of one answer that are told apart; answers have a handful."""
_GENERATION: Final = re.compile(r"gemini-(\d+)")


class GroundingChunk(msgspec.Struct, frozen=True, gc=False):
    maps: msgspec.Raw = NULL


class Grounding(msgspec.Struct, frozen=True, rename="camel"):
    web_search_queries: list[str] | None = None
    image_search_queries: list[str] | None = None
    retrieval_queries: list[str] | None = None
    grounding_chunks: list[GroundingChunk] | None = None


def searched(grounding: Grounding) -> set[int]:
    """The distinct queries that were run on the web, each as a hash of its text; empty ones left out."""
    queries = (*(grounding.web_search_queries or ()), *(grounding.image_search_queries or ()))
    return {hash(query) for query in queries if query.strip()}


def uses_maps(grounding: Grounding) -> bool:
    return any(is_given(chunk.maps) for chunk in grounding.grounding_chunks or ())


def grounding_fees(model: str, queries: int, maps: int) -> Usage:
    """What grounding costs: up to Gemini 2.5 each prompt that searched, from 3 each query that was run.
    An answer grounded without a query (the caller's own files, pages it named) was no search."""
    fees: Usage = {}
    if queries > 0:
        generation = _GENERATION.search(model)
        if generation is not None and int(generation[1]) < 3:
            fees["grounded_prompt"] = 1
        else:
            fees["grounding_query"] = queries
    if maps > 0:
        fees["maps_query"] = maps
    return fees
