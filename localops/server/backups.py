"""Backups of a hub: complete data folders below one folder, of which files with the same content are one file.

Each is written under another name and renamed when it is whole and on disk, so what has the name of a backup is one,
whenever the process was killed or the disk was full, and earlier backups are never touched.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import time
from contextlib import suppress
from dataclasses import dataclass, field

from localops import __version__, clock, config, host
from localops.encoding import encode
from localops.errors import ConfigError, LocalopsError, NotFound
from localops.journal import blobs, participants
from localops.journal.reader import SQLiteError, reason
from localops.journal.sql import SCHEMA
from localops.otlp import waiting
from localops.reading import home as homes
from localops.reading import session_state
from localops.recording import events
from localops.server import proof

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localops.journal.reader import Reader
    from localops.server.keys import Keys

MANIFEST = "backup.json"
_FORMAT = 1
_PIECE = 1 << 20
_PART = ".part"
# Suffix of the name of a damaged backup: it is restored only if it is named, and does not count for `keep`.
_BAD = ".bad"
# The name of a backup; the number tells backups of the same second apart.
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(-\d+)?")
# Other files of the data folder, and of a project: settings, logs, remotes. A writer's unfinished file ends in its pid.
_KEPT = re.compile(r"(?!\.).*\.(json|jsonl|toml)")


class Damaged(LocalopsError):
    """A backup has a file that differs from what was written, or lacks one; `why` names it."""

    def __init__(self, backup: str, why: str) -> None:
        super().__init__(
            f"the backup {backup} is damaged, and nothing was restored: {why}; give --from an earlier backup, or the "
            "folder of them for the newest good one"
        )
        self.backup, self.why = backup, why


@dataclass
class Manifest:
    """The contents of a backup, with digests."""

    hub: str
    made: str
    version: str
    schema: int
    # By path in the folder: SHA-256 and bytes. Blobs have their SHA-256 as their names.
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    # By project: how many blobs, and the SHA-256 of their sorted names.
    blobs: dict[str, tuple[int, str]] = field(default_factory=dict)

    def pack(self) -> bytes:
        """Return it as JSON, with a digest of its own."""
        facts = encode.dumps(vars(self))
        digest = hashlib.sha256(facts).hexdigest().encode()
        return b'{"format":%d,"sha256":"%s","backup":%s}\n' % (_FORMAT, digest, facts)

    @staticmethod
    def read(folder: str) -> Manifest | None:
        """Return the manifest of a backup; None for a plain copy of a data folder, which has none."""
        path = os.path.join(folder, MANIFEST)
        try:
            with open(path, "rb") as file:
                document = encode.loads(file.read())
            if document["format"] != _FORMAT:
                raise ConfigError(f"a newer localops made {folder}: upgrade localops to restore it")
            if hashlib.sha256(encode.dumps(document["backup"])).hexdigest() != document["sha256"]:
                raise ValueError("its digest differs")
            manifest = Manifest(**document["backup"])
            manifest.files = {name: (digest, size) for name, (digest, size) in manifest.files.items()}
            manifest.blobs = {name: (many, digest) for name, (many, digest) in manifest.blobs.items()}
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(folder, f"{MANIFEST} cannot be read ({error})") from error
        return manifest


@dataclass
class Made:
    """A finished backup."""

    folder: str
    projects: list[str] = field(default_factory=list)
    blobs: int = 0
    # Of these, the ones that no earlier backup had.
    new_blobs: int = 0
    new_bytes: int = 0
    # Blobs whose content does not match their name: they were left out.
    damaged: list[str] = field(default_factory=list)
    # Blobs that rows refer to and that are missing or damaged on the hub: taken from the last backup.
    lost: list[str] = field(default_factory=list)
    # Older backups that were removed.
    removed: list[str] = field(default_factory=list)


def make(keys: Keys, into: str, *, keep: int | None = None) -> Made:
    """Add a backup to a folder of backups, and remove the oldest ones beyond `keep`."""
    _refuse_inside(keys.folder, into)
    try:
        host.make_private(into, synced=True)
        with participants.alone(into):
            _remove_unfinished(into)
            earlier = names(into)
            target = os.path.join(into, _free_name(_in_order([*earlier, *bad_names(into)])))
            made = _written(keys, target, target + _PART, os.path.join(into, earlier[-1]) if earlier else None)
            if keep is not None:
                made.removed = _removed_beyond(into, keep)
    except BlockingIOError as error:
        raise LocalopsError(f"another backup is being written to {into}: wait until it is done") from error
    except OSError as error:
        raise _failed(into, error) from error
    return made


def prune(into: str, keep: int) -> list[str]:
    """Remove the oldest backups beyond `keep`; return their names."""
    try:
        with participants.alone(into):
            return _removed_beyond(into, keep)
    # Another backup is running: it removes them, or the next one does.
    except BlockingIOError:
        return []


def set_aside(folder: str) -> str:
    """Rename a backup of a folder of backups that was found damaged; return its path, as it is now."""
    if not _NAME.fullmatch(os.path.basename(folder)):
        return folder
    os.rename(folder, folder + _BAD)
    host.sync_folder(os.path.dirname(folder))
    return folder + _BAD


def make_one(keys: Keys, target: str) -> Made:
    """Write a backup to a folder that must not exist."""
    _refuse_inside(keys.folder, target)
    refusal = f"{target} already exists: a backup never replaces anything; give another name"
    if os.path.exists(target):
        raise ConfigError(refusal)
    try:
        return _written(keys, target, f"{target}.{os.getpid()}{_PART}", None)
    except FileExistsError as error:
        # Another backup finished in the meantime.
        raise ConfigError(refusal) from error


def names(into: str) -> list[str]:
    """Return the names of finished backups in a folder, the oldest first."""
    return _in_order(name for name in _listed(into) if _NAME.fullmatch(name) and is_hub(os.path.join(into, name)))


def bad_names(into: str) -> list[str]:
    """Return the names, without the suffix, of backups in a folder that were found damaged, the oldest first."""
    ends = (name.removesuffix(_BAD) for name in _listed(into) if name.endswith(_BAD))
    return _in_order(name for name in ends if _NAME.fullmatch(name))


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=_order)


def _order(name: str) -> tuple[str, int]:
    return name[:20], int(name[21:] or 0)


def is_hub(folder: str) -> bool:
    """Return whether a folder has the keys of a hub, which are written last."""
    return os.path.exists(os.path.join(folder, session_state.HUB))


def find(place: str) -> str:
    """Return the backup at a place, or the newest one of a folder of backups."""
    if is_hub(place):
        return place
    if there := names(place):
        return os.path.join(place, there[-1])
    if bad := bad_names(place):
        newest = os.path.join(place, bad[-1] + _BAD)
        raise NotFound(
            f"each backup in {place} was found damaged by --verify: to restore one anyway, name it: --from {newest}"
        )
    raise NotFound(f"there is no backup in {place}: give the folder that `localops hub backup --to` writes to")


def earlier(place: str, source: str) -> list[str]:
    """Return the paths of backups in a folder of them that are earlier than the chosen one, the newest first."""
    if is_hub(place):
        return []
    name = os.path.basename(source)
    return [os.path.join(place, other) for other in names(place)[::-1] if _order(other) < _order(name)]


def passed_over(place: str, chosen: str) -> list[str]:
    """Return the paths of backups in a folder of them that are newer than the chosen one, and were found damaged."""
    if os.path.dirname(chosen) != place.rstrip("/"):
        return []
    name = os.path.basename(chosen)
    return [os.path.join(place, bad + _BAD) for bad in bad_names(place) if _order(bad) > _order(name)]


def problems(folder: str, manifest: Manifest) -> list[str]:
    """Read a whole backup, and return the files whose digests differ from those in its manifest."""
    wrong = []
    for name, (digest, size) in manifest.files.items():
        try:
            if digest_of(os.path.join(folder, name)) != (digest, size):
                wrong.append(f"{name} is damaged")
        except OSError as error:
            wrong.append(f"{name} cannot be read: {reason(error)}")
    for project, counted in manifest.blobs.items():
        paths = {os.path.basename(path): path for path in blobs.stored(os.path.join(folder, project))}
        if listed(paths) != counted:
            wrong.append(f"{project} should have {counted[0]} blobs, and has {len(paths)}, or others")
        wrong += [f"blob {name} of {project} is damaged" for name, path in paths.items() if not _is_whole(path, name)]
    return wrong


def digest_of(path: str) -> tuple[str, int]:
    """Return SHA-256 and size of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def listed(digests: Iterable[str]) -> tuple[int, str]:
    """Return how many blobs there are, and the SHA-256 of their sorted names."""
    ordered = sorted(digests)
    return len(ordered), hashlib.sha256("\n".join(ordered).encode()).hexdigest()


