"""Delete whole ended sessions from a journal, each with a row that says what was deleted.

A session that may still run is never deleted, nor rows that a remote of the project lacks, unless the caller names that
remote.  The row about the deletion is written in the same transaction, so that readers still know of the session.  The
caller chooses the sessions.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field

from localops import clock, output
from localops.encoding import encode
from localops.errors import ConfigError
from localops.journal import blobs, rows
from localops.journal.journal_file import INSERT
from localops.journal.reader import SQLiteError, lacks_room, user_message
from localops.journal.sql import statements
from localops.journal.stored import named
from localops.reading import analytics, indexes, session_state
from localops.reading.home import REMOTES
from localops.reading.snapshot import Snapshot
from localops.transfer import bundle, doubts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

    from localops.journal.journal import Journal
    from localops.journal.reader import Reader

_PACKED_ANYWAY = 256 << 20  # the most bytes of a file that is packed while others record, as that is fast
_SIDES = ("", "-wal")
_PAGE = 1_000  # rows
_LAST = (1 << 63) - 1  # seq


@dataclass(frozen=True)
class Choice:
    """A session, and the reason why it must stay, if any."""

    session: bytes
    name: str | None
    state: str
    first_ns: int
    last_ns: int
    last_seq: int
    rows: int
    weight: int  # its approximate size, to compare sessions of one journal
    delivered: list[str]
    stays: str | None


@dataclass
class Pruned:
    """The result of a prune."""

    sessions: int = 0
    rows: int = 0
    blobs: int = 0
    young: int = 0  # blobs that no row refers to, left for the next prune
    changed: list[bytes] = field(default_factory=list)  # sessions with new rows since they were chosen, which stay
    removed: list[bytes] = field(default_factory=list)  # the sessions
    freed: int = 0  # freed bytes of the file system
    packed: bool = True  # False while others record into a file that takes long to pack
    failed: str | None = None  # why it ended early, such as a full disk


@dataclass(frozen=True)
class Gone:
    """The rows that a removed remote lacked."""

    ranges: list[tuple[int, int]]
    doubt: str | None  # why its receipts were doubted


def remotes(folder: str) -> dict[str, bool]:
    """Return a project's remotes, each with whether it gets content; raise ConfigError when its file is invalid."""
    path = os.path.join(folder, REMOTES)
    try:
        with open(path, "rb") as file:
            document = encode.loads(file.read())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read, so it is not known what was sent: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"invalid {path}: expected remotes by name, so it is not known what was sent")
    return {
        name: not (isinstance(fields, dict) and fields.get("metadata_only"))
        for name, fields in sorted(document.items())
    }


def removed(reader: Reader, known: Collection[str]) -> dict[str, Gone]:
    """Return the removed remotes, each with the seqs that it lacked and that no other remote has.

    A remote whose settings are lost lacks everything that was not delivered to it, later rows included.  One whose
    receipts were doubted lacks everything.
    """
    doubted = {name: encode.loads(body)["why"] for name, body in reader.ask(_sql("doubted")) if name not in known}
    lacked: dict[str, Gone] = {}
    for name, record in reader.ask(_sql("removed")):
        if name not in known and (record is not None or name not in lacked):
            lacked[name] = Gone([(0, _LAST)], doubted.get(name)) if record is None else Gone(*doubts.removed(record))
    delivered = reader.ask(_sql("delivered")) if lacked else []
    held = [(first, last) for name, first, last in delivered if name not in doubted]
    here = {
        name: [
            (first, last)
            for first, last in bundle.difference(gone.ranges, held)
            if reader.ask(_sql("any_row"), {"first": first, "last": last})
        ]
        for name, gone in lacked.items()
    }
    return {name: Gone(ranges, lacked[name].doubt) for name, ranges in here.items() if ranges}


def deleted_on(reader: Reader) -> dict[str, frozenset[bytes]]:
    """Return the sessions that a person has deleted on remotes, removed remotes included."""
    return {name: doubts.deleted(body) for name, body in reader.ask(_sql("deleted"))}


