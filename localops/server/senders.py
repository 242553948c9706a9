"""The journals that a hub gets rows from: which machine each is on, and when its last rows came."""

from __future__ import annotations

from dataclasses import dataclass

from localops.encoding import encode
from localops.journal import stored
from localops.journal.sql import statements
from localops.reading.story import Story
from localops.transfer import bundle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from localops.journal.reader import Reader

_LOOKED_AT = 20  # batches, to find one with a session that is still here


@dataclass(frozen=True)
class Sender:
    """A journal that rows came from."""

    journal: str
    host: str | None  # where its newest session began, if that is still here
    first_ns: int  # when its first rows came, and its last ones
    last_ns: int
    newest_ns: int | None  # when the newest row that came was recorded
    rows: int  # that have come
    became: str | None  # the id that the journal has now, if it was copied, moved or restored

    @property
    def lag_ns(self) -> int | None:
        """Return how old the newest row was when it came."""
        return None if self.newest_ns is None else max(0, self.last_ns - self.newest_ns)


def of(reader: Reader) -> list[Sender]:
    """Return the journals that a project got rows from, the one that was silent for longest first."""
    renamed = dict(_renamed(reader))
    heard = reader.ask(_sql("heard"))
    senders = [_sender(reader, journal, first_ns, last_ns, renamed) for journal, first_ns, last_ns in heard]
    first = {sender.journal: sender.first_ns for sender in senders}
    # A copy has another id, and its original may go on sending: only one that was silent since has moved.
    return [each for each in senders if each.became is None or first.get(each.became, 0) < each.last_ns]


def _sender(reader: Reader, journal: str, first_ns: int, last_ns: int, renamed: dict[str, str]) -> Sender:
    arrived = reader.ask(_sql("received_from"), {"journal": journal})
    rows = sum(last - first + 1 for first, last in bundle.merged((first, last) for first, last, _, _ in arrived))
    host, newest_ns = None, None
    for id, phase in reader.ask(_sql("newest_of"), {"journal": journal, "many": _LOOKED_AT}):
        try:
            row = stored.one(reader, id, phase)
        except UnicodeDecodeError:  # a flipped bit
            continue
        if row is None:
            continue
        newest_ns = newest_ns or row.at_ns
        if any(row.session) and (host := Story.read(reader, row.session).host):
            break
    return Sender(journal, host, first_ns, last_ns, newest_ns, rows, renamed.get(journal))


def _renamed(reader: Reader) -> Iterator[tuple[str, str]]:
    """Yield the ids that journals had, each with the one after it."""
    for (body,) in reader.ask(_sql("journals")):
        record = encode.loads(body)
        if isinstance(record, dict) and isinstance(record.get("was"), str) and isinstance(record.get("journal"), str):
            yield record["was"], record["journal"]


def _sql(name: str) -> str:
    return statements("hub.sql")[name]
