"""The table of settings as a commented farebox.toml and as the reference page.

`python -m farebox.settings.writing > docs/reference/settings.md` writes the page anew.
"""

import sys
from collections.abc import Iterable
from typing import Final

from farebox.settings.table import SECTIONS, SETTINGS, Setting

_UNITS: Final = {
    "_s": "seconds",
    "_s_max": "seconds",
    "_ms": "milliseconds",
    "_bytes": "bytes",
    "_bytes_max": "bytes",
    "_days": "days",
}
WIDTH: Final = 100


def as_toml() -> str:
    """A farebox.toml in which every setting stands with its default, commented out."""
    lines = [
        "# Farebox settings. Each line shows a default: take its '#' away to change it.",
        "# FAREBOX_SECTION_KEY in the environment goes before this file, and a flag before both.",
        "",
        *_entries(""),
    ]
    for section, struct in SECTIONS.items():
        if not section.endswith(".*"):
            lines += ["", f"[{section}]", f"# {_summary(struct)}", *_entries(section)]
    lines += [
        "",
        "# A provider: one that Farebox knows, or any service that speaks a known one's format.",
        "# Better keep credentials out of this file: OPENAI_API_KEY and its like, or `farebox providers set`.",
        "# [providers.ollama]",
        '# base_url = "http://127.0.0.1:11434/v1"',
        *_entries("providers.*", skip=("base_url", "credential")),
        "",
        "# A unit of your own that calls count in, for limits such as 2000 analyses a month.",
        "# [units.analyses]",
        '# where = {feature = "analyze"}',
        *_entries("units.*", skip=("where",)),
        "",
        "# A name to call instead of a model: the next target is tried where one fails.",
        "# [routes.smart]",
        '# targets = ["openai/gpt-4.1-mini", "anthropic/claude-haiku-4-5"]',
        *_entries("routes.*", skip=("targets",)),
    ]
    return "\n".join(lines) + "\n"


def as_markdown() -> str:
    """docs/reference/settings.md."""
    lines = [
        "# Settings",
        "",
        "<!-- Made by `python -m farebox.settings.writing`; change farebox/settings/table.py, not this page. -->",
        "",
        "A value is looked for as a flag, then in the environment, then in `farebox.toml` (`--config`,",
        "`FAREBOX_CONFIG`, or the one in the working directory), and else is the default. An unknown name is",
        "an error that names the nearest known one. `farebox init` writes a commented file; `farebox serve",
        "--print-settings` shows each value and where it came from. An empty variable counts as not set;",
        "lists are written with commas; relative paths are taken from the file's directory, or from the",
        "working directory.",
    ]
    for section in ("", *SECTIONS):
        title = f"`[{section.replace('*', 'NAME')}]`" if section else "At the top of the file"
        lines += ["", f"## {title}", ""]
        if section:
            lines += [_summary(SECTIONS[section]), ""]
        lines += ["| key | default | what | variable |", "|---|---|---|---|"]
        lines += [_table_row(row) for row in _rows(section)]
    return "\n".join(lines) + "\n"


def toml_value(value: object) -> str:
    """A default as TOML writes it."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"{value:.15g}"
        case dict():
            inside = ", ".join(f"{toml_value(name)} = {toml_value(item)}" for name, item in value.items())
            return "{" + inside + "}"
        case tuple():
            return "[" + ", ".join(toml_value(item) for item in value) + "]"
        case _:
            text = str(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{text}"'


def _rows(section: str) -> tuple[Setting, ...]:
    return tuple(row for row in SETTINGS if row.section == section)


def _summary(struct: type) -> str:
    return (struct.__doc__ or "").strip().splitlines()[0]


def _entries(section: str, skip: Iterable[str] = ()) -> list[str]:
    lines = []
    for row in _rows(section):
        if row.key not in skip:
            lines += [f"# {line}" for line in _wrapped(_explained(row))]
            lines.append(f"# {row.key} = {toml_value(row.default)}")
    return lines


def _explained(row: Setting) -> str:
    notes = [note for note in (_unit(row), _bounds(row)) if note]
    return row.help + (f" ({'; '.join(notes)})" if notes else "")


def _unit(row: Setting) -> str:
    return next((unit for suffix, unit in _UNITS.items() if row.key.endswith(suffix)), "")


def _bounds(row: Setting) -> str:
    if row.choices:
        return " | ".join(row.choices)
    if row.low is None:
        return ""
    return f"{row.low:g} or more" if row.high is None else f"{row.low:.15g} to {row.high:.15g}"


def _table_row(row: Setting) -> str:
    what = _explained(row).replace("|", "\\|")
    return f"| `{row.key}` | `{toml_value(row.default)}` | {what} | `{row.variable}` |"


def _wrapped(text: str) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) >= WIDTH:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".lstrip()
    return [*lines, line]


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