def look(reader: Reader, folder: str, session: bytes, *, unsent: Collection[str] = (), unknown: bool = False) -> Choice:
    """Return a session, with the reason why it must stay, if any.

    `unsent` names the remotes that need not have it.  `unknown`: it may be deleted without an end if it was recorded on
    a machine that cannot be seen from here.
    """
    seen = Snapshot(reader, folder, session)
    standing, figures = seen.standing, seen.totals
    known = remotes(folder)
    missing = {remote: reader.ask(_sql("missing"), {"session": session, "remote": remote})[0][0] for remote in known}
    state = "" if unknown and standing.state == "Unknown" else standing.state
    stays = _reason(state, {name: count for name, count in missing.items() if name not in unsent})
    stays = stays or _sent_nowhere(reader, session, {*known, *unsent})
    if not any(known[name] and not count for name, count in missing.items()):
        stays = stays or _deleted_there(reader, session, {*known, *unsent})
    figures_only = [name for name, content in known.items() if not content and name not in unsent]
    if stays is None and figures_only and not any(known[name] and not count for name, count in missing.items()):
        stays = _only_here(reader, session, figures_only)
    return Choice(
        session=session,
        name=seen.story.name,
        state=standing.state,
        first_ns=figures.first_ns,
        last_ns=figures.last_ns,
        last_seq=figures.last_seq,
        rows=figures.rows,
        weight=reader.ask(_sql("weight"), {"session": session})[0][0],
        delivered=[name for name, count in missing.items() if not count],
        stays=stays,
    )


def _reason(state: str, missing: dict[str, int]) -> str | None:
    if state == "Running":
        return "it is running"
    if state == "Unknown":
        return "it may still run on a machine that cannot be seen from here: see --include-unknown"
    behind = [f"{name} lacks {count} of its rows" for name, count in missing.items() if count]
    return "; ".join(behind) or None


def _sent_nowhere(reader: Reader, session: bytes, known: Collection[str]) -> str | None:
    """Return the reason to keep a session with rows that a remote lacked when it was removed, if it has any."""
    for name, gone in removed(reader, known).items():
        bounds = {"session": session, "ranges": encode.dumps(gone.ranges).decode()}
        if count := reader.ask(_sql("sent_nowhere"), bounds)[0][0]:
            these = output.counted(count, "of its rows was", "of its rows were")
            why = f"{these} not sent anywhere before remote {name} was removed"
            if gone.doubt is not None:
                why = f"before remote {name} was removed, {gone.doubt}, and no other remote has all of its rows"
            return f"{why}: --include-unsent {name} removes it"
    return None


def _deleted_there(reader: Reader, session: bytes, known: Collection[str]) -> str | None:
    """Return the reason to keep a session that was deleted on a remote before that remote was removed."""
    for name, sessions in deleted_on(reader).items():
        if name not in known and session in sessions:
            return f"it was deleted on {name} before that remote was removed: --include-unsent {name} removes it"
    return None


def _only_here(reader: Reader, session: bytes, remotes: list[str]) -> str | None:
    """Return the reason to keep a session whose content no remote has, if it has any."""
    after = 0
    while page := named(reader.all("events", session=session, after=after, many=_PAGE)):
        if any(map(bundle.has_content, page)):
            return f"its content is only here: {', '.join(remotes)} is metadata only"
        after = page[-1].seq
    return None


def take(journal: Journal, choices: Iterable[Choice], *, for_good: bool = False) -> Pruned:
    """Delete the chosen sessions, each in its own transaction, and free the space.

    Delete blobs that no row refers to any more, too.  Those touched within the last hour stay, as they may belong to a
    row that is being written, unless `for_good` is set and the deleted rows referred to them.  `for_good` means that a
    person wants the sessions gone everywhere, not just that they are old; the row about the deletion states which.
    """
    taken = Pruned()
    before = _size(journal)
    files: set[str] = set()
    for choice in choices:
        if choice.stays is None:
            try:
                files.update(_take_with_little_room(journal, choice, taken, for_good=for_good))
            except SQLiteError as error:
                # The disk is full, but a smaller session may still fit.
                taken.failed = user_message(error)
                if not lacks_room(error):
                    break
    if taken.sessions:
        # The indexes hold words and calls of the deleted sessions.
        indexes.forget(journal.folder)
    # After all sessions, as several of them may name the same blob.
    taken.blobs, taken.young = sweep_blobs(journal, anyway=files if for_good else ())
    taken.packed = can_pack(journal, before)
    if taken.sessions and taken.packed:
        _pack(journal, taken)
    taken.freed = before - _size(journal)
    return taken


def _pack(journal: Journal, taken: Pruned) -> None:
    """Return the freed pages to the file system; if the disk has no room for a packed copy, new rows reuse them."""
    try:
        # The packed copy is written through the WAL: on a full disk, the WAL's own space may be the only room.
        journal.empty_wal()
        journal.compact()
    except SQLiteError as error:
        taken.packed = False
        taken.failed = taken.failed or f"the file could not be packed: {user_message(error)}"
        with suppress(SQLiteError):
            journal.empty_wal()


