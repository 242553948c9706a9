"""`localops remote`: adds, lists, tests and removes the remotes of a project."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import replace

import click

from localops import config, host, output
from localops.cli import common
from localops.errors import ConfigError, EmptyJournal, NotFound
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading.home import sent_nowhere, used
from localops.transfer import delivery, remotes, removal
from localops_sync import exit_codes, sinks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.transfer.remotes import Remote
    from localops.transfer.removal import Removed


def _key_options(command: Any) -> Any:
    """Add --key, --key-env and --key-file, which say where the key is."""
    options = (
        click.option("--key-file", metavar="FILE", help="The file that holds the key."),
        click.option("--key-env", metavar="VARIABLE", help="The environment variable that holds the key."),
        click.option("--key", metavar="KEY", help="The key; `-` reads it from stdin, away from the shell's history."),
    )
    for option in options:
        command = option(command)
    return command


def _ca_option(command: Any) -> Any:
    return click.option("--ca", metavar="FILE", help="Trust the certificates in this file, not the system's.")(command)


@click.group(cls=common.Group)
def remote() -> None:
    """Add, list, test and remove the places that rows are sent to.

    A remote belongs to one project. Rows are never sent anywhere else.
    """


@remote.command()
@click.argument("name")
@click.argument("url")
@click.option("--kind", type=click.Choice(remotes.KINDS), default="hub", show_default=True, help="What answers there.")
@_key_options
@click.option("--metadata-only", is_flag=True, help="Send only figures and names, no content.")
@_ca_option
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="Send this header; may be repeated.")
@click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="Only for otlp: see `localops help otlp`."
)
@common.place_options
def add(name: str, url: str, home: str | None, project: str | None, **given: Any) -> None:
    """Add a remote called NAME at URL, to the only project or to that of --project.

    \b
    localops remote add hub https://hub.example:8642 --key-file ~/hub.key
    localops remote add traces https://collector.example:4318 --kind otlp
    """
    folder = _folder(home, project)
    known = remotes.load(folder)
    if name in known:
        raise ConfigError(
            f"there is a remote {name!r} already ({known[name].url}): choose another name, "
            "or change this one with `localops remote move` and `localops remote key` (but its --metadata-only cannot "
            "be changed)"
        )
    added = _new_remote(name, url, given)
    remotes.check_headers(added)
    remotes.save(folder, {**known, name: added})
    output.say(f"added {name} for project {os.path.basename(folder)}; try it: localops remote test {name}")
    _warn_of_readable_key(added)
    _warn_of_other_projects(folder)
    if added.kind == "hub" and url.startswith("http://") and not _is_loopback(url):
        output.say("http:// sends the key and every row in the clear: use https:// where others can listen")


def _warn_of_readable_key(added: Remote) -> None:
    if added.key_file is not None and (mode := host.open_to_others(added.key_file)) is not None:
        output.say(f"others can use {added.key_file} (its mode is {mode:04o}): chmod 600 {added.key_file}")


def _warn_of_other_projects(folder: str) -> None:
    """Warn when rows are recorded into another project than the one whose remote was added."""
    home, project = os.path.split(folder)
    lacking, empty = sent_nowhere(home, config.projects(home))
    if project in empty:
        output.say(f"nothing has been recorded into project {project} yet")
    for name in lacking:
        output.say(f"project {name} has no remote: its rows are not sent anywhere (add one with --project {name})")


def _new_remote(name: str, url: str, given: dict[str, Any]) -> Remote:
    # The same characters are allowed in both names.
    config.check_project(name, "remote")
    given |= _key(given)
    remote = remotes.Remote(name, remotes.check_url(url), **{**given, **_pairs(given), "ca": _absolute(given["ca"])})
    sinks.check_options(remote)
    remotes.check_authority(remote)
    if remote.kind in ("hub", "agentops") and remote.key is remote.key_env is remote.key_file is None:
        raise ConfigError(f"a remote of kind {remote.kind} needs a key: --key, --key-env or --key-file")
    return remote


def _key(given: dict[str, Any]) -> dict[str, str | None]:
    """Return where the key is, in one of three ways; a file by its absolute path."""
    source = {option: given[option] for option in ("key", "key_env", "key_file")}
    if sum(value is not None for value in source.values()) > 1:
        raise ConfigError("--key, --key-env and --key-file exclude each other: give one of them")
    if source["key"] == "-":
        source["key"] = sys.stdin.readline().strip()
    return {**source, "key_file": _absolute(source["key_file"])}


def _absolute(path: str | None) -> str | None:
    """Return the absolute path of a file, as cron runs in another folder."""
    return None if path is None else os.path.abspath(os.path.expanduser(path))


def _pairs(given: dict[str, Any]) -> dict[str, dict[str, str]]:
    pairs: dict[str, dict[str, str]] = {}
    for kind in ("headers", "options"):
        split = [pair.partition("=") for pair in given[kind]]
        if wrong := next((name for name, equals, _ in split if not equals or not name), None):
            raise ConfigError(f"invalid --{kind.removesuffix('s')} {wrong!r}: expected NAME=VALUE")
        pairs[kind] = {name: value for name, _, value in split}
    return pairs


@remote.command("list")
@common.place_options
@common.json_option
def list_remotes(home: str | None, project: str | None, as_json: bool) -> None:
    """List the remotes of every project, without their keys."""
    top, listed, unreadable = _all_remotes(home, project)
    if as_json:
        facts = [_facts(name, each) for name, each in listed]
        common.print_json({"home": top, "remotes": facts, "unreadable": unreadable})
    elif listed:
        lines = [(name, each.name, each.kind, each.url, _key_source(each), _extras(each)) for name, each in listed]
        common.print_table(lines, ("project", "remote", "kind", "url", "key", ""), soft=("url", "project"))
    elif not unreadable:
        output.say(f"no remotes in {top}: add one with `localops remote add NAME URL`")
    for why in unreadable:
        output.say(why)
    raise click.exceptions.Exit(exit_codes.ACT if unreadable else exit_codes.DONE)


def _all_remotes(home: str | None, project: str | None) -> tuple[str, list[tuple[str, Remote]], list[str]]:
    """Return the home, the remotes of its projects, and the errors of the files that cannot be read."""
    top, names = common.chosen_projects(home, project)
    listed: list[tuple[str, Remote]] = []
    unreadable = []
    for name in names:
        try:
            listed += [(name, each) for each in remotes.load(config.project_folder(top, name)).values()]
        except ConfigError as error:
            # The error of one project does not stop the others.
            unreadable.append(str(error))
    return top, listed, unreadable


def _facts(project: str, each: Remote) -> dict[str, Any]:
    return {
        "project": project,
        "name": each.name,
        "kind": each.kind,
        "url": each.url,
        "key": _key_source(each),
        "metadata_only": each.metadata_only,
        "ca": each.ca,
        "headers": sorted(each.headers),
        "options": each.options,
    }


def _key_source(each: Remote) -> str:
    if each.key_env:
        return f"${each.key_env}"
    return each.key_file or ("stored" if each.key else "none")


def _extras(each: Remote) -> str:
    extras = ["metadata only"] if each.metadata_only else []
    return ", ".join([*extras, *(f"{name}={value}" for name, value in each.options.items())])


@remote.command()
@click.argument("name")
@common.place_options
@common.json_option
def test(name: str, home: str | None, project: str | None, as_json: bool) -> None:
    """Try a remote step by step: name, connection, certificate, clock, key, health, sending, size.

    Sends no row.
    """
    from localops_sync import remote_test

    folder, tested = _find(home, project, name)
    good = True
    findings = []
    with _reading(folder) as reader:
        for finding in remote_test.run(tested, reader, folder):
            findings.append(finding)
            good &= finding.ok
            if not as_json:
                mark = common.styled("ok ", "green") if finding.ok else common.styled("no ", "red")
                print(f"{mark} {finding.step.ljust(11)} {output.clean(finding.message)}")
    failed = [finding for finding in findings if not finding.ok]
    code = exit_codes.DONE if good else exit_codes.ACT if failed[-1].act else exit_codes.OFFLINE
    if as_json:
        # "said" is the key that scripts know for the message.
        steps = [{"step": each.step, "ok": each.ok, "said": each.message, "act": each.act} for each in findings]
        common.print_json({"remote": name, "ok": good, "steps": steps})
    raise click.exceptions.Exit(code)


@contextmanager
def _reading(folder: str) -> Iterator[Reader]:
    """Open the journal; a temporary empty one where nothing was recorded yet, so that a test leaves nothing behind."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as beside:
        try:
            reader = Reader(os.path.join(folder, config.JOURNAL))
        except (NotFound, EmptyJournal):
            journal = Journal(beside)
            journal.fold()
            journal.close()
            reader = Reader(journal.path)
        with reader:
            yield reader


