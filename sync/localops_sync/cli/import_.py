"""`localops import`: a bundle that was carried here, or the receipts that come back for one."""

from __future__ import annotations

import os

import click

from localops import output
from localops.cli import common
from localops.errors import ConfigError, NotFound
from localops_sync import carry, codes


@click.command("import")
@click.argument("path", metavar="FILE")
@click.option("--receipts", "receipts_path", metavar="FILE", help="Where to write receipts [default: FILE.receipts].")
@click.option("--key-file", metavar="FILE", help="Sign the receipts with the API key in this file.")
@click.option("--remote", metavar="NAME", help="Of receipts: the remote that has the rows now.")
@click.option("--unverified", is_flag=True, help="Take receipts that nobody signed.")
@common.place_options
@common.json_option
def import_(
    path: str,
    receipts_path: str | None,
    key_file: str | None,
    remote: str | None,
    unverified: bool,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Take in a bundle, each row once however often; or the file of receipts that came back for one.

    Rows go into the project they come from (or --project), and from there to its remotes with the next sync. The
    receipts are written beside FILE, signed with the key of the project where it is given: --key-file, or
    LOCALOPS_API_KEY.
    """
    if not os.path.isfile(path):
        raise NotFound(f"{path} is no file" if os.path.exists(path) else f"there is no file {path}")
    top, only = common.place(home, project)
    if carry.is_bundle(path):
        _bundle(top, only, path, receipts_path or f"{path}.receipts", _key(key_file), as_json)
    else:
        _receipts(top, path, remote, unverified, as_json)


def _key(key_file: str | None) -> str | None:
    if key_file is None:
        return os.environ.get("LOCALOPS_API_KEY") or os.environ.get("AGENTOPS_API_KEY")
    try:
        with open(os.path.expanduser(key_file), encoding="utf-8") as file:
            return file.read().strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the key cannot be read: {error}") from error


def _bundle(home: str, project: str | None, path: str, receipts_path: str, key: str | None, as_json: bool) -> None:
    parts = carry.unpack(home, path, project=project, key=key)
    count = carry.write_receipts(parts, receipts_path)
    refused = sum(len(part.refused) for part in parts)
    if as_json:
        told = [
            {
                "project": part.project,
                "rows": part.rows,
                "new": part.new,
                "blobs": part.blobs,
                "refused": [{"seq": seq, "reason": why} for seq, why in part.refused.items()],
            }
            for part in parts
        ]
        common.print_json({"parts": told, "receipts": os.path.abspath(receipts_path), "signed": key is not None})
    else:
        for part in parts:
            known = part.rows - part.new
            print(
                f"{part.project}  {output.count(part.new)} rows are new, {output.count(known)} were here, "
                f"{output.count(part.blobs)} files"
            )
            for seq, why in list(part.refused.items())[:10]:
                output.say(f"row {seq} of {part.project} was left out: {why}")
        receipts = "1 receipt" if count == 1 else f"{count} receipts"
        hint = "" if key else " (nobody signed: the other side has to say --unverified)"
        output.say(f"wrote {receipts} to {receipts_path}{hint}; bring it back and import it there")
    raise click.exceptions.Exit(codes.PARKED if refused else codes.DONE)


def _receipts(home: str, path: str, remote: str | None, unverified: bool, as_json: bool) -> None:
    found = carry.take_receipts(home, path, remote=remote, unverified=unverified)
    refused = [why for each in found for why in each.refused]
    if as_json:
        common.print_json({"receipts": [vars(each) for each in found]})
    else:
        for each in found:
            print(f"{each.project} → {each.remote}  {output.count(each.rows)} rows are delivered")
        for why in dict.fromkeys(refused):
            output.say(f"{refused.count(why)} receipts do not count: {why}")
    raise click.exceptions.Exit(codes.PARKED if refused else codes.DONE)
