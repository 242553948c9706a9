"""Sentences of reports: plain text for a terminal, Markdown for a ticket.

A sentence is a list of our words and of recorded texts, which stay apart until they are written: in plain text a
recorded one is cleaned, in Markdown it is code, so that it is never markup.
"""

from __future__ import annotations

from functools import wraps

from localops import output
from localops.reading.markdown import code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")


class Recorded(str):
    """A text that was recorded: data, whatever it says."""

    __slots__ = ()


class Word(Recorded):
    """A recorded word that plain text has without quotes: a kind, the type of an error."""

    __slots__ = ()


Sentence = list[str]
Section = tuple[str, list[Sentence]]


def separated(write: Callable[P, T]) -> Callable[P, T]:
    """Have numbers of more than three digits written in groups, also by a command whose tables are for a program.

    A sentence is the same through every door.
    """

    @wraps(write)
    def written(*args: P.args, **kwargs: P.kwargs) -> T:
        before = output.separate_digits(",")
        try:
            return write(*args, **kwargs)
        finally:
            output.separate_digits(before)

    return written


def plain(sentence: Sentence) -> str:
    """Return a sentence as text that is safe for a terminal."""
    return "".join(_quoted(part) for part in sentence)


def _quoted(part: str) -> str:
    text = output.clean(part)
    if not isinstance(part, Recorded) or isinstance(part, Word):
        return text
    # As Python does: a text in quotes, such as the message of a KeyError, stays readable.
    return f'"{text}"' if "'" in text and '"' not in text else f"'{text}'"


def marked(sentence: Sentence) -> str:
    """Return a sentence as Markdown, recorded text as code."""
    return "".join(code(part) if isinstance(part, Recorded) else part for part in sentence)
