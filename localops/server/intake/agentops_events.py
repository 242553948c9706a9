"""Store events of AgentOps' v2 protocol as rows.

No event is refused, as clients never send a refused one again.  One that cannot be understood, or contradicts a stored
one, is stored unchanged as an event of the kind `agentops`, with a description of the problem.
"""

from __future__ import annotations

import hashlib
import uuid

from localops.encoding import encode
from localops.encoding.pricing import Usage
from localops.journal import rows
from localops.recording import events
from localops.recording.events import ErrorEvent, Event, LLMEvent
from localops.recording.usage import UNMEASURED, nano, whole
from localops.server.intake import tolerant
from localops.server.intake.desk import problems
from localops.transfer import scrubbed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from localops.journal.rows import Row
    from localops.server.intake.desk import Desk
    from localops.transfer.ingest import Added

    Sent = Mapping[str, Any]

# The kind of events that are stored unchanged.
RAW = "agentops"
# The latest valid time: the year 2100.
_LATEST_NS = 4_102_444_800_000_000_000
_ALWAYS = frozenset("id event_type init_timestamp end_timestamp params returns agent_id session_id".split())
_TRIGGER = frozenset("trigger_event trigger_event_id trigger_event_type timestamp exception".split())
# The fields that become columns or have a key of their own, by class of event.
_OWN: dict[str, frozenset[str]] = {
    "action": frozenset("action_type name logs screenshot".split()),
    "tool": frozenset("tool_name name logs cost".split()),
    "llm": frozenset("thread_id prompt prompt_tokens completion completion_tokens cost model".split()),
    "error": _TRIGGER | set("error_type code details logs".split()),
}
_KNOWN = {kind: own | _ALWAYS for kind, own in _OWN.items()}
_KINDS = {"actions": "action", "llms": "llm", "tools": "tool", "errors": "error", "apis": "api"}
_CONTENT = ("params", "returns", "logs")
_OF_CALL = ("params", "returns", "prompt", "thread_id", "completion")
# The field by which a class is recognised if the type is a word of the program's.
_MARKS = (("action_type", "action"), ("tool_name", "tool"), ("prompt_tokens", "llm"), ("error_type", "error"))
# The traceback that clients send if there was no exception.
_NO_TRACEBACK = "NoneType: None\n"


def add(desk: Desk, session: bytes, sent: Sequence[object], *, is_strict: bool = False) -> tuple[Added, dict[int, str]]:
    """Store the events of one request; return what was stored, and the problems of events by their position.

    `is_strict`: they were strict JSON, without NaN or lone surrogates.
    """
    batch = _Batch(desk, session, is_strict=is_strict)
    made: list[Row] = []
    wrong: dict[int, str] = {}
    for place, event in enumerate(sent):
        row, why = batch.row(event)
        made.append(row)
        if why is not None:
            wrong[place] = why
    made = batch.searched(made)
    for place, why in problems(made).items():
        made[place], wrong[place] = batch.raw(sent[place], why), why
    added = desk.add(made)
    # Rows that contradict a stored one, or name a missing file: what was sent is stored beside it.
    refused = {place: why for place, why in added.refused.items() if place not in wrong}
    # One that was scrubbed here counts as known: storing what was sent would bring the secret back.
    again = [
        place for place, why in refused.items() if scrubbed.is_of_scrub(why) or batch.is_again(made[place], sent[place])
    ]
    desk.know_again([refused[place] for place in again])
    for place in again:
        del refused[place]
    if refused:
        kept = desk.add([batch.raw(sent[place], why) for place, why in refused.items()])
        added = added._replace(stored=added.stored + kept.stored)
    return added, {**wrong, **refused}


