"""The sessions whose rows are not sent yet, as they may still run."""

from __future__ import annotations

from localops.reading import session_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.journal.reader import Reader


class HeldBack:
    """The sessions that may still run: their rows are not sent yet."""

    def __init__(self, reader: Reader, folder: str) -> None:
        self._reader, self._folder = reader, folder
        self._known: dict[bytes, bool] = {}

    def holds(self, session: bytes) -> bool:
        """Return whether a session may still run."""
        if session not in self._known:
            named = any(session)
            state = session_state.standing(self._reader, self._folder, session).state if named else ""
            self._known[session] = state in ("Running", "Unknown")
        return self._known[session]
