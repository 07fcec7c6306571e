"""`farebox` and `python -m farebox`."""

import sys
from typing import Final

CHILD: Final = "_child"
"""How the supervisor calls its own processes: kept clear of the command line's imports."""


def main() -> None:
    arguments = sys.argv[1:]
    if arguments[:1] == [CHILD]:
        from farebox.bootstrap import run_child

        sys.exit(run_child(arguments[1:]))
    try:
        from farebox.cli.main import run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("farebox"):
            raise
        sys.stderr.write("farebox: the command line needs the server extra: pip install 'farebox[server]'\n")
        sys.exit(1)
    sys.exit(run(arguments))


if __name__ == "__main__":
    main()
