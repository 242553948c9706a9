"""Facets: who and what a session or an event is about, stored as tags of the form `NAME=VALUE`.

As tags, they can be filtered, counted, sent and shown like any other tag, also by older releases, and cost nothing if
they are not used.  `user` and `conversation` are facets, and so is every plain value of metadata.
"""

from __future__ import annotations

from localops.careful import COLLECTIONS, class_name, outline
from localops.interruption import attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

USER, CONVERSATION = "user", "conversation"
NAMED = (USER, CONVERSATION)  # the facets with an option of their own; others come from metadata
META = "meta:"  # the prefix of a metadata facet in a query: `meta:team`
_MOST = 32  # facets from the metadata of one event: each adds a row to the tables that filters read
_LONGEST_NAME, _LONGEST = 64, 240  # characters; a tag has at most 256
_MOST_TAGS = 100_000  # an iterator may be endless


def tag(name: str, value: object) -> str:
    """Return the tag of a facet.

    >>> tag("user", "ann")
    'user=ann'
    """
    return f"{name[:_LONGEST_NAME]}={_text(value)}"[:_LONGEST]


def tags(user: object = None, conversation: object = None, metadata: object = None) -> list[str]:
    """Return the tags of facets; metadata gives one for each of its plain values.

    >>> tags("ann", metadata={"team": "sea", "crew": ["a", "b"]})
    ['user=ann', 'team=sea']
    """
    made = [tag(name, value) for name, value in ((USER, user), (CONVERSATION, conversation)) if value is not None]
    if type(metadata) is dict:
        plain = (
            tag(name, value)
            for name, value in metadata.items()
            if type(name) is str and "=" not in name and name not in NAMED and _is_plain(value)
        )
        made += [each for _, each in zip(range(_MOST), plain, strict=False)]
    return made


def together(own: Iterable[str] | str | None, facets: list[str]) -> Iterable[str] | str | None:
    """Return tags and facets as one list; without facets, return the tags unchanged."""
    if not facets:
        return own
    return list(dict.fromkeys([*_as_list(own), *facets]))


def inherited(own: Iterable[str] | str | None, outer: Iterable[str]) -> list[str]:
    """Return tags and the inherited facets `outer`, except those whose name the tags already have.

    >>> inherited(["user=bob", "x"], ["user=ann", "team=sea"])
    ['user=bob', 'x', 'team=sea']
    """
    listed = _as_list(own)
    names = {each.partition("=")[0] for each in listed if type(each) is str and "=" in each}
    return [*listed, *(each for each in outer if each.partition("=")[0] not in names)]


def value(name: str, of: Iterable[str]) -> str | None:
    """Return the value of a facet in tags, or None.

    >>> value("user", ["x", "user=ann"])
    'ann'
    """
    return next((each.removeprefix(f"{name}=") for each in of if each.startswith(f"{name}=")), None)


def prefix(by: str) -> str | None:
    """Return the beginning of a facet's tags, from its name in a query; None if the word names no facet.

    >>> prefix("user"), prefix("meta:team"), prefix("model")
    ('user=', 'team=', None)
    """
    if by in NAMED:
        return f"{by}="
    name = by.removeprefix(META)
    return f"{name}=" if name and name != by else None


def _is_plain(value: object) -> bool:
    return any(type(value) is kind for kind in (str, int, float, bool))  # `in` would call the metaclass's `__eq__`


def _text(value: object) -> str:
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if not issubclass(type(value), COLLECTIONS) and (text := attempt(lambda: str.__str__(str(value)), "")):
        return text
    return attempt(lambda: str.__str__(outline(value)), "") or f"<{class_name(value)}>"


def _as_list(own: Any) -> list[Any]:
    if own is None:
        return []
    if isinstance(own, str | bytes):
        return [own]
    return attempt(lambda: [each for _, each in zip(range(_MOST_TAGS), own, strict=False)], [own])
