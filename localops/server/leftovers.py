"""Unfinished files of killed processes in a data folder, such as `hub.json.PID`."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress

_NAME = re.compile(r"(hub|projects|usage)\.json\.\d+")
# Seconds after which no process still writes one.
_OLD = 60.0


def remove(folder: str) -> None:
    """Remove the old ones; ignore a folder that cannot be written."""
    with suppress(OSError):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if _NAME.fullmatch(name) and time.time() - os.stat(path).st_mtime > _OLD:
                os.unlink(path)


def discard(path: str) -> None:
    """Remove a file that could not be written to its end, if it is there."""
    with suppress(OSError):
        os.unlink(path)
