"""The filters of a list of sessions, and their only parser, for commands, requests and pages.

Several values of a facet are alternatives; different facets must all match; `not_` before the name of a facet excludes
sessions.  Several values of `all_tag` must all match.  In a value, `*` stands for any characters: `model=claude-*`,
`meta=team=*`.
"""

from __future__ import annotations

from collections import namedtuple

from localops import clock
from localops.encoding import facets
from localops.errors import ConfigError
from localops.recording import scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from typing import Any

    Values = str | Sequence[str] | None

_MOST_NAMES = 10  # of scores, in a message
STATES = ("Success", "Failure", "Indeterminate", "Running", "Unknown")
# The facets of a session: each filter can have several values, and can exclude.
FACETS = ("state", "tag", "model", "agent", "tool", "user", "conversation", "meta", "name", "host", "error")
NOT = "not_"  # before the name of a facet: sessions that have none of these values
_EXCLUDED = tuple(f"{NOT}{name}" for name in FACETS)
ALL_TAG = "all_tag"  # tags that a session must have, each of them
_SINGLE: dict[str, Any] = {
    **dict.fromkeys(("since", "until", "text", "min_cost", "max_cost", "min_took", "max_took")),
    "errors": False,
}
_FIELDS = (
    *("state", "tag", "model", "agent", "since", "until", "text", "tool", "errors", "min_cost", "min_took"),
    *("user", "conversation", "meta", "score", "name", "host", "error", "max_cost", "max_took"),
    *_EXCLUDED,
    ALL_TAG,
)
# Names of filters in requests, in seconds.
_ALIASES = {"min_seconds": "min_took", "max_seconds": "max_took"}
NAMES = (*_FIELDS, *_ALIASES)
_MOST = 200  # values in one request
_MOST_SCORES = 10
_ANY = "*"
_SECONDS = {"ms": 0, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}
_MOST_UNITS = 9_000_000_000  # seconds or dollars; in billionths, they still fit into 64 bits

if TYPE_CHECKING:

    class Filters:
        """The filters of a list of sessions: all that are set must match; times are of a session's beginning."""

        state: tuple[str, ...]
        tag: tuple[str, ...]
        model: tuple[str, ...]
        agent: tuple[str, ...]
        since: int | None
        until: int | None
        text: str | None
        tool: tuple[str, ...]
        errors: bool
        min_cost: int | None
        min_took: int | None
        user: tuple[str, ...]
        conversation: tuple[str, ...]
        meta: tuple[str, ...]  # NAME=VALUE
        score: tuple[str, ...]  # as scores.condition reads them; all must match
        name: tuple[str, ...]
        host: tuple[str, ...]
        error: tuple[str, ...]
        max_cost: int | None
        max_took: int | None
        all_tag: tuple[str, ...]  # each of them

        def __init__(
            self,
            state: Values = (),
            tag: Values = (),
            model: Values = (),
            agent: Values = (),
            since: int | None = None,
            until: int | None = None,
            text: str | None = None,
            tool: Values = (),
            errors: bool = False,
            min_cost: int | None = None,
            min_took: int | None = None,
            user: Values = (),
            conversation: Values = (),
            meta: Values = (),
            score: Values = (),
            name: Values = (),
            host: Values = (),
            error: Values = (),
            max_cost: int | None = None,
            max_took: int | None = None,
            all_tag: Values = (),
            **excluded: Values,
        ) -> None: ...

        def __iter__(self) -> Any: ...

        def _replace(self, **changes: Any) -> Filters: ...

        def _asdict(self) -> dict[str, Any]: ...

else:

    class Filters(namedtuple("Filters", _FIELDS, defaults=[_SINGLE.get(name, ()) for name in _FIELDS])):
        """The filters of a list of sessions: all that are set must match; times are of a session's beginning."""

        __slots__ = ()

        def __new__(cls, *given, **named):
            """Create filters; for a facet, a single text is one value, and None is no value."""
            one = super().__new__(cls, *given, **named)
            values = (value if name in _SINGLE else _several(value) for name, value in zip(_FIELDS, one, strict=True))
            return cls._make(values)

        def _replace(self, **changes):
            return type(self)(**{**self._asdict(), **changes})


def _several(value: Values) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(dict.fromkeys(value))


