"""Composition root: from settings to a running system. The one module that knows all parts."""

import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from farebox.errors import SettingsError
from farebox.settings import Settings, private_dir, run_dir, to_json
from farebox.supervisor.child import Start, configure_logging, enter, parsed, ready_signal

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from farebox.control.parts import Parts as ControlParts
    from farebox.core.pricing import PriceBook
    from farebox.directory.snapshot import ProviderView
    from farebox.directory.store import Directory
    from farebox.directory.views import Configured


def run_child(arguments: Sequence[str]) -> int:
    """A process of the system, as the supervisor starts it."""
    start = parsed(arguments)
    settings = enter(start)
    _ROLES[start.role](settings, start, ready_signal(start))
    return 0


def _worker(settings: Settings, start: Start, ready: Callable[[], None]) -> None:
    from farebox.gateway.worker import run

    run(settings, start.index, start.fd, ready)


def _keeper(settings: Settings, _start: Start, ready: Callable[[], None]) -> None:
    from farebox.keeper.process import run

    run(settings, ready)


def _web(settings: Settings, _start: Start, ready: Callable[[], None]) -> None:
    from farebox.control.process import run

    run(settings, ready, pages)


BUNDLE_AFTER_S = 5.0
"""The start of all processes goes before."""


def pages(parts: "ControlParts") -> "ASGIApp":
    """The dashboard, on the parts of the web process. The one place where API and pages meet."""
    from farebox.control.alerting import tester_of
    from farebox.control.reporting import facts_here
    from farebox.dashboard.app import create_app
    from farebox.dashboard.parts import Parts
    from farebox.dashboard.passwords import Passwords
    from farebox.reports import charts
    from farebox.reports.registry import REPORTS

    bundling = threading.Timer(BUNDLE_AFTER_S, charts.assets)  # so that no browser waits for Vega
    bundling.daemon = True
    bundling.start()
    return create_app(
        Parts(
            keeper=parts.keeper,
            directory=parts.directory,
            outbox=parts.outbox,
            settings=parts.settings,
            now_us=parts.now_us,
            passwords=Passwords(),
            reports=REPORTS,
            facts=facts_here(parts),
            books=parts.directory.books,
            env=parts.env,
            send_test=tester_of(parts),
        )
    )


_ROLES: dict[str, Callable[[Settings, Start, Callable[[], None]], None]] = {
    "worker": _worker,
    "keeper": _keeper,
    "web": _web,
}


def serve(settings: Settings) -> int:
    """Run the whole system until SIGTERM; the exit code. The first line on standard output, once calls are accepted,
    is `farebox ready on URL`. Raises FareboxError where it cannot start. Main thread only."""
    from farebox.supervisor.children import Child
    from farebox.supervisor.listening import address_of, listen
    from farebox.supervisor.lock import Note, ServeLock
    from farebox.supervisor.loop import GRACE_S, Supervisor

    os.umask(0o077)
    private_dir(settings.data)
    run_dir(settings)
    configure_logging(settings, "supervisor")
    with ExitStack() as stack:
        lock = stack.enter_context(ServeLock(settings.data))
        advice, first_link = _prepared(settings)
        server = settings.server
        # After a crash the last workers may still be closing their sockets.
        listeners = listen(server.host, server.port, server.workers, patience_s=GRACE_S if lock.after_crash else 0)
        for listener in listeners:
            stack.enter_context(listener)
        url = address_of(listeners[0], is_tls=bool(server.tls_cert))
        children = [
            Child("keeper"),
            *(Child("worker", index, listener.fileno()) for index, listener in enumerate(listeners)),
            Child("web", is_required=False),
        ]

        def announce() -> None:
            lock.note(Note(os.getpid(), url))
            sys.stdout.write(f"farebox ready on {url}\n")
            sys.stdout.flush()
            if first_link:
                sys.stderr.write(f"to open the dashboard (works once, for an hour): {url}/login/link/{first_link}\n")
            if advice:
                sys.stderr.write(advice + "\n")

        def stop_listening() -> None:
            for listener in listeners:
                listener.close()

        return Supervisor(children, to_json(settings), server.drain_s, announce, stop_listening).run()


def _prepared(settings: Settings) -> tuple[str, str | None]:
    """Make the directory and check the master key before any process needs them; advice for an empty one, and the
    secret of a link that makes the first admin, where there is no admin yet."""
    from farebox.directory.store import Directory

    check_providers(settings)
    directory = Directory.open(settings)
    try:
        return first_steps(settings, directory), directory.users.first_link(by="serve")
    finally:
        directory.close()


def check_providers(settings: Settings) -> None:
    """Raise SettingsError for a provider of the settings that can never be called as it stands."""
    from farebox.core.asking import nearest
    from farebox.directory.views import OTHER_WIRE
    from farebox.providers import PROVIDERS

    known = [provider.name for provider in PROVIDERS]
    for name, own in settings.providers.items():
        if own.wire and own.wire not in (*known, OTHER_WIRE):
            raise SettingsError(f"providers.{name}.wire is {own.wire!r}: give {', '.join([*known, OTHER_WIRE])}")
        if name not in known and not own.base_url:
            raise SettingsError(
                f"providers.{name} is not known{nearest(name, known)}: for one of your own give its base_url"
            )


def first_steps(settings: Settings, directory: "Directory") -> str:
    """What is still missing before a call can be made, as one line for a person; '' where nothing is."""
    steps = []
    providers = configured_providers(settings, directory)
    if not any(entry.credential_from for entry in providers.values()):
        steps.append(
            "give a provider's credential: `farebox providers set openai --credential-stdin` or OPENAI_API_KEY"
        )
    if settings.server.auth == "required" and not directory.keys.exist():
        steps.append("create a key: `farebox keys create NAME`")
    return "to make a first call, " + "; ".join(steps) if steps else ""


def configured_providers(settings: Settings, directory: "Directory") -> "dict[str, Configured]":
    """Every provider with an address, as it is in force; stored credentials stay sealed."""
    from farebox.directory.environment import with_files
    from farebox.directory.views import configured
    from farebox.providers import PROVIDERS

    return configured(settings, PROVIDERS, directory.providers.list(), with_files(os.environ))


def opened_providers(settings: Settings, directory: "Directory") -> "dict[str, ProviderView]":
    """Every provider with its credential in the clear, as a worker has it. Raises SecretsError."""
    from msgspec.structs import replace

    stored = {row.name: directory.providers.credential(row) for row in directory.providers.list()}
    found = configured_providers(settings, directory)
    return {
        name: replace(entry.view, credential=stored[name]) if entry.sealed is not None else entry.view
        for name, entry in found.items()
    }


def price_book(directory: "Directory") -> "PriceBook":
    """The shipped prices with the directory's rows on top."""
    from farebox.providers.sheets import load_book

    return load_book(directory.list_price_rows())
