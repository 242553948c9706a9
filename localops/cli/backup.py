"""`localops backup`: a project's journal as one plain file that any SQLite tool may open."""

from __future__ import annotations

import os
import time

import click

from localops import host, output
from localops.cli.common import bytes_text, json_option, look, place_options, print_json
from localops.errors import ConfigError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.reading.home import Project


@click.command()
@click.option("-o", "--output", "path", metavar="FILE|FOLDER", help="Where to; FOLDER/ is made [default: here].")
@place_options
@json_option
def backup(path: str | None, home: str | None, project: str | None, as_json: bool) -> None:
    """Copy journals as they are now, while they are being written.

    Each project becomes one file, packed, readable by its owner alone, for sqlite3, sqlite-utils or
    Datasette. Put back in a home it goes on as a journal of its own. Blobs and settings are not in it.
    """
    with look(home, project) as opened:
        if not opened.projects:
            raise NotFound(opened.nothing_yet())
        written = [
            _back_up(each, _target(path, each.name, alone=len(opened.projects) == 1)) for each in opened.projects
        ]
    if as_json:
        print_json({"backups": written})
        return
    for one in written:
        output.say(f"wrote project {one['project']} to {one['file']} ({bytes_text(one['bytes'])})")


def _back_up(project: Project, target: str) -> dict[str, Any]:
    if os.path.exists(target):
        raise ConfigError(f"{target} is there already: a backup never replaces a file")
    project.reader.backup(target)
    return {"project": project.name, "file": os.path.abspath(target), "bytes": os.path.getsize(target)}


def _target(path: str | None, name: str, *, alone: bool) -> str:
    """The file that was named, or one with project and time in its name in the folder that was."""
    if path is not None and path.endswith(os.sep) and not os.path.exists(path):
        host.make_private(path.rstrip(os.sep))
    if path is not None and not os.path.isdir(path):
        if not alone:
            raise ConfigError(f"{path} is no folder, and there are several projects: name one, or give a folder")
        return path
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return os.path.join(path or "", f"localops-{name}-{stamp}.db")
