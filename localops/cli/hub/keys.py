"""`localops hub key`: make, list, replace and revoke keys."""

from __future__ import annotations

import click

from localops import clock, output
from localops.cli.common import Group, Span, json_option, print_json, print_table
from localops.cli.hub.common import Later, data_option, folder_of, keys_of, new_option, note, owned
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from localops.server.keys import Key

_SCOPES = ("send", "read", "score", "admin")
_WEEK_NS = 7 * 86_400_000_000_000


@click.group(cls=Group)
def key() -> None:
    """Manage the keys to a hub, each for one project."""


@key.command()
@data_option
@click.option("--project", metavar="NAME", help="The project; not for a key that is only for admin.")
@click.option("--name", "--note", metavar="TEXT", help="Who uses it.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(_SCOPES),
    help="What it allows; can be repeated. By default, send and read.",
)
@click.option(
    "--expires", type=Later(), metavar="WHEN", help="When it ends: 90d from now, or a day. By default, never."
)
@new_option
@json_option
def create(
    data: str,
    project: str | None,
    name: str | None,
    scopes: tuple[str, ...],
    expires: int | None,
    new: bool,
    as_json: bool,
) -> None:
    """Create a key to a project, and the project if it is new.

    The key is shown only now, as the hub stores a digest of it. --scope send is for a machine: the key can send rows
    and check that they arrived, but cannot read sessions. --scope read is for people and dashboards; with --scope score
    as well, they can judge sessions. --scope admin is for the operator: the key reads the figures of the whole hub.
    """
    if project is None and set(scopes) != {"admin"}:
        raise click.UsageError("missing --project: the project that the key is for")
    from localops.server.home_store import HomeStore
    from localops.server.keys import Keys

    keys = Keys(folder_of(data), new=new)
    with owned(keys.folder):
        secret = keys.create(project, name, scopes=scopes or ("send", "read"), expires_ns=expires)
        if project is not None:
            store = HomeStore(keys.folder)
            store.migrate(project)
            store.close()
        made = keys.match(secret)
        assert made is not None
        note(keys.folder, "key.create", of=made.handle, **_limits(made))
    if as_json:
        print_json({"key": secret, "hub": keys.hub, **_identity(made)})
        return
    print(secret)
    ends = f" until {output.when(expires)[:16]} (UTC)" if expires is not None else ""
    output.say(f"this is key {made.handle} to {_place(made)}{ends}; it is not shown again")
    if made.note != name:
        shown = output.clean(made.note or "")
        output.say(f"its name had a secret in it, and is stored as {shown!r}: see `localops help privacy`")


def _place(entry: Key) -> str:
    return f"project {entry.project}" if entry.project else "the hub"


def _identity(entry: Key) -> dict[str, Any]:
    return {
        "handle": entry.handle,
        "project": entry.project or None,
        "name": entry.note,
        "scopes": list(entry.scopes),
        "expires": entry.expires,
    }


def _limits(entry: Key) -> dict[str, Any]:
    return {
        "of_name": entry.note,
        "project": entry.project or None,
        "scopes": list(entry.scopes),
        "ends": entry.expires,
    }


@key.command("list")
@data_option
@json_option
def list_keys(data: str, as_json: bool) -> None:
    """List the keys by their handles: the first digits of their digests.

    `last used` is rounded to a minute; uses that older releases did not note are unknown.
    """
    from localops.server import usage

    keys = keys_of(data)
    used = usage.load(keys.folder)
    if as_json:
        print_json({"hub": keys.hub, "keys": [_facts(entry, used) for entry in keys.all()]})
        return
    lines = [_cells(entry, used) for entry in keys.all()]
    if not lines:
        output.say("no keys yet: create one with `localops hub key create`")
        return
    headers = ("key", "project", "name", "may", "made", "ends", "last used", "state")
    print_table(lines, headers, soft=("name", "project"), spare=("made",))
    for entry in keys.all():
        if entry.state == "good" and entry.replaced_by is not None:
            output.say(f"key {entry.handle} ends in {_days(entry)}: key {entry.replaced_by} replaces it")
    for entry in keys.expiring():
        replacement = f"`localops hub key rotate {entry.handle} --data {keys.folder}`"
        output.say(f"key {entry.handle} ends in {_days(entry)}: {replacement} makes one to replace it")


def _days(entry: Key) -> str:
    return output.counted(int(entry.days_left or 0), "day")


def _cells(entry: Key, used: Mapping[str, int]) -> tuple[object, ...]:
    at_ns = used.get(entry.sha256)
    return (
        entry.handle,
        entry.project or "the hub",
        entry.note or "",
        " ".join(entry.scopes),
        entry.created[:10],
        (entry.expires or "never")[:10],
        "never" if at_ns is None else output.ago(clock.now_ns() - at_ns),
        "valid" if entry.state == "good" else entry.state,
    )


def _facts(entry: Key, used: Mapping[str, int]) -> dict[str, Any]:
    at_ns = used.get(entry.sha256)
    return {
        "key": entry.handle,
        **_identity(entry),
        "note": entry.note,
        "replaced_by": entry.replaced_by,
        "created": entry.created,
        "revoked": entry.revoked,
        "state": entry.state,
        "last_used": None if at_ns is None else events.iso(at_ns),
    }


@key.command()
@click.argument("handle")
@data_option
@click.option(
    "--overlap",
    type=Span(),
    default=_WEEK_NS,
    metavar="AGE",
    help="How long the old key continues to work; 7d by default.",
)
@click.option(
    "--expires", type=Later(), metavar="WHEN", help="When the new key ends. By default, when the old one would have."
)
@json_option
def rotate(handle: str, data: str, overlap: int, expires: int | None, as_json: bool) -> None:
    """Create a key that replaces another, with the same project, name and scopes; `list` shows its HANDLE.

    The old key works until the end of the overlap. On each machine, `localops remote key` sets the new one.
    """
    keys = keys_of(data)
    with owned(keys.folder):
        secret, old = keys.rotate(handle, overlap_ns=overlap, expires_ns=expires)
        new = keys.match(secret)
        assert new is not None
        facts = {"of_name": old.note, "ends": old.expires, "new": new.handle, "project": new.project or None}
        note(keys.folder, "key.rotate", of=old.handle, **facts)
    if as_json:
        print_json({"key": secret, "hub": keys.hub, **_identity(new), "replaces": _identity(old)})
        return
    print(secret)
    output.say(f"this is key {new.handle} to {_place(new)}; it is not shown again")
    output.say(f"key {old.handle}, which it replaces, works until {(old.expires or '')[:16]} (UTC)")


@key.command()
@click.argument("handle")
@data_option
def revoke(handle: str, data: str) -> None:
    """Revoke a key, effective at once; `list` shows its HANDLE."""
    keys = keys_of(data)
    with owned(keys.folder):
        dead = keys.revoke(handle)
        note(keys.folder, "key.revoke", of=dead.handle, of_name=dead.note, project=dead.project or None)
    output.say(f"key {dead.handle} to {_place(dead)} is revoked")
