"""The sink for a hub, which is another localops: it stores rows as they are, each exactly once, and signs for them.

A batch is one request.  Its answer counts only with a receipt for exactly the rows that were sent, so that nothing
between us and the hub can make them look delivered.  The files that rows name (videos, screenshots, long values) are
sent first, in pieces, of which a broken connection loses only the last.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from dataclasses import replace
from typing import NamedTuple

from localops.encoding import encode, price_table
from localops.journal import blobs
from localops.transfer import bundle, zstd
from localops.transfer.bundle import Ack
from localops_sync.sink import Blocked, Busy, Diverged, Offline, Refused, TooLarge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from localops.journal.reader import Reader
    from localops.transfer.bundle import Batch
    from localops.transfer.remotes import Remote
    from localops_sync.transport import Reply, Transport

Identity = tuple[bytes, int]
PIECE = 4 << 20  # bytes of a blob in one request
# The smallest piece that is tried when a proxy refuses larger ones.
_LEAST_PIECE = 64 << 10
# Compression level: 1 is twice as fast and a quarter larger, but the network is the bottleneck.
_LEVEL = 5


class Replaced(NamedTuple):
    """A row that was sent, as a scrub has left it on the hub."""

    at_ns: int  # the time of the scrub
    values: int  # how many values it has replaced; 0 if unknown
    files: frozenset[str]  # the files that the row names there now


class Compared(NamedTuple):
    """The hub's answer about some rows."""

    missing: set[Identity]
    other: set[Identity]
    scrubbed: dict[Identity, Replaced]


