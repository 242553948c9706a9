"""Read the loops and the failing tools of a session from its rows, and the cost of the repeated calls.

`loops.py` has the rules.  An LLM call belongs to the tool call that contains it, or to the agent's next tool call: if a
tool call is repeated, the LLM call that asked for it was wasted as well.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, namedtuple

from localops.clock import iso
from localops.encoding import encode
from localops.journal import rows
from localops.journal.sql import statements
from localops.reading import alike, analytics, facts, growing_prompts, loops, previews
from localops.reading.story import Story

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Any, NamedTuple

    from localops.journal.reader import Reader
    from localops.reading.facts import Facts
    from localops.reading.loops import Loop
    from localops.reading.snapshot import Snapshot

    class Spent(NamedTuple):
        """The cost of tool calls and the LLM calls that belong to them."""

        calls: int
        llm_calls: int
        tokens_in: int
        tokens_out: int
        cost: int
        unpriced: int

    class _Row(NamedTuple):
        """A row of the statement `calls`."""

        seq: int
        id: bytes
        phase: int
        kind: str
        name: str | None
        parent: bytes | None
        agent: bytes | None
        at_ns: int
        start_ns: int | None
        end_ns: int | None
        failed: int | None
        cost: int | None
        tokens_in: int | None
        tokens_out: int | None
        body: str | None
else:
    Spent = namedtuple("Spent", "calls llm_calls tokens_in tokens_out cost unpriced")
    _Row = namedtuple(
        "_Row", "seq id phase kind name parent agent at_ns start_ns end_ns failed cost tokens_in tokens_out body"
    )

# The last rows of a session to read, and bytes of their bodies.
MOST_ROWS = 200_000
MOST_BYTES = 128 << 20
# The same for pages that show more than loops.
BRIEF_ROWS = 20_000
BRIEF_BYTES = 32 << 20
# Entries per list, in a JSON document.
SHOWN = 100
# Names of tools per group.
_NAMES = 6
_PAGE = 5_000
# For a result with more bytes, only the digest is kept.
_LARGE = 4_000
CANCELLED = "CancelledError"
"""The error of a call whose task was cancelled."""
_SQL = "waste.sql"


class _Tool:
    """A tool call, from its rows read so far, and the LLM calls that belong to it."""

    __slots__ = (
        "agent", "began_ns", "call", "cost", "ended_ns", "error", "error_digest", "error_ns", "failed", "first_seq",
        "id", "input_seq", "last_seq", "message", "models", "name", "opened", "parent", "run",
    )  # fmt: skip

    def __init__(self, row: _Row, run: int) -> None:
        self.id, self.name, self.agent, self.parent, self.run = row.id, row.name or "", row.agent, row.parent, run
        self.first_seq = self.last_seq = self.input_seq = row.seq
        self.began_ns = row.at_ns if row.start_ns is None else row.start_ns
        self.ended_ns = row.at_ns
        self.opened: dict[str, Any] = {}
        self.cost = 0
        self.failed = False
        self.error: str | None = None
        self.error_digest: int | None = None
        self.error_ns = 0
        self.message: str | None = None
        self.models: list[_Model] = []
        self.call: loops.Call | None = None


class _Model:
    """The cost of an LLM call."""

    __slots__ = ("cost", "held_in", "tokens_in", "tokens_out")

    def __init__(self, row: _Row) -> None:
        self.held_in: list[_Model] = []
        self.cost, self.tokens_in, self.tokens_out = row.cost, row.tokens_in or 0, row.tokens_out or 0


class Waste:
    """The loops and the failing tools of a session."""

    def __init__(
        self,
        reader: Reader,
        session: bytes,
        *,
        polling: Collection[str] = (),
        brief: bool = False,
    ) -> None:
        self._reader, self._session = reader, session
        self._polling = frozenset(polling)
        self._tools: dict[bytes, _Tool] = {}
        self._models: dict[bytes, _Model] = {}
        # The LLM calls since each agent's last tool call.
        self._pending: dict[bytes | None, list[_Model]] = {}
        # The LLM calls inside operations whose row comes later: a call with one row is written when it ends.
        self._early: dict[bytes, list[_Model]] = {}
        # The errors of calls whose opening row is stored later, which an import may do.
        self._early_errors: dict[bytes, list[_Row]] = {}
        self._resumed: list[int] = []
        self.is_complete = True
        figures = analytics.totals(reader, session)
        self._period = loops.period_around(figures.first_ns, figures.last_ns)
        if figures.tools >= loops.ALARM or figures.failed:
            self._resumed = [one.at_ns for one in Story.read(reader, session).resumes]
            self._read(figures.rows, *((BRIEF_ROWS, BRIEF_BYTES) if brief else (MOST_ROWS, MOST_BYTES)))
        ended = [tool for tool in self._tools.values() if tool.call is not None]
        for tool in ended:
            assert tool.call is not None
            tool.call.failed, tool.call.error = tool.failed, tool.error_digest
            tool.call.inside = tool.parent if tool.parent in self._tools else None
        # Calls with a single row come in the order in which they ended.
        self._calls = sorted((tool.call for tool in ended if tool.call is not None), key=lambda call: call.began_ns)
        self.loops = loops.find(self._calls)
        self.failing = sorted((tool for tool in ended if tool.failed), key=lambda tool: (tool.ended_ns, tool.id))

    def _read(self, many: int, most_rows: int, most_bytes: int) -> None:
        """Read the rows of the session, or the last rows of a long one."""
        after = 0
        if many > most_rows:
            [(after,)] = self._ask("page_end", after=0, many=many - most_rows)
            self.is_complete = False
        size = 0
        while size < most_bytes:
            [(end,)] = self._ask("page_end", after=after, many=_PAGE)
            if end is None:
                return
            for row in map(_Row._make, self._ask("calls", after=after, many=_PAGE)):
                if row.body is not None:
                    size += len(row.body)
                self._add_row(row)
            after = end
        self.is_complete = False

    def _ask(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        return self._reader.ask(statements(_SQL)[name], {"session": self._session, **values})

    def _add_row(self, row: _Row) -> None:
        if row.kind == "tool":
            self._add_tool_row(row)
        elif row.kind == "llm":
            if row.phase == rows.DONE:
                self._add_model(row)
        elif row.kind == "price":
            model = self._models.get(row.parent or b"")
            if model is not None and row.cost is not None:
                model.cost = (model.cost or 0) + row.cost
                model.tokens_in += row.tokens_in or 0
                model.tokens_out += row.tokens_out or 0
        elif row.parent is not None and (tool := self._tools.get(row.parent)) is not None:
            self._add_error(row, tool)
        elif row.parent is not None:
            self._early_errors.setdefault(row.parent, []).append(row)

    def _add_tool_row(self, row: _Row) -> None:
        tool, body = self._tools.get(row.id), _load_body(row.body)
        if tool is None:
            tool = self._tools[row.id] = _Tool(row, bisect_right(self._resumed, row.at_ns))
            inner = self._early.pop(row.id, [])
            for model in inner:
                model.held_in.remove(model)
            tool.models = self._pending.pop(row.agent, [])
            tool.models += inner
        if row.phase == rows.OPEN:
            tool.opened, tool.input_seq = body, row.seq
            if tool.call is not None:
                # Its closing row was stored first, by an import or through the spill file.
                ended = _load_body(self._text(tool.last_seq))
                self._make_call(tool, ended, (tool.call.began_ns, tool.call.ended_ns))
            return
        tool.ended_ns, tool.last_seq, tool.cost = row.at_ns, row.seq, row.cost or 0
        tool.failed = tool.failed or bool(row.failed)
        for error in self._early_errors.pop(row.id, ()):
            self._add_error(error, tool)
        if body.get("ended_by"):
            tool.error = str(body["ended_by"])
            # Calls that were cancelled together do not count as having the same error.
            if tool.error != CANCELLED:
                tool.error_digest = loops.error_digest(tool.error, None, self._period)
        self._make_call(tool, body, (tool.began_ns, row.at_ns if row.end_ns is None else row.end_ns))
        assert tool.call is not None
        if len(row.body or "") > _LARGE:
            # Compute the digest now, so the result need not be kept. For other calls, it is rarely needed.
            _ = tool.call.outcome

    def _make_call(self, tool: _Tool, ended: dict[str, Any], times: tuple[int, int]) -> None:
        tool.call = loops.Call(
            tool.id,
            tool.name,
            tool.opened,
            ended,
            agent=tool.agent,
            waits=tool.name in self._polling,
            period=self._period,
            times=times,
            run=tool.run,
        )
        tool.opened = {}

    def _add_model(self, row: _Row) -> None:
        model = self._models[row.id] = _Model(row)
        around = self._tools.get(row.parent or b"")
        model.held_in = around.models if around is not None else self._pending.setdefault(row.agent, [])
        model.held_in.append(model)
        if around is None and row.parent is not None:
            self._early.setdefault(row.parent, []).append(model)

    def _add_error(self, row: _Row, tool: _Tool) -> None:
        details = _load_body(row.body).get("details")
        if tool.error_ns > row.at_ns:
            return  # a later one is known
        tool.error_ns = row.at_ns
        tool.failed = tool.failed or bool(row.failed)
        tool.error, tool.message = row.name, details if isinstance(details, str) else None
        tool.error_digest = loops.error_digest(row.name, details, self._period)

    def tools_of(self, calls: Iterable[loops.Call]) -> list[_Tool]:
        """Return the tool calls with these ids, as read."""
        return [self._tools[call.id] for call in calls]

    def spent(self, chosen: Iterable[Loop]) -> Spent:
        """Return the cost of the repeated calls in these loops, each call counted once."""
        wasted = {call.id: self._tools[call.id] for loop in chosen for call in loop.wasted}
        models = [model for tool in wasted.values() for model in tool.models]
        return Spent(
            len(wasted),
            len(models),
            sum(model.tokens_in for model in models),
            sum(model.tokens_out for model in models),
            sum(model.cost or 0 for model in models) + sum(tool.cost for tool in wasted.values()),
            sum(model.cost is None for model in models),
        )

    def alike(self, chosen: Iterable[Loop]) -> list[list[Loop]]:
        """Group loops of the same kind with the same tools and class of error, or with the same error."""
        return alike.grouped(chosen, self._tools_and_error, self._failure)

    def _tools_and_error(self, loop: Loop) -> tuple[object, ...]:
        error = self._failed_tool(loop)
        return loop.kind, tuple(loop.tools), None if error is None else error.error

    def _failure(self, loop: Loop) -> tuple[object, ...] | None:
        error = self._failed_tool(loop)
        return None if error is None or error.error_digest is None else (loop.kind, error.error_digest)

    def _failed_tool(self, loop: Loop) -> _Tool | None:
        return next((tool for tool in self.tools_of(loop.calls) if tool.failed), None)

    def group_facts(self, groups: Iterable[list[Loop]]) -> Iterator[Facts]:
        """Yield groups of loops as JSON, each with its first loop and what all its loops wasted."""
        for group in groups:
            tools = list(dict.fromkeys(name for loop in group for name in loop.tools))
            yield {
                "count": len(group),
                "tools": [_short(name) for name in tools[:_NAMES]],
                "tools_count": len(tools),
                "calls": sum(len(loop.all_calls) for loop in group),
                "wasted": _spent_facts(self.spent(group)),
                "first": next(self.loop_facts(group[:1])),
            }

    def loop_facts(self, chosen: Iterable[Loop]) -> Iterator[Facts]:
        """Yield these loops as JSON."""
        chosen = list(chosen)
        texts = {loop.agent: rows.id_text(loop.agent) for loop in chosen if loop.agent is not None}
        names = analytics.agent_names(self._reader, list(texts.values()))
        for loop in chosen:
            calls = self.tools_of(loop.all_calls)
            first, last = calls[0], calls[-1]
            error = self._failed_tool(loop)
            yield {
                "kind": loop.kind,
                "tools": [_short(name) for name in loop.tools],
                "agent": _short(names.get(texts[loop.agent])) if loop.agent is not None else None,
                "calls": len(calls),
                "rounds": loop.rounds,
                "only_alike": loop.only_alike,
                "then_changed": loop.then_changed,
                "failed": sum(tool.failed for tool in calls),
                "input": self._input(first),
                "given": len({tool.call.given for tool in calls if tool.call is not None}),
                "inputs": [self._input(tool) for tool in self.tools_of(loop.calls[: loop.period])],
                "error": None if error is None else _short(_error_text(error)),
                "messages": len({_error_text(tool) for tool in calls if tool.failed}),
                "wasted": _spent_facts(self.spent([loop])),
                "began": iso(first.began_ns),
                "ended": iso(last.ended_ns),
                "first": facts.full_id(first.id),
                "last": facts.full_id(last.id),
                "first_seq": first.first_seq,
                "last_seq": last.last_seq,
            }

    def failure_facts(self) -> Iterator[Facts]:
        """Yield the failures of tools as JSON, by tool, class of error and shape of arguments, most frequent first."""
        groups: dict[tuple[str, str | None, str], list[_Tool]] = {}
        for tool in self.failing:
            shape = loops.shape(self._body(tool).get("params"))
            groups.setdefault((tool.name, tool.error, shape), []).append(tool)
        of_tool: dict[str, int] = {}
        for tool in self._tools.values():
            of_tool[tool.name] = of_tool.get(tool.name, 0) + 1
        for (name, error, shape), tools in sorted(groups.items(), key=lambda group: -len(group[1])):
            last = tools[-1]
            yield {
                "tool": _short(name),
                "error": _short(error),
                "arguments": _short(shape),
                "failures": len(tools),
                "calls": of_tool[name],
                "message": _short(last.message),
                "input": self._input(last),
                "first_began": iso(tools[0].began_ns),
                "last_began": iso(last.began_ns),
                "last": facts.full_id(last.id),
                "last_seq": last.last_seq,
            }

    def never_worked(self) -> Iterator[Facts]:
        """Yield as JSON the tools that were called often and failed every time, with any errors."""
        ended = Counter(call.tool for call in self._calls)
        failed = Counter(tool.name for tool in self.failing)
        # A call is cancelled for reasons outside the tool.
        cancelled = Counter(tool.name for tool in self.failing if tool.error == CANCELLED)
        for name, many in failed.most_common():
            if many - cancelled[name] >= loops.OFTEN and many == ended[name]:
                yield {"tool": _short(name), "calls": many - cancelled[name]}

    def passed_over(self) -> Iterator[Facts]:
        """Yield as JSON the repeated calls that do not count as loops, as one of their tools is marked as polling."""
        many: dict[tuple[str, ...], int] = {}
        for loop in loops.passed_over(self._calls):
            tools = tuple(dict.fromkeys(loop.tools))
            many[tools] = many.get(tools, 0) + len(loop.all_calls)
        for tools, calls in many.items():
            yield {"tools": [_short(name) for name in tools], "calls": calls}

    def _input(self, tool: _Tool) -> str:
        return previews.line("tool", self._body(tool))

    def _body(self, tool: _Tool) -> dict[str, Any]:
        """Return the body of a call's opening row."""
        return _load_body(self._text(tool.input_seq))

    def _text(self, seq: int) -> str | None:
        """Return the body of a row as it is stored."""
        read = self._reader.ask("select body from event where seq = ?", (seq,))
        return read[0][0] if read else None


