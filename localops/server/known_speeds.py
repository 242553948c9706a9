"""The speeds of calls that were calculated last.

A page of figures requests those of models, of tools and of all calls at the same time, and one pass over the calls
calculates them all.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict

from localops.reading.call_speeds import Speeds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from localops.reading.call_query import Source

    Key = tuple[tuple[str, tuple[int, int], bytes | None], ...]

# The most choices of sessions whose speeds are kept.
_KEPT = 4


class KnownSpeeds:
    """A cache of the speeds of some choices of sessions, which are valid until the rows of their tables change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[Key, Speeds] = OrderedDict()

    def of(self, sources: Sequence[Source]) -> Speeds:
        """Return the speeds of calls, whose tables are locked."""
        key = tuple((source.project.name, source.table.version, _digest(source.sessions)) for source in sources)
        with self._lock:
            known = self._kept.get(key)
        speeds = known or Speeds(sources)
        with self._lock:
            self._kept[key] = speeds
            self._kept.move_to_end(key)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return speeds


def _digest(sessions: Sequence[bytes] | None) -> bytes | None:
    return None if sessions is None else hashlib.sha256(b"".join(sessions)).digest()
