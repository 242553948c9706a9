"""The bookkeeping rows of a session: its name, tags, host, video, participants, losses, budget and end.

One query reads them, oldest first; each fact is derived at its first use.
"""

from __future__ import annotations

from localops.encoding.lazy import lazy
from localops.journal import rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from localops.journal.rows import Row
    from localops.journal.stored import Source

# The name and the tag of a session for events whose session is unknown.
UNATTRIBUTED = "unattributed"
# Fields in the row of a resume: how many rows there were about processes that began or joined the session, and which
# processes had not left it, each with the number of its recorded steps, and which had.
KNOWN_STARTS, PRESUMED_DEAD, KNOWN_LEFT = "known_starts", "presumed_dead", "known_left"
# The field beside them if the program passed `incomplete=True`, and rows were missing.
INCOMPLETE = "incomplete"

# The key in a row about a loss that an import made, as lines of its file were missing or could not be read.
UNREAD_LINES = "unread_lines"
# The key beside that one if they are in bundles that were not imported.
IN_BUNDLES = "in_bundles"
# The key in a row about a loss that a repair made: the id of the damaged journal, and the seqs of the lost rows.
LOST_SEQS = "lost_seqs"


def budget_id(session: bytes, dollars: float) -> bytes:
    """Return the id of the row about a reached budget, which is the same in all processes of the session."""
    import uuid  # late, as commands that only read do not need it

    return uuid.uuid5(uuid.UUID(bytes=session), f"budget of {float(dollars)}").bytes


class Milestone:
    """A bookkeeping row, with its columns in the order of the query `story`."""

    __slots__ = ("_body", "at_ns", "counts", "id", "implied", "kind", "name", "participant", "seq", "tags", "text")

    def __init__(
        self,
        at_ns: int,
        id: bytes,
        kind: str,
        name: str | None,
        participant: bytes | None,
        implied: int,
        tags: str | None,
        text: str | None,
        seq: int | None,
        counts: int | None = 0,
    ) -> None:
        self.at_ns, self.id, self.kind, self.name, self.participant = at_ns, id, kind, name, participant
        # An end is implied if it was derived, a join if it was written after a fork.
        self.implied = implied
        self.tags = tags  # as JSON
        self.text = text  # the stored body
        self.seq = seq  # None while it is in a spill file
        self.counts = counts  # whether it is the valid end
        self._body: Any = None

    @property
    def body(self) -> dict[str, Any]:
        """The parsed body."""
        if self._body is None:
            self._body = unpacked(self.text)
        body: dict[str, Any] = self._body
        return body


