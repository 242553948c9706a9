"""`localops path`: print where the home and its journals are, for other tools."""

from __future__ import annotations

import os

import click

from localops import config, output
from localops.cli import common
from localops.errors import NotFound


@click.command()
@common.place_options
@common.json_option
def path(home: str | None, project: str | None, as_json: bool) -> None:
    """Print the path of the home; with --project, that of its journal."""
    folder = config.home(home)
    config.check_home(folder)
    if project is not None and config.check_project(project) not in (there := config.projects(folder)):
        raise NotFound(f"no project {project!r} in {folder}; there is: {', '.join(there) or 'none yet'}")
    if not os.path.isdir(folder):
        output.say(f"{folder} does not exist yet: the first recording creates it")
    if as_json:
        names = config.projects(folder) if project is None else [project]
        journals = {name: os.path.join(folder, name, config.JOURNAL) for name in names}
        common.print_json({"home": folder, "journals": journals})
    elif project is None:
        print(folder)
    else:
        print(os.path.join(config.project_folder(folder, project), config.JOURNAL))
