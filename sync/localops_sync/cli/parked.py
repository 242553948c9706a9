"""`localops parked`: lists, retries and drops rows that a remote does not take."""

from __future__ import annotations

import click

from localops import clock, config, output
from localops.cli import common
from localops.errors import ConfigError, NotFound
from localops.journal import stored
from localops.journal.journal import Journal
from localops.journal.rows import id_text
from localops.reading.home import Home
from localops.recording import events
from localops.transfer import delivery
from localops_sync.cli.naming import check_remote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.reading.home import Project
    from localops.transfer.delivery import Parked


_LONG = 60  # characters of a reason that fit into a table


@click.group(cls=common.Group)
def parked() -> None:
    """List, retry and drop rows that a remote refused.

    They are kept here, and do not hold up others.
    """


def _remote_option(command: Any) -> Any:
    return click.option("--remote", metavar="NAME", help="Only what this remote does not take.")(command)


@parked.command("list")
@_remote_option
@click.option("--dropped", is_flag=True, help="List the rows that were dropped instead.")
@common.place_options
@common.json_option
def list_parked(remote: str | None, dropped: bool, home: str | None, project: str | None, as_json: bool) -> None:
    """List parked rows, each with the remote's reason."""
    top, only = common.place(home, project)
    with Home(top, only) as opened:
        parked_rows = [
            (each.name, row)
            for each in opened.projects
            for row in delivery.parked(each.reader, remote, dropped=dropped)
        ]
    if not parked_rows:
        # Those of a remote that was removed are listed.
        check_remote(top, only, remote)
    if as_json:
        common.print_json({"parked": [_facts(name, row) for name, row in parked_rows]})
    elif parked_rows:
        now = clock.now_ns()
        # A long reason that many rows have is written once.
        reasons = list(dict.fromkeys(row.why for _, row in parked_rows))
        is_apart = len(reasons) < len(parked_rows) and max(map(len, reasons)) > _LONG
        lines = [
            (
                name,
                row.remote,
                row.seq,
                f"{row.kind or 'pruned'} {row.name or ''}".strip(),
                "dropped" if dropped else _state(row),
                output.ago(now - row.at_ns),
                f"({reasons.index(row.why) + 1})" if is_apart else row.why,
            )
            for name, row in parked_rows
        ]
        headers = ("project", "remote", "row", "what", "", "when", "why")
        common.print_table(lines, headers, align="llr", soft=("why", "what"), spare=("when", "project"))
        for number, reason in enumerate(reasons if is_apart else (), 1):
            print(f"({number}) {output.clean(reason)}")
    else:
        output.say("no row was dropped" if dropped else "no row is parked")


def _state(row: Parked) -> str:
    return "refused" if row.final else "waits for sync" if row.is_scrubbed else "set aside"


def _facts(project: str, row: Parked) -> dict[str, Any]:
    return {
        "project": project,
        "remote": row.remote,
        "seq": row.seq,
        "final": row.final,
        "reason": row.why,
        "at": events.iso(row.at_ns),
        "id": None if row.id is None else id_text(row.id),
        "session": None if row.session is None else id_text(row.session),
        "kind": row.kind,
        "name": row.name,
    }


@parked.command()
@click.argument("seq", type=int, metavar="ROW")
@common.place_options
@common.json_option
def show(seq: int, home: str | None, project: str | None, as_json: bool) -> None:
    """Show a parked row in full."""
    with Home(*common.place(home, project)) as opened:
        for each in opened.projects:
            for row in delivery.parked(each.reader, None):
                if row.seq == seq:
                    _show(each, row, as_json)
                    return
    raise NotFound(f"no parked row has the number {seq}: `localops parked list` shows what there is")


def _show(project: Project, row: Parked, as_json: bool) -> None:
    kept = stored.one(project.reader, row.id, row.phase) if row.id is not None and row.phase is not None else None
    plain: dict[str, Any] = {} if kept is None else kept._asdict()
    for name in ("id", "session", "parent", "agent"):
        plain[name] = plain[name].hex() if plain.get(name) else None
    if as_json:
        common.print_json({**_facts(project.name, row), "row": plain})
        return
    common.print_pairs([("remote", row.remote), ("why", row.why), ("since", events.iso(row.at_ns))])
    print()
    common.print_pairs([(name, value) for name, value in plain.items() if value is not None])


@parked.command()
@click.argument("seqs", type=int, nargs=-1, metavar="[ROW]...")
@_remote_option
@click.option("--dropped", is_flag=True, help="Send dropped rows again, instead of parked ones.")
@common.place_options
def retry(seqs: tuple[int, ...], remote: str | None, dropped: bool, home: str | None, project: str | None) -> None:
    """Send parked rows again with the next sync: all, or the given ROWs.

    With --dropped, it undoes `localops parked drop`.
    """
    count = sum(_unpark(home, project, remote, seqs, dropped=dropped))
    if not count:
        check_remote(*common.place(home, project), remote)
    _check_count(count, seqs)
    are_sent = output.counted(count, "row is sent", "rows are sent")
    nothing = "no row was dropped" if dropped else "no row is parked"
    output.say(f"{are_sent} again with the next `localops sync`" if count else nothing)


@parked.command()
@click.argument("seqs", type=int, nargs=-1, required=True, metavar="ROW...")
@_remote_option
@common.place_options
def drop(seqs: tuple[int, ...], remote: str | None, home: str | None, project: str | None) -> None:
    """Never send the ROWs to the remote; they stay here.

    `localops parked retry --dropped` undoes that, as long as the rows are here.
    """
    count = sum(_unpark(home, project, remote, seqs, drop=True))
    if not count:
        check_remote(*common.place(home, project), remote)
    _check_count(count, seqs)
    back = f"`localops parked retry --dropped {' '.join(map(str, seqs))}` undoes that"
    output.say(f"{output.counted(count, 'row')} will not be sent; the journal keeps all rows: {back}")


def _check_count(count: int, seqs: tuple[int, ...]) -> None:
    if seqs and not count:
        named = ", ".join(map(str, seqs))
        raise NotFound(f"no parked row has the number {named}: `localops parked list` shows what there is")


def _unpark(
    home: str | None,
    project: str | None,
    remote: str | None,
    seqs: tuple[int, ...],
    *,
    drop: bool = False,
    dropped: bool = False,
) -> Iterator[int]:
    top, only = common.place(home, project)
    with Home(top, only) as opened:
        places = {
            (each.name, row.remote)
            for each in opened.projects
            for row in delivery.parked(each.reader, remote, dropped=dropped)
            if row.seq in seqs
        }
        if len(places) > 1:
            places_text = ", ".join(f"{name} → {there}" for name, there in sorted(places))
            raise ConfigError(f"rows of those numbers are parked in {places_text}: choose with --project and --remote")
        for each in opened.projects:
            journal = Journal(config.project_folder(top, each.name), gather=True)
            try:
                remotes = {row.remote for row in delivery.parked(each.reader, remote, dropped=dropped)}
                for name in sorted(remotes):
                    ledger = delivery.Ledger(each.reader, each.folder, name)
                    yield ledger.unpark(journal, seqs or None, drop=drop, dropped=dropped)
            finally:
                journal.close()
