"""Temporary folders for recorded data: each is removed after use, and those of killed processes by the next one.

A folder is locked for as long as it is in use.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager

from localops.journal import participants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN, SEARCH, EXPORT = "localops-open-", "localops-search-", "localops-export-"
"""Prefixes of the folders for `localops open`, for what a search unpacks, and for a file that goes to a pipe."""
_NEW = 60  # an empty folder is younger than so many seconds if a process may be about to lock it


@contextmanager
def made(prefix: str) -> Iterator[str]:
    """Create an empty folder for a `with` block, and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix=prefix) as folder, participants.alone(folder):
        yield folder


def remove_left() -> None:
    """Remove the folders that killed processes have left."""
    for path in left():
        shutil.rmtree(path, ignore_errors=True)


def left() -> Iterator[str]:
    """Yield the temporary folders of this user whose lock no process holds."""
    with os.scandir(tempfile.gettempdir()) as entries:
        folders = [entry for entry in entries if entry.name.startswith((OPEN, SEARCH, EXPORT))]
    for entry in folders:
        try:
            facts = entry.stat(follow_symlinks=False)
            is_ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid()
            if is_ours and (os.listdir(entry.path) or facts.st_mtime < time.time() - _NEW):
                with participants.alone(entry.path):
                    yield entry.path
        except OSError:  # it is in use, or has just been removed
            continue
