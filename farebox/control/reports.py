"""Reports: the questions that a founder asks, each as JSON, CSV, a picture or a page, and sent to a channel."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.alerts.dispatcher import send_message
from farebox.control.access import needs
from farebox.control.alerting import target_of
from farebox.control.answers import Json
from farebox.control.forms import SendForm
from farebox.control.listing import asked as asked_of_list
from farebox.control.listing import paged, parameters
from farebox.control.parts import parts_of
from farebox.control.reporting import answered, in_thread
from farebox.core.asking import FILTERS
from farebox.errors import DeliveryFailed, QueryError
from farebox.reports import pictures, telling
from farebox.reports.asking import TOP_MAX
from farebox.reports.registry import REPORTS, find
from farebox.reports.showing import csv_of, described, shown

router = APIRouter(prefix="/api/v1/reports", tags=["reports"])

FORMATS: Final = ("json", "csv", "png", "html")
OWN: Final = ("format", "chart")
"""Parameters that say how the answer is written, not what is asked."""
_WORDS: Final = {
    "since": "first moment: 30d, 2026-11-21, RFC 3339, or all; each report has its own default",
    "until": "end, exclusive; written like since; now unless said",
    "month": "in place of since and until: 2026-10, this or last",
    "time_zone": "IANA name for days and months; UTC unless said",
    "top": f"rows, 1 to {TOP_MAX:,}; 100 unless said",
    "as_of": "only what had been booked by then",
    "format": f"of {', '.join(FORMATS)}; json unless said",
    "chart": "which chart, counted from 0, for format=png",
}


def _parameters() -> list[dict[str, object]]:
    options: dict[str, str] = {}
    for report in REPORTS:
        for option in report.options:
            text = f"{report.name}: {option.hint}" + (f" {option.default} unless said." if option.default else "")
            options[option.name] = f"{options[option.name]} {text}" if option.name in options else text
    filters = {name: f"only this {name}; repeatable, empty for none" for name in FILTERS}
    named = {**_WORDS, **options, **filters, "tag.NAME": "only this value of a tag"}
    return [
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in named.items()
    ]


_PARAMETERS: Final = {"parameters": _parameters()}


@router.get("", dependencies=[needs("analyst")], openapi_extra=parameters({}))
def list_reports(request: Request) -> Response:
    """All reports: the question that each answers, the period that it covers unless told, its own options."""
    return paged(REPORTS, asked_of_list(request), lambda report: report.name, described)


@router.get("/{name}", dependencies=[needs("analyst")], openapi_extra=_PARAMETERS)
async def get_report(request: Request, name: str) -> Response:
    """One report: a sentence that answers its question, rows, totals, notes, charts and further sections. As CSV the
    rows alone, as PNG one of its charts, as HTML a page that stands alone."""
    report, pairs = find(name), request.query_params.multi_items()
    form, chart = _how(pairs)
    asked, answer = await answered(parts_of(request), report, [pair for pair in pairs if pair[0] not in OWN])
    if form == "csv":
        return _file(f"{name}.csv", csv_of(answer.columns, answer.rows).encode(), "text/csv; charset=utf-8")
    if form == "png":
        return _file(f"{name}.png", await in_thread(lambda: pictures.png(answer, chart)), "image/png")
    if form == "html":
        made = await in_thread(lambda: pictures.page(report, answer))
        return _file(f"{name}.html", made.encode(), "text/html; charset=utf-8")
    return Json(shown(report, asked, answer))


@router.post("/{name}/send", dependencies=[needs("admin")], openapi_extra=_PARAMETERS)
async def send_report(request: Request, name: str, form: SendForm) -> Response:
    """Make a report and send it to a channel now, and say whether it was taken: {"ok", "error", "sentence"}. The query
    string asks as for GET."""
    parts, report = parts_of(request), find(name)
    target = await in_thread(lambda: target_of(parts.directory, parts.directory.channels.get(form.channel)))
    _asked, answer = await answered(parts, report, request.query_params.multi_items())
    finding, message = telling.finding(report, parts.now_us()), telling.message(report, answer)
    try:
        await in_thread(
            lambda: send_message(target, finding, message, parts.now_us(), parts.settings.alerts.dashboard_url)
        )
    except DeliveryFailed as error:
        return Json({"ok": False, "error": str(error), "sentence": answer.sentence})
    return Json({"ok": True, "error": None, "sentence": answer.sentence})


def _how(pairs: list[tuple[str, str]]) -> tuple[str, int]:
    """(format, chart). Raises QueryError."""
    said = dict(pairs)
    form, chart = said.get("format", "json"), said.get("chart", "0")
    if form not in FORMATS:
        raise QueryError(f"there is no format {form[:20]!r}: give {', '.join(FORMATS)}")
    if not chart.isdecimal() or len(chart) > 3:
        raise QueryError(f"chart is {chart[:20]!r}: give a number from 0")
    return form, int(chart)


def _file(filename: str, content: bytes, media_type: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{filename}"'}
    return Response(content, media_type=media_type, headers=headers)
