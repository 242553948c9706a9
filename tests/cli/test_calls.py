"""`localops calls`: the questions that it answers, its tables and its JSON."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import localops
from localops import clock, output
from localops.decorators import tool
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading.analytics import Chosen
from localops.server.home_reader import HomeReader
from tests import made

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]
_NUMBERS = ("EU-1", "EU-1", "US-1", "EU-2")


@tool
def get_order(number: str) -> str:
    """Fail for orders of one kind."""
    if number.startswith("EU-"):
        raise LookupError("no such order")
    return "an order"


def _ask(model: str, tokens: int, cost: float | None = None) -> None:
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"{tokens} words, please"}]
    event = localops.LLMEvent(model=model, prompt=prompt, prompt_tokens=tokens, completion_tokens=1, cost=cost)
    localops.record(event)


@pytest.fixture
def sessions() -> list[localops.Session]:
    """Two sessions in two projects, with calls that fail, repeat, and cost something or have no price."""
    begun = []
    for name in ("first", "second"):
        session = localops.start_session([name], name=name, config=localops.Config(project=name))
        assert session is not None
        begun.append(session)
        for number in _NUMBERS:
            try:
                get_order(number)
            except LookupError:
                pass
        _ask("gpt-4o", 10, 0.5 if name == "first" else 0.25)
        _ask("my-own", 20)
        session.end_session("Success")
    return begun


def test_the_most_expensive_call_comes_first(sessions: list[localops.Session], as_json: AsJson) -> None:
    """With where it is, what it was given and what it cost; the next page begins behind it."""
    page = as_json("calls", "--sort", "cost", "--limit", "1")
    [dearest] = page["calls"]
    assert (dearest["model"], dearest["cost_usd"], dearest["input"]) == ("gpt-4o", 0.5, "10 words, please")
    assert (dearest["session_id"], dearest["session_name"]) == (str(sessions[0].session_id), "first")
    assert (dearest["project"], dearest["failed"], dearest["finished"]) == ("first", False, True)
    [following] = as_json("calls", "--sort", "cost", "--limit", "1", "--after", page["next"])["calls"]
    assert (following["model"], following["cost_usd"]) == ("gpt-4o", 0.25)
    least = as_json("calls", "--sort", "tokens", "--reverse", "--kind", "llm")["calls"]
    assert [call["tokens_in"] for call in least] == [10, 10, 20, 20]


def test_a_tool_that_fails_is_shown_with_its_inputs(sessions: list[localops.Session], as_json: AsJson) -> None:
    """Counted over all projects, the most frequent input first; money is as elsewhere."""
    [line] = as_json("calls", "--by", "tool")["lines"]
    assert (line["tool"], line["calls"], line["failed"], line["failed_share"]) == ("get_order", 8, 6, 0.75)
    assert [(one["input"], one["calls"]) for one in line["examples"]] == [("number=EU-1", 4), ("number=EU-2", 2)]
    assert {one["message"] for one in line["examples"]} == {"no such order"}
    [oldest, *_] = as_json("calls", "--failed", "--reverse", "--sort", "began")["calls"]
    assert line["first_failed"] == oldest["began"]
    models = {line["model"]: line for line in as_json("calls", "--by", "model")["lines"]}
    for theirs in as_json("analytics", "--by", "model")["lines"]:
        mine = models[theirs["model"]]
        assert mine["calls"] == theirs["events"]
        for name in ("failed", "tokens_in", "tokens_out", "cost_nano", "cost_usd", "unpriced", "cost_at_least"):
            assert mine[name] == theirs[name]


def test_an_error_has_its_message_and_its_times(
    sessions: list[localops.Session], as_json: AsJson, command: Command
) -> None:
    """As text and as JSON; the share of success has the number of sessions that it is of."""
    [line] = as_json("calls", "--by", "error")["lines"]
    began = [call["began"] for call in as_json("calls", "--failed", "--reverse", "--sort", "began")["calls"]]
    assert (line["message"], line["first"], line["last"]) == ("no such order", began[0], began[-1])
    out = command("calls", "--by", "error")[1]
    assert f"{line['error']}: no such order" in out
    assert (line["first"] in out, line["last"] in out) == (True, True)
    undecided = localops.start_session(name="open")
    assert undecided is not None
    undecided.end_session("Indeterminate")
    out = command("analytics")[1]
    assert f"100% of {len(sessions)} that ended as success or failure, 1 Indeterminate" in out


def test_a_tool_has_the_day_of_its_first_failure(command: Command) -> None:
    """Not that of its first or its last call."""
    journal = Journal(os.path.join(os.environ["LOCALOPS_HOME"], "default"))
    session, day = clock.new_id(), 86_400_000_000_000
    began = clock.now_ns() - 9 * day
    journal.add([rows.make("session", session, id=session, at_ns=began, name="long", body="{}")])
    for at, failed in ((began, 0), (began + 2 * day, 1), (began + 4 * day, 1), (began + 6 * day, 0)):
        journal.add([made.event("dig", "tool", session, at_ns=at, start_ns=at - 1, failed=failed, body="{}")])
    journal.close()
    assert f"dig, first failed {output.when(began + 2 * day)[:10]}" in command("calls", "--by", "tool")[1]


def test_figures_of_calls_are_those_of_the_pages(
    sessions: list[localops.Session], as_json: AsJson, command: Command
) -> None:
    """The success rate, percentiles, tokens a second and cache hits, of all sessions and of chosen ones."""
    reader = HomeReader(os.environ["LOCALOPS_HOME"])
    for options, chosen in (((), Chosen()), (("--tag", "first"), Chosen(tag="first"))):
        sums = as_json("analytics", *options)
        pages = reader.analytics(None, None, chosen, limit=1)
        assert sums["speeds"] | {"unread": 0} == reader.speeds(None, chosen)
        assert (sums["states"], sums["success_rate"]) == (pages["states"], pages["success_rate"])
        assert sums["states"] == {"Success": len(sessions) if not options else 1}
        for by in ("model", "tool", "kind"):
            lines = reader.analytics(None, by, chosen, limit=50)["lines"]
            assert as_json("analytics", "--by", by, *options)["lines"] == lines
    reader.close()
    _, out, _ = command("analytics", "--by", "model")
    assert "p99" in out.splitlines()[0]


def test_a_loop_is_found_across_sessions(sessions: list[localops.Session], as_json: AsJson) -> None:
    """The same call again in the same session, with where it is; its filter lists the calls."""
    lines = as_json("calls", "--by", "repeat")["lines"]
    assert [(line["tool"], line["arguments"], line["calls"]) for line in lines] == [
        ("get_order", '{"number":"EU-1"}', 2),
        ("get_order", '{"number":"EU-1"}', 2),
    ]
    assert {line["session_name"] for line in lines} == {"first", "second"}
    chosen = lines[0]["filter"]
    same = as_json("calls", "--session", chosen["session"], "--same", chosen["same"])["calls"]
    assert [call["input"] for call in same] == ["number=EU-1"] * 2
    [prompt] = as_json("calls", "--by", "prompt")["lines"]
    assert (prompt["prompt"], prompt["calls"]) == ("Be brief.", 4)
    assert len(as_json("calls", "--prompt", prompt["filter"]["prompt"])["calls"]) == 4


_FILTERS = [
    (("--failed",), 6),
    (("--failed", "--tag", "first"), 3),
    (("--tool", "get_*", "--argument", "us-1"), 2),
    (("--error", "LookupError", "--project", "second"), 3),
    (("--not-model", "gpt-*", "--kind", "llm"), 2),
    (("--text", "please", "--not-tag", "second", "--kind", "llm"), 2),
    (("--text", "such order", "--not-tag", "second"), 3),
    (("--text", "please", "--in", "answer"), 0),
    (("--model", "nothing"), 0),
    (("--min-cost", "0.3"), 6),
    (("--since", "2h", "--state", "Failure"), 0),
]


def test_filters_choose_calls_and_their_sessions(sessions: list[localops.Session], as_json: AsJson) -> None:
    """A model, a tool and an error are those of the call, everything else is of its session."""
    for options, many in _FILTERS:
        assert len(as_json("calls", *options)["calls"]) == many, options


def test_tables_can_be_read(sessions: list[localops.Session], command: Command) -> None:
    """Tables of calls and of groups, and a sentence if there are none."""
    code, out, _ = command("calls", "--failed", "--limit", "1", "--tag", "second")
    assert code == 0
    assert "tool get_order" in out
    assert "LookupError: no such order ← number=EU-2" in out
    assert "more: add --after " in out
    _, out, _ = command("calls", "--by", "tool", "--sort", "share")
    assert "6 (75%)" in out
    assert "get_order, first failed 20" in out
    assert "number=EU-1 ×4; number=EU-2 ×2" in out
    _, out, _ = command("calls", "--by", "model")
    assert "unpriced" in out
    for by in ("error", "arguments", "repeat", "prompt"):
        code, out, _ = command("calls", "--by", by)
        assert (code, len(out.splitlines()) > 2) == (0, True)
    assert command("calls", "--tool", "x")[1:] == ("", "localops: no call matches these filters\n")


@pytest.mark.parametrize(
    "options",
    [
        ("--sort", "nothing"),
        ("--by", "tool", "--sort", "began"),
        ("--by", "tool", "--reverse"),
        ("--by", "tool", "--after", "1_2_3"),
        ("--after", "x"),
        ("--same", "x"),
        ("--prompt", "0"),
    ],
)
def test_what_cannot_be_is_refused(
    sessions: list[localops.Session], command: Command, options: tuple[str, ...]
) -> None:
    """With the usual exit code, and nothing on stdout."""
    code, out, err = command("calls", *options)
    assert (code, out) == (2, "")
    assert "Error: " in err


def test_a_home_without_calls_says_so(command: Command, as_json: AsJson) -> None:
    """Without a session, and with one that has no call."""
    os.makedirs(os.environ["LOCALOPS_HOME"])
    _, out, err = command("calls")
    assert out == ""
    assert "no sessions yet" in err
    session = localops.init()
    assert session is not None
    session.end_session("Success")
    assert command("calls")[1:] == ("", "localops: no calls yet\n")
    assert as_json("calls", "--by", "tool")["lines"] == []


def test_prompts_that_begin_alike_are_listed_by_what_differs(as_json: AsJson, command: Command) -> None:
    """Also far behind the beginning that the table keeps; the sentence of the words is around them."""
    session = localops.start_session(name="reworded")
    assert session is not None
    rules = "\n".join(f"Rule {number}. Keep the words of a ticket as they are." for number in range(40))
    for word in ("short", "long"):
        system = {"role": "system", "content": f"{rules}\nAnswer in one {word} sentence. Sign it."}
        session.record(localops.LLMEvent(model="gpt-4o", prompt=[system, {"role": "user", "content": "?"}]))
    session.end_session("Success")
    lines = as_json("calls", "--by", "prompt")["lines"]
    places = {(line["differs"]["lead"], line["differs"]["text"], line["differs"]["tail"]) for line in lines}
    assert places == {("Answer in one", word, "sentence.") for word in ("short", "long")}
    assert {line["differs"]["after"] for line in lines} == {len(rules) + len("\nAnswer in one ")}
    out = command("calls", "--by", "prompt")[1]
    assert "Rule 0. Keep the words o… Answer in one short sentence." in out


def test_a_model_that_stopped_too_early_says_why(command: Command, as_json: AsJson) -> None:
    """In the list of calls, and in each view of the session; a complete answer has no such mark."""
    session = localops.start_session(name="cut")
    for reason in ("length", "stop"):
        session.record(localops.LLMEvent(model="o4", prompt="plan", completion="", finish_reason=reason))
    session.end_session("Success")
    assert [one["stopped"] for one in as_json("calls")["calls"]] == [None, "length"]
    assert command("calls")[1].count("stopped: length ← given: plan") == 1
    for view in ("--tree", "--events"):
        out = command("show", "last", view)[1]
        assert (out.count("stopped: "), out.count("stopped: length")) == (1, 1)
