"""What events belong to: a session, and how a thing that happened becomes its row.

A session object is one process's hold on a session that many processes may share; its figures always come
from the journal.  Who starts and finds sessions is `client.py`; how nobody's sessions end is `ends.py`.
"""

from __future__ import annotations

import inspect
import os
import time
import uuid
import weakref
from _thread import get_ident

from localops import clock, encode, ends, events, rows, spill
from localops.context import NOWHERE, Stay, around, scope
from localops.errors import BudgetExceeded, ConfigError, JournalError, UnknownEndState
from localops.events import ErrorEvent, Event, LLMEvent, to_id
from localops.interruption import attempt, deliver, hold, hold_if_programs, is_programs, pass_on, settle, waiting
from localops.measures import NO_USAGE, UNMEASURED, given_times, of_llm, of_tool, unusable
from localops.operation import Operation, is_recorded, tell
from localops.output import cost as in_dollars
from localops.output import say, say_once
from localops.story import Story

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, ParamSpec, TypeVar

    from localops.analytics import Totals
    from localops.config import Config
    from localops.context import Scope
    from localops.ends import Standing
    from localops.journal import Journal
    from localops.pricing import Prices
    from localops.rows import Row

    P = ParamSpec("P")
    R = TypeVar("R")

STATES = ("Success", "Failure", "Indeterminate")
_STATE_OF = {state.lower(): state for state in STATES} | {"fail": "Failure"}
_KINDS = {"actions": "action", "llms": "llm", "tools": "tool", "errors": "error"}
_COST, _UNPRICED = 11, 12  # where the query `totals` has them
_SESSION = rows.COLUMNS.index("session")
_WARN_AT = 0.8  # of the budget
_NO_FIELDS: Mapping[str, object] = {}
_MOST_TAGS = 100_000  # of one event or session: an iterator may have no end
# What a session offers to programs; its other names are for the rest of the package.
_FOR_PROGRAMS = frozenset(
    "add_tags config create_agent end_session end_state end_state_reason end_timestamp env event_counts events "
    "get_analytics host_env init_timestamp is_running leave name patch project_id record session_id session_url "
    "set_tags set_video tags token_cost update_metadata video".split()
)
_PATIENCE = 1.0  # seconds that an unasked end waits for one that another thread is writing
_NAP = 0.005
_AGAIN = 0.5  # seconds until a first row that no place took is tried again

new_id, now_ns, plain, seal, FORMAT = clock.new_id, clock.now_ns, rows.plain, rows.seal, rows.FORMAT
_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


