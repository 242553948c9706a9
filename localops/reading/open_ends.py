"""The processes of a session, what became of each, and which of them had operations without an end.

The opening row of an operation names its process if that only joined the session: a worker of a pool, a child, or a
program that resumed it. In a session with one process, all operations belong to that. Otherwise the process is not
known: it may be the one that began the session, or the row may be from an earlier release.
"""

from __future__ import annotations

import re
from functools import cached_property

from localops import output
from localops.journal import participants, rows, stored
from localops.reading import analytics, event_processes, session_state
from localops.reading.event_processes import PARTICIPANT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from localops.journal.stored import Stored, Unfinished
    from localops.reading.facts import Facts
    from localops.reading.snapshot import Snapshot

_SHOWN = 100  # operations to show on a page
_NO_END = "no end is recorded of "
_SIGNAL = re.compile(r"Signal (SIG\w+) detected$")


class Processes:
    """The processes that recorded into a session."""

    def __init__(self, seen: Snapshot) -> None:
        self._seen = seen
        self._states: dict[str, str] = {}
        self._openings: dict[bytes, Stored] = {}

    @cached_property
    def everyone(self) -> list[tuple[dict[str, Any], int, int | None]]:
        """Return the card of each, when it began to take part and when it left, in the order they began."""
        return list(self._seen.story.participants())

    @cached_property
    def never_left(self) -> set[str]:
        """Return the ids of processes that did not record that they left."""
        return {str(card.get(PARTICIPANT)) for card in self._seen.story.present().values()}

    def state(self, card: dict[str, Any]) -> str:
        """Return what became of a process: left, died, running, or unknown."""
        id = str(card.get(PARTICIPANT))
        if id not in self._states:
            self._states[id] = self._look(card) if id in self.never_left else "left"
        return self._states[id]

    def of(self, operations: Iterable[Unfinished]) -> dict[bytes, dict[str, Any]]:
        """Return the cards of the processes of operations, by the operations' ids, as far as they are known."""
        cards = {str(card[PARTICIPANT]): card for card, _, _ in self.everyone if PARTICIPANT in card}
        is_one = len(self.everyone) == len(cards) == 1
        only, joined_ns = (next(iter(cards)), self.everyone[0][1]) if is_one else (None, 0)
        opened = self.openings(operations) if cards else {}
        # The only known process may have joined later, when it resumed an imported session.
        ids = {
            id: event_processes.named_by(row) or (only if row.at_ns >= joined_ns else None)
            for id, row in opened.items()
        }
        return {operation: cards[id] for operation, id in ids.items() if id in cards}

    def openings(self, operations: Iterable[Unfinished]) -> dict[bytes, Stored]:
        """Return the opening rows of operations, by the operations' ids."""
        ids = [one.id for one in operations]
        if new := [id for id in ids if id not in self._openings]:
            read = stored.named(self._seen.source.all("opening_rows", ids=analytics.array(new)))
            self._openings |= {row.id: row for row in read}
        return {id: self._openings[id] for id in ids if id in self._openings}

    def one_died_after(self, began_ns: int) -> bool:
        """Return whether a process that took part when an operation began died, by its card or the end of its run."""
        if session_state.died_before_a_resume(self._seen.story, began_ns):
            return True
        return any(joined_ns <= began_ns and self.state(card) == "died" for card, joined_ns, _ in self.everyone)

    def _look(self, card: dict[str, Any]) -> str:
        joined_ns = next((at_ns for one, at_ns, _ in self.everyone if one.get(PARTICIPANT) == card.get(PARTICIPANT)), 0)
        if session_state.found_dead(self._seen.story, joined_ns):
            return "died"
        # The processes of a hub's sessions ran on other machines.
        is_of_hub = session_state.is_of_hub(self._seen.folder)
        alive = None if is_of_hub else participants.is_alive(self._seen.folder, card)
        return "unknown" if alive is None else "running" if alive else "died"


