"""Write one session's rows to the journal, each exactly once, or count it as lost.

A `Recorder` belongs to one session in one process: it records that the process takes part, writes the session's rows,
and queries the journal about the session.  `writer.py` makes the rows.
"""

from __future__ import annotations

import os
import sys
from _thread import get_ident
from collections import deque

from localops import clock
from localops.careful import deeper
from localops.encoding import facets
from localops.errors import JournalError
from localops.interruption import attempt, hold_if_programs, settle
from localops.journal import rows, spill
from localops.journal.weak_values import WeakValues
from localops.output import say, say_once
from localops.reading import session_state
from localops.reading.story import Story, budget_id
from localops.recording import events
from localops.recording.events import ErrorEvent, LLMEvent, ToolEvent, to_id
from localops.recording.raised import is_recorded, note_recorded
from localops.recording.seen_calls import SeenCall
from localops.recording.usage import known_of
from localops.recording.writer import NO_FIELDS, is_unpriced, trigger_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Protocol, TypeVar

    from localops.config import Config
    from localops.journal.journal import Journal
    from localops.journal.rows import Row
    from localops.journal.stored import Source
    from localops.reading.session_state import Standing
    from localops.recording.budget import Budget
    from localops.recording.context import Scope
    from localops.recording.events import Event
    from localops.recording.loop_watch import Loop, LoopWatch
    from localops.recording.usage import Measures
    from localops.recording.writer import Writer

    R = TypeVar("R")

    class OperationRows(Protocol):
        """The attributes of an open LLM call that are used here; its class is in a layer above."""

        inner: list[Measures]

        @property
        def began(self) -> int:
            """When it began, in nanoseconds since 1970."""

        def note_duplicate_inside(self, event: LLMEvent, at: int) -> None:
            """Store the figures of the same call, as recorded inside it."""

        def close_unfinished(self) -> None:
            """Close it, as its session ends before it."""


COPY = "llm_copy"  # the kind of a second record of an LLM call, which does not count
ERROR_COPY = "error_copy"  # the kind of a second record of its error
_RECENT = 64  # finished calls to remember, in order to recognise second records
_MOST_OPERATIONS = 10_000  # open operations with facets
_RETRY_AFTER = 0.5  # seconds between attempts to write the first row
_ID, _SESSION, _KIND, _NAME, _PARENT, _AGENT = (
    rows.COLUMNS.index(name) for name in ("id", "session", "kind", "name", "parent", "agent")
)

new_id, now_ns = clock.new_id, clock.now_ns