@remote.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common.place_options
def remove(name: str, yes: bool, home: str | None, project: str | None) -> None:
    """Remove a remote; if it is added again, everything is sent again.

    `localops prune` still keeps sessions with rows that this remote lacks now and that no other remote has, unless
    --include-unsent names it. It also keeps the sessions that were deleted there, and if an earlier prune has seen
    that the remote lost rows, it keeps all sessions.
    """
    folder, removed = _find(home, project, name)
    if not yes and sys.stdin.isatty():
        click.confirm(
            f"forget {name} ({removed.url}), and what it has of project {os.path.basename(folder)}?", abort=True
        )
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"{folder} cannot be written: {name} was not removed")
    known = remotes.load(folder)
    del known[name]
    there = os.path.exists(os.path.join(folder, config.JOURNAL))
    lacked = _forget(folder, removed) if there else None
    remotes.save(folder, known)
    output.say(f"removed {name}; all rows stay here")
    for why in _lacked(removed, lacked) if lacked else ():
        output.say(
            f"{why}: `localops prune` keeps the sessions, unless --include-unsent {name} is given or another remote "
            "has them"
        )
    if there and not known:
        output.say(
            f"project {os.path.basename(folder)} has no remote now: later rows are not sent anywhere, and `localops "
            "prune` removes sessions, also those that were sent before, without asking any remote"
        )


