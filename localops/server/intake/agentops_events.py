"""Events of AgentOps' v2 protocol as rows.

Clients never send an event again that was refused, so none is: one that cannot be understood, or contradicts one that
is here, is stored as it came, as an event of the kind `agentops`, with its problem.
"""

from __future__ import annotations

import hashlib
import uuid

from localops.journal import rows
from localops.recording import events
from localops.recording.events import ActionEvent, ErrorEvent, Event, LLMEvent, ToolEvent
from localops.recording.usage import UNMEASURED, nano, whole
from localops.server.intake import tolerant
from localops.server.intake.desk import problems

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from localops.journal.rows import Row
    from localops.server.intake.desk import Desk
    from localops.transfer.ingest import Added

    Sent = Mapping[str, Any]

# The kind of what is stored as it came.
RAW = "agentops"
# Of a time; the year 2100.
_LATEST_NS = 4_102_444_800_000_000_000
_ALWAYS = frozenset("id event_type init_timestamp end_timestamp params returns agent_id session_id".split())
_TRIGGER = frozenset("trigger_event trigger_event_id trigger_event_type timestamp exception".split())
# The fields of each class of events that have a place of their own.
_OWN: dict[str, frozenset[str]] = {
    "action": frozenset("action_type name logs screenshot".split()),
    "tool": frozenset("tool_name name logs cost".split()),
    "llm": frozenset("thread_id prompt prompt_tokens completion completion_tokens cost model".split()),
    "error": _TRIGGER | set("error_type code details logs".split()),
}
# By which field a class is recognised where the type is a word of the program's.
_MARKS = (("action_type", "action"), ("tool_name", "tool"), ("prompt_tokens", "llm"), ("error_type", "error"))
# What clients write for a traceback where there was no exception.
_NO_TRACEBACK = "NoneType: None\n"


def add(desk: Desk, session: bytes, sent: Sequence[object]) -> tuple[Added, dict[int, str]]:
    """Store the events of one request; return what was stored, and the problems of events by their place."""
    batch = _Batch(desk, session)
    made: list[Row] = []
    wrong: dict[int, str] = {}
    for place, event in enumerate(sent):
        row, why = batch.row(event)
        made.append(row)
        if why is not None:
            wrong[place] = why
    for place, why in problems(made).items():
        made[place], wrong[place] = batch.raw(sent[place], why), why
    added = desk.add(made)
    # Rows that contradict one that is here, or name a file that is not: what was sent is kept beside it.
    refused = {place: why for place, why in added.refused.items() if place not in wrong}
    if refused:
        kept = desk.add([batch.raw(sent[place], why) for place, why in refused.items()])
        added = added._replace(stored=added.stored + kept.stored)
    return added, {**wrong, **refused}