def of(
    project: str, seen: Snapshot, reader: Reader, *, polling: Collection[str] = (), shown: int | None = SHOWN
) -> Facts:
    """Return the loops and failing tools of a session as JSON, with at most `shown` entries per list; None for all."""
    is_bare = seen.story.metadata_only
    waste = Waste(reader, seen.id, polling=polling)
    # Without arguments and results, calls cannot be compared.
    chosen = [] if is_bare else waste.loops
    failures = list(waste.failure_facts())
    groups = waste.alike(chosen)
    of_failures = list(failure_groups(failures))
    return {
        "session_id": facts.full_id(seen.id),
        "project": project,
        "name": seen.story.name,
        "state": seen.standing.state,
        "tool_calls": seen.totals.tools or sum(one.kind == "tool" for one in seen.unfinished),
        "loops": list(waste.loop_facts(chosen[:shown])),
        "loops_count": len(chosen),
        "loop_groups": list(waste.group_facts(groups[:shown])),
        "loop_groups_count": len(groups),
        "alarming": sum(loop.is_alarming for loop in chosen),
        "wasted": _spent_facts(waste.spent(chosen)),
        "wasted_in_loops": _spent_facts(waste.spent(loop for loop in chosen if loop.kind != loops.HABIT)),
        "wasted_in_habits": _spent_facts(waste.spent(loop for loop in chosen if loop.kind == loops.HABIT)),
        "stopped": list(stopped_facts(reader, seen.id)) if chosen else [],
        "growing": growing_prompts.of(seen, reader),
        "passed_over": [] if is_bare else list(waste.passed_over())[:shown],
        "never_worked": list(waste.never_worked()),
        "failures": failures[:shown],
        "failures_count": len(failures),
        "failure_groups": of_failures[:shown],
        "failure_groups_count": len(of_failures),
        "complete": waste.is_complete and not is_bare,
    }


