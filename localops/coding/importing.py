"""The parts of an import of transcripts that are common to all coding agents.

Each row has an id that is made from the agent's own ids, and a row that exists already is left as it is: an import can
be repeated, continues where the last one ended, and adds to the rows of hooks.
"""

from __future__ import annotations

import os
import uuid
from typing import NamedTuple

from localops import clock
from localops.coding import ids, workers
from localops.coding.recording import failure, session_row
from localops.coding.seen import Seen
from localops.coding.workers import Job, Made
from localops.encoding import encode
from localops.journal import rows, stored
from localops.journal.stored import Stored
from localops.reading import session_state
from localops.recording import events
from localops.recording.events import LLMEvent
from localops.transfer import validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from localops.coding.recording import Project
    from localops.journal.rows import Row

# A transcript that has not changed for ten minutes has no unfinished message.
_SETTLED_NS = 600_000_000_000
# Rows whose bodies are searched for secrets together. They are few enough for a long transcript to fit in memory.
_AT_ONCE = 500
_AT = rows.COLUMNS.index("at_ns")


class Line(NamedTuple):
    """One line of a transcript."""

    path: str
    number: int
    fields: dict[str, Any]
    at: int

    @property
    def place(self) -> str:
        """Return where the line is, for a person."""
        return f"{self.path}:{self.number}"


class Report:
    """The result of an import."""

    def __init__(self) -> None:
        self.files = self.sessions = self.rows = 0
        self.unchanged = 0  # files that were not read, as nothing was written to them since they were imported
        self.gone = 0  # sessions that were deleted here
        self.problems: list[str] = []


def read(path: str, report: Report) -> Iterator[Line]:
    """Yield the valid lines of a transcript; add a problem to the report for each other line."""
    try:
        with open(path, "rb") as file:
            report.files += 1
            for number, data in enumerate(file, 1):
                if not data.strip():
                    continue
                try:
                    yield _line(path, number, data)
                except ValueError as error:
                    if data.endswith(b"\n"):  # else the agent is writing it now
                        report.problems.append(f"{path}:{number}: {error}")
    except OSError as error:
        report.problems.append(f"{path}: {error.strerror or error}")


def _line(path: str, number: int, data: bytes) -> Line:
    try:
        fields = encode.loads(data)
    except ValueError:
        import json

        try:
            fields = json.loads(data)  # a text that was cut in the middle of a character is not strict JSON
        except ValueError as error:
            raise ValueError(f"invalid line: expected a JSON object ({error})") from None
    if not isinstance(fields, dict):
        raise ValueError(f"invalid line: expected a JSON object, got {type(fields).__name__}")
    given = fields.get("timestamp")
    if given is None:  # a line of the agent's own bookkeeping
        return Line(path, number, fields, 0)
    at = events.to_ns(given) if isinstance(given, str | int | float) else None
    if at is None or not 0 < at < clock.now_ns() + 86_400_000_000_000:
        raise ValueError(f"invalid timestamp: expected an ISO time that is past, got {given!r}")
    return Line(path, number, fields, at)


def is_settled(path: str) -> bool:
    """Return whether a transcript has not been written to for a while."""
    try:
        return clock.now_ns() - os.stat(path).st_mtime_ns > _SETTLED_NS
    except OSError:
        return True


