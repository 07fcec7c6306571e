"""LiteLLM's proxy: one uvicorn worker, its production settings, logging at ERROR, key check by the master key.

Without a database it keeps no spend; it does compute each call's cost. Configuration after
https://docs.litellm.ai/docs/proxy/prod and /docs/proxy/server_tuning.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.contenders import Contender
from bench.machine import Cores
from bench.payloads import CALL_PATH, MODEL
from bench.peers.installing import Installed, pip_install
from bench.processes import free_port, running, wait_for_port

NAME = "LiteLLM proxy"
REQUIREMENTS = (
    "litellm[proxy]==1.109.1",
    # Without these the proxy tries and fails to import them on every call, which costs it a third of its speed.
    "opentelemetry-api==1.45.1",
    "opentelemetry-sdk==1.45.1",
    "opentelemetry-exporter-otlp==1.45.1",
)
DOES = "key check, cost in an answer header; no database, so nothing is kept"

_CONFIG = """
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: http://127.0.0.1:{upstream_port}/v1
      api_key: sk-of-the-bench
general_settings:
  master_key: sk-bench
litellm_settings:
  set_verbose: false
  request_timeout: 600
"""

# LITELLM_LOCAL_MODEL_COST_MAP keeps it from fetching its price table over the network at start.
_ENV = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def install(directory: Path) -> Installed:
    return pip_install(directory, REQUIREMENTS, replaceable=["certifi", "litellm-proxy-extras"])


@contextmanager
def serving(installed: Installed, directory: Path, cores: Cores, upstream_port: int) -> Iterator[Contender]:
    port, log, config = free_port(), directory / "litellm.log", directory / "litellm.yaml"
    config.write_text(_CONFIG.format(model=MODEL, upstream_port=upstream_port))
    command = [installed.program("litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", "1", "--telemetry", "False"]
    with running(command, core=cores.subject, log=log, env=_ENV, cwd=directory) as process:
        wait_for_port(port, process, log, timeout_s=180)
        headers = {"Authorization": "Bearer sk-bench"}
        yield Contender(NAME, installed.version, port, CALL_PATH, [process.pid], headers)
