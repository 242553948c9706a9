"""What the journal says about a session: figures, events, tree and breakdowns, from SQL and nothing else.

Works on anything that answers the named queries: a journal that records, or a reader of one.
"""

from __future__ import annotations

from collections import namedtuple

from localops import clock, output, rows
from localops.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, NamedTuple

    from localops.ends import Source
    from localops.reader import Reader

    class Totals(NamedTuple):
        """A session's exact figures; cost in nano-dollars."""

        rows: int
        events: int
        actions: int
        llms: int
        tools: int
        errors: int
        failed: int
        tokens_in: int
        tokens_out: int
        tokens_cached: int
        tokens_reasoning: int
        cost: int
        unpriced: int
        first_ns: int
        last_ns: int
        last_seq: int

    class Part(NamedTuple):
        """The figures of one part of a session: of a model, a tool, an agent or a tag."""

        value: str
        events: int
        failed: int
        tokens_in: int
        tokens_out: int
        tokens_cached: int
        tokens_reasoning: int
        cost: int
        unpriced: int
        took_ns: int

    class Line(NamedTuple):
        """The figures of a part of many sessions."""

        value: Any
        sessions: int
        events: int
        failed: int
        tokens_in: int
        tokens_out: int
        tokens_cached: int
        tokens_reasoning: int
        cost: int
        unpriced: int
        took_ns: int

    class Chosen(NamedTuple):
        """The sessions figures are about: begun in [since, until), with the tag or an event that has it."""

        since: int = -(1 << 63)
        until: int = (1 << 63) - 1
        tag: str | None = None

    class Later(NamedTuple):
        """What later rows say of an event: what prices add, that it failed, that it was not billed."""

        cost: int | None
        failed: int
        unbilled: int

    class Report(NamedTuple):
        """A session in figures: totals, the six of the contract, parts, percentiles in nanoseconds."""

        totals: Totals
        contract: dict[str, int | str]
        unfinished: int
        late: int
        spilled: int
        dropped: int
        cut: int
        by: dict[str, list[Part]]
        took: dict[str, list[int]] | None
else:
    Totals = namedtuple(
        "Totals",
        "rows events actions llms tools errors failed tokens_in tokens_out tokens_cached tokens_reasoning "
        "cost unpriced first_ns last_ns last_seq",
    )
    Part = namedtuple(
        "Part",
        "value events failed tokens_in tokens_out tokens_cached tokens_reasoning cost unpriced took_ns",
    )
    Line = namedtuple("Line", ("value", "sessions", *Part._fields[1:]))
    Chosen = namedtuple("Chosen", "since until tag", defaults=(-(1 << 63), (1 << 63) - 1, None))
    Later = namedtuple("Later", "cost failed unbilled")
    Report = namedtuple("Report", "totals contract unfinished late spilled dropped cut by took")

NOTHING = Totals(*[0] * 16)
DIMS = ("model", "tool", "agent_id", "tag")
SHARES = (0.5, 0.9, 0.99)
ACROSS = ("model", "agent", "tool", "tag", "day", "kind", "session")
EXACT_UP_TO = 20_000  # events of a session whose percentiles are worked out unasked: some 50 ms
_PAGE = 500
QUARTER_NS = 900 * 1_000_000_000
_STORED = ("seq", *rows.COLUMNS)


def totals(source: Source, session: bytes) -> Totals:
    """A session's figures at this instant; all zero for one that has no rows here."""
    found = source.one("totals", session=session)
    return Totals(*found) if found else NOTHING


def contract(figures: Totals, *, running: bool) -> dict[str, int | str]:
    """Return the six figures users know, in their order and formats; a running session lasts until now.

    Where the price of LLM calls is not known, a seventh figure counts them: the cost leaves them out.
    """
    until = clock.now_ns() if running else figures.last_ns
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
    """A session's figures by model, tool, agent_id or tag, the busiest first."""
    return [Part(*row) for row in source.all("parts", session=session, dim=dim)]


def stored(source: Source, session: bytes, *, after: int = 0, many: int = _PAGE) -> Iterator[dict[str, Any]]:
    """A session's rows as they are stored, in the order they were written; each page is a read of its own."""
    while page := source.all("events", session=session, after=after, many=many):
        after = page[-1][0]
        for row in page:
            yield dict(zip(_STORED, row, strict=True))


def events(source: Source, session: bytes) -> Iterator[dict[str, Any]]:
    """A session's events, oldest first, as plain values; one that has not ended has `finished` false.

    What an operation was given stands in the row it opened with: the two are put together here, with what rows that
    came later say of an event.
    """
    later = afterwards(source, session)
    opened: dict[bytes, dict[str, Any]] = {}
    for row in stored(source, session):
        if row["kind"] in rows.BOOKS:
            continue
        if row["phase"] == rows.OPEN:
            opened[row["id"]] = row
        else:
            yield plain(row, opened.pop(row["id"], None), later.get(row["id"]))
    for row in opened.values():
        yield plain(row, None)


