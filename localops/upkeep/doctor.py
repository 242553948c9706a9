"""Check a home without changing it: each finding states a problem and what to do about it.

Light checks look at files, counts and headers; deep ones, in `deep_checks.py`, read every row.
"""

from __future__ import annotations

import glob
import os
import shlex
import shutil
import stat
from dataclasses import replace
from functools import partial

from localops import clock, config, host, output
from localops.encoding import encode
from localops.errors import ConfigError, DamagedJournal, EmptyJournal, ForeignJournal, IncompleteInstallation, NotFound
from localops.journal import blobs, spill, sql
from localops.journal.journal import Journal, take_in
from localops.journal.reader import SQLITE, Reader, reason
from localops.journal.sql import statements
from localops.reading import session_state
from localops.reading.home import REMOTES, sent_nowhere
from localops.transfer import clocks, delivery, scrubbed
from localops.upkeep import deep_checks, imported_prices, incomplete_sessions, prune, salvage, temporary_folders
from localops.upkeep.findings import SHOWN, Finding, in_journal, repair_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

OLDEST_SQLITE = (3, 51, 3)  # older ones can corrupt a WAL when it is reset
LARGE_WAL = 64 << 20
LITTLE_SPACE = 200 << 20  # and less than a tenth of the disk, as a small disk is not short of space
FEW_FILES = 100
_SIDES = ("", "-wal", "-shm")
_ROUNDS = 3  # fixing one problem may reveal another
_AGAIN = "correct that, and run `localops doctor --fix` again"
_CHECK_AGAIN = "correct that, and run `localops doctor` again"
_MOVES = "localops doctor --fix moves them into the journal, as the next command that shows sessions does"
_ELSEWHERE = "move it away, or choose another project"


def examine(home: str, names: list[str], *, deep: bool = False) -> Iterator[Finding]:
    """Yield every finding about a home and these projects of it."""
    yield from _library()
    yield from _installed()
    yield from _left_open()
    try:
        config.check_home(home)
    except ConfigError as error:
        yield Finding("the home", str(error), "correct that first: until then, nothing can be recorded or read there")
        for name in names:
            yield from _waiting(name, config.project_folder(home, name), mendable=False)
        return
    yield from _home(home, names)
    for name in names:
        yield from _project(name, config.project_folder(home, name), deep=deep)
    # After the projects, as it skips a journal that cannot be read, which they have reported.
    yield from _twins(home, names)
    lacking, empty = sent_nowhere(home, names)
    for name in lacking:
        cure = f"`localops remote add NAME URL --project {name}`, unless that is intended"
        yield Finding(name, "it has no remote: its rows are not sent anywhere", cure, fault=False)
    for name in empty:
        cure = "record into it, or add the remote to the project that you record into"
        yield Finding(name, "it has a remote, but nothing was recorded into it", cure, fault=False)


def mend(home: str, names: list[str]) -> tuple[list[Finding], list[Finding]]:
    """Fix what can be fixed; return the remaining findings, with the reasons of failures, and the fixed ones."""
    findings = list(examine(home, names, deep=True))
    mended: list[Finding] = []
    failed: dict[tuple[str, str], str] = {}
    for _ in range(_ROUNDS):
        due = [finding for finding in findings if finding.mend is not None and finding.key not in failed]
        if not due:
            break
        # Examine again after each round: a problem is fixed if it is no longer found.
        failed |= {finding.key: why for finding in due if (why := _try(finding)) is not None}
        findings = list(examine(home, names, deep=True))
        left = {finding.key for finding in findings}
        failed |= {finding.key: "the problem is still there" for finding in due if finding.key in left - failed.keys()}
        mended += [finding for finding in due if finding.key not in failed]
    return [_unmended(finding, failed.get(finding.key)) for finding in findings], mended


def _try(finding: Finding) -> str | None:
    """Fix one problem; return the reason if that failed."""
    assert finding.mend is not None
    try:
        finding.mend()
    except Exception as error:
        # Any exception: the user reads the reason.
        return reason(error)
    return None


