"""Forms of pages that change something: their fields, what was typed, and beside which field an error stands."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from farebox.dashboard.page import Role, Visit

Kind = Literal["text", "number", "date", "month", "password", "area", "file", "choice", "check"]
VALUE_CHARS_MAX: Final = 8192


@dataclass(frozen=True, slots=True)
class Field:
    """`words` are further names that an error may call it by."""

    name: str
    label: str
    value: str = ""
    hint: str = ""
    kind: Kind = "text"
    options: Mapping[str, str] = field(default_factory=dict)
    is_required: bool = False
    words: tuple[str, ...] = ()
    is_wide: bool = False
    """Twice the width: what is written here is long."""
    wrong: str = ""
    """Why what stands in it was refused."""


@dataclass(frozen=True, slots=True)
class Form:
    """`action` is where it is sent; `others` are further buttons, each with where that sends it. `question` asks before
    what cannot be undone."""

    action: str
    title: str
    verb: str
    fields: tuple[Field, ...] = ()
    hidden: Mapping[str, str] = field(default_factory=dict)
    about: str = ""
    question: str = ""
    is_open: bool = False
    others: tuple[tuple[str, str], ...] = ()
    role: Role = "admin"

    @property
    def key(self) -> str:
        """Tells the ids of its fields from those of other forms of the page."""
        return re.sub("[^a-z0-9]+", "-", self.action.lower()).strip("-")

    @property
    def has_file(self) -> bool:
        return any(entry.kind == "file" for entry in self.fields)


def as_typed(visit: Visit, forms: Sequence[Form]) -> list[Form]:
    """The forms that this viewer may send; the one that was just sent with what was typed, and open."""
    return [_typed(visit, form) for form in forms if visit.viewer.may(form.role)]


def _typed(visit: Visit, form: Form) -> Form:
    sent = visit.asked_at or visit.path
    if not visit.form or sent not in {path.partition("?")[0] for path in (form.action, *dict(form.others))}:
        return form
    wrong = blamed(visit.problem, form.fields)
    kept = (
        replace(
            entry,
            value="" if entry.kind in ("password", "file") else visit.form.get(entry.name, ""),
            wrong=visit.problem if entry.name == wrong else "",
        )
        for entry in form.fields
    )
    return replace(form, fields=tuple(kept), is_open=True)


def blamed(problem: str, fields: Sequence[Field]) -> str:
    """The field that an error speaks of: the one that it names first, '' where it names none."""
    text = problem.lower().replace("_", " ")
    places: list[tuple[int, str]] = []
    for entry in fields:
        names = (entry.name.replace("_", " "), entry.label.lower(), *entry.words)
        found = [match.start() for name in names if (match := re.search(rf"\b{re.escape(name)}\b", text))]
        places += [(min(found), entry.name)] if found else []
    return min(places)[1] if places else ""


def pairs(text: str) -> dict[str, str]:
    """'tier=free, region=eu', on lines or with commas. A part without '=' stands for itself with no value."""
    found = {}
    for part in re.split(r"[,\n]", text):
        name, _, value = part.partition("=")
        if name.strip():
            found[name.strip()] = value.strip()
    return found


def written(values: Mapping[str, object]) -> str:
    """What `pairs` reads back."""
    return ", ".join(f"{name}={value}" for name, value in values.items())


def given(form: Mapping[str, str], *names: str) -> dict[str, str | None]:
    """The named fields of a form as they were sent, those that were left empty as None; others are left out."""
    return {name: form[name].strip() or None for name in names if name in form}
