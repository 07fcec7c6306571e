"""Counts as some providers write them: numbers that may be floats, text, or missing."""

import math

from farebox.providers.openai_usage import COUNT_MAX

Number = float | None
"""A count in a wire shape. Text that is a number is one, too (`documents.decoder`)."""


def whole(number: Number) -> int:
    """A count as a whole number. Nothing is 0, a part of a unit is billed as one, and what can be no count stays
    out of range, so that it is clamped and marked where it is put into a meter."""
    if number is None or math.isnan(number):
        return 0
    if math.isinf(number) or number > COUNT_MAX:
        return COUNT_MAX + 1
    return math.ceil(max(number, -1))


def milliseconds(seconds: Number) -> int:
    """Seconds as the `seconds` meter keeps them."""
    if seconds is None or not math.isfinite(seconds) or seconds <= 0:
        return 0
    return round(min(seconds, COUNT_MAX / 1000) * 1000)
