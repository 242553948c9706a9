"""A recorded session as a function of `localops score --with` gets it: what is asked for is read then."""

from __future__ import annotations

import uuid
from functools import cached_property

from localops.clock import iso
from localops.journal import rows
from localops.output import is_unpriced
from localops.reading import analytics, given_scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.reading.snapshot import Snapshot


class PastSession:
    """One session: its state, its figures, and its events as `localops show --json` names them."""

    def __init__(self, project: str, snapshot: Snapshot) -> None:
        self.project = project
        self._snapshot = snapshot

    @property
    def id(self) -> uuid.UUID:
        """Return its id."""
        return uuid.UUID(bytes=self._snapshot.id)

    @property
    def name(self) -> str | None:
        """Return its name."""
        return self._snapshot.story.name

    @property
    def state(self) -> str:
        """Return how it ended: Success, Failure or Indeterminate; else Running or Unknown."""
        return self._snapshot.standing.state

    @property
    def reason(self) -> str | None:
        """Return why it ended so, as far as that is known."""
        return self._snapshot.standing.reason

    @property
    def tags(self) -> list[str]:
        """Return its tags."""
        return self._snapshot.story.tags

    @property
    def metadata(self) -> dict[str, Any]:
        """Return its metadata, by name."""
        return self._snapshot.story.metadata

    @property
    def began(self) -> str:
        """Return when it began, as ISO 8601 in UTC."""
        return iso(self._snapshot.totals.first_ns)

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return (self._snapshot.until_ns - self._snapshot.totals.first_ns) / 1e9

    @property
    def cost(self) -> float | None:
        """Return its cost in US dollars, as far as prices are known; None where calls have none: unpriced, not free.

        See `cost_at_least`.
        """
        totals = self._snapshot.totals
        if is_unpriced(totals.cost, totals.unpriced, totals.llms, at_least=self.cost_at_least):
            return None
        return totals.cost / 1e9

    @property
    def cost_at_least(self) -> bool:
        """Return whether its cost is a lower bound: a call has no price, or never ended."""
        return self._snapshot.cost_at_least

    @property
    def tokens(self) -> int:
        """Return the tokens of all its LLM calls, in and out."""
        return self._snapshot.totals.tokens_in + self._snapshot.totals.tokens_out

    @cached_property
    def events(self) -> list[dict[str, Any]]:
        """Return its events, oldest first: `id`, `kind`, `name`, `params`, `returns`, `prompt`, `failed`, …"""
        return list(analytics.events(self._snapshot.source, self._snapshot.id))

    @property
    def llm_calls(self) -> list[dict[str, Any]]:
        """Return its calls of language models."""
        return [event for event in self.events if event["kind"] == "llm"]

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """Return its tool calls."""
        return [event for event in self.events if event["kind"] == "tool"]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Return its errors."""
        return [event for event in self.events if event["kind"] == "error"]

    @property
    def scores(self) -> list[dict[str, Any]]:
        """Return the scores that count so far, those of its events too."""
        return [given_scores.facts(one) for one in self._snapshot.scores if one.counts]

    def scored_by(self, author: str) -> list[tuple[str, str | None]]:
        """Return the names of the scores of an author that count, each with the id of the event that it is of."""
        own = (one for one in self._snapshot.scores if one.author == author and one.counts)
        return [(one.name, rows.id_text(one.target) if one.target else None) for one in own]
