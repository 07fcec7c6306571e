"""Routes from the shell, on a directory and through a server's API."""

from collections.abc import Callable
from typing import Any

import pytest

Shell = Callable[..., Any]
SET = ("routes", "set", "smart", "openai/gpt-4.1-mini=3", "groq/llama-3.3-70b-versatile", "--timeout", "20s")


def test_a_route_is_set_and_changed_by_what_is_given(shell: Shell) -> None:
    assert shell("routes", "list").out.startswith("No routes.")
    made = shell(*SET, "--order", "weighted", "--json").data
    assert made["targets"] == [{"target": "openai/gpt-4.1-mini", "weight": 3}, "groq/llama-3.3-70b-versatile"]
    assert (made["order"], made["timeout"], made["from"]) == ("weighted", "20s", "directory")
    changed = shell("routes", "set", "smart", "--sticky", "--retry-on", "429", "--retry-on", "5xx", "--json").data
    assert (changed["sticky"], changed["retry_on"], changed["targets"]) == (True, ["429", "5xx"], made["targets"])
    assert shell("routes", "show", "smart", "--json").data["targets"] == made["targets"]
    shown = shell("routes", "list").out
    assert "openai/gpt-4.1-mini=3" in shown and "429, 5xx" in shown
    assert shell("routes", "remove", "smart").out == "Removed route smart.\n"
    assert shell("routes", "list", "--json").data == []


def test_a_targets_budget_is_given_by_its_name(shell: Shell) -> None:
    made = shell(*SET, "--budget", "openai/gpt-4.1-mini=50 usd/day", "--json").data
    assert made["targets"][0] == {
        "target": "openai/gpt-4.1-mini", "weight": 3, "budget": "50 usd", "window": "day",
    }  # fmt: skip
    wrong = shell("routes", "set", "smart", "--budget", "other/m=5 usd")
    assert wrong.code == 2 and "--budget" in wrong.err


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("set", "smart"), "needs targets"),
        (("set", "smart", "gpt-4.1"), "PROVIDER/MODEL"),
        (("set", "smart", "nobody/gpt-4.1"), "no provider 'nobody'"),
        (("set", "a b", "openai/m"), "cannot be called"),
        (("set", "smart", "openai/m", "--timeout", "soon"), "a span of time"),
        (("remove", "smart"), "there is no route"),
        (("show", "smart"), "there is no route"),
    ],
)
def test_mistakes_are_told_in_a_line(shell: Shell, asked: tuple[str, ...], said: str) -> None:
    wrong = shell("routes", *asked)
    assert wrong.code != 0
    assert said in wrong.err and "Traceback" not in wrong.err