class _Batch:
    """The events of one request."""

    def __init__(self, desk: Desk, session: bytes) -> None:
        self._desk, self._session = desk, session
        self._space = uuid.UUID(bytes=session)
        self._writer = desk.writer(session)
        self._names: dict[bytes, tuple[str, str | None]] = {}  # kind and name of the events of this request
        self._seen: dict[str, int] = {}  # by digest: how many events without an id had this content
        self._failed: set[bytes] = set()
        self._last_ns: int | None = None

    def row(self, sent: object) -> tuple[Row, str | None]:
        """Return the row of an event, and its problem if it has one."""
        if not isinstance(sent, dict):
            why = f"invalid event: expected an object, got {type(sent).__name__}"
            return self.raw(sent, why), why
        try:
            return rows.whole(self._row(sent)), None
        # The edge: whatever is in an event must not cost the others.
        except Exception as error:
            why = f"invalid event: {type(error).__name__}"
            return self.raw(sent, why), why

    def raw(self, sent: object, why: str) -> Row:
        """Return the row of an event that is stored as it came."""
        text = tolerant.dumps(sent)
        id = uuid.uuid5(self._space, f"agentops raw {_digest(text)}").bytes
        # As text: what is in it must not be taken for more than that.
        fields: dict[str, object] = {"problem": why, "event": text}
        return rows.make(
            RAW, self._session, id=id, at_ns=self._undated(), name="invalid event", body=self._writer.encode(fields)
        )

    def _row(self, sent: Sent) -> Row:
        word = sent.get("event_type")
        kind = events.kind_of(word, "action")
        known = _OWN.get(kind)
        if not word or (known is None and kind != "api"):
            # The first argument of an event's class is its type, and programs take it for the name.
            kind = next((each for mark, each in _MARKS if mark in sent), kind)
            known = _OWN.get(kind)
        start, end = time_ns(sent.get("init_timestamp")), time_ns(sent.get("end_timestamp"))
        if kind == "error" and start is None:
            start = time_ns(sent.get("timestamp"))
        more = self._beside(sent, kind, known or frozenset(), start, end)
        at = next((time for time in (end, start) if time is not None), None)
        event = _event(sent, kind, word, more)
        event._began = at = self._undated() if at is None else at
        if start is not None:
            event._began = start
        if sent.get("agent_id"):
            event.agent_id = sent["agent_id"]
        event.params, event.returns = sent.get("params"), sent.get("returns")
        id = self._id(sent, more)
        self._names[id] = kind, event.title()
        if isinstance(event, ErrorEvent):
            return self._error(event, sent, id, at, more)
        if isinstance(event, LLMEvent | ToolEvent):
            return self._writer.measured_event(event, id, at, None, None, None, more)
        return self._writer.event(event, id, at, None, None, more=more)

    def _error(self, event: ErrorEvent, sent: Sent, id: bytes, at: int, more: dict[str, object]) -> Row:
        """Return the row of an error, linked to the event that it happened in if the client says which."""
        given = sent.get("trigger_event_id")
        if not given:
            return self._writer.event(event, id, at, None, None, more=more)
        trigger = self._id_of(given)
        kind, name = self._known(trigger, events.kind_of(sent.get("trigger_event_type"), "action"))
        # Failures of tools are counted by name.
        named = name if name is not None or kind != "tool" else "unknown_tool"
        link = {"trigger": {"id": rows.id_text(trigger), "kind": kind, "name": named}}
        failed = None if trigger in self._failed else 1
        self._failed.add(trigger)
        return self._writer.event(event, id, at, trigger, None, UNMEASURED, failed, {**more, **link})

    def _known(self, id: bytes, kind: str) -> tuple[str, str | None]:
        """Return kind and name of an event of this request or an earlier one."""
        if id not in self._names:
            row = self._desk.row(id)
            self._names[id] = (kind, None) if row is None else (row.kind, row.name)
        return self._names[id]

    def _beside(
        self, sent: Sent, kind: str, known: frozenset[str], start: int | None, end: int | None
    ) -> dict[str, object]:
        """Return the fields that no column has: invalid times, and what other releases of the client send."""
        more: dict[str, object] = {}
        for name, time in (("init_timestamp", start), ("end_timestamp", end)):
            if time is None and sent.get(name) is not None:
                more[name] = sent[name]
        unknown = sent.keys() - _ALWAYS - known
        if unknown and (given := {name: sent[name] for name in sorted(unknown) if sent[name] not in (None, "")}):
            more["agentops"] = given
        if kind == "error" and sent.get("exception"):
            more["exception"] = sent["exception"]
        other = sent.get("session_id")
        if other and events.to_id(other) != self._session:
            more["given_session"] = other
        return more

    def _id(self, sent: Sent, more: dict[str, object]) -> bytes:
        """Return the id of an event: the client's, or one of its contents, so that it is stored once if sent again."""
        given = sent.get("id")
        if given:
            if not events.is_uuid(given):
                more["given_id"] = given
            return self._id_of(given)
        digest = _digest(tolerant.dumps(sent))
        number = self._seen[digest] = self._seen.get(digest, 0) + 1
        return uuid.uuid5(self._space, f"agentops event {digest} {number}").bytes

    def _id_of(self, given: object) -> bytes:
        """Return the id of an event's row; ids that are no UUIDs are those of the session only."""
        return events.to_id(given) if events.is_uuid(given) else uuid.uuid5(self._space, tolerant.dumps(given)).bytes

    def _undated(self) -> int:
        """Return the time of what has none: that of the session's last row, so that it makes no session longer."""
        if self._last_ns is None:
            self._last_ns = self._desk.last_ns(self._session) or events.now_ns()
        return self._last_ns


def _event(sent: Sent, kind: str, word: object, more: dict[str, object]) -> Event:
    """Return the event that a client sent, but for what all events have."""
    if kind == "action":
        name = sent.get("action_type") or sent.get("name") or _word_as_name(kind, word)
        return ActionEvent(name=name, logs=sent.get("logs"), screenshot=sent.get("screenshot"))
    if kind == "tool":
        name = sent.get("name") or sent.get("tool_name") or _word_as_name(kind, word)
        return ToolEvent(name=name, logs=sent.get("logs"), cost=_figure(sent, "cost", more))
    if kind == "llm":
        return LLMEvent(
            thread_id=sent.get("thread_id"),
            prompt=sent.get("prompt"),
            prompt_tokens=_figure(sent, "prompt_tokens", more),
            completion=sent.get("completion"),
            completion_tokens=_figure(sent, "completion_tokens", more),
            cost=_figure(sent, "cost", more),
            model=sent.get("model") or None,
        )
    if kind == "error":
        logs, type_ = sent.get("logs"), sent.get("error_type") or None
        error = ErrorEvent(error_type=type_, code=sent.get("code"), details=sent.get("details"), logs="")
        error.logs = None if logs == _NO_TRACEBACK else logs
        return error
    return Event("apis" if kind == "api" else events.describe(word), name=sent.get("name"))


def _word_as_name(kind: str, word: object) -> str | None:
    """Return the type of an event that is no type, which the program took for the name."""
    return word if isinstance(word, str) and events.kind_of(word, kind) != kind else None


def _figure(sent: Sent, name: str, more: dict[str, object]) -> Any:
    """Return a count or a cost; one that is invalid is kept beside."""
    given = sent.get(name)
    # Not-JSONable values arrive as an empty text.
    if given is None or given == "":
        return None
    read = nano if name == "cost" else whole
    if isinstance(given, bool) or read(given) is None:
        more[f"given_{name}"] = given
        return None
    return given


def time_ns(given: object) -> int | None:
    """Return a time in nanoseconds; None for anything but one between 1970 and 2100."""
    if not isinstance(given, str | int | float) or isinstance(given, bool):
        return None
    at_ns = events.to_ns(given)
    return at_ns if at_ns is not None and 0 <= at_ns <= _LATEST_NS else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
