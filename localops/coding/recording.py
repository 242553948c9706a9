"""Write the rows of coding agents to a project's journal, without a client: a hook lives for one event only."""

from __future__ import annotations

import os

from localops import config as settings
from localops.encoding import encode
from localops.encoding.todays_rules import redactor
from localops.journal import blobs, rows
from localops.journal.journal import Journal
from localops.recording.events import ErrorEvent
from localops.recording.writer import Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from localops.config import Config
    from localops.encoding.pricing import Prices
    from localops.journal.rows import Row

_NAMES = {"claude-code": "Claude Code", "codex": "Codex"}
AGENTS = tuple(_NAMES)


class Project:
    """The journal for the rows of a coding agent, with the redaction and the prices of the project's home."""

    def __init__(self, config: Config, *, wait: float | None = None, journal: Journal | None = None) -> None:
        self.config = config
        self.folder = config.folder()
        self.journal = journal or Journal(
            self.folder, durability=config.durability, wait=config.wait if wait is None else min(wait, config.wait)
        )
        self._encoder = encode.Encoder(
            redactor=redactor(config), max_value=config.max_value, keep=blobs.Keeper(self.folder)
        )
        self._prices: Prices | None = None

    def writer(self, session: bytes, together: encode.Together | None = None) -> Writer:
        """Return the writer of a session's rows; `together` may encode their bodies."""
        writer = Writer(session, self.folder, self._encoder, self._price_table)
        if together is not None:
            writer.encode = together.encode
        return writer

    def together(self) -> encode.Together:
        """Return what encodes the bodies of many rows for `writer`."""
        return encode.Together(self._encoder)

    def write(self, row: Row) -> None:
        """Write a row unless one with its identity exists: several hooks may run at the same time for one event."""
        try:
            self.journal.add([rows.whole(row)])
        except Exception:  # the edge: busy, damaged, a full disk; append goes to the spill file then, and warns
            self.journal.append(row, sync=True)

    def has(self, id: bytes, phase: int = rows.DONE) -> bool:
        """Return whether a row is in the journal."""
        return self.journal.one("row", id=id, phase=phase) is not None

    def _price_table(self) -> Prices:
        if self._prices is None:
            self._prices = settings.prices(os.path.dirname(self.folder))
        return self._prices


def session_row(
    writer: Writer,
    agent: str,
    at: int,
    facts: Mapping[str, object],
    card: Mapping[str, object],
    participant: bytes | None,
) -> Row:
    """Return the first row of a session; `card` describes the process of the agent."""
    return writer.note(
        "session",
        writer.session,
        at,
        fields={**card, "params": {"agent": agent, **facts}},
        name=writer.text(session_name(agent, facts.get("cwd")), 256),
        parent=participant,
        tags=writer.tags_text([agent]),
    )


def session_name(agent: str, folder: object) -> str:
    """Return the name of a session: the agent, and the folder that it works in."""
    name = os.path.basename(folder.rstrip("/")) if isinstance(folder, str) else ""
    return f"{_NAMES[agent]}: {name}" if name else _NAMES[agent]


def failure(kind: str, details: object) -> ErrorEvent:
    """Return the error of a tool call or a model call that failed."""
    event = ErrorEvent(error_type=kind, details=details, logs="")
    event.logs = None  # else it would take the traceback of the exception that is being handled
    return event