def _unmended(finding: Finding, why: str | None) -> Finding:
    if why is None:
        return finding
    return replace(finding, text=f"{finding.text}; this could not be fixed: {why}", cure=_AGAIN)


def _library() -> Iterator[Finding]:
    if tuple(int(part) for part in SQLITE.split(".")) < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        yield Finding(
            "this Python", f"its SQLite is {SQLITE}, which can corrupt a WAL; {wanted} or newer cannot", "upgrade apsw"
        )


def _installed() -> Iterator[Finding]:
    """Check our own files that are needed to record and to price."""
    from localops.encoding.pricing import Prices

    for read in (lambda: Prices().version, lambda: (sql.migrations(0), sql.migrations(1))):
        try:
            read()
        except IncompleteInstallation as error:
            yield Finding("localops", str(error), "install it again")


def _left_open() -> Iterator[Finding]:
    for path in temporary_folders.left():
        text = "a localops that was killed left it; recorded values are in it in clear text"
        cure = "localops doctor --fix removes it, and so does the next `localops open`, `doctor --secrets` or `scrub`"
        yield Finding(path, text, cure, fault=False, mend=temporary_folders.remove_left)


def _home(home: str, names: list[str]) -> Iterator[Finding]:
    for problem in config.problems(home, with_patterns=False):
        yield Finding("settings", problem, "correct it; until then it is ignored")
    yield from _patterns(home)
    if (fault := imported_prices.problem(home)) is not None:
        yield Finding("prices", fault, "remove it; then the shipped prices are used, or import it again")
    ours = _is_home(home, names)
    if not names and not ours and os.path.isdir(home) and os.listdir(home):
        # A folder of something else, which must not be closed to others.
        yield Finding(home, "no data of localops is in it", "name another with --home or LOCALOPS_HOME", fault=False)
        return
    if not names:
        yield Finding(home, "nothing is recorded here yet", "`localops demo` records a first run", fault=False)
    if not os.path.isdir(home):
        return
    if ours:
        yield from _private(home, home, 0o700)
    if owner := host.owner(home):
        yield Finding(home, f"it belongs to {owner}", "record into a home of your own", fault=os.getuid() != 0)
    if not os.access(home, os.W_OK):
        cure = "make it writable, or choose another"
        yield Finding(home, "it cannot be written: new events go to the spill folder of your user", cure)
    yield from _space(home)
    yield from _of_other_homes(home, names)


def _of_other_homes(home: str, names: list[str]) -> Iterator[Finding]:
    """Report files in the user's state folder that were left for homes at other paths."""
    for path in spill.elsewhere(home)[:SHOWN]:
        if (name := _project_of(home, names, path)) is not None:
            into = shlex.quote(os.path.join(config.project_folder(home, name), "spill"))
            text = f"rows of its sessions wait in {path}, under the path of another home, and are missing here"
            yield Finding(name, text, f"if this home was moved: mkdir -p {into} && mv {shlex.quote(path)} {into}/")
            continue
        what = "blobs" if os.path.basename(path) == "blobs" else "rows"
        into = "blobs/" if what == "blobs" else "spill/"
        cure = f"the next command there collects them; if that home was moved here, move them into its project's {into}"
        yield Finding(home, f"{what} of another home of this user wait in {path}", cure, fault=False)


def _project_of(home: str, names: list[str], path: str) -> str | None:
    """Return the project of a home that has a session of a spill file; None if no project has one."""
    sessions = set(spill.sessions_in(path))
    for name in names if sessions else ():
        try:
            if not sessions.isdisjoint(_sessions(home, name)):
                return name
        except Exception:
            # Any error: `_project` reports what is wrong with it.
            continue
    return None


def _patterns(home: str) -> Iterator[Finding]:
    broken, many = config.broken_patterns(home)
    others = f"{output.counted(many, 'other pattern')} and the built-in rules" if many else "the built-in rules"
    for number, text, why in broken:
        what = f"pattern {number} of `redact` is not a valid regular expression and is ignored: {text} ({why})"
        cure = (
            f"correct or remove it; until then, what it should remove is recorded in clear, {others} are in use, and "
            "`doctor --secrets` and `scrub` refuse to start"
        )
        yield Finding(os.path.join(home, config.SETTINGS), what, cure)


