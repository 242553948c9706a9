"""Receives spans and log records over OTLP/HTTP, from any SDK or collector of OpenTelemetry."""

from __future__ import annotations

import asyncio
from itertools import islice

from localops.encoding import encode
from localops.errors import LocalopsError
from localops.otlp import documents, protobuf, records, spans
from localops.otlp.receiving import OTHER, Outcome
from localops.server import request_body, troubles
from localops.server.http_errors import http_error
from localops.server.intake import otlp_answers
from localops.server.intake.bodies import encoding_of, received
from localops.server.intake.otlp_answers import JSON, PROTOBUF
from localops.server.refusals import CONFLICT, INVALID
from localops.server.request import HttpError
from localops.server.request_body import TooLarge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TypeVar

    from starlette.requests import Request
    from starlette.responses import Response

    from localops.otlp.records import Record
    from localops.otlp.spans import Span
    from localops.server.limits import Limits, Shares
    from localops.server.request import Call
    from localops.server.threads import Service

    T = TypeVar("T")

_ROUND = 1.0  # seconds between two checks for traces that wait
_NO_PROTOBUF = (
    "this hub reads OTLP in JSON only: send application/json, or install opentelemetry-proto on the hub "
    "(pip install 'localops[ui]')"
)


class OtlpApi:
    """Handlers of the addresses of OTLP."""

    def __init__(self, service: Service, shares: Shares) -> None:
        self._service, self._shares = service, shares
        self._store, self._limits = service.store, service.limits

    async def traces(self, call: Call) -> Response:
        """Receive spans."""
        return await self._take(call, logs=False)

    async def logs(self, call: Call) -> Response:
        """Receive log records."""
        return await self._take(call, logs=True)

    async def _take(self, call: Call, *, logs: bool) -> Response:
        kind = _kind_of(call.request)
        taken = Outcome()
        async with received(call.request, self._service, self._shares) as body:
            encoding = encoding_of(call.request)
            # Before it is the project's turn, as reading the request takes most of the time.
            read = await self._service.read(_read, body.read, kind, encoding, self._limits, taken, logs=logs)
        if read[0] or read[1]:
            await self._service.write(call.owner, self._store.take_spans, call.owner, *read, taken)
        counts = {"stored": taken.rows, "known": taken.again, "refused": taken.refused, "gone": taken.gone}
        self._service.metrics.took(call.owner, "otlp", **counts)
        for reason, many, texts in (
            (CONFLICT, taken.conflicts, [OTHER]),
            (INVALID, taken.refused - taken.conflicts, [why for why in taken.reasons if why != OTHER]),
        ):
            self._service.refusals.note(call.owner, "otlp", reason, many, texts)
        return otlp_answers.taken(kind, taken.refused, "; ".join(taken.reasons), logs=logs)


async def release_spans(service: Service) -> None:
    """As long as the hub runs, store traces whose root has not arrived in time."""
    # Only the first check reads the disk: later ones need no thread, which would be the main cost of an idle hub.
    due = await service.read(service.store.with_due_spans)
    while True:
        for project in due:
            try:
                # Even if a quota is used up by now, as they have been acknowledged.
                if rows := await service.in_turn(project, service.store.release_spans, project):
                    service.metrics.took(project, "otlp", stored=rows)
                    service.note_success(project)
            except LocalopsError as error:
                # A full disk or a damaged journal, for example: print it, and try again later.
                http_error(error)
            except Exception as error:
                # A broad handler, so that other projects continue; this one is tried again.
                troubles.report("spans cannot be stored", f"{type(error).__name__}: {error}", status=500)
        await asyncio.sleep(_ROUND)
        due = service.store.with_due_spans()


def _kind_of(request: Request) -> str:
    """Return the media type of a request, or raise HttpError if it is not one of OTLP's."""
    kind = otlp_answers.media_type(request.headers.get("content-type", ""))
    if kind not in (JSON, PROTOBUF):
        raise HttpError(415, f"invalid Content-Type: expected {PROTOBUF} or {JSON}, got {kind[:80]!r}")
    if kind == PROTOBUF and protobuf.library() is None:
        raise HttpError(415, _NO_PROTOBUF)
    return kind


def _read(
    body: Any, kind: str, encoding: str, limits: Limits, taken: Outcome, *, logs: bool
) -> tuple[list[Span], list[Record]]:
    """Return the spans and log records of a request; runs in a thread."""
    plain = request_body.whole(body(), encoding, limits)
    try:
        request = protobuf.parsed(plain, logs=logs) if kind == PROTOBUF else _document(plain)
    except ValueError as error:
        raise HttpError(400, f"invalid body: {error}") from error
    if logs:
        log = (records.of_protobuf if kind == PROTOBUF else records.of_json)(request, taken.refuse)
        return [], _at_most(log, limits)
    return _at_most(protobuf.spans(request, taken.refuse) if kind == PROTOBUF else _spans(request, taken), limits), []


def _document(plain: bytes) -> dict[str, Any]:
    """Return a request in JSON; ValueError for anything else."""
    request = encode.loads(plain)
    if not isinstance(request, dict):
        raise ValueError(f"expected a JSON object, got {type(request).__name__}")
    for name in ("resourceSpans", "resource_spans", "resourceLogs", "resource_logs"):
        if not isinstance(request.get(name, []), list):
            raise ValueError(f"{name}: expected a list, got {type(request[name]).__name__}")
    return request


def _spans(request: dict[str, Any], taken: Outcome) -> Iterator[Span]:
    for source in documents.of_request(request, "", lambda problem: taken.refuse(problem.removeprefix(": "))):
        try:
            yield spans.of_json(source)
        except ValueError as error:
            taken.refuse(str(error))


def _at_most(things: Iterator[T], limits: Limits) -> list[T]:
    """Return the spans or records of a request, or raise TooLarge: after 413 a client does not send it again."""
    many = list(islice(things, limits.rows + 1))
    if len(many) > limits.rows:
        raise TooLarge(f"a request has more than {limits.rows} spans or log records: send smaller batches")
    return many
