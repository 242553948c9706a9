"""`localops receipts`: lists what remotes signed for."""

from __future__ import annotations

import click

from localops import clock, output
from localops.cli import common
from localops.encoding import encode
from localops.errors import ConfigError
from localops.reading.home import Home
from localops.recording import events
from localops.transfer import bundle, delivery, remotes
from localops_sync.cli.naming import check_remote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.reading.home import Project


@click.command()
@click.option("--remote", metavar="NAME", help="Only of this remote.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="At most this many; the newest come first.",
)
@common.place_options
@common.json_option
def receipts(remote: str | None, limit: int, home: str | None, project: str | None, as_json: bool) -> None:
    """List the receipts of remotes: which rows, when, and whether the signature is valid."""
    top, only = common.place(home, project)
    with Home(top, only) as opened:
        shown = [facts for each in opened.projects for facts in _receipts_of(each, remote, limit)]
    if not shown:
        # Those of a remote that was removed are listed.
        check_remote(top, only, remote)
    if as_json:
        common.print_json({"receipts": shown})
    elif shown:
        now = clock.now_ns()
        lines = [
            (
                facts["project"],
                facts["remote"],
                output.ago(now - facts["at_ns"]),
                output.count(facts["rows"]),
                ", ".join(f"{first}–{last}" for first, last in facts["receipt"]["ranges"]),
                facts["signature"],
                facts["receipt"]["digest"][:16],
            )
            for facts in shown
        ]
        headers = ("project", "remote", "when", "rows", "of the journal", "signature", "digest")
        common.print_table(lines, headers, align="lllr", soft=("of the journal",), spare=("digest", "project"))
    else:
        text = "no remote has signed for anything yet"
        output.say(text if remote is None else f"remote {remote} has signed for nothing yet")


def _receipts_of(project: Project, remote: str | None, limit: int) -> list[dict[str, Any]]:
    signed_for = project.reader.ask(delivery.statement("receipts"), {"remote": remote, "many": limit})
    keys = _keys(project.folder)
    return [
        {
            "project": project.name,
            "remote": name,
            "at": events.iso(at),
            "at_ns": at,
            "rows": count,
            "receipt": (receipt := encode.loads(body)),
            "signature": _signature(receipt, keys.get(name), delivery.Ledger(project.reader, project.folder, name)),
        }
        for _, name, at, count, body in signed_for
    ]


def _keys(folder: str) -> dict[str, str | None]:
    """Return the keys that can be read; without a key, signatures stay unchecked."""
    try:
        return {name: _key(remote) for name, remote in remotes.load(folder).items()}
    except ConfigError as error:
        output.say(str(error))
        return {}


def _key(remote: remotes.Remote) -> str | None:
    try:
        return remote.secret()
    except ConfigError:
        return None


def _signature(receipt: dict[str, Any], key: str | None, ledger: delivery.Ledger) -> str:
    if not receipt.get("hmac"):
        return "unsigned"
    if key is None:
        return "unchecked"
    if bundle.is_signed(receipt, key):
        return "good"
    # A pass keeps only receipts that were signed with the key it had, so this one was good under an earlier key.
    hub = (ledger.contact().peer or "").partition("/")[0]
    return "by an older key" if hub and receipt.get("by") == hub else "not by this key"
