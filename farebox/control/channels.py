"""Channels: where alerts are sent."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from farebox.alerts.apprise import understood
from farebox.control.access import needs
from farebox.control.alerting import tester_of
from farebox.control.answers import Json
from farebox.control.forms import ChannelChange, ChannelForm
from farebox.control.listing import asked, author, paged, parameters
from farebox.control.parts import parts_of
from farebox.directory.showing import channel_shown
from farebox.errors import DeliveryFailed

router = APIRouter(prefix="/api/v1/channels", tags=["alerts"])


@router.post("", dependencies=[needs("admin")], status_code=201)
def add_channel(request: Request, form: ChannelForm) -> Response:
    """Add a channel. A webhook's answer has `secret`, which signs its messages and is shown once."""
    directory, by = parts_of(request).directory, author(request)
    if form.kind == "apprise":
        understood(form.url)
    row, secret = directory.channels.add(
        form.name, form.kind, form.url, to=form.to or "", allow_private=form.allow_private, by=by
    )
    if form.all_rules:
        directory.alert_rules.tell_all(row.id, by=by)
    return Json({**channel_shown(row), **({"secret": secret} if secret else {})}, status_code=201)


@router.get("", dependencies=[needs("analyst")], openapi_extra=parameters({}))
def list_channels(request: Request) -> Response:
    """Channels, oldest first. Of their addresses only a hint."""
    return paged(parts_of(request).directory.channels.list(), asked(request), lambda row: row.id, channel_shown)


@router.get("/{channel}", dependencies=[needs("analyst")])
def get_channel(request: Request, channel: str) -> Response:
    """One channel, by id or name."""
    return Json(channel_shown(parts_of(request).directory.channels.get(channel)))


@router.patch("/{channel}", dependencies=[needs("admin")])
def change_channel(request: Request, channel: str, change: ChannelChange) -> Response:
    """Disable a channel, or enable it again."""
    channels, by = parts_of(request).directory.channels, author(request)
    row = channels.enable(channel, by) if change.enabled else channels.disable(channel, "by hand", by)
    return Json(channel_shown(row))


@router.delete("/{channel}", dependencies=[needs("admin")])
def remove_channel(request: Request, channel: str) -> Response:
    """Forget a channel and its secrets. Rules go on without it; what waits for it becomes dead letters."""
    return Json(channel_shown(parts_of(request).directory.channels.remove(channel, by=author(request))))


@router.post("/{channel}/test", dependencies=[needs("admin")])
def test_channel(request: Request, channel: str) -> Response:
    """Send a test message now, and say whether it was taken: {"ok", "error"}."""
    parts = parts_of(request)
    try:
        tester_of(parts)(channel)
    except DeliveryFailed as error:
        return Json({"ok": False, "error": str(error)})
    return Json({"ok": True, "error": None})
