"""Compiled copies of modules, used only where they were made from exactly the source that stands here.

`make setup` compiles the modules on the path of a call with Cython where there is a C compiler; the Python beside them
stays the only source. A module whose text has changed since is imported as plain Python until it is compiled again,
so a stale copy is never run. FAREBOX_NATIVE=0 turns all of it off.
"""

import json
import os
import sys
from collections.abc import Sequence
from hashlib import sha256
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

DIRECTORY: Final = Path(__file__).parent / "_native"
MANIFEST: Final = DIRECTORY / "manifest.json"


class NativeLoader(ExtensionFileLoader):
    """Loads a compiled copy in the name of its source."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = super().create_module(ModuleSpec(spec.name, self, origin=self.path))
        module.__file__ = spec.origin  # what stands beside the source is found there
        return module


class NativeFinder:
    """Finds compiled copies. `copies` maps a module to (SHA-256 of its source, file name of its copy)."""

    def __init__(self, copies: dict[str, tuple[str, str]]) -> None:
        self._copies = copies

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        copy = self._copies.get(name)
        if copy is None:
            return None
        digest, file = copy
        if source_digest(source_of(name)) != digest:
            return None
        spec = ModuleSpec(name, NativeLoader(name, str(DIRECTORY / file)), origin=str(source_of(name)))
        spec.has_location = True
        return spec


def source_of(name: str) -> Path:
    """Where the source of one of this package's modules stands."""
    return Path(__file__).parent.joinpath(*name.split(".")[1:]).with_suffix(".py")


def source_digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def compiled() -> tuple[str, ...]:
    """The modules that run compiled in this process so far."""
    return tuple(
        sorted(
            name
            for name, module in sys.modules.items()
            if isinstance(getattr(module, "__loader__", None), NativeLoader)
        )
    )


def install() -> None:
    """Use what was compiled for this interpreter. Does nothing where nothing was."""
    if os.environ.get("FAREBOX_NATIVE", "1") == "0":
        return
    try:
        manifest = json.loads(MANIFEST.read_bytes())
    except (OSError, ValueError):
        return
    if manifest.get("tag") != sys.implementation.cache_tag:
        return
    copies = {name: (digest, file) for name, (digest, file) in manifest["modules"].items()}
    sys.meta_path.insert(0, NativeFinder(copies))