def _is_home(home: str, names: list[str]) -> bool:
    """Return whether a folder is a hub's or has a project with files of ours; names of folders are no proof."""
    if os.path.exists(os.path.join(home, session_state.HUB)):
        return True
    return any(_is_ours(name, config.project_folder(home, name)) for name in names)


def _is_ours(name: str, folder: str) -> bool:
    """Return whether a folder has a journal, the remains of one, rows in spill files, or remotes."""
    path = os.path.join(folder, config.JOURNAL)
    try:
        Reader(path).close()
    except EmptyJournal:
        return True
    except NotFound:
        beside = (f"{path}.*", os.path.join(folder, REMOTES), os.path.join(folder, "spill", "*.ndjson*"))
        return any(
            glob.glob(os.path.join(glob.escape(os.path.dirname(each)), os.path.basename(each))) for each in beside
        )
    except Exception as error:
        # Wide, as a broken file may raise any error in SQLite.
        return _unreadable(name, path, error).cure != _ELSEWHERE
    return True


def _space(home: str) -> Iterator[Finding]:
    facts = os.statvfs(home)
    free, whole = facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
    if free < LITTLE_SPACE and free * 10 < whole:
        yield Finding(home, f"only {free / 1e6:.1f} MB are free on its disk", "make room, or see `localops prune`")
    if facts.f_files and facts.f_favail < FEW_FILES:
        text = f"only {facts.f_favail} more files can be made on its disk"
        yield Finding(home, text, "remove files that are not needed")


def _project(name: str, folder: str, *, deep: bool) -> Iterator[Finding]:
    path = os.path.join(folder, config.JOURNAL)
    try:
        reader = Reader(path)
    except NotFound:
        if _is_ours(name, folder):
            yield from _beside(name, folder, path)
        else:
            yield from _waiting(name, folder)
    except EmptyJournal:
        yield from _beside(name, folder, path)
        cure = "restore a backup, or let the next recording program create it"
        yield Finding(name, f"{path} is empty: nothing was recorded there yet, or it was emptied", cure)
    except Exception as error:
        # Wide, as a broken file may raise any error in SQLite.
        finding = _unreadable(name, path, error)
        # Otherwise the files are not ours.
        if finding.cure != _ELSEWHERE:
            yield from _files(name, folder, path)
        yield from _waiting(name, folder, mendable=False)
        yield finding
    else:
        with reader:
            yield from _beside(name, folder, path)
            yield from _looked_into(name, folder, reader, deep=deep)


def _beside(name: str, folder: str, path: str) -> Iterator[Finding]:
    if os.path.isdir(folder):
        yield from _files(name, folder, path)
    yield from _waiting(name, folder)


def _looked_into(name: str, folder: str, reader: Reader, *, deep: bool) -> Iterator[Finding]:
    try:
        yield from _journal(name, reader)
        for text, cure in incomplete_sessions.incomplete(reader, folder, deep=deep):
            yield Finding(name, text, cure)
        if scrubbed.is_unfinished(reader):
            text = "a scrub was not finished: traces of secrets may be left in its files"
            yield Finding(name, text, f"localops scrub --project {name} --yes")
        yield from _sync(name, folder, reader)
        if deep:
            yield from deep_checks.check(name, folder, reader)
    except DamagedJournal as error:
        yield Finding(name, str(error), repair_with(name))
    except Exception as error:
        # Wide, as a journal that cannot be checked may be damaged.
        yield Finding(name, f"the check could not be completed: {reason(error)}", _CHECK_AGAIN)


