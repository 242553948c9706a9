"""`localops hub`: a server that many machines send their sessions to, and its keys."""

from __future__ import annotations

import click

from localops.cli.common import Group
from localops.cli.hub.audit import audit
from localops.cli.hub.backup import backup
from localops.cli.hub.check import check
from localops.cli.hub.delete import delete
from localops.cli.hub.keys import key
from localops.cli.hub.move import move
from localops.cli.hub.quotas import quota
from localops.cli.hub.restore import restore
from localops.cli.hub.retention import retention
from localops.cli.hub.senders import senders
from localops.cli.hub.serve import serve
from localops.cli.hub.units import units


@click.group(cls=Group)
def hub() -> None:
    """Collect the sessions of many machines on one server.

    The data folder of a hub is a home: commands that read work on it with --home.
    """


for _command in (serve, key, quota, retention, delete, check, senders, audit, backup, restore, move, units):
    hub.add_command(_command)
