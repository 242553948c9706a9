"""The API of programs and pages: sessions, events, figures and files of the key's project, or of all projects."""

from __future__ import annotations

import uuid
from dataclasses import replace
from tempfile import SpooledTemporaryFile
from urllib.parse import parse_qs

from starlette.responses import FileResponse, Response, StreamingResponse

from localops import clock, dialects, output
from localops.encoding import encode
from localops.errors import ConfigError
from localops.reading import analytics, call_query, filters, media_types, run_gate
from localops.reading.filters import Filters
from localops.reading.runs_table import MOST_RUNS
from localops.recording import events, scores
from localops.server import call_params, openapi
from localops.server.request import HttpError, Unavailable, digest_in, valid_project
from localops.server.routes import BYTES, ENDPOINTS, MOST_MARKS, MOST_PREVIEWS, RULES, VIEWED
from localops.server.session_index import BY_SCORE, SORTS, WORDS
from localops.server.threads import json
from localops.upkeep import views as saved_views

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from localops.reading.facts import Facts
    from localops.server.event_stream import EventStreams
    from localops.server.request import Call
    from localops.server.threads import Service
    from localops.upkeep.views import View

# Rows of a session that can be exported in one response.
_EXPORT = 100_000
# The same for a user's own home, where no other client waits.
_EXPORT_OWN = 2_000_000
# Bytes of an export in memory; a larger one goes to a file.
_IN_MEMORY = 1 << 20
# SQLite writes to a path only.
_FORMS = [name for name in dialects.FORMATS if name != "sqlite"]
_LARGEST_SCORE = 1 << 18  # bytes of a request with a score
_MOST_FIELDS = 200  # filters of a group
_LONGEST_VALUE = 256  # characters of a text that values of a facet contain
# The orders of a saved view, which may be for sessions, for calls or for groups of them.
_ORDERS = {
    "sort": tuple(dict.fromkeys((*SORTS, "took", *call_query.SORTS, *call_query.GROUP_SORTS))),
    "order": ("asc", "desc"),
    "by": tuple(call_query.GROUPS),
}
_SESSIONS = 200  # of a conversation, on its page
_SHOWN = 40  # characters of a wrong value, in an error
_MISSING = "no session has this id"
# The answer of AgentOps' server, which its clients expect.
_NOT_OF_PROJECT = "Session does not belong to this project"
_NO_EVENT = "the session does not have this event"
_LARGEST_TEXT = 64 << 20  # bytes of a picture or sound that is stored as base64
_NO_BLOB = "the project does not have this blob"


