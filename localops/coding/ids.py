"""The ids of a coding agent's rows: made from the agent's own ids, so that a hook and an import agree on each row.

A call of a tool or a model has an id that is unique everywhere, and its row's id is made from that alone: a
transcript that was forked from another repeats its first lines, and they count once.
"""

from __future__ import annotations

import uuid
from hashlib import sha256

_SPACE = uuid.UUID("5f0c3a53-6f3c-5c0e-9d3b-2b1f0b0a7c11")


def session_id(given: object) -> bytes:
    """Return the id of a session: the agent's own if that is a UUID."""
    text = str(given)
    try:
        return uuid.UUID(text).bytes
    except ValueError:
        return _made(f"session {text}")


def tool_id(call_id: str) -> bytes:
    """Return the id of a tool call that has an id of the agent."""
    return _made(f"tool {call_id}")


def call_id(response_id: str) -> bytes:
    """Return the id of a call of a language model."""
    return _made(f"call {response_id}")


def in_session(session: bytes, what: str, *parts: object) -> bytes:
    """Return the id of something whose own words are unique only in its session."""
    return uuid.uuid5(uuid.UUID(bytes=session), " ".join([what, *map(_clean, parts)])).bytes


def agent_id(session: bytes, given: object) -> bytes:
    """Return the id of a subagent."""
    return in_session(session, "agent", given)


def error_id(operation: bytes) -> bytes:
    """Return the id of the error that ended an operation."""
    return uuid.uuid5(uuid.UUID(bytes=operation), "error").bytes


def prompt_id(session: bytes, text: str, number: int) -> bytes:
    """Return the id of a prompt of the user, for its n-th occurrence in the session."""
    return in_session(session, "prompt", digest(text), number)


def digest(text: str) -> str:
    """Return a short form of a text for an id."""
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _made(text: str) -> bytes:
    return uuid.uuid5(_SPACE, _clean(text)).bytes


def _clean(part: object) -> str:
    return str(part).encode("utf-8", "backslashreplace").decode()
