"""Find out which error ended a run, and on what evidence.

If an exception left the program, it is the reason of the end, with its traceback. If the program caught it and ended
the session itself, its reason may mention the error. Otherwise, the last failure is the likely one, unless the same
call succeeded later; this is not certain.
"""

from __future__ import annotations

import re
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NamedTuple

    class Ending(NamedTuple):
        """An error or failed operation, the evidence that it ended the run, and what began after it."""

        trouble: Any
        by: str
        operations: int = 0
        """The number of operations other than LLM calls that began after it, if it is only the last failure."""
        llms: int = 0
else:
    Ending = namedtuple("Ending", "trouble by operations llms", defaults=(0, 0))

EXCEPTION, REASON, LAST = "exception", "reason", "last failure"
_TRACEBACK = re.compile(r"\n[ +]*(?:Exception Group )?Traceback \(most recent call last\)")
# A reason and a message do not share this many characters by chance.
_SHORTEST = 8


def has_traceback(reason: str) -> bool:
    """Return whether a traceback follows the first line of a reason."""
    return _TRACEBACK.search(reason) is not None


def of_traceback(reason: str, errors: Iterable[Any], details: dict[int, str | None]) -> Any | None:
    """Return the error that a traceback belongs to; the last of several."""
    line = reason.splitlines()[0]
    for one in errors:
        message = details.get(one.seq) or ""
        if line == f"{one.name}: {message}".strip().splitlines()[0].removesuffix(":"):
            return one
    return None


def of_reason(reason: str, errors: Sequence[Any], details: dict[int, str | None]) -> Any | None:
    """Return the error that a reason mentions by its message, or else by its class; the last of several."""
    text = _normalized(reason)
    for one in errors:
        message = _normalized(details.get(one.seq) or "")
        shorter, longer = sorted((message, text), key=len)
        if len(shorter) >= _SHORTEST and shorter in longer:
            return one
    return next((one for one in errors if _names(reason, one.name)), None)


def last(failures: Iterable[Any], after: Callable[[Any], tuple[bool, int, int]]) -> Ending | None:
    """Return the newest failure (they come newest first) after which the same call did not succeed.

    `after` returns whether it did, and how many operations and LLM calls began after a failure.
    """
    for one in failures:
        has_succeeded, operations, llms = after(one)
        if not has_succeeded:
            return Ending(one, LAST, operations, llms)
    return None


def _names(reason: str, error: str | None) -> bool:
    """Return whether a reason contains the class of an error as a word; `error` and `Timeout` are ordinary words."""
    name = (error or "").rpartition(".")[2]
    is_class = re.fullmatch(r"[A-Z]\w+(?:[A-Z]\w*)+", name) is not None
    return is_class and re.search(rf"\b{name}\b", reason) is not None


def _normalized(text: str) -> str:
    return " ".join(_TRACEBACK.split(text, maxsplit=1)[0].split()).lower()
