"""`localops prune`: remove whole sessions, and keep one row for each."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import NamedTuple

import click

from localops import output
from localops.cli.common import (
    Moment,
    Size,
    State,
    json_option,
    look,
    place_options,
    print_json,
    print_table,
    short_id,
)
from localops.errors import JournalError, NotFound
from localops.journal import blobs
from localops.journal.journal import Journal
from localops.journal.reader import SQLiteError
from localops.journal.rows import id_text
from localops.reading import session_state
from localops.reading.home import Filters, known, sent_nowhere
from localops.transfer.delivery import Ledger
from localops.upkeep import prune as pruning
from localops.upkeep.deep_checks import leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

    from localops.reading.home import Home, Project
    from localops.transfer.doubts import Doubt
    from localops.upkeep.prune import Choice, Pruned

    Choices = list[tuple[Project, Choice]]

_WORKER = "localops_sync"
_UNWRITABLE = (JournalError, SQLiteError, OSError)
_STATES = ("Success", "Failure", "Indeterminate")


class _NotAsked(NamedTuple):
    """A hub that could not be reached: it may lack rows of its receipts."""

    project: str
    remote: str
    reason: str


@click.command()
@click.option("--older-than", type=Moment(), metavar="AGE", help="Sessions that ended before that: 30d, 12h, a day.")
@click.option(
    "--keep-size",
    type=Size(),
    metavar="SIZE",
    help="Remove the oldest sessions until each journal is at most this large: 1GB.",
)
@click.option(
    "--state",
    type=State(_STATES),
    help="Only sessions in this state.",
)
@click.option("--session", "idents", multiple=True, metavar="ID", help="This session; can be repeated.")
@click.option(
    "--include-unsent",
    "unsent",
    multiple=True,
    metavar="REMOTE",
    help="Also remove sessions that REMOTE does not have.",
)
@click.option(
    "--include-unknown",
    "unknown",
    is_flag=True,
    help="With --older-than, also sessions without an end whose machine cannot be seen from here: on a hub.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@place_options
@json_option
def prune(
    older_than: int | None,
    keep_size: int | None,
    state: str | None,
    idents: tuple[str, ...],
    unsent: tuple[str, ...],
    unknown: bool,
    dry_run: bool,
    yes: bool,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Remove whole ended sessions, and keep one row about each.

    Running sessions are kept, and so are those that a remote of the project does not have yet, unless
    --include-unsent names that remote. A remote that you removed still protects the rows that it lacked. A hub is
    asked whether it still has every row and file of these sessions, as with `localops sync --verify`: what it lacks
    is kept, and if it refuses to answer or is another hub, everything is kept. Rows that the hub lacks are marked as
    unsent, even with --dry-run. If a hub cannot be reached, its receipts are trusted, and a message says that, unless
    rows were missing there at the last check. Blobs that no row refers to are removed, too, and disk space is freed.
    """
    if older_than is None and keep_size is None and state is None and not idents:
        raise click.UsageError("choose what to remove: --older-than, --keep-size, --state or --session")
    if unknown and older_than is None:
        raise click.UsageError("--include-unknown needs --older-than: a younger session may still run")
    with look(home, project) as opened:
        projects = list(opened.projects)
        _check_remotes(opened, unsent)
        local = [] if idents or project is not None else sent_nowhere(opened.folder, known(opened.folder))[0]
        choices = _keep_local(list(_choices(opened, idents, state, older_than, unsent, unknown=unknown)), local)
        # Before hubs are contacted, so that they compare only these sessions.
        if keep_size is not None:
            choices = _oldest(choices, keep_size)
        choices, not_asked = _keep_unproven(choices, unsent, dry_run=dry_run)
    going = [(where, choice) for where, choice in choices if choice.stays is None]
    if not as_json:
        _show(choices, dry_run=dry_run)
    for each in not_asked:
        output.say(f"{each.project} → {each.remote}: {each.reason}; not checked whether it still has these rows")
    removed: dict[str, Pruned] = {}
    if not dry_run and (yes or (going and _is_confirmed(len(going)))):
        removed = _remove(going, projects)
        _note_on_hub(opened.folder, removed)
    if as_json:
        print_json(_facts(choices, removed, not_asked, dry_run=dry_run))
    elif not dry_run:
        _print_removed(removed, nothing=bool(choices) and not removed)
    _end(removed)


def _note_on_hub(folder: str, removed: dict[str, Pruned]) -> None:
    """Append a line to the audit log, if the home is that of a hub."""
    if not os.path.exists(os.path.join(folder, session_state.HUB)):
        return
    from localops.server.audit import Audit, named

    for name, result in removed.items():
        if result.sessions:
            many, rows = result.sessions, result.rows
            Audit(folder).note("session.prune", project=name, sessions=many, rows=rows, ids=named(result.removed))


