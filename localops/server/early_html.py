"""Placeholders, as HTML, for what the scripts of a page draw: of the same size, so that nothing moves then.

The filters are inert until then; figures have the width of usual ones, and cannot be seen.
"""

from __future__ import annotations

from html import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def filters(
    label: str, search: str, menus: Sequence[str], *, chosen: Sequence[tuple[str, str]] = (), role: str = "search"
) -> str:
    """Return the form of the filters of a page: a search, menus, and the chosen filters as names and values."""
    inside = "".join(f'<details class="menu"><summary>{menu}</summary></details>' for menu in menus)
    chips = "".join(f'<span class="chip">{escape(name)}: {escape(value)} ×</span>' for name, value in chosen)
    return (
        f'<form id="filters" role="{role}" aria-label="{label}" inert>'
        f'<input type="search" placeholder="{search}" aria-label="Search">{inside}</form>'
        f'<div class="chosen-filters" inert>{chips}</div>'
    )


def figures(usual: Mapping[str, str]) -> str:
    """Return figures that are not known yet, by their names; behind a bar a note."""
    inside = {name: value.replace("|", '</dd><dd class="trend">') for name, value in usual.items()}
    return "".join(f'<div class="soon"><dt>{name}</dt><dd>{value}</dd></div>' for name, value in inside.items())
