"""`openmetrics`: the figures of sessions, added up by project and by model, as metrics.

The names and labels are those of `localops analytics --format openmetrics`, whose figures are of all sessions.
"""

from __future__ import annotations

from localops.encoding import openmetrics
from localops.reading import exposition

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from localops.reading.export import Run


def write(runs: Iterable[Run], file: BinaryIO) -> None:
    """Write the figures of sessions as one exposition."""
    file.write(openmetrics.text(exposition.families_of(runs)))
