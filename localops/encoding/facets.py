"""Facets: who and what a session or an event is about, kept as tags of the form `NAME=VALUE`.

So they are filtered, counted, sent and shown like any other tag, also by an older release, and nothing is slower for
those who do not use them.  `user` and `conversation` are facets, and so is every plain value of metadata.
"""

from __future__ import annotations

from localops.careful import COLLECTIONS, class_name, outline
from localops.interruption import attempt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

USER, CONVERSATION = "user", "conversation"
NAMED = (USER, CONVERSATION)  # those that have an option of their own; others are metadata
META = "meta:"  # before the name of a facet that is metadata, where one is asked for
_MOST = 32  # facets of one event: each is a line of the tables that filters read
_LONGEST_NAME, _LONGEST = 64, 240  # characters; a tag has at most 256
_MOST_TAGS = 100_000  # an iterator may have no end


def tag(name: str, value: object) -> str:
    """Return the tag of a facet.

    >>> tag("user", "ann")
    'user=ann'
    """
    return f"{name[:_LONGEST_NAME]}={_text(value)}"[:_LONGEST]


def tags(user: object = None, conversation: object = None, metadata: object = None) -> list[str]:
    """Return the tags of facets; of metadata, those of its plain values.

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
    """Return tags and facets as one list; tags alone as they are."""
    if not facets:
        return own
    return list(dict.fromkeys([*_listed(own), *facets]))


def inherited(own: Iterable[str] | str | None, outer: Iterable[str]) -> list[str]:
    """Return tags with the facets of what is around, but for those that the tags have themselves.

    >>> inherited(["user=bob", "x"], ["user=ann", "team=sea"])
    ['user=bob', 'x', 'team=sea']
    """
    listed = _listed(own)
    names = {each.partition("=")[0] for each in listed if type(each) is str and "=" in each}
    return [*listed, *(each for each in outer if each.partition("=")[0] not in names)]


def value(name: str, of: Iterable[str]) -> str | None:
    """Return the value that tags have for a facet.

    >>> value("user", ["x", "user=ann"])
    'ann'
    """
    return next((each.removeprefix(f"{name}=") for each in of if each.startswith(f"{name}=")), None)


def prefix(by: str) -> str | None:
    """Return how the tags of a facet begin, by the word that asks for it; None for any other word.

    >>> prefix("user"), prefix("meta:team"), prefix("model")
    ('user=', 'team=', None)
    """
    if by in NAMED:
        return f"{by}="
    name = by.removeprefix(META)
    return f"{name}=" if name and name != by else None


def _is_plain(value: object) -> bool:
    return any(type(value) is kind for kind in (str, int, float, bool))  # `in` would ask the metaclass


def _text(value: object) -> str:
    if type(value) is str:
        return value
    if type(value) is bool:
        return "true" if value else "false"
    if not issubclass(type(value), COLLECTIONS) and (text := attempt(lambda: str.__str__(str(value)), "")):
        return text
    return attempt(lambda: str.__str__(outline(value)), "") or f"<{class_name(value)}>"


def _listed(own: Any) -> list[Any]:
    if own is None:
        return []
    if isinstance(own, str | bytes):
        return [own]
    return attempt(lambda: [each for _, each in zip(range(_MOST_TAGS), own, strict=False)], [own])
