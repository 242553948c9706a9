"""Derive the state of a session from its `end` rows, or without these from whether its processes are alive.

The first writer that finds a session dead writes a row for the derived end.  The row's id is derived from the session
and the time of its last row, so two writers at the same time write the same row.
"""

from __future__ import annotations

import os
from collections import namedtuple

from localops import host
from localops.careful import attribute, is_a
from localops.encoding.lazy import lazy
from localops.journal import participants, rows
from localops.reading.story import Story, milestone, unpacked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NamedTuple

    from localops.journal.journal import Journal
    from localops.journal.stored import Source, Stored, Unfinished

    class Standing(NamedTuple):
        """The state of a session."""

        state: str
        reason: str | None
        ended_ns: int | None
        derived: bool
else:
    Standing = namedtuple("Standing", "state reason ended_ns derived")

Standing.__doc__ = "The state of a session (Success, Failure, Indeterminate, Running or Unknown), why, and since when."

# A home with this file belongs to a hub, which cannot check whether processes on other machines are alive.
HUB = "hub.json"
# The most open sessions that a writer checks; there are rarely ten.
_MANY = 1_000
# The most rows after the mark to check one by one; if there are more, all are folded.
_FEW_ROWS = 1_000
# The last rows of a session to search for the reason of its end.
_FEW = 20
_NEVER = (1 << 63) - 1
_SESSION = rows.COLUMNS.index("session")
LEFT_OPEN = "process exited without end_session"
MAYBE_LOST = "no end is recorded, but rows that say how it ended may be lost"
DIED = "process died"  # how the other reasons of a derived end begin


def last_row_ns(source: Source, session: bytes) -> int | None:
    """Return the time of a session's last row; None without rows."""
    at_ns: int | None
    [at_ns] = source.one("last_ns", session=session) or (None,)
    return at_ns


def standing(source: Source, folder: str, session: bytes) -> Standing:
    """Return the current state of a session, for a reader in the home that recorded it."""
    last_ns = last_row_ns(source, session) or 0
    return judge(source, folder, session, Story.read(source, session), last_ns=last_ns)


def judge(source: Source, folder: str, session: bytes, story: Story, *, last_ns: int) -> Standing:
    """Return the state of a session, from its story and the time of its last row."""
    if (end := story.end) is not None:
        return _ended(end.name, end.at_ns, end.implied, end.text)
    # The rows of a hub come from other machines, whose locks the hub cannot check.
    is_here = not is_of_hub(folder)
    seen = {id: participants.is_alive(folder, card) for id, card in story.present().items()} if is_here else {}
    if any(seen.values()):
        return Standing("Running", None, None, False)
    # A process from before the last resume may have run elsewhere, as before a move; the newer ones decide.
    newest = [is_alive for id, is_alive in seen.items() if id in story.newest] or list(seen.values())
    # Without milestones, the beginning of the session is lost, so its participants are unknown.
    if None in newest or not (is_here and story.milestones):
        return Standing("Unknown", f"last heard of at {_clock(last_ns)}", None, False)
    # After the story was read, a program may have ended the session and exited.
    if (ended := declared(source, session)) is not None:
        return ended
    if not story.present() and (left := story.last_exit) is not None:
        # The last process of a daemon left with a code or an error: so the program ended.
        return Standing(left["state"], left["reason"], last_ns, True)
    dead = _Dead(source, session, story, last_ns)
    return Standing("Indeterminate", next(filter(None, (rule(dead) for rule in _RULES))), last_ns, True)


class _Dead:
    """A session without live processes and without an end; each fact for the rules below is read at its first use."""

    def __init__(self, source: Source, session: bytes, story: Story, last_ns: int) -> None:
        self.source, self.session, self.story, self.last_ns = source, session, story, last_ns

    @lazy
    def since_ns(self) -> int:
        """Return when the session was last resumed; 0 if it was not."""
        return max((one.at_ns for one in self.story.resumes), default=0)

    @lazy
    def open_operations(self) -> list[Unfinished]:
        """Return the operations without an end, oldest first, since the session was last resumed."""
        # Imported late, as only sessions without an end need it.
        from localops.journal.stored import unfinished

        return [one for one in unfinished(self.source, self.session) if one.at_ns >= self.since_ns]

    @lazy
    def newest(self) -> list[Stored]:
        """Return its last rows that are not bookkeeping, newest first, since the session was last resumed."""
        from localops.journal.stored import named

        newest = named(self.source.all("newest_rows_of", session=self.session, upto=_NEVER, many=_FEW))
        return [row for row in newest if row.kind not in rows.BOOKS and row.at_ns >= self.since_ns]


