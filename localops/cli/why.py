"""`localops why`: print the post-mortem of one session."""

from __future__ import annotations

import click

from localops.cli import common


@click.command()
@common.session_argument
@click.option("--format", "form", type=common.Choice(["text", "md"]), help="text, or md: Markdown for a ticket.")
@common.place_options
@common.json_option
def why(session: str, form: str | None, home: str | None, project: str | None, as_json: bool) -> None:
    """Show how one session ended, what was in progress, and its first error.

    Without an ID, show the newest session. Only the beginnings of recorded texts are shown. What is not known is called
    unknown.
    """
    common.at_most_one(json=as_json, format=form)
    with common.look(home, project) as opened:
        where, id = opened.find(session)
        # Late, so that an id that does not exist is refused without loading it.
        from localops.cli import post_mortem

        post_mortem.show(where, id, form=form, as_json=as_json)
