"""Detect regular expressions that can take exponential time, because a repeated text can match in many ways.

A pattern becomes a graph of positions: each consumes one character, and edges lead to the positions that may follow.
Matching can take exponential time if two different paths lead from a position back to itself with the same text.  To
find such paths, we search the graph of pairs of positions that the same text can reach.  This is approximate:
characters are compared by a fixed sample, assertions count as always true, and a very large pattern counts as harmless.
"""

from __future__ import annotations

import re
from collections import Counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    Graph = Mapping[Any, Iterable[Any]]

_FEW = 20  # up to this many repetitions are unrolled
_MOST_PLACES, _MOST_PAIRS = 300, 20_000
_SAMPLE = "".join(map(chr, range(128))) + "\u00e9\u03bb\u0663\u2003\u4e2d\U0001f600"


class _TooLarge(Exception):
    """The pattern has too many positions or pairs."""


class _Part:
    """A part of a pattern: its possible first and last positions, and whether it can match an empty text."""

    __slots__ = ("first", "is_empty", "last")

    def __init__(self, first: list[int], last: list[int], *, is_empty: bool) -> None:
        self.first, self.last, self.is_empty = first, last, is_empty


def is_ambiguous(pattern: re.Pattern[str]) -> bool:
    """Return whether a pattern can take exponential time, as far as we can detect it.

    >>> [is_ambiguous(re.compile(each)) for each in (r"(a+)+$", r"(a|aa)+$", r"(\\w+-)+", r"\\d{13,16}")]
    [True, True, False, False]
    """
    from re import _parser  # type: ignore[attr-defined]  # no public module parses a pattern

    parts = _parser.parse(pattern.pattern, pattern.flags)
    if not _repeats_more_than_a_character(parts):
        return False
    graph = _Graph()
    try:
        graph.sequence(parts, parts.state.flags)
        return graph.is_ambiguous()
    except _TooLarge:
        return False


def _repeats_more_than_a_character(parts: Any) -> bool:
    """Return whether more than a single character is repeated; most patterns have no such part and are harmless."""
    for kind, what in parts:
        inner = _inner(str(kind), what)
        is_repeated = str(kind).endswith("_REPEAT") and int(what[1]) > 1
        if is_repeated and not (len(what[2]) == 1 and str(what[2][0][0]) in _OF_ONE):
            return True
        if any(map(_repeats_more_than_a_character, inner)):
            return True
    return False


_OF_ONE = ("LITERAL", "NOT_LITERAL", "ANY", "IN")


def _inner(kind: str, what: Any) -> list[Any]:
    if kind.endswith("_REPEAT"):
        return [what[2]]
    if kind == "SUBPATTERN":
        return [what[3]]
    if kind in ("BRANCH", "ASSERT", "ASSERT_NOT"):
        return list(what[1]) if kind == "BRANCH" else [what[1]]
    if kind == "ATOMIC_GROUP":
        return [what]
    return [each for each in what[1:] if each is not None] if kind == "GROUPREF_EXISTS" else []


