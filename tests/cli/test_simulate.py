"""A limit tried on the past, from the shell: on a data directory on which no server runs, and through an API."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from control_api import Api

from farebox.core.events import Head, Tail
from farebox.ledger import records
from farebox.ledger.journal import JournalWriter

Shell = Callable[..., Any]
NOW_US = int(datetime.now(UTC).timestamp()) * 1_000_000
HOUR_US = 3_600_000_000
FOREVER = ("--window", "lifetime")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten calls of acme's u_1, two of globex' u_1 and one without a user, an hour apart, at $0.00056 each."""
    data = tmp_path / "data"
    writer = JournalWriter(data / "journal" / "w0", segment_bytes=65536, slots_max=8)
    callers = [("acme", "u_1", "free")] * 10 + [("globex", "u_1", "pro")] * 2 + [("globex", None, "pro")]
    for number, (tenant, user, tier) in enumerate(callers):
        event_id = f"01930000-0000-7000-8000-{number:012x}"
        first = Head(
            event_id, event_id, 1, NOW_US - (20 - number) * HOUR_US, "openai", "chat", "/v1/chat/completions",
            "gpt-4.1-mini", False, "key_1", False, tenant=tenant, user=user, tier=tier,
        )  # fmt: skip
        last = Tail(
            first.started_at_us + 800_000, None, 200, "done", model_billed="gpt-4.1-mini",
            usage={"input": 1000, "output": 100}, cost=560_000_000,
            cost_by_meter={"input": 400_000_000, "output": 160_000_000},
            rates={"input": 400_000_000_000, "output": 1_600_000_000_000}, cost_source="computed",
        )  # fmt: skip
        writer.append(records.started(records.encode_head(first)))
        writer.append(records.finished(records.encode_head(first), last))
    writer.close()
    return data


def test_it_says_in_a_sentence_whom_the_limit_would_have_stopped_and_then_who(shell: Shell, data: Path) -> None:
    done = shell("simulate", "--per", "user", "--amount", "0.001 usd", *FOREVER, "--data", str(data))
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("It would have stopped 1 of 3 users: 8 calls (61.5 %), $0.0045 of $0.0073, first on 20")
    assert lines[1].startswith("each user: 0.001 usd")
    row = next(line for line in lines if line.startswith("acme/u_1")).split()
    assert row[1:7] == ["1", "10", "8", "$0.0056", "$0.0045", "$0.0011"]
    assert "By tenant: acme 8 calls ($0.0045)." in lines
    assert "By tier: free 8 calls ($0.0045)." in lines
    assert any(line.startswith("80 % of the amount: 2 users would have come to it") for line in lines)
    assert "a limit in force also holds" in lines[-1]


def test_the_same_as_data_from_json(shell: Shell, data: Path) -> None:
    spec = {"per": "user", "amount": "0.001 usd", "window": "lifetime", "warn_at": [0.5]}
    done = shell("simulate", "--limit", json.dumps(spec), "--json", "--data", str(data))
    assert done.code == 0, done.err
    totals = done.data["totals"]
    assert (totals["subjects"], totals["subjects_touched"], totals["subjects_touched_share"]) == (3, 1, 0.333333)
    assert (totals["calls"], totals["calls_stopped"], totals["windows_hit"]) == (13, 8, 1)
    assert (totals["spend_usd"], totals["spend_stopped_usd"], totals["spend_passed_usd"]) == (
        "0.007280000000", "0.004480000000", "0.002800000000",
    )  # fmt: skip
    assert [row["subject"] for row in done.data["rows"]] == ["acme/u_1"]
    assert done.data["tenants"] == [{"tenant": "acme", "calls_beyond": 8, "spend_beyond_usd": "0.004480000000"}]
    assert done.data["warnings"][0]["subjects"] == 3
    assert done.data["marked"] is None
    assert done.data["limit"]["amount"] == "0.001 usd"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--amount", "1 usd"), "It would have stopped none of 3 users."),
        (
            ("--amount", "2 requests", "--action", "throttle", "--rate", "1"),
            "It would have slowed down none of 3 users.",
        ),
        (("--amount", "2 requests", "--action", "warn"), "It would have warned of a used-up amount for 1 of 3 users"),
        (("--amount", "2 requests", "--action", "dry_run"), "It would have marked calls of 1 of 3 users: 8 calls"),
        (
            ("--amount", "2 requests", "--action", "downgrade", "--model", "gpt-4.1-nano"),
            "It would have moved to gpt-4.1-nano 1 of 3 users: 8 calls (61.5 %), saving $0.0034 of $0.0073",
        ),
        (("--per", "all", "--amount", "4 requests"), "It would have stopped all together: 9 calls (69.2 %)"),
        (("--per", "all", "--amount", "1 usd"), "It would have stopped nobody."),
        (("--amount", "1 usd", "--where", "tier=none"), "nobody: nothing to count"),
        (("--amount", "2 requests", "--since", "1h"), "nobody: nothing to count"),
    ],
)
def test_each_action_says_what_it_would_have_done(
    options: tuple[str, ...], says: str, shell: Shell, data: Path
) -> None:
    done = shell("simulate", "--per", "user", *FOREVER, *options, "--data", str(data))
    assert done.code == 0, done.err
    assert says in done.out.splitlines()[0]


