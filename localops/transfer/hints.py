"""Small files beside a journal with one fact a remote, as of the last pass; each is a hint that may be lost."""

from __future__ import annotations

import os
from contextlib import suppress

from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")


def load(path: str, parse: Callable[..., T]) -> dict[str, T]:
    """Return the facts of a file by the name of the remote; none if it is missing or damaged."""
    try:
        with open(path, "rb") as file:
            kept = encode.loads(file.read())
        return {str(remote): parse(fact) for remote, fact in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def keep(path: str, facts: dict[str, T], remote: str, fact: T | None) -> None:
    """Write the loaded facts with a new one about a remote; None removes the fact about it."""
    if facts.get(remote) == fact:
        return
    facts.pop(remote, None)
    if fact is not None:
        facts[remote] = fact
    # Only a hint: a pass should not fail because of it.
    with suppress(OSError):
        if not facts:
            os.unlink(path)
            return
        handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:
            file.write(encode.dumps(facts))
