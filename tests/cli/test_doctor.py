import os
from pathlib import Path

import pytest

from farebox.cli import checkup
from farebox.directory.snapshot import ProviderView
from farebox.settings import Paywall

MIB = 1024**2


def states(findings):
    return [(finding.name, finding.state) for finding in findings]


def test_a_private_data_directory_is_well(tmp_path: Path):
    tmp_path.chmod(0o700)
    assert states(checkup.data_findings(tmp_path, os.getuid())) == [("data", "ok")]


def test_a_data_directory_that_others_read_is_named_with_the_command_that_closes_it(tmp_path: Path):
    tmp_path.chmod(0o755)
    (tmp_path / "ledger.duckdb").touch(0o644)
    (finding,) = checkup.data_findings(tmp_path, os.getuid())
    assert finding.state == "warn"
    assert finding.advice == f"chmod go= {tmp_path / 'ledger.duckdb'}"


def test_a_data_directory_of_another_user_is_broken(tmp_path: Path):
    (finding,) = checkup.data_findings(tmp_path, os.getuid() + 1)
    assert finding.state == "broken"


def test_a_data_directory_that_is_not_there_is_made_by_serving(tmp_path: Path):
    (finding,) = checkup.data_findings(tmp_path / "none", os.getuid())
    assert (finding.state, finding.advice) == ("note", "`farebox serve` makes it")


def test_too_little_disk_for_the_journal_is_broken(tmp_path: Path):
    assert states(checkup.disk_findings(tmp_path / "not" / "yet", 1 * MIB)) in ([("disk", "ok")], [("disk", "warn")])
    (finding,) = checkup.disk_findings(tmp_path, 1024**6)
    assert finding.state == "broken"


@pytest.mark.parametrize(("mode", "state"), [(0o600, "ok"), (0o640, "broken"), (0o604, "broken")])
def test_the_master_key_is_for_its_owner(tmp_path: Path, mode, state):
    path = tmp_path / "master.key"
    path.touch()
    path.chmod(mode)
    assert states(checkup.key_findings(path, has_variable=False)) == [("master key", state)]
    assert states(checkup.key_findings(path, has_variable=True)) == [("master key", "ok")]


def test_a_keeper_that_is_silent_is_broken_only_while_a_server_runs():
    assert states(checkup.stats_findings(None, has_server=False)) == [("keeper", "note")]
    assert states(checkup.stats_findings(None, has_server=True)) == [("keeper", "broken")]
    assert states(checkup.stats_findings({"events": 5, "lag_s": 0.2}, has_server=True)) == [("keeper", "ok")]
    assert states(checkup.stats_findings({"events": 5, "lag_s": 60}, has_server=True)) == [("keeper", "warn")]


def test_calls_that_left_no_record_are_told():
    assert states(checkup.worker_findings({"0": {"calls": 5}}, has_server=True)) == [("workers", "ok")]
    assert states(checkup.worker_findings({"0": {"calls": 5, "unjournaled": 2}}, has_server=True)) == [
        ("workers", "warn")
    ]
    assert states(checkup.worker_findings({}, has_server=True)) == [("workers", "warn")]
    assert states(checkup.worker_findings({}, has_server=False)) == []


def test_unpriced_models_are_named_a_few():
    rows = [{"provider": "openai", "model": f"m{number}"} for number in range(5)]
    (finding,) = checkup.unpriced_findings(rows)
    assert finding.detail == "no price for openai/m0, openai/m1, openai/m2 and 2 more"
    assert states(checkup.unpriced_findings([])) == [("prices", "ok")]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Sat, 21 Nov 2026 10:00:00 GMT", 99.5),
        ("Sat, 21 Nov 2026 10:00:00 -0000", 99.5),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_header_tells_how_wrong_the_clock_is(header, expected):
    now_s = 1_795_255_200 + 100
    assert checkup.skew(header, now_s - 1, 2) == expected


@pytest.mark.parametrize(("skew_s", "state"), [(0.9, []), (-6, ["warn"]), (301, ["broken"])])
def test_a_clock_that_is_wrong_is_told(skew_s, state):
    assert [finding.state for finding in checkup.clock_findings("openai", skew_s)] == state


def test_a_provider_that_answers_is_reachable_whatever_it_answers(simulated):
    view = ProviderView("local", "openai", simulated.base_url("openai"))
    (finding, *_clock) = checkup.reach(view)
    assert finding.state == "ok"


def test_a_provider_that_cannot_be_reached_is_broken_with_advice():
    (finding,) = checkup.reach(ProviderView("local", "openai", "http://127.0.0.1:9"))
    assert finding.state == "broken"
    assert "HTTPS_PROXY" in finding.advice


@pytest.mark.parametrize(
    ("paywall", "state"),
    [
        ({}, None),
        ({"stripe_webhook_secret": "whsec_1", "payment_link": "plink_1"}, "ok"),
        ({"stripe_webhook_secret": "whsec_1", "payment_link": "https://buy.stripe.com/x"}, "warn"),
        ({"stripe_webhook_secret": "w", "payment_link": "https://b.example/x", "payment_link_id": "plink_1"}, "ok"),
        ({"stripe_webhook_secret": "whsec_1", "payment_link": "plink_1", "test": True}, "note"),
    ],
)
def test_a_paywall_that_nobody_could_pass_is_told(paywall, state):
    found = list(checkup.paywall_findings(Paywall(**paywall)))
    assert [finding.state for finding in found] == ([] if state is None else [state])
