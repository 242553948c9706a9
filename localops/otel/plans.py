"""Plans for reading spans, each for all spans with the same names and types of attributes (a shape).

A program sends the same few shapes of spans again and again.  `mapping.py` has the rules, and reads every span without
a plan; a plan gives the same reading in half the time.  Plans are made for calls of a model that did not fail, without
events, and with a field of its own for each attribute.
"""

from __future__ import annotations

from localops.otel import names
from localops.otel.span_values import number, one, parsed, reasons, single, tag_list, tidy, tool_calls
from localops.recording.usage import prompt_without_cache, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from localops.otel.span_reading import Reading

    Attributes = Mapping[str, Any]
    Fill = Callable[[Reading, Attributes], None]

# Shapes that are remembered, words for kinds of each, and the most attributes and characters of their names.
_MOST_SHAPES, _MOST_WORDS = 1_024, 32
_MOST_ATTRIBUTES, _MOST_CHARACTERS = 64, 4_096
# Fields of a call whose place in the body follows from more than one attribute.
_ELSEWHERE = frozenset("input output parameters metadata entity_name mcp_method".split())
_REQUEST = ("prompt", "system_instructions", "tool_definitions")
_OTHERS = "kind model response_model some_model provider stream completion finish_reason response_id".split()
_USED = frozenset((*_REQUEST, *names.TOKENS, *_OTHERS, "time_to_first_token", "cost", "tags"))
_NOT_IN_PARAMS = frozenset(("model", "model_name", "messages", "parameters"))


class Gathered:
    """Where the attributes of one span belong, by the rules of `mapping.py`."""

    __slots__ = ("counts_whole_prompts", "fields", "is_answered", "kind", "kinds", "parameters", "unread")

    def __init__(self) -> None:
        self.kind = ""
        self.kinds: list[str] = []
        self.fields: dict[str, str] = {}  # by field, the attribute that it is read from
        self.parameters: dict[str, str] = {}  # by parameter of a request
        self.unread: list[str] = []
        self.is_answered = False
        self.counts_whole_prompts = False  # cached tokens are not subtracted from its prompts


class _Shape:
    """A shape of spans: the places of its words for the kind, and by these words what fills a reading."""

    __slots__ = ("by_words", "words")

    def __init__(self, attributes: Attributes) -> None:
        fields = names.FIELDS
        self.words = tuple(n for n, name in enumerate(attributes) if name in fields and fields[name][0] == "kind")
        self.by_words: dict[object, Fill | None] = {}


_shapes: dict[tuple[object, ...], _Shape] = {}


def known(scope: str | None, attributes: Attributes, gather: Callable[[], Gathered | None]) -> Fill | None:
    """Return the function that fills a reading from such attributes; None if `mapping.py` has to read the span.

    `gather` returns where the attributes belong; None if no plan is possible for them.
    """
    key = (scope, *attributes, *map(type, attributes.values()))
    shape = _shapes.get(key)
    if shape is None:
        # A plan is made for the second span of a shape: most unusual shapes occur once.
        _remember(key, attributes)
        return None
    values = tuple(attributes.values())
    words = tuple([values[place] for place in shape.words])
    try:
        return shape.by_words[words]
    except KeyError:
        pass
    except TypeError:
        # A word that cannot be hashed, such as a list.
        return None
    if len(shape.by_words) >= _MOST_WORDS:
        return None
    gathered = gather()
    fill = shape.by_words[words] = None if gathered is None else _plan(gathered, attributes)
    return fill


def _remember(key: tuple[object, ...], attributes: Attributes) -> None:
    """Remember a shape, unless it would take much memory."""
    is_small = len(attributes) <= _MOST_ATTRIBUTES and all(type(name) is str for name in attributes)
    if is_small and sum(map(len, attributes)) <= _MOST_CHARACTERS:
        if len(_shapes) >= _MOST_SHAPES:
            _shapes.clear()
        _shapes[key] = _Shape(attributes)


def _plan(gathered: Gathered, attributes: Attributes) -> Fill | None:
    if gathered.kind == "llm" and _ELSEWHERE.isdisjoint(gathered.fields):
        return _Call(gathered, attributes).fill
    return None


def as_json(attributes: Attributes) -> dict[str, Any]:
    """Return attributes with values as in JSON."""
    return {name: list(value) if type(value) is tuple else value for name, value in attributes.items()}


