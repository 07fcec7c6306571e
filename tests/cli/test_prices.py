import json
from pathlib import Path

import pytest

from farebox.cli.main import run

KEY = "f" * 64


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FAREBOX_MASTER_KEY", KEY)
    monkeypatch.chdir(tmp_path)


class Shell:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> str:
        assert run(["prices", *arguments, "--data", "data"]) == code
        out, self.error = self._capsys.readouterr()
        return out

    def json(self, *arguments: str) -> object:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


def test_a_shipped_price_is_shown_with_its_source(shell: Shell) -> None:
    found = shell.json("show", "openai", "gpt-4.1-mini-2025-04-14")
    assert isinstance(found, dict)
    assert (found["entry"], found["rates"]["input"], found["price_from"]) == ("gpt-4.1-mini", "0.40", "2025-04-14")
    assert "genai-prices" in found["source"]
    assert "$0.40" in shell("show", "openai", "gpt-4.1-mini")


def test_long_prompts_and_tiers_are_shown(shell: Shell) -> None:
    found = shell.json("show", "openai", "gpt-5.6-sol", "--at", "2026-11-20")
    assert isinstance(found, dict)
    assert [band["tokens"] for band in found["bands"]] == [272_001]
    assert {other["served"] for other in found["also"]} == {"flex", "priority", "fast", "batch"}
    assert "272,001 tokens" in shell("show", "openai", "gpt-5.6-sol", "--at", "2026-11-20")


def test_the_past_is_shown_as_it_was(shell: Shell) -> None:
    before = shell.json("show", "openai", "o3", "--at", "2025-06-09")
    after = shell.json("show", "openai", "o3", "--at", "2025-06-10")
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert (before["rates"]["input"], after["rates"]["input"]) == ("10.00", "2.00")


def test_a_model_without_a_price_says_what_to_do(shell: Shell) -> None:
    shell("show", "openai", "nobodys-model", code=1)
    assert "farebox prices set openai nobodys-model" in shell.error


def test_a_price_that_is_set_is_listed_and_shown(shell: Shell) -> None:
    row = shell.json("set", "openai", "gpt-4.1-mini", "--input", "0.30", "--from", "2026-11-01")
    assert isinstance(row, dict)
    assert (row["rates"], row["valid_from"]) == ({"input": "0.30"}, "2026-11-01")
    shown = shell.json("show", "openai", "gpt-4.1-mini", "--at", "2026-11-20")
    assert isinstance(shown, dict)
    assert (shown["price_id"], shown["rates"]["input"], shown["rates"]["output"]) == (row["id"], "0.30", "1.60")
    listed = shell.json("list", "--provider", "openai", "--model", "gpt-4.1-mini", "--at", "2026-11-20")
    assert isinstance(listed, list)
    standard = next(item for item in listed if "service_tier" not in item and "batch" not in item)
    assert (standard["origin"], standard["rates"]["input"]) == ("added", "0.30")
    earlier = shell.json("show", "openai", "gpt-4.1-mini", "--at", "2026-10-31")
    assert isinstance(earlier, dict)
    assert earlier["rates"]["input"] == "0.40"


def test_a_model_that_had_no_price_gets_one_for_all_its_calls(shell: Shell) -> None:
    text = shell("set", "acme", "m-1", "--input", "1", "--output", "2", "--rate", "web_search=10000")
    assert "all its calls" in text
    found = shell.json("show", "acme", "m-1", "--at", "2020-01-01")
    assert isinstance(found, dict)
    assert found["rates"]["reasoning"] == "2.00"
    assert found["rates"]["web_search"] == "10000.00"


@pytest.mark.parametrize(("arguments", "code", "words"), [
    ((), 2, "no rate given"),
    (("--input", "cheap"), 1, "not an amount"),
    (("--input", "-1"), 1, "negative"),
    (("--input", "0.0000000000001"), 1, "finer than a pico-dollar"),
    (("--rate", "magic=1"), 2, "METER=DOLLARS"),
    (("--input", "1", "--from", "soon"), 2, "no day"),
])  # fmt: skip
def test_a_price_that_cannot_be_is_refused_in_one_line(
    shell: Shell, arguments: tuple[str, ...], code: int, words: str
) -> None:
    shell("set", "openai", "m", *arguments, code=code)
    assert words in shell.error
    assert shell.error.count("\n") == 1


