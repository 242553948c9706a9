"""Scores: check names, values and authors, and parse the filters with which lists select sessions by score.

A value is a number, True or False, or a short text that names a category; None withdraws the author's score.
"""

from __future__ import annotations

import math
from collections import namedtuple

from localops import output
from localops.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NamedTuple

    Value = float | int | bool | str | None

    class Score(NamedTuple):
        """A verdict on a session or on one of its events.

        Functions of `localops score --with` return one or several of these, where a bare value is not enough.
        """

        name: str
        value: Value
        by: str | None = None  # who gives it: "human", "judge:gpt-4o", a name
        comment: object = None
        version: str | None = None  # of what gives it
        event: object = None  # the id of an event; None: the session as a whole

    class Condition(NamedTuple):
        """A filter of a list on the scores of sessions; without `op`, the session must have one that is not False."""

        name: str
        author: str | None
        op: str | None
        value: Value
else:
    Score = namedtuple("Score", "name value by comment version event", defaults=[None] * 4)
    Score.__doc__ = "A verdict on a session, or on one event of it."
    Condition = namedtuple("Condition", "name author op value")

KIND = "scored"  # of a row
CODE, HUMAN = "code", "human"  # the default authors: of a score that a program gives, and that a person gives
STAR = "star"  # the name of the score with which a person marks a session
_NAME, _AUTHOR, _LABEL, _VERSION = 64, 128, 256, 128  # characters
_MOST_EXACT = 1 << 53
_CELLS = 40  # width of a value in a table
# Not compiled here: compiling takes longer than loading this module.
_UNUSABLE = r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
_FILTER = r"(?s)([^<>=!@]+)(?:@([^<>=!]+))?(?:(<=|>=|!=|==|<|>|=)(.+))?"
_WORDS = {"true": True, "false": False}


def note(text: object, by: str, event: object = None) -> Score:
    """Return a note as it is stored (a score without name and value); raise ConfigError if it is invalid."""
    if text is None or (isinstance(text, str) and not text.strip()):
        raise ConfigError("invalid note: expected a text, got an empty one")
    return Score("", None, _text("author", by, _AUTHOR), text, None, event)


def checked(score: Score) -> Score:
    """Return a score as it is stored; raise ConfigError for an invalid name, value or author."""
    return score._replace(
        name=name_of(score.name),
        value=value_of(score.value),
        by=_text("author", score.by, _AUTHOR) if score.by is not None else None,
        version=_text("version", score.version, _VERSION) if score.version is not None else None,
    )


def name_of(name: object) -> str:
    """Return the name of a score without spaces around it; raise ConfigError for a name that filters cannot express.

    >>> name_of(" correct ")
    'correct'
    """
    clean = _text("name", name, _NAME)
    if unusable := sorted({*clean} & {*"<>=!@"}):
        raise ConfigError(f"invalid score name {clean!r}: it has {' '.join(unusable)}, which filters of lists need")
    return clean


def _text(what: str, given: object, most: int) -> str:
    import re  # here, as commands that show figures do not need it

    clean = given.strip() if isinstance(given, str) else None
    if not clean or len(clean) > most or re.search(_UNUSABLE, clean):
        raise ConfigError(
            f"invalid score {what}: expected a text of 1 to {most} characters on one line, got {_quoted(given)}"
        )
    return clean


def _quoted(given: object) -> str:
    from localops.recording import events  # here, as it is rarely needed

    text = repr(str.__str__(given)) if isinstance(given, str) else f"{type(given).__name__} {events.describe(given)}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def value_of(value: object) -> Value:
    """Return the value of a score; raise ConfigError if it is invalid.

    >>> value_of(True), value_of(1), value_of(0.5), value_of(" good ")
    (True, 1, 0.5, 'good')
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text("value", value, _LABEL)
    if type(value).__name__ in ("bool_", "bool"):  # of numpy
        return bool(value)
    if isinstance(value, int) and -_MOST_EXACT <= value <= _MOST_EXACT:
        return int(value)
    try:
        if isinstance(value, bytes | bytearray):
            raise TypeError("bytes are not a number, even if float() could parse them")
        number = float(value)  # type: ignore[arg-type]  # a number of any library
    except Exception as error:  # the edge: a class of the program
        raise ConfigError(
            f"invalid score value: expected a number, True, False, a text or None, got {_quoted(value)}"
        ) from error
    if not math.isfinite(number):
        raise ConfigError(f"invalid score value: expected a finite number, got {number}")
    return number


def value_from(text: str) -> Value:
    """Return the value that a person wrote: `true` and `false`, a number, else a category.

    >>> value_from("true"), value_from("3"), value_from("-.5"), value_from("good")
    (True, 3, -0.5, 'good')
    """
    clean = text.strip()
    if clean.lower() in _WORDS:
        return _WORDS[clean.lower()]
    try:
        number: Value = int(clean) if clean.lstrip("+-").isdigit() else float(clean)
    except ValueError:
        return value_of(clean)
    return value_of(number)


def condition(text: str) -> Condition:
    """Parse a filter: NAME or NAME@AUTHOR, optionally followed by <, <=, >, >=, =, == or != and a value.

    >>> condition("correct@human<0.5")
    Condition(name='correct', author='human', op='<', value=0.5)
    """
    import re  # as above

    match = re.fullmatch(_FILTER, text.strip())
    if match is None:
        raise ConfigError(f"invalid score filter {text!r}: expected NAME, NAME<0.5, NAME=good or NAME@AUTHOR>=1")
    name, author, op, right = match.groups()
    op = "=" if op == "==" else op
    value = value_from(right) if op is not None else None
    if op is not None and op not in ("=", "!=") and isinstance(value, str):
        raise ConfigError(f"invalid score filter {text!r}: expected a number after {op}, got {value!r}")
    return Condition(name_of(name), author and _text("author", author, _AUTHOR), op, value)


def asked(conditions: Iterable[Condition]) -> list[list[object]]:
    """Return conditions as parameters of SQL: name, author, operator, and a number or a category."""
    return [
        [
            one.name,
            one.author,
            one.op,
            None if one.value is None or isinstance(one.value, str) else float(one.value),
            one.value if isinstance(one.value, str) else None,
        ]
        for one in conditions
    ]


def cut(value: Value) -> str:
    """Return the text of a value for a cell of a table; a long category is cut.

    >>> cut("good"), cut("it " * 50)
    ('good', 'it it it it it it it it it it it it it …')
    """
    return output.cut(shown(value), _CELLS)


def shown(value: Value) -> str:
    """Return the text of a value.

    >>> shown(True), shown(0.25), shown(3.0), shown("good"), shown(None)
    ('true', '0.25', '3', 'good', 'none')
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    return f"{value:.6g}"
