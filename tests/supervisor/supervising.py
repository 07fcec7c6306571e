"""Runs a Supervisor over obedient children, as its own process: `supervising.py HOME WORKERS DRAIN_S`."""

import logging
import sys
from pathlib import Path

from farebox.settings import Server, Settings, to_json
from farebox.supervisor.children import Child
from farebox.supervisor.listening import address_of, listen
from farebox.supervisor.loop import Supervisor

home, workers, drain_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
logging.basicConfig(level="INFO")
program = (sys.executable, str(Path(__file__).with_name("obedient_child.py")), str(home))
listeners = listen("127.0.0.1", 0, workers)
children = [
    Child("keeper", program=program),
    *(Child("worker", index, listener.fileno(), program=program) for index, listener in enumerate(listeners)),
    Child("web", is_required=False, program=program),
]


def announce() -> None:
    sys.stdout.write(f"ready {address_of(listeners[0], is_tls=False)}\n")
    sys.stdout.flush()


def stop_listening() -> None:
    for listener in listeners:
        listener.close()


settings = Settings(data=home, server=Server(drain_s=drain_s))
sys.exit(Supervisor(children, to_json(settings), drain_s, announce, stop_listening).run())
