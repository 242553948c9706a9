"""Two sessions side by side: corresponding events are in one line, which shows their differences."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.decorators import operation, tool
from localops.reading.home import Home
from localops.server.compare import Side, aligned
from localops.server.home_reader import HomeReader


def _run(steps: Sequence[str], answer: str) -> bytes:
    """Record a session in which some tools are called, one after another, and then a model."""

    def nothing() -> None:
        pass

    @operation
    def plan() -> None:
        for step in steps:
            tool(name=step)(nothing)()
        localops.record(localops.LLMEvent(model="gpt-4o", prompt="why", completion=answer))

    session = localops.start_session()
    assert session is not None
    plan()
    session.end_session("Success")
    return session.session_id.bytes


@pytest.mark.parametrize(
    ("a", "b", "lines"),
    [
        (["x", "y"], ["x", "y"], ["x x", "y y"]),
        (["x", "y"], ["y"], ["x -", "y y"]),
        (["y"], ["x", "y", "z"], ["- x", "y y", "- z"]),
        (["x", "x"], ["x"], ["x x", "x -"]),
        (["x", "y"], ["y", "x"], ["y y", "x x (moved later)"]),
        ([], ["x"], ["- x"]),
    ],
)
def test_equal_calls_are_in_one_line(a: list[str], b: list[str], lines: list[str], tmp_path: Path) -> None:
    """The order counts: as few calls as possible stay alone, as in `localops diff`."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    sessions = [_run(a, "so"), _run(b, "so")]
    with Home(str(tmp_path)) as home:
        comparison: Any = aligned(*(Side(home.projects[0].reader, session) for session in sessions))
    lines_of_tools = [line for line in comparison["lines"] if line["kind"] == "tool"]
    assert [
        f"{line['name'] if line['a'] else '-'} {line['name'] if line['b'] else '-'}"
        + (f" (moved {line['moved']})" if line["moved"] else "")
        for line in lines_of_tools
    ] == lines
    assert {line["depth"] for line in lines_of_tools} <= {1}
    assert comparison["lines"][0]["kind"] == "operation"


def test_another_model_is_the_same_call(tmp_path: Path) -> None:
    """Its line names both models, and its marks are those of `localops diff`."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    sessions = []
    for model in ("gpt-4o-mini", "gpt-4o"):
        session = localops.start_session()
        assert session is not None
        tokens = {"prompt_tokens": 10_000, "completion_tokens": 1_000}
        session.record(localops.LLMEvent(model=model, prompt="why", completion="so", **tokens))  # type: ignore[arg-type]
        session.end_session("Success")
        sessions.append(session.session_id.bytes)
    with Home(str(tmp_path)) as home:
        comparison: Any = aligned(*(Side(home.projects[0].reader, session) for session in sessions))
    [line] = comparison["lines"]
    assert line["name"] == "gpt-4o-mini → gpt-4o"
    assert line["marks"] == ["changed", "costlier"]
    assert (comparison["counts"]["changed"], comparison["counts"]["added"]) == (1, 0)


def test_each_side_has_its_own_input(tmp_path: Path) -> None:
    """On a line, as lists of events show it."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    sessions = [_run(steps, "so") for steps in ([], ["x"])]
    with Home(str(tmp_path)) as home:
        comparison: Any = aligned(*(Side(home.projects[0].reader, session) for session in sessions))
    [call] = [line for line in comparison["lines"] if line["kind"] == "llm"]
    assert (call["a"]["preview"], call["b"]["preview"]) == ("why", "why")


