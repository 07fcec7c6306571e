"""`farebox init`: a commented farebox.toml, with every default already good."""

from pathlib import Path
from typing import Annotated

import typer

from farebox.cli.context import command_group, fail, say
from farebox.settings.loading import CONFIG_NAME
from farebox.settings.writing import as_toml

app = command_group("Write a commented farebox.toml.")
NEXT = "`farebox providers set openai --credential-stdin`, `farebox keys create NAME`, `farebox serve`."


@app.command()
def init(
    config: Annotated[Path, typer.Option("--config", help="Where to write it.")] = Path(CONFIG_NAME),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a commented farebox.toml. Nothing in it needs to be changed."""
    try:
        with config.open("w" if force else "x", encoding="utf-8") as file:
            file.write(as_toml())
    except FileExistsError:
        fail(f"{config} is there already: keep it, or write over it with --force")
    except OSError as error:
        fail(f"{config} cannot be written: {error.strerror}")
    say(f"Wrote {config}. Next: {NEXT}")
