"""Which stored objects a request names in its body: what it would build on, read or hand to a model.

Source: the request types of the SDKs (openai 3.52, anthropic 2.11, google-genai 3.4). Names are looked for wherever
they stand, so that a route that is added to an API is covered; what the caller makes up (metadata, a tool's
arguments, schemas) is stepped over.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from farebox.providers.openai_requests import form_parts
from farebox.providers.stored_answers import short_name

REFERENCES_MAX: Final = 10_000
_LINE_NAMES: Final = (
    "previous_response_id", "previous_interaction_id", "previousInteractionId", "conversation", "conversation_id",
    "input_file_id", "training_file", "validation_file", "file_id", "file_ids", "vector_store_id", "vector_store_ids",
    "thread_id", "assistant_id", "container", "container_id", "skill_id", "upload_id", "eval_id", "cachedContent",
    "cached_content", "fileUri", "file_uri", "fileName", "file_name", "fileSearchStoreNames",
    "file_search_store_names", "input_files", "library_ids", "dataset_id", "input_dataset_id",
)  # fmt: skip
NAMES: Final = frozenset(_LINE_NAMES)
_PATHS: Final = frozenset({"fileUri", "file_uri", "fileName", "file_name"})
"""Members that may also hold what is no stored object: another site's address, a plain file name."""
_MADE_UP: Final = frozenset(
    {"metadata", "parameters", "input_schema", "schema", "json_schema", "args", "response", "attributes", "properties"}
)
"""Members whose inside is the caller's own and means nothing to the provider."""
_ITEMS: Final = frozenset({"input", "items"})
_NEEDLES: Final = tuple(name.encode() for name in _LINE_NAMES)
_ITEM_NEEDLES: Final = (b'"id"',)


UPLOADS: Final = ".upload"
"""How families of routes end whose bodies are the content of a file: such a body names nothing."""
_CACHES: Final = frozenset({"cachedContent", "cached_content"})


class Unreadable(ValueError):
    """A body that may name stored objects and cannot be read."""


class _Object(list[tuple[str, object]]):
    """A JSON object with every member that was sent, also where names repeat: nobody knows which one counts."""


def references(family: str, body: bytes) -> frozenset[str]:
    """The ids of stored objects that a body names: of a JSON object, of JSON Lines, of the fields and lines of a
    form. Raises Unreadable where that cannot be told."""
    if family.endswith(UPLOADS):
        return frozenset()
    if body[:2] == b"--":
        return _of_form(family, body)
    return frozenset(_bounded(_of_json(family, body)))


def _of_form(family: str, body: bytes) -> frozenset[str]:
    found: set[str] = set()
    parts = list(form_parts(body))
    is_batch = any(part.name == "purpose" and b"batch" in body[part.start : part.stop] for part in parts)
    for part in parts:
        content = body[part.start : part.stop]
        if part.is_file and not is_batch:
            continue
        if part.is_file:
            for line in _suspicious_lines(content):
                found.update(_bounded(_of_json("responses", line)))
        elif part.name.removesuffix("[]") in NAMES:
            found.add(content.decode("utf-8", "replace").strip())
        elif content.lstrip()[:1] in (b"{", b"["):
            found.update(_bounded(_of_json(family, content)))
    return frozenset(found)


def _suspicious_lines(data: bytes) -> Iterator[bytes]:
    """Lines of a batch's input that may name objects."""
    if not _may_name(data, with_items=True):
        return
    for line in data.split(b"\n"):
        if line.strip() and _may_name(line, with_items=True):
            yield line


def _of_json(family: str, body: bytes) -> Iterator[str]:
    with_items = family.startswith(("responses", "stored", "batches"))
    if not _may_name(body, with_items=with_items):
        return
    try:
        document = json.loads(body, object_pairs_hook=_Object)
    except (ValueError, RecursionError) as problem:
        raise Unreadable(str(problem)) from None
    yield from _walk(document)


def _may_name(body: bytes, *, with_items: bool) -> bool:
    """Whether a name can stand in it. A backslash may spell one otherwise, a zero byte is another encoding."""
    needles = (*_NEEDLES, *_ITEM_NEEDLES, b"\\u", b"\0") if with_items else (*_NEEDLES, b"\\u", b"\0")
    return any(needle in body for needle in needles)


def _walk(document: object) -> Iterator[str]:
    """Ids in a decoded document, in any order."""
    waiting: list[object] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Object):
            kinds = [str(inner) for name, inner in value if name == "type"]
            for name, inner in value:
                if name in NAMES:
                    yield from _ids(name, inner)
                if name in _ITEMS and isinstance(inner, list) and not isinstance(inner, _Object):
                    yield from _items(inner)
                if name in _MADE_UP or (name == "input" and isinstance(inner, _Object) and _is_tool_use(kinds)):
                    continue
                if name == "skills" and isinstance(inner, list):
                    inner = [skill for skill in inner if not _is_prebuilt(skill)]
                waiting.append(inner)
        elif isinstance(value, list):
            waiting.extend(value)


def _ids(name: str, value: object) -> Iterator[str]:
    if isinstance(value, str):
        found = _stored_path(value) if name in _PATHS else short_name(value) if name in _CACHES else value
        if found:
            yield found
    elif isinstance(value, _Object):
        yield from (inner for key, inner in value if key == "id" and isinstance(inner, str) and inner)
    elif isinstance(value, list):
        yield from (inner for inner in value if isinstance(inner, str) and inner)


def _stored_path(text: str) -> str | None:
    """`files/x` of a Gemini file's name or address; None for what lies elsewhere."""
    before, slash, rest = text.partition("files/")
    if not slash or (before and not before.endswith("/")):
        return None
    return "files/" + rest.partition("?")[0].partition("/")[0].partition(":")[0]


def _items(items: Iterable[object]) -> Iterator[str]:
    """Input items that stand for stored ones: a reference, which need not say its type, or reasoning that only the
    provider has."""
    for item in items:
        if not isinstance(item, _Object):
            continue
        names = {name for name, _ in item}
        kinds = [inner for name, inner in item if name == "type" and isinstance(inner, str)]
        is_reference = "item_reference" in kinds or (not kinds and not names & {"role", "content"})
        is_reasoning = "reasoning" in kinds and not any(n == "encrypted_content" and v for n, v in item)
        if is_reference or is_reasoning:
            yield from (inner for name, inner in item if name == "id" and isinstance(inner, str))


def _is_tool_use(kinds: list[str]) -> bool:
    return any(kind.endswith("tool_use") for kind in kinds)


def _is_prebuilt(skill: object) -> bool:
    """Anthropic's own skills belong to nobody."""
    kinds = [inner for name, inner in skill if name == "type"] if isinstance(skill, _Object) else []
    return kinds == ["anthropic"]


def _bounded(found: Iterator[str]) -> Iterator[str]:
    for count, name in enumerate(found):
        if count >= REFERENCES_MAX:
            raise Unreadable(f"it names more than {REFERENCES_MAX} stored objects")
        yield name
