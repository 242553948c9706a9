"""The `localops` command: parses, makes one library call, prints.

Each command is a module of this folder with a function of the same name, imported when it is asked for.
Only this file turns errors into a line on stderr and an exit code: 0 done, 1 not found, ambiguous or
unexpected, 2 wrong usage, 130 interrupted.
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
gc.disable()  # while modules are loaded there is no garbage, and the search for it would be a part of every start

import click  # noqa: E402

from localops import __version__  # noqa: E402
from localops.cli import common  # noqa: E402
from localops.errors import ConfigError, LocalopsError  # noqa: E402
from localops.output import say, write_plain_numbers  # noqa: E402

if _collected:
    gc.freeze()  # what is loaded stays until the end, so a search for garbage would go through all of it for nothing
    gc.enable()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from typing import NoReturn

# What there is, as `localops --help` lists it. A name is its module's and its function's.
COMMANDS = {
    "Record": "run demo",
    "Look": "ui sessions show analytics tail search query",
    "Send": "sync remote parked receipts",
    "Hand on": "bundle import export backup",
    "Take in": "hub",
    "Tend": "status path doctor prices prune repair",
    "Learn": "help",
}

# What may be longer than a screen.
_PAGED = frozenset("sessions show analytics search query help".split())
_OF_THE_WORKER = frozenset([*COMMANDS["Send"].split(), "bundle", "import"])


class _Commands(common.Group):
    """A group that knows its commands by name and imports one only to run it, or to describe it."""

    def list_commands(self, _: click.Context) -> list[str]:
        return [name for names in COMMANDS.values() for name in names.split()]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(context):
            return None
        from importlib import import_module

        package = "localops_sync" if name in _OF_THE_WORKER else "localops"
        python = f"{name}_" if iskeyword(name) else name
        found: click.Command = getattr(import_module(f"{package}.cli.{python}"), python)
        return common.with_help(found)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        for section, names in COMMANDS.items():
            with formatter.section(section):
                self.describe(context, formatter, names.split())


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Sessions are named by the first characters of their id, or `last`. Commands that have results take --json.",
)
@common.shown_and_done("--version", help="Show the version and exit.", text=lambda _: f"localops {__version__}")
def commands() -> None:
    """localops: everything your AI agents did, on your own disk."""


common.with_help(commands)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    _make_stdout_ready()
    code = _run(sys.argv[1:] if arguments is None else list(arguments))
    if "localops.cli.run" not in sys.modules:  # a program that was run may have finalizers of its own
        atexit.register(gc.freeze)  # no search for garbage at exit: a tenth of what a short command takes
    sys.exit(code)


def _make_stdout_ready() -> None:
    """What is printed into a file or a pipe is UTF-8; a terminal shows `?` for a character that it lacks."""
    if sys.stdout is None:  # it was closed (`>&-`): what is printed goes nowhere, and not into a file opened later
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  it is stdout until the end
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
        sys.stdout.flush()  # a reader that has gone is noticed here, not at exit
        return common.exit_code(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        return _reader_has_gone()
    except LocalopsError as error:
        say(str(error))
        return 2 if isinstance(error, ConfigError) else 1
    except Exception as error:  # what SQLite and the system say is a sentence; anything else is a bug, and shows where
        from localops.journal.reader import SQLiteError, told

        if not isinstance(error, SQLiteError | OSError):
            raise
        say(told(error))
        return 1


def _pager(arguments: list[str]) -> AbstractContextManager[None]:
    """Show what does not fit the terminal in a pager."""
    if not arguments or arguments[0] not in _PAGED or not sys.stdout.isatty():
        return nullcontext()
    from localops.cli.pager import paged

    return paged()


def _reader_has_gone() -> int:
    """`localops tail | head` ends in peace: what is still buffered goes nowhere, and raises no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
