"""Totals, events and breakdowns of sessions, all computed in SQL.

They work on any source that runs the named queries: a recording journal, or a reader.
"""

from __future__ import annotations

from collections import namedtuple

from localops import clock, output
from localops.encoding import facets
from localops.journal import rows, token_kinds
from localops.journal.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any, NamedTuple

    from localops.journal.reader import Reader
    from localops.journal.stored import Source, Stored
    from localops.reading.filters import Filters

    class Totals(rows.Counts):
        """A session's exact figures."""

        rows: int
        first_ns: int
        last_ns: int
        last_seq: int

    class Part(rows.Sums):
        """The figures of one part of a session: of a model, a tool, an agent or a tag."""

        value: str
        took_ns: int

    class Line(rows.Sums):
        """The figures of a part of many sessions."""

        value: Any
        sessions: int
        took_ns: int

    class Chosen(NamedTuple):
        """The sessions of a report: begun in [since, until); with `tag`, those that have it or an event with it."""

        since: int = -(1 << 63)
        until: int = (1 << 63) - 1
        tag: str | None = None
        sessions: str | None = None  # a JSON array of ids in hex: only these, of one project
        filters: Filters | None = None  # for a server, which selects the sessions of each project

    class Unfinished(NamedTuple):
        """An open operation; `tool` and `model` are set for calls, `agent` is an id in hex."""

        session: bytes
        kind: str
        tool: str | None
        model: str | None
        agent: str | None
        first_ns: int  # of its session

    class Later(rows.Record, token_kinds.OfRow):
        """What later rows add to an event: cost, tokens, and whether it failed or was not billed."""

        cost: int | None
        failed: int
        unbilled: int

    class Report(NamedTuple):
        """All figures of a session: totals, the six of AgentOps, figures of its parts, percentiles in nanoseconds."""

        totals: Totals
        contract: dict[str, int | str]
        unfinished: int
        late: int
        spilled: int
        dropped: int
        cut: int
        damaged: int
        by: dict[str, list[Part]]
        lost: dict[str, frozenset[str]]  # the parts in `by` whose cost is a lower bound, as an LLM call never ended
        took: dict[str, list[int]] | None

    class _Summed(rows.Counts):
        value: Any
        sessions: int
        took_ns: int
else:
    Totals = namedtuple("Totals", (*rows.TOTALS, "first_ns", "last_ns", "last_seq"))
    Part = namedtuple("Part", ("value", *rows.FIGURES))
    Line = namedtuple("Line", ("value", "sessions", *rows.FIGURES))
    Chosen = namedtuple(
        "Chosen", "since until tag sessions filters", defaults=(-(1 << 63), (1 << 63) - 1, None, None, None)
    )
    Unfinished = namedtuple("Unfinished", "session kind tool model agent first_ns")
    Later = namedtuple(
        "Later", ("cost", "failed", "unbilled", *rows.SENT_TOKENS), defaults=[None] * len(rows.SENT_TOKENS)
    )
    Report = namedtuple("Report", "totals contract unfinished late spilled dropped cut damaged by lost took")
    _Summed = namedtuple("_Summed", ("value", "sessions", *rows.TOTALS[1:], "took_ns"))


class _Sums(_Summed):
    """Sums of report.sql over sessions: for each quarter of an hour in which they began, or for each session."""

    __slots__ = ()

    @property
    def line(self) -> Line:
        """Return the sums as a line of a table."""
        return Line._make(getattr(self, name) for name in Line._fields)

    @property
    def totals(self) -> Totals:
        """Return the sums as totals, with the number of sessions as `rows`."""
        sums = {name: getattr(self, name) for name in rows.TOTALS[1:]}
        return NOTHING._replace(rows=self.sessions, **sums)


NOTHING = Totals(*[0] * len(Totals._fields))
DIMS = ("model", "tool", "agent_id", "tag")
SHARES = (0.5, 0.9, 0.99)
ACROSS = ("model", "agent", "tool", "tag", "user", "conversation", "day", "kind", "session")
# For sessions with up to this many events, percentiles are always computed, which takes about 50 ms.
EXACT_UP_TO = 20_000
_FEW_NAMES = 200  # this many lookups in an index take less than a millisecond
QUARTER_NS = 900 * 1_000_000_000


def totals(source: Source, session: bytes) -> Totals:
    """Return a session's current totals; all zero if this journal has no rows of it."""
    figures = source.one("totals", session=session)
    return Totals(*figures) if figures else NOTHING


def until_ns(last_ns: int, *, running: bool) -> int:
    """Return the end of a session's duration: now, while it runs, else the time of its last row."""
    return max(last_ns, clock.now_ns()) if running else last_ns


