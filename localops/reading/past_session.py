"""A recorded session for programs: from `localops.runs`, or in functions of `localops score --with`.

Each property is read when it is used, and has the form and figures that the command of that name prints as JSON.
"""

from __future__ import annotations

import os
import uuid
from functools import cached_property

from localops import config
from localops.clock import iso
from localops.errors import ConfigError
from localops.journal import rows
from localops.output import is_unpriced
from localops.reading import (
    analytics,
    facts,
    given_scores,
    post_mortem,
    post_mortem_page,
    recorded_steps,
    run_diff,
    run_gate,
    waste,
    waste_page,
)
from localops.reading.steps import Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from localops.reading.facts import Facts
    from localops.reading.home import Project
    from localops.reading.run_gate import Measured

    Limit = str | float | None

_ALL = 1 << 62


class PastSession:
    """One session: its state, its figures, and its events as `localops show --json` names them."""

    def __init__(self, project: Project, id: bytes) -> None:
        self.place = project
        self._snapshot = project.snapshot(id)

    @property
    def project(self) -> str:
        """Return the name of its project."""
        return self.place.name

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
        """Return why it ended so, if that is known."""
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
        """Return its cost in US dollars, as far as prices are known; None if no finished call has a price.

        See `cost_at_least`.
        """
        totals = self._snapshot.totals
        if is_unpriced(totals.cost, totals.unpriced, totals.llms):
            return None
        return totals.cost / 1e9

    @property
    def cost_at_least(self) -> bool:
        """Return whether its cost is a lower bound: a call has no price or never ended, or rows may be lost."""
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
        """Return the scores that count so far, including those of its events."""
        return [given_scores.facts(one) for one in self._snapshot.scores if one.counts]

    @property
    def notes(self) -> list[dict[str, Any]]:
        """Return its notes, including those about its events."""
        return [given_scores.note_facts(one) for one in self._snapshot.scores if one.is_note]

    @property
    def figures(self) -> Facts:
        """Return all its figures, with the names of `localops analytics ID --json`."""
        return facts.session(self.project, self._snapshot, self._snapshot.report())

    @property
    def steps(self) -> list[Facts]:
        """Return its steps that run once, and what a resumed run would do with each, as `localops steps --json`."""
        steps: list[Facts] = recorded_steps.facts(self._snapshot, limit=_ALL)["steps"]
        return steps

    def why(self) -> Facts:
        """Return its post-mortem: how it ended, what was in progress, its first error, as `localops why --json`."""
        return post_mortem_page.document(self._post_mortem())

    def why_markdown(self) -> str:
        """Return its post-mortem as Markdown for a ticket, as `localops why --format md`."""
        return "\n".join(post_mortem_page.markdown(self._post_mortem()))

    def _post_mortem(self) -> Facts:
        polling = config.polling(self.place.home)
        return post_mortem.of(self.project, self._snapshot, self.place.reader, polling=polling)

    def loops(self, *, polling: Collection[str] = ()) -> Facts:
        """Return its loops and failing tools, and what they wasted, like a session in `localops lint --json`.

        `polling` names tools whose repeated calls are intended, in addition to those of the settings.
        """
        waits = {*polling, *config.polling(self.place.home)}
        return waste_page.document(waste.of(self.project, self._snapshot, self.place.reader, polling=waits, shown=None))

    def diff(self, other: PastSession, *, limit: int = 100) -> Facts:
        """Return what another, later run did differently, as `localops diff --json`; with limit=0, all differences.

        Raise ConfigError if `other` is this run.
        """
        mine, theirs = self._snapshot, other._snapshot
        run_diff.refuse_twice([(self.project, mine.id), (other.project, theirs.id)])
        compared = run_diff.RunDiff(self._calls(), other._calls())
        return {
            "a": run_diff.run_facts(self.project, mine),
            "b": run_diff.run_facts(other.project, theirs),
            **run_diff.diff_facts(compared, mine.source, theirs.source, limit),
        }

    def _calls(self) -> Steps:
        return Steps.read(self.place.reader, self._snapshot.id)

    def check(
        self,
        baseline: str | os.PathLike[str] | PastSession | None = None,
        *,
        max_cost: Limit = None,
        max_duration: Limit = None,
        max_tokens: Limit = None,
        max_calls: Limit = None,
        max_errors: Limit = None,
        same_tools: bool = False,
        same_arguments: bool = False,
        allow_unpriced: bool = False,
    ) -> Facts:
        """Return whether it complies with these rules, as `localops check --json`: `passed`, and each of the `rules`.

        A limit is a figure (US dollars, seconds, numbers) or relative to the baseline, which is a file or a session:
        `"+10%"`, `"+0.01"`. Raise ConfigError for a limit or a file that cannot be used, and for the session itself
        as its baseline.
        """
        given = {"max_cost": max_cost, "max_duration": max_duration, "max_tokens": max_tokens}
        limits = run_gate.limits(**given, max_calls=max_calls, max_errors=max_errors)
        if baseline is None or isinstance(baseline, PastSession):
            base = None if baseline is None else baseline.measured()
        else:
            base = run_gate.read_baseline(os.fspath(baseline))
        run = self.measured()
        if base is not None and isinstance(baseline, PastSession):
            run_gate.refuse_itself(run, base)
        verdicts = run_gate.check(
            run, base, limits, same_tools=same_tools, same_arguments=same_arguments, allow_unpriced=allow_unpriced
        )
        return run_gate.run_facts(self.project, run, verdicts)

    def save_baseline(self, path: str | os.PathLike[str]) -> None:
        """Write it as a baseline for `check`; raise ConfigError if its figures are incomplete."""
        run = self.measured()
        if run.incomplete is not None:
            raise ConfigError(f"session {run.session_id} cannot be a baseline: {run.incomplete}")
        run_gate.write_baseline(os.fspath(path), run)

    def measured(self) -> Measured:
        """Return the measurements that rules apply to."""
        return run_gate.measure(self._snapshot, self._calls(), waiting=self.place.waiting)

    def __repr__(self) -> str:
        return f"<PastSession {self.name or 'unnamed'!r} {str(self.id)[:13]}, {self.state} in {self.project}>"

    def scored_by(self, author: str) -> list[tuple[str, str | None]]:
        """Return the names of an author's scores that count, each with the id of its event, if it has one."""
        own = (one for one in self._snapshot.scores if one.author == author and one.counts)
        return [(one.name, rows.id_text(one.target) if one.target else None) for one in own]
