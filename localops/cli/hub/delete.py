"""`localops hub delete`: delete sessions for good."""

from __future__ import annotations

import os
from functools import partial

import click

from localops import config, output
from localops.cli.hub.common import data_option, folder_of, is_confirmed, keys_of, note, store_of
from localops.errors import LocalopsError, NotFound
from localops.journal.rows import id_text
from localops.journal.sql import statements
from localops.reading import home as homes
from localops.reading import indexes, mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from localops.server.home_store import HomeStore
    from localops.server.keys import Key
    from localops.upkeep.prune import Pruned

    T = TypeVar("T")

_NOT_NOTED = "the deletion could not be noted in {}: is the disk full?"


@click.command()
@click.argument("session", required=False)
@data_option
@click.option("--project", metavar="NAME", help="The project of SESSION.")
@click.option(
    "--as-in", "replaced", metavar="FOLDER", help="Delete every session that was deleted in that data folder."
)
@click.option("--all", "whole", is_flag=True, help="Delete every session of the project.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(session: str | None, data: str, project: str | None, replaced: str | None, whole: bool, yes: bool) -> None:
    """Delete a session for good, whether it has ended or not; with --all, every session of the project.

    Files that only its rows refer to are deleted as well. One row about it remains, so that the hub refuses it when
    it is sent again, and a line in deletions.jsonl of the data folder.

    --all leaves the project itself, with its keys and rules: sessions that begin later are stored, until you revoke the
    keys. Do not remove the folder of a project instead: the hub would store everything again when it is sent again.

    A restore brings back sessions that were deleted after the backup was made: --as-in deletes them again. Its FOLDER
    is the data folder that the backup has replaced, or only the deletions.jsonl in it.
    """
    if (session is not None) + (replaced is not None) + whole != 1:
        raise click.UsageError("give either a SESSION with its --project, --all with a --project, or --as-in")
    keys = keys_of(data)
    folder = keys.folder
    if replaced is not None:
        _delete_again(folder, folder_of(replaced), project, yes=yes)
    elif project is None:
        raise click.UsageError("missing --project: the project of the session" if session else "missing --project")
    elif session is not None:
        _delete_one(folder, project, session, yes=yes)
    elif _delete_all(folder, project, yes=yes):
        _print_keys([key for key in keys.all() if key.project == project and key.state == "good"], folder)


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
        if not _with_room(folder, project, partial(store.delete, project, id)):
            raise NotFound(f"session {id_text(id)} does not exist any more")
        if not noted and not _note(folder, project, [id]):
            output.say(_NOT_NOTED.format(os.path.join(folder, deletions.NAME)))
    note(folder, "session.delete", project=project, session=id_text(id))
    output.say(f"session {id_text(id)} is deleted")


def _delete_all(folder: str, project: str, *, yes: bool) -> bool:
    """Delete every session of a project; return whether that was confirmed."""
    from localops.upkeep.prune import Pruned

    with store_of(folder) as store:
        if project not in store.projects():
            raise NotFound(f"no project {project!r} on this hub; there is: {', '.join(store.projects()) or 'none yet'}")
        sessions, rows = store.sums(project)
        many = output.counted(sessions, "session")
        if not yes and not is_confirmed(f"Delete {many} ({output.counted(rows, 'row')}) of {project} for good?"):
            return False
        whole = Pruned()
        # Again, for sessions that got new rows before it was their turn.
        while (taken := _delete_parts(store, folder, project)).sessions or taken.changed:
            whole.sessions += taken.sessions
            whole.rows += taken.rows
            whole.blobs += taken.blobs
    note(folder, "project.delete", project=project, sessions=whole.sessions, rows=whole.rows, files=whole.blobs)
    these = f"{output.counted(whole.rows, 'row')} and {output.counted(whole.blobs, 'file')}"
    output.say(f"project {project}: {output.counted(whole.sessions, 'session')} with {these} deleted for good")
    return True


def _delete_parts(store: HomeStore, folder: str, project: str) -> Pruned:
    """Delete the sessions that a project has now, and return the sum of what was deleted."""
    from localops.server import deletions
    from localops.server.retention import BEGIN
    from localops.upkeep.prune import Pruned

    whole, place = Pruned(), BEGIN
    while True:
        part = store.every(project, place)
        # Noted first: after a crash, a restore has to know of every deleted session.
        noted = _note(folder, project, [choice.session for choice in part.going])
        taken = _with_room(folder, project, partial(store.retire, project, part.going, for_good=True))
        whole.sessions += taken.sessions
        whole.rows += taken.rows
        whole.blobs += taken.blobs
        whole.changed += taken.changed
        if not noted and not _note(folder, project, taken.removed):
            output.say(_NOT_NOTED.format(os.path.join(folder, deletions.NAME)))
        if taken.failed is not None:
            output.say(f"{output.counted(whole.sessions, 'session was', 'sessions were')} deleted before it failed")
            note(folder, "project.delete", project=project, sessions=whole.sessions, failed=taken.failed)
            raise LocalopsError(f"{project}: {taken.failed}")
        if part.following is None:
            return whole
        place = part.following


def _print_keys(valid: list[Key], folder: str) -> None:
    """Print which keys let machines send new sessions to a project that was emptied."""
    for each in valid:
        revoke = f"`localops hub key revoke {each.handle} --data {folder}` revokes it"
        output.say(f"key {each.handle} ({output.clean(each.note or 'unnamed')}) still works for new sessions: {revoke}")


def _with_room(folder: str, project: str, work: Callable[[], T]) -> T:
    """Delete something; if that fails, as on a full disk, delete the indexes to make room, and try again."""
    from localops.server.request import Unavailable

    try:
        return work()
    except Unavailable:
        indexes.forget(config.project_folder(folder, project))
        return work()


def _deleted(opened: homes.Home, session: str) -> bytes | None:
    """Return the deleted session whose id has this beginning, or None."""
    begin = session.lower().replace("-", "")
    deleted = (id for each in opened.projects for (id,) in each.reader.ask(statements("hub.sql")["deleted"]))
    return next((id for id in deleted if id.hex().startswith(begin)), None)


def _delete_again(folder: str, replaced: str, only: str | None, *, yes: bool) -> None:
    """Delete the sessions that were deleted in another data folder; those that are not here are refused later."""
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
            here += store.delete_for_good(name, sessions)
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
