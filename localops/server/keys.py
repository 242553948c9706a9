"""The keys of a hub, each with its project, scopes and end, stored as digests in one file of its data folder.

A key is shown once, when it is created.  The file also holds the hub's id; a home with this file is a hub's.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
import uuid
from dataclasses import asdict, dataclass, fields, replace

from localops import clock, config, host
from localops.encoding import encode
from localops.errors import Ambiguous, ConfigError, NotFound
from localops.journal import participants
from localops.reading import session_state
from localops.recording import events
from localops.server import leftovers
from localops.transfer import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from typing import Any

# Hex digits of a digest that name a key in commands.
HANDLE = 8
# Seconds to wait for another process that writes the file.
_PATIENCE = 5.0
# The scopes of a key: send rows and prove them, read its project, score its sessions, administer the whole hub.
SEND, READ, SCORE, ADMIN = "send", "read", "score", "admin"
SCOPES = (SEND, READ, SCORE, ADMIN)
# Of a key without scopes in the file, as earlier releases made them.
_USUAL = (SEND, READ)
# Days before its end from which a key is reported.
SOON = 14
_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True)
class Key:
    """A stored key: enough to recognise it, not to use it."""

    sha256: str
    project: str  # empty if it is only for the hub as a whole
    created: str
    note: str | None = None  # its name
    revoked: str | None = None
    scopes: tuple[str, ...] = _USUAL
    expires: str | None = None
    replaced_by: str | None = None  # the handle of the key that was created to replace it

    @property
    def handle(self) -> str:
        """Return the short name of the key."""
        return self.sha256[:HANDLE]

    def may(self, scope: str) -> bool:
        """Return whether the key has a scope."""
        return scope in self.scopes

    @property
    def expires_ns(self) -> int | None:
        """Return when the key ends, in nanoseconds since 1970; None if it does not."""
        return None if self.expires is None else events.to_ns(self.expires)

    @property
    def state(self) -> str:
        """Return whether the key is `good`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        expires_ns = self.expires_ns
        return "expired" if expires_ns is not None and expires_ns <= clock.now_ns() else "good"

    @property
    def days_left(self) -> float | None:
        """Return how many days a good key that ends works for; None for any other."""
        expires_ns = self.expires_ns
        if self.state != "good" or expires_ns is None:
            return None
        return (expires_ns - clock.now_ns()) / _DAY_NS


