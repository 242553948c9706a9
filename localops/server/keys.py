"""Who may come in: the keys of a hub, each for one project, kept as digests in one file of its data folder.

A key is shown once, when it is made.  The file also holds the hub's own id; its presence says that the home is a hub's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
import uuid
from dataclasses import asdict, dataclass, replace

from localops import clock, config, host
from localops.encoding import encode
from localops.errors import Ambiguous, ConfigError, NotFound
from localops.journal import participants
from localops.reading import session_state
from localops.recording import events
from localops.transfer import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_HANDLE = 8  # hex digits of a digest that a person names a key by
_PATIENCE = 5.0  # seconds to wait for another process that writes the file


@dataclass(frozen=True)
class Key:
    """A key as the hub knows it: enough to recognise it, not to use it."""

    sha256: str
    project: str
    created: str
    note: str | None = None
    revoked: str | None = None

    @property
    def handle(self) -> str:
        """What it is named by in lists."""
        return self.sha256[:_HANDLE]


class Unreadable(ConfigError):
    """The keys of the hub cannot be read."""


class Keys:
    """The keys of a hub; read again whenever the file has changed, so a revoked one is refused at once."""

    def __init__(self, folder: str, *, new: bool = False) -> None:
        """Read the keys of a hub, and begin a hub where there is none.

        ConfigError when there are journals and no keys, unless a `new` hub is meant: its id would be another one,
        and no machine that sends to it would be let in.
        """
        self.folder = folder
        self.path = os.path.join(folder, session_state.HUB)
        self._seen: tuple[int, ...] | None = None
        self._hub = ""
        self._keys: list[Key] = []
        self._lock = threading.Lock()
        self._load()
        if not self._hub:
            if not new and has_journals(folder):
                raise ConfigError(lost(folder))
            self._change(lambda keys: keys)

    @property
    def hub(self) -> str:
        """The id of this hub, made once for a data folder; as of when a key was last looked for."""
        return self._hub

    def all(self) -> list[Key]:
        """Every key there is or was, the oldest first."""
        self._load()
        return list(self._keys)

    def find(self, secret: str) -> Key | None:
        """The key that is meant, unless it is revoked; compared in a time that says nothing about the others."""
        self._load()
        digest = _digest(canonical(secret))
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found if found is not None and found.revoked is None else None

    def is_good(self, sha256: str) -> bool:
        """Whether the key of that digest still lets in."""
        self._load()
        return any(key.sha256 == sha256 and key.revoked is None for key in self._keys)

    def create(self, project: str, note: str | None = None) -> str:
        """A new key for a project; this is the only time it can be seen."""
        secret = bundle.new_key(self.hub)
        made = Key(_digest(secret), config.check_project(project), _now(), note)
        self._change(lambda keys: [*keys, made])
        return secret

    def revoke(self, handle: str) -> Key:
        """Let a key in no more; NotFound or Ambiguous when the handle names none, or several."""
        found = [key for key in self.all() if handle and key.sha256.startswith(handle.lower())]
        if not found:
            raise NotFound(f"no key begins with {handle!r}: `localops hub key list` shows them")
        if len(found) > 1:
            raise Ambiguous(f"more than one key begins with {handle!r}: give more of it")
        dead = replace(found[0], revoked=found[0].revoked or _now())
        self._change(lambda keys: [dead if key.sha256 == dead.sha256 else key for key in keys])
        return dead

    def _load(self) -> None:
        try:
            facts = os.stat(self.path)
        except FileNotFoundError as error:
            if not self._hub:
                return
            raise Unreadable(f"{self.path} is missing: put it back from the backup of this hub") from error
        except OSError as error:
            raise Unreadable(f"{self.path} cannot be read: {error.strerror}") from error
        seen = (facts.st_mtime_ns, facts.st_ino, facts.st_size)
        if seen == self._seen:
            return
        with self._lock:
            try:
                with open(self.path, "rb") as file:
                    told = encode.loads(file.read())
                self._hub, self._keys = told["hub"], [Key(**each) for each in told["keys"]]
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise Unreadable(f"{self.path} does not hold the keys of a hub: {error}") from error
            self._seen = seen

    def _change(self, work: Callable[[list[Key]], list[Key]]) -> None:
        """Write the file anew, whole or not at all, for its user alone; one process at a time."""
        host.make_private(self.folder, synced=True)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                with participants.alone(self.folder):
                    self._load()
                    self._write(self._hub or clock.new_id().hex(), work(self._keys))
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self._load()

    def _write(self, hub: str, keys: list[Key]) -> None:
        temporary = f"{self.path}.{os.getpid()}"
        handle = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:
            host.keep_owner(handle, self.path if os.path.exists(self.path) else self.folder)
            file.write(encode.dumps({"hub": hub, "keys": [_told(key) for key in keys]}) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        host.replace(temporary, self.path)  # a key that was revoked must not come back with the power
        self._seen = None


def has_journals(folder: str) -> bool:
    """Whether rows were stored in a data folder."""
    return any(os.path.exists(os.path.join(folder, name, config.JOURNAL)) for name in config.projects(folder))


def lost(folder: str) -> str:
    """Return what to do about a data folder that has journals and no keys."""
    return (
        f"{folder} has journals, and {session_state.HUB} is missing: "
        f"restore {session_state.HUB} from the backup of this hub; "
        "with --new (of `localops hub serve` and `localops hub key create`) a new hub begins here, under another id "
        "and without keys"
    )


def _told(key: Key) -> dict[str, Any]:
    return {name: value for name, value in asdict(key).items() if value is not None}


def canonical(secret: str) -> str:
    """Return a key as it was given out: a UUID may come back in any letter case."""
    try:
        uuid.UUID(secret)
    except ValueError:
        return secret
    return secret.lower()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _now() -> str:
    return events.iso(clock.now_ns())
