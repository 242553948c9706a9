"""Calls across sessions: against a computation in plain Python over all rows, and while others record."""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import clock
from localops.encoding import encode
from localops.errors import ConfigError
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading import analytics, call_facts, call_query, call_speeds, call_table, indexes
from localops.reading.call_query import CallFilters, Place, Source
from localops.reading.call_speeds import Speeds
from localops.reading.call_table import CallTable
from localops.reading.home import Home, Project
from tests import made

_MODELS = ("gpt-4o", "claude-sonnet-4-5", "my-own")
_TOOLS = ("search", "fetch", "")
_ERRORS = ("TimeoutError", "ValueError")


class _Program:
    """Rows of sessions, and what is known of each call in them."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.rows: list[rows.Row] = []
        self.calls: dict[bytes, dict[str, Any]] = {}
        self.sessions: list[bytes] = []

    def session(self, many: int) -> None:
        """A session of some calls; every third is without an end."""
        session = clock.new_id()
        self.sessions.append(session)
        self.rows.append(made.event("run", "session", session, id=session, body="{}"))
        for _ in range(many):
            (self.llm if self.chance.random() < 0.5 else self.tool)(session)
        if len(self.sessions) % 3:
            self.rows.append(made.event("Success", "end", session))

    def llm(self, session: bytes) -> None:
        """Return an LLM call in one row: some have no price, and some of these get one later."""
        chance = self.chance
        at = clock.now_ns()
        took = chance.randrange(10**9)
        cost = chance.choice([None, 0, chance.randrange(10**8)])
        known: dict[str, Any] = {
            "kind": "llm",
            "model": chance.choice(_MODELS),
            "began": at,
            "took": took,
            "first": chance.choice([None, 0.25, 1]),
            "tokens": (chance.randrange(1000), chance.randrange(100), chance.choice([None, 5]), None),
            "cost": cost,
            "prompt": chance.choice(["Be brief.", "Be kind.", None]),
            "failed": chance.random() < 0.1,
        }
        body: dict[str, Any] = {"prompt": [{"role": "user", "content": f"number {len(self.calls)}"}]}
        if known["prompt"]:
            body["prompt"].insert(0, {"role": "system", "content": known["prompt"]})
        if known["first"] is not None:
            body["time_to_first_token"] = known["first"]
        row = rows.make(
            "llm", session, id=clock.new_id(at), at_ns=at + took, start_ns=at, model=known["model"],
            tokens=known["tokens"], cost=cost, failed=1 if known["failed"] else None, body=encode.dumps(body).decode(),
        )  # fmt: skip
        self.add(session, row, known)
        if cost is None and chance.random() < 0.5:
            later = chance.randrange(10**8)
            price = {"parent": row[0], "cost": later, "model": known["model"]}
            self.rows.append(made.event("p", "price", session, body="{}", **price))
            self.calls[row[0]] |= {"cost": later, "is_priced": True}

    def tool(self, session: bytes) -> None:
        """A call of a tool in two rows; some never end, some fail, some by an error that is recorded later."""
        chance = self.chance
        at = clock.now_ns()
        args = {"query": chance.choice(["cats", "dogs", "Ünïcorns " * 400]), "n": chance.randrange(3)}
        known: dict[str, Any] = {"kind": "tool", "tool": chance.choice(_TOOLS), "args": args, "began": at}
        id, name = clock.new_id(at), known["tool"]
        opened = rows.make(
            "tool", session, id=id, at_ns=at, phase=rows.OPEN, name=name, body=encode.dumps({"params": args}).decode()
        )
        if chance.random() < 0.1:
            self.add(session, opened, {**known, "took": None, "failed": False, "cost": None})
            return
        how = chance.choice(["well", "well", "failed", "later"])
        known |= {"took": chance.randrange(10**9), "cost": None, "failed": how != "well"}
        self.rows.append(opened)
        failed = 1 if how == "failed" else None
        done = rows.make(
            "tool", session, id=id, at_ns=at + known["took"], start_ns=at, name=name, failed=failed, body="{}"
        )
        self.add(session, done, known)
        if how != "well":
            known["error"] = chance.choice(_ERRORS)
            known["message"] = ("no answer", "no route")[known["took"] % 2]
            details = f"{known['message']} for row {known['took']}"
            link = encode.dumps({"details": details, "trigger": {"kind": "tool", "name": name}}).decode()
            late = 1 if how == "later" else None
            self.rows.append(made.event(known["error"], "error", session, parent=id, failed=late, body=link))

    def add(self, session: bytes, row: rows.Row, known: dict[str, Any]) -> None:
        """Keep a row, and what is known of its call."""
        self.rows.append(row)
        self.calls[row[0]] = known
        known.update(session=session, id=row[0])


@contextmanager
def _sources(home: str, sessions: list[bytes] | None = None) -> Iterator[list[Source]]:
    """Open every project of a home with its table."""
    with Home(home) as opened:
        sources = []
        for project in opened.projects:
            table = CallTable(project.folder)
            table.extend(project.reader)
            sources.append(Source(project, table, sessions, lambda _: False))
        try:
            yield sources
        finally:
            for source in sources:
                source.table.close()


@pytest.fixture(scope="module", params=[1, 2], ids=["one project", "two projects"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, _Program]:
    """A home with many calls, in one or two projects."""
    home = tmp_path_factory.mktemp("calls")
    program = _Program(7)
    for number in range(request.param):
        first = len(program.rows)
        for _ in range(30):
            program.session(program.chance.randrange(12))
        journal = Journal(str(home / f"project-{number}"))
        journal.add(program.rows[first:])
        journal.close()
    return str(home), program


def _value(call: dict[str, Any], sort: str) -> int | None:
    if sort == "tokens":
        return sum(call["tokens"][:2]) if "tokens" in call else None
    if sort == "first_token":
        return round(call["first"] * 1e9) if call.get("first") is not None else None
    value: int | None = call[{"seconds": "took"}.get(sort, sort)]
    return value


def _in_order(calls: list[dict[str, Any]], sort: str, ascending: bool) -> list[bytes]:
    newest = sorted(calls, key=lambda call: (call["began"], call["id"]), reverse=True)
    known = [call for call in newest if _value(call, sort) is not None]
    known.sort(key=lambda call: _value(call, sort) or 0, reverse=not ascending)
    return [call["id"] for call in [*known, *(call for call in newest if _value(call, sort) is None)]]


def _read_all(sources: list[Source], call_filters: CallFilters, **order: Any) -> list[call_query.Call]:
    """Return every page of an order."""
    read: list[call_query.Call] = []
    after = None
    while True:
        listed, after = call_query.page(sources, call_filters, after=after, **{"ascending": False, "many": 7, **order})
        read += listed
        if after is None:
            return read
        after = Place.parse(str(after))


@pytest.mark.parametrize("sort", call_query.SORTS)
@pytest.mark.parametrize("ascending", [False, True])
def test_calls_are_listed_in_every_order(written: tuple[str, _Program], sort: str, ascending: bool) -> None:
    """Page by page, each call once, in the order of a sort of all calls; calls without the figure are last."""
    home, program = written
    with _sources(home) as sources:
        read = _read_all(sources, CallFilters(), sort=sort, ascending=ascending)
    assert [call.id for call in read] == _in_order(list(program.calls.values()), sort, ascending)
    for call in read:
        known = program.calls[call.id]
        assert (call.kind, call.session, call.model) == (known["kind"], known["session"], known.get("model"))
        assert (call.tool, call.began_ns, call.took_ns) == (known.get("tool"), known["began"], known["took"])
        assert (call.cost, call.failed, call.finished) == (known["cost"], known["failed"], known["took"] is not None)
        assert call.error == known.get("error")


_FILTERS: list[tuple[CallFilters, Any]] = [
    (CallFilters(kind="llm"), lambda call: call["kind"] == "llm"),
    (CallFilters(model=("gpt-4o", "my-own")), lambda call: call.get("model") in ("gpt-4o", "my-own")),
    (CallFilters(tool=("search",)), lambda call: call.get("tool") == "search"),
    (CallFilters(tool=("nothing",)), lambda _: False),
    (CallFilters(error=("TimeoutError",)), lambda call: call.get("error") == "TimeoutError"),
    (CallFilters(model=("gpt-*",)), lambda call: call.get("model") == "gpt-4o"),
    (CallFilters(not_model=("gpt-*", "my-own")), lambda call: call.get("model") in (None, "claude-sonnet-4-5")),
    (CallFilters(not_tool=("search",)), lambda call: call.get("tool") != "search"),
    (CallFilters(not_error=("Time*",)), lambda call: call.get("error") != "TimeoutError"),
    (CallFilters(failed=True), lambda call: call["failed"]),
    (CallFilters(argument="CATS"), lambda call: call.get("args", {}).get("query") == "cats"),
    (
        CallFilters(argument='"n":1', tool=("fetch",)),
        lambda call: call.get("tool") == "fetch" and call["args"]["n"] == 1,
    ),
    # Behind the part of the arguments that the table keeps.
    (CallFilters(argument='corns "}'), lambda call: len(call.get("args", {}).get("query", "")) > 100),
    (CallFilters(failed=True, kind="tool"), lambda call: call["failed"] and call["kind"] == "tool"),
]


@pytest.mark.parametrize(("call_filters", "fits"), _FILTERS)
def test_filters_choose_calls(written: tuple[str, _Program], call_filters: CallFilters, fits: Any) -> None:
    """The same calls as a look at every call finds."""
    home, program = written
    with _sources(home) as sources:
        read = _read_all(sources, call_filters, sort="cost")
        summed = call_query.total(sources, call_filters)
    chosen = [call for call in program.calls.values() if fits(call)]
    assert [call.id for call in read] == _in_order(chosen, "cost", False)
    assert summed.sum("calls") + summed.sum("unfinished") == len(chosen)
    assert summed.sum("cost") == sum(call["cost"] or 0 for call in chosen)


def test_sessions_choose_their_calls(written: tuple[str, _Program]) -> None:
    """All calls of the chosen sessions and no other, also with none chosen; and those of one session."""
    home, program = written
    some = program.sessions[::4]
    for sessions in (some, [], [clock.new_id()]):
        with _sources(home, sessions) as sources:
            read = {call.id for call in _read_all(sources, CallFilters(), sort="began")}
        assert read == {call["id"] for call in program.calls.values() if call["session"] in sessions}
    with _sources(home) as sources:
        read = {call.id for call in _read_all(sources, CallFilters(session=some[0]), sort="began")}
    assert read == {call["id"] for call in program.calls.values() if call["session"] == some[0]}


def _common(call: dict[str, Any], by: str) -> object:
    args = call_table.arguments_text(call.get("args"))
    return {
        "tool": call.get("tool"),
        "model": call.get("model"),
        "prompt": call.get("prompt", "") if call["kind"] == "llm" else None,
        "arguments": (call.get("tool"), args) if call["kind"] == "tool" else None,
        "error": call.get("error", "") if call["failed"] else None,
        "message": (call.get("error"), call.get("message")) if call["failed"] else None,
        "repeat": (call.get("tool"), args, call["session"]) if call["kind"] == "tool" else None,
    }[by]


def _brute_groups(program: _Program, by: str) -> dict[object, list[dict[str, Any]]]:
    groups: dict[object, list[dict[str, Any]]] = defaultdict(list)
    for call in program.calls.values():
        common = _common(call, by)
        if by == "prompt" and call["kind"] == "llm" and common is None:
            common = f"number {list(program.calls).index(call['id'])}"
        if common is not None:
            groups[common].append(call)
    if by == "repeat":
        return {common: calls for common, calls in groups.items() if _ended(calls) >= 2}
    return dict(groups)


def _ended(calls: list[dict[str, Any]]) -> int:
    return sum(call["took"] is not None for call in calls)


def _figures(calls: list[dict[str, Any]]) -> tuple[Any, ...]:
    took = sorted(call["took"] for call in calls if call["took"] is not None)
    ranks = [analytics.percentile(took, share) for share in (0.5, 0.95)]
    unpriced = sum(call["kind"] == "llm" and call["cost"] is None for call in calls)
    tokens = sum(sum(call["tokens"][:2]) for call in calls if "tokens" in call)
    failed = sum(call["failed"] for call in calls)
    began = [call["began"] for call in calls]
    cost = sum(call["cost"] or 0 for call in calls)
    first_failed = min((call["began"] for call in calls if call["failed"]), default=None)
    return (len(took), failed, cost, unpriced, tokens, sum(took), *ranks, min(began), max(began), first_failed)


# Where the figures of a group have what groups are sorted by.
_PLACES = {
    "calls": 0,
    "failed": 1,
    "cost": 2,
    "tokens": 4,
    "seconds": 5,
    "median": 6,
    "p95": 7,
    "first": 8,
    "last": 9,
}


@pytest.mark.parametrize("by", call_query.GROUPS)
def test_groups_have_the_figures_of_their_calls(written: tuple[str, _Program], by: str) -> None:
    """Every group with its calls, failures, money, tokens and exact percentiles, the greatest first."""
    home, program = written
    truth = sorted((_figures(calls) for calls in _brute_groups(program, by).values()), key=str)
    with _sources(home) as sources:
        whole, short = (
            {
                sort: call_query.grouped(sources, CallFilters(), by, sort=sort, many=many)
                for sort in call_query.GROUP_SORTS
            }
            for many in (10_000, 3)
        )
    for sort, listed in whole.items():
        few = short[sort]
        read: list[tuple[Any, ...]] = [
            (
                *(group.sum(name) for name in ("calls", "failed", "cost", "unpriced")),
                group.sum("tokens_in") + group.sum("tokens_out"),
                group.sum("took_ns"),
                *group.percentiles(),
                *group.span_ns,
                group.first_failed_ns,
            )
            for group in listed.first
        ]
        assert sorted(read, key=str) == truth, sort
        values = [
            (figures[1] / figures[0] if figures[0] else 0) if sort == "share" else figures[_PLACES[sort]] or 0
            for figures in read
        ]
        assert values == sorted(values, reverse=True), sort
        assert (listed.more, few.more) == (False, len(truth) > 3), sort
        assert [(group.key, group.text) for group in few.first] == [(g.key, g.text) for g in listed.first[:3]], sort


def test_a_group_tells_what_its_failed_calls_were_given(written: tuple[str, _Program]) -> None:
    """The most frequent inputs first, each with an example that failed; the filter of a group chooses its calls."""
    home, program = written
    with _sources(home) as sources:
        listed = call_query.grouped(sources, CallFilters(), "tool", sort="failed", many=10)
        lines = call_facts.groups("tool", listed, lambda *_: "run")["lines"]
        for by in ("arguments", "prompt"):
            groups = call_query.grouped(sources, CallFilters(), by, sort="calls", many=5)
            for line in call_facts.groups(by, groups, lambda *_: "run")["lines"]:
                keys: dict[str, Any] = {name: call_facts.key_of(key) for name, key in line["filter"].items()}
                read = _read_all(sources, CallFilters(**keys), sort="began")
                assert sum(call.finished for call in read) == line["calls"]
    for line in lines:
        failed = [call for call in program.calls.values() if call.get("tool") == line["tool"] and call["failed"]]
        times: dict[str, int] = defaultdict(int)
        for call in failed:
            times[f"{call['args']} {call['error']}"] += 1
        assert [one["calls"] for one in line["examples"]][:1] == sorted(times.values(), reverse=True)[:1]
        assert all(one["failed"] and one["error"] in _ERRORS and one["message"] for one in line["examples"])
        assert line["failed"] == len(failed)
        assert line["examples"][0]["input"].startswith(("query=", "n="))


def test_a_group_of_an_error_has_the_newest_message(written: tuple[str, _Program]) -> None:
    """With the time at which its calls began first and last."""
    home, _ = written
    with _sources(home) as sources:
        listed = call_query.grouped(sources, CallFilters(), "error", sort="calls", many=10)
        lines = [line for line in call_facts.groups("error", listed, lambda *_: "run")["lines"] if line["error"]]
        newest = [
            max(_read_all(sources, CallFilters(error=(line["error"],)), sort="began"), key=_began) for line in lines
        ]
        calls = call_facts.page(newest, None, lambda *_: "run", lambda _: False)["calls"]
    assert [(line["last"], line["message"]) for line in lines] == [(one["began"], one["message"]) for one in calls]
    assert all(line["message"] and line["first"] <= line["last"] for line in lines)


def test_a_group_of_an_error_has_its_messages_and_tools(written: tuple[str, _Program]) -> None:
    """Messages that differ only in numbers are one; each leads to its calls."""
    home, program = written
    with _sources(home) as sources:
        listed = call_query.grouped(sources, CallFilters(), "error", sort="calls", many=10)
        for line in call_facts.groups("error", listed, lambda *_: "run")["lines"]:
            calls = [call for call in program.calls.values() if call["failed"] and call.get("error") == line["error"]]
            messages = Counter(call.get("message") for call in calls)
            called = Counter((call["kind"], call.get("tool") or call.get("model")) for call in calls)
            known = {(one["message"] or "").partition(" for ")[0]: one["calls"] for one in line["messages"]}
            assert (known, line["messages_count"]) == (
                {key or "": many for key, many in messages.items()},
                len(messages),
            )
            assert line["called_count"] == len(called)
            assert [one["calls"] for one in line["called"]] == sorted(called.values(), reverse=True)[:3]
            assert all(called[one["kind"], one["name"] or None] == one["calls"] for one in line["called"])
            for one in line["messages"]:
                key = call_facts.key_of(one["filter"]["message"])
                assert len(_read_all(sources, CallFilters(message=key), sort="began")) == one["calls"]


def test_equal_messages_are_no_example_of_others(tmp_path: Path) -> None:
    """A number in a message may be another one in the next; where all were read, it is known whether it is."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    session = localops.start_session()
    assert session is not None
    for message in ("no seat in row 1", "no seat in row 2", *["no answer in 10 s"] * call_query.FEW):
        call = localops.ToolEvent(name="book")
        session.record(call)
        session.record(localops.ErrorEvent(trigger_event=call, error_type="OSError", details=message))

    def varying(by: str) -> dict[str, bool]:
        with _sources(str(tmp_path)) as sources:
            listed = call_query.grouped(sources, CallFilters(), by, sort="calls", many=10)
            lines = call_facts.groups(by, listed, lambda *_: "run")["lines"]
        return {one["message"]: one["message_varies"] for line in lines for one in line.get("messages", [line])}

    for by in ("error", "message"):
        assert varying(by) == {"no seat in row 2": True, "no answer in 10 s": False}
    call = localops.ToolEvent(name="book")
    session.record(call)
    session.record(localops.ErrorEvent(trigger_event=call, error_type="OSError", details="no answer in 10 s"))
    session.end_session("Failure")
    assert varying("error")["no answer in 10 s"], "too many to read all"


