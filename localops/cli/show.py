"""`localops show`: print one session, with its events as a tree, a timeline or a table."""

from __future__ import annotations

import click

from localops.cli import common, session_page


@click.command()
@common.session_argument
@click.option("--tree", "as_tree", is_flag=True, help="Events as a tree.")
@click.option("--timeline", "as_timeline", is_flag=True, help="Events as a timeline.")
@click.option("--events", "as_table", is_flag=True, help="Events as a table, in recording order.")
@click.option("--event", metavar="ID", help="One event in full.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=0),
    help="At most this many events, 0 for all  [default: 1000; 30 without --tree, --timeline or --events].",
)
@common.place_options
@common.json_option
def show(
    session: str,
    as_tree: bool,
    as_timeline: bool,
    as_table: bool,
    event: str | None,
    limit: int | None,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Show one session; without an ID, the newest."""
    views = {"tree": as_tree, "timeline": as_timeline, "events": as_table}
    common.at_most_one(**views, event=event)
    common.at_most_one(event=event, limit=limit is not None)
    view = next((name for name, is_chosen in views.items() if is_chosen), None)
    with common.look(home, project) as opened:
        if event is not None:
            of_session = session if common.is_given("session") else None
            session_page.show_event(opened, event, of_session, as_json=as_json)
            return
        where, id = opened.find(session)
        if as_json:
            session_page.print_facts(where, id, limit)
        elif view is None and limit is None:
            session_page.show(where, id)
        else:
            session_page.show_events(where, id, view, limit)
