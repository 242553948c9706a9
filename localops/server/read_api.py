"""What programs and pages ask: sessions, events, figures, files.  Each in the project of whoever asks, or in all."""

from __future__ import annotations

import uuid
from tempfile import SpooledTemporaryFile

from starlette.responses import FileResponse, Response, StreamingResponse

from localops import __version__, output
from localops.encoding import encode
from localops.reading import analytics
from localops.reading.home import STATES, Filters
from localops.server import openapi
from localops.server.request import HttpError, Unavailable, digest_in, project_named
from localops.server.routes import BYTES, ENDPOINTS, MOST_PREVIEWS
from localops.server.session_index import SORTS, WORDS
from localops.server.threads import json
from localops.server.troubles import Health

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from localops.reading.facts import Facts
    from localops.server.event_stream import EventStreams
    from localops.server.request import Call
    from localops.server.threads import Service

_EXPORT = 100_000  # rows of a session that is given out whole
_EXPORT_OWN = 2_000_000  # the same for whoever it belongs to
_IN_MEMORY = 1 << 20  # bytes of an export, before it goes by way of a file
_FORMS = {"json": "application/json", "html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8"}
_REFUSED = "rows or files were refused in the last minutes: there is no room for them, or the journal cannot be written"
_MISSING = "Session does not belong to this project"
_NO_EVENT = "the session has no such event"