class _Graph:
    """The positions of a pattern that consume a character, and in how many ways one follows another."""

    def __init__(self) -> None:
        self.takes: list[int] = []  # for each position, the characters of the sample that it matches, as bits
        self.follows: Counter[tuple[int, int]] = Counter()

    # Building the graph from a pattern

    def sequence(self, parts: Any, flags: int) -> _Part:
        whole = _Part([], [], is_empty=True)
        for kind, what in parts:
            whole = self._after(whole, self._part(str(kind), what, flags))
        return whole

    def _after(self, before: _Part, then: _Part) -> _Part:
        self._join(before.last, then.first)
        first = before.first + then.first if before.is_empty else before.first
        last = then.last + before.last if then.is_empty else then.last
        return _Part(first, last, is_empty=before.is_empty and then.is_empty)

    def _join(self, before: list[int], then: list[int]) -> None:
        for one in before:
            self.follows.update((one, other) for other in then)

    def _part(self, kind: str, what: Any, flags: int) -> _Part:
        if kind in _OF_ONE:
            return self._position(_matching_characters(kind, what, flags))
        if kind in ("POSSESSIVE_REPEAT", "ATOMIC_GROUP"):
            return self._atomic(what[2] if kind == "POSSESSIVE_REPEAT" else what, flags)
        if kind.endswith("_REPEAT"):
            least, most, parts = what
            return self._repeated(least, most, parts, flags)
        if kind == "SUBPATTERN":
            return self.sequence(what[3], (flags | what[1]) & ~what[2])
        if kind in ("BRANCH", "GROUPREF_EXISTS"):
            return self._alternatives([self.sequence(each, flags) for each in _inner(kind, what)])
        if kind in ("ASSERT", "ASSERT_NOT"):
            # No edge leads into or out of it, but it is matched as well, so it is checked on its own.
            self.sequence(what[1], flags)
        return _Part([], [], is_empty=True)

    def _position(self, characters: int) -> _Part:
        if len(self.takes) == _MOST_PLACES:
            raise _TooLarge
        self.takes.append(characters)
        place = len(self.takes) - 1
        return _Part([place], [place], is_empty=False)

    def _atomic(self, parts: Any, flags: int) -> _Part:
        """Return an atomic part, which never gives back what it matched, as one position with all its characters."""
        inner = _Graph()
        whole = inner.sequence(parts, flags)
        characters = 0
        for each in inner.takes:
            characters |= each
        place = self._position(characters)
        return _Part(place.first, place.last, is_empty=whole.is_empty)

    def _alternatives(self, parts: list[_Part]) -> _Part:
        first = [place for part in parts for place in part.first]
        last = [place for part in parts for place in part.last]
        return _Part(first, last, is_empty=any(part.is_empty for part in parts))

    def _repeated(self, least: int, most: int, parts: Any, flags: int) -> _Part:
        if int(most) > _FEW:
            part = self.sequence(parts, flags)
            self._join(part.last, part.first)
            return _Part(part.first, part.last, is_empty=part.is_empty or least == 0)
        whole = _Part([], [], is_empty=True)
        for number in range(int(most)):
            part = self.sequence(parts, flags)
            whole = self._after(whole, _Part(part.first, part.last, is_empty=part.is_empty or number >= least))
        return whole

    # Searching the graph

    def is_ambiguous(self) -> bool:
        graph: dict[int, list[int]] = {place: [] for place in range(len(self.takes))}
        for one, other in self.follows:
            graph[one].append(other)
        for places in _cycles(graph):
            inside = {one: [other for other in graph[one] if other in places] for one in places}
            if any(self.follows[one, other] > 1 for one in places for other in inside[one]):
                return True
            if any(_has_two_paths(pairs) for pairs in _cycles(self._pairs(inside))):
                return True
        return False

    def _pairs(self, graph: Graph) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """Return the pairs of positions that the same text can reach from one position, with the pairs that follow."""
        waiting = [(place, place) for place in graph]
        pairs: dict[tuple[int, int], list[tuple[int, int]]] = {}
        steps = 0
        while waiting:
            pair = waiting.pop()
            if pair in pairs:
                continue
            following = {
                (min(one, other), max(one, other))
                for one in graph[pair[0]]
                for other in graph[pair[1]]
                if self.takes[one] & self.takes[other]
            }
            steps += 1 + len(following)
            if steps > _MOST_PAIRS:
                raise _TooLarge
            pairs[pair] = list(following)
            waiting.extend(following)
        return pairs


def _has_two_paths(pairs: set[tuple[int, int]]) -> bool:
    """Return whether two paths separate in a cycle of pairs, and meet again."""
    return any(one == other for one, other in pairs) and any(one != other for one, other in pairs)


def _cycles(graph: Graph) -> list[set[Any]]:
    """Return the strongly connected components that contain a cycle (Kosaraju's algorithm)."""
    backward: dict[Any, list[Any]] = {node: [] for node in graph}
    for node in graph:
        for other in graph[node]:
            backward[other].append(node)
    seen: set[Any] = set()
    order = [node for root in graph for node in _reachable(root, graph, seen)]
    taken: set[Any] = set()
    groups = [set(_reachable(root, backward, taken)) for root in reversed(order)]
    return [group for group in groups if len(group) > 1 or any(node in graph[node] for node in group)]


def _reachable(root: Any, graph: Graph, seen: set[Any]) -> Iterator[Any]:
    """Yield the nodes that can be reached from a root and are not in `seen`, in post-order."""
    if root in seen:
        return
    seen.add(root)
    path = [(root, iter(graph[root]))]
    while path:
        node, following = path[-1]
        other = next((other for other in following if other not in seen), None)
        if other is None:
            yield node
            path.pop()
        else:
            seen.add(other)
            path.append((other, iter(graph[other])))


# Which characters of the sample a position matches


def _matching_characters(kind: str, what: Any, flags: int) -> int:
    return sum(1 << at for at, character in enumerate(_SAMPLE) if _matches(kind, what, character, flags))


def _matches(kind: str, what: Any, character: str, flags: int) -> bool:
    if kind == "ANY":
        return bool(flags & re.DOTALL) or character != "\n"
    if kind == "IN":
        items = [(str(name), given) for name, given in what]
        is_negated = items[0][0] == "NEGATE"
        return is_negated != any(_matches(name, given, character, flags) for name, given in items if name != "NEGATE")
    if kind == "CATEGORY":
        return re.fullmatch(_CATEGORIES[str(what).removeprefix("CATEGORY_")], character, flags & re.ASCII) is not None
    forms = {character, character.lower(), character.upper()} if flags & re.IGNORECASE else {character}
    codes = [ord(form) for form in forms if len(form) == 1]
    if kind == "RANGE":
        return any(what[0] <= code <= what[1] for code in codes)
    return (what in codes) != (kind == "NOT_LITERAL")


_CATEGORIES = {
    "DIGIT": r"\d",
    "NOT_DIGIT": r"\D",
    "SPACE": r"\s",
    "NOT_SPACE": r"\S",
    "WORD": r"\w",
    "NOT_WORD": r"\W",
}
