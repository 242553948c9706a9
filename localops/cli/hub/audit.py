"""`localops hub audit`: list who did what on a hub."""

from __future__ import annotations

import click

from localops import output
from localops.cli.common import Moment, json_option, print_json, print_table
from localops.cli.hub.common import data_option, keys_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHORT = 13  # characters of an id, as in other lists
# The keys of a line that have a column of their own.
_COLUMNS = ("at", "action", "key", "name", "user", "peer", "project", "session", "ids")


@click.command()
@data_option
@click.option("--since", type=Moment(), metavar="AGE", help="Only since then: 7d, 12h, a day.")
@click.option("--project", metavar="NAME", help="Only of this project.")
@json_option
def audit(data: str, since: int | None, project: str | None, as_json: bool) -> None:
    """List who exported, deleted, logged in, or changed keys and limits, and when.

    Reads of sessions are there if the hub serves with --audit-reads. A key is named by its handle; `localops hub key
    list` shows them. It reads audit.jsonl of the data folder and the full files before it, audit.N.jsonl.
    """
    from localops.server import audit as log

    keys = keys_of(data)
    lines = [line for line in log.read(keys.folder, since) if project in (None, line.get("project"))]
    if as_json:
        print_json({"hub": keys.hub, "audit": lines})
    elif lines:
        headers = ("at (UTC)", "action", "by", "peer", "project", "session", "more")
        print_table([_cells(line) for line in lines], headers, soft=("more", "by"), spare=("peer",))
    else:
        output.say(
            "the audit log is empty" if since is None and project is None else "no line of the audit log matches"
        )


def _cells(line: dict[str, Any]) -> tuple[object, ...]:
    key = f"key {line['key']} {line.get('name') or ''}".strip() if "key" in line else None
    more = {name: value for name, value in line.items() if name not in _COLUMNS}
    return (
        str(line["at"])[:19].replace("T", " "),
        line.get("action", ""),
        line.get("user") or key or "",
        line.get("peer") or "",
        line.get("project") or "",
        _sessions(line),
        ", ".join(f"{name}: {_text(value)}" for name, value in more.items()),
    )


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _sessions(line: dict[str, Any]) -> str:
    """Return the session of a line as in other lists; of several, the first and the number of others."""
    ids = [str(id)[:_SHORT] for id in line.get("ids") or [line.get("session") or ""]]
    others = max(int(line.get("sessions") or 0), len(ids)) - 1
    return f"{ids[0]} +{others}" if ids[0] and others > 0 else ids[0]
