"""The hooks of coding agents in their settings: added and removed, with everything else left as it is.

Claude Code has them in `settings.json`, Codex in `hooks.json`, in the same form.  Only our entries change: the file is
written as JSON with the indentation and the order of keys that it had.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import tempfile
from difflib import unified_diff

from localops.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_TOOLS = ("PreToolUse", "PostToolUse", "PostToolUseFailure")  # their entries have a matcher for tools
# The events that are recorded, by agent.
EVENTS = {
    "claude-code": (
        *("SessionStart", "UserPromptSubmit", *_TOOLS, "SubagentStart", "SubagentStop"),
        *("Notification", "PreCompact", "Stop", "SessionEnd"),
    ),
    "codex": ("SessionStart", "UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop"),
}
_EVERY_TOOL = {"claude-code": "*", "codex": ".*"}
_OURS = re.compile(r"(^|[/\s'\"])(localops|-m localops)['\"]? hook (claude-code|codex)(\s|$)")
_LONGEST = 1 << 22  # bytes of a settings file


def path_of(agent: str, *, project: bool) -> str:
    """Return the settings file of an agent: the user's, or that of the project in the current folder."""
    if agent == "codex":
        top = ".codex" if project else os.environ.get("CODEX_HOME") or os.path.expanduser("~/.codex")
        return os.path.join(top, "hooks.json")
    top = ".claude" if project else os.environ.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~/.claude")
    return os.path.join(top, "settings.json")


def command_of(agent: str, program: str) -> str:
    """Return the command that an agent runs for each event."""
    return f"{shlex.quote(program)} hook {agent}"


class Change:
    """The change of a settings file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.before = _text(path)
        self._settings = _parsed(path, self.before)
        self.after = self.before or ""

    def install(self, agent: str, command: str) -> None:
        """Add our command for each event; an existing one, in any form, is replaced."""
        hooks = self._hooks()
        for event in EVENTS[agent]:
            entries = _list(self.path, event, hooks.setdefault(event, []))
            if list(_commands(entries)) == [command]:
                continue
            _remove(entries)
            entry: dict[str, Any] = {"hooks": [{"type": "command", "command": command}]}
            entries.append({"matcher": _EVERY_TOOL[agent], **entry} if event in _TOOLS else entry)
        self._settings["hooks"] = hooks
        self._write()

    def uninstall(self) -> None:
        """Remove our command, and lists that are empty without it."""
        if "hooks" not in self._settings:
            return
        hooks = self._hooks()
        had_ours = False
        for event in list(hooks):
            entries = _list(self.path, event, hooks[event])
            if not list(_commands(entries)):
                continue
            had_ours = True
            _remove(entries)
            if not entries:
                del hooks[event]
        if had_ours:
            if not hooks:
                del self._settings["hooks"]
            self._write()

    def _hooks(self) -> dict[str, Any]:
        hooks = self._settings.get("hooks", {})
        if not isinstance(hooks, dict):
            raise ConfigError(
                f"invalid hooks in {self.path}: expected an object, got {type(hooks).__name__}; correct it"
            )
        return hooks

    def _write(self) -> None:
        if self.before is not None and json.loads(self.before or "{}") == self._settings:
            return
        text = json.dumps(self._settings, indent=_indentation(self.before or ""), ensure_ascii=False)
        self.after = text + ("\n" if not self.before or self.before.endswith("\n") else "")

    @property
    def is_needed(self) -> bool:
        """Return whether anything would change."""
        return self.after != (self.before or "")

    def diff(self) -> str:
        """Return the changes as a unified diff."""
        before, after = (text.splitlines(keepends=True) for text in (self.before or "", self.after))
        lines = unified_diff(before, after, self.path, self.path)
        return "".join(line if line.endswith("\n") else line + "\n" for line in lines)

    def apply(self) -> None:
        """Write the file as a whole or not at all; raise ConfigError if it has changed since it was read."""
        if _text(self.path) != self.before:
            raise ConfigError(f"{self.path} was changed meanwhile: run the command again")
        path = os.path.realpath(self.path)  # a link remains a link
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        handle, new = tempfile.mkstemp(prefix=".localops-", dir=folder)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(self.after)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(new, os.stat(path).st_mode & 0o7777 if self.before is not None else 0o600)
            os.replace(new, path)
        except BaseException:
            os.unlink(new)
            raise


def _text(path: str) -> str | None:
    """Return the text of a file; None if it does not exist."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read(_LONGEST + 1)
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read: expected UTF-8 ({error}); correct it, or move it away") from error
    if len(text) > _LONGEST:
        raise ConfigError(f"{path} cannot be changed: it is longer than {_LONGEST:,} characters")
    return text


def _parsed(path: str, text: str | None) -> dict[str, Any]:
    if text is None or not text.strip():
        return {}
    try:
        settings = json.loads(text, object_pairs_hook=_object)
    except ValueError as error:
        raise ConfigError(f"{path} cannot be changed: expected JSON ({error}); correct it, or move it away") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} cannot be changed: expected a JSON object, got {type(settings).__name__}")
    return settings


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; raise ValueError if a key occurs twice, since only one of them would be kept."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError(f"a key comes twice in one object: {[key for key, _ in pairs]}")
    return made


def _indentation(text: str) -> str | int:
    """Return the indentation of a text."""
    match = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    return match[1] if match else 2


def _list(path: str, event: str, entries: object) -> list[Any]:
    if not isinstance(entries, list):
        raise ConfigError(f"invalid hooks.{event} in {path}: expected a list, got {type(entries).__name__}; correct it")
    return entries


def _commands(entries: list[Any]) -> Iterator[str]:
    """Yield our commands in the entries of an event."""
    for entry in entries:
        inner = entry.get("hooks") if isinstance(entry, dict) else None
        for each in inner if isinstance(inner, list) else []:
            if _is_ours(each):
                yield each["command"]


def _is_ours(each: object) -> bool:
    command = each.get("command") if isinstance(each, dict) else None
    return isinstance(command, str) and _OURS.search(command) is not None


def _remove(entries: list[Any]) -> None:
    """Remove our commands from the entries of an event, and the entries that are empty without them."""
    for entry in list(entries):
        inner = entry.get("hooks") if isinstance(entry, dict) else None
        if not isinstance(inner, list) or not any(map(_is_ours, inner)):
            continue
        inner[:] = [each for each in inner if not _is_ours(each)]
        if not inner:
            entries.remove(entry)
