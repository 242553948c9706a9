"""Every address there is, and what may stand in its query: routes and the OpenAPI document are made from this table."""

from __future__ import annotations

from localops.reading import analytics
from localops.reading.home import STATES
from localops.server.request import Endpoint
from localops.server.session_index import SORTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_BOUNDS = {
    "min_cost": "a cost of at least so many dollars",
    "max_cost": "a cost of at most so many dollars",
    "min_seconds": "a duration of at least so many seconds",
    "max_seconds": "a duration of at most so many seconds",
    "errors": "errors, if it is 1",
}
_LIST = {
    "state": f"how they stand: {', '.join(STATES)}",
    "tag": "with this tag",
    "model": "with a call of this model",
    "agent": "with an agent of this name",
    "since": "begun since then (ISO 8601, UTC unless it names a zone)",
    "until": "begun before then",
    "text": "with an event that has these words",
    **{name: f"with {what}" for name, what in _BOUNDS.items()},
    "tool": "with a call of this tool",
    "project": "of this project, where the key does not say which",
    "sort": f"what it is sorted by: one of {', '.join(SORTS)}",
    "order": "asc or desc",
    "before": "id of a session: those after it in the list, which is the next page",
    "limit": "at most this many, 50 if nothing is said, never more than 500",
}
_CHOSEN = {name: about for name, about in _LIST.items() if name not in ("sort", "order", "before", "limit")}
_FIGURES = {
    "by": f"one of {', '.join(analytics.ACROSS)}; without it the sums",
    "since": _LIST["since"],
    "until": _LIST["until"],
    "tag": "with this tag, or with an event that has it",
    "project": _LIST["project"],
    "limit": "at most this many lines, 1000 if nothing is said",
}
_PAGE = {
    "after": "seq: the events that came in after it, which is the next page",
    "limit": "rows that are looked at, 500 if nothing is said, never more than 1000",
    "kind": "only of this kind",
    "text": "only with these words",
}
_DAYS = {name: _FIGURES[name] for name in ("since", "until", "tag", "project")}
_ZONE = "whose days they are: a name like Europe/Berlin; UTC if nothing is said"
_FILE = {"format": "json, html or csv"}
_TWO = {"a": "id of a session", "b": "id of the other"}
_LIVE = {"session": "only of that session; without it of all", "project": "only of this project"}
_COLUMNS = {
    "after": "seq: the events whose rows came in after it, which is the next page",
    "limit": "rows that are looked at, 2000 if nothing is said, never more than 50000",
}
_ROWS = "application/x-ndjson"
_JSON = "application/json"
BYTES = "application/octet-stream"

MOST_SESSIONS, MOST_ROWS, MOST_BLOBS, MOST_NAMES = 500, 5_000, 1_000, 1_001  # that a sender may ask about at once
MOST_PREVIEWS = 200  # events: a screen shows some fifty
_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_IDENTITY = {
    "type": "array",
    "description": "id, phase and checksum of a row",
    "prefixItems": [_ID, {"enum": [0, 1]}, {"type": "integer"}],
    "minItems": 3,
    "maxItems": 3,
}


def _listing(name: str, items: Mapping[str, object], most: int) -> dict[str, object]:
    """The schema of a body that names so many things."""
    inner = {"type": "array", "items": items, "maxItems": most}
    return {"type": "object", "properties": {name: inner}, "required": [name]}


