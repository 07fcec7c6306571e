"""The load generator: wrk in a closed loop over many callers, its figures read back as numbers."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.contenders import Contender
from bench.machine import CannotMeasure, cpu_s, descendants
from bench.payloads import CALLERS, attribution, call_body

_SCRIPT = """
local specs = {{
{specs}
}}
local requests = {{}}
local turn = 0

function init(args)
  for i, spec in ipairs(specs) do
    requests[i] = wrk.format("POST", spec.path, spec.headers, spec.body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n@{{"calls":%d,"duration_us":%d,"bytes":%d,"refused":%d,"broken":%d,"timeouts":%d,"p50_us":%.1f,"p99_us":%.1f}}\\n',
    summary.requests, summary.duration, summary.bytes, e.status, e.connect + e.read + e.write, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Measured:
    """One run of wrk. `subject_cpu` is the share of one core that the thing under test used meanwhile."""

    calls: int
    duration_us: int
    bytes: int
    refused: int
    broken: int
    timeouts: int
    p50_us: float
    p99_us: float
    subject_cpu: float

    @property
    def calls_per_s(self) -> float:
        return self.calls * 1e6 / self.duration_us

    @property
    def calls_per_cpu_s(self) -> float:
        """Calls for each second of processor time that they took: what a busy machine changes least."""
        return self.calls_per_s / max(self.subject_cpu, 0.01)

    @property
    def failures(self) -> int:
        return self.refused + self.broken + self.timeouts


def find_wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise CannotMeasure("wrk is not installed: apt-get install wrk")
    return found


def write_script(target: Path, contender: Contender, *, stream: bool = False) -> Path:
    """A wrk script that sends the calls of CALLERS different callers in turn."""
    specs = (_spec(contender, caller, stream) for caller in range(CALLERS))
    target.write_text(_SCRIPT.format(specs=",\n".join(specs)))
    return target


def _spec(contender: Contender, caller: int, stream: bool) -> str:
    headers = {"Content-Type": "application/json"} | contender.headers | attribution(caller)
    pairs = ", ".join(f"[ {_lua(name)} ] = {_lua(value)}" for name, value in headers.items())
    body = _lua(call_body(caller, stream=stream).decode())
    return f"  {{path = {_lua(contender.path)}, headers = {{{pairs}}}, body = {body}}}"


def _lua(text: str) -> str:
    return f"[==[{text}]==]"


def _wait_its_turn() -> None:
    """The load generator does not push the upstream off their core each time an answer wakes it: that would cost the
    gateway an interrupt to the other core for every answer it sends (16 % of its calls on a virtual machine)."""
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def run_wrk(script: Path, contender: Contender, *, seconds: float, connections: int, core: int) -> Measured:
    """Loads the contender for `seconds`; CannotMeasure where wrk itself fails."""
    target = f"http://127.0.0.1:{contender.port}"
    command = ["taskset", "-c", str(core), find_wrk(), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    subjects = {pid for root in contender.pids for pid in descendants(root)}
    before_s = cpu_s(subjects)
    command += ["--timeout", "30s", "--latency", "-s", str(script), target]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_wait_its_turn)
    used_s = cpu_s(subjects) - before_s
    figures = [line[1:] for line in done.stdout.splitlines() if line.startswith("@")]
    if done.returncode or not figures:
        raise CannotMeasure(f"wrk failed on {contender.name}: {done.stdout}{done.stderr}")
    figure = json.loads(figures[0])
    return Measured(**figure, subject_cpu=used_s * 1e6 / figure["duration_us"])
