"""A localops home, read for whoever asks over HTTP: several at a time, in threads.

Projects stay open from one question to the next, for as long as their files are those at their paths.  Nothing is held
in SQLite between two questions.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from itertools import islice

from localops import analytics, blobs, config, export, rows
from localops.errors import LocalopsError
from localops.home import Home
from localops.reader import SQLiteError
from localops.server import details, facts, timeline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.analytics import Chosen
    from localops.home import Filters, Project
    from localops.server.facts import Facts

_READERS = 4  # of a project, kept open
_HITS = 2_000  # rows of a session in which a text is found, at most


class Unavailable(LocalopsError):
    """Nothing can be stored just now."""


class TooMany(LocalopsError):
    """There is more of it than fits one answer."""


class HomeReader:
    """A home to be asked; `project` None is each of its projects."""

    def __init__(self, folder: str, *, fresh: float = 60.0) -> None:
        self.folder = folder
        self._fresh = fresh  # seconds after which the projects are opened (and tidied) anew
        self._lock = threading.Lock()
        self._readers: dict[str | None, list[_Opened]] = {}
        self._closed = False

    def close(self) -> None:
        """Let go of every file."""
        with self._lock:
            self._closed = True
            readers = [opened for kept in self._readers.values() for opened in kept]
            self._readers.clear()
        for opened in readers:
            opened.home.close()

    @contextmanager
    def _home(self, project: str | None) -> Iterator[Home]:
        """The home, or one project of it, open to be read, to oneself."""
        opened = self._take_reader(project) or _Opened(self._open(project), whole=project is None)
        try:
            yield opened.home
        except SQLiteError as error:
            opened.home.close()
            raise Unavailable(f"it cannot be read just now: {error}") from error
        except BaseException:
            opened.home.close()
            raise
        with self._lock:
            kept = self._readers.setdefault(project, [])
            if len(kept) < _READERS and not self._closed:
                kept.append(opened)
                return
        opened.home.close()

    def _take_reader(self, project: str | None) -> _Opened | None:
        while True:
            with self._lock:
                kept = self._readers.get(project)
                if not kept:
                    return None
                opened = kept.pop()
            if opened.is_good(self._fresh):
                return opened
            opened.home.close()

    def _open(self, project: str | None) -> Home:
        return Home(self.folder, project)

    @contextmanager
    def _project(self, project: str) -> Iterator[Project]:
        with self._home(project) as home:
            yield home.projects[0]

    @contextmanager
    def _holder(self, project: str | None, session: bytes) -> Iterator[tuple[Project, analytics.Totals] | None]:
        """The project that has a session, and the session's figures."""
        with self._home(project) as home:
            found = ((each, analytics.totals(each.reader, session)) for each in home.projects)
            yield next((each for each in found if each[1].rows), None)

    def sessions(
        self, project: str | None, filters: Filters, *, before: str | None, limit: int
    ) -> tuple[list[Facts], bool]:
        """Sessions, newest first."""
        with self._home(project) as home:
            if filters.text is not None:
                for each in home.projects:
                    each.index().catch_up()
            found = list(islice(home.sessions(filters, before=before), limit + 1))
            return [facts.listed(one) for one in found[:limit]], len(found) > limit

    def find(self, project: str | None, ident: str) -> str:
        """The id of the session that is meant."""
        with self._home(project) as home:
            return facts.full_id(home.find(ident)[1])

    def session(self, project: str | None, session: bytes) -> Facts | None:
        """One session and its figures."""
        with self._holder(project, session) as found:
            if found is None:
                return None
            where, _ = found
            stands = where.standing(session)
            report = analytics.report(where.reader, session, running=stands.state == "Running")
            return {**facts.session(where, session, stands, report), **details.more(where, session, report.totals)}

    def stats(self, project: str | None, session: bytes) -> Facts | None:
        """One session as AgentOps' stats."""
        with self._holder(project, session) as found:
            return found and facts.stats(session, found[1], found[0].standing(session).state)

    def document(self, project: str | None, session: bytes, *, most: int) -> Facts | None:
        """One session as AgentOps' export."""
        with self._holder(project, session) as found:
            if found is None:
                return None
            where, figures = found
            if figures.rows > most:
                raise TooMany(f"the session has {figures.rows} rows: read its events page by page")
            return export.document(export.Run(where.name, where.folder, where.reader, session))

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
        """A page of a session's events; one that has not ended stands where it began."""
        with self._holder(project, session) as found:
            if found is None:
                return None
            where = found[0]
            if text is not None:
                page, complete = _rows_with(where, session, text, kind, after, limit)
            elif kind is not None:
                page, complete = (
                    timeline.ask(where.reader, "rows_of_kind", session=session, kind=kind, after=after, many=limit),
                    True,
                )
            else:
                page, complete = where.reader.all("events", session=session, after=after, many=limit), True
            shown = list(_shown(where, session, page, halves=text is not None))
            told: Facts = {"events": shown, "next_after": page[-1][0] if len(page) == limit else None}
            return told if complete else {**told, "exact": False}

    def event(self, project: str | None, session: bytes, seq: int) -> Facts | None:
        """One event in full."""
        with self._holder(project, session) as found:
            return found and details.event(found[0], session, seq)

    def timeline(self, project: str | None, session: bytes, *, after: int, limit: int) -> Facts | None:
        """A page of a session's events in columns."""
        with self._holder(project, session) as found:
            return found and timeline.page(found[0].reader, session, after=after, limit=limit)

    def attachment(self, project: str, digest: str) -> tuple[str, str] | None:
        """The path and the kind of a blob that is here."""
        path = blobs.path_of(config.project_folder(self.folder, project), digest)
        try:
            with open(path, "rb") as file:
                return path, details.kind_of(file.read(16))
        except OSError:
            return None

    def analytics(self, project: str | None, by: str | None, chosen: Chosen, *, limit: int) -> Facts:
        """Figures across sessions."""
        with self._home(project) as home:
            readers = [each.reader for each in home.projects]
            if by is None:
                sums = [analytics.overall(reader, chosen) for reader in readers]
                total = analytics.Totals(*map(sum, zip(analytics.NOTHING, *sums, strict=True)))
                return {"sessions": total.rows, **facts.totals(total)}
            lines = [line for reader in readers for line in analytics.across(reader, by, chosen)]
            return {"by": by, "lines": [facts.part(by, line) for line in _together(by, lines)[:limit]]}


