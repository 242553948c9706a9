"""Undo escapes in a text (of terminals, JSON, URLs, HTML, mail), so that secrets between or in escapes are found.

`redact` searches a text as it is, and also each unescaped reading of it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache
from itertools import accumulate

from localops.encoding.urls import Later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from localops.encoding.named_values import Span

_BELL = r"(?:\x07|\\{1,8}(?:u0007|x07|0?07|a))"
_END_OF_STRING = r"(?:\x1b|\\{1,8}(?:u001[bB]|x1[bB]|0?33|e))\\{1,8}"
# What follows the escape character; if that is written as `\e`, only these sequences count.
_SEQUENCE = (
    rf"(?:\[[0-?]{{0,32}}[ -/]{{0,4}}[@-~]|\][0-9]{{1,4}};[^\x07\x1b\\\n]{{0,1024}}(?:{_BELL}|{_END_OF_STRING}))"
)
_ANY_SEQUENCE = rf"(?:{_SEQUENCE}|[()][0-9A-Za-z])"
# The escape character as it is written in JSON, C and a shell.
_WRITTEN = rf"(?:(?:u001[bB]|x1[bB]|0?33){_ANY_SEQUENCE}|e{_SEQUENCE})"
# The escape character itself, as `cat -v` shows it, and sequences that begin with one character, also in UTF-8.
_COLOURS = rf"\x1b{_ANY_SEQUENCE}|\^\[{_ANY_SEQUENCE}|\x9b[0-?]{{0,32}}[@-~]|\xc2\x9b[0-?]{{0,32}}[@-~]"
COLOUR = rf"(?:{_COLOURS}|\\{{1,8}}{_WRITTEN})"
"""Sequences that a terminal does not show: colours, hyperlinks, erasing the rest of a line."""
# A character as JSON, C, a URL, HTML or XML escape it, also if it was escaped several times. Each alternative begins
# with a fixed character, which makes a search fast.
_SIGNS = (
    rf"\\\\{{0,7}}+(?:{_WRITTEN}|u[0-9A-Fa-f]{{4}}|x[0-9A-Fa-f]{{2}}|U[0-9A-Fa-f]{{8}}|[0-7]{{1,3}}|/)"
    r"|%(?:25){0,4}[0-9A-Fa-f]{2}"
    r"|&(?:amp;){0,4}(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos|nbsp|equals|colon|sol|commat);"
)
# Quoted-printable, as in mail, where a long line ends with `=`. Only a text with `=3D` is decoded so.
_MAIL = r"=(?:[0-9A-F]{2}|\r?\n)"
_ESCAPE = Later(rf"({_COLOURS}|{_SIGNS})")
_ESCAPE_OR_MAIL = Later(rf"({_COLOURS}|{_SIGNS}|{_MAIL})")
_NAMED = dict(zip("amp lt gt quot apos nbsp equals colon sol commat".split(), "&<>\"' =:/@", strict=True))
_COLOURED = "\x1b\x9b\xc2^"
_BRACKETS = frozenset("[]()")
_STARTS = "\\%&\x1b\x9b^"
_LEVELS = 3
# A text is unescaped in parts. What begins near the end of a part is searched in the next one, which overlaps it.
_WINDOW, _OVERLAP, _NEAR_END = 1 << 16, 1 << 11, 1600
# An escape may be this far after the start of a secret that it hides, or before it; and the context that is searched.
_BEFORE, _BEHIND = 512, 320
_SEEN_BEFORE, _SEEN_BEHIND = 512, 4608
_SIGNS_KNOWN = 4096
_LONGEST_SIGN = 32  # characters: the end of a part may cut an escape


class Reading:
    """A part of a text without its escapes, and where each of its characters comes from.

    Secrets that escapes hide begin in one of the `zones`; the text around them is only context.
    """

    def __init__(self, levels: list[_Level], around: tuple[str, str], begin: int) -> None:
        before, behind = around
        self.text = f"{before}{levels[-1].inner}{behind}"
        self.zones: list[tuple[int, int]] = []
        self._levels, self._begin, self._first = levels, begin, len(before)
        self._starts: list[tuple[list[int], list[int]]] = []

    def search(self, zones: Iterable[tuple[int, int]], last: int) -> Reading:
        """Set the zones, merging overlapping ones, each up to `last` at most."""
        stop = self._first + last
        for start, end in zones:
            start, end = max(0, self._first + start), min(stop, self._first + end)
            if self.zones and start <= self.zones[-1][1]:
                self.zones[-1] = self.zones[-1][0], end
            elif start < end:
                self.zones.append((start, end))
        return self

    def goes_on(self, span: Span) -> bool:
        """Return whether a secret may continue in the text behind this reading, which is not unescaped here."""
        undone = self._first + len(self._levels[-1].inner)
        return undone < len(self.text) and span[1] > undone - _LONGEST_SIGN

    def origin(self, span: Span) -> Span:
        """Convert a span of this reading to one of the original text."""
        start, end, label = span
        start, end = start - self._first, end - self._first
        if not self._starts:
            self._starts = [level.starts() for level in reversed(self._levels)]
        for there, here in self._starts:
            (start, _), (_, end) = _place(start, there, here), _place(end - 1, there, here)
        return self._begin + start, self._begin + end, label


class _Level:
    """A text as pieces, of which every second one is an escape, and the text without escapes."""

    def __init__(self, pieces: list[str], colour: str, inner: str | None = None) -> None:
        self._pieces, self._colour = pieces, colour
        self.inner = "".join(_unescape(pieces, colour)) if inner is None else inner

    def starts(self) -> tuple[list[int], list[int]]:
        """Return where each piece begins, in the text with escapes and in the one without."""
        here = _unescape(self._pieces, self._colour)
        return [0, *accumulate(map(len, self._pieces))], [0, *accumulate(map(len, here))]


def _unescape(pieces: list[str], colour: str) -> list[str]:
    here = pieces.copy()
    here[1::2] = map(_signs_of(colour).__getitem__, here[1::2])
    return here


def readings(text: str, is_suspect: Callable[[str], object], longest: int = 0) -> Iterator[Reading]:
    """Yield what is near escapes in suspect parts of a text, unescaped; colours are removed.

    If removing a colour may have joined two words, there is a second reading with a blank in its place.  `longest` is
    the length of the longest secret in the text as it is: a secret that an escape cuts may begin that far before it.

    >>> [reading.text for reading in readings("a%253Db \\x1b[31mc", bool)]
    ['a=b c']
    >>> [reading.text for reading in readings("a\\x1b[31mb", bool)]
    ['ab', 'a b']
    """
    if not any(sign in text for sign in _STARTS) and "=3D" not in text:
        return
    for start in range(0, max(1, len(text) - _OVERLAP), _WINDOW):
        part = text[start : start + _WINDOW + _OVERLAP]
        # Unescaping a whole log takes several times as long as this check.
        if not is_suspect(part):
            continue
        is_last = start + len(part) == len(text)
        # First, each colour is replaced by one mark: a character that is not in the text and that no escape stands for.
        mark = _mark_for(part)
        for pieces, at in _near_escapes(_split(part), _BEFORE + longest):
            begin, end = start + at, start + at + sum(map(len, pieces))
            around = text[max(0, begin - _SEEN_BEFORE) : begin], text[end : end + _SEEN_BEHIND]
            last = len(pieces) if is_last else _before(pieces, end - (start + len(part) - _NEAR_END))
            yield from _read(pieces, last, _BEFORE + longest, mark, around, begin)


def readings_from(text: str, start: int) -> Iterator[Reading]:
    """Yield readings of up to 64 KiB of a text from a place on, for a key that is longer than one part."""
    part = text[start : start + _WINDOW]
    pieces = _split(part)
    yield from _read(pieces, len(pieces), len(part), _mark_for(part), ("", ""), start)


def _mark_for(text: str) -> str:
    """Return a character that is not in a text."""
    return next(mark for mark in map(chr, range(0x80, 0x110000)) if mark not in text)


def _read(
    pieces: list[str], last: int, reach: int, mark: str, around: tuple[str, str], begin: int
) -> Iterator[Reading]:
    """Yield the readings of a part of a text; secrets that begin after its first `last` pieces are left to the next."""
    marked = _unescape(pieces, mark)
    whole, left_out = "".join(marked), "".join(marked[last:])
    joins = [match.span() for match in _possible_joins(mark).finditer(whole)] if mark in whole else []
    most, has_later = _LEVELS, False
    for colour in ("", " "):
        levels = [_Level(pieces, colour, whole.replace(mark, colour))]
        while len(levels) < most and len(more := _split(levels[-1].inner)) > 1:
            levels.append(_Level(more, colour))
            has_later = has_later or any(map(_is_colour, set(more[1::2])))
        size = len(levels[-1].inner) - len(left_out.replace(mark, colour))
        # With only one level of escapes, a mark and a blank have the same positions, so `joins` hold for this reading.
        zones = [(0, size)]
        if colour and len(levels) == 1:
            zones = [(start - reach, end + _BEHIND) for start, end in joins]
        yield Reading(levels, around, begin).search(zones, size)
        if not joins and not has_later:
            break
        # A reading with blanks cannot have more levels of escapes than the one without.
        most = len(levels)


def _before(pieces: list[str], size: int) -> int:
    """Return how many pieces remain without the last ones, which together have at most `size` characters."""
    count = len(pieces)
    while count and len(pieces[count - 1]) <= size:
        count -= 1
        size -= len(pieces[count])
    return count


def _split(text: str) -> list[str]:
    """Split a text into pieces, of which every second one is an escape."""
    pieces: list[str] = (_ESCAPE_OR_MAIL if "=3D" in text else _ESCAPE).split(text)
    return pieces


def _near_escapes(pieces: list[str], before: int) -> Iterator[tuple[list[str], int]]:
    """Yield groups of pieces around escapes that are near each other, and where each group begins."""
    first = at = 0
    far, long = before + _BEHIND, []
    if max(map(len, pieces[2:-1:2]), default=0) > far:
        long = [number for number in range(2, len(pieces) - 1, 2) if len(pieces[number]) > far]
    for last in [*long, len(pieces) - 1] if len(pieces) > 1 else ():
        skipped = max(0, len(pieces[first]) - before)
        yield [pieces[first][skipped:], *pieces[first + 1 : last], pieces[last][:_BEHIND]], at + skipped
        at += sum(map(len, pieces[first:last]))
        first = last


def _place(at: int, there: list[int], here: list[int]) -> tuple[int, int]:
    """Return where a character of an unescaped text begins and ends in the text with escapes."""
    if not 0 <= at < here[-1]:
        start = at if at < 0 else at + there[-1] - here[-1]
        return start, start + 1
    number = bisect_right(here, at) - 1
    if number % 2:
        return there[number], there[number + 1]
    start = there[number] + at - here[number]
    return start, start + 1


class _Signs(dict[str, str]):
    """A cache of the character that each escape stands for."""

    def __init__(self, colour: str) -> None:
        super().__init__()
        self._colour = colour

    def __missing__(self, written: str) -> str:
        sign = self._colour if _is_colour(written) else _sign(written)
        if len(self) < _SIGNS_KNOWN:
            self[written] = sign
        return sign


@cache
def _signs_of(colour: str) -> _Signs:
    return _Signs(colour)


@cache
def _possible_joins(mark: str) -> re.Pattern[str]:
    """Return a pattern for a mark between what may be two words, with the text after it that is searched anyway."""
    return re.compile(rf"{mark}(?<=[\w\"'`]{mark})(?<!\\[nrt]{mark}){mark}*+(?=[\w\"'`-])(?s:.{{0,400}}+)")


def _is_colour(written: str) -> bool:
    """Return whether an escape is one of a terminal: of those with a backslash, only these contain brackets."""
    return written[0] in _COLOURED or not _BRACKETS.isdisjoint(written)


def _sign(written: str) -> str:
    """Return the character that an escape stands for; an empty text for a line break in mail."""
    if written[0] == "=":
        return _character(written[1:], 16) if written[1] not in "\r\n" else ""
    if written[0] == "%":
        return _character(written[-2:], 16)
    if written[0] == "&":
        name = written.rpartition("&")[2].rpartition("amp;")[2].rstrip(";") or "amp"
        if name[0] != "#":
            return _NAMED[name]
        return _character(name[2:], 16) if name[1] in "xX" else _character(name[1:], 10)
    code = written.lstrip("\\")
    if code == "/":
        return code
    return _character(code[1:], 16) if code[0] in "uUx" else _character(code, 8)


def _character(digits: str, base: int) -> str:
    """Return a character by its number; U+FFFD for any beyond ASCII, as a URL escapes single bytes of it."""
    number = int(digits, base)
    return chr(number) if number < 128 else "\ufffd"
