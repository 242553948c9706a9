"""Group similar findings, so that a page has one sentence for each group."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from typing import TypeVar

    Found = TypeVar("Found")

# Smaller groups are not joined, as separate sentences say more.
FEWEST = 3


def grouped(found: Iterable[Found], *keys: Callable[[Found], Hashable]) -> list[list[Found]]:
    """Return findings in groups with an equal key, in the order of the first finding of each.

    Each further key joins the groups formed so far. A key of None equals no other.
    """
    groups = [[one] for one in found]
    for key in keys:
        groups = _joined(groups, key)
    return groups


def _joined(groups: list[list[Found]], key: Callable[[Found], Hashable]) -> list[list[Found]]:
    alike: dict[Hashable, list[list[Found]]] = {}
    for group in groups:
        own = key(group[0])
        alike.setdefault(id(group) if own is None else (own,), []).append(group)
    joined: list[list[Found]] = []
    for same in alike.values():
        joined += [[one for group in same for one in group]] if len(same) >= FEWEST else same
    order = {id(group[0]): number for number, group in enumerate(groups)}
    return sorted(joined, key=lambda group: order[id(group[0])])
