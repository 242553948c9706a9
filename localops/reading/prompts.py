"""Identify the prompt of an LLM call: the part that does not vary between calls.

It is the system part of the request: `system_instructions` and the messages of the roles system and developer.  For a
call without these, it is the first line of the first message.  Random ids and times near the time of the call are
replaced, so that a prompt with the current date is still the same prompt on the next day.
"""

from __future__ import annotations

from itertools import islice

from localops.reading.made_up import without_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Characters of a system part to compare.
LONGEST = 20_000
# Characters of the first line of a message to compare.
_LINE = 120
# Messages to search for system parts, and parts of a message to read.
_MESSAGES, _PARTS = 200, 50
_DEPTH = 4
_NEAR_NS = 2 * 86_400 * 1_000_000_000
_SYSTEM = ("system", "developer")


def own_part(body: dict[str, object]) -> tuple[str, bool]:
    """Return the system part of a call, or without one the first line, and whether it is a system part.

    >>> own_part({"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]})
    ('Be brief.', True)
    >>> own_part({"prompt": "Translate into French:\\nthe harbour"})
    ('Translate into French:', False)
    """
    messages = _messages(body.get("prompt") or body.get("params"))
    parts = [body.get("system_instructions"), *(each.get("content") for each in messages if _role(each) in _SYSTEM)]
    system = "\n".join(filter(None, (_text(part) for part in parts)))[:LONGEST]
    if system:
        return system, True
    first: object = messages[0].get("content") if messages else body.get("prompt")
    return _text(first).strip().partition("\n")[0][:_LINE], False


def template(part: str, at_ns: int) -> str:
    """Replace the random ids in a part of a prompt, and the times near the time of the call.

    >>> template("Today is 1970-01-02.", 86_400 * 10**9)
    'Today is <time>.'
    """
    return without_ids(part, at_ns - _NEAR_NS, at_ns + _NEAR_NS)


def _messages(prompt: object) -> list[dict[str, object]]:
    if isinstance(prompt, dict):
        prompt = prompt.get("messages", prompt)
    listed = prompt if isinstance(prompt, list) else [prompt] if isinstance(prompt, dict) else []
    return [each for each in islice(listed, _MESSAGES) if isinstance(each, dict)]


def _role(message: dict[str, object]) -> object:
    return message.get("role") or message.get("type")


def _text(content: object) -> str:
    return "\n".join(_texts(content, _DEPTH))[:LONGEST]


def _texts(content: object, depth: int) -> Iterator[str]:
    """Yield the texts of a message or of its parts; for a value in a blob, its beginning."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list) and depth:
        for part in islice(content, _PARTS):
            yield from _texts(part, depth - 1)
    elif isinstance(content, dict) and depth:
        named = next((content[name] for name in ("text", "content", "parts", "head") if content.get(name)), None)
        yield from _texts(named, depth - 1)