class ReadApi:
    """Answers to whoever wants to know."""

    def __init__(self, service: Service, streams: EventStreams) -> None:
        self._service, self._streams = service, streams
        self._store, self._read, self._answer = service.store, service.read, service.answer
        self._root = service.root
        self._health = Health(service.keys) if service.keys is not None else None

    # For everybody

    async def health(self, _: Call) -> Response:
        """Whether a hub can store rows and knows its keys; of a local home, that it is up."""
        problems = [] if self._health is None else list(await self._service.read(self._health.problems))
        if self._health is not None and not problems and self._service.refused_lately():
            problems = [_REFUSED]
        told = {"status": "trouble" if problems else "ok", "version": __version__, "problems": problems}
        return self._answer(told, 503 if problems else 200)

    async def openapi(self, _: Call) -> Response:
        """The description of all endpoints."""
        endpoints = [endpoint for endpoint in ENDPOINTS if self._service.keys is not None or not endpoint.hub]
        return json(openapi.document(endpoints, keys=self._service.keys is not None, root=self._root))

    # Of a project

    async def stats(self, call: Call) -> Response:
        """A session's figures as AgentOps gives them."""
        return json(await self._one(self._store.stats, call))

    async def export(self, call: Call) -> Response:
        """A session as AgentOps exports it."""
        async with self._service.large:
            return json(await self._one(self._store.document, call, most=_EXPORT))

    async def sessions(self, call: Call) -> Response:
        """A list of sessions."""
        return self._answer(await self.list_of(call))

    async def list_of(self, call: Call) -> Facts:
        """A page of the list."""
        filters, bounds = _filters(call), _bounds(call)
        sort = call.asked("sort") or "began"
        if sort not in SORTS:
            raise HttpError(400, f"sort is one of {', '.join(SORTS)}")
        order = call.asked("order") or ("asc" if sort in WORDS else "desc")
        if order not in ("asc", "desc"):
            raise HttpError(400, "order is asc or desc")
        unsearched = 0  # as of before the list is made, which then may be short of no more than these
        if filters.text is not None:
            unsearched = await self._read(self._store.unsearched, call.chosen_project())
        found, following = await self._read(
            self._store.sessions,
            call.chosen_project(),
            filters,
            before=call.asked("before"),
            limit=call.limit(50, most=500),
            sort=sort,
            ascending=order == "asc",
            **bounds,
        )
        listed: Facts = {"sessions": found, "next_before": following}
        return listed if filters.text is None else {**listed, "unsearched": unsearched}

    async def facets(self, call: Call) -> Response:
        """How many sessions each filter would leave."""
        only = call.chosen_project()
        return self._answer(await self._read(self._store.facets, call.project, only, _filters(call), **_bounds(call)))

    async def session(self, call: Call) -> Response:
        """One session."""
        return self._answer(await self.details_of(call))

    async def details_of(self, call: Call) -> Facts:
        """A session and all that is known of it."""
        facts = await self._one(self._store.session, call)
        return {**facts, "video": self._reachable(facts["video"])}

    async def events(self, call: Call) -> Response:
        """A page of a session's events."""
        page: dict[str, Any] = {"after": call.number("after", 0, most=1 << 62)}
        page["limit"] = call.limit(500, most=1_000)
        page |= {"kind": call.asked("kind"), "text": call.asked("text")}
        return self._answer(await self._one(self._store.events, call, **page))

    async def event(self, call: Call) -> Response:
        """One event."""
        seq = _seq(str(call.request.path_params["seq"]))
        if seq is None:
            raise HttpError(404, "an event is named by its seq, a number")
        facts = await self._one(self._store.event, call, seq=seq, missing=_NO_EVENT)
        attachments: Any = facts["attachments"]
        return self._answer({**facts, "attachments": [self._reachable(file) for file in attachments]})

    async def previews(self, call: Call) -> Response:
        """What events were given, on a line each."""
        seqs = [_seq(text) for text in (call.asked("seqs") or "").split(",", MOST_PREVIEWS)]
        known = [seq for seq in seqs if seq is not None]
        if len(known) != len(seqs) or len(known) > MOST_PREVIEWS:
            raise HttpError(400, f"name events by their seqs, at most {MOST_PREVIEWS}: ?seqs=3,5,8")
        return self._answer(await self._one(self._store.previews, call, seqs=known))

    async def timeline(self, call: Call) -> Response:
        """A page of a session's events in columns."""
        page: dict[str, Any] = {"after": call.number("after", 0, most=1 << 62)}
        page["limit"] = call.limit(2_000, most=50_000)
        return self._answer(await self._one(self._store.timeline, call, **page))

    async def live(self, call: Call) -> Response:
        """What is new, while somebody looks."""
        ident = call.asked("session")
        project = call.chosen_project()
        session = None if ident is None else _session(ident)

        async def look() -> str:
            return encode.dumps(await self._read(self._store.newest, project, session)).decode()

        await look()  # what cannot be looked at is said before the stream begins
        state = call.request.app.state
        return self._streams.stream(call.key, look, lambda: getattr(state, "leaving", False) or not call.still())

    async def attachment(self, call: Call) -> Response:
        """The bytes of a blob: never a page of ours, whatever they are."""
        project, digest = str(call.request.path_params["project"]), digest_in(call.request)
        if call.project not in (None, project):
            raise HttpError(404, "there is no such blob in this project")
        found = await self._read(self._store.attachment, project_named(project), digest)
        if found is None:
            raise HttpError(404, "there is no such blob in this project")
        path, kind = found
        headers = {"Content-Security-Policy": "sandbox; default-src 'none'", "Cache-Control": "private, immutable"}
        inline = kind != BYTES
        return FileResponse(
            path,
            headers=headers,
            media_type=kind,
            filename=digest,
            content_disposition_type="inline" if inline else "attachment",
        )

    def _reachable(self, file: Any) -> Any:
        """Return a blob's facts with an address that is good below the path of a proxy, too."""
        return {**file, "url": f"{self._root}{file['url']}"} if file and "blob" in file else file

    async def _one(
        self, work: Callable[..., Facts | None], call: Call, *, missing: str = _MISSING, **options: Any
    ) -> Facts:
        found = await self._read(work, call.project, call.session(), **options)
        if found is None:
            raise HttpError(404, missing)
        return found

    async def analytics(self, call: Call) -> Response:
        """Figures across sessions: the sums, or a table of them."""
        by = call.asked("by")
        if by is None:
            return self._answer(await self.sums_of(call))
        if by not in analytics.ACROSS:
            raise HttpError(400, f"by is one of {', '.join(analytics.ACROSS)}")
        limit = call.limit(1_000, most=10_000)
        return self._answer(
            await self._read(self._store.analytics, call.chosen_project(), by, _chosen(call), limit=limit)
        )

    async def sums_of(self, call: Call) -> Facts:
        """The sums across sessions."""
        return await self._read(self._store.analytics, call.chosen_project(), None, _chosen(call), limit=1)

    async def daily(self, call: Call) -> Response:
        """Sessions by day."""
        zone = call.asked("tz")
        if zone in ("UTC", "local"):
            zone = None
        try:
            output.when(0, zone)
        except Exception as error:  # whatever a zone's name can look like to the file system
            raise HttpError(400, f"tz={str(zone)[:40]!r} is no time zone: say one like Europe/Berlin") from error
        return self._answer(await self._read(self._store.daily, call.chosen_project(), _chosen(call), zone))

    async def distributions(self, call: Call) -> Response:
        """Sessions by duration and cost."""
        return self._answer(await self._read(self._store.distributions, call.chosen_project(), _chosen(call)))

    async def compare(self, call: Call) -> Response:
        """Two sessions side by side."""
        two = [call.asked("a"), call.asked("b")]
        if two[0] is None or two[1] is None:
            raise HttpError(400, "name two sessions: ?a=ID&b=ID")
        async with self._service.large:
            found = await self._read(self._store.compare, call.project, *map(_session, filter(None, two)))
        if found is None:
            raise HttpError(404, "one of these sessions is not here")
        return self._answer(found)

    async def download(self, call: Call) -> Response:
        """A session as a file."""
        form = call.asked("format") or "json"
        if form not in _FORMS:
            raise HttpError(400, f"format is one of {', '.join(_FORMS)}")
        most = _EXPORT if self._service.keys is not None else _EXPORT_OWN
        file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed when its last piece is sent
        try:
            async with self._service.large:
                if not await self._read(self._store.write, call.project, call.session(), form, file, most=most):
                    raise HttpError(404, _MISSING)
        except OSError as error:
            raise Unavailable("there is no room here to put the session together", error) from error
        name = f"localops-{uuid.UUID(bytes=call.session())}.{form}"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(file.tell()),
            "Cache-Control": "no-store",
        }
        file.seek(0)
        return StreamingResponse(_pieces(file), headers=headers, media_type=_FORMS[form])


