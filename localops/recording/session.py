"""A session: one run of an agent program, to which events belong.

Several processes may share a session; a `Session` object is one process's handle on it, and its figures always come
from the journal.  `client.py` starts and finds sessions; `reading/session_state.py` ends those whose processes died.
"""

from __future__ import annotations

import os
import time
import uuid
import weakref
from _thread import get_ident
from functools import partial

from localops import clock
from localops.careful import attribute, first_entries, is_a, roomy
from localops.config import nearest
from localops.encoding.facets import inherited
from localops.encoding.facets import tags as facet_tags
from localops.errors import ConfigError, JournalError, UnknownEndState
from localops.interruption import attempt, deliver, hold_if_programs, settle, waiting
from localops.journal.rows import THREAD_ENDED
from localops.output import say
from localops.reading.session_state import failure_reason, is_raised_interrupt
from localops.recording import events, own_scores
from localops.recording.context import NOWHERE, Stay, around, here, parameters, runs, scope, spans
from localops.recording.events import ErrorEvent, Event, LLMEvent
from localops.recording.forked import is_success
from localops.recording.operation import Operation
from localops.recording.operation_rows import OperationRows
from localops.recording.raised import is_recorded
from localops.recording.scores import CODE, HUMAN, STAR, Score, checked, note
from localops.recording.session_facts import SessionFacts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, ParamSpec, Protocol, TypeVar

    from localops.config import Config
    from localops.recording.context import Scope
    from localops.recording.events import Timestamp
    from localops.recording.recorder import Recorder

    P = ParamSpec("P")
    R = TypeVar("R")

    class Parent(Protocol):
        """An operation or a session that an operation may belong to."""

        @property
        def place(self) -> Scope:
            """Return the place of what happens inside it."""


STATES = ("Success", "Failure", "Indeterminate")
_STATE_OF = {state.lower(): state for state in STATES} | {"fail": "Failure"}
_OPTIONS_OF_END = ("end_state", "end_state_reason", "video", "is_auto_end")
# The names for programs, which `dir()` lists; the others are for the rest of the package.
_FOR_PROGRAMS = frozenset(
    "add_tags config create_agent end_session end_state end_state_reason end_timestamp env event_counts events "
    "get_analytics host_env init_timestamp is_running leave name note operation patch project_id record score scores "
    "session_id session_url set_tags set_video star steps tags token_cost update_metadata video".split()
)
# At exit, wait up to this many seconds for another thread that is writing the end, and check after each nap.
_PATIENCE = 1.0
_NAP = 0.005

new_id, now_ns = clock.new_id, clock.now_ns
# Not a WeakSet: its callback is Python code, in which an exception of a signal handler would be lost.
_sessions: set[weakref.ref[Session]] = set()


def _itself(session: Session, _memo: object = None) -> Session:
    """Return the session itself when it is copied."""
    return session