def _left_open(dead: _Dead) -> str | None:
    """Return a reason if all its processes recorded their exit; with lost rows, not all of them may be known."""
    if dead.story.present():
        return None
    return MAYBE_LOST if dead.story.damaged > 0 or dead.story.left else LEFT_OPEN


def _died_inside(dead: _Dead) -> str | None:
    """Return a reason with the newest operation without an end."""
    if not dead.open_operations:
        return None
    last = dead.open_operations[-1]
    since = f", {(dead.last_ns - last.at_ns) / 1e9:.1f} s in" if dead.last_ns - last.at_ns >= 50_000_000 else ""
    return f"{DIED} inside {last.kind} {last.name!r}{since}"


def _died_after_an_error(dead: _Dead) -> str | None:
    """Return a reason with the error that it recorded last, as before `os._exit(1)`."""
    is_error = bool(dead.newest) and dead.newest[0].kind == "error"
    return f"{DIED} after {dead.newest[0].name}" if is_error and dead.newest[0].name else None


def _died(_: _Dead) -> str:
    return DIED


# The rules for why a session without a recorded end is over: the first reason is used.
_RULES: tuple[Callable[[_Dead], str | None], ...] = (_left_open, _died_inside, _died_after_an_error, _died)


def died(standing: Standing, story: Story) -> bool:
    """Return whether a session has ended because its processes died; one that was imported has no processes."""
    return standing.derived and (bool(story.present()) or (standing.reason or "").startswith(DIED))


def died_before_a_resume(story: Story, joined_ns: int) -> bool:
    """Return whether a process that joined at a time had died before a resume, according to the end of its run."""
    ends = [one.at_ns for one in story.of_kind("end") if one.implied and str(one.body.get("reason")).startswith(DIED)]
    return any(joined_ns < at_ns <= resume.at_ns for resume in story.resumes for at_ns in ends)


def found_dead(story: Story, joined_ns: int) -> bool:
    """Return whether a process that joined then was found dead on its machine, according to an end of the session."""
    if died_before_a_resume(story, joined_ns):
        return True
    end = story.end
    if end is None or not end.implied or joined_ns > end.at_ns:
        return False
    return str(end.body.get("reason")).startswith(DIED)


def is_of_hub(folder: str) -> bool:
    """Return whether a project belongs to a hub, whose sessions were recorded on other machines."""
    return os.path.exists(os.path.join(os.path.dirname(os.path.abspath(folder)), HUB))


def sessions_of(source: Source, folder: str, pid: int) -> list[bytes]:
    """Return the open sessions in which a process on this machine takes part."""
    started = host.process_started(pid)
    sessions = []
    for (session,) in source.all("open_sessions", many=_MANY):
        story = Story.read(source, session)
        if story.is_unattributed:
            continue
        cards = [c for c in story.present().values() if (c.get("pid"), c.get("started")) == (pid, started)]
        if any(participants.is_alive(folder, card) for card in cards) and declared(source, session) is None:
            sessions.append(session)
    return sessions


def declared(source: Source, session: bytes, waiting: Sequence[rows.Row] = ()) -> Standing | None:
    """Return the newest end that a program wrote, unless a process joined the session later.

    `waiting` has the session's rows that are still in a spill file.
    """
    end = source.one("declared_end", session=session, waiting=_as_json(waiting))
    return None if end is None else _ended(*end)


def _ended(name: str | None, at_ns: int, derived: int, body: str | None) -> Standing:
    return Standing(name or "Indeterminate", unpacked(body).get("reason"), at_ns, bool(derived))


def _as_json(waiting: Sequence[rows.Row]) -> str:
    """Return rows in the form that the query `session_end` expects."""
    if not waiting:
        return "[]"
    # Imported late, as few sessions have rows in a spill file.
    from localops.encoding import encode

    notes = map(milestone, waiting)
    return encode.dumps([[n.at_ns, n.id.hex(), n.kind, n.name, int(n.implied), n.text] for n in notes]).decode()


