"""`localops why`: print the post-mortem of one session."""

from __future__ import annotations

import click

from localops import output
from localops.cli import common


@click.command()
@common.session_argument
@click.option("--format", "form", type=common.Choice(["text", "md"]), help="text, or md: Markdown for a ticket.")
@common.place_options
@common.json_option
def why(session: str, form: str | None, home: str | None, project: str | None, as_json: bool) -> None:
    """Say how one session ended, what was under way, and its first error; without an ID, of the newest.

    Recorded texts are shown by their beginnings. What is not known is called unknown.
    """
    common.at_most_one(json=as_json, format=form)
    with common.look(home, project) as opened:
        where, id = opened.find(session)
        snapshot = where.snapshot(id)
        # Late, so that an id that does not exist is refused without loading it.
        from localops.reading import post_mortem, post_mortem_page

        findings = post_mortem.of(where.name, snapshot, where.reader)
        if as_json:
            common.print_json(post_mortem_page.document(findings))
        elif form == "md":
            for line in post_mortem_page.markdown(findings):
                print(line)
        else:
            common.print_heading(snapshot)
            _print_page(post_mortem_page.sections(findings))


def _print_page(page: list[tuple[str, list[list[str]]]]) -> None:
    from localops.reading.post_mortem_page import plain

    room = common.width()
    for number, (title, sentences) in enumerate(page):
        if number:
            print()
        print(common.bold(title))
        for sentence in sentences:
            text = plain(sentence)
            lines = output.wrap(text, max(room - 2, 20)) if room else [text]
            for line in lines:
                print(f"  {line}")
