"""The Store protocol: the interface between a hub and the storage of its rows.

Nothing above the protocol knows SQLite.  A store is called from threads, several at a time; the caller sees to it that
one project is written by one at a time.  Facts are returned as they go over the wire.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, BinaryIO, Protocol

    from localops.encoding.openmetrics import Family
    from localops.otlp.receiving import Outcome
    from localops.otlp.records import Record
    from localops.otlp.spans import Span
    from localops.reading.analytics import Chosen
    from localops.reading.call_query import CallFilters
    from localops.reading.call_query import Place as CallPlace
    from localops.reading.facts import Facts
    from localops.reading.filters import Filters
    from localops.reading.media_types import Kind
    from localops.recording.scores import Score
    from localops.server.intake.desk import Desk
    from localops.server.policy import Rules
    from localops.server.proof import Compared
    from localops.server.retention import Part, Place
    from localops.server.senders import Sender
    from localops.transfer.bundle import Ack, Batch, Range
    from localops.transfer.ingest import Arrived
    from localops.upkeep.prune import Choice, Pruned
    from localops.upkeep.views import Saved, View

    class Readable(Protocol):
        """Reads of the rows of many projects; `project` None means all of them, for a user's own home."""

        def sessions(
            self, project: str | None, filters: Filters, *, before: str | None, limit: int, **order: Any
        ) -> tuple[list[Facts], str | None]:
            """Return a page of sessions, by default the newest first, and the id after which the next page begins.

            In a search for text, a page may have fewer sessions than `limit` and still not be the last.  `order` is
            `sort` and `ascending`, as in session_index.Wanted.
            """

        def projects(self) -> list[str]:
            """Return the projects that rows are stored for."""

        def unknown_score(self, project: str | None, name: str) -> str | None:
            """Return an error if there are sessions, and none of them has a score."""

        def score_hint(self, project: str | None, asked: Sequence[str], *, names_only: bool) -> str | None:
            """Return why no session passes filters by scores, if that is so."""

        def unsearched(self, project: str | None) -> int:
            """Return how many rows are not in the full-text index yet."""

        def facets(
            self, project: str | None, only: str | None, filters: Filters, *, of: str | None = None, like: str = ""
        ) -> Facts:
            """Count the sessions of each filter's values under the other filters; `only`: the chosen project.

            `of`: only the values of one facet, `like`: only those that contain a text.
            """

        def summary(self, project: str | None, filters: Filters, previous: Filters | None) -> Facts:
            """Return the figures of the sessions that pass filters together, and those of the period before."""

        def snippets(self, project: str | None, text: str, sessions: Sequence[bytes]) -> Facts:
            """Return where the words of a text are in each of some sessions; some may be missing."""

        def find(self, project: str | None, ident: str) -> str:
            """Return the id of a session named by `last` or the beginning of its id; else NotFound or Ambiguous."""

        def session(self, project: str | None, session: bytes) -> Facts | None:
            """Return a session and its figures."""

        def why(self, project: str | None, session: bytes) -> Facts | None:
            """Return the post-mortem of a session."""

        def loops(self, project: str | None, session: bytes) -> Facts | None:
            """Return the loops and failing tools of a session."""

        def loop_marks(self, project: str | None, *, sessions: Sequence[bytes]) -> Facts:
            """Return which of these sessions have loops."""

        def steps(self, project: str | None, session: bytes, *, limit: int) -> Facts | None:
            """Return the steps of a session that run once, and what a resume would do with each."""

        def stats(self, project: str | None, session: bytes) -> Facts | None:
            """Return a session as AgentOps' stats."""

        def document(self, project: str | None, session: bytes, *, most: int) -> Facts | None:
            """Return a session as AgentOps' export; TooMany if it has more rows than `most`."""

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
            """Return a page of a session's events, in the order in which they arrived."""

        def matches(
            self, project: str | None, session: bytes, *, text: str, after: int, before: int, limit: int
        ) -> Facts | None:
            """Return which events of a session have the words of a text, from the newest on, and where to go on."""

        def event(self, project: str | None, session: bytes, event: int | bytes) -> Facts | None:
            """Return one event in full."""

        def previews(self, project: str | None, session: bytes, *, seqs: Sequence[int]) -> Facts | None:
            """Return the input of events, a line each; some may be missing if there is very much of it."""

        def timeline(self, project: str | None, session: bytes, *, after: int, limit: int) -> Facts | None:
            """Return a page of a session's events in columns."""

        def attachment(self, project: str, digest: str) -> tuple[str, Kind] | None:
            """Return the path and the media type of a blob; None if it is not here."""

        def analytics(self, project: str | None, by: str | None, chosen: Chosen, *, limit: int) -> Facts:
            """Return figures across sessions."""

        def compare_groups(self, a: tuple[str | None, Filters], b: tuple[str | None, Filters]) -> Facts:
            """Compare two groups of sessions, each of a project, or of all, and filters."""

        def speeds(self, project: str | None, chosen: Chosen) -> Facts:
            """Return how fast the LLM calls and the tool calls of sessions were."""

        def daily(self, project: str | None, chosen: Chosen, tz: str | None) -> Facts:
            """Return figures by the day on which sessions started."""

        def averages(self, project: str | None, chosen: Chosen) -> Facts:
            """Return the averages of scores across sessions."""

        def distributions(self, project: str | None, chosen: Chosen) -> Facts:
            """Return histograms of the duration and the cost of sessions."""

        def calls(
            self,
            project: str | None,
            call_filters: CallFilters,
            filters: Filters,
            *,
            sort: str,
            ascending: bool,
            after: CallPlace | None,
            limit: int,
        ) -> Facts:
            """Return a page of LLM and tool calls of the chosen sessions, and the place after which the next begins."""

        def call_groups(
            self,
            project: str | None,
            call_filters: CallFilters,
            filters: Filters,
            *,
            by: str | None,
            sort: str,
            limit: int,
        ) -> Facts:
            """Return groups of such calls, the greatest first; without `by` the figures of all."""

        def compare(self, project: str | None, a: bytes, b: bytes) -> Facts | None:
            """Compare two sessions; None if one does not exist."""

        def compare_runs(self, project: str | None, sessions: Sequence[bytes]) -> Facts | None:
            """Compare several sessions in one table; None if one does not exist."""

        def diff(self, project: str | None, a: bytes, b: bytes, *, limit: int) -> Facts | None:
            """Return what the second of two sessions did differently; None if one does not exist."""

        def check_run(
            self, project: str | None, session: bytes, baseline: bytes | None, rules: Mapping[str, Any]
        ) -> Facts | None:
            """Return whether a session keeps rules, beside a baseline; None if one of both does not exist."""

        def scores(self, project: str | None, session: bytes) -> Facts | None:
            """Return the scores and notes of a session; None if it does not exist."""

        def write(
            self,
            project: str | None,
            session: bytes,
            form: str,
            file: BinaryIO,
            *,
            most: int,
            table: str | None = None,
            view: str | None = None,
        ) -> str | None:
            """Write a session to a file in a format of exports; return its name, or None if it does not exist."""

        def write_all(
            self,
            project: str | None,
            filters: Filters,
            form: str,
            file: BinaryIO,
            *,
            most: int,
            table: str | None = None,
        ) -> str:
            """Write the sessions that pass filters to a file, and return its name; TooMany for too many events."""

        def judge(self, project: str | None, session: bytes, score: Score) -> Facts | None:
            """Store a score or a note that was checked; None if the session does not exist, NotFound for its event."""

        def views(self, project: str | None) -> list[View]:
            """Return the saved views of a project, or of a user's own home."""

        def save_view(self, project: str | None, view: View, may_replace: bool) -> Saved:
            """Save a valid view, without secrets; NameTaken if another has its name, unless it may be replaced."""

        def delete_view(self, project: str | None, name: str) -> None:
            """Delete a saved view; NotFound if there is none of that name."""

        def newest(self, project: str | None, session: bytes | None) -> Facts:
            """Return the last seq and a session's state: a different result means that something changed."""

        def probe(self, project: str) -> None:
            """Read the end of a project's journal from the disk, with a new reader; raise its errors."""

        def damaged(self, project: str) -> bool:
            """Return whether damage that a check found is still there."""

        def warm(self, project: str | None) -> None:
            """Prepare for the first request."""

        def close(self) -> None:
            """Close all files."""

    class Store(Readable, Protocol):
        """A store that a hub also writes to."""

        def desk(self, project: str) -> AbstractContextManager[Desk]:
            """Lock a project, to add rows that combine stored rows with a client's data."""

        def migrate(self, project: str) -> None:
            """Create or migrate a project, so that it can store rows."""

        def ingest(self, project: str, batch: Batch, *, refused: dict[int, str], by: str, key: str) -> tuple[Ack, int]:
            """Store the new rows of a batch, safe from a power cut; MissingRows if the row before it is missing."""

        def ingest_together(
            self, project: str, arrived: Sequence[Arrived], *, by: str
        ) -> list[tuple[Ack, int] | Exception]:
            """Store the new rows of several batches; return for each what `ingest` would, or would raise."""

        def take_spans(self, project: str, spans: Sequence[Span], log: Sequence[Record], taken: Outcome) -> None:
            """Store spans and log records of OpenTelemetry, safe from a power cut; `taken` counts what they became."""

        def with_due_spans(self) -> list[str]:
            """Return the projects in which spans have waited long enough for the rest of their trace.

            The first call reads the disk; others return at once.
            """

        def release_spans(self, project: str) -> int:
            """Store those spans, and return how many rows that were."""

        def figures(self, project: str, sessions: Sequence[bytes]) -> dict[bytes, Facts]:
            """Return rows, digest and totals of sessions, for comparison with those of a sender."""

        def prove(self, project: str, identities: Sequence[tuple[bytes, int, int]]) -> Compared:
            """Return which rows are missing, have another checksum, or were scrubbed since."""

        def missing_blobs(self, project: str, digests: Sequence[str]) -> tuple[list[str], int]:
            """Return the blobs that are missing or damaged, and how many of `digests` were checked."""

        def sums(self, project: str) -> tuple[int, int]:
            """Return how many sessions and rows of sessions are stored."""

        def senders(self, project: str) -> list[Sender]:
            """Return the machines that sent rows, the one with the longest silence first."""

        def keeps(self, project: str, seq: int, id: bytes) -> bool | None:
            """Return whether a row that was the newest earlier is still here; None if that is unknown."""

        def held(self, project: str, journals: Sequence[str]) -> tuple[list[Range], list[tuple[int, bytes, int]]]:
            """Return what arrived from a journal under all its names: ranges, and the last rows of batches."""

        def stored(self, project: str) -> tuple[int, int]:
            """Return how many rows a project has, and how many bytes it takes on disk."""

        def count_with(self, count: Callable[[str, int, int], object]) -> None:
            """Call `count` with the project, rows and bytes of everything that is stored from now on."""

        def expired(self, project: str, rules: Rules, now_ns: int, after: Place) -> Part:
            """Return the next part of the sessions that are older than the rules keep them."""

        def retire(self, project: str, choices: Sequence[Choice]) -> Pruned:
            """Remove sessions that were kept long enough; their rows are accepted and not stored when sent again."""

        def beneath(self) -> list[Family]:
            """Return the metrics of the storage of rows, beside those of the hub's folder."""

        def warnings(self) -> list[str]:
            """Return problems that do not keep rows from being stored."""

        def try_writing(self, project: str) -> None:
            """Raise Unavailable if rows or files cannot be stored in a project now."""

        def unused_files(self, project: str) -> set[str]:
            """Return the files that came long ago and that no row names, if it is time to look for them."""

        def is_untidy(self, project: str) -> bool:
            """Return whether `sweep` has anything to delete beside unused files."""

        def sweep(self, project: str, unused: Collection[str] = ()) -> None:
            """Delete old incomplete uploads, and files that no row names."""

        def delete(self, project: str, session: bytes) -> bool:
            """Delete a session, so that its rows are refused when sent again; False if it does not exist."""

        def blob(self, project: str, digest: str) -> tuple[int, bool]:
            """Return how many bytes of a blob are here, and whether it is complete."""

        def add_to_blob(self, project: str, digest: str, at: int, total: int, piece: bytes) -> int:
            """Append a piece to a blob, and return its bytes so far; Misplaced or Garbled if that fails."""