class Clause:
    """A filter by one facet: a session must have one of the values; if `excluded`, none of them."""

    __slots__ = ("_exact", "_patterns", "dim", "excluded", "values")

    def __init__(self, dim: str, values: Sequence[str], *, excluded: bool = False) -> None:
        self.dim, self.values, self.excluded = dim, tuple(values), excluded
        self._exact = frozenset(value for value in values if _ANY not in value)
        self._patterns = [_pattern(value) for value in values if _ANY in value]

    def fits(self, value: str) -> bool:
        """Return whether a session's value matches one of these."""
        return value in self._exact or any(pattern.fullmatch(value) for pattern in self._patterns)

    def passes(self, having: Iterable[str]) -> bool:
        """Return whether a session with these values passes the filter."""
        return any(map(self.fits, having)) is not self.excluded

    @property
    def is_exact(self) -> bool:
        """Return whether no value has a `*`."""
        return not self._patterns

    def globs(self) -> list[list[object]]:
        """Return each value, and whether it is a pattern for SQLite's GLOB."""
        return [[_glob(value) if _ANY in value else value, _ANY in value] for value in self.values]


def _pattern(value: str) -> re.Pattern[str]:
    # Imported here, as most commands need no patterns; also below.
    import re

    return re.compile(".*".join(map(re.escape, value.split(_ANY))), re.DOTALL)


def _glob(value: str) -> str:
    return value.replace("[", "[[]").replace("?", "[?]")


def clauses(filters: Filters, *, but: str | None = None) -> list[Clause]:
    """Return the filters by facets; `but` leaves out the wanted values of one facet.

    Each name of metadata is its own facet, so `but` may be `meta:NAME`. Exclusions and `all_tag` are never left out.
    Users, conversations and metadata are stored as tags.  The state is not here, as it is not stored for open sessions.
    """
    given = [Clause("tag", [tag]) for tag in filters.all_tag]
    for name in FACETS[1:]:
        wanted = [value for value in getattr(filters, name) if but not in (name, f"{name}:{meta_name(value)}")]
        for values, excluded in ((wanted, False), (getattr(filters, f"{NOT}{name}"), True)):
            if values:
                given += _of_facet(name, values, excluded=excluded)
    return given


def meta_name(pair: str) -> str:
    """Return the name of a pair of metadata."""
    return pair.partition("=")[0]


def _of_facet(name: str, values: Sequence[str], *, excluded: bool) -> list[Clause]:
    if name in facets.NAMED:
        return [Clause("tag", [facets.tag(name, value) for value in values], excluded=excluded)]
    if name != "meta":
        return [Clause(name, values, excluded=excluded)]
    # Each name of metadata is its own facet.
    by_name: dict[str, list[str]] = {}
    for pair in values:
        key, _, value = pair.partition("=")
        by_name.setdefault(key, []).append(facets.tag(key, value))
    return [Clause("tag", tags, excluded=excluded) for tags in by_name.values()]


def states(filters: Filters, *, but: str | None = None) -> tuple[str, ...] | None:
    """Return the states that pass; None if all do. With `but="state"`, ignore the wanted states."""
    excluded: tuple[str, ...] = filters.not_state  # type: ignore[attr-defined]
    wanted = filters.state if but != "state" else ()
    left = tuple(one for one in STATES if (not wanted or one in wanted) and one not in excluded)
    return None if len(left) == len(STATES) else left


def parsed(given: Mapping[str, Sequence[str]], *, end_of_day: bool = False) -> Filters:
    """Parse filters given as texts by name; raise ConfigError for an invalid one.

    `end_of_day`: if `until` is a day, include the whole day.

    >>> parsed({"tag": ["a", "b"], "not_state": ["fail"], "min_cost": ["0.5"]}).min_cost
    500000000
    """
    if sum(map(len, given.values())) > _MOST:
        raise ConfigError(f"too many filters: at most {_MOST} values")
    fields: dict[str, Any] = {}
    for name, texts in given.items():
        field = _ALIASES.get(name, name)
        values = [text for text in texts if text]
        if field not in _FIELDS or not values:
            continue
        try:
            read = [_read(field, text, end_of_day=end_of_day) for text in values]
        except ConfigError as error:
            what = f"invalid {name}" if str(error).startswith("expected") else name
            raise ConfigError(f"{what}: {error}") from error
        fields[field] = read[-1] if field in _SINGLE else read
    if len(fields.get("score", ())) > _MOST_SCORES:
        raise ConfigError(f"too many filters by score: at most {_MOST_SCORES}")
    return Filters(**fields)


