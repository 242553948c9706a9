"""Check everything that is stored of a project: whether ClickHouse has every row that the mirror knows, undamaged."""

from __future__ import annotations

import json

from localops.journal import blobs, rows
from localops.journal.sql import statements
from localops.server.proof import MOST_USES, Checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from localops.journal.reader import Reader
    from localops.journal.stored import Stored
    from localops.server.clickhouse.archive import Archive

# Sessions whose rows are read together, and the number of rows at which such a part ends.
_SESSIONS = 200
_ROWS = 20_000
_KNOWN = """
select o.seq
from total t
join event_of o on o.key = t.key
where t.session = ?"""
_SEQS_OF = """
select i.id, i.phase, i.seq
from json_each(?) j
join id_of i on i.id = unhex(j.value)"""
_IS_KNOWN = "select 1 from total t join event_of o on o.key = t.key where t.session = ? and o.seq = ?"


def check(project: str, folder: str, reader: Reader, archive: Archive) -> Checked:
    """Read every row of a project in ClickHouse, and every file that a row refers to.

    `reader` reads the mirror without bringing anything back: the mirror knows which rows there must be.
    """
    machines = len(reader.ask(statements("hub.sql")["senders"], {}))
    checked = Checked(project, machines=machines, faults=reader.faults())
    named: set[str] = set()
    for session, known, stored in _sessions(reader, archive):
        seqs = _seqs_of(reader, stored)
        present = set()
        for row in stored:
            seq = seqs.get((row.id, row.phase), row.seq)
            present.add(seq)
            checked.rows += 1
            if row.is_intact:
                named.update(blobs.named([row.body]))
            else:
                checked.damaged.append(seq)
        # Unless the session was deleted meanwhile.
        checked.lost += [seq for seq in known - present if reader.ask(_IS_KNOWN, (session, seq))]
    checked.damaged.sort()
    checked.lost.sort()
    checked.blobs = len(named)
    checked.missing = [digest for digest in sorted(named) if blobs.flaw(folder, digest)]
    checked.unused = len(blobs.digests(folder).difference(named))
    if checked.missing:
        _name_uses(reader, archive, checked)
    return checked


def _sessions(reader: Reader, archive: Archive) -> Iterator[tuple[bytes, set[int], list[Stored]]]:
    """Yield each session with the seqs of the rows that must be there, and the rows that ClickHouse has."""
    sizes = dict.fromkeys((session for (session,) in reader.ask("select session from total", {})), 0)
    # Read after the mirror's: a session that was deleted meanwhile is then known as deleted.
    gone = {session for (session,) in reader.ask("select session from gone", {})}
    sizes |= {held.session: held.rows for held in archive.held() if held.session in sizes or held.session not in gone}
    for some in _parts(sizes):
        known = {session: {seq for (seq,) in reader.ask(_KNOWN, (session,))} for session in some}
        fetched: dict[bytes, list[Stored]] = {session: [] for session in some}
        for row in archive.rows(some):
            fetched[row.session].append(row)
        yield from ((session, known[session], fetched[session]) for session in some)


def _parts(sizes: dict[bytes, int]) -> Iterator[list[bytes]]:
    """Yield sessions in parts that are not too large."""
    part: list[bytes] = []
    rows_of_it = 0
    for session, many in sorted(sizes.items()):
        part.append(session)
        rows_of_it += many
        if len(part) == _SESSIONS or rows_of_it >= _ROWS:
            yield part
            part, rows_of_it = [], 0
    if part:
        yield part


def _seqs_of(reader: Reader, stored: Sequence[Stored]) -> dict[tuple[bytes, int], int]:
    """Return the seqs of rows in the mirror, by id and phase."""
    ids = json.dumps(sorted({row.id.hex() for row in stored}))
    return {(id, phase): seq for id, phase, seq in reader.ask(_SEQS_OF, (ids,))}


def _name_uses(reader: Reader, archive: Archive, checked: Checked) -> None:
    """Find the first events that name each missing file."""
    checked.uses = {digest: [] for digest in checked.missing}
    for _, _, stored in _sessions(reader, archive):
        for row in _with_files(stored):
            event, session = rows.id_text(row.id), rows.id_text(row.session)
            for digest in blobs.named([row.body]):
                uses = checked.uses.get(digest)
                if uses is None or len(uses) == MOST_USES or any(use["event"] == event for use in uses):
                    continue
                uses.append({"session": session, "event": event, "kind": row.kind, "name": row.name})


def _with_files(stored: Iterable[Stored]) -> list[Stored]:
    named = (row for row in stored if row.is_intact and row.body is not None and "blob" in row.body)
    return sorted(named, key=lambda row: row.seq)