class ReadApi:
    """Handlers of the endpoints that read."""

    def __init__(self, service: Service, streams: EventStreams) -> None:
        self._service, self._streams = service, streams
        self._store, self._read, self._answer = service.store, service.read, service.answer
        self._root = service.root

    # Without a key

    async def health(self, _: Call) -> Response:
        """Report whether a hub can store rows, and read its keys and journals; of a local home, that it is up."""
        status, facts = self._service.condition(await self._service.problems())
        if self._service.health is not None and (warnings := await self._read(self._service.health.warnings)):
            facts["warnings"] = warnings
        return self._answer(facts, status)

    async def openapi(self, _: Call) -> Response:
        """Return the OpenAPI document."""
        endpoints = [endpoint for endpoint in ENDPOINTS if self._service.keys is not None or not endpoint.hub]
        return json(openapi.document(endpoints, keys=self._service.keys is not None, root=self._root))

    # Of a project

    async def stats(self, call: Call) -> Response:
        """Return a session's figures in the form of AgentOps."""
        return json(await self._read_one(self._store.stats, call, missing=_NOT_OF_PROJECT))

    async def export(self, call: Call) -> Response:
        """Return a session in the form of AgentOps' export."""
        async with self._service.large():
            return json(await self._read_one(self._store.document, call, missing=_NOT_OF_PROJECT, most=_EXPORT))

    async def sessions(self, call: Call) -> Response:
        """Return a page of sessions."""
        return self._answer(await self.list_of(call))

    async def conversation_of(self, call: Call) -> Facts:
        """Return the sessions of a conversation as facts, the first ones first, and whether there are more."""
        chosen = _filters(call)
        listed, following = await self._read(
            self._store.sessions, call.chosen_project(), chosen, before=None, limit=_SESSIONS, ascending=True
        )
        return {"sessions": listed, "more": following is not None}

    async def list_of(self, call: Call) -> Facts:
        """Return a page of sessions as facts."""
        chosen = _filters(call)
        sort = call.param("sort") or "began"
        # The name of that order on the command line.
        sort = "seconds" if sort == "took" else sort
        if sort not in SORTS and not sort.startswith(BY_SCORE):
            raise HttpError(400, f"invalid sort: use one of {', '.join(SORTS)} or {BY_SCORE}NAME")
        if sort.startswith(BY_SCORE) and call.param("before") is None:
            name = sort.removeprefix(BY_SCORE)[:_LONGEST_VALUE]
            # In all projects: that of the filters may be one without this score.
            if problem := await self._read(self._store.unknown_score, call.project, name):
                raise HttpError(400, problem)
        order = call.param("order") or ("asc" if sort in WORDS else "desc")
        if order not in ("asc", "desc"):
            raise HttpError(400, "invalid order: use asc or desc")
        unsearched = 0
        # Counted before the list is made: the list can lack these rows, but no more.
        if chosen.text is not None:
            unsearched = await self._read(self._store.unsearched, call.chosen_project())
        listed, following = await self._read(
            self._store.sessions,
            call.chosen_project(),
            chosen,
            before=call.param("before"),
            limit=call.limit(50, most=500),
            sort=sort,
            ascending=order == "asc",
        )
        page: Facts = {"sessions": listed, "next_before": following}
        if not listed:
            page = await self._with_hint(call, page, chosen.score)
        return page if chosen.text is None else {**page, "unsearched": unsearched}

    async def _with_hint(self, call: Call, facts: Facts, scores: Sequence[str]) -> Facts:
        """Return facts with a sentence about the first filter by a score that no session passes, if any.

        Authors and values are compared only if nothing was found, as that reads all scores.
        """
        if not scores:
            return facts
        hint = await self._read(self._store.score_hint, call.project, scores, names_only=not _is_empty(facts))
        return facts if hint is None else {**facts, "hint": hint}

    async def _of_chosen(self, call: Call, work: Callable[..., Facts], *arguments: object, **options: Any) -> Facts:
        """Return facts about the sessions that pass the filters of a request."""
        facts = await self._read(work, call.chosen_project(), *arguments, **options)
        return await self._with_hint(call, facts, _filters(call).score)

    async def facets(self, call: Call) -> Response:
        """Return how many sessions each filter would match."""
        only, of, like = call.chosen_project(), call.param("of"), call.param("like") or ""
        if of is not None and of not in filters.FACETS:
            raise HttpError(400, f"invalid of: use one of {', '.join(filters.FACETS)}")
        chosen = _filters(call)
        counts = await self._read(self._store.facets, call.project, only, chosen, of=of, like=like[:_LONGEST_VALUE])
        return self._answer(await self._with_hint(call, counts, chosen.score))

    async def summary(self, call: Call) -> Response:
        """Return the figures of the sessions that match, and those of the period before."""
        chosen = _filters(call)
        return self._answer(await self._of_chosen(call, self._store.summary, chosen, _before(chosen)))

    async def session(self, call: Call) -> Response:
        """Return one session."""
        return self._answer(await self.details_of(call))

    async def details_of(self, call: Call) -> Facts:
        """Return a session with its details."""
        facts = await self._read_one(self._store.session, call)
        return {**facts, "video": self._reachable(facts["video"])}

    async def judge(self, call: Call) -> Response:
        """Store a score or a note of a session."""
        score = _score_in(await _document(call), call)
        if self._service.keys is None:
            written = await self._read(self._store.judge, call.project, call.session(), score)
        else:
            written = await self._service.write(call.owner, self._store.judge, call.owner, call.session(), score)
        if written is None:
            raise HttpError(404, _MISSING)
        return self._answer(written)

    async def views(self, call: Call) -> Response:
        """Return the saved views."""
        saved = await self._read(self._store.views, call.project)
        return self._answer({"views": [vars(view) for view in saved]})

    async def save_view(self, call: Call) -> Response:
        """Save a view."""
        given = await _document(call)
        view, may_replace = _view_in(given, call), given.get("replace", False)
        if not isinstance(may_replace, bool):
            got = output.cut(encode.dumps(may_replace).decode(), _SHOWN)
            raise HttpError(400, f"invalid replace: expected true or false, got {got}")
        try:
            if self._service.keys is None:
                saved = await self._read(self._store.save_view, call.project, view, may_replace)
            else:
                saved = await self._service.write(call.owner, self._store.save_view, call.owner, view, may_replace)
        except saved_views.NameTaken as error:
            raise HttpError(409, f'{error}: "replace": true replaces it') from error
        return self._answer({**vars(saved.view), "redacted": saved.redacted})

    async def delete_view(self, call: Call) -> Response:
        """Delete a saved view."""
        name = call.param("name")
        if name is None:
            raise HttpError(400, "missing parameter: name the view, as in ?name=failures")
        if self._service.keys is None:
            await self._read(self._store.delete_view, call.chosen_project(), name)
        else:
            await self._service.in_turn(call.owner, self._store.delete_view, call.owner, name)
        return self._answer({"deleted": name})

    async def events(self, call: Call) -> Response:
        """Return a page of a session's events."""
        page: dict[str, Any] = {"after": call.number("after", 0, most=1 << 62)}
        page["limit"] = call.limit(500, most=1_000)
        page |= {"kind": call.param("kind"), "text": call.param("text")}
        return self._answer(await self._read_one(self._store.events, call, **page))

    async def matches(self, call: Call) -> Response:
        """Return which events of a session have the words of a text."""
        text = call.param("text")
        if text is None:
            raise HttpError(400, "missing parameters: a text, as in ?text=refund")
        page: dict[str, Any] = {
            "after": call.number("after", 0, most=1 << 62),
            "before": call.number("before", 1 << 62, most=1 << 62),
        }
        page["limit"] = call.limit(1_000, most=1_000)
        return self._answer(await self._read_one(self._store.matches, call, text=text, **page))

    async def event(self, call: Call) -> Response:
        """Return one event."""
        named = str(call.request.path_params["seq"])
        event = _seq(named) if named.isdigit() else _id(named)
        if event is None:
            raise HttpError(404, f"invalid event: expected its seq or its id, got {output.cut(named, 40)!r}")
        facts = await self._read_one(self._store.event, call, event=event, missing=_NO_EVENT)
        attachments: Any = facts["attachments"]
        return self._answer({**facts, "attachments": [self._reachable(file) for file in attachments]})

    async def previews(self, call: Call) -> Response:
        """Return events on a line each, and their pictures."""
        seqs = [_seq(text) for text in (call.param("seqs") or "").split(",", MOST_PREVIEWS)]
        known = [seq for seq in seqs if seq is not None]
        if len(known) != len(seqs) or len(known) > MOST_PREVIEWS:
            raise HttpError(400, f"invalid seqs: expected at most {MOST_PREVIEWS} numbers, as in ?seqs=3,5,8")
        facts = await self._read_one(self._store.previews, call, seqs=known)
        pictures: Any = facts["pictures"]
        return self._answer({**facts, "pictures": {seq: self._reachable(file) for seq, file in pictures.items()}})

    async def timeline(self, call: Call) -> Response:
        """Return a page of a session's events in columns."""
        page: dict[str, Any] = {"after": call.number("after", 0, most=1 << 62)}
        page["limit"] = call.limit(2_000, most=50_000)
        return self._answer(await self._read_one(self._store.timeline, call, **page))

    async def why(self, call: Call) -> Response:
        """Return the post-mortem of a session."""
        return self._answer(await self._read_one(self._store.why, call))

    async def loops(self, call: Call) -> Response:
        """Return the loops and failing tools of a session."""
        return self._answer(await self._read_one(self._store.loops, call))

    async def loop_marks(self, call: Call) -> Response:
        """Return which sessions have loops."""
        texts = (call.param("sessions") or "").split(",", MOST_MARKS)
        if len(texts) > MOST_MARKS:
            raise HttpError(400, f"invalid sessions: expected at most {MOST_MARKS} ids, comma-separated")
        sessions = [_session(text) for text in texts if text]
        return self._answer(await self._read(self._store.loop_marks, call.chosen_project(), sessions=sessions))

    async def snippets(self, call: Call) -> Response:
        """Return where the words of a text are in sessions."""
        text, texts = call.param("text"), (call.param("sessions") or "").split(",", MOST_MARKS)
        if text is None or len(texts) > MOST_MARKS:
            raise HttpError(400, f"missing parameters: a text, and at most {MOST_MARKS} ids of sessions")
        sessions = [_session(each) for each in texts if each]
        return self._answer(await self._read(self._store.snippets, call.chosen_project(), text, sessions))

    async def steps(self, call: Call) -> Response:
        """Return the steps of a session that run once."""
        return self._answer(await self._read_one(self._store.steps, call, limit=call.limit(1_000, most=10_000)))

    async def live(self, call: Call) -> Response:
        """Return a stream of changes."""
        ident = call.param("session")
        project = call.chosen_project()
        session = None if ident is None else _session(ident)

        async def look() -> str:
            return encode.dumps(await self._read(self._store.newest, project, session)).decode()

        # An error here is an HTTP error; once the stream has begun, it could not be one.
        await look()
        state = call.request.app.state
        return self._streams.stream(
            call.share, call.project, look, lambda: getattr(state, "leaving", False) or not call.is_admitted()
        )

    async def attachment(self, call: Call) -> Response:
        """Return the bytes of a blob."""
        project, digest = str(call.request.path_params["project"]), digest_in(call.request)
        if call.project not in (None, project):
            raise HttpError(404, _NO_BLOB)
        place = await self._read(self._store.attachment, valid_project(project), digest)
        if place is None:
            raise HttpError(404, _NO_BLOB)
        path, (kind, is_text) = place
        # Sandboxed, because recorded bytes can be a page with scripts.
        headers = {"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, immutable"}
        if is_text:
            content = await self._read(_decoded, path)
            if content is not None:
                return Response(content, headers=headers, media_type=kind)
            kind = BYTES
        inline = kind != BYTES
        return FileResponse(
            path,
            headers=headers,
            media_type=kind,
            filename=digest,
            content_disposition_type="inline" if inline else "attachment",
        )

    def _reachable(self, file: Any) -> Any:
        """Return a blob's facts with an address below the root path."""
        return {**file, "url": f"{self._root}{file['url']}"} if file and "blob" in file else file

    async def _read_one(
        self, work: Callable[..., Facts | None], call: Call, *, missing: str = _MISSING, **options: Any
    ) -> Facts:
        facts = await self._read(work, call.project, call.session(), **options)
        if facts is None:
            raise HttpError(404, missing)
        return facts

    async def analytics(self, call: Call) -> Response:
        """Return figures across sessions: the sums, or a table."""
        by = call.param("by")
        if by is None:
            return self._answer(await self.sums_of(call))
        if not analytics.is_across(by):
            raise HttpError(400, f"invalid by: use one of {', '.join(analytics.ACROSS)}, or meta:NAME")
        limit = call.limit(1_000, most=10_000)
        return self._answer(await self._of_chosen(call, self._store.analytics, by, _choice(call), limit=limit))

    async def sums_of(self, call: Call) -> Facts:
        """Return the sums across sessions."""
        return await self._of_chosen(call, self._store.analytics, None, _choice(call), limit=1)

    async def speeds(self, call: Call) -> Response:
        """Return how fast calls were."""
        return self._answer(await self._of_chosen(call, self._store.speeds, _choice(call)))

    async def daily(self, call: Call) -> Response:
        """Return figures by day."""
        zone = call.param("tz")
        if zone in ("UTC", "local"):
            zone = None
        try:
            output.when(0, zone)
        # Wide, because a zone's name becomes a path, and can fail in every way that a path can.
        except Exception as error:
            raise HttpError(400, f"invalid tz {str(zone)[:40]!r}: use a name like Europe/Berlin") from error
        return self._answer(await self._of_chosen(call, self._store.daily, _choice(call), zone))

    async def averages(self, call: Call) -> Response:
        """Return the averages of scores."""
        return self._answer(await self._of_chosen(call, self._store.averages, _choice(call)))

    async def distributions(self, call: Call) -> Response:
        """Return histograms of duration and cost."""
        return self._answer(await self._of_chosen(call, self._store.distributions, _choice(call)))

    async def calls(self, call: Call) -> Response:
        """Return a page of calls across sessions."""
        return self._answer(await self.calls_of(call))

    async def calls_of(self, call: Call) -> Facts:
        """Return a page of calls as facts."""
        of_calls, chosen = call_query.split(_filters(call))
        call_filters, order = call_params.filters_of_calls(call, of_calls), call_params.order(call)
        limit = call.limit(50, most=500)
        return await self._of_chosen(call, self._store.calls, call_filters, chosen, **order, limit=limit)

    async def call_groups(self, call: Call) -> Response:
        """Return groups of calls."""
        return self._answer(await self.groups_of(call))

    async def groups_of(self, call: Call) -> Facts:
        """Return groups of calls as facts."""
        of_calls, chosen = call_query.split(_filters(call))
        call_filters, grouping = call_params.filters_of_calls(call, of_calls), call_params.grouping(call)
        limit = call.limit(50, most=500)
        return await self._of_chosen(call, self._store.call_groups, call_filters, chosen, **grouping, limit=limit)

    async def compare(self, call: Call) -> Response:
        """Compare two sessions."""
        return await self._of_two(self._store.compare, call)

    async def diff(self, call: Call) -> Response:
        """Return what two sessions did differently."""
        return await self._of_two(self._store.diff, call, limit=call.limit(100, most=10_000))

    async def _of_two(self, work: Callable[..., Facts | None], call: Call, **options: Any) -> Response:
        two = [call.param("a"), call.param("b")]
        if two[0] is None or two[1] is None:
            raise HttpError(400, "missing parameters: name two sessions, as in ?a=ID&b=ID")
        sessions = _different(map(_session, filter(None, two)))
        try:
            async with self._service.large():
                facts = await self._read(work, call.project, *sessions, **options)
        except ConfigError as error:
            raise HttpError(400, str(error)) from error
        if facts is None:
            raise HttpError(404, "one of these sessions does not exist")
        return self._answer(facts)

    async def compare_runs(self, call: Call) -> Response:
        """Compare several sessions in one table."""
        texts = (call.param("sessions") or "").split(",", MOST_RUNS)
        sessions = [_session(text) for text in texts[:MOST_RUNS] if text]
        if len(texts) > MOST_RUNS or len(sessions) < 2:
            raise HttpError(400, f"invalid sessions: expected 2 to {MOST_RUNS} ids, comma-separated")
        sessions = _different(sessions)
        async with self._service.large():
            facts = await self._read(self._store.compare_runs, call.project, sessions)
        if facts is None:
            raise HttpError(404, "one of these sessions does not exist")
        return self._answer(facts)

    async def check(self, call: Call) -> Response:
        """Return whether a session keeps rules."""
        baseline = call.param("baseline")
        rules: dict[str, Any] = {name: call.param(name) for name in run_gate.LIMITS}
        rules |= {name: call.param(name) == "1" for name in RULES}
        base = None if baseline is None else _session(baseline)
        try:
            async with self._service.large():
                verdict = await self._read(self._store.check_run, call.project, call.session(), base, rules)
        except ConfigError as error:
            raise HttpError(400, str(error)) from error
        if verdict is None:
            raise HttpError(404, _MISSING if base is None else "one of these sessions does not exist")
        return self._answer(verdict)

    async def scores(self, call: Call) -> Response:
        """Return the scores and notes of a session."""
        return self._answer(await self._read_one(self._store.scores, call))

    async def compare_groups(self, call: Call) -> Response:
        """Compare two groups of sessions."""
        groups = _group(call, "a"), _group(call, "b")
        compared = await self._read(self._store.compare_groups, *groups)
        for side, (_, chosen) in zip("ab", groups, strict=True):
            # The hint of the first group that needs one.
            hinted = await self._with_hint(call, {"sessions": compared[side]["sessions"]}, chosen.score)
            if "hint" in hinted:
                return self._answer({**compared, "hint": hinted["hint"]})
        return self._answer(compared)

    async def download(self, call: Call) -> Response:
        """Return a session as a file."""
        form = call.param("format") or "json"
        if form not in _FORMS:
            raise HttpError(400, f"invalid format: use one of {', '.join(_FORMS)}")
        table = _table(call, form)
        view = call.param("view")
        if view is not None and (form != "html" or view not in dialects.VIEWS):
            raise HttpError(400, f"invalid view: use one of {', '.join(dialects.VIEWS)}, with format=html")
        options = {"most": self._most_exported, "table": table, "view": view}
        return await self._file(form, self._store.write, call.project, call.session(), form, **options)

    async def download_all(self, call: Call) -> Response:
        """Return the sessions that match as a file."""
        form = call.param("format") or "json"
        if form not in _FORMS:
            raise HttpError(400, f"invalid format: use one of {', '.join(_FORMS)}")
        chosen, project = _filters(call), call.chosen_project()
        if hint := (await self._with_hint(call, {"sessions": 0}, chosen.score)).get("hint"):
            raise HttpError(404, str(hint))
        options = {"most": self._most_exported, "table": _table(call, form)}
        return await self._file(form, self._store.write_all, project, chosen, form, **options)

    @property
    def _most_exported(self) -> int:
        return _EXPORT if self._service.keys is not None else _EXPORT_OWN

    async def _file(self, form: str, write: Callable[..., Any], *given: object, **options: Any) -> Response:
        """Return what a function writes to a file as a download under the name that it returns; 404 if that is None."""
        file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed when the last piece is sent
        try:
            async with self._service.large():
                stem = await self._read(write, *given, file, **options)
                if stem is None:
                    raise HttpError(404, _MISSING)
        except OSError as error:
            raise Unavailable("no room for the export", error) from error
        headers = {
            "Content-Disposition": f'attachment; filename="{dialects.file_name(stem, form)}"',
            "Content-Length": str(file.tell()),
            "Cache-Control": "no-store",
        }
        file.seek(0)
        return StreamingResponse(_pieces(file), headers=headers, media_type=dialects.FORMATS[form].media_type)