def _seq(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def _session(ident: str) -> bytes:
    try:
        return uuid.UUID(ident).bytes
    except ValueError as error:
        raise HttpError(404, "that is no id of a session") from error


def _chosen(call: Call) -> analytics.Chosen:
    times = {name: at for name in ("since", "until") if (at := call.moment(name)) is not None}
    return analytics.Chosen(tag=call.asked("tag"), **times)


def _pieces(file: SpooledTemporaryFile[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(1 << 18):
            yield piece


def _filters(call: Call) -> Filters:
    state = call.asked("state")
    if state is not None and state not in STATES:
        raise HttpError(400, f"state is one of {', '.join(STATES)}")
    return Filters(
        state=state,
        tag=call.asked("tag"),
        model=call.asked("model"),
        agent=call.asked("agent"),
        since=call.moment("since"),
        until=call.moment("until"),
        text=call.asked("text"),
    )


def _bounds(call: Call) -> dict[str, Any]:
    """What a list can be narrowed by beside its filters."""
    return {
        "min_cost": call.amount("min_cost"),
        "max_cost": call.amount("max_cost"),
        "min_ns": call.amount("min_seconds"),
        "max_ns": call.amount("max_seconds"),
        "errors": call.asked("errors") == "1",
        "tool": call.asked("tool"),
    }
