"""Find the sessions of a project that its retention rules remove, one part at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from localops.journal.sql import statements
from localops.upkeep import prune

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.journal.reader import Reader
    from localops.server.policy import Rules
    from localops.upkeep.prune import Choice

# Of one part: sessions to check, sessions to remove, rows to remove.
_LOOKED_AT, _SESSIONS, _ROWS = 1_000, 200, 100_000

# Where a part begins: the time of a session's last row, and its key.
Place = tuple[int, int]
BEGIN: Place = (-(1 << 62), 0)
_NEVER = (1 << 63) - 1


class Part(NamedTuple):
    """The sessions that go, and where the next part begins; None at the end."""

    going: list[Choice]
    following: Place | None


def keeps_for_ever(rules: Rules) -> bool:
    """Return whether the rules remove no session."""
    return rules.keep_ns is None and rules.keep_failed_ns is None


def expired(reader: Reader, folder: str, rules: Rules, now_ns: int, after: Place = BEGIN) -> Part:
    """Return the next part of the sessions that are older than they are kept, the oldest first.

    A session is as old as its last row.  One without an end goes only if the rules say so, and one that another hub
    still lacks does not go.
    """
    kept = [keep for keep in (rules.keep_ns, rules.keep_failed_ns) if keep is not None]
    before_ns = now_ns - min(kept, default=0)
    page = reader.ask(
        statements("hub.sql")["older"],
        {"before_ns": before_ns, "last_ns": after[0], "key": after[1], "many": _LOOKED_AT},
    )
    going: list[Choice] = []
    rows = 0
    for session, last_ns, key in page:
        choice = prune.look(reader, folder, session, unknown=rules.unknown)
        if choice.stays is None and _is_old(choice, rules, now_ns):
            going.append(choice)
            rows += choice.rows
        if len(going) >= _SESSIONS or rows >= _ROWS:
            return Part(going, (last_ns, key))
    return Part(going, (last_ns, key) if len(page) == _LOOKED_AT else None)


def every(reader: Reader, folder: str, after: Place = BEGIN) -> Part:
    """Return the next part of all sessions, the oldest first, whether they have ended or not."""
    page = reader.ask(
        statements("hub.sql")["older"],
        {"before_ns": _NEVER, "last_ns": after[0], "key": after[1], "many": _SESSIONS},
    )
    going: list[Choice] = []
    rows = 0
    for session, last_ns, key in page:
        going.append(replace(prune.look(reader, folder, session), stays=None))
        rows += going[-1].rows
        if rows >= _ROWS:
            return Part(going, (last_ns, key))
    return Part(going, (last_ns, key) if len(page) == _SESSIONS else None)


def _is_old(choice: Choice, rules: Rules, now_ns: int) -> bool:
    keep = rules.keep_ns
    if choice.state == "Failure" and rules.keep_failed_ns is not None:
        keep = rules.keep_failed_ns
    return keep is not None and choice.last_ns < now_ns - keep
