"""Printing that commands share, and the format of `--json`.

JSON is one document with `schema_version`. Each cost has two keys, `cost_usd` (a number) and `cost_nano` (exact).
Times are ISO 8601 in UTC, durations are seconds, ids are written in full.

Nothing here needs click: a command that is run without options does not load it.
"""

from __future__ import annotations

import sys

from localops import output
from localops.journal.rows import id_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from localops.reading.snapshot import Snapshot

# Control, format and bidirectional characters, and lone surrogates: they could change what a terminal shows.
_UNSAFE = r"[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\U000e0000-\U000e007f]"
# Columns that a soft column keeps before spare columns are dropped.
_SOFT = 18
# Columns that a soft column keeps where a terminal is too narrow for that.
_NARROWEST = 8
# Of every --json document; raised when a key is removed or changes its meaning.
SCHEMA_VERSION = 1

missing: dict[str, object] = {}
"""What the figures of the running command lack, for its --json: `looking.look` fills it in."""


def print_json(facts: dict[str, Any]) -> None:
    """Print one JSON document, its schema version first; characters that could control a terminal are escaped."""
    import json

    document = {"schema_version": SCHEMA_VERSION, **missing, **facts}
    print(_escaped(json.dumps(document, indent=2, ensure_ascii=False)))


def print_json_line(facts: dict[str, Any]) -> None:
    """Print one JSON document on one line, for output without an end."""
    import json

    print(_escaped(json.dumps({"schema_version": SCHEMA_VERSION, **facts}, ensure_ascii=False)), flush=True)


def _escaped(text: str) -> str:
    import re

    return re.sub(_UNSAFE, lambda match: "".join(f"\\u{unit:04x}" for unit in _units(match[0])), text)


def _units(character: str) -> Iterable[int]:
    # JSON escapes are UTF-16: a character outside of the basic plane takes two.
    data = character.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def print_table(
    rows: Sequence[Sequence[object]],
    headers: Sequence[str],
    *,
    align: str = "",
    soft: Collection[str] = (),
    least: int = _SOFT,
    narrowest: int = _NARROWEST,
    spare: Sequence[str] = (),
    styles: Mapping[str, Callable[[str], str]] | None = None,
) -> None:
    """Print a table that fits the terminal; into a file or a pipe, complete and without colours.

    If it is too wide, `spare` columns are dropped one after another until every `soft` one has room for its
    `least`; then the soft ones are cut, to `narrowest` at most. Where not even the others fit, each row is printed as
    a block: an id or a cost that is cut is useless.
    """
    chosen = _fitting(rows, headers, dict.fromkeys(soft, least), narrowest, spare)
    if chosen is None:
        _print_blocks(rows, headers, styles or {})
        return
    titles = [headers[column] for column in chosen]
    text = output.table(
        [[row[column] for column in chosen] for row in rows],
        titles,
        align="".join(align[column] if column < len(align) else "l" for column in chosen),
        width=width(),
        firm=[index for index, title in enumerate(titles) if title not in soft],
    )
    lines = text.splitlines()
    spans = list(_spans(lines[1]))
    wanted = [(spans[titles.index(title)], style) for title, style in (styles or {}).items() if title in titles]
    for line in lines[:2]:
        print(dim(line))
    for line in lines[2:]:
        print(_coloured(line, wanted))


def _spans(rules: str) -> Iterator[tuple[int, int]]:
    """Yield the first cell of each column, and the one after its last, from the line below the titles."""
    start = 0
    for rule in rules.split("  "):
        yield start, start + len(rule)
        start += len(rule) + 2


def _fitting(
    rows: Sequence[Sequence[object]],
    headers: Sequence[str],
    least: Mapping[str, int],
    narrowest: int,
    spare: Sequence[str],
) -> list[int] | None:
    """Return the columns that fit when every soft one is cut to its least width; None if too few do."""
    chosen = list(range(len(headers)))
    room = width()
    if room is None:
        return chosen
    needs = [
        max(len(title), *(output.cells_wide(str(row[column])) for row in rows)) if rows else len(title)
        for column, title in enumerate(headers)
    ]
    # A soft column needs no more than its least width: it can be cut.
    widths = [min(need, least.get(headers[column], need)) for column, need in enumerate(needs)]
    for title in spare:
        if sum(widths[column] + 2 for column in chosen) - 2 <= room:
            break
        if title in headers:
            chosen.remove(headers.index(title))
    widths = [min(need, narrowest) if headers[column] in least else need for column, need in enumerate(needs)]
    return chosen if sum(widths[column] + 2 for column in chosen) - 2 <= room else None


