"""Text and figures for people: one-line notices, safe text, plain tables, formatted numbers.

It knows nothing of commands, colour schemes or journals; `cli/` decides what is printed, and where.  Recorded text is
hostile until `clean` has treated it; the functions that print or lay out text here clean it first.
"""

from __future__ import annotations

import os
import sys
import time

from localops.interruption import hold, hold_if_programs
from localops.journal.token_kinds import WITH_COLUMN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from typing import TextIO

# The token counts of an LLM call: their short names for people, and what they count.
TOKENS = {kind.column: (kind.label, kind.meaning) for kind in WITH_COLUMN if kind.column}
# Those that are part of the tokens in or out.
PARTS_OF_TOKENS = [kind.column for kind in WITH_COLUMN if kind.column and kind.within]

_SECOND = 1_000_000_000
_MINUTE = 60 * _SECOND
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR

_DOLLAR = 1_000_000_000

# Controls, invisible formatting (bidi, zero-width, tags), lone surrogates, separators of lines and paragraphs: each
# can move the cursor, reorder a line, hide text or fail to encode.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

# The separator of groups of three digits: ASCII, so that a number can be pasted anywhere.
_group = ","

_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}

_MISSING = "–"

# The age from which each unit is used; hours up to two days, so that nothing is ever "1 days".
_AGES = ((2 * _DAY, _DAY, "days"), (_HOUR, _HOUR, "h"), (_MINUTE, _MINUTE, "min"), (0, _SECOND, "s"))

_said: dict[str, object] = {}


def say(message: str, *, level: str = "info") -> None:
    """Write one line for a person to stderr; a log also has its level. Never raise, whatever stderr is."""
    # Anything may replace stderr (None under pythonw, a closed file, a user's own class), and a notice must not
    # end the recorded program: hence the wide handler.
    try:
        sys.stderr.write(_line_of(message, level))
        sys.stderr.flush()
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is None:
            hold(error)
        else:
            hold_if_programs(error)


def _plain(message: str, _: str) -> str:
    return f"localops: {clean(message)}\n"


_line_of: Callable[[str, str], str] = _plain


def write_as(line_of: Callable[[str, str], str]) -> None:
    """Make notices lines of another form, such as JSON; `line_of` returns one, of a level, with its line feed."""
    global _line_of
    _line_of = line_of


def say_once(key: str, message: str) -> None:
    """Print a notice once per process for each `key`; keys are few, and never come from recorded data."""
    mine = object()
    if _said.setdefault(key, mine) is mine:  # atomic, so that only one of two threads prints it
        say(message)


def swap_notices(known: dict[str, object]) -> dict[str, object]:
    """Make `known` the notices that were given once, and return those before; for tests, which share a process."""
    global _said
    before, _said = _said, known
    return before


