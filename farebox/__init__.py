"""Farebox meters, limits and explains what LLM calls cost, per customer, user, plan and feature."""

from typing import TYPE_CHECKING, Any, Final

from farebox import native

if TYPE_CHECKING:
    from farebox.client.farebox import AsyncFarebox, Farebox, Task, context, task, tracked_call, wrap
    from farebox.errors import FareboxError, LimitExceeded

__version__ = "0.1.0"
__all__ = [
    "AsyncFarebox", "Farebox", "FareboxError", "LimitExceeded", "Task", "context", "task", "tracked_call", "wrap",
]  # fmt: skip

_HOMES: Final = {
    "AsyncFarebox": "farebox.client.farebox",
    "Farebox": "farebox.client.farebox",
    "FareboxError": "farebox.errors",
    "LimitExceeded": "farebox.errors",
    "Task": "farebox.client.farebox",
    "context": "farebox.client.farebox",
    "task": "farebox.client.farebox",
    "tracked_call": "farebox.client.farebox",
    "wrap": "farebox.client.farebox",
}
"""Where the SDK's names are: loaded at their first use, so that a server does without them."""

native.install()


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'farebox' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(home), name)
    globals()[name] = found
    return found
