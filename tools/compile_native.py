"""Compile the modules on the path of a call, in place of nothing: see farebox/native.py.

    python -m tools.compile_native [--force]

Without a C compiler it says so and exits 0: Farebox then runs as plain Python.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

from farebox import native

ROOT: Final = Path(__file__).parent.parent
HOT: Final = (
    "farebox/core/*.py",
    "farebox/gateway/*.py",
    "farebox/providers/*.py",
    "farebox/ledger/*.py",
)
"""What a worker runs for each call, and what the keeper runs for each record."""
COLD: Final = frozenset(
    {"alert_rules", "alert_text", "asking", "backtest", "backtest_report", "book_text", "channel_urls", "customers",
     "figures", "limit_text", "months", "origins", "posting", "price_text", "queries", "tables", "thresholds"}
)  # fmt: skip
"""Modules of `core` that neither needs for that: compiling them would only make the installation wait."""


def modules() -> dict[str, Path]:
    """Module name -> source, for all that is compiled."""
    files = (file for pattern in HOT for file in sorted(ROOT.glob(pattern)) if file.name != "__init__.py")
    return {
        ".".join(file.relative_to(ROOT).with_suffix("").parts): file
        for file in files
        if file.parent.name != "core" or file.stem not in COLD
    }


def known() -> dict[str, list[str]]:
    """What is compiled already, for this interpreter."""
    try:
        manifest = json.loads(native.MANIFEST.read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest["modules"] if manifest.get("tag") == sys.implementation.cache_tag else {}


def compile_all(sources: dict[str, Path]) -> None:
    """Build an extension of each source into the directory of native copies."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    with tempfile.TemporaryDirectory() as scratch:
        extensions = cythonize(
            [Extension(name, [str(path)]) for name, path in sources.items()],
            build_dir=scratch,
            nthreads=2,
            include_path=[str(ROOT)],
            language_level=3,
            quiet=True,
            compiler_directives={"annotation_typing": False, "binding": True, "embedsignature": False},
        )
        for extension in extensions:
            extension.extra_compile_args = [
                "-O2",
                "-g0",
                "-fno-plt",
                "-DCYTHON_WITHOUT_ASSERTIONS=1",
                "-Wno-everything" if _is_clang() else "-w",
            ]
        command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
        command.build_lib, command.build_temp, command.parallel = scratch, scratch, 2
        command.ensure_finalized()
        command.run()
        native.DIRECTORY.mkdir(exist_ok=True)
        for name in sources:
            built = Path(command.get_ext_fullpath(name))
            shutil.move(built, native.DIRECTORY / f"{name}{built.suffix}")


def write_manifest(sources: dict[str, str]) -> None:
    """Say which source (by its digest) each copy was made from; drop copies of modules that are gone."""
    copies = {name: [digest, f"{name}.so"] for name, digest in sources.items()}
    for file in native.DIRECTORY.glob("*.so"):
        if file.stem not in sources:
            file.unlink()
    manifest = {"tag": sys.implementation.cache_tag, "modules": copies}
    native.MANIFEST.write_text(json.dumps(manifest, indent=1) + "\n")


def main() -> int:
    sources = modules()
    digests = {name: native.source_digest(name) for name in sources}  # before compiling: it may change meanwhile
    done = {} if "--force" in sys.argv else known()
    stale = {
        name: path
        for name, path in sources.items()
        if done.get(name, ("",))[0] != digests[name] or not (native.DIRECTORY / f"{name}.so").exists()
    }
    if not stale:
        return 0
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        print(f"no C compiler ({compiler}) here: Farebox runs as plain Python, which is slower but the same")
        return 0
    print(f"compiling {len(stale)} modules (once for each change; FAREBOX_NATIVE=0 runs without)")
    try:
        compile_all(stale)
    except Exception as error:  # noqa: BLE001 (whatever a tool chain lacks, plain Python does without it)
        print(f"could not compile ({type(error).__name__}: {error}): Farebox runs as plain Python, slower but the same")
        return 0
    write_manifest(digests)
    return 0


def _is_clang() -> bool:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return False
    return "clang" in subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False).stdout


if __name__ == "__main__":
    sys.exit(main())
