"""The row of a call of a model, from its span."""

from __future__ import annotations

from localops.recording import usage
from localops.recording.events import REPLY, REQUEST, LLMEvent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.journal.rows import Row
    from localops.otel.span_reading import Reading
    from localops.otlp.spans import Span
    from localops.recording.writer import Head, Writer

_REQUEST = "prompt system_instructions tool_definitions stream thread_id".split()
_ANSWER = "completion tool_calls finish_reason response_id response_model time_to_first_token".split()
# The fields of the call in the order of `LLMEvent`, which go before all others; the rest of them are figures.
_ORDER = [(name, name in _REQUEST or name in _ANSWER) for name in (*REQUEST, *REPLY)]
_OF_CALL = frozenset((*_REQUEST, *_ANSWER))


def row(writer: Writer, span: Span, reading: Reading, head: Head, fields: dict[str, Any], tags: str | None) -> Row:
    """Return the row of a call; `fields` are those of its body."""
    measures = None
    if not reading.failed:
        measures = usage.of_figures(reading.figures, span.end, writer.text, writer.prices)
    if measures is None:
        return _of_event(writer, span, reading, head, fields, tags)
    figures = reading.figures
    body = {
        name: value for name, is_field in _ORDER if (value := (fields if is_field else figures).get(name)) is not None
    }
    body |= {name: value for name, value in fields.items() if name not in _OF_CALL}
    return writer.closing(head, span.end, body, tags=tags, measures=measures)


def _of_event(
    writer: Writer, span: Span, reading: Reading, head: Head, fields: dict[str, Any], tags: str | None
) -> Row:
    """Return the row of a call that an `LLMEvent` has to price: it failed, or has no price or one of its own."""
    call = LLMEvent(**{name: fields.pop(name, None) for name in _REQUEST}, **reading.figures)
    for name in _ANSWER:
        setattr(call, name, fields.pop(name, None))
    measures, about = writer.call_measures(call, span.end, unbilled=reading.failed and not _has_usage(reading))
    body = {**call.request(), **call.reply(), **fields, **about}
    return writer.closing(head, span.end, body, tags=tags, failed=reading.failed, measures=measures)


def _has_usage(reading: Reading) -> bool:
    return any(reading.figures.get(name) for name in ("prompt_tokens", "completion_tokens", "cost"))
