"""`localops backup`: a project's journal as one plain file that any SQLite tool may open."""

from __future__ import annotations

import os
import time

import click

from localops import config, output
from localops.cli.common import json_option, place, place_options, print_json
from localops.errors import ConfigError, NotFound
from localops.journal import Reader


@click.command()
@click.option("-o", "--output", "path", metavar="FILE|FOLDER", help="Where to [default: this folder].")
@place_options
@json_option
def backup(path: str | None, home: str | None, project: str | None, as_json: bool) -> None:
    """Copy journals as they are at this instant, while they are being written.

    Each project becomes one file, packed, readable by its owner alone, for sqlite3, sqlite-utils or
    Datasette. Put back in a home it goes on as a journal of its own. Blobs and settings are not in it.
    """
    folder, only = place(home, project)
    names = [name for name in config.projects(folder) if only in (None, name) and _has_journal(folder, name)]
    if not names:
        raise NotFound(f"there is no journal {'of ' + only + ' ' if only else ''}in {folder}")
    written = []
    for name in names:
        target = _target(path, name, alone=len(names) == 1)
        if os.path.exists(target):
            raise ConfigError(f"{target} is there already: a backup never replaces a file")
        with Reader(_journal(folder, name)) as reader:
            reader.backup(target)
        written.append({"project": name, "file": os.path.abspath(target), "bytes": os.path.getsize(target)})
        if not as_json:
            output.say(f"{target} holds {name}, {output.count(os.path.getsize(target))} bytes")
    if as_json:
        print_json({"backups": written})


def _journal(folder: str, name: str) -> str:
    return os.path.join(config.project_folder(folder, name), config.JOURNAL)


def _has_journal(folder: str, name: str) -> bool:
    return os.path.exists(_journal(folder, name))


def _target(path: str | None, name: str, *, alone: bool) -> str:
    """The file that was named, or one with project and time in its name in the folder that was."""
    if path is not None and not os.path.isdir(path):
        if not alone:
            raise ConfigError(
                f"{path} is no folder, and there are several projects: name one, or give a folder"
            )
        return path
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return os.path.join(path or "", f"localops-{name}-{stamp}.db")