class _Call:
    """The plan for a call of a model: for each field, the place of its attribute among the others.

    The rules are those of `mapping.py` for calls; tests compare the readings of both.
    """

    def __init__(self, gathered: Gathered, attributes: Attributes) -> None:
        # AgentOps sends the provider's count.
        self._is_whole_prompt = gathered.counts_whole_prompts
        kinds = [type(value) for value in attributes.values()]
        places = {name: place for place, name in enumerate(attributes)}
        of = {field: places[name] for field, name in gathered.fields.items()}
        # A field without an attribute has the place of a None that is added after the values.
        none = -1
        self._figures = tuple(of.get(field, none) for field in ("model", "response_model", "some_model", "provider"))
        self._request = [(field, of[field]) for field in _REQUEST if field in of]
        stream = of.get("stream", none)
        self._stream = stream if kinds[stream] is bool else none
        self._params = self._of_params(gathered, places, kinds, has_tools="tool_definitions" in of)
        self._answer = (
            tuple(of.get(field, none) for field in ("completion", "finish_reason", "response_id"))
            if gathered.is_answered
            else None
        )
        self._first_token = of.get("time_to_first_token", none)
        self._counts = [(field, of[field]) for field in names.TOKENS if field in of]
        self._cost = of.get("cost", none)
        self._tags = of.get("tags", none)
        words = sorted(set(gathered.kinds))
        self._operation = single(words) if gathered.kinds != ["llm"] and words not in ([], ["llm"]) else None
        rest = [field for field in of if field not in _USED and not field.startswith(("error.", "events."))]
        self._rest = [(field, of[field], field in names.IN_JSON) for field in rest]
        self._unread = [(name, places[name]) for name in gathered.unread]
        self._kinds = gathered.kinds

    def _of_params(
        self, gathered: Gathered, places: dict[str, int], kinds: list[type], *, has_tools: bool
    ) -> list[tuple[str, int]]:
        left_out = {*_NOT_IN_PARAMS, *(("tools",) if has_tools else ())}
        given = {parameter: places[name] for parameter, name in gathered.parameters.items()}
        if "stream" in given and kinds[given["stream"]] is bool:
            left_out.add("stream")
        return [
            (parameter, place)
            for parameter, place in given.items()
            if parameter not in left_out and kinds[place] is not type(None)
        ]

    def fill(self, reading: Reading, attributes: Attributes) -> None:
        """Fill a reading."""
        values = (*attributes.values(), None)
        fields: dict[str, Any] = {}
        model_at, response_at, some_at, provider_at = self._figures
        response_model = values[response_at] or values[some_at]
        model = values[model_at] or response_model
        provider = values[provider_at]
        if response_model != model:
            fields["response_model"] = response_model
        figures = {"model": model, "provider": provider.lower() if type(provider) is str else provider}
        for field, place in self._request:
            fields[field] = tidy(parsed(values[place]))
        fields["stream"] = values[self._stream]
        if self._params:
            fields["params"] = {parameter: values[place] for parameter, place in self._params}
        if self._answer is not None:
            self._fill_answer(fields, values, self._answer)
        if self._counts:
            figures |= self._counted(values, figures)
        if self._cost >= 0:
            figures["cost"] = number(values[self._cost])
        if self._tags >= 0:
            reading.tags = tag_list(values[self._tags])
        fields["operation"] = self._operation
        for field, place, is_json in self._rest:
            fields[field] = parsed(values[place]) if is_json else values[place]
        if self._unread:
            fields["attributes"] = as_json({name: values[place] for name, place in self._unread})
        reading.kind, reading.has_kind, reading.kinds = "llm", True, list(self._kinds)
        reading.figures = figures
        reading.fields = {
            field: value
            for field, value in fields.items()
            if value or (value is not None and value != [] and value != {})
        }

    def _fill_answer(self, fields: dict[str, Any], values: tuple[Any, ...], places: tuple[int, ...]) -> None:
        completion_at, reason_at, id_at = places
        completion = values[completion_at]
        if completion is not None:
            fields["completion"] = completion = tidy(parsed(completion))
            fields["tool_calls"] = tool_calls(completion)
        ended = values[reason_at]
        fields["finish_reason"] = one(ended if ended is not None else reasons(completion))
        fields["response_id"] = values[id_at]
        if self._first_token >= 0:
            fields["time_to_first_token"] = number(values[self._first_token])

    def _counted(self, values: tuple[Any, ...], figures: dict[str, Any]) -> dict[str, Any]:
        counts = {field: whole(values[place]) for field, place in self._counts}
        prompt = counts.pop("input_tokens", None)
        counted: dict[str, Any] = {}
        if prompt is not None:
            cached, written = counts.get("cached_tokens") or 0, counts.get("cache_write_tokens") or 0
            if (cached or written) and not self._is_whole_prompt:
                prompt = prompt_without_cache(prompt, cached, written, figures["provider"], figures["model"])
            counted["prompt_tokens"] = prompt
        counted.update({name: count for name, count in counts.items() if count or name in names.COLUMNS})
        return counted
