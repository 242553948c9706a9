"""`localops backup`: copy journals, each into one file that any SQLite tool can open."""

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
@click.option("-o", "--output", "path", metavar="FILE|FOLDER", help="Target; FOLDER/ is created [default: here].")
@place_options
@json_option
def backup(path: str | None, home: str | None, project: str | None, as_json: bool) -> None:
    """Copy journals, even while programs write to them.

    Each project becomes one compact file that only its owner can read, for sqlite3, sqlite-utils or Datasette.
    Put into a home, it works as a journal again. It does not contain blobs and settings.
    """
    with look(home, project) as opened:
        if not opened.projects:
            raise NotFound(opened.nothing_yet())
        written = [
            _back_up(source, _target(path, source.name, alone=len(opened.projects) == 1)) for source in opened.projects
        ]
    if as_json:
        print_json({"backups": written})
        return
    for one in written:
        output.say(f"wrote project {one['project']} to {one['file']} ({bytes_text(one['bytes'])})")


def _back_up(project: Project, target: str) -> dict[str, Any]:
    if os.path.exists(target):
        raise ConfigError(f"{target} already exists: a backup never replaces a file; give another name")
    project.reader.backup(target)
    return {"project": project.name, "file": os.path.abspath(target), "bytes": os.path.getsize(target)}


def _target(path: str | None, name: str, *, alone: bool) -> str:
    """Return the given file, or a file in the given folder with project and time in its name."""
    if path is not None and path.endswith(os.sep) and not os.path.exists(path):
        host.make_private(path.rstrip(os.sep))
    if path is not None and not os.path.isdir(path):
        if not alone:
            raise ConfigError(
                f"{path} is not a directory, and there are several projects: give a directory, or --project"
            )
        return path
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    return os.path.join(path or "", f"localops-{name}-{stamp}.db")
