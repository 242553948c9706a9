"""Which error ended a run, and what says so.

An exception that left the program is the reason of the end, with its traceback. A program that caught it and ended the
session itself may name it in its reason. Otherwise the last failure counts, unless the same call succeeded after it: it
is likely, and no record says more.
"""

from __future__ import annotations

import re
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, NamedTuple

    class Ending(NamedTuple):
        """An error or a failed operation, what says that it ended the run, and what began after it."""

        trouble: Any
        by: str
        operations: int = 0
        """Operations other than LLM calls that began after it, where no more is known than that it was the last."""
        llms: int = 0
else:
    Ending = namedtuple("Ending", "trouble by operations llms", defaults=(0, 0))

EXCEPTION, REASON, LAST = "exception", "reason", "last failure"
_TRACEBACK = re.compile(r"\n[ +]*(?:Exception Group )?Traceback \(most recent call last\)")
# Characters that a reason and a message do not share by chance.
_SHORTEST = 8


def has_traceback(reason: str) -> bool:
    """Return whether a traceback follows the first line of a reason."""
    return _TRACEBACK.search(reason) is not None


def of_traceback(reason: str, errors: Iterable[Any], details: dict[int, str | None]) -> Any | None:
    """Return the error that a traceback is of, the last of several."""
    line = reason.splitlines()[0]
    for one in errors:
        message = details.get(one.seq) or ""
        if line == f"{one.name}: {message}".strip().splitlines()[0].removesuffix(":"):
            return one
    return None


def of_reason(reason: str, errors: Sequence[Any], details: dict[int, str | None]) -> Any | None:
    """Return the error that a reason names: by its message, or else by its class; the last of several."""
    text = _folded(reason)
    for one in errors:
        message = _folded(details.get(one.seq) or "")
        shorter, longer = sorted((message, text), key=len)
        if len(shorter) >= _SHORTEST and shorter in longer:
            return one
    return next((one for one in errors if _names(reason, one.name)), None)


def last(failures: Iterable[Any], after: Callable[[Any], tuple[bool, int, int]]) -> Ending | None:
    """Return the first of these failures, the newest first, after which no such call succeeded.

    after: return whether one did, and how many operations and LLM calls began after a failure.
    """
    for one in failures:
        has_succeeded, operations, llms = after(one)
        if not has_succeeded:
            return Ending(one, LAST, operations, llms)
    return None


def _names(reason: str, error: str | None) -> bool:
    """Return whether a reason has the class of an error as a word; `error` and `Timeout` are ordinary words."""
    name = (error or "").rpartition(".")[2]
    is_class = re.fullmatch(r"[A-Z]\w+(?:[A-Z]\w*)+", name) is not None
    return is_class and re.search(rf"\b{name}\b", reason) is not None


def _folded(text: str) -> str:
    return " ".join(_TRACEBACK.split(text, maxsplit=1)[0].split()).lower()
