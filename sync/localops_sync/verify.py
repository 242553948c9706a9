"""Comparison with a hub, row by row and file by file: whether it has what it signed for.

`sync --verify` compares everything, and `prune` the sessions that it is about to remove.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import islice
from uuid import UUID

from localops import output
from localops.errors import ConfigError
from localops.journal import blobs, rows
from localops.journal.stored import named
from localops.transfer import bundle, delivery, scrubbed
from localops_sync import scrubbed_there
from localops_sync.sink import Refused, TooLarge
from localops_sync.sinks.hub import Hub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Protocol

    from localops.journal.journal import Journal
    from localops.journal.reader import Reader
    from localops.journal.stored import Stored
    from localops.transfer.delivery import Ledger
    from localops.transfer.remotes import Remote
    from localops_sync.sink import Sink
    from localops_sync.sinks.hub import Replaced

    class Side(Protocol):
        """This side of a comparison."""

        folder: str
        remote: Remote
        reader: Reader
        ledger: Ledger

    class _Pass(Side, Protocol):
        """The parts of a pass that a comparison needs; the pass itself is in a module above this one."""

        sink: Sink
        journal: Journal


# Per request.
_SESSIONS = 200
_BLOBS = 500
_ROWS = 5_000
# About the most rows of the sessions in one request: the hub reads each of them before it answers.
_COUNTED = 20_000
# A session with more rows is compared row by row: its digest would need all identities in memory.
_WHOLE = 50_000

Identity = tuple[bytes, int, int]


@dataclass
class Report:
    """The result of a comparison."""

    sessions: int = 0
    differences: int = 0
    notes: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)  # sessions that are not on the hub any more
    pruned: list[str] = field(default_factory=list)  # of these, the ones that a prune of the hub removed
    parked: str = ""  # a sentence on what the hub has of the rows that are parked here
    scrubbed: int = 0  # rows of which a scrub has replaced more on the hub than here

    @property
    def deleted(self) -> list[str]:
        """The sessions that a person deleted on the hub."""
        return [each for each in self.gone if each not in set(self.pruned)]


@dataclass(frozen=True)
class Difference:
    """The rows of a session that a hub lacks, or has damaged or with other contents."""

    deleted: bool = False  # all of it, by a person or too early
    early: bool = False  # by a prune of the hub, before all of its rows had arrived
    rows: int = 0
    files: int = 0
    seqs: frozenset[int] = frozenset()  # of the differing rows, and of those that name differing files


def compare(one: _Pass) -> Report:
    """Compare every session with the hub's; mark rows that it lacks as unsent, so that the next pass sends them."""
    if not isinstance(one.sink, Hub):
        raise ConfigError(f"remote {one.remote.name!r} is not a hub: only a hub can be asked what it has")
    return _Comparison(one, one.sink).run(one.journal)


def differences(one: Side, hub: Hub, sessions: Iterable[tuple[bytes, int]]) -> dict[bytes, Difference]:
    """Compare some sessions, each with the number of its rows, with the hub's; return what differs."""
    return _Comparison(one, hub).of(sessions)


def lost(ledger: Ledger, hub: Hub, *, metadata_only: bool) -> dict[bytes, int]:
    """Return the sessions that were pruned here and of which a hub lost signed rows, with the number of rows.

    Leave out sessions that were deleted there, and those to which other machines have added rows, as it is unknown what
    is missing of these.
    """
    expected: dict[bytes, tuple[int, str | None]] = {}
    for session, record in ledger.pruned():
        rows, digest = record.get("rows", 0), record.get("digest")
        # It continued after it was pruned, and was pruned again.
        if session in expected:
            rows, digest = rows + expected[session][0], None
        expected[session] = rows, None if metadata_only else digest
    missing: dict[bytes, int] = {}
    for some in _chunks(expected, _SESSIONS):
        figures = hub.figures(some)
        for session in some:
            there, (rows, digest) = figures.get(session, {}), expected[session]
            held = there.get("rows", 0)
            differs = None not in (digest, there.get("digest")) and there.get("digest") != digest
            # A scrub has replaced its rows there since.
            differs &= not there.get("scrubbed")
            if not there.get("gone") and (held < rows or (held == rows and differs)):
                missing[session] = max(1, rows - held)
    return missing


