"""Where prompts with the same beginning differ: a list would show the same words for all versions of a prompt."""

from __future__ import annotations

import re
from typing import NamedTuple

from localops.reading.alignment import same_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# The fewest characters in a common beginning to show the difference; after fewer, it is visible in the list.
_LEAST_COMMON = 24
# Characters to show of a difference, and of its sentence on each side.
_LONGEST, _AROUND = 200, 80
# The end of a sentence, or of a line; templates of prompts may have escaped line ends.
_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n|\\n")


class Difference(NamedTuple):
    """Where a prompt differs from the most similar one: the number of characters before it, and the differing words.

    `lead` and `tail` are the rest of the sentence around these words.
    """

    after: int
    lead: str
    text: str
    tail: str


def differences(prompts: Sequence[str | None]) -> list[Difference | None]:
    """Return where each prompt differs; None for an unknown prompt, or one without a common beginning with another.

    >>> one, _ = differences(["You are a careful agent. Be very brief.", "You are a careful agent. Be very kind."])
    >>> one
    Difference(after=33, lead='Be very', text='brief.', tail='')
    """
    # Sorted, each prompt is next to the one with the longest common beginning.
    known = sorted((prompt, number) for number, prompt in enumerate(prompts) if prompt)
    result: list[Difference | None] = [None] * len(prompts)
    for place, (prompt, number) in enumerate(known):
        beside = [known[at][0] for at in (place - 1, place + 1) if 0 <= at < len(known)]
        nearest = max(beside, key=lambda other: same_start(prompt, other), default="")
        if prompt != nearest and same_start(prompt, nearest) >= _LEAST_COMMON:
            result[number] = _difference(prompt, nearest)
    return result


def _difference(prompt: str, other: str) -> Difference:
    """Return the difference to another prompt, extended to complete words."""
    begin = same_start(prompt, other)
    while begin and not prompt[begin - 1].isspace():
        begin -= 1
    rest, others = prompt[begin:], other[begin:]
    end = len(rest) - same_start(rest[::-1], others[::-1])
    while end < len(rest) and not rest[end].isspace():
        end += 1
    lead = _SENTENCE.split(prompt[:begin])[-1]
    tail = _SENTENCE.split(rest[end:], maxsplit=1)[0]
    return Difference(begin, _one_line(lead)[-_AROUND:], _one_line(rest[:end])[:_LONGEST], _one_line(tail)[:_AROUND])


def _one_line(text: str) -> str:
    return " ".join(text.split())