def _take_with_little_room(journal: Journal, choice: Choice, taken: Pruned, *, for_good: bool) -> list[str]:
    """Delete a session; if that fails on a full disk, free the space of the WAL and the indexes, and try again."""
    try:
        return _take_one(journal, choice, taken, for_good=for_good)
    except SQLiteError as error:
        if not lacks_room(error):
            raise
        indexes.forget(journal.folder)
        with suppress(SQLiteError):
            journal.empty_wal()
    return _take_one(journal, choice, taken, for_good=for_good)


def _take_one(journal: Journal, choice: Choice, taken: Pruned, *, for_good: bool) -> list[str]:
    """Write the row about the deletion and delete the rest, unless the session has new rows.

    Return the blobs that its rows referred to.
    """
    done = False
    files: list[str] = []

    def work(execute: Callable[..., Any]) -> None:
        nonlocal done, files
        record = execute("select key, last_seq, rows from total where session = ?", (choice.session,)).fetchone()
        if record is None:
            return
        # Different totals: the session got rows after it was chosen.
        key, *now = record
        if now != [choice.last_seq, choice.rows]:
            return
        files = blobs.named(_text(body) for (body,) in execute(_sql("naming_blobs"), {"key": key}))
        at_ns = clock.now_ns()
        execute(INSERT, _pruned_row(execute, choice, key, at_ns, for_good=for_good))
        # A machine that still has the session may send it again, which must not bring it back.
        execute("insert or ignore into gone values(?, ?)", (choice.session, at_ns))
        for name, statement in statements("prune.sql").items():
            if name.startswith("delete_"):
                execute(statement, {"key": key, "session": choice.session})
        done = True

    journal.transact(work, full=True)
    if done:
        taken.sessions += 1
        taken.rows += choice.rows
        taken.removed.append(choice.session)
    else:
        taken.changed.append(choice.session)
    return files


def _text(body: bytes) -> str:
    return body.decode(errors="replace")  # a flipped bit must not keep a session


def _pruned_row(execute: Callable[..., Any], choice: Choice, key: int, at_ns: int, *, for_good: bool) -> rows.Row:
    figures = dict(zip(analytics.Totals._fields, execute(_sql("totals"), {"key": key}).fetchone(), strict=True))
    facts = {
        "rows": choice.rows,
        "digest": bundle.digest(execute(_sql("identities"), {"key": key})),
        "state": choice.state,
        "totals": figures,
        "delivered": choice.delivered,
        "by": "delete" if for_good else "prune",
    }
    body = encode.dumps(facts).decode()
    return rows.make(
        "pruned",
        rows.NO_SESSION,
        id=clock.new_id(at_ns),
        at_ns=at_ns,
        name=choice.name,
        parent=choice.session,
        body=body,
    )


def sweep_blobs(
    journal: Journal, *, anyway: Collection[str] = (), among: Collection[str] | None = None
) -> tuple[int, int]:
    """Delete the blobs that no row names; return how many, and how many were too young and not in `anyway`.

    With `among`, only of these.  Unfinished blobs of killed processes are deleted, too.
    """
    abandoned, written = blobs.drop_abandoned(journal.folder) if among is None else (0, 0)
    unused = blobs.digests(journal.folder)
    if among is not None:
        unused &= set(among)
    if not unused:
        return abandoned, written
    removed = 0

    def work(execute: Callable[..., Any]) -> None:
        nonlocal removed
        for (body,) in execute(_sql("bodies_with_blobs")):
            unused.difference_update([digest for digest in unused if digest in body])
        for digest in unused:
            if digest in anyway or blobs.is_spare(journal.folder, digest):
                blobs.drop(journal.folder, digest)
                removed += 1

    # In a transaction, so that no row that names one of these blobs is written at the same time.
    journal.transact(work)
    blobs.finish_drops(journal.folder)
    return removed + abandoned, len(unused) - removed + written


def can_pack(journal: Journal, size: int | None = None) -> bool:
    """Return whether to pack a journal of this size now: it is small, or no program records into it."""
    return (_size(journal) if size is None else size) <= _PACKED_ANYWAY or not _recorded_into(journal)


def _recorded_into(journal: Journal) -> bool:
    # Only sessions whose processes are known to be dead do not count: programs may record into any other.
    return any(
        session_state.standing(journal, journal.folder, session).state in ("Running", "Unknown")
        for (session,) in journal.all("open_sessions", many=1_000)
    )


def _size(journal: Journal) -> int:
    return sum(os.path.getsize(journal.path + side) for side in _SIDES if os.path.exists(journal.path + side))


def _sql(name: str) -> str:
    return statements("prune.sql")[name]
