"""`localops hub`: a server that many machines send their sessions to, and its keys."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager, suppress

import click

from localops import clock, config, host, output
from localops.cli.common import Group, Moment, json_option, print_json, print_table
from localops.errors import ConfigError, JournalError, LocalopsError, NotFound
from localops.journal.reader import SQLiteError, reason
from localops.journal.rows import id_text
from localops.reading import home as homes
from localops.reading import session_state
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, TypeVar

    from localops.server.home_store import HomeStore
    from localops.server.keys import Key, Keys
    from localops.server.proof import Checked
    from localops.server.senders import Sender

    F = TypeVar("F", bound=Callable[..., Any])

# Characters in the name of a blob.
_DIGEST = 64
# Exit code of `senders`, apart from that of a silent machine: a person must act, as of a sync.
_UNREADABLE = 4
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.group(cls=Group)
def hub() -> None:
    """Collect the sessions of many machines on one server.

    The data folder of a hub is a home: commands that read work on it with --home.
    """


def _data_option(command: F) -> F:
    return click.option("--data", required=True, metavar="FOLDER", help="The hub's data folder.")(command)


def _new_option(command: F) -> F:
    text = "Start a new hub in a folder with journals and without hub.json; it has a new id, and old keys do not work."
    return click.option("--new", is_flag=True, help=text)(command)


def _project_option(command: F) -> F:
    return click.option("--project", required=True, metavar="NAME", help="The project.")(command)


@hub.command()
@_data_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8642, show_default=True, help="0: any free port.")
@click.option("--tls-cert", metavar="FILE", help="Certificate (PEM), to serve HTTPS.")
@click.option("--tls-key", metavar="FILE", help="Its key (PEM), unless it is in the same file.")
@click.option(
    "--max-body",
    type=click.IntRange(1, 1024),
    default=8,
    show_default=True,
    metavar="MB",
    help="Largest request, compressed.",
)
@click.option("--rate", type=click.IntRange(min=1), default=100, show_default=True, help="Requests a second and key.")
@click.option("--root-path", default="", metavar="PATH", help="Path at which a proxy serves it, if any: /localops.")
@click.option("--access-log", is_flag=True, help="Log each request: address, path and status, never keys.")
@_new_option
def serve(
    data: str,
    host: str,
    port: int,
    tls_cert: str | None,
    tls_key: str | None,
    max_body: int,
    rate: int,
    root_path: str,
    access_log: bool,
    new: bool,
) -> None:
    """Run the hub until SIGTERM or Ctrl-C; running requests are finished first.

    A request may have four times --max-body when decompressed. Create keys with `localops hub key create`, also
    while the hub runs.
    """
    # Late, because Starlette and uvicorn are optional packages.
    try:
        from localops.server import listen
        from localops.server.app import app
    except ImportError as error:
        raise ConfigError(f"missing packages for a hub: pip install 'localops[ui]' ({error})") from error
    from localops.server.home_store import HomeStore
    from localops.server.keys import Keys
    from localops.server.limits import Limits

    _check_tls(host, tls_cert, tls_key)
    folder = _folder(data)
    begins = not os.path.exists(os.path.join(folder, session_state.HUB))
    # Before it listens, so that a folder without keys is an error and not a hub that refuses every client.
    keys = Keys(folder, new=new)
    if begins:
        output.say(
            f"{folder} had no hub: this is a new one, with a new id and without keys; if the data of a hub should be "
            "there (is its disk mounted?), stop this one, and remove the new hub.json first"
        )
    limits = Limits(body=max_body << 20, inflated=4 * max_body << 20, rate=float(rate))
    listen.serve(
        app(HomeStore(folder), keys, limits=limits, root_path=root_path),
        host=host,
        port=port,
        limits=limits,
        ready=lambda address: print(f"hub {keys.hub[:8]} listens at {address}", flush=True),
        cert=tls_cert,
        key=tls_key,
        access_log=access_log,
    )


def _check_tls(host: str, cert: str | None, key: str | None) -> None:
    for path in (cert, key):
        if path is not None and not os.path.isfile(path):
            raise ConfigError(f"file {path} does not exist")
    if key is not None and cert is None:
        raise ConfigError("--tls-key without --tls-cert: give the certificate as well")
    if cert is not None:
        _check_pair(cert, key)
    if cert is None and host not in _LOOPBACK:
        output.say(f"serving {host} without TLS: others on the network can read keys and sessions (see --tls-cert)")


def _check_pair(cert: str, key: str | None) -> None:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    except OSError as error:
        where = f"its key in {key}" if key else "its key in the same file (or give --tls-key)"
        raise ConfigError(
            f"invalid certificate: expected a PEM certificate in {cert} and {where}, got {error}"
        ) from error


@hub.group(cls=Group)
def key() -> None:
    """Manage the keys to a hub, each for one project."""


@key.command()
@_data_option
@_project_option
@click.option("--note", metavar="TEXT", help="Who uses it.")
@_new_option
@json_option
def create(data: str, project: str, note: str | None, new: bool, as_json: bool) -> None:
    """Create a key to a project, and the project if it is new.

    The key is shown only now: the hub stores a digest of it.
    """
    from localops.server.home_store import HomeStore
    from localops.server.keys import Keys

    keys = Keys(_folder(data), new=new)
    with _owned(keys.folder):
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
@_data_option
@json_option
def list_keys(data: str, as_json: bool) -> None:
    """List the keys by their handles: the first digits of their digests."""
    keys = _keys(data)
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
@_data_option
def revoke(handle: str, data: str) -> None:
    """Revoke a key, effective at once; `list` shows its HANDLE."""
    keys = _keys(data)
    with _owned(keys.folder):
        dead = keys.revoke(handle)
    output.say(f"key {dead.handle} to project {dead.project} is revoked")


@hub.command()
@click.argument("session", required=False)
@_data_option
@click.option("--project", metavar="NAME", help="The project of SESSION.")
@click.option(
    "--as-in", "replaced", metavar="FOLDER", help="Delete every session that was deleted in that data folder."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def delete(session: str | None, data: str, project: str | None, replaced: str | None, yes: bool) -> None:
    """Delete a session for good, whether it has ended or not.

    Files that only its rows refer to are deleted as well. One row about it remains, so that the hub refuses it when
    it is sent again, and a line in deletions.jsonl of the data folder.

    After a restore, sessions are there again that were deleted since the backup was made: --as-in deletes them. It
    takes the data folder that the backup has replaced, or only its deletions.jsonl.
    """
    if (session is None) == (replaced is None):
        raise click.UsageError("give either a SESSION with its --project, or --as-in")
    folder = _keys(data).folder
    if replaced is not None:
        _delete_again(folder, _folder(replaced), project, yes=yes)
    elif session is not None and project is not None:
        _delete_one(folder, project, session, yes=yes)
    else:
        raise click.UsageError("missing --project: the project of the session")


def _delete_one(folder: str, project: str, session: str, *, yes: bool) -> None:
    from localops.server import deletions

    with homes.Home(folder, project) as opened:
        where, id = opened.find(session)
        name = where.name_of(id) or "unnamed"
    if not yes and not _is_confirmed(f"Delete session {id_text(id)} ({output.clean(name)}) for good?"):
        return
    with _store(folder) as store:
        # First: a crash must not leave a deleted session of which a restore does not know.
        noted = _note(folder, project, [id])
        if not store.delete(project, id):
            raise NotFound(f"session {id_text(id)} does not exist any more")
        if not noted and not _note(folder, project, [id]):
            output.say(f"the deletion could not be noted in {os.path.join(folder, deletions.NAME)}: is the disk full?")
    output.say(f"session {id_text(id)} is deleted")


def _delete_again(folder: str, replaced: str, only: str | None, *, yes: bool) -> None:
    """Delete what was deleted in another data folder, whether it is here or not: machines may send it again."""
    from localops.server import deletions

    deleted, problems = deletions.of(replaced)
    for problem in problems:
        output.say(problem)
    chosen = {name: sessions for name, sessions in deleted.items() if only in (None, name)}
    many = output.counted(sum(map(len, chosen.values())), "session was", "sessions were")
    nothing = f"no session was deleted in {replaced}"
    if not chosen:
        output.say(f"no session is known to have been deleted in {replaced}" if problems else nothing)
        # What could not be read may name some.
        if problems:
            raise click.exceptions.Exit(1)
        return
    if not yes and not _is_confirmed(f"{many} deleted in {replaced}: delete them here as well, for good?"):
        return
    here = 0
    with _store(folder) as store:
        for name, sessions in sorted(chosen.items()):
            _note(folder, name, sessions)
            here += store.bury(name, sessions)
    output.say(f"{many} deleted in {replaced}: {output.counted(here, 'of them was', 'of them were')} here again")


def _is_confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise click.UsageError("cannot ask for confirmation without a terminal, and nothing was deleted: use --yes")
    confirmed = click.confirm(question, err=True)
    if not confirmed:
        output.say("nothing was deleted")
    return confirmed


def _note(folder: str, project: str, sessions: Sequence[bytes]) -> bool:
    """Note deletions; return False if that fails: deleting must work on a full disk, too."""
    from localops.server import deletions

    try:
        deletions.note(folder, project, sessions)
    except OSError:
        return False
    return True


@contextmanager
def _store(folder: str) -> Iterator[HomeStore]:
    from localops.server.home_store import HomeStore

    store = HomeStore(folder)
    with _owned(folder):
        try:
            yield store
        finally:
            store.close()


@hub.command()
@_data_option
@json_option
@click.pass_context
def check(context: click.Context, data: str, as_json: bool) -> None:
    """Check everything that is stored, for example after a restore.

    It reads every page, every row, every file that a row refers to, and the keys. Exit code 1 if something is
    missing or damaged; `localops sync --verify` on the machines sends it again. The hub can keep serving.
    """
    from localops.server import proof

    keys = _keys(data)
    checked, problems = [], []
    with homes.Home(keys.folder, strict=False) as opened:
        unreadable = dict(opened.unreadable)
        for project in opened.projects:
            try:
                checked.append(proof.check(project.name, project.folder, project.reader))
            except (LocalopsError, SQLiteError) as error:
                unreadable[project.name] = error
        stored = {project.name for project in opened.projects}.union(unreadable)
    problems += [f"{name}: its journal cannot be read: {reason(error)}" for name, error in unreadable.items()]
    lost = {result.project for result in keys.all() if result.revoked is None} - stored
    problems += [f"{name}: has a key, but no journal" for name in sorted(lost)]
    problems += [f"{result.project}: {_missing(result)}" for result in checked if result.lacks]
    problems += [f"{result.project}: {_broken(keys.folder, result)}" for result in checked if result.faults]
    working = [known.handle for known in keys.all() if known.revoked is None]
    if as_json:
        facts = [{**vars(result), "ok": result.is_whole} for result in checked]
        print_json(
            {"hub": keys.hub, "ok": not problems, "projects": facts, "problems": problems, "working_keys": working}
        )
    else:
        lines = [(result.project, *map(output.count, result.figures)) for result in checked]
        headers = ("project", "rows", "damaged", "lost", "files", "missing", "machines")
        print_table(lines, headers, align="lrrrrrr", soft=("project",))
        for problem in problems:
            output.say(problem)
        these = output.counted(len(working), "key works", "keys work")
        output.say(f"{these}: {_some(working, 5)}" if working else "no key works")
        if working:
            output.say("after a restore: revoke again any of them that was revoked since the backup was made")
        again = f"`localops hub delete --as-in OLD --data {keys.folder}`, with OLD as the folder that it has replaced"
        output.say(f"after a restore: sessions that were deleted since the backup was made are here again: {again}")
    if problems:
        context.exit(1)


@hub.command()
@_data_option
@click.option("--project", metavar="NAME", help="Only of this project.")
@click.option("--silent-for", "since", type=Moment(), metavar="AGE", help="Only those that sent no row since: 2d, 12h.")
@json_option
@click.pass_context
def senders(context: click.Context, data: str, project: str | None, since: int | None, as_json: bool) -> None:
    """List the machines that send rows, with the time at which the last ones came.

    Each journal is a line: a machine has one for each home and project that it records into. A machine with nothing
    to send is silent, too. With --silent-for, the exit code is 1 if there is any, or if no machine has ever sent rows.
    It is 4 if a journal cannot be read: its machines are not in the list.
    """
    from localops.server import senders as all_senders

    keys = _keys(data)
    heard: list[tuple[str, Sender]] = []
    with homes.Home(keys.folder, project, strict=False) as opened:
        unreadable = dict(opened.unreadable)
        for each in opened.projects:
            try:
                heard += [(each.name, sender) for sender in all_senders.of(each.reader)]
            except (JournalError, SQLiteError) as damage:
                unreadable[each.name] = damage
    known = len(heard)
    heard = [(name, sender) for name, sender in heard if since is None or sender.last_ns < since]
    if as_json:
        facts = [_sender_facts(name, sender) for name, sender in heard]
        print_json({"hub": keys.hub, "senders": facts, "unreadable": sorted(unreadable)})
    elif heard:
        _print_senders(heard)
    elif known:
        others = " whose rows can be read" if unreadable else ""
        output.say(f"every machine{others} has sent rows since")
    elif not unreadable:
        output.say("no machine has sent rows yet")
    for name, error in unreadable.items():
        output.say(f"{name}: its journal cannot be read, so its machines are not in the list: {reason(error)}")
    if unreadable:
        context.exit(_UNREADABLE)
    if since is not None and (heard or not known):
        context.exit(1)


def _sender_facts(project: str, sender: Sender) -> dict[str, Any]:
    return {
        "project": project,
        "host": sender.host,
        "journal": sender.journal,
        "last_heard": events.iso(sender.last_ns),
        "last_heard_ns": sender.last_ns,
        "first_heard": events.iso(sender.first_ns),
        "newest_row": None if sender.newest_ns is None else events.iso(sender.newest_ns),
        "lag_seconds": None if sender.lag_ns is None else round(sender.lag_ns / 1e9, 3),
        "rows": sender.rows,
    }


def _print_senders(heard: list[tuple[str, Sender]]) -> None:
    now = clock.now_ns()
    lines = [
        (
            name,
            sender.host or "unknown",
            sender.journal[:8],
            output.ago(now - sender.last_ns),
            output.when(sender.last_ns)[:16],
            "unknown" if sender.lag_ns is None else output.short_duration(sender.lag_ns),
            output.count(sender.rows),
        )
        for name, sender in heard
    ]
    headers = ("project", "machine", "journal", "last rows", "at (UTC)", "lag", "rows")
    print_table(lines, headers, align="llllllr", soft=("machine", "project"))


@hub.command()
@_data_option
@click.option("-o", "--output", "path", metavar="FOLDER", required=True, help="Folder to create; it must not exist.")
@json_option
def backup(data: str, path: str, as_json: bool) -> None:
    """Copy a hub's journals, files and keys into a new folder, while it serves.

    The copy is a complete data folder. To restore it: stop the hub, put the copy in place of the old folder, run
    `localops hub check`, delete again what was deleted since (`localops hub delete --as-in`), and start the hub.
    """
    keys = _keys(data)
    target = _folder(path)
    if os.path.exists(target):
        raise ConfigError(f"{target} already exists: a backup never replaces anything; give another name")
    # Renamed at the end, so that a folder under the given name is always a complete backup.
    temporary = f"{target}.{os.getpid()}.part"
    try:
        names = _back_up(keys, temporary)
        # Again, because another backup may have finished meanwhile.
        if os.path.exists(target):
            raise ConfigError(f"{target} already exists: a backup never replaces anything; give another name")
        os.rename(temporary, target)
        host.sync_folder(os.path.dirname(target))
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError | SQLiteError):
            raise LocalopsError(f"cannot write {target}: {reason(error)}; no part of it was left there") from error
        raise
    if as_json:
        print_json({"folder": target, "projects": names})
        return
    output.say(f"wrote {output.counted(len(names), 'project')} and the keys to {target}")
    output.say(f"rows were copied as they are: `localops hub check --data {target}` finds damaged ones")


def _back_up(keys: Keys, target: str) -> list[str]:
    from localops.server import deletions

    host.make_private(target)
    with homes.Home(keys.folder) as opened:
        for project in opened.projects:
            folder = os.path.join(target, project.name)
            host.make_private(folder)
            project.reader.backup(os.path.join(folder, config.JOURNAL))
            _copy_blobs(project.folder, folder)
        names = [project.name for project in opened.projects]
    _copy(os.path.join(keys.folder, deletions.NAME), os.path.join(target, deletions.NAME))
    # Last, because the keys make the folder a hub's: an unfinished copy is not one.
    _copy(keys.path, os.path.join(target, os.path.basename(keys.path)))
    return names


def _copy_blobs(source: str, target: str) -> None:
    for inner, _, files in os.walk(os.path.join(source, "blobs")):
        for name in files:
            # Other names are damaged or unfinished blobs.
            if len(name) == _DIGEST:
                place = os.path.join(target, os.path.relpath(inner, source))
                host.make_private(place)
                _copy(os.path.join(inner, name), os.path.join(place, name))


def _copy(source: str, target: str) -> None:
    """Copy a file, readable by its owner alone; skip one that was pruned meanwhile."""
    with suppress(FileNotFoundError), open(source, "rb") as file:
        # Exclusive: a backup never overwrites a file, and never follows a link.
        handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as copy:
            shutil.copyfileobj(file, copy)
            copy.flush()
            os.fsync(copy.fileno())


def _broken(folder: str, checked: Checked) -> str:
    """Describe what is wrong with the structure of a file, and how to mend it."""
    return (
        f"SQLite finds its structure broken ({_some(checked.faults, 2)}): stop the hub, then "
        f"`localops repair --home {folder} --project {checked.project} --replace`"
    )


def _missing(checked: Checked) -> str:
    """Describe what a project lacks, and how to get it back."""
    lacks = []
    if checked.damaged:
        many = output.counted(len(checked.damaged), "row is", "rows are")
        lacks.append(f"{many} damaged ({_some(checked.damaged, 5)})")
    if checked.lost:
        many = output.counted(len(checked.lost), "row is", "rows are")
        lacks.append(f"{many} lost ({_some(checked.lost, 5)})")
    if checked.missing:
        many = output.counted(len(checked.missing), "file is", "files are")
        lacks.append(f"{many} missing or damaged ({_some(checked.missing, 3)})")
    cure = "run `localops sync --verify` and then `localops sync` on each machine, which send what it still has"
    return f"{' and '.join(lacks)}: {cure}"


def _some(items: Sequence[object], most: int) -> str:
    """Return the first items as text, and how many more there are."""
    more = f", and {output.count(len(items) - most)} more" if len(items) > most else ""
    return f"{', '.join(map(str, items[:most]))}{more}"


@contextmanager
def _owned(folder: str) -> Iterator[None]:
    """Give files that root writes in a data folder to the folder's owner, whose hub could not read them otherwise."""
    try:
        yield
    finally:
        host.keep_owners(folder)


def _folder(data: str) -> str:
    return os.path.abspath(os.path.expanduser(data))


def _keys(data: str) -> Keys:
    """Return the keys of an existing hub; only `create` and `serve` start a new one."""
    from localops.server.keys import Keys, has_journals, lost

    folder = _folder(data)
    if not os.path.exists(os.path.join(folder, session_state.HUB)):
        if has_journals(folder):
            raise ConfigError(lost(folder))
        raise NotFound(f"{folder} is not the data folder of a hub: start one with `localops hub key create`")
    return Keys(folder)