async def _document(call: Call) -> dict[str, Any]:
    """Return the JSON object in the body of a request."""
    body = b""
    async for piece in call.request.stream():
        body += piece
        if len(body) > _LARGEST_SCORE:
            raise HttpError(413, f"the body has more than {_LARGEST_SCORE:,} bytes")
    try:
        document = encode.loads(body)
    except ValueError as error:
        raise HttpError(400, "invalid body: expected JSON") from error
    if not isinstance(document, dict):
        raise HttpError(400, "invalid body: expected a JSON object")
    return document


def _score_in(given: dict[str, Any], call: Call) -> scores.Score:
    """Return the score or the note of a request; raise HttpError if it cannot be one."""
    named = call.by.note if call.by is not None else None
    by, event = given.get("by") or (f"{scores.HUMAN}:{named}" if named else scores.HUMAN), given.get("event")
    if event is not None and not isinstance(event, str):
        raise HttpError(400, "invalid event: expected an id")
    try:
        if "note" in given:
            return scores.note(given["note"], by, event)
        name, value, version = given.get("name"), given.get("value"), given.get("version")
        return scores.checked(scores.Score(name, value, by, given.get("comment"), version, event))  # type: ignore[arg-type]
    except ConfigError as error:
        raise HttpError(400, str(error)) from error