def afterwards(source: Source, session: bytes) -> dict[bytes, Later]:
    """What rows that came later say of a session's events, by the events' ids."""
    return {row[0]: Later(*row[1:]) for row in source.all("afterwards", session=session)}


def plain(row: dict[str, Any], opened: dict[str, Any] | None, later: Later | None = None) -> dict[str, Any]:
    """A stored row with ids as text, times as numbers of nanoseconds and its body unpacked.

    A row never changes: that a call failed, or what it cost, may stand in rows that came after it.  The error that says
    so of another event has not failed itself.
    """
    body = _body(row["body"])
    cost, failed = row["cost"], bool(row["failed"]) and row["kind"] != "error"
    if later is not None:
        cost = cost if later.cost is None else (cost or 0) + later.cost
        failed = failed or bool(later.failed)
        if later.unbilled:
            body["billed"] = False
    if opened is not None:
        body = {**_body(opened["body"]), **body}
    ended = row["end_ns"] if row["end_ns"] is not None else row["at_ns"]
    finished = row["phase"] == rows.DONE
    return {
        "id": rows.id_text(row["id"]),
        "session": rows.id_text(row["session"]),
        "kind": row["kind"],
        "name": row["name"],
        "parent": rows.id_text(row["parent"]) if row["parent"] else None,
        "agent": rows.id_text(row["agent"]) if row["agent"] else None,
        "start_ns": row["start_ns"] if row["start_ns"] is not None else row["at_ns"],
        "end_ns": ended if finished else None,
        "finished": finished,
        "failed": failed,
        "model": row["model"],
        "tokens_in": row["tokens_in"],
        "tokens_out": row["tokens_out"],
        "tokens_cached": row["tokens_cached"],
        "tokens_reasoning": row["tokens_reasoning"],
        "cost": cost,
        "tags": _list(row["tags"]),
        "seq": row["seq"],
        **{key if key not in _TAKEN else f"body_{key}": value for key, value in body.items()},
    }


def trigger_id(event: dict[str, Any]) -> str | None:
    """Return the id of the event that an error is linked to, whichever way its row has it."""
    trigger = event.get("trigger")
    id = trigger.get("id") if isinstance(trigger, dict) else None
    try:
        return rows.id_text(bytes.fromhex(id.replace("-", ""))) if isinstance(id, str) else None
    except ValueError:
        return None


_TAKEN = frozenset(
    "id session kind name parent agent start_ns end_ns finished failed model tokens_in tokens_out "
    "tokens_cached tokens_reasoning cost tags seq".split()
)


def _loads(text: str) -> Any:
    from localops import encode  # only when there is something to read: a command that shows figures starts sooner

    return encode.loads(text)


def _body(text: str | None) -> dict[str, Any]:
    found = _loads(text) if text else {}
    return found if isinstance(found, dict) else {"body": found}


def _list(text: str | None) -> list[str]:
    return list(_loads(text)) if text else []


def report(source: Source, session: bytes, *, running: bool, percentiles: bool = False) -> Report:
    """A session in figures; `took` is None when it has too many events to work that out unasked."""
    figures = totals(source, session)
    exact = percentiles or figures.events <= EXACT_UP_TO
    return Report(
        figures,
        contract(figures, running=running),
        len(source.all("unfinished", session=session)),
        late(source, session),
        *losses(source, session),
        {
            "model": parts(source, session, "model"),
            "tool": parts(source, session, "tool"),
            "agent": agents(source, session),
        },
        took(source, session) if exact else None,
    )


def error_rate(figures: Totals) -> float | None:
    """The share of events that failed; None when there are none."""
    return figures.failed / figures.events if figures.events else None


def losses(source: Source, session: bytes) -> tuple[int, int, int]:
    """How many rows went through a spill file, how many were lost, and how many values could not be kept whole."""
    story = source.all("story", session=session)
    notes = [_loads(row[7]) for row in story if row[2] == "loss" and row[7]]
    spilled, dropped, cut = (sum(note.get(name, 0) for note in notes) for name in ("spilled", "dropped", "cut"))
    return spilled, dropped, cut


def late(source: Source, session: bytes) -> int:
    """How many events were recorded after the session had been ended."""
    found = source.one("end_seq", session=session)
    if not found or found[0] is None:
        return 0
    return int(source.all("late", session=session, after=found[0])[0][0])


def agents(source: Source, session: bytes) -> list[Part]:
    """A session's figures by agent, under the agents' names."""
    found = parts(source, session, "agent_id")
    return [part._replace(value=agent_name(source, part.value)) for part in found]


