"""`localops hook`: the commands that a coding agent runs at each step, and their installation."""

from __future__ import annotations

import os
import sys

import click

from localops import output
from localops.cli import common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.coding.settings import Change


@click.group(cls=common.Group)
def hook() -> None:
    """Record a coding agent, step by step, while it works.

    Once its hooks are installed, the agent runs `localops hook claude-code` or `localops hook codex` for each event,
    with the event as JSON on stdin, and the event's row is written before the agent continues. Nothing is printed on
    stdout, and the exit code is always 0.
    """


def _event_options(command: click.Command) -> click.Command:
    click.argument("event", required=False, metavar="[EVENT]")(command)
    click.option("--project", metavar="NAME", help="Record into this project.")(command)
    click.option("--home", metavar="FOLDER", help="Record into this home.")(command)
    return command


def _write(agent: str, home: str | None, project: str | None, event: str | None) -> None:
    from localops.coding import hook as writing

    options = {"--home": home, "--project": project}
    words = [f"{name}={value}" for name, value in options.items() if value is not None]
    sys.exit(writing.main([agent, *words, *([event] if event is not None else [])]))


@hook.command("claude-code")
def claude_code(home: str | None, project: str | None, event: str | None) -> None:
    """Write the row of a hook event of Claude Code."""
    _write("claude-code", home, project, event)


@hook.command()
def codex(home: str | None, project: str | None, event: str | None) -> None:
    """Write the row of a hook event of Codex; EVENT is what its `notify` gives instead of stdin."""
    _write("codex", home, project, event)


def _settings_options(command: click.Command) -> click.Command:
    click.argument("agent", type=click.Choice(["claude-code", "codex"]))(command)
    click.option("--project", is_flag=True, help="In the settings of the current folder, not in yours.")(command)
    click.option("--yes", is_flag=True, help="Do not ask for confirmation.")(command)
    return command


@hook.command()
def install(agent: str, project: bool, yes: bool) -> None:
    """Have a coding agent run `localops hook` for each of its events.

    The change is shown before it is made. Everything else in the settings stays as it is, and a second time changes
    nothing. Claude Code: ~/.claude/settings.json. Codex: ~/.codex/hooks.json.

    \b
    localops hook install claude-code
    localops hook install claude-code --project
    """
    from localops.coding import settings

    change = settings.Change(settings.path_of(agent, project=project))
    change.install(agent, settings.command_of(agent, _program()))
    _apply(change, yes=yes, done="the hooks are installed", already="the hooks are installed already")


@hook.command()
def uninstall(agent: str, project: bool, yes: bool) -> None:
    """Take `localops hook` out of the settings of a coding agent, and leave everything else."""
    from localops.coding import settings

    change = settings.Change(settings.path_of(agent, project=project))
    change.uninstall()
    _apply(change, yes=yes, done="the hooks are removed", already="there are no hooks of localops")


def _program() -> str:
    """Return the path of the `localops` command: an agent may run its hooks with another PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "localops")
    named = sys.argv[0] if os.path.basename(sys.argv[0]) == "localops" else ""
    return next((os.path.abspath(path) for path in (named, beside) if path and os.access(path, os.X_OK)), "localops")


def _apply(change: Change, *, yes: bool, done: str, already: str) -> None:
    if not change.is_needed:
        print(f"{change.path}: {already}")
        return
    print(output.clean(change.diff().expandtabs(4), newlines=True), end="")
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("cannot ask for confirmation without a terminal: use --yes")
        click.confirm(f"Change {change.path}?", err=True, abort=True)
    change.apply()
    print(f"{change.path}: {done}")


for _command in (install, uninstall):
    _settings_options(_command)
for _command in (claude_code, codex):
    _event_options(_command)
