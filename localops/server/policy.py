"""The rules of a hub's projects: how much each may store, and how long it keeps sessions; a file in the data folder."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import asdict, dataclass, fields, replace

from localops import config, host
from localops.encoding import encode
from localops.errors import ConfigError
from localops.journal import participants
from localops.server import leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "projects.json"
# Seconds to wait for another process that writes the file.
_PATIENCE = 5.0


@dataclass(frozen=True)
class Rules:
    """The rules of one project; None is no limit."""

    rows: int | None = None  # stored in total
    bytes: int | None = None  # on disk: the journal and its files
    rows_per_day: int | None = None  # stored on one day (UTC)
    bytes_per_day: int | None = None  # of rows and files, before compression
    rate: float | None = None  # requests a second, of all keys together
    keep_ns: int | None = None  # how long a session is kept after its last row
    keep_failed_ns: int | None = None  # the same for a session that failed
    unknown: bool = False  # whether a session without an end goes, too

    @property
    def limits_total(self) -> bool:
        """Return whether the total that is stored is limited."""
        return self.rows is not None or self.bytes is not None


NONE = Rules()


class UnreadableRules(ConfigError):
    """The rules of projects cannot be read."""


class Policy:
    """The rules of all projects; read again whenever the file changes."""

    def __init__(self, folder: str) -> None:
        """Read the file, if there is one; UnreadableRules if it cannot be read."""
        self.folder = folder
        self._path = os.path.join(folder, NAME)
        self._seen: tuple[int, ...] | None = None
        self._rules: dict[str, Rules] = {}
        self._lock = threading.Lock()
        self._load()

    def of(self, project: str) -> Rules:
        """Return the rules of a project."""
        self._load()
        return self._rules.get(project, NONE)

    def all(self) -> dict[str, Rules]:
        """Return the rules of each project that has any."""
        self._load()
        return dict(sorted(self._rules.items()))

    def change(self, project: str, **changes: Any) -> Rules:
        """Set some rules of a project, and return all of them."""
        config.check_project(project)
        host.make_private(self.folder)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                with participants.alone(self.folder):
                    self._load()
                    changed = replace(self._rules.get(project, NONE), **changes)
                    self._write({**self._rules, project: changed})
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        return changed

    def _load(self) -> None:
        try:
            facts = os.stat(self._path)
        except FileNotFoundError:
            self._rules, self._seen = {}, None
            return
        seen = (facts.st_mtime_ns, facts.st_ino, facts.st_size)
        if seen == self._seen:
            return
        with self._lock:
            try:
                with open(self._path, "rb") as file:
                    document = encode.loads(file.read())
                self._rules = {str(name): _rules(each) for name, each in document["projects"].items()}
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise UnreadableRules(f"{self._path} does not contain the rules of projects: {error}") from error
            self._seen = seen

    def _write(self, rules: dict[str, Rules]) -> None:
        projects = {name: facts for name, each in rules.items() if (facts := _facts(each))}
        temporary = f"{self._path}.{os.getpid()}"
        try:
            handle = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(handle, "wb") as file:
                host.keep_owner(handle, self.folder)
                file.write(encode.dumps({"projects": projects}) + b"\n")
                file.flush()
                os.fsync(handle)
            host.replace(temporary, self._path)
        except OSError:
            leftovers.discard(temporary)
            raise
        self._rules, self._seen = {name: each for name, each in rules.items() if name in projects}, None


def _rules(facts: dict[str, Any]) -> Rules:
    if news := set(facts) - {field.name for field in fields(Rules)}:
        # Fails closed: a limit that is not understood must not be ignored.
        raise ValueError(f"written by a newer release ({', '.join(sorted(news))}): upgrade this one")
    return Rules(**facts)


def _facts(rules: Rules) -> dict[str, Any]:
    return {name: value for name, value in asdict(rules).items() if value not in (None, False)}
