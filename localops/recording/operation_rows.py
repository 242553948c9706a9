"""The rows of an operation: something that begins and ends in a session, recorded as an opening row and a closing row.

The closing row does not repeat the opening one.  If the process dies in between, the opening row shows where.
"""

from __future__ import annotations

from localops import clock
from localops.careful import class_name, is_a
from localops.encoding import facets
from localops.journal import rows, token_kinds
from localops.recording import events
from localops.recording.events import ErrorEvent, LLMEvent
from localops.recording.forked import forks, here, is_running, is_success, leaves_to_child
from localops.recording.raised import note_recorded, was_recorded_inside
from localops.recording.recorder import COPY, is_unbilled
from localops.recording.seen_calls import SeenCall
from localops.recording.usage import in_words, together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from localops.journal.rows import Row
    from localops.recording.recorder import Recorder
    from localops.recording.usage import Measures


new_id, now_ns = clock.new_id, clock.now_ns

_MOST_OPEN = 10_000  # open tool calls, in a session that looks for loops
UNFINISHED = "end of the session"  # `ended_by` of an LLM call that was still open when its session ended

usage_inside: dict[bytes, dict[str, Any]] = {}
"""The usage that was seen inside an LLM call, by the call's id: a client's span has figures that a decorator lacks."""

calls_of_clients: set[bytes] = set()
"""The ids of tool calls that a client is making: a span of its library inside one of them is the same call."""

_COUNTS = (*token_kinds.ARGUMENTS, "cost")
_DETAILS = frozenset((*token_kinds.ARGUMENTS, "provider"))  # the provider decides whether a prompt includes its cache


def add_usage(usage: dict[str, Any], figures: Mapping[str, Any]) -> None:
    """Add the usage of one answer to that of a call, which may get several answers."""
    for name, value in figures.items():
        if value is not None:
            usage[name] = usage[name] + value if name in _COUNTS and name in usage else value