ENDPOINTS = (
    Endpoint("GET", "/health", "health", "Whether the hub is up, and which release it is.", key=False),
    Endpoint("GET", "/openapi.json", "openapi", "This document.", key=False),
    Endpoint(
        "GET",
        "/sync/1/hello",
        "hello",
        "Who the hub is, what it takes, and whether it still holds the row that a sender saw there last.",
        query={"seq": "where that row was, as a receipt tells it", "id": "its id: 32 hex digits"},
        hub=True,
    ),
    Endpoint(
        "POST",
        "/sync/1/rows",
        "rows",
        "Take in a batch of rows, whole or not at all; the answer comes when they are safe from a power cut.",
        body=_ROWS,
        hub=True,
        answers={
            400: "The batch is broken.",
            409: "The row before the batch is not here.",
            426: "The batch has another format: one side must be upgraded.",
        },
    ),
    Endpoint("HEAD", "/sync/1/blobs/{digest}", "blob", "How much of a blob is here.", hub=True),
    Endpoint(
        "PATCH",
        "/sync/1/blobs/{digest}",
        "add_to_blob",
        "Take in the next piece of a blob.",
        body=BYTES,
        hub=True,
        answers={409: "The piece does not begin where the last one ended.", 422: "The whole has another digest."},
    ),
    Endpoint(
        "POST",
        "/sync/1/sessions",
        "figures",
        "Rows, digest and totals of sessions.",
        body=_JSON,
        form=_listing("sessions", _ID, MOST_SESSIONS),
        hub=True,
    ),
    Endpoint(
        "POST",
        "/sync/1/missing",
        "missing",
        "Which rows are not here whole, and which are here with other contents.",
        body=_JSON,
        form=_listing("rows", _IDENTITY, MOST_ROWS),
        hub=True,
    ),
    Endpoint(
        "POST",
        "/sync/1/blobs",
        "missing_blobs",
        "Which blobs are not here whole; those that were not looked at, ask again.",
        body=_JSON,
        form=_listing("blobs", {"type": "string", "pattern": "^[0-9a-f]{64}$"}, MOST_BLOBS),
        hub=True,
    ),
    Endpoint(
        "POST",
        "/sync/1/held",
        "held",
        "What came in from a journal, under all its names.",
        body=_JSON,
        form=_listing("journals", _ID, MOST_NAMES),
        hub=True,
    ),
    Endpoint("GET", "/v2/sessions/{session}/stats", "stats", "A session's figures, as AgentOps gives them.", v2=True),
    Endpoint("GET", "/v2/sessions/{session}/export", "export", "A session, as AgentOps exports it.", v2=True),
    Endpoint("GET", "/api/1/sessions", "sessions", "Sessions in an order, a page of them.", query=_LIST),
    Endpoint("GET", "/api/1/facets", "facets", "How many sessions each filter would leave.", query=_CHOSEN),
    Endpoint("GET", "/api/1/sessions/{session}", "session", "A session and its figures."),
    Endpoint("GET", "/api/1/sessions/{session}/events", "events", "Events, in the order they came in.", query=_PAGE),
    Endpoint("GET", "/api/1/sessions/{session}/events/{seq}", "event", "One event, and all there is of it."),
    Endpoint(
        "GET",
        "/api/1/sessions/{session}/previews",
        "previews",
        "What events were given, on a line each.",
        query={"seqs": f"seqs of events, with commas between them, at most {MOST_PREVIEWS}; who is missing, ask again"},
    ),
    Endpoint(
        "GET", "/api/1/sessions/{session}/timeline", "timeline", "Events in columns, to be drawn.", query=_COLUMNS
    ),
    Endpoint(
        "GET",
        "/api/1/live",
        "live",
        "A stream that says when something is new.",
        query=_LIVE,
        gives=("text/event-stream",),
        lasting=True,
    ),
    Endpoint(
        "GET", "/blobs/{project}/{digest}", "attachment", "A video, a picture, a long value: the bytes.", gives=("*/*",)
    ),
    Endpoint(
        "GET",
        "/api/1/sessions/{session}/export",
        "download",
        "A session as a file.",
        query=_FILE,
        gives=(_JSON, "text/html", "text/csv"),
        answers={413: "It has too many events for that: read them page by page."},
    ),
    Endpoint("GET", "/api/1/analytics", "analytics", "Figures across sessions.", query=_FIGURES),
    Endpoint("GET", "/api/1/analytics/daily", "daily", "Sessions by the day they began.", query={**_DAYS, "tz": _ZONE}),
    Endpoint(
        "GET", "/api/1/analytics/distributions", "distributions", "Sessions by duration and by cost.", query=_DAYS
    ),
    Endpoint(
        "GET",
        "/api/1/compare",
        "compare",
        "Two sessions side by side.",
        query=_TWO,
        answers={404: "One of them is not here."},
    ),
)
