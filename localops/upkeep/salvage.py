"""Recovery of rows from a damaged journal, page by page, even without its header or schema.

It reads the bytes of the file and its WAL and never writes to either.  A row counts if its own checksum is right, so
that no page has to be trusted.  `save` writes the rows into a new journal; the damaged file stays.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from localops import clock
from localops.config import JOURNAL
from localops.encoding import encode
from localops.errors import ConfigError, NotFound
from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.journal_file import INSERT, own_row
from localops.journal.stored import Stored
from localops.reading import session_state
from localops.reading.story import LOST_SEQS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from localops.journal.rows import Row


@dataclass(frozen=True)
class Saved:
    """The result of a repair."""

    rows: int
    lost: int  # seqs up to the last one seen that have no intact row
    broken: int  # those of them that have a row with a wrong checksum
    removed: int  # rows of sessions that were pruned from this journal, which were not copied
    cut: int  # pages that are missing according to the file's header; rows on them are not in `lost`


_LEAF = 0x0D  # the first byte of a page that holds the rows of a table
# Pages of a table without rowid: first byte -> bytes of the header, and of what a cell has before its record.
_KEYED = {0x0A: (8, 0), 0x02: (12, 4)}
_TIMES = 1 << 50  # larger integers are times in nanoseconds, not keys
_PAGE = 4096
_FRAME = 24  # bytes of a WAL frame's header, before the page
_WAL = 32  # the WAL's own header
_WIDE = (0, 1, 2, 3, 4, 6, 8)  # bytes of an integer, by its serial type
_MOST_GAPS = 500  # ranges of lost rows that are kept with a session
_WIDEST = 1 << 30  # SQLite's own limit for one row


class Pages:
    """A database file as numbered pages, with the pages of its WAL in place of older ones."""

    def __init__(self, data: bytes, size: int, over: Mapping[int, bytes]) -> None:
        self.size = size
        self.usable = size - (data[20] if data[:15] == b"SQLite format 3" and len(data) > 20 else 0)
        self._data = data
        self._over = over
        self.last = max(len(data) // size, max(over, default=0))

    def __getitem__(self, number: int) -> bytes:
        page = self._over.get(number)
        return self._data[(number - 1) * self.size : number * self.size] if page is None else page

    def leaves(self) -> Iterator[tuple[bytes, int]]:
        """Yield each page that holds rows, and where its header begins."""
        for number in range(1, self.last + 1):
            page = self[number]
            start = 100 if number == 1 else 0
            if len(page) == self.size and page[start] == _LEAF:
                yield page, start

    def keyed(self) -> Iterator[list[object]]:
        """Yield the records of tables without rowid and of indexes, but for those with a part on overflow pages."""
        for number in range(2, self.last + 1):
            page = self[number]
            if len(page) != self.size or page[0] not in _KEYED:
                continue
            header, before = _KEYED[page[0]]
            for index in range(min(int.from_bytes(page[3:5], "big"), (self.size - header) // 2)):
                at = header + 2 * index
                try:
                    length, begin = _varint(page, int.from_bytes(page[at : at + 2], "big") + before)
                    yield _values(page[begin : begin + length])
                except (ValueError, IndexError, struct.error):
                    continue


def holds_rows(path: str) -> bool:
    """Return whether the file holds an intact row, whatever else is in it."""
    return any(_is_row(row) and row.is_intact for row in carve(path))


def carve(path: str) -> Iterator[Stored]:
    """Yield every row that can still be read: in any order, some twice, checksums not compared."""
    for pages in _layers(path):
        for page, start in pages.leaves():
            yield from _rows_of(page, start, pages)


def _layers(path: str) -> Iterator[Pages]:
    """Yield the newest state, then the file without its WAL: a page of the WAL may be damaged, the one below intact."""
    with open(path, "rb") as file:
        data = file.read()
    size = _page_size(data)
    if over := _wal_pages(path + "-wal", size):
        yield Pages(data, size, over)
    yield Pages(data, size, {})


def _deleted_here(path: str) -> dict[bytes, int]:
    """Return the sessions in the table `gone`, which were deleted from this journal, each with a time.

    `pruned` rows would not do: those of a hub include its senders', and the hub still has what they pruned.
    """
    gone: dict[bytes, int] = {}
    for pages in _layers(path):
        for values in pages.keyed():
            if len(values) != 2:
                continue
            session, at_ns = values
            if isinstance(session, bytes) and len(session) == 16 and isinstance(at_ns, int) and at_ns > _TIMES:
                gone.setdefault(session, at_ns)
    return gone


def _pages_missing(path: str) -> int:
    """Return by how many pages the file, including its WAL, is shorter than its header says."""
    with open(path, "rb") as file:
        head = file.read(100)
    if head[:15] != b"SQLite format 3":
        return 0
    size = _page_size(head)
    there = os.path.getsize(path) // size
    return max(0, int.from_bytes(head[28:32], "big") - max([there, *_wal_pages(path + "-wal", size)]))


def _page_size(data: bytes) -> int:
    has_header = data[:15] == b"SQLite format 3" and len(data) >= 18
    size: int = struct.unpack(">H", data[16:18])[0] if has_header else _PAGE
    size = 65536 if size == 1 else size
    return size if size >= 512 and size & (size - 1) == 0 else _PAGE


def _wal_pages(path: str, size: int) -> dict[int, bytes]:
    """Return the newest page of each number in the WAL's current round, or in all of it if its header is damaged."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return {}
    salt = data[16:24] if data[:3] == b"\x37\x7f\x06" else None
    pages: dict[int, bytes] = {}
    for at in range(_WAL, len(data) - _FRAME - size + 1, _FRAME + size):
        if salt is None or data[at + 8 : at + 16] == salt:
            number = int.from_bytes(data[at : at + 4], "big")
            pages[number] = data[at + _FRAME : at + _FRAME + size]
    return pages


