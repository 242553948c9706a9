"""What a file states about the rows of a session, and whether all of them are here.

A file may be cut short, and of several bundles one may be missing.  So a file states how many rows of a session there
were when it was written, without those that readers add, and the sum of their checksums: as many rows with the same
sum are the same rows.  A session that lacks some gets a row that says so, which makes its figures lower bounds; when
later imports have brought all of them, another row cancels that one.
"""

from __future__ import annotations

import uuid
from collections import Counter, namedtuple
from dataclasses import dataclass
from zlib import crc32

from localops.encoding import encode
from localops.journal import rows, wire
from localops.reading import analytics
from localops.reading.story import IN_BUNDLES, LOST_SEQS, UNREAD_LINES, Story, unpacked
from localops.transfer.bundle import difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import Any, NamedTuple

    from localops.journal.journal import Journal
    from localops.journal.rows import Row
    from localops.journal.stored import Source
    from localops.reading.analytics import Totals
    from localops.reading.story import Milestone
    from localops.transfer.bundle import Batch, Range

    class Work(NamedTuple):
        """The rows of a session without those that readers add: how many, and the sum of their checksums."""

        many: int
        sums: int
else:
    Work = namedtuple("Work", "many sums")

LACKS = "lacks"  # the key of the rows that arrived and were unreadable, each as its id in hex and its phase
BY = "by"  # the key of the journal whose import of a bundle found them missing
KEY = wire.WORK_ROWS  # in a row about missing rows, too
_NEWEST = (1 << 63) - 1
_MOST = 1 << 40


def of(source: Source, session: bytes, upto: int = _NEWEST) -> Work:
    """Return the rows of a session that are here, up to a seq."""
    [(many, sums)] = source.all("work_rows", session=session, upto=upto)
    return Work(many, sums)


def all_of(journal: Journal, session: bytes) -> int:
    """Return the number of all rows of a session that are here, without those about missing rows."""
    return analytics.totals(journal, session).rows - len(_notes(journal, session))


def _notes(journal: Journal, session: bytes) -> list[Milestone]:
    return [one for one in Story.read(journal, session).of_kind("loss") if UNREAD_LINES in one.body]


def parsed(value: object) -> Work | None:
    """Return what a file states; None if that is nothing, or invalid."""
    if not isinstance(value, list) or len(value) != 2 or not all(type(number) is int for number in value):
        return None
    return Work(*value) if 0 < value[0] < _MOST and 0 <= value[1] < _NEWEST else None


def missing(
    session: bytes,
    about: bytes,
    count: int,
    *,
    at_ns: int,
    work: Work | None = None,
    in_bundles: bool = False,
    by: str | None = None,
    lacks: Sequence[str] = (),
) -> Row:
    """Return a row that says how many rows of a session are not here, or with a negative count that they are again."""
    # The id follows from the reason, so that a second import of a file does not add another row.
    id = uuid.uuid5(uuid.UUID(bytes=session), f"unread lines {crc32(about)}").bytes
    more: dict[str, Any] = {**({KEY: list(work)} if work else {}), **({IN_BUNDLES: True} if in_bundles else {})}
    more |= {**({LACKS: list(lacks)} if lacks else {}), **({BY: by} if by else {})}
    body = encode.dumps({"damaged": count, UNREAD_LINES: True, **more}).decode()
    return rows.make("loss", session, id=id, at_ns=at_ns, body=body)


def are_here(journal: Journal, lacks: Sequence[str]) -> bool:
    """Return whether the journal has the rows that a row about unreadable ones names."""
    return all(journal.one("row", id=bytes.fromhex(name[:-1]), phase=int(name[-1])) is not None for name in lacks)


def total(session: bytes, figures: Totals, work: Work) -> dict[str, Any]:
    """Return what a batch states of a session."""
    return {"session": session.hex(), "rows": figures.rows, KEY: list(work)}


