"""When to try again: later and later, and never everyone at once."""

from typing import Final

BASE_S: Final = 30.0
LONGEST_S: Final = 8 * 3600.0
JITTER: Final = 0.25


def delay_s(attempts: int, chance: float, base_s: float = BASE_S) -> float:
    """Seconds from the failure of attempt number `attempts` (1 is the first) to the next: `base_s`, doubled each time
    up to LONGEST_S, give or take a quarter. `chance` is random, from 0 to 1. Eleven of them take about 16 hours."""
    plain = min(base_s * 2.0 ** min(attempts - 1, 60), LONGEST_S)
    return plain * (1 + JITTER * (2 * chance - 1))