class _Batch:
    """The events of one request."""

    def __init__(self, desk: Desk, session: bytes, *, is_strict: bool) -> None:
        self._desk, self._session = desk, session
        self._space = uuid.UUID(bytes=session)
        self._session_text = rows.id_text(session)
        # Searching all bodies for secrets at once takes a tenth of the time.
        self._together = desk.together() if is_strict else None
        self._writer = desk.writer(session, self._together)
        self._careful = desk.writer(session)
        self._seconds: dict[str, int] = {}
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
        # A broad handler: whatever is in an event, the others must be stored.
        except Exception as error:
            why = f"invalid event: {type(error).__name__}"
            return self.raw(sent, why), why

    def searched(self, made: list[Row]) -> list[Row]:
        """Return rows without the secrets that are in them."""
        clean = {} if self._together is None else self._together.searched()
        return [rows.cleaned(row, clean) for row in made] if clean else made

    def is_again(self, row: Row, sent: object) -> bool:
        """Return whether a row differs from the stored one only because more was known later."""
        came = dict(zip(rows.COLUMNS, row, strict=True))
        here = self._desk.row(came["id"])
        if here is None or not isinstance(sent, dict):
            return False
        before = dict(zip(rows.COLUMNS, here.bare, strict=True))
        open_to_change = {"sum"}
        if not any(self._time(sent.get(name)) for name in ("init_timestamp", "end_timestamp", "timestamp")):
            open_to_change |= {"at_ns", "start_ns"}
        if came["kind"] == before["kind"] == "error":
            # The event to which the error belongs may have arrived between the two.
            open_to_change |= {"failed", "body"}
            bodies = [encode.loads(each["body"] or "{}") for each in (came, before)]
            for body in bodies:
                body.get("trigger", {}).pop("name", None)
                body.get("trigger", {}).pop("kind", None)
            if bodies[0] != bodies[1]:
                return False
        return all(came[name] == before[name] for name in rows.COLUMNS if name not in open_to_change)

    def raw(self, sent: object, why: str) -> Row:
        """Return the row of an event that is stored unchanged."""
        text = tolerant.dumps(sent)
        id = uuid.uuid5(self._space, f"agentops raw {_digest(text)}").bytes
        # As text, so that no reader takes a part of it for a field of ours.
        fields: dict[str, object] = {"problem": why, "event": text}
        return rows.make(
            RAW, self._session, id=id, at_ns=self._undated(), name="invalid event", body=self._careful.encode(fields)
        )

    def _row(self, sent: Sent) -> Row:
        word = sent.get("event_type")
        kind = _KINDS.get(word) if type(word) is str else None
        if kind is None:
            kind = _kind(sent, word)
        start, end = self._time(sent.get("init_timestamp")), self._time(sent.get("end_timestamp"))
        if kind == "error" and start is None:
            start = self._time(sent.get("timestamp"))
        more = self._beside(sent, kind, start, end)
        at = end if end is not None else start if start is not None else self._undated()
        began = at if start is None else start
        id = self._id(sent, more)
        if kind in ("action", "tool"):
            return self._simple(sent, kind, word, id, at, began, more)
        if kind == "llm" and not isinstance(sent.get("returns"), dict):
            return self._call(sent, id, at, began, more)
        event = _event(sent, kind, word, more)
        event.began_ns = began
        if sent.get("agent_id"):
            event.agent_id = sent["agent_id"]
        event.params, event.returns = sent.get("params"), sent.get("returns")
        self._names[id] = kind, event.title()
        if isinstance(event, ErrorEvent):
            return self._error(event, sent, id, at, more)
        if isinstance(event, LLMEvent):
            return self._writer.measured_event(event, id, at, None, None, None, more)
        return self._writer.event(event, id, at, None, None, more=more)

    def _simple(
        self, sent: Sent, kind: str, word: object, id: bytes, at: int, began: int, more: dict[str, object]
    ) -> Row:
        """Return the row of an action or tool call, without an object of its class: most events are such."""
        given = sent.get("action_type") if kind == "action" else sent.get("name") or sent.get("tool_name")
        given = given or sent.get("name") or _word_as_name(kind, word)
        name = None if given is None else self._writer.text(given)
        self._names[id] = kind, name
        fields = {field: sent[field] for field in _CONTENT if sent.get(field) is not None}
        if kind == "action" and sent.get("screenshot") is not None:
            fields["screenshot"] = sent["screenshot"]
        cost = _figure(sent, "cost", more) if kind == "tool" else None
        if more:
            fields |= more
        body = self._writer.encode(fields) if fields else None
        agent = self._writer.agent_id(sent["agent_id"]) if sent.get("agent_id") else None
        if cost is None:
            return rows.plain(id, rows.DONE, self._session, kind, name, None, agent, at, began, body)
        priced: dict[str, Any] = {"cost": nano(cost), "body": body}
        return rows.make(kind, self._session, id=id, name=name, agent=agent, at_ns=at, start_ns=began, **priced)

    def _call(self, sent: Sent, id: bytes, at: int, began: int, more: dict[str, object]) -> Row:
        """Return the row of a call of a model without a response object that would tell more."""
        prompt = whole(_figure(sent, "prompt_tokens", more))
        completion = whole(_figure(sent, "completion_tokens", more))
        cost = nano(_figure(sent, "cost", more))
        model = self._writer.text(sent["model"], 256) if sent.get("model") else None
        if cost is None and model is not None:
            cost = self._price(model, prompt, completion, at)
        fields = {field: sent[field] for field in _OF_CALL if sent.get(field) is not None}
        if more:
            fields |= more
        self._names[id] = "llm", None
        return rows.make(
            "llm",
            self._session,
            id=id,
            at_ns=at,
            agent=self._writer.agent_id(sent["agent_id"]) if sent.get("agent_id") else None,
            start_ns=began,
            model=model,
            tokens=(prompt, completion, None, None),
            cost=cost,
            body=self._writer.encode(fields) if fields else None,
        )

    def _price(self, model: str, prompt: int | None, completion: int | None, at: int) -> int | None:
        prices = self._writer.prices()
        if prompt is not None and completion is not None:
            return prices.cost_of_two(model, prompt, completion, at_ns=at)
        return prices.cost_of_call(model, Usage(input=prompt, output=completion), at_ns=at)

    def _error(self, event: ErrorEvent, sent: Sent, id: bytes, at: int, more: dict[str, object]) -> Row:
        """Return the row of an error, linked to the event in which it happened if the client names it."""
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

    def _beside(self, sent: Sent, kind: str, start: int | None, end: int | None) -> dict[str, object]:
        """Return the fields without a column: invalid times, and fields that only other releases of the client send."""
        more: dict[str, object] = {}
        for name, time in (("init_timestamp", start), ("end_timestamp", end)):
            if time is None and sent.get(name) is not None:
                more[name] = sent[name]
        known = _KNOWN.get(kind, _ALWAYS)
        if not sent.keys() <= known:
            given = {name: sent[name] for name in sorted(sent.keys() - known) if sent[name] not in (None, "")}
            if given:
                more["agentops"] = given
        if kind == "error" and sent.get("exception"):
            more["exception"] = sent["exception"]
        other = sent.get("session_id")
        if other and other != self._session_text and events.to_id(other) != self._session:
            more["given_session"] = other
        return more

    def _id(self, sent: Sent, more: dict[str, object]) -> bytes:
        """Return the client's id of an event, or one made from its contents, so that a repeated one is stored once."""
        given = sent.get("id")
        if given:
            id = _uuid(given)
            if id is None:
                more["given_id"] = given
            return self._id_of(given) if id is None else id
        digest = _digest(tolerant.dumps(sent))
        number = self._seen[digest] = self._seen.get(digest, 0) + 1
        return uuid.uuid5(self._space, f"agentops event {digest} {number}").bytes

    def _id_of(self, given: object) -> bytes:
        """Return the id of an event's row; an id that is no UUID is combined with the session's."""
        return _uuid(given) or uuid.uuid5(self._space, tolerant.dumps(given)).bytes

    def _time(self, given: object) -> int | None:
        """Return a time as `time_ns` does; parse the second only once for all times in it."""
        if type(given) is str and len(given) == 32 and given[19] == "." and given[26:] == "+00:00":
            second, part = given[:19], given[20:26]
            began = self._seconds.get(second)
            if began is None and (known := time_ns(f"{second}+00:00")) is not None:
                began = self._seconds[second] = known
            if began is not None and part.isascii() and part.isdigit():
                return began + int(part) * 1_000
        return time_ns(given)

    def _undated(self) -> int:
        """Return a time for an event without one: the session's last, so that the session does not get longer."""
        if self._last_ns is None:
            self._last_ns = self._desk.last_ns(self._session) or events.now_ns()
        return self._last_ns