def stopped_facts(reader: Reader, session: bytes) -> Iterator[Facts]:
    """Yield the loops of a session that its program's `on_loop` stopped, oldest first."""
    for at_ns, body in reader.ask(statements(_SQL)["stopped"], {"session": session, "many": SHOWN}):
        params = _load_body(body).get("params")
        if isinstance(params, dict):
            yield stopped_loop(at_ns, params)


def stopped_loop(at_ns: int, params: dict[str, Any]) -> Facts:
    """Return a loop that `on_loop` stopped, from the row about it."""
    loop, error = (params.get(name) for name in ("loop", "error"))
    return {
        "at": iso(at_ns),
        "loop": _short(loop if isinstance(loop, str) else None),
        "error": _short(error if isinstance(error, str) else None),
    }


def brief(seen: Snapshot, reader: Reader, *, polling: Collection[str] = (), shown: int) -> Facts:
    """Return as JSON the `shown` loops of a session that wasted most calls, and the cost of all its loops.

    Of a long session, it compares fewer calls than `of`.
    """
    is_bare = seen.story.metadata_only
    waste = Waste(reader, seen.id, polling=polling, brief=True)
    matches = [] if is_bare else waste.loops
    alarming = sorted((loop for loop in matches if loop.is_alarming), key=lambda loop: -len(loop.wasted))
    groups = sorted(waste.alike(alarming), key=lambda group: -sum(len(loop.wasted) for loop in group))
    return {
        "loops": list(waste.loop_facts(alarming[:shown])),
        "loop_groups": list(waste.group_facts(groups[:shown])),
        "loop_groups_count": len(groups),
        "loops_count": len(alarming),
        "habits_count": len(matches) - len(alarming),
        "looped": _spent_facts(waste.spent(alarming)),
        "growing": growing_prompts.of(seen, reader),
        "all_compared": waste.is_complete and not is_bare,
    }