def _lacked(removed: Remote, lacked: Removed) -> Iterator[str]:
    rows = output.counted(lacked.rows, "row")
    if lacked.doubt is not None:
        yield f"when `localops prune` asked {removed.name} last, {lacked.doubt}, so it may lack any of the {rows}"
    elif lacked.rows:
        have = "has" if lacked.rows == 1 else "have"
        yield f"{rows} {have} {'content that was not sent there' if removed.metadata_only else 'not been sent there'}"
    if lacked.deleted:
        were = output.counted(lacked.deleted, "session was", "sessions were")
        yield f"{were} deleted there, and {'is' if lacked.deleted == 1 else 'are'} still here"


@remote.command()
@click.argument("name")
@common.place_options
def acknowledge(name: str, home: str | None, project: str | None) -> None:
    """Stop warning about rows that are lost for good: pruned here, then lost by the hub."""
    folder, _ = _find(home, project, name)
    journal = Journal(folder, gather=True)
    try:
        with Reader(journal.path) as reader:
            ledger = delivery.Ledger(reader, folder, name)
            loss = ledger.loss()
            ledger.acknowledge(journal)
    finally:
        journal.close()
    output.say(
        f"{name} has lost no rows that were pruned here"
        if loss is None
        else "`localops doctor` does not report it again"
    )


def _forget(folder: str, removed: Remote) -> Removed:
    journal = Journal(folder, gather=True)
    try:
        with Reader(journal.path) as reader:
            ledger = delivery.Ledger(reader, folder, removed.name)
            return removal.forget(ledger, journal, metadata_only=removed.metadata_only)
    finally:
        journal.close()


@remote.command()
@click.argument("name")
@click.argument("url")
@_ca_option
@common.place_options
def move(name: str, url: str, ca: str | None, home: str | None, project: str | None) -> None:
    """Give a remote another URL; what was delivered there counts as before."""
    folder, before = _find(home, project, name)
    moved = replace(before, url=remotes.check_url(url), ca=_absolute(ca) or before.ca)
    remotes.check_authority(moved)
    remotes.save(folder, {**remotes.load(folder), name: moved})
    output.say(f"{name} now has the address {url}; try it: localops remote test {name}")


@remote.command()
@click.argument("name")
@_key_options
@common.place_options
def key(name: str, home: str | None, project: str | None, **given: Any) -> None:
    """Give a remote another key; what was delivered there counts as before."""
    folder, before = _find(home, project, name)
    source = _key(given)
    if not any(source.values()):
        raise ConfigError("missing key: give --key, --key-env or --key-file")
    changed = replace(before, key=source["key"], key_env=source["key_env"], key_file=source["key_file"])
    remotes.check_headers(changed)
    remotes.save(folder, {**remotes.load(folder), name: changed})
    output.say(f"{name} now has another key; try it: localops remote test {name}")
    _warn_of_readable_key(changed)


def _find(home: str | None, project: str | None, name: str) -> tuple[str, Remote]:
    """Return the folder of the project that has a remote of that name, and the remote."""
    top, known, unreadable = _all_remotes(home, project)
    matches = [(owner, each) for owner, each in known if each.name == name]
    for why in unreadable:
        output.say(why)
    if not matches and unreadable:
        raise click.exceptions.Exit(exit_codes.ACT)
    if not matches:
        raise NotFound(f"there is no remote {name!r} in {top}: `localops remote list` shows what there is")
    if len(matches) > 1:
        names = ", ".join(owner for owner, _ in matches)
        raise ConfigError(f"{name!r} is a remote of {names}: choose one with --project")
    [(owner, one)] = matches
    return config.project_folder(top, owner), one


def _folder(home: str | None, project: str | None) -> str:
    """Return the folder of the project: that of --project, else the only one."""
    top, only = common.place(home, project, may_be_new=True)
    known = used(top, config.projects(top)) or config.projects(top)
    if only is None and len(known) != 1:
        there = ", ".join(known) or "none yet"
        raise ConfigError(f"choose a project with --project (in {top} there is: {there})")
    return config.project_folder(top, only or known[0])


def _is_loopback(url: str) -> bool:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