def _clock(at_ns: int) -> str:
    from localops.output import when

    return when(at_ns)


def others_open(journal: Journal) -> list[bytes]:
    """Return the open sessions of a journal that are not open in this process."""
    return [session for (session,) in journal.all("open_sessions", many=_MANY) if session not in journal.sessions]


def others_open_since(journal: Journal, seq: int) -> tuple[bool, int]:
    """Return whether another process may have a session open, and the newest row; up to `seq`, none had.

    With `seq`, a program with one session after another need not check the earlier ones each time.
    """
    news = journal.all("open_since", seq=seq, many=_FEW_ROWS) if seq else []
    if news and not any(not ended and session not in journal.sessions for session, _, ended in news):
        return False, max(newest for _, newest, _ in news)
    [(newest,)] = journal.all("newest")
    return bool(others_open(journal)), newest or 0


def derive(journal: Journal) -> int:
    """Write the end of each session whose processes have died; return their number."""
    due: dict[bytes, Standing] = {}
    derived: list[rows.Row] = []
    for session in others_open(journal):
        end = standing(journal, journal.folder, session)
        if end.derived and end.ended_ns is not None and not _is_written(journal, session, end):
            due[session] = end
            derived.append(_derived_end(session, end))
    ended: set[bytes] = set()

    def is_due(source: Source, row: rows.Row) -> bool:
        session = row[_SESSION]
        if not _is_still_over(source, session, due[session]):
            return False
        ended.add(session)
        return True

    if derived:
        journal.add(derived, only=is_due)
        # These files show that rows are missing.
        participants.sweep(journal.folder, {process for process, _ in unknown_resumes(journal, journal.folder)})
    return len(ended)


def unknown_resumes(source: Source, folder: str) -> list[tuple[str, bytes]]:
    """Return the processes that resumed a session here and died, and the session, if it has no row of that."""
    unknown = []
    for process, sessions in participants.dead_resumes(folder).items():
        for session in sessions:
            cards = Story.read(source, session).cards()
            # A session that was deleted has no cards.
            if cards and all(card.get("participant") != process for card in cards):
                unknown.append((process, session))
    return unknown


def _is_still_over(source: Source, session: bytes, end: Standing) -> bool:
    """Return whether a session has had no end and no row since its derived end was computed."""
    return last_row_ns(source, session) == end.ended_ns and declared(source, session) is None


def _is_written(journal: Journal, session: bytes, end: Standing) -> bool:
    return journal.one("row", id=_end_id(session, end), phase=0) is not None


def _end_id(session: bytes, end: Standing) -> bytes:
    import uuid  # late, as commands that only read do not need it

    return uuid.uuid5(uuid.UUID(bytes=session), f"end at {end.ended_ns}").bytes


def _derived_end(session: bytes, end: Standing) -> rows.Row:
    from localops.encoding import encode

    body = encode.dumps({"reason": end.reason, "derived": 1}).decode()
    return rows.make("end", session, id=_end_id(session, end), at_ns=end.ended_ns or 0, name=end.state, body=body)


def failure_reason(error: BaseException) -> str:
    """Return why a session failed: the signal, the exit code, or the exception followed by its traceback."""
    if is_a(error, KeyboardInterrupt) and not is_raised_interrupt(error):
        return "Signal SIGINT detected"
    if is_a(error, SystemExit):
        return exit_reason(attribute(error, "code"))
    from localops.recording import events

    message = events.describe(error)
    return f"{events.class_name(error)}{': ' if message else ''}{message}\n{events.traceback_of(error)}"


def is_raised_interrupt(error: BaseException) -> bool:
    """Return whether an exception is a KeyboardInterrupt of a `raise` statement, and not of SIGINT."""
    if not is_a(error, KeyboardInterrupt):
        return False
    # Imported late, as few programs end so.
    from localops.recording import keyboard_interrupt

    return not keyboard_interrupt.is_of_signal(error)


def exit_reason(code: object) -> str:
    """Describe the exit code of a program; a value that is not a number is its last message, with code 1."""
    if is_a(code, int):
        return f"exit code {code}"
    from localops.recording import events

    return f"exit code 1: {events.describe(code)}"
