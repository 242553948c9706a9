"""`localops hub senders`: list the machines that send rows."""

from __future__ import annotations

import click

from localops import clock, output
from localops.cli.common import Moment, json_option, print_json, print_table
from localops.cli.hub.common import data_option, keys_of, store_of
from localops.errors import JournalError
from localops.journal.reader import SQLiteError, reason
from localops.reading import home as homes
from localops.reading import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.server.senders import Sender

# Exit code if a person has to act, the same as of a sync; a silent machine has another one.
_UNREADABLE = 4
# Exit code if there are no machines yet: their remote may be set up wrongly.
_NEVER = 3


@click.command()
@data_option
@click.option("--project", metavar="NAME", help="Only of this project.")
@click.option(
    "--silent-for", "since", type=Moment(), metavar="AGE", help="Only machines whose last row is older: 2d, 12h."
)
@json_option
@click.pass_context
def senders(context: click.Context, data: str, project: str | None, since: int | None, as_json: bool) -> None:
    """List the machines that send rows, with the time of the last ones.

    Each line is a journal: a machine has one for each home and project that it records into. A machine with nothing
    to send is silent, too. With --silent-for, the exit code is 1 if any is silent, 3 if no machine has ever sent rows,
    and 4 if a journal cannot be read, as its machines are not in the list.
    """
    from localops.server import senders as all_senders

    keys = keys_of(data)
    listed, unreadable = _read_senders(keys.folder, project)
    known = len(listed)
    journals = [sender.journal for _, sender in listed]
    listed = [(name, sender) for name, sender in listed if since is None or sender.last_ns < since]
    if as_json:
        now = clock.now_ns()
        facts = [all_senders.facts(name, sender, now) for name, sender in listed]
        print_json({"hub": keys.hub, "senders": facts, "unreadable": sorted(unreadable)})
    elif listed:
        _print_senders(listed, all_senders.short_names(journals))
    elif known:
        others = " whose rows can be read" if unreadable else ""
        output.say(f"every machine{others} has sent rows since")
    elif not unreadable:
        output.say("no machine has sent rows yet")
    for name, error in unreadable.items():
        output.say(f"{name}: its journal cannot be read, so its machines are not in the list: {reason(error)}")
    if unreadable:
        context.exit(_UNREADABLE)
    if since is not None and (listed or not known):
        context.exit(1 if listed else _NEVER)


def _read_senders(folder: str, project: str | None) -> tuple[list[tuple[str, Sender]], dict[str, Exception]]:
    """Return the machines of each project, and the errors of journals that cannot be read."""
    from localops.server import senders as all_senders

    if mirrored.store_of(folder) is not None:
        # The cache alone may lack their newest rows.
        with store_of(folder) as store:
            names = [name for name in store.projects() if project in (None, name)]
            return [(name, sender) for name in names for sender in store.senders(name)], {}
    listed: list[tuple[str, Sender]] = []
    with homes.Home(folder, project, strict=False) as opened:
        unreadable: dict[str, Exception] = dict(opened.unreadable)
        for each in opened.projects:
            try:
                listed += [(each.name, sender) for sender in all_senders.of(each.reader)]
            except (JournalError, SQLiteError) as damage:
                unreadable[each.name] = damage
    return listed, unreadable


def _print_senders(listed: list[tuple[str, Sender]], short: dict[str, str]) -> None:
    now = clock.now_ns()
    lines = [
        (
            name,
            sender.host or "unknown",
            short[sender.journal],
            f"{output.ago(now - sender.last_ns)}{', silent' if sender.is_silent(now) else ''}",
            output.when(sender.last_ns)[:16],
            "unknown" if sender.newest_ns is None else output.when(sender.newest_ns)[:16],
            "unknown" if sender.lag_ns is None else output.short_duration(sender.lag_ns),
            output.count(sender.rows),
            sender.release or "unknown",
        )
        for name, sender in listed
    ]
    headers = ("project", "machine", "journal", "last rows", "at (UTC)", "newest event", "lag", "rows", "release")
    spare = ("newest event", "release")
    print_table(lines, headers, align="lllllllrl", soft=("machine", "project"), spare=spare)
