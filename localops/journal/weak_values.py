"""Objects by key, while they live, without a function of Python that runs when one of them is freed.

What a signal handler raises in such a function is printed and lost; `weakref.WeakValueDictionary` has one.
"""

from __future__ import annotations

from functools import partial
from weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class WeakValues:
    """A dict whose values may be freed; threads may change it meanwhile."""

    def __init__(self) -> None:
        self._known: dict[object, ref[Any]] = {}

    def __setitem__(self, key: object, value: object) -> None:
        # Called with the reference, which is the value to return if the key is gone.
        self._known[key] = ref(value, partial(self._known.pop, key))

    def __contains__(self, key: object) -> bool:
        return self.get(key) is not None

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: object) -> Any:
        """Return the object of a key, or None."""
        known = self._known.get(key)
        return known() if known is not None else None

    def pop(self, key: object) -> None:
        """Forget a key, if it is known."""
        self._known.pop(key, None)

    def values(self) -> list[Any]:
        """Return the objects that live."""
        return [value for known in list(self._known.values()) if (value := known()) is not None]
