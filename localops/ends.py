"""How a session stands: as somebody said, or (when nobody did) as the locks of its participants show.

A derived end becomes a row, written by the first writer that finds the session dead; its id is made from the session
and the time of its last row, so two that find it at once write the same one.
"""

from __future__ import annotations

import os
import uuid
from collections import namedtuple

from localops import alive, host, rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NamedTuple, Protocol

    from localops.journal import Journal

    class Source(Protocol):
        """Whatever answers the named queries: a journal, or a reader of one."""

        def all(self, name: str, **values: object) -> list[tuple[Any, ...]]:
            """Every row of a named query."""

        def one(self, name: str, **values: object) -> tuple[Any, ...] | None:
            """Its first row."""

    class Standing(NamedTuple):
        """How a session stands."""

        state: str
        reason: str | None
        ended_ns: int | None
        derived: bool
else:
    Standing = namedtuple("Standing", "state reason ended_ns derived")

Standing.__doc__ = """How a session stands: Success, Failure, Indeterminate, Running or Unknown, why, and since when."""

UNATTRIBUTED = "unattributed"  # the name, and the tag, of a session for events whose session cannot be known
HUB = "hub.json"  # a home with this file is a hub's: who recorded what is in it cannot be looked after from there
_MANY = 1_000  # open sessions looked at by one writer; there are hardly ever ten
_NEVER = 1 << 63
_LEFT = "process exited without end_session"


def standing(source: Source, folder: str, session: bytes) -> Standing:
    """How a session stands now, for a reader in the home that recorded it."""
    story = source.all("story", session=session)
    figures = source.one("totals", session=session)
    last_ns: int = figures[14] if figures else 0
    said = _said(story, last_ns)
    if said is not None:
        return said
    cards = _present(story)
    seen = [None] if _is_of_hub(folder) else [alive.is_alive(folder, card) for card in cards.values()]
    if any(seen):
        return Standing("Running", None, None, False)
    if None in seen or not story:
        return Standing("Unknown", f"last heard of at {_clock(last_ns)}", None, False)
    if not cards:
        return Standing("Indeterminate", _LEFT, last_ns, True)
    return Standing("Indeterminate", f"process died{_inside(source, session, last_ns)}", last_ns, True)


def _loads(body: str) -> Any:
    from localops import encode  # only when there is something to read: a command that shows figures starts sooner

    return encode.loads(body)


def _is_of_hub(folder: str) -> bool:
    return os.path.exists(os.path.join(os.path.dirname(os.path.abspath(folder)), HUB))


def sessions_of(source: Source, folder: str, pid: int) -> list[bytes]:
    """The sessions that a process of this machine takes part in and that nobody has ended."""
    started = host.process_started(pid)
    found = []
    for (session,) in source.all("open_sessions", many=_MANY):
        story = source.all("story", session=session)
        if is_unattributed(story):
            continue
        cards = [card for card in _present(story).values() if (card.get("pid"), card.get("started")) == (pid, started)]
        if any(alive.is_alive(folder, card) for card in cards) and _said(story, _NEVER) is None:
            found.append(session)
    return found


def is_unattributed(story: Sequence[tuple[Any, ...]]) -> bool:
    """Return whether a session is one that a process keeps for events whose session cannot be known."""
    starts = [row for row in story if row[2] == "session" and row[3] == UNATTRIBUTED and row[7]]
    return any(_loads(row[7]).get(UNATTRIBUTED) for row in starts)


def _said(story: Sequence[tuple[Any, ...]], last_ns: int) -> Standing | None:
    """The end that somebody wrote, if no later start takes it back: what was declared beats what was derived."""
    return declared(story) or _newest_end(story, since=last_ns, implied=True)


def declared(story: Sequence[tuple[Any, ...]]) -> Standing | None:
    """Return the newest end that a program wrote, unless a process joined the session after it."""
    starts = (at for at, _, kind, _, _, implied, *_ in story if kind in ("session", "join") and not implied)
    return _newest_end(story, since=max(starts, default=0), implied=False)


def _newest_end(story: Sequence[tuple[Any, ...]], *, since: int, implied: bool) -> Standing | None:
    ends = [row for row in story if row[2] == "end" and bool(row[5]) == implied and row[0] >= since]
    if not ends:
        return None
    at, _, _, name, _, _, _, body = ends[-1]
    reason = _loads(body).get("reason") if body else None
    return Standing(name or "Indeterminate", reason, at, implied)


def _present(story: Sequence[tuple[Any, ...]]) -> dict[bytes, dict[str, Any]]:
    """The participants that came and did not say that they left."""
    found: dict[bytes, dict[str, Any]] = {}
    for _, _, kind, _, participant, _, _, body in story:
        if participant is None:
            continue
        if kind in ("session", "join"):
            found[participant] = _loads(body) if body else {}
        elif kind in ("leave", "end"):
            found.pop(participant, None)
    return found


def _inside(source: Source, session: bytes, last_ns: int) -> str:
    """In which operation it died: the newest that began and did not end."""
    unfinished = source.all("unfinished", session=session)
    if not unfinished:
        return ""
    _, kind, name, _, _, began = unfinished[-1]
    since = f", {(last_ns - began) / 1e9:.1f} s in" if last_ns - began >= 50_000_000 else ""
    return f" inside {kind} {name!r}{since}"


def _clock(at_ns: int) -> str:
    from localops.output import when

    return when(at_ns)


def others_open(journal: Journal) -> list[bytes]:
    """Return the sessions of a journal that nobody has ended, without those that are open here."""
    return [session for (session,) in journal.all("open_sessions", many=_MANY) if session not in journal.sessions]


def derive(journal: Journal) -> int:
    """Write the end of each session that nobody is alive to write; how many there were."""
    found = []
    for session in others_open(journal):
        stands = standing(journal, journal.folder, session)
        if stands.derived and stands.ended_ns is not None and not _is_written(journal, session, stands):
            found.append(_derived_end(session, stands))
    if found:
        journal.add(found)
        alive.sweep(journal.folder, set())
    return len(found)


def _is_written(journal: Journal, session: bytes, stands: Standing) -> bool:
    return journal.one("row", id=_end_id(session, stands), phase=0) is not None


def _end_id(session: bytes, stands: Standing) -> bytes:
    return uuid.uuid5(uuid.UUID(bytes=session), f"end at {stands.ended_ns}").bytes


def _derived_end(session: bytes, stands: Standing) -> rows.Row:
    from localops import encode

    body = encode.dumps({"reason": stands.reason, "derived": 1}).decode()
    return rows.make(
        "end", session, id=_end_id(session, stands), at_ns=stands.ended_ns or 0, name=stands.state, body=body
    )