class OfBundle:
    """What the batches of a bundle state of sessions, compared with what is here when all of them are imported."""

    def __init__(self, journal: Journal) -> None:
        self._lost = list(_lost_by_repairs(journal))
        self._work: dict[bytes, Work] = {}
        self._counts: Counter[bytes] = Counter()  # session -> its rows in the bundle, in the way of `Work`
        self._last: dict[bytes, int] = {}  # session -> the time of its last row in the bundle
        self._unread: Counter[bytes | None] = Counter()  # session -> its unreadable rows, about which `unread` has rows
        self._losses: set[bytes] = set()  # the ids of its rows about missing rows

    def add(self, batch: Batch) -> None:
        """Note the rows of a batch, and what it states."""
        for loss in self._lost:
            if loss.journal == batch.journal:
                loss.left = difference(loss.left, [(row.seq, row.seq) for row in batch.rows])
        for row in batch.rows:
            self._last[row.session] = max(row.at_ns, self._last.get(row.session, 0))
            self._counts[row.session] += row.kind not in rows.BY_READERS
            if row.kind == "loss":
                self._losses.add(row.id)
        self._unread.update(row.session for row in batch.unread.values())
        for figures in batch.totals:
            work, session = parsed(figures.get(KEY)), bytes.fromhex(figures["session"])
            if work is not None and work >= self._work.get(session, work):
                self._work[session] = work

    def compared(self, journal: Journal, *, is_cut: bool = False) -> Iterator[Row]:
        """Yield a row for each session that lacks some of the stated rows, and those that cancel earlier ones.

        `is_cut`: the rest of the bundle could not be read, with what it states of the other sessions.
        """
        noted = noted_in(journal)
        for session, at_ns in self._last.items():
            work = self._work.get(session)
            is_whole = work is not None and self._counts[session] >= work.many
            lacking = 0 if work is None or is_whole else work.many - of(journal, session).many - self._unread[session]
            if lacking > 0 and work is not None and journal.one("gone", session=session) is None:
                about = b"bundle %d %d" % work
                yield missing(session, about, lacking, at_ns=at_ns, work=work, in_bundles=True, by=journal.id)
            elif work is None and is_cut:
                about = b"cut bundle %d" % self._counts[session]
                yield missing(session, about, 1, at_ns=at_ns, in_bundles=True)
            elif session in noted:
                yield from found(journal, session, work, is_whole=is_whole, carried=self._losses)
        for loss in self._lost:
            if not loss.left:
                id = uuid.uuid5(uuid.UUID(bytes=loss.session), f"back {loss.id.hex()}").bytes
                body = encode.dumps({"damaged": -loss.count}).decode()
                yield rows.make("loss", loss.session, id=id, at_ns=loss.at_ns, body=body)


@dataclass
class _Loss:
    """The rows of a session that a repair lost."""

    session: bytes
    id: bytes  # of the row about them
    at_ns: int
    count: int
    journal: str  # the id of the damaged journal
    left: list[Range]  # the seqs that they had in it, without those that have come


def _lost_by_repairs(journal: Journal) -> Iterator[_Loss]:
    for session, id, at_ns, text in journal.all("lost_seqs"):
        body = unpacked(text)
        try:
            ranges = [(int(first), int(last)) for first, last in body[LOST_SEQS]["ranges"]]
            yield _Loss(session, id, at_ns, int(body["damaged"]), body[LOST_SEQS]["journal"], ranges)
        except (KeyError, TypeError, ValueError):
            continue  # no repair writes such a row


def noted_in(journal: Journal) -> set[bytes]:
    """Return the sessions of which rows were missing after an import, also if they are here now."""
    return {session for (session,) in journal.all("with_unread_lines")}


def found(
    journal: Journal,
    session: bytes,
    whole: Work | None = None,
    *,
    is_whole: bool = False,
    carried: Collection[bytes] = (),
) -> Iterator[Row]:
    """Yield a row that cancels each one about rows of a session that were missing and are here now.

    `is_whole`: one file had all rows of the session; `whole` is what it states, if it does.  `carried` are the ids of
    the rows about missing rows in that file: its own home lacked these rows, so having all of the file changes nothing.
    """
    notes = _notes(journal, session)
    if sum(one.body["damaged"] for one in notes) <= 0:
        return
    here = of(journal, session)
    # A later statement that holds implies the earlier ones of the same series.
    is_all = here == whole or any(here == parsed(one.body.get(KEY)) for one in notes)
    for one in notes:
        work = parsed(one.body.get(KEY))
        # A whole file that was written before the other one may lack its last rows.
        is_covered = is_whole and one.id not in carried and (work is None or whole is None or whole.many >= work.many)
        if one.body.get(LACKS):
            is_covered = are_here(journal, one.body[LACKS])
        # Another home's mark may be about rows that this series never had.
        is_earlier = is_all and work is not None and work.many <= here.many and one.body.get(BY) == journal.id
        if one.body["damaged"] > 0 and (is_covered or is_earlier or here == work):
            in_bundles = one.body.get(IN_BUNDLES) is True
            yield missing(session, one.id, -one.body["damaged"], at_ns=one.at_ns, work=work, in_bundles=in_bundles)
