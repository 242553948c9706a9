"""`localops hook`: what a coding agent runs at each step, and its settings for that."""

from __future__ import annotations

import sys

import click

from localops.cli import common


@click.group(cls=common.Group)
def hook() -> None:
    """Record a coding agent, step by step, while it works.

    A coding agent runs `localops hook AGENT` for each of its hook events, with the event as JSON on stdin, and the
    event's row is written before it goes on. Nothing is printed on stdout, and the exit code is always 0.
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


for _command in (claude_code, codex):
    _event_options(_command)
