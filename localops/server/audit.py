"""The audit log of a hub: who exported, deleted, logged in, or changed keys and limits; a JSON line each.

It is in the data folder and has handles of keys, never keys.  If the disk is full, only lines of this log are lost.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import OrderedDict

from localops import clock
from localops.encoding import encode
from localops.journal import participants
from localops.journal.rows import id_text
from localops.recording import events
from localops.server import append_log, troubles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from localops.server.keys import Key

NAME = "audit.jsonl"
# A file that is full gets a number, up to this one.
_OLD = re.compile(r"audit\.(\d+)\.jsonl")
# Bytes of a file, and how many full ones are kept.
_MOST, _KEPT = 16 << 20, 9
# Seconds in which repeated reads of one thing by one person are one line, and the most reads that are remembered.
_AGAIN, _REMEMBERED = 60.0, 10_000
# Ids of sessions in a line.
_NAMED = 100


class Audit:
    """The log, for writing; the hub and commands may write at the same time."""

    def __init__(self, folder: str, *, reads: bool = False, most: int = _MOST) -> None:
        self.folder = folder
        self.reads = reads  # whether every read of a session is noted
        self._path = os.path.join(folder, NAME)
        self._most = most
        self._lock = threading.Lock()
        self._lately: OrderedDict[tuple[object, ...], float] = OrderedDict()

    def note(self, action: str, *, by: Key | None = None, peer: str | None = None, **facts: object) -> bool:
        """Append a line; return False if that fails, with a line on stderr."""
        who: dict[str, object] = {"user": _user()} if peer is None else {"peer": peer}
        if by is not None:
            who |= {"key": by.handle, "name": by.note}
        record = {"at": events.iso(clock.now_ns()), "action": action, **who, **facts}
        line = encode.dumps({name: value for name, value in record.items() if value is not None}) + b"\n"
        try:
            with self._lock:
                self._make_room(len(line))
                append_log.append(self._path, line, synced=peer is None)
        except OSError as error:
            troubles.report("the audit log cannot be written", f"{self._path}: {error.strerror or error}")
            return False
        return True

    def is_new(self, *what: object) -> bool:
        """Return whether this was not noted in the last minute, as far as is remembered."""
        now = time.monotonic()
        with self._lock:
            before = self._lately.pop(what, None)
            is_new = before is None or now - before > _AGAIN
            self._lately[what] = now if is_new or before is None else before
            while len(self._lately) > _REMEMBERED:
                self._lately.popitem(last=False)
        return is_new

    def _make_room(self, size: int) -> None:
        """Give a full file a number; one process does that."""
        try:
            if os.path.getsize(self._path) + size <= self._most:
                return
            with participants.alone(self.folder):
                if os.path.getsize(self._path) + size <= self._most:
                    return
                numbers = [number for number, _ in _old(self.folder)]
                os.rename(self._path, os.path.join(self.folder, f"audit.{max(numbers, default=0) + 1}.jsonl"))
                for _, path in _old(self.folder)[:-_KEPT]:
                    os.unlink(path)
        except FileNotFoundError:
            return
        # Another process works on the folder: the file may grow a little longer.
        except BlockingIOError:
            return


def named(sessions: Sequence[bytes]) -> list[str]:
    """Return the ids of sessions that were removed, for a line; the first ones of very many."""
    return [id_text(session) for session in sessions[:_NAMED]]


def read(folder: str, since_ns: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield the lines of the log, the oldest first; those that are not whole are left out."""
    for path in [*(path for _, path in _old(folder)), os.path.join(folder, NAME)]:
        try:
            file = open(path, "rb")  # noqa: SIM115  closed below
        except FileNotFoundError:
            continue
        with file:
            for line in file:
                try:
                    record = encode.loads(line)
                    at_ns = events.to_ns(record["at"])
                except (ValueError, TypeError, KeyError):
                    continue
                if at_ns is not None and (since_ns is None or at_ns >= since_ns):
                    yield record


def carry(old: str, new: str) -> int:
    """Append the newer lines of another folder's log to that of a folder; return their number."""
    last_ns = max((events.to_ns(line["at"]) or 0 for line in read(new)), default=0)
    lines = [encode.dumps(line) + b"\n" for line in read(old, last_ns + 1)]
    if lines:
        append_log.append(os.path.join(new, NAME), b"".join(lines), synced=True)
    return len(lines)


def _old(folder: str) -> list[tuple[int, str]]:
    """Return the full files with their numbers, the oldest first."""
    matches = ((_OLD.fullmatch(name), name) for name in os.listdir(folder))
    return sorted((int(match[1]), os.path.join(folder, name)) for match, name in matches if match)


def _user() -> str:
    """Return the user who runs a command."""
    try:
        import pwd

        name = pwd.getpwuid(os.getuid()).pw_name
    # Not a Unix, or a user without a name, as in some containers.
    except (ImportError, KeyError):
        name = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    before = os.environ.get("SUDO_USER")
    return f"{before} as {name}" if before else name
