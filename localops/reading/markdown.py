"""Markdown for pull requests and tickets, with recorded text, which may be hostile.

Recorded text is always written as code, in which links, images, mentions and HTML have no effect.
"""

from __future__ import annotations

import re

from localops import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Characters of recorded text in a cell.
_CUT = 200


def cell(text: str) -> str:
    """Return recorded text as code for a cell of a table: short and on one line; empty for an empty text.

    >>> print(cell("a|b `c`"))
    `a\\|b 'c'`
    """
    # A backtick would end the code, and a bar the cell, even inside code.
    plain = output.cut(output.clean(text), _CUT).replace("`", "'").replace("\\", "\\\\").replace("|", "\\|").strip()
    return f"`{plain}`" if plain else ""


def code(text: str) -> str:
    """Return a text as code; it may contain backticks.

    >>> print(code("run `ls`"))
    `` run `ls` ``
    """
    clean = output.clean(text)
    fence = "`" * (max(map(len, re.findall("`+", clean)), default=0) + 1)
    # Markdown removes one space at both ends again.
    edge = " " if clean[:1] in "` " or clean[-1:] in "` " else ""
    return f"{fence}{edge}{clean}{edge}{fence}" if clean else "` `"


def table(rows: Iterable[Sequence[str]], headers: Sequence[str], *, align: str = "") -> str:
    """Return a table; its cells are Markdown, each on one line."""
    sides = [("---:" if side == "r" else "---") for side in align.ljust(len(headers), "l")]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [headers, sides, *rows])
