"""The `farebox` command: which commands there are, loaded only when one is used, and how errors are told."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from farebox import __version__
from farebox.cli.context import UsageError
from farebox.errors import (
    FareboxError,
    InvalidAlert,
    InvalidBooks,
    InvalidEntry,
    InvalidLimit,
    InvalidRoute,
    QueryError,
    SettingsError,
)

DEBUG: Final = "--debug"


@dataclass(frozen=True, slots=True)
class Mount:
    """A command: its module has an `app` (a Typer). `help` is shown without loading the module."""

    name: str
    module: str
    help: str


COMMANDS: Final[tuple[Mount, ...]] = (
    Mount("serve", "farebox.cli.serve", "Run the gateway, the ledger and the API."),
    Mount("demo", "farebox.cli.demo", "A simulated SaaS and providers, to try it all."),
    Mount("init", "farebox.cli.init", "Write a commented farebox.toml."),
    Mount("keys", "farebox.cli.keys", "Farebox keys for your applications."),
    Mount("limits", "farebox.cli.limits", "What each user, customer, tier or tag may spend."),
    Mount("routes", "farebox.cli.routes", "Names that stand for several models, with fallback."),
    Mount("plans", "farebox.cli.plans", "What customers pay and get, by plan."),
    Mount("customers", "farebox.cli.customers", "Who pays: customers, their plans and revenue."),
    Mount("import", "farebox.cli.importing", "Customers and revenue from a CSV file."),
    Mount("alerts", "farebox.cli.alerts", "What is watched for, what was found, and whether it arrived."),
    Mount("channels", "farebox.cli.channels", "Where alerts are sent: Slack, Teams, e-mail, webhooks …"),
    Mount("tokens", "farebox.cli.tokens", "Admin tokens for the API."),
    Mount("users", "farebox.cli.users", "Who may open the dashboard, and links to get in."),
    Mount("providers", "farebox.cli.providers", "Providers: credentials, addresses, a live test."),
    Mount("prices", "farebox.cli.prices", "Prices: list, show, set, update, compare, unpriced, reprice."),
    Mount("usage", "farebox.cli.usage", "Who spent what."),
    Mount("report", "farebox.cli.report", "Reports: top customers, tiers, waste, audit and more."),
    Mount("simulate", "farebox.cli.simulate", "What a limit, a model or a price would have made of the past."),
    Mount("events", "farebox.cli.events", "The call log, and one call down to its arithmetic."),
    Mount("export", "farebox.cli.export", "Events, usage or prices as CSV, JSONL or Parquet."),
    Mount("verify", "farebox.cli.verify", "Check the ledger's invariants and re-price a sample."),
    Mount("doctor", "farebox.cli.doctor", "Check configuration, providers, clock, disk and permissions."),
)
_ASKED_WRONGLY: Final = (
    UsageError, SettingsError, QueryError, InvalidEntry, InvalidLimit, InvalidRoute, InvalidAlert, InvalidBooks,
)  # fmt: skip
_COMPLETION: Final = ("install_completion", "show_completion")
_BY_NAME: Final = {mount.name: mount for mount in COMMANDS}


class LazyGroup(TyperGroup):
    """Lists all commands by name and help alone; loads the module of the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [mount.name for mount in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        mount = _BY_NAME.get(cmd_name)
        return None if mount is None else _placeholder(mount)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, loaded(_BY_NAME[str(name)]), rest


def _placeholder(mount: Mount) -> Any:
    bare = typer.Typer(add_completion=False)
    bare.command(name=mount.name, help=mount.help)(lambda: None)
    return typer.main.get_command(bare)


def loaded(mount: Mount) -> Any:
    """The real command of a mount."""
    module = import_module(mount.module)
    command = typer.main.get_command(module.app)
    command.name = mount.name
    command.params = [param for param in command.params if param.name not in _COMPLETION]
    command.help = command.help or mount.help
    return command


app = typer.Typer(
    cls=LazyGroup, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"farebox {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the whole traceback of an error.")] = False,
) -> None:
    """Meter, limit and explain what your LLM calls cost, per customer, user, plan and feature."""
    del version, debug  # acted on by its callback; taken out of the arguments by `run`, wherever it stands


def run(arguments: Sequence[str]) -> int:
    """Run a command line; the exit code: 0 done, 1 failed, 2 asked for wrongly, 130 interrupted."""
    debug = DEBUG in arguments
    arguments = [argument for argument in arguments if argument != DEBUG]
    try:
        return _run(arguments)
    except FareboxError as error:
        if debug:
            raise
        _tell(str(error))
        return 2 if isinstance(error, _ASKED_WRONGLY) else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has seen enough
        sys.stderr.close()
        return 0
    except Exception as error:  # the outermost loop: a person gets a line, not a traceback
        if debug:
            raise
        _tell(f"unexpected {type(error).__name__}: {error}; run it again with --debug for the whole story")
        return 1


def _run(arguments: Sequence[str]) -> int:
    try:
        code = app(args=list(arguments), prog_name="farebox", standalone_mode=False)
    except TyperException as error:
        return _usage_error(error)
    except typer.Abort:
        return 130
    return code if isinstance(code, int) else 0


def _usage_error(error: TyperException) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stdout.write(error.format_message() + "\n")
        return 2
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "farebox"
    message = error.format_message().replace("Value error, ", "")  # pydantic's, which says nothing to a person
    _tell(f"{message} (see `{path} --help`)")
    return error.exit_code


def _tell(text: str) -> None:
    one_line = " ".join(text.split())
    sys.stderr.write(f"farebox: {one_line}\n")
