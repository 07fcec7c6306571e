"""Lists that are short enough to be read whole and shown in pages."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from fastapi import Request
from starlette.responses import Response

from farebox.control.access import Caller
from farebox.control.answers import LIST_MAX, page
from farebox.core.asking import nearest, whole
from farebox.core.events import iso_us
from farebox.errors import QueryError

Item = TypeVar("Item")
PAGE: Final = 100


def parameters(filters: Mapping[str, str]) -> dict[str, Any]:
    """The OpenAPI description of a list's query string: its filters (name and what it does), limit and cursor."""
    known = {
        **filters,
        "limit": f"rows, 1 to {LIST_MAX}; {PAGE} unless said",
        "cursor": "next_cursor of the page before",
    }
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
            for name, text in known.items()
        ]
    }


def asked(request: Request, filters: Iterable[str] = ()) -> dict[str, str]:
    """The query string of a list route. Raises QueryError for a name that is unknown."""
    known = ("limit", "cursor", *filters)
    for name in request.query_params:
        if name not in known:
            raise QueryError(f"there is no parameter {name!r}{nearest(name, known)}")
    return dict(request.query_params)


def paged(
    rows: Sequence[Item],
    query: Mapping[str, str],
    id_of: Callable[[Item], str],
    shown: Callable[[Item], object],
    meta: Mapping[str, object] | None = None,
) -> Response:
    """One page of `rows`; the cursor is the last id that was shown. Raises QueryError."""
    limit = page_size(query)
    start = _after(rows, query.get("cursor"), id_of)
    chosen = rows[start : start + limit]
    more = start + limit < len(rows)
    return page([shown(row) for row in chosen], id_of(chosen[-1]) if more and chosen else None, meta)


def page_size(query: Mapping[str, str]) -> int:
    """The `limit` of a list. Raises QueryError."""
    return whole(query.get("limit", str(PAGE)), "limit", 1, LIST_MAX)


def _after(rows: Sequence[Item], cursor: str | None, id_of: Callable[[Item], str]) -> int:
    if not cursor:
        return 0
    for index, row in enumerate(rows):
        if id_of(row) == cursor:
            return index + 1
    raise QueryError("this cursor is not from this list: begin again without one")


def iso(moment_us: int | None) -> str | None:
    return None if moment_us is None else iso_us(moment_us)


def author(request: Request) -> str:
    """Who a change is logged under."""
    caller: Caller = request.state.caller
    return f"{caller.id} {caller.name}"
