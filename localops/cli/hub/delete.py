"""`localops hub delete`: delete sessions for good."""

from __future__ import annotations

import os

import click

from localops import output
from localops.cli.hub.common import data_option, folder_of, is_confirmed, keys_of, note, store_of
from localops.errors import NotFound
from localops.journal.rows import id_text
from localops.journal.sql import statements
from localops.reading import home as homes
from localops.reading import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command()
@click.argument("session", required=False)
@data_option
@click.option("--project", metavar="NAME", help="The project of SESSION.")
@click.option(
    "--as-in", "replaced", metavar="FOLDER", help="Delete every session that was deleted in that data folder."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(session: str | None, data: str, project: str | None, replaced: str | None, yes: bool) -> None:
    """Delete a session for good, whether it has ended or not.

    Files that only its rows refer to are deleted as well. One row about it remains, so that the hub refuses it when
    it is sent again, and a line in deletions.jsonl of the data folder.

    A restore brings back sessions that were deleted after the backup was made: --as-in deletes them again. Its FOLDER
    is the data folder that the backup has replaced, or only the deletions.jsonl in it.
    """
    if (session is None) == (replaced is None):
        raise click.UsageError("give either a SESSION with its --project, or --as-in")
    folder = keys_of(data).folder
    if replaced is not None:
        _delete_again(folder, folder_of(replaced), project, yes=yes)
    elif session is not None and project is not None:
        _delete_one(folder, project, session, yes=yes)
    else:
        raise click.UsageError("missing --project: the project of the session")


def _delete_one(folder: str, project: str, session: str, *, yes: bool) -> None:
    from localops.server import deletions

    if mirrored.store_of(folder) is not None:
        # If the cache was lost, this rebuilds it, so that the session can be looked up.
        with store_of(folder) as store:
            if project in store.projects():
                store.sums(project)
    with homes.Home(folder, project) as opened:
        try:
            where, id = opened.find(session)
        except NotFound as error:
            if (gone := _deleted(opened, session)) is not None:
                raise NotFound(f"session {id_text(gone)} is already deleted") from error
            raise
        name = where.name_of(id) or "unnamed"
    if not yes and not is_confirmed(f"Delete session {id_text(id)} ({output.clean(name)}) for good?"):
        return
    with store_of(folder) as store:
        # Noted first: after a crash, a restore has to know of every deleted session.
        noted = _note(folder, project, [id])
        if not store.delete(project, id):
            raise NotFound(f"session {id_text(id)} does not exist any more")
        if not noted and not _note(folder, project, [id]):
            output.say(f"the deletion could not be noted in {os.path.join(folder, deletions.NAME)}: is the disk full?")
    note(folder, "session.delete", project=project, session=id_text(id))
    output.say(f"session {id_text(id)} is deleted")


def _deleted(opened: homes.Home, session: str) -> bytes | None:
    """Return the deleted session whose id has this beginning, or None."""
    begin = session.lower().replace("-", "")
    deleted = (id for each in opened.projects for (id,) in each.reader.ask(statements("hub.sql")["deleted"]))
    return next((id for id in deleted if id.hex().startswith(begin)), None)


def _delete_again(folder: str, replaced: str, only: str | None, *, yes: bool) -> None:
    """Delete the sessions that were deleted in another data folder, even those that machines may yet send again."""
    from localops.server import deletions

    deleted, problems = deletions.of(replaced)
    for problem in problems:
        output.say(problem)
    chosen = {name: sessions for name, sessions in deleted.items() if only in (None, name)}
    many = output.counted(sum(map(len, chosen.values())), "session was", "sessions were")
    nothing = f"no session was deleted in {replaced}"
    if not chosen:
        output.say(f"no session is known to have been deleted in {replaced}" if problems else nothing)
        # The part that could not be read may name some.
        if problems:
            raise click.exceptions.Exit(1)
        return
    if not yes and not is_confirmed(f"{many} deleted in {replaced}: delete them here as well, for good?"):
        return
    here = 0
    with store_of(folder) as store:
        for name, sessions in sorted(chosen.items()):
            _note(folder, name, sessions)
            here += store.bury(name, sessions)
            note(folder, "session.delete", project=name, sessions=len(sessions), as_in=replaced)
    output.say(f"{many} deleted in {replaced}: {output.counted(here, 'of them was', 'of them were')} here again")


def _note(folder: str, project: str, sessions: Sequence[bytes]) -> bool:
    """Note deletions; return False if that fails: deleting must work on a full disk, too."""
    from localops.server import deletions

    try:
        deletions.note(folder, project, sessions)
    except OSError:
        return False
    return True
