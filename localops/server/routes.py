"""The table of all endpoints and their query parameters, the source of the routes and the OpenAPI document."""

from __future__ import annotations

from localops.reading import analytics, call_query, call_search, run_gate
from localops.reading.filters import ALL_TAG, FACETS, NOT, STATES
from localops.reading.runs_table import MOST_RUNS
from localops.server.intake.agentops_routes import AGENTOPS
from localops.server.keys import READ, SCORE
from localops.server.request import Endpoint
from localops.server.session_index import BY_SCORE, SORTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FILTERS = {
    "state": f"in this state: {', '.join(STATES)}",
    "tag": "with this tag, or with an event that has it",
    "model": "with a call of this model",
    "agent": "with an agent of this name",
    "tool": "with a call of this tool",
    "user": "of this user, or with an event of theirs",
    "conversation": "of this conversation, or with an event of it",
    "meta": "with this metadata, as NAME=VALUE",
    "name": "of this name",
    "host": "of this host",
    "error": "with an error of this class",
}
_BOUNDS = {
    "min_cost": "a cost of at least this many dollars",
    "max_cost": "a cost of at most this many dollars",
    "min_seconds": "a duration of at least this many seconds, or 250ms, 5m, 2h",
    "max_seconds": "a duration of at most this many seconds, or 250ms, 5m, 2h",
    "errors": "errors, if it is 1",
}
_CHOSEN = {
    **{name: f"{what}; can be repeated, * stands for any characters" for name, what in _FILTERS.items()},
    **{f"{NOT}{name}": f"not {what}; can be repeated" for name, what in _FILTERS.items()},
    ALL_TAG: "with this tag, or with an event that has it; can be repeated, and then each of them",
    "score": "with this score of itself or of an event: NAME, NAME<0.5, NAME=good, NAME@AUTHOR>=1; can be repeated",
    "since": "started since then: 2h or 7d ago, or a time (ISO 8601, UTC unless it names a zone)",
    "until": "started before then",
    "text": "with an event that contains these words",
    **{name: f"with {what}" for name, what in _BOUNDS.items()},
    "project": "of this project; a key already chooses one",
}
_LIST = {
    **_CHOSEN,
    "sort": f"sort by one of {', '.join(SORTS)} or {BY_SCORE}NAME",
    "order": "asc or desc",
    "before": "id of a session: return the next page, after this session",
    "limit": "at most this many; 50 by default, 500 at most",
}
_FACETS = {
    **_CHOSEN,
    "of": f"only the values of one facet: {', '.join(FACETS)}",
    "like": "only values that contain the words of this text, the nearest to it first",
}
_FIGURES = {
    **_CHOSEN,
    "by": f"one of {', '.join(analytics.ACROSS)}, or meta:NAME; without it, the sums",
    "limit": "at most this many lines; 1000 by default",
}
_PAGE = {
    "after": "seq: return the next page, events that arrived after it",
    "limit": "rows to read; 500 by default, 1000 at most",
    "kind": "only events of this kind",
    "text": "only events with these words",
}
_MATCHES = {
    "text": "words, as in a search",
    "after": "seq: only rows after it",
    "before": "seq: return the next part, rows before it, as `next_before` of the one before",
    "limit": "rows that match; 1000 by default and at most",
}
# Filters that mean the call here, but its session in other endpoints.
_OF_ONE_CALL = {"model": "of this model", "tool": "of this tool", "error": "that failed with an error of this class"}
_OF_CALLS = {
    "kind": "only llm or tool calls",
    "argument": "calls of tools with this text in their arguments, as JSON",
    "failed": "only calls that failed, if it is 1",
    "same": "calls of one tool with the same arguments, by the key of a group",
    "prompt": "calls with the same prompt, by the key of a group",
    "message": "calls that failed with messages that are alike, by the key of a group",
    "session": "calls of this session",
    **{name: f"of sessions {about}" for name, about in _CHOSEN.items() if name != "project"},
    "text": "calls with these words in what they were given, in what came back, or in their error",
    "in": f"with text: only in this part of a call, one of {', '.join(call_search.PARTS)}",
    **{name: f"calls {_OF_ONE_CALL[name]}; can be repeated, * stands for any characters" for name in _OF_ONE_CALL},
    **{f"{NOT}{name}": f"no calls {about}; can be repeated" for name, about in _OF_ONE_CALL.items()},
    "project": _CHOSEN["project"],
}
# Parameters of a saved view: filters and orders of sessions and calls.
VIEWED = frozenset(_CHOSEN) | frozenset(_OF_CALLS) | {"sort", "order", "by"}
_CALLS = {
    **_OF_CALLS,
    "sort": f"sort by one of {', '.join(call_query.SORTS)}; calls without that figure are last",
    "order": _LIST["order"],
    "after": "`next` of the page before",
    "limit": "at most this many; 50 by default, 500 at most",
}
_CALL_GROUPS = {
    **_OF_CALLS,
    "by": f"one of {', '.join(call_query.GROUPS)}; without it, the figures of all",
    "sort": f"the greatest first: {', '.join(call_query.GROUP_SORTS)}",
    "limit": "at most this many groups; 50 by default, 500 at most",
    "like": f"only groups by {', '.join(call_query.NAMED)} whose names contain this text",
}
_ZONE = "time zone of the days, such as Europe/Berlin; UTC by default"
_FILE = {
    "format": "json, jsonl, csv, html, md, atif, sft, otlp, perfetto, parquet or openmetrics",
    "table": "events or sessions, with csv or parquet",
    "view": "what a report opens on, with html: timeline, tree, events, chat or figures",
}
_GROUPS = (("a", "one"), ("b", "the other"))
_TWO = {"a": "id of a session", "b": "id of the other session"}
# Rules of `check` that `1` switches on.
RULES = ("same_tools", "same_arguments", "allow_unpriced")
_CHECK = {
    "baseline": "id of the session to compare with",
    **{name: f"a limit, as for `localops check`: {limit.expected}" for name, limit in run_gate.LIMITS.items()},
    "same_tools": "1: the same tools in the same order",
    "same_arguments": "1: the same, each with the same arguments",
    "allow_unpriced": "1: calls without a price, or without an end, pass",
}
_LIVE = {"session": "only this session; all by default", "project": "only this project"}
_COLUMNS = {
    "after": "seq: return the next page, events whose rows arrived after it",
    "limit": "rows to read; 2000 by default, 50000 at most",
}
_ROWS = "application/x-ndjson"
_JSON = "application/json"
_PROTOBUF = "application/x-protobuf"
BYTES = "application/octet-stream"
_OPENMETRICS = "application/openmetrics-text"
_NOT_READY = {503: "Not now: see the problems."}