def _began(call: call_query.Call) -> int:
    return call.began_ns


def test_sums_are_those_of_analytics(written: tuple[str, _Program]) -> None:
    """Calls, failures, tokens, money and unpriced calls of models and tools equal the tables of `analytics`."""
    home, _ = written
    with _sources(home) as sources:
        for by in ("model", "tool"):
            listed = call_query.grouped(sources, CallFilters(), by, sort="calls", many=100)
            mine = {
                group.text: (group.sum("calls"), group.sum("failed"), group.sum("cost"), group.sum("unpriced"))
                for group in listed.first
            }
            lines = [line for each in sources for line in analytics.across(each.project.reader, by, analytics.Chosen())]
            theirs = {
                line.value or "": (line.events, line.failed, line.cost, line.unpriced)
                for line in analytics.together(by, lines)
            }
            assert mine == theirs


def test_the_view_has_the_same_calls(written: tuple[str, _Program]) -> None:
    """For `localops query`: with their figures, and the class of the error that each failed with."""
    home, program = written
    ended = {rows.id_text(call["id"]): call for call in program.calls.values() if call["took"] is not None}
    with _sources(home) as sources:
        listed = [row for each in sources for row in each.project.reader.ask(_VIEW)]
    assert len(listed) == len(ended)
    for id, kind, called, milliseconds, first, cost, failed, error in listed:
        known = ended[id]
        assert (kind, called) == (known["kind"], known.get("tool", known.get("model")))
        assert (round(milliseconds * 1e6), first) == (known["took"], known.get("first") and known["first"] * 1000)
        assert (cost and round(cost * 1e9), bool(failed), error) == (known["cost"], known["failed"], known.get("error"))


