from array import array

from farebox.errors import KeeperUnavailable
from farebox.telemetry import WORKER_COUNTERS


def write_counters(directory, worker, values):
    counters = array("Q", [values.get(name, 0) for name, _ in WORKER_COUNTERS])
    (directory / f"worker-{worker}.stats").write_bytes(counters.tobytes())


def samples(text):
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))


def test_counters_of_each_worker_and_the_keepers_figures_are_shown(api, tmp_path):
    write_counters(tmp_path, 0, {"calls": 7, "open_calls": 2})
    write_counters(tmp_path, 1, {"calls": 5})
    api.keeper.answers["stats"] = {"lag_s": 0.25, "events": 12, "spend_usd": "1.250000000000", "unpriced_calls": 1}
    answer = api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(answer.text)
    assert found['farebox_calls_total{worker="0"}'] == "7.0"
    assert found['farebox_calls_total{worker="1"}'] == "5.0"
    assert found['farebox_open_calls{worker="0"}'] == "2.0"
    assert found["farebox_ledger_lag_seconds"] == "0.25"
    assert found["farebox_spend_usd_total"] == "1.25"
    assert found["farebox_keeper_up"] == "1.0"


def test_every_metric_is_explained_and_none_is_labelled_with_a_customer(api, tmp_path):
    write_counters(tmp_path, 0, {})
    text = api.get("/metrics").text
    named = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}
    explained = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# HELP")}
    assert named <= explained
    assert not any(word in text for word in ("tenant=", "user=", "key_id="))


def test_metrics_go_on_while_the_keeper_is_down(api, tmp_path):
    write_counters(tmp_path, 0, {"calls": 1})
    api.keeper.answers["stats"] = KeeperUnavailable("down")
    found = samples(api.get("/metrics").text)
    assert found["farebox_keeper_up"] == "0.0"
    assert found['farebox_calls_total{worker="0"}'] == "1.0"


def test_a_file_of_another_version_gives_what_it_has(api, tmp_path):
    (tmp_path / "worker-0.stats").write_bytes(array("Q", [9]).tobytes() + b"odd")
    found = samples(api.get("/metrics").text)
    assert found['farebox_calls_total{worker="0"}'] == "9.0"
    assert 'farebox_refusals_total{worker="0"}' not in found
