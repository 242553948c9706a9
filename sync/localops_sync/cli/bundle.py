"""`localops bundle`: writes rows to one file, for a machine without a network."""

from __future__ import annotations

import os

import click

from localops import config, output
from localops.cli import common
from localops.errors import ConfigError
from localops.reading.home import Home
from localops.transfer import remotes
from localops.upkeep import imported_prices
from localops_sync import bundle_file, exit_codes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command()
@click.option("-o", "--output", "path", metavar="FILE", required=True, help="The file to write; it must not exist.")
@click.option("--remote", metavar="NAME", help="The rows that this remote lacks, of each project that has it.")
@click.option("--session", "idents", multiple=True, metavar="ID", help="This session, whole; may be given again.")
@click.option("--force", is_flag=True, help="Write over FILE.")
@click.option("--with-prices", is_flag=True, help="Add the price table in use, for a machine with an older one.")
@common.place_options
@common.json_option
def bundle(
    path: str,
    remote: str | None,
    idents: tuple[str, ...],
    force: bool,
    with_prices: bool,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Write rows to one compressed, checksummed file.

    With --remote, the rows that this remote lacks; with --session, whole sessions; with neither, everything. `localops
    import` on another machine stores each row once, and writes a file of receipts: imported back here, it marks the
    rows as delivered. Exit code 3: files that rows name are missing or damaged here, or rows fail their checksums; the
    rest is in the bundle.
    """
    if remote is not None and idents:
        raise click.UsageError("--remote and --session exclude each other: give one of them")
    if os.path.exists(path) and not force:
        raise ConfigError(f"{path} exists: choose another name, or use --force")
    top, only = common.place(home, project)
    try:
        prices = imported_prices.current(top) if with_prices else None
        parts = bundle_file.pack(top, list(_shares(top, only, remote, idents)), path, prices=prices)
    except bundle_file.NothingToPack as error:
        if not error.waiting:
            raise
        output.say(str(error))
        raise click.exceptions.Exit(exit_codes.PARKED) from error
    if as_json:
        payload = [
            {
                "project": part.project,
                "rows": part.rows,
                "blobs": part.blobs,
                "blobs_lacking": part.lacking,
                "rows_waiting": part.waiting,
                "rows_damaged": part.damaged,
            }
            for part in parts
        ]
        common.print_json({"file": os.path.abspath(path), "bytes": os.path.getsize(path), "parts": payload})
    else:
        _say(parts, path)
    raise click.exceptions.Exit(
        exit_codes.PARKED if any(part.lacking or part.waiting or part.damaged for part in parts) else exit_codes.DONE
    )


def _say(parts: list[bundle_file.Part], path: str) -> None:
    for part in parts:
        print(f"{part.project}  {output.counted(part.rows, 'row')}, {output.counted(part.blobs, 'file')}")
        if part.waiting:
            rows = output.counted(part.waiting, "row is", "rows are")
            output.say(f"{rows} set aside and not in the bundle: `localops parked list` shows for what they wait")
        if part.damaged:
            of = f"of {part.project}"
            rows = output.counted(part.damaged, f"row {of} was", f"rows {of} were")
            output.say(
                f"{rows} changed after the recording, as the checksum shows: an import leaves them out and marks "
                "their sessions; `localops doctor --deep` names them"
            )
        if part.lacking:
            files = output.counted(part.lacking, "file")
            output.say(
                f"{files} that rows of {part.project} name are missing or damaged here, and not in the bundle: a hub "
                "without them does not sign for those rows, and they stay unsent"
            )
    output.say(
        f"wrote {path} ({common.bytes_text(os.path.getsize(path))}); import it elsewhere with: localops import {path}"
    )


def _shares(top: str, only: str | None, remote: str | None, idents: tuple[str, ...]) -> Iterator[bundle_file.Share]:
    with Home(top, only) as opened:
        if idents:
            sessions_of: dict[str, list[bytes]] = {}
            for ident in idents:
                owner, session = opened.find(ident)
                sessions_of.setdefault(owner.name, []).append(session)
            yield from (bundle_file.Share(name, sessions=tuple(sessions)) for name, sessions in sessions_of.items())
            return
        names = [project.name for project in opened.projects]
    chosen = [name for name in names if remote is None or remote in remotes.load(config.project_folder(top, name))]
    if not chosen:
        what = "nothing recorded" if remote is None else f"no project with a remote {remote!r}"
        raise ConfigError(f"there is {what} in {top}")
    yield from (bundle_file.Share(name, remote) for name in chosen)