_VIEW = """select id, kind, coalesce(tool, model), milliseconds, first_token_milliseconds, cost_usd, failed, error
from call"""


def _open(folder: Path) -> tuple[Journal, Project, CallTable, Source]:
    journal = Journal(str(folder / "default"))
    journal.add([made.event("run", "session", id=made.SESSION, body="{}")])
    project = Home(str(folder)).projects[0]
    table = CallTable(project.folder)
    return journal, project, table, Source(project, table, None, lambda _: False)


def test_pages_hold_while_others_record(tmp_path: Path) -> None:
    """Each call that existed at the beginning is on one page, whatever is recorded meanwhile, in every order."""
    for sort in call_query.SORTS:
        journal, project, table, source = _open(tmp_path / sort)
        chance = random.Random(3)

        def record(many: int, journal: Journal = journal, chance: random.Random = chance) -> set[bytes]:
            fresh = [
                made.event(
                    "", "llm", model="m", cost=chance.randrange(4), tokens=(chance.randrange(4), 0, None, None),
                    start_ns=clock.now_ns() - chance.randrange(4), body='{"time_to_first_token":0.5}',
                )
                for _ in range(many)
            ]  # fmt: skip
            journal.add(fresh)
            return {row[0] for row in fresh}

        first = record(60)
        seen: list[bytes] = []
        after = None
        while True:
            table.extend(project.reader)
            listed, after = call_query.page([source], CallFilters(), sort=sort, ascending=False, after=after, many=5)
            seen += [call.id for call in listed]
            if after is None:
                break
            record(3 if len(seen) < 60 else 0)
        assert first <= set(seen)
        assert len(seen) == len(set(seen))
        table.close()
        project.close()
        journal.close()


