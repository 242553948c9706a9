"""Journals of single processes, for a network file system: two hosts must never write one file there.

A part's name says who writes it (machine, boot, participant), so whoever comes next knows without opening it whether
that process may still be at it.
"""

from __future__ import annotations

import os

from localops import host
from localops.journal import participants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.journal.participants import Participant

_END = ".db"
_JOURNAL = "-journal"  # what SQLite puts beside a part while it writes
_FINISHED = ".finished.db"  # its process closed it in peace


def path_of(project: str, participant: Participant) -> str:
    """Where a process writes its part."""
    who = (host.machine_id(), host.boot_id() or "", participant.id.hex())
    return os.path.join(project, "parts", "_".join(who) + _END)


def finish(path: str) -> None:
    """Say that a part will not be written any more."""
    try:
        os.rename(path, path.removesuffix(_END) + _FINISHED)
    except OSError:  # nothing was written, or the server is gone; then the free lock will tell
        pass


def ended(project: str) -> list[str]:
    """The parts that nobody can be writing to, oldest name first."""
    folder = os.path.join(project, "parts")
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    for name in names:
        part = name.removesuffix(_JOURNAL)
        if name != part and part not in names and _has_ended(project, part):  # left by one that was killed
            _remove(os.path.join(folder, name))
    return [os.path.join(folder, name) for name in names if name.endswith(_END) and _has_ended(project, name)]


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:  # another process has done it
        pass


def _has_ended(project: str, name: str) -> bool:
    if name.endswith(_FINISHED):
        return True
    who = name.removesuffix(_END).split("_")
    if len(who) != 3:
        return False
    return participants.is_alive(project, dict(zip(("machine", "boot", "participant"), who, strict=True))) is False