def _view_in(given: dict[str, Any], call: Call) -> View:
    """Return the view of a request; raise HttpError if it cannot be one."""
    try:
        view = saved_views.checked(given.get("name"), given.get("filters"))
        filters.parsed(view.filters)
    except ConfigError as error:
        raise HttpError(400, str(error)) from error
    unknown = sorted(view.filters.keys() - VIEWED)
    if unknown:
        raise HttpError(400, f"unknown filter {unknown[0]!r}: use one of {', '.join(sorted(VIEWED))}")
    for parameter, words in _ORDERS.items():
        texts = [text for text in view.filters.get(parameter, ()) if not text.startswith(BY_SCORE)]
        if wrong := [text for text in texts if text not in words]:
            expected = f"one of {', '.join(words)}"
            raise HttpError(400, f"invalid {parameter}: expected {expected}, got {wrong[0][:_SHOWN]!r}")
    return replace(view, by=call.by.note if call.by is not None else None, saved=events.iso(clock.now_ns()))


def _decoded(path: str) -> bytes | None:
    """Return the bytes of a file that has them as base64; None if it is very large."""
    with open(path, "rb") as file:
        text = file.read(_LARGEST_TEXT + 1)
    return None if len(text) > _LARGEST_TEXT else media_types.decoded(text)