def _settings_of(name: str, remote: str, settings: object) -> Iterator[Finding]:
    """Warn when other users can read the file that holds the key of a remote, and note that it gets no content."""
    if not isinstance(settings, dict):
        return
    if settings.get("metadata_only"):
        text = f"remote {remote} is metadata only: prompts, completions, values and files are not sent there"
        yield Finding(name, text, "unless another remote gets them, this home is the only copy", fault=False)
    key_file = settings.get("key_file")
    if isinstance(key_file, str) and (mode := host.open_to_others(key_file)) is not None:
        text = f"the key of remote {remote} can be read by others: the mode of {key_file} is {mode:04o}"
        yield Finding(name, text, f"chmod 600 {key_file}", fault=False)


def _sync(name: str, folder: str, reader: Reader) -> Iterator[Finding]:
    """Report failed passes, parked and lost rows, and rows that have waited for more than a day, by remote."""
    path = os.path.join(folder, REMOTES)
    try:
        with open(path, "rb") as file:
            remotes = sorted(encode.loads(file.read()).items())
    except FileNotFoundError:
        remotes = []
    except (OSError, ValueError, AttributeError) as error:
        yield Finding(name, f"{path} cannot be read: {reason(error)}", "repair it, or add the remotes again")
        return
    yield from _removed(name, reader, dict(remotes))
    ahead_by = clocks.load(folder)
    for remote, settings in remotes:
        yield from _settings_of(name, remote, settings)
        ledger = delivery.Ledger(reader, folder, remote)
        waiting, contact, since = ledger.waiting().rows, ledger.contact(), ledger.late_since()
        rows_wait = output.counted(waiting, "row waits", "rows wait")
        if (ahead := ahead_by.get(remote)) is not None:
            text = f"at the last pass this machine's clock was {clocks.text(ahead)} that of remote {remote}"
            yield Finding(name, text, "set the clock: times, figures by day and what waits depend on it")
        if contact.ok_ns is not None and not clocks.is_past(contact.ok_ns, clock.now_ns()):
            text = f"the last sync to remote {remote} is dated {output.when(contact.ok_ns)} UTC: the clock was wrong"
            yield Finding(name, text, "that time is ignored; the next sync corrects it", fault=False)
        if contact.error is not None:
            when = "" if contact.failed_ns is None else f" at {output.when(contact.failed_ns)} UTC"
            text = f"sync to remote {remote} failed{when}: {contact.error}"
            cure = f"`localops remote test {remote} --project {name}` checks each step"
            yield Finding(name, f"{text}; {rows_wait}" if waiting else text, cure, fault=waiting > 0)
        yield from _parked_for(name, ledger)
        yield from _lacks(name, ledger)
        if since is not None:
            text = f"{rows_wait} for remote {remote}, and nothing has arrived there since {output.when(since)} UTC"
            cure = f"`localops sync --remote {remote} --project {name}`, from cron or a timer: see `localops help sync`"
            yield Finding(name, text, cure)


def _lacks(name: str, ledger: delivery.Ledger) -> Iterator[Finding]:
    """Report what a remote lost after it had been pruned here, and what it lacked when a prune asked it."""
    remote = ledger.remote
    if (loss := ledger.loss()) is not None:
        lost = "1 row" if loss.rows == 1 else f"{loss.rows} rows"
        text = f"remote {remote} lost {lost} that had been pruned here before"
        cure = (
            "restore a newer backup of the hub if there is one; "
            f"`localops remote acknowledge {remote} --project {name}` removes this message"
        )
        yield Finding(name, f"{text} {output.when(loss.at_ns)} UTC", cure)
    if (doubt := ledger.doubt()) is not None:
        text = f"when `localops prune` asked remote {remote} at {output.when(doubt.at_ns)} UTC, {doubt.why}"
        cure = f"`localops sync --verify --remote {remote} --project {name}`; until then, prune trusts no receipt"
        yield Finding(name, text, cure)


def _removed(name: str, reader: Reader, known: Collection[str]) -> Iterator[Finding]:
    for gone, lacked in prune.removed(reader, known).items():
        text = f"remote {gone} was removed before all rows had been sent there"
        if lacked.doubt is not None:
            text = f"remote {gone} was removed, and when `localops prune` had asked it last, {lacked.doubt}"
        cure = f"`localops prune` keeps what no other remote has of them, unless --include-unsent {gone} is given"
        yield Finding(name, text, cure, fault=False)