def _print_blocks(
    rows: Sequence[Sequence[object]], headers: Sequence[str], styles: Mapping[str, Callable[[str], str]]
) -> None:
    """Print each row as lines of a name and a value, with an empty line between two rows."""
    for number, row in enumerate(rows):
        if number:
            print()
        cells = [(title, str(value)) for title, value in zip(headers, row, strict=True) if title]
        print_pairs([(title, text) for title, text in cells if text.strip()], styles)


def _coloured(line: str, wanted: Iterable[tuple[tuple[int, int], Callable[[str], str]]]) -> str:
    """Return a line with styles in some spans of its cells."""
    # From right to left: a style makes the line longer, and must not move the spans that are still to come.
    for (first, last), style in sorted(wanted, key=lambda part: part[0], reverse=True):
        start, end = _index_at(line, first), _index_at(line, last)
        line = line[:start] + style(line[start:end]) + line[end:]
    return line


def _index_at(line: str, cell: int) -> int:
    """Return the index of the character that a terminal shows in this cell."""
    if line.isascii():
        return cell
    index = seen = 0
    while index < len(line) and seen < cell:
        seen += output.cells_wide(line[index])
        index += 1
    return index


def print_pairs(pairs: Sequence[tuple[str, object]], styles: Mapping[str, Callable[[str], str]] | None = None) -> None:
    """Print names and values in two columns; a long value continues below itself."""
    longest = max((output.cells_wide(name) for name, _ in pairs), default=0)
    room = width()
    for name, value in pairs:
        text = output.clean(str(value), newlines=room is not None)
        # At least 20 columns, even on a terminal that is too narrow for them: it then breaks lines itself.
        first, *more = output.wrap(text, max(room - longest - 2, 20)) if room else [text]
        style = (styles or {}).get(name)
        first = style(first) if style else first
        print(f"{dim(name + ' ' * (longest - output.cells_wide(name)))}  {first}")
        for line in more:
            print(" " * (longest + 2) + line)


def print_heading(session: Snapshot) -> None:
    """Print a session's name, state and id."""
    print(f"{bold(title(session.story.name))}  {state(session.standing.state)}  {dim(id_text(session.id))}")
    print()


def title(name: str | None) -> str:
    """Return a session's name, safe for a terminal."""
    return output.clean(name) if name else "unnamed"


def width() -> int | None:
    """Return the width of the terminal that stdout is; None for a file or a pipe."""
    return output.terminal_width(sys.stdout)


def styled(text: str, style: str) -> str:
    """Return clean text in a style, if stdout is a terminal with colours."""
    return output.colour(text, style, sys.stdout)


def bold(text: str) -> str:
    """Return text as a heading."""
    return styled(text, "bold")


def dim(text: str) -> str:
    """Return text in the style of secondary information."""
    return styled(text, "dim")


def state(text: str) -> str:
    """Return a session's state in its colour."""
    colours = {"Success": "green", "Failure": "red", "Running": "cyan", "Indeterminate": "yellow"}
    return styled(text, colours.get(text.strip(), "dim"))


def errors(text: str) -> str:
    """Return a number of errors, in red unless it is 0."""
    return text if text.strip() == "0" else styled(text, "red")


def short_id(id: bytes) -> str:
    """Return the first 13 characters of an id, its time in milliseconds: enough to name a session in a command."""
    return id_text(id)[:13]


NAMELESS = "(nameless)"  # a tool that was called by no name


def at_least(text: str, seen: Snapshot) -> str:
    """Return how long a session took, marked where it may have been longer: its process died after the last row."""
    return f"at least {text}, to its last row" if seen.is_cut_off else text


def bytes_text(size: int) -> str:
    """Return a size for people: `812 B`, `4.1 MB`."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