class Story:
    """The milestones of one session, oldest first."""

    def __init__(self, milestones: Iterable[Milestone]) -> None:
        self.milestones = list(milestones)

    @classmethod
    def of_rows(cls, story_rows: Iterable[Iterable[Any]]) -> Story:
        """Return the story from rows of the query `story`."""
        return cls(Milestone(*row) for row in story_rows)

    @classmethod
    def read(cls, source: Source, session: bytes) -> Story:
        """Read the story of a session."""
        return cls.of_rows(source.all("story", session=session))

    def of_kind(self, *kinds: str) -> Iterator[Milestone]:
        """Return the milestones of these kinds."""
        return (one for one in self.milestones if one.kind in kinds)

    @property
    def name(self) -> str | None:
        """The name of the session: the first one that was set."""
        return next((one.name for one in self.of_kind(*rows.STARTS) if one.name), None)

    @lazy
    def tags(self) -> list[str]:
        """The current tags: those of the newest `set` and those added since, like the query `session_tags`."""
        # Tags are sorted by when they were first added, and within one row by position.
        since = max((one.at_ns for one in self.of_kind("tags") if one.name == "set"), default=0)
        places: dict[str, int] = {}
        for one in self.of_kind(*rows.STARTS, "tags"):
            if one.tags and one.at_ns >= since:
                for index, tag in enumerate(_loads(one.tags)):
                    places[tag] = min(places.get(tag, one.at_ns + index), one.at_ns + index)
        return sorted(places, key=lambda tag: (places[tag], tag))

    @lazy
    def host_env(self) -> dict[str, Any]:
        """The machine and the Python of the session; the newest value of each key."""
        merged: dict[str, Any] = {}
        for one in self.milestones:
            merged.update(one.body.get("host_env") or {})
        return merged

    @property
    def metadata_only(self) -> bool:
        """Return whether it came from a metadata-only remote, without its content."""
        return any(one.body.get("metadata_only") is True for one in self.of_kind("session"))

    @property
    def is_imported(self) -> bool:
        """Return whether it was imported from spans or a transcript."""
        return any(one.body.get("imported") for one in self.of_kind("session"))

    @property
    def host(self) -> str | None:
        """The name of the machine on which the session began."""
        return next((one.body["host"] for one in self.of_kind("session") if "host" in one.body), None)

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that programs set; the newest value of each name."""
        merged: dict[str, Any] = {}
        for one in self.of_kind("metadata"):
            merged.update(one.body.get("metadata") or {})
        return merged

    @property
    def video(self) -> Any:
        """The last video that was set; None without one."""
        video = None
        for one in self.of_kind("video"):
            video = one.body.get("video", video)
        return video

    @property
    def budget(self) -> float | None:
        """The newest budget in US dollars; None without one."""
        return next(iter(self.budgets), None)

    @property
    def budgets(self) -> list[float]:
        """All budgets that its processes set, newest first."""
        # Most sessions have none, and a command that shows only totals starts faster without decoding bodies.
        given = [one for one in self.of_kind(*rows.STARTS) if one.text and "budget_usd" in one.text]
        budgets = [one.body.get("budget_usd") for one in given]
        return list(dict.fromkeys(budget for budget in reversed(budgets) if isinstance(budget, int | float)))

    @property
    def losses(self) -> tuple[int, int, int]:
        """The numbers of spilled rows, lost rows and truncated values."""
        notes = [one.body for one in self.of_kind("loss")]
        spilled, dropped, cut = (sum(note.get(name, 0) for note in notes) for name in ("spilled", "dropped", "cut"))
        return spilled, dropped, cut

    @property
    def deleted(self) -> tuple[int, int]:
        """The events that were lost with deleted journals, and the time of the last such loss."""
        notes = [(one.body["deleted"], one.at_ns) for one in self.of_kind("loss") if "deleted" in one.body]
        return sum(many for many, _ in notes), max((at_ns for _, at_ns in notes), default=0)

    @property
    def damaged(self) -> int:
        """The most rows that the session may have lost with a damaged journal."""
        return sum(one.body.get("damaged", 0) for one in self.of_kind("loss"))

    @property
    def wal_pages(self) -> int:
        """The pages that were missing from the WAL when it was recovered after a crash."""
        return sum(one.body.get(rows.WAL_PAGES, 0) for one in self.of_kind("loss"))

    @property
    def unread_lines(self) -> int:
        """Those of `damaged` that imported files lacked; 0 once a whole file was imported."""
        return sum(one.body.get("damaged", 0) for one in self.of_kind("loss") if UNREAD_LINES in one.body)

    @property
    def may_be_brought_back(self) -> bool:
        """Return whether it is known of each loss by a damaged journal which rows of that these were."""
        losses = [one.body for one in self.of_kind("loss") if one.body.get("damaged", 0) > 0]
        return all(LOST_SEQS in body for body in losses if UNREAD_LINES not in body)

    @property
    def in_bundles(self) -> int:
        """Those of `unread_lines` that are in bundles which were not imported."""
        return sum(one.body.get("damaged", 0) for one in self.of_kind("loss") if IN_BUNDLES in one.body)

    @property
    def left(self) -> int:
        """The events that stayed in journal files that were moved away while the session was recorded."""
        return sum(one.body.get("left", 0) for one in self.of_kind("loss"))

    @property
    def lacks_rows(self) -> bool:
        """Return whether some of its rows are missing here or may be, which makes its figures lower bounds."""
        return self.losses[1] > 0 or self.damaged > 0 or self.left > 0 or self.lacks_beginning

    @property
    def lacks_beginning(self) -> bool:
        """Return whether its first row is not here: it began elsewhere, or only a part of it was imported."""
        return not any(self.of_kind("session"))

    @property
    def is_unattributed(self) -> bool:
        """Return whether it is a process's session for events whose session is unknown."""
        starts = (one for one in self.of_kind("session") if one.name == UNATTRIBUTED)
        return any(one.body.get(UNATTRIBUTED) for one in starts)

    # Participants

    def cards(self) -> list[dict[str, Any]]:
        """Return the card of each start and join; a process that joined twice has two."""
        return [one.body for one in self.of_kind(*rows.STARTS)]

    def present(self) -> dict[bytes, dict[str, Any]]:
        """Return the cards of the participants that have not recorded their exit."""
        present: dict[bytes, dict[str, Any]] = {}
        for one in self.of_kind(*rows.STARTS, *rows.LEAVES):
            if one.participant is None:
                continue
            if one.kind in rows.STARTS:
                present[one.participant] = one.body
            else:
                present.pop(one.participant, None)
        return present

    def participants(self) -> Iterator[tuple[dict[str, Any], int, int | None]]:
        """Yield each participant's card, first join and last exit, in the order in which they joined."""
        left = {one.participant: one.at_ns for one in self.of_kind(*rows.LEAVES) if one.participant}
        seen = set()
        for one in self.of_kind(*rows.STARTS):
            if one.participant and one.participant not in seen:
                seen.add(one.participant)
                yield one.body, one.at_ns, left.get(one.participant)

    @property
    def last_exit(self) -> dict[str, Any] | None:
        """The state and the reason with which the last process left that had not begun the session; None without."""
        last = max(self.of_kind("leave"), key=lambda one: one.at_ns, default=None)
        body = {} if last is None else last.body
        return body if isinstance(body.get("state"), str) and isinstance(body.get("reason"), str) else None

    @lazy
    def resumes(self) -> list[Milestone]:
        """The joins of processes that resumed the session after all others had left, oldest first."""
        joins = (one for one in self.of_kind("join") if one.text and '"resumed"' in one.text)
        return [one for one in joins if one.body.get("resumed")]

    @lazy
    def newest(self) -> set[bytes]:
        """The processes that joined the session in its last resume or since; all of them if it was not resumed."""
        since_ns = max((one.at_ns for one in self.resumes), default=0)
        joins = (one for one in self.of_kind(*rows.STARTS) if one.at_ns >= since_ns)
        return {one.participant for one in joins if one.participant is not None}

    @property
    def starts(self) -> int:
        """Return the number of rows of processes that began or joined the session."""
        return sum(1 for _ in self.of_kind(*rows.STARTS))

    @property
    def end(self) -> Milestone | None:
        """The valid end, by the rule of the SQL fragment `session_end`."""
        return next((one for one in self.of_kind("end") if one.counts), None)

    @property
    def last_end(self) -> Milestone | None:
        """The last end that a program wrote; later events written after it are late."""
        ends = [one for one in self.of_kind("end") if not one.implied and one.seq is not None]
        return max(ends, key=lambda one: one.seq or 0, default=None)


def presumed_dead(resume: Milestone) -> dict[str, int]:
    """Return the processes that had not left a session when it was resumed, with the numbers of their steps."""
    known = resume.body.get(PRESUMED_DEAD)
    return known if isinstance(known, dict) else {}


def milestone(row: Row) -> Milestone:
    """Convert a row of a spill file to a milestone."""
    columns = dict(zip(rows.COLUMNS, row, strict=True))
    one = Milestone(
        at_ns=columns["at_ns"],
        id=columns["id"],
        kind=columns["kind"],
        name=columns["name"],
        participant=columns["parent"],
        implied=0,
        tags=columns["tags"],
        text=columns["body"],
        seq=None,
    )
    if one.kind in ("end", "join"):
        one.implied = one.body.get("derived") or one.body.get("forked") or 0
    return one


def unpacked(text: str | None) -> dict[str, Any]:
    """Parse a body; return an empty dict for a row without a body."""
    body: dict[str, Any] = _loads(text) if text else {}
    return body


def _loads(text: str) -> Any:
    # Imported late, as a command that shows only totals starts faster without it.
    from localops.encoding import encode

    return encode.loads(text)
