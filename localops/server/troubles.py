"""Problems of a hub, for its operator: a line on stderr, and the result of `/health`."""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import suppress

from localops import config, output
from localops.errors import LocalopsError, NotFound
from localops.server import damage, exchange, logs
from localops.server.keys import SOON, Unreadable
from localops.server.policy import UnreadableRules
from localops.server.request import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from localops.server.keys import Keys
    from localops.server.policy import Policy
    from localops.server.store import Readable

UNREADABLE = "the journal cannot be read now"
# Seconds between two lines about problems of one kind.
_AGAIN = 60.0
# Seconds that a result of `/health` is reused: the address needs no key, and could be used to load the disk.
_FRESH = 5.0
# Seconds between two looks at what a check has found damaged.
_LOOK = 60.0
# Bytes of the file that is written to check whether the disk has room.
_PROBE = 64 << 10
_lock = threading.Lock()
# By kind: when a line was printed, and how often the problem has occurred since.
_last: dict[str, tuple[float, int]] = {}


def report(kind: str, why: object, *, status: int = 503) -> None:
    """Print a line about a problem, at most once a minute for each kind."""
    with _lock:
        printed, since = _last.get(kind, (0.0, 0))
        now = time.monotonic()
        if printed and now - printed < _AGAIN:
            _last[kind] = (printed, since + 1)
            return
        _last[kind] = (now, 0)
    asked = exchange.current()
    about = {"door": asked.door if asked.id else None, "project": asked.project, "key": asked.handle}
    logs.trouble(kind, why, status=status, repeated=since, request_id=asked.id or None, **about)


def sight(journal: str) -> tuple[int, tuple[object, ...]]:
    """Return the bytes of a journal, and what tells whether it has changed or may be used by others than before."""
    size, seen = 0, []
    for path, is_wal in ((journal, False), (f"{journal}-wal", True)):
        try:
            facts = os.stat(path)
        except FileNotFoundError:
            continue
        # A reader leaves an empty WAL behind, and SQLite gives a WAL its owner each time it opens it: neither is news.
        if is_wal and not facts.st_size:
            continue
        size += facts.st_size
        changed = (facts.st_mode, facts.st_uid, facts.st_gid) if is_wal else facts.st_ctime_ns
        seen.append((facts.st_mtime_ns, changed, facts.st_ino, facts.st_size))
    return size, tuple(seen)


def _check_writable(journal: str) -> None:
    """Raise OSError if the rights of a journal or its folder, or a file system that is mounted so, forbid to write."""
    for path in (journal, os.path.dirname(journal)):
        # Where it is a cache, as over ClickHouse, it may have to be made again.
        if not os.access(path, os.W_OK) and os.path.lexists(path):
            raise PermissionError(errno.EACCES, "not writable", path)


