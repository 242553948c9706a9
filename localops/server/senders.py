"""The journals that send rows to a hub: the machine of each, and when its last rows arrived."""

from __future__ import annotations

from dataclasses import dataclass

from localops.encoding import encode
from localops.journal import stored
from localops.journal.sql import statements
from localops.reading.story import Story
from localops.recording import events
from localops.transfer import ingest, machines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from localops.journal.reader import Reader
    from localops.reading.facts import Facts

# Silence after which a machine is marked.
_SILENT_NS = 86_400_000_000_000
# Hex digits of an id in a list, at least.
_SHORT = 8
_LOOKED_AT = 20  # batches, to find one with a session that is still here
_TIMED = 7  # the version of UUIDs that begin with a time


@dataclass(frozen=True)
class Sender:
    """A journal whose rows were received."""

    journal: str
    host: str | None  # where its newest session began
    first_ns: int  # when its first rows arrived
    last_ns: int  # when its newest rows arrived: older rows that arrive later in a bundle do not count
    newest_ns: int | None  # when the newest of the received rows was recorded
    rows: int  # that were received, each counted once
    became: str | None  # the id that the journal has now, if it was copied, moved or restored
    release: str | None = None  # of localops that recorded its newest session, if that says so

    @property
    def lag_ns(self) -> int | None:
        """Return how old the newest row was when it arrived."""
        return None if self.newest_ns is None else max(0, self.last_ns - self.newest_ns)

    def is_silent(self, now_ns: int) -> bool:
        """Return whether its last rows arrived so long ago that the machine may have a problem."""
        return now_ns - self.last_ns > _SILENT_NS


def of(reader: Reader) -> list[Sender]:
    """Return the journals that sent rows to a project, the one with the longest silence first."""
    renamed = dict(_renamed(reader))
    journals = reader.ask(_sql("seen_journals"))
    senders = [_sender(reader, journal, first_ns, last_ns, renamed) for journal, first_ns, last_ns in journals]
    first = {sender.journal: sender.first_ns for sender in senders}
    # A copy has another id, and its original may still send: only an original that is silent since then has moved.
    return [each for each in senders if each.became is None or first.get(each.became, 0) < each.last_ns]


def _sender(reader: Reader, journal: str, first_ns: int, last_ns: int, renamed: dict[str, str]) -> Sender:
    kept = reader.ask(_sql("machine_of"), {"key": machines.key_of(journal)})
    host, release = machines.read(kept[0][0]) if kept else (None, None)
    newest_ns = None
    for id, phase in reader.ask(_sql("newest_of"), {"journal": journal, "many": _LOOKED_AT}):
        try:
            row = stored.one(reader, id, phase)
        except UnicodeDecodeError:  # a flipped bit
            continue
        # If the session of the newest row was removed, its id still has the time.
        newest_ns = newest_ns or (_time_in(id) if row is None else row.at_ns)
        if host is not None and newest_ns is not None:
            break
        # For rows that an earlier release received, only the sessions name the machine.
        if row is not None and any(row.session):
            story = Story.read(reader, row.session)
            host, release = story.host, release or machines.release(story.host_env)
    return Sender(journal, host, first_ns, last_ns, newest_ns, _rows(reader, journal), renamed.get(journal), release)


def _rows(reader: Reader, journal: str) -> int:
    counted = reader.ask(_sql("counted"), {"key": ingest.counted_under(journal)})
    if counted:
        return int(counted[0][0])
    # Its rows arrived under an earlier release, which did not count them.
    arrived = reader.ask(_sql("received_from"), {"journal": journal})
    return ingest.covered((first, last) for first, last, _, _ in arrived)


def _time_in(id: bytes) -> int | None:
    """Return when a row was made, if its id is a UUIDv7, which begins with the milliseconds."""
    return int.from_bytes(id[:6]) * 1_000_000 if id[6] >> 4 == _TIMED else None


def facts(project: str, sender: Sender, now_ns: int) -> Facts:
    """Return a sender as JSON has it."""
    return {
        "project": project,
        "host": sender.host,
        "journal": sender.journal,
        "release": sender.release,
        "last_heard": events.iso(sender.last_ns),
        "last_heard_ns": sender.last_ns,
        "first_heard": events.iso(sender.first_ns),
        "newest_row": None if sender.newest_ns is None else events.iso(sender.newest_ns),
        "lag_seconds": None if sender.lag_ns is None else round(sender.lag_ns / 1e9, 3),
        "silent_seconds": round(max(0, now_ns - sender.last_ns) / 1e9, 3),
        "silent": sender.is_silent(now_ns),
        "rows": sender.rows,
    }


def short_names(journals: Iterable[str]) -> dict[str, str]:
    """Return the shortest beginning of each id that no other one has, of at least eight digits.

    Ids begin with the time, so those of machines that were set up together have long common beginnings.

    >>> short_names(["0199aa00ff", "0199aa00ee", "0200"])
    {'0199aa00ee': '0199aa00e', '0199aa00ff': '0199aa00f', '0200': '0200'}
    """
    ordered = sorted(set(journals))
    short = {}
    for place, journal in enumerate(ordered):
        # In sorted order, the longest common beginnings are with neighbours.
        others = [*ordered[max(0, place - 1) : place], *ordered[place + 1 : place + 2]]
        many = _SHORT
        while many < len(journal) and any(other.startswith(journal[:many]) for other in others):
            many += 1
        short[journal] = journal[:many]
    return short


def _renamed(reader: Reader) -> Iterator[tuple[str, str]]:
    """Yield the ids that journals had, each with the one after it."""
    for (body,) in reader.ask(_sql("journals")):
        record = encode.loads(body)
        if isinstance(record, dict) and isinstance(record.get("was"), str) and isinstance(record.get("journal"), str):
            yield record["was"], record["journal"]


def _sql(name: str) -> str:
    return statements("hub.sql")[name]
