"""Import of Claude Code's transcripts: sessions, calls with their prices, tools, subagents, each of them once."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from localops.coding import claude_code, importing
from localops.coding.recording import Project
from localops.config import Config
from localops.encoding.pricing import Prices, Usage
from localops.reading import analytics
from localops.reading.snapshot import Snapshot
from tests import programs
from tests.transcripts import SESSION, Claude, event, hook, text, tool, write
from tests.warm import localops

_LONG_AGO = (1_000_000_000, 1_000_000_000)
_MODEL = "claude-sonnet-4-5-20250929"


def _import(folder: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    done = localops("import", "--claude-code", folder, "--json", *options)
    return done.returncode, json.loads(done.stdout), done.stderr


def _events(session: str = SESSION) -> list[dict[str, Any]]:
    with programs.reader() as journal:
        return list(analytics.events(journal, uuid.UUID(session).bytes))


def _late(session: str = SESSION) -> int:
    with programs.reader() as journal:
        return Snapshot(journal, programs.project(), uuid.UUID(session).bytes).report().late


def _session(made: Claude) -> list[Any]:
    return [
        {"type": "summary", "summary": "Tides", "leafUuid": "x"},
        made.user("list the files"),
        made.answer("msg_1", {"type": "thinking", "thinking": "hm", "signature": "s"}, stop=None, output_tokens=1),
        made.answer("msg_1", text("I look."), stop=None, output_tokens=1),
        made.answer("msg_1", tool("toolu_1", "Bash", command="ls"), stop="tool_use"),
        made.result("toolu_1", "tides.py", toolUseResult={"stdout": "tides.py", "stderr": ""}),
        made.answer("msg_2", tool("toolu_2", "Read", file_path="/none"), stop="tool_use"),
        made.result("toolu_2", "File does not exist.", error=True, toolUseResult="Error: File does not exist."),
        made.answer("msg_3", text("One file.")),
    ]


def test_a_transcript_becomes_a_session(tmp_path: Path) -> None:
    """Prompts, calls with tokens and price, tools with arguments, results and errors."""
    write(tmp_path / "projects" / "-src-tides" / f"{SESSION}.jsonl", _session(Claude()))
    code, facts, stderr = _import(tmp_path / "projects")
    assert (code, stderr, facts["sessions"], facts["files"]) == (0, "", 1, 1)
    figures = programs.figures()
    assert (figures.llms, figures.tools, figures.errors, figures.actions) == (3, 2, 1, 1)
    usage = Usage(input=32_010, output=400, cached=30_000, cache_write=2_000)
    price = Prices().cost(_MODEL, usage, provider="anthropic", at_ns=1_763_632_800_000_000_000)
    assert price is not None
    assert figures.cost == 3 * price
    assert (figures.tokens_in, figures.tokens_out, figures.tokens_cached) == (96_030, 1_200, 90_000)
    by_name = {each["name"]: each for each in _events()}
    assert by_name["Bash"]["params"] == {"command": "ls"}
    assert by_name["Bash"]["returns"] == {"stdout": "tides.py", "stderr": ""}
    assert by_name["prompt"]["params"] == {"prompt": "list the files"}
    assert by_name["Read"]["failed"] in (True, 1)


def test_an_import_is_repeated_and_continued(tmp_path: Path) -> None:
    """The same transcript adds nothing; one that has grown adds the new lines."""
    lines = _session(Claude())
    path = write(tmp_path / f"{SESSION}.jsonl", lines[:5])
    assert _import(tmp_path)[1]["rows"] > 0
    assert _import(tmp_path)[1]["rows"] == 0
    write(path, lines)
    assert _import(tmp_path)[1]["rows"] > 0
    assert _import(path)[1]["rows"] == 0
    figures = programs.figures()
    assert (figures.llms, figures.tools, figures.errors, figures.actions) == (3, 2, 1, 1)
    assert programs.standing().derived


def test_a_transcript_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    """A second import skips what it knows, reads what has grown, and reads all once the journal lacks its rows."""
    made = Claude()
    path = write(tmp_path / "p" / f"{SESSION}.jsonl", _session(made))
    other = str(uuid.uuid4())
    write(tmp_path / "p" / f"{other}.jsonl", [Claude(other).user("hello")])
    _import(tmp_path)
    assert _read_and_unchanged(tmp_path) == (0, 2)
    with path.open("a") as file:
        file.write(json.dumps(made.user("and now?")) + "\n")
    assert _read_and_unchanged(tmp_path) == (1, 1)
    assert programs.figures(uuid.UUID(SESSION).bytes).actions == 2
    folder = Path(programs.project())
    for left in folder.glob("journal.db*"):
        left.unlink()
    assert _read_and_unchanged(tmp_path) == (2, 0)
    assert programs.figures(uuid.UUID(SESSION).bytes).actions == 2


def test_a_repaired_journal_gets_what_it_lost_from_the_transcripts(tmp_path: Path) -> None:
    """Also if the row that was its newest has survived."""
    write(tmp_path / "p" / f"{SESSION}.jsonl", _session(Claude()))
    _import(tmp_path)
    lose = "import apsw, sys; apsw.Connection(sys.argv[1]).execute(\"delete from event where kind = 'llm'\")"
    assert programs.run(lose, Path(programs.project()) / "journal.db").returncode == 0
    done = localops("repair", "--project", "default", "--replace")
    assert done.returncode == 3, done.stderr  # rows are lost
    assert programs.figures().llms == 0
    assert _read_and_unchanged(tmp_path) == (1, 0)
    assert programs.figures().llms == 3
    assert _read_and_unchanged(tmp_path) == (0, 1)


def _read_and_unchanged(folder: Path) -> tuple[int, int]:
    _, facts, _ = _import(folder)
    return facts["files"], facts["unchanged"]


def test_a_note_of_transcripts_that_is_damaged_is_ignored(tmp_path: Path) -> None:
    """It only spares work: without it, everything is read again."""
    write(tmp_path / "p" / f"{SESSION}.jsonl", _session(Claude()))
    _import(tmp_path)
    note = Path(programs.project()) / "transcripts.json"
    for damaged in (b"", b"[]", b'{"row": 5}', b'{"row": "zz", "files": {}}', b"\xff"):
        note.write_bytes(damaged)
        assert _read_and_unchanged(tmp_path) == (1, 0)
    assert programs.figures().llms == 3


def test_an_answer_that_is_still_written_waits(tmp_path: Path) -> None:
    """The tokens of an answer are known with its last line; until then it counts as no call."""
    made = Claude()
    lines = [made.user("hi"), made.answer("msg_1", text("He"), stop=None, output_tokens=1)]
    path = write(tmp_path / f"{SESSION}.jsonl", lines)
    _import(tmp_path)
    assert programs.figures().llms == 0
    write(path, [*lines, made.answer("msg_1", text("llo"))])
    _import(tmp_path)
    assert (programs.figures().llms, programs.figures().tokens_out) == (1, 400)


def test_an_old_transcript_without_stop_reasons_is_whole(tmp_path: Path) -> None:
    """A transcript that has not been written to for long is complete."""
    made = Claude()
    path = write(tmp_path / f"{SESSION}.jsonl", [made.user("hi"), made.answer("msg_1", text("Hello"), stop=None)])
    os.utime(path, ns=_LONG_AGO)
    _import(tmp_path)
    assert programs.figures().llms == 1


def test_an_unfinished_answer_counts_once_its_transcript_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transcript that was not whole at the import is read again, though nothing was written to it."""
    made = Claude()
    path = write(tmp_path / f"{SESSION}.jsonl", [made.user("hi"), made.answer("msg_1", text("Hello"), stop=None)])
    project = Project(Config.usable())
    try:
        assert claude_code.take(project, str(path)).files == 1
        monkeypatch.setattr(importing, "_SETTLED_NS", -1)
        assert claude_code.take(project, str(path)).rows > 0
        assert claude_code.take(project, str(path)).unchanged == 1
    finally:
        project.journal.close()
    assert programs.figures().llms == 1


