"""Send a score as a span of its own, as a span that was sent cannot be changed.

For the semantic conventions, it has the event `gen_ai.evaluation.result`, and is below the judged span; for
OpenInference, it is an evaluation: a span of kind EVALUATOR that is linked to the judged span.
"""

from __future__ import annotations

from collections import namedtuple

from localops.otel.messages import text
from localops.reading.given_scores import kind_of_author

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

    Attributes = dict[str, str | bool | int | float | list[str]]

    class Result(NamedTuple):
        """A score in the terms of both conventions."""

        name: str
        score: float | int | None
        label: str | None
        explanation: str | None
        author: str
        version: str | None
else:
    Result = namedtuple("Result", "name score label explanation author version")

EVENT = "gen_ai.evaluation.result"
_TAKEN_BACK = "no score"  # the explanation of a withdrawn score, as a result must have a value or an explanation
_NOTE = "note"  # the name of a note, as a result must have one
START = "evaluations.0.evaluation."


def result(name: str | None, body: dict[str, Any]) -> Result | None:
    """Return the score of a row; None for a note whose text is not sent.

    A withdrawal is sent, too, so that a reader that keeps the newest result of an author then has none.
    """
    value, comment = body.get("value"), body.get("comment")
    if value is None and comment is None:
        if name is None:
            return None
        comment = _TAKEN_BACK
    score = float(value) if isinstance(value, bool) else value if isinstance(value, int | float) else None
    label = str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else None
    explanation = text(comment) if comment is not None else None
    return Result(name or _NOTE, score, label, explanation, text(body.get("by") or ""), body.get("version"))


def genai(one: Result) -> Attributes:
    """Return the attributes of the semantic conventions."""
    return _present(
        {
            "gen_ai.evaluation.name": one.name,
            "gen_ai.evaluation.score.value": None if one.score is None else float(one.score),
            "gen_ai.evaluation.score.label": one.label,
            "gen_ai.evaluation.explanation": one.explanation,
        }
    )


def openinference(one: Result) -> Attributes:
    """Return the attributes of OpenInference."""
    metadata = _present({"author": one.author or None, "version": one.version})
    return _present(
        {
            f"{START}name": one.name,
            f"{START}score": one.score,
            f"{START}label": one.label,
            f"{START}explanation": one.explanation,
            f"{START}annotator_kind": kind_of_author(one.author),
            f"{START}identifier": one.author or None,
            f"{START}metadata": text(metadata) if metadata else None,
        }
    )


def _present(attributes: dict[str, Any]) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}
