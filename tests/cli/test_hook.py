"""`localops hook install` and `uninstall`: the settings of coding agents, changed with care."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import programs
from tests.cli.conftest import Command
from tests.transcripts import SESSION, event

_SETTINGS = """{
    "model": "opus",
    "hooks": {
        "PreToolUse": [
            {"matcher": "Bash", "hooks": [{"type": "command", "command": "check --löud"}]}
        ],
        "Stop": []
    },
    "permissions": {"allow": ["Bash(ls:*)"]}
}
"""


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.chdir(tmp_path)


def _settings(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "claude" / "settings.json"
    path.parent.mkdir()
    path.write_text(text)
    return path


def test_install_keeps_everything_else(tmp_path: Path, command: Command) -> None:
    """The change is shown, and other settings stay; a second time changes nothing; uninstall reverts it."""
    path = _settings(tmp_path, _SETTINGS)
    path.chmod(0o640)
    code, out, err = command("hook", "install", "claude-code", "--yes")
    assert (code, err) == (0, "")
    assert "+" in out
    assert str(path) in out
    assert path.stat().st_mode & 0o777 == 0o640
    changed = path.read_text()
    before, after = json.loads(_SETTINGS), json.loads(changed)
    assert changed.startswith('{\n    "model": "opus",\n')
    assert "check --löud" in changed
    assert list(after) == list(before)
    assert after["hooks"]["PreToolUse"][0] == before["hooks"]["PreToolUse"][0]
    assert after["hooks"]["PreToolUse"][1]["matcher"] == "*"
    assert after["hooks"]["SessionEnd"][0]["hooks"][0]["command"].endswith(" hook claude-code")
    after["hooks"]["Stop"].append({"hooks": [{"type": "command", "command": "beep"}]})
    before["hooks"]["Stop"] = after["hooks"]["Stop"][1:]
    changed = json.dumps(after)
    path.write_text(changed)
    code, out, _ = command("hook", "install", "claude-code", "--yes")
    assert (code, path.read_text()) == (0, changed)
    assert "already" in out
    assert command("hook", "uninstall", "claude-code", "--yes")[0] == 0
    assert json.loads(path.read_text()) == before
    assert [each.name for each in path.parent.iterdir()] == ["settings.json"]


def test_install_creates_the_file(tmp_path: Path, command: Command) -> None:
    """The file is created if there is none; uninstall leaves an empty object."""
    assert command("hook", "install", "codex", "--yes")[0] == 0
    path = tmp_path / "codex" / "hooks.json"
    hooks = json.loads(path.read_text())["hooks"]
    assert hooks["Stop"][0]["hooks"][0]["command"].endswith(" hook codex")
    assert command("hook", "uninstall", "codex", "--yes")[0] == 0
    assert json.loads(path.read_text()) == {}


def test_project_settings(tmp_path: Path, command: Command) -> None:
    """With --project they are those of the current folder."""
    assert command("hook", "install", "claude-code", "--project", "--yes")[0] == 0
    assert (tmp_path / ".claude" / "settings.json").exists()
    assert not (tmp_path / "claude").exists()


def test_another_path_of_the_command_is_replaced(tmp_path: Path, command: Command) -> None:
    """After a move of the environment there is one entry, not two."""
    old = {"hooks": {"Stop": [{"hooks": [{"type": "command", "command": "/old/bin/localops hook claude-code"}]}]}}
    path = _settings(tmp_path, json.dumps(old))
    command("hook", "install", "claude-code", "--yes")
    assert len(json.loads(path.read_text())["hooks"]["Stop"]) == 1
    assert "/old/bin" not in path.read_text()


def test_nothing_is_changed_without_consent(tmp_path: Path, command: Command) -> None:
    """Without --yes and a terminal, the change is shown and not made."""
    path = _settings(tmp_path, _SETTINGS)
    code, out, err = command("hook", "install", "claude-code")
    assert code == 2
    assert "--yes" in err
    assert "+" in out
    assert path.read_text() == _SETTINGS


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"hooks": 3}', '{"hooks": {"Stop": {}}}', '{"a": 1, "a": 2}', '{"a": 1, // why\n "b": 2}']
)
def test_what_cannot_be_parsed_is_refused(tmp_path: Path, command: Command, text: str) -> None:
    """With a sentence that names the file, which stays as it is."""
    path = _settings(tmp_path, text)
    code, _, err = command("hook", "install", "claude-code", "--yes")
    assert code == 2
    assert str(path) in err
    assert len(err.splitlines()) == 1
    assert path.read_text() == text


def test_a_link_stays_a_link(tmp_path: Path, command: Command) -> None:
    """Settings are often kept elsewhere."""
    path = _settings(tmp_path, "{}")
    real = tmp_path / "dotfiles.json"
    path.rename(real)
    path.symlink_to(real)
    command("hook", "install", "claude-code", "--yes")
    assert path.is_symlink()
    assert "hooks" in json.loads(real.read_text())


def test_the_installed_command_records(tmp_path: Path, command: Command) -> None:
    """The command in the settings, run by a shell like the agent does, records the event."""
    command("hook", "install", "claude-code", "--yes")
    hooks = json.loads((tmp_path / "claude" / "settings.json").read_text())["hooks"]
    line = hooks["SessionStart"][0]["hooks"][0]["command"]
    folder = os.path.dirname(sys.executable)
    environment = {**os.environ, "PYTHONPATH": programs._PATH, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-c", line],
        input=json.dumps(event("SessionStart")),
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert programs.sessions()[0].hex() == SESSION.replace("-", "")
    assert programs.standing().state == "Running"
