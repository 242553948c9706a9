"""The keys of a hub, each for one project, stored as digests in one file of its data folder.

A key is shown once, when it is created.  The file also holds the hub's id; a home with this file is a hub's.
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

# Hex digits of a digest that name a key in commands.
_HANDLE = 8
# Seconds to wait for another process that writes the file.
_PATIENCE = 5.0


@dataclass(frozen=True)
class Key:
    """A stored key: enough to recognise it, not to use it."""

    sha256: str
    project: str
    created: str
    note: str | None = None
    revoked: str | None = None

    @property
    def handle(self) -> str:
        """Return the short name of the key."""
        return self.sha256[:_HANDLE]


class Unreadable(ConfigError):
    """The keys of the hub cannot be read."""


class Keys:
    """The keys of a hub; read again whenever the file changes, so that a revoked key is refused at once."""

    def __init__(self, folder: str, *, new: bool = False) -> None:
        """Read the keys of a hub, or start a hub in an empty folder.

        ConfigError if there are journals but no keys, unless `new`: a new hub has another id, and does not know the
        keys of the machines that send to it.
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
        """Return the id of this hub, which is created with its data folder."""
        return self._hub

    def all(self) -> list[Key]:
        """Return all keys, revoked ones too, the oldest first."""
        self._load()
        return list(self._keys)

    def find(self, secret: str) -> Key | None:
        """Return the key of a secret, unless it is revoked."""
        self._load()
        digest = _digest(canonical(secret))
        match = None
        # Compares with every key, in constant time: the duration must not depend on how many digits are right.
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                match = key
        return match if match is not None and match.revoked is None else None

    def is_good(self, sha256: str) -> bool:
        """Return whether the key with this digest exists and is not revoked."""
        self._load()
        return any(key.sha256 == sha256 and key.revoked is None for key in self._keys)

    def create(self, project: str, note: str | None = None) -> str:
        """Create a key for a project, and return its secret, which is not stored."""
        secret = bundle.new_key(self.hub)
        key = Key(_digest(secret), config.check_project(project), _now(), note)
        self._change(lambda keys: [*keys, key])
        return secret

    def revoke(self, handle: str) -> Key:
        """Revoke a key; NotFound or Ambiguous if no key or several begin with the handle."""
        matches = [key for key in self.all() if handle and key.sha256.startswith(handle.lower())]
        if not matches:
            raise NotFound(f"no key begins with {handle!r}: `localops hub key list` shows them")
        if len(matches) > 1:
            raise Ambiguous(f"more than one key begins with {handle!r}: give more digits")
        revoked = replace(matches[0], revoked=matches[0].revoked or _now())
        self._change(lambda keys: [revoked if key.sha256 == revoked.sha256 else key for key in keys])
        return revoked

    def _load(self) -> None:
        try:
            facts = os.stat(self.path)
        except FileNotFoundError as error:
            if not self._hub:
                return
            raise Unreadable(f"{self.path} is missing: restore it from the backup of this hub") from error
        except OSError as error:
            raise Unreadable(f"{self.path} cannot be read: {error.strerror}") from error
        seen = (facts.st_mtime_ns, facts.st_ino, facts.st_size)
        if seen == self._seen:
            return
        with self._lock:
            try:
                with open(self.path, "rb") as file:
                    document = encode.loads(file.read())
                self._hub, self._keys = document["hub"], [Key(**each) for each in document["keys"]]
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise Unreadable(f"{self.path} does not contain the keys of a hub: {error}") from error
            self._seen = seen

    def _change(self, work: Callable[[list[Key]], list[Key]]) -> None:
        """Replace the file in one step, readable by its user only; one process at a time."""
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
            file.write(encode.dumps({"hub": hub, "keys": [_facts(key) for key in keys]}) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # Synced: a revoked key must not come back after a power cut.
        host.replace(temporary, self.path)
        self._seen = None


def has_journals(folder: str) -> bool:
    """Return whether a data folder has journals."""
    return any(os.path.exists(os.path.join(folder, name, config.JOURNAL)) for name in config.projects(folder))


def lost(folder: str) -> str:
    """Return the error for a data folder that has journals but no keys."""
    return (
        f"{folder} has journals, but {session_state.HUB} is missing: "
        f"restore {session_state.HUB} from the backup of this hub, "
        "or start a new hub there, with another id and without keys, by --new (of `localops hub serve` and "
        "`localops hub key create`)"
    )


def _facts(key: Key) -> dict[str, Any]:
    return {name: value for name, value in asdict(key).items() if value is not None}


def canonical(secret: str) -> str:
    """Return a key in the form in which it was created: UUIDs are lower case."""
    try:
        uuid.UUID(secret)
    except ValueError:
        return secret
    return secret.lower()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _now() -> str:
    return events.iso(clock.now_ns())