FILES = {
    "prices.csv": "provider,model,input,output,from\nopenai,gpt-4.1-mini,0.30,1.60,2026-12-01\nacme,m,1.5,2,\n",
    "prices.json": json.dumps(
        [
            {"provider": "openai", "model": "gpt-4.1-mini", "input": 0.3, "output": "1.60", "from": "2026-12-01"},
            {"provider": "acme", "model": "m", "rates": {"input": "1.5", "output": 2}},
        ]
    ),
    "prices.jsonl": '{"provider":"openai","model":"gpt-4.1-mini","rates":{"input":"0.30"},"valid_from":"2026-12-01"}\n'
    '{"provider":"acme","model":"m","input":1.5,"output":2}\n',
    "prices.toml": '[[prices]]\nprovider = "openai"\nmodel = "gpt-4.1-mini"\ninput = 0.30\nvalid_from = "2026-12-01"\n'
    '[[prices]]\nprovider = "acme"\nmodel = "m"\ninput = "1.5"\noutput = 2\n',
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_prices_shows_what_it_changes_and_adds_it_once(shell: Shell, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FILES[name])
    tried = shell.json("update", name, "--dry-run")
    first = shell.json("update", name)
    again = shell.json("update", name)
    assert isinstance(first, dict)
    assert isinstance(tried, dict)
    assert isinstance(again, dict)
    assert len(tried["added"]) == len(first["added"]) == 2
    changes = {(c["model"], c["meter"]): (c["before"], c["after"]) for c in first["changes"]}
    assert changes == {
        ("gpt-4.1-mini", "input"): ("0.40", "0.30"),
        ("m", "input"): (None, "1.50"),
        ("m", "output"): (None, "2.00"),
    }
    assert (again["added"], again["unchanged"]) == ([], 2)
    assert "Nothing changes" in shell("update", name)


@pytest.mark.parametrize(("name", "content", "words"), [
    ("p.xml", "<x/>", "no known ending"), ("p.json", "{", "cannot be read"), ("p.json", "[]", "holds no prices"),
    ("p.csv", "provider,input\nacme,1\n", "needs a model"), ("p.json", '[{"provider":"a","model":"b"}]', "needs rates"),
    ("p.json", '[{"provider":"a","model":"b","inptu":1}]', "no field 'inptu'"),
])  # fmt: skip
def test_a_file_that_holds_no_prices_says_why(
    shell: Shell, tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    shell("update", name, code=1)
    assert words in shell.error


def test_bands_and_tiers_come_from_a_file(shell: Shell, tmp_path: Path) -> None:
    row = {
        "provider": "acme",
        "model": "m",
        "rates": {"input": "1"},
        "bands": [{"above": 1000, "rates": {"input": "2"}}],
    }
    (tmp_path / "p.json").write_text(json.dumps([row, {**row, "tier": "flex", "rates": {"input": "0.5"}, "bands": []}]))
    shell("update", "p.json")
    found = shell.json("show", "acme", "m")
    assert isinstance(found, dict)
    assert found["bands"][0]["rates"]["input"] == "2.00"


def test_one_models_price_is_compared_across_providers_cheapest_first(shell: Shell) -> None:
    offers = shell.json("compare", "gpt-4.1-mini", "llama-3.3-70b-versatile")
    assert isinstance(offers, list)
    assert {"openai", "azure", "openrouter"} <= {o["provider"] for o in offers if o["model"] == "gpt-4.1-mini"}
    totals = [float(o["rates"]["input"]) + float(o["rates"]["output"]) for o in offers if o["model"] == "gpt-4.1-mini"]
    assert totals == sorted(totals)
    assert "groq" in shell("compare", "llama-3.3-70b-versatile")
    assert "Nobody's price" in shell("compare", "no-such-model")


def test_a_ledger_without_calls_has_nothing_to_price(shell: Shell) -> None:
    assert shell.json("unpriced") == []
    assert shell.json("reprice", "--dry-run") == {"repriced": 0, "amount_usd": "0.000000000000", "dry_run": True}
    assert "Every call has a price" in shell("unpriced")