def failure_groups(failures: Iterable[Facts]) -> Iterator[Facts]:
    """Yield groups of failures with the same tool and class of error, or with the same error; each with its first."""
    for group in alike.grouped(failures, _tool_and_error, _error_and_message):
        calls = {one["tool"]: one["calls"] for one in group}
        yield {
            "count": len(group),
            "tools": list(calls)[:_NAMES],
            "tools_count": len(calls),
            "failures": sum(one["failures"] for one in group),
            "calls": sum(calls.values()),
            "message": max(group, key=lambda one: int(one["last_seq"]))["message"],
            "first": group[0],
        }


def _tool_and_error(failure: Facts) -> tuple[str, str | None]:
    return failure["tool"], failure["error"]


def _error_and_message(failure: Facts) -> tuple[str, str | None] | None:
    if not failure["error"]:
        return None
    return failure["error"], None if failure["message"] is None else loops.folded(failure["message"])


def is_alarming(loop: Facts) -> bool:
    """Return whether a loop is more than a habit."""
    return bool(loop["kind"] != loops.HABIT)


def _spent_facts(spent: Spent) -> Facts:
    return {
        "calls": spent.calls,
        "llm_calls": spent.llm_calls,
        "tokens_in": spent.tokens_in,
        "tokens_out": spent.tokens_out,
        **facts.cost(spent.cost, at_least=spent.unpriced > 0),
        "unpriced": spent.unpriced,
    }


def _error_text(tool: _Tool) -> str | None:
    return ": ".join(filter(None, (tool.error, tool.message))) or None


def _load_body(body: str | None) -> dict[str, Any]:
    try:
        value = encode.loads(body) if body else {}
    # A damaged body.
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {"params": value}


def _short(text: str | None) -> str | None:
    if text is None:
        return None
    text = text.strip().partition("\n")[0]
    return text if len(text) <= previews.LONGEST else f"{text[: previews.LONGEST - 1]}…"
