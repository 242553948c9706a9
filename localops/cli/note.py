"""`localops note`: keep a note about a session or one event of it."""

from __future__ import annotations

import click

from localops.cli import common
from localops.cli.score import give
from localops.recording import scores


@click.command()
@click.argument("ident", metavar="ID")
@click.argument("text")
@click.option("--by", default=scores.HUMAN, show_default=True, metavar="NAME", help="Who writes it.")
@click.option("--event", metavar="ID", help="About this event of the session: its id, or the beginning of it.")
@common.place_options
@common.json_option
def note(
    ident: str, text: str, by: str, event: str | None, home: str | None, project: str | None, as_json: bool
) -> None:
    """Keep a note about session ID: `last`, or the beginning of an id. `localops score ID` shows it."""
    give(scores.note(text, by, event), ident, home, project, as_json=as_json)