class Session:
    """One run of an agent program: record into it, ask for its figures, end it.

    Made by `localops.init()` and `localops.start_session()`.  Used in a `with` statement it ends by itself,
    as Success or as the Failure that an exception makes it.
    """

    _details: Callable[[], str] | None = None  # finds out about the machine what is not written yet

    def __init__(
        self,
        id: bytes,
        journal: Journal,
        config: Config,
        encoder: encode.Encoder,
        prices: Callable[[], Prices],
        *,
        name: str | None,
        owned: bool,
    ) -> None:
        self._id = id
        self._journal = journal
        self._append = journal.append
        self._encoder = encoder
        self._encode = encoder.encode
        self._text = encoder.text
        self._budget = config.budget_usd
        self._prices = prices
        self.config = config
        self._name = name
        self._owner = os.getpid() if owned else 0
        self._attention = False  # something is to be done before the next row: see _attend
        self._pid = os.getpid()
        self._ended: tuple[str, str | None, int] | None = None
        self._began = now_ns()
        self._warned: dict[str, object] = {}
        self._turn_to_end: list[None] = [None]  # taken by the one thread that ends it
        self._ender = 0
        self._start: dict[str, Any] | None = None  # how its first row was to be written, while that has not succeeded
        self._start_at = 0.0
        self.is_unattributed = False  # it takes what belongs to no session that is known, and is never the current one
        self.returns: object = None  # what its function returned; written with the end
        self._before = scope.get()
        self._cut: dict[int, int] = {}  # values that could not be kept whole, by thread: see blobs.Keeper
        self._on_end: Callable[[Session], None] | None = None
        _sessions.add(self)

    # What it is

    @property
    def session_id(self) -> uuid.UUID:
        """The id; hand it to other processes as `inherited_session_id`."""
        return uuid.UUID(bytes=self._id)

    @property
    def project_id(self) -> str:
        """The project it is recorded in: the one given, or the one that the API key stands for."""
        return os.path.basename(self._journal.folder)

    @property
    def name(self) -> str | None:
        """What it is listed as: as given, else its `@session` function, else the script."""
        if self._name is None:  # begun elsewhere, under a name that the journal knows
            self._name = self._story().name
        return self._name

    @property
    def tags(self) -> list[str]:
        """The tags it has now, whoever set them."""
        return [tag for (tag,) in self._ask("session_tags", session=self._id)]

    @property
    def init_timestamp(self) -> str:
        """When it began (in this process, if it was begun in another), as ISO 8601 in UTC."""
        return events.iso(self._began)

    @property
    def end_timestamp(self) -> str | None:
        """When it was ended here; None while it runs."""
        return events.iso(self._ended[2]) if self._ended else None

    @property
    def end_state(self) -> str:
        """How it was ended here; `Indeterminate` until then."""
        return self._ended[0] if self._ended else "Indeterminate"

    @property
    def end_state_reason(self) -> str | None:
        """Why it ended so, if that was said."""
        return self._ended[1] if self._ended else None

    @property
    def is_running(self) -> bool:
        """Whether it is open in this process."""
        return self._ended is None

    @property
    def host_env(self) -> dict[str, Any]:
        """The machine and the Python it runs on, as far as it was allowed to be collected."""
        found: dict[str, Any] = {}
        for one in self._story().of_kind("session", "host"):
            found.update(one.body.get("host_env", {}))
        return found

    @property
    def token_cost(self) -> str:
        """What it has cost so far in US dollars, as `end_session` gives it."""
        return self._total_cost() or "0.00"

    @property
    def event_counts(self) -> dict[str, int]:
        """How many events of AgentOps' kinds it has, over all processes: llms, tools, actions, errors, apis."""
        figures = self._figures()
        found = {"llms": figures.llms, "tools": figures.tools, "actions": figures.actions, "errors": figures.errors}
        others = figures.events > sum(found.values())
        return {**found, "apis": sum(event["kind"] == "api" for event in self.events) if others else 0}

    @property
    def session_url(self) -> None:
        """AgentOps' page about it: there is none here; `localops show` tells of it."""

    @property
    def video(self) -> str | None:
        """The recording that belongs to it: a URL, or `blob:` and a digest for a file that was copied in."""
        video: str | None = self._story().video
        return video

    @video.setter
    def video(self, video: str) -> None:
        self.set_video(video)

    @property
    def events(self) -> Iterator[dict[str, Any]]:
        """Its events from the journal, oldest first, those of other processes included."""
        from localops import analytics

        return analytics.events(self._journal, self._id)

    def env(self) -> dict[str, str]:
        """The environment for a subprocess whose `localops.init()` is to join this session."""
        here = scope.get()
        given = {
            "LOCALOPS_SESSION_ID": str(self.session_id),
            "LOCALOPS_HOME": os.path.dirname(self._journal.folder),
            "LOCALOPS_PROJECT": self.project_id,
        }
        if here[0] is self and here[1] is not None:
            given["LOCALOPS_PARENT"] = here[1].hex()
        return {**os.environ, **given}

    def __dir__(self) -> list[str]:
        return sorted({*_FOR_PROGRAMS, *(name for name in dir(type(self)) if name.startswith("__"))})

    def __repr__(self) -> str:
        state = f"ended as {self.end_state}" if self._ended else "running"
        return f"<Session {self.name or 'unnamed'!r} {str(self.session_id)[:13]}, {state} in {self.project_id}>"

    # Recording

    def record(self, event: Event, flush_now: bool = False) -> None:  # noqa: ARG002
        """Write an event to the journal; when this returns, it outlives the process.

        Nothing is raised but BudgetExceeded (after the row is written), unless the session is strict.  What the
        program's own signal handlers raise meanwhile, or its other threads, is raised when the row is written.
        `flush_now` is taken for AgentOps' sake: there is nothing to flush.
        """
        at = 0
        written = True
        try:
            at = now_ns()
            if event.plain and not self._attention:
                self._write(event, at)  # not by `_record`: each call is felt, and most events are of this kind
            else:
                self._record(event, at)
        except JournalError:  # strict, and written nowhere
            raise
        except BaseException as error:  # the edge: recording never breaks the program that is recorded
            written = self._record_again(event, at or now_ns(), error)
        if self._cut:
            self._count_cut()
        if waiting:
            deliver()
        if self._budget is not None and written and not event.plain:
            self._check_budget()

    def _record_again(self, event: Event, at: int, error: BaseException) -> bool:
        """Write an event whose recording ended in an exception, unless it was written before that."""
        if not issubclass(type(event), Event):
            if is_programs(error):
                hold(error)
            self._refuse(event)
            return False

        def record() -> None:
            if event._ended != at:
                self._record(event, at)

        return self._recover(error, record) is not None

    def _record(self, event: Event, at: int) -> None:
        if self._attention:
            self._attend()
        if event.plain:
            self._write(event, at)
        elif isinstance(event, ErrorEvent):
            self._record_error(event, at)
        else:
            self._record_measured(event, at)

    def _recover(self, error: BaseException, step: Callable[[], R]) -> tuple[R] | None:
        """Repeat a step that the program interrupted, in a tuple; None where it fails by itself, which is counted."""
        try:
            return (settle(error, step),)
        except JournalError:  # strict, and written nowhere
            raise
        except BaseException as failure:
            self._failed(failure)
            return None

    def _record_measured(self, event: Event, at: int, failed: int | None = None, *, unbilled: bool = False) -> None:
        """Write an event with its model, tokens and cost."""
        measures = of_llm(event, at, self._text, self._prices) if isinstance(event, LLMEvent) else of_tool(event)
        more: Mapping[str, object] = unusable(event) or _NO_FIELDS
        if unbilled:
            measures = (*measures[:-1], 0)
            more = {**more, "billed": False}
        self._write(event, at, measures, failed, None, more)
        if self._budget is not None and isinstance(event, LLMEvent) and measures[-1] is None:
            self._say_unpriced(event)

    def _write(
        self,
        event: Event,
        at: int,
        measures: tuple[Any, ...] = UNMEASURED,
        failed: int | None = None,
        parent: bytes | None = None,
        more: Mapping[str, object] = _NO_FIELDS,
    ) -> None:
        owner, operation, agent = scope.get()
        if owner is not self:
            operation = agent = None
        parent = parent or operation
        if event.agent_id is not None:
            agent = self.agent_id(event.agent_id)
        given = event.event_type
        kind = _KINDS.get(given) if type(given) is str else None
        name = event.title()
        if kind is None:
            kind, name = self._other_kind(event, name)
        if kind == "llm" and measures is UNMEASURED:
            measures, more = NO_USAGE, {**more, "billed": False}
        if name is not None:
            name = self._text(name)
        fields = event.fields()
        fields.update(more)
        id = new_id(at) if event._id is None or event.recorded else self._given_id(event._id, at, fields)
        start: int | None = event._began
        end: int | None = None
        if event._given_start is not None or event._given_end is not None:
            start, end = given_times(event, fields)
        if "screenshot" in fields:
            fields["screenshot"] = self.keep_media(fields["screenshot"])
        body = self._encode(fields) if fields else None
        if event.tags is None and measures is UNMEASURED and failed is None and end is None:
            row = plain(id, 0, self._id, kind, name, parent, agent, at, start, body)
        else:
            head = (id, 0, self._id, kind, name, parent, agent, at, start, end)
            row = seal((*head, *measures, failed, self._event_tags(event), FORMAT), body)
        if not self._append(row, kind == "error" and self._journal.sync_due()):
            self._not_written()
        event._id, event._ended, event.recorded = id, at, True

    def _event_tags(self, event: Event) -> str | None:
        return self._tags_text(event.tags) if event.tags is not None else None

    def _other_kind(self, event: Event, name: str | None) -> tuple[str, str | None]:
        """Return kind and name of an event whose type is none of the usual words."""
        word = event.misplaced_type()
        if word is None:
            return self._text(event.kind, 64), name
        which = events.class_name(event)
        say_once(
            f"type of {which}",
            f"the first argument of {which} is its type, and {word[:40]!r} is none: it counts as {event.kind}; "
            f"give a name with name={word[:40]!r}",
        )
        return event.kind, name if name is not None else word

    def _given_id(self, given: object, at: int, fields: dict[str, object]) -> bytes:
        """The id that the program chose; where it is taken, or no UUID, its own word stays in the body."""
        id = to_id(given)
        taken = not self._journal.losses.claim(id) or bool(self._ask("row", id=id, phase=rows.DONE))
        if taken:
            word = events.describe(given)
            say_once("ids", f"an event was given the id {word}, which is taken: it is kept under one of its own")
        if taken or not events.is_uuid(given):
            fields["given_id"] = given
        return new_id(at) if taken else id

    def _ask(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """What the journal says; nothing, which is said, where it cannot be read."""
        try:
            return self._journal.all(query, **values)
        except BaseException as error:  # the edge: asking never breaks the program either
            return self._ask_again(error, query, values)

    def _story(self) -> Story:
        """Return what the books say of it, over all processes."""
        return Story.of_rows(self._ask("story", session=self._id))

    def _ask_again(self, error: BaseException, query: str, values: dict[str, object]) -> list[tuple[Any, ...]]:
        """The answer, if the program interrupted the question; nothing, if the journal cannot give it."""
        try:
            return settle(error, lambda: self._journal.all(query, **values))
        except BaseException as problem:
            error = problem
            what = str(error) if isinstance(error, JournalError) else f"the journal cannot be read: {error}"
            if self.config.strict:
                raise JournalError(what) from error
            say_once("read", f"{what}; as long as that is so, figures are 0 and lists are empty")
            return []

    def _record_error(self, event: ErrorEvent, at: int) -> None:
        """Write an error after the event that it happened in, and link the two."""
        trigger = event.trigger_event
        measures: tuple[Any, ...] = UNMEASURED
        failed, parent, link = None, None, _NO_FIELDS
        if trigger is not None and issubclass(type(trigger), Event):
            if not trigger.recorded:
                self._record_measured(trigger, at, 1, unbilled=_is_unbilled(trigger, event))
                trigger.failed = True
            elif not trigger.failed:  # its row cannot change any more: this one says that it failed
                failed = 1
                if _is_unbilled(trigger, event):
                    self._price_failed_call(trigger)
            parent = trigger.id.bytes
            model = getattr(trigger, "model", None)
            measures = (self._text(model, 256) if model is not None and failed else None, *UNMEASURED[1:])
            link = {"trigger": {"id": rows.id_text(parent), "kind": trigger.kind, "name": trigger.title()}}
        self._write(event, at, measures, failed, parent, link)
        if failed and trigger is not None:
            trigger.failed = True  # not before: whoever is interrupted and begins again must find it as it was
        if event.exception is not None:
            tell(event.exception, self._id, self.here()[1])

    def _price_failed_call(self, call: Event) -> None:
        """Write a price of 0 for a call that was recorded before it failed, and was not billed."""
        from localops import repricing

        for stored in self._ask("row", id=call.id.bytes, phase=rows.DONE):
            if not self._append(repricing.unbilled_row(stored)):
                self._not_written()

    def uncaught(self, error: BaseException) -> None:
        """Record an exception that nobody caught, unless it is recorded; the budget has no say in that."""
        if is_recorded(error, self._id):
            return
        at = now_ns()
        event: list[ErrorEvent] = []

        def record() -> None:
            if not event:
                made = ErrorEvent(exception=error)
                made._began = at  # it began no later than it is written
                event.append(made)
            if event[0]._ended is None:
                self._record(event[0], at)

        self._guarded(record)

    def _guarded(self, step: Callable[[], R]) -> tuple[R] | None:
        """Do what ends with a row, and keep from the program what goes wrong; in a tuple, or None if it did."""
        try:
            done: tuple[R] | None = (step(),)
        except JournalError:  # strict, and written nowhere
            raise
        except BaseException as error:  # the edge: recording never breaks the program that is recorded
            done = self._recover(error, step)
        if self._cut:
            self._count_cut()
        return done

    def begin(
        self,
        kind: str,
        name: str,
        params: object = None,
        *,
        agent: bytes | None = None,
        tags: Iterable[str] | None = None,
        cost: float | None = None,
        more: Mapping[str, object] | None = None,
    ) -> Operation | None:
        """Write that an operation has begun, and give back what ends it; None when that could not be done.

        If the process dies before its end, this row is the witness of where it died; `more` goes into its
        body, beside the params.  BudgetExceeded is raised here when the session's budget is spent.
        """
        if self._budget is not None:
            self._check_budget()
        begun = self._guarded(lambda: self._begin(kind, name, params, agent, tags, cost, more))
        return begun[0] if begun is not None else None

    def _begin(
        self,
        kind: str,
        name: str,
        params: object,
        agent: bytes | None,
        tags: Iterable[str] | None,
        cost: float | None,
        more: Mapping[str, object] | None,
    ) -> Operation:
        if self._attention:
            self._attend()
        _, parent, current = self.here()
        operation = Operation(self, kind, name, parent, agent or current, tags, cost)
        operation.open(params, more)
        return operation

    def here(self) -> Scope:
        """Where in this session the calling code is: in which operation, as which agent."""
        found = scope.get()
        return found if found[0] is self else (self, None, None)

    def _attend(self) -> None:
        """What must be done before the next row: join after a fork, say that the session had ended."""
        if self._start is not None:
            self._start_again()
        here = os.getpid()
        before, self._pid = self._pid, here  # at once: only one thread of a forked process is to join
        if before != here:
            try:
                self._owner = 0
                self._journal.sessions.add(self._id)
                self._join(forked=True)
            except BaseException:  # interrupted: it is still to be done
                self._pid = before
                raise
        if self._ended is not None and self._is_first("ended"):
            say(f"session {str(self.session_id)[:13]} has ended; what is recorded now is kept as a late row of it")
        self._attention = self._ended is not None or self._start is not None

    def _join(self, *, forked: bool = False, begun: bool = False, extra: Mapping[str, object] | None = None) -> None:
        """Write the row that says this process takes part; while no place takes it, try again with later rows."""
        at = now_ns()
        start: dict[str, Any] = {
            "id": self._id if begun else new_id(at),
            "at": at,
            "begun": begun,
            "forked": forked,
            "extra": extra,
        }
        if not self._append(self._start_row(**start), sync=True):
            self._start, self._start_at = start, clock.monotonic() + _AGAIN
            self._attention = True

    def _start_again(self) -> None:
        """Write the row that this process takes part, which no place took: a dropped row less if it succeeds."""
        start = self._start
        if start is None or clock.monotonic() < self._start_at:
            return
        self._start, self._start_at = None, clock.monotonic() + _AGAIN  # taken: another thread passes by
        try:
            self._journal.participate().check()  # its lock may not have been held either
            row = self._start_row(**start)
            # Before it is written: what was lost is told in a row of its own as soon as the journal takes one.
            # Where it is lost again, it is counted again.
            self._journal.losses.take_back(self._id)
            kept = self._append(row, sync=True)
        except BaseException:  # interrupted: it is still to be done
            self._start = start
            raise
        if not kept:
            self._start = start

    def _start_row(self, id: bytes, at: int, *, begun: bool, forked: bool, extra: Mapping[str, object] | None) -> Row:
        participant = self._journal.participate()
        body: dict[str, object] = {"participant": participant.id.hex(), "pid": participant.pid, "place": 0}
        try:
            body.update(participant.card())
        except Exception as error:  # the edge: out of descriptors, say; nobody can tell then whether it lives
            if not hold_if_programs(error):
                say_once("card", f"this process could not be described: {error}")
        if self.config.env_data_opt_out:
            body.pop("host", None)
        if forked:
            body["forked"] = 1
        body.update(extra or {})
        tags = body.pop("tags", None)
        return rows.make(
            "session" if begun else "join",
            self._id,
            id=id,
            at_ns=at,
            name=self._name,
            parent=participant.id,
            tags=tags if isinstance(tags, str) else None,
            body=self._encode(body),
        )

    def _note(
        self,
        kind: str,
        fields: dict[str, object] | None = None,
        *,
        name: str | None = None,
        tags: str | None = None,
        body: str | None = None,
    ) -> None:
        """Write a row of the books, from fields or from a body that is encoded already."""
        self._guarded(lambda: self._write_note(kind, fields, name, tags, body))

    def _write_note(
        self, kind: str, fields: dict[str, object] | None, name: str | None, tags: str | None, body: str | None
    ) -> None:
        if self._attention:
            self._attend()
        at = now_ns()
        participant = self._journal.participant
        parent = participant.id if participant and kind in ("leave", "end") else None
        body = self._encode(fields) if fields else body
        row = rows.make(kind, self._id, id=new_id(at), at_ns=at, name=name, parent=parent, tags=tags, body=body)
        if not self._append(row, sync=kind in ("end", "leave")):
            self._not_written()

    def _failed(self, error: BaseException) -> None:
        """A bug of ours, or a hostile event: say it, count it, and let the agent go on."""
        self._journal.losses.drop(self._id)
        what = f"an event could not be recorded: {events.class_name(error)}: {events.describe(error)}"
        if self.config.strict:
            raise JournalError(what) from error
        say_once(f"record {events.class_name(error)}", what)

    def _refuse(self, thing: object) -> None:
        """What is no event is said, and not counted: nothing that was recorded is lost."""
        what = f"record() takes a localops.Event, and a {events.class_name(thing)} is none: nothing was recorded"
        if self.config.strict:
            raise JournalError(what)
        say_once(f"record {events.class_name(thing)}", what)

    def _count_cut(self) -> None:
        """Say in a row how many values of what this thread has just written could not be kept whole."""
        many = self._cut.pop(get_ident(), 0)
        if many:
            self._note("loss", {"cut": many})

    def _not_written(self) -> None:
        if self.config.strict:
            raise JournalError("an event could be written neither to the journal nor to a spill file")

    def _is_first(self, warning: str) -> bool:
        """Return True once for each kind of warning, whichever thread asks."""
        mine = object()
        return self._warned.setdefault(warning, mine) is mine

    def _say_unpriced(self, event: Event) -> None:
        if self._is_first("unpriced"):
            say(f"{events.describe(event)} has no known price: it does not count towards the budget")

    def _check_budget(self) -> None:
        """Hold what all processes have spent against the budget; what a hook raises is for the user."""
        budget = self._budget
        if budget is None:
            return
        spent = sum(cost for (cost,) in self._ask("spent", session=self._id)) / 1e9
        if spent >= budget:
            message = f"the session has spent ${spent:.6f} of its budget of ${budget:.6f}"
            if self.config.on_budget is None:
                raise BudgetExceeded(message)
            self.config.on_budget(self, spent, budget)
        elif spent >= _WARN_AT * budget and self._is_first("budget"):
            say(f"the session has spent ${spent:.6f}, {spent / budget:.0%} of its budget of ${budget:.6f}")

    def take_budget(self) -> None:
        """Spend from the budget that another process of the session was given: the newest word on it holds."""
        self._budget = self._story().budget

    # Saying more about it

    def add_tags(self, tags: Iterable[str] | str) -> None:
        """Give it more tags."""
        self._retag("add", tags)

    def set_tags(self, tags: Iterable[str] | str) -> None:
        """Give it these tags and no others."""
        self._retag("set", tags)

    def _retag(self, how: str, tags: Iterable[str] | str) -> None:
        text = self._tags_text(tags)
        if text is not None or how == "set":
            self._note("tags", {}, name=how, tags=text or "[]")
        deliver()

    def _tags_text(self, tags: object) -> str | None:
        found = self.tag_list(tags)
        return encode.dumps(found).decode() if found else None

    def tag_list(self, tags: object) -> list[str]:
        """Tags as clean, distinct strings; one string is one tag, and what is no string becomes one."""
        found = [tags] if issubclass(type(tags), str | bytes) else _listed(tags)
        wrong = [tag for tag in found if not issubclass(type(tag), str)]
        if wrong:
            say_once("tags", f"a tag is a string; {events.describe(wrong[0])[:80]!r} is kept as its text")
        return list(dict.fromkeys(self._text(tag, 256) for tag in found))

    def set_video(self, video: str | os.PathLike[str]) -> None:
        """Say where its video is: a URL is kept as it is, a file is copied into the project."""
        self._set_video(video)
        deliver()

    def _set_video(self, video: str | os.PathLike[str]) -> None:
        kept = self.keep_media(video)
        if kept is video and "://" not in (said := self._text(events.describe(video), 200)):
            say(f"there is no file {said!r} to keep as the video: its name is kept")
        self._note("video", {"video": kept})

    def keep_media(self, value: object) -> object:
        """A file becomes a blob; a URL, or anything else, stays what it is."""
        path = attempt(lambda: _path_of(value), None)
        if path is None:
            return value
        from localops import blobs

        try:
            return f"blob:{blobs.keep_file(self._journal.folder, path)}"
        except OSError as error:
            pass_on(error)
            say(f"{path} could not be copied into the project ({error}); its name is kept")
            return value

    def create_agent(self, name: str, agent_id: uuid.UUID | str | None = None) -> str:
        """Say that an agent takes part; events that are given its id, or happen inside it, belong to it."""
        at = now_ns()
        given = agent_id if agent_id is not None else uuid.UUID(bytes=new_id(at))

        def create() -> None:
            if self._attention:
                self._attend()
            body = self._encode({"agent_id": given}) if agent_id is not None else None
            row = rows.make("agent", self._id, id=self.agent_id(given), at_ns=at, name=self._text(name), body=body)
            if not self._append(row):
                self._not_written()

        self._guarded(create)
        return events.describe(given)

    def agent_id(self, given: object) -> bytes:
        """The id of an agent's row.

        A program may call its agents by the same word in every session, and a row's id is used once: so it is
        made from both.  Ids of ours, which are UUIDs of version 7, are used once anyway.
        """
        known = to_id(given)
        if known[6] >> 4 == 7:
            return known
        return uuid.uuid5(self.session_id, known.hex()).bytes

    def update_metadata(self, metadata: Mapping[str, object], prefix: str = "trace.metadata") -> None:
        """Keep facts about the whole session; a later one of the same name takes the place of an earlier."""
        facts = dict(metadata) if hasattr(metadata, "keys") else {"value": metadata}
        self._note("metadata", {"prefix": prefix, "metadata": facts})
        deliver()

    def patch(self, func: Callable[P, R]) -> Callable[P, R]:
        """The function, recording into this session, which it is given as `session=` if it asks for one."""
        wanted = "session" in parameters(func)

        def begin(_: tuple[Any, ...], kwargs: dict[str, Any]) -> Stay:
            if wanted:
                kwargs.setdefault("session", self)
            return Stay(self.here())

        return around(func, begin)

    # Figures and end

    def get_analytics(self) -> dict[str, int | str]:
        """Return its figures so far, over all processes: LLM calls, Tool calls, Actions, Errors, Duration, Cost.

        Cost leaves out LLM calls whose price is not known; where there are any, `Unpriced` counts them.

        Rows that wait in a spill file are not in them, which is said; neither is anything while the journal
        cannot be read, which is said too, and a JournalError for a strict session.
        """
        from localops import analytics

        if spilled := self._journal.losses.spilled(self._id):
            rows_wait = "1 row of the session waits" if spilled == 1 else f"{spilled} rows of the session wait"
            say_once("figures", f"{rows_wait} in a spill file: figures do not count what waits")
        figures = self._figures()
        self._warn_unpriced(figures.unpriced)
        return analytics.contract(figures, running=self._ended is None)

    def _figures(self) -> Totals:
        from localops import analytics

        found = self._ask("totals", session=self._id)
        return analytics.Totals(*found[0]) if found else analytics.NOTHING

    def end_session(
        self,
        end_state: str = "Indeterminate",
        end_state_reason: str | None = None,
        video: str | None = None,
        is_auto_end: bool = False,
        **others: Any,
    ) -> str | None:
        """End it and get its total cost in US dollars, as text.

        Success, Failure (or Fail) and Indeterminate are understood in any letter case; anything else is said
        clearly and the session stays open.  Ending it again does nothing and gives None.  `is_auto_end` is for
        frameworks: with `skip_auto_end_session=True` such a call is passed over.  Any other option is kept as
        metadata, and warned of.
        """
        if is_auto_end and self.config.skip_auto_end_session:
            return None
        if others:
            self._keep_others(others)
        return self._end_as(end_state, end_state_reason, video)

    def _end_as(self, end_state: str, end_state_reason: str | None, video: str | None) -> str | None:
        state = _STATE_OF.get(events.describe(getattr(end_state, "value", end_state)).lower())
        if state is None:
            self._refuse_state(end_state)
            return None
        if self._ended is not None or not self._take_turn_to_end():
            return None
        said = {"reason": end_state_reason, "returns": self.returns}
        fields = {key: value for key, value in said.items() if value is not None}
        steps: list[Callable[[], None]] = [lambda: self._note("end", fields, name=state), self.tell_host]
        if video is not None:
            steps.append(lambda: self._set_video(video))

        def write() -> None:
            while steps:
                steps[-1]()
                del steps[-1]

        try:
            while steps:
                if self._guarded(write) is None:
                    del steps[-1]
        except Exception:  # strict, and written nowhere
            self._set_ended(state, end_state_reason, now_ns())
            raise
        except BaseException:  # interrupted: it is still open, for the end of the process to end it
            self._turn_to_end.append(None)
            raise
        self._set_ended(state, end_state_reason, now_ns())
        cost = self._total_cost()
        deliver()
        return cost

    def _keep_others(self, others: Mapping[str, object]) -> None:
        """Keep what `end_session` has no option for as facts about the session, and warn: it may be misspelt."""
        problem = f"end_session() has no option {', '.join(map(repr, others))}"
        if self.config.strict:
            raise ConfigError(f"{problem}: it has end_state, end_state_reason, video and is_auto_end")
        say(f"{problem}: kept as metadata of the session")
        self.update_metadata(others, "agentops.legacy")

    def _take_turn_to_end(self) -> bool:
        """Return True to one caller: of several threads that end a session at once, one writes the end.

        Nobody waits here: a signal handler may ask in the middle of another thread's end.
        """
        try:
            self._turn_to_end.pop()
        except IndexError:
            return False
        self._ender = get_ident()
        return True

    def _set_ended(self, state: str, reason: str | None, at: int) -> None:
        self._ended = (state, reason, at)
        self._attention = True
        self._close()

    def end_unasked(self, state: str, reason: str | None = None, *, dying: bool = False) -> None:
        """End it because its process or its block ends, unless a program has ended it: an explicit end stays.

        `dying` is for a signal handler: no thread will finish the end that it may be in the middle of.
        """
        if self._ended is None and not self._turn_to_end:
            self._await_end(dying=dying)
        if self._ended is not None or not self._turn_to_end:
            return
        end = self._explicit_end()
        if end is None:
            self.end_session(state, reason)
            return
        if self.returns is not None:  # it would have gone along with the end
            self.update_metadata({"returns": self.returns}, prefix="localops")
        self._set_ended(end.state, end.reason, end.ended_ns or now_ns())

    def _await_end(self, *, dying: bool) -> None:
        """Give the thread that is writing the end a moment, then take its turn."""
        if self._ender == get_ident() and not dying:  # a finaliser, in the middle of our own end
            return
        patience = 0 if dying else _PATIENCE
        while patience > 0 and self._ended is None and not self._turn_to_end:
            time.sleep(_NAP)
            patience -= _NAP
        if self._ended is None and not self._turn_to_end:
            self._turn_to_end.append(None)

    def _explicit_end(self) -> Standing | None:
        """Return the end that this or another process wrote, in the journal or in a spill file that waits."""
        try:
            waits = (row for row in spill.rows(self._journal.folder) if row[_SESSION] == self._id)
            story = Story.read(self._journal, self._id).with_waiting(waits)
        except Exception as error:  # the edge: what cannot be asked keeps nobody from ending
            hold_if_programs(error)
            return None
        return ends.declared(story)

    def _refuse_state(self, end_state: object) -> None:
        wrong = end_state if isinstance(end_state, str) else events.describe(end_state)
        message = f"a session ends as Success, Failure or Indeterminate, not as {wrong!r}; it stays open"
        if self.config.strict:
            raise UnknownEndState(message)
        say(message)

    def _total_cost(self) -> str | None:
        totals = self._ask("totals", session=self._id)
        if not totals:
            return None
        # `analytics` names these figures. It takes two milliseconds to load, at the end of every program.
        (figures,) = totals
        cost, unpriced = figures[_COST], figures[_UNPRICED]
        self._warn_unpriced(unpriced)
        return in_dollars(cost)

    def _warn_unpriced(self, unpriced: int) -> None:
        """Warn once that the cost is only what is known of it."""
        if not unpriced or not self._is_first("cost"):
            return
        from localops import analytics

        models = [part.value for part in analytics.parts(self._journal, self._id, "model") if part.unpriced]
        calls = "1 LLM call has" if unpriced == 1 else f"{unpriced} LLM calls have"
        named = f" ({', '.join(models[:5])})" if models else ""
        say(
            f"the cost of session {str(self.session_id)[:13]} is incomplete: {calls} no token counts, or a model "
            f"without a known price{named}; `localops prices set` adds a price"
        )

    def _close(self) -> None:
        """Leave the scope and the client's list."""
        self._journal.sessions.discard(self._id)
        if scope.get()[0] is self:
            before = self._before
            scope.set(before if before[0] is not None and before[0].is_running else NOWHERE)
        if self._on_end is not None:
            self._on_end(self)

    def leave(self) -> None:
        """Stop taking part without ending it: what a process does that only joined."""
        if self._ended is None and self._pid == os.getpid():
            if self._explicit_end() is None:  # else a row more would make it last until now
                self._note("leave", {})
            self._close()
            deliver()

    def let_go(self) -> None:
        """Have no part in it any more, without a word: it was ended elsewhere."""
        if self._ended is None:
            self._close()

    def books_since(self, seq: int) -> tuple[int, bool]:
        """The newest row of its journal, and whether anybody came, left or ended after that one."""
        newest, books = self._ask("books_since", seq=seq)[0] or (None, 0)
        return newest or seq, bool(books)

    def owned(self) -> bool:
        """Whether this process started it, so that the process's end is its end."""
        return self._owner == os.getpid()

    def tell_host(self) -> None:
        """Write what was too slow to find out at the start: hardware and packages."""
        details = self.__dict__.pop("_details", None)  # at once: of two threads one writes it
        if details is None or self._pid != os.getpid():
            return
        try:
            body = details()
        except BaseException as error:  # the edge: the strangest machine is no reason to break a program
            try:
                body = settle(error, details)
            except BaseException as problem:
                say(f"the machine could not be described: {events.describe(problem)}")
                return
        self._note("host", body=body)

    def __enter__(self) -> Session:
        if scope.get()[0] is not self:
            self._before = scope.get()
            scope.set((self, None, None))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.finish(error)

    def finish(self, error: BaseException | None = None) -> None:
        """End it as what ran in it ended: Success, or the Failure that an exception makes it.

        A process that only joined it leaves: whose it is goes on.
        """
        if not self.is_running:
            return
        if isinstance(error, Exception):
            self.uncaught(error)
        if not self.owned():
            self.leave()
        elif error is None or isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and not error.code):
            self.end_unasked("Success")
        else:
            self.end_unasked("Failure", failure_reason(error))