class Hub:
    """A connection to a hub."""

    def __init__(self, remote: Remote, source: Reader, folder: str, transport: Transport) -> None:
        self.remote, self.source, self.folder, self.transport = remote, source, folder, transport
        self.id: str | None = None  # of the hub and the project of the key
        self.position: tuple[int, str] | None = None  # seq and id of the newest row that the hub has signed for
        self.kept: bool | None = True  # whether the hub still has that row; None when it does not know
        self.key_ends: str | None = None  # when the key expires, if it does
        self.proves: frozenset[str] = frozenset()  # the questions that the hub can answer
        self.prices_of = ""  # the date of the price table that the hub offers, if any
        self._compress: tuple[str, Callable[[bytes], bytes]] = ("gzip", _gzip)
        # Older hubs accept pieces of blobs only without compression.
        self._packs_pieces = False
        self._piece = PIECE
        self._there: set[str] = set()
        self._flaws: dict[str, str] = {}  # blobs that cannot be sent, and why
        self.file_trouble: Busy | None = None  # why a blob was last not taken for now, as on a full disk
        self.without_room = False  # send only rows whose blobs are there; the Ack has the others
        self._packed: deque[tuple[Batch, bytes]] = deque(maxlen=2)  # the batch that is being sent, and the next

    def check(self) -> str:
        """Greet the hub; return its id and project."""
        query = "" if self.position is None else f"?seq={self.position[0]}&id={self.position[1]}"
        greeting = self._dict(self._ask("GET", f"/sync/1/hello{query}"))
        if not isinstance(greeting.get("hub"), str) or not isinstance(greeting.get("project"), str):
            raise _foreign(self.transport.where)
        if greeting.get("localops") != bundle.WIRE:
            raise Blocked(
                f"{self.transport.where} speaks format {greeting.get('localops')}, this is {bundle.WIRE}: upgrade one"
            )
        self.id = f"{greeting['hub']}/{greeting['project']}"
        kept = greeting.get("kept", True)
        self.kept = kept if kept is None else bool(kept)
        self.proves = frozenset(_texts(greeting.get("proves")))
        offered = greeting.get("prices")
        self.prices_of = str(offered.get("date", "")) if isinstance(offered, dict) else ""
        about_key = greeting.get("key")
        ends = about_key.get("expires") if isinstance(about_key, dict) else None
        self.key_ends = ends if isinstance(ends, str) else None
        if "zstd" in _texts(greeting.get("encodings")) and (pack := _zstd()) is not None:
            self._compress = ("zstd", pack)
        self._packs_pieces = self._compress[0] in _texts(greeting.get("blob_encodings"))
        return f"hub {greeting['hub'][:8]}, project {greeting['project']}"

    def prices(self) -> bytes:
        """Return the price table that the hub offers, unchecked."""
        key = {"Authorization": f"Bearer {self.transport.key}"} if self.transport.key else {}
        return self.transport.ask("GET", "/sync/1/prices", headers=key, expected=(200,), most=price_table.MOST).body

    def send(self, batch: Batch) -> Ack:
        """Send a batch, and before it the blobs that its rows name; withhold rows whose blob cannot be sent."""
        withheld, later = self._send_blobs(batch) if not self.remote.metadata_only else ({}, set())
        if withheld or later:
            batch = bundle.leave_out(batch, {*withheld, *later})
        if not batch.rows:
            return Ack(withheld=withheld, later=later)
        body = next((body for each, body in tuple(self._packed) if each is batch), None) or self._pack(batch)
        headers = {"Content-Type": "application/x-ndjson", "Content-Encoding": self._compress[0]}
        reply = self._ask("POST", "/sync/1/rows", body=body, headers=headers, expected=(200, 409))
        answer = self._dict(reply)
        if reply.status == 409:
            raise self._diverged(answer)
        return replace(self._ack(batch, answer), withheld=withheld, later=later)

    def prepare(self, batch: Batch) -> None:
        """Pack the batch that will be sent next; may be called while another one is being sent."""
        self._packed.append((batch, self._pack(batch)))

    def _pack(self, batch: Batch) -> bytes:
        return self._compress[1](bundle.pack(batch))

    def _ack(self, batch: Batch, answer: dict[str, Any]) -> Ack:
        """Return the Ack of an answer; raise Offline unless it has a receipt for exactly the rows that were sent."""
        try:
            sent = {row.seq for row in batch.rows}
            refused = {int(seq): str(why) for seq, why in answer["refused"] if seq in sent}
            receipt = answer["receipt"]
            expected = bundle.receipt(batch, refused=refused, at_ns=receipt["at_ns"], by=receipt["by"], key=None)
            # `at_ns` and `by` are the hub's own; everything else must be as computed from the sent rows.
            genuine = all(receipt[name] == value for name, value in expected.items() if name != "hmac")
            if not genuine or not self.transport.key or not bundle.is_signed(receipt, self.transport.key):
                raise _foreign(self.transport.where)
            return Ack(
                refused,
                receipt,
                str(answer["hub"]),
                int(answer["stored"]),
                list(answer["differs"]),
                bool(answer["forked"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise _foreign(self.transport.where) from error

    def _diverged(self, answer: dict[str, Any]) -> Diverged:
        try:
            held = [(int(first), int(last)) for first, last in answer["held"]]
            marks = [(int(seq), bytes.fromhex(id), int(phase)) for seq, id, phase in answer["marks"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise _foreign(self.transport.where) from error
        return Diverged(f"{self.transport.where} lacks rows that it had", held, marks)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        expected: Sequence[int] = (200,),
    ) -> Reply:
        key = {"Authorization": f"Bearer {self.transport.key}"} if self.transport.key else {}
        return self.transport.ask(method, path, body=body, headers={**(headers or {}), **key}, expected=expected)

    def _dict(self, reply: Reply) -> dict[str, Any]:
        payload = reply.json()
        if not isinstance(payload, dict):
            raise _foreign(self.transport.where)
        return payload

    # The files that rows name

    def _send_blobs(self, batch: Batch) -> tuple[dict[int, str], set[int]]:
        """Send the blobs that rows name.

        Return the reason for each row, by seq, whose blob cannot be sent, and the rows whose blobs find no room there.
        """
        withheld: dict[int, str] = {}
        later: set[int] = set()
        for row in batch.rows:
            for digest in blobs.named([row.body]):
                if self.without_room and not self._is_there(digest):
                    later.add(row.seq)
                    continue
                reason = self._flaws.get(digest) or self.send_file(digest)
                if reason is not None:
                    withheld[row.seq] = self._flaws[digest] = reason
        return withheld, later

    def _is_there(self, digest: str) -> bool:
        """Return whether the hub has a whole blob."""
        if digest not in self._there and self._offset(digest, 0)[1]:
            self._there.add(digest)
        return digest in self._there

    def send_file(self, digest: str) -> str | None:
        """Send what the hub lacks of a blob, piece by piece; return the reason if its file cannot be sent."""
        if digest in self._there:
            return None
        try:
            path = blobs.find(self.folder, digest)
            size = os.path.getsize(path)
        except OSError:
            path, size = "", 0
        at, whole = self._offset(digest, size)
        reason = None if whole else blobs.flaw(self.folder, digest)
        if reason is not None:
            return reason
        if not whole:
            try:
                self._send_pieces(digest, path, size, at)
            except Busy as error:
                self.file_trouble = error
                raise
        self._there.add(digest)
        return None

    def _send_pieces(self, digest: str, path: str, size: int, at: int) -> None:
        whole = restarted = False
        with open(path, "rb") as file:
            while not whole:
                self.transport.budget.check()
                file.seek(at)
                piece = file.read(self.transport.budget.portion(self._piece))
                body, encoding = self._fitting(piece)
                headers = {
                    "Content-Type": "application/octet-stream",
                    "Upload-Offset": str(at),
                    "Upload-Length": str(size),
                    **encoding,
                }
                try:
                    reply = self._ask(
                        "PATCH", f"/sync/1/blobs/{digest}", body=body, headers=headers, expected=(200, 409, 422)
                    )
                except TooLarge:
                    if len(piece) <= _LEAST_PIECE:
                        raise
                    self._piece = max(_LEAST_PIECE, len(piece) // 2)
                    continue
                # 422: the digest of the received file is wrong, and the hub has discarded it.  If that happens once,
                # it was damaged on the way; twice, a proxy changes every body.
                if reply.status == 422 and restarted:
                    raise Refused(f"{self.transport.where} gets blob {digest[:12]}… in another form than it has here")
                restarted |= reply.status == 422
                was = at
                at, whole = self._next_offset(reply, at, size) if reply.status == 200 else self._offset(digest, size)
                # 409 means another offset, but the answer has the same one: the other side is not a hub.
                if reply.status == 409 and at == was and not whole:
                    raise _foreign(self.transport.where)

    def _fitting(self, piece: bytes) -> tuple[bytes, dict[str, str]]:
        """Return a piece, compressed where that pays, and its header; no more bytes than the budget allows."""
        left, head = self.transport.budget.bytes_left, piece[: blobs.HEAD]
        name, pack = self._compress
        if self._packs_pieces and blobs.pays(len(head), len(pack(head))):
            packed = pack(piece)
            if blobs.pays(len(piece), len(packed)) and len(packed) <= left:
                return packed, {"Content-Encoding": name}
        return (piece if len(piece) <= left else piece[: int(left)]), {}

    def _offset(self, digest: str, size: int) -> tuple[int, bool]:
        """Return how many bytes of a blob the hub has, and whether that is all of it.

        The hub may have more bytes than there are to send: if the next piece is at the end, the hub starts again.
        """
        reply = self._ask("HEAD", f"/sync/1/blobs/{digest}")
        offset = reply.headers.get("Upload-Offset", "")
        if not (offset.isascii() and offset.isdigit()):
            raise _foreign(self.transport.where)
        return min(int(offset[:18]), size), reply.headers.get("Upload-Complete") == "?1"

    def _next_offset(self, reply: Reply, at: int, size: int) -> tuple[int, bool]:
        """Return the offset of the next piece, and whether there is none."""
        offset = self._dict(reply).get("offset")
        # An offset that does not grow would make an endless loop.
        if type(offset) is not int or not (at < offset <= size or offset == size):
            raise _foreign(self.transport.where)
        return offset, offset == size

    # Questions about what the hub has

    def trouble(self) -> str | None:
        """Return the problems that the hub reports for the project of the key; None if it has none.

        An earlier hub reports only those of all its projects together.
        """
        greeting = self._dict(self._ask("GET", "/sync/1/hello?health=1"))
        if "problems" in greeting:
            return "; ".join(_texts(greeting["problems"])) or None
        health = self._dict(self.transport.ask("GET", "/health", expected=(200, 503)))
        problems = _texts(health.get("problems"))
        return "; ".join(problems) or None if health.get("status") != "ok" else None

    def try_size(self, size: int) -> None:
        """Send a request of `size` bytes without rows; raise Trouble when it does not get through."""
        body = encode.dumps({"rows": [], "padding": "." * size})
        self._dict(self._ask("POST", "/sync/1/missing", body=body, headers=_JSON))

    def figures(self, sessions: Sequence[bytes]) -> dict[bytes, dict[str, Any]]:
        """Return how many rows of each session the hub has, and their digest."""
        body = encode.dumps({"sessions": [session.hex() for session in sessions]})
        answer = self._question("/sync/1/sessions", body)
        by_session = answer.get("sessions")
        if not isinstance(by_session, dict):
            raise _foreign(self.transport.where)
        try:
            return {bytes.fromhex(session): dict(figures) for session, figures in by_session.items()}
        except (TypeError, ValueError) as error:
            raise _foreign(self.transport.where) from error

    def compare(self, identities: Iterable[tuple[bytes, int, int]]) -> Compared:
        """Return which of these rows the hub lacks, has with other contents, or has as a scrub has left them."""
        body = encode.dumps({"rows": [[id.hex(), phase, total] for id, phase, total in identities]})
        answer = self._question("/sync/1/missing", body)
        try:
            missing, other = (
                {(bytes.fromhex(id), phase) for id, phase in answer[name]} for name in ("missing", "other")
            )
            # A hub of an earlier release does not name scrubbed rows: they count as stored there.
            scrubbed = {
                (bytes.fromhex(id), phase): Replaced(_whole(at_ns), _whole(values), frozenset(_texts(files)))
                for id, phase, at_ns, values, files in answer.get("scrubbed", ())
            }
            return Compared(missing, other, scrubbed)
        except (KeyError, TypeError, ValueError) as error:
            raise _foreign(self.transport.where) from error

    def missing_blobs(self, digests: Sequence[str]) -> list[str]:
        """Return which of these blobs the hub does not have, or has damaged."""
        missing: list[str] = []
        while digests:
            body = encode.dumps({"blobs": list(digests)})
            answer = self._question("/sync/1/blobs", body)
            looked_at, some = answer.get("looked_at"), _texts(answer.get("missing"))
            # The hub may answer for a part of the list only, to keep within the time of a request.
            if type(looked_at) is not int or not 0 < looked_at <= len(digests) or not {*some} <= {*digests}:
                raise _foreign(self.transport.where)
            missing += some
            digests = digests[looked_at:]
        return missing

    def held(self, journals: Sequence[str]) -> Diverged:
        """Return what the hub has of a journal, in the form of the error for a batch after a gap."""
        body = encode.dumps({"journals": list(journals)})
        return self._diverged(self._question("/sync/1/held", body))

    def _question(self, path: str, body: bytes) -> dict[str, Any]:
        """Return the answer to a question; raise Blocked for a refusal, which is not about rows that were sent."""
        try:
            return self._dict(self._ask("POST", path, body=body, headers=_JSON))
        except (Refused, TooLarge) as error:
            raise Blocked(f"{error}; it does not answer {path}: is it a hub, and of this version?") from error

    def close(self) -> None:
        """Close the connection."""
        self.transport.close()


def _texts(value: object) -> list[str]:
    """Return the texts in a list; an empty list for anything else."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError
    return value


_JSON = {"Content-Type": "application/json"}


def _foreign(where: str) -> Offline:
    return Offline(f"what {where} answered is not what a hub answers; nothing counts as sent", answered=False)


def _gzip(data: bytes) -> bytes:
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    return compressor.compress(data) + compressor.flush()


def _zstd() -> Callable[[bytes], bytes] | None:
    """Return zstd compression with a checksum, which gzip has as well; None where no library has it."""
    library = zstd.library()
    if library is None:
        return None
    options = {library.CompressionParameter.checksum_flag: 1}
    return lambda data: bytes(library.compress(data, options=options))
