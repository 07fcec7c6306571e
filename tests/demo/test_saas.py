"""The simulated SaaS: always the same, and shaped like a real one."""

import random
from collections import Counter
from itertools import islice
from pathlib import Path
from statistics import median

import pytest

from farebox.demo import saas, trace


def test_the_same_seed_builds_the_same_saas() -> None:
    assert saas.build(3) == saas.build(3)
    assert saas.build(3) != saas.build(4)


def test_there_are_200_tenants_in_three_tiers_with_four_features() -> None:
    world = saas.build()
    assert len({tenant.name for tenant in world.tenants}) == 200
    assert {tenant.tier.name for tenant in world.tenants} == {"free", "pro", "enterprise"}
    assert len(world.features) == 4


def test_a_few_tenants_make_most_of_the_calls() -> None:
    weights = sorted((tenant.weight for tenant in saas.build().tenants), reverse=True)
    assert sum(weights[:20]) > 0.6 * sum(weights)
    assert weights[0] > 5 * weights[9]


def test_paying_tiers_are_drawn_to_the_top_but_some_heavy_tenants_are_free() -> None:
    tiers = [tenant.tier.name for tenant in saas.build().tenants]
    assert Counter(tiers[:30])["enterprise"] > Counter(tiers[30:])["enterprise"]
    assert "free" in tiers[:60]


def test_a_calls_tokens_are_split_into_disjoint_meters() -> None:
    pick = random.Random(1)
    for _ in range(200):
        usage = saas.split(saas.FLASH, 5000, 100, pick)
        assert usage["input"] + usage.get("cache_read", 0) == 5000
        assert usage.get("cache_read", 0) % 128 == 0
    assert saas.split(saas.EMBEDDING, 10, 99, pick) == {"input": 10}


@pytest.mark.parametrize("kind", ["conv", "code"])
def test_without_the_trace_lengths_come_from_its_fit(kind: trace.Kind, tmp_path: Path) -> None:
    pairs = trace.lengths(kind, 4000, random.Random(5), tmp_path)
    shape = trace.SHAPES[kind]
    assert median(read for read, _ in pairs) == pytest.approx(2.718281828**shape.input.mean, rel=0.12)
    assert median(written for _, written in pairs) == pytest.approx(2.718281828**shape.output.mean, rel=0.12)
    assert all(1 <= read <= trace.INPUT_MAX and 1 <= written <= trace.OUTPUT_MAX for read, written in pairs)


def test_a_trace_file_is_taken_where_there_is_one(tmp_path: Path) -> None:
    rows = "".join(f"2023-11-16 18:15:{i:02}.0000000,{100 + i},{i + 1}\n" for i in range(0, 40, 2))
    (tmp_path / "azure_llm_trace_2023_conv.csv").write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows)
    assert set(trace.lengths("conv", 100, random.Random(1), tmp_path)) <= {(100 + i, i + 1) for i in range(0, 40, 2)}
    gaps = list(islice(trace.gaps(10, random.Random(1), tmp_path), 50))
    assert gaps == pytest.approx([0.1] * 50)


def test_fitted_gaps_keep_the_rate_near_what_is_asked(tmp_path: Path) -> None:
    gaps = list(islice(trace.gaps(25, random.Random(2), tmp_path), 5000))
    assert 18 < 5000 / sum(gaps) < 40
    assert max(gaps) <= trace.GAP_MAX / 25