def test_a_call_that_is_counted_elsewhere_goes(tmp_path: Path) -> None:
    """An LLM call that turns out to be a copy of a recorded one is removed."""
    journal, project, table, source = _open(tmp_path)
    id = clock.new_id()
    journal.add([made.event("", "llm", id=id, phase=rows.OPEN)])
    table.extend(project.reader)
    assert len(_read_all([source], CallFilters(), sort="began")) == 1
    journal.add([made.event("", "llm_copy", id=id)])
    table.extend(project.reader)
    assert _read_all([source], CallFilters(), sort="began") == []
    table.close()
    project.close()
    journal.close()


def test_rows_that_arrive_in_another_order_come_to_the_same(tmp_path: Path) -> None:
    """From another machine the end of a call may arrive before its beginning, and an error or a price before both."""
    program = _Program(11)
    for _ in range(12):
        program.session(8)
    shuffled = [row for row in program.rows if row[3] == "session"]
    rest = [row for row in program.rows if row[3] != "session"]
    random.Random(5).shuffle(rest)
    listed = []
    for name, written in (("straight", program.rows), ("shuffled", shuffled + rest)):
        journal = Journal(str(tmp_path / name / "default"))
        journal.add(written)
        journal.close()
        with _sources(str(tmp_path / name)) as sources:
            calls = _read_all(sources, CallFilters(), sort="cost")
            groups = call_query.grouped(sources, CallFilters(), "arguments", sort="calls", many=100)
            figures = sorted((group.key, group.sum("calls"), group.sum("failed")) for group in groups.first)
        own = ("project", "num", "seq", "error_seq")
        listed.append(([{k: v for k, v in call._asdict().items() if k not in own} for call in calls], figures))
    assert listed[0] == listed[1]