def _read(field: str, text: str, *, end_of_day: bool) -> Any:
    """Parse a text for a field."""
    if field == "until":
        return moment(text, end=end_of_day)
    reads: dict[str, Callable[[str], Any]] = {
        "state": state,
        "since": moment,
        "min_cost": dollars,
        "max_cost": dollars,
        "min_took": span,
        "max_took": span,
        "errors": lambda text: text == "1",
        "meta": pair,
        "score": score,
    }
    read = reads.get(field.removeprefix(NOT))
    return text if read is None else read(text)


def state(text: str) -> str:
    """Parse a state, in any letter case; `Fail` is Failure, as in the API."""
    lower = text.lower()
    name = {one.lower(): one for one in STATES}.get("failure" if lower == "fail" else lower)
    if name is None:
        raise ConfigError(f"expected one of {', '.join(STATES)}, got {text[:40]!r}")
    return name


def pair(text: str) -> str:
    """Check that metadata has the form NAME=VALUE; raise ConfigError if not."""
    if "=" not in text:
        raise ConfigError(f"expected NAME=VALUE, got {text[:40]!r}")
    return text


def score(text: str) -> str:
    """Check a filter by score; raise ConfigError if it is invalid."""
    scores.condition(text)
    return text


def moment(text: str, *, end: bool = False) -> int:
    """Parse a time (`2h` or `3d` ago, a day, or ISO 8601), in nanoseconds; with `end`, a day is its end."""
    text = text.strip()
    if (since := clock.ago(text)) is not None:
        return max(since, -(1 << 63))
    # Imported here, as most commands need no times.
    from localops.recording import events

    at = events.to_ns(text)
    if at is None:
        raise ConfigError(f"invalid time {text[:40]!r}: use 2h, 3d, 2026-11-21 or 2026-11-21T08:30")
    import re

    return at + _SECONDS["d"] * 1_000_000_000 if end and re.fullmatch(r"\d{4}-\d\d-\d\d", text) else at


def span(text: str) -> int:
    """Parse a duration (`250ms`, `5m`, or a number of seconds), in nanoseconds."""
    import re

    match = re.fullmatch(r"(\d{1,40}(?:\.\d{1,40})?) *(ms|[smhdwy])?", text.strip())
    billionths = _billionths(match[1], _SECONDS[match[2] or "s"]) if match else None
    if billionths is None:
        raise ConfigError(f"invalid duration {text[:40]!r}: use 250ms, 90s, 5m or 2h")
    return billionths


def dollars(text: str) -> int:
    """Parse an amount of US dollars (`0.25`, `$3`), in nano-dollars."""
    import re

    match = re.fullmatch(r"\$?(\d{1,40}(?:\.\d{1,40})?|\.\d{1,40})", text.strip())
    nano = _billionths(match[1], 1) if match else None
    if nano is None:
        raise ConfigError(f"invalid amount {text[:40]!r}: use US dollars such as 0.25")
    return nano


def _billionths(number: str, factor: int) -> int | None:
    """Return a number times a factor, exactly, in billionths; a factor of 0 means 1/1000.  None if it is too large."""
    whole, _, fraction = number.partition(".")
    unit = 10 ** len(fraction) * (1 if factor else 1000)
    exact = int((whole or "0") + fraction) * 10**9 * (factor or 1)
    value = (2 * exact + unit) // (2 * unit)
    return value if value <= _MOST_UNITS * 10**9 else None


def scores_there(names: Iterable[str]) -> str:
    """Return a sentence with the names of the existing scores."""
    there = sorted({*names})
    more = f" and {len(there) - _MOST_NAMES} more" if len(there) > _MOST_NAMES else ""
    return f"existing scores: {', '.join(map(repr, there[:_MOST_NAMES]))}{more}" if there else "there are no scores"


def hint_of_score(asked: Iterable[str], names: Callable[[], Collection[str]]) -> str | None:
    """Return a sentence about the first filter by a score that no session has; None if there is no such filter."""
    wanted = [scores.condition(text).name for text in asked]
    there = names() if wanted else ()
    unknown = next((name for name in wanted if name not in there), None)
    return None if unknown is None else f"no session has the score {unknown!r}; {scores_there(there)}"


def unknown_score(name: str, names: Iterable[str]) -> str:
    """Return the message that no session has a score to sort by."""
    return f"invalid score: expected one that a session has, got {name!r}; {scores_there(names)}"