def failure_reason(error: BaseException) -> str:
    """Return why a session failed: the signal, the exit code, or the exception and, below it, its traceback."""
    if isinstance(error, KeyboardInterrupt):
        return "Signal SIGINT detected"
    if isinstance(error, SystemExit):
        return exit_reason(error.code)
    message = events.describe(error)
    return f"{events.class_name(error)}{': ' if message else ''}{message}\n{events.traceback_of(error)}"


def exit_reason(code: object) -> str:
    """Return what a program exited with, in words; anything but a number is its last message, and its code is 1."""
    return f"exit code {code}" if isinstance(code, int) else f"exit code 1: {events.describe(code)}"


def _is_unbilled(call: Event, error: ErrorEvent) -> bool:
    if not isinstance(call, LLMEvent):
        return False
    from localops import billing  # most programs never need it

    return billing.is_unbilled(call, error)


def _path_of(value: object) -> str | None:
    """The file that a value names, if it does and there is one."""
    if not issubclass(type(value), str | os.PathLike) or len(str(value)) > 4096 or "://" in str(value):
        return None
    path = os.path.expanduser(os.fspath(value))  # type: ignore[call-overload]
    return path if os.path.isfile(path) else None


def _listed(tags: object) -> list[object]:
    if tags is None:
        return []
    found: list[object] = []
    try:
        for tag in tags:  # type: ignore[attr-defined]
            if len(found) == _MOST_TAGS:
                say_once("many tags", f"more than {_MOST_TAGS} tags were given: the others are left out")
                break
            found += (tag,)
    except BaseException as error:  # the edge: a stranger's iterator, or nothing that can be gone through
        if is_programs(error):
            hold(error)
        else:
            return [tags]
    return found


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """What a function takes, by name; nothing for one that cannot be asked."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _after_fork() -> None:
    for session in list(_sessions):
        session._attention = True
        if session._ended is None and not session._turn_to_end:  # it was taken by a thread that is not here
            session._turn_to_end.append(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
