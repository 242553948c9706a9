"""`localops why`: the page, its JSON and its Markdown."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import runs
from tests import programs
from tests.server.uis import RealPages

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def failed() -> str:
    """Record a session in which a tool failed, and return its id."""
    session = localops.start_session(name="nightly")
    assert session is not None
    with pytest.raises(TimeoutError), session.operation("fetch", kind="tool", params={"url": "http://a"}):
        raise TimeoutError("no answer")
    session.end_session("Failure", "it was late")
    return str(session.session_id)


def test_the_page(failed: str, command: Command) -> None:
    """Heading, sections and sentences; the newest session is the default."""
    code, out, err = command("why")
    assert (code, err) == (0, "")
    assert out.startswith(f"nightly  Failure  {failed}\n\nHow it ended\n  Failure: the program ended the session with")
    assert "\nFirst error\n  TimeoutError: 'no answer', " in out
    assert command("why", failed[:13], "--format", "text")[1] == out


def test_numbers_are_the_same_through_every_door() -> None:
    """A pipe leaves out the separators of tables, and not those of sentences."""
    session = localops.start_session(name="long")
    assert session is not None
    session.record(localops.LLMEvent(model="gpt-4o-mini", prompt="p", prompt_tokens=842_120, completion_tokens=100))
    session.end_session("Success")
    with runs.opened() as past:
        page = past.session().why()["page"]
    assert any("842,120 tokens in" in sentence for section in page for sentence in section["sentences"])
    code = "import runpy; runpy.run_module('localops', run_name='__main__', alter_sys=True)"
    piped = programs.run(code, "why", "last", "--json").stdout
    assert json.loads(piped)["page"] == page
    assert "842,120 tokens in" in programs.run(code, "why", "last").stdout
    assert "842,120" not in programs.run(code, "sessions").stdout


def test_the_page_fits_a_terminal(failed: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentences are broken at the edge."""
    monkeypatch.setenv("COLUMNS", "40")
    lines = command("why")[1].splitlines()[1:]
    assert max(map(len, lines)) <= 40


def test_each_fact_has_its_event(command: Command) -> None:
    """The first error, what was in progress, the last call and answer and loops: `show --event` opens each of them."""
    programs.run(
        "import localops, os\nfrom localops.decorators import tool\nsession = localops.init()\n"
        "@tool\ndef look(): return 1\n@tool\ndef fetch(): raise LookupError('no page')\n"
        "for _ in range(4): look()\n"
        "try: fetch()\nexcept LookupError: pass\n"
        "session.record(localops.LLMEvent(model='gpt-4o', prompt='p', completion='yes'))\n"
        "look()\nwith session.operation('pay', kind='tool'): os.kill(os.getpid(), 9)\n"
    )
    _, text, _ = command("why")
    _, marked, _ = command("why", "--format", "md")
    document = json.loads(command("why", "--json")[1])
    ident = document["session_id"]
    facts = {
        "LookupError": document["first_error"],
        "'pay'": document["under_way"][0],
        "Last completed call": document["last_operation"],
        "Last model answer": document["last_answer"],
        "'look' was called 4 times": {"id": document["waste"]["loops"][0]["first"]},
    }
    linked = [event["id"] for section in document["page"] for event in section["events"] if event]
    for words, fact in facts.items():
        note = f"(event {fact['id'][:23]})"
        [line] = [line for line in text.splitlines() if note in line]
        assert words in line
        assert (note in marked, fact["id"] in linked) == (True, True)
        shown = json.loads(command("show", ident, "--event", fact["id"][:23], "--json")[1])
        assert fact["id"] in json.dumps(shown)
    assert text.endswith(f"\nAn event in full: `localops show {ident} --event ID`\n")


def test_the_markdown(failed: str, command: Command) -> None:
    """A heading for each section, an item for each sentence, recorded text as code."""
    _, out, _ = command("why", "--format", "md")
    assert out.startswith(f"# `nightly`: Failure\n\nSession `{failed}`")
    assert "\n## First error\n\n- `TimeoutError`: `no answer`, " in out


def test_the_document(failed: str, as_json: AsJson) -> None:
    """The facts behind the sentences."""
    document = as_json("why", "last")
    assert (document["session_id"], document["how"], document["state"]) == (failed, "declared", "Failure")
    assert (
        document["page"][0]["sentences"][0]
        == "Failure: the program ended the session with this state and the reason 'it was late'."
    )
    assert document["first_error"]["path"][0]["name"] == "fetch"


def test_what_it_refuses(failed: str, command: Command) -> None:
    """An unknown session, and two forms at once."""
    assert command("why", "ffffffff")[0] == 1
    assert command("why", "--json", "--format", "md")[0] == 2


def test_the_demo_has_a_page(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search that timed out was caught, and tried again with more patience."""
    monkeypatch.setenv("LOCALOPS_HOME", str(tmp_path / "demo"))
    assert command("demo")[0] == 0
    out = command("why")[1]
    assert "SearchTimeout: 'no answer within 10 ms'" in out
    assert "It was caught: workflow 'research', in which it happened, did not fail." in out
    assert " was called 2 more times; none of these calls failed. The next had other arguments." in out


def test_the_server_says_the_same(failed: str, as_json: AsJson) -> None:
    """`GET /api/1/sessions/<id>/why` has the keys and values of `--json`."""
    document = as_json("why", failed)
    with RealPages(Path(os.environ["LOCALOPS_HOME"])) as pages:
        read = pages.get(f"/api/1/sessions/{failed}/why").json
        assert pages.get(f"/api/1/sessions/{uuid.uuid4()}/why").status == 404
    for key in ("how", "first_error", "waste", "processes", "page"):
        assert read[key] == document[key]
