"""`farebox providers`: credentials, addresses, and a live test."""

import getpass
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from farebox.cli.context import (
    Config,
    Data,
    Json,
    Token,
    Url,
    UsageError,
    actor,
    command_group,
    console,
    directory_of,
    hint,
    print_json,
    print_table,
    remote_of,
    say,
    settings_of,
)
from farebox.cli.values import pairs
from farebox.core.asking import nearest
from farebox.errors import FareboxError

if TYPE_CHECKING:
    from farebox.cli.smoke import Result
    from farebox.directory.store import Directory
    from farebox.settings import Settings

app = command_group("Providers: credentials, addresses, a live test.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The provider, such as openai.")]
CREDENTIAL_CHARS_MAX: Final = 65_536
COLUMNS: Final = ("name", "format", "address", "credential")
STEP_COLUMNS: Final = ("provider", "step", "result", "status", "first byte", "took", "tokens", "cost")


@app.command("list")
def list_(
    data: Data = None, config: Config = None, url: Url = None, token: Token = None, as_json: Json = False
) -> None:
    """List providers: where calls go, and where the credential comes from."""
    if remote := remote_of(url, token):
        rows = remote.listed("/providers")
    else:
        settings = settings_of(data, config)
        rows = _shown(settings, _directory(settings))
    if as_json:
        print_json(rows)
    else:
        print_table(COLUMNS, map(_cells, rows), empty="No providers.")


@app.command("set")
def set_(
    name: Name,
    credential: Annotated[
        str | None, typer.Option(metavar="KEY", help="The provider's API key; others may see a command line.")
    ] = None,
    credential_stdin: Annotated[
        bool, typer.Option("--credential-stdin", help="Read the API key or key file (JSON) from standard input.")
    ] = False,
    base_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Origin with optional path prefix; clears a stored credential.")
    ] = None,
    wire: Annotated[
        str | None, typer.Option(metavar="PROVIDER", help="Whose format and prices it has, for a name of your own.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A further header to send. Repeatable.")
    ] = None,
    ca_file: Annotated[str | None, typer.Option(metavar="FILE", help="Certificates to trust for it (PEM).")] = None,
    tls_verify: Annotated[bool | None, typer.Option(help="Check its certificate.", show_default=False)] = None,
    deployment: Annotated[
        list[str] | None, typer.Option(metavar="NAME=MODEL", help="The model behind a deployment's name. Repeatable.")
    ] = None,
    region: Annotated[str | None, typer.Option(metavar="REGION", help="Region to call and sign for (Bedrock).")] = None,
    region_class: Annotated[
        str | None, typer.Option(metavar="CLASS", help="global, data_zone or regional: what prices depend on (Azure).")
    ] = None,
    data: Data = None,
    config: Config = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Store a provider's credential (sealed) or address. What is not given stays; '' takes a value back."""
    given: dict[str, Any] = {
        "credential": _credential(credential, credential_stdin),
        "base_url": base_url,
        "wire": wire,
        "headers": pairs(header, "--header") if header else None,
        "ca_file": ca_file,
        "tls_verify": tls_verify,
        "deployments": pairs(deployment, "--deployment") if deployment else None,
        "region": region,
        "region_class": region_class,
    }
    given = {key: value for key, value in given.items() if value is not None}
    if not given:
        raise UsageError(
            "nothing to set: give --credential-stdin, --base-url, --wire, --header, --ca-file, --tls-verify, "
            "--deployment, --region or --region-class"
        )
    if remote := remote_of(url, token):
        row = remote.call("PUT", f"/providers/{name}", body={key: value or None for key, value in given.items()})
    else:
        row = _set_here(settings_of(data, config), name, given)
    if as_json:
        print_json(row)
    else:
        say(f"{row['name']}: {row['base_url']}, credential {_credential_cell(row) or 'none (callers bring their own)'}")


@app.command()
def remove(name: Name, data: Data = None, config: Config = None, url: Url = None, token: Token = None) -> None:
    """Forget what is stored of a provider; a known one goes back to its defaults."""
    if remote := remote_of(url, token):
        remote.call("DELETE", f"/providers/{name}")
    else:
        directory_of(data, config).providers.remove(name, by=actor())
    say(f"Forgot what was stored of {name}.")


