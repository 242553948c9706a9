"""Query LLM and tool calls across sessions and projects: in any order, by any filter, in groups.

A place in an order is the value, the start and the id of a call, so that pages neither repeat nor skip a call, even if
calls are recorded meanwhile.  Groups and sums have the figures of `analytics`, and exact percentiles.
"""

from __future__ import annotations

from collections import Counter, namedtuple
from dataclasses import dataclass, replace
from heapq import merge, nsmallest
from itertools import groupby
from typing import NamedTuple

from localops.encoding import encode
from localops.errors import ConfigError
from localops.journal import rows, token_kinds
from localops.reading import analytics, open_ends
from localops.reading.call_search import Wanted
from localops.reading.call_table import CallTable, arguments_text
from localops.reading.filters import NOT, Clause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

    from localops.reading.filters import Filters
    from localops.reading.home import Project

    # Projects, and the rows of errors in them.
    Errors = list[tuple[Project, int]]

    class Call(rows.Record, token_kinds.OfCall):
        """A call: its project, and the columns of the statement `details`."""

        project: Project
        num: int
        id: bytes
        seq: int
        session: bytes
        kind: str
        began_ns: int
        took_ns: int | None
        first_ns: int | None
        tool: str | None
        model: str | None
        error: str | None
        error_seq: int | None
        cost: int | None
        unbilled: int
        failed: int
        finished: int

    class _Sums(rows.Record, token_kinds.Summed):
        num: int
        session: int
        key: int
        text: str
        cut: int
        calls: int
        unfinished: int
        failed: int
        llms: int
        cost: int
        unpriced: int
        took_ns: int
        newest: int
        earliest_ns: int
        latest_ns: int
        first_failed_ns: int | None
        durations: str | None

else:
    _ABOUT = "project num id seq session kind began_ns took_ns first_ns tool model error error_seq"
    Call = namedtuple("Call", (*_ABOUT.split(), *rows.TOKENS, "cost", "unbilled", "failed", "finished"))
    _COUNTS = "num session key text cut calls unfinished failed llms"
    _FIGURES = "cost unpriced took_ns newest earliest_ns latest_ns first_failed_ns durations"
    _Sums = namedtuple("_Sums", (*_COUNTS.split(), *rows.TOKENS, *_FIGURES.split()))

KINDS = ("llm", "tool")
# Filters that both sessions and calls have.
NAMED = ("model", "tool", "error")
SORTS = ("began", "cost", "seconds", "tokens", "first_token")
# The groupings of calls, each with its default order.
GROUPS = {
    "tool": "failed",
    "model": "cost",
    "prompt": "cost",
    "arguments": "calls",
    "error": "calls",
    "message": "calls",
    "repeat": "calls",
}
GROUP_SORTS = ("calls", "failed", "share", "cost", "tokens", "seconds", "median", "p95", "first", "last")
# Groupings that have only tool calls, only LLM calls, and only failed calls.
_OF_TOOLS, _OF_LLMS, _OF_FAILED = ("tool", "arguments", "repeat"), ("model", "prompt"), ("error", "message")
_ALL = "all"
# Orders that need the durations of each call.
_BY_DURATION = ("median", "p95")
# A group of repeats has at least this many calls with the same arguments in one session.
_REPEATED = 2
# How many inputs of failed calls are listed with a group.
EXAMPLES = 3
# How many of a group's most frequent inputs are compared across projects.
_MOST_INPUTS = 1_000
_MEDIAN, _HIGH = 0.5, 0.95
_LEAST = -(1 << 63)


@dataclass(frozen=True)
class CallFilters:
    """The filters of calls; empty or None selects all.

    If a filter has several values, any may match; `*` stands for any characters, as in filters of sessions.
    """

    kind: str | None = None
    model: tuple[str, ...] = ()
    tool: tuple[str, ...] = ()
    error: tuple[str, ...] = ()  # classes of errors that calls failed with
    not_model: tuple[str, ...] = ()
    not_tool: tuple[str, ...] = ()
    not_error: tuple[str, ...] = ()
    argument: str | None = None  # a text that the arguments of a tool contain
    same: int | None = None  # the key of a tool with its arguments
    prompt: int | None = None  # the key of a prompt
    message: int | None = None  # the key of a group of similar error messages
    text: str | None = None  # words that the rows of a call contain; Source.matching has the calls that do
    part: str | None = None  # where the words are: one of call_search.PARTS
    failed: bool = False
    session: bytes | None = None
    id: bytes | None = None