_CHARGE, _SETTLE, _ORDER = (clock.new_id() for _ in range(3))
_NESTED = [
    made.event("order", "tool", id=_ORDER, phase=rows.OPEN),
    made.event("settle", "tool", id=_SETTLE, phase=rows.OPEN, parent=_ORDER),
    made.event("charge", "operation", id=_CHARGE, phase=rows.OPEN, parent=_SETTLE),
    made.event("charge", "operation", id=_CHARGE, parent=_SETTLE, failed=1),
    made.event("LookupError", "error", parent=_CHARGE),
]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("ends", "errors"),
    [
        # The exception left both, each has an own one, it was caught in one, and in both.
        ([("settle", 1), ("order", 1)], ["LookupError", "LookupError"]),
        ([("settle", 1), ("KeyError", _SETTLE), ("order", 1), ("ValueError", _ORDER)], ["KeyError", "ValueError"]),
        ([("settle", None), ("order", 1)], [None, None]),
        ([("settle", None), ("order", None)], [None, None]),
    ],
)
def test_an_error_in_an_operation_is_that_of_the_calls_it_left(
    tmp_path: Path, ends: list[tuple[str, Any]], errors: list[str | None], at_once: bool
) -> None:
    """It is recorded once, in the innermost; all between have failed, and an error of the call itself counts first."""
    journal, project, table, source = _open(tmp_path)
    ids = {"settle": (_SETTLE, _ORDER), "order": (_ORDER, None)}
    ended = [
        made.event(name, "tool", id=ids[name][0], parent=ids[name][1], failed=of)
        if name in ids
        else made.event(name, "error", parent=of)
        for name, of in ends
    ]
    for batch in [[*_NESTED, *ended]] if at_once else [[row] for row in (*_NESTED, *ended)]:
        journal.add(batch)
        table.extend(project.reader)
    calls = {call.tool: call.error for call in _read_all([source], CallFilters(), sort="began")}
    assert [calls["settle"], calls["order"]] == errors
    table.close()
    project.close()
    journal.close()


