"""The input of an event on one line, for every kind, and for hostile bodies."""

from __future__ import annotations

import json
import urllib.parse
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localops import clock
from localops.journal import rows
from localops.reading.previews import LONGEST, line, result
from tests.server.hubs import RealHub, batch_of, session_rows

_PAGE = "https://shop.example/catalogue/" + "a" * 90 + "?page={}"
_HEAD = {"$blob": "0" * 64, "$len": 5_000_000, "head": "once upon\na time"}
_NAME = st.text() | st.sampled_from(["head", "$blob", "content", "type"])
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(_NAME, inside),
)
_BODY = st.dictionaries(st.sampled_from(["prompt", "params", "details", "role"]), _JSON) | _JSON


@pytest.mark.parametrize(
    ("kind", "body", "preview"),
    [
        ("tool", {"params": {"url": "https://a.b/?page=7", "timeout_s": 20}}, "url=https://a.b/?page=7 timeout_s=20"),
        ("tool", {"params": '{"q": "why"}', "returns": "because"}, "q=why"),
        ("action", {"params": {"deep": {"a": [1, None]}, "on": True}}, 'deep={"a":[1,null]} on=true'),
        ("operation", {"params": "two\n\u2028 words\t"}, "two words"),
        ("operation", {"params": [1, "x"]}, '[1,"x"]'),
        ("tool", {"params": {"story": _HEAD}}, "story=once upon a time"),
        ("tool", {"params": 0}, "0"),
        ("tool", {"returns": "nothing was given"}, ""),
        ("tool", {"params": {}}, ""),
        ("odd", "a text for a body", "a text for a body"),
        ("llm", {"prompt": "Why?", "completion": "So."}, "Why?"),
        ("llm", {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]}, "Why?"),
        ("llm", {"prompt": {"messages": [{"role": "user", "content": "Why?"}]}}, "Why?"),
        ("llm", {"prompt": [{"content": [{"type": "text", "text": "See"}, {"type": "image_url"}]}]}, "See [image_url]"),
        ("llm", {"prompt": [{"role": "user", "parts": [{"text": "Why?"}]}]}, "Why?"),
        ("llm", {"prompt": _HEAD}, "once upon a time"),
        ("llm", {"params": {"model": "m"}}, "model=m"),
        ("error", {"details": "no such animal", "logs": "Traceback"}, "no such animal"),
        ("error", {"details": {"status": 404}}, "status=404"),
        ("agent", {"role": "scout", "params": {"depth": 1}}, "scout"),
        ("agent", {"task": "look around"}, "look around"),
    ],
)
def test_a_line_shows_the_input(kind: str, body: Any, preview: str) -> None:
    """A line has arguments by name, the last words of a prompt, the message of an error, or the task of an agent."""
    assert line(kind, body) == preview


def test_a_loop_is_seen_in_addresses_that_are_long() -> None:
    """They differ at their end: it stays."""
    first, second = (line("tool", {"params": {"url": _PAGE.format(n), "timeout_s": 20}}) for n in (6, 7))
    assert first != second
    assert first.endswith("page=6 timeout_s=20")


@given(st.sampled_from(["llm", "tool", "error", "agent", "odd"]), _BODY)
def test_any_body_makes_one_short_line(kind: str, body: Any) -> None:
    """No valid JSON breaks it."""
    preview = line(kind, body)
    assert len(preview) <= LONGEST
    assert len(preview.splitlines()) <= 1


@pytest.mark.parametrize("opening", ["[", '{"content":'])
def test_a_body_can_be_as_deep_as_json_is_read(opening: str) -> None:
    """A line shows the beginning of a deep body."""
    deep = json.loads(opening * 900 + "1" + {"[": "]"}.get(opening, "}") * 900)
    assert len(line("llm", {"prompt": deep})) <= LONGEST
    shown = line("tool", {"params": {"x": deep}})
    assert shown.startswith("x=" + opening)
    assert len(shown) <= LONGEST


def _sent(running: RealHub, *more: tuple[str, int, str | None]) -> tuple[str, list[int]]:
    """Send one operation's rows to a hub; return the session, and the entries of its events."""
    sent = session_rows(1, body='{"prompt":"Why?"}')
    id, session = clock.new_id(), sent[0][2]
    sent += [rows.make(k, session, id=id, phase=p, at_ns=clock.now_ns(), body=b) for k, p, b in more]
    assert running.take(batch_of(sent))[0] == 200
    ident = str(uuid.UUID(bytes=session))
    events = running.ask("GET", f"/api/1/sessions/{ident}/events")[1]["events"]
    return ident, [event["entry"] for event in events]


