"""Restore a hub from a backup: checked before anything is replaced, and without what was deleted since.

The folder is complete under another name before it takes the place of the old one, which is kept.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, count

from localops import config, host, output
from localops.errors import ConfigError, LocalopsError
from localops.journal import blobs
from localops.journal.reader import Reader, SQLiteError, reason
from localops.journal.sql import SCHEMA
from localops.otlp import waiting
from localops.reading import session_state
from localops.server import audit, backups, deletions, presence, proof
from localops.server.backups import Damaged, Manifest
from localops.server.home_store import HomeStore
from localops.server.keys import Keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PART = ".restoring"
# Of renameat2: paths begin at the working directory, and the two names are exchanged.
_HERE, _EXCHANGE = -100, 2
# Damaged files that an error names.
_FEW = 5


@dataclass
class Restored:
    """The result of a restore."""

    backup: str
    folder: str
    # When the backup was made; None for a plain copy of a data folder.
    made: str | None = None
    projects: list[str] = field(default_factory=list)
    # Where the replaced folder is now.
    replaced: str | None = None
    # Sessions that were deleted since the backup was made, and how many of them it had.
    deleted: int = 0
    revived: int = 0
    # Handles of the keys that work now; `newer_keys`: as in the replaced folder.
    keys: list[str] = field(default_factory=list)
    newer_keys: bool = False
    # Notes for the operator, as sentences.
    notes: list[str] = field(default_factory=list)


def restore(place: str, folder: str, *, replace: bool = False, old: str | None = None) -> Restored:
    """Put a backup in place as a data folder.

    `old` is a data folder, or its log of deletions: what was deleted there is deleted here, too, and its keys are taken
    if they are of the same hub. The folder that is replaced counts as `old` by itself.

    Of a folder of backups the newest good one is taken, and a note names each newer one that is damaged.
    """
    newest = backups.find(place)
    damaged: list[Damaged] = []
    for source in [newest, *backups.earlier(place, newest)]:
        try:
            done = _restored(place, source, folder, replace=replace, old=old)
        except Damaged as error:
            damaged.append(error)
            continue
        done.notes += [f"{bad.backup} is newer, but is damaged: {bad.why}" for bad in damaged]
        return done
    raise damaged[0]


def _restored(place: str, source: str, folder: str, *, replace: bool, old: str | None) -> Restored:
    target = os.path.realpath(folder)
    for one, other in ((source, target), (target, source)):
        if f"{os.path.realpath(one)}/".startswith(f"{os.path.realpath(other)}/"):
            raise ConfigError(f"{folder} and the backup {source} are inside of one another: give another folder")
    taken = os.path.isdir(target) and any(name != presence.NAME for name in os.listdir(target))
    if taken and not replace:
        raise ConfigError(f"{folder} is not empty: give --replace to move what is there aside, or another folder")
    if old is None and taken and _is_data(target):
        old = target
    elif old is not None and not os.path.exists(old):
        raise ConfigError(f"{old} does not exist: give the data folder that is replaced, or its {deletions.NAME}")
    manifest = Manifest.read(source)
    if manifest is not None and manifest.schema > SCHEMA:
        raise ConfigError(
            f"localops {manifest.version} made this backup (schema {manifest.schema}, this one knows {SCHEMA}): "
            "upgrade localops, then restore"
        )
    with ExitStack() as held:
        if os.path.isdir(target):
            held.enter_context(presence.absent(target))
        try:
            with _place(target, taken=taken) as new:
                held.enter_context(presence.absent(new.folder))
                done = Restored(source, folder, manifest.made if manifest else None)
                done.notes += [f"{bad} is newer, but was found damaged" for bad in backups.passed_over(place, source)]
                _fill(source, new.folder, manifest, done)
                _take_keys(source, new.folder, old, done)
                _take_audit(new.folder, old, done)
                _delete_again(new.folder, old, done)
                host.keep_owners(new.folder)
                for inner, _, _ in os.walk(new.folder):
                    host.sync_folder(inner)
                done.replaced = new.publish()
        except (OSError, SQLiteError) as error:
            raise LocalopsError(
                f"cannot restore into {folder}: {reason(error)}; what was there is still there"
            ) from error
    done.keys = [key.handle for key in Keys(target).all() if key.state == "good"]
    return done


def _is_data(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in (session_state.HUB, deletions.NAME))


class _Place:
    """A folder to fill, which then takes the place of the target: beside it, or inside of one that is a mount point."""

    def __init__(self, target: str, *, taken: bool) -> None:
        self._target, self._taken = target, taken
        self._is_mount = host.is_mount(target)
        self.folder = os.path.join(target, _PART) if self._is_mount else target + _PART
        stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
        aside = os.path.join(target, f".replaced-{stamp}") if self._is_mount else f"{target}.replaced-{stamp}"
        # Another restore may have ended in the same second.
        names = chain([aside], (f"{aside}-{number}" for number in count(2)))
        self._aside = next(name for name in names if not os.path.lexists(name))

    def make(self) -> None:
        """Create the folder, for the owner of the target."""
        if os.path.exists(self.folder):
            try:
                with presence.absent(self.folder):
                    shutil.rmtree(self.folder)
            except presence.Served as error:
                raise presence.Served(
                    f"another restore into {self._target} is running: wait until it is done"
                ) from error
        host.make_private(self.folder, synced=True)
        like = self._target if os.path.isdir(self._target) else os.path.dirname(self._target)
        # Of a parent only if it is a user's: a service's is root's.
        facts = os.stat(like)
        if os.geteuid() == 0 and facts.st_uid:
            os.chown(self.folder, facts.st_uid, facts.st_gid)

    def publish(self) -> str | None:
        """Put the folder in place; return where the old one is now."""
        if self._is_mount:
            return self._publish_inside()
        if self._taken:
            # Under its name, then exchanged: killed at any moment, the target is the old folder or the new one.
            os.rename(self.folder, self._aside)
            try:
                _exchange(self._aside, self._target)
            except OSError:
                os.rename(self._aside, self.folder)
                raise
        else:
            # A folder can be renamed only over an empty one.
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self._target, presence.NAME))
            os.rename(self.folder, self._target)
        host.sync_folder(os.path.dirname(self._target))
        return self._aside if self._taken else None

    def _publish_inside(self) -> str | None:
        """Exchange the contents of a mount point, which cannot be renamed.

        The keys go first and come last: without them no hub serves what is there.
        """
        own = {os.path.basename(self.folder), presence.NAME}
        there = [name for name in _keys_last(os.listdir(self._target))[::-1] if name not in own]
        if self._taken:
            host.make_private(self._aside)
            for name in there:
                if not name.startswith(".replaced-"):
                    os.rename(os.path.join(self._target, name), os.path.join(self._aside, name))
        for name in _keys_last(os.listdir(self.folder)):
            if name != presence.NAME:
                os.rename(os.path.join(self.folder, name), os.path.join(self._target, name))
        shutil.rmtree(self.folder)
        host.sync_folder(self._target)
        return self._aside if self._taken else None


def _exchange(one: str, other: str) -> None:
    """Exchange the names of two folders, in one step where the system can."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    if renameat2 is not None and renameat2(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0:
        return
    if renameat2 is not None and (number := ctypes.get_errno()) not in (errno.ENOSYS, errno.EINVAL):
        raise OSError(number, os.strerror(number), other)
    between = f"{one}.old"
    os.rename(other, between)
    os.rename(one, other)
    os.rename(between, one)


