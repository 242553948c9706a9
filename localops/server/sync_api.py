"""The API of senders: store batches of rows and pieces of blobs, and prove what is stored."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import chain

from starlette.responses import Response

from localops import clock
from localops.encoding import encode
from localops.errors import BundleError
from localops.journal.rows import DONE, OPEN
from localops.server import request_body
from localops.server.batch_queue import BatchQueue
from localops.server.bodies import Bodies, encoding
from localops.server.http_errors import held_rows
from localops.server.refusals import CONFLICT, INVALID
from localops.server.request import HttpError, Unavailable, digest_in
from localops.server.routes import MOST_BLOBS, MOST_NAMES, MOST_ROWS, MOST_SESSIONS
from localops.server.threads import FILES
from localops.transfer import bundle, ingest, validation
from localops.upkeep import imported_prices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO, Any, TypeVar

    from starlette.requests import Request

    from localops.reading.facts import Facts
    from localops.server.limits import Limits, Shares
    from localops.server.request import Call
    from localops.server.threads import Service
    from localops.transfer.bundle import Ack
    from localops.transfer.ingest import Arrived

    T = TypeVar("T")


class SyncApi:
    """Handlers of the endpoints for senders."""

    def __init__(self, service: Service, shares: Shares) -> None:
        self._bodies = Bodies(service, shares)
        self._store, self._limits, self._keys = service.store, service.limits, service.keys
        self._read, self._write, self._answer = service.read, service.write, service.answer
        self._metrics, self._service = service.metrics, service
        self._batches = BatchQueue(service)
        # The data folder, if the price table in it is for senders, too.
        self._offers = service.keys.folder if service.offers_prices and service.keys is not None else None

    async def hello(self, call: Call) -> Response:
        """Return the hub's id and limits, and whether it still has the row that a sender last saw there."""
        facts: Facts = {
            "project": call.project,
            "encodings": request_body.encodings(),
            "blob_encodings": request_body.encodings(),
            "max_bytes": self._limits.inflated,
            "proves": ["rows", "blobs", "held", "scrubs"],
            "time_ns": clock.now_ns(),
        }
        if call.by is not None:
            facts["key"] = {"handle": call.by.handle, "scopes": call.by.scopes, "expires": call.by.expires}
        if call.param("id") is not None:
            id = _parsed(_id, call.param("id"), "invalid id: expected 32 hex digits")
            seq = call.number("seq", 0, most=1 << 62)
            facts["kept"] = await self._read(self._store.keeps, call.owner, seq, id)
        if call.param("health") == "1":
            # That of `/health` is about all projects: a machine can do nothing about those of others.
            facts["problems"] = await self._service.problems_of(call.owner)
        if self._offers is not None:
            facts["prices"] = {"date": await asyncio.to_thread(imported_prices.in_use, self._offers)}
        return self._answer(facts)

    async def prices(self, _: Call) -> Response:
        """Return the price table that this hub uses, if its operator offers it."""
        if self._offers is None:
            raise HttpError(404, "this hub does not offer its prices: see `localops hub serve --offer-prices`")
        table = await asyncio.to_thread(imported_prices.current, self._offers)
        return Response(table, media_type="application/json")

    async def rows(self, call: Call) -> Response:
        """Store a batch."""
        packed_as = encoding(call.request)
        async with self._bodies.read(call.request, self._limits.body) as body:
            await self._service.check_quota(call.owner)
            parse = partial(_arrived, body, packed_as, self._limits, call.key)
            arrived, ack, gone = await self._batches.store(call.owner, parse)
        taken = arrived.batch.rows
        if ack.refused:
            taken = [row for row in taken if row.seq not in ack.refused]
        known = len(taken) - ack.stored - gone
        self._count(call.owner, ack, known, gone)
        return self._answer(
            {
                "stored": ack.stored,
                "known": known,
                "gone": gone,
                "refused": [[seq, why] for seq, why in ack.refused.items()],
                "differs": list(ack.differs),
                "forked": ack.forked,
                "receipt": ack.receipt,
            }
        )

    def _count(self, project: str, ack: Ack, known: int, gone: int) -> None:
        """Count what became of the rows of a batch."""
        counts = {"stored": ack.stored, "known": known, "refused": len(ack.refused), "gone": gone}
        self._metrics.took(project, "sync", **counts, size=ack.size)
        by_kind: dict[str, list[str]] = {}
        for why in ack.refused.values():
            by_kind.setdefault(CONFLICT if why == ingest.CONFLICT else INVALID, []).append(why)
        for kind, reasons in by_kind.items():
            self._service.refusals.note(project, "sync", kind, len(reasons), reasons)

    async def blob(self, call: Call) -> Response:
        """Return how many bytes of a blob are here, in headers."""
        try:
            here, whole = await self._read(self._store.blob, call.owner, digest_in(call.request))
        except Unavailable:
            # Senders ask before they send: no write comes that could fail.
            self._service.note_refusal(call.owner, FILES)
            raise
        return Response(headers={"Upload-Offset": str(here), "Upload-Complete": "?1" if whole else "?0"})

    async def add_to_blob(self, call: Call) -> Response:
        """Append a piece to a blob."""
        digest = digest_in(call.request)
        at, total = (_length(call.request, name) for name in ("upload-offset", "upload-length"))
        if total > self._limits.blob:
            raise HttpError(413, f"the blob is too large: at most {self._limits.blob} bytes")
        async with self._bodies.read(call.request, self._limits.body) as piece:

            def add() -> int:
                plain = _piece(piece.read(), encoding(call.request), self._limits)
                here = self._store.add_to_blob(call.owner, digest, at, total, plain)
                # A piece of a file that is complete already is not stored.
                if here == at + len(plain):
                    self._metrics.kept(call.owner, "files", len(plain))
                return here

            offset = await self._write(call.owner, add, what=FILES)
        return self._answer({"offset": offset})

    # Proof

    async def figures(self, call: Call) -> Response:
        """Return rows, digest and totals of sessions."""
        sessions = await self._things(call.request, "sessions", _id, MOST_SESSIONS, '"32 hex digits"')
        figures = await self._read(self._store.figures, call.owner, sessions)
        return self._answer({"sessions": {session.hex(): facts for session, facts in figures.items()}})

    async def missing(self, call: Call) -> Response:
        """Return which rows are missing, have other contents, or were scrubbed since."""
        identities = await self._things(call.request, "rows", _identity, MOST_ROWS, '["id in hex", phase, sum]')
        compared = await self._read(self._store.prove, call.owner, identities)
        replaced = [
            [id.hex(), phase, since.at_ns, since.values, files] for id, phase, since, files in compared.scrubbed
        ]
        return self._answer(
            {"missing": _as_json(compared.missing), "other": _as_json(compared.other), "scrubbed": replaced}
        )

    async def missing_blobs(self, call: Call) -> Response:
        """Return which blobs are missing or damaged."""
        digests = await self._things(call.request, "blobs", _digest, MOST_BLOBS, '"64 hex digits"')
        missing, looked_at = await self._read(self._store.missing_blobs, call.owner, digests)
        return self._answer({"missing": missing, "looked_at": looked_at})

    async def held(self, call: Call) -> Response:
        """Return what arrived from a journal."""
        journals = await self._things(call.request, "journals", _journal, MOST_NAMES, '"32 hex digits"')
        ranges, marks = await self._read(self._store.held, call.owner, journals)
        return self._answer(held_rows(ranges, marks))

    async def _things(
        self, request: Request, name: str, parse: Callable[[Any], T], most: int, example: str
    ) -> Sequence[T]:
        """Return the items of the list `name` in the body, each parsed."""
        document = await self._bodies.document(request, self._limits.question, self._limits.question)
        try:
            things = [parse(each) for each in document[name]]
        except (KeyError, TypeError, ValueError) as error:
            raise HttpError(400, f'invalid body: expected {{"{name}": [{example}, …]}}') from error
        if len(things) > most:
            raise HttpError(413, f"too many {name}: at most {most} in one request")
        return things


