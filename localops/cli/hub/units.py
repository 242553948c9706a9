"""`localops hub units`: files that run a hub, and the sync of a machine, as services."""

from __future__ import annotations

import os
import sys

import click

import localops
from localops import output
from localops.cli.common import print_pairs
from localops.errors import NotFound

UNITS = os.path.join(os.path.dirname(localops.__file__), "docs", "units")
_ABOUT = {
    "localops-hub.service": "the hub, with a user of its own and little access to the machine",
    "localops-hub-backup.service": "a backup of the hub while it serves",
    "localops-hub-backup.timer": "every night",
    "localops-sync.service": "send what a user has recorded",
    "localops-sync.timer": "every five minutes",
    "Containerfile": "the hub in a container",
}
# The commands in the files that are shipped, which are replaced.
_COMMANDS = ("/opt/localops/bin/localops", "%h/.local/bin/localops")


@click.command()
@click.argument("name", required=False)
def units(name: str | None) -> None:
    """Print a file that runs the hub as a service; without a NAME, list them.

    The systemd units contain the path of the command that prints them: use the one of the environment that will serve.

    \b
    localops hub units localops-hub.service > /etc/systemd/system/localops-hub.service
    """
    if name is None:
        print_pairs(list(_ABOUT.items()))
        return
    if name not in _ABOUT:
        raise NotFound(f"unknown file {name!r}: use one of {', '.join(_ABOUT)}")
    with open(os.path.join(UNITS, name), encoding="utf-8") as file:
        text = file.read()
    command = os.path.join(os.path.dirname(sys.executable), "localops")
    if os.access(command, os.X_OK):
        for shipped in _COMMANDS:
            text = text.replace(shipped, command)
    elif any(shipped in text for shipped in _COMMANDS):
        output.say("there is no `localops` beside this Python: put the path of the command into the file")
    print(text, end="")
