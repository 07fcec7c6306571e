"""What calls of one kind have used lately."""

from hypothesis import given
from hypothesis import strategies as st

from farebox.core.history import FRESH, SAMPLES, Recent


@given(st.lists(st.integers(0, 1000), min_size=SAMPLES + FRESH, max_size=300))
def test_all_but_about_one_in_twenty_of_the_last_needed_no_more(values: list[int]) -> None:
    recent = Recent(500)
    for value in values:
        recent.add(value)
    stale = len(values) % FRESH
    window = values[: len(values) - stale][-SAMPLES:] if stale else values[-SAMPLES:]
    assert min(window) <= recent.p95 <= max(window)
    recent_enough = sum(value <= recent.p95 for value in values[-SAMPLES - FRESH :])
    assert recent_enough >= (SAMPLES * 9) // 10


def test_the_first_value_stands_until_others_are_known() -> None:
    recent = Recent(500)
    assert recent.p95 == 500
    recent.add(10)
    assert recent.p95 == 500
    for _ in range(SAMPLES):
        recent.add(10)
    assert recent.p95 == 10