# The most sessions, rows and blobs that a sender may ask about in one request.
MOST_SESSIONS, MOST_ROWS, MOST_BLOBS, MOST_NAMES = 500, 5_000, 1_000, 1_001
# Events of one request: a screen shows about fifty.
MOST_PREVIEWS = 200
# Sessions of one request: a page of the list.
MOST_MARKS = 500
_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_IDENTITY = {
    "type": "array",
    "description": "id, phase and checksum of a row",
    "prefixItems": [_ID, {"enum": [0, 1]}, {"type": "integer"}],
    "minItems": 3,
    "maxItems": 3,
}


def _listing(name: str, items: Mapping[str, object], most: int) -> dict[str, object]:
    """Return the schema of a body with a list of limited length."""
    inner = {"type": "array", "items": items, "maxItems": most}
    return {"type": "object", "properties": {name: inner}, "required": [name]}


_TEXT = {"type": "string"}
_SCORE: dict[str, object] = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "value": {"type": ["number", "boolean", "string", "null"]},
        "note": {"type": "string", "description": "a note, in place of name and value"},
        "by": {"type": "string", "description": "who judges; by default human, on a hub with the name of the key"},
        "comment": _TEXT,
        "version": _TEXT,
        "event": {"type": "string", "description": "the id of an event of the session"},
    },
}
_VIEW: dict[str, object] = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        "filters": {
            "type": "object",
            "description": "by query parameter of the list of sessions: a text, or several",
            "additionalProperties": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
        },
        "replace": {"type": "boolean", "description": "in place of a view of this name with other filters"},
    },
    "required": ["name", "filters"],
}

