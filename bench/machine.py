"""The machine a figure was measured on: its cores, who runs on which, and what it calls itself."""

import os
import platform
import resource
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_HALT_POLL: Final = Path("/sys/module/haltpoll/parameters/guest_halt_poll_ns")
_HALT_POLL_NS: Final = 1_000_000


class CannotMeasure(Exception):
    """Something that the bench needs is missing; `str()` of it says what to install or change."""


@dataclass(frozen=True)
class Cores:
    """`subject` carries the thing under test alone; `rest` carries load generator, upstream and stores."""

    subject: int
    rest: int


def pick_cores() -> Cores:
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise CannotMeasure("the bench needs two cores: one for the thing under test, one for load and upstream")
    return Cores(allowed[0], allowed[1])


@contextmanager
def awake() -> Iterator[str]:
    """Where this is a virtual machine whose kernel can be told so: idle cores look for work for a moment before they
    sleep. Else whoever is measured pays for waking the core that loads it, at each call and the more the slower it is:
    some 10 µs, which is a matter of the virtual machine and not of the gateway. -> how it is, in words; '' where
    nothing was changed."""
    try:
        before = _HALT_POLL.read_text()
        _HALT_POLL.write_text(str(_HALT_POLL_NS))
    except OSError:  # no such machine, or not ours to change
        yield ""
        return
    try:
        yield f"idle cores poll for {_HALT_POLL_NS // 1_000_000} ms before they sleep"
    finally:
        _HALT_POLL.write_text(before)


def pin(pid: int, core: int) -> None:
    """Every thread of `pid` runs on `core` only; threads started later inherit it."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def pin_tree(pid: int, core: int) -> None:
    """`pid` and all processes below it run on `core` only."""
    for one in descendants(pid):
        pin(one, core)


def raise_file_limit() -> int:
    """Open files allowed to this process and its children, now as many as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def describe(idling: str = "") -> dict[str, str]:
    """Processor, cores, memory, kernel and Python, each as a person would write it, and what `awake` says."""
    return {
        "idling": idling,
        "processor": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def first_line(command: list[str]) -> str:
    """What a program answers to its version flag, on whichever stream it uses."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"


def cpu_s(pids: Iterable[int]) -> float:
    """Processor time used so far by these processes, user and system together."""
    return sum(_ticks(pid) for pid in pids) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return int(fields[11]) + int(fields[12])


def rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def own_bytes(pid: int) -> int:
    """Resident memory that is a process's own (RssAnon). Pages of mapped files, such as the journal segment that a
    worker is filling, are the kernel's to drop: they rise with each segment and fall with the next."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def descendants(pid: int) -> list[int]:
    """`pid` and every process below it that is alive now."""
    found = [pid]
    for parent in found:
        for thread in Path(f"/proc/{parent}/task").glob("*/children"):
            found.extend(int(child) for child in thread.read_text().split())
    return found