@contextmanager
def _place(target: str, *, taken: bool) -> Iterator[_Place]:
    place = _Place(target, taken=taken)
    place.make()
    try:
        yield place
    finally:
        shutil.rmtree(place.folder, ignore_errors=True)


def _keys_last(names: list[str]) -> list[str]:
    return sorted(names, key=lambda name: (name == session_state.HUB, name))


def _fill(source: str, target: str, manifest: Manifest | None, done: Restored) -> None:
    """Copy a backup, and compare every file with its digest; LocalopsError if something is damaged or missing."""
    wrong: list[str] = []
    if manifest is None:
        done.notes.append(f"{source} has no {backups.MANIFEST}: its rows and blobs were checked, other files were not")
    for name in backups.other_files(source):
        _compare(name, backups.copy(os.path.join(source, name), os.path.join(target, name)), manifest, wrong)
    for project in config.projects(source):
        folder = os.path.join(source, project)
        if not os.path.exists(os.path.join(folder, config.JOURNAL)):
            continue
        done.projects.append(project)
        host.make_private(os.path.join(target, project))
        wrong += _copy_project(source, target, project, manifest, done)
    # Check the keys even if newer ones replace them: damage in one file of a backup suggests more.
    _compare(session_state.HUB, backups.digest_of(os.path.join(source, session_state.HUB)), manifest, wrong)
    expected = manifest.files if manifest else {}
    wrong += [f"{name} is missing" for name in expected if not os.path.exists(os.path.join(source, name))]
    if wrong:
        more = f"; and {len(wrong) - _FEW} more" if len(wrong) > _FEW else ""
        raise Damaged(source, "; ".join(wrong[:_FEW]) + more)


