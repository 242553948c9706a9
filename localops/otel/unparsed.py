"""Recover the answer of a model that its client could not parse.

With `response_format=`, openai parses an answer before it returns it.  If that fails, the instrumentor sees only the
exception, although the answer arrived and was billed.  The function that raised the exception still has the answer.
"""

from __future__ import annotations

from localops.recording import responses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Reading(Protocol):
        """The result of `mapping.read`."""

        fields: dict[str, Any]
        figures: dict[str, Any]


# The functions of openai that parse an answer, and the name of the answer's variable in each.
_PARSERS = {"parse_chat_completion": "chat_completion", "parse_response": "response"}
_PACKAGE = "openai.lib."
_FIGURES = "prompt_tokens completion_tokens cached_tokens reasoning_tokens".split()
_FIELDS = "completion tool_calls finish_reason response_id".split()


def fill(reading: Reading, error: BaseException, *, capture: bool) -> None:
    """Add the contents of an answer that could not be parsed, if that was the reason for the exception."""
    answer = _answer(error)
    reply = responses.read(answer) if answer is not None else None
    if reply is None:
        return
    figures = {name: value for name in _FIGURES if (value := getattr(reply, name)) is not None}
    reading.figures.update(figures)
    for name in _FIELDS if capture else _FIELDS[2:]:
        if (value := getattr(reply, name)) is not None:
            reading.fields.setdefault(name, value)


def _answer(error: BaseException) -> object:
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        name = _PARSERS.get(frame.f_code.co_name)
        if name is not None and str(frame.f_globals.get("__name__", "")).startswith(_PACKAGE):
            return frame.f_locals.get(name)
        trace = trace.tb_next
    return None
