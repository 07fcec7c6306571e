"""Views become HTML, JSON or CSV."""

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import jinja2
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from farebox import __version__
from farebox.core import figures
from farebox.dashboard import cells
from farebox.dashboard.cookies import FORM_FIELD, THEMES, form_token
from farebox.dashboard.drawing import draw
from farebox.dashboard.filters import DIMENSIONS, PERIODS, Filters, segment
from farebox.dashboard.page import Page, View, Visit
from farebox.dashboard.tables import Table, as_csv, chosen, table_of
from farebox.reports import charts

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"
_encoder = msgspec.json.Encoder(decimal_format="string")


class Asset(NamedTuple):
    content: bytes
    kind: str
    packed: bytes
    """The same by gzip."""


class Assets:
    """Files with their content's hash in the name, so that a browser may keep them for ever. Of Vega, which takes
    seconds to bundle, the version's: no page waits for it, only the request for the file itself."""

    def __init__(self, directory: Path = STATIC) -> None:
        self._files: dict[str, Asset] = {}
        self._names: dict[str, str] = {}
        for path in sorted(directory.iterdir()):
            if kind := KINDS.get(path.suffix):
                self._add(path.name, path.read_bytes(), kind)
        for name, asset in charts.light_assets().items():
            self._add(name, asset.content, asset.content_type)
        self._vega = f"vega-{hashlib.sha256(charts.VEGA_VERSION.encode()).hexdigest()[:16]}.js"
        self._names["vega.js"] = self._vega

    def url(self, name: str) -> str:
        return f"/static/{self._names[name]}"

    def find(self, named: str) -> Asset | None:
        """By the name with its hash. Takes seconds for Vega the first time."""
        if named == self._vega and named not in self._files:
            vega = charts.assets()["vega.js"]
            self._files[named] = _packed(vega.content, vega.content_type)
        return self._files.get(named)

    def _add(self, name: str, content: bytes, kind: str) -> None:
        stem, _, ending = name.rpartition(".")
        named = f"{stem}-{hashlib.sha256(content).hexdigest()[:16]}.{ending}"
        self._files[named] = _packed(content, kind)
        self._names[name] = named


def _packed(content: bytes, kind: str) -> Asset:
    return Asset(content, kind, gzip.compress(content, 6, mtime=0))


KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Renderer:
    """`pages` make the navigation."""

    def __init__(self, pages: Sequence[Page], assets: Assets) -> None:
        self._pages = pages
        self._env = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._env.filters["unbroken"] = cells.unbroken
        self._env.globals.update(
            static=assets.url,
            version=__version__,
            themes=THEMES,
            form_field=FORM_FIELD,
            draw=draw,
            inline=cells.inline,
            text_of=cells.text_of,
            segment=segment,
            figures=figures,
        )

    def page(self, page: Page, visit: Visit, view: View, theme: str, told: Sequence[str] = ()) -> Response:
        """The whole page. 422 where it shows why an action was refused."""
        filters, answer = visit.filters, view.answer
        context: dict[str, Any] = {
            "page": page,
            "visit": visit,
            "viewer": visit.viewer,
            "view": view,
            "answer": answer,
            "filters": filters,
            "table": _table(view, visit) if answer.columns else None,
            "sections": [
                (section, table_of(section, filters, visit.path, section.title, number))
                for number, section in enumerate(answer.sections, 1)
            ],
            "navigation": self._navigation(visit.viewer.user.role),
            "token": form_token(visit.viewer.secret),
            "theme": theme,
            "told": told,
            "title": view.title,
            "here": filters.same(visit.path),
            "file_json": filters.same(_file(page, visit) + ".json", rows=None),
            "file_csv": filters.same(_file(page, visit) + ".csv", rows=None),
            "periods": PERIODS,
            "dimensions": DIMENSIONS,
            "is_drawn": bool(answer.charts) or any(section.charts for section in answer.sections),
            **view.more,
        }
        html = self._env.get_template(view.template).render(context)
        return _html(html, 422 if visit.problem else 200)

    def bare(self, template: str, *, status: int = 200, theme: str = "auto", **context: Any) -> Response:
        """A page for those who are not logged in, or an error."""
        return _html(self._env.get_template(template).render({"theme": theme, **context}), status)

    def _navigation(self, role: str) -> dict[str, list[Page]]:
        groups: dict[str, list[Page]] = {}
        for page in self._pages:
            if page.group and (role == "admin" or page.role == "analyst"):
                groups.setdefault(page.group, []).append(page)
        return groups


def with_etag(request: Request, response: Response) -> Response:
    """304 in place of a page that has not changed since the browser saw it."""
    etag = f'"{hashlib.sha256(bytes(response.body)).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    response.headers["etag"] = etag
    return response


def as_json(view: View, filters: Filters) -> Response:
    answer = view.answer
    body: Mapping[str, object] = {
        "title": view.title,
        "sentence": answer.sentence,
        "columns": answer.columns,
        "data": chosen(answer, filters) if view.is_whole else answer.rows,
        "totals": answer.totals,
        "notes": answer.notes,
        "sections": [
            {
                "title": section.title,
                "sentence": section.sentence,
                "columns": section.columns,
                "data": chosen(section, filters, number),
                "totals": section.totals,
            }
            for number, section in enumerate(answer.sections, 1)
        ],
        **({} if view.data is None else {"detail": view.data}),
    }
    return Response(_encoder.encode(body), media_type="application/json")


def csv_response(view: View, filters: Filters, name: str) -> Response:
    text = as_csv(view.answer.columns, chosen(view.answer, filters) if view.is_whole else view.answer.rows)
    headers = {"content-disposition": f'attachment; filename="{name}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _table(view: View, visit: Visit) -> Table:
    return table_of(
        view.answer,
        visit.filters,
        visit.path,
        view.caption or view.title,
        rows_max=view.rows,
        is_whole=view.is_whole,
    )


def _file(page: Page, visit: Visit) -> str:
    return page.file if page.path == "/" else visit.path.removesuffix(".html")


def _html(text: str, status: int) -> Response:
    return Response(text, status, media_type="text/html; charset=utf-8")
