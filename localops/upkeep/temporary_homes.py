"""The temporary homes of `localops open`: each is removed at its end, and what killed processes left by the next one.

A home is locked for as long as it is in use.
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

_PREFIX = "localops-open-"
_NEW = 60  # seconds for which an empty one may belong to a process that is about to lock it


@contextmanager
def opened() -> Iterator[str]:
    """Make an empty home and remove it at the end, with those that killed processes have left."""
    remove_left()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as home, participants.alone(home):
        yield home


def remove_left() -> None:
    """Remove the homes that killed processes have left."""
    for path in left():
        shutil.rmtree(path, ignore_errors=True)


def left() -> Iterator[str]:
    """Yield the temporary homes of this user whose lock no process holds."""
    with os.scandir(tempfile.gettempdir()) as entries:
        homes = [entry for entry in entries if entry.name.startswith(_PREFIX)]
    for entry in homes:
        try:
            facts = entry.stat(follow_symlinks=False)
            is_ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid()
            if is_ours and (os.listdir(entry.path) or facts.st_mtime < time.time() - _NEW):
                with participants.alone(entry.path):
                    yield entry.path
        except OSError:  # it is in use, or has just been removed
            continue