def contract(figures: Totals, *, running: bool, until: int | None = None) -> dict[str, int | str]:
    """Return AgentOps' six figures, in their order and formats; the duration of a running session is until now.

    Pass `until` if the same duration is shown elsewhere too.

    If the price of LLM calls is unknown, a seventh figure counts them, as the cost does not include them.
    """
    if until is None:
        until = until_ns(figures.last_ns, running=running)
    known: dict[str, int | str] = {
        "LLM calls": figures.llms,
        "Tool calls": figures.tools,
        "Actions": figures.actions,
        "Errors": figures.errors,
        "Duration": output.duration(max(0, until - figures.first_ns) if figures.rows else 0),
        "Cost": output.cost(figures.cost),
    }
    return {**known, "Unpriced": figures.unpriced} if figures.unpriced else known


def parts(source: Source, session: bytes, dim: str) -> list[Part]:
    """Return a session's totals by model, tool, agent_id or tag, the busiest first."""
    return [Part(*row) for row in source.all("parts", session=session, dim=dim)]


def all_parts(source: Source, session: bytes) -> tuple[dict[str, list[Part]], dict[str, str]]:
    """Return the same by every dimension except tags, and the names of agents by their ids, in one read."""
    by_dim: dict[str, list[Part]] = {dim: [] for dim in ("model", "tool", "agent_id", "agent")}
    names: dict[str, str] = {}
    for dim, *figures, name in source.all("all_parts", session=session):
        part = Part._make(figures)
        by_dim[dim].append(part)
        if dim == "agent_id":
            names[part.value] = name or rows.id_text(bytes.fromhex(part.value))
    return by_dim, names


def events(source: Source, session: bytes, *, opened_in_place: bool = False) -> Iterator[dict[str, Any]]:
    """Yield a session's events, oldest first, as plain values; of an open operation, `finished` is false.

    The input of an operation is in its opening row: this merges its two rows, and what later rows add.
    With `opened_in_place`, an open operation comes where it began, instead of last.
    """
    # Imported here, as totals and lists do not need it.
    from localops.journal import stored

    later = afterwards(source, session)
    opened: dict[bytes, Stored] = {}
    endless = {one.id for one in stored.unfinished(source, session)} if opened_in_place else set()
    for row in stored.openings_first(source, session):
        if row.kind in rows.BOOKS:
            continue
        if row.phase == rows.OPEN and row.id in endless:
            yield plain(row, None)
        elif row.phase == rows.OPEN:
            opened[row.id] = row
        # It may have ended since `endless` was read.
        elif row.id not in endless:
            yield plain(row, opened.pop(row.id, None), later.get(row.id))
    # Open operations come last.
    for row in opened.values():
        yield plain(row, None)


def afterwards(source: Source, session: bytes) -> dict[bytes, Later]:
    """Return what later rows add to a session's events, by the events' ids."""
    return {id: Later(*figures) for id, *figures in source.all("afterwards", session=session)}


def plain(row: Stored, opened: Stored | None, later: Later | None = None) -> dict[str, Any]:
    """Return a row with ids as text, times as numbers of nanoseconds and its body unpacked.

    A row never changes: that a call failed, or its cost, may be in later rows.  An error marks the event it happened in
    as failed, not itself.
    """
    body = _body(row.body)
    cost, failed = row.cost, bool(row.failed) and row.kind != "error"
    tokens = {name: getattr(row, name) for name in rows.SENT_TOKENS}
    if later is not None:
        cost = cost if later.cost is None else (cost or 0) + later.cost
        failed = failed or bool(later.failed)
        for name, known in tokens.items():
            tokens[name] = known if known is not None else getattr(later, name)
        # It failed before it was billed: a later row says so, with a price of 0.
        if later.unbilled:
            body["billed"] = False
    if opened is not None:
        body = {**_body(opened.body), **body}
    finished = row.phase == rows.DONE
    return {
        "id": rows.id_text(row.id),
        "session": rows.id_text(row.session),
        "kind": row.kind,
        "name": row.name,
        "parent": rows.id_text(row.parent) if row.parent else None,
        "agent": rows.id_text(row.agent) if row.agent else None,
        "start_ns": row.began_ns,
        "end_ns": row.ended_ns if finished else None,
        "finished": finished,
        "failed": failed,
        "model": row.model,
        **tokens,
        **rows.counts(body),
        "cost": cost,
        "tags": _list(row.tags),
        "seq": row.seq,
        **{key if key not in _OWN_KEYS else f"body_{key}": value for key, value in body.items()},
    }


def trigger_id(event: dict[str, Any]) -> str | None:
    """Return the id of the event that an error is linked to, with or without dashes in its row."""
    trigger = event.get("trigger")
    id = trigger.get("id") if isinstance(trigger, dict) else None
    try:
        return rows.id_text(bytes.fromhex(id.replace("-", ""))) if isinstance(id, str) else None
    except ValueError:
        return None


