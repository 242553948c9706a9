"""`localops hub backup`: copy the data folder while the hub serves."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

import click

from localops import config, host, output
from localops.cli.common import json_option, print_json
from localops.cli.hub.common import data_option, folder_of, keys_of
from localops.errors import ConfigError, LocalopsError
from localops.journal.reader import SQLiteError, reason
from localops.reading import home as homes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.server.keys import Keys

# Characters in the name of a blob.
_DIGEST = 64


@click.command()
@data_option
@click.option("-o", "--output", "path", metavar="FOLDER", required=True, help="Folder to create; it must not exist.")
@json_option
def backup(data: str, path: str, as_json: bool) -> None:
    """Copy a hub's journals, files and keys into a new folder, while it serves.

    The copy is a complete data folder. To restore it: stop the hub, put the copy in place of the old folder, run
    `localops hub check`, delete again what was deleted since (`localops hub delete --as-in`), and start the hub.
    """
    keys = keys_of(data)
    target = folder_of(path)
    if os.path.exists(target):
        raise ConfigError(f"{target} already exists: a backup never replaces anything; give another name")
    # Renamed at the end, so that a folder under the given name is always a complete backup.
    temporary = f"{target}.{os.getpid()}.part"
    try:
        names = _back_up(keys, temporary)
        # Again, because another backup may have finished meanwhile.
        if os.path.exists(target):
            raise ConfigError(f"{target} already exists: a backup never replaces anything; give another name")
        os.rename(temporary, target)
        host.sync_folder(os.path.dirname(target))
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError | SQLiteError):
            raise LocalopsError(f"cannot write {target}: {reason(error)}; no part of it was left there") from error
        raise
    if as_json:
        print_json({"folder": target, "projects": names})
        return
    output.say(f"wrote {output.counted(len(names), 'project')} and the keys to {target}")
    output.say(f"rows were copied as they are: `localops hub check --data {target}` finds damaged ones")


def _back_up(keys: Keys, target: str) -> list[str]:
    from localops.server import deletions

    host.make_private(target)
    with homes.Home(keys.folder) as opened:
        for project in opened.projects:
            folder = os.path.join(target, project.name)
            host.make_private(folder)
            project.reader.backup(os.path.join(folder, config.JOURNAL))
            _copy_blobs(project.folder, folder)
        names = [project.name for project in opened.projects]
    _copy(os.path.join(keys.folder, deletions.NAME), os.path.join(target, deletions.NAME))
    # Last, because the keys make the folder a hub's: an unfinished copy is not one.
    _copy(keys.path, os.path.join(target, os.path.basename(keys.path)))
    return names


def _copy_blobs(source: str, target: str) -> None:
    for inner, _, files in os.walk(os.path.join(source, "blobs")):
        for name in files:
            # Other names are damaged or unfinished blobs.
            if len(name) == _DIGEST:
                place = os.path.join(target, os.path.relpath(inner, source))
                host.make_private(place)
                _copy(os.path.join(inner, name), os.path.join(place, name))


def _copy(source: str, target: str) -> None:
    """Copy a file, readable by its owner alone; skip one that was pruned meanwhile."""
    with suppress(FileNotFoundError), open(source, "rb") as file:
        # Exclusive: a backup never overwrites a file, and never follows a link.
        handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())