class Recorder:
    """Writes the rows of one session in this process, and queries the journal about the session.

    Raises no exception of ours, except JournalError in a strict session.
    """

    def __init__(
        self,
        session: bytes,
        journal: Journal,
        writer: Writer,
        config: Config,
        *,
        name: str | None,
        owned: bool,
        cut: dict[int, int],
    ) -> None:
        self.session = session
        self.journal = journal
        self.writer = writer
        self.name = name
        self.cut = cut
        """The number of values that could not be stored completely, by thread: see blobs.Keeper."""
        self.must_attend = False
        """True when something must be done before the next row: see `attend`."""
        self.has_ended = False
        self.budget: Budget | None = None
        self.loops: LoopWatch | None = None
        self.open_calls = WeakValues()
        """`OperationRows` of open LLM calls, by id: a call that begins inside one of them is the same call."""
        self.recent_calls: deque[SeenCall] = deque(maxlen=_RECENT)
        """Finished LLM calls that an instrumentor recorded: the program may record them by hand as well."""
        self.own_errors: deque[tuple[object, object]] = deque(maxlen=_RECENT)
        """Class and message of the errors of such LLM calls."""
        self.facets: dict[str, str] = {}
        """The facets of the session that this process gave it, by name."""
        self.operation_facets: dict[bytes, Sequence[str]] = {}
        """The facets of open operations, which apply to everything inside them."""
        self.steps: list[Any] = []
        """In the process that began or resumed the session: one `once.Steps`, whose class is in a layer above."""
        self.began_in = 0
        """The process that began the session, if it was this one."""
        self.joined_as: str | None = None
        """The id of this process as a participant, if it joined the session.  The opening rows of its operations
        contain it: they show which process died in an open operation."""
        self._append = journal.append
        self._event_row = writer.event
        self._config = config
        self._polling = frozenset(config.polling)
        self._pid = os.getpid()
        self._owner = self._pid if owned else 0
        self._is_fork = False
        self._warned: dict[str, object] = {}
        self._agent_words: set[str] = set()
        # The arguments of the first row, as long as it could not be written.
        self._unwritten_start: dict[str, Any] | None = None
        self._retry_start_at = 0.0

    # Events

    def record(self, event: Event, at: int, parent: bytes | None, agent: bytes | None) -> None:
        """Write an event of any class at a place in the session."""
        if self.must_attend:
            self.attend()
        if event.plain:
            self.write_event(event, at, parent, agent)
            return
        if isinstance(event, ToolEvent) and event.cost is None:
            self._record_tool(event, at, parent, agent)
            return
        if event.agent_id is not None:
            self.name_agent(event.agent_id, at)
        if isinstance(event, ErrorEvent):
            self._record_error(event, at, parent, agent)
        else:
            self._record_measured(event, at, parent, agent)

    def _record_tool(self, event: ToolEvent, at: int, parent: bytes | None, agent: bytes | None) -> None:
        """Write a tool call without a cost that has not failed: as an event without figures, which is faster."""
        if self._polling and _is_among(event.name, self._polling):
            event.polling = True
        row = self.write_event(event, at, parent, agent)
        if self.loops is not None:
            self._compare_call(self.loops, event, row)

    def _compare_call(self, loops: LoopWatch, event: Event, row: Row, error: ErrorEvent | None = None) -> None:
        """Compare a tool call with those before it; `error` is the error it failed with."""
        if row[_KIND] != "tool":
            return
        if error is not None:
            loops.look(row, row, error=(error.error_type, error.details), failed=True)
        elif event.params is not None and event.returns is not None:
            loops.recorded(row)
        else:
            loops.look(row, row)

    def write_event(self, event: Event, at: int, parent: bytes | None, agent: bytes | None) -> Row:
        """Write an event without tokens, cost or link, as most events are; return its row."""
        if event.agent_id is not None:
            self.name_agent(event.agent_id, at)
        if self.operation_facets:
            event.tags = self._with_facets(event.tags, parent)
        if event.raw_id is None or event.recorded:
            id = new_id(at)
            row = self._event_row(event, id, at, parent, agent)
        else:
            id, beside = self._given_id(event.raw_id, at)
            row = self._event_row(event, id, at, parent, agent, more=beside)
        if not self._append(row, row[_KIND] == "error" and self.journal.sync_due()):
            self._not_written()
        event.raw_id, event.ended_ns, event.recorded = id, at, True
        return row

    def facets_of(self, operation: bytes | None) -> Sequence[str]:
        """Return the facets of an open operation."""
        return self.operation_facets.get(operation, ()) if operation is not None else ()

    def remember_facets(self, operation: bytes, tags: Sequence[str]) -> None:
        """Remember the facets of an operation for events inside it."""
        if tags:
            self.operation_facets[operation] = tags
            if len(self.operation_facets) > _MOST_OPERATIONS:  # most of so many operations will never end
                try:
                    self.operation_facets.pop(next(iter(self.operation_facets)), None)
                except RuntimeError:  # another thread changed the dict during the iteration
                    pass

    def _with_facets(self, own: Iterable[str] | str | None, parent: bytes | None) -> Iterable[str] | str | None:
        outer = self.facets_of(parent)
        return facets.inherited(own, outer) if outer else own

    def create_agent(self, name: str, given: object, at: int, *, named: bool) -> None:
        """Write the row of an agent; with `named`, the program chose the id, and the row may exist already."""
        if self.must_attend:
            self.attend()
        id = self.writer.agent_id(given)
        row = self.writer.agent(name, id, at, given if named else None)
        if named:
            from localops.journal import stored

            # A row never changes, so a second one with this id would be dropped as a duplicate.
            for known in stored.named(self.ask("row", id=id, phase=rows.DONE)):
                if known.name != row[_NAME]:
                    say_once(f"agent {id.hex()}", f"the agent {events.describe(given)} keeps its name {known.name!r}")
                return
        self.write(row)

    def name_agent(self, given: object, at: int) -> None:
        """If an event names an agent that was never created, write a row for the agent, with that word as its name."""
        if type(given) is not str or not given or given in self._agent_words:
            return
        if not events.is_uuid(given):
            id = self.writer.agent_id(given)
            if not self.ask("row", id=id, phase=rows.DONE):
                self.write(self.writer.agent(given, id, at, given))
        self._agent_words.add(given)

    def _record_measured(
        self,
        event: Event,
        at: int,
        parent: bytes | None,
        agent: bytes | None,
        failed: int | None = None,
        *,
        unbilled: bool = False,
        error: ErrorEvent | None = None,
    ) -> None:
        """Write an event with its model, tokens and cost; `error` is the error it failed with."""
        if self.operation_facets:
            event.tags = self._with_facets(event.tags, parent)
        id, beside = self._id_of(event, at)
        if (
            isinstance(event, LLMEvent)
            and (seen := self._find_duplicate(event, at, parent, failed=bool(failed))) is not None
        ):
            self._write_copy(event, id, at, parent, agent, seen, beside)
            return
        if self._polling and isinstance(event, ToolEvent) and _is_among(event.name, self._polling):
            event.polling = True
        row = self.writer.measured_event(event, id, at, parent, agent, failed, beside, unbilled=unbilled)
        self._write_recorded(event, row, at)
        if self.loops is not None:
            self._compare_call(self.loops, event, row, error)
        if failed:  # set now: if a later step is interrupted and repeated, the error must not count twice
            event.failed = True
        if isinstance(event, LLMEvent):
            self.warn_unpriced(event, row)

    def _write_copy(
        self,
        event: LLMEvent,
        id: bytes,
        at: int,
        parent: bytes | None,
        agent: bytes | None,
        seen: SeenCall | bytes,
        beside: Mapping[str, object],
    ) -> None:
        """Write the second record of a call, and add tokens and a given cost to the first if it lacks them."""
        of = seen if isinstance(seen, bytes) else seen.id
        self._write_recorded(event, self.writer.copy_of_call(event, id, at, parent, agent, of, beside), at)
        self.add_to_first(event, at)

    def add_to_first(self, event: LLMEvent, at: int) -> None:
        """Add the figures of a call's second record to the first, once."""
        seen = event.second_of[1] if event.second_of is not None and event.second_of[0] == at else None
        if not isinstance(seen, SeenCall) or seen.failed:
            return
        now = self.writer.call_measures(event, at, unbilled=False)[0]
        later = self.writer.later_figures(
            new_id(at), seen.id, seen.agent, seen.start, seen.measures, now, given_cost=event.cost is not None
        )
        if later is not None:
            self.write(later)

    def _find_duplicate(
        self, event: LLMEvent, at: int, parent: bytes | None, *, failed: bool = False
    ) -> SeenCall | bytes | None:
        """Return the call of which an event is the second record (its id, if it is still open); None for a new call."""
        if event.second_of is not None and event.second_of[0] == at:  # this step was interrupted and is repeated
            known: SeenCall | bytes = event.second_of[1]
            return known
        if not self.recent_calls and not self.open_calls:
            return None
        outer: OperationRows | None = self.open_calls.get(parent)
        if outer is not None:
            outer.note_duplicate_inside(event, at)
            return parent
        seen = attempt(lambda: self._take_duplicate(event, at, failed), None)
        if seen is None:
            return None
        say_once(
            "call recorded twice",
            "an LLM call that records itself was also recorded by hand: the event is kept, and counted once",
        )
        return seen

    def _take_duplicate(self, event: LLMEvent, at: int, failed: bool) -> SeenCall | None:
        """Return the instrumentor's record of the call that an event is about, and remove it from the list."""
        known = known_of(event)
        taken_at, seen = event.second_of or (None, None)
        if taken_at != at or not isinstance(seen, SeenCall):
            seen = self.take_recent(
                lambda seen: seen.failed == failed and seen.is_duplicate_of_event(event, at, known), event
            )
        if seen is not None:
            event.second_of = at, seen
            self.forget_recent(seen)
        return seen

    def close_unfinished_calls(self) -> None:
        """Close the open LLM calls of this process, as the session ends before them."""
        calls: list[OperationRows] = self.open_calls.values()
        for call in calls:
            call.close_unfinished()

    def take_recent(
        self, matches: Callable[[SeenCall], bool], taker: object, *, by: str | None = None
    ) -> SeenCall | None:
        """Return the newest matching call that no other taker has; `forget_recent` then removes it from the list.

        Calls recorded by the instrumentor `by` are skipped; they are most of the list.  The same taker gets the same
        call again, as it may have been interrupted before it could store the call.
        """
        for seen in reversed(tuple(self.recent_calls)):
            if seen.by != by and matches(seen) and seen.is_taken_by(taker):
                return seen
        return None

    def forget_recent(self, seen: SeenCall) -> None:
        """Remove a call from the list of recent ones."""
        try:
            self.recent_calls.remove(seen)
        except ValueError:  # newer calls have displaced it, or this step was interrupted and is repeated
            pass

    def warn_unpriced(self, call: LLMEvent, row: Row) -> None:
        """Warn of an LLM call without a price, which cannot count towards the budget."""
        if self.budget is not None and is_unpriced(row):
            self.budget.warn_unpriced(call)

    def _record_error(self, event: ErrorEvent, at: int, parent: bytes | None, agent: bytes | None) -> None:
        """Write an error after the event that it happened in, and link the two."""
        trigger, failed = trigger_of(event), None
        is_copy = self._is_known_error(event, trigger)
        if trigger is not None and not trigger.recorded:
            self._record_measured(trigger, at, parent, agent, 1, unbilled=is_unbilled(trigger, event), error=event)
            trigger.failed = True
        elif trigger is not None and not trigger.failed:
            # Its row is written and cannot change: the row of the error says that it failed.
            failed = 1
            if is_unbilled(trigger, event):
                self._price_failed_call(trigger)
        id, beside = self._id_of(event, at)
        kind = ERROR_COPY if is_copy else None
        self._write_recorded(event, self.writer.error(event, id, at, parent, agent, failed, beside, kind=kind), at)
        if is_copy:
            try:
                self.own_errors.remove((event.error_type, event.details))
            except ValueError:  # another thread has recorded the same error
                pass
        if failed and trigger is not None:
            # Only now: if an earlier step is interrupted and repeated, the event must be unchanged.
            trigger.failed = True
        if event.exception is not None:
            note_recorded(event.exception, self.session, parent)

    def _is_known_error(self, event: ErrorEvent, trigger: Event | None) -> bool:
        """Return whether an error that was recorded by hand is already recorded by an instrumentor.

        That is so if it is the same exception; or if its trigger was recorded by hand, and class and message are equal.
        """
        if not self.own_errors:
            return False
        if event.exception is not None and not is_recorded(event.exception, self.session):
            return False
        if event.exception is None and not isinstance(trigger, LLMEvent):
            return False
        return attempt(lambda: (event.error_type, event.details) in self.own_errors, False)

    def _write_recorded(self, event: Event, row: Row, at: int) -> None:
        self.write(row, sync=row[_KIND] == "error" and self.journal.sync_due())
        event.raw_id, event.ended_ns, event.recorded = row[_ID], at, True

    def _id_of(self, event: Event, at: int) -> tuple[bytes, Mapping[str, object]]:
        """Return the id of an event's row, and a field with the id that the program chose, if that cannot be used."""
        if event.raw_id is None or event.recorded:
            return new_id(at), NO_FIELDS
        return self._given_id(event.raw_id, at)

    def _given_id(self, given: object, at: int) -> tuple[bytes, Mapping[str, object]]:
        """Return the id that the program chose, or a new one if it is taken; a field then keeps the given one."""
        id = to_id(given)
        taken = not self.journal.losses.claim(id) or bool(self.ask("row", id=id, phase=rows.DONE))
        if taken:
            word = events.describe(given)
            say_once("ids", f"the event id {word} is taken: the event is kept under a new id")
        beside = {"given_id": given} if taken or not events.is_uuid(given) else NO_FIELDS
        return new_id(at) if taken else id, beside

    def _price_failed_call(self, call: Event) -> None:
        """Write a price of 0 for a call that was recorded before it failed, and was not billed."""
        from localops.upkeep import repricing

        for stored in self.ask("row", id=call.id.bytes, phase=rows.DONE):
            self.write(repricing.unbilled_row(stored))

    # Limits

    def watch_loops(self) -> None:
        """Look for loops among the tool calls of this process from now on."""
        from localops.recording.loop_watch import LoopWatch  # here, as most programs never need it

        self.loops = LoopWatch(self._config.polling, self._note_loop)

    def _note_loop(self, loop: Loop, error: str) -> None:
        """Write that the program's `on_loop` stopped a loop, and with which exception."""
        agent = loop.agent_id.bytes if loop.agent_id else None
        params = {"loop": str(loop), "kind": loop.kind, "tools": loop.tools, "rounds": loop.rounds, "error": error}

        def write() -> None:
            at = now_ns()
            body = self.writer.encode({"params": params})
            self.write(
                rows.make(
                    "guardrail",
                    self.session,
                    id=new_id(at),
                    at_ns=at,
                    name="on_loop",
                    agent=agent,
                    body=body,
                )
            )

        self.guarded(write)

    def limit(self, dollars: float | None) -> None:
        """Set the budget of the session in US dollars, or remove it."""
        if dollars is None:
            self.budget = None
        else:
            from localops.recording.budget import Budget

            self.budget = Budget(float(dollars), self._spent, self.is_first)

    def note_budget(self, spent: float, budget: float, place: Scope) -> None:
        """Write that the budget was reached, and what was spent; only the first of several processes does."""
        _, parent, agent = place
        id = budget_id(self.session, budget)

        def write() -> None:
            if not self.ask("row", id=id, phase=rows.DONE):
                body = self.writer.encode({"params": {"budget_usd": budget, "spent_usd": spent}})
                self.write(
                    rows.make(
                        "guardrail",
                        self.session,
                        id=id,
                        at_ns=now_ns(),
                        name="budget",
                        parent=parent,
                        agent=agent,
                        body=body,
                    )
                )

        self.guarded(write)

    def limit_as_others(self) -> None:
        """Take over the newest budget that another process of the session has set."""
        self.limit(self.story().budget)

    def _spent(self) -> float:
        """Return what all processes of the session have spent."""
        costs: list[tuple[int]] = self.ask("spent", session=self.session)
        return sum(cost for (cost,) in costs) / 1e9

    # Rows

    def write(self, row: Row, *, sync: bool = False) -> bool:
        """Write a row to journal or spill file; if neither works, return False, or raise JournalError if strict."""
        if self._append(row, sync):
            return True
        self._not_written()
        return False

    def note(
        self,
        kind: str,
        fields: dict[str, object] | None = None,
        *,
        name: str | None = None,
        tags: str | None = None,
        body: str | None = None,
    ) -> None:
        """Write a bookkeeping row, from fields or from an encoded body."""

        def write() -> None:
            if self.must_attend:
                # No warning for a host row after the end: a thread of ours wrote it, not the program.
                self.attend(warn=kind != "host")
            at = now_ns()
            participant = self.journal.participant
            parent = participant.id if participant and kind in ("leave", "end") else None
            row = self.writer.note(kind, new_id(at), at, fields=fields, body=body, name=name, parent=parent, tags=tags)
            # A forked worker need not wait for the disk: its parent does so when it ends the session.
            self.write(row, sync=kind == "end" or (kind == "leave" and not self._is_fork))

        self.guarded(write)

    def guarded(self, step: Callable[[], R]) -> tuple[R] | None:
        """Run a step that writes a row, and return its result in a tuple; on failure, count it and return None."""
        try:
            done: tuple[R] | None = (step(),)
        except JournalError:  # strict, and written nowhere
            raise
        except BaseException as error:
            # The edge: recording never breaks the recorded program.
            done = self.recover(error, step)
        if self.cut:
            self.count_cut()
        return done

    def recover(self, error: BaseException, step: Callable[[], R]) -> tuple[R] | None:
        """Repeat an interrupted step, and return its result in a tuple; on failure, count it and return None."""
        try:
            return (settle(error, step),)
        except JournalError:  # strict, and written nowhere
            raise
        except BaseException as failure:
            if type(failure) is RecursionError:
                # The program may have used up nearly all of the recursion limit.
                try:
                    return (deeper(step),)
                except JournalError:  # strict, and written nowhere
                    raise
                except RecursionError as again:
                    failure = again
                except BaseException as again:
                    hold_if_programs(again)
            self._failed(failure)
            return None

    def _failed(self, error: BaseException) -> None:
        """Count a call that wrote no row (because of a bug here, or a hostile event) and warn; raise if strict."""
        self.journal.losses.drop(self.session)
        what = f"an event could not be recorded: {events.class_name(error)}: {events.describe(error)}"
        if self._config.strict:
            raise JournalError(what) from error
        say_once(f"record {events.class_name(error)}", what)

    def refuse(self, thing: object) -> None:
        """Warn of an object that is not an event; it does not count as lost."""
        what = f"record() expects a localops.Event, got {events.class_name(thing)}; nothing was recorded"
        if self._config.strict:
            raise JournalError(what)
        say_once(f"record {events.class_name(thing)}", what)

    def count_cut(self) -> None:
        """Write a row with the number of values of this thread that could not be stored completely."""
        many = self.cut.pop(get_ident(), 0)
        if many:
            self.note("loss", {"cut": many})

    def _not_written(self) -> None:
        if self._config.strict:
            raise JournalError("an event could be written neither to the journal nor to a spill file")

    def is_first(self, warning: str) -> bool:
        """Return True for the first call with each kind of warning, across threads."""
        mine = object()
        return self._warned.setdefault(warning, mine) is mine

    # Taking part

    def attend(self, *, warn: bool = True) -> None:
        """Do what is due before the next row: join after a fork, retry the first row, warn of late rows."""
        if self._unwritten_start is not None:
            self._retry_start()
        here = os.getpid()
        # Set now, so that only one thread of a forked process joins.
        before, self._pid = self._pid, here
        if before != here:
            try:
                self._owner = 0
                self.journal.sessions.add(self.session)
                self._is_fork = True
                self.join(forked=True)
            except BaseException:
                # Interrupted: the join is still due.
                self._pid = before
                raise
        # No warning while the interpreter shuts down: the program could not have ended its last generators before.
        if warn and self.has_ended and not sys.is_finalizing() and self.is_first("ended"):
            short = rows.id_text(self.session)[:13]
            say(f"session {short} has ended; what is recorded now is kept as a late row of it")
        self.must_attend = self.has_ended or self._unwritten_start is not None

    def join(self, *, forked: bool = False, begun: bool = False, extra: Mapping[str, object] | None = None) -> None:
        """Write the row that says that this process takes part; if that fails, try again later."""
        at = now_ns()
        if begun:
            self.began_in = self._pid
        start: dict[str, Any] = {
            "id": self.session if begun else new_id(at),
            "at": at,
            "begun": begun,
            "forked": forked,
            "extra": extra,
        }
        if not self._append(self._start_row(**start), sync=True):
            self._unwritten_start, self._retry_start_at = start, clock.monotonic() + _RETRY_AFTER
            self.must_attend = True

    def rejoin(self, extra: Mapping[str, object], only: Callable[[Source, Row], bool]) -> bool:
        """Write the row that says that this process resumes the session; `only` may prevent it in its transaction."""
        row = self._start_row(new_id(), now_ns(), begun=False, forked=False, extra=extra)
        has_it = self.journal.add([row], only=only) == 1
        if has_it:
            self.journal.participate().note_resume(self.session)
        return has_it

    def _retry_start(self) -> None:
        """Try again to write the first row of this process; on success, it no longer counts as lost."""
        start = self._unwritten_start
        if start is None or clock.monotonic() < self._retry_start_at:
            return
        # Cleared, so that other threads do not retry as well.
        self._unwritten_start, self._retry_start_at = None, clock.monotonic() + _RETRY_AFTER
        try:
            self.journal.participate().check()  # its lock may have failed, too
            row = self._start_row(**start)
            # Before the attempt: with the next row that succeeds, the journal writes how many rows were lost.
            # If the attempt fails, the row is counted again.
            self.journal.losses.take_back(self.session)
            kept = self._append(row, sync=True)
        except BaseException:  # interrupted: it is still due
            self._unwritten_start = start
            raise
        if not kept:
            self._unwritten_start = start

    def _start_row(self, id: bytes, at: int, *, begun: bool, forked: bool, extra: Mapping[str, object] | None) -> Row:
        participant = self.journal.participate()
        self.joined_as = None if begun else participant.id.hex()
        fields: dict[str, object] = {"participant": participant.id.hex(), "pid": participant.pid, "place": 0}
        try:
            fields.update(participant.card())
        except Exception as error:
            # The edge: no file descriptors left, for example; other processes then cannot see that it is alive.
            if not hold_if_programs(error):
                say_once("card", f"this process could not be described: {error}")
        if self._config.env_data_opt_out:
            fields.pop("host", None)
        if forked:
            fields["forked"] = 1
        fields.update(extra or {})
        tags = fields.pop("tags", None)
        return self.writer.note(
            "session" if begun else "join",
            id,
            at,
            fields=fields,
            name=self.name,
            parent=participant.id,
            tags=tags if isinstance(tags, str) else None,
        )

    def is_owner(self) -> bool:
        """Return whether this process owns the session: the session then ends with the process."""
        return self._owner == os.getpid()

    def is_here(self) -> bool:
        """Return whether this process takes part; a forked child does so from its first row on."""
        return self._pid == os.getpid()

    # Queries

    def ask(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """Run a named query; if the journal cannot be read, warn once and return []."""
        try:
            return self.journal.all(query, **values)
        except BaseException as error:  # the edge: a query must not break the program either
            return self._retry_query(error, query, values)

    def _retry_query(self, error: BaseException, query: str, values: dict[str, object]) -> list[tuple[Any, ...]]:
        """Repeat a query that was interrupted; if the journal cannot be read, warn once and return []."""
        try:
            return settle(error, lambda: self.journal.all(query, **values))
        except BaseException as problem:
            error = problem
            what = str(error) if isinstance(error, JournalError) else f"the journal cannot be read: {error}"
            if self._config.strict:
                raise JournalError(what) from error
            say_once("read", f"{what}; until it can be, figures are 0 and lists are empty")
            return []

    def story(self) -> Story:
        """Return the milestones of the session, of all processes."""
        return Story.of_rows(self.ask("story", session=self.session))

    def explicit_end(self) -> Standing | None:
        """Return the end that this or another process wrote, in the journal or in a waiting spill file."""
        try:
            waits = [row for row in spill.rows(self.journal.folder) if row[_SESSION] == self.session]
            return session_state.declared(self.journal, self.session, waits)
        except Exception as error:
            # The edge: a failed query must not prevent the end.
            hold_if_programs(error)
            return None


def _is_among(name: object, names: frozenset[str]) -> bool:
    """Return whether a name, which may be any object, is one of these."""
    return type(name) is str and name in names


def is_unbilled(call: Event, error: ErrorEvent) -> bool:
    """Return whether an LLM call failed before it was billed."""
    if not isinstance(call, LLMEvent):
        return False
    from localops.recording import billing  # here, as most programs never need it

    return billing.is_unbilled(call, error)
