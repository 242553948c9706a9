"""Loops over HTTP: of one session, and the marks of a list; the same on a hub and on a user's own pages."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

import localops
from localops import clock
from localops.journal import rows
from localops.reading.home import Home
from localops.server import loop_marks
from localops.server.loop_marks import LoopMarks
from tests.server.hubs import RealHub, batch_of

_BODY = '{"params":{"q":"tides"},"returns":[]}'


def looping(times: int) -> tuple[str, list[rows.Row]]:
    """Return the id and the rows of a session in which a tool is called so often."""
    session = clock.new_id()

    def row(kind: str, **columns: object) -> rows.Row:
        return rows.make(kind, session, id=clock.new_id(), at_ns=clock.now_ns(), **columns)  # type: ignore[arg-type]

    made = [row("session", name="loud", parent=clock.new_id(), body="{}")]
    for _ in range(times):
        made += [row("llm", model="m", tokens=(9, 1, None, None), cost=10**9), row("tool", name="search", body=_BODY)]
    return str(uuid.UUID(bytes=session)), [*made, row("end", name="Success")]


def test_the_loops_of_a_session(running: RealHub) -> None:
    """The facts of `localops lint`, and its sentences."""
    ident, made = looping(4)
    assert running.take(batch_of(made))[0] == 200
    status, facts = running.ask("GET", f"/api/1/sessions/{ident}/loops")
    assert (status, facts["loops_count"], facts["alarming"], facts["complete"]) == (200, 1, 1, True)
    [loop] = facts["loops"]
    assert (loop["kind"], loop["tools"], loop["calls"]) == ("repeat", ["search"], 4)
    assert (loop["wasted"]["llm_calls"], loop["wasted"]["cost_usd"]) == (3, 3)
    assert facts["page"][0]["sentences"][0].startswith("[repeat] Tool 'search' was called 4 times in a row")
    assert running.ask("GET", f"/api/1/sessions/{uuid.uuid4()}/loops")[0] == 404


def test_the_marks_of_a_list(running: RealHub) -> None:
    """Sessions with loops have one, which follows new rows."""
    (loud, one), (calm, other) = looping(3), looping(2)
    assert running.take(batch_of(one + other))[0] == 200
    path = f"/api/1/loops?sessions={loud},{calm},{uuid.uuid4()}"
    wanted = {loud: {"loops": 1, "headline": "1 loop; wasted 2 tool calls, 2 LLM calls, 20 tokens, $2.00"}}
    for _ in range(2):
        facts = running.ask("GET", path)[1]
        assert (facts["marks"], facts["missing"]) == (wanted, [])
    more = rows.make("tool", uuid.UUID(calm).bytes, id=clock.new_id(), at_ns=clock.now_ns(), name="search", body=_BODY)
    assert running.take(batch_of([more]))[0] == 200
    assert sorted(running.ask("GET", path)[1]["marks"]) == sorted([loud, calm])
    assert running.ask("GET", "/api/1/loops?sessions=nonsense")[0] == 404
    assert running.ask("GET", "/api/1/loops?sessions=" + ",".join([loud] * 501))[0] == 400
    assert running.ask("GET", "/api/1/loops")[1]["marks"] == {}


def test_sessions_that_take_too_long_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known needs no time; the rest is for the next request."""
    session = localops.start_session()
    for _ in range(3):
        session.record(localops.ToolEvent(name="search", params={"q": "tides"}, returns=[]))
    id = session.session_id
    marks = LoopMarks()
    with Home() as home:
        monkeypatch.setattr(loop_marks, "_SECONDS", -1)
        assert marks.of(home, [id.bytes], ()) == {"marks": {}, "missing": [str(id)]}
        monkeypatch.setattr(loop_marks, "_SECONDS", 60)
        known = marks.of(home, [id.bytes], ())
        assert list(known["marks"]) == [str(id)]
        monkeypatch.setattr(loop_marks, "_SECONDS", -1)
        assert marks.of(home, [id.bytes], ()) == known
        # With other settings it is another question.
        assert marks.of(home, [id.bytes], ["search"])["missing"] == [str(id)]


def test_tools_that_poll_are_set_in_the_data_folder(running: RealHub) -> None:
    """A setting that is wrong is left out."""
    ident, made = looping(3)
    assert running.take(batch_of(made))[0] == 200
    settings = Path(running.data) / "config.toml"
    try:
        settings.write_text('polling = ["search"]\n')
        assert running.ask("GET", f"/api/1/sessions/{ident}/loops")[1]["loops"] == []
        settings.write_text("polling = 5\n")
        assert running.ask("GET", f"/api/1/sessions/{ident}/loops")[1]["loops_count"] == 1
    finally:
        settings.unlink()