def split(filters: Filters) -> tuple[dict[str, Any], Filters]:
    """Split filters into those of calls, as fields of CallFilters, and the others, which select sessions."""
    names = [*NAMED, *(f"{NOT}{name}" for name in NAMED)]
    of_calls = {name: getattr(filters, name) for name in (*names, "text")}
    return of_calls, filters._replace(**dict.fromkeys(names, ()), text=None)


def wanted(call_filters: CallFilters) -> Wanted | None:
    """Return the words that calls must contain, if any."""
    return None if call_filters.text is None else Wanted(call_filters.text, call_filters.part)


@dataclass(frozen=True)
class Source:
    """A project, the table of its calls, and the selected sessions (None for all)."""

    project: Project
    table: CallTable
    sessions: Sequence[bytes] | None
    is_running: Callable[[bytes], bool]
    matching: bytes | None = None  # a byte for each call: 1 if it has the words of CallFilters.text


class Place(NamedTuple):
    """The place of a call in an order, after which the next page begins."""

    value: int | None
    began_ns: int
    id: bytes

    def __str__(self) -> str:
        """Return it as text for a URL."""
        return f"{'' if self.value is None else self.value}_{self.began_ns}_{self.id.hex()}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Parse the text of a place; raise ConfigError if it is invalid."""
        value, _, rest = text.partition("_")
        began_ns, _, id = rest.partition("_")
        try:
            place = cls(int(value) if value else None, int(began_ns), bytes.fromhex(id))
        except ValueError as error:
            raise ConfigError(f"invalid place {text[:60]!r}: use `next` of the page before") from error
        if len(place.id) != 16 or not all(_LEAST <= each < -_LEAST for each in (place.value or 0, place.began_ns)):
            raise ConfigError(f"invalid place {text[:60]!r}: use `next` of the page before")
        return place


@dataclass
class Group:
    """Calls that have something in common."""

    key: int
    text: str  # what they have in common
    cut: bool  # the full text is longer
    parts: list[tuple[Source, _Sums]]
    is_open: bool = False  # one of its LLM calls never ended

    def sum(self, name: str) -> int:
        """Return a figure, summed over all its calls."""
        return sum(getattr(sums, name) for _, sums in self.parts)

    @property
    def share(self) -> float | None:
        """Return the share of its calls that failed; None if no call has ended."""
        calls = self.sum("calls")
        return self.sum("failed") / calls if calls else None

    @property
    def span_ns(self) -> tuple[int | None, int | None]:
        """Return when its first and its last call began."""
        if not self.parts:
            return None, None
        return min(sums.earliest_ns for _, sums in self.parts), max(sums.latest_ns for _, sums in self.parts)

    @property
    def first_failed_ns(self) -> int | None:
        """Return when the first of its calls that failed began."""
        return min((sums.first_failed_ns for _, sums in self.parts if sums.first_failed_ns is not None), default=None)

    def durations(self) -> list[int]:
        """Return the durations of its calls, in ascending order."""
        texts = [sums.durations for _, sums in self.parts if sums.durations]
        return sorted(encode.loads(f"[{','.join(texts)}]")) if texts else []

    def percentiles(self) -> tuple[int | None, int | None]:
        """Return the median and the 95th percentile of the durations."""
        return _percentiles(self.durations())


class Example(NamedTuple):
    """A call of a group, and how many calls had the same input; `failed`: it is one of the failed calls."""

    call: Call
    calls: int
    failed: bool


# The messages of up to this many calls are compared in full.
FEW = 20


class Failures(NamedTuple):
    """For a group of failed calls: their tools and models, and their messages, the most frequent ones first."""

    newest: Call | None
    called: list[tuple[str, str, int]]  # kind, tool or model, number of calls
    called_count: int
    messages: list[
        tuple[int, int, Call, Errors | None]
    ]  # key of similar messages, number of calls, the newest call, errors
    messages_count: int