def tags(source: Source, session: bytes) -> list[Part]:
    """A session's figures by tag: all there are for its own tags, those of single events for the others."""
    all_of_it = totals(source, session)
    lasted = all_of_it.last_ns - all_of_it.first_ns
    own = [tag for (tag,) in source.all("session_tags", session=session)]
    found = [Part(tag, all_of_it.events, *all_of_it[6:13], lasted) for tag in own]
    return found + [part for part in parts(source, session, "tag") if part.value not in own and part.events]


def agent_name(source: Source, id: str) -> str:
    """What an agent is called; its id when no row says so."""
    key = bytes.fromhex(id.replace("-", ""))
    row = source.one("row", id=key, phase=rows.DONE)
    return (row[1 + rows.COLUMNS.index("name")] if row else None) or rows.id_text(key)


def took(source: Source, session: bytes) -> dict[str, list[int]]:
    """How long its LLM and tool calls took: median, 90th and 99th percentile of each, exact."""
    found: dict[str, list[int]] = {}
    for kind, ns in source.all("durations", session=session):
        found.setdefault(kind, []).append(ns)
    ordered = {kind: sorted(values) for kind, values in sorted(found.items())}
    return {kind: [_rank(values, share) for share in SHARES] for kind, values in ordered.items()}


def across(reader: Reader, by: str, chosen: Chosen, *, many: int = -1, tz: str | None = None) -> list[Line]:
    """The figures of many sessions, by one of ACROSS: the dearest first, days in order."""
    if by == "day":
        return _days(asked(reader, "quarters", chosen), tz)
    if by == "session":
        return [_line(row) for row in asked(reader, "by_session", chosen, many=many)]
    if by == "kind":
        found = asked(reader, "by_kind", chosen)
    elif by == "agent":
        found = asked(reader, "by_agent", chosen, dim="agent_id")
    else:
        found = asked(reader, "by_tag" if by == "tag" else "by_facet", chosen, dim=by)
    return [Line(*(figure or 0 for figure in row)) for row in found]


def together(by: str, found: Iterable[Line]) -> list[Line]:
    """One list of the lines of several projects: what has the same name in two of them is one line."""
    same: dict[Any, list[Line]] = {}
    for line in found:
        same.setdefault(line.value, []).append(line)
    lines = [Line(value, *map(sum, zip(*(line[1:] for line in each), strict=True))) for value, each in same.items()]
    return sorted(lines, key=lambda line: line.value if by == "day" else (-line.cost, -line.events))


def by_kind(reader: Reader, session: bytes) -> list[Line]:
    """One session's figures by kind of event."""
    found = reader.ask(statements("report.sql")["by_kind_of_one"], {"session": session})
    return [Line(*(figure or 0 for figure in row)) for row in found]


def overall(reader: Reader, chosen: Chosen) -> Totals:
    """The sums of the sessions' own figures; `rows` is how many sessions they are."""
    found = [Totals(*row[1:14], *[0] * 3) for row in asked(reader, "quarters", chosen)]
    return Totals(*map(sum, zip(*found, strict=True))) if found else NOTHING


def asked(reader: Reader, name: str, chosen: Chosen, **values: object) -> list[tuple[Any, ...]]:
    """The rows of a statement of report.sql about the chosen sessions; with a `dim`, about parts of them."""
    return reader.ask(statement(name, of_parts="dim" in values), {**chosen._asdict(), **values})


def statement(name: str, *, of_parts: bool = False) -> str:
    """A statement of report.sql and the tables it is asked with."""
    report = statements("report.sql")
    tables = ("own", "chosen", "part") if of_parts else ("own", "chosen")
    given = ", ".join(f"{table} as ({report[table]})" for table in tables)
    return f"with {given}\n{report[name]}"


def _line(row: tuple[Any, ...]) -> Line:
    """A row of the sessions' own figures: of their counts, a line has only the sum."""
    value, sessions, events, _actions, _llms, _tools, _errors, *rest = row
    return Line(value, sessions, events, *rest)


def _days(quarters: list[tuple[Any, ...]], tz: str | None) -> list[Line]:
    """Quarters of an hour added up to the days of a zone."""
    days: dict[str, list[Line]] = {}
    for row in quarters:
        days.setdefault(output.when(row[0] * QUARTER_NS, tz)[:10], []).append(_line(row))
    return [
        Line(day, *map(sum, zip(*(line[1:] for line in lines), strict=True))) for day, lines in sorted(days.items())
    ]


def percentile(values: Iterable[int], share: float) -> int | None:
    """Nearest rank over the exact values; None of nothing."""
    ordered = sorted(values)
    return _rank(ordered, share) if ordered else None


def _rank(ordered: list[int], share: float) -> int:
    rank = -(-share * len(ordered) // 1)  # the ceiling
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]