def at_work(seen: Snapshot) -> list[Unfinished]:
    """Return the open operations of a running session, without those of processes that died."""
    if not seen.is_running or not seen.open_now:
        return []
    if not seen.died:
        return seen.open_now
    processes = Processes(seen)
    of = processes.of(seen.open_now)
    return [one for one in seen.open_now if one.id not in of or processes.state(of[one.id]) != "died"]


def left_to_child(seen: Snapshot, operations: Iterable[Unfinished]) -> set[bytes]:
    """Return which operations a daemon's first process left to a child, which has not recorded their ends."""
    if seen.is_running:
        return set()
    notes = {rows.left_to_child_id(one.id): one.id for one in operations}
    return {notes[id] for (id,) in seen.source.all("noted", ids=analytics.array(list(notes)))}


def notices(seen: Snapshot) -> list[Facts]:
    """Return each innermost operation without an end, and a sentence about it in four parts.

    The second part, kind and name, is a link on pages.
    """
    open_now = {one.id for one in seen.open_now}
    holds = {one.parent for one in seen.unfinished}
    under_way = {one.id for one in at_work(seen)}
    innermost = [one for one in seen.unfinished if one.id not in holds and one.id not in under_way]
    if not innermost:
        return []
    processes = Processes(seen)
    last = innermost[-_SHOWN:]
    shown, of, since, left = (
        processes.openings(last),
        processes.of(last),
        _since_resumed(seen),
        left_to_child(seen, last),
    )
    if not seen.pauses:
        open_now -= since.keys()
    return [
        {
            "seq": shown[one.id].seq if one.id in shown else None,
            "before": "its process exited, and a child of it may go on, inside "
            if one.id in open_now and one.id in left
            else _words_before(seen, one, processes, of.get(one.id), is_of_last_run=one.id in open_now),
            "kind": one.kind,
            "name": one.name,
            "when": _when(seen, one, is_of_last_run=one.id in open_now),
            "since": since.get(one.id, ""),
            "is_of_last_run": one.id in open_now,
        }
        for one in innermost
    ]


def _words_before(
    seen: Snapshot, one: Unfinished, processes: Processes, card: dict[str, Any] | None, *, is_of_last_run: bool
) -> str:
    """Return the beginning of the sentence: what became of the operation's process."""
    is_only = len(processes.everyone) == 1
    signal = _SIGNAL.match((seen.standing.reason or "").strip())
    if is_of_last_run and signal and (is_only or card is None):
        return f"{signal[1]} ended the process inside "
    if is_only and seen.standing.derived and processes.never_left:
        return "its process died inside "
    if is_of_last_run and not processes.never_left:
        # For example, if a program opens and closes operations by hand.
        return "the session ended inside "
    how = {"died": "died inside", "running": "is still inside", "left": "left inside"}
    if card is not None and (state := processes.state(card)) in how:
        return f"process {card.get('pid')} {how[state]} "
    # Whether its process still runs cannot be seen from here.
    is_unknown = card is not None or (is_of_last_run and seen.standing.state == "Unknown")
    return "a process died inside " if not is_unknown and processes.one_died_after(one.at_ns) else _NO_END


def _when(seen: Snapshot, one: Unfinished, *, is_of_last_run: bool) -> str:
    """Return how long before the last row of its run an operation began; how long it ran is not known."""
    until_ns = seen.totals.last_ns if seen.is_running and is_of_last_run else seen.ran_until(one.at_ns)
    before_ns = until_ns - one.at_ns
    if not is_of_last_run and not seen.pauses:
        return ""  # it was imported by an earlier release, without when each run ended
    if before_ns <= 0:
        return ", how long it ran is not known"
    return (
        f", which began {output.short_duration(before_ns)} before the last row{'' if is_of_last_run else ' of its run'}"
    )


def _since_resumed(seen: Snapshot) -> dict[bytes, str]:
    """Return what became of the steps in which a process died, when the session was resumed."""
    if not seen.story.resumes and not seen.story.is_imported:
        return {}
    from localops.reading import given_results, recorded_steps  # late, as few sessions are resumed

    steps = recorded_steps.of(seen.source, seen.id)
    return {id: f"; {given_results.SINCE[word]}" for id, word in recorded_steps.since(seen, steps).items()}
