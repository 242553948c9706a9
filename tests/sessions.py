"""A session to record into, for tests of what it does."""

from __future__ import annotations

from typing import Any

import localops
from localops import Session


def begun(**options: Any) -> Session:
    """Return a session that was started."""
    session = localops.start_session(**options)
    assert session is not None
    return session


def only(session: Session) -> dict[str, Any]:
    """Return the only event of a session."""
    (event,) = session.events
    return event
