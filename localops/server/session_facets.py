"""Data beside a list of sessions: the most frequent values of its filters, and passages with a searched text."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from typing import NamedTuple

from localops.encoding import facets
from localops.errors import LocalopsError
from localops.journal import rows, stored
from localops.reading import facts
from localops.reading.search import Query
from localops.server.session_index import ALL_TAGS, DIMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localops.journal.stored import Stored
    from localops.reading.facts import Facts
    from localops.reading.filters import Filters
    from localops.reading.home import Home, Listed, Project
    from localops.reading.search import Searched

_IN_TAGS = (*facets.NAMED, "meta")
# Values of a filter that are returned with their counts.
MOST_VALUES = 30
# Seconds of CPU time of one request for the places of a text.
_SECONDS = 0.1


def counted_dims(filters: Filters, of: str | None) -> Sequence[str]:
    """Return the facets to count: `of`, or those that are counted for every list."""
    if of is not None:
        return (of,)
    # Users, conversations and metadata are tags, too; a choice in a facet does not filter that facet's own counts.
    return (*DIMS, *(name for name in _IN_TAGS if getattr(filters, name)), *([ALL_TAGS] if filters.tag else []))


def most_frequent(sums: dict[str, Counter[str]], filters: Filters, of: str | None, like: str) -> Facts:
    """Return the most frequent values of each facet, or of one, which contain a text, and which facets have more.

    Values that are chosen are always among them.
    """
    dims = (*DIMS, *_IN_TAGS) if of is None else (of,)
    wanted = " ".join(like.casefold().split())
    counts = {dim: _with_text(counted, wanted) for dim, counted in _split_tags(sums).items() if dim in dims}
    cut = [dim for dim, counted in counts.items() if len(counted) > MOST_VALUES]
    values: dict[str, list[list[object]]] = {}
    for dim, counted in counts.items():
        frequent = most(counted, wanted)
        required = filters.all_tag if dim == "tag" else ()
        chosen = {*getattr(filters, dim), *required, *getattr(filters, f"not_{dim}")} - {value for value, _ in frequent}
        values[dim] = [[value, counted[value]] for value in sorted(chosen) if counted[value]]
        values[dim] += [[value, many] for value, many in frequent]
    return {**values, "more": bool(cut), "cut": cut}


def _split_tags(sums: dict[str, Counter[str]]) -> dict[str, Counter[str]]:
    """Return counts with users, conversations and metadata, which are tags, as facets of their own."""
    tags = sums.get("tag", Counter())
    shared = sums.get(ALL_TAGS, tags)
    begins = tuple(f"{name}=" for name in facets.NAMED)
    split = {**sums, "tag": Counter({tag: many for tag, many in tags.items() if not tag.startswith(begins)})}
    for name, begin in zip(facets.NAMED, begins, strict=True):
        held = sums.get(name, shared)
        split[name] = Counter({tag.removeprefix(begin): many for tag, many in held.items() if tag.startswith(begin)})
    held = sums.get("meta", shared)
    split["meta"] = Counter({tag: many for tag, many in held.items() if "=" in tag and not tag.startswith(begins)})
    return split


def _with_text(counted: Counter[str], wanted: str) -> Counter[str]:
    if not wanted:
        return counted
    parts = wanted.split()
    return Counter({value: many for value, many in counted.items() if all(map(value.casefold().__contains__, parts))})


def most(counted: Counter[str], wanted: str = "") -> list[tuple[str, int]]:
    """Return the most frequent values: those nearest to the text first, and those with equal counts by name."""

    def place(pair: tuple[str, int]) -> tuple[int, int, str]:
        value, many = pair
        return _distance(value.casefold(), wanted), -many, value

    return heapq.nsmallest(MOST_VALUES, counted.items(), key=place)


def _distance(value: str, wanted: str) -> int:
    """Rank a value for a text: 0 equal, 1 begins with it, 2 has a word that begins with it, 3 anything else.

    >>> [_distance(value, "604") for value in ("604", "6041", "photo 604b", "v1604")]
    [0, 1, 2, 3]
    """
    if value == wanted or value.startswith(wanted):
        return int(value != wanted)
    at = value.find(wanted)
    while at > 0 and value[at - 1].isalnum():
        at = value.find(wanted, at + 1)
    return 3 if at < 0 else 2


# Hex digits of an id in a search: a complete id, an event's as commands print it, and the fewest of a session's.
_WHOLE, _OF_EVENT, _LEAST = 32, 20, 8


class Named(NamedTuple):
    """What an id in a search text identifies: a session, or an event in it, as its first and last rows."""

    listed: Listed
    event: tuple[Stored, Stored] | None = None


def named(home: Home, text: str | None) -> Named | None:
    """Return the session or the event whose id, or its beginning, is the search text."""
    plain = (text or "").strip().replace("-", "").lower()
    if not _LEAST <= len(plain) <= _WHOLE or not set(plain) <= set("0123456789abcdef"):
        return None
    try:
        where, session = home.find(plain)
    except LocalopsError:
        return _of_event(home, plain) if len(plain) in (_OF_EVENT, _WHOLE) else None
    listed = where.listed(session)
    return None if listed is None else Named(listed)


def _of_event(home: Home, ident: str) -> Named | None:
    try:
        where, session, id = home.find_event(ident)
    except LocalopsError:
        return None
    halves = [row for phase in (rows.OPEN, rows.DONE) if (row := stored.one(where.reader, id, phase))]
    listed = where.listed(session)
    if listed is None or not halves:
        return None
    return Named(listed, None if halves[0].kind in rows.BOOKS else (halves[0], halves[-1]))


def snippets(home: Home, text: str, sessions: Sequence[bytes]) -> Facts:
    """Return a passage of each session around the words of a text, and the sessions that were not searched yet.

    The passage is from the first event with the words, as later prompts only repeat them.
    """
    query = Query(text)
    until = time.thread_time() + _SECONDS
    places: dict[str, Facts] = {}
    missing: list[str] = []
    in_each = (project.index().rows_of_each(sessions, text) for project in home.projects)
    for number, (session, *in_projects) in enumerate(zip(sessions, *in_each, strict=True)):
        if number and time.thread_time() > until:
            missing = list(map(facts.full_id, sessions[number:]))
            break
        for candidates in in_projects:
            match = _event_first(row for row, is_match in candidates if is_match)
            if match is not None:
                is_book = match.kind in rows.BOOKS
                places[facts.full_id(session)] = {
                    "text": match.passage(query),
                    "kind": match.kind,
                    "name": match.name,
                    "seq": None if is_book else match.seq,
                }
                break
    return {"snippets": places, "missing": missing}


def _event_first(matches: Iterable[Searched]) -> Searched | None:
    """Return the first row of an event; where only bookkeeping has the words, as for a name, the last of it."""
    book = None
    for row in matches:
        if row.kind not in rows.BOOKS:
            return row
        book = row
    return book


def with_text(project: Project, text: str, sessions: Sequence[bytes], seconds: float) -> tuple[list[bytes], bool]:
    """Return the sessions that have the words of a text in one event; false with all where that takes too long."""
    until, each = time.thread_time() + seconds, project.index().each(sessions, text)
    matches = []
    for session in sessions:
        if time.thread_time() > until:
            return list(sessions), False
        if next(each):
            matches.append(session)
    return matches, True
