"""What every command shares: its options, the settings or the server they lead to, and how answers are printed."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn

import msgspec
import typer

from farebox.errors import FareboxError
from farebox.settings import Settings, find_config, load

if TYPE_CHECKING:
    import httpx
    from rich.console import Console

    from farebox.directory.store import Directory

REMOTE_TIMEOUT_S: Final = 60.0
PIPED_WIDTH: Final = 400
"""Columns where nobody looks: nothing is wrapped for a program."""
NONE_MARK: Final = "–"

Data = Annotated[
    Path | None, typer.Option("--data", help="Data directory.", metavar="DIR", show_default="./farebox-data")
]
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file.", metavar="FILE", show_default="./farebox.toml")
]
Url = Annotated[
    str | None, typer.Option("--url", help="Work on a remote server, such as https://farebox.internal.", metavar="URL")
]
Token = Annotated[
    str | None,
    typer.Option("--token", help="Admin token for --url.", envvar="FAREBOX_TOKEN", metavar="TOKEN", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print data instead of a table.")]


class UsageError(FareboxError):
    """The command line asks for something that cannot be: exit code 2."""


def settings_of(data: Path | None, config: Path | None, **flags: object) -> Settings:
    """The settings under which a command runs. `flags` are dotted names with '__' for the dot. Raises SettingsError."""
    named = {name.replace("__", "."): value for name, value in flags.items()}
    return load(config or find_config(os.environ), None, {"data": data, **named})


def directory_of(data: Path | None, config: Path | None) -> "Directory":
    """The local directory, made where there is none. A running server takes its changes up within a second."""
    from farebox.directory.store import Directory

    return Directory.open(settings_of(data, config))


def actor() -> str:
    """Who the audit log names for a change from the shell."""
    import getpass

    try:
        return f"shell:{getpass.getuser()}"
    except (OSError, KeyError):
        return f"shell:{os.getuid()}"


class Remote:
    """A Farebox server's API. Raises FareboxError, one line, for whatever goes wrong."""

    def __init__(self, url: str, token: str | None) -> None:
        import httpx

        if not _is_address(url):
            raise UsageError(f"--url {url!r} is not an address: give http://HOST:PORT or https://HOST")
        if not token:
            raise UsageError("--url needs --token (or FAREBOX_TOKEN): `farebox tokens create` on the server makes one")
        if not (token.isascii() and token.isprintable()):
            raise UsageError(
                "--token has characters that are in no token: give it as `farebox tokens create` prints it"
            )
        self._url = url.rstrip("/")
        self._http: httpx.Client = httpx.Client(
            base_url=f"{self._url}/api/v1",
            headers={"authorization": f"Bearer {token}"},
            timeout=REMOTE_TIMEOUT_S,
            limits=httpx.Limits(max_keepalive_connections=0),  # nothing is left open by a command that ends
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: object = None,
        timeout_s: float = REMOTE_TIMEOUT_S,
    ) -> Any:
        """The decoded answer of `/api/v1<path>`, None where it has no body."""
        answer = self._answer(method, path, params, body, timeout_s)
        return answer.json() if answer.content else None

    def read(self, path: str, params: Mapping[str, Any], timeout_s: float = REMOTE_TIMEOUT_S) -> bytes:
        """The answer of `GET /api/v1<path>` as it came."""
        return self._answer("GET", path, params, None, timeout_s).content

    def _answer(
        self, method: str, path: str, params: Mapping[str, Any] | None, body: object, timeout_s: float
    ) -> "httpx.Response":
        import httpx

        content = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"content-type": "application/json"}
        try:
            answer = self._http.request(
                method, path, params=params, content=content, headers=headers, timeout=timeout_s
            )
        except httpx.HTTPError as error:
            raise FareboxError(f"{self._url} does not answer ({error}): check --url, and that it runs") from error
        if answer.is_success:
            return answer
        raise FareboxError(_remote_error(self._url, answer))

    def close(self) -> None:
        self._http.close()

    def listed(self, path: str, **params: object) -> list[dict[str, Any]]:
        """All entries of a list, over all its pages."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self.call("GET", path, params={**params, **({"cursor": cursor} if cursor else {})})
            found += page["data"]
            cursor = page.get("next_cursor")
            if not cursor:
                return found


def _is_address(url: str) -> bool:
    import httpx

    try:
        return url.startswith(("http://", "https://")) and bool(httpx.URL(url).host)
    except httpx.InvalidURL:
        return False


def remote_of(url: str | None, token: str | None) -> Remote | None:
    """The server of --url, None where the command works on --data."""
    return Remote(url, token) if url else None


def _remote_error(url: str, answer: "httpx.Response") -> str:
    try:
        error = answer.json()["error"]
        return f"{error['message']} ({error['code']})"
    except (ValueError, KeyError, TypeError):
        return f"{url} answered {answer.status_code}: is that a Farebox server?"


def console() -> "Console":
    """Standard output for tables: colours on a terminal unless NO_COLOR is set."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def print_json(value: object) -> None:
    """The whole truth, indented, one object."""
    data = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(data.decode() + "\n")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str, right: Sequence[str] = ()
) -> None:
    """A light table; `empty` says what to do where there are no rows. `right` names columns of numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        justify: Literal["right", "left"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(NONE_MARK if cell is None or cell == "" else str(cell)) for cell in row))
    if table.row_count:
        console().print(table)
    else:
        say(empty)


def say(text: str) -> None:
    """A line on standard output."""
    sys.stdout.write(text + "\n")


def hint(text: str) -> None:
    """A line for the person, on standard error, so that output stays clean for programs."""
    sys.stderr.write(text + "\n")


def fail(text: str) -> NoReturn:
    """End with exit code 1 and one line that says what is wrong and what to do."""
    raise FareboxError(text)


def command_group(about: str) -> typer.Typer:
    """A group of commands; for a single command, register one and it takes the group's place."""
    return typer.Typer(help=about, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
