"""Throwaway environments: a venv filled by pip, a directory filled by npm."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import CannotMeasure

UV = "uv==0.13.8"


@dataclass(frozen=True)
class Installed:
    """`version` as the package names itself; `notes` say what a reader should know about this installation."""

    directory: Path
    version: str
    notes: tuple[str, ...] = ()

    def program(self, name: str) -> str:
        return str(self.directory / "bin" / name)


def pip_install(directory: Path, requirements: Sequence[str], replaceable: Sequence[str] = ()) -> Installed:
    """A venv with `requirements`; the version is that of the first one.

    Where pip finds no solution and `replaceable` names requirements that may stand in the way (a pin on a release
    that the registry does not offer), their bounds are lifted, and the notes say which release took whose place.
    """
    _run([sys.executable, "-m", "venv", str(directory)])
    pip = [str(directory / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    name = requirements[0].partition("==")[0].partition("[")[0]
    failure = _try([*pip, *requirements])
    if failure is None:
        return Installed(directory, _release(directory, name))
    if not replaceable:
        raise CannotMeasure(f"pip could not install {requirements[0]}: {failure}")
    _run([*pip, UV])
    overrides = directory / "overrides.txt"
    overrides.write_text("\n".join(replaceable) + "\n")
    uv = [str(directory / "bin" / "uv"), "pip", "install", "--quiet", "--python", str(directory / "bin" / "python")]
    _run([*uv, "--override", str(overrides), *requirements])
    taken = " and ".join(f"{one} {_release(directory, one)}" for one in replaceable)
    note = f"{taken} stand in for the releases it pins, which the registry does not offer"
    return Installed(directory, _release(directory, name), (note,))


def npm_install(directory: Path, package: str) -> Installed:
    """`node_modules` in `directory` with that one package and what it needs."""
    npm = shutil.which("npm")
    if npm is None:
        raise CannotMeasure("npm is not installed: apt-get install npm")
    directory.mkdir(parents=True, exist_ok=True)
    _run([npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(directory), package])
    name = package.rpartition("@")[0]
    manifest = json.loads((directory / "node_modules" / name / "package.json").read_text())
    return Installed(directory, str(manifest["version"]))


def _release(directory: Path, name: str) -> str:
    code = f"from importlib.metadata import version; print(version({name!r}))"
    return _run([str(directory / "bin" / "python"), "-c", code]).strip()


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMeasure(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def _try(command: Sequence[str]) -> str | None:
    """None where the command succeeds, else what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stderr or done.stdout).strip() if done.returncode else None
