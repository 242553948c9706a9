"""The Store protocol: what a hub asks of the place where rows are kept.

Nothing above the protocol knows SQLite.  A store is called from threads, several at a time; the caller sees to it that
one project is written by one at a time.  Facts are returned as they go over the wire.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, BinaryIO, Protocol

    from localops.reading.analytics import Chosen
    from localops.reading.facts import Facts
    from localops.reading.home import Filters
    from localops.transfer.bundle import Ack, Batch, Range

    Identity = tuple[bytes, int]

    class Readable(Protocol):
        """Rows of many projects, to be looked at; `project` None is each of them, for what one person reads."""

        def sessions(
            self, project: str | None, filters: Filters, *, before: str | None, limit: int, **bounds: Any
        ) -> tuple[list[Facts], str | None]:
            """Sessions in an order, the newest first if nothing is said, and after which one the next page begins.

            A page in which a text was looked for may be short of sessions, and not the last.  `bounds` are those of
            catalogue.Wanted.
            """

        def unsearched(self, project: str | None) -> int:
            """How many rows a search for text does not see yet."""

        def facets(self, project: str | None, only: str | None, filters: Filters, **bounds: Any) -> Facts:
            """How many sessions each value of each filter has under the others; `only`: the project that is chosen."""

        def find(self, project: str | None, ident: str) -> str:
            """The id of the session that `last` or the beginning of an id names; NotFound or Ambiguous."""

        def session(self, project: str | None, session: bytes) -> Facts | None:
            """One session and its figures."""

        def stats(self, project: str | None, session: bytes) -> Facts | None:
            """One session as AgentOps' stats."""

        def document(self, project: str | None, session: bytes, *, most: int) -> Facts | None:
            """One session as AgentOps' export; TooMany when it has more events than that."""

        def events(
            self,
            project: str | None,
            session: bytes,
            *,
            after: int,
            limit: int,
            kind: str | None = None,
            text: str | None = None,
        ) -> Facts | None:
            """A page of a session's events, in the order they came in."""

        def event(self, project: str | None, session: bytes, seq: int) -> Facts | None:
            """One event in full."""

        def previews(self, project: str | None, session: bytes, *, seqs: Sequence[int]) -> Facts | None:
            """What events were given, on a line each; some may be missing where there is very much of it."""

        def timeline(self, project: str | None, session: bytes, *, after: int, limit: int) -> Facts | None:
            """A page of a session's events in columns."""

        def attachment(self, project: str, digest: str) -> tuple[str, str] | None:
            """The path and the kind of a blob that is here."""

        def analytics(self, project: str | None, by: str | None, chosen: Chosen, *, limit: int) -> Facts:
            """Figures across sessions."""

        def daily(self, project: str | None, chosen: Chosen, tz: str | None) -> Facts:
            """Sessions by the day they began."""

        def distributions(self, project: str | None, chosen: Chosen) -> Facts:
            """Sessions by how long they took, and by what they cost."""

        def compare(self, project: str | None, a: bytes, b: bytes) -> Facts | None:
            """Two sessions side by side; None when one is not here."""

        def write(self, project: str | None, session: bytes, form: str, file: BinaryIO, *, most: int) -> bool:
            """Write a session to a file in one of export's formats; False when it is not here."""

        def newest(self, project: str | None, session: bytes | None) -> Facts:
            """How far the rows go: another answer means that there are new ones, or that a session stands otherwise."""

        def warm(self, project: str | None) -> None:
            """Get ready to be asked."""

        def close(self) -> None:
            """Let go of everything."""

    class Store(Readable, Protocol):
        """The same, taken in from others: a hub's."""

        def migrate(self, project: str) -> None:
            """Make a project ready to take rows; one that is ready stays as it is."""

        def ingest(self, project: str, batch: Batch, *, refused: dict[int, str], by: str, key: str) -> tuple[Ack, int]:
            """Store what is new of a batch, safe from a power cut; Apart when the row before it is not here."""

        def figures(self, project: str, sessions: Sequence[bytes]) -> dict[bytes, Facts]:
            """Rows, digest and totals of sessions, for whoever wants to compare."""

        def missing(
            self, project: str, found: Sequence[tuple[bytes, int, int]]
        ) -> tuple[list[Identity], list[Identity]]:
            """Which rows are not here, and which have another checksum."""

        def missing_blobs(self, project: str, digests: Sequence[str]) -> tuple[list[str], int]:
            """Which blobs are not here whole, and how many of these were looked at."""

        def keeps(self, project: str, seq: int, id: bytes) -> bool | None:
            """Whether the row that once was the newest is still here; None when that cannot be told."""

        def held(self, project: str, journals: Sequence[str]) -> tuple[list[Range], list[tuple[int, bytes, int]]]:
            """What came in from a journal under all its names: ranges, and rows that batches ended with."""

        def delete(self, project: str, session: bytes) -> bool:
            """Take a session out for good: rows of it that are sent again are not stored; False when it is not here."""

        def blob(self, project: str, digest: str) -> tuple[int, bool]:
            """How many bytes of a blob are here, and whether that is all of it."""

        def add_to_blob(self, project: str, digest: str, at: int, total: int, piece: bytes) -> int:
            """Put a piece where it belongs; how many bytes are here then.  Misplaced, or Garbled."""
