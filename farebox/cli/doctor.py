"""`farebox doctor`: what is wrong with this installation, and what to do about it."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from farebox.cli import checkup
from farebox.cli.checkup import Finding
from farebox.cli.context import Config, Data, Json, Token, Url, command_group, console, print_json, settings_of
from farebox.cli.ledgers import ledger_of
from farebox.errors import FareboxError, SettingsError
from farebox.settings import Settings, run_dir

if TYPE_CHECKING:
    from farebox.directory.views import Configured

app = command_group("Check configuration, providers, clock, disk and permissions.")

PROBES: Final = 8
_STYLES: Final = {"ok": "green", "note": "dim", "warn": "yellow", "broken": "bold red"}


@app.command()
def doctor(
    as_json: Json = False, data: Data = None, config: Config = None, url: Url = None, token: Token = None
) -> int:
    """Look at everything that a working installation needs; exit code 1 where something is broken."""
    findings = list(_remote(url, token) if url else _local(data, config))
    if as_json:
        print_json({"ok": not _broken(findings), "findings": findings})
    else:
        _print(findings)
    return 1 if _broken(findings) else 0


def _broken(findings: Sequence[Finding]) -> bool:
    return any(finding.state == "broken" for finding in findings)


def _local(data: Path | None, config: Path | None) -> Iterator[Finding]:
    try:
        settings = settings_of(data, config)
    except SettingsError as error:
        yield Finding("configuration", "broken", str(error), "correct it; `farebox serve --print-settings` shows all")
        return
    yield Finding("configuration", "ok", "every setting is known and in range")
    yield from checkup.data_findings(settings.data, os.getuid())
    yield from checkup.disk_findings(settings.data, settings.journal.segment_bytes)
    yield from checkup.paywall_findings(settings.paywall)
    yield from _master_key(settings)
    yield from _running(settings)
    yield from _ledger(data, config, settings)
    yield from _providers(settings)


def _master_key(settings: Settings) -> Iterator[Finding]:
    from farebox.directory.vault import VARIABLE, master_key_path

    yield from checkup.key_findings(master_key_path(settings), bool(os.environ.get(VARIABLE)))


def _running(settings: Settings) -> Iterator[Finding]:
    """The processes of a running server."""
    from farebox.control.metrics import read_counters
    from farebox.supervisor.lock import running

    note = running(settings.data) if settings.data.exists() else None
    if note is not None and note.url:
        yield from _answers("server", note.url)
    stats = _keeper_stats(settings) if note is not None else None
    yield from checkup.stats_findings(stats, note is not None)
    if note is not None:
        yield from checkup.worker_findings(read_counters(run_dir(settings)), has_server=True)


def _keeper_stats(settings: Settings) -> checkup.Row | None:
    from farebox.ledger.client import KeeperClient

    try:
        with KeeperClient(run_dir(settings) / "keeper.sock") as keeper:
            answer = keeper.call("stats")
    except FareboxError:
        return None
    return answer if isinstance(answer, dict) else None


def _answers(name: str, url: str) -> Iterator[Finding]:
    """A server's own word on whether it is ready."""
    try:
        answer = httpx.get(f"{url.rstrip('/')}/readyz", timeout=checkup.REACH_TIMEOUT_S, verify=not _is_local(url))
    except httpx.HTTPError as error:
        text = f"{url}: {str(error) or type(error).__name__}"
        yield Finding(name, "broken", text, "see that it runs and listens there; its log says more")
        return
    if answer.status_code == 200:
        yield Finding(name, "ok", f"{url} is ready")
    else:
        yield Finding(name, "broken", f"{url} is not ready: {answer.text[:200]}", "its log says why")


def _is_local(url: str) -> bool:
    """A server of this machine may serve a certificate that is not for its address."""
    return httpx.URL(url).host in ("127.0.0.1", "::1", "localhost")


def _ledger(data: Path | None, config: Path | None, settings: Settings) -> Iterator[Finding]:
    if not (settings.data / "ledger.duckdb").exists():
        return
    try:
        with ledger_of(data, config, None, None) as ledger:
            yield from checkup.unpriced_findings(ledger.unpriced())
    except FareboxError as error:
        yield Finding("ledger", "broken", str(error), "`farebox verify` checks it once it can be opened")


def _providers(settings: Settings) -> Iterator[Finding]:
    """Those that calls can go to by a credential or address of ours, asked side by side."""
    try:
        configured = _configured(settings)
    except FareboxError as error:
        yield Finding("directory", "broken", str(error), "see that the master key is the one it was made with")
        return
    used = [entry for entry in configured.values() if entry.credential_from or entry.base_url_from != "built in"]
    if not used:
        advice = "`farebox providers set openai --credential-stdin`, or OPENAI_API_KEY; or let callers bring their own"
        yield Finding("providers", "note", "no provider has a credential", advice)
    with ThreadPoolExecutor(PROBES) as pool:
        for findings in pool.map(lambda entry: checkup.reach(entry.view), used):
            yield from findings


def _configured(settings: Settings) -> "dict[str, Configured]":
    from farebox.bootstrap import configured_providers
    from farebox.directory.store import Directory
    from farebox.directory.views import configured
    from farebox.directory.watch import directory_path
    from farebox.providers import PROVIDERS

    if not directory_path(settings).exists():
        return configured(settings, PROVIDERS, (), os.environ)  # looking must not make one
    directory = Directory.open(settings)
    try:
        return configured_providers(settings, directory)
    finally:
        directory.close()


def _remote(url: str, token: str | None) -> Iterator[Finding]:
    yield from _answers("server", url)
    try:
        with ledger_of(None, None, url, token) as ledger:
            yield from checkup.unpriced_findings(ledger.unpriced())
    except FareboxError as error:
        yield Finding("ledger", "broken", str(error), "check --url and --token")


def _print(findings: Sequence[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    from farebox.cli.cells import plain

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        detail = plain(finding.detail)
        if finding.advice:
            detail.append(f"\n→ {finding.advice}", style="bold" if finding.state in ("warn", "broken") else "dim")
        table.add_row(Text(finding.state, style=_STYLES[finding.state]), plain(finding.name), detail)
    console().print(table)
    broken = sum(finding.state == "broken" for finding in findings)
    console().print(f"\n{broken} broken." if broken else "\nNothing is broken.")