def _parked_for(name: str, ledger: delivery.Ledger) -> Iterator[Finding]:
    """Report the rows that a remote does not take, and those that a person gave up."""
    if dropped := ledger.dropped():
        text = f"{output.counted(dropped, 'row was', 'rows were')} given up by `localops parked drop`"
        cure = "`localops parked retry --dropped` sends them after all"
        yield Finding(name, f"{text}: remote {ledger.remote} never gets them", cure, fault=False)
    rows = ledger.parked()
    scrubs = [row for row in rows if row.is_scrubbed]
    # Beside the rows about them.
    if waiting := sum((row.kind, row.name) != (scrubbed.KIND, scrubbed.NAME) for row in scrubs):
        text = f"{output.counted(waiting, 'scrubbed row waits', 'scrubbed rows wait')} for the next sync"
        cure = f"`localops sync --remote {ledger.remote} --project {name}` replaces what the hub has of them"
        yield Finding(name, f"{text}: remote {ledger.remote} has rows as they were before", cure, fault=False)
    if parked := len(rows) - len(scrubs):
        text = "1 row is" if parked == 1 else f"{parked} rows are"
        cure = f"`localops parked list --project {name}` shows why; then `localops parked retry` or `drop`"
        yield Finding(name, f"{text} parked, and not on remote {ledger.remote}", cure)


def _unreadable(name: str, path: str, error: Exception) -> Finding:
    """Return why a journal cannot be read, with the cure."""
    if isinstance(error, DamagedJournal):
        return Finding(name, str(error), repair_with(name))
    if isinstance(error, ForeignJournal) and not os.path.isfile(path):
        return Finding(name, str(error), _ELSEWHERE)
    if isinstance(error, ForeignJournal) and error.__cause__ is None:
        return Finding(name, f"{path} is a database of another program", _ELSEWHERE)
    if isinstance(error, ForeignJournal) and not salvage.holds_rows(path):
        return Finding(name, f"{path} is not a journal, and holds no row of one", _ELSEWHERE)
    if isinstance(error, ForeignJournal):
        return Finding(name, f"{path} is damaged from its first page on", repair_with(name))
    owner = host.owner(path) or host.owner(os.path.dirname(path))
    return Finding(name, f"{reason(error)}{f'; it belongs to {owner}' if owner else ''}", _CHECK_AGAIN)


def _twins(home: str, names: list[str]) -> Iterator[Finding]:
    """Report journals that begin with the same row: one is a copy of the other, and its sessions count twice."""
    first: dict[bytes, str] = {}
    for name in names:
        try:
            with Reader(os.path.join(config.project_folder(home, name), config.JOURNAL)) as reader:
                first_row = reader.ask(statements("doctor.sql")["first_row"])
        except Exception:
            # Wide, as `_project` has reported what is wrong with it.
            continue
        # Ids are random, so two journals have the same first row only if one was copied.
        other = first.setdefault(first_row[0][0], name) if first_row else name
        if other != name and (many := len(_sessions(home, name) & _sessions(home, other))):
            both = output.counted(many, "session is", "sessions are")
            text = f"it is a copy of the journal of {other!r}: {both} in both, and counted twice"
            yield Finding(name, text, "move one of the two folders out of the home")


def _sessions(home: str, name: str) -> set[bytes]:
    with Reader(os.path.join(config.project_folder(home, name), config.JOURNAL)) as reader:
        return {session for (session,) in reader.ask(statements("doctor.sql")["sessions"])}


