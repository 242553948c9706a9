"""Read the scores and notes of sessions, and compute averages of scores with confidence intervals."""

from __future__ import annotations

import math
from collections import namedtuple

from localops.clock import iso
from localops.journal import rows
from localops.reading import analytics
from localops.reading.story import unpacked
from localops.recording import scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, NamedTuple

    from localops.journal.reader import Reader
    from localops.journal.stored import Source
    from localops.reading.analytics import Chosen
    from localops.recording.scores import Condition, Value

    class _Columns(NamedTuple):
        target: bytes
        name: str  # empty: a note
        type: str | None
        number: float | None
        label: str | None
        author: str
        version: str | None
        text: str | None
        given_ns: int
        id: bytes
        seq: int
        newest: int

    class Counted(NamedTuple):
        """A score that counts, as input for averages."""

        name: str
        author: str
        of_event: int
        type: str
        number: float | None
        label: str | None
        session: bytes

    class Average(NamedTuple):
        """The mean of the scores of one name, author and type; for a category, its share."""

        name: str
        author: str
        of: str  # "session" or "event"
        type: str
        label: str | None  # the category
        many: int
        sessions: int
        mean: float  # for a bool or a category, the share
        low: float | None  # the 95% confidence interval of the mean; None for a single number
        high: float | None
        interval: str  # its method: "wilson" or "t"
else:
    _Columns = namedtuple("_Columns", "target name type number label author version text given_ns id seq newest")
    Counted = namedtuple("Counted", "name author of_event type number label session")
    Average = namedtuple("Average", "name author of type label many sessions mean low high interval")

_Z = 1.959963984540054  # of the normal distribution, for 95%
_FEW = 30  # up to this many degrees of freedom, Student's distribution is computed exactly
# The kind of an author, by its name or the part before a colon; any other author is a program.
_MOST_NAMED = 6  # authors or values in a hint
_KINDS = {"human": "HUMAN", "user": "HUMAN", "llm": "LLM", "model": "LLM", "judge": "LLM"}
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "=": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}


class Given(_Columns):
    """A recorded score or note."""

    __slots__ = ()

    @property
    def body(self) -> dict[str, Any]:
        """Return the body of its row."""
        return unpacked(self.text)

    @property
    def value(self) -> Value:
        """Return its value; None if it withdraws an earlier score."""
        value: Value = self.body.get("value")
        return value if self.type is not None else None

    @property
    def is_note(self) -> bool:
        """Return whether it is a note."""
        return not self.name

    @property
    def counts(self) -> bool:
        """Return whether it counts: a score that is the newest of its author, and not a withdrawal."""
        return bool(self.newest) and self.type is not None and not self.is_note


def named(answers: Iterable[Iterable[Any]]) -> list[Given]:
    """Return rows of the query `scores`."""
    return list(map(Given._make, answers))


def of_session(source: Source, session: bytes) -> list[Given]:
    """Return all scores and notes of a session and its events, oldest first, including replaced ones.

    Withdrawals without an earlier score are left out: functions write them to show that they gave no score.
    """
    return list(_effective(named(source.all("scores", session=session))))


def _effective(given: Iterable[Given]) -> Iterator[Given]:
    counting: set[tuple[str, bytes, str]] = set()
    for one in given:
        key = (one.name, one.target, one.author)
        if one.is_note or one.type is not None:
            counting.add(key)
        elif key in counting:
            counting.remove(key)
        else:
            continue
        yield one


def facts(one: Given) -> dict[str, Any]:
    """Return a score as JSON."""
    return {
        "name": one.name,
        "value": one.value,
        "type": one.type,
        "by": one.author,
        "version": one.version,
        "comment": one.body.get("comment"),
        **_place(one),
        "counts": one.counts,
    }


def note_facts(one: Given) -> dict[str, Any]:
    """Return a note as JSON."""
    return {"text": one.body.get("comment"), "by": one.author, **_place(one)}


def _place(one: Given) -> dict[str, Any]:
    event = rows.id_text(one.target) if one.target else None
    return {"event": event, "given": iso(one.given_ns), "id": rows.id_text(one.id)}


def together(given: Iterable[Given]) -> dict[str, Any]:
    """Return the scores and the notes of a session as JSON."""
    listed = list(given)
    return {
        "scores": [facts(one) for one in listed if not one.is_note],
        "notes": [note_facts(one) for one in listed if one.is_note],
    }


def kind_of_author(author: str) -> str:
    """Return the kind of an author in OpenInference's terms: HUMAN, LLM or CODE.

    >>> kind_of_author("human"), kind_of_author("human:ann"), kind_of_author("llm:gpt-4o"), kind_of_author("ci")
    ('HUMAN', 'HUMAN', 'LLM', 'CODE')
    """
    return _KINDS.get(author.partition(":")[0].lower(), "CODE")


def match(given: Iterable[Given], wanted: Condition) -> bool:
    """Return whether one of the scores that count matches a filter."""
    return any(_is_wanted(one, wanted) for one in given if one.counts)


