"""Explain why no session passes a filter by a score: no score has that name, that author or such a value."""

from __future__ import annotations

from localops.reading import analytics, filters, given_scores
from localops.recording import scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localops.reading.home import Project


def hint(projects: Iterable[Project], asked: Sequence[str], *, names_only: bool = False) -> str | None:
    """Return a sentence about the first of some filters that no score passes; None if each has one that does.

    `names_only`: compare only names, which needs no score to be read.
    """
    if not asked:
        return None
    projects = list(projects)
    unknown = filters.hint_of_score(asked, lambda: {name for each in projects for name in each.score_names()})
    if unknown is not None or names_only:
        return unknown
    given = [one for each in projects for one in given_scores.counted(each.reader, analytics.Chosen())]
    return next(filter(None, (given_scores.hint(given, scores.condition(text)) for text in asked)), None)
