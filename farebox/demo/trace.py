"""How calls arrive and how long they are: from the Azure LLM inference traces where present, else fitted to them.

Source: AzurePublicDataset, AzureLLMInferenceDataset2023 (CC-BY): 28,000 real calls of two services on 2023-11-16.
The fits are log-normal: means and deviations of the logarithms of those files' columns.
"""

import csv
import math
import random
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import msgspec

Kind = Literal["conv", "code"]
Lengths = tuple[int, int]
"""Input and output tokens of one call."""

FOLDER: Final = Path(__file__).resolve().parents[2].parent / "shared" / "data"
FILE: Final = "azure_llm_trace_2023_{kind}.csv"
INPUT_MAX: Final = 14_000
OUTPUT_MAX: Final = 2_000
GAP_MAX: Final = 10.0
"""In means: the code trace has one pause of eight minutes, which is no arrival pattern."""


class Fit(msgspec.Struct, frozen=True):
    """Log-normal: mean and standard deviation of the natural logarithm."""

    mean: float
    deviation: float

    def draw(self, pick: random.Random) -> float:
        return math.exp(pick.gauss(self.mean, self.deviation))


class Shape(msgspec.Struct, frozen=True):
    """One service's fitted lengths and gaps (seconds)."""

    input: Fit
    output: Fit
    gap: Fit


SHAPES: Final[dict[Kind, Shape]] = {
    "conv": Shape(input=Fit(6.633, 0.985), output=Fit(5.019, 0.859), gap=Fit(-2.384, 1.481)),
    "code": Shape(input=Fit(6.999, 1.360), output=Fit(2.788, 0.847), gap=Fit(-4.052, 2.776)),
}


def lengths(kind: Kind, count: int, pick: random.Random, folder: Path = FOLDER) -> list[Lengths]:
    """`count` pairs of input and output tokens as that service's calls have them."""
    recorded = [(read, written) for _, read, written in _rows(folder / FILE.format(kind=kind))]
    if recorded:
        return [pick.choice(recorded) for _ in range(count)]
    shape = SHAPES[kind]
    return [
        (_bounded(shape.input.draw(pick), INPUT_MAX), _bounded(shape.output.draw(pick), OUTPUT_MAX))
        for _ in range(count)
    ]


def _bounded(value: float, most: int) -> int:
    return max(1, min(most, round(value)))


def gaps(per_second: float, pick: random.Random, folder: Path = FOLDER) -> Iterator[float]:
    """Seconds between one arrival and the next, for ever: the conversation service's pattern at another speed."""
    recorded = [moment for moment, _, _ in _rows(folder / FILE.format(kind="conv"))]
    steps = [after - before for before, after in pairwise(recorded)]
    mean = 1 / per_second
    if steps:
        scale = mean * len(steps) / sum(steps)
        start = pick.randrange(len(steps))
        while True:
            for step in steps[start:] + steps[:start]:
                yield min(step * scale, GAP_MAX * mean)
    fit = SHAPES["conv"].gap
    scale = mean / math.exp(fit.mean + fit.deviation**2 / 2)
    while True:
        yield min(fit.draw(pick) * scale, GAP_MAX * mean)


@cache
def _rows(file: Path) -> list[tuple[float, int, int]]:
    """Moment (seconds), input and output tokens of each call; nothing where there is no such file."""
    if not file.is_file():
        return []
    with file.open(newline="") as lines:
        return [
            (_seconds(row["TIMESTAMP"]), min(int(row["ContextTokens"]), INPUT_MAX), int(row["GeneratedTokens"]))
            for row in csv.DictReader(lines)
        ]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text[:26]).timestamp()
