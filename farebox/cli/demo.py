"""`farebox demo`: a simulated SaaS on simulated providers, through the real gateway. No key, no network."""

import shutil
import signal
import sys
import threading
from decimal import Decimal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from farebox.cli.context import command_group, console, fail, hint, say
from farebox.core import figures
from farebox.demo.history import DAYS, OnProgress
from farebox.demo.stage import Stage
from farebox.errors import FareboxError
from farebox.supervisor.lock import running

app = command_group("A simulated SaaS and providers, to try it all.")

PORT = 3273


class Interrupted(Exception):
    """Ctrl-C while the history is being written."""


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Keep everything here.", show_default="a temporary directory")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; a free one where it is taken.")] = PORT,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long; else on Ctrl-C.")] = None,
    no_traffic: Annotated[bool, typer.Option("--no-traffic", help="Only the history, no live calls.")] = False,
) -> int:
    """A simulated SaaS (200 tenants, three tiers, four features, 90 days) and live calls through the real gateway."""
    if data is not None and (note := running(data)):
        fail(f"a server runs on {data} already ({note.url or note.pid}): stop it, or give another --data directory")
    ending = _ending()
    stage = Stage(data, host, port)
    try:
        stage.open()
        written = stage.write_history(_progress(ending))
        if not no_traffic:
            stage.start_traffic()
        _introduce(stage, written, with_traffic=not no_traffic)
        _wait(stage, ending, seconds)
    except Interrupted:
        pass
    finally:
        stage.close()
    say(f"Ended after {figures.count(stage.calls)} live calls." + _farewell(stage))
    return 0


def _ending() -> threading.Event:
    """Set by Ctrl-C or SIGTERM."""
    ending = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ending.set()

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    return ending


def _progress(ending: threading.Event) -> OnProgress:
    """A bar on a terminal, a silent watch for Ctrl-C elsewhere."""
    bar = Progress(
        TextColumn("Writing 90 days of history"), BarColumn(), TextColumn("{task.completed:,.0f} calls"),
        TimeRemainingColumn(), console=Console(stderr=True), transient=True,
    )  # fmt: skip
    task = bar.add_task("")
    if sys.stderr.isatty():
        bar.start()

    def on_progress(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        if bar.live.is_started and (done >= total or ending.is_set()):
            bar.stop()
        if ending.is_set():
            raise Interrupted

    return on_progress


def _wait(stage: Stage, ending: threading.Event, seconds: float | None) -> None:
    """Until the time is up, a signal comes, or the server dies."""
    step_s, waited_s = 0.5, 0.0
    while not ending.is_set() and (seconds is None or waited_s < seconds):
        if not stage.is_serving():
            raise FareboxError(f"the demo's server ended by itself: see {stage.data}/demo.log")
        rest_s = step_s if seconds is None else min(step_s, seconds - waited_s)
        ending.wait(rest_s)
        waited_s += rest_s


def _introduce(stage: Stage, written: int, *, with_traffic: bool) -> None:
    total = stage.api("/usage", {"measures": "calls,spend,tenants"})["data"]
    row = total[0] if total else {"spend": None, "calls": 0, "tenants": 0}
    spend = None if row["spend"] is None else Decimal(row["spend"])
    what = f"{figures.count(row['calls'])} calls of {row['tenants']} tenants over {DAYS} days, {figures.money(spend)}"
    out = console()
    out.print(f"[bold]Farebox demo[/bold]: {what}." + ("" if written else " The history was there already."))
    if with_traffic:
        out.print("Simulated users call through the gateway now; nothing leaves this machine.")
    dashboard = f"{stage.url}{stage.login_link}"
    lines = (
        ("Dashboard", dashboard),
        ("URL", stage.url),
        ("API", f"{stage.url}/api/v1/docs"),
        ("Admin token", stage.token),
        ("Key", stage.key),
    )
    for name, value in lines:
        out.print(f"  [dim]{name:<12}[/dim]{value}", soft_wrap=True)
    out.print("\nTry, in another terminal:")
    for command in _commands(stage):
        out.print(f"  {command}", soft_wrap=True, markup=False)
    hint("\nCtrl-C ends it." + (" The data goes with it; --data DIR keeps it." if stage.is_temporary else ""))


def _commands(stage: Stage) -> tuple[str, ...]:
    beside = Path(sys.executable).with_name("farebox")
    farebox = "farebox" if shutil.which("farebox") else beside if beside.exists() else f"{sys.executable} -m farebox"
    chat = '{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"Hello"}]}'
    return (
        f"{farebox} usage --by tenant --top 10 --data {stage.data}",
        f"{farebox} usage --by tier,feature --since 30d --data {stage.data}",
        f"{farebox} usage --by day --since 14d --data {stage.data}",
        f"{farebox} customers list --plan enterprise --data {stage.data}",
        f"curl {stage.url}/proxy/openai/v1/chat/completions -H 'authorization: Bearer {stage.key}' "
        f"-H 'x-tenant-id: acme' -H 'content-type: application/json' -d '{chat}'",
        f"curl -H 'authorization: Bearer {stage.token}' '{stage.url}/api/v1/events?tenant=acme'",
    )


def _farewell(stage: Stage) -> str:
    return "" if stage.is_temporary else f" `farebox usage --data {stage.data}` still answers."