def test_errors_in_operations_cost_the_same_each_however_many_there_are(tmp_path: Path) -> None:
    """Adding them takes steps of SQLite in proportion to their number, not to its square."""
    steps = []
    for many in (100, 400):
        journal, _, table, _ = _open(tmp_path / str(many))
        for _ in range(many):
            id = clock.new_id()
            failed = made.event("look", "tool", id=id, failed=1), made.event("KeyError", "error", parent=id)
            journal.add([made.event("look", "tool", id=id, phase=rows.OPEN), *failed])
        journal.fold()
        project = Home(str(tmp_path / str(many))).projects[0]
        counted = itertools.count()
        project.reader._connection.set_progress_handler(lambda counted=counted: next(counted) < 0, 10)  # type: ignore[misc]
        table.extend(project.reader)
        steps.append(next(counted))
        for each in (table, project, journal):
            each.close()
    assert steps[1] < 6 * steps[0]  # 4 times as many


def test_the_table_follows_another_journal_and_a_deletion(tmp_path: Path) -> None:
    """A row about a pruned session removes its calls; a deleted file is noticed, and made again."""
    journal, project, table, source = _open(tmp_path)
    gone = clock.new_id()
    journal.add([made.event("", "tool", gone), made.event("", "tool")])
    table.extend(project.reader)
    assert len(_read_all([source], CallFilters(), sort="began")) == 2
    journal.add([made.event("run", "pruned", rows.NO_SESSION, parent=gone)])
    table.extend(project.reader)
    assert [call.session for call in _read_all([source], CallFilters(), sort="began")] == [made.SESSION]
    before = table.is_current
    indexes.forget(project.folder)
    assert (before, table.is_current) == (True, False)
    assert not os.path.exists(os.path.join(project.folder, call_table.FILE))
    table.close()
    again = CallTable(project.folder)
    again.extend(project.reader)
    assert again.missing(project.reader) == 0
    again.close()
    project.close()
    journal.close()


