"""The `localops` command: parses, makes one library call, prints.

Each command is a module of this folder with a function of the same name, imported only to run or describe it.
Only this file turns errors into a line on stderr and an exit code: 0 done, 1 not found, ambiguous or
unexpected, 2 wrong usage, 3 a rule of `check` is broken, 130 interrupted.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import nullcontext
from io import TextIOWrapper
from keyword import iskeyword

_collected = gc.isenabled()
# Loading modules makes no garbage, and searching for it would be a part of every start.
gc.disable()

import click  # noqa: E402

from localops import __version__  # noqa: E402
from localops.cli import common  # noqa: E402
from localops.errors import ConfigError, LocalopsError  # noqa: E402
from localops.output import say, write_plain_numbers  # noqa: E402

if _collected:
    # What is loaded stays until the end, so a search for garbage would go through all of it for nothing.
    gc.freeze()
    gc.enable()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from typing import NoReturn

# Every command under its heading in `localops --help`. A name is that of its module and its function.
COMMANDS = {
    "Record": "run hook demo",
    "Look": "ui sessions show why diff check analytics tail search query",
    "Send": "sync remote parked receipts",
    "Export": "bundle import export backup",
    "Serve": "hub mcp",
    "Maintain": "status path doctor prices prune repair",
    "Learn": "help",
}

# Commands whose output can be longer than a screen.
_PAGED = frozenset("sessions show why diff analytics search query help".split())
_OF_THE_WORKER = frozenset([*COMMANDS["Send"].split(), "bundle", "import"])


class _Commands(common.Group):
    """The top-level group; it imports a command only to run or describe it."""

    def list_commands(self, _: click.Context) -> list[str]:
        return [name for names in COMMANDS.values() for name in names.split()]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(context):
            return None
        from importlib import import_module

        package = "localops_sync" if name in _OF_THE_WORKER else "localops"
        python = f"{name}_" if iskeyword(name) else name
        command: click.Command = getattr(import_module(f"{package}.cli.{python}"), python)
        return common.with_help(command)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for section, names in COMMANDS.items():
            with formatter.section(section):
                self.describe(context, formatter, names.split())


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Name a session by the first characters of its id, or `last`. Commands with results take --json.",
)
@common.shown_and_done("--version", help="Show the version and exit.", text=lambda _: f"localops {__version__}")
def commands() -> None:
    """localops: everything your AI agents did, on your own disk."""


common.with_help(commands)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    _make_stdout_ready()
    code = _run(sys.argv[1:] if arguments is None else list(arguments))
    # Without a search for garbage at exit, a short command is a tenth faster. A program started by `run` may have
    # finalizers that need it.
    if "localops.cli.run" not in sys.modules:
        atexit.register(gc.freeze)
    sys.exit(code)


def _make_stdout_ready() -> None:
    """Make files and pipes UTF-8, and terminals show `?` for a character that they lack."""
    # Closed by the caller (`>&-`): without this, output could end up in a file that is opened later.
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  open until the process ends
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding=None if sys.stdout.isatty() else "utf-8", errors="replace")
        if not sys.stdout.isatty():
            write_plain_numbers()


def _run(arguments: list[str]) -> int:
    try:
        if instruction := os.environ.get("_LOCALOPS_COMPLETE"):
            from click.shell_completion import shell_complete

            return shell_complete(commands, {}, "localops", "_LOCALOPS_COMPLETE", instruction)
        with commands.make_context("localops", arguments) as context, _pager(arguments):
            commands.invoke(context)
        # So that a closed pipe raises here, where it is handled, and not at exit.
        sys.stdout.flush()
        return common.exit_code(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        # The exit code that shells give a program which SIGINT has ended.
        return 130
    except BrokenPipeError:
        return _end_quietly()
    except LocalopsError as error:
        say(str(error))
        return 2 if isinstance(error, ConfigError) else 1
    except Exception as error:
        from localops.journal.reader import SQLiteError, user_message

        # Messages of SQLite and the system are for users; anything else is a bug, and needs its traceback.
        if not isinstance(error, SQLiteError | OSError):
            raise
        say(user_message(error))
        return 1


def _pager(arguments: list[str]) -> AbstractContextManager[None]:
    """Return a context that shows long output in a pager."""
    if not arguments or arguments[0] not in _PAGED or not sys.stdout.isatty():
        return nullcontext()
    from localops.cli.pager import paged

    return paged()


def _end_quietly() -> int:
    """Discard buffered output, so that `localops tail | head` does not raise again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
