"""The look-ups of most tools: sessions, events, figures, words and SQL.  Each returns the text of its answer."""

from __future__ import annotations

import time
from itertools import islice
from math import isinf

from localops import config, output
from localops.clock import iso, now_ns
from localops.errors import NotFound, QueryRefused
from localops.journal import rows, stored
from localops.journal.reader import Reader, numbered
from localops.journal.sql import statements
from localops.mcp.answers import answer, is_own_word, own_word, page, whole
from localops.mcp.arguments import moment, number
from localops.reading import (
    analytics,
    facts,
    lower_bounds,
    made_tables,
    post_mortem,
    post_mortem_page,
    waste,
    waste_page,
)
from localops.reading.home import Filters
from localops.reading.search import Query, once_each
from localops.reading.sentences import plain, with_event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from localops.journal.stored import Stored
    from localops.mcp.memory import Memory
    from localops.reading.analytics import Part
    from localops.reading.home import Home, Listed, Project
    from localops.reading.lower_bounds import Bounds
    from localops.reading.search import Hit
    from localops.reading.snapshot import Snapshot

    Given = dict[str, Any]
    Record = dict[str, Any]

_TOKENS = 60  # of a record at least: an answer has no more of them than its length has of these
_PAGE = 20  # records of a table
_SECONDS = 1.0  # that a search may take before it says how far it came
_QUERY_SECONDS = 5.0
_QUERY_ROWS = 200
_LATER = 20_000  # rows of a session up to which later prices and errors are looked up for each event
_DAY_NS = 86_400_000_000_000


def list_sessions(memory: Memory, given: Given) -> str:
    """Return sessions, newest first."""
    since, until = (moment(name, given[name]) if name in given else None for name in ("since", "until"))
    names = ("state", "tag", "model", "agent", "tool", "text")
    chosen: dict[str, Any] = {name: given.get(name) for name in names}
    filters = Filters(**chosen, since=since, until=until, errors="errors" in given)
    stop, many = time.monotonic() + _SECONDS, _fitting(given)
    with memory.home(given.get("project")) as home:
        note = _unsearched(home) if filters.text is not None else ""
        listed: list[Listed] = []
        is_all = False
        for one in home.sessions(filters, before=given.get("cursor")):
            listed.append(one)
            if len(listed) > many or time.monotonic() > stop:
                break
        else:
            is_all = True
        shown = listed[:many]
        records = [_session_record(one, many=len(home.projects) > 1) for one in shown]
        if not shown:
            empty = "No session matches." if any(filters) or "cursor" in given else home.nothing_yet()
            return answer(empty + note, budget=given["max_tokens"])
        return answer(
            f"Sessions, newest first, times in UTC, costs in US dollars.{note}",
            records,
            budget=given["max_tokens"],
            more=lambda count: _short(shown[count - 1].session) or "",
            is_all=is_all,
        )