_OWN_KEYS = {
    *"id session kind name parent agent start_ns end_ns finished failed model cost tags seq".split(),
    *rows.TOKENS,
}


def _loads(text: str) -> Any:
    # Imported here, as a command that shows only totals starts faster without it.
    from localops.encoding import encode

    return encode.loads(text)


def _body(text: str | None) -> dict[str, Any]:
    value = _loads(text) if text else {}
    return value if isinstance(value, dict) else {"body": value}


def _list(text: str | None) -> list[str]:
    return list(_loads(text)) if text else []


def error_rate(figures: Totals) -> float | None:
    """Return the share of events that failed; None without events."""
    return figures.failed / figures.events if figures.events else None


def agents(source: Source, session: bytes) -> list[Part]:
    """Return a session's totals by agent, under the agents' names."""
    by_agent = parts(source, session, "agent_id")
    names = agent_names(source, [part.value for part in by_agent])
    return [part._replace(value=names[part.value]) for part in by_agent]


def tags(source: Source, session: bytes, *, until: int) -> list[Part]:
    """Return totals by tag: those of the whole session for its own tags, those of tagged events for other tags.

    `until` is the end of the session's duration.
    """
    whole = totals(source, session)
    figures = {name: getattr(whole, name) for name in Part._fields if name in whole._fields}
    own = [tag for (tag,) in source.all("session_tags", session=session)]
    of_own = [Part(value=tag, took_ns=until - whole.first_ns, **figures) for tag in own]
    return of_own + [part for part in parts(source, session, "tag") if part.value not in own and part.events]


def agent_name(source: Source, id: str) -> str:
    """Return the name of an agent, or its id if no row has a name."""
    return agent_names(source, [id])[id]


def agent_names(source: Source, ids: Sequence[str]) -> dict[str, str]:
    """Return the names of agents, by their ids."""
    if not ids:
        return {}
    keys = {id: id.replace("-", "") for id in ids}
    array = "[" + ", ".join(f'"{bytes.fromhex(key).hex()}"' for key in keys.values()) + "]"
    names = dict(source.all("names", ids=array))
    return {id: names.get(key.lower()) or rows.id_text(bytes.fromhex(key)) for id, key in keys.items()}


def took(source: Source, session: bytes) -> dict[str, list[int]]:
    """Return the exact median, 90th and 99th percentile of the durations of its LLM and tool calls."""
    durations: dict[str, list[int]] = {}
    for kind, ns in source.all("durations", session=session):
        durations.setdefault(kind, []).append(ns)
    ordered = {kind: sorted(values) for kind, values in sorted(durations.items())}
    return {kind: [rank(values, share) for share in SHARES] for kind, values in ordered.items()}


def across(
    reader: Reader,
    by: str,
    chosen: Chosen,
    *,
    many: int = -1,
    tz: str | None = None,
    running: Iterable[bytes] = (),
) -> list[Line]:
    """Return the totals of many sessions, by one of ACROSS: the most expensive first, days in order.

    The duration of sessions in `running` is until now.
    """
    if by == "day":
        return _days(query_report(reader, "quarters", chosen, running), tz)
    if by == "session":
        return [_Sums._make(row).line for row in query_report(reader, "by_session", chosen, running, many=many)]
    if by == "kind":
        sums = query_report(reader, "by_kind", chosen)
    elif by == "agent":
        sums = query_report(reader, "by_agent", chosen, dim="agent_id")
    elif by == "tag" or facets.prefix(by) is not None:
        sums = _with_facet(by, query_report(reader, "by_tag", chosen, running, dim="tag"))
    else:
        sums = query_report(reader, "by_facet", chosen, running, dim=by)
    return [Line(*(figure or 0 for figure in row)) for row in sums]


