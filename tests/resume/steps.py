"""A step that runs once and its effects, for tests that resume a session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import localops
from localops.decorators import tool


class Effects(list[Any]):
    """What has happened, and a step that makes it happen."""

    def step(self, **options: Any) -> Callable[..., Any]:
        """Return a step that notes what it was called with, and returns how many effects there are."""

        @tool(once=True, **options)
        def act(what: object, more: object = None) -> int:
            self.append(what)
            return len(self)

        return act


def again(began: localops.Session, **options: Any) -> localops.Session:
    """End a session and resume it."""
    began.end_session("Failure")
    return localops.resume(began.session_id, **options)


class Socket:
    """A class whose instances cannot be restored."""


SECRET = "sk-proj-" + "Ab3" * 16
