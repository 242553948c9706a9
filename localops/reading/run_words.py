"""Words for operations, inputs and times in sentences about a run."""

from __future__ import annotations

from datetime import datetime

from localops import output
from localops.reading.sentences import Linked, Recorded, Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reading.facts import Facts
    from localops.reading.sentences import Sentence

_KINDS = {"llm": "LLM call", None: "operation", "": "operation"}


def named(one: Facts) -> Sentence:
    """Name an operation by its kind, name, model and agent."""
    sentence: Sentence = [_KINDS.get(one["kind"]) or Word(one["kind"])]
    if one["name"] and one["name"] != one["model"]:
        sentence += [" ", Recorded(one["name"])]
    if one["model"]:
        sentence += [" to ", Recorded(one["model"])]
    return [*sentence, " by agent ", Recorded(one["agent"])] if one["agent"] else sentence


def linked(sentence: Sentence, one: Facts) -> Linked:
    """Link a sentence to the event of an operation."""
    return Linked(sentence, one["id"], one["seq"])


def with_input(text: str) -> Sentence:
    """Return the words for an operation's input, which follow its name; empty without one."""
    return [" with ", Recorded(text)] if text else []


def nanoseconds(seconds: float) -> int:
    """Convert seconds, as in facts, to nanoseconds."""
    return round(seconds * 1e9)


def at_ns(text: str) -> int:
    """Convert a time in facts to nanoseconds."""
    return nanoseconds(datetime.fromisoformat(text).timestamp())


def when(text: str) -> str:
    """Convert a time in facts to a readable one."""
    return output.when(at_ns(text))
