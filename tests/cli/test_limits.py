"""Limits from the shell, on a directory and through a server's API."""

from collections.abc import Callable
from typing import Any

import pytest
from control_api import Api

Shell = Callable[..., Any]
FREE = ("limits", "set", "--per", "user", "--where", "tier=free", "--amount", "5 usd", "--window", "month")
OVERRIDE = ("limits", "set", "--per", "user", "--subject", "user_99", "--amount", "0.50 usd", "--strict")


def test_a_limit_is_told_in_one_line(shell: Shell) -> None:
    made = shell(*FREE, "--action", "block")
    assert (made.code, made.err) == (0, "")
    limit_id, _, told = made.out.strip().partition("  ")
    assert limit_id.startswith("lim_")
    assert told == "each user where tier=free: 5 usd a month, then block"


def test_a_limit_as_data_says_all_that_was_said(shell: Shell) -> None:
    made = shell(
        "limits", "set", "--per", "tenant_id", "--where", "plan=pro", "--where", "tag.region=eu", "--subject", "acme",
        "--amount", "2000 analyses", "--window", "billing", "--anchor-day", "15", "--time-zone", "Europe/Berlin",
        "--action", "downgrade", "--model", "gpt-4.1-nano", "--warn-at", "0.5,0.8", "--reserve", "ceiling",
        "--unpriced", "pass", "--allow-unbounded", "--min-output", "64", "--include-byok",
        "--message", "{used} of {amount}", "--json",
    ).data  # fmt: skip
    assert (made["per"], made["where"], made["subject"]) == ("tenant", {"tier": "pro", "tag.region": "eu"}, "acme")
    assert (made["amount"], made["unit"], made["window"]) == ("2000 analyses", "analyses", "billing")
    assert (made["anchor_day"], made["time_zone"]) == (15, "Europe/Berlin")
    assert (made["action"], made["model"], made["warn_at"]) == ("downgrade", "gpt-4.1-nano", [0.5, 0.8])
    assert (made["reserve"], made["unpriced"], made["allow_unbounded"]) == ("ceiling", "pass", True)
    assert (made["min_output"], made["include_byok"], made["message"]) == (64, True, "{used} of {amount}")
    assert shell("limits", "list", "--json").data == [made]
    assert shell("limits", "show", made["id"], "--json").data == made


def test_set_again_changes_the_same_limit(shell: Shell) -> None:
    first = shell(*FREE, "--json").data
    again = shell(*FREE, "--amount", "6 usd", "--action", "throttle", "--rate", "3", "--json").data
    assert (again["id"], again["amount"], again["rate"]) == (first["id"], "6 usd", 3)


def test_limits_are_listed_shown_and_removed(shell: Shell) -> None:
    assert shell("limits", "list").out.startswith("No limits.")
    limit_id = shell(*FREE, "--json").data["id"]
    other = shell(*OVERRIDE, "--json").data["id"]
    rows = [line.split() for line in shell("limits", "list").out.splitlines()]
    assert [row[0] for row in rows] == ["id", limit_id, other]
    assert " ".join(rows[1]) == f"{limit_id} each user tier=free 5 usd month block 80 %"
    assert " ".join(rows[2]) == f"{other} user user_99 – 0.50 usd month block (strict) 80 %"
    shown = shell("limits", "show", limit_id).out.splitlines()
    assert shown[0].endswith("each user where tier=free: 5 usd a month, then block")
    assert ["warn_at", "80", "%"] in [line.split() for line in shown]
    removed = shell("limits", "remove", limit_id)
    assert removed.out == f"Removed {shown[0]}\n"
    assert limit_id not in shell("limits", "list").out
    everything = shell("limits", "list", "--all").out.splitlines()
    assert "removed (UTC)" in everything[0]
    assert limit_id in everything[1]
    assert shell("limits", "list", "--all", "--json").data[0]["removed_at"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--per", "planet"), "planet"),
        (("--amount", "5"), "its unit"),
        (("--amount", "5 dollars"), "write usd"),
        (("--window", "decade"), "minute, hour"),
        (("--action", "downgrade"), "needs one"),
        (("--warn-at", "soon"), "0.5,0.8"),
        (("--warn-at", "80"), "up to 1"),
        (("--where", "free"), "NAME=VALUE"),
        (("--anchor-day", "3"), "billing"),
        (("--message", "{cost}"), "{reset_at}"),
    ],
)
def test_a_limit_that_cannot_be_is_refused_by_what_to_write(options: tuple[str, ...], says: str, shell: Shell) -> None:
    done = shell(*FREE, *options)
    assert done.code == 2
    assert done.out == ""
    assert says in done.err
    assert done.err.count("\n") == 1


def test_a_limit_that_is_not_there_is_told(shell: Shell) -> None:
    for command in ("show", "remove"):
        done = shell("limits", command, "lim_none")
        assert done.code == 1
        assert "limits list" in done.err


def test_it_all_works_on_a_server_too(shell: Shell, remote: tuple[Api, list[str]]) -> None:
    api, options = remote
    there = [*options, "--token", api.tokens["admin"]]
    made = shell(*FREE, "--json", *there).data
    assert [row.id for row in api.directory.limits.list()] == [made["id"]]
    told = shell(*FREE, "--amount", "6 usd", *there).out
    assert told == f"{made['id']}  each user where tier=free: 6 usd a month, then block\n"
    assert shell("limits", "show", made["id"], *there).out.startswith(told)
    assert shell("limits", "list", *there).out.splitlines()[1].startswith(made["id"])
    assert shell("limits", "remove", made["id"], *there).out == f"Removed {told}"
    assert shell("limits", "list", "--json", *there).data == []
    assert [row["id"] for row in shell("limits", "list", "--all", "--json", *there).data] == [made["id"]]
    refused = shell(*FREE, "--window", "decade", *there)
    assert (refused.code, "minute, hour" in refused.err, "invalid_limit" in refused.err) == (1, True, True)