@app.command("test")
def test_(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One provider; all with a credential unless said.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model to ask; a cheap one unless said.")
    ] = None,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
) -> int:
    """Send a smoke prompt with the real credential: answered whole, streamed, and a wrong one. Costs a little."""
    from farebox.bootstrap import opened_providers, price_book
    from farebox.cli.smoke import smoke

    settings = settings_of(data, config)
    directory = _directory(settings)
    views = opened_providers(settings, directory)
    if name is not None and name not in views:
        raise UsageError(f"there is no provider {name!r}{nearest(name, views)}: `farebox providers list` shows them")
    chosen = [views[name]] if name is not None else [view for view in views.values() if view.credential]
    if not chosen:
        raise FareboxError("no provider has a credential: `farebox providers set openai --credential-stdin` stores one")
    book = price_book(directory)
    results = []
    for view in chosen:
        if not as_json:
            hint(f"asking {view.name} at {view.base_url} …")
        results.append(smoke(view, book, model))
    if as_json:
        print_json(results)
    else:
        _print_results(results)
    return 0 if all(result.ok for result in results) else 1


def _print_results(results: "Sequence[Result]") -> None:
    from rich.table import Table
    from rich.text import Text

    from farebox.core import figures
    from farebox.core.meters import tokens

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in STEP_COLUMNS:
        table.add_column(column, justify="left" if column in STEP_COLUMNS[:3] else "right")
    for result in results:
        for step in result.steps:
            verdict = Text("ok") if step.ok else Text(f"failed: {step.detail}", style="red")
            times = [
                figures.duration(None if ms is None else float(ms)) for ms in (step.first_byte_ms, step.latency_ms)
            ]
            cost = figures.NONE if step.cost_usd is None else f"${step.cost_usd}"
            status = figures.NONE if step.status is None else str(step.status)
            used = figures.count(tokens(step.usage)) if step.usage else figures.NONE
            table.add_row(f"{result.provider} {result.model or ''}", step.name, verdict, status, *times, used, cost)
    console().print(table)


def _set_here(settings: "Settings", name: str, given: dict[str, Any]) -> dict[str, Any]:
    directory = _directory(settings)
    before = {row["name"] for row in _shown(settings, directory)}
    if name not in before and not given.get("base_url"):
        raise UsageError(
            f"there is no provider {name!r}{nearest(name, before)}: for one of your own give its --base-url"
        )
    directory.providers.set(name, **given, by=actor())
    return next(row for row in _shown(settings, directory) if row["name"] == name)


def _shown(settings: "Settings", directory: "Directory") -> list[dict[str, Any]]:
    from farebox.bootstrap import configured_providers
    from farebox.directory.showing import provider_shown

    found = configured_providers(settings, directory)
    return [provider_shown(entry, directory.providers.get(name)) for name, entry in sorted(found.items())]


def _directory(settings: "Settings") -> "Directory":
    from farebox.directory.store import Directory

    return Directory.open(settings)


def _credential(given: str | None, from_stdin: bool) -> str | None:
    if not from_stdin:
        return given
    if given is not None:
        raise UsageError("give --credential or --credential-stdin, not both")
    text = getpass.getpass("credential: ") if sys.stdin.isatty() else sys.stdin.readline()
    if text.lstrip().startswith("{") and not sys.stdin.isatty():
        text += sys.stdin.read(CREDENTIAL_CHARS_MAX)  # a service account's key file has many lines
    if not text.strip():
        raise UsageError(
            "standard input held no credential: pipe it in, such as `pass show openai | farebox providers set …`"
        )
    return text.strip()


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    address = row["base_url"] if row["base_url_from"] == "built in" else f"{row['base_url']} ({row['base_url_from']})"
    return row["name"], row["wire"], address, _credential_cell(row)


def _credential_cell(row: dict[str, Any]) -> str:
    if not row["credential_from"]:
        return ""
    return f"{row['credential_from']} {row['credential_hint'] or ''}".strip()