def test_differences_are_shown(tmp_path: Path) -> None:
    """A line has both texts of an input or an output that differs, cut if they are long."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    sessions = [_run([], "north " * 2_000), _run([], "south")]
    with Home(str(tmp_path)) as home:
        comparison: Any = aligned(*(Side(home.projects[0].reader, session) for session in sessions))
    [call] = [line for line in comparison["lines"] if line["kind"] == "llm"]
    assert (call["input_differs"], call["output_differs"]) == (False, True)
    assert call["output"] == {
        "texts": ["north " * 2_000, "south"],
        "same_before": 0,
        "is_cut": False,
        "has_data": False,
    }
    assert call["a"]["cost_nano"] == call["b"]["cost_nano"]


def test_ids_and_times_are_no_differences(tmp_path: Path) -> None:
    """As for `localops diff`: the event is the same but for them, and its texts can still be looked at."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    sessions = []
    for request, to in (
        ("6f1c2a34-0d1b-4c55-9a57-2f7c1e0b9d11", "Ada"),
        ("b41d7f02-77aa-4e0e-8a3f-0c5d9e6f1a22", "Bo"),
    ):
        session = localops.start_session()
        assert session is not None
        session.record(localops.ToolEvent("look", params={"request_id": request, "what": "a"}, returns="ok"))
        session.record(localops.ToolEvent("send", params={"request_id": request, "to": to}, returns="ok"))
        session.end_session("Success")
        sessions.append(session.session_id.bytes)
    with Home(str(tmp_path)) as home:
        comparison: Any = aligned(*(Side(home.projects[0].reader, session) for session in sessions))
    look, send = comparison["lines"]
    assert (look["input_differs"], look["only_ids_differ"], look["marks"]) == (False, True, [])
    assert "6f1c2a34" in look["input"]["texts"][0]
    assert (send["input_differs"], send["only_ids_differ"]) == (True, False)
    assert (comparison["counts"]["same"], comparison["counts"]["same_but_ids"]) == (1, 1)


def test_an_id_in_the_input_of_both_runs_is_a_difference(tmp_path: Path) -> None:
    """It is shown with both ids, and without those that each run made up."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    users = ("6f1c2a34-0d1b-4c55-9a57-2f7c1e0b9d11", "b41d7f02-77aa-4e0e-8a3f-0c5d9e6f1a22")
    sessions = []
    for user in users:
        session = localops.start_session()
        assert session is not None
        session.record(localops.ToolEvent("users", returns=list(users)))
        session.record(localops.ToolEvent("pay", params={"request_id": f"for {user}", "user": user}, returns="ok"))
        session.end_session("Success")
        sessions.append(session.session_id.bytes)
    with Home(str(tmp_path)) as home:
        comparison: Any = aligned(*(Side(home.projects[0].reader, session) for session in sessions))
    pay = comparison["lines"][1]
    assert (pay["input_differs"], pay["only_ids_differ"], pay["marks"]) == (True, False, ["changed"])
    assert [[user in text for user in users] for text in pay["input"]["texts"]] == [[True, False], [False, True]]
    assert all("for" not in text for text in pay["input"]["texts"])


def test_a_difference_far_inside_long_texts_is_shown(tmp_path: Path) -> None:
    """Both sides begin a little before it, both as JSON in lines, and both are cut or neither."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    words = ["north"] * 3_000
    texts = [json.dumps({"words": words, "end": end}) for end in ("here", "there, or anywhere")]
    sessions = [_run([], text) for text in texts]
    with Home(str(tmp_path)) as home:
        comparison: Any = aligned(*(Side(home.projects[0].reader, session) for session in sessions))
    [call] = [line for line in comparison["lines"] if line["kind"] == "llm"]
    one, other = call["output"]["texts"]
    assert one.removesuffix('"here"\n}') == other.removesuffix('"there, or anywhere"\n}')
    assert (call["output"]["same_before"] > 30_000, call["output"]["is_cut"]) == (True, False)


