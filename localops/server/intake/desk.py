"""Where rows are made of what other products' clients send: one project's journal, its encoder and its prices.

What a client sends was not recorded by our library, so secrets are removed here.
"""

from __future__ import annotations

from localops.encoding import encode
from localops.encoding.redact import Redactor
from localops.journal import blobs, rows, stored
from localops.journal.stored import Stored
from localops.reading import analytics, session_state
from localops.reading.story import Story
from localops.recording.writer import Writer
from localops.transfer import ingest, validation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localops.encoding.pricing import Prices
    from localops.journal.journal import Journal
    from localops.journal.rows import Row
    from localops.transfer.ingest import Added


class Materials:
    """What the rows of a project are made with; it is kept as long as its journal is open."""

    def __init__(self, folder: str, prices: Callable[[], Prices]) -> None:
        self.folder, self.prices = folder, prices
        self.redactor = Redactor()
        self.encoder = encode.Encoder(redactor=self.redactor, keep=blobs.Keeper(folder))


class ForeignWriter(Writer):
    """Makes rows of values that came over the network; `together` may encode their bodies."""

    def __init__(self, session: bytes, materials: Materials, together: encode.Together | None) -> None:
        super().__init__(session, materials.folder, materials.encoder, materials.prices)
        if together is not None:
            self.encode = together.encode

    def keep_media(self, value: object) -> object:
        """Return the value as it is: a path in it is one of another machine, and must not be read here."""
        return value


class Desk:
    """A project while rows are added to it; nothing else writes to it meanwhile."""

    def __init__(self, journal: Journal, materials: Materials) -> None:
        self._journal, self._materials = journal, materials
        # What became of all rows that were added, under the names of Metrics.took.
        self.counts = {"stored": 0, "known": 0, "refused": 0, "gone": 0, "size": 0}
        # Why rows were refused.
        self.reasons: list[str] = []
        # Files that came with rows which were scrubbed here.
        self.erased: list[str] = []

    def writer(self, session: bytes, together: encode.Together | None = None) -> ForeignWriter:
        """Return the writer of a session's rows; with `together`, they may hold secrets until it has searched them."""
        return ForeignWriter(session, self._materials, together)

    def together(self) -> encode.Together:
        """Return what encodes the bodies of many rows of strict JSON for `writer`."""
        return encode.Together(self._materials.encoder)

    def story(self, session: bytes) -> Story:
        """Return the bookkeeping of a session."""
        return Story.read(self._journal, session)

    def row(self, id: bytes) -> Stored | None:
        """Return a row that is here."""
        return stored.one(self._journal, id, rows.DONE)

    def last_ns(self, session: bytes) -> int | None:
        """Return the time of a session's last row."""
        return session_state.last_row_ns(self._journal, session)

    def cost(self, session: bytes) -> int:
        """Return what a session has cost, in nano-dollars."""
        return analytics.totals(self._journal, session).cost

    def add(self, made: Sequence[Row]) -> Added:
        """Write rows, each once and safe from a power cut."""
        added = ingest.add(self._journal, made)
        known = len(made) - added.stored - added.gone - len(added.refused)
        outcome = {"stored": added.stored, "known": known, "refused": len(added.refused), "gone": added.gone}
        for name, many in {**outcome, "size": added.size}.items():
            self.counts[name] += many
        self.reasons += added.refused.values()
        self.erased += added.erased
        return added

    def know_again(self, refused: Sequence[str]) -> None:
        """Count rows as known that were refused for these reasons, as what differs in them says nothing else."""
        self.counts["refused"] -= len(refused)
        self.counts["known"] += len(refused)
        for reason in refused:
            self.reasons.remove(reason)


def problem(row: Row) -> str | None:
    """Return why a row cannot be stored, if that is so."""
    try:
        validation.check_rows([Stored(0, *row)])
    except ValueError as error:
        return str(error)
    return None


def problems(made: Sequence[Row]) -> dict[int, str]:
    """Return why rows cannot be stored, by place."""
    try:
        validation.check_rows([Stored(0, *row) for row in made])
    except ValueError:
        reasons = ((place, problem(row)) for place, row in enumerate(made))
        return {place: why for place, why in reasons if why is not None}
    return {}
