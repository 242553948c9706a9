"""The commands and their options, which click parses.

Each command is a module of this folder with a function of the same name, imported only to run or describe it.
"""

from __future__ import annotations

import os
import sys
from keyword import iskeyword

import click

from localops import __version__
from localops.cli import common, looking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

# Every command under its heading in `localops --help`. A name is that of its module and its function.
COMMANDS = {
    "Record": "run hook demo",
    "Look": "ui open sessions views show why lint steps diff check analytics calls tail search query",
    "Judge": "score note",
    "Send": "sync remote parked receipts",
    "Export": "bundle import export backup",
    "Serve": "hub mcp",
    "Maintain": "status path doctor scrub prices prune repair",
    "Learn": "help",
}

_OF_THE_WORKER = frozenset([*COMMANDS["Send"].split(), "bundle", "import", "open"])


class _Commands(common.Group):
    """The top-level group; it imports a command only to run or describe it."""

    def hint(self, context: click.Context, name: str) -> str:
        if name == "resume":
            return ": the program itself calls `localops.resume(ID)`; see `localops help resume`"
        return super().hint(context, name)

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


def command(arguments: list[str]) -> Callable[[AbstractContextManager[None]], int]:
    """Return what parses and runs a command line in a pager, and returns its exit code."""
    return lambda paged: _run(arguments, paged)


def _run(arguments: list[str], paged: AbstractContextManager[None]) -> int:
    if instruction := os.environ.get("_LOCALOPS_COMPLETE"):
        from click.shell_completion import shell_complete

        return shell_complete(commands, {}, "localops", "_LOCALOPS_COMPLETE", instruction)
    try:
        with commands.make_context("localops", arguments) as context, paged:
            commands.invoke(context)
        # So that a closed pipe raises here, where it is handled, and not at exit.
        sys.stdout.flush()
        return looking.exit_code()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort as abort:
        # Handled as without click, which makes the one of the other.
        raise KeyboardInterrupt from abort
    except click.ClickException as error:
        error.show()
        return error.exit_code