def _fitting(given: Given) -> int:
    """Return how many records an answer may hold at most: more need not be read."""
    return max(5, int(given["max_tokens"]) // _TOKENS)


def _session_record(one: Listed, *, many: bool) -> Record:
    plain = facts.listed(one)
    return {
        "session": _short(one.session),
        "project": one.project.name if many else None,
        "name": one.name,
        "state": one.state,
        "began": plain["began"][:19],
        "seconds": round(plain["seconds"], 1),
        "llm_calls": one.llms or None,
        "tool_calls": one.tools or None,
        "errors": one.errors or None,
        "cost": round(one.cost / 1e9, 6) or None,
        "unpriced": one.unpriced or None,
        "cost_at_least": plain["cost_at_least"] or None,
        "tags": plain["tags"],
    }


def get_session(memory: Memory, given: Given) -> str:
    """Return one session: its end, figures, parts, newest errors and what it did not finish."""
    with memory.home(given.get("project")) as home:
        project, id = home.find(given["session"])
        seen = project.snapshot(id)
        total = seen.totals
        head = (
            f"Session {rows.id_text(id)} in {project.name}: {own_word(seen.standing.state)}, "
            f"began {iso(total.first_ns)[:19]} UTC, {output.ago(now_ns() - total.first_ns)}, "
            f"took {output.short_duration(seen.until_ns - total.first_ns)}."
        )
        figures = {**facts.totals(total, at_least=seen.cost_at_least), "cost_usd": round(total.cost / 1e9, 6)}
        wanted = (
            "events llm_calls tool_calls errors failed tokens_in tokens_out cost_usd unpriced cost_at_least".split()
        )
        records: list[Record] = [
            {
                "name": seen.story.name,
                "state": seen.standing.state if not is_own_word(seen.standing.state) else None,
                "reason": seen.standing.reason,
                "tags": seen.story.tags,
            },
            {name: figures[name] or None for name in wanted},
            {"metadata": seen.story.metadata},
            *({"unfinished": f"{one.kind} {one.name or ''}", "event": _short(one.id)} for one in seen.unfinished[:5]),
            *(_error_record(error) for error in newest_errors(project, id, total.rows)),
            *(
                _part_record(dim, part, at_least=part.value in seen.lost.get(dim, ()))
                for dim in ("tool", "model", "agent")
                for part in _parts(seen, dim)
            ),
        ]
        return answer(head, [record for record in records if any(record.values())], budget=given["max_tokens"])


def why(memory: Memory, given: Given) -> str:
    """Return the post-mortem of one session, piece by piece."""
    return _findings(memory, given, post_mortem.of, post_mortem_page.sections, lambda facts: own_word(facts["state"]))


def _parts(seen: Snapshot, dim: str) -> list[Part]:
    return seen.agents[:5] if dim == "agent" else seen.parts[dim][:10]


def _part_record(dim: str, part: Any, *, at_least: bool) -> Record:
    figures = part._asdict()
    wanted = ("events", "failed", "tokens_in", "tokens_out")
    return {
        dim: part.value,
        "sessions": figures.get("sessions"),
        **{"calls" if name == "events" else name: figures[name] or None for name in wanted},
        "cost": round(part.cost / 1e9, 6) or None,
        "unpriced": part.unpriced or None,
        "cost_at_least": part.unpriced > 0 or at_least or None,
        "seconds": round(part.took_ns / 1e9, 1) or None,
    }


def newest_errors(project: Project, session: bytes, many_rows: int) -> list[Stored]:
    """Return the last errors of a session; none for a session that takes too long to read."""
    if many_rows > _LATER:
        return []
    values = {"session": session, "after": 0, "kind": "error", "many": 1_000}
    return stored.named(project.reader.ask(statements("pages.sql")["rows_of_kind"], values))[-3:]


def _error_record(row: Stored) -> Record:
    plain = analytics.plain(row, None)
    return {"error": row.name, "message": plain.get("details"), "of": _short(row.parent), "event": _short(row.id)}


def figures(memory: Memory, given: Given) -> str:
    """Return the figures of a session, or of many."""
    if "session" in given:
        return get_session(memory, given)
    since = moment("since", given["since"]) if "since" in given else now_ns() - _DAY_NS
    until = moment("until", given["until"]) if "until" in given else (1 << 63) - 1
    chosen = analytics.Chosen(since, until, given.get("tag"))
    by = given.get("by", "model")
    with memory.home(given.get("project")) as home:
        totals = [analytics.overall(each.reader, chosen) for each in home.projects]
        lines = analytics.together(
            by,
            [
                line
                for each in home.projects
                for line in analytics.across(each.reader, by, chosen, running=each.running(), many=_PAGE)
            ],
        )
        open_calls = any(each.has_open_calls(chosen) for each in home.projects)
        is_lacking = any(each.lacking(chosen) for each in home.projects)
        bounds = lower_bounds.across(home.projects, by, chosen)
    total = analytics.Totals(*map(sum, zip(*totals, strict=True))) if totals else analytics.NOTHING
    head = (
        f"{output.counted(total.rows, 'session')} since {iso(since)[:16]} UTC: "
        f"{output.counted(total.llms, 'LLM call')}, {output.counted(total.tools, 'tool call')}, "
        f"{output.counted(total.errors, 'error')}, {output.money(total.cost)}"
        f"{f' and {total.unpriced} calls without a price' if total.unpriced else ''}"
        f"{' and what calls cost that never ended' if open_calls else ''}"
        f"{' and what calls cost that were lost' if is_lacking else ''}. By {by}:"
    )
    return answer(head, [_line_record(by, line, bounds) for line in lines[:_PAGE]], budget=given["max_tokens"])


def _line_record(by: str, line: Any, bounds: Bounds) -> Record:
    value = _short(line.value) if isinstance(line.value, bytes) else line.value
    return _part_record(by, line._replace(value=value), at_least=line.value in bounds.cost)


def search(memory: Memory, given: Given) -> str:
    """Return the events that have some words."""
    text, skip = given["text"], number(given.get("cursor")) or 0
    Query(text)
    many = _fitting(given)
    until = time.monotonic() + _SECONDS
    with memory.home(given.get("project")) as home:
        note = _unsearched(home)
        only, id = home.find(given["session"]) if "session" in given else (None, None)
        hits: list[tuple[Project, Hit]] = []
        for project in home.projects:
            if only in (None, project):
                matching = project.index().events(text, id, until=until)
                hits += [(project, hit) for hit in islice(once_each(matching), skip + many + 1)]
        if time.monotonic() > until:
            note += " The search was stopped after a second: it is not complete."
        hits.sort(key=lambda pair: pair[1].at_ns, reverse=True)
        shown = hits[skip : skip + many]
        if not shown:
            return answer(f"No event has all of these words.{note}", budget=given["max_tokens"])
        return answer(
            f"Events with these words, newest first.{note}",
            [_hit_record(project, hit) for project, hit in shown],
            budget=given["max_tokens"],
            more=lambda count: str(skip + count),
            is_all=len(hits) <= skip + many,
        )


def _hit_record(project: Project, hit: Hit) -> Record:
    return {
        "event": _short(hit.id, 23),
        "session": _short(hit.session),
        "of": project.name_of(hit.session),
        "at": iso(hit.at_ns)[:19],
        "kind": hit.kind,
        "name": hit.name,
        "text": hit.snippet,
    }


def _unsearched(home: Home) -> str:
    missing = sum(project.index().catch_up() for project in home.projects)
    return f" {output.counted(missing, 'row is', 'rows are')} not indexed yet: ask again soon." if missing else ""


def events(memory: Memory, given: Given) -> str:
    """Return the events of a session in their order."""
    after = number(given.get("cursor")) or 0
    with memory.home(given.get("project")) as home:
        project, id = home.find(given["session"])
        total = project.snapshot(id).totals
        later = analytics.afterwards(project.reader, id) if total.rows <= _LATER else {}
        stop, many = time.monotonic() + _SECONDS, _fitting(given)
        records: list[Record] = []
        seqs: list[int] = []
        is_all = True
        for row, opened in _events_after(project, id, after, given.get("kind")):
            plain = analytics.plain(row, opened, later.get(row.id))
            if given.get("failed") and not plain["failed"] and row.kind != "error":
                if time.monotonic() <= stop:
                    continue
                seqs.append(row.seq)
                is_all = False
                break
            if len(records) == many:
                is_all = False
                break
            records.append(_event_record(plain))
            seqs.append(row.seq)
        head = f"Events of session {_short(id)} in {project.name}, {output.counted(total.events, 'event')} in all."
        if not records:
            return answer(f"{head} None of these {'yet' if is_all else 'so far'}.", budget=given["max_tokens"])
        return answer(
            head,
            records,
            budget=given["max_tokens"],
            more=lambda count: str(seqs[count - 1]),
            is_all=is_all,
        )


def _events_after(
    project: Project, session: bytes, after: int, kind: str | None
) -> Iterator[tuple[Stored, Stored | None]]:
    """Yield the events after a seq, each with the row that it began with; one that has not ended at its beginning."""
    statement = statements("pages.sql")["rows_of_kind"] if kind else statements("queries.sql")["events"]
    values = {"session": session, "many": 2 * _PAGE, **({"kind": kind} if kind else {})}
    while read := stored.named(project.reader.ask(statement, {**values, "after": after})):
        after = read[-1].seq
        for row in read:
            if row.kind in rows.BOOKS:
                continue
            other = stored.one(project.reader, row.id, 1 - row.phase)
            if row.phase == rows.DONE or other is None:
                yield row, other


def _event_record(plain: dict[str, Any]) -> Record:
    is_llm = plain["kind"] == "llm"
    return {
        "event": plain["id"][:23],
        "kind": plain["kind"],
        "name": plain["name"],
        "model": plain["model"],
        "at": iso(plain["start_ns"])[11:19],
        "seconds": None if plain["end_ns"] is None else round((plain["end_ns"] - plain["start_ns"]) / 1e9, 2) or None,
        "failed": plain["failed"] or None,
        "unfinished": not plain["finished"] or None,
        "cost": round(plain["cost"] / 1e9, 6) if plain["cost"] else None,
        "in": plain.get("prompt" if is_llm else "params"),
        "out": plain.get("completion" if is_llm else "returns"),
        "message": plain.get("details"),
    }


def get_event(memory: Memory, given: Given) -> str:
    """Return one event in full, piece by piece."""
    start = number(given.get("cursor")) or 0
    with memory.home(given.get("project")) as home:
        project, session, id = home.find_event(given["event"])
        done = stored.one(project.reader, id, rows.DONE)
        opened = stored.one(project.reader, id, rows.OPEN)
        row = done or opened
        if row is None:
            raise NotFound(f"event {given['event']!r} has just been deleted")
        seen = project.snapshot(session)
        later = analytics.afterwards(project.reader, session).get(id) if seen.totals.rows <= _LATER else None
        plain = facts.event(row, opened if done else None, later)
    plain = {key: value for key, value in plain.items() if value not in (None, [], {})}
    return page(f"Event {rows.id_text(id)}, a {own_word(row.kind)}.", whole(plain), start, budget=given["max_tokens"])


def query(memory: Memory, given: Given) -> str:
    """Return the rows of a statement that can only read."""
    skip = number(given.get("cursor")) or 0
    records: list[Record] = []
    columns: list[str] = []
    with memory.home(given.get("project")) as home:
        if not home.projects:
            raise NotFound(home.nothing_yet())
        many = len(home.projects) > 1
        for project in home.projects:
            # A reader of its own: the limits of foreign SQL stay with the connection.
            with Reader(project.path) as reader:
                try:
                    names, read = reader.console(
                        given["sql"],
                        seconds=_QUERY_SECONDS,
                        most=skip + _QUERY_ROWS + 1,
                        tables=made_tables.tables(
                            project, given["sql"], config.polling(home.folder), seconds=_QUERY_SECONDS
                        ),
                    )
                except QueryRefused as error:  # its message may have a value that the statement read
                    records = [{"error": str(error)}]
                    raise QueryRefused(answer("The statement failed.", records, budget=given["max_tokens"])) from error
            columns = columns or names
            keys, about = numbered(names), {"project": project.name} if many else {}
            records += [{**about, **dict(zip(keys, map(_column, row), strict=True))} for row in read]
    shown = records[skip : skip + _QUERY_ROWS]
    if not shown:
        return answer(f"No rows. Columns: {', '.join(columns) or 'none'}.", budget=given["max_tokens"])
    each = " Each project was asked by itself." if many else ""
    is_all = len(records) <= skip + _QUERY_ROWS
    counted = (
        output.counted(len(records) - skip, "row") if is_all else f"More than {output.counted(_QUERY_ROWS, 'row')}"
    )
    return answer(
        f"{counted}{' after those' if skip else ''}.{each}",
        shown,
        budget=given["max_tokens"],
        more=lambda count: str(skip + count),
        is_all=is_all,
    )


def _column(value: Any) -> Any:
    """Return a value of SQLite for JSON: an id as text, other bytes as hex."""
    if isinstance(value, bytes):
        return rows.id_text(value) if len(value) == 16 else value[:512].hex()
    return str(value) if isinstance(value, float) and isinf(value) else value


def find_loops(memory: Memory, given: Given) -> str:
    """Return the loops and failing tools of one session, and what was wasted."""
    return _findings(memory, given, waste.of, waste_page.sections, waste_page.headline)


def _findings(
    memory: Memory,
    given: Given,
    look: Callable[..., Any],
    sections: Callable[[Any], list[tuple[str, list[list[str]]]]],
    headline: Callable[[Any], str],
) -> str:
    """Return a page of sentences about one session."""
    start = number(given.get("cursor")) or 0
    with memory.home(given.get("project")) as home:
        project, id = home.find(given["session"])
        findings = look(project.name, project.snapshot(id), project.reader, polling=config.polling(home.folder))
    lines = []
    for title, sentences in sections(findings):
        lines += [f"{title}:", *(f"- {with_event(plain(sentence), sentence)}" for sentence in sentences)]
    head = f"Session {rows.id_text(id)} in {project.name}: {headline(findings)}."
    return page(head, "\n".join(lines), start, budget=given["max_tokens"])


def _short(id: bytes | None, many: int = 18) -> str | None:
    return None if id is None else rows.id_text(id)[:many]
