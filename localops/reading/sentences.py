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
    from collections.abc import Callable, Iterable
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")


_ID = 23  # characters of an id that are enough


class Recorded(str):
    """A recorded text, which is always shown as data."""

    __slots__ = ()


class Word(Recorded):
    """A recorded word, such as a kind or the type of an error, that plain text shows without quotes."""

    __slots__ = ()


Sentence = list[str]


class Linked(Sentence):
    """A sentence about one event, to which a page links it; text names its id."""

    def __init__(self, parts: Sentence, id: str, seq: int | None) -> None:
        super().__init__(parts)
        self.id, self.seq = id, seq


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


def with_event(text: str, sentence: Sentence) -> str:
    """Add to the text of a sentence the beginning of the id of its event, if it is about one."""
    if not isinstance(sentence, Linked):
        return text
    dot = "." if text.endswith(".") else ""
    return f"{text.removesuffix('.')} (event {sentence.id[:_ID]}){dot}"


def names_events(sections: Iterable[Section]) -> bool:
    """Return whether a sentence is about one event."""
    return any(isinstance(sentence, Linked) for _, sentences in sections for sentence in sentences)


def marked(sentence: Sentence) -> str:
    """Write a sentence as Markdown, with recorded text as code."""
    return "".join(code(part) if isinstance(part, Recorded) else part for part in sentence)
