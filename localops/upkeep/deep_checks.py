"""The deep check of a journal: every page, every row, every derived table, every blob."""

from __future__ import annotations

import glob
import os
from functools import partial

from localops import config, output
from localops.journal import blobs, participants, rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.journal.sql import statements
from localops.reading import session_state
from localops.upkeep.findings import SHOWN, Finding, in_journal, repair_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_COPY = ".doctor-"  # prefix of the folder with a copy of the journal, which exists during the check
_SENT_AGAIN = "run `localops sync --verify` and then `localops sync` on each machine, which send what they still have"


def check(name: str, folder: str, reader: Reader) -> Iterator[Finding]:
    """Check every page, every row, every derived table, every blob."""
    repair = repair_with(name)
    if faults := reader.faults():
        yield Finding(name, f"SQLite reports a damaged structure: {'; '.join(faults[:SHOWN])}", repair)
        return
    wrong, referred = _read_all(reader)
    flawed = {digest for digest in referred if blobs.flaw(folder, digest)}
    if wrong:
        shown = ", ".join(rows.id_text(id) for id in wrong[:SHOWN])
        cure = _SENT_AGAIN if session_state.is_of_hub(folder) else repair
        yield Finding(
            name, f"{output.counted(len(wrong), 'row is', 'rows are')} damaged (wrong checksum): {shown}", cure
        )
    yield from _copies(name, reader)
    yield from _blobs(name, folder, flawed)
    unused = [path for path in blobs.stored(folder) if os.path.basename(path) not in referred]
    if many := sum(map(blobs.is_old, unused)):
        text = f"{output.counted(many, 'blob is', 'blobs are')} in its folder that no row refers to"
        yield Finding(name, text, "the next `localops prune … --yes` removes what is older than an hour", fault=False)
    if many := len(blobs.abandoned(folder)):
        text = f"{output.counted(many, 'file')} of blobs/ were left unfinished by killed programs"
        if many == 1:
            text = "1 file of blobs/ was left unfinished by a killed program"
        yield Finding(name, text, "the next `localops prune … --yes` or `localops scrub` removes them", fault=False)
    if lost := [seq for (seq,) in reader.ask(statements("hub.sql")["lost"])]:
        # Only derived tables show the loss: rebuilding them would hide it.
        yield _lost(name, folder, lost)
    elif stale := _stale(folder, reader):
        cure = "localops doctor --fix builds them again"
        text = f"derived tables differ from the rows: {', '.join(stale)}"
        yield Finding(name, text, cure, mend=partial(in_journal, folder, Journal.rebuild))


def leftovers(folder: str) -> list[str]:
    """Return the copies of a journal that a killed `doctor --deep` left: no process holds their lock."""
    left = []
    for place in sorted(glob.glob(os.path.join(glob.escape(folder), f"{_COPY}*"))):
        try:
            with participants.alone(place):
                left.append(place)
        except OSError:
            # Another check uses it, or has just removed it.
            continue
    return left


def _copies(name: str, reader: Reader) -> Iterator[Finding]:
    """Report rows that are stored more than once."""
    twice = reader.ask(statements("doctor.sql")["twice"])
    for counted, what in ((1, "and counted twice"), (0, "and not counted")):
        surplus = [(id, more) for id, more, is_counted in twice if is_counted == counted]
        if not surplus:
            continue
        many = sum(more for _, more in surplus)
        shown = ", ".join(rows.id_text(id) for id, _ in surplus[:SHOWN])
        copies = output.counted(many, "row is a copy of another", "rows are copies of others")
        cure = f"{repair_with(name)} replaces it by a journal that holds each row once"
        yield Finding(name, f"{copies}, {what}: {shown}", cure, fault=bool(counted))


def _lost(name: str, folder: str, seqs: list[int]) -> Finding:
    """Report rows that are missing from the file, although neither `prune` nor `hub delete` removed them."""
    more = f" and {len(seqs) - SHOWN} more" if len(seqs) > SHOWN else ""
    text = f"{output.counted(len(seqs), 'row is', 'rows are')} lost: {', '.join(map(str, seqs[:SHOWN]))}{more}"
    back = _SENT_AGAIN if session_state.is_of_hub(folder) else "restore a backup that has them"
    return Finding(name, text, f"{back}; {repair_with(name)} replaces the journal by one with the remaining rows")


def _blobs(name: str, folder: str, flawed: Iterable[str]) -> Iterator[Finding]:
    """Report blobs that rows name and that are missing, or do not have their digests."""
    place = os.path.join(folder, "blobs")
    cures = {
        "missing": f"restore them from a backup, each at {place}/<two digits>/<digest>",
        "damaged": f"restore them from a backup, each at {place}/<two digits>/<digest>",
        "unreadable": f"this user may not read them: check the permissions of the files in {place}",
    }
    by_state: dict[str, list[str]] = {state: [] for state in cures}
    for digest in sorted(flawed):
        by_state[_state_of(folder, digest)].append(digest)
    for what, digests in by_state.items():
        if digests:
            many = "1 blob is" if len(digests) == 1 else f"{len(digests)} blobs are"
            cure = cures[what]
            more = f" and {len(digests) - SHOWN} more" if len(digests) > SHOWN else ""
            yield Finding(name, f"{many} {what}: {', '.join(digests[:SHOWN])}{more}", cure)


def _state_of(folder: str, digest: str) -> str:
    path = blobs.path_of(folder, digest)
    if os.path.exists(path) and not os.access(path, os.R_OK):
        return "unreadable"
    return "damaged" if blobs.is_here(folder, digest) else "missing"


def _read_all(reader: Reader) -> tuple[list[bytes], set[str]]:
    """Return the ids of rows with a wrong checksum, and the digests of the blobs that rows refer to."""
    import re

    # A regular expression instead of parsing: this runs over every body of the journal.
    reference = re.compile(r'"\$blob":"([0-9a-f]{64})"|"blob:([0-9a-f]{64})"')
    wrong: list[bytes] = []
    referred: set[str] = set()
    for row in reader.stream():
        if not row.is_intact:
            wrong.append(row.id)
        if row.body and "blob" in row.body:
            referred.update(match[1] or match[2] for match in reference.finditer(row.body))
    return wrong, referred


def _stale(folder: str, reader: Reader) -> list[str]:
    """Return the derived tables that a rebuild, tried on a copy, would change."""
    from tempfile import TemporaryDirectory

    # Beside the journal: that disk is more likely to have room for a copy than a small /tmp.
    beside = folder if os.access(folder, os.W_OK) else None
    with TemporaryDirectory(dir=beside, prefix=_COPY) as place, participants.alone(place):
        path = os.path.join(place, config.JOURNAL)
        reader.backup(path)
        in_journal(place, Journal.fold)
        before = _derived(path)
        in_journal(place, Journal.rebuild)
        after = _derived(path)
    return [table for table in before if before[table] != after[table]]


def _derived(path: str) -> dict[str, list[tuple[object, ...]]]:
    tables = {name: text for name, text in statements("doctor.sql").items() if name.startswith("table_")}
    with Reader(path) as reader:
        return {name.removeprefix("table_"): reader.ask(text) for name, text in tables.items()}