def _files(name: str, folder: str, path: str) -> Iterator[Finding]:
    """Check the permissions, file system and size of a journal's files, and damaged copies beside them."""
    yield from _private(name, folder, 0o700)
    for side in _SIDES:
        if os.path.exists(path + side):
            yield from _private(name, path + side, 0o600)
    if host.is_network(kind := host.filesystem(folder)):
        text = f"it is on a network file system ({kind}): each process writes a file of its own there"
        yield Finding(name, text, fault=False)
    if os.path.exists(path + "-wal") and (size := os.path.getsize(path + "-wal")) > LARGE_WAL:
        text = f"its WAL has grown to {size >> 20} MiB"
        held = [process for process in holders(path) if not process.endswith(f"({os.getpid()})")]  # without this check
        if held:
            cure = "it is emptied when no process reads for a long time: end these processes"
            yield Finding(name, f"{text}; the journal is held open by {', '.join(held)}", cure)
        else:
            mend = partial(in_journal, folder, Journal.empty_wal)
            yield Finding(name, f"{text}, and no process uses it", "localops doctor --fix empties it", mend=mend)
    for left in deep_checks.leftovers(folder):
        text = f"an interrupted check left a copy of the journal: {left}"
        yield Finding(name, text, "localops doctor --fix removes it", mend=partial(shutil.rmtree, left))
    for aside in _files_beside(path, "corrupt"):
        cure = f"localops repair {aside} -o FOLDER, then move it away"
        yield Finding(name, f"a damaged journal was set aside: {aside}", cure)
    for aside in _files_beside(path, "damaged"):
        text = f"`localops repair` kept the damaged journal: {aside}"
        yield Finding(name, text, "keep it until you have seen that nothing is missing", fault=False)
    for left in _files_beside(path, "repaired"):
        text = f"a repair was not completed: {left}"
        yield Finding(name, text, "repair again, and remove it", fault=False)


def _files_beside(path: str, word: str) -> list[str]:
    """Return the files beside a journal whose names are the journal's name followed by a word."""
    paths = glob.glob(f"{glob.escape(path)}.{word}-*")
    return sorted(name for name in paths if not name.endswith(_SIDES[1:]))


def _private(where: str, path: str, mode: int) -> Iterator[Finding]:
    now = stat.S_IMODE(os.stat(path).st_mode)
    if now & ~mode:
        what = "it" if where == path else path
        text = f"{what} can be used by others (its mode is {now:04o}, not {mode:04o})"
        yield Finding(where, text, f"chmod {mode:o} {path}", mend=partial(os.chmod, path, mode))


def holders(path: str) -> list[str]:
    """Return the processes that have a file open, as far as they can be seen."""
    real = os.path.realpath(path)
    processes = []
    # Without root, only the descriptors of this user's processes can be read.
    for handle in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(handle) == real:
                pid = handle.split("/")[2]
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    processes.append(f"{file.read().strip()} ({pid})")
        except OSError:
            continue
    return sorted(set(processes))


def _waiting(name: str, folder: str, *, mendable: bool = True) -> Iterator[Finding]:
    """Report rows in spill files, which are kept but not in the journal yet."""
    if many := spill.count(folder):
        if mendable:
            mend = partial(in_journal, folder, _take_in)
            yield Finding(name, _rows(many), _MOVES, mend=mend)
        else:
            yield Finding(name, _rows(many), "they are moved into the journal once the other problems are fixed")
    if many := len(blobs.waiting(folder)):
        text = output.counted(many, "large value waits", "large values wait")
        cure = "make blobs/ writable, then localops doctor --fix moves what waits"
        move = partial(_move_blobs, folder) if mendable else None
        yield Finding(name, f"{text} in the state folder, as blobs/ could not be written", cure, mend=move)
    for path in spill.foreign(folder):
        owner = host.owner(path) or "an unknown user"
        yield Finding(name, f"{path} belongs to {owner}: only its owner's programs read it", "check its owner")
    for place in spill.places(folder):
        for path in sorted(glob.glob(os.path.join(glob.escape(place), "*.unreadable"))):
            yield Finding(name, f"unreadable lines are kept in {path}", fault=False)


def _move_blobs(folder: str) -> None:
    blobs.collect(folder)
    if left := len(blobs.waiting(folder)):
        raise OSError(f"{left} could not be moved into {os.path.join(folder, 'blobs')}")


