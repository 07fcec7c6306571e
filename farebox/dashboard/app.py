"""The dashboard's application: public entrances, and every page behind a login and a role."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from farebox import errors
from farebox.dashboard.entrance import Entrance
from farebox.dashboard.filters import Filters, read_filters
from farebox.dashboard.page import Action, Done, Page, View, Viewer, Visit
from farebox.dashboard.pages import PAGES
from farebox.dashboard.parts import Parts
from farebox.dashboard.portal import Portal
from farebox.dashboard.rendering import Assets, Renderer, as_json, csv_response, with_etag
from farebox.dashboard.shield import Shield
from farebox.dashboard.trouble import Trouble

Handler = Callable[[Request], Awaitable[Response]]
FIELDS_MAX: Final = 200
_FOR_EVER: Final = {"cache-control": "public, max-age=31536000, immutable"}


def create_app(parts: Parts, pages: Sequence[Page] = PAGES) -> Shield:
    assets = Assets()
    renderer = Renderer(pages, assets)
    entrance = Entrance(parts, renderer)
    trouble = Trouble(renderer, entrance)
    routes: list[BaseRoute] = [*_static(assets), *entrance.routes()]
    for page in pages:
        door = Door(page, parts, renderer, entrance)
        routes += door.routes()
    routes.append(Mount("/portal", Portal(parts, renderer).app()))
    app = Starlette(routes=routes, exception_handlers=trouble.handlers())
    return Shield(app, is_secure=parts.is_secure)  # outside of all: an unexpected error leaves through it, too


def roles(pages: Sequence[Page] = PAGES) -> dict[str, str]:
    """Who may call what: the role of every path that is not for everyone."""
    found: dict[str, str] = {}
    for page in pages:
        found.update(dict.fromkeys(_paths(page), page.role))
        found.update({action.path: action.role for action in page.actions})
    return found


class Door:
    """Lets those in who may see a page, and asks the page."""

    def __init__(self, page: Page, parts: Parts, renderer: Renderer, entrance: Entrance) -> None:
        self._page = page
        self._parts = parts
        self._renderer = renderer
        self._entrance = entrance

    def routes(self) -> list[Route]:
        html, json, csv = _paths(self._page)
        return [
            Route(json, self._answer(self._json), methods=["GET"]),
            Route(csv, self._answer(self._csv), methods=["GET"]),
            Route(html, self._answer(self._html), methods=["GET"]),
            *(Route(action.path, self._acting(action), methods=["POST"]) for action in self._page.actions),
        ]

    def _answer(self, render: Callable[[Request, Visit, View], Response]) -> Handler:
        async def answer(request: Request) -> Response:
            viewer = await self._entrance.let_in(request, self._page.role)
            visit = self._visit(request, viewer)
            try:
                view = await self._page.show(visit)
            except errors.QueryError as error:
                if self._page.unanswered is None or render != self._html:
                    raise
                has_asked = bool(visit.filters.query or visit.filters.where)
                visit = replace(visit, problem=str(error) if has_asked else "")
                view = await self._page.unanswered(visit)
            return RedirectResponse(view.to, 303) if isinstance(view, Done) else render(request, visit, view)

        return answer

    def _acting(self, action: Action) -> Handler:
        async def act(request: Request) -> Response:
            viewer = await self._entrance.let_in(request, action.role)
            async with request.form(max_files=1, max_fields=FIELDS_MAX) as form:
                self._entrance.check_form(request, form, viewer.secret)
                visit = self._visit(request, viewer, fields(form), await files(form))
            try:
                done = await action.act(visit)
            except errors.FareboxError as error:
                if isinstance(error, errors.KeeperUnavailable):
                    raise
                return await self._refused(request, visit, action, str(error))
            if isinstance(done, View):
                return self._html(request, replace(visit, path=self._page.path), done)
            self._entrance.tell(viewer.session.id, done.told)
            return RedirectResponse(done.to, 303)

        return act

    async def _refused(self, request: Request, visit: Visit, action: Action, why: str) -> Response:
        again = replace(visit, path=self._page.path, problem=why, asked_at=action.path)
        view = await self._page.show(again)
        return RedirectResponse(view.to, 303) if isinstance(view, Done) else self._html(request, again, view)

    def _visit(
        self,
        request: Request,
        viewer: Viewer,
        form: Mapping[str, str] | None = None,
        sent: Mapping[str, bytes] | None = None,
    ) -> Visit:
        names = {name: str(value).removesuffix(".html") for name, value in request.path_params.items()}
        filters = self._filters(request)
        path = request.url.path
        for suffix in (".json", ".csv"):
            path = path.removesuffix(suffix)
        return Visit(self._parts, viewer, path, names, filters, form or {}, sent or {})

    def _filters(self, request: Request) -> Filters:
        return read_filters(request.query_params.multi_items(), self._parts.now_us(), self._page.period or "30d")

    def _html(self, request: Request, visit: Visit, view: View) -> Response:
        told = [] if request.headers.get("x-live") else self._entrance.told(visit.viewer.session.id)
        theme = self._entrance.cookies.theme_of(request)
        response = self._renderer.page(self._page, visit, view, theme, told)
        return with_etag(request, response) if self._page.live_s and request.method == "GET" else response

    def _json(self, _request: Request, visit: Visit, view: View) -> Response:
        return as_json(view, visit.filters)

    def _csv(self, _request: Request, visit: Visit, view: View) -> Response:
        return csv_response(view, visit.filters, self._page.title.lower().replace(" ", "-") or "farebox")


def fields(form: FormData) -> dict[str, str]:
    """The texts of a form; of a field that was sent several times, all of them with commas."""
    found: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            found[name] = f"{found[name]},{value}" if name in found else value
    return found


async def files(form: FormData) -> dict[str, bytes]:
    """What was uploaded; a field without a file is none."""
    return {
        name: await value.read()
        for name, value in form.multi_items()
        if isinstance(value, UploadFile) and value.filename
    }


def _paths(page: Page) -> tuple[str, str, str]:
    return page.path, f"{page.file}.json", f"{page.file}.csv"


def _static(assets: Assets) -> list[Route]:
    async def static(request: Request) -> Response:
        found = await run_in_threadpool(assets.find, request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        headers = {**_FOR_EVER, "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(found.packed, media_type=found.kind, headers={**headers, "content-encoding": "gzip"})
        return Response(found.content, media_type=found.kind, headers=headers)

    return [Route("/static/{name}", static, methods=["GET"])]