def _rows_of(page: bytes, start: int, pages: Pages) -> Iterator[Stored]:
    """Yield the rows of one page, without cells that are damaged."""
    cells = int.from_bytes(page[start + 3 : start + 5], "big")
    # The number of cells may be damaged as well: no more than the page has room for.
    for index in range(min(cells, (pages.size - start - 8) // 2)):
        at = start + 8 + 2 * index
        try:
            seq, payload = _cell(page, int.from_bytes(page[at : at + 2], "big"), pages)
            values = _values(payload)
        except (ValueError, IndexError, struct.error):
            continue
        # `seq` is the rowid, and null in its own column.
        if len(values) > len(rows.COLUMNS) and values[0] is None:
            yield Stored._make((seq, *values[1 : len(rows.COLUMNS) + 1]))


def _cell(page: bytes, at: int, pages: Pages) -> tuple[int, bytes]:
    """Return a cell's rowid and payload, including the part on overflow pages."""
    length, at = _varint(page, at)
    seq, at = _varint(page, at)
    if length > _WIDEST:
        raise ValueError("too long for a row")
    most = pages.usable - 35
    if length <= most:
        return seq, page[at : at + length]
    least = (pages.usable - 12) * 32 // 255 - 23
    here = least + (length - least) % (pages.usable - 4)
    here = here if here <= most else least
    following = int.from_bytes(page[at + here : at + here + 4], "big")
    return seq, page[at : at + here] + _overflow(following, length - here, pages)


def _overflow(number: int, length: int, pages: Pages) -> bytes:
    pieces = []
    # At most as many steps as pages: a damaged chain may form a cycle.
    for _ in range(pages.last):
        if length <= 0 or not 0 < number <= pages.last:
            break
        page = pages[number]
        number = int.from_bytes(page[:4], "big")
        pieces.append(page[4 : min(pages.usable, 4 + length)])
        length -= len(pieces[-1])
    if length > 0:
        raise ValueError("the chain of overflow pages is broken")
    return b"".join(pieces)


def _values(payload: bytes) -> list[object]:
    """Return the columns of a record."""
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[object] = []
    for kind in kinds:
        value, at = _value(kind, payload, at)
        values.append(value)
    return values


def _value(kind: int, payload: bytes, at: int) -> tuple[object, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    size = _WIDE[kind] if kind < 7 else 8 if kind == 7 else (kind - 12) // 2
    piece = payload[at : at + size]
    if kind in (10, 11) or len(piece) < size:
        raise ValueError("not a record")
    if kind < 7:
        return int.from_bytes(piece, "big", signed=True), at + size
    if kind == 7:
        return struct.unpack(">d", piece)[0], at + size
    return (piece if kind % 2 == 0 else piece.decode("utf-8")), at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def save(path: str, folder: str) -> Saved:
    """Write every intact row of a damaged journal into a new journal in `folder`.

    Rows get new seqs, and some may be lost, so the records of what remotes have, and of what was received, are not
    copied: everything is sent once more.  Rows that a prune of this journal had deleted are not copied either, and do
    not come back when they are sent again.  On a machine, each session that may have lost rows gets a row about that.
    Raise NotFound for a file without a row.
    """
    if os.path.exists(os.path.join(folder, JOURNAL)):
        raise ConfigError(f"{folder} already holds a journal: choose another folder")
    sound, copies, broken = _sound(path)
    if not sound:
        raise NotFound(f"{path} holds no row of a journal; it was not changed")
    # Rows of a pruned session may still be in free pages, but were deleted on purpose.
    here = _deleted_here(path)
    gone: dict[bytes, Stored] = {}
    for row in sorted(sound.values(), key=lambda row: row.seq):
        if row.kind == "pruned" and row.parent in here:
            gone[row.parent] = row  # the last one is about all rows before it
    kept = sorted(
        (row for row in sound.values() if row.session not in gone or row.seq > gone[row.session].seq),
        key=lambda row: row.seq,
    )
    known = sorted(copies | {row.seq for row in sound.values()})
    journal = Journal(folder, gather=True)
    try:
        journal.add(row.bare for row in kept)
        # Not on a hub: machines notice lost rows by the hub's number of rows, and send what they still have.
        if not session_state.is_of_hub(os.path.dirname(os.path.abspath(path))):
            journal.add(_losses(kept, known, may_lack_last=_pages_missing(path) > 0))
        journal.transact(lambda execute: _finish(execute, here), full=True)
        journal.fold()
    finally:
        journal.close()
    # Each seq is assigned once, so a seq without an intact row belongs to a lost or a pruned row.
    last = max(copies | {row.seq for row in sound.values()})
    lost = last - len(copies | {row.seq for row in kept}) - sum(map(_pruned_rows, gone.values()))
    return Saved(len(kept), max(0, lost), broken, len(sound) - len(kept), _pages_missing(path))


def _losses(kept: Sequence[Stored], known: list[int], *, may_lack_last: bool) -> Iterator[Row]:
    """Yield a row for each session that may have lost rows: its intact rows show its first and last seq."""
    spans: dict[bytes, list[Stored]] = {}
    begun, ended = set(), set()
    name = _name_of(kept)
    for row in kept:
        if row.session == rows.NO_SESSION:
            continue
        spans.setdefault(row.session, [row, row])[1] = row
        if row.kind == "session":
            begun.add(row.session)
        elif row.kind == "end" and '"derived"' not in (row.body or ""):
            # A run whose end was derived may have been resumed since.
            ended.add(row.session)
    for session, (first, last) in spans.items():
        is_over = session in ended
        after = first.seq if session in begun else 0
        upto = last.seq if is_over else known[-1]
        # Of the seqs in between, those without a row.
        lost = upto - after - (bisect_right(known, upto) - bisect_right(known, after))
        is_cut = may_lack_last and not is_over
        if lost + is_cut:
            facts: dict[str, object] = {"damaged": lost + is_cut}
            if name is not None and not is_cut and (gaps := _gaps(known, after, upto)):
                facts[LOST_SEQS] = {"journal": name, "ranges": gaps}
            body = encode.dumps(facts).decode()
            yield rows.make("loss", session, id=clock.new_id(last.at_ns), at_ns=last.at_ns, body=body)


def _gaps(known: list[int], after: int, upto: int) -> list[tuple[int, int]]:
    """Return the ranges of seqs without a row after a seq up to another; empty if they are many."""
    within = [after, *known[bisect_right(known, after) : bisect_right(known, upto)], upto + 1]
    gaps = [(last + 1, first - 1) for last, first in pairwise(within) if first - last > 1]
    return gaps if len(gaps) <= _MOST_GAPS else []


def _name_of(kept: Iterable[Stored]) -> str | None:
    """Return the id of the journal, as it is in bundles; None if the row that has it is lost."""
    own = [encode.loads(row.body or "{}") for row in kept if row.kind == "journal" and row.session == rows.NO_SESSION]
    return next((body["journal"] for body in reversed(own) if isinstance(body.get("journal"), str)), None)


def _finish(execute: Callable[..., Any], gone: Mapping[bytes, int]) -> None:
    """Keep which sessions were deleted, and mark where the saved rows end: see `proof.keeps`."""
    for session, at_ns in gone.items():
        execute("insert or ignore into gone values(?, ?)", (session, at_ns))
    execute(INSERT, own_row("journal", rows.NO_SESSION, {}, name="repaired"))
    execute("insert or replace into meta select 'repaired', cast(max(seq) as text) from event")


def _sound(path: str) -> tuple[dict[tuple[bytes, int], Stored], set[int], int]:
    """Return the intact rows, each identity once as first written, and the seqs of their copies.

    Return also how many seqs have only rows with a wrong checksum.
    """
    sound: dict[tuple[bytes, int], Stored] = {}
    numbers: set[int] = set()
    suspect: set[int] = set()
    for row in carve(path):
        if not _is_row(row):
            continue
        if row.is_intact:
            numbers.add(row.seq)
            if row.seq < sound.setdefault((row.id, row.phase), row).seq:
                sound[row.id, row.phase] = row
        else:
            suspect.add(row.seq)
    return sound, numbers - {row.seq for row in sound.values()}, len(suspect - numbers)


def _is_row(row: Stored) -> bool:
    """Return whether this could be a row of a journal; other tables may have the same number of columns."""
    ids: tuple[object, ...] = (row.id, row.session)  # values of any type
    return all(isinstance(id, bytes) and len(id) == 16 for id in ids)


def _pruned_rows(row: Stored) -> int:
    """Return how many rows prune deleted with a session."""
    count = encode.loads(row.body).get("rows", 0) if row.body else 0
    return count if isinstance(count, int) else 0