def _copy_project(source: str, target: str, project: str, manifest: Manifest | None, done: Restored) -> list[str]:
    """Copy journal and blobs; return the names of damaged and missing files."""
    wrong: list[str] = []
    old, new = os.path.join(source, project), os.path.join(target, project)
    for name in [*backups.other_files(old), *backups.notes_of_files(old), *waiting.files(old)]:
        host.make_private(os.path.dirname(os.path.join(new, name)))
        _compare(f"{project}/{name}", backups.copy(os.path.join(old, name), os.path.join(new, name)), manifest, wrong)
    digests = []
    for path in blobs.stored(old):
        copied = os.path.join(new, os.path.relpath(path, old))
        host.make_private(os.path.dirname(copied))
        digests.append(os.path.basename(path))
        if backups.copy(path, copied)[0] != digests[-1]:
            wrong.append(f"blob {digests[-1]} of {project} is damaged")
    counted = manifest.blobs.get(project) if manifest else None
    if counted is not None and backups.listed(iter(digests)) != counted:
        wrong.append(f"{project} should have {counted[0]} blobs, and has {len(digests)}, or others")
    journal = f"{project}/{config.JOURNAL}"
    facts = backups.copy(os.path.join(source, journal), os.path.join(target, journal))
    wal = os.path.join(source, f"{journal}-wal")
    changed = os.path.exists(wal) and os.path.getsize(wal) > 0
    if changed:
        backups.copy(wal, os.path.join(target, f"{journal}-wal"))
    # A command that read the backup may have folded its rows, which changes the file: check each row instead.
    if changed or manifest is None or manifest.files.get(journal) != facts:
        wrong += flaws(target, project)
        if manifest is not None:
            done.notes.append(f"the journal of {project} has changed since the backup was made: each row was checked")
    return wrong


def _compare(name: str, facts: tuple[str, int], manifest: Manifest | None, wrong: list[str]) -> None:
    if manifest is not None and manifest.files.get(name, facts) != facts:
        wrong.append(f"{name} is damaged")


def flaws(data: str, project: str) -> list[str]:
    """Return the problems of a journal: damaged pages, and rows with wrong checksums."""
    folder = os.path.join(data, project)
    try:
        with Reader(os.path.join(folder, config.JOURNAL)) as reader:
            checked = proof.check(project, folder, reader)
    except (LocalopsError, SQLiteError) as error:
        return [f"the journal of {project} cannot be read: {reason(error)}"]
    lacks = len(checked.damaged) + len(checked.lost)
    wrong = [f"{lacks} rows of {project} are damaged or lost"] if lacks else []
    return wrong + ([f"the journal of {project} is damaged: {checked.faults[0]}"] if checked.faults else [])


def _take_keys(source: str, target: str, old: str | None, done: Restored) -> None:
    """Copy the keys of the replaced folder, if it is the same hub's: keys were created and revoked since the backup."""
    chosen = os.path.join(source, session_state.HUB)
    hub = Keys(source).hub
    newer = os.path.join(old, session_state.HUB) if old is not None and os.path.isdir(old) else None
    if newer is not None and os.path.exists(newer) and old is not None:
        try:
            if Keys(old).hub == hub:
                chosen, done.newer_keys = newer, True
            else:
                done.notes.append(f"the keys in {old} are of another hub: those of the backup were taken")
        except (LocalopsError, OSError) as error:
            done.notes.append(f"the keys in {old} cannot be read, those of the backup were taken: {error}")
    backups.copy(chosen, os.path.join(target, session_state.HUB))


def _take_audit(folder: str, old: str | None, done: Restored) -> None:
    """Append the newer lines of the replaced folder's audit log, if it is the same hub's."""
    if old is None or not done.newer_keys:
        return
    try:
        many = audit.carry(old, folder)
    except OSError as error:
        done.notes.append(f"the audit log in {old} cannot be read: its lines since the backup are there only ({error})")
        return
    if many:
        these = output.counted(many, "line")
        done.notes.append(f"{these} of the audit log since the backup, in the replaced folder, are taken over")


def _delete_again(folder: str, old: str | None, done: Restored) -> None:
    """Delete the sessions that were deleted during the backup or later: machines may send them again."""
    logged, problems = deletions.of(folder)
    later: dict[str, list[bytes]] = {}
    if old is not None:
        later, more = deletions.of(old)
        problems += more
    done.notes += problems
    gone = {project: set(_removed_sessions(folder, project)) for project in done.projects}
    chosen: dict[str, dict[bytes, None]] = {}
    for project, sessions in [*logged.items(), *later.items()]:
        new = [session for session in sessions if session not in gone.get(project, ())]
        if new:
            chosen.setdefault(project, {}).update(dict.fromkeys(new))
    known = {project: set(sessions) for project, sessions in logged.items()}
    store = HomeStore(folder)
    try:
        for project, added in sorted(chosen.items()):
            unlogged = [session for session in added if session not in known.get(project, ())]
            if unlogged:
                deletions.note(folder, project, unlogged)
            done.deleted += len(added)
            done.revived += store.delete_for_good(project, list(added))
    finally:
        store.close()


def _removed_sessions(folder: str, project: str) -> Iterator[bytes]:
    with Reader(os.path.join(folder, project, config.JOURNAL)) as reader:
        yield from (session for (session,) in reader.ask("select session from gone"))
