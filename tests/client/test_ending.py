"""Processes that end without atexit still send what they used."""

import subprocess
import sys
from pathlib import Path

import pytest
from evidence import expect_metered, new_mark
from harness import Farebox as Server
from harness import Key, directive

from farebox.demo.simulated import SimulatedProviders

CHILDREN = """
import multiprocessing, sys, openai
from farebox import Farebox

def call(url, key, base, spool, mark, text):
    fb = Farebox(url, key, spool=spool)
    client = fb.wrap(openai.OpenAI(base_url=base, api_key="own", max_retries=0))
    with fb.context(tenant_id="acme", task_id=mark):
        client.chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": text}])

if __name__ == "__main__":
    child = multiprocessing.get_context(sys.argv[1]).Process(target=call, args=sys.argv[2:])
    child.start()
    child.join()
    print(child.exitcode)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_of_multiprocessing_sends_its_events_before_it_ends(
    server: Server, simulated: SimulatedProviders, key: Key, tmp_path: Path, method: str
) -> None:
    mark = new_mark()
    script = tmp_path / "children.py"
    script.write_text(CHILDREN)
    base = simulated.base_url("openai") + "/v1"
    asked = [sys.executable, str(script), method, server.url, key.secret, base, str(tmp_path), mark, directive(mark)]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
    expect_metered(server, simulated, mark, tenant="acme")
