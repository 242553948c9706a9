"""The origins of small numbers and short texts in a failed call, and when no origin is claimed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import localops
from localops import ErrorEvent, LLMEvent, Session, ToolEvent
from localops.reading import post_mortem, post_mortem_page
from localops.reading.home import Home
from localops.reading.sentences import plain

if TYPE_CHECKING:
    from localops.reading.facts import Facts

Call = tuple[str, dict[str, Any], Any]

SHELVES = [{"id": 7, "zone": "b"}, {"id": 8, "zone": "c"}, {"id": 12, "zone": "d"}]


def run(calls: list[Call], failing: tuple[str, dict[str, Any]], *, prompt: str = "Tidy up.") -> Facts:
    """Record an LLM call, tool calls and one that fails, and return the post-mortem."""
    with localops.start_session(name="small") as session:
        session.record(LLMEvent(model="gpt-4o", prompt=prompt, completion="ok"))
        for name, given, returns in calls:
            session.record(ToolEvent(name=name, params=given, returns=returns))
        fail(session, *failing)
    with Home() as home:
        project, id = home.find("last")
        return post_mortem.of(project.name, project.snapshot(id), project.reader)


def fail(session: Session, name: str, params: dict[str, Any]) -> None:
    """Record a call that fails."""
    session.record(ErrorEvent(trigger_event=ToolEvent(name=name, params=params), exception=ValueError("refused")))


def origins(facts: Facts) -> list[tuple[str, str, str]]:
    """Return arguments, values and tools of the first error's origins."""
    return [(one["argument"], one["value"], one["name"]) for one in facts["first_error"]["origins"]]


@pytest.mark.parametrize(
    ("call", "failing", "argument"),
    [
        (("read_page", {"page": "tides"}, {"text": "…", "version": 40}), ("save", {"version": 40}), "version"),
        (("get_version", {"page": "tides"}, 40), ("save", {"version": 40, "force": True}), "version"),
        (("read_page", {}, 'page "tides", version: 40, open'), ("save", {"baseVersion": 40}), "baseVersion"),
        (("read_page", {}, '{"page_version": 40}'), ("save", {"version": 40}), "version"),
        (("find_customer", {"email": "a@b.example"}, {"id": 7}), ("charge", {"customer": 7, "n": 1}), "customer"),
        (("list", {}, {"orders": [{"id": 7}, {"id": 9}]}), ("ship", {"order_id": 9}), "order_id"),
        (("quote", {}, {"price": 19.5}), ("pay", {"price": 19.5}), "price"),
        (("find", {}, {"id": "C-1140"}), ("charge", {"from_id": "C-1140"}), "from_id"),
        (("build", {}, {"out": [48_153]}), ("stop", {"pid": 48_153}), "pid"),
    ],
)
def test_a_number_is_found_under_its_name(call: Call, failing: tuple[str, dict[str, Any]], argument: str) -> None:
    """Two calls before, in whatever form the tool returned it; a large one that is there once, under any name."""
    facts = run([call, ("look", {"at": "sea"}, "calm")], failing)
    assert origins(facts) == [(argument, str(failing[1][argument]), call[0])]


def test_two_entries_of_one_list_are_distinguished() -> None:
    """A text of one letter counts beside the number, and the page says which entry each is in."""
    facts = run([("list_shelves", {}, SHELVES)], ("move", {"id": 7, "zone": "c"}))
    assert [(one["value"], one["entry"]) for one in facts["first_error"]["origins"]] == [("7", 1), ("c", 2)]
    page = "\n".join(plain(one) for _, sentences in post_mortem_page.sections(facts) for one in sentences)
    assert "The argument 'id' ('7') was returned by tool 'list_shelves' in entry 1 of its list (" in page
    assert "The argument 'zone' ('c') was returned by tool 'list_shelves' in entry 2 of its list (" in page
    facts = run([("list_shelves", {}, SHELVES)], ("move", {"from_id": 7, "to_id": 12}))
    assert [(one["value"], one["entry"]) for one in facts["first_error"]["origins"]] == [("7", 1), ("12", 3)]
    facts = run([("list_shelves", {}, SHELVES)], ("move", {"id": 8, "zone": "c"}))
    assert [(one["value"], one["entry"]) for one in facts["first_error"]["origins"]] == [("8", None), ("c", None)]


