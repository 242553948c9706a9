"""`localops import`: import a bundle, receipts, an export, or transcripts of coding agents."""

from __future__ import annotations

import os
from collections import Counter

import click

from localops import clock, config, output
from localops.cli import common
from localops.cli.prices import what_was_taken
from localops.config import Config
from localops.errors import ConfigError, NotFound
from localops.journal.journal import Journal
from localops.transfer import row_lines, scrubbed
from localops.upkeep import imported_prices
from localops_sync import bundle_file, exit_codes, file_kinds
from localops_sync.sink import Offline, Trouble

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops_sync.bundle_file import Part, Signed

_MOST_PROBLEMS = _MOST_REFUSED = 10  # the most that are printed


@click.command("import")
@click.argument("path", metavar="[FILE|FOLDER]", required=False)
@click.option("--claude-code", is_flag=True, help="Import transcripts of Claude Code [default: ~/.claude/projects].")
@click.option("--codex", is_flag=True, help="Import transcripts of Codex [default: ~/.codex/sessions].")
@click.option("--otlp", is_flag=True, help="Import OTLP JSON, as OpenTelemetry's collector writes it to files.")
@click.option("--receipts", "receipts_path", metavar="FILE", help="Where to write receipts [default: FILE.receipts].")
@click.option("--key-file", metavar="FILE", help="Sign the receipts with the API key in this file.")
@click.option("--deliver", metavar="REMOTE", help="Send the rows on to this hub, and write its own receipts.")
@click.option("--remote", metavar="NAME", help="With a file of receipts: the remote they come from.")
@click.option("--unverified", is_flag=True, help="Accept unsigned receipts.")
@click.option("--with-prices", is_flag=True, help="Add the price table in use to the receipts.")
@click.option("--take-prices", is_flag=True, help="Use the price table in FILE if it is newer.")
@common.place_options
@common.json_option
def import_(
    path: str | None,
    claude_code: bool,
    codex: bool,
    otlp: bool,
    receipts_path: str | None,
    key_file: str | None,
    deliver: str | None,
    remote: str | None,
    unverified: bool,
    with_prices: bool,
    take_prices: bool,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Import a bundle, an export in jsonl, or a file of receipts. Importing one again adds nothing.

    With --claude-code or --codex: the transcripts in FOLDER become sessions. What an earlier import or hooks have
    recorded stays unchanged.

    With --otlp: the spans in FILE become sessions, each trace one, or all traces with the same session.id or
    gen_ai.conversation.id. FILE is one JSON document, or has one request per line. In a FOLDER, all .json and .jsonl
    files are read.

    Rows go into the project of the same name (or --project), and from there to its remotes at the next sync. Receipts
    are written beside FILE; existing ones that count for more are kept. With --deliver, they are the hub's, and mark
    the rows as delivered on the machine that wrote FILE. Without it, this machine writes the receipts, signed with the
    key of --key-file or LOCALOPS_API_KEY; they mark rows as delivered only if this machine is a hub.
    """
    if claude_code + codex + otlp > 1:
        raise click.UsageError("give one of --claude-code, --codex and --otlp")
    if otlp and path is None:
        raise click.UsageError("give the FILE of OTLP JSON")
    if otlp and path is not None and os.path.isfile(path):
        file_kinds.check_import(path, as_otlp=True)
    if claude_code or codex or otlp:
        _transcripts("codex" if codex else "claude-code" if claude_code else "otlp", path, home, project, as_json)
        return
    if path is None:
        raise click.UsageError("give a FILE, or --claude-code or --codex")
    if not os.path.isfile(path):
        raise NotFound(f"{path} is not a file" if os.path.exists(path) else f"there is no file {path}")
    top, only = common.place(home, project, may_be_new=True)
    if bundle_file.is_bundle(path):
        if deliver is not None:
            _check(top, path, deliver, only)
        parts = bundle_file.unpack(top, path, project=only, key=_key(key_file))
        own = [] if deliver is None else _deliver(top, path, deliver, only)
        _take_prices(top, path, "bundle", wanted=take_prices)
        prices = imported_prices.current(top) if with_prices else None
        _bundle(parts, own, receipts_path or f"{path}.receipts", as_json, prices)
    elif row_lines.are_in(path):
        _row_lines(path, home, project, as_json)
    else:
        file_kinds.check_import(path, as_otlp=False)
        signed = bundle_file.take_receipts(top, path, project=only, remote=remote, unverified=unverified)
        _take_prices(top, path, "receipts", wanted=take_prices)
        _receipts(signed, as_json)


def _take_prices(home: str, path: str, kind: str, *, wanted: bool) -> None:
    """Use the price table in a file if the user wants that; otherwise mention that the file has a newer one."""
    table = bundle_file.prices_in(path)
    if table is None:
        if wanted:
            output.say(f"{path} has no prices: --with-prices adds them when the file is written")
        return
    try:
        if wanted or config.takes_prices(home):
            origin = f"{kind} {os.path.abspath(path)}"
            taken = imported_prices.take(home, table, origin=origin, now_ns=clock.now_ns())
            if taken.is_new or wanted:
                output.say(what_was_taken(taken))
        else:
            output.say(f"{path} has prices, which are not used: --take-prices uses them if they are newer")
    except ConfigError as error:
        # The rows are imported already.
        output.say(f"the prices in {path} were not taken: {error}")


def _key(key_file: str | None) -> str | None:
    if key_file is None:
        return os.environ.get("LOCALOPS_API_KEY") or os.environ.get("AGENTOPS_API_KEY")
    try:
        with open(os.path.expanduser(key_file), encoding="utf-8") as file:
            return file.read().strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the key cannot be read: {error}") from error


def _check(home: str, path: str, remote: str, project: str | None) -> None:
    from localops_sync import relay

    relay.check(home, path, remote, project=project)


def _deliver(home: str, path: str, remote: str, project: str | None) -> list[Part]:
    """Return what the hub accepted of the bundle; exit if it cannot be reached: the rows are imported here then."""
    # Late import: `requests` takes as long to load as everything else together.
    from localops_sync import relay

    try:
        return relay.deliver(home, path, remote, project=project)
    except Trouble as error:
        output.say(
            f"the rows are here, and {remote} has not signed for them: {error}; run the same command again later"
        )
        raise click.exceptions.Exit(exit_codes.OFFLINE if isinstance(error, Offline) else exit_codes.ACT) from error


def _bundle(parts: list[Part], own: list[Part], receipts_path: str, as_json: bool, prices: bytes | None) -> None:
    wanted, receipts_path = receipts_path, bundle_file.place_of_receipts(own or parts, receipts_path)
    count = bundle_file.write_receipts(own or parts, receipts_path, prices=prices)
    kept = wanted if wanted != receipts_path else None
    if as_json:
        parts_json = [_facts(part) for part in parts]
        signed = all(each.get("hmac") for part in own or parts for each in part.receipts)
        holder = "copy" if any("holder" in each for part in own or parts for each in part.receipts) else "hub"
        facts = {"parts": parts_json, "receipts": os.path.abspath(receipts_path), "signed": signed, "holder": holder}
        facts["kept"] = None if kept is None else os.path.abspath(kept)
        common.print_json({**facts, "delivered": sum(part.rows for part in own)})
    else:
        _say(parts, own, count, receipts_path)
        if kept is not None:
            output.say(
                f"{kept} has receipts that count for more (a hub's, or signed ones), and was not replaced: take "
                "that file back"
            )
        _say_refused(parts, own)
    is_left_out = any(part.refused for part in own) or any(why != scrubbed.REFUSED for *_, why in _refused(parts))
    raise click.exceptions.Exit(exit_codes.PARKED if is_left_out else exit_codes.DONE)


def _refused(parts: list[Part]) -> list[tuple[str, int, str]]:
    return [(part.project, seq, why) for part in parts for seq, why in part.refused.items()]


def _say_refused(parts: list[Part], own: list[Part]) -> None:
    """Print why rows were left out: those that were scrubbed here together, as there is nothing to do about them."""
    here = _refused(parts)
    for project, many in Counter(project for project, _, why in here if why == scrubbed.REFUSED).items():
        rows = output.counted(many, "row")
        output.say(
            f"{rows} of {project} in the file still had what a scrub has removed here, and were left out: the scrubbed "
            "rows stay. If the file is of another machine, run `localops scrub` there, too"
        )
    # Rows that the hub refused, after they were passed on, have the hub's reasons.
    others = [*(each for each in here if each[2] != scrubbed.REFUSED), *_refused(own)]
    for project, seq, why in others[:_MOST_REFUSED]:
        output.say(f"row {seq} of {project} was left out: {why}")
    if len(others) > _MOST_REFUSED:
        output.say(f"and {output.counted(len(others) - _MOST_REFUSED, 'more row was', 'more rows were')} left out")


def _facts(part: Part) -> dict[str, Any]:
    return {
        "project": part.project,
        "rows": part.rows,
        "new": part.new,
        "gone": part.gone,
        "blobs": part.blobs,
        "refused": [{"seq": seq, "reason": why} for seq, why in part.refused.items()],
    }


def _say(parts: list[Part], own: list[Part], count: int, receipts_path: str) -> None:
    for part in parts:
        known = part.rows - part.new - part.gone
        print(
            f"{part.project}  {output.counted(part.new, 'row is', 'rows are')} new, "
            f"{output.counted(known, 'was', 'were')} here, {output.counted(part.blobs, 'file')}"
        )
        if part.gone:
            whose = "its session was" if part.gone == 1 else "their sessions were"
            output.say(
                f"{output.counted(part.gone, 'row')} of {part.project} stayed out: {whose} pruned or deleted here"
            )
        if part.without_key:
            output.say(
                f"this hub has no key for project {part.project}: create one with `localops hub key create --project`, "
                "or import again with --project and the project of a key"
            )
    for part in own:
        print(f"{part.project}  {output.counted(part.rows, 'row is', 'rows are')} on the hub")
    receipts = output.counted(count, "receipt")
    if any("holder" in each for part in own or parts for each in part.receipts):
        output.say(
            f"wrote {receipts} to {receipts_path}: they say that a copy is here, and not on a hub; to send it on, "
            "`localops import FILE --deliver REMOTE`"
        )
        return
    hint = ""
    if any(not each.get("hmac") for part in own or parts for each in part.receipts):
        hint = " (unsigned: the other side has to add --unverified)"
    output.say(f"wrote {receipts} to {receipts_path}{hint}; bring it back and import it there")


def _receipts(results: list[Signed], as_json: bool) -> None:
    refused = [why for signed in results for why in signed.refused]
    if as_json:
        common.print_json({"receipts": [vars(signed) for signed in results]})
    else:
        for signed in results:
            print(f"{signed.project} → {signed.remote}  {output.counted(signed.rows, 'row is', 'rows are')} delivered")
        for why in dict.fromkeys(refused):
            output.say(f"{output.counted(refused.count(why), 'receipt does', 'receipts do')} not count: {why}")
    raise click.exceptions.Exit(exit_codes.PARKED if refused else exit_codes.DONE)


def _row_lines(path: str, home: str | None, project: str | None, as_json: bool) -> None:
    """Import rows that were exported as lines."""
    journal = Journal(Config.usable(home=home, project=project).folder(), gather=True)
    try:
        taken = row_lines.take(journal, path)
    finally:
        journal.close()
    name = os.path.basename(journal.folder)
    if as_json:
        facts = {"rows": taken.rows, "new": taken.new, "gone": taken.gone, "problems": taken.problems}
        common.print_json({"project": name, **facts})
    else:
        print(
            f"{name}  {output.counted(taken.new, 'row is', 'rows are')} new, "
            f"{output.counted(taken.rows - taken.new - taken.gone, 'was', 'were')} here"
        )
    _print_problems(taken.problems)
    raise click.exceptions.Exit(exit_codes.PARKED if taken.problems else exit_codes.DONE)


def _print_problems(problems: list[str]) -> None:
    for problem in problems[:_MOST_PROBLEMS]:
        output.say(problem)
    if len(problems) > _MOST_PROBLEMS:
        output.say(f"and {output.counted(len(problems) - _MOST_PROBLEMS, 'more line')} like these")


def _transcripts(agent: str, path: str | None, home: str | None, project: str | None, as_json: bool) -> None:
    from importlib import import_module

    from localops.coding.recording import Project
    from localops.config import Config

    is_otlp = agent == "otlp"
    reader = import_module("localops.otlp.importing" if is_otlp else f"localops.coding.{agent.replace('-', '_')}")
    top = path or reader.folder()
    if not os.path.exists(top):
        raise NotFound(f"{top} does not exist: give the {'file' if is_otlp else 'folder that holds the transcripts'}")
    where = Project(Config.usable(home=home, project=project))
    try:
        report = reader.take(where, top)
    finally:
        where.journal.close()
    _print_problems(report.problems)
    if as_json:
        facts = {
            "files": report.files,
            "unchanged": report.unchanged,
            "sessions": report.sessions,
            "rows": report.rows,
            "deleted": report.gone,
        }
        common.print_json({"project": os.path.basename(where.folder), **facts, "problems": report.problems})
    else:
        print(
            f"{os.path.basename(where.folder)}  {output.counted(report.rows, 'row is', 'rows are')} new, "
            f"of {output.counted(report.sessions, 'session')}, "
            f"from {output.counted(report.files, 'file' if is_otlp else 'transcript')}"
            + (f"; {report.unchanged:,} unchanged" if report.unchanged else "")
        )
    raise click.exceptions.Exit(exit_codes.PARKED if report.problems else exit_codes.DONE)
