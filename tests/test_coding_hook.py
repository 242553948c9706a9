"""The hooks of coding agents: each event is a process of its own, and its row is written when it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from localops.reading import analytics
from tests import programs
from tests.transcripts import SESSION, event, hook


def _quietly(*events: dict[str, object], agent: str = "claude-code") -> None:
    for each in events:
        done = hook(each, agent)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _events() -> list[dict[str, Any]]:
    with programs.reader() as journal:
        return list(analytics.events(journal, uuid.UUID(SESSION).bytes))


def test_a_session_is_recorded_event_by_event() -> None:
    """Its start, a prompt, a tool call that opens and closes as one operation, its end."""
    call = {"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "toolu_1"}
    _quietly(event("SessionStart", source="startup", model="claude-sonnet-4-5"), event("UserPromptSubmit", prompt="go"))
    assert programs.sessions() == [uuid.UUID(SESSION).bytes]
    assert programs.standing().state == "Running"
    _quietly(event("PreToolUse", **call))
    assert programs.figures().tools == 0
    _quietly(event("PostToolUse", **call, tool_response={"stdout": "tides.py"}), event("Stop"))
    _quietly(event("SessionEnd", reason="logout"))
    standing = programs.standing()
    assert (standing.state, standing.reason, standing.derived) == ("Success", "claude-code: logout", False)
    kinds = [(each["kind"], each["name"]) for each in _events()]
    assert kinds == [("action", "prompt"), ("tool", "Bash"), ("action", "Stop")]
    figures = programs.figures()
    assert (figures.tools, figures.errors, figures.actions) == (1, 0, 2)


def test_a_failed_tool_is_an_error() -> None:
    """A failure is one failed call and one error, linked."""
    call = {"tool_name": "Bash", "tool_input": {"command": "false"}, "tool_use_id": "toolu_1"}
    _quietly(event("PreToolUse", **call), event("PostToolUseFailure", **call, error="exit code 1"))
    figures = programs.figures()
    assert (figures.tools, figures.errors) == (1, 1)


def test_calls_without_ids_are_matched_by_what_they_ask() -> None:
    """Two calls alike, one after the other and at once, are two calls, each opened and closed once."""
    call = {"tool_name": "Bash", "tool_input": {"command": "ls"}}
    before, after = event("PreToolUse", **call), event("PostToolUse", **call, tool_response="a")
    _quietly(before, after, before, before, after, after)
    assert programs.figures().tools == 3
    with programs.reader() as journal:
        assert journal.all("unfinished", session=uuid.UUID(SESSION).bytes) == []


def test_an_event_that_comes_twice_counts_once() -> None:
    """A hook that is installed for the user and for the project runs twice for each event."""
    call = {"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "toolu_1"}
    before, after = event("PreToolUse", **call), event("PostToolUse", **call, tool_response="a")
    _quietly(before, before, after, after)
    assert programs.figures().tools == 1


# Two programs that have looked before either has written.
_AT_ONCE = """
import json, sys
from localops.coding import hook, recording
sys.stdin.readline()
has = recording.Project.has
def blind(project, id, phase=0):
    answer = has(project, id, phase)
    if not getattr(project, "met", False):
        project.met = True
        print("looked", flush=True)
        sys.stdin.readline()
    return answer
recording.Project.has = blind
sys.exit(hook.main(["claude-code", sys.argv[1]]))
"""


def test_hooks_that_run_at_the_same_time_write_one_row_each() -> None:
    """Two hooks that both see no session begin one; a row that another wrote meanwhile is not written again."""
    given = json.dumps(event("SessionStart"))
    both = [programs.start(_AT_ONCE, given) for _ in range(2)]
    for each in both:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
        assert programs.first_line(each) == "looked\n"
    for each in both:
        _, err = each.communicate("\n", timeout=60)
        assert (each.returncode, err) == (0, "")
    with programs.reader() as journal:
        [(rows,)] = journal.ask("select count(*) from event where kind = 'session'")
    assert rows == 1


def test_a_subagent_is_nested() -> None:
    """Events of a subagent belong to it, and it belongs to the call that started it."""
    task = {"tool_name": "Task", "tool_input": {"prompt": "look"}, "tool_use_id": "toolu_1"}
    inner = {"tool_name": "Read", "tool_input": {"file_path": "a"}, "tool_use_id": "toolu_2"}
    who = {"agent_id": "a1", "agent_type": "Explore"}
    _quietly(event("PreToolUse", **task), event("SubagentStart", **who))
    _quietly(event("PreToolUse", **inner, **who), event("PostToolUse", **inner, **who, tool_response="x"))
    _quietly(event("SubagentStop", **who, last_assistant_message="done"), event("PostToolUse", **task))
    by_name = {each["name"]: each for each in _events()}
    assert by_name["Explore"]["kind"] == "agent"
    assert by_name["Read"]["parent"] == by_name["Explore"]["id"]
    assert by_name["Explore"]["parent"] == by_name["Task"]["id"]


# What an agent would do: it runs the hook, and is killed.
_AGENT = """
import json, os, subprocess, sys, time
hook = [sys.executable, "-c", "from localops.__main__ import main; main()", "hook", "claude-code"]
for event in json.loads(sys.argv[1]):
    subprocess.run(hook, input=json.dumps(event), text=True, check=True)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_session_whose_agent_died_is_derived() -> None:
    """While the agent's process runs, so does the session; when it is killed, the session ended inside its tool."""
    call = {"tool_name": "Bash", "tool_input": {"command": "make"}, "tool_use_id": "toolu_1"}
    agent = programs.start(_AGENT, json.dumps([event("SessionStart"), event("PreToolUse", **call)]))
    assert programs.first_line(agent) == "ready\n"
    assert programs.standing().state == "Running"
    programs.kill(agent)
    standing = programs.standing()
    assert (standing.state, standing.derived) == ("Indeterminate", True)
    assert standing.reason is not None
    assert standing.reason.startswith("process died inside tool 'Bash'")


