"""Reads of a localops home for the server: concurrent, in threads.

Projects stay open between requests, as long as their files are those at their paths.  No read transaction stays open
between requests.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, OrderedDict
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import islice

from localops import config, dialects
from localops.errors import ConfigError, DamagedJournal, LocalopsError
from localops.journal import blobs, rows, stored
from localops.journal.reader import Reader, SQLiteError, is_damage
from localops.journal.sql import statements
from localops.reading import (
    analytics,
    call_facts,
    call_query,
    event_lines,
    facts,
    matching_events,
    media_types,
    recorded_steps,
    score_hints,
    session_details,
    timeline,
    waste,
    waste_page,
)
from localops.reading import filters as filtering
from localops.reading.filters import Filters
from localops.reading.home import Home
from localops.server import damage, session_facets
from localops.server.call_tables import CallTables
from localops.server.loop_marks import LoopMarks
from localops.server.reports import Reports
from localops.server.request import TooMany, Unavailable
from localops.server.run_reads import RunReads
from localops.server.session_index import SessionIndex, Wanted, merged
from localops.upkeep.views import Views, every

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Any, BinaryIO

    from localops.journal.stored import Stored
    from localops.reading.call_query import CallFilters, Source
    from localops.reading.call_query import Place as CallPlace
    from localops.reading.call_table import CallTable
    from localops.reading.facts import Facts
    from localops.reading.home import Listed, Project
    from localops.reading.snapshot import Snapshot
    from localops.recording.scores import Score
    from localops.server.session_index import Place
    from localops.upkeep.scoring import Scorer
    from localops.upkeep.views import Saved, View

# Idle readers kept for each project.
_READERS = 4
# Projects with idle readers.
_KEPT = 64
# Session indexes kept in memory, one a project.
_INDEXES = 64
# Bytes of the rows on a page of events; the last row may exceed it.
_PAGE = 8 << 20
_ROWS = statements("queries.sql")["events"]
_ROWS_OF_KIND = statements("pages.sql")["rows_of_kind"]
# Seconds that a request spends on the search for events with a text.
_SEARCH_SECONDS = 2


class HomeReader(Reports, RunReads):
    """Reads of a home; `project` None means all of its projects."""

    def __init__(self, folder: str, *, fresh: float = 60.0) -> None:
        super().__init__()
        self.folder = folder
        # Seconds after which projects are opened again, which also finds new ones and dead sessions.
        self._fresh = fresh
        self._lock = threading.Lock()
        self._readers: OrderedDict[str | None, list[_Opened]] = OrderedDict()
        # Projects with a thread that extends their full-text index.
        self._indexing: set[str] = set()
        self._loop_marks = LoopMarks()
        self._call_tables = CallTables(self._open)
        self._session_indexes: OrderedDict[str, SessionIndex] = OrderedDict()
        self._closed = False

    def close(self) -> None:
        """Close all files."""
        with self._lock:
            self._closed = True
            readers = [opened for kept in self._readers.values() for opened in kept]
            self._readers.clear()
        for opened in readers:
            opened.home.close()
        self._call_tables.close()

    @contextmanager
    def _home(self, project: str | None) -> Iterator[Home]:
        """Yield the home, or one project of it, to one thread at a time."""
        opened = self._take_reader(project) or _Opened(self._open(project), whole=project is None)
        try:
            yield opened.home
        except SQLiteError as error:
            opened.home.close()
            raise _unreadable([each.path for each in opened.home.projects], error) from error
        except BaseException:
            opened.home.close()
            raise
        with self._lock:
            kept = self._readers.setdefault(project, [])
            self._readers.move_to_end(project)
            spare = [] if len(self._readers) <= _KEPT else self._readers.popitem(last=False)[1]
            if len(kept) < _READERS and not self._closed:
                kept.append(opened)
            else:
                spare.append(opened)
        for each in spare:
            each.home.close()

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
    def _project_and_snapshot(self, project: str | None, session: bytes) -> Iterator[tuple[Project, Snapshot] | None]:
        """Yield the project that has a session, and the session's snapshot; None if no project has it."""
        with self._home(project) as home:
            both = ((each, each.snapshot(session)) for each in home.projects)
            yield next(((each, snapshot) for each, snapshot in both if snapshot.totals.rows), None)

    def projects(self) -> list[str]:
        """Return the projects that have a journal."""
        names = config.projects(self.folder)
        return [name for name in names if inode(os.path.join(config.project_folder(self.folder, name), config.JOURNAL))]

    def sessions(
        self, project: str | None, filters: Filters, *, before: str | None, limit: int, **order: Any
    ) -> tuple[list[Facts], str | None]:
        """Return a page of sessions, by default the newest first, and the id after which the next page begins."""
        wanted = Wanted(filters, **order)
        with self._home(project) as home:
            if (named := session_facets.named(home, filters.text)) is not None:
                one = named.listed
                with self._passing(one.project, filters, one.session) as (_, rows, _):
                    is_match = bool(rows)
                return [{**facts_of, **_event_of(named)} for facts_of in _listed([one] if is_match else [])], None
            for each in home.projects if filters.text is not None else ():
                self._catch_up(each)
            # Without an index yet, and in the default order: walk the journal, which answers sooner.
            if wanted == Wanted(filters) and not all(self._session_index(each).is_ready for each in home.projects):
                listed, reached = list(islice(home.sessions(filters, before=before), limit + 1)), None
            else:
                listed, reached = self._ordered(home, wanted, before, limit + 1)
            last = listed[limit - 1] if len(listed) > limit else reached
            return list(_listed(listed[:limit])), None if last is None else facts.full_id(last.session)

    def unknown_score(self, project: str | None, name: str) -> str | None:
        """Return an error if there are sessions, and none of them has a score."""
        with self._home(project) as home:
            is_known = any(each.score_values(name) for each in home.projects) or next(home.sessions(), None) is None
            if is_known:
                return None
            return filtering.unknown_score(name, [known for each in home.projects for known in each.score_names()])

    def _ordered(self, home: Home, wanted: Wanted, before: str | None, many: int) -> tuple[list[Listed], Listed | None]:
        """Return the first sessions of an order, from all projects, and where a slow search stopped."""
        pages = []
        place = None if before is None else self._place(home, before, wanted.sort)
        for each in home.projects:
            with self._following(each) as index:
                pages.append(index.page(each, wanted, place, many))
        return merged(pages, ascending=wanted.ascending)

    def _place(self, home: Home, session: str, sort: str) -> Place | None:
        where, id = home.find(session)
        with self._following(where) as index:
            return index.place(where, id, sort)

    def score_hint(self, project: str | None, asked: Sequence[str], *, names_only: bool) -> str | None:
        """Return why no session passes filters by scores; `names_only`: only if no session has a score of that name."""
        with self._home(project) as home:
            return score_hints.hint(home.projects, asked, names_only=names_only)

    def unsearched(self, project: str | None) -> int:
        """Return how many rows are not in the full-text index yet; a thread extends it."""
        with self._home(project) as home:
            return sum(self._catch_up(each) for each in home.projects)

    def facets(
        self,
        project: str | None,
        only: str | None,
        filters: Filters,
        *,
        of: str | None = None,
        like: str = "",
    ) -> Facts:
        """Count the sessions of each filter's values under the other filters; `of`: of one, `like`: with a text."""
        dims = session_facets.counted_dims(filters, of)
        sums: dict[str, Counter[str]] = {dim: Counter() for dim in dims}
        in_project, exact, unread = Counter[str](), True, 0
        with self._home(project) as home:
            one = session_facets.named(home, filters.text)
            wanted = Wanted(filters, session=None if one is None else one.listed.session)
            for each in home.projects:
                unread += self._catch_up(each) if filters.text is not None and one is None else 0
                with self._following(each) as index:
                    counts, matches, is_exact = index.counts(each, wanted, dims)
                in_project[each.name] += len(matches)
                if only in (None, each.name):
                    exact = exact and is_exact
                    for dim, counted in counts.items():
                        sums[dim] += counted
        return {
            "sessions": sum(many for name, many in in_project.items() if only in (None, name)),
            **session_facets.most_frequent(sums, filters, of, like),
            "project": [list(pair) for pair in session_facets.most(+in_project)],
            "exact": exact and not unread,
            "unsearched": unread,
        }

    def snippets(self, project: str | None, text: str, sessions: Sequence[bytes]) -> Facts:
        """Return where the words of a text are in each of some sessions."""
        with self._home(project) as home:
            for each in home.projects:
                self._catch_up(each)
            return session_facets.snippets(home, text, sessions)

    def judge(self, project: str | None, session: bytes, score: Score) -> Facts | None:
        """Store a score or a note that was checked."""
        from localops.upkeep import scoring

        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, _ = holder
            target = None if score.event is None else scoring.event_of(where, session, str(score.event))
            folder, name = where.folder, where.name
        with self._scorer(folder) as scorer:
            return {
                "id": scorer.write(session, score, target).id,
                "session_id": facts.full_id(session),
                "project": name,
                "event": None if target is None else facts.full_id(target),
            }

    def views(self, project: str | None) -> list[View]:
        """Return the saved views; those of a project, if none is chosen, with the filter that chooses it."""
        if project is not None:
            return [replace(view, project=None) for view in Views(self.folder, project).all()]
        return [
            view if view.project is None else replace(view, filters={**view.filters, "project": [view.project]})
            for view in every(self.folder)
        ]

    def save_view(self, project: str | None, view: View, may_replace: bool) -> Saved:
        """Save a view; raise NameTaken if another has its name, unless it may be replaced."""
        return Views(self.folder, project).save(view, may_replace=may_replace)

    def delete_view(self, project: str | None, name: str) -> None:
        """Delete a saved view."""
        Views(self.folder, project).delete(name)

    @contextmanager
    def _scorer(self, folder: str) -> Iterator[Scorer]:
        """Yield what writes scores into a project's folder."""
        from localops.upkeep import scoring

        with scoring.Scorer(config.Config.usable(home=self.folder), folder) as scorer:
            yield scorer

    def newest(self, project: str | None, session: bytes | None) -> Facts:
        """Return the last seq of all projects, or that of a session and its state."""
        if session is None:
            with self._home(project) as home:
                return {"seq": sum(int(each.ask("last_seq")[0][0]) for each in home.projects)}
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return {"seq": 0, "state": None}
            _, snapshot = holder
            return {"seq": snapshot.totals.last_seq, "state": snapshot.standing.state}

    def probe(self, project: str) -> None:
        """Read the end of a project's journal from the disk, with a new reader."""
        path = os.path.join(config.project_folder(self.folder, project), config.JOURNAL)
        try:
            with Reader(path) as reader:
                reader.ask(statements("lists.sql")["last_seq"])
        except SQLiteError as error:
            raise _unreadable([path], error) from error

    def damaged(self, project: str) -> bool:
        """Return whether damage that a check found is still there."""
        with self._project(project) as where:
            return damage.look_again(where.folder, where.reader)

    def warm(self, project: str | None) -> None:
        """Load the session indexes before the first request."""
        with self._home(project) as home:
            for each in home.projects:
                with self._following(each):
                    pass

    def _catch_up(self, project: Project) -> int:
        """Index new rows for full-text search, many of them in a thread; return how many are missing."""
        missing = project.index().catch_up()
        if missing:
            with self._lock:
                is_new = project.name not in self._indexing
                self._indexing.add(project.name)
            if is_new:
                threading.Thread(target=self._index, args=(project.name,), daemon=True).start()
        return missing

    def _index(self, name: str) -> None:
        try:
            with self._open(name) as home:
                home.projects[0].index().extend()
        # A full disk, or a deleted folder: every search reports how many rows it did not see.
        except (SQLiteError, LocalopsError, OSError):
            pass
        finally:
            with self._lock:
                self._indexing.discard(name)

    def _session_index(self, project: Project) -> SessionIndex:
        with self._lock:
            index = self._session_indexes.setdefault(project.name, SessionIndex())
            self._session_indexes.move_to_end(project.name)
            while len(self._session_indexes) > _INDEXES:
                self._session_indexes.popitem(last=False)
        return index

    @contextmanager
    def _following(self, project: Project) -> Iterator[SessionIndex]:
        """Lock, update and yield the session index of a project."""
        index = self._session_index(project)
        with index.lock:
            index.follow(project)
            yield index

    def find(self, project: str | None, ident: str) -> str:
        """Return the full id of a session named by `last` or the beginning of its id."""
        with self._home(project) as home:
            return facts.full_id(home.find(ident)[1])

    def session(self, project: str | None, session: bytes) -> Facts | None:
        """Return a session and its figures."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, snapshot = holder
            return {**facts.session(where.name, snapshot, snapshot.report()), **session_details.more(where, snapshot)}

    def why(self, project: str | None, session: bytes) -> Facts | None:
        """Return the post-mortem of a session."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, snapshot = holder
            from localops.reading import post_mortem, post_mortem_page

            polling = self._polling()
            return post_mortem_page.document(post_mortem.of(where.name, snapshot, where.reader, polling=polling))

    def loops(self, project: str | None, session: bytes) -> Facts | None:
        """Return the loops and failing tools of a session."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, snapshot = holder
            return waste_page.document(waste.of(where.name, snapshot, where.reader, polling=self._polling()))

    def loop_marks(self, project: str | None, *, sessions: Sequence[bytes]) -> Facts:
        """Return which of these sessions have loops, and those that were not checked yet."""
        with self._home(project) as home:
            return self._loop_marks.of(home, sessions, self._polling())

    def _polling(self) -> list[str]:
        """Return the tools whose calls repeat by intent; warn once of an invalid setting."""
        try:
            return config.polling(self.folder)
        except ConfigError as error:
            config.leave_out(str(error))
            return []

    def steps(self, project: str | None, session: bytes, *, limit: int) -> Facts | None:
        """Return the steps of a session that run once."""
        with self._project_and_snapshot(project, session) as holder:
            return None if holder is None else recorded_steps.run_facts(holder[0].name, holder[1], limit=limit)

    def stats(self, project: str | None, session: bytes) -> Facts | None:
        """Return a session as AgentOps' stats."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            _, snapshot = holder
            return facts.stats(session, snapshot.totals, snapshot.standing.state)

    def document(self, project: str | None, session: bytes, *, most: int) -> Facts | None:
        """Return a session as AgentOps' export."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, snapshot = holder
            from localops.reading import export

            _check_size(where, session, snapshot.totals, most)
            return export.document(export.Run(where.name, where.folder, where.reader, session, totals=snapshot.totals))

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
        """Return a page of a session's events; an unfinished operation is listed at its first row."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, _ = holder
            complete = True
            if text is not None:
                page, next_after, complete = _rows_with(where, session, text, kind, after, limit)
            else:
                values = {"session": session, "after": after, "many": limit, **({"kind": kind} if kind else {})}
                page_rows, whole = where.reader.some(_ROWS_OF_KIND if kind else _ROWS, values, _PAGE)
                page = stored.named(page_rows)
                next_after = page[-1].seq if len(page) == limit or not whole else None
            shown = list(_event_facts(where, session, page, halves=text is not None))
            result: Facts = {"events": shown, "next_after": next_after}
            return result if complete else {**result, "exact": False}

    def matches(
        self, project: str | None, session: bytes, *, text: str, after: int, before: int, limit: int
    ) -> Facts | None:
        """Return which events of a session have the words of a text, from the newest on."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, _ = holder
            return matching_events.matching(where, session, text, after=after, before=before, limit=limit)

    def event(self, project: str | None, session: bytes, event: int | bytes) -> Facts | None:
        """Return one event in full, by the seq of a row of it or by its id."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, _ = holder
            return session_details.event(where, session, event)

    def previews(self, project: str | None, session: bytes, *, seqs: Sequence[int]) -> Facts | None:
        """Return events on a line each, and their pictures."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, _ = holder
            return event_lines.of(where, session, seqs)

    def timeline(self, project: str | None, session: bytes, *, after: int, limit: int) -> Facts | None:
        """Return a page of a session's events in columns."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, snapshot = holder
            return timeline.page(where.reader, snapshot, after=after, limit=limit)

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
        """Return a page of LLM and tool calls across sessions."""
        with self._home(project) as home, self._calls_of(home, call_filters, filters) as (sources, call_filters, known):
            order: dict[str, Any] = {"sort": sort, "ascending": ascending, "after": after, "many": limit}
            listed, following = call_query.page(sources, call_filters, **order)
            running, wanted = call_query.running(sources), call_query.wanted(call_filters)
            return {**call_facts.page(listed, following, self._name, running, wanted), **known}

    def call_groups(
        self,
        project: str | None,
        call_filters: CallFilters,
        filters: Filters,
        *,
        by: str | None,
        sort: str,
        limit: int,
        like: str = "",
    ) -> Facts:
        """Return groups of calls, or the figures of all of them."""
        with self._home(project) as home, self._calls_of(home, call_filters, filters) as (sources, call_filters, known):
            if by is None:
                return {**call_facts.total(call_query.total(sources, call_filters)), **known}
            listed = call_query.grouped(sources, call_filters, by, sort=sort, many=limit, like=like)
            return {**call_facts.groups(by, listed, self._name), **known}

    @contextmanager
    def _calls_of(
        self, home: Home, call_filters: CallFilters, filters: Filters
    ) -> Iterator[tuple[list[Source], CallFilters, Facts]]:
        """Yield where the calls of the chosen sessions are, which calls are chosen, and how complete they are."""
        if (named := session_facets.named(home, call_filters.text)) is not None:
            # An error belongs to the call that it is about.
            row = None if named.event is None else named.event[1]
            id = None if row is None else row.parent if row.kind == "error" else row.id
            call_filters = replace(call_filters, text=None, session=named.listed.session, id=id)
        wanted = call_query.wanted(call_filters)
        sources: list[Source] = []
        unread, is_searched = 0, True
        with ExitStack() as tables:
            for each in home.projects:
                table, missing = tables.enter_context(self._call_tables.of(each))
                unread += missing
                sessions = matching = None
                if filters != filtering.Filters():
                    with self._following(each) as index:
                        sessions, _ = index.matching(each, Wanted(filters))
                if wanted is not None:
                    unsearched = self._catch_up(each)
                    matching, is_whole = self._call_tables.matching(each, wanted)
                    is_searched = is_searched and is_whole and not unsearched
                sources.append(call_query.Source(each, table, sessions, self._is_running_in(each), matching))
            known = {"unread": unread, "exact": is_searched and not unread}
            yield sources, call_filters, known if wanted is None else {**known, "searching": not is_searched}

    def _table_of(self, project: Project) -> AbstractContextManager[tuple[CallTable, int]]:
        return self._call_tables.of(project)

    def _is_running_in(self, project: Project) -> Callable[[bytes], bool]:
        def is_running(session: bytes) -> bool:
            with self._following(project) as index:
                return index.state_of(session) == "Running"

        return is_running

    def _name(self, project: Project, session: bytes) -> str | None:
        with self._following(project) as index:
            return index.name_of(session)

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
        """Write a session to a file in a format of exports, and return the name of the file without an ending."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, snapshot = holder
            from localops.reading import export

            _check_size(where, session, snapshot.totals, most)
            run = export.Run(where.name, where.folder, where.reader, session, totals=snapshot.totals)
            dialects.write(form, [run], file, table=table, view=view)
            return dialects.stem_of(run)

    def attachment(self, project: str, digest: str) -> tuple[str, media_types.Kind] | None:
        """Return the path and the media type of a blob; None if it is not here."""
        try:
            path = blobs.find(config.project_folder(self.folder, project), digest)
            with open(path, "rb") as file:
                return path, media_types.kind_of(file.read(media_types.HEAD))
        except OSError as error:
            # Files from a bucket are our own, too.
            if isinstance(error, LocalopsError):
                raise Unavailable("a file cannot be read now", error) from error
            return None


class _Opened:
    """An open home, good as long as its files are those at their paths."""

    def __init__(self, home: Home, *, whole: bool) -> None:
        self.home = home
        # All projects, so that a new one makes it outdated.
        self.whole = whole
        self._since = time.monotonic()
        self._inodes = self._inodes_now()

    def is_good(self, fresh: float) -> bool:
        """Return whether it can be used for another request."""
        return time.monotonic() - self._since < fresh and self._inodes_now() == self._inodes

    def _inodes_now(self) -> list[int]:
        names = config.projects(self.home.folder) if self.whole else []
        return [len(names), *(inode(each.path) for each in self.home.projects)]


def _unreadable(paths: Sequence[str], error: Exception) -> LocalopsError:
    """Return the error for journals that SQLite could not read."""
    if is_damage(error):
        return DamagedJournal(f"{', '.join(paths)} is damaged: {error}; see `localops repair`")
    return Unavailable("the journal cannot be read now", error)


def inode(path: str) -> int:
    """Return the inode of a file; 0 if it does not exist."""
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _check_size(where: Project, session: bytes, figures: analytics.Totals, most: int) -> None:
    """Raise TooMany for a session of more than `most` rows, or more than `most` KiB."""
    weight = where.reader.ask(statements("prune.sql")["weight"], {"session": session})[0][0]
    if figures.rows > most or weight > most << 10:
        raise TooMany(f"the session has {figures.rows} rows of {weight >> 20} MiB: read its events page by page")


def _listed(sessions: list[Listed]) -> Iterator[Facts]:
    """Return sessions for the list, with agents, models, host and reason."""
    more = session_details.of_list(sessions)
    for one in sessions:
        yield {**facts.listed(one), **more[one.session]}


def _event_of(named: session_facets.Named) -> Facts:
    """Return the event that a search named by its id, as `event`; nothing if it named the session."""
    if named.event is None:
        return {}
    first, last = named.event
    return {"event": {"id": facts.full_id(first.id), "seq": first.seq, "kind": last.kind, "name": last.name}}


def _event_facts(where: Project, session: bytes, page: list[Stored], *, halves: bool) -> Iterator[Facts]:
    """Return the events of rows, each once; `halves`: also operations of which only the first row is on the page."""
    later = analytics.afterwards(where.reader, session) if page else {}
    seen = set()
    for row in page:
        if row.kind in rows.BOOKS or row.id in seen:
            continue
        other = stored.one(where.reader, row.id, 1 - row.phase)
        if row.phase == rows.OPEN and other is not None:
            if not halves:
                continue
            row, other = other, row
        seen.add(row.id)
        yield {**facts.event(row, other, later.get(row.id)), "entry": min(row.seq, other.seq) if other else row.seq}


def _rows_with(
    where: Project, session: bytes, text: str, kind: str | None, after: int, limit: int
) -> tuple[list[Stored], int | None, bool]:
    """Return the next rows with all words of a text, after which seq others may be, and whether none is unsearched.

    Each request continues where the previous one stopped, so that no row is read twice: prompts have megabytes.
    """
    index = where.index()
    unread = index.catch_up()
    until = time.monotonic() + _SEARCH_SECONDS
    matches: list[Stored] = []
    size = 0
    for row, is_match in index.rows_after(text, session, after):
        if is_match and row.kind not in rows.BOOKS and kind in (None, row.kind):
            matches += filter(None, (timeline.row_at(where.reader, row.seq),))
            size += len(row.body or "")
        if len(matches) >= limit or size >= _PAGE or time.monotonic() > until:
            return matches, row.seq, not unread
    return matches, None, not unread
