"""Parts: journals of single processes on a network file system, where two hosts must never write to the same file.

A part's name contains its writer (machine, boot, participant), so that others can tell, without opening it, whether
the writer may still be alive.
"""

from __future__ import annotations

import os

from localops import host
from localops.interruption import pass_on
from localops.journal import participants

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.journal.participants import Participant

_END = ".db"
_JOURNAL = "-journal"  # the suffix of SQLite's rollback journal, beside a part during a write
_FINISHED = ".finished.db"  # the suffix of a part that its process has closed


def path_of(project: str, participant: Participant) -> str:
    """Return the path of a process's part."""
    owner = (host.machine_id(), host.boot_id() or "", participant.id.hex())
    return os.path.join(project, "parts", "_".join(owner) + _END)


def finish(path: str) -> None:
    """Mark a part as complete."""
    try:
        os.rename(path, path.removesuffix(_END) + _FINISHED)
    except OSError as error:
        # Nothing was written, or the server is gone; the released lock will then show that the process has ended.
        pass_on(error)


def ended(project: str) -> list[str]:
    """Return the parts to which no process writes any more, oldest name first."""
    folder = os.path.join(project, "parts")
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        pass_on(error)
        return []
    for name in names:
        part = name.removesuffix(_JOURNAL)
        # A rollback journal that a killed process left.
        if name != part and part not in names and _has_ended(project, part):
            _remove(os.path.join(folder, name))
    return [os.path.join(folder, name) for name in names if name.endswith(_END) and _has_ended(project, name)]


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        # Another process has removed it.
        pass_on(error)


def _has_ended(project: str, name: str) -> bool:
    if name.endswith(_FINISHED):
        return True
    owner = name.removesuffix(_END).split("_")
    if len(owner) != 3:
        return False
    return participants.is_alive(project, dict(zip(("machine", "boot", "participant"), owner, strict=True))) is False