class Health:
    """The state of a hub: whether the disk has room, and its keys and its journals can be read."""

    def __init__(self, keys: Keys, store: Readable, policy: Policy | None = None) -> None:
        self._keys, self._store, self._policy = keys, store, policy
        self._lock = threading.Lock()
        self._looked = 0.0
        # The problems of each part that the last check has found; empty before the first check.
        self.parts: dict[str, list[str]] = {}
        self._all_failed = False
        # What the files of each project looked like when it could be read.
        self._good: dict[str, tuple[object, ...]] = {}
        # The projects whose journal was seen, and whose folder was not removed since.
        self._were_here: set[str] = set()
        # By damaged project: the state of its report, when it was last checked, and whether the damage was still there.
        self._damage: dict[str, tuple[object, float, bool]] = {}

    @property
    def has_looked(self) -> bool:
        """Return whether keys, journals and disk were checked."""
        return bool(self.parts)

    def open(self) -> None:
        """Check everything for the first time, before the first request."""
        self.problems()
        with self._lock:
            self._looked = 0.0

    def problems(self) -> list[str]:
        """Return the problems, without paths, as everyone can read them."""
        with self._lock:
            if not self._looked or time.monotonic() - self._looked > _FRESH:
                projects = self._store.projects()
                self.parts = {
                    "keys": [],
                    "journals": self._of_journals(projects),
                    "rows": self._of_rows(projects),
                    "disk": self._of_disk(),
                }
                self._looked = time.monotonic()
            # Check this each time: it is one call of `stat`, and every request needs the file.
            self.parts = {**self.parts, "keys": self._of_keys()}
            return [problem for part in self.parts.values() for problem in part]

    def obstacles(self, *, look: bool = True) -> list[str]:
        """Return the problems that prevent storing rows; one damaged journal does not, if others are intact.

        Without `look`, return those of the last check at once.
        """
        if look:
            self.problems()
        if self.parts:
            journals = self.parts["journals"] if self._all_failed else []
            return [*self.parts["keys"], *journals, *self.parts["disk"]]
        return []

    def of_project(self, project: str) -> list[str]:
        """Return the problems that concern one project: its own, and those of the hub that keep it from taking rows."""
        self.problems()
        with self._lock:
            common = [*self.parts["keys"], *self.parts["disk"]]
            try:
                self._store.newest(project, None)
            except NotFound:  # removed
                return common
            except LocalopsError as error:
                report(UNREADABLE, error.why if isinstance(error, Unavailable) else error)
                return [*common, "the journal of this project cannot be read: it may be damaged"]
            if self._is_damaged(project):
                return [*common, "rows or files of this project are damaged or missing on the hub"]
            return common

    def warnings(self) -> list[str]:
        """Return what becomes a problem later."""
        try:
            ending = len(self._keys.expiring())
            if not self._keys.all():
                return ["the hub has no keys: is the disk of its data folder mounted?"]
        except Unreadable:
            return []
        return [f"{output.counted(ending, 'key ends', 'keys end')} within {SOON} days"] if ending else []

    def _of_keys(self) -> list[str]:
        try:
            self._keys.all()
        except Unreadable as error:
            report("the keys of the hub cannot be read now", error)
            return ["the keys cannot be read"]
        try:
            if self._policy is not None:
                self._policy.all()
        except UnreadableRules as error:
            report("the rules of projects cannot be read now", error)
            return ["the rules of projects cannot be read"]
        return []

    def _of_journals(self, projects: Sequence[str]) -> list[str]:
        good: dict[str, tuple[object, ...]] = {}
        problems: dict[str, None] = {}
        is_any_whole = False
        for project in projects:
            path = self._journal(project)
            # Before it is read: a change meanwhile is looked at next time.
            _, seen = sight(path)
            try:
                self._read(project, seen)
                good[project] = seen
                _check_writable(path)
                is_any_whole = True
            except NotFound:  # removed meanwhile
                continue
            except LocalopsError as error:
                report(UNREADABLE, error.why if isinstance(error, Unavailable) else error)
                problems["a journal cannot be read: it may be damaged"] = None
            except OSError as error:
                report("a journal cannot be written", error)
                problems["a journal cannot be written: look at the owner and the rights of its files"] = None
        self._good = good
        # One that is missing is made again by the first rows.
        self._all_failed = bool(problems) and not is_any_whole
        if missing := self._missing(projects):
            report("a journal is missing", ", ".join(self._journal(project) for project in missing[:5]))
            problems["a journal is missing: restore it, or remove the folder of its project"] = None
        return list(problems)

    def _journal(self, project: str) -> str:
        return os.path.join(config.project_folder(self._keys.folder, project), config.JOURNAL)

    def _read(self, project: str, seen: tuple[object, ...]) -> None:
        """Read a journal, unless it has not changed since it could be read last."""
        before = self._good.get(project)
        if before is None or (before != seen and before[:1] == seen[:1]):
            self._store.newest(project, None)
        elif before != seen:
            # Something else than new rows in the WAL: an open reader could answer from its memory.
            self._store.probe(project)

    def _missing(self, projects: Sequence[str]) -> list[str]:
        """Return the projects whose journal was here, and whose folder still is."""
        gone = self._were_here.difference(projects)
        missing = sorted(name for name in gone if os.path.isdir(os.path.dirname(self._journal(name))))
        self._were_here = {*projects, *missing}
        return missing

    def _of_rows(self, projects: Sequence[str]) -> list[str]:
        damaged = [project for project in projects if self._is_damaged(project)]
        self._damage = {project: self._damage[project] for project in damaged}
        if not damaged:
            return []
        many = output.counted(len(damaged), "project", "projects")
        report("a check has found rows or files that are damaged or missing", f"in {', '.join(damaged[:5])}")
        return [f"rows or files of {many} are damaged or missing: `localops hub check` tells which"]

    def _is_damaged(self, project: str) -> bool:
        """Return whether the damage that a check has found in a project is still there; look once a minute."""
        seen = damage.sight(config.project_folder(self._keys.folder, project))
        if seen is None:
            return False
        before, at, is_damaged = self._damage.get(project, (None, 0.0, True))
        now = time.monotonic()
        if before != seen or now - at > _LOOK:
            # A journal that cannot be read is reported as that.
            with suppress(LocalopsError, OSError):
                is_damaged = self._store.damaged(project)
            self._damage[project] = (seen, now, is_damaged)
        return is_damaged

    def _of_disk(self) -> list[str]:
        path = os.path.join(self._keys.folder, f".health-{os.getpid()}")
        try:
            handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                if os.write(handle, bytes(_PROBE)) != _PROBE:
                    raise OSError("the disk is full")
                os.fsync(handle)
            finally:
                os.close(handle)
                os.unlink(path)
        except OSError as error:
            report("cannot store anything now", f"{self._keys.folder}: {error.strerror or error}")
            return ["cannot store anything: the disk is full, or the data folder is not writable"]
        return []