def test_events_are_asked_for_by_their_seqs(running: RealHub) -> None:
    """In any order, also an operation that set its input only at its end; unknown ones are left out."""
    operation = ("tool", rows.OPEN, "{}"), ("tool", rows.DONE, '{"params":{"page":7}}')
    ident, (call, tool) = _sent(running, *operation)
    reply = running.ask("GET", f"/api/1/sessions/{ident}/previews?seqs={tool},99999999,{call},{call - 1}")[1]
    assert reply["previews"] == {str(tool): "page=7", str(call): "given: Why?"}


_CALLS = [
    {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "buy", "arguments": '{"id": 7}'}}]},
    {"role": "assistant", "content": [{"type": "tool_use", "name": "buy", "input": {"id": 7}}]},
    {"role": "model", "parts": [{"functionCall": {"name": "buy", "args": {"id": 7}}}]},
    [{"type": "function_call", "name": "buy", "arguments": '{"id": 7}', "call_id": "c"}],
]


@pytest.mark.parametrize("completion", _CALLS)
def test_an_answer_that_calls_a_tool_shows_the_call(completion: Any) -> None:
    """In the forms of OpenAI, Anthropic, Google and OpenAI's Responses."""
    assert result("llm", {"completion": completion}) == "→ buy id=7"


@pytest.mark.parametrize(
    ("completion", "shown"),
    [
        ("What happens to the **slope**?", "What happens to the slope?"),
        ("| t | v |\n|---|:-:|\n| 1 | 9.81 |\nSee?", "t | v | 1 | 9.81 | See?"),
        ("## Plan\n```python\nx = a**b**c\n```", "Plan x = a**b**c"),
        ("a | b", "a | b"),
        ("**", "**"),
    ],
)
def test_an_answer_is_shown_without_the_signs_of_markdown(completion: str, shown: str) -> None:
    """On one line they are in the way; what is no Markdown stays."""
    assert result("llm", {"completion": completion}) == shown


def test_model_calls_are_shown_by_their_answers(running: RealHub) -> None:
    """The answer is in the last row of a call; a running or failed call shows its input, marked as such."""
    halves = ("llm", rows.OPEN, '{"prompt":"Who?"}'), ("llm", rows.DONE, '{"completion":"An owl."}')
    ident, (bare, call) = _sent(running, *halves)
    reply = running.ask("GET", f"/api/1/sessions/{ident}/previews?seqs={bare},{call}")[1]
    assert reply["previews"] == {str(bare): "given: Why?", str(call): "An owl."}
    assert reply["pictures"] == {}


def test_events_of_another_session_have_no_preview(running: RealHub) -> None:
    """The previews of an event are only under its own session."""
    ident, _ = _sent(running)
    _, (other,) = _sent(running)
    assert running.ask("GET", f"/api/1/sessions/{ident}/previews?seqs={other}")[1]["previews"] == {}


def test_very_large_bodies_come_in_parts(running: RealHub) -> None:
    """A second request for the missing events gets them all."""
    ident, (call, _) = _sent(running, ("tool", rows.DONE, json.dumps({"params": "a" * (9 << 20)})))
    tool = running.ask("GET", f"/api/1/sessions/{ident}/events?kind=tool")[1]["events"][0]["entry"]
    path = f"/api/1/sessions/{ident}/previews?seqs="
    assert list(running.ask("GET", f"{path}{tool},{call}")[1]["previews"]) == [str(tool)]
    assert list(running.ask("GET", f"{path}{call}")[1]["previews"]) == [str(call)]


@pytest.mark.parametrize("seqs", ["", "1,x", "-1", "1,,2", "9" * 19, ",".join(["1"] * 201), "²"])
def test_an_invalid_list_of_events_is_refused(running: RealHub, seqs: str) -> None:
    """The reply explains the limit; 200 events are accepted."""
    ident, _ = _sent(running)
    status, reply = running.ask("GET", f"/api/1/sessions/{ident}/previews?seqs={urllib.parse.quote(seqs)}")
    assert (status, "at most 200" in reply["message"]) == (400, True)
    assert running.ask("GET", f"/api/1/sessions/{ident}/previews?seqs={','.join(['1'] * 200)}")[0] == 200
