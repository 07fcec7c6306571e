import io

from rich.console import Console

from farebox.cli.evidence import evidence_view, log_view

EVENT = {
    "id": "0193-b",
    "kind": "charge",
    "attempt": 2,
    "started_at": "2026-11-21T10:00:00.123456Z",
    "finished_at": "2026-11-21T10:00:01.000000Z",
    "latency_ms": 812,
    "first_byte_ms": 240,
    "tenant": "acme",
    "user": "u_77",
    "feature": None,
    "tags": {"region": "eu"},
    "key_id": "key_1",
    "provider": "openai",
    "operation": "chat",
    "endpoint": "/v1/chat/completions",
    "model_requested": "gpt-4.1-mini",
    "model_billed": "gpt-4.1-mini-2025-04-14",
    "service_tier": "default",
    "status": 200,
    "state": "done",
    "outcome": "truncated",
    "retries": 1,
    "usage": {"input": 112, "cache_read": 1024, "output": 60, "reasoning": 128},
    "usage_raw": {"prompt_tokens": 1136},
    "cost_usd": "0.000448000000",
    "cost_source": "computed",
    "price_id": "p1",
    "price_from": "2025-04-14",
    "marks": ["clamped"],
}
EVIDENCE = {
    **EVENT,
    "attempts": [{**EVENT, "id": "0193-a", "state": "timeout", "cost_usd": None}, EVENT],
    "arithmetic": [
        {"meter": "input", "count": 112, "rate": "0.40", "amount": "0.000044800000"},
        {"meter": "seconds", "count": 3500, "rate": "0.111", "per": 3_600_000, "amount": "0.000107916667"},
        {"meter": "web_search", "count": 2, "rate": "10000.00", "per": 1_000_000, "amount": "0.020000000000"},
        {"meter": "output", "count": 60, "rate": "1.60", "multiplier": "11/10", "amount": "0.000105600000"},
    ],
    "corrections": [{**EVENT, "id": "0193-c", "cost_usd": "0.000100000000", "marks": ["repriced"]}],
}


def shown(view):
    out = io.StringIO()
    Console(file=out, width=160).print(view)
    return out.getvalue()


def test_evidence_is_a_sentence_a_sum_and_the_raw_usage():
    text = shown(evidence_view(EVIDENCE))
    assert text.startswith("openai gpt-4.1-mini-2025-04-14: $0.000448 (computed, corrected), done with status 200")
    assert "first byte after 240 ms" in text
    assert "$0.40 per million" in text
    assert "3.500 seconds" in text
    assert "$0.111 per hour" in text
    assert "$10.00 per thousand" in text
    assert "$1.60 per million × 11/10" in text
    assert "$0.0000448" in text
    assert "price p1, in force since 2025-04-14" in text
    assert '"prompt_tokens": 1136' in text
    assert "region=eu" in text
    assert "clamped" in text and "retry 1 · outcome truncated" in text


def test_other_attempts_and_corrections_stand_below():
    text = shown(evidence_view(EVIDENCE))
    assert "0193-a" in text.split("Other attempts")[1]
    assert "0193-b" not in text.split("Other attempts")[1].split("Corrections")[0]
    assert "repriced" in text.split("Corrections")[1]


def test_a_call_without_a_price_has_no_sum_and_no_zero():
    text = shown(evidence_view({**EVENT, "cost_usd": None, "cost_source": "unpriced"}))
    assert "no price known" in text
    assert "$0" not in text


def test_the_log_is_a_line_a_call():
    correction = {**EVIDENCE["corrections"][0], "kind": "correction"}
    lines = [line.rstrip() for line in shown(log_view([EVENT, correction])).splitlines()]
    assert len(lines) == 3
    assert lines[1].endswith("1,136  188  $0.0004  812 ms")
    assert "correction" in lines[2]
    assert "Widen" in shown(log_view([]))


def test_refusals_that_were_collapsed_say_how_many_they_are():
    refused = {**EVENT, "state": "refused", "refused_count": 1}
    assert "refused x" not in shown(log_view([refused]))
    assert "refused x 999" in shown(log_view([{**refused, "refused_count": 999}]))


def test_markup_in_a_name_is_text():
    assert "[red]x[/red]" in shown(evidence_view({**EVENT, "tenant": "[red]x[/red]"}))
    assert "[red]x[/red]" in shown(log_view([{**EVENT, "tenant": "[red]x[/red]"}]))


def test_an_escape_sequence_does_not_reach_the_terminal():
    assert "\x1b" not in shown(log_view([{**EVENT, "tenant": "a\x1b[2Jb"}]))
    assert "\x1b" not in shown(evidence_view({**EVENT, "error": "a\x1b[2Jb"}))


def test_what_the_provider_says_stands_beside_what_was_computed():
    said = {"reported_cost_usd": "0.001000000000", "computed_cost_usd": "0.000800000000"}
    booked = {**EVENT, **said, "cost_difference_usd": "0.000200000000", "cost_usd": "0.001000000000"}
    lines = [{"meter": "input", "count": 2000, "rate": "0.40", "amount": "0.000800000000"}]
    text = shown(evidence_view({**booked, "cost_source": "provider", "arithmetic": lines}))
    assert "$0.001 (provider)" in text
    assert "provider says  $0.001 (booked)" in text
    assert "computed       $0.0008" in text
    assert "difference     $0.0002 (+25.00%)" in text
    assert "$0.0008" in text.split("amount")[1].split("price p1")[0].splitlines()[-2]


def test_a_computed_sum_that_is_not_whole_is_not_compared():
    said = {"reported_cost_usd": "0.001000000000", "computed_cost_usd": None, "cost_difference_usd": None}
    text = shown(evidence_view({**EVENT, **said, "cost_source": "provider", "cost_usd": "0.001000000000"}))
    assert "not all of it has a price" in text
    assert "difference" not in text