def test_an_invalid_place_is_refused() -> None:
    """A text that no page gave."""
    for text in ("", "1", "x_1_00", "1_1_zz", f"{1 << 70}_1_{'00' * 16}", "1_2_3_4"):
        with pytest.raises(ConfigError, match="invalid place"):
            Place.parse(text)
    for key in ("", "zz", "0" * 15):
        with pytest.raises(ConfigError, match="invalid key"):
            call_facts.key_of(key)


def test_a_prompt_is_known_by_its_system_part(tmp_path: Path) -> None:
    """Whatever the user asks; and one that names the day or the run is the same on the next day."""
    journal, project, table, source = _open(tmp_path)
    day = 86_400 * 10**9
    for number in range(3):
        at = clock.now_ns() - number * day
        date = clock.iso(at)[:10]
        system = f"Today is {date}. Run {rows.id_text(clock.new_id())}."
        prompts = [[{"role": "system", "content": system}, {"role": "user", "content": f"{number}"}], f"Sum:\n{number}"]
        for prompt in prompts:
            body = encode.dumps({"prompt": prompt}).decode()
            journal.add([rows.make("llm", made.SESSION, id=clock.new_id(at), at_ns=at, body=body)])
    table.extend(project.reader)
    groups = call_query.grouped([source], CallFilters(), "prompt", sort="calls", many=10)
    assert {(group.text, group.sum("calls")) for group in groups.first} == {
        ("Today is <time>. Run <id>.", 3),
        ("Sum:", 3),
    }
    table.close()
    project.close()
    journal.close()


