"""`localops mcp`: serve recorded runs to an agent, as tools."""

from __future__ import annotations

import sys

import click

from localops.cli import common
from localops.errors import ConfigError
from localops.output import say


@click.command()
@click.option("--home", metavar="FOLDER", help="The home [default: $LOCALOPS_HOME, else your data folder].")
@click.option("--project", metavar="NAME", help="Only this project; otherwise every project of the home.")
def mcp(home: str | None, project: str | None) -> None:
    """Serve recorded runs to an agent, over the Model Context Protocol.

    A client such as Claude Code or Codex starts this command, and talks to it on stdin and stdout; `localops
    help mcp` has its settings. The tools can only read: sessions, events, figures, search, SQL, and what an
    agent asks before it acts: have_i_failed_at and last_time. Recorded text is marked as untrusted.
    """
    try:
        from localops.mcp import server
    except ImportError as error:
        raise ConfigError(f"missing packages for MCP: pip install 'localops[mcp]' ({error})") from error
    from localops.mcp.memory import Memory

    folder, name = common.place(home, project)
    if sys.stdin.isatty():
        say("a client starts this and talks to it on stdin: see `localops help mcp`; Ctrl-C ends it")
    server.serve(Memory(folder, name))
