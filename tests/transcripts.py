"""Transcripts of coding agents as tests need them, and their hooks as real processes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tests import warm

SESSION = "8c35adc1-1c1e-4f43-9a57-0d1f3e5a7b10"
USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 2_000,
    "cache_read_input_tokens": 30_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 2_000, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 400,
}


def hook(
    event: object,
    agent: str = "claude-code",
    *,
    arguments: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> CompletedProcess[str]:
    """Run a hook in a process of its own; an event that is no text becomes JSON."""
    given = event if isinstance(event, str) else json.dumps(event)
    return warm.ours().run(warm.MAIN, env, ["hook", agent, *arguments], input=given)


def event(name: str, **fields: object) -> dict[str, object]:
    """Return a hook event."""
    return {"session_id": SESSION, "cwd": "/src/tides", "hook_event_name": name, **fields}


def write(path: Path, lines: list[Any]) -> Path:
    """Write a transcript; a line that is a text is written as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


class Claude:
    """Makes the lines of a transcript of Claude Code, a second apart."""

    def __init__(self, session: str = SESSION, **common: object) -> None:
        self.common = {"sessionId": session, "cwd": "/src/tides", "version": "2.1.0", "isSidechain": False, **common}
        self.second = 0
        self.last: str | None = None

    def _line(self, kind: str, **fields: object) -> dict[str, Any]:
        self.second += 1
        own = f"{self.common.get('agentId', 'line')}-{self.second}"
        line = {
            **self.common,
            "type": kind,
            "uuid": own,
            "parentUuid": self.last,
            "timestamp": f"2026-11-20T10:{self.second // 60:02}:{self.second % 60:02}.000Z",
            **fields,
        }
        self.last = own
        return line

    def user(self, text: str, **fields: object) -> dict[str, Any]:
        """Return what a user typed."""
        return self._line("user", message={"role": "user", "content": text}, **fields)

    def answer(self, id: str, block: dict[str, Any], *, stop: str | None = "end_turn", **usage: int) -> dict[str, Any]:
        """Return a line of an answer of the model."""
        message = {
            "id": id,
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5-20250929",
            "content": [block],
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {**USAGE, **usage},
        }
        return self._line("assistant", message=message, requestId=f"req_{id}")

    def result(self, call: str, content: object, *, error: bool = False, **fields: object) -> dict[str, Any]:
        """Return the result of a tool call."""
        block = {"type": "tool_result", "tool_use_id": call, "content": content, "is_error": error}
        return self._line("user", message={"role": "user", "content": [block]}, **fields)


def text(words: str) -> dict[str, Any]:
    """Return a block of text."""
    return {"type": "text", "text": words}


def tool(call: str, name: str, **given: object) -> dict[str, Any]:
    """Return the block that asks for a tool."""
    return {"type": "tool_use", "id": call, "name": name, "input": given}
