"""Cohere's counts as disjoint meters.

Cohere bills `billed_units`: what the caller wrote and read, without the tokens that Cohere puts around it (its
documentation, "How does Cohere's pricing work"). `tokens` counts everything and `cached_tokens` what of that a cache
served; neither is billed. Sources: the SDK's types (cohere 7.3: UsageBilledUnits, ApiMetaBilledUnits) and recorded
answers. Numbers are floats.
"""

from typing import Final

import msgspec

from farebox.providers.counts import Number, whole
from farebox.providers.openai_usage import Meters, Split


class BilledUnits(msgspec.Struct, frozen=True, gc=False):
    input_tokens: Number = None
    output_tokens: Number = None
    text_tokens: Number = None
    image_tokens: Number = None
    images: Number = None
    search_units: Number = None
    classifications: Number = None
    pages: Number = None


class Tokens(msgspec.Struct, frozen=True, gc=False):
    input_tokens: Number = None
    output_tokens: Number = None
    reasoning_tokens: Number = None
    image_tokens: Number = None


class CohereUsage(msgspec.Struct, frozen=True, gc=False):
    """`usage` of the second version, `meta` of the first."""

    billed_units: BilledUnits | None = None
    tokens: Tokens | None = None


_NONE_BILLED: Final = BilledUnits()
_NO_TOKENS: Final = Tokens()
_PIECES: Final = {"search_units": "search_unit", "classifications": "classification", "pages": "page"}


def split_usage(reported: CohereUsage) -> Split | None:
    """Disjoint meters; None where the object counts nothing at all (`meta` may hold no more than a version).

    Marks: 'billed_units_missing' where only `tokens` says anything, which is at least what is billed; 'clamped';
    'total_mismatch' where text and images are not what the input is made of.
    """
    billed, tokens = reported.billed_units or _NONE_BILLED, reported.tokens or _NO_TOKENS
    meters = Meters()
    if billed == _NONE_BILLED:
        if tokens == _NO_TOKENS:
            return None
        meters.mark("billed_units_missing")
        billed = BilledUnits(
            input_tokens=whole(tokens.input_tokens) + whole(tokens.image_tokens), output_tokens=tokens.output_tokens
        )
    _put_input(meters, billed)
    meters.put("output", meters.take("reasoning", whole(tokens.reasoning_tokens), whole(billed.output_tokens)))
    for unit, meter in _PIECES.items():
        meters.put(meter, whole(getattr(billed, unit)))
    return Split(meters.usage, meters.marks)


def _put_input(meters: Meters, billed: BilledUnits) -> None:
    """Image tokens stand beside those of the text. Images that are billed by tokens are not billed by the piece."""
    text, images = whole(billed.input_tokens), whole(billed.image_tokens)
    if billed.text_tokens is not None:
        named = whole(billed.text_tokens)
        if billed.input_tokens is not None and text not in (named, named + images):
            meters.mark("total_mismatch")
            named = max(named, text)
        text = named
    meters.put("input", text)
    meters.put("image_input", images)
    if not images:
        meters.put("image", whole(billed.images))
