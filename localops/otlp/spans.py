"""A span of OTLP as plain values, from JSON, protobuf, or a file of spans that waited."""

from __future__ import annotations

import hashlib
import uuid

from localops.otel import mapping
from localops.otlp.documents import Scope, attributes_of, field, id_bytes, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from localops.otel.mapping import Reading
    from localops.otlp.documents import Found

    Moment = tuple[str, int | None, dict[str, Any]]  # an event of a span: name, time, attributes

SPACE = uuid.UUID("8d7a9f6e-2f54-5d0b-9f0c-6c1f2a1d7e55")
STATUS = {0: "UNSET", 1: "OK", 2: "ERROR"}
NO_SCOPE = Scope()
KINDS = {2: "server", 3: "client", 4: "producer", 5: "consumer"}  # the other kinds carry no information
_NAMES_OF_KINDS = {f"SPAN_KIND_{name.upper()}": number for number, name in KINDS.items()}
_DROPPED = {
    "dropped_attributes": "droppedAttributesCount",
    "dropped_events": "droppedEventsCount",
    "dropped_links": "droppedLinksCount",
}
_CODES = {"STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_SPACE = SPACE.bytes
# Attributes that say to which session a trace belongs and how it ended, or that localops has sent the span.
TOGETHER = ("session.id", "gen_ai.conversation.id", "traceloop.association.properties.session_id")
_OF_AGENTOPS = ("agentops.span.kind", "agentops.session.end_state", "agentops.tags")
_OF_OURS = ("localops.event.id", "localops.session.id", "localops.event.at")
_MARKS = frozenset((*TOGETHER, *_OF_AGENTOPS, *_OF_OURS))
_SPAN_SPACE = _SPACE + b"span "
# The bits of a UUID that say its version and variant.
_VERSION_5 = 5 << 76 | 2 << 62
_NO_VERSION = (1 << 128) - 1 ^ (15 << 76 | 3 << 62)
_MOST_IDS = 4_096
# A cache, as the id of a span's row is needed for each of its children, too.
_row_ids: dict[bytes, bytes] = {}


class Span:
    """A span, with what every step of receiving it needs."""

    __slots__ = (
        "around",
        "attributes",
        "beside",
        "code",
        "end",
        "id",
        "is_marked",
        "links",
        "message",
        "moments",
        "name",
        "place",
        "resource",
        "row",
        "scope",
        "start",
        "trace",
    )

    def __init__(
        self,
        trace: bytes | None,
        id: bytes | None,
        parent: bytes | None,
        name: object,
        start: int | None,
        end: int | None,
        attributes: dict[str, Any],
        code: int,
        message: str | None,
        moments: Sequence[Moment],
        links: Sequence[dict[str, Any]],
        resource: dict[str, Any],
        scope: Scope = NO_SCOPE,
        beside: dict[str, Any] | None = None,
        place: str = "",
    ) -> None:
        """Raise ValueError for a span without ids or start; its end may be missing or invalid.

        `beside` has other facts about it, for its body.  `place` is its place in a file.
        """
        if trace is None or id is None:
            raise ValueError("invalid span: expected a traceId of 16 bytes and a spanId of 8, in hex")
        if start is None or not 0 < start < 1 << 62:
            raise ValueError("invalid span: expected startTimeUnixNano in nanoseconds since 1970")
        self.trace, self.id, self.name, self.start, self.attributes = trace, id, name, start, attributes
        self.end = end if end is not None and start <= end < 1 << 62 else start
        self.code, self.message, self.moments, self.links = code, message, moments, links
        self.resource, self.scope, self.beside, self.place = resource, scope.name, beside or scope.beside, place
        # Most spans say none of this: nothing need be looked up then.
        self.is_marked = not _MARKS.isdisjoint(attributes)
        self.row = row_id(trace, id)
        # The row of the span around it, which may not have arrived.
        self.around = row_id(trace, parent) if parent is not None and parent != id else None

    @property
    def is_root(self) -> bool:
        """Return whether it has no parent."""
        return self.around is None

    @property
    def status(self) -> str:
        """Return its status by name."""
        return STATUS.get(self.code, "UNSET")

    def read(self) -> Reading:
        """Return its reading: its contents in the terms of localops."""
        attributes = self.attributes
        if list in map(type, attributes.values()):
            attributes = {name: tuple(value) if type(value) is list else value for name, value in attributes.items()}
        return mapping.read(
            self.name,
            attributes,
            scope=self.scope,
            events=self.moments,
            status=STATUS.get(self.code, "UNSET"),
            message=self.message,
            start_ns=self.start,
            links=self.links,
        )


def row_id(trace: bytes, id: bytes) -> bytes:
    """Return the id of the row of a span.

    >>> row_id(bytes(16), bytes(8)) == named_id(f"span {bytes(16).hex()} {bytes(8).hex()}")
    True
    """
    key = trace + id
    known = _row_ids.get(key)
    if known is None:
        if len(_row_ids) >= _MOST_IDS:
            _row_ids.clear()
        known = _row_ids[key] = _named(_SPAN_SPACE + key.hex(" ", -16).encode())
    return known


def named_id(name: str, space: bytes = _SPACE) -> bytes:
    """Return the bytes of `uuid.uuid5`, in half its time.

    >>> named_id("x") == uuid.uuid5(SPACE, "x").bytes
    True
    """
    return _named(space + name.encode())


def _named(data: bytes) -> bytes:
    number = int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:16], "big")
    return (number & _NO_VERSION | _VERSION_5).to_bytes(16, "big")


