"""The budget of a session, which all its processes share; it is checked after each call that costs something."""

from __future__ import annotations

from localops.errors import BudgetExceeded
from localops.output import say
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from localops.recording.events import Event

_WARN_AT = 0.8  # of the budget


class Budget:
    """A limit in US dollars, and what to do when it is reached."""

    def __init__(self, dollars: float, spent: Callable[[], float], is_first: Callable[[str], bool]) -> None:
        self._dollars = dollars
        self._spent = spent
        self._is_first = is_first

    def check(
        self, session: object, on_reached: Callable[..., object] | None, note: Callable[[float, float], None]
    ) -> None:
        """Compare what all processes have spent with the budget; exceptions of the hook reach the program.

        `note` is called once, to record that the budget was reached: the program may catch the exception.
        """
        spent, budget = self._spent(), self._dollars
        if spent >= budget:
            if self._is_first(f"budget of {budget}"):
                note(spent, budget)
            if on_reached is None:
                raise BudgetExceeded(f"the session has spent ${spent:.6f} of its budget of ${budget:.6f}")
            on_reached(session, spent, budget)
        elif spent >= _WARN_AT * budget and self._is_first("budget"):
            say(f"the session has spent ${spent:.6f}, {spent / budget:.0%} of its budget of ${budget:.6f}")

    def warn_unpriced(self, event: Event) -> None:
        """Warn once of a call that cannot be counted."""
        if self._is_first("unpriced"):
            say(f"{events.describe(event)} has no known price: it does not count towards the budget")
