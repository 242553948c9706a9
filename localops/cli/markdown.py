"""Markdown for pull requests: tables whose cells may hold recorded text, which is hostile.

Recorded text is only ever written as code, in which nothing is a link, an image, a mention or HTML.
"""

from __future__ import annotations

from localops import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Characters of recorded text in a cell.
_CUT = 200


def code(text: str) -> str:
    """Return recorded text as code on one line; nothing for an empty one.

    >>> print(code("a|b `c`"))
    `a\\|b 'c'`
    """
    # A backtick would end the code, and a bar the cell, even inside of code.
    plain = output.cut(output.clean(text), _CUT).replace("`", "'").replace("\\", "\\\\").replace("|", "\\|").strip()
    return f"`{plain}`" if plain else ""


def table(rows: Iterable[Sequence[str]], headers: Sequence[str], *, align: str = "") -> str:
    """Return a table; its cells are Markdown, each on one line."""
    sides = [("---:" if side == "r" else "---") for side in align.ljust(len(headers), "l")]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headers, sides, *rows])
