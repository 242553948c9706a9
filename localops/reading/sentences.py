"""Sentences in reports, as plain text for a terminal or Markdown for a ticket.

A sentence is a list of our words and of recorded texts, which are joined only when they are written: a recorded text is
cleaned in plain text, and is code in Markdown, so it never acts as markup.
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
    """A recorded text, which is always shown as data."""

    __slots__ = ()


class Word(Recorded):
    """A recorded word, such as a kind or the type of an error, that plain text shows without quotes."""

    __slots__ = ()


Sentence = list[str]
Section = tuple[str, list[Sentence]]


def separated(write: Callable[P, T]) -> Callable[P, T]:
    """Group the digits of long numbers in sentences, even in a command whose tables are for a program.

    All commands and pages thus show the same sentence.
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
    """Write a sentence as text that is safe for a terminal."""
    return "".join(_quoted(part) for part in sentence)


def _quoted(part: str) -> str:
    text = output.clean(part)
    if not isinstance(part, Recorded) or isinstance(part, Word):
        return text
    # Choose the quotes as Python does, so a text with quotes, such as the message of a KeyError, stays readable.
    return f'"{text}"' if "'" in text and '"' not in text else f"'{text}'"


def marked(sentence: Sentence) -> str:
    """Write a sentence as Markdown, with recorded text as code."""
    return "".join(code(part) if isinstance(part, Recorded) else part for part in sentence)
