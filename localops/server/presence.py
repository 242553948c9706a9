"""One process at a time on a data folder: a hub that serves it, or a restore that replaces its files.

Journals are safe with several hubs, but limits, last uses and log-ins are counted in the memory of one process.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from filelock import FileLock, Timeout

from localops import output
from localops.errors import InUse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = ".serving"
_MOVING = ".moving"
# Seconds to wait for the end of a hub that is being stopped, as in a restart by a supervisor.
_PATIENCE = 10.0


class Served(InUse):
    """A hub serves the folder, or something else keeps hubs from it."""


@contextmanager
def serving(folder: str) -> Iterator[None]:
    """Hold the lock of a hub; Served if another hub serves the folder, or it is being restored."""
    with _locked(
        folder,
        f"another hub serves {folder}, or it is being restored: wait for its end, or give this one another folder",
        patience=_PATIENCE,
    ):
        yield


@contextmanager
def absent(folder: str, before: str = "restore") -> Iterator[None]:
    """Keep hubs from a folder; Served if one serves it."""
    with _locked(folder, f"a hub serves {folder}: stop it first, then {before}"):
        yield


@contextmanager
def moving(folder: str) -> Iterator[None]:
    """Hold the lock of the only process that moves the rows of a folder; hubs may serve it at the same time."""
    with _locked(folder, f"the rows of {folder} are being moved by another process: wait for its end", name=_MOVING):
        yield


@contextmanager
def _locked(folder: str, refusal: str, *, patience: float = 0.0, name: str = NAME) -> Iterator[None]:
    lock = FileLock(os.path.join(folder, name), mode=0o600)
    try:
        _acquire(lock, folder, refusal, patience)
    except OSError as error:
        # A full disk or a read-only folder must not keep a hub from its reads; some file systems have no locks.
        output.say(f"{folder} cannot be locked ({error.strerror}): make sure that no other hub serves it")
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, folder: str, refusal: str, patience: float) -> None:
    try:
        lock.acquire(timeout=0)
        return
    except Timeout as error:
        if not patience:
            raise Served(refusal) from error
    output.say(f"another hub serves {folder}, or it is being restored: waiting up to {patience:g} s")
    try:
        lock.acquire(timeout=patience, poll_interval=0.1)
    except Timeout as error:
        raise Served(refusal) from error