class Session(SessionFacts):
    """One run of an agent program: record into it, read its figures, end it.

    Returned by `localops.init()` and `localops.start_session()`.  In a `with` statement it ends after the block,
    as Success, or as Failure if an exception leaves the block.
    """

    details: Callable[[], str] | None = None  # describes hardware and packages; None once they are written

    def __init__(self, recorder: Recorder, config: Config, on_end: Callable[[Session], None]) -> None:
        super().__init__(recorder, config)
        self.is_unattributed = False  # it holds events that belong to no known session, and is never the current one
        self.returns: object = None  # the result of its `@session` function; written with the end
        self._on_end = on_end
        self._turn_to_end: list[None] = [None]  # the thread that pops the item ends the session
        self._ender = 0
        self._before = scope.get()
        _sessions.add(weakref.ref(self, _sessions.discard))

    @property
    def video(self) -> str | None:
        """Return its video: a URL, or `blob:` and a digest for a file that was copied into the project."""
        video: str | None = self.recorder.story().video
        return video

    @video.setter
    def video(self, video: str) -> None:
        self.set_video(video)

    def __dir__(self) -> list[str]:
        return sorted({*_FOR_PROGRAMS, *(name for name in dir(type(self)) if name.startswith("__"))})

    # Recording

    def record(self, event: Event, flush_now: bool = False, *, _at: int = 0) -> None:  # noqa: ARG002
        """Write an event to the journal; once this returns, it survives the end of the process.

        Raise only LimitReached (after the row is written), unless the session is strict.  An exception that the
        program's signal handlers or other threads raise meanwhile is raised after the row is written.
        `flush_now` is accepted because AgentOps has it: there is nothing to flush.  `_at` is when the call began,
        if the session had to be opened first.
        """
        at = _at
        written = True
        recorder = self.recorder
        try:
            at = at or now_ns()
            owner, parent, agent = here() if spans or runs else scope.get()
            if owner is not self:
                parent = agent = None
            if event.plain and not recorder.must_attend:
                recorder.write_event(event, at, parent, agent)  # most events are of this kind
            else:
                recorder.record(event, at, parent, agent)
        except JournalError:  # strict, and written nowhere
            raise
        except BaseException as error:
            # The edge: recording never breaks the recorded program.
            written = self._record_again(event, at or now_ns(), error)
        if recorder.cut:
            recorder.count_cut()
        if waiting:
            deliver()
        if written and not event.plain:
            loops = recorder.loops
            if recorder.budget is not None or (loops is not None and loops.waiting):
                self.check_budget()

    def _record_again(self, event: Event, at: int, error: BaseException) -> bool:
        """Write an event whose recording was interrupted by an exception, unless its row is already written."""
        recorder = self.recorder
        if not issubclass(type(event), Event):
            hold_if_programs(error)
            recorder.refuse(event)
            return False

        def record() -> None:
            if event.ended_ns != at:
                recorder.record(event, at, *self.here()[1:])
            elif isinstance(event, LLMEvent):
                recorder.add_to_first(event, at)

        return recorder.recover(error, record) is not None

    def uncaught(self, error: BaseException, *, thread: str | None = None, process: str | None = None) -> None:
        """Record an uncaught exception, unless it is already recorded; the budget is not checked.

        `thread` is the name of the thread that it ended, `process` that of a child process; the program continues.
        """
        if not is_recorded(error, self._id):
            self._record_uncaught(error)
        if thread is not None or process is not None:
            # With a process, too, a thread is named: earlier releases look for it.
            facts: dict[str, object] = {"thread": thread if thread is not None else "MainThread"}
            if process is not None:
                facts["process"] = process
            facts["type"] = ErrorEvent(exception=error).error_type
            self.recorder.note("journal", facts, name=THREAD_ENDED)

    def _record_uncaught(self, error: BaseException) -> None:
        at = now_ns()
        event: ErrorEvent | None = None

        def record() -> None:
            nonlocal event
            if event is None:
                made = ErrorEvent(exception=error)
                made.began_ns = at  # it must not begin after its row is written
                event = made
            if event.ended_ns is None:
                self.recorder.record(event, at, *self.here()[1:])

        self.recorder.guarded(record)

    def operation(
        self,
        name: str,
        kind: str = "operation",
        *,
        params: object = None,
        prompt: object = None,
        model: str | None = None,
        provider: str | None = None,
        system_instructions: object = None,
        tool_definitions: object = None,
        stream: bool | None = None,
        parent: Operation | None = None,
        agent_id: uuid.UUID | str | None = None,
        tags: Iterable[str] | str | None = None,
        cost: float | None = None,
        start: Timestamp | None = None,
        user: str | None = None,
        conversation: str | None = None,
        metadata: Mapping[str, object] | None = None,
        **more: object,
    ) -> Operation:
        """Return an operation to open and close by hand, or in a `with` statement.

        kind: "llm", "tool", "agent", "workflow", "task", "guardrail", "action", "operation", or a word of your own.
        params: its arguments; for an LLM call, the parameters of the request other than the prompt.
        prompt, model, provider, system_instructions, tool_definitions, stream: for an LLM call.
        parent: the operation it belongs to [the one that the calling code is in].
        start: when it began [when it is opened]. cost: in US dollars, if it is known beforehand.
        user, conversation, metadata: who and what it is about; they apply to everything inside it, too.
        Other keywords are kept with it.
        """
        if "once" in more:
            raise ConfigError(
                "a `with` block cannot be left out when it was done before: put the step into a function, and call "
                f"localops.{kind if kind in ('tool', 'task') else 'operation'}(once=True, name={name!r})(function)(...)"
            )
        kind = events.operation_kind(kind)
        about = facet_tags(user, conversation, metadata)
        if metadata is not None:
            more["metadata"] = metadata
        call = None
        if kind == "llm":
            call = LLMEvent(
                prompt=prompt,  # type: ignore[arg-type]  # messages of any shape are kept
                model=model,
                provider=provider,
                system_instructions=system_instructions,
                tool_definitions=tool_definitions,
                stream=stream,
                cost=cost,
            )
        else:
            of_call = {
                "prompt": prompt,
                "model": model,
                "provider": provider,
                "system_instructions": system_instructions,
                "tool_definitions": tool_definitions,
                "stream": stream,
            }
            more.update((key, value) for key, value in of_call.items() if value is not None)
        agent = None
        if agent_id is not None:
            agent = self.recorder.writer.agent_id(agent_id)
            self.recorder.guarded(lambda: self.recorder.name_agent(agent_id, now_ns()))
        began = events.to_ns(start) if start is not None else None

        def begin() -> OperationRows | None:
            return self.begin(
                kind,
                name,
                params,
                agent=agent,
                tags=tags,
                cost=cost,
                more=more,
                parent=parent,
                call=call,
                start=began,
                about=about,
            )

        return Operation(self, kind, name, call, begin)

    def begin(
        self,
        kind: str,
        name: str,
        params: object = None,
        *,
        agent: bytes | None = None,
        tags: Iterable[str] | str | None = None,
        cost: float | None = None,
        more: Mapping[str, object] | None = None,
        parent: Parent | None = None,
        call: LLMEvent | None = None,
        start: int | None = None,
        by_itself: str | None = None,
        about: Sequence[str] = (),
        synced: bool = False,
    ) -> OperationRows | None:
        """Write the opening row of an operation, and return the object that closes it; None if that failed.

        If the process dies before the end, this row shows where.  `more` goes into its body, beside the params.
        `by_itself` is the name of the instrumentor that records it.  Raise BudgetExceeded if the session's budget is
        spent, and a LimitReached that a hook raises.
        """
        self.check_budget()
        if kind == "tool" and self.recorder.loops is not None and self.recorder.loops.stopped:
            _refuse_loop(self, name, params, agent, parent)
        if kind == "tool" and self.config.polling and type(name) is str and name in self.config.polling:
            more = {**(more or {}), "polling": True}

        def write() -> OperationRows:
            if self.recorder.must_attend:
                self.recorder.attend()
            _, outer, current = self.here() if parent is None else parent.place
            at = now_ns() if start is not None else None
            rows = OperationRows(
                self.recorder,
                kind,
                name,
                outer,
                agent or current,
                tags,
                cost,
                call,
                start,
                by_itself=by_itself,
                about=about,
            )
            rows.open(params, more, at=at, synced=synced)
            return rows

        begun = self.recorder.guarded(write)
        return begun[0] if begun is not None else None

    def check_budget(self) -> None:
        """Raise BudgetExceeded, or call the hook, if the session has spent its budget; call `on_loop` for new loops."""
        if self.recorder.budget is not None:
            note = self.recorder.note_budget
            self.recorder.budget.check(
                self, self.config.on_budget, lambda spent, budget: note(spent, budget, self.here())
            )
        loops = self.recorder.loops
        if loops is not None and loops.waiting and self.config.on_loop is not None:
            loops.alarm(self, self.config.on_loop)

    def here(self) -> Scope:
        """Return the place of the calling code in this session: its operation and its agent."""
        place = here()
        return place if place[0] is self else (self, None, None)

    # More facts about it

    def add_tags(self, tags: Iterable[str] | str) -> None:
        """Add tags to it."""
        self._note_tags("add", tags)

    def set_tags(self, tags: Iterable[str] | str) -> None:
        """Replace its tags."""
        self._note_tags("set", tags)

    def _note_tags(self, how: str, tags: Iterable[str] | str) -> None:
        if how == "set" and self.recorder.facets:
            tags = inherited(tags, self.recorder.facets.values())
        text = self.recorder.writer.tags_text(tags)
        if text is not None or how == "set":
            self.recorder.note("tags", {}, name=how, tags=text or "[]")
        deliver()

    def set_video(self, video: str | os.PathLike[str]) -> None:
        """Set its video: a URL is kept as it is, a file is copied into the project."""
        self._set_video(video)
        deliver()

    def _set_video(self, video: str | os.PathLike[str]) -> None:
        kept = self.recorder.writer.keep_media(video)
        if kept is video and "://" not in (name := self.recorder.writer.text(events.describe(video), 200)):
            say(f"there is no file {name!r} to keep as the video: its name is kept")
        self.recorder.note("video", {"video": kept})

    def create_agent(self, name: str, agent_id: uuid.UUID | str | None = None) -> str:
        """Register an agent, and return its id; events with this id, or inside the agent, belong to it."""
        id = self.add_agent(name, agent_id)
        if waiting:
            deliver()
        return id

    def add_agent(self, name: str, agent_id: uuid.UUID | str | None = None) -> str:
        """Do the same, but leave exceptions of the program's signal handlers to the caller, who has more to do."""
        at = now_ns()
        given = agent_id if agent_id is not None else uuid.UUID(bytes=new_id(at))
        self.recorder.guarded(lambda: self.recorder.create_agent(name, given, at, named=agent_id is not None))
        return events.describe(given)

    def update_metadata(
        self, metadata: Mapping[str, object], prefix: str = "trace.metadata", *, facets: bool = False
    ) -> None:
        """Store facts about the session; a later fact replaces an earlier one of the same name.

        facets: also make a tag NAME=VALUE of each plain value, so that sessions can be found and counted by it.
        """
        whole: dict[str, object] = {"value": metadata}
        facts = attempt(lambda: first_entries(metadata) if hasattr(metadata, "keys") else whole, whole)
        self.recorder.note("metadata", {"prefix": prefix, "metadata": facts})
        if facets:
            self._tag_facets(facet_tags(metadata=facts))
        deliver()

    def _tag_facets(self, tags: list[str]) -> None:
        """Tag it with facets; each replaces one of the same name that this process set before."""
        known, fresh = self.recorder.facets, {tag.partition("=")[0]: tag for tag in tags}
        changed = {known[name] for name, tag in fresh.items() if known.get(name, tag) != tag}
        new = [tag for name, tag in fresh.items() if known.get(name) != tag]
        known.update(fresh)
        if changed:
            self._note_tags("set", [tag for tag in self.tags if tag not in changed] + new)
        elif new:
            self._note_tags("add", new)

    def score(
        self,
        name: str,
        value: float | bool | str | None,
        *,
        by: str = CODE,
        comment: object = None,
        version: str | None = None,
        event: Event | Operation | uuid.UUID | str | None = None,
    ) -> None:
        """Score the session, or one of its events, with a number, True or False, or a short text that names a category.

        For each name and author, the newest score counts; None withdraws it. Earlier ones stay in the journal. A score
        may be given at any time, also after the end. An invalid value, such as NaN, prints a warning.

        by: the author: "human", a name, a model. version: of the author. comment: the reason.
        """
        given = Score(name, value, by, comment, version, event)
        own_scores.give(self.recorder, lambda: checked(given), strict=self.config.strict)
        deliver()

    def note(self, text: object, *, by: str = CODE, event: Event | Operation | uuid.UUID | str | None = None) -> None:
        """Store a note about the session, or about one of its events."""
        own_scores.give(self.recorder, lambda: note(text, by, event), strict=self.config.strict)
        deliver()

    def star(self, on: bool = True, *, by: str = HUMAN) -> None:
        """Mark it with a star, which is a score of that name; False removes it."""
        self.score(STAR, on, by=by)

    def patch(self, func: Callable[P, R]) -> Callable[P, R]:
        """Return the function, recording into this session; it gets `session=` if it has such a parameter."""
        wanted = "session" in parameters(func)

        def begin(_: tuple[Any, ...], kwargs: dict[str, Any]) -> Stay:
            if wanted:
                kwargs.setdefault("session", self)
            return Stay(self.here())

        return around(func, begin)

    # Figures and end

    def end_session(
        self,
        end_state: str = "Indeterminate",
        end_state_reason: str | None = None,
        video: str | None = None,
        is_auto_end: bool = False,
        **others: Any,
    ) -> str | None:
        """End it, and return its total cost in US dollars, as text.

        Success, Failure (or Fail) and Indeterminate are accepted in any letter case; anything else prints a warning,
        and the session stays open.  Ending it again does nothing and returns None.  `is_auto_end` is for frameworks:
        with `skip_auto_end_session=True` such a call is ignored.  Any other option is kept as metadata, with a
        warning.
        """
        if is_auto_end and self.config.skip_auto_end_session:
            return None
        if others:
            self._keep_unknown_options(others)
        return self._end_as(end_state, end_state_reason, video)

    def _end_as(self, end_state: str, end_state_reason: str | None, video: str | None) -> str | None:
        state = _STATE_OF.get(events.describe(attribute(end_state, "value", end_state)).lower())
        if state is None:
            self._warn_of_state(end_state)
            return None
        if self._ended is not None or not self._take_turn_to_end():
            return None
        self.recorder.close_unfinished_calls()
        given = {"reason": end_state_reason, "returns": self.returns}
        fields = {key: value for key, value in given.items() if value is not None}
        steps: list[Callable[[], None]] = [lambda: self.recorder.note("end", fields, name=state), self.tell_host]
        if video is not None:
            steps.append(lambda: self._set_video(video))

        def write() -> None:
            while steps:
                steps[-1]()
                del steps[-1]

        try:
            while steps:
                if self.recorder.guarded(write) is None:
                    del steps[-1]
        except Exception:  # strict, and written nowhere
            self._set_ended(state, end_state_reason, now_ns())
            raise
        except BaseException:
            # Interrupted: it stays open, and the end of the process ends it.
            self._turn_to_end.append(None)
            raise
        self._set_ended(state, end_state_reason, now_ns())
        cost = self._total_cost()
        deliver()
        return cost

    def _keep_unknown_options(self, others: Mapping[str, object]) -> None:
        """Keep unknown options of `end_session` as metadata of the session, and warn: they may be misspelt."""
        problem = f"end_session() has no option {', '.join(map(repr, others))}"
        meant = dict.fromkeys(filter(None, (nearest(name, _OPTIONS_OF_END) for name in others)))
        hint = f"; did you mean {' and '.join(meant)}?" if meant else ""
        if self.config.strict:
            raise ConfigError(f"{problem}: it has {', '.join(_OPTIONS_OF_END)}{hint}")
        say(f"{problem}: kept as metadata of the session{hint}")
        self.update_metadata(others, "agentops.legacy")

    def _take_turn_to_end(self) -> bool:
        """Return True to one caller only: if several threads end a session, one of them writes the end.

        This never waits: a signal handler may call it while another thread is writing the end.
        """
        try:
            self._turn_to_end.pop()
        except IndexError:
            return False
        self._ender = get_ident()
        return True

    def _set_ended(self, state: str, reason: str | None, at: int) -> None:
        self._ended = (state, reason, at)
        self.recorder.has_ended = self.recorder.must_attend = True
        self._close()

    def end_unasked(self, state: str, reason: str | None = None, *, dying: bool = False) -> None:
        """End it because its process or its block ends, unless the program has ended it explicitly.

        `dying` is for a signal handler: it may have interrupted the thread that was writing the end, which will not
        continue.
        """
        if self._ended is None and not self._turn_to_end:
            self._await_end(dying=dying)
        if self._ended is not None or not self._turn_to_end:
            return
        end = self.recorder.explicit_end()
        if end is None:
            self.end_session(state, reason)
            return
        self.recorder.close_unfinished_calls()
        if self.returns is not None:
            # It would have been written with the end.
            self.update_metadata({"returns": self.returns}, prefix="localops")
        self._set_ended(end.state, end.reason, end.ended_ns or now_ns())

    def _await_end(self, *, dying: bool) -> None:
        """Wait a moment for the thread that is writing the end; if it does not finish, end the session in its place."""
        if self._ender == get_ident() and not dying:
            # A finaliser runs while this thread writes the end: waiting would be a deadlock.
            return
        patience = 0 if dying else _PATIENCE
        while patience > 0 and self._ended is None and not self._turn_to_end:
            time.sleep(_NAP)
            patience -= _NAP
        if self._ended is None and not self._turn_to_end:
            self._turn_to_end.append(None)

    def _warn_of_state(self, end_state: object) -> None:
        wrong = events.describe(end_state)
        message = f"a session ends as Success, Failure or Indeterminate, not as {wrong!r}; it stays open"
        if self.config.strict:
            raise UnknownEndState(message)
        say(message)

    def _close(self) -> None:
        """Leave the scope, and remove it from the client's list of open sessions."""
        self._journal.sessions.discard(self._id)
        if scope.get()[0] is self:
            before = self._before
            scope.set(before if before[0] is not None and before[0].is_running else NOWHERE)
        self._on_end(self)

    def leave(self, state: str | None = None, reason: str | None = None) -> None:
        """Stop taking part without ending it, as a process does that only joined it.

        `state` and `reason` are those that the session would have, had this process begun it.
        """
        if self._ended is None and self.recorder.is_here():
            self.recorder.close_unfinished_calls()
            if self.recorder.explicit_end() is None:
                # Not after the end: another row would make the session last until now.
                self.recorder.note("leave", {} if state is None else {"state": state, "reason": reason})
            self._close()
            deliver()

    def forget(self) -> None:
        """Leave it without writing a row, as another process ended it."""
        if self._ended is None:
            self._close()

    def tell_host(self) -> None:
        """Write hardware and packages, which take too long to look up at the start."""
        # Removed first, so that only one of two threads writes the row.
        details = self.__dict__.pop("details", None)
        if details is None or not self.recorder.is_here():
            return
        describe = partial(roomy, details)  # the program may be deep in its calls
        try:
            body = describe()
        except BaseException as error:
            # The edge: failing to describe the machine must not break the program.
            try:
                body = settle(error, describe)
            except BaseException as problem:
                say(f"the machine could not be described: {events.describe(problem)}")
                return
        self.recorder.note("host", body=body)

    # Some frameworks copy agents, and an agent may hold its session: the copy records into the same session.
    __copy__ = __deepcopy__ = _itself

    def __enter__(self) -> Session:
        if scope.get()[0] is not self:
            self._before = scope.get()
            scope.set((self, None, None))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.finish(error)

    def finish(self, error: BaseException | None = None) -> None:
        """End it as Success, or as Failure if its code raised an exception.

        If its code is a generator that was closed before its end, success or failure is not known: Indeterminate.
        A process that only joined it leaves it; the session continues.
        """
        if not self.is_running:
            return
        if error is not None and (is_a(error, Exception) or is_raised_interrupt(error)):
            self.uncaught(error)
        if not self.owned():
            self.leave()
        elif is_a(error, GeneratorExit):
            self.end_unasked("Indeterminate", "its generator was closed before its end")
        elif error is None or is_success(error):
            self.end_unasked("Success")
        else:
            self.end_unasked("Failure", failure_reason(error))


def _after_fork() -> None:
    for session in filter(None, [reference() for reference in list(_sessions)]):
        session.recorder.must_attend = True
        if session._ended is None and not session._turn_to_end:
            # A thread of the parent was ending it; the child does not have this thread.
            session._turn_to_end.append(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _refuse_loop(session: Session, name: str, params: object, agent: bytes | None, parent: Parent | None) -> None:
    """Call `on_loop` again if a tool call that is about to begin continues a loop that the hook stopped."""
    loops, hook, writer = session.recorder.loops, session.config.on_loop, session.recorder.writer
    agent = agent or (session.here() if parent is None else parent.place)[2]
    if loops is None or hook is None or agent not in loops.stopped:
        return
    fields = {"params": params} if params is not None else {}
    begun = attempt(lambda: (str(writer.text(name)), writer.encode(fields)), None)
    if begun is not None:
        loops.refuse(session, hook, *begun, agent)
