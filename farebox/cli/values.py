"""How a command's words are read and its moments shown, where `farebox.core.asking` does not already say."""

from collections.abc import Iterable
from datetime import UTC, datetime

from farebox.cli.context import UsageError


def pairs(words: Iterable[str], option: str) -> dict[str, str]:
    """NAME=VALUE words as a mapping; several in one word with commas between. Raises UsageError."""
    found: dict[str, str] = {}
    for word in words:
        for pair in _split(word):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals or not name or not value:
                raise UsageError(f"{option} {pair!r}: write NAME=VALUE, such as tenant=acme")
            if name in found:
                raise UsageError(f"{option} {name!r} is given twice")
            found[name] = value
    return found


def _split(word: str) -> list[str]:
    """'a=1,b=2' is two pairs; 'a=1,2' is one, whose value has a comma."""
    parts = word.split(",")
    return parts if all("=" in part for part in parts) else [word]


def shown_moment(text: object) -> str:
    """An RFC 3339 moment as a person reads it, '' for none."""
    return f"{datetime.fromisoformat(str(text)).astimezone(UTC):%Y-%m-%d %H:%M}" if text else ""