def test_a_resumed_session_runs_again() -> None:
    """After its end, another process of the agent may continue it."""
    _quietly(event("SessionStart"), event("SessionEnd", reason="exit"))
    assert programs.standing().state == "Success"
    _quietly(event("SessionStart", source="resume"))
    assert programs.standing().state == "Running"


def test_secrets_stay_out() -> None:
    """Input and output of a tool are redacted as everywhere."""
    key = "sk-ant-api03-" + "a1B2" * 20
    call = {"tool_name": "Bash", "tool_input": {"command": f"curl -H 'x-api-key: {key}'"}, "tool_use_id": "toolu_1"}
    _quietly(event("PreToolUse", **call), event("PostToolUse", **call, tool_response={"stdout": key}))
    # By another process: this one must not open a journal without apsw.
    files = [path for path in Path(programs.project()).rglob("*") if path.is_file()]
    written = subprocess.run(["cat", *files], capture_output=True, check=True).stdout
    assert b"toolu_1" in written
    assert key.encode() not in written


@pytest.mark.parametrize(
    "given", ["", "garbage", "[]", "null", '{"hook_event_name": "Stop"}', '{"session_id": 7}', "\ufeff{}", "{" * 5000]
)
def test_an_invalid_event_is_one_line_on_stderr(given: str) -> None:
    """The agent continues: exit code 0 and nothing on stdout."""
    done = hook(given)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("localops hook: ")
    assert done.stderr.count("\n") == 1


def test_odd_values_are_recorded() -> None:
    """Half a character, a session without a UUID, an unknown event, and one without a tool's name are recorded."""
    given = '{"session_id": "x y", "hook_event_name": "Brand\\ud83dNew", "more": {"a": "\\ud83d"}}'
    assert (hook(given).stderr, hook('{"session_id": "x y", "hook_event_name": "PostToolUse"}').stderr) == ("", "")
    assert programs.figures().tools == 1


def test_a_home_that_cannot_be_written_is_one_line_on_stderr(tmp_path: Path) -> None:
    """Without a place for the row, it is lost with a message, and the agent continues."""
    (tmp_path / "file").write_text("")
    environment = {"LOCALOPS_HOME": str(tmp_path / "file" / "home"), "XDG_STATE_HOME": str(tmp_path / "file")}
    done = hook(event("PreToolUse", tool_name="Bash"), env=environment)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("\n") == 1


def test_a_full_disk_is_one_line_on_stderr() -> None:
    """If no file may grow, the row is lost, and the agent continues."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));"
        "sys.argv = ['localops', 'hook', 'claude-code']; from localops.__main__ import main; main()"
    )
    environment = {**os.environ, "PYTHONPATH": programs._PATH, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input='{"session_id": "1", "hook_event_name": "Stop"}',
        env=environment,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count("\n") == 1


def test_an_agent_that_is_unknown_is_one_line_on_stderr() -> None:
    """A misspelled agent does not stop one either."""
    done = hook(event("Stop"), agent="claude")
    assert (done.returncode, done.stdout) == (0, "")
    assert "expected one of claude-code, codex" in done.stderr


def test_a_hook_needs_no_click() -> None:
    """The agent waits for it: modules of the commands for people are not loaded."""
    stop = '{"session_id": "1", "hook_event_name": "SessionStart"}'
    code = (
        "import sys; from localops.coding import hook; hook.main(['claude-code', sys.argv[1]]);"
        "print(sorted({'click', 'localops.recording.client', 'asyncio', 'sqlite3'} & set(sys.modules)))"
    )
    done = programs.run(code, stop, stdin=subprocess.DEVNULL, fresh=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