def _with_facet(by: str, sums: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the sums of the tags of a facet, by its values; those of all tags for `tag`."""
    begin = facets.prefix(by)
    if begin is None:
        return sums
    return [(value.removeprefix(begin), *figures) for value, *figures in sums if value.startswith(begin)]


def is_across(by: str) -> bool:
    """Return whether a word names a grouping of totals: one of ACROSS, or `meta:NAME`."""
    return by in ACROSS or facets.prefix(by) is not None


def of_facet(by: str, tag_parts: list[Part]) -> list[Part]:
    """Return the totals of a facet's tags, by the facet's values."""
    begin = facets.prefix(by) or ""
    return [part._replace(value=part.value.removeprefix(begin)) for part in tag_parts if part.value.startswith(begin)]


def together(by: str, lines: Iterable[Line]) -> list[Line]:
    """Merge the lines of several projects into one list, with one line for each name."""
    same: dict[Any, list[Line]] = {}
    for line in lines:
        same.setdefault(line.value, []).append(line)
    merged = [Line(value, *map(sum, zip(*(line[1:] for line in group), strict=True))) for value, group in same.items()]
    return sorted(merged, key=lambda line: line.value if by == "day" else (-line.cost, -line.events))


def by_kind(reader: Reader, session: bytes) -> list[Line]:
    """Return one session's totals by kind of event."""
    sums = reader.ask(statements("report.sql")["by_kind_of_one"], {"session": session})
    return [Line(*(figure or 0 for figure in row)) for row in sums]


def overall(reader: Reader, chosen: Chosen) -> Totals:
    """Return the sums of the chosen sessions' totals; `rows` is the number of sessions."""
    sums = [_Sums._make(row).totals for row in query_report(reader, "quarters", chosen)]
    return Totals(*map(sum, zip(*sums, strict=True))) if sums else NOTHING


def unfinished(reader: Reader, chosen: Chosen) -> list[Unfinished]:
    """Return the open operations of the chosen sessions."""
    begun = reader.ask(statements("report.sql")["unfinished"], {})
    if not begun:  # nearly always: then the sessions need not be read
        return []
    first_ns = chosen_among(reader, {session for session, *_ in begun}, chosen)
    return [
        Unfinished(session, kind, tool, model, agent, first_ns[session])
        for session, kind, tool, model, agent in begun
        if session in first_ns
    ]


def chosen_by(reader: Reader, name: str, chosen: Chosen) -> dict[bytes, int]:
    """Return which sessions from a statement of report.sql are chosen, with the times when they began."""
    return chosen_among(reader, {session for (session,) in reader.ask(statements("report.sql")[name])}, chosen)


def chosen_among(reader: Reader, sessions: Collection[bytes], chosen: Chosen) -> dict[bytes, int]:
    """Return which of these sessions are chosen, with the times when they began."""
    return dict(query_report(reader, "among", chosen, ids=array(sessions))) if sessions else {}


def array(ids: Iterable[bytes]) -> str:
    """Return ids as a JSON array of hex."""
    return "[" + ", ".join(f'"{id.hex()}"' for id in ids) + "]"


def query_report(
    reader: Reader, name: str, chosen: Chosen, running: Iterable[bytes] = (), **values: object
) -> list[tuple[Any, ...]]:
    """Run a statement of report.sql for the chosen sessions; with a `dim`, for parts of them."""
    choice = {"since": chosen.since, "until": chosen.until, "tag": chosen.tag, "sessions": chosen.sessions}
    bound = {**choice, "running": array(running), "now_ns": clock.now_ns(), **values}
    if "dim" not in values:
        return reader.ask(statement(name), bound)
    names = _few_names(reader, values["dim"])
    return reader.ask(statement(name, of_parts=True, of_names=names is not None), {**bound, "names": names})


def _few_names(reader: Reader, dim: object) -> str | None:
    """Return the values of a dimension as a JSON array; None if there are many.

    Facets are sorted by value and then by time: for a few values, only the rows of the chosen time are read.
    """
    [(count, names)] = reader.ask(statements("report.sql")["names"], {"dim": dim, "most": _FEW_NAMES + 1})
    return names if count <= _FEW_NAMES else None


def statement(name: str, *, of_parts: bool = False, of_names: bool = False) -> str:
    """Return a statement of report.sql with the common table expressions that it needs."""
    report = statements("report.sql")
    tables = ("running", "own", "chosen", "part") if of_parts else ("running", "own", "chosen")
    common_tables = ", ".join(f"{table} as ({report[table]})" for table in tables)
    names = "and f.value in (select value from json_each(:names))" if of_names else ""
    return f"with {common_tables}\n{report[name]}".replace("/* of these names */", names)


def _days(quarters: list[tuple[Any, ...]], tz: str | None) -> list[Line]:
    """Add up quarters of an hour to the days of a time zone."""
    days: dict[str, list[Line]] = {}
    for sums in map(_Sums._make, quarters):
        days.setdefault(output.when(sums.value * QUARTER_NS, tz)[:10], []).append(sums.line)
    return [
        Line(day, *map(sum, zip(*(line[1:] for line in lines), strict=True))) for day, lines in sorted(days.items())
    ]


def percentile(values: Iterable[int], share: float) -> int | None:
    """Return the percentile by nearest rank; None without values."""
    ordered = sorted(values)
    return rank(ordered, share) if ordered else None


def rank(ordered: list[int], share: float) -> int:
    """Return the percentile of sorted values, by nearest rank; there must be at least one."""
    # The value at the ceiling of share * n, so that every percentile is a value that occurred.
    rank = -(-share * len(ordered) // 1)  # the ceiling
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]