def _arrived(body: IO[bytes], packed_as: str, limits: Limits, key: str) -> Arrived:
    """Return the batch in a body; runs in a thread."""
    lines = request_body.lines(body.read(), packed_as, limits)
    header, columns = next(lines, b""), next(lines, b"")
    if len(header) > bundle.MOST_HEADER or len(columns) > limits.columns:
        most = f"{bundle.MOST_HEADER} bytes, or its columns more than {limits.columns}"
        raise request_body.TooLarge(f"the header of a batch has more than {most}")
    try:
        batch, refused = bundle.unpack(chain([header, columns], lines))
    except BundleError:
        _check_format(header)
        raise
    if next(lines, None) is not None:
        raise BundleError("the batch is followed by other data")
    validation.check(batch)
    return ingest.Arrived(validation.admit(batch, refused), refused, key)


def _check_format(header: bytes) -> None:
    """Refuse a batch of another format; a header without a format, or with too much in it, is refused as invalid."""
    try:
        bundle.check_header(header)
        version = encode.loads(header)["localops"]
    except (BundleError, ValueError, TypeError, KeyError):
        return
    if isinstance(version, int) and version != bundle.WIRE:
        raise HttpError(426, f"invalid format: expected {bundle.WIRE}, got {version}; upgrade the older side")


def _piece(body: bytes, encoding: str, limits: Limits) -> bytes:
    """Return a decompressed piece of a blob; offsets and lengths are those of the blob itself."""
    try:
        return request_body.whole(body, encoding, limits)
    # Not 400, which is about rows: on 422 the sender asks what is here, and sends the piece again.
    except BundleError as error:
        raise HttpError(422, str(error)) from error


def _length(request: Request, name: str) -> int:
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise HttpError(400, f"invalid header {name}: expected a number of bytes")
    return int(text)


def _parsed(parse: Callable[[Any], T], value: Any, message: str) -> T:
    try:
        return parse(value)
    except (TypeError, ValueError) as error:
        raise HttpError(400, message) from error


def _digest(text: str) -> str:
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise ValueError(text)
    return text


def _journal(text: str) -> str:
    return _id(text).hex()


def _id(text: str) -> bytes:
    id = bytes.fromhex(text)
    if len(id) != 16:
        raise ValueError(text)
    return id


def _identity(value: Any) -> tuple[bytes, int, int]:
    id, phase, total = value
    if type(phase) is not int or phase not in (DONE, OPEN) or type(total) is not int:
        raise ValueError(value)
    return _id(id), phase, total


def _as_json(identities: Sequence[tuple[bytes, int]]) -> list[list[object]]:
    return [[id.hex(), phase] for id, phase in identities]