def test_entries_of_long_values_are_distinguished() -> None:
    """Ids and large numbers have them as small ones do, together with these, and only those of one list."""
    bills = [
        {"invoice": "INV-2026-00017", "iban": "NL91ABNA0417164300", "customer": 7_000_007, "amount": 120},
        {"invoice": "INV-2026-00018", "iban": "DE89370400440532013000", "customer": 9_000_009, "amount": 990},
    ]

    def entries(returns: object, **given: object) -> list[int | None]:
        facts = run([("list_bills", {}, returns)], ("pay", given))
        return [one["entry"] for one in facts["first_error"]["origins"]]

    assert entries(bills, iban=bills[1]["iban"], invoice=bills[0]["invoice"], amount=990) == [2, 1, 2]
    assert entries(bills, customer=7_000_007, invoice="INV-2026-00018") == [1, 2]
    assert entries(bills, customer=9_000_009, invoice="INV-2026-00018") == [None, None]
    lists = {"open": [{"ref": "INV-2026-00017"}], "paid": [{"to": "none-000"}, {"to": "NL91ABNA0417164300"}]}
    assert entries(lists, ref="INV-2026-00017", to="NL91ABNA0417164300") == [None, None]


@pytest.mark.parametrize(
    ("calls", "failing"),
    [
        pytest.param([("search", {}, {"count": 10, "ok": True})], {"count": 10, "ok": True}, id="a count"),
        pytest.param([("search", {}, {"hits": 10, "took": 2})], {"limit": 10, "retry": 2}, id="another name"),
        pytest.param([("fetch", {}, {"status": 404})], {"status": 404}, id="a state"),
        pytest.param([("read", {}, {"version": 1})], {"version": 1}, id="a one"),
        pytest.param([("read", {}, {"zone": "b"})], {"zone": "b"}, id="a short text alone"),
        pytest.param([("read", {"version": 40}, {"version": 40})], {"version": 40}, id="given to the same call"),
        pytest.param(
            [("pin", {"version": 40}, "ok"), ("read", {}, {"version": 40})],
            {"version": 40},
            id="given to a call before",
        ),
        pytest.param(
            [("read_page", {}, {"version": 40}), ("read_tool", {}, {"version": 40})], {"version": 40}, id="two tools"
        ),
        pytest.param([("list_orders", {}, [{"id": 7}])], {"user_id": 7}, id="the id of something else"),
        pytest.param([("list_orders", {}, [{"owner_id": 7}])], {"id": 7}, id="the id of the owner"),
        pytest.param([("list_orders", {}, [{"parent_id": 7}])], {"id": 7}, id="the id of the parent"),
        pytest.param(
            [("read", {}, {"zone": "b"}), ("get", {}, {"version": 40})], {"zone": "b", "lines": 41}, id="not beside it"
        ),
        pytest.param([("when", {}, {"at": 2026, "n": 4096})], {"year": 2026, "size": 4096}, id="years and powers"),
        pytest.param(
            [("a", {}, {"x": 48_153}), ("b", {}, {"y": 48_153})], {"pid": 48_153}, id="a large number of two tools"
        ),
        pytest.param([("read", {}, {"version": "40"})], {"version": 40}, id="another type"),
        pytest.param([("read", {}, "version 40.1 of 2026")], {"version": 40}, id="a part of a number"),
    ],
)
def test_what_may_be_chance_is_not_claimed(calls: list[Call], failing: dict[str, Any]) -> None:
    """Small numbers are everywhere: they need a name of their own, and to be new in the run."""
    assert origins(run(calls, ("save", failing))) == []


def test_what_the_prompt_names_came_from_there() -> None:
    """The program asked for it, in whatever words."""
    calls: list[Call] = [("read", {"page": "x"}, {"version": 40})]
    assert origins(run(calls, ("save", {"version": 40}), prompt="Restore\nversion 40 of x.")) == []
    assert origins(run(calls, ("save", {"version": 40}), prompt="Restore version 140 of x.")) != []


def test_an_agent_at_work_makes_up_its_own_arguments() -> None:
    """Numbers of pages, limits and lines recur in results and arguments of an innocent run."""
    calls: list[Call] = []
    for page in range(1, 12):
        calls.append(
            ("search", {"q": "tide", "page": page, "limit": 10}, {"page": page, "total": 100, "next": page + 1})
        )
        calls.append(("read", {"path": f"a{page}.txt", "lines": 20}, f"line {page}: {page * 10} of 100"))
    for failing in ({"page": 12, "limit": 10}, {"lines": 20, "line": 11}, {"x": 2, "y": 100, "deep": False}):
        assert origins(run(calls, ("search", failing))) == []