def _rows(many: int) -> str:
    return f"{output.counted(many, 'row waits', 'rows wait')} in the spill file"


def _take_in(journal: Journal) -> None:
    # Opens the journal, which collects most spill files.
    journal.fold()
    for path in spill.waiting(journal.folder):
        try:
            take_in(journal, path)
        except FileNotFoundError:
            # Another process has collected it.
            continue


def _journal(name: str, reader: Reader) -> Iterator[Finding]:
    """Check whether this release may write the journal, and report losses and clock changes that are in it."""
    version = reader.ask("pragma user_version")[0][0]
    oldest = int(dict(reader.ask("select key, value from meta")).get("writer", 0))
    if oldest > sql.SCHEMA:
        yield Finding(
            name, f"a newer localops wrote it (schema {version}) and asks this one not to", "upgrade localops"
        )
    yield from _dropped(name, reader.ask(statements("doctor.sql")["losses"]))
    yield from _unattributed(name, reader.ask(statements("doctor.sql")["unattributed"]))
    steps = reader.ask(statements("doctor.sql")["clock_steps"])[0][0]
    if steps:
        times = "once" if steps == 1 else f"{steps} times"
        yield Finding(name, f"the wall clock was changed {times} while it recorded", fault=False)


def _dropped(name: str, losses: Iterable[tuple[bytes, str, int]]) -> Iterator[Finding]:
    """Report events that were lost and values that were cut, by session."""
    dropped: dict[bytes, int] = {}
    deleted: dict[bytes, int] = {}
    cut: dict[bytes, int] = {}
    last_ns = 0
    for session, body, at_ns in losses:
        note = encode.loads(body)
        many_deleted = note.get("deleted", 0)
        last_ns = max(last_ns, at_ns if many_deleted else 0)
        unwritten = note.get("dropped", 0) - many_deleted
        for counts, many in ((dropped, unwritten), (deleted, many_deleted), (cut, note.get("cut", 0))):
            if many:
                counts[session] = counts.get(session, 0) + many
    out_of_list = "`localops prune --session ID` removes such a session from this list"
    if dropped:
        total = sum(dropped.values())
        text = f"{total} {'event' if total == 1 else 'events'} could not be written anywhere: {_by_session(dropped)}"
        yield Finding(name, text, f"they are lost; {out_of_list}")
    if deleted:
        total = sum(deleted.values())
        lost = f"{total} {'event was' if total == 1 else 'events were'} lost when the journal was deleted"
        text = f"{lost}, the last time at {output.when(last_ns)} UTC: {_by_session(deleted)}"
        yield Finding(name, text, f"nothing brings them back; {out_of_list}")
    if cut:
        total = sum(cut.values())
        text = f"{total} large {'value' if total == 1 else 'values'} could not be stored completely: {_by_session(cut)}"
        yield Finding(name, text, f"only their beginnings are stored; {out_of_list}")


def _by_session(counts: dict[bytes, int]) -> str:
    of = [f"{many} of session {session.hex()[:8]}-{session.hex()[8:12]}" for session, many in counts.items()]
    more = f" and {len(of) - SHOWN} more sessions" if len(of) > SHOWN else ""
    return f"{', '.join(of[:SHOWN])}{more}"


def _unattributed(name: str, sessions: list[tuple[bytes, int]]) -> Iterator[Finding]:
    """Report events that were recorded where no session was known."""
    events = sum(many for _, many in sessions)
    if not events:
        return
    of = [f"{many} in session {session.hex()[:8]}-{session.hex()[8:12]}" for session, many in sessions if many]
    more = f" and {len(of) - SHOWN} more sessions" if len(of) > SHOWN else ""
    text = f"{events} {'event was' if events == 1 else 'events were'} recorded where no session was known: "
    cure = "use session.record(), or pass the context to threads with localops.carry()"
    yield Finding(name, f"{text}{', '.join(of[:SHOWN])}{more}", cure, fault=False)
