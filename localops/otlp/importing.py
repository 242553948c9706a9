"""Import spans from files of OTLP as rows of sessions.

A file is read twice, so that it need not fit into memory: first to find the session of each trace and the parent of
each span, then to write the rows.  A row's id is made from those of its trace and span, or is the one that localops
sent.  So an import can be repeated, and if the file has grown, that adds what is new.
"""

from __future__ import annotations

import uuid
from itertools import islice

from localops.coding.importing import Report, files
from localops.coding.seen import Seen
from localops.encoding import encode
from localops.journal import rows, stored
from localops.journal.stored import Stored
from localops.otlp.assembly import SPANS_END, Assembly, Outline, is_ours, session_of, start_row
from localops.otlp.documents import read
from localops.otlp.spans import of_json
from localops.reading import session_state
from localops.reading.story import Story
from localops.transfer import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from localops.coding.recording import Project
    from localops.journal.rows import Row
    from localops.otlp.spans import Span
    from localops.recording.writer import Writer

_AT_ONCE = 1_000  # the most rows that are written together
_MOST_HELD = 4 << 20  # the most characters of their bodies
_MOST_PROBLEMS = 1_000  # the most problems that are kept
_KIND, _AT, _SESSION = map(rows.COLUMNS.index, ("kind", "at_ns", "session"))


def take(project: Project, top: str) -> Report:
    """Import a file of OTLP JSON, or every such file below a folder."""
    report, seen = Report(), Seen(project)
    for path in files(top, (".json", ".jsonl")):
        if seen.are_current([path]):
            report.unchanged += 1
            continue
        problems = len(report.problems)
        report.files += 1
        _File(project, path, report).take()
        if len(report.problems) == problems:
            seen.add([path])
    seen.save()
    return report


def take_file(project: Project, path: str) -> Report:
    """Import one file of OTLP JSON, whatever its name."""
    report = Report()
    report.files = 1
    _File(project, path, report).take()
    return report


class _File:
    def __init__(self, project: Project, path: str, report: Report) -> None:
        self._project, self._path, self._report = project, path, report
        self._session_of: dict[bytes, bytes] = {}  # by trace
        self._sessions: dict[bytes, Outline] = {}
        self._assembly = Assembly(self._writer)
        self._writers: dict[bytes, Writer] = {}
        self._rows: list[tuple[Row, str]] = []
        self._size = 0  # characters of their bodies
        self._with_rows: set[bytes] = set()
        # Ends are written last: readers take rows after an end for late ones, and files may have the end first.
        self._ended_at: dict[bytes, int] = {}  # by session: its end according to a root span of localops
        self._ends_and_late: tuple[list[tuple[Row, str]], list[tuple[Row, str]]] = ([], [])
        self._is_second = False

    def take(self) -> None:
        """Write the rows that are not stored yet."""
        traces: dict[bytes, Outline] = {}
        for span in self._spans():
            traces.setdefault(span.trace, Outline()).look(span)
            self._assembly.look(span)
            if span.is_root and "localops.session.id" in span.attributes:
                self._ended_at[span.trace] = max(span.end, self._ended_at.get(span.trace, 0))
        self._gather(traces)
        self._is_second = True
        for span in self._spans():
            for row in self._rows_of(span):
                self._add(row, span.place)
        self._write_ends()
        self._report.sessions += len(self._with_rows)
        ended = (row for session in sorted(self._with_rows) for row in self._begin_and_end(session))
        while made := list(islice(ended, _AT_ONCE)):
            self._report.rows += self._project.journal.add(made)

    def _spans(self) -> Iterator[Span]:
        for source in read(self._path, self._problem):
            try:
                yield of_json(source)
            except ValueError as error:
                self._problem(f"{source.place}: {error}")

    def _problem(self, text: str) -> None:
        # Both times the file is read, it has the same problems.
        if self._is_second and len(self._report.problems) < _MOST_PROBLEMS:
            self._report.problems.append(text)

    # First: the session of each trace, and the parent of each span

    def _gather(self, traces: dict[bytes, Outline]) -> None:
        """Collect the traces of each session."""
        for id, trace in traces.items():
            session = self._session_of[id] = session_of(id, trace.together)
            if session not in self._sessions:
                known = self._sessions[session] = Outline()
                known.is_gone = self._project.journal.one("gone", session=session) is not None
                self._report.gone += known.is_gone
            known = self._sessions[session]
            known.add(trace.rank, trace.name, trace.starts, trace.ends, trace.state, trace.resource)
            known.tags += trace.tags

    # Then: the rows

    def _rows_of(self, span: Span) -> Iterator[Row]:
        session = self._session_of[span.trace]
        if self._sessions[session].is_gone:
            return
        reading = span.read()
        if is_ours(reading) or not self._project.has(span.row):
            yield from self._assembly.rows_of(span, reading, session)

    def _writer(self, session: bytes) -> Writer:
        if session not in self._writers:
            if len(self._writers) > 1_000:
                self._writers.clear()
            self._writers[session] = self._project.writer(session)
        return self._writers[session]

    def _add(self, row: Row, place: str) -> None:
        whole_row = rows.whole(row)
        ends, late = self._ends_and_late
        if whole_row[_KIND] == "end":
            ends.append((whole_row, place))
            return
        if whole_row[_AT] > self._ended_at.get(whole_row[_SESSION], whole_row[_AT]):
            late.append((whole_row, place))
            if len(late) >= _AT_ONCE:
                self._write_ends()
            return
        self._rows.append((whole_row, place))
        self._size += len(whole_row[-1] or "")
        if len(self._rows) >= _AT_ONCE or self._size >= _MOST_HELD:
            self._write()

    def _write_ends(self) -> None:
        """Write the ends of sessions: after the rows before the end, and before rows that came late."""
        self._write()
        for each in self._ends_and_late:
            self._rows += each
            each.clear()
        self._write()

    def _write(self) -> None:
        """Write the rows that can be stored, and report the others."""
        gathered, self._rows, self._size = self._rows, [], 0
        valid = []
        for row, place in gathered:
            try:
                validation.check_rows([Stored(0, *row)])
            except ValueError as error:
                self._problem(f"{place}: {error}")
            else:
                valid.append(row)
        added = self._project.journal.add(valid)
        self._report.rows += added
        if added:
            self._with_rows.update(row[_SESSION] for row in valid)

    def _begin_and_end(self, session: bytes) -> Iterator[Row]:
        """Yield the start row of a new session, and an end row where its spans end so far."""
        known = self._sessions[session]
        journal, writer = self._project.journal, self._writer(session)
        begun = stored.one(journal, session, rows.DONE)
        if begun is None:
            yield rows.whole(start_row(writer, known))
        elif begun.parent is not None or not encode.loads(begun.body or "{}").get("imported"):
            return  # it was recorded here, and gets its end here
        ends = Story.read(journal, session).of_kind("end")
        if any(one.body.get("reason") != SPANS_END for one in ends):
            return  # its root was imported, which states its end; a score may be later
        at = max(known.ends, session_state.last_row_ns(journal, session) or 0)
        body = encode.dumps({"reason": SPANS_END, "derived": 1}).decode()
        id = uuid.uuid5(uuid.UUID(bytes=session), f"end at {at}").bytes
        yield rows.make("end", session, id=id, at_ns=at, name=known.state or "Indeterminate", body=body)
