"""LLM calls whose cost is unknown as they have no token counts, so a price would not help.

A call that fails before its response arrives has no token counts.
"""

from __future__ import annotations

from localops import output
from localops.reading.sentences import Recorded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NamedTuple

    from localops.reading.facts import Facts
    from localops.reading.sentences import Sentence

    class Uncounted(NamedTuple):
        """A call without token counts."""

        name: str | None
        model: str | None
        failed: bool
else:
    from collections import namedtuple

    Uncounted = namedtuple("Uncounted", "name model failed")

# Kinds of calls to name.
_NAMED = 3


def of(calls: Sequence[Uncounted]) -> Facts:
    """Return the numbers of calls and failed calls, and the first names and models."""
    kinds = list(dict.fromkeys((call.name, call.model) for call in calls))
    return {
        "calls": len(calls),
        "failed": sum(call.failed for call in calls),
        "kinds": [{"name": name, "model": model} for name, model in kinds[:_NAMED]],
        "kinds_count": len(kinds),
    }


def cost_of(calls: Facts) -> Sentence:
    """Return the words that the cost of calls is unknown, and why."""
    return ["the cost of ", *which(calls), f" is not known: {'it' if calls['calls'] == 1 else 'they'} {why(calls)}"]


def which(calls: Facts) -> Sentence:
    """Return the words for calls, with their names and models: 1 LLM call ('chat' to 'gpt-4.1')."""
    words: Sentence = []
    for kind in calls["kinds"]:
        words += [", " if words else "", *_named(kind["name"], kind["model"])]
    rest = calls["kinds_count"] - len(calls["kinds"])
    more = f" and {output.count(rest)} more)" if rest else ")"
    return [f"{output.counted(calls['calls'], 'LLM call')} (", *words, more]


def why(calls: Facts) -> str:
    """Return the words for why the cost of calls is unknown."""
    return f"{'failed' if calls['failed'] == calls['calls'] else 'came'} without token counts"


def _named(name: str | None, model: str | None) -> Sentence:
    if name and model and name != model:
        return [Recorded(name), " to ", Recorded(model)]
    return [Recorded(model or name or "unnamed")]