class _Opened:
    """A home that is open to be read, for as long as its files are those at their paths."""

    def __init__(self, home: Home, *, whole: bool) -> None:
        self.home = home
        self.whole = whole  # all its projects, also those that come
        self._since = time.monotonic()
        self._inodes = self._inodes_now()

    def is_good(self, fresh: float) -> bool:
        """Whether it can be read once more."""
        return time.monotonic() - self._since < fresh and self._inodes_now() == self._inodes

    def _inodes_now(self) -> list[int]:
        names = config.projects(self.home.folder) if self.whole else []
        return [len(names), *(inode(each.path) for each in self.home.projects)]


def inode(path: str) -> int:
    """Which file is at a path; 0: none."""
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _shown(where: Project, session: bytes, page: list[tuple[Any, ...]], *, halves: bool) -> Iterator[Facts]:
    """The events that rows are of, each once; `halves`: also those of which only the beginning is on the page."""
    later = dict(where.reader.all("later_prices", session=session)) if page else {}
    seen = set()
    for row in page:
        _, id, phase, _, kind, *_ = row
        if kind in rows.BOOKS or id in seen:
            continue
        other = where.reader.one("row", id=id, phase=1 - phase)
        if phase == rows.OPEN and other is not None:
            if not halves:
                continue
            row, other = other, row
        seen.add(id)
        yield {**facts.event(row, other, later.get(id)), "entry": min(row[0], other[0]) if other else row[0]}


def _rows_with(
    where: Project, session: bytes, text: str, kind: str | None, after: int, limit: int
) -> tuple[list[tuple[Any, ...]], bool]:
    """The rows that have all words of a text, in their order, and whether all there are were looked through."""
    index = where.index()
    unread = index.catch_up()
    hits = list(islice(index.events(text, session), _HITS))
    seqs = sorted(
        hit.seq for hit in hits if hit.seq > after and hit.kind not in rows.BOOKS and kind in (None, hit.kind)
    )[:limit]
    found = [timeline.ask(where.reader, "row_at", seq=seq)[0] for seq in seqs]
    return found, not unread and len(hits) < _HITS


def _together(by: str, lines: list[analytics.Line]) -> list[analytics.Line]:
    """One list for all projects: what has the same name in two of them is one line."""
    found: dict[Any, list[analytics.Line]] = {}
    for line in lines:
        name = facts.full_id(line.value) if by == "session" else line.value
        found.setdefault(name, []).append(line)
    sums = [
        analytics.Line(name, *map(sum, zip(*(line[1:] for line in same), strict=True))) for name, same in found.items()
    ]
    return sorted(sums, key=lambda line: line.value if by == "day" else (-line.cost, -line.events))
