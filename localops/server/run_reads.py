"""Reads that compare a run with another run or with rules, for the server."""

from __future__ import annotations

from abc import ABC, abstractmethod

from localops.reading import facts, given_scores
from localops.server import compare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from typing import Any

    from localops.reading.facts import Facts
    from localops.reading.home import Project
    from localops.reading.snapshot import Snapshot


class RunReads(ABC):
    """Reads of one session or two; a subclass finds them."""

    @abstractmethod
    def _project_and_snapshot(
        self, project: str | None, session: bytes
    ) -> AbstractContextManager[tuple[Project, Snapshot] | None]:
        """Yield the project that has a session, and the session's snapshot; None if no project has it."""

    def compare(self, project: str | None, a: bytes, b: bytes) -> Facts | None:
        """Compare two sessions."""
        heads, sides = [], []
        for session in (a, b):
            with self._project_and_snapshot(project, session) as holder:
                if holder is None:
                    return None
                where, snapshot = holder
                heads.append(facts.session(where.name, snapshot, snapshot.report()))
                sides.append(compare.Side(where.reader, session))
        return {"a": heads[0], "b": heads[1], **compare.aligned(*sides)}

    def diff(self, project: str | None, a: bytes, b: bytes, *, limit: int) -> Facts | None:
        """Return what the second of two sessions did differently; None if one does not exist."""
        with self._project_and_snapshot(project, a) as one, self._project_and_snapshot(project, b) as other:
            if one is None or other is None:
                return None
            from localops.reading.past_session import PastSession

            return PastSession(one[0], a).diff(PastSession(other[0], b), limit=limit)

    def check_run(
        self, project: str | None, session: bytes, baseline: bytes | None, rules: Mapping[str, Any]
    ) -> Facts | None:
        """Return whether a session keeps rules, beside another one if that is given; None if one does not exist."""
        with (
            self._project_and_snapshot(project, session) as one,
            self._project_and_snapshot(project, baseline or session) as base,
        ):
            if one is None or base is None:
                return None
            from localops.reading.past_session import PastSession

            beside = None if baseline is None else PastSession(base[0], baseline)
            return PastSession(one[0], session).check(beside, **rules)

    def scores(self, project: str | None, session: bytes) -> Facts | None:
        """Return the scores and notes of a session, those that no longer count too."""
        with self._project_and_snapshot(project, session) as holder:
            if holder is None:
                return None
            where, snapshot = holder
            about = {"session_id": facts.full_id(session), "project": where.name}
            return {**about, **given_scores.together(snapshot.scores)}