def _id(text: str) -> bytes | None:
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return None


def _seq(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _different(sessions: Iterable[bytes]) -> list[bytes]:
    from localops.reading import run_diff  # here, as few requests compare

    listed = list(sessions)
    try:
        run_diff.refuse_twice(("", session) for session in listed)
    except ConfigError as error:
        raise HttpError(400, str(error)) from error
    return listed


def _session(ident: str) -> bytes:
    try:
        return uuid.UUID(ident).bytes
    except ValueError as error:
        raise HttpError(404, "invalid session id: expected a UUID") from error


def _choice(call: Call) -> analytics.Chosen:
    """Return the choice of sessions of a request for figures."""
    chosen = _filters(call)
    times = {name: at for name in ("since", "until") if (at := getattr(chosen, name)) is not None}
    tag = chosen.tag[0] if len(chosen.tag) == 1 and "*" not in chosen.tag[0] else None
    if chosen == Filters(tag=tag, **times):
        return analytics.Chosen(tag=tag, **times)
    return analytics.Chosen(filters=chosen)


def _pieces(file: SpooledTemporaryFile[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(1 << 18):
            yield piece


# The keys of what was found, as lists or numbers.
_FOUND = ("sessions", "lines", "calls", "groups")


def _is_empty(facts: Facts) -> bool:
    """Return whether nothing was found; False for facts that do not show it."""
    results = [facts[name] for name in _FOUND if name in facts]
    return bool(results) and not any(results)


def _table(call: Call, form: str) -> str | None:
    """Return which table a file has; None for the usual one."""
    table = call.param("table")
    if table is not None and (form not in dialects.TABULAR or table not in ("events", "sessions")):
        raise HttpError(400, f"invalid table: use events or sessions, with format={' or '.join(dialects.TABULAR)}")
    return table


def _filters(call: Call) -> Filters:
    """Return the filters of a request; raise HttpError for one that is invalid."""
    given = {name: call.request.query_params.getlist(name) for name in filters.NAMES}
    try:
        return filters.parsed(given)
    except ConfigError as error:
        raise HttpError(400, str(error)) from error


def _group(call: Call, side: str) -> tuple[str | None, Filters]:
    """Return the project and the filters of a group, which are a query of their own in a parameter."""
    text = call.param(side)
    if text is None:
        raise HttpError(400, "missing parameters: give the filters of both groups, as in ?a=tag%3Dv1&b=tag%3Dv2")
    try:
        given = parse_qs(text, max_num_fields=_MOST_FIELDS)
        project = call.within(given.pop("project", [None])[-1])
        if unknown := sorted(given.keys() - set(filters.NAMES)):
            raise HttpError(400, f"unknown filter {unknown[0][:40]!r} in {side}")
        return project, filters.parsed(given)
    except (ValueError, ConfigError) as error:
        raise HttpError(400, f"invalid {side}: {error}") from error


def _before(chosen: Filters) -> Filters | None:
    """Return the filters of the period before, which is as long; None without a period."""
    if chosen.since is None:
        return None
    until = clock.now_ns() if chosen.until is None else chosen.until
    return chosen._replace(since=2 * chosen.since - until, until=chosen.since) if until > chosen.since else None