def handle_of(secret: str) -> str:
    """Return the handle of a key, whether any hub has it or not."""
    return _digest(canonical(secret))[:HANDLE]


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
        self._by_digest: dict[str, Key] = {}
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
        """Return the key of a secret, unless it is revoked or has expired."""
        key = self.match(secret)
        return key if key is not None and key.state == "good" else None

    def match(self, secret: str) -> Key | None:
        """Return the key of a secret, also one that does not work any more."""
        self._load()
        # By its digest: the time that it takes reveals nothing about the secret, and a hub may have many keys.
        return self._by_digest.get(_digest(canonical(secret)))

    def is_good(self, sha256: str, scope: str = READ) -> bool:
        """Return whether the key with this digest exists, has a scope, and is neither revoked nor expired."""
        self._load()
        key = self._by_digest.get(sha256)
        return key is not None and key.may(scope) and key.state == "good"

    def knows(self, secret: str) -> bool:
        """Return whether this is a key, revoked or not, as of the last read."""
        return _digest(canonical(secret)) in self._by_digest

    def expiring(self) -> list[Key]:
        """Return the good keys that end within SOON days, and that no other one replaces."""
        ending = [key for key in self.all() if key.days_left is not None and key.days_left <= SOON]
        return [key for key in ending if key.replaced_by is None]

    def create(
        self,
        project: str | None,
        note: str | None = None,
        *,
        scopes: Collection[str] = _USUAL,
        expires_ns: int | None = None,
    ) -> str:
        """Create a key, and return its secret, which is not stored.

        It is for a project, unless its only scope is ADMIN.
        """
        chosen = _scopes(scopes)
        if project is None and chosen != (ADMIN,):
            raise ConfigError("missing project: a key that sends or reads is for one project")
        secret = bundle.new_key(self.hub)
        name = "" if project is None else config.check_project(project)
        key = Key(_digest(secret), name, _now(), self._without_secrets(note), None, chosen, _end(expires_ns))
        self._change(lambda keys: [*keys, key])
        return secret

    def _without_secrets(self, note: str | None) -> str | None:
        """Return the name of a key as it is stored: lists and the audit log show it."""
        if note is None:
            return None
        # Late import: only the creation of a key needs the redaction rules.
        from localops.encoding.redact import Redactor
        from localops.encoding.todays_rules import redactor

        rules = redactor(config.Config.usable(home=self.folder)) or Redactor()
        return rules.clean(note)[0]

    def rotate(self, handle: str, *, overlap_ns: int, expires_ns: int | None = None) -> tuple[str, Key]:
        """Create a key that replaces another, which works until the end of the overlap.

        Without `expires_ns` it lasts as long as the old one did.  Return the secret of the new key, and the old one.
        """
        old = self.named(handle)
        if old.state != "good":
            raise ConfigError(f"key {old.handle} is {old.state}: create another with `localops hub key create`")
        now = clock.now_ns()
        made_ns = events.to_ns(old.created)
        if expires_ns is None and old.expires_ns is not None and made_ns is not None:
            expires_ns = now + old.expires_ns - made_ns
        end_ns = now + overlap_ns if old.expires_ns is None else min(old.expires_ns, now + overlap_ns)
        secret = bundle.new_key(self.hub)
        new = replace(old, sha256=_digest(secret), created=_now(), expires=_end(expires_ns), replaced_by=None)
        ending = replace(old, expires=_end(end_ns), replaced_by=new.handle)
        self._change(lambda keys: [*(ending if key.sha256 == old.sha256 else key for key in keys), new])
        return secret, ending

    def named(self, handle: str) -> Key:
        """Return the key whose digest begins with a handle; NotFound or Ambiguous if none or several do."""
        matches = [key for key in self.all() if handle and key.sha256.startswith(handle.lower())]
        if not matches:
            raise NotFound(f"no key begins with {handle!r}: `localops hub key list` shows them")
        if len(matches) > 1:
            raise Ambiguous(f"more than one key begins with {handle!r}: give more digits")
        return matches[0]

    def revoke(self, handle: str) -> Key:
        """Revoke a key; NotFound or Ambiguous if no key or several begin with the handle."""
        key = self.named(handle)
        revoked = replace(key, revoked=key.revoked or _now())
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
                self._hub, self._keys = document["hub"], [_key(each, self.path) for each in document["keys"]]
                self._by_digest = {key.sha256: key for key in self._keys}
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
        try:
            handle = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with open(handle, "wb") as file:
                host.keep_owner(handle, self.path if os.path.exists(self.path) else self.folder)
                file.write(encode.dumps({"hub": hub, "keys": [_facts(key) for key in keys]}) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            # Synced: a revoked key must not come back after a power cut.
            host.replace(temporary, self.path)
        except OSError:
            leftovers.discard(temporary)
            raise
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


def _key(facts: dict[str, Any], path: str) -> Key:
    scopes = facts.get("scopes", _USUAL)
    if news := set(facts) - {field.name for field in fields(Key)} | set(scopes) - set(SCOPES):
        # Fails closed: a key whose limits are not understood must not count as one without limits.
        raise Unreadable(f"{path} was written by a newer release ({', '.join(sorted(news))}): upgrade this one")
    return Key(**{**facts, "scopes": tuple(scopes)})


def _facts(key: Key) -> dict[str, Any]:
    """Return what is stored of a key.

    Fields that earlier releases do not know are written only if the key needs them: those releases refuse a file with
    such fields, instead of treating the key as one without limits.
    """
    facts = {name: value for name, value in asdict(key).items() if value is not None}
    if key.scopes == _USUAL:
        del facts["scopes"]
    return facts


def _scopes(given: Collection[str]) -> tuple[str, ...]:
    if not given or (unknown := set(given) - set(SCOPES)):
        raise ConfigError(
            f"invalid scope: expected {', '.join(SCOPES)}, got {', '.join(sorted(unknown)) if given else 'none'}"
        )
    return tuple(scope for scope in SCOPES if scope in given)


def _end(expires_ns: int | None) -> str | None:
    return None if expires_ns is None else events.iso(expires_ns)


def canonical(secret: str) -> str:
    """Return a key in the form in which it was created: UUIDs are lower case."""
    # The usual case.
    if secret == secret.lower():
        return secret
    try:
        uuid.UUID(secret)
    except ValueError:
        return secret
    return secret.lower()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _now() -> str:
    return events.iso(clock.now_ns())
