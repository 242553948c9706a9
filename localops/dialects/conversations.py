"""`sft`: the conversations of sessions as training data, one JSON object with `messages` and `tools` a line.

An agent sends its whole conversation with each call.  Of the calls of one conversation only the last is written: it
holds all others.  A conversation that was cut (compacted, say) or that branched is one for each of its ends.
"""

from __future__ import annotations

from itertools import takewhile

from localops.dialects import chat
from localops.encoding import encode
from localops.journal import rows, stored
from localops.reading import analytics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

    from localops.reading.export import Run

# Conversations of a session that may go on; the oldest of more is written, whatever follows.
_MOST_OPEN = 50_000


def write(runs: Iterable[Run], file: BinaryIO) -> None:
    """Write the conversations of sessions, each once, in the order of their last calls."""
    for run in runs:
        for event in last_calls(run):
            line = {
                "messages": _answered(_messages(event)),
                **({"tools": known} if (known := chat.tools(event)) else {}),
            }
            file.write(encode.dumps(line) + b"\n")


def last_calls(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the last answered call of each conversation of a session."""
    # By the digest of the conversation with its answer: the id of the call.
    ends: dict[int, bytes] = {}
    for event in analytics.events(run.reader, run.id):
        if not _is_answered(event):
            continue
        *before, whole = chat.digests(_messages(event))
        for digest in before:
            ends.pop(digest, None)
        if whole not in ends:
            ends[whole] = bytes.fromhex(event["id"].replace("-", ""))
        if len(ends) > _MOST_OPEN:
            yield from _read(run, [ends.pop(next(iter(ends)))])
    yield from _read(run, ends.values())


def _is_answered(event: dict[str, Any]) -> bool:
    return bool(event["kind"] == "llm" and event["finished"] and not event["failed"] and chat.answer(event))


def _messages(event: dict[str, Any]) -> list[dict[str, Any]]:
    return [*chat.request(event), chat.answer(event) or {}]


def _answered(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation without tool calls that have no result, and results that have no call.

    A program that was killed and resumed may send such, and trainers refuse them.  The calls of the last answer stay:
    it is what is to be learned.
    """
    kept: list[dict[str, Any]] = []
    asked: set[str] = set()
    for at, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] in asked:
                asked.discard(message["tool_call_id"])
                kept.append(message)
            continue
        results = takewhile(lambda each: each["role"] == "tool", messages[at + 1 :])
        given = {result["tool_call_id"] for result in results}
        calls = message.get("tool_calls", ())
        answered = calls if at + 1 == len(messages) else [call for call in calls if call["id"] in given]
        asked = {call["id"] for call in answered}
        if len(answered) < len(calls):
            message = {key: value for key, value in message.items() if key != "tool_calls"}
            message |= {"tool_calls": answered} if answered else {}
        if message.get("content") or message.get("tool_calls") or not calls:
            kept.append(message)
    return kept


def _read(run: Run, ids: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for id in ids:
        row = stored.one(run.reader, id, rows.DONE)
        if row is not None:
            yield analytics.plain(row, stored.one(run.reader, id, rows.OPEN))
