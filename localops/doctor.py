"""What may be wrong with a home, found without changing anything; each finding knows its cure.

Light checks look at files, counts and headers; deep ones read every row.
"""

from __future__ import annotations

import glob
import os
import shutil
import stat
from dataclasses import dataclass
from functools import partial

from localops import config, encode, host, rows, spill, sql
from localops.errors import ForeignJournal
from localops.journal import Journal
from localops.reader import SQLITE, Reader
from localops.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLDEST_SQLITE = (3, 51, 3)  # older ones can corrupt a WAL when it is reset
LARGE_WAL = 64 << 20
LITTLE_SPACE = 200 << 20
_SIDES = ("", "-wal", "-shm")
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """Something worth saying: a fault, or (when `fault` is False) a fact to know."""

    where: str
    text: str
    cure: str | None = None
    fault: bool = True
    mend: Callable[[], object] | None = None


def examine(home: str, names: list[str], *, deep: bool = False) -> Iterator[Finding]:
    """Everything there is to say about a home and these projects of it."""
    yield from _library()
    yield from _home(home)
    for name in names:
        yield from _project(name, config.project_folder(home, name), deep=deep)


def _library() -> Iterator[Finding]:
    if tuple(int(part) for part in SQLITE.split(".")) < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        yield Finding("this Python", f"its SQLite is {SQLITE}, and before {wanted} a WAL can break", "upgrade apsw")


def _home(home: str) -> Iterator[Finding]:
    if not os.path.isdir(home):
        yield Finding(home, "there is nothing here yet", "`localops demo` records a first run", fault=False)
        return
    yield from _private(home, home, 0o700)
    if not os.access(home, os.W_OK):
        yield Finding(home, "it cannot be written: new events would go to the spill folder of your user")
    free = shutil.disk_usage(home).free
    if free < LITTLE_SPACE:
        yield Finding(home, f"only {free >> 20} MiB are free on its disk", "make room, or see `localops prune`")


def _project(name: str, folder: str, *, deep: bool) -> Iterator[Finding]:
    path = os.path.join(folder, config.JOURNAL)
    if _is_foreign(path):
        yield Finding(name, f"{path} is a database of another program", "move it away, or choose another project")
        yield from _waiting(name, folder)
        return
    yield from _files(name, folder, path)
    yield from _waiting(name, folder)
    if not os.path.exists(path):
        return
    try:
        with Reader(path) as reader:
            yield from _journal(name, reader)
            if deep:
                yield from _deep(name, folder, reader)
    except Exception as error:  # the edge: whatever a broken file makes SQLite say is what was looked for
        yield Finding(name, str(error), f"localops repair --project {name} --replace")


def _is_foreign(path: str) -> bool:
    """Whether it is a sound SQLite file that is not ours: nothing of it is looked at any further."""
    try:
        Reader(path).close()
    except ForeignJournal as error:
        return error.__cause__ is None  # what SQLite cannot read may be ours, and damaged
    except Exception:  # the edge: the look into it says what is wrong
        return False
    return False


def _files(name: str, folder: str, path: str) -> Iterator[Finding]:
    """Who may read them, on what they lie, how large they are, and what was set aside."""
    yield from _private(name, folder, 0o700)
    for side in _SIDES:
        if os.path.exists(path + side):
            yield from _private(name, path + side, 0o600)
    if host.is_network(kind := host.filesystem(folder)):
        text = f"it lies on a network file system ({kind}): each process writes a file of its own there"
        yield Finding(name, text, fault=False)
    if os.path.exists(path + "-wal") and (size := os.path.getsize(path + "-wal")) > LARGE_WAL:
        held = ", ".join(holders(path)) or "nobody that can be seen"
        yield Finding(name, f"its WAL has grown to {size >> 20} MiB; the journal is held open by {held}")
    for aside in sorted(glob.glob(glob.escape(path) + ".corrupt-*")):
        if not aside.endswith(_SIDES[1:]):
            yield Finding(name, f"a damaged journal was set aside: {aside}", f"localops repair {aside}")


def _private(where: str, path: str, mode: int) -> Iterator[Finding]:
    now = stat.S_IMODE(os.stat(path).st_mode)
    if now & ~mode:
        text = f"{path} can be used by others (its mode is {now:04o}, not {mode:04o})"
        yield Finding(where, text, f"chmod {mode:o}", mend=partial(os.chmod, path, mode))


def holders(path: str) -> list[str]:
    """The processes that have a file open, as far as they can be seen."""
    real = os.path.realpath(path)
    found = []
    for handle in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(handle) == real:
                pid = handle.split("/")[2]
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    found.append(f"{file.read().strip()} ({pid})")
        except OSError:
            continue
    return sorted(set(found))


