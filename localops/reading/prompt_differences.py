"""Where prompts differ that begin alike: versions of one prompt, of which a list shows the same first words."""

from __future__ import annotations

import re
from typing import NamedTuple

from localops.reading.alignment import same_start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Characters that begin alike from which on a list shows where prompts differ: fewer are seen at a glance.
_ALIKE = 24
# Characters of a difference, and of its sentence on each side.
_LONGEST, _AROUND = 200, 80
# The end of a sentence, or of a line, which is written as an escape in the templates of prompts.
_SENTENCE = re.compile(r"(?<=[.!?:])\s+|\n|\\n")


class Difference(NamedTuple):
    """Where a prompt differs from the one that is most like it: how much comes before, and the words that differ.

    Before and after these words stands the rest of their sentence.
    """

    after: int
    lead: str
    text: str
    tail: str


def differences(prompts: Sequence[str | None]) -> list[Difference | None]:
    """Return where each prompt differs; None for one that begins like no other, or is not known.

    >>> one, _ = differences(["You are a careful agent. Be very brief.", "You are a careful agent. Be very kind."])
    >>> one
    Difference(after=33, lead='Be very', text='brief.', tail='')
    """
    # Beside each other in order are those that share the longest beginnings.
    known = sorted((prompt, number) for number, prompt in enumerate(prompts) if prompt)
    result: list[Difference | None] = [None] * len(prompts)
    for place, (prompt, number) in enumerate(known):
        beside = [known[at][0] for at in (place - 1, place + 1) if 0 <= at < len(known)]
        nearest = max(beside, key=lambda other: same_start(prompt, other), default="")
        if prompt != nearest and same_start(prompt, nearest) >= _ALIKE:
            result[number] = _between(prompt, nearest)
    return result


def _between(prompt: str, other: str) -> Difference:
    """Return the complete words in which a prompt differs from another one."""
    begin = same_start(prompt, other)
    while begin and not prompt[begin - 1].isspace():
        begin -= 1
    rest, others = prompt[begin:], other[begin:]
    end = len(rest) - same_start(rest[::-1], others[::-1])
    while end < len(rest) and not rest[end].isspace():
        end += 1
    lead = _SENTENCE.split(prompt[:begin])[-1]
    tail = _SENTENCE.split(rest[end:], maxsplit=1)[0]
    return Difference(begin, _line(lead)[-_AROUND:], _line(rest[:end])[:_LONGEST], _line(tail)[:_AROUND])


def _line(text: str) -> str:
    return " ".join(text.split())