def _print_removed(removed: dict[str, Pruned], *, nothing: bool) -> None:
    if nothing:
        print("Nothing was removed.")
    for name, result in removed.items():
        _report(name, result)


def _end(removed: dict[str, Pruned]) -> None:
    """Exit with 1 if the removal ended early, such as on a full disk."""
    failed = {name: result.failed for name, result in removed.items() if result.failed is not None}
    for name, why in failed.items():
        output.say(f"{name}: {why}")
    if failed:
        raise click.exceptions.Exit(1)


def _check_remotes(opened: Home, unsent: tuple[str, ...]) -> None:
    """Refuse an unknown remote, which may be a misspelt name."""
    known = {
        name
        for each in opened.projects
        for names in (
            pruning.remotes(each.folder),
            pruning.removed(each.reader, ()),
            pruning.deleted_on(each.reader),
        )
        for name in names
    }
    if unknown := sorted({*unsent} - known):
        raise NotFound(f"unknown remote {unknown[0]!r}: `localops remote list` shows those of the project")


def _choices(
    opened: Home,
    idents: tuple[str, ...],
    state: str | None,
    older_than: int | None,
    unsent: tuple[str, ...],
    *,
    unknown: bool,
) -> Iterator[tuple[Project, Choice]]:
    """Return the chosen sessions, each with the reason to keep it, if any."""
    if idents:
        named = [opened.find(ident) for ident in dict.fromkeys(idents)]
    else:
        named = [(listed.project, listed.session) for listed in opened.sessions(Filters(state=state))]
    for where, session in named:
        choice = pruning.look(where.reader, where.folder, session, unsent=unsent, unknown=unknown)
        if (state is None or choice.state == state) and (older_than is None or choice.last_ns < older_than):
            yield where, choice


def _keep_local(choices: Choices, local: list[str]) -> Choices:
    """Keep sessions of projects without a remote if other projects have one, unless the user named them."""
    why = "its project has no remote, but others have one: choose it with --project"
    return [
        (where, replace(choice, stays=choice.stays or (why if where.name in local else None)))
        for where, choice in choices
    ]


def _keep_unproven(choices: Choices, unsent: tuple[str, ...], *, dry_run: bool) -> tuple[Choices, list[_NotAsked]]:
    """Keep sessions if a hub no longer has all rows and files of its receipts.

    Return the choices, and the hubs that could not be reached: their receipts are trusted, unless an earlier prune saw
    that they lack something.
    """
    reasons: dict[tuple[Project, bytes], str] = {}
    not_asked: list[_NotAsked] = []
    going = [(where, choice) for where, choice in choices if choice.stays is None]
    for where in dict.fromkeys(where for where, _ in going):
        mine = [choice for each, choice in going if each is where]
        for name in sorted({name for choice in mine for name in choice.delivered}.difference(unsent)):
            sessions = [(choice.session, choice.rows) for choice in mine if name in choice.delivered]
            # Imported by name, like its commands: the library does not depend on the worker.
            worker = import_module(f"{_WORKER}.standing")
            standing = worker.ask(where.folder, where.reader, name, sessions)
            ledger = Ledger(where.reader, where.folder, name)
            doubt, deleted = ledger.doubt(), ledger.deleted()
            if standing.unreached is not None and doubt is None:
                not_asked.append(_NotAsked(where.name, name, standing.unreached))
            with suppress(*(_UNWRITABLE if dry_run else ())):
                worker.keep(where.folder, where.reader, name, standing)
            against = _reasons(name, standing, sessions, doubt, deleted)
            reasons |= {(where, session): why for session, why in against.items()}
    kept = [
        (where, replace(choice, stays=choice.stays or reasons.get((where, choice.session))))
        for where, choice in choices
    ]
    return kept, not_asked


def _reasons(
    name: str, standing: Any, sessions: list[tuple[bytes, int]], doubt: Doubt | None, deleted: Collection[bytes]
) -> dict[bytes, str]:
    """Return the reasons to keep some of the sessions that a hub signed for."""
    if standing.unreached is not None and doubt is not None:
        why = f"{name} does not answer, and when a prune asked it last, {doubt.why}: run `localops sync` first"
        return {session: why for session, _ in sessions}
    if standing.unreached is not None:
        return {session: _deleted(name) for session, _ in sessions if session in deleted}
    if standing.refused is not None:
        why = f"{name} did not answer whether it still has the session: {standing.refused}"
        return {session: why for session, _ in sessions}
    if standing.set_back:
        why = f"{name} was restored or repaired: run `localops sync --verify` first"
        return {session: why for session, _ in sessions}
    return {session: _reason(name, lacks) for session, lacks in standing.differs.items()}


