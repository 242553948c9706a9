"""The events that a program records: actions, LLM calls, tool calls and errors.

An event only holds its arguments; `writer.py` turns it into a row.  The names and order of arguments are
AgentOps' own; new arguments are keyword-only.
"""

from __future__ import annotations

import datetime
import enum
import sys
import uuid

from localops import clock
from localops.careful import COLLECTIONS, outline
from localops.careful import class_name as class_name
from localops.clock import iso as iso
from localops.encoding import facets
from localops.interruption import attempt, deliver, settle, waiting
from localops.journal import rows, token_kinds
from localops.output import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Timestamp = str | datetime.datetime | int | float

_LAST_NS = (1 << 63) - 1

# Kinds that an event of any class may have.
_WORK = frozenset("action llm tool error api operation task workflow guardrail".split())

now_ns = clock.now_ns


class Event:
    """Something that happened: the base of the other classes, and an event of any type of your own.

    `event_type` is the kind it counts as (`llms`, `tools`, `actions` and `errors` are accepted as well); any other
    word is a kind of its own.
    """

    any_type = True  # an unknown event type becomes its kind
    plain = True  # no tokens, no cost, no link: only the fields that every event has
    failed = False  # an error was recorded with it
    metadata: object = None  # facts that the program adds; those with plain values are facets
    _counts_as = "action"

    # For the recorder, which reads and sets these; programs use `id`, `init_timestamp` and `end_timestamp`.
    raw_id: uuid.UUID | str | bytes | None  # as it was given, then that of the row
    second_of: tuple[int, Any] | None = None  # of a call's second record: when it was recorded, and the first one

    def __init__(
        self,
        event_type: str,
        params: object = None,
        returns: object = None,
        init_timestamp: Timestamp | None = None,
        end_timestamp: Timestamp | None = None,
        agent_id: uuid.UUID | str | None = None,
        id: uuid.UUID | str | None = None,
        session_id: uuid.UUID | str | None = None,
        *,
        name: str | None = None,
        tags: Iterable[str] | str | None = None,
        user: str | None = None,
        conversation: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        self.event_type = event_type
        self.params = params
        self.returns = returns
        self.agent_id = agent_id
        self.session_id = session_id
        self.name = name
        self.tags = tags
        self.recorded = False
        self.began_ns = now_ns()
        self.raw_id = id
        self._given_start = init_timestamp
        self._given_end = end_timestamp
        self.ended_ns: int | None = None
        if user is not None or conversation is not None or metadata is not None:
            self._about(user, conversation, metadata)

    def _about(self, user: object, conversation: object, metadata: object) -> None:
        """Store the user, the conversation and the metadata."""
        self.tags = facets.together(self.tags, facets.tags(user, conversation, metadata))
        if metadata is not None:
            self.metadata = metadata

    @property
    def id(self) -> uuid.UUID:
        """Return the event's id: the same in the journal, in every export and on every remote."""
        if type(self.raw_id) is not uuid.UUID:
            self.raw_id = uuid.UUID(bytes=to_id(self.raw_id) if is_given(self.raw_id) else clock.new_id(self.began_ns))
        return self.raw_id

    @id.setter
    def id(self, value: uuid.UUID | str | None) -> None:
        self.raw_id = value

    @property
    def init_timestamp(self) -> str:
        """Return when it began, as ISO 8601 in UTC: the given time, else when this object was created."""
        return iso(self.began_ns) if self._given_start is None else _text(self._given_start)

    @init_timestamp.setter
    def init_timestamp(self, value: Timestamp | None) -> None:
        self._given_start = value

    @property
    def end_timestamp(self) -> str | None:
        """Return when it ended: the given time, else when it was recorded; None until then."""
        if self._given_end is not None:
            return _text(self._given_end)
        return None if self.ended_ns is None else iso(self.ended_ns)

    @end_timestamp.setter
    def end_timestamp(self, value: Timestamp | None) -> None:
        self._given_end = value

    @property
    def kind(self) -> str:
        """Return the kind it counts as: `llm`, `tool`, `action`, `error`, or its own event type."""
        kind = kind_of(self.event_type, self._counts_as)
        return kind if self.any_type or kind in _WORK else self._counts_as

    def misplaced_type(self) -> str | None:
        """Return an invalid event type, as in `ToolEvent("search")`, or None; such an event counts by its class."""
        if self.any_type or kind_of(self.event_type, self._counts_as) in _WORK:
            return None
        return describe(self.event_type)

    def fields(self) -> dict[str, object]:
        """Return the fields of its row's body, without the columns."""
        fields: dict[str, object] = {}
        if self.params is not None:
            fields["params"] = self.params
        if self.returns is not None:
            fields["returns"] = self.returns
        if self.metadata is not None:
            fields["metadata"] = self.metadata
        return fields

    def title(self) -> str | None:
        """Return the name it is listed under."""
        return self.name

    def __repr__(self) -> str:
        title = self.title()
        return f"<{type(self).__name__} {self.kind}{f' {title!r}' if title else ''}>"


class ActionEvent(Event):
    """A step that the agent took."""

    any_type = False

    def __init__(
        self,
        event_type: str = "actions",
        params: object = None,
        returns: object = None,
        init_timestamp: Timestamp | None = None,
        end_timestamp: Timestamp | None = None,
        agent_id: uuid.UUID | str | None = None,
        id: uuid.UUID | str | None = None,
        session_id: uuid.UUID | str | None = None,
        action_type: str | None = None,
        logs: object = None,
        screenshot: str | None = None,
        *,
        name: str | None = None,
        tags: Iterable[str] | str | None = None,
        user: str | None = None,
        conversation: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        # Not by super(): most events are of this class, and the call would take a third of the time to create one.
        self.event_type = event_type
        self.params = params
        self.returns = returns
        self.agent_id = agent_id
        self.session_id = session_id
        self.name = name
        self.tags = tags
        self.recorded = False
        self.began_ns = now_ns()
        self.raw_id = id
        self._given_start = init_timestamp
        self._given_end = end_timestamp
        self.ended_ns = None
        self.action_type = action_type
        self.logs = logs
        self.screenshot = screenshot
        if user is not None or conversation is not None or metadata is not None:
            self._about(user, conversation, metadata)

    def fields(self) -> dict[str, object]:
        """Return the fields of its row's body, without the columns."""
        # Not by super(): most events are of this class.
        fields: dict[str, object] = {}
        if self.params is not None:
            fields["params"] = self.params
        if self.returns is not None:
            fields["returns"] = self.returns
        if self.action_type is not None and self.name is not None:
            fields["action_type"] = self.action_type
        if self.logs is not None:
            fields["logs"] = self.logs
        if self.screenshot is not None:
            fields["screenshot"] = self.screenshot
        if self.metadata is not None:
            fields["metadata"] = self.metadata
        return fields

    def title(self) -> str | None:
        """Return the name it is listed under."""
        return self.action_type if self.name is None else self.name


class ToolEvent(Event):
    """A tool that the agent called.

    `call_id` is the id of the model's request for it, `definition` the description that the model had of the tool.
    `polling` marks a tool that is meant to be called again with the same arguments: that is not a loop.
    """

    any_type = False
    plain = False
    polling = False  # repeated calls are intended
    cost: float | None = None
    _counts_as = "tool"

    def __init__(
        self,
        event_type: str = "tools",
        params: object = None,
        returns: object = None,
        init_timestamp: Timestamp | None = None,
        end_timestamp: Timestamp | None = None,
        agent_id: uuid.UUID | str | None = None,
        id: uuid.UUID | str | None = None,
        session_id: uuid.UUID | str | None = None,
        name: str | None = None,
        logs: object = None,
        *,
        call_id: str | None = None,
        definition: object = None,
        cost: float | None = None,
        polling: bool = False,
        tags: Iterable[str] | str | None = None,
        user: str | None = None,
        conversation: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        # Without super(), as in ActionEvent, which is faster: tool calls are nearly as frequent.
        self.event_type = event_type
        self.params = params
        self.returns = returns
        self.agent_id = agent_id
        self.session_id = session_id
        self.name = name
        self.tags = tags
        self.recorded = False
        self.began_ns = now_ns()
        self.raw_id = id
        self._given_start = init_timestamp
        self._given_end = end_timestamp
        self.ended_ns = None
        self.logs = logs
        self.call_id = call_id
        self.definition = definition
        self.cost = cost
        if polling:
            self.polling = True
        if user is not None or conversation is not None or metadata is not None:
            self._about(user, conversation, metadata)

    def fields(self) -> dict[str, object]:
        """Return the fields of its row's body, without the columns."""
        # Without super(), as above.
        fields: dict[str, object] = {}
        if self.params is not None:
            fields["params"] = self.params
        if self.returns is not None:
            fields["returns"] = self.returns
        if self.metadata is not None:
            fields["metadata"] = self.metadata
        if self.call_id is not None:
            fields["call_id"] = self.call_id
        if self.definition is not None:
            fields["definition"] = self.definition
        if self.logs is not None:
            fields["logs"] = self.logs
        if self.polling:
            fields["polling"] = True
        return fields


class LLMEvent(Event):
    """A call of a language model.

    `prompt` is the text or the messages, `params` the parameters of the request (temperature, …).  `cost` is in
    US dollars; if it is left out, it is computed from model, tokens and price table.  `time_to_first_token` is in
    seconds.
    """

    any_type = False
    plain = False
    _counts_as = "llm"

    def __init__(
        self,
        event_type: str = "llms",
        params: object = None,
        returns: object = None,
        init_timestamp: Timestamp | None = None,
        end_timestamp: Timestamp | None = None,
        agent_id: uuid.UUID | str | None = None,
        id: uuid.UUID | str | None = None,
        session_id: uuid.UUID | str | None = None,
        thread_id: uuid.UUID | str | None = None,
        prompt: str | Sequence[Any] | None = None,
        prompt_tokens: int | None = None,
        completion: object = None,
        completion_tokens: int | None = None,
        cost: float | None = None,
        model: str | None = None,
        *,
        cached_tokens: int | None = None,
        cache_write_tokens: int | None = None,
        reasoning_tokens: int | None = None,
        input_audio_tokens: int | None = None,
        output_audio_tokens: int | None = None,
        provider: str | None = None,
        system_instructions: object = None,
        tool_definitions: object = None,
        tool_calls: object = None,
        finish_reason: str | Sequence[str] | None = None,
        response_id: str | None = None,
        response_model: str | None = None,
        stream: bool | None = None,
        time_to_first_token: float | None = None,
        name: str | None = None,
        tags: Iterable[str] | str | None = None,
        user: str | None = None,
        conversation: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(
            event_type,
            params,
            returns,
            init_timestamp,
            end_timestamp,
            agent_id,
            id,
            session_id,
            name=name,
            tags=tags,
            user=user,
            conversation=conversation,
            metadata=metadata,
        )
        self.thread_id = thread_id
        self.prompt = prompt
        self.prompt_tokens = prompt_tokens
        self.completion = completion
        self.completion_tokens = completion_tokens
        self.cost = cost
        self.model = model
        self.cached_tokens = cached_tokens
        self.cache_write_tokens = cache_write_tokens
        self.reasoning_tokens = reasoning_tokens
        self.input_audio_tokens = input_audio_tokens
        self.output_audio_tokens = output_audio_tokens
        self.provider = provider
        self.system_instructions = system_instructions
        self.tool_definitions = tool_definitions
        self.tool_calls = tool_calls
        self.finish_reason = finish_reason
        self.response_id = response_id
        self.response_model = response_model
        self.stream = stream
        self.time_to_first_token = time_to_first_token

    def fields(self) -> dict[str, object]:
        """Return the fields of its row's body, without the columns."""
        return {**super().fields(), **_present_fields(self, REQUEST), **_present_fields(self, REPLY)}

    def request(self) -> dict[str, object]:
        """Return the fields that are known before the call, for an operation's opening row."""
        return _present_fields(self, ("params", *REQUEST))

    def reply(self) -> dict[str, object]:
        """Return the fields that are known after the call, for an operation's closing row."""
        return _present_fields(self, ("returns", *REPLY))


REQUEST = tuple("prompt system_instructions tool_definitions stream provider thread_id".split())
REPLY = (
    *"completion tool_calls finish_reason response_id response_model time_to_first_token".split(),
    *(kind.field for kind in token_kinds.IN_BODY if kind.is_argument),
)


def _present_fields(event: Event, names: Iterable[str]) -> dict[str, object]:
    """Return the fields of an event that have a value."""
    fields = {name: getattr(event, name) for name in names}
    return {name: value for name, value in fields.items() if value is not None}


class ErrorEvent(Event):
    """Something that went wrong, and the event in which it did.

    Pass the event that failed (`trigger_event`) and the exception; type, details and traceback are read from the
    exception. A trigger that is not recorded yet is recorded first, so the link always leads somewhere.
    """

    any_type = False
    plain = False
    _counts_as = "error"

    def __init__(
        self,
        event_type: str = "errors",
        params: object = None,
        returns: object = None,
        init_timestamp: Timestamp | None = None,
        end_timestamp: Timestamp | None = None,
        agent_id: uuid.UUID | str | None = None,
        id: uuid.UUID | str | None = None,
        session_id: uuid.UUID | str | None = None,
        trigger_event: Event | None = None,
        exception: BaseException | None = None,
        error_type: str | None = None,
        code: object = None,
        details: object = None,
        logs: object = None,
        *,
        tags: Iterable[str] | str | None = None,
        user: str | None = None,
        conversation: str | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(
            event_type,
            params,
            returns,
            init_timestamp,
            end_timestamp,
            agent_id,
            id,
            session_id,
            tags=tags,
            user=user,
            conversation=conversation,
            metadata=metadata,
        )
        self.trigger_event = trigger_event
        self.exception = exception
        self.error_type = (
            error_type if is_given(error_type) else (class_name(exception) if exception is not None else None)
        )
        self.code = code
        self.details = details if details is not None or exception is None else describe(exception)
        self.logs = logs if logs is not None else traceback_of(exception)
        if waiting:
            deliver()

    @property
    def timestamp(self) -> str:
        """Return when it happened, like `init_timestamp`."""
        return self.init_timestamp

    def fields(self) -> dict[str, object]:
        """Return the fields of its row's body, without the columns."""
        fields = super().fields()
        for name in ("code", "details", "logs"):
            value = getattr(self, name)
            if value is not None:
                fields[name] = value
        return fields

    def title(self) -> str | None:
        """Return the name it is listed under."""
        return self.error_type


def kind_of(event_type: object, otherwise: str) -> str:
    """Return the kind of a row for an event type; if it is a bookkeeping kind, prefix it with `user:`."""
    if issubclass(type(event_type), enum.Enum):
        event_type = event_type.value  # type: ignore[attr-defined]
    if type(event_type) is not str or not event_type:
        return kind_of(describe(event_type), otherwise) if is_given(event_type) else otherwise
    kind = rows.PLURALS.get(event_type, event_type)
    return f"user:{kind}" if kind in rows.BOOKS or kind == "agent" else kind


OPERATIONS = frozenset("operation llm tool agent workflow task guardrail action".split())


def operation_kind(kind: object) -> str:
    """Return the kind of an operation for the word that a program gives."""
    if type(kind) is str and kind in OPERATIONS:
        return kind
    known = kind_of(kind, "operation")
    return "user:error" if known == "error" else known


def to_id(value: object) -> bytes:
    """Return the 16 bytes of an id: of a UUID in any form, else derived from the text (the same text, the same id)."""
    if type(value) is bytes and len(value) == 16:
        return value
    if type(value) is uuid.UUID:
        return value.bytes
    text = describe(value)
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        whole = text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate has no bytes
        return uuid.uuid5(uuid.NAMESPACE_OID, whole).bytes


def is_uuid(value: object) -> bool:
    """Return whether a value is a UUID or the text of one."""
    try:
        return type(value) is uuid.UUID or bool(uuid.UUID(describe(value)))
    except ValueError:
        return False


def times(event: Event, fields: dict[str, object]) -> tuple[int | None, int | None]:
    """Return the start and end of an event; a given time that cannot be stored is kept in the body."""
    both: list[int | None] = []
    for name, given, otherwise in (
        ("init_timestamp", event._given_start, event.began_ns),
        ("end_timestamp", event._given_end, None),
    ):
        at_ns = otherwise if given is None else to_ns(given)
        if given is not None and at_ns is None:
            fields[name] = given
            at_ns = otherwise
        both.append(at_ns)
    start, end = both
    if start is not None and end is not None and end < start:
        say_once("end before start", f"an event ends before it begins ({iso(end)}): its duration counts as 0")
    return start, end


def to_ns(value: Timestamp) -> int | None:
    """Return nanoseconds since 1970, in UTC if the time has no zone; None for an invalid or too distant time."""
    ns = attempt(lambda: _since_1970(value), None)
    return ns if ns is not None and -_LAST_NS <= ns <= _LAST_NS else None


def _since_1970(value: Timestamp) -> int:
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.UTC)
        since = value - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
    return int.__int__(round(float(value) * 1e9))


def is_given(value: object) -> bool:
    """Return whether a value is neither None nor false; if `bool()` fails, it counts as true."""
    return value is not None and attempt(lambda: bool(value), True)


def describe(value: object) -> str:
    """Return the text of any value, even if its `__str__` raises; the text of a collection is limited in length."""
    shown = outline if issubclass(type(value), COLLECTIONS) else str
    try:
        return str.__str__(shown(value))
    except BaseException as error:  # the edge: the __str__ of an unknown class
        try:
            return settle(error, lambda: str.__str__(shown(value)))
        except BaseException as own:
            return f"<{class_name(value)}: {class_name(own)} in its __str__>"


def traceback_of(exception: BaseException | None) -> str | None:
    """Return the traceback of an exception, or of the one being handled; None when there is neither."""
    shown = sys.exc_info()[1] if exception is None else exception
    if shown is None:
        return None
    try:
        import traceback
    except ImportError:  # the interpreter shuts down
        return None
    try:
        return "".join(traceback.format_exception(shown))
    except BaseException as error:
        # The edge: an exception whose own __str__ or __repr__ raises.
        try:
            return settle(error, lambda: "".join(traceback.format_exception(shown)))
        except BaseException as own:
            return f"{class_name(shown)} (its traceback cannot be shown: {class_name(own)})"


def _text(value: Timestamp) -> str:
    at_ns = to_ns(value)
    return describe(value) if at_ns is None or isinstance(value, str) else iso(at_ns)