def test_hooks_and_import_count_nothing_twice(tmp_path: Path) -> None:
    """Rows of the hooks do not change; the import adds the calls, and what happened before the hooks."""
    ls = {"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "toolu_1"}
    read = {"tool_name": "Read", "tool_input": {"file_path": "/none"}, "tool_use_id": "toolu_2"}
    for each in (
        event("SessionStart"),
        event("UserPromptSubmit", prompt="list the files"),
        event("PreToolUse", **ls),
        event("PostToolUse", **ls, tool_response={"stdout": "tides.py"}),
        event("PreToolUse", **read),
        event("SessionEnd", reason="exit"),
    ):
        hook(each)
    write(tmp_path / f"{SESSION}.jsonl", _session(Claude()))
    _import(tmp_path)
    figures = programs.figures()
    assert (figures.llms, figures.tools, figures.errors, figures.actions) == (3, 2, 1, 1)
    assert len(programs.sessions()) == 1
    assert (programs.standing().state, programs.standing().derived) == ("Success", False)
    assert _late() == 0  # it happened before the end, though it was written after it
    hook(event("PostToolUseFailure", **read, error="late"))
    assert (programs.figures().tools, programs.figures().errors) == (2, 1)


def test_a_fork_of_a_transcript_counts_its_calls_once(tmp_path: Path) -> None:
    """A resumed session that repeats earlier lines under its own id adds only the new ones."""
    write(tmp_path / f"{SESSION}.jsonl", _session(Claude()))
    other = "00000000-1c1e-4f43-9a57-0d1f3e5a7b10"
    made = Claude(other)
    write(tmp_path / f"{other}.jsonl", [*_session(made), made.user("more"), made.answer("msg_9", text("Yes."))])
    _import(tmp_path)
    total = [programs.figures(uuid.UUID(each).bytes) for each in (SESSION, other)]
    assert sum(figures.llms for figures in total) == 4
    assert sum(figures.tools for figures in total) == 2


def test_subagents_are_nested(tmp_path: Path) -> None:
    """A subagent with its own transcript belongs to the call that started it, and its calls to the subagent."""
    made, inner = Claude(), Claude(isSidechain=True, agentId="a1")
    task = tool("toolu_1", "Task", prompt="look around", subagent_type="Explore")
    main = [
        made.user("go"),
        made.answer("msg_1", task, stop="tool_use"),
        made.result("toolu_1", [text("found it")], toolUseResult={"agentId": "a1", "status": "completed"}),
        made.answer("msg_2", text("Done.")),
    ]
    own = [
        inner.user("look around"),
        inner.answer("msg_8", tool("toolu_8", "Grep", pattern="x"), stop="tool_use"),
        inner.result("toolu_8", "a.py"),
        inner.answer("msg_9", text("found it")),
    ]
    write(tmp_path / f"{SESSION}.jsonl", main)
    write(tmp_path / SESSION / "subagents" / "agent-a1.jsonl", own)
    assert _import(tmp_path)[:2][0] == 0
    events = _events()
    by_name = {each["name"]: each for each in events}
    agent = by_name["Explore"]
    assert (agent["kind"], agent["parent"]) == ("agent", by_name["Task"]["id"])
    assert by_name["Grep"]["parent"] == agent["id"]
    assert sum(each["kind"] == "llm" and each["parent"] == agent["id"] for each in events) == 2
    assert (programs.figures().llms, programs.figures().actions) == (4, 1)


def test_sidechains_of_older_transcripts_are_nested(tmp_path: Path) -> None:
    """They are in the same file, have no id, and are known by their prompt."""
    made, inner = Claude(), Claude(isSidechain=True)
    inner.second = 30
    lines = [
        made.user("go"),
        made.answer("msg_1", tool("toolu_1", "Task", prompt="look", subagent_type="Explore"), stop="tool_use"),
        inner.user("look"),
        inner.answer("msg_8", text("found")),
    ]
    made.second = 40
    write(tmp_path / f"{SESSION}.jsonl", [*lines, made.result("toolu_1", "found"), made.answer("msg_2", text("ok"))])
    _import(tmp_path)
    by_name = {each["name"]: each for each in _events()}
    assert by_name["Explore"]["parent"] == by_name["Task"]["id"]


def test_lines_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """By file and line; the others are imported, and a line that is being written is no problem."""
    lines = _session(Claude())
    broken = [*lines[:2], "{not json", "[]", {**lines[1], "timestamp": "soon"}, {**lines[1], "message": 7}, *lines[2:]]
    path = write(tmp_path / f"{SESSION}.jsonl", broken)
    with path.open("a") as file:
        file.write('{"type": "us')
    code, facts, stderr = _import(tmp_path)
    assert code != 0
    assert [problem.split(": ")[0] for problem in facts["problems"]] == [f"{path}:{n}" for n in (3, 4, 5, 6)]
    assert len(stderr.splitlines()) == 4
    assert programs.figures().llms == 3


def test_an_error_of_the_provider_is_an_error_and_no_call(tmp_path: Path) -> None:
    """Claude Code writes it as an answer of a model that does not exist."""
    made = Claude()
    failed = made.answer("x", text("API Error: 529 overloaded"), stop="stop_sequence")
    failed["message"]["model"] = "<synthetic>"
    write(tmp_path / f"{SESSION}.jsonl", [made.user("hi"), {**failed, "isApiErrorMessage": True}])
    _import(tmp_path)
    assert (programs.figures().llms, programs.figures().errors) == (0, 1)


def test_secrets_stay_out(tmp_path: Path) -> None:
    """An import is redacted like a recording, wherever in a long transcript a secret is."""
    key = "sk-ant-api03-" + "a1B2" * 20
    made = Claude()
    lines = [made.user(f"use {key}"), made.answer("msg_1", text(f"I use {key}."))]
    lines += [made.user(f"step {number}") for number in range(600)]
    lines += [made.user(f"again {key}"), made.answer("msg_2", text(f"I use {key} again."))]
    write(tmp_path / f"{SESSION}.jsonl", lines)
    _import(tmp_path)
    shown = json.dumps(_events())
    assert "use " in shown
    assert shown.count("step ") == 600
    assert key not in shown


def test_a_deleted_session_stays_deleted(tmp_path: Path) -> None:
    """An import does not restore what was deleted here."""
    write(tmp_path / f"{SESSION}.jsonl", _session(Claude()))
    _import(tmp_path)
    removed = localops("prune", "--session", SESSION, "--yes")
    assert removed.returncode == 0, removed.stderr
    assert _import(tmp_path)[1]["deleted"] == 1
    assert programs.sessions() == []


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    """With the path that was looked at."""
    done = localops("import", "--claude-code", tmp_path / "none")
    assert done.returncode == 1
    assert "does not exist" in done.stderr
