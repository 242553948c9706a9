"""Check the names of remotes in commands."""

from __future__ import annotations

from localops import config
from localops.errors import ConfigError, NotFound
from localops.reading.home import known
from localops.transfer import remotes


def check_remote(folder: str, project: str | None, name: str | None) -> None:
    """Raise NotFound for the name of a remote that no project of a home has, or that the one project has not."""
    if name is None:
        return
    for each in known(folder) if project is None else [project]:
        try:
            if name in remotes.load(config.project_folder(folder, each)):
                return
        except ConfigError:
            # It may be in the file that cannot be read, which every pass reports.
            return
    raise NotFound(f"there is no remote {name!r} in {folder}: `localops remote list` shows what there is")