ENDPOINTS = (
    Endpoint("GET", "/health", "health", "Whether the hub is up, and its release.", key=False),
    Endpoint(
        "GET", "/ready", "ready", "Whether the hub takes rows now.", key=False, api="operator", answers=_NOT_READY
    ),
    Endpoint(
        "GET",
        "/metrics",
        "metrics",
        "What the hub counts of the key's project, as OpenMetrics.",
        query={
            "senders": "1: and of each machine that sends to it",
            "projects": "1: with a key that has the scope admin, and of each project",
        },
        scope=READ,
        gives=(_OPENMETRICS, "text/plain"),
        api="operator",
    ),
    Endpoint("GET", "/api/1/senders", "senders", "The machines that send to the project.", api="operator", scope=READ),
    Endpoint("GET", "/openapi.json", "openapi", "This document.", key=False),
    Endpoint(
        "GET",
        "/sync/1/hello",
        "hello",
        "The hub's id and limits, and whether it still has the row that a sender last saw there.",
        query={
            "seq": "seq of that row, from a receipt",
            "id": "its id: 32 hex digits",
            "health": "1 for `problems` of the key's project, and of the hub that keep it from taking rows",
        },
        api="sync",
    ),
    Endpoint(
        "POST",
        "/sync/1/rows",
        "rows",
        "Store a batch of rows, completely or not at all; the response is sent when they are safe from a power cut.",
        body=_ROWS,
        api="sync",
        answers={
            400: "The batch is damaged.",
            409: "The row before the batch is not here.",
            426: "The batch has another format: one side must be upgraded.",
        },
    ),
    Endpoint("HEAD", "/sync/1/blobs/{digest}", "blob", "How many bytes of a blob the hub has.", api="sync"),
    Endpoint(
        "PATCH",
        "/sync/1/blobs/{digest}",
        "add_to_blob",
        "Store the next piece of a blob.",
        body=BYTES,
        api="sync",
        answers={
            409: "The piece does not begin where the last one ended.",
            422: "The complete blob has another digest.",
        },
    ),
    Endpoint(
        "POST",
        "/sync/1/sessions",
        "figures",
        "Rows, digest and totals of sessions.",
        body=_JSON,
        form=_listing("sessions", _ID, MOST_SESSIONS),
        api="sync",
    ),
    Endpoint(
        "POST",
        "/sync/1/missing",
        "missing",
        "Which rows the hub lacks or has damaged, which it has with other contents, and which were scrubbed since.",
        body=_JSON,
        form=_listing("rows", _IDENTITY, MOST_ROWS),
        api="sync",
    ),
    Endpoint(
        "POST",
        "/sync/1/blobs",
        "missing_blobs",
        "Which blobs the hub lacks; ask again about those after `looked_at`.",
        body=_JSON,
        form=_listing("blobs", {"type": "string", "pattern": "^[0-9a-f]{64}$"}, MOST_BLOBS),
        api="sync",
    ),
    Endpoint(
        "POST",
        "/sync/1/held",
        "held",
        "What arrived from a journal, under all its names.",
        body=_JSON,
        form=_listing("journals", _ID, MOST_NAMES),
        api="sync",
    ),
    Endpoint(
        "GET",
        "/sync/1/prices",
        "prices",
        "The price table of a hub that offers it, for machines with an older one.",
        api="sync",
        answers={404: "The hub does not offer its prices."},
    ),
    Endpoint(
        "POST",
        "/v1/traces",
        "traces",
        "Store spans of OpenTelemetry (OTLP/HTTP, in protobuf or JSON); the response names how many were refused.",
        body=_PROTOBUF,
        gives=(_PROTOBUF, _JSON),
        api="otlp",
    ),
    Endpoint(
        "POST",
        "/v1/logs",
        "logs",
        "Store log records of OpenTelemetry that belong to a trace.",
        body=_PROTOBUF,
        gives=(_PROTOBUF, _JSON),
        api="otlp",
    ),
    Endpoint("GET", "/v2/sessions/{session}/stats", "stats", "A session's figures, as AgentOps gives them.", v2=True),
    Endpoint("GET", "/v2/sessions/{session}/export", "export", "A session, as AgentOps exports it.", v2=True),
    Endpoint("GET", "/api/1/sessions", "sessions", "A page of sessions.", query=_LIST),
    Endpoint("GET", "/api/1/facets", "facets", "How many sessions each filter would match.", query=_FACETS),
    Endpoint("GET", "/api/1/summary", "summary", "The figures of sessions, and of the period before.", query=_CHOSEN),
    Endpoint("GET", "/api/1/sessions/{session}", "session", "A session and its figures."),
    Endpoint("GET", "/api/1/sessions/{session}/events", "events", "Events, in the order they arrived.", query=_PAGE),
    Endpoint(
        "GET",
        "/api/1/sessions/{session}/matches",
        "matches",
        "Which events have the words of a text, by the seq of their first row.",
        query=_MATCHES,
    ),
    Endpoint(
        "GET",
        "/api/1/sessions/{session}/events/{seq}",
        "event",
        "One event in full, by the seq of a row of it or by its id.",
    ),
    Endpoint(
        "GET",
        "/api/1/sessions/{session}/previews",
        "previews",
        "Events on a line each: the answer of a model call, the input of any other; and their pictures.",
        query={"seqs": f"seqs of events, comma-separated, at most {MOST_PREVIEWS}; ask again for missing ones"},
    ),
    Endpoint(
        "GET", "/api/1/sessions/{session}/timeline", "timeline", "Events in columns, for drawing.", query=_COLUMNS
    ),
    Endpoint(
        "GET",
        "/api/1/loops",
        "loop_marks",
        "Which of these sessions have loops of tool calls, in a few words; ask again for missing ones.",
        query={"sessions": f"ids of sessions, comma-separated, at most {MOST_MARKS}", "project": _LIST["project"]},
    ),
    Endpoint(
        "GET",
        "/api/1/snippets",
        "snippets",
        "Where the words of a text are in these sessions; ask again for missing ones.",
        query={
            "text": _CHOSEN["text"],
            "sessions": f"ids of sessions, comma-separated, at most {MOST_MARKS}",
            "project": _CHOSEN["project"],
        },
    ),
    Endpoint(
        "GET",
        "/api/1/sessions/{session}/loops",
        "loops",
        "The loops and failing tools of a session, and what was wasted.",
    ),
    Endpoint(
        "GET",
        "/api/1/sessions/{session}/check",
        "check",
        "Whether a session keeps limits, and beside another session the rules of a baseline.",
        query=_CHECK,
    ),
    Endpoint(
        "GET",
        "/api/1/sessions/{session}/scores",
        "scores",
        "The scores and notes of a session, and which of them count.",
    ),
    Endpoint(
        "POST",
        "/api/1/sessions/{session}/scores",
        "judge",
        "Give a session, or an event of it, a score or a note; a score of null takes back the author's earlier one.",
        body=_JSON,
        form=_SCORE,
        scope=SCORE,
        answers={404: "The session, or the event, does not exist."},
    ),
    Endpoint("GET", "/api/1/views", "views", "The saved views: filters of the list of sessions, each under a name."),
    Endpoint(
        "POST",
        "/api/1/views",
        "save_view",
        "Save filters of the list of sessions under a name.",
        body=_JSON,
        form=_VIEW,
        scope=SCORE,
        answers={409: "A view of this name has other filters, and `replace` is not set."},
    ),
    Endpoint(
        "DELETE",
        "/api/1/views",
        "delete_view",
        "Delete a saved view.",
        query={"name": "name of the view", "project": "of this project, in a home; without it, of the whole home"},
        scope=SCORE,
        answers={404: "There is no view of this name."},
    ),
    Endpoint("GET", "/api/1/sessions/{session}/why", "why", "The post-mortem of a session: how it ended, and why."),
    Endpoint(
        "GET",
        "/api/1/sessions/{session}/steps",
        "steps",
        "The steps of a session that run once, and what a resume would do with each.",
        query={"limit": "at most this many; 1000 by default, 10000 at most"},
    ),
    Endpoint(
        "GET",
        "/api/1/live",
        "live",
        "A stream of changes (server-sent events).",
        query=_LIVE,
        gives=("text/event-stream",),
        lasting=True,
    ),
    Endpoint(
        "GET",
        "/blobs/{project}/{digest}",
        "attachment",
        "The bytes of a video, a picture or a long value; a picture or sound stored as base64 is decoded.",
        gives=("*/*",),
    ),
    Endpoint(
        "GET",
        "/api/1/sessions/{session}/export",
        "download",
        "A session as a file.",
        query=_FILE,
        gives=(_JSON, _ROWS, "text/html", "text/csv", "text/markdown", "*/*"),
        answers={413: "The session has too many events: read them page by page."},
    ),
    Endpoint(
        "GET",
        "/api/1/export",
        "download_all",
        "The sessions that match, as a file.",
        query={**_CHOSEN, "format": _FILE["format"], "table": _FILE["table"]},
        gives=(_JSON, _ROWS, "text/html", "text/csv", "text/markdown", "*/*"),
        answers={413: "The sessions have too many events: filter more."},
    ),
    Endpoint("GET", "/api/1/analytics", "analytics", "Figures across sessions.", query=_FIGURES),
    Endpoint("GET", "/api/1/analytics/speeds", "speeds", "How fast LLM calls and tool calls were.", query=_CHOSEN),
    Endpoint(
        "GET", "/api/1/analytics/daily", "daily", "Sessions by the day they started.", query={**_CHOSEN, "tz": _ZONE}
    ),
    Endpoint(
        "GET", "/api/1/analytics/scores", "averages", "Averages of scores, with their 95% intervals.", query=_CHOSEN
    ),
    Endpoint(
        "GET", "/api/1/analytics/distributions", "distributions", "Sessions by duration and by cost.", query=_CHOSEN
    ),
    Endpoint("GET", "/api/1/calls", "calls", "A page of LLM and tool calls across sessions.", query=_CALLS),
    Endpoint(
        "GET",
        "/api/1/calls/groups",
        "call_groups",
        "Calls that have something in common, with failures, percentiles and examples.",
        query=_CALL_GROUPS,
    ),
    Endpoint(
        "GET",
        "/api/1/compare/groups",
        "compare_groups",
        "Two groups of sessions: the mean of each figure, and by how much they differ, with 95% intervals.",
        query={side: f"filters of {which} group as a query of the list: tag%3Dv1" for side, which in _GROUPS},
    ),
    Endpoint(
        "GET",
        "/api/1/compare/runs",
        "compare_runs",
        "Several sessions in one table: events that belong together in one row, and which run differs from the others.",
        query={"sessions": f"2 to {MOST_RUNS} ids of sessions, comma-separated"},
        answers={404: "One of the sessions does not exist."},
    ),
    Endpoint(
        "GET",
        "/api/1/compare",
        "compare",
        "Two sessions side by side.",
        query=_TWO,
        answers={404: "One of the sessions does not exist."},
    ),
    Endpoint(
        "GET",
        "/api/1/diff",
        "diff",
        "What the second of two sessions did differently.",
        query={**_TWO, "limit": "at most this many differences; 100 by default, 10000 at most"},
        answers={404: "One of the sessions does not exist."},
    ),
    *AGENTOPS,
)