def test_an_existing_limit_is_named_by_its_id_beside_what_it_has_really_marked(shell: Shell, data: Path) -> None:
    at = ("--data", str(data))
    options = ("--per", "user", "--amount", "2 requests", *FOREVER)
    made = shell("limits", "set", *options, "--action", "dry_run", "--json", *at).data
    shell("limits", "set", *options, "--subject", "acme/u_1", "--amount", "9 requests", *at)
    answer = shell("simulate", "--limit", made["id"], "--json", *at).data
    assert answer["limit"]["id"] == made["id"]
    assert answer["marked"] == {"limit_id": made["id"], "calls": 0, "spend_usd": "0.000000000000", "first_at": None}
    assert (answer["totals"]["subjects"], answer["totals"]["calls_beyond"]) == (2, 0)
    told = shell("simulate", "--limit", made["id"], *at).out
    assert "has really marked 0 calls of this time as a dry run" in told
    own = shell("simulate", *options, "--subject", "acme/u_1", "--json", *at).data
    assert own["totals"]["calls_stopped"] == 8


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ((), 2, "say which limit"),
        (("--limit", "{"), 2, "no JSON"),
        (("--limit", '{"per": "user"}'), 2, "needs amount"),
        (("--limit", '{"per": "user", "amount": "5"}'), 2, "its unit"),
        (("--limit", "lim_none"), 1, "no limit 'lim_none'"),
        (("--limit", "lim_1", "--per", "user"), 2, "leave out --per"),
        (("--per", "user", "--amount", "1 usd", "--limit-rows", "0"), 2, "1 to 1000"),
        (("--per", "user", "--amount", "1 usd", "--since", "soon"), 2, "is no time"),
        (("--per", "user", "--amount", "1 usd", "--since", "1h", "--until", "2h"), 2, "not before until"),
    ],
)
def test_what_cannot_be_asked_is_told_in_a_line(
    options: tuple[str, ...], code: int, says: str, shell: Shell, data: Path
) -> None:
    done = shell("simulate", *options, "--data", str(data))
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert says in done.err


def test_an_empty_ledger_has_nothing_to_count(shell: Shell, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o700)
    done = shell("simulate", "--per", "user", "--amount", "1 usd", "--since", "all", "--data", str(empty))
    assert done.code == 0, done.err
    assert "nothing to count" in done.out


def test_a_server_is_asked_by_its_api(shell: Shell, data: Path, remote: tuple[Api, list[str]]) -> None:
    api, there = remote
    api.keeper.answers["simulate"] = shell(
        "simulate", "--per", "user", "--amount", "0.001 usd", "--json", "--data", str(data)
    ).data
    told = shell("simulate", "--per", "user", "--amount", "0.001 usd", "--since", "7d", "--limit-rows", "3", *there)
    assert told.code == 0, told.err
    assert told.out.startswith("It would have stopped")
    asked = api.keeper.last("simulate")
    assert (asked["limit"].per, asked["limit"].amount, asked["rows"]) == ("user", 10**9, 3)
    assert asked["until_us"] - asked["since_us"] == 7 * 24 * HOUR_US
