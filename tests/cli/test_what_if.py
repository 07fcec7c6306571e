"""Other models and prices tried on the past, from the shell: on a data directory, and through an API."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from control_api import Api

from farebox.core.events import Head, Tail
from farebox.core.money import divide_half_even
from farebox.ledger import records
from farebox.ledger.journal import JournalWriter
from farebox.providers.sheets import load_book

Shell = Callable[..., Any]
NOW_US = int(datetime.now(UTC).timestamp()) * 1_000_000
USAGE = {"input": 1_234_567, "cache_read": 7, "output": 65_431}
CALLS = [("acme", "pro", "summarizer"), ("acme", "pro", "chat"), ("globex", "free", "summarizer")]


def cost(model: str, times: int = 1) -> Decimal:
    rates = load_book().quote("openai", model, NOW_US).rates
    return times * sum(
        (Decimal(divide_half_even(count * rates[meter], 10**6)) for meter, count in USAGE.items()), Decimal(0)
    ) / 10**12  # fmt: skip


@pytest.fixture
def data(tmp_path: Path, shell: Shell) -> Path:
    """Three calls of gpt-4.1 a minute ago; acme pays $49 for pro, globex nothing for free."""
    data = tmp_path / "data"
    writer = JournalWriter(data / "journal" / "w0", segment_bytes=65536, slots_max=8)
    for number, (tenant, tier, feature) in enumerate(CALLS):
        event_id = f"01930000-0000-7000-8000-{number:012x}"
        first = Head(
            event_id, event_id, 1, NOW_US - 60_000_000 + number, "openai", "chat", "/v1/chat/completions", "gpt-4.1",
            False, "key_1", False, tenant=tenant, tier=tier, feature=feature,
        )  # fmt: skip
        last = Tail(
            first.started_at_us, None, 200, "done", model_billed="gpt-4.1", usage=USAGE,
            cost=int(cost("gpt-4.1") * 10**12), cost_source="computed", price_id="p",
        )  # fmt: skip
        writer.append(records.finished(records.encode_head(first), last))
    writer.close()
    for words in (("pro", "--price", "49"), ("free", "--price", "0")):
        assert shell("plans", "set", *words, "--data", str(data)).code == 0
    for tenant, plan in (("acme", "pro"), ("globex", "free")):
        assert shell("customers", "set", tenant, "--plan", plan, "--data", str(data)).code == 0
    return data


def test_margins_with_another_model_are_told_to_the_last_digit(shell: Shell, data: Path) -> None:
    at = ("--since", "1d", "--json", "--data", str(data))
    answer = shell("simulate", "--model", "summarizer:gpt-4.1-mini", *at).data
    totals, moved = answer["totals"], cost("gpt-4.1-mini") - cost("gpt-4.1")
    assert Decimal(totals["before"]["ai_cost"]) == cost("gpt-4.1", 3)
    assert Decimal(totals["ai_cost_change"]) == 2 * moved
    rows = {row["tenant"]: row for row in answer["customers"]}
    assert Decimal(rows["acme"]["ai_cost_change"]) == Decimal(rows["globex"]["ai_cost_change"]) == moved
    assert [row["feature"] for row in answer["moved"]] == ["summarizer"]
    models = ("--model", "summarizer:gpt-4.1-mini", "--model", "*:gpt-4.1-nano")
    both = shell("simulate", *models, "--plan-price", "pro:$59", *at).data
    rest = cost("gpt-4.1-nano") - cost("gpt-4.1")
    assert Decimal(both["totals"]["ai_cost_change"]) == 2 * moved + rest
    assert both["changes"] == [
        "summarizer: gpt-4.1-mini", "all other calls: gpt-4.1-nano", "plan pro: $59.00 a month, which is $49.00 now",
    ]  # fmt: skip


def test_prices_of_a_file_are_read_as_prices_update_reads_them(shell: Shell, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    file.write_text("provider,model,input,cache_read,output\nopenai,gpt-4.1,1,1,1\n")
    answer = shell("simulate", "--price", str(file), "--since", "1d", "--json", "--data", str(data)).data
    tokens = sum(USAGE.values())
    assert Decimal(answer["totals"]["after"]["ai_cost"]) == 3 * Decimal(tokens) / 10**6
    assert answer["changes"] == ["1 price of prices.csv"]
    assert shell("prices", "list", "--json", "--model", "gpt-4.1", "--data", str(data)).data[0]["origin"] == "shipped"


def test_it_is_shown_as_a_sentence_and_tables(shell: Shell, data: Path) -> None:
    done = shell(
        "simulate", "--model", "*:gpt-4.1-nano", "--plan-price", "pro:59", "--since", "1d", "--data", str(data)
    )
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("Margin ") and " would be " in done.out
    assert any(line.startswith("acme") and "+$" in line for line in lines)
    assert any(line.startswith("free") for line in lines) and any(line.startswith("pro") for line in lines)
    assert any("summarizer" in line and "openai/gpt-4.1-nano" in line for line in lines)
    assert "Nothing is set." in done.out and "tokenizer" in done.out


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--model", "gpt-4.1-nano"], 2, "write FEATURE:MODEL"),
        (["--model", "sumarizer:gpt-4.1-nano"], 2, "did you mean summarizer"),
        (["--model", "summarizer:gpt-4.1-nan"], 2, "did you mean gpt-4.1-nano"),
        (["--model", "chat:a", "--model", "chat:b"], 2, "two models are given for 'chat'"),
        (["--plan-price", "prro:59"], 2, "did you mean pro"),
        (["--plan-price", "pro"], 2, "write PLAN:DOLLARS"),
        (["--plan-price", "pro:-1"], 2, "write PLAN:DOLLARS"),
        (["--plan-price", "pro:59", "--since", "all"], 2, "say since when"),
        (["--plan-price", "pro:59", "--since", "2d", "--until", "3d"], 2, "since is not before until"),
        (["--plan-price", "pro:59", "--where", "tier=free"], 2, "--where belongs to a limit"),
        (["--plan-price", "pro:59", "--per", "user", "--amount", "1 usd"], 2, "a limit is tried by itself"),
        (["--model", "chat:gpt-4.1-nano", "--limit", "lim_1"], 2, "a limit is tried by itself"),
        (["--plan-price", "pro:59", "--limit-rows", "0"], 2, "give 1 to"),
    ],
)
def test_what_makes_no_sense_is_one_clear_line(
    shell: Shell, data: Path, options: list[str], code: int, says: str
) -> None:
    done = shell("simulate", *options, "--data", str(data))
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1), done.err
    assert says in done.err


def test_a_server_is_asked_by_its_api(shell: Shell, data: Path, remote: tuple[Api, list[str]]) -> None:
    api, there = remote
    told = found_of(data, shell)
    api.keeper.answers |= {"what_if": told, "sums": {"columns": ["tenant", "month"], "values": [[], []]}}
    done = shell("simulate", "--model", "chat:gpt-4.1-nano", "--since", "7d", "--limit-rows", "3", *there)
    assert (done.code, done.err) == (0, ""), done.err
    asked = api.keeper.last("what_if")
    assert asked["swaps"] == [{"feature": "chat", "model": "gpt-4.1-nano"}]
    assert "chat: gpt-4.1-nano" in done.out


def found_of(data: Path, shell: Shell) -> dict[str, Any]:
    from farebox.reports.what_if import NOTHING_MOVED

    assert shell("simulate", "--model", "chat:gpt-4.1-nano", "--json", "--data", str(data)).code == 0
    return json.loads(json.dumps(dict(NOTHING_MOVED)))  # type: ignore[no-any-return]
