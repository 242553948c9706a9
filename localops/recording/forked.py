"""Know the recording process and its forks, and whether a child of it continues an operation that it leaves."""

from __future__ import annotations

import os
import sys

from localops.careful import attribute, is_a
from localops.recording import events

here = [os.getpid()]
forks = [0]
"""The number of this process's forks, without workers of multiprocessing, which never return into its operations."""


def is_running(pid: int) -> bool:
    """Return whether a process of this user still runs."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def leaves_to_child(error: BaseException, opened_in: int, forks_then: int) -> bool:
    """Return whether this process exits inside an operation in which it forked, as the first processes of a daemon do.

    `forks_then` is the number of its forks when the process `opened_in` opened the operation.
    """
    has_forked = forks[0] != forks_then if opened_in == here[0] else forks[0] > 0
    return has_forked and is_a(error, SystemExit) and _has_unawaited_child()


def goes_on_in_child() -> bool:
    """Return whether this process exits as the first process of a daemon does: a fork of it may go on."""
    return forks[0] > 0 and _has_unawaited_child()


def _has_unawaited_child() -> bool:
    """Return whether this process has not waited for a child, which may run or have left its work to its own child."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    except (AttributeError, OSError):  # a system without waitid
        return True
    return True


def is_success(error: BaseException | None) -> bool:
    """Return whether an exception ends the program with the exit code 0."""
    return is_a(error, SystemExit) and not events.is_given(attribute(error, "code", True))


def _after_fork_in_parent() -> None:
    if not sys._getframe(1).f_globals.get("__name__", "").startswith("multiprocessing."):
        forks[0] += 1


def _after_fork_in_child() -> None:
    here[0], forks[0] = os.getpid(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
