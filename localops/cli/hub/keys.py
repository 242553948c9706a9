"""`localops hub key`: make, list and revoke keys."""

from __future__ import annotations

import click

from localops import output
from localops.cli.common import Group, json_option, print_json, print_table
from localops.cli.hub.common import data_option, folder_of, keys_of, new_option, owned, project_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.server.keys import Key


@click.group(cls=Group)
def key() -> None:
    """Manage the keys to a hub, each for one project."""


@key.command()
@data_option
@project_option
@click.option("--note", metavar="TEXT", help="Who uses it.")
@new_option
@json_option
def create(data: str, project: str, note: str | None, new: bool, as_json: bool) -> None:
    """Create a key to a project, and the project if it is new.

    The key is shown only now: the hub stores a digest of it.
    """
    from localops.server.home_store import HomeStore
    from localops.server.keys import Keys

    keys = Keys(folder_of(data), new=new)
    with owned(keys.folder):
        secret = keys.create(project, note)
        store = HomeStore(keys.folder)
        store.migrate(project)
        store.close()
    if as_json:
        print_json({"key": secret, "project": project, "hub": keys.hub})
        return
    print(secret)
    output.say(f"this is the key to project {project}; it is not shown again")


@key.command("list")
@data_option
@json_option
def list_keys(data: str, as_json: bool) -> None:
    """List the keys by their handles: the first digits of their digests."""
    keys = keys_of(data)
    if as_json:
        print_json({"hub": keys.hub, "keys": [_facts(entry) for entry in keys.all()]})
        return
    lines = [
        (entry.handle, entry.project, entry.created[:16], (entry.revoked or "in use")[:16], entry.note)
        for entry in keys.all()
    ]
    if not lines:
        output.say("no keys yet: create one with `localops hub key create`")
        return
    print_table(lines, ("key", "project", "made", "revoked", "note"), soft=("note",))


def _facts(entry: Key) -> dict[str, Any]:
    return {
        "key": entry.handle,
        "project": entry.project,
        "created": entry.created,
        "revoked": entry.revoked,
        "note": entry.note,
    }


@key.command()
@click.argument("handle")
@data_option
def revoke(handle: str, data: str) -> None:
    """Revoke a key, effective at once; `list` shows its HANDLE."""
    keys = keys_of(data)
    with owned(keys.folder):
        dead = keys.revoke(handle)
    output.say(f"key {dead.handle} to project {dead.project} is revoked")
