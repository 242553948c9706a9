"""An operation, its input and a time, as sentences about a run name them."""

from __future__ import annotations

from datetime import datetime

from localops import output
from localops.reading.sentences import Recorded, Word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reading.facts import Facts
    from localops.reading.sentences import Sentence

_KINDS = {"llm": "LLM call", None: "operation", "": "operation"}


def named(one: Facts) -> Sentence:
    """Return an operation by its kind, name, model and agent."""
    sentence: Sentence = [_KINDS.get(one["kind"]) or Word(one["kind"])]
    if one["name"] and one["name"] != one["model"]:
        sentence += [" ", Recorded(one["name"])]
    if one["model"]:
        sentence += [" to ", Recorded(one["model"])]
    return [*sentence, " by agent ", Recorded(one["agent"])] if one["agent"] else sentence


def with_input(text: str) -> Sentence:
    """Return what follows the name of an operation that was given something."""
    return [" with ", Recorded(text)] if text else []


def nanoseconds(seconds: float) -> int:
    """Return a number of seconds as facts have it in nanoseconds."""
    return round(seconds * 1e9)


def at_ns(text: str) -> int:
    """Return a time of facts in nanoseconds."""
    return nanoseconds(datetime.fromisoformat(text).timestamp())


def when(text: str) -> str:
    """Return a time of facts as people read it."""
    return output.when(at_ns(text))