def _lacking(call: LLMEvent, usage: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the figures seen inside a call that it lacks: all if it has no tokens, else details of the same totals."""
    lacking = [(name, value) for name, value in usage.items() if getattr(call, name) is None]
    if call.prompt_tokens is None:
        return lacking
    # Other totals: a sum of several answers, or another way to count a cache, of which the parts would not fit.
    if any(getattr(call, name) != usage.get(name) for name in ("prompt_tokens", "completion_tokens")):
        return []
    return [(name, value) for name, value in lacking if name in _DETAILS]


class OperationRows:
    """The two rows of something that has begun in a session and will end.

    Of an LLM call (`call`), the request goes into the opening row; answer, tokens and cost go into the closing row.
    An LLM call that opens inside an open one is the same call, recorded twice (by a framework and by the client that
    it uses): the inner one is kept as a copy, which does not count.
    """

    __slots__ = (
        "__weakref__",
        "_about",
        "_by_itself",
        "_call",
        "_cost",
        "_duplicate_of",
        "_error_is_written",
        "_figures_at_session_end",
        "_forks",
        "_has_only_args",
        "_head",
        "_is_duplicate",
        "_is_reported",
        "_is_written",
        "_opening_row",
        "_outer",
        "_pid",
        "_recorder",
        "_tags",
        "agent",
        "id",
        "inner",
        "is_kept",
        "kind",
        "parent",
    )

    def __init__(
        self,
        recorder: Recorder,
        kind: str,
        name: str,
        parent: bytes | None,
        agent: bytes | None,
        tags: Iterable[str] | None,
        cost: float | None,
        call: LLMEvent | None = None,
        start: int | None = None,
        *,
        by_itself: str | None = None,
        about: Sequence[str] = (),
    ) -> None:
        self._outer = recorder.open_calls.get(parent) if call is not None and parent is not None else None
        if self._outer is not None:
            kind = COPY
        elif kind not in events.OPERATIONS:  # a kind that the program chose
            kind = recorder.writer.text(kind, 64)
        self.kind, self.parent, self.agent = kind, parent, agent
        self._recorder, self._cost, self._call = recorder, cost, call
        # The instrumentor that records it: the program or another instrumentor may record the same call as well.
        self._by_itself = by_itself
        self._is_duplicate = False  # it ends as a copy of a call that was recorded between its start and its end
        self._is_written = False  # its closing row is written
        self.is_kept = False  # its opening row is written, to the journal or to a spill file
        self._is_reported = False  # its figures were passed to the call around it, or to the list of recent calls
        self._error_is_written = False
        self._opening_row: Row | None = None  # its opening row, in a session that looks for loops
        self._has_only_args = False  # its opening row has no fields but arguments
        self._duplicate_of: SeenCall | None = None  # the call of which it is a copy
        self._figures_at_session_end: Measures | None = None  # if it was still open then
        self.inner: list[Measures] = []  # the figures of copies that were recorded inside it
        writer = recorder.writer
        began = now_ns() if start is None else start
        self.id = new_id(began)
        self._about: Sequence[str] = about
        if about or recorder.operation_facets:
            self._about = facets.inherited(list(about), recorder.facets_of(parent))
            recorder.remember_facets(self.id, self._about)
            tags = facets.inherited(tags, self._about)
        self._tags = writer.tags_text(tags) if tags is not None else None
        self._head = (self.id, kind, writer.text(name), parent, agent, began)
        self._pid, self._forks = here[0], forks[0]
        if call is not None:
            recorder.open_calls[self.id] = self

    @property
    def began(self) -> int:
        """Return when it began, in nanoseconds since 1970."""
        return self._head[-1]

    @property
    def call(self) -> LLMEvent | None:
        """Return the LLM call, if the operation counts as one."""
        return self._call

    def open(
        self, params: object, more: Mapping[str, object] | None, *, at: int | None = None, synced: bool = False
    ) -> None:
        """Write the opening row; `at` is the time of the row, if a start was given."""
        recorder, kind, call = self._recorder, self.kind, self._call
        fields = {"params": params} if params is not None else {}
        if more:
            fields.update(more)
        if recorder.joined_as is not None:
            fields["participant"] = recorder.joined_as
        model = None
        if call is not None:
            fields.update(call.request())
        if call is not None and self._outer is None:
            model = recorder.writer.text(call.model, 256) if call.model is not None else None
        row = recorder.writer.opening(self._head, fields, at, model)
        # The call will take time: sync now, so that a power cut does not lose what led to it.
        sync = synced or ((kind == "tool" or kind == "llm") and recorder.journal.sync_due())
        self.is_kept = recorder.write(row, sync=sync)
        if (watch := recorder.loops) is not None and call is None:
            self._opening_row, self._has_only_args = row, not more and recorder.joined_as is None
            if kind == "tool":
                watch.open[self.id] = None
                if len(watch.open) > _MOST_OPEN:
                    watch.forget_open()

    def become(
        self,
        kind: str,
        name: str,
        *,
        call: LLMEvent | None = None,
        cost: float | None = None,
        tags: Iterable[str] | None = None,
    ) -> None:
        """Set fields that are known only at the end; the opening row does not change."""
        writer = self._recorder.writer
        if call is None:
            self._recorder.open_calls.pop(self.id)
        if kind not in events.OPERATIONS:
            kind = writer.text(kind, 64)
        self.kind, self._call = kind, call
        self._has_only_args = False  # its opening row has another name
        self._head = (self.id, kind, writer.text(name), *self._head[3:])
        self._cost = cost if cost is not None else self._cost
        if tags is not None:
            self._tags = writer.tags_text(facets.inherited(tags, self._about) if self._about else tags)

    def finish(
        self,
        fields: dict[str, object],
        *,
        failed: bool = False,
        error: BaseException | ErrorEvent | str | None = None,
        end: int | None = None,
    ) -> None:
        """Write the closing row, with what it returned or the error; `end` is when it ended, if not now."""
        self._recorder.guarded(lambda: self._finish(fields, failed, error, end))

    def interrupted(self, fields: dict[str, object], error: BaseException, *, end: int | None = None) -> None:
        """Write the closing row of an operation that was cancelled, interrupted or left by an exit: not by an error.

        The first processes of a daemon exit inside an operation, and leave its end to the child that continues it.
        """
        if not leaves_to_child(error, self._pid, self._forks):
            self.finish({**fields, "ended_by": class_name(error)}, failed=not is_success(error), end=end)
        elif self._pid == here[0]:
            self._recorder.guarded(self._leave_to_child)

    def _finish(
        self,
        fields: dict[str, object],
        failed: bool,
        error: BaseException | ErrorEvent | str | None,
        end: int | None,
    ) -> None:
        recorder, call, at = self._recorder, self._call, now_ns()
        if recorder.must_attend:
            recorder.attend()
        measures: Measures | None = None
        if call is not None:
            fields, measures = self._figures(call, fields, failed, error, at)
        if self._pid != here[0] and self._ends_elsewhere():
            self._finish_in_child(fields, failed, end, at, measures)
            return
        if self._figures_at_session_end is not None:
            self._finish_late(fields, failed, end, at, measures)
            return
        row = recorder.writer.closing(
            self._head, at, fields, self._cost, self._tags, failed=failed, end=end, measures=measures
        )
        self._write_once(row)
        recorder.operation_facets.pop(self.id, None)
        if recorder.loops is not None and self.kind == "tool" and not self._is_reported:
            self._is_reported = call is None
            if self._has_only_args and not failed and self._opening_row is not None:
                recorder.loops.ended(self._opening_row, row)
            else:
                cause = None if error is None else _cause(error)
                recorder.loops.look(self._opening_row or row, row, error=cause, failed=failed)
        if call is None or self._outer is not None or measures is None:
            return
        recorder.warn_unpriced(call, row)
        if self._by_itself and not self._is_reported:
            seen = SeenCall(
                self.id,
                self.agent,
                call,
                self.began,
                at,
                measures,
                by=self._by_itself,
                error=_error_event(error) if error is not None else None,
                failed=failed,
            )
            recorder.recent_calls += (seen,)  # not `append`: an interruption after a call would add it twice
            self._is_reported = True

    def _leave_to_child(self) -> None:
        """Write a note that a child ends the operation, as it may do so before this process has exited."""
        at = now_ns()
        note = self._recorder.writer.note(
            "journal", rows.left_to_child_id(self.id), at, name=rows.LEFT_TO_CHILD, parent=self.id
        )
        self._write_once(note)

    def _ends_elsewhere(self) -> bool:
        """Return whether the process that opened the operation is to end it, or another process has ended it."""
        ask = self._recorder.ask
        if is_running(self._pid) and not ask("row", id=rows.left_to_child_id(self.id), phase=rows.DONE):
            return True
        return bool(ask("row", id=self.id, phase=rows.DONE))

    def _write_once(self, row: Row) -> None:
        """Write the closing row once: if a later step is interrupted, the whole is repeated."""
        if not self._is_written:
            self._recorder.write(row)
            self._is_written = True

    def close_unfinished(self) -> None:
        """Close an LLM call that is still open when its session ends; it counts with the figures known so far.

        When the call ends later, the rest is added.
        """
        if self._outer is None and self._figures_at_session_end is None and self._pid == here[0]:
            self._recorder.guarded(self._close_unfinished)

    def _close_unfinished(self) -> None:
        call, at = self._call, now_ns()
        if call is None:
            return
        measures, about = self._recorder.writer.call_measures(call, at, unbilled=False, unfinished=True)
        if self.inner:
            measures = together(measures, self.inner)
        fields = {**call.reply(), **about, "ended_by": UNFINISHED}
        self._recorder.write(self._recorder.writer.closing(self._head, at, fields, tags=self._tags, measures=measures))
        self._figures_at_session_end = measures

    def _finish_late(
        self, fields: dict[str, object], failed: bool, end: int | None, at: int, measures: Measures | None
    ) -> None:
        """Write the result of a call that ended after its session: as a copy, and its figures in a row that counts."""
        recorder, before, id = self._recorder, self._figures_at_session_end or (), new_id(at)
        fields = {**fields, "copy_of": rows.id_text(self.id)}
        if measures is not None:
            fields.update(in_words(measures))
        self._head = (id, COPY, *self._head[2:])
        self._write_once(recorder.writer.closing(self._head, at, fields, tags=self._tags, failed=failed, end=end))
        if measures is not None:
            later = recorder.writer.later_figures(new_id(at), self.id, self.agent, self.began, before, measures)
            if later is not None:
                recorder.write(later)

    def _finish_in_child(
        self, fields: dict[str, object], failed: bool, end: int | None, at: int, measures: Measures | None
    ) -> None:
        """Write what a forked child says about the end as an event of its own: the end is that of the parent."""
        # Without the mark of a result that a resumed run gives back: that is the parent's result.
        fields = {name: value for name, value in fields.items() if name != "once"}
        if measures is not None:
            fields.update(in_words(measures))
        head = (new_id(at), rows.END_IN_CHILD, self._head[2], self.id, self.agent, at)
        self._write_once(self._recorder.writer.closing(head, at, fields, tags=self._tags, failed=failed, end=end))

    def _figures(
        self,
        call: LLMEvent,
        fields: dict[str, object],
        failed: bool,
        error: BaseException | ErrorEvent | str | None,
        at: int,
    ) -> tuple[dict[str, object], Measures | None]:
        """Return the fields of an LLM call's closing row, and its figures; None for a copy, as it does not count."""
        recorder = self._recorder
        call.returns = fields.pop("returns", call.returns)
        if usage_inside and (usage := usage_inside.pop(self.id, None)):
            first = usage.pop("time_to_first_token", None)
            call.time_to_first_token = first if call.time_to_first_token is None else call.time_to_first_token
            for name, value in _lacking(call, usage):
                setattr(call, name, value)
        unbilled = error is not None and is_unbilled(call, _error_event(error))
        measures, about = recorder.writer.call_measures(call, at, unbilled=unbilled)
        fields = {**call.reply(), **about, **fields}
        recorder.open_calls.pop(self.id)
        if self._outer is not None:
            if not (failed or self._is_reported):
                self._outer.inner += (measures,)  # as in `_finish`
                self._is_reported = True
            return {**fields, **in_words(measures)}, None
        if self.inner:
            return fields, together(measures, self.inner)
        known = self._find_duplicate(call, measures, at, failed) if self._by_itself else None
        if known is None:
            return fields, measures
        self._is_duplicate = True
        self._head = (self.id, COPY, *self._head[2:])
        return {**fields, **in_words(measures), "copy_of": rows.id_text(known)}, None

    def _find_duplicate(self, call: LLMEvent, measures: Measures, at: int, failed: bool) -> bytes | None:
        """Return the id of the same call, recorded by another instrumentor between the start of this one and now.

        Some frameworks begin the client's span outside of their own.
        """
        if self._duplicate_of is None:
            self._duplicate_of = self._recorder.take_recent(
                lambda seen: seen.is_duplicate_of_call(self.began, at, call, measures, failed=failed),
                self,
                by=self._by_itself,
            )
        if self._duplicate_of is None:
            return None
        self._recorder.forget_recent(self._duplicate_of)
        return self._duplicate_of.id

    def add_figures(self, call: LLMEvent) -> None:
        """Add a framework's token counts to this call, which ended without any; its own model decides the price."""
        recorder, own = self._recorder, self._call
        seen = next((each for each in reversed(tuple(recorder.recent_calls)) if each.id == self.id), None)
        if own is None or seen is None or seen.failed or any(count is not None for count in seen.measures[1:]):
            return
        call.model, call.provider = own.model or call.model, own.provider or call.provider

        def write() -> None:
            at = now_ns()
            now = recorder.writer.call_measures(call, at, unbilled=False)[0]
            later = recorder.writer.later_figures(new_id(at), self.id, self.agent, self.began, seen.measures, now)
            if later is not None:
                recorder.write(later)
                seen.measures = now

        recorder.guarded(write)

    def note_duplicate_inside(self, event: LLMEvent, at: int) -> None:
        """Keep the figures of the same call, which the program recorded by hand inside this one."""
        if (
            self._call is not None and self._call.cost is None
        ):  # a cost that the program gives wins over the price table
            self._call.cost = event.cost
        measures = self._recorder.writer.call_measures(event, at, unbilled=False)[0]
        if event.second_of is None or event.second_of[0] != at:
            self.inner += (measures,)
            event.second_of = at, self.id  # no function call between these two lines, so nothing can interrupt them

    def error(self, error: BaseException | ErrorEvent | str) -> None:
        """Record its error, linked to it; an exception that was recorded inside it is not recorded again."""
        recorder = self._recorder
        if self._is_duplicate:
            # The error was recorded with the original call.
            if is_a(error, BaseException):
                note_recorded(error, recorder.session, self.parent)
            return
        if not is_a(error, BaseException):
            self._record_error(error)
            return
        is_one_call = bool(self._by_itself) and (self._call is not None or self.kind == COPY)
        if not was_recorded_inside(error, recorder.session, self.id, is_one_call=is_one_call):
            self._record_error(error)
        note_recorded(error, recorder.session, self.parent)

    def passed(self, error: BaseException) -> None:
        """Note that an exception passes through it, if it was recorded inside it."""
        recorder = self._recorder
        if was_recorded_inside(error, recorder.session, self.id):
            note_recorded(error, recorder.session, self.parent)

    def _record_error(self, error: BaseException | ErrorEvent | str) -> None:
        journal = self._recorder.journal
        if self._by_itself and self._call is not None:
            event = _error_event(error)
            self._recorder.own_errors.append((event.error_type, event.details))

        def write() -> None:
            if not self._error_is_written:
                journal.append(self._error_row(error), sync=journal.sync_due())
                self._error_is_written = True

        self._recorder.guarded(write)

    def _error_row(self, error: BaseException | ErrorEvent | str) -> Row:
        event, at = _error_event(error), now_ns()
        return self._recorder.writer.operation_error(self._head, event, new_id(at), at)


def _cause(error: BaseException | ErrorEvent | str) -> tuple[str | None, object]:
    """Return the class and the message of an error."""
    if is_a(error, ErrorEvent):
        return error.error_type, error.details
    return (class_name(error), events.describe(error)) if is_a(error, BaseException) else ("Error", error)


def _error_event(error: BaseException | ErrorEvent | str) -> ErrorEvent:
    """Return the error event of an exception, or of a description of what went wrong."""
    if is_a(error, ErrorEvent):
        return error
    if is_a(error, BaseException):
        return ErrorEvent(exception=error)
    event = ErrorEvent(error_type="Error", details=error, logs="")
    # Only now: without a text, ErrorEvent uses the traceback of the exception that is being handled.
    event.logs = None
    return event
