"""Undo what a terminal, an encoder or a template has put into a text, so that secrets are found as in a plain one.

`redact` searches a text as it is, and beside it each of these readings.
"""

from __future__ import annotations

from bisect import bisect_right

from localops.encoding.urls import Later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localops.encoding.shapes import Span

_BELL = r"(?:\x07|\\{1,8}(?:u0007|x07|0?07|a))"
_END_OF_STRING = r"(?:\x1b|\\{1,8}(?:u001[bB]|x1[bB]|0?33|e))\\{1,8}"
# What follows the escape character, and only it if it is written as `\e`.
_SEQUENCE = (
    rf"(?:\[[0-?]{{0,32}}[ -/]{{0,4}}[@-~]|\][0-9]{{1,4}};[^\x07\x1b\\\n]{{0,1024}}(?:{_BELL}|{_END_OF_STRING}))"
)
_ANY_SEQUENCE = rf"(?:{_SEQUENCE}|[()][0-9A-Za-z])"
# As text in JSON, C and a shell.
_WRITTEN = rf"(?:(?:u001[bB]|x1[bB]|0?33){_ANY_SEQUENCE}|e{_SEQUENCE})"
# As it is, as `cat -v` shows it, and as one character, also in UTF-8.
_COLOURS = rf"\x1b{_ANY_SEQUENCE}|\^\[{_ANY_SEQUENCE}|\x9b[0-?]{{0,32}}[@-~]|\xc2\x9b[0-?]{{0,32}}[@-~]"
COLOUR = rf"(?:{_COLOURS}|\\{{1,8}}{_WRITTEN})"
"""Signs that a terminal does not show: colours, hyperlinks, the end of a line that is erased."""
# A sign as JSON, C, an address, HTML or XML write it, also if it was written so more than once. Each alternative begins
# with its character, which makes a search fast.
_SIGNS = (
    rf"\\(?:\\{{0,7}}{_WRITTEN}(?P<colour>)"
    r"|\\{0,7}(?:u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|U[0-9A-Fa-f]{8}|[0-7]{1,3}|/))|%(?:25){0,4}[0-9A-Fa-f]{2}"
    r"|&(?:amp;){0,4}(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|amp|lt|gt|quot|apos|nbsp|equals|colon|sol|commat);"
)
# In mail, where a line that is too long ends with the sign. A text has these only if `=3D` is in it.
_MAIL = r"=(?:[0-9A-F]{2}|\r?\n)"
_UNDONE = Later(rf"{_COLOURS}|{_SIGNS}")
_UNDONE_IN_MAIL = Later(rf"{_COLOURS}|{_SIGNS}|{_MAIL}")
_NAMED = dict(zip("amp lt gt quot apos nbsp equals colon sol commat".split(), "&<>\"' =:/@", strict=True))
_COLOURED = "\x1b\x9b\xc2^"
_STARTS = "\\%&\x1b\x9b^"
_LEVELS = 3
_WINDOW, _OVERLAP = 1 << 16, 1 << 13


class Reading:
    """A part of a text without its escapes, and where each of its characters comes from."""

    def __init__(self, text: str, places: list[tuple[int, int, int]], before: Reading | None) -> None:
        self.text = text
        self._places = places  # where each piece begins here, and there, and how long it is there if it is one sign
        self._starts = [place[0] for place in places]
        self._before = before

    def origin(self, span: Span) -> Span:
        """Return a place of this reading as one of the text."""
        start, end, label = span
        (began, _), (_, ended) = self._place(start), self._place(end - 1)
        there = began, ended, label
        return there if self._before is None else self._before.origin(there)

    def _place(self, at: int) -> tuple[int, int]:
        here, there, length = self._places[bisect_right(self._starts, at) - 1]
        return (there, there + length) if length else (there + at - here, there + at - here + 1)


def readings(text: str, is_suspect: Callable[[str], object]) -> Iterator[Reading]:
    """Yield the suspect parts of a text that have escapes, without them; for colours stands nothing, then a blank.

    >>> [reading.text for reading in readings("a%253Db \\x1b[31mc", bool)]
    ['a=b c', 'a=b  c']
    """
    if not any(sign in text for sign in _STARTS) and "=3D" not in text:
        return
    for start in range(0, max(1, len(text) - _OVERLAP), _WINDOW):
        part = text[start : start + _WINDOW + _OVERLAP]
        # To undo all escapes of a log takes ten times as long as to look at it.
        if not is_suspect(part):
            continue
        for colour in ("", " "):
            reading, has_colours = _undone(part, start, colour)
            if reading is not None:
                yield reading
            if not has_colours:
                break


def _undone(text: str, start: int, colour: str) -> tuple[Reading | None, bool]:
    reading, has_colours = None, False
    for _ in range(_LEVELS):
        made, colours = _once(text, start, colour, reading)
        if made is None:
            break
        reading, text, start, has_colours = made, made.text, 0, has_colours or colours
    return reading, has_colours


def _once(text: str, start: int, colour: str, before: Reading | None) -> tuple[Reading | None, bool]:
    pieces: list[str] = []
    places: list[tuple[int, int, int]] = []
    size = done = 0
    has_colours = False
    for match in (_UNDONE_IN_MAIL if "=3D" in text else _UNDONE).finditer(text):
        is_colour = match["colour"] is not None or match[0][0] in _COLOURED
        sign = colour if is_colour else _sign(match[0])
        has_colours = has_colours or is_colour
        at, end = match.span()
        if at > done:
            pieces.append(text[done:at])
            places.append((size, start + done, 0))
            size += at - done
        if sign:
            pieces.append(sign)
            places.append((size, start + at, end - at))
            size += 1
        done = end
    if not done:
        return None, False
    if done < len(text):
        pieces.append(text[done:])
        places.append((size, start + done, 0))
    return Reading("".join(pieces), places, before), has_colours


def _sign(written: str) -> str:
    """Return the character that is written as an escape, or an empty text for the end of a line of mail."""
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
    """Return a character by its number; one beyond ASCII, of which an address writes only a byte, stands for any."""
    number = int(digits, base)
    return chr(number) if number < 128 else "\ufffd"