def of_json(source: Found) -> Span:
    """Return a span of OTLP's JSON; raise ValueError if it has no ids or no start."""
    span = source.span
    status, moments, links = field(span, "status"), field(span, "events"), field(span, "links")
    message = status.get("message") if isinstance(status, dict) else None
    parent = field(span, "parentSpanId")
    return Span(
        id_bytes(field(span, "traceId"), 16),
        id_bytes(field(span, "spanId"), 8),
        id_bytes(parent, 8) if parent else None,
        field(span, "name", "unnamed"),
        whole(field(span, "startTimeUnixNano")),
        whole(field(span, "endTimeUnixNano")),
        attributes_of(span),
        code=_code(status),
        message=message if isinstance(message, str) and message else None,
        moments=[
            (str(each.get("name", "")), whole(field(each, "timeUnixNano")), attributes_of(each))
            for each in (moments if isinstance(moments, list) else ())
            if isinstance(each, dict)
        ],
        links=[_link(each) for each in (links if isinstance(links, list) else ()) if isinstance(each, dict)],
        resource=source.resource,
        scope=source.scope,
        beside=_beside(span, source.scope),
        place=source.place,
    )


def _beside(span: dict[str, Any], scope: Scope) -> dict[str, Any]:
    kind = field(span, "kind")
    kind = _NAMES_OF_KINDS.get(kind) if isinstance(kind, str) else kind
    state = field(span, "traceState")
    dropped = {name: whole(field(span, key)) for name, key in _DROPPED.items()}
    return beside(scope, kind, state if isinstance(state, str) else "", dropped)


def beside(scope: Scope, kind: int | None, state: str, dropped: dict[str, int | None]) -> dict[str, Any]:
    """Return other facts about a span: its library, its kind, the state of its trace, what its SDK dropped."""
    known = {"span_kind": KINDS.get(kind or 0), "trace_state": state, **dropped}
    return {**scope.beside, **{name: value for name, value in known.items() if value}}


def _code(status: object) -> int:
    code = status.get("code") if isinstance(status, dict) else None
    if isinstance(code, str):
        return _CODES.get(code, 0)
    return code if isinstance(code, int) else 0


def _link(link: dict[str, Any]) -> dict[str, Any]:
    about = attributes_of(link)
    ids = {"trace_id": field(link, "traceId"), "span_id": field(link, "spanId")}
    return {**ids, **({"attributes": about} if about else {})}
