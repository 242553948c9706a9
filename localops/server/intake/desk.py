"""A project's journal, encoder and prices, for making rows of what clients of other products send.

Secrets are removed here, as these clients do not.
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
    """What is needed to make the rows of a project; kept as long as its journal is open."""

    def __init__(self, folder: str, prices: Callable[[], Prices]) -> None:
        self.folder, self.prices = folder, prices
        self.redactor = Redactor()
        self.encoder = encode.Encoder(redactor=self.redactor, keep=blobs.Keeper(folder))


class ForeignWriter(Writer):
    """Makes rows of values from the network; with `together`, it encodes bodies."""

    def __init__(self, session: bytes, materials: Materials, together: encode.Together | None) -> None:
        super().__init__(session, materials.folder, materials.encoder, materials.prices)
        if together is not None:
            self.encode = together.encode

    def keep_media(self, value: object) -> object:
        """Return the value unchanged: a path in it belongs to another machine, and must not be read here."""
        return value


class Desk:
    """A project while rows are added to it, and nothing else writes to it."""

    def __init__(self, journal: Journal, materials: Materials) -> None:
        self._journal, self._materials = journal, materials
        # The numbers of added rows by result, under the names of Metrics.took.
        self.counts = {"stored": 0, "known": 0, "refused": 0, "gone": 0, "size": 0}
        # Why rows were refused.
        self.reasons: list[str] = []
        # Files of received rows that were scrubbed here.
        self.erased: list[str] = []

    def writer(self, session: bytes, together: encode.Together | None = None) -> ForeignWriter:
        """Return the writer of a session's rows; with `together`, rows may have secrets until it has searched them."""
        return ForeignWriter(session, self._materials, together)

    def together(self) -> encode.Together:
        """Return an encoder for the bodies of many rows of strict JSON, to pass to `writer`."""
        return encode.Together(self._materials.encoder)

    def story(self, session: bytes) -> Story:
        """Return the bookkeeping of a session."""
        return Story.read(self._journal, session)

    def row(self, id: bytes) -> Stored | None:
        """Return a stored row."""
        return stored.one(self._journal, id, rows.DONE)

    def last_ns(self, session: bytes) -> int | None:
        """Return the time of a session's last row."""
        return session_state.last_row_ns(self._journal, session)

    def cost(self, session: bytes) -> int:
        """Return the cost of a session in nano-dollars."""
        return analytics.totals(self._journal, session).cost

    def add(self, made: Sequence[Row]) -> Added:
        """Write rows, each once, and sync them to disk."""
        added = ingest.add(self._journal, made)
        known = len(made) - added.stored - added.gone - len(added.refused)
        outcome = {"stored": added.stored, "known": known, "refused": len(added.refused), "gone": added.gone}
        for name, many in {**outcome, "size": added.size}.items():
            self.counts[name] += many
        self.reasons += added.refused.values()
        self.erased += added.erased
        return added

    def know_again(self, refused: Sequence[str]) -> None:
        """Count rows that were refused for these reasons as known, as their difference means nothing."""
        self.counts["refused"] -= len(refused)
        self.counts["known"] += len(refused)
        for reason in refused:
            self.reasons.remove(reason)


def problem(row: Row) -> str | None:
    """Return why a row cannot be stored, or None."""
    try:
        validation.check_rows([Stored(0, *row)])
    except ValueError as error:
        return str(error)
    return None


def problems(made: Sequence[Row]) -> dict[int, str]:
    """Return why rows cannot be stored, by position."""
    try:
        validation.check_bare(made)
    except ValueError:
        reasons = ((place, problem(row)) for place, row in enumerate(made))
        return {place: why for place, why in reasons if why is not None}
    return {}