def clean(text: str, *, newlines: bool = False) -> str:
    r"""Make `text` safe for a terminal: control and invisible characters become `\xNN` or `\u{NNNN}`.

    Line feeds are kept only with `newlines=True`.
    """
    if text.isprintable():
        return text
    from unicodedata import category  # 2 ms to load, and most text never needs it

    kept = "\n" if newlines else ""
    return "".join(_escape(c) if category(c) in _UNSAFE and c not in kept else c for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{{{code:04x}}}"


def table(
    rows: Iterable[Sequence[object]],
    headers: Sequence[str],
    *,
    align: str = "",
    width: int | None = None,
    firm: Collection[int] = (),
) -> str:
    """Lay out `rows` under `headers` as plain text, without a final newline.

    `align` has a letter per column, `l` or `r` (left when missing). With `width`, the widest columns are cut
    with `…` until a line fits, those in `firm` last. Cells are cleaned, `None` is shown as `–`; colour whole
    lines afterwards.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    titles = [clean(title) for title in headers]
    natural = [max(map(cells_wide, column)) for column in zip(titles, *cells, strict=True)]
    widths = _shrink(natural, width, firm)
    rules = ["─" * column for column in widths]
    aligned = align.ljust(len(titles), "l")
    return "\n".join(_line(line, widths, aligned) for line in [titles, rules, *cells])


def _cell(value: object) -> str:
    return _MISSING if value is None else clean(str(value))


def _line(cells: Sequence[str], widths: Sequence[int], align: str) -> str:
    columns = zip(cells, widths, align, strict=True)
    return "  ".join(_pad(cut(cell, width), width, side) for cell, width, side in columns).rstrip(" ")


def _pad(text: str, width: int, side: str) -> str:
    space = " " * (width - cells_wide(text))
    return space + text if side == "r" else text + space


def _shrink(widths: list[int], limit: int | None, firm: Collection[int]) -> list[int]:
    """Cut the widest columns first, so that short ones stay whole; no column gets narrower than one cell."""
    if limit is None:
        return widths
    soft = [column for column in range(len(widths)) if column not in firm]
    room = limit - 2 * (len(widths) - 1)
    left = room - sum(widths[column] for column in firm)
    if not soft or left < len(soft):  # it only helps to cut the firm ones, too
        return _level(widths, max(room, len(widths)))
    levelled = iter(_level([widths[column] for column in soft], left))
    return [width if column in firm else next(levelled) for column, width in enumerate(widths)]


def _level(widths: list[int], room: int) -> list[int]:
    """Return the widths cut to one maximum, so far that their sum fits."""
    cap = max(widths, default=0)
    while cap > 1 and sum(min(width, cap) for width in widths) > room:
        cap -= 1
    shrunk = [min(width, cap) for width in widths]
    spare = room - sum(shrunk)
    for index, width in enumerate(widths):  # the last step cut too much: give it back, a cell each
        if shrunk[index] < width and spare > 0:
            shrunk[index] += 1
            spare -= 1
    return shrunk


def cells_wide(text: str) -> int:
    """Return how many terminal cells `text` takes: wide East Asian characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(map(_cell_width, text))


def _cell_width(character: str) -> int:
    from unicodedata import category, east_asian_width

    if category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Shorten `text` to `width` terminal cells (at least one), ending in `…` if anything was cut off."""
    if cells_wide(text) <= width:
        return text
    room, kept = width - 1, 0
    while (room := room - _cell_width(text[kept])) >= 0:
        kept += 1
    return text[:kept] + "…"


def wrap(text: str, width: int) -> list[str]:
    """Break `text` into lines of at most `width` terminal cells, at a space if there is one not too far back."""
    lines = []
    for line in text.split("\n"):
        start = 0
        while (end := _reach(line, start, width)) < len(line):
            space = line.rfind(" ", start + (end - start) // 2, end + 1)
            lines.append(line[start : end if space < 0 else space].rstrip(" "))
            start = end if space < 0 else space + 1
        lines.append(line[start:])
    return lines


def _reach(line: str, start: int, width: int) -> int:
    """Return the index that so many cells from `start` reach in a line; at least one character further."""
    if line.isascii():
        return min(len(line), start + width)
    end = start
    while end < len(line) and (width := width - _cell_width(line[end])) >= 0:
        end += 1
    return max(end, min(start + 1, len(line)))


def terminal_width(stream: TextIO) -> int | None:
    """Return the columns of the terminal behind `stream`; None for a file or a pipe, which has no edge.

    An exported COLUMNS takes precedence, as everywhere.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


def duration(ns: int) -> str:
    """Write a duration as AgentOps does: `'1h 2m 3.5s'`, hours and minutes only above zero, no days."""
    # Microseconds, then floats: AgentOps' figures come from datetime, and the last digit must round as there.
    hours, rest = divmod(ns // 1000 / 1_000_000, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [f"{int(hours)}h"] if hours > 0 else []
    if minutes > 0:
        parts.append(f"{int(minutes)}m")
    return " ".join([*parts, f"{seconds:.1f}s"])


def short_duration(ns: int) -> str:
    """Write a duration in few characters for a table: `340ms`, `3.2s`, `2m 05s`, `3h 12m`, `2d 03h`."""
    if ns < 0:
        return "-" + short_duration(-ns)
    if ns < 500_000:
        return "<1ms"
    # Each unit is tried after rounding, so that 59.97 s becomes `1m 00s` and never `60.0s`.
    if (milliseconds := _rounded(ns, 1_000_000)) < 1000:
        return f"{milliseconds}ms"
    if (tenths := _rounded(ns, _SECOND // 10)) < 600:
        return f"{tenths // 10}.{tenths % 10}s"
    if (seconds := _rounded(ns, _SECOND)) < 3600:
        return f"{seconds // 60}m {seconds % 60:02}s"
    if (minutes := _rounded(ns, _MINUTE)) < 24 * 60:
        return f"{minutes // 60}h {minutes % 60:02}m"
    hours = _rounded(ns, _HOUR)
    return f"{hours // 24}d {hours % 24:02}h"


def ago(ns: int) -> str:
    """Write how long ago something was, from the nanoseconds since then; a future time reads `in 5 min`."""
    age = abs(ns)
    if age < 10 * _SECOND:
        return "just now"
    phrase = next(f"{age // unit} {name}" for least, unit, name in _AGES if age >= least)
    return f"in {phrase}" if ns < 0 else f"{phrase} ago"


def when(ns: int, tz: str | None = None) -> str:
    """Write nanoseconds since 1970 as `2026-11-21 03:12:45`, in UTC, `"local"` time or a named zone.

    Raise `zoneinfo.ZoneInfoNotFoundError` or ValueError for an unknown zone.
    """
    seconds = ns // _SECOND
    if tz is None or tz == "local":
        moment = time.gmtime(seconds) if tz is None else time.localtime(seconds)
        return time.strftime("%Y-%m-%d %H:%M:%S", moment)
    from datetime import datetime
    from zoneinfo import ZoneInfo

    return datetime.fromtimestamp(seconds, ZoneInfo(tz)).strftime("%Y-%m-%d %H:%M:%S")


def cost(nano: int) -> str:
    """Write nano-dollars as AgentOps does: `'0.00'` for nothing, else six decimals, halves away from zero."""
    if nano == 0:
        return "0.00"
    whole, micro = divmod(_rounded(abs(nano), 1000), 1_000_000)
    return f"{'-' if nano < 0 else ''}{whole}.{micro:06}"


def money_of(nano: int, unpriced: int, calls: int, *, at_least: bool = False) -> str:
    """Write what calls cost together: `unpriced` if no price is known, with `+ ?` if it is not the whole cost.

    `at_least`: there may be others, as a call never ended, or rows are lost.
    """
    if is_unpriced(nano, unpriced, calls):
        return "unpriced"
    return money(nano) + (" + ?" if unpriced > 0 or at_least else "")


def is_unpriced(nano: int, unpriced: int, calls: int) -> bool:
    """Return whether there are calls, and none of them has a known price; see `money_of`."""
    return unpriced > 0 and unpriced >= calls and not nano


def money_in_words(nano: int, unpriced: int, *, at_least: bool) -> str:
    """Write what calls cost together, for a sentence: `at least $0.05`, `unpriced: 3 calls have no price`."""
    if unpriced and not nano:
        return f"unpriced: {counted(unpriced, 'call has', 'calls have')} no price"
    return f"{'at least ' if at_least else ''}{money(nano)}"


def money(nano: int | None) -> str:
    """Write nano-dollars for a person: `$12.35`, `$0.0123`, `$0.000042`, and `unpriced` for None."""
    if nano is None:
        return "unpriced"
    sign, amount = ("-" if nano < 0 else ""), abs(nano)
    if 0 < amount < 500:
        return f"{sign}<$0.000001"
    whole_cents = amount == 0 or amount >= _DOLLAR
    places = 2 if whole_cents else 4 if amount >= _DOLLAR // 100 else 6
    units, rest = divmod(_rounded(amount, 10 ** (9 - places)), 10**places)
    return f"{sign}${count(units)}.{rest:0{places}}"


def rate(dollars: str) -> str:
    """Write a price exactly, with at least whole cents: `$2.50`, `$0.0375`."""
    whole, _, rest = dollars.partition(".")
    return f"${count(int(whole))}.{rest.rstrip('0').ljust(2, '0')}"


def count(n: int) -> str:
    """Write a whole number: `1,234,567`, or `1234567` for a program."""
    return f"{n:,}" if _group else str(n)


def counted(n: int, one: str, more: str = "") -> str:
    """Write a number with its noun: `1 row`, `1,234 rows`; `more` is the plural if that is not `one` with an s."""
    return f"{count(n)} {one if n == 1 else more or f'{one}s'}"


def write_plain_numbers() -> None:
    """Leave out the separators between digits from now on: the reader of the output may want to add numbers up."""
    separate_digits("")


def separate_digits(separator: str) -> str:
    """Write this between groups of three digits from now on; return what was written before."""
    global _group
    before, _group = _group, separator
    return before


def bar(fraction: float, width: int) -> str:
    """Draw `fraction` of `width` cells, in eighths; a small one is still visible, and 1.0 fills it."""
    eighths = round(min(max(fraction, 0.0), 1.0) * width * 8)
    if fraction > 0:
        eighths = max(eighths, 1)
    full, part = divmod(eighths, 8)
    return ("█" * full + " ▏▎▍▌▋▊▉"[part] * bool(part)).ljust(width)


def colour(text: str, style: str, stream: TextIO) -> str:
    """Wrap clean `text` in a style (`bold`, `dim`, `red`, …) if `stream` is a terminal that wants it."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if _wants_colour(stream) else text


def _wants_colour(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except (ValueError, AttributeError):  # closed, or None
        return False


def csv_cell(text: str) -> str:
    """Keep a spreadsheet from running recorded text as a formula: such a cell gets a leading `'`."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _rounded(number: int, unit: int) -> int:
    """Return how many `unit` are in a non-negative `number`, rounded half up, without floats."""
    return (number + unit // 2) // unit


def percent(share: float) -> str:
    """Return a share as text, as on the pages: with a decimal below 10% and above 99%, never rounded to 0% or 100%.

    >>> percent(0.251), percent(0.034), percent(0.997), percent(0.0001), percent(0.9999)
    ('25%', '3.4%', '99.7%', '<0.1%', '>99.9%')
    """
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    digits = 1 if 0 < share < 0.1 or 0.99 < share < 1 else 0
    scale = 10**digits
    # Round half up, as JavaScript does.
    return f"{int(share * 100 * scale + 0.5) / scale:.{digits}f}%"


def cached_percent(cached: int, tokens_in: int) -> str:
    """Return the share of tokens in that came from a cache, of calls that report both; empty without any."""
    return percent(min(1.0, cached / tokens_in)) if cached and tokens_in else ""


def from_cache(all_in: int, cached: int, tokens_in: int) -> str:
    """Return the same for text behind the number of all tokens in; say so if some calls do not report both.

    >>> from_cache(1_000, 600, 1_000), from_cache(3_000, 600, 1_000), from_cache(1_000, 0, 0)
    (' (60% from a cache)', ' (60% of 1,000 from a cache)', '')
    """
    of = "" if tokens_in == all_in else f" of {count(tokens_in)}"
    return f" ({share}{of} from a cache)" if (share := cached_percent(cached, tokens_in)) else ""
