"""The facts about a session that programs read: its id, name, tags, state, figures and machine.

All except its state come from the journal, and so include what other processes recorded.
"""

from __future__ import annotations

import os
import uuid

from localops import clock
from localops.interruption import attempt
from localops.journal import rows
from localops.output import cost as in_dollars
from localops.output import say, say_once
from localops.recording import events
from localops.recording.context import here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.config import Config
    from localops.reading.analytics import Totals
    from localops.recording.recorder import Recorder

_COST, _UNPRICED = map(rows.TOTALS.index, ("cost", "unpriced"))  # their positions in the query `totals`


class SessionFacts:
    """The properties of a session that programs read; `Session` adds recording and ending."""

    def __init__(self, recorder: Recorder, config: Config) -> None:
        self._id = recorder.session
        self._journal = recorder.journal
        self.recorder = recorder
        self.config = config
        self.began_ns = clock.now_ns()
        self._ended: tuple[str, str | None, int] | None = None  # state, reason and time of its end in this process

    @property
    def session_id(self) -> uuid.UUID:
        """Return its id; pass it to other processes as `inherited_session_id`."""
        return uuid.UUID(bytes=self._id)

    @property
    def project_id(self) -> str:
        """Return the project it is recorded in: the configured one, or the one that belongs to the API key."""
        return os.path.basename(self._journal.folder)

    @property
    def name(self) -> str | None:
        """Return its name: the given one, else that of its `@session` function, else that of the script."""
        if self.recorder.name is None:
            # It was begun by another process; the journal has its name.
            self.recorder.name = self.recorder.story().name
        return self.recorder.name

    @property
    def tags(self) -> list[str]:
        """Return its current tags, set by any process."""
        return [tag for (tag,) in self.recorder.ask("session_tags", session=self._id)]

    @property
    def init_timestamp(self) -> str:
        """Return when it began, or when this process joined it, as ISO 8601 in UTC."""
        return events.iso(self.began_ns)

    @property
    def end_timestamp(self) -> str | None:
        """Return when this process ended it; None while it runs."""
        return events.iso(self._ended[2]) if self._ended else None

    @property
    def end_state(self) -> str:
        """Return the state in which this process ended it; `Indeterminate` before that."""
        return self._ended[0] if self._ended else "Indeterminate"

    @property
    def end_state_reason(self) -> str | None:
        """Return the reason for its end state, if one was given."""
        return self._ended[1] if self._ended else None

    @property
    def is_running(self) -> bool:
        """Return whether it is open in this process."""
        return self._ended is None

    def owned(self) -> bool:
        """Return whether this process owns it: it then ends with the process."""
        return self.recorder.is_owner()

    def books_since(self, seq: int) -> tuple[int, bool]:
        """Return the newest row of its journal, and whether a process joined, left or ended after row `seq`."""
        newest, books = self.recorder.ask("books_since", seq=seq)[0] or (None, 0)
        return newest or seq, bool(books)

    @property
    def host_env(self) -> dict[str, Any]:
        """Return the machine and the Python it runs on, as far as `env_data_opt_out` allows."""
        host: dict[str, Any] = {}
        for row in self.recorder.story().of_kind("session", "host"):
            host.update(row.body.get("host_env", {}))
        return host

    @property
    def token_cost(self) -> str:
        """Return its cost so far in US dollars, in the form that `end_session` returns."""
        return self._total_cost() or "0.00"

    @property
    def event_counts(self) -> dict[str, int]:
        """Return the number of events of each of AgentOps' kinds, of all processes: llms, tools, actions, …"""
        figures = self.figures()
        counts = {"llms": figures.llms, "tools": figures.tools, "actions": figures.actions, "errors": figures.errors}
        others = figures.events > sum(counts.values())
        return {**counts, "apis": sum(event["kind"] == "api" for event in self.events) if others else 0}

    @property
    def session_url(self) -> None:
        """None: there is no page of AgentOps about it; `localops show` shows it."""

    @property
    def events(self) -> Iterator[dict[str, Any]]:
        """Return its events from the journal, oldest first, including those of other processes."""
        from localops.reading import analytics

        return analytics.events(self._journal, self._id)

    @property
    def scores(self) -> list[dict[str, Any]]:
        """Return the scores that count, including those of its events, from the journal; the newest is last."""
        from localops.reading import given_scores

        answers = self.recorder.ask("scores", session=self._id)
        return [given_scores.facts(one) for one in given_scores.named(answers) if one.counts]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Return its steps that run once, from the journal, and what each would do in a resumed run."""
        from localops.reading import recorded_steps
        from localops.reading.snapshot import Snapshot

        snapshot = Snapshot(self._journal, self._journal.folder, self._id)
        facts = recorded_steps.facts(snapshot, limit=1 << 62, redacts=self.recorder.writer.encoder.redacts)
        steps: list[dict[str, Any]] = facts["steps"]
        return steps

    def env(self) -> dict[str, str]:
        """Return the environment for a subprocess, so that its `localops.init()` joins this session."""
        place = here()
        given = {
            "LOCALOPS_SESSION_ID": str(self.session_id),
            "LOCALOPS_HOME": os.path.dirname(self._journal.folder),
            "LOCALOPS_PROJECT": self.project_id,
        }
        if place[0] is self and place[1] is not None:
            given["LOCALOPS_PARENT"] = place[1].hex()
        return {**os.environ, **given}

    def __repr__(self) -> str:
        state = f"ended as {self.end_state}" if self._ended else "running"
        return f"<Session {self.name or 'unnamed'!r} {str(self.session_id)[:13]}, {state} in {self.project_id}>"

    def _repr_html_(self) -> str | None:
        from localops.reading import session_html

        return session_html.shown(self._journal.path, self._id)

    def get_analytics(self) -> dict[str, int | str]:
        """Return its figures so far, of all processes: LLM calls, Tool calls, Actions, Errors, Duration, Cost.

        Cost does not include LLM calls without a known price; if there are any, `Unpriced` is their number.

        Rows that wait in a spill file are not counted: a warning says how many there are. If the journal cannot be
        read, all figures are 0, with a warning; a strict session raises JournalError.
        """
        from localops.reading import analytics

        if spilled := self._journal.losses.spilled(self._id):
            rows_wait = "1 row of the session waits" if spilled == 1 else f"{spilled} rows of the session wait"
            say_once("figures", f"{rows_wait} in a spill file: figures do not count what waits")
        figures = self.figures()
        self._warn_unpriced(figures.unpriced)
        return analytics.contract(figures, running=self._ended is None)

    def figures(self) -> Totals:
        """Return its totals, of all processes."""
        from localops.reading import analytics

        answers = self.recorder.ask("totals", session=self._id)
        return analytics.Totals(*answers[0]) if answers else analytics.NOTHING

    def _total_cost(self) -> str | None:
        """Return the cost in US dollars, None if the journal cannot be read; warn once if it is incomplete."""
        totals = self.recorder.ask("totals", session=self._id)
        if not totals:
            return None
        # Read by position, because importing `analytics`, which names the columns, takes two milliseconds.
        (figures,) = totals
        cost, unpriced = figures[_COST], figures[_UNPRICED]
        self._warn_unpriced(unpriced)
        return in_dollars(cost)

    def _warn_unpriced(self, unpriced: int) -> None:
        """Warn once that the cost is incomplete."""
        if not unpriced or not self.recorder.is_first("cost"):
            return
        reasons = [
            reason.format(", ".join(list(models)[:5])) for reason, models in list(self.recorder.writer.unpriced.items())
        ]
        # Finding the reason loads prices and reads the journal: if that fails, the session must still end.
        why = "; ".join(reasons) or attempt(self._why_unpriced_elsewhere, "the reason cannot be looked up")
        calls = "1 LLM call has" if unpriced == 1 else f"{unpriced} LLM calls have"
        say(f"the cost of session {str(self.session_id)[:13]} is incomplete: {calls} no price ({why})")

    def _why_unpriced_elsewhere(self) -> str:
        """Return why calls that other processes recorded have no price, as far as their models show it."""
        from localops.reading import analytics

        models = [part.value for part in analytics.parts(self._journal, self._id, "model") if part.unpriced]
        prices, at = self.recorder.writer.prices(), clock.now_ns()
        known = [model for model in models if prices.find(model, at_ns=at)]
        unknown = [model for model in models if model not in known]
        reasons = [f"no price is known for {', '.join(unknown[:5])}: `localops prices set` adds one"] if unknown else []
        reasons += [f"token counts or a known provider are missing for {', '.join(known[:5])}"] if known else []
        return "; ".join(reasons) or "calls without a model"
