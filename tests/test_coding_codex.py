"""Import of Codex's transcripts, and its hooks."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from localops.encoding.pricing import Prices, Usage
from localops.reading import analytics
from tests import programs
from tests.transcripts import SESSION, event, hook, write
from tests.warm import localops

_SECOND = {"input_tokens": 3_000, "cached_input_tokens": 2_000, "output_tokens": 100, "reasoning_output_tokens": 40}


def _lines() -> list[dict[str, Any]]:
    shell = {"type": "function_call", "name": "shell", "arguments": '{"command":["ls"]}', "call_id": "call_1"}
    patch = {"type": "custom_tool_call", "name": "apply_patch", "input": "*** Begin Patch", "call_id": "call_2"}
    output = json.dumps({"output": "no such file", "metadata": {"exit_code": 1, "duration_seconds": 0.1}})
    first = {**_SECOND, "cached_input_tokens": 0}
    both = {name: first[name] + _SECOND[name] for name in first}
    items = [
        ("session_meta", {"id": SESSION, "cwd": "/src/tides", "cli_version": "0.60.0", "model_provider": "openai"}),
        ("turn_context", {"cwd": "/src/tides", "model": "gpt-5.1"}),
        ("response_item", {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "<env>"}]}),
        ("event_msg", {"type": "user_message", "message": "list"}),
        ("response_item", shell),
        ("event_msg", {"type": "token_count", "info": {"total_token_usage": first, "last_token_usage": first}}),
        ("event_msg", {"type": "token_count", "info": {"total_token_usage": first, "last_token_usage": first}}),
        ("response_item", {"type": "function_call_output", "call_id": "call_1", "output": output}),
        ("response_item", patch),
        ("response_item", {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Done"}),
        ("response_item", {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Ok"}]}),
        ("event_msg", {"type": "token_count", "info": {"total_token_usage": both, "last_token_usage": _SECOND}}),
        ("event_msg", {"type": "token_count", "info": None}),
    ]
    return [
        {"timestamp": f"2026-11-20T10:00:{second:02}.000Z", "type": kind, "payload": payload}
        for second, (kind, payload) in enumerate(items)
    ]


def _import(folder: Path) -> tuple[int, dict[str, Any]]:
    done = localops("import", "--codex", folder, "--json")
    return done.returncode, json.loads(done.stdout)


def _write(tmp_path: Path, lines: list[Any]) -> Path:
    return write(tmp_path / "2026" / "11" / "20" / f"rollout-2026-11-20T10-00-00-{SESSION}.jsonl", lines)


def test_a_transcript_becomes_a_session(tmp_path: Path) -> None:
    """Prompts, calls with tokens and price, tools with arguments and results; and again: nothing new."""
    _write(tmp_path, _lines())
    code, facts = _import(tmp_path)
    assert (code, facts["sessions"], facts["problems"]) == (0, 1, [])
    figures = programs.figures()
    assert (figures.llms, figures.tools, figures.errors, figures.actions) == (2, 2, 1, 1)
    assert (figures.tokens_in, figures.tokens_out, figures.tokens_cached) == (6_000, 200, 2_000)
    uses = [Usage(input=3_000, output=100, cached=cached) for cached in (0, 2_000)]
    prices = [Prices().cost("gpt-5.1", usage, provider="openai", at_ns=1_795_168_800_000_000_000) for usage in uses]
    assert None not in prices
    assert figures.cost == sum(price or 0 for price in prices)
    with programs.reader() as journal:
        by_name = {each["name"]: each for each in analytics.events(journal, uuid.UUID(SESSION).bytes)}
    assert by_name["shell"]["params"] == {"command": ["ls"]}
    assert by_name["apply_patch"]["returns"] == "Done"
    assert _import(tmp_path)[1]["rows"] == 0


def test_an_import_continues(tmp_path: Path) -> None:
    """A tool that has no result yet is open, and closed by a later import."""
    _write(tmp_path, _lines()[:6])
    _import(tmp_path)
    assert (programs.figures().llms, programs.figures().tools) == (1, 0)
    with programs.reader() as journal:
        assert len(journal.all("unfinished", session=uuid.UUID(SESSION).bytes)) == 1
    _write(tmp_path, _lines())
    _import(tmp_path)
    assert (programs.figures().llms, programs.figures().tools) == (2, 2)


def test_hooks_and_import_count_nothing_twice(tmp_path: Path) -> None:
    """Codex's hooks have the form of Claude Code's, and its own ids."""
    call = {"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "call_1", "turn_id": "1"}
    for each in (event("UserPromptSubmit", prompt="list"), event("PreToolUse", **call)):
        assert hook(each, "codex").stderr == ""
    _write(tmp_path, _lines())
    _import(tmp_path)
    figures = programs.figures()
    assert (figures.llms, figures.tools, figures.actions) == (2, 2, 1)


def test_notify_is_recorded() -> None:
    """Codex's `notify` gives its event as the last argument."""
    given = {"type": "agent-turn-complete", "thread-id": SESSION, "turn-id": "1", "last-assistant-message": "Ok"}
    done = hook("", "codex", arguments=[json.dumps(given)])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with programs.reader() as journal:
        [note] = analytics.events(journal, uuid.UUID(SESSION).bytes)
    assert note["name"] == "agent-turn-complete"
    assert note["params"]["last_assistant_message"] == "Ok"


def test_lines_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """By file and line; the others are imported, and a line that is being written is no problem."""
    lines = _lines()
    broken = ["{not json", "[]", {**lines[1], "timestamp": "soon"}, {**lines[3], "payload": 7}]
    path = _write(tmp_path, [*lines[:2], *broken, *lines[2:]])
    with path.open("a") as file:
        file.write('{"type": "event')
    code, facts = _import(tmp_path)
    assert code != 0
    assert [problem.split(": ")[0] for problem in facts["problems"]] == [f"{path}:{n}" for n in (3, 4, 5, 6)]
    figures = programs.figures()
    assert (figures.llms, figures.tools) == (2, 2)