def copy(source: str, target: str) -> tuple[str, int]:
    """Copy a file, readable by its owner alone and synced; return SHA-256 and size of what was copied."""
    digest, size = hashlib.sha256(), 0
    with open(source, "rb") as file:
        # Exclusive: a backup never overwrites a file, and never follows a link.
        handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as written:
            while piece := file.read(_PIECE):
                digest.update(piece)
                size += len(piece)
                written.write(piece)
            written.flush()
            os.fsync(written.fileno())
    return digest.hexdigest(), size


def other_files(folder: str) -> Iterator[str]:
    """Yield the names of plain files to keep beside journals and blobs, except the keys and a manifest."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if (
                _KEPT.fullmatch(entry.name)
                and entry.name not in (MANIFEST, session_state.HUB)
                and stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode)
            ):
                yield entry.name


def notes_of_files(folder: str) -> Iterator[str]:
    """Yield the paths in a project of the notes that its files are in a bucket, or are to be deleted there."""
    for suffix in (blobs.NOTE, blobs.DOOMED):
        for digest in blobs.marked(folder, suffix):
            yield os.path.relpath(blobs.path_of(folder, digest) + suffix, folder)


def _written(keys: Keys, target: str, temporary: str, previous: str | None) -> Made:
    made = Made(target)
    try:
        manifest = _filled(keys, temporary, previous, made)
        _write(os.path.join(temporary, MANIFEST), manifest.pack())
        for inner, _, _ in os.walk(temporary):
            host.sync_folder(inner)
        if os.path.exists(target):
            raise FileExistsError
        os.rename(temporary, target)
        host.sync_folder(os.path.dirname(target))
    except FileExistsError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError | SQLiteError):
            raise _failed(target, error) from error
        raise
    return made


def _failed(target: str, error: Exception) -> LocalopsError:
    return LocalopsError(
        f"cannot write {target}: {reason(error)}; no part of it was left there, and earlier backups are as they were"
    )


def _filled(keys: Keys, target: str, previous: str | None, made: Made) -> Manifest:
    manifest = Manifest(keys.hub, events.iso(clock.now_ns()), __version__, SCHEMA)
    host.make_private(target)
    with homes.Home(keys.folder) as opened:
        for project in opened.projects:
            folder = os.path.join(target, project.name)
            host.make_private(folder)
            # Before the journal: a span that is stored in between is in both copies, which does no harm.
            _copy_files(project.folder, target, f"{project.name}/", waiting.files(project.folder), manifest)
            journal = os.path.join(folder, config.JOURNAL)
            project.reader.backup(journal)
            _sync(journal)
            manifest.files[f"{project.name}/{config.JOURNAL}"] = digest_of(journal)
            # After the journal, because a row comes after the blobs that it refers to.
            before = None if previous is None else os.path.join(previous, project.name)
            copied = list(_copied_blobs(project.folder, folder, before, made))
            if before is not None:
                there = blobs.marked(project.folder, blobs.NOTE)
                copied += _kept_blobs(project.reader, folder, before, [*copied, *there], made)
            manifest.blobs[project.name] = listed(copied)
            _copy_files(project.folder, target, f"{project.name}/", notes_of_files(project.folder), manifest)
            _copy_files(project.folder, target, f"{project.name}/", other_files(project.folder), manifest)
        made.projects = [project.name for project in opened.projects]
    # After the journals: a session that is deleted in between is in the log, and a restore deletes it again.
    _copy_files(keys.folder, target, "", other_files(keys.folder), manifest)
    # Last, because the keys make the folder a hub's: an unfinished copy is not one.
    manifest.files[session_state.HUB] = copy(keys.path, os.path.join(target, session_state.HUB))
    return manifest


def _copied_blobs(source: str, target: str, previous: str | None, made: Made) -> Iterator[str]:
    for path in blobs.stored(source):
        name, place = os.path.basename(path), os.path.relpath(path, source)
        # It is in the bucket, which has its own means to keep versions.
        if blobs.is_elsewhere(source, name):
            continue
        host.make_private(os.path.dirname(os.path.join(target, place)))
        try:
            if previous is not None and _linked(os.path.join(previous, place), path, os.path.join(target, place)):
                made.blobs += 1
                yield name
                continue
            digest, size = copy(path, os.path.join(target, place))
        # Pruned or deleted in the meantime.
        except FileNotFoundError:
            continue
        if digest != name:
            os.unlink(os.path.join(target, place))
            made.damaged.append(name)
            continue
        made.blobs, made.new_blobs, made.new_bytes = made.blobs + 1, made.new_blobs + 1, made.new_bytes + size
        yield name


def _kept_blobs(reader: Reader, target: str, previous: str, copied: list[str], made: Made) -> list[str]:
    """Copy lost blobs from the last backup: otherwise they would be gone once that backup is removed."""
    earlier = {os.path.basename(path): path for path in blobs.stored(previous)}
    absent = earlier.keys() - set(copied)
    kept = []
    for name in sorted(proof.still_named(reader, absent) if absent else ()):
        place = os.path.join(target, os.path.relpath(earlier[name], previous))
        if not _is_whole(earlier[name], name):
            continue
        host.make_private(os.path.dirname(place))
        if not _linked(earlier[name], earlier[name], place):
            copy(earlier[name], place)
        kept.append(name)
    made.blobs += len(kept)
    made.lost += kept
    made.damaged = [name for name in made.damaged if name not in kept]
    return kept


def _linked(earlier: str, source: str, target: str) -> bool:
    """Link the blob of an earlier backup, if that has it and the file system supports links."""
    size = os.path.getsize(source)
    try:
        if os.path.getsize(earlier) != size:
            return False
        os.link(earlier, target)
    except OSError:
        return False
    return True


def _copy_files(source: str, target: str, below: str, names: Iterable[str], manifest: Manifest) -> None:
    for name in sorted(names):
        host.make_private(os.path.dirname(os.path.join(target, below, name)))
        # Deleted in the meantime.
        with suppress(FileNotFoundError):
            manifest.files[below + name] = copy(os.path.join(source, name), os.path.join(target, below, name))


def _write(path: str, content: bytes) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_whole(path: str, digest: str) -> bool:
    try:
        return blobs.is_whole(path, digest)
    except OSError:
        return False


def _free_name(earlier: list[str]) -> str:
    """Return a name with the current time, which sorts after all earlier ones."""
    name = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    last = earlier[-1] if earlier else ""
    if last[:20] < name:
        return name
    # The same second, or the clock was set back.
    return f"{last[:20]}-{int(last[21:] or 0) + 1}"


def _remove_unfinished(into: str) -> None:
    """Remove the remains of killed backups; the lock of the folder shows that no backup is running."""
    for name in os.listdir(into):
        if name.endswith(_PART) and _NAME.fullmatch(name.removesuffix(_PART).removesuffix(_BAD)):
            shutil.rmtree(os.path.join(into, name))


def _removed_beyond(into: str, keep: int) -> list[str]:
    """Remove the oldest backups; each is renamed first, so that a partly removed one does not count as a backup."""
    there = names(into)
    kept = there[-max(1, keep) :]
    old = there[: -len(kept)] if kept else []
    # Damaged ones do not count; newer ones stay, so that the operator can examine them.
    if len(kept) == keep:
        old += [name + _BAD for name in bad_names(into) if _order(name) < _order(kept[0])]
    for name in old:
        path = os.path.join(into, name)
        os.rename(path, path + _PART)
        shutil.rmtree(path + _PART)
    return old


def _refuse_inside(folder: str, place: str) -> None:
    data, target = os.path.realpath(folder), os.path.realpath(place)
    if f"{target}/".startswith(f"{data}/"):
        raise ConfigError(f"{place} is inside of the data folder {folder}: give a folder outside, best on another disk")