def _reason(name: str, lacks: Any) -> str:
    if lacks.early:
        return f"{name} pruned the session before it had all rows: --include-unsent {name} removes it here as well"
    if lacks.deleted:
        return _deleted(name)
    parts = [output.counted(many, what) for many, what in ((lacks.rows, "row"), (lacks.files, "file")) if many]
    return f"{name} lacks {' and '.join(parts)} of it: the next `localops sync` sends that again"


def _deleted(name: str) -> str:
    return f"it was deleted on {name}: --include-unsent {name} removes it here as well"


def _oldest(choices: Choices, keep: int) -> Choices:
    """Return the oldest sessions of each journal whose removal makes the rest fit."""
    chosen: Choices = []
    for where in dict.fromkeys(where for where, _ in choices):
        mine = sorted((choice for each, choice in choices if each is where), key=lambda choice: choice.last_ns)
        size = os.path.getsize(where.path)
        # A row takes more bytes of the file than its own, for indexes and free space: estimate by the average.
        per_weight = size / max(1, sum(choice.weight for choice in mine))
        for choice in mine:
            if size <= keep:
                break
            # A session that is kept is listed with its reason, but frees no space.
            chosen.append((where, choice))
            if choice.stays is None:
                size -= round(choice.weight * per_weight)
    return chosen


def _is_confirmed(many: int) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("cannot ask for confirmation without a terminal: use --yes, or --dry-run to only show")
    return click.confirm(f"Remove {_sessions(many)} for good?", err=True)


def _sessions(many: int) -> str:
    return output.counted(many, "session")


def _remove(going: Choices, projects: list[Project]) -> dict[str, Pruned]:
    """Remove the sessions; of every project, also the blobs that no row refers to."""
    removed = {}
    for where in projects:
        mine = [choice for each, choice in going if each is where]
        if not (mine or any(blobs.stored(where.folder)) or blobs.unfinished(where.folder)):
            continue
        # Leftovers are whole copies of the journal, which contain the removed rows.
        for left in leftovers(where.folder) if mine else ():
            shutil.rmtree(left, ignore_errors=True)
        journal = Journal(where.folder, gather=True)
        try:
            result = pruning.take(journal, mine)
        finally:
            journal.close()
        if mine or result.blobs or result.young:
            removed[where.name] = result
    return removed


def _show(choices: Choices, *, dry_run: bool) -> None:
    if not choices:
        print("There is nothing to remove.")
        return
    lines = [
        (
            short_id(choice.session),
            where.name,
            choice.name,
            choice.state,
            output.when(choice.last_ns)[:16],
            output.count(choice.rows),
            f"kept: {choice.stays}" if choice.stays else "would be removed" if dry_run else "to be removed",
        )
        for where, choice in choices
    ]
    headers = ("id", "project", "name", "state", "last row (UTC)", "rows", "then")
    print_table(lines, headers, align="lllllrl", soft=("name", "then"), spare=("project", "rows", "state"))


def _report(name: str, result: Pruned) -> None:
    gone = f"{output.counted(result.rows, 'row')} and {output.counted(result.blobs, 'blob')} removed"
    free = output.counted(max(0, result.freed), "byte")
    print(f"{name}: {_sessions(result.sessions)}, {gone}; {free} freed.")
    if result.sessions and not result.packed and result.failed is not None:
        print("New rows will reuse the space: the disk has no room to pack the file.")
    elif result.sessions and not result.packed:
        print("New rows will reuse the space: the file cannot shrink while a program records into it.")
    if result.young:
        them = "it" if result.young == 1 else "them"
        which = output.counted(result.young, "blob that no row refers to is", "blobs that no row refers to are")
        print(f"{which} less than an hour old and may belong to a row being written: the next prune removes {them}.")
    if result.changed:
        print(f"{_sessions(len(result.changed))} got new rows meanwhile, and are kept.")


def _facts(
    choices: Choices, removed: dict[str, Pruned], not_asked: list[_NotAsked], *, dry_run: bool
) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "not_asked": [each._asdict() for each in not_asked],
        "sessions": [
            {
                "session_id": id_text(choice.session),
                "project": where.name,
                "name": choice.name,
                "state": choice.state,
                "rows": choice.rows,
                "delivered": choice.delivered,
                "stays": choice.stays,
            }
            for where, choice in choices
        ],
        "taken": {
            name: {
                "sessions": result.sessions,
                "rows": result.rows,
                "blobs": result.blobs,
                "young_blobs": result.young,
                "bytes": result.freed,
                "failed": result.failed,
                "changed": [id_text(session) for session in result.changed],
            }
            for name, result in removed.items()
        },
    }
