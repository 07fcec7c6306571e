"""Credentials in the environment that stand in a file: what variables name is read once, when a process starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE_VARIABLES: Final = ("GOOGLE_APPLICATION_CREDENTIALS",)
FILE_BYTES_MAX: Final = 65_536


def with_files(env: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with the content of each file in place of its path; without those that cannot be read."""
    named = [name for name in FILE_VARIABLES if env.get(name)]
    if not named:
        return env
    contents = {name: _content(env[name]) for name in named}
    return {**env, **{name: content or "" for name, content in contents.items()}}


def _content(path: str) -> str | None:
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.read(FILE_BYTES_MAX)
    except (OSError, ValueError):
        return None