def _kind(sent: Sent, word: object) -> str:
    """Return the kind of an event whose type is not one of the usual words."""
    kind = events.kind_of(word, "action")
    if word and (kind in _OWN or kind == "api"):
        return kind
    # The first argument of an event's class is its type, and programs use it as the name.
    return next((each for mark, each in _MARKS if mark in sent), kind)


def _uuid(given: object) -> bytes | None:
    """Return the bytes of a UUID; None for anything else."""
    if type(given) is str and len(given) == 36 and given[8] == given[13] == given[18] == given[23] == "-":
        try:
            id = bytes.fromhex(given.replace("-", ""))
        except ValueError:
            return None
        if len(id) == 16:
            return id
    return events.to_id(given) if events.is_uuid(given) else None


def _event(sent: Sent, kind: str, word: object, more: dict[str, object]) -> Event:
    """Return the event that a client sent, without the fields that all events have."""
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
    """Return the type of an event if it is an unknown one: the program meant it as the name."""
    return word if isinstance(word, str) and events.kind_of(word, kind) != kind else None


def _figure(sent: Sent, name: str, more: dict[str, object]) -> Any:
    """Return a count or a cost; put an invalid one into `more`."""
    given = sent.get(name)
    # Clients send an empty text for a value that JSON cannot represent.
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
