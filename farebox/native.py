"""Compiled copies of modules, used only where they were made from exactly the source that stands here.

`make setup` compiles the modules on the path of a call with Cython where there is a C compiler; the Python beside them
stays the only source. A `.pxd` beside a module says which of its attributes and methods the compiled copy keeps as C
fields and calls them directly; plain Python does not read it. Copies know each other's layout, so they are used all or
not at all: once a source has changed, everything runs as plain Python until it is compiled again. FAREBOX_NATIVE=0
turns all of it off.

Structs. A member of a msgspec Struct costs some 130 instructions to read where a C field costs a few, so a
`<module>_layout.pxd` tells compiled modules where the members of that module's Structs stand: CPython lays the slots of
a class out in the order of their names, behind those of its base. tests/test_layouts.py holds these files against the
Structs, and an import fails where a Struct has another size than its file says. A module cannot use the layout of a
Struct that it defines itself, since the class must exist when the module begins: shapes that are read for each call
stand apart from their readers.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Final

DIRECTORY: Final = Path(__file__).parent / "_native"
MANIFEST: Final = DIRECTORY / "manifest.json"
_CIMPORT: Final = re.compile(rb"^from (farebox[\w.]*) cimport", re.MULTILINE)


class NativeLoader(ExtensionFileLoader):
    """Loads a compiled copy in the name of its source."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = super().create_module(ModuleSpec(spec.name, self, origin=self.path))
        module.__file__ = spec.origin  # what stands beside the source is found there
        return module


class NativeFinder:
    """Finds compiled copies. `copies` maps a module to the file name of its copy."""

    def __init__(self, copies: dict[str, str]) -> None:
        self._copies = copies

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = self._copies.get(name)
        if file is None:
            return None
        spec = ModuleSpec(name, NativeLoader(name, str(DIRECTORY / file)), origin=str(source_of(name)))
        spec.has_location = True
        return spec


def source_of(name: str) -> Path:
    """Where the source of one of this package's modules stands."""
    return Path(__file__).parent.joinpath(*name.split(".")[1:]).with_suffix(".py")


def source_digest(name: str) -> str:
    """Of a module's source and of every layout that its copy knows: its own `.pxd` and those it reaches."""
    digest = sha256(source_of(name).read_bytes())
    for layout in sorted(_layouts(name, set())):
        digest.update(_layout(layout))
    return digest.hexdigest()


def _layouts(name: str, found: set[str]) -> set[str]:
    """The modules whose layout a module's copy knows."""
    if name not in found and (text := _layout(name)):
        found.add(name)
        for other in _CIMPORT.findall(text):
            _layouts(other.decode(), found)
    return found


@cache
def _layout(name: str) -> bytes:
    path = source_of(name).with_suffix(".pxd")
    return path.read_bytes() if path.exists() else b""


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
    modules = manifest["modules"]
    if all(_is_current(name, digest) for name, (digest, _) in modules.items()):
        sys.meta_path.insert(0, NativeFinder({name: file for name, (_, file) in modules.items()}))


def _is_current(name: str, digest: str) -> bool:
    try:
        return source_digest(name) == digest
    except OSError:
        return False