def hint(known: Iterable[Counted], wanted: Condition) -> str | None:
    """Return a sentence about the author or the value of a filter that no score of its name has; None if one has."""
    named = [one for one in known if one.name == wanted.name]
    own = [one for one in named if wanted.author in (None, one.author)]
    if named and not own:
        authors = _first_of(repr(one.author) for one in named)
        return f"no score {wanted.name!r} is by {wanted.author!r}; there are some by {authors}"
    if not own or any(_is_wanted(one, wanted) for one in own):
        return None
    by = "" if wanted.author is None else f" by {wanted.author!r}"
    which = "is true" if wanted.op is None else f"is {wanted.op} {scores.shown(wanted.value)}"
    return f"no score {wanted.name!r}{by} {which}; existing values: {_first_of(_shown(one) for one in own)}"


def _shown(one: Counted) -> str:
    number = bool(one.number) if one.type == "bool" else one.number
    return str(one.label) if number is None else scores.shown(number)


def _first_of(texts: Iterable[str]) -> str:
    there = sorted({*texts})
    rest = len(there) - _MOST_NAMED
    return f"{', '.join(there[:_MOST_NAMED])}{f' and {rest} more' if rest > 0 else ''}"


def _is_wanted(one: Given | Counted, wanted: Condition) -> bool:
    if one.name != wanted.name or wanted.author not in (None, one.author):
        return False
    if wanted.op is None:
        return one.type != "bool" or one.number == 1
    left = one.label if isinstance(wanted.value, str) else one.number
    if left is None:  # a number and a category are never equal
        return wanted.op == "!="
    return _OPERATORS[wanted.op](left, wanted.value)


# Averages


def counted(reader: Reader, chosen: Chosen) -> list[Counted]:
    """Return the scores of the chosen sessions that count."""
    return list(map(Counted._make, analytics.query_report(reader, "scores", chosen)))


def averages(scores: Iterable[Counted]) -> list[Average]:
    """Return the mean of each name, author and type, and the share of each category, with 95% confidence intervals.

    For bools and categories, it is Wilson's interval; for numbers, that of Student's t. Both assume that scores are
    independent.
    """
    groups: dict[tuple[str, str, str, str], list[Counted]] = {}
    for one in scores:
        of = "event" if one.of_event else "session"
        groups.setdefault((one.name, of, one.author, one.type), []).append(one)
    return [line for key, group in sorted(groups.items()) for line in _lines(*key, group)]


def _lines(name: str, of: str, author: str, kind: str, group: Sequence[Counted]) -> list[Average]:
    count = len(group)
    if kind == "number":
        values = [one.number or 0.0 for one in group]
        mean, low, high = t_interval(values)
        return [Average(name, author, of, kind, None, count, _sessions(group), mean, low, high, "t")]
    if kind == "bool":
        share, low, high = wilson(sum(one.number == 1 for one in group), count)
        return [Average(name, author, of, kind, None, count, _sessions(group), share, low, high, "wilson")]
    categories: dict[str, list[Counted]] = {}
    for one in group:
        categories.setdefault(one.label or "", []).append(one)
    ordered = sorted(categories.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    return [
        Average(name, author, of, kind, label, len(have), _sessions(have), *wilson(len(have), count), "wilson")
        for label, have in ordered
    ]


def _sessions(group: Iterable[Counted]) -> int:
    return len({one.session for one in group})


def wilson(hits: int, count: int) -> tuple[float, float, float]:
    """Return the share of hits, and its 95% interval by Wilson's method.

    >>> [round(each, 3) for each in wilson(8, 10)]
    [0.8, 0.49, 0.943]
    """
    share = hits / count
    spread = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    middle, scale = share + _Z**2 / (2 * count), 1 + _Z**2 / count
    return share, max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def t_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return the mean of numbers, and its 95% interval by Student's t; a single number has no interval.

    >>> [round(each, 3) for each in t_interval([1, 2, 3, 4])]
    [2.5, 0.446, 4.554]
    """
    count = len(values)
    # Scaled, as the squares of large numbers would overflow.
    scale = max(map(abs, values)) or 1.0
    parts = [value / scale for value in values]
    mean = math.fsum(parts) / count
    if count == 1:
        return mean * scale, None, None
    deviation = math.sqrt(math.fsum((part - mean) ** 2 for part in parts) / (count - 1))
    spread = t_quantile(count - 1) * deviation / math.sqrt(count)
    return mean * scale, (mean - spread) * scale, (mean + spread) * scale


def t_quantile(freedom: int) -> float:
    """Return the number whose absolute value Student's t exceeds with a probability of 5 %, by degrees of freedom.

    >>> [round(t_quantile(each), 4) for each in (1, 2, 9, 30, 100)]
    [12.7062, 4.3027, 2.2622, 2.0423, 1.984]
    """
    if freedom > _FEW:
        z, v = _Z, freedom
        return (
            z
            + (z**3 + z) / (4 * v)
            + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
        )
    low, high = 0.0, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _central_probability(middle, freedom) < 0.95 else (low, middle)
    return (low + high) / 2


def _central_probability(t: float, freedom: int) -> float:
    """Return the probability that Student's t is between -t and t: a finite sum for integer degrees of freedom."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term = total = cosine if odd else 1.0
    for step in range(3 if odd else 2, freedom, 2):
        term *= cosine**2 * (step - 1) / step
        total += term
    if not odd:
        return sine * total
    return 2 / math.pi * (angle + (sine * total if freedom > 1 else 0.0))


def average_facts(one: Average) -> dict[str, Any]:
    """Return an average as JSON."""
    figures = one._asdict()
    return {"name": figures.pop("name"), "by": figures.pop("author"), "count": figures.pop("many"), **figures}