class Groups(NamedTuple):
    """The first groups of an order, whether there are more, and for each its examples and failures."""

    first: list[Group]
    more: bool
    examples: list[list[Example]]
    failures: list[Failures]  # of groups of failed calls


# Pages


def page(
    sources: Sequence[Source], call_filters: CallFilters, *, sort: str, ascending: bool, after: Place | None, many: int
) -> tuple[list[Call], Place | None]:
    """Return the first calls after a place, and the place after which the next page begins (None at the end)."""
    places: list[tuple[Place, Source, int]] = []
    for source in sources:
        query = _Query(source, call_filters)
        value = query.sql[f"value_{sort}"]
        if after is not None:
            query.require(_after_condition(after, ascending=ascending), **after._asdict())
        text = query.text("page", VALUE=value, DIRECTION="asc" if ascending else "desc")
        for num, *place in source.table.ask(text, {**query.values, "many": many + 1}):
            places.append((Place._make(place), source, num))
    sign = 1 if ascending else -1
    places.sort(key=lambda each: (each[0].began_ns, each[0].id), reverse=True)
    places.sort(key=lambda each: (each[0].value is None, sign * (each[0].value or 0)))
    shown = places[:many]
    by_num = {(source.project.rank, call.num): call for source, call in _listed_calls(shown)}
    calls = [by_num[source.project.rank, num] for _, source, num in shown if (source.project.rank, num) in by_num]
    return calls, shown[-1][0] if len(places) > many else None


def _after_condition(after: Place, *, ascending: bool) -> str:
    if after.value is None:
        return "place_without_value"
    return "place_ascending" if ascending else "place"


def _listed_calls(shown: Iterable[tuple[object, Source, int]]) -> Iterator[tuple[Source, Call]]:
    """Yield the calls with given numbers in several tables."""
    numbers: dict[int, tuple[Source, list[int]]] = {}
    for _, source, num in shown:
        numbers.setdefault(source.project.rank, (source, []))[1].append(num)
    for source, nums in numbers.values():
        for call in _details(source, nums).values():
            yield source, call


def _details(source: Source, nums: Sequence[int]) -> dict[int, Call]:
    read = source.table.ask(source.table.sql["details"], {"nums": _json(nums)})
    return {call.num: call for call in (Call(source.project, *row) for row in read)}


# Groups


def total(sources: Sequence[Source], call_filters: CallFilters) -> Group:
    """Return all calls as one group."""
    groups = grouped(sources, call_filters, _ALL, sort="calls", many=1, examples=0).first
    return groups[0] if groups else Group(0, "", False, [])


def grouped(
    sources: Sequence[Source],
    call_filters: CallFilters,
    by: str,
    *,
    sort: str,
    many: int,
    examples: int = EXAMPLES,
    like: str = "",
) -> Groups:
    """Return the first groups of an order: the greatest value first, then the most calls.

    `like`: only groups (by one of NAMED) whose names contain this text.
    """
    queries = [_Query(source, _with_group_filters(call_filters, by)) for source in sources]
    for query in queries if like else ():
        query.require_like(by, like)
    if len(queries) == 1 and sort not in _BY_DURATION:
        read = _read_groups(queries[0], by, sort, many + 1)
        first = [Group(sums.key, sums.text, bool(sums.cut), [part]) for part in read for sums in part[1:]]
    else:
        first = _merged(queries, by, sort, many + 1)
    more = len(first) > many
    del first[many:]
    for query in queries:
        _mark_open(query, by, first)
    listed = _examples(queries, by, first, examples) if examples else [[] for _ in first]
    return Groups(first, more, listed, _failures(queries, by, first) if by in _OF_FAILED else [])


