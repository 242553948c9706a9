"""A session that is read only once: its totals, its story and its state.

Pages, commands and exports use it, so that each fact is read once and all facts are of about the same moment.
"""

from __future__ import annotations

from collections import namedtuple
from functools import cached_property

from localops.journal import participants, rows
from localops.reading import analytics, given_scores, pauses, session_state, waiting_rows
from localops.reading.analytics import Part, Report, Totals
from localops.reading.story import Story, budget_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NamedTuple

    from localops.journal.rows import Row
    from localops.journal.stored import Source, Unfinished
    from localops.reading.given_scores import Given
    from localops.reading.pauses import Pause
    from localops.reading.session_state import Standing

    class Budget(NamedTuple):
        """The budget of a session in US dollars, and the cost and the time when it was reached."""

        limit_usd: float
        reached_usd: float | None
        reached_ns: int | None
else:
    Budget = namedtuple("Budget", "limit_usd reached_usd reached_ns")

_NEVER = (1 << 63) - 1
# Events of a session whose calls are read for figures that totals do not have.
_MOST_READ = 50_000


class Snapshot:
    """A session of a journal in a project's folder; each fact is read at its first use, and cached."""

    def __init__(
        self,
        source: Source,
        folder: str,
        id: bytes,
        *,
        totals: Totals | None = None,
        waiting: Callable[[bytes], Sequence[Row]] | None = None,
    ) -> None:
        self.source, self.folder, self.id = source, folder, id
        self._waiting = waiting
        if totals is not None:
            self.totals = totals

    @cached_property
    def totals(self) -> Totals:
        """Return the totals of the session; all are 0 if it has no rows here."""
        return analytics.totals(self.source, self.id)

    @cached_property
    def story(self) -> Story:
        """Return the session's bookkeeping rows as a story."""
        return waiting_rows.story(Story.read(self.source, self.id), self.waiting)

    @cached_property
    def waiting(self) -> Sequence[Row]:
        """Return its rows that are not in the journal yet, but in spill files."""
        return [] if self._waiting is None else self._waiting(self.id)

    @cached_property
    def standing(self) -> Standing:
        """Return the state of the session."""
        last_ns = self.totals.last_ns
        standing = session_state.judge(self.source, self.folder, self.id, self.story, last_ns=last_ns)
        return waiting_rows.corrected(self.source, self.id, standing, self.waiting)

    @cached_property
    def missing_rows(self) -> str | None:
        """Return why rows of it may be missing, apart from those that are counted as lost; None if none seem to be."""
        # Imported late, as a list of sessions does not need it.
        from localops.reading import missing_steps

        return missing_steps.uncounted(self.source, self.folder, self.story, self.id, whole=False)

    @cached_property
    def scores(self) -> list[Given]:
        """Return the scores and notes of the session and its events, oldest first."""
        return given_scores.of_session(self.source, self.id)

    @cached_property
    def budget(self) -> Budget | None:
        """The reached budget, or if none was reached, the newest budget; None without one."""
        # Imported late, as most sessions have none.
        from localops.journal import stored

        for dollars in self.story.budgets:
            row = stored.one(self.source, budget_id(self.id, dollars), rows.DONE)
            if row is not None:
                params = analytics.plain(row, None).get("params")
                return Budget(dollars, params.get("spent_usd") if isinstance(params, dict) else None, row.at_ns)
        return None if self.story.budget is None else Budget(self.story.budget, None, None)

    @cached_property
    def cached_input(self) -> tuple[int, int]:
        """Return the tokens from a cache and all tokens in, of calls that report both; with very many events, 0."""
        if not self.totals.tokens_cached or self.totals.events > _MOST_READ:
            return 0, 0
        [(cached, tokens_in)] = self.source.all("cached_input", session=self.id)
        return cached, tokens_in

    @cached_property
    def reported_tokens(self) -> set[str]:
        """Return the token counts that calls reported as 0 or more; with very many events, only those above 0."""
        if self.totals.events > _MOST_READ:
            return {name for name in rows.TOKENS if getattr(self.totals, name)}
        [sums] = self.source.all("reported_tokens", session=self.id)
        return {name for name, many in zip(rows.TOKENS, sums, strict=True) if many is not None}

    @property
    def is_running(self) -> bool:
        """Return whether a process is recording into the session."""
        return self.standing.state == "Running"

    @cached_property
    def is_cut_off(self) -> bool:
        """Return whether it may have begun before its first row, or continued after its last one.

        So it is if its first row is not here, if a process died or may have died in it, or if rows of it wait.
        """
        standing = self.standing
        if self.story.lacks_beginning or (self.waiting and not self.is_running):
            return True
        return standing.state == "Unknown" or session_state.died(standing, self.story)

    @cached_property
    def until_ns(self) -> int:
        """Return the end of its duration: the time of its last row, or now while it runs."""
        return analytics.until_ns(self.totals.last_ns, running=self.is_running)

    @cached_property
    def unfinished(self) -> list[Unfinished]:
        """Return the operations without an end, oldest first."""
        # Imported late, as a list of sessions does not need it.
        from localops.journal.stored import unfinished

        over = waiting_rows.ended(self.waiting)
        return [one for one in unfinished(self.source, self.id) if one.id not in over]

    @cached_property
    def pauses(self) -> list[Pause]:
        """Return the pauses between its runs; empty unless it was resumed."""
        return pauses.of(self.source, self.id, self.story)

    @cached_property
    def died(self) -> list[dict[str, Any]]:
        """Return the cards of its processes that died without recording their exit, as far as this machine can tell."""
        # A hub cannot check them, as they ran on other machines.
        if session_state.is_of_hub(self.folder):
            return []
        present = self.story.present().values()
        return [card for card in present if participants.is_alive(self.folder, card) is False]

    @property
    def open_now(self) -> list[Unfinished]:
        """Return the operations without an end that began after the last resume, oldest first."""
        return [one for one in self.unfinished if pauses.after(self.pauses, one.at_ns) is None]

    def ran_until(self, began_ns: int) -> int:
        """Return until when an operation without an end can have run: until the last row of its run."""
        pause = pauses.after(self.pauses, began_ns)
        return self.until_ns if pause is None else max(began_ns, pause.stopped_ns)

    @cached_property
    def lost_calls(self) -> list[Unfinished]:
        """Return its LLM calls that never ended; empty while it runs, as they still may end."""
        return [] if self.is_running else [one for one in self.unfinished if one.kind == "llm"]

    @property
    def open_calls(self) -> int:
        """Return the number of LLM calls that never ended, which make its cost a lower bound."""
        return len(self.lost_calls)

    @property
    def cost_at_least(self) -> bool:
        """Return whether its cost is a lower bound: a call has no price, or never ended, or rows may be lost."""
        is_incomplete = self.story.lacks_rows or waiting_rows.may_cost(self.waiting)
        return self.totals.unpriced > 0 or self.open_calls > 0 or is_incomplete

    @cached_property
    def _parts_and_names(self) -> tuple[dict[str, list[Part]], dict[str, str]]:
        return analytics.all_parts(self.source, self.id)

    @property
    def parts(self) -> dict[str, list[Part]]:
        """Return its totals by `model`, `tool`, `agent_id` and `agent` (names only), most events first."""
        return self._parts_and_names[0]

    @property
    def agents(self) -> list[Part]:
        """Return its totals by the names of agents, most events first."""
        _, names = self._parts_and_names
        return [part._replace(value=names[part.value]) for part in self.parts["agent_id"]]

    def report(self, *, percentiles: bool = False) -> Report:
        """Return all figures; with many events, `took` is None, unless `percentiles` is true."""
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
        """Return the models and the names of agents whose cost is a lower bound, apart from calls without a price.

        They have an LLM call that never ended; if rows of the session may be lost, it is each of them.
        """
        # The parts of the session include the agents of calls that never ended.
        _, names = self._parts_and_names
        if self.story.lacks_rows:
            parts = {"model": self.parts["model"], "agent": self.agents}
            return {name: frozenset(one.value for one in known) for name, known in parts.items()}
        return {
            "model": frozenset(call.model for call in self.lost_calls if call.model is not None),
            "agent": frozenset(names[call.agent.hex()] for call in self.lost_calls if call.agent is not None),
        }

    @cached_property
    def late(self) -> int:
        """Return the number of events that were recorded after its end."""
        end = self.story.last_end
        if end is None:
            return 0
        # A process that joined after the end continued the session: its events belong to the next run.
        starts = [one.at_ns for one in self.story.of_kind(*rows.STARTS) if not one.implied and one.at_ns > end.at_ns]
        before = min(starts, default=_NEVER)
        [(count,)] = self.source.all("late", session=self.id, after=end.seq, at_ns=end.at_ns, before=before)
        return int(count)