def _waiting(name: str, folder: str) -> Iterator[Finding]:
    """Rows that are in spill files: kept, but not in the journal yet."""
    if many := spill.count(folder):
        cure = "localops doctor --fix takes them in"
        yield Finding(name, f"{_rows(many)} in spill files", cure, mend=partial(_mend, folder, Journal.collect))
    for place in spill.places(folder):
        for path in sorted(glob.glob(os.path.join(glob.escape(place), "*.unreadable"))):
            yield Finding(name, f"lines that nobody can read are kept in {path}", fault=False)


def _rows(many: int) -> str:
    return "1 row waits" if many == 1 else f"{many} rows wait"


def _mend(folder: str, work: Callable[[Journal], object]) -> None:
    journal = Journal(folder, gather=True)
    try:
        work(journal)
    finally:
        journal.close()


def _journal(name: str, reader: Reader) -> Iterator[Finding]:
    """Whether it is ours to write, and what it tells of trouble in the past."""
    version = reader.ask("pragma user_version")[0][0]
    oldest = int(dict(reader.ask("select key, value from meta")).get("writer", 0))
    if oldest > sql.SCHEMA:
        yield Finding(
            name, f"a newer localops wrote it (schema {version}) and asks this one not to", "upgrade localops"
        )
    lost = {"spilled": 0, "dropped": 0}
    for (body,) in reader.ask(statements("doctor.sql")["losses"]):
        for key, count in encode.loads(body).items():
            lost[key] = lost.get(key, 0) + count
    if lost["dropped"]:
        many = "1 event" if lost["dropped"] == 1 else f"{lost['dropped']} events"
        text = f"{many} could be written nowhere; the figures of their sessions count what was dropped"
        yield Finding(name, text, fault=False)
    steps = reader.ask(statements("doctor.sql")["clock_steps"])[0][0]
    if steps:
        yield Finding(name, f"the wall clock was changed {steps} times while it recorded", fault=False)


def _deep(name: str, folder: str, reader: Reader) -> Iterator[Finding]:
    """Every page, every row, every derived table, every blob."""
    repair = f"localops repair --project {name} --replace"
    if faults := reader.faults():
        yield Finding(name, f"SQLite finds its structure broken: {'; '.join(faults[:_SHOWN])}", repair)
        return
    wrong, missing = _read_all(folder, reader)
    if wrong:
        shown = ", ".join(id.hex() for id in wrong[:_SHOWN])
        yield Finding(name, f"{len(wrong)} rows are not as they were written: {shown}", repair)
    if missing:
        yield Finding(name, f"{len(missing)} blobs are missing: {', '.join(sorted(missing)[:_SHOWN])}")
    if stale := _stale(folder, reader):
        cure = "localops doctor --fix builds them again"
        text = f"what is derived differs from the rows: {', '.join(stale)}"
        yield Finding(name, text, cure, mend=partial(_mend, folder, Journal.rebuild))


def _read_all(folder: str, reader: Reader) -> tuple[list[bytes], set[str]]:
    """The ids of rows whose checksum does not fit, and the digests of blobs that are not there."""
    import re

    reference = re.compile(r'"\$blob":"([0-9a-f]{64})"|"blob:([0-9a-f]{64})"')
    wrong: list[bytes] = []
    referred: set[str] = set()
    for row in reader.stream():
        if not rows.intact(row):
            wrong.append(row[0])
        if row[-1] and "blob" in row[-1]:
            referred.update(found[1] or found[2] for found in reference.finditer(row[-1]))
    return wrong, {digest for digest in referred if not os.path.exists(_blob(folder, digest))}


def _blob(folder: str, digest: str) -> str:
    return os.path.join(folder, "blobs", digest[:2], digest)


def _stale(folder: str, reader: Reader) -> list[str]:
    """The derived tables that a rebuild, tried on a copy, would change."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(dir=folder, prefix=".doctor-") as place:
        path = os.path.join(place, config.JOURNAL)
        reader.backup(path)
        _mend(place, Journal.fold)
        before = _derived(path)
        _mend(place, Journal.rebuild)
        after = _derived(path)
    return [table for table in before if before[table] != after[table]]


def _derived(path: str) -> dict[str, list[tuple[object, ...]]]:
    tables = {name: text for name, text in statements("doctor.sql").items() if name.startswith("table_")}
    with Reader(path) as reader:
        return {name.removeprefix("table_"): reader.ask(text) for name, text in tables.items()}
