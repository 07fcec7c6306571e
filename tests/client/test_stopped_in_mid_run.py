"""Farebox is killed while an app of several threads calls, and comes back: the app never notices, nothing is lost."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from evidence import new_mark
from harness import Farebox as Server
from scripted import until

from farebox.demo.simulated import SimulatedProviders

THREADS, EACH = 4, 25
APP = """
import json, sys, threading, time
import openai
from farebox import Farebox

tenant, progress = sys.argv[1], open(sys.argv[2], "a", buffering=1)
fb = Farebox()
client = fb.wrap(openai.OpenAI(max_retries=0))
failed = []

def work(number):
    for count in range(int(sys.argv[4])):
        name = f"{number}-{count}"
        try:
            with fb.context(tenant_id=tenant, task_id=name):
                client.chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": "hi"}])
        except Exception as error:
            failed.append(f"{name}: {error!r}")
        progress.write(name + "\\n")
        time.sleep(0.02)

threads = [threading.Thread(target=work, args=(number,)) for number in range(int(sys.argv[3]))]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(failed))
"""


def test_an_app_never_notices_and_every_call_is_in_the_ledger_once(
    installation: Callable[..., Server], simulated: SimulatedProviders, tmp_path: Path
) -> None:
    server = installation(simulated).start()
    tenant, progress = new_mark("tenant"), tmp_path / "progress"
    progress.touch()
    env = {
        **os.environ,
        "FAREBOX_URL": server.url,
        "FAREBOX_KEY": server.key("app").secret,
        "FAREBOX_SPOOL_DIR": str(tmp_path / "spool"),
        "OPENAI_BASE_URL": simulated.base_url("openai") + "/v1",
        "OPENAI_API_KEY": "sk-own",
    }

    def done() -> int:
        return len(progress.read_text().splitlines())

    command = [sys.executable, "-c", APP, tenant, str(progress), str(THREADS), str(EACH)]
    app = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert until(lambda: done() >= 20, 60)
        server.kill("all")
        killed_at = done()
        assert until(lambda: done() >= killed_at + 20 or app.poll() is not None, 60), "it waits for Farebox"
        server.start()
        said, _ = app.communicate(timeout=100)
    finally:
        if app.poll() is None:
            app.kill()
            app.wait()
    assert json.loads(said) == []
    wanted = {f"{number}-{count}": 1 for number in range(THREADS) for count in range(EACH)}
    rest = [sys.executable, "-c", "from farebox import Farebox; print(Farebox().flush(60))"]
    assert subprocess.run(rest, env=env, capture_output=True, text=True, timeout=100).stdout == "True\n"
    found = server.events(tenant=tenant)
    assert Counter(event["task"] for event in found) == wanted
    assert {(event["state"], event["cost_source"]) for event in found} == {("done", "computed")}