class Importer:
    """The import of one session: makes the rows that do not exist yet."""

    def __init__(self, project: Project, agent: str, session: bytes, report: Report) -> None:
        self.project, self.agent, self.session, self.report = project, agent, session, report
        self._together = project.together()
        self.writer = project.writer(session, self._together)
        self._unsearched: list[tuple[Row, str]] = []
        self._rows: list[tuple[Row, str]] = []  # and the place of the line that each was made from
        self._known: set[tuple[bytes, int]] = set(project.journal.all("identities", session=session))
        self._prompts: dict[str, int] = {}
        self._last = 0
        self._begins_here = False

    def begin(self, line: Line, facts: Mapping[str, object]) -> None:
        """Make the first row of the session, unless a hook or an earlier import wrote it."""
        if self._is_new(self.session):
            self._begins_here = True
            given = {name: value for name, value in facts.items() if value is not None}
            self._add(session_row(self.writer, self.agent, line.at, given, {"imported": 1}, None), line)

    def prompt(self, line: Line, text: str, agent: bytes | None = None) -> None:
        """Make the row of a prompt of the user."""
        number = self._prompts.get(text, 0)
        self._prompts[text] = number + 1
        self._action(line, ids.prompt_id(self.session, text, number), "prompt", {"prompt": text}, agent)

    def note(self, line: Line, id: bytes, name: str, params: Mapping[str, object], agent: bytes | None = None) -> None:
        """Make the row of anything else that happened."""
        self._action(line, id, name, params, agent)

    def _action(self, line: Line, id: bytes, name: str, params: Mapping[str, object], agent: bytes | None) -> None:
        if self._is_new(id):
            body = self.writer.encode({"params": params})
            title = self.writer.text(name)
            self._add(rows.plain(id, rows.DONE, self.session, "action", title, agent, agent, line.at, None, body), line)

    def call(self, line: Line, id: bytes, event: LLMEvent, start: int, agent: bytes | None) -> None:
        """Make the row of a call of a language model, which began at `start` and ended with the line."""
        if not self._is_new(id):
            return
        # In microseconds, as the end is: it must not be before the start.
        event.began_ns = min(start, line.at) // 1_000 * 1_000
        event.end_timestamp = clock.moment(line.at)
        self._add(self.writer.measured_event(event, id, line.at, agent, agent, None, {}), line)

    def error(self, line: Line, id: bytes, kind: str, details: object, agent: bytes | None) -> None:
        """Make the row of an error that belongs to no operation."""
        if self._is_new(id):
            event = failure(kind, details)
            event.began_ns = line.at
            self._add(self.writer.event(event, id, line.at, agent, agent), line)

    def operation(
        self,
        kind: str,
        id: bytes,
        name: str,
        begin: Line,
        end: Line | None,
        opening: dict[str, object],
        closing: dict[str, object],
        *,
        parent: bytes | None = None,
        agent: bytes | None = None,
        error: object = None,
    ) -> None:
        """Make the row of an operation that has ended, or the opening row of one that has not."""
        if not self._is_new(id):
            return
        opened = self._opened(id)
        title = self.writer.text(name)
        if end is None:
            if opened is None:
                self._known.discard((id, rows.DONE))
                self._add(self.writer.opening((id, kind, title, parent, agent, begin.at), opening), begin)
            return
        if opened is not None:  # the place of its opening row counts
            title, parent, agent, start = opened.name or title, opened.parent, opened.agent, opened.at_ns
        else:
            start = begin.at
        head = (id, kind, title, parent, agent, min(start, end.at))
        fields = closing if opened is not None else {**opening, **closing}
        self._add(self.writer.closing(head, end.at, fields, failed=error is not None), end)
        if error is not None and self._is_new(ids.error_id(id)):
            self._add(self.writer.operation_error(head, failure("ToolError", error), ids.error_id(id), end.at), end)

    def _opened(self, id: bytes) -> Stored | None:
        return stored.one(self.project.journal, id, rows.OPEN) if (id, rows.OPEN) in self._known else None

    def _is_new(self, id: bytes) -> bool:
        """Return whether the session has no row of this id yet; from now on it does."""
        if (id, rows.DONE) in self._known:
            return False
        self._known.add((id, rows.DONE))
        return True

    def _add(self, row: Row, line: Line) -> None:
        self._last = max(self._last, line.at)
        self._unsearched.append((rows.whole(row), line.place))
        if len(self._unsearched) >= _AT_ONCE:
            self._search()

    def _search(self) -> None:
        """Remove the secrets that are in the rows made since the last search."""
        clean = self._together.searched()
        self._rows += [(rows.cleaned(row, clean), place) for row, place in self._unsearched]
        self._unsearched = []

    def made(self) -> Made:
        """Return the rows that a reader can use, in the order of their times."""
        self._search()
        rows = self._valid_rows()
        rows.sort(key=lambda row: row[_AT])
        report = self.report
        return Made(self.session, rows, self._last, self._begins_here, report.files, report.problems)

    def _valid_rows(self) -> list[Row]:
        """Return the rows that a reader can use; add the others to the report."""
        # Together first, as each check looks at whole columns.
        try:
            validation.check_rows([Stored(0, *row) for row, _ in self._rows])
            return [row for row, _ in self._rows]
        except ValueError:
            return [row for row, place in self._rows if self._is_valid(row, place)]

    def _is_valid(self, row: Row, place: str) -> bool:
        try:
            validation.check_rows([Stored(0, *row)])
        except ValueError as error:
            self.report.problems.append(f"{place}: {error}")
            return False
        return True


def take(project: Project, jobs: Iterable[Job], make: Callable[[Job], Made]) -> Report:
    """Import the transcripts that have changed since they were last imported."""
    report, seen, changed = Report(), Seen(project), list[Job]()
    sessions: set[bytes] = set()
    for job in jobs:
        if seen.are_current(job.paths):
            report.unchanged += len(job.paths)
        else:
            changed.append(job._replace(is_continued=job.session in sessions))
            sessions.add(job.session)
    try:
        for job, made in workers.results(changed, make):
            report.files += made.files
            report.problems += made.problems
            _write(project, made, report)
            if not made.waits and not made.problems:
                seen.add(job.paths)
    finally:
        seen.save()
    return report


def _write(project: Project, made: Made, report: Report) -> None:
    """Write the rows that were made of one session, and where its transcript ends."""
    journal = project.journal
    if journal.one("gone", session=made.session):
        report.gone += 1
        return
    if not made.rows:
        return
    is_imported = made.begins_here or _is_imported(project, made.session)
    # In one transaction, which is synced.
    added = journal.add([*made.rows, _end(project, made)] if is_imported else made.rows)
    report.rows += added
    report.sessions += bool(added)


def _is_imported(project: Project, session: bytes) -> bool:
    """Return whether the session began with an import, so that no process takes part in it."""
    begun = stored.one(project.journal, session, rows.DONE)
    return begun is not None and begun.parent is None


def _end(project: Project, made: Made) -> Row:
    """Return the row that says where the transcript ends; a later import continues from there."""
    at = max(made.last, session_state.last_row_ns(project.journal, made.session) or 0)
    body = encode.dumps({"reason": "imported; the transcript ends here", "derived": 1}).decode()
    id = uuid.uuid5(uuid.UUID(bytes=made.session), f"end at {at}").bytes
    return rows.make("end", made.session, id=id, at_ns=at, name="Indeterminate", body=body)


def text_of(content: object) -> str:
    """Return the text of a message, which is a text or a list of blocks."""
    if isinstance(content, str):
        return content
    return "\n".join(str(block.get("text", "")) for block in blocks(content) if "text" in block)


def blocks(content: object) -> list[dict[str, Any]]:
    """Return the blocks of a message."""
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def files(folder: str, suffix: str | tuple[str, ...] = ".jsonl") -> Iterable[str]:
    """Yield the transcripts below a folder, or the named file, in a fixed order."""
    if os.path.isfile(folder):
        yield folder
        return
    for inner, folders, names in os.walk(folder):
        folders.sort()
        yield from (os.path.join(inner, name) for name in sorted(names) if name.endswith(suffix))