class _Comparison:
    def __init__(self, one: Side, hub: Hub) -> None:
        self.one, self.hub, self.report = one, hub, Report()
        self._delivered = one.ledger.delivered()
        self._missing: list[int] = []
        self._other: set[int] = set()  # of these, the rows that the hub has with other contents
        self._scrubbed: dict[int, Replaced] = {}  # rows that were scrubbed on the hub since they were sent
        self._blobs: dict[str, list[int]] = {}  # digests, and the rows that name each

    def run(self, journal: Journal) -> Report:
        journal.fold()
        for some in _portions(self._sessions()):
            figures = self.hub.figures([session for session, _ in some])
            for session, count in some:
                self._missing += self._session(session, count, figures.get(session, {}))
        self._missing += self._lacking(self._bookkeeping())
        self.report.differences += len(self._missing)
        if absent := len(self._missing) - len(self._other):
            self.report.notes.append(_again(absent, "row"))
        if self._other:
            self.report.notes.append(_offered_again(len(self._other)))
        self._compare_blobs()
        if replaced := {**self._scrubbed, **self._settled(journal)}:
            self.report.scrubbed = len(replaced)
            self.report.notes.append(scrubbed_there.text(replaced.values()))
        if self._missing:
            left = bundle.without(self._delivered, self._missing)
            self.one.ledger.keep_only(journal, left)
        self.report.parked = self._parked()
        return self.report

    def _settled(self, journal: Journal) -> dict[int, Replaced]:
        """Settle parked rows that a scrub has replaced on the hub; return all rows that are settled like this."""
        ledger = self.one.ledger
        refused = {each.seq for each in ledger.parked() if each.reason == scrubbed.REFUSED}
        settled = delivery.parked(self.one.reader, self.one.remote.name, dropped=True)
        seqs = sorted({*refused, *(each.seq for each in settled if scrubbed.is_settled(each.reason))})
        replaced: dict[int, Replaced] = {}
        for some in _chunks(seqs, _SESSIONS):
            *_, there = self._ask_hub(self._as_sent(ledger.stored(some)))
            replaced |= there
        if new := refused & replaced.keys():
            ledger.park(journal, dict.fromkeys(new, scrubbed.MORE))
        return replaced

    def _parked(self) -> str:
        """Return what the hub has of the rows that are parked here; empty if there are none."""
        counts: Counter[str] = Counter()
        reasons = {each.seq: each.reason for each in self.one.ledger.parked()}
        for seqs in _chunks(reasons, _SESSIONS):
            counts.update(self._where_parked(self.one.ledger.stored(seqs), reasons))
        if not counts:
            return ""
        many = output.counted(counts.total(), "row")
        if len(counts) == 1:
            return f"{many} parked here and {next(iter(counts))}"
        return f"{many} parked here: {', '.join(f'{output.count(some)} {where}' for where, some in counts.items())}"

    def _where_parked(self, parked: list[Stored], reasons: dict[int, str]) -> Iterator[str]:
        absent, other, replaced = self._ask_hub(self._as_sent(parked))
        here = [row for row in parked if row.seq not in absent | other and row.seq not in replaced]
        files = set(self._missing_blobs(blobs.named([row.body for row in here])))
        for row in parked:
            if row.seq in absent:
                yield "not on the hub"
            elif row.seq in replaced:
                yield "replaced on the hub by a scrub"
            elif row.seq in other and reasons[row.seq] == scrubbed.OTHERWISE:
                yield "scrubbed on the hub with other rules than here"
            elif row.seq in other:
                yield "on the hub with other contents"
            elif files.intersection(blobs.named([row.body])):
                yield "on the hub without a file of it"
            else:
                yield "on the hub by now"

    def of(self, sessions: Iterable[tuple[bytes, int]]) -> dict[bytes, Difference]:
        different: dict[bytes, Difference] = {}
        files: dict[bytes, dict[str, list[int]]] = {}
        for some in _portions(sessions):
            figures = self.hub.figures([session for session, _ in some])
            for session, count in some:
                gone, there = len(self.report.gone), figures.get(session, {})
                lacking = self._session(session, count, there)
                files[session], self._blobs = self._named_there(), {}
                # Sessions that the hub's retention rules removed may be pruned here, too.
                is_gone = len(self.report.gone) > gone
                is_early = is_gone and bool(there.get("retired")) and not self._was_whole(session, count, there)
                is_deleted = is_early or (is_gone and not there.get("retired"))
                if lacking or is_deleted:
                    different[session] = Difference(is_deleted, is_early, len(lacking), seqs=frozenset(lacking))
        digests = sorted(set().union(*files.values()))
        if "blobs" in self.hub.proves and not self.one.remote.metadata_only:
            missing = {digest for some in _chunks(digests, _BLOBS) for digest in self.hub.missing_blobs(some)}
            for session, named_here in files.items():
                if lacks := named_here.keys() & missing:
                    known = different.get(session, Difference())
                    # A hub refuses a row that was scrubbed there: `--verify` sends it only the file.
                    seqs = known.seqs.union(*(named_here[digest] for digest in lacks)).difference(self._scrubbed)
                    different[session] = replace(known, files=len(lacks), seqs=seqs)
        return different

    def _compare_blobs(self) -> None:
        """Find files that are missing or damaged on the hub, and have them sent again.

        A file is sent with its rows, which are marked as missing; but at once if only scrubbed rows name it, as the hub
        accepts none of these.
        """
        if "blobs" not in self.hub.proves or self.one.remote.metadata_only:
            return
        named = self._named_there()
        missing = self._missing_blobs(named)
        flawed = [each for each in missing if blobs.flaw(self.one.folder, each)]
        alone = [each for each in missing if self._scrubbed.keys() >= set(named[each])]
        self._missing += [seq for each in missing for seq in named[each] if seq not in self._scrubbed]
        self.report.differences += len(missing)
        if again := len({*missing}.difference(flawed, alone)):
            self.report.notes.append(_again(again, "file"))
        offered = [each for each in alone if each not in flawed]
        sent = sum(map(self._is_taken, offered))
        if sent:
            self.report.notes.append(_sent_again(sent))
        if refused := len(offered) - sent:
            many = output.counted(refused, "file is", "files are")
            self.report.notes.append(f"{many} missing or damaged on the hub, which does not take what is here")
        if flawed:
            many = "1 file is" if len(flawed) == 1 else f"{len(flawed)} files are"
            self.report.notes.append(f"{many} whole neither here nor on the hub; the next sync sets the rows aside")
        made = {digest for each in self._scrubbed.values() for digest in each.files} - named.keys()
        if lost := len(self._missing_blobs(made)):
            self.report.differences += lost
            self.report.notes.append(scrubbed_there.lost_files(lost))

    def _is_taken(self, digest: str) -> bool:
        try:
            return self.hub.send_file(digest) is None
        except (Refused, TooLarge):
            return False

    def _named_there(self) -> dict[str, list[int]]:
        """Return the files that rows here and the same rows on the hub both name, each with these rows."""
        named: dict[str, list[int]] = {}
        for digest, seqs in self._blobs.items():
            # The rows that the hub has with other contents name other files there.
            if still := [seq for seq in seqs if seq not in self._other and self._names_there(seq, digest)]:
                named[digest] = still
        return named

    def _names_there(self, seq: int, digest: str) -> bool:
        return seq not in self._scrubbed or digest in self._scrubbed[seq].files

    def _missing_blobs(self, digests: Iterable[str]) -> list[str]:
        return [each for some in _chunks(digests, _BLOBS) for each in self.hub.missing_blobs(some)]

    def _sessions(self) -> Iterator[tuple[bytes, int]]:
        after = b""
        while page := self.one.ledger.ask("sessions", after=after, many=_SESSIONS):
            yield from page
            after, _ = page[-1]

    def _session(self, session: bytes, count: int, figures: dict[str, Any]) -> list[int]:
        """Return the rows of a session that the hub lacks; if it was deleted there, report that and return none."""
        self.report.sessions += 1
        if self._is_gone(session, figures):
            return []
        if count <= _WHOLE:
            mine = [each for _, each in self._identities(session)]
            if figures.get("rows") == len(mine) and figures.get("digest") == bundle.digest(mine):
                return []
        lacking = self._lacking(self._identities(session))
        if lacking and self._is_gone(session, self.hub.figures([session]).get(session, {})):
            # Deleted since the first request.  The missing rows alone would look the same.
            return []
        return lacking

    def _is_gone(self, session: bytes, figures: dict[str, Any]) -> bool:
        """Return whether a session was deleted or pruned on the hub, and note it: its rows do not count as missing."""
        if figures.get("gone"):
            self.report.gone.append(str(UUID(bytes=session)))
            if figures.get("retired"):
                self.report.pruned.append(self.report.gone[-1])
        return bool(figures.get("gone"))

    def _was_whole(self, session: bytes, count: int, figures: dict[str, Any]) -> bool:
        """Return whether a hub had all rows of a session when it pruned it: later ones it confirms without storing."""
        had = figures.get("had")
        if not isinstance(had, dict) or not all(type(had.get(name)) is int for name in ("rows", "last_ns")):
            return False
        if count <= _WHOLE and had.get("digest") == bundle.digest(each for _, each in self._identities(session)):
            return True
        # Other machines may have added rows, so that the digest differs.
        last_ns = max((row.at_ns for page in self._pages(session) for row in page), default=0)
        return bool(count <= had["rows"] and last_ns <= had["last_ns"])

    def _lacking(self, identified: Iterable[tuple[int, Identity]]) -> list[int]:
        """Return the rows that the hub lacks, compared one by one, as other senders may have added to the session."""
        absent, other, replaced = self._ask_hub(identified)
        self._other |= other
        self._scrubbed |= replaced
        return sorted(absent | other)

    def _ask_hub(self, identified: Iterable[tuple[int, Identity]]) -> tuple[set[int], set[int], dict[int, Replaced]]:
        """Return the rows that the hub lacks or has damaged, those with other contents, and those scrubbed there."""
        absent: set[int] = set()
        other: set[int] = set()
        replaced: dict[int, Replaced] = {}
        for some in _chunks(identified, _ROWS):
            there = self.hub.compare(identity for _, identity in some)
            for seq, (id, phase, _) in some:
                if (id, phase) in there.missing:
                    absent.add(seq)
                elif (id, phase) in there.other:
                    other.add(seq)
                elif (id, phase) in there.scrubbed:
                    replaced[seq] = there.scrubbed[id, phase]
        return absent, other, replaced

    def _identities(self, session: bytes) -> Iterator[tuple[int, Identity]]:
        """Yield the delivered rows of a session: their seqs, and their identities as they were sent."""
        for page in self._pages(session):
            yield from self._delivered_identities(page)

    def _pages(self, session: bytes) -> Iterator[list[Stored]]:
        after = 0
        while page := named(self.one.reader.all("events", session=session, after=after, many=1_000)):
            after = page[-1].seq
            yield page

    def _bookkeeping(self) -> Iterator[tuple[int, Identity]]:
        """Yield the rows about the journal itself."""
        after = 0
        ledger = self.one.ledger
        while page := named(
            ledger.ask("rows_without_session", session=rows.NO_SESSION, after=after, many=1_000),
        ):
            after = page[-1].seq
            yield from self._delivered_identities(page)

    def _delivered_identities(self, page: Iterable[Stored]) -> Iterator[tuple[int, Identity]]:
        for row in page:
            if any(first <= row.seq <= last for first, last in self._delivered):
                for digest in blobs.named([row.body]):
                    self._blobs.setdefault(digest, []).append(row.seq)
                yield from self._as_sent([row])

    def _as_sent(self, some: Iterable[Stored]) -> Iterator[tuple[int, Identity]]:
        for row in some:
            sent = bundle.without_content(row) if self.one.remote.metadata_only else row
            yield row.seq, bundle.identity(sent)


def _again(count: int, what: str) -> str:
    many = f"1 {what} is" if count == 1 else f"{count} {what}s are"
    return f"{many} missing or damaged on the hub; the next sync sends {'it' if count == 1 else 'them'} again"


def _sent_again(count: int) -> str:
    return f"{output.counted(count, 'file was', 'files were')} missing or damaged on the hub, and sent again"


def _offered_again(count: int) -> str:
    many, them = ("1 row is", "it") if count == 1 else (f"{count} rows are", "them")
    return f"{many} on the hub with other contents; the next sync offers {them} again, and parks what the hub refuses"


def _portions(sessions: Iterable[tuple[bytes, int]]) -> Iterator[list[tuple[bytes, int]]]:
    """Yield as many sessions at a time as a hub can read within the time of an answer."""
    some: list[tuple[bytes, int]] = []
    rows = 0
    for session, count in sessions:
        if some and (rows + count > _COUNTED or len(some) == _SESSIONS):
            yield some
            some, rows = [], 0
        some.append((session, count))
        rows += count
    if some:
        yield some


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