def test_a_single_group_has_its_whole_prompt(tmp_path: Path) -> None:
    """The table of calls has only its beginning."""
    journal, project, table, source = _open(tmp_path)
    body = encode.dumps({"system_instructions": "Be brief. " * 100, "prompt": "Why?"}).decode()
    journal.add([rows.make("llm", made.SESSION, id=clock.new_id(), at_ns=clock.now_ns(), body=body)])
    table.extend(project.reader)
    groups = call_query.grouped([source], CallFilters(), "prompt", sort="calls", many=10)
    [line] = call_facts.groups("prompt", groups, lambda *_: "run")["lines"]
    assert line["cut"]
    assert line["whole"] == "Be brief. " * 100
    table.close()
    project.close()
    journal.close()


def _ranks(values: list[int]) -> dict[str, float] | None:
    """Return the percentiles by counting: the least value that so large a share of all does not exceed."""
    if not values:
        return None
    ranked = {
        name: next(one for one in sorted(values) if 100 * sum(each <= one for each in values) >= share * len(values))
        for name, share in (("p50", 50), ("p90", 90), ("p99", 99))
    }
    return {name: value / 1e9 for name, value in ranked.items()}


def _speed(calls: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how fast calls were; running ones do not count, failed and unpriced ones do."""
    ended = [call for call in calls if call["took"] is not None]
    writing = [call for call in ended if call["took"] >= 10**8 and call.get("tokens") and call["tokens"][1] is not None]
    counted = [
        call["tokens"] for call in ended if call.get("tokens") and None not in (call["tokens"][0], call["tokens"][2])
    ]
    seconds, given = sum(call["took"] for call in writing) / 1e9, sum(tokens[0] for tokens in counted)
    return {
        "percentiles": _ranks([call["took"] for call in ended]),
        "first_token": _ranks([round(call["first"] * 1e9) for call in ended if call.get("first") is not None]),
        "tokens_per_second": sum(call["tokens"][1] for call in writing) / seconds if seconds else None,
        "cache_hit_rate": sum(tokens[2] for tokens in counted) / given if given else None,
    }


@pytest.mark.parametrize("by", call_speeds.BY)
def test_speeds_are_those_of_their_calls(written: tuple[str, _Program], by: str) -> None:
    """Of every model, tool and kind, with sessions chosen and without; of one that was never called, None."""
    home, program = written
    for sessions in (None, program.sessions[::3], []):
        of_names: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for call in program.calls.values():
            if call.get(by) is not None and (sessions is None or call["session"] in sessions):
                of_names[call[by]].append(call)
        with _sources(home, sessions) as sources:
            speeds = Speeds(sources)
        for name in (*_MODELS, *_TOOLS, *call_query.KINDS, "nothing"):
            assert speeds.facts(by, name) == _speed(of_names[name]), (by, name)
