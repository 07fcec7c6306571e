"""The end of a process: by atexit, and where that is passed over: in children of multiprocessing and Celery's pools."""

import atexit
import os
import sys
from collections.abc import Callable

_told: set[tuple[int, Callable[[], None]]] = set()


def before_the_end(run: Callable[[], None]) -> None:
    """Have this called before this process ends by itself. Idempotent, in each process; `run` is, too."""
    if (os.getpid(), run) in _told:
        return
    _told.add((os.getpid(), run))
    atexit.register(run)
    multiprocessing = sys.modules.get("multiprocessing.util")
    if multiprocessing is not None:
        multiprocessing.Finalize(None, run, exitpriority=100)
    celery = sys.modules.get("celery.signals")
    if celery is not None:
        celery.worker_process_shutdown.connect(lambda **_: run(), weak=False)