def test_what_is_left_out_of_a_difference_is_marked(tmp_path: Path) -> None:
    """If the part that differs is too long, both are cut and marked."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    sessions = [_run([], "north " * 9_000), _run([], "south " * 9_000)]
    with Home(str(tmp_path)) as home:
        comparison: Any = aligned(*(Side(home.projects[0].reader, session) for session in sessions))
    [call] = [line for line in comparison["lines"] if line["kind"] == "llm"]
    assert ([len(text) for text in call["output"]["texts"]], call["output"]["is_cut"]) == ([16_384, 16_384], True)


def test_texts_inside_json_have_their_line_breaks(tmp_path: Path) -> None:
    """A backslash that was recorded before an n stays one."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    sessions = [_run([], json.dumps({"say": text})) for text in ('one\ntwo\t"x"', "one\\ntwo")]
    with Home(str(tmp_path)) as home:
        comparison: Any = aligned(*(Side(home.projects[0].reader, session) for session in sessions))
    [call] = [line for line in comparison["lines"] if line["kind"] == "llm"]
    first, second = call["output"]["texts"]
    assert (first, second) == ('{\n  "say": "one\ntwo\t\\"x\\""\n}', '{\n  "say": "one\\\\ntwo"\n}')


def test_a_failed_call_has_its_error(tmp_path: Path) -> None:
    """On the side on which it failed, shortened if it is very long."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    sessions = []
    for message in (None, "late " * 1_000):
        session = localops.start_session()
        assert session is not None
        call = localops.ToolEvent(name="route")
        session.record(call)
        if message:
            session.record(localops.ErrorEvent(trigger_event=call, error_type="TimeoutError", details=message))
        session.end_session("Success")
        sessions.append(session.session_id.bytes)
    with Home(str(tmp_path)) as home:
        comparison: Any = aligned(*(Side(home.projects[0].reader, session) for session in sessions))
    [line] = comparison["lines"]
    assert (line["a"]["failed"], line["a"]["error"]) == (False, None)
    assert line["b"]["failed"]
    assert line["b"]["error"] == ("TimeoutError: " + "late " * 1_000)[:2_000]


def test_made_up_ids_are_no_difference_beside_one(tmp_path: Path) -> None:
    """Those of requests and calls in later prompts are left out where the prompts differ, as by `localops diff`."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    sessions = [_conversation(run, word) for run, word in enumerate(("parcel", "letter"))]
    with Home(str(tmp_path)) as home:
        comparison: Any = aligned(*(Side(home.projects[0].reader, session) for session in sessions))
    texts = [line["input"]["texts"] for line in comparison["lines"]]
    assert [one.replace("parcel", "letter") == other for one, other in texts] == [True, True, True]
    for one, other in texts[1:]:
        assert "parcel" in one
        assert "letter" in other
        assert one.count("<id>") == 6


def _conversation(run: int, word: str) -> bytes:
    """Record a session in which each prompt has all earlier messages, with the ids that were made up for them."""
    session = localops.start_session()
    assert session is not None
    messages: list[dict[str, Any]] = [{"role": "user", "content": f"Where is the {word}?"}]
    for number in range(3):
        session.record(localops.LLMEvent(model="gpt-4o", prompt=list(messages), completion="so"))
        call, ident = f"call_{run}{number}", f"{run}1b2c3d4-0000-4000-8000-{number:012}"
        function = {"name": "look_up", "arguments": "{}"}
        asked = {"role": "assistant", "tool_calls": [{"id": call, "type": "function", "function": function}]}
        answer = f"{{'request_id': 'R{run}'}}\nfound by req-{run}a2b3c4d5e6f at {ident}\\n{ident}"
        if not number:
            messages += [asked, {"role": "tool", "tool_call_id": call, "content": answer}]
    session.end_session("Success")
    return session.session_id.bytes


def test_several_runs_are_in_one_table(tmp_path: Path) -> None:
    """With what is known of each run; nothing if one of them does not exist."""
    localops.init(home=str(tmp_path), auto_start_session=False)
    sessions = [_run(steps, "so") for steps in (["x", "y"], ["x"], ["x", "y"])]
    reader = HomeReader(str(tmp_path))
    facts = reader.compare_runs(None, sessions)
    assert facts is not None
    assert [one["tool_calls"] for one in facts["sessions"]] == [2, 1, 2]
    assert (facts["odd"], [row["groups"] for row in facts["rows"]]) == (1, [[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert reader.compare_runs(None, [*sessions, bytes(16)]) is None