def speeds(source: Source) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the statement `speeds`: each model, each tool, and LLM calls without a model."""
    query = _Query(source, CallFilters())
    return source.table.stream(query.text("speeds"), query.values)


def _with_group_filters(call_filters: CallFilters, by: str) -> CallFilters:
    """Return the filters with those that a grouping implies."""
    kind = "tool" if by in _OF_TOOLS else "llm" if by in _OF_LLMS else call_filters.kind
    if call_filters.kind not in (None, kind):
        kind = ""  # matches no call
    call_filters = replace(call_filters, kind=kind)
    return replace(call_filters, failed=True) if by in _OF_FAILED else call_filters


def _read_groups(query: _Query, by: str, sort: str | None, many: int) -> Iterator[tuple[Source, _Sums]]:
    """Yield the sums of the groups of a project, sorted by their keys if no order is given."""
    columns = query.grouping(by)
    if by in _OF_LLMS:
        # A call without a model, or whose prompt was not recorded, is in no group.
        query.also.append(f"{columns['GROUP']} is not null")
    words = {"HAVING": f"calls >= {_REPEATED}" if by == "repeat" else "1", **columns}
    if by == _ALL:
        text = query.text("all")
    elif sort is None:
        text = query.text("groups_by_key", GROUPED=query.sql["grouped"], **words)
    else:
        text = query.text("groups", GROUPED=query.sql["grouped"], ORDER=query.sql[f"order_{sort}"], **words)
    for row in query.source.table.stream(text, {**query.values, "many": many}):
        yield query.source, _Sums._make(row)


def _merged(queries: Sequence[_Query], by: str, sort: str, many: int) -> list[Group]:
    """Return the first groups over several projects, without keeping the others in memory."""
    streams = [_read_groups(query, by, None, -1) for query in queries]

    def key(part: tuple[Source, _Sums]) -> tuple[int, int, int]:
        source, sums = part
        # A group of repeats is in one session, and so in one project.
        return (sums.key, sums.session and source.project.rank, sums.session)

    count = 0

    def groups() -> Iterator[tuple[float, int, int, Group]]:
        nonlocal count
        for _, parts in groupby(merge(*streams, key=key), key):
            listed = list(parts)
            group = Group(listed[0][1].key, listed[0][1].text, bool(listed[0][1].cut), listed)
            count += 1
            yield -_rank(group, sort), -group.sum("calls"), count, group

    first = nsmallest(many, groups(), key=lambda each: each[:3])
    return [group for *_, group in first]


def _rank(group: Group, sort: str) -> float:
    if sort == "share":
        return group.share or 0.0
    if sort in _BY_DURATION:
        median, high = group.percentiles()
        return (median if sort == "median" else high) or 0
    if sort in ("first", "last"):
        return group.span_ns[sort == "last"] or 0
    if sort == "tokens":
        return group.sum("tokens_in") + group.sum("tokens_out")
    return group.sum({"seconds": "took_ns"}.get(sort, sort))


def running(sources: Sequence[Source]) -> Callable[[Call], bool]:
    """Return a function that says whether a call is under way: it has no end, and its session runs."""
    source_of = {source.project.name: source for source in sources}
    under_way: dict[tuple[str, bytes], set[bytes]] = {}

    def is_running(call: Call) -> bool:
        key = call.project.name, call.session
        if call.finished or not source_of[key[0]].is_running(call.session):
            return False
        # Calls from before the session was resumed, or of a process that died, do not run any more.
        if key not in under_way:
            under_way[key] = {one.id for one in open_ends.at_work(call.project.snapshot(call.session))}
        return call.id in under_way[key]

    return is_running


def _mark_open(query: _Query, by: str, groups: Sequence[Group]) -> None:
    """Mark groups whose cost is a lower bound: an LLM call never ended, and its session is over."""
    if by in _OF_TOOLS or not any(group.sum("unfinished") for group in groups):
        return
    columns = query.grouping(by)
    is_over: dict[bytes, bool] = {}
    marked = set()
    for num, session, id in query.source.table.ask(query.text("open_llm_calls", **columns), query.values):
        if id not in is_over:
            is_over[id] = not query.source.is_running(id)
        if is_over[id]:
            marked.add((num, session))
    for group in groups:
        own = ((sums.num, sums.session) for source, sums in group.parts if source is query.source)
        group.is_open = group.is_open or any(each in marked for each in own)


def _examples(queries: Sequence[_Query], by: str, groups: Sequence[Group], most: int) -> list[list[Example]]:
    """Return for each group the inputs of its failed calls, the most frequent first; without any, its newest call."""
    inputs: list[dict[tuple[int, int], list[tuple[int, int, Source]]]] = [{} for _ in groups]
    for query in queries:
        source = query.source
        place = {
            (sums.num, sums.session): index
            for index, group in enumerate(groups)
            for owner, sums in group.parts
            if owner is source and sums.failed
        }
        if not place:
            continue
        text = query.text("failing_inputs", **query.grouping(by))
        values = {**query.values, "groups": _json(sorted({num for num, _ in place}))}
        left = dict.fromkeys(place.values(), _MOST_INPUTS)
        for num, session, args, error, calls, newest in source.table.stream(text, values):
            index = place.get((num, session), -1)
            if left.get(index, 0):
                left[index] -= 1
                inputs[index].setdefault((args, error), []).append((calls, newest, source))
    listed = [_first_inputs(group, of_group.values(), most) for group, of_group in zip(groups, inputs, strict=True)]
    calls = {(source.project.rank, call.num): call for source, call in _listed_calls(_flattened(listed))}
    return [
        [
            Example(call, count, count > 0)
            for count, num, source in inputs
            if (call := calls.get((source.project.rank, num)))
        ]
        for inputs in listed
    ]


def _failures(queries: Sequence[_Query], by: str, groups: Sequence[Group]) -> list[Failures]:
    """Return the failures of each group of failed calls."""
    counted = _counted(queries, by, groups)
    first = [sorted(messages.items(), key=lambda each: -each[1][0])[:EXAMPLES] for _, messages in counted]
    parts = [max(group.parts, key=lambda part: part[1].latest_ns) for group in groups]
    newest = [(source, sums.newest) for source, sums in parts]
    shown = [*newest, *((source, num) for messages in first for _, (_, source, num, _) in messages)]
    calls = {(source.project.rank, call.num): call for source, call in _listed_calls((None, *each) for each in shown)}
    return [
        Failures(
            calls.get((source.project.rank, num)),
            [(kind, name, many) for (kind, _, name), many in called.most_common(EXAMPLES)],
            len(called),
            [
                (key, many, call, errors if len(errors) == many <= FEW else None)
                for key, (many, owner, last, errors) in listed
                if (call := calls.get((owner.project.rank, last)))
            ],
            len(messages),
        )
        for (source, num), (called, messages), listed in zip(newest, counted, first, strict=True)
    ]


def _counted(
    queries: Sequence[_Query], by: str, groups: Sequence[Group]
) -> list[tuple[Counter[tuple[str, int, str]], dict[int, tuple[int, Source, int, Errors]]]]:
    """Count the failed calls of each group by tool or model, and by message.

    Each message comes with its newest call and, if there are few calls, with their errors.
    """
    counted: list[tuple[Counter[tuple[str, int, str]], dict[int, tuple[int, Source, int, Errors]]]]
    counted = [(Counter(), {}) for _ in groups]
    for query in queries:
        source = query.source
        place = {sums.num: at for at, group in enumerate(groups) for owner, sums in group.parts if owner is source}
        values = {**query.values, "groups": _json(sorted(place)), "few": FEW}
        lines = source.table.stream(query.text("failing_calls", **query.grouping(by)), values) if place else ()
        for num, message, kind, key, name, many, newest, errors in lines:
            called, messages = counted[place[num]]
            called[kind, key or 0, name or ""] += many
            before, owner, last, known = messages.get(message or 0, (0, source, 0, []))
            known += [(source.project, int(seq)) for seq in errors.split(",")] if errors else []
            # Compare numbers only within one table.
            messages[message or 0] = (before + many, source, max(newest, last) if owner is source else newest, known)
    return counted


def _first_inputs(
    group: Group, inputs: Iterable[list[tuple[int, int, Source]]], most: int
) -> list[tuple[int, int, Source]]:
    """Return the most frequent inputs over all projects; without any, the newest call of the group."""
    added = [(sum(calls for calls, _, _ in each), *each[-1][1:]) for each in inputs]
    if not added and group.parts:
        source, sums = max(group.parts, key=lambda part: part[1].newest)
        return [(0, sums.newest, source)]
    return sorted(added, key=lambda each: each[:2], reverse=True)[:most]


def _flattened(listed: Iterable[Iterable[tuple[int, int, Source]]]) -> Iterator[tuple[object, Source, int]]:
    return ((None, source, num) for inputs in listed for _, num, source in inputs)


def _percentiles(ordered: list[int]) -> tuple[int | None, int | None]:
    return analytics.percentile(ordered, _MEDIAN), analytics.percentile(ordered, _HIGH)


# Statements


class _Query:
    """A query of one project's table, with the conditions of a request."""

    def __init__(self, source: Source, call_filters: CallFilters) -> None:
        self.source = source
        self.sql = source.table.sql
        self.values: dict[str, object] = {}
        self.also: list[str] = []
        table = source.table
        self._require_names(call_filters)
        for dim, key in (
            ("prompt", call_filters.prompt),
            ("same", call_filters.same),
            ("message", call_filters.message),
        ):
            if key is not None:
                numbers = table.numbers_of("args" if dim == "same" else dim, [key])
                self.require(f"where_{dim}", **{dim: next(iter(numbers), 0)})
        if call_filters.argument:
            self._among("argument", _with_argument(source, call_filters.argument))
        if call_filters.failed:
            self.require("where_failed")
        if call_filters.session is not None:
            self.require("where_session", session=table.number_of_session(call_filters.session))
        if call_filters.id is not None:
            self.require("where_id", id=call_filters.id)
        if call_filters.text is not None:
            self.require("where_matching", matching=source.matching)
        if source.sessions is not None:
            self.require("where_sessions", sessions=table.mask(source.sessions))

    def _require_names(self, call_filters: CallFilters) -> None:
        if call_filters.kind is not None:
            self.require("where_kind", kind=call_filters.kind)
        for dim in NAMED:
            for name in (dim, f"{NOT}{dim}"):
                if values := getattr(call_filters, name):
                    self._among(name, _matching_names(self.source.table, Clause(dim, values)))

    def _among(self, name: str, values: Sequence[object]) -> None:
        self.require(f"where_{name}", **{name: _json(values)})

    def require(self, condition: str, **values: object) -> None:
        """Add a condition from call_table.sql, and its values."""
        self.also.append(self.sql[condition])
        self.values |= values

    def require_like(self, by: str, like: str) -> None:
        """Restrict to groups whose names contain a text."""
        self.also.append(self.sql["where_like"].replace("GROUP", self.sql[f"by_{by}"]))
        self.values |= {"dim": by, "like": like}

    def grouping(self, by: str) -> dict[str, str]:
        """Return the columns of a grouping."""
        return {"GROUP": self.sql[f"by_{by}"], "SESSION": "c.session" if by == "repeat" else "0"}

    def text(self, statement: str, **words: str) -> str:
        """Return a statement with its conditions and other words in capitals filled in."""
        text = self.sql[statement]
        conditions = "\n  and ".join(f"({each}\n)" for each in self.also) or "1"
        for word, replacement in {**words, "SUMS": self.sql["sums"], "CONDITIONS": conditions}.items():
            text = text.replace(word, replacement)
        return text


def _matching_names(table: CallTable, clause: Clause) -> list[int]:
    """Return the numbers of the names that match a filter."""
    named = table.ask("select num, text from label where dim = ?", (clause.dim,))
    return [num for num, text in named if clause.fits(text)]


def _with_argument(source: Source, text: str) -> list[int]:
    """Return the numbers of tools with arguments that contain a text; if the text is cut, read the journal."""
    numbers = []
    wanted = text.lower()
    for num, seq, has in source.table.ask(source.table.sql["with_argument"], {"argument": text}):
        if has or wanted in _arguments_at(source, seq).lower():
            numbers.append(num)
    return numbers


def _arguments_at(source: Source, seq: int) -> str:
    for (body,) in source.project.reader.ask("select body from event where seq = ?", (seq,)):
        plain = encode.loads(body or "{}")
        return arguments_text(plain.get("params") if isinstance(plain, dict) else plain)
    return ""


def _json(values: Iterable[object]) -> str:
    return encode.dumps(list(values)).decode()
