"""A session that is read once: its totals, its story and its state.

Pages, commands and exports get a session from here, so that each fact is read once and all are of about the same
moment.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cached_property

from localops.journal import participants, rows
from localops.reading import analytics, given_scores, pauses, session_state
from localops.reading.analytics import Part, Report, Totals
from localops.reading.story import Story, budget_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NamedTuple

    from localops.journal.stored import Source, Unfinished
    from localops.reading.given_scores import Given
    from localops.reading.pauses import Pause
    from localops.reading.session_state import Standing

    class Budget(NamedTuple):
        """The budget of a session in US dollars, and at what cost and when it was reached."""

        limit_usd: float
        reached_usd: float | None
        reached_ns: int | None
else:
    Budget = namedtuple("Budget", "limit_usd reached_usd reached_ns")

_NEVER = (1 << 63) - 1


class Snapshot:
    """A session of a journal in a project's folder; each fact is read at its first use, and kept."""

    def __init__(
        self,
        source: Source,
        folder: str,
        id: bytes,
        *,
        totals: Totals | None = None,
        correct: Callable[[bytes, Standing], Standing] | None = None,
    ) -> None:
        self.source, self.folder, self.id = source, folder, id
        self._correct = correct  # changes the state by rows that are not in the journal yet
        if totals is not None:
            self.totals = totals

    @cached_property
    def totals(self) -> Totals:
        """Return the totals of the session; all zero if it has no rows here."""
        return analytics.totals(self.source, self.id)

    @cached_property
    def story(self) -> Story:
        """Return the session's bookkeeping."""
        return Story.read(self.source, self.id)

    @cached_property
    def standing(self) -> Standing:
        """Return the state of the session."""
        last_ns = self.totals.last_ns
        stands = session_state.judge(self.source, self.folder, self.id, self.story, last_ns=last_ns)
        return stands if self._correct is None else self._correct(self.id, stands)

    @cached_property
    def scores(self) -> list[Given]:
        """Return the scores and notes of the session and of its events, oldest first."""
        return given_scores.of_session(self.source, self.id)

    @cached_property
    def budget(self) -> Budget | None:
        """Its budget: the one that was reached, else the newest that was set."""
        # Late, as most sessions have none.
        from localops.journal import stored

        for dollars in self.story.budgets:
            row = stored.one(self.source, budget_id(self.id, dollars), rows.DONE)
            if row is not None:
                params = analytics.plain(row, None).get("params")
                return Budget(dollars, params.get("spent_usd") if isinstance(params, dict) else None, row.at_ns)
        return None if self.story.budget is None else Budget(self.story.budget, None, None)

    @property
    def is_running(self) -> bool:
        """Return whether a process records into it."""
        return self.standing.state == "Running"

    @cached_property
    def is_cut_off(self) -> bool:
        """Return whether it may have lasted beyond its last row: a process died in it, or that cannot be excluded."""
        stands = self.standing
        return stands.state == "Unknown" or (stands.derived and bool(self.story.present()))

    @cached_property
    def until_ns(self) -> int:
        """Return the end of its time: its last row, or now while it runs."""
        return analytics.until_ns(self.totals.last_ns, running=self.is_running)

    @cached_property
    def unfinished(self) -> list[Unfinished]:
        """Return the operations that began and have not ended, oldest first."""
        # Imported here, as a list of sessions does not need it.
        from localops.journal.stored import unfinished

        return unfinished(self.source, self.id)

    @cached_property
    def pauses(self) -> list[Pause]:
        """Return the times between its runs; only a resumed session has some."""
        return pauses.of(self.source, self.id, self.story)

    @cached_property
    def died(self) -> list[dict[str, Any]]:
        """Return the cards of its processes that ended without recording that they left, as seen from this machine."""
        # The processes of a hub's sessions ran on other machines.
        if session_state.is_of_hub(self.folder):
            return []
        present = self.story.present().values()
        return [card for card in present if participants.is_alive(self.folder, card) is False]

    @property
    def open_now(self) -> list[Unfinished]:
        """Return the operations without an end that began since it was last resumed, oldest first."""
        return [one for one in self.unfinished if pauses.after(self.pauses, one.at_ns) is None]

    def ran_until(self, began_ns: int) -> int:
        """Return until when an operation without an end can have run: to the last row of the run that it began in."""
        pause = pauses.after(self.pauses, began_ns)
        return self.until_ns if pause is None else max(began_ns, pause.stopped_ns)

    @cached_property
    def lost_calls(self) -> list[Unfinished]:
        """Return its LLM calls that never ended; while it runs, they may."""
        return [] if self.is_running else [one for one in self.unfinished if one.kind == "llm"]

    @property
    def open_calls(self) -> int:
        """Return how many of its LLM calls never ended, so that its cost is a lower bound."""
        return len(self.lost_calls)

    @property
    def cost_at_least(self) -> bool:
        """Return whether its cost is a lower bound: a call has no price, or never ended, or rows may be lost."""
        return self.totals.unpriced > 0 or self.open_calls > 0 or self.story.lacks_rows

    @cached_property
    def _parts_and_names(self) -> tuple[dict[str, list[Part]], dict[str, str]]:
        return analytics.all_parts(self.source, self.id)

    @property
    def parts(self) -> dict[str, list[Part]]:
        """Return its totals by `model`, `tool`, `agent_id` and `agent` (names only), the busiest first."""
        return self._parts_and_names[0]

    @property
    def agents(self) -> list[Part]:
        """Return its totals by agent under the agents' names, the busiest first."""
        _, names = self._parts_and_names
        return [part._replace(value=names[part.value]) for part in self.parts["agent_id"]]

    def report(self, *, percentiles: bool = False) -> Report:
        """Return all figures; `took` is None for a session of many events, unless `percentiles` asks for it."""
        exact = percentiles or self.totals.events <= analytics.EXACT_UP_TO
        spilled, dropped, cut = self.story.losses
        return Report(
            totals=self.totals,
            contract=analytics.contract(self.totals, running=self.is_running, until=self.until_ns),
            unfinished=len(self.unfinished),
            late=self.late,
            spilled=spilled,
            dropped=dropped,
            cut=cut,
            damaged=self.story.damaged,
            by={
                "model": self.parts["model"],
                "tool": self.parts["tool"],
                "agent": self.agents,
            },
            lost=self.lost,
            took=analytics.took(self.source, self.id) if exact else None,
        )

    @cached_property
    def lost(self) -> dict[str, frozenset[str]]:
        """Return the models and the names of agents with an LLM call that never ended."""
        # The agent of a call that never ended is among the parts of the session.
        _, names = self._parts_and_names
        return {
            "model": frozenset(call.model for call in self.lost_calls if call.model is not None),
            "agent": frozenset(names[call.agent.hex()] for call in self.lost_calls if call.agent is not None),
        }

    @cached_property
    def late(self) -> int:
        """Return how many events were recorded after it had been ended."""
        end = self.story.last_end
        if end is None:
            return 0
        # A process that came after the end went on with it: what that recorded is of the next run.
        went_on = [one.at_ns for one in self.story.of_kind(*rows.STARTS) if not one.implied and one.at_ns > end.at_ns]
        before = min(went_on, default=_NEVER)
        [(count,)] = self.source.all("late", session=self.id, after=end.seq, at_ns=end.at_ns, before=before)
        return int(count)
