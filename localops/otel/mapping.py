"""Translate a span of OpenTelemetry into the words of localops: its kind, request, answer, tokens and error.

Pure and total: plain values in, a `Reading` out, whatever the attributes hold; nothing of OpenTelemetry is imported.
The tables in `names` have the attributes of each convention; an attribute in none of them is kept unchanged, under
`attributes`.
"""

from __future__ import annotations

from localops.encoding import encode
from localops.interruption import attempt
from localops.otel import exact, names, plans
from localops.otel.numbered import in_order, wording
from localops.otel.plans import Gathered
from localops.otel.span_reading import Error as Error
from localops.otel.span_reading import Reading as Reading
from localops.otel.span_values import (
    ECHOED,
    REQUEST,
    answer_of,
    first,
    is_request,
    is_response,
    langchain_reply,
    number,
    one,
    parsed,
    reasons,
    single,
    tag_list,
    text_of,
    tidy,
    tool_calls,
)
from localops.recording.events import describe
from localops.recording.usage import prompt_without_cache, whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    Attributes = Mapping[str, Any]
    Message = dict[str, Any]

_DEEPEST = 40  # dots in the name of a numbered attribute
_MCP_CALL = "tools/call"  # a span of MCP's own client names the tool only after this, in its name


def read(
    name: object,
    attributes: Attributes | None,
    *,
    scope: str | None = None,
    events: Iterable[tuple[str, int | None, Attributes | None]] = (),
    status: str | None = None,
    message: str | None = None,
    start_ns: int | None = None,
    links: Sequence[Mapping[str, Any]] = (),
    before: Reading | None = None,
) -> Reading:
    """Return the content of a span.

    before: its content when it started; then these are the attributes that were set since, and those that repeat the
    request in another form are left out.
    events: name, time in nanoseconds and attributes of each. status: "ERROR", "OK" or "UNSET"; message: beside it.
    scope: the name of the library that made it. start_ns: when it began. links: other spans that it belongs to.
    """
    reading = Reading(name if type(name) is str else describe(name))
    attributes = attributes if attributes is not None else {}
    reading.status, reading.failed = status, status == "ERROR"
    is_quiet = not events and not reading.failed
    if is_quiet and _is_plain(attributes):
        if before is None:
            reading.kind = _kind_of_name(reading.name, scope or "")
        else:
            _copy_start(reading, before)
        if attributes:
            reading.fields["attributes"] = plans.as_json(attributes)
    else:
        plan = None
        if is_quiet and before is None and not _is_no_call(reading.name, scope or ""):
            plan = plans.known(scope, attributes, lambda: _gathered(reading.name, scope or "", attributes))
        if plan is not None:
            attempt(lambda: plan(reading, attributes), None)
        else:
            attempt(lambda: _Reader(scope or "", before).read(reading, attributes, events, message, start_ns), None)
    if links:
        reading.fields["links"] = list(links)
    return reading


def _copy_start(reading: Reading, before: Reading) -> None:
    """Copy kind, figures and name from the reading at the start of the span."""
    reading.kind, reading.has_kind, reading.kinds = before.kind, before.has_kind, before.kinds
    reading.figures = before.figures
    if reading.span_name == before.span_name:
        reading.name = before.name


def _is_plain(attributes: Attributes) -> bool:
    """Return whether none of these attributes is in a table, as in most spans."""
    if not names.NAMES.isdisjoint(attributes):
        return False
    places = _places
    for name in attributes:
        if type(name) is not str:
            return False
        # A loop, as a generator takes longer for the few names that most spans have.
        if (places.get(name) or _place_of(name))[0] != _UNREAD:
            return False
    return True


class _Reader:
    """Gathers the fields of one span from its attributes and events, then fills a reading with them."""

    def __init__(self, scope: str, before: Reading | None) -> None:
        self.scope = scope
        self.before = before
        self.at_start = before.fields if before is not None else {}  # the fields that it had when it started
        self.values: dict[str, Any] = {}  # by field; each step of `fill` takes what it uses
        self.rank: dict[str, int] = {}  # the place in the tables of the attribute that set a field
        self.set_by: dict[str, str] = {}  # the name of that attribute
        self.numbered: dict[str, dict[str, Any]] = {}  # by field, and by the beginning of the name: {"0.role": "user"}
        self.parameters: dict[str, Any] = {}  # of a request, one attribute each
        self.facts: dict[str, Any] = {}  # metadata, one attribute each
        self.unread: dict[str, Any] = {}  # attributes that are in no table, unchanged
        self.our_fields: dict[str, Any] = {}  # fields of a body that localops has sent
        self.our_envelope: dict[str, Any] = {}  # what else localops sends with a span: id, parent, the exact row
        self.kinds: list[str] = list(before.kinds) if before is not None else []
        self.broke_off = False  # the answer is incomplete

    def read(
        self,
        reading: Reading,
        attributes: Attributes,
        events: Iterable[tuple[str, int | None, Attributes | None]],
        message: str | None,
        start_ns: int | None,
    ) -> None:
        self.gather(attributes)
        if events:
            self.take_events(reading, events, start_ns)
        self.fill(reading)
        if reading.failed:
            self.explain(reading, message)
        if self.our_envelope:
            reading.ours = self.our_envelope
            reading.row = attempt(lambda: self.row(reading), None)

    # Gathering

    def gather(self, attributes: Attributes) -> None:
        """Take the values of attributes into the fields."""
        fields, values, rank, set_by = names.FIELDS, self.values, self.rank, self.set_by
        for name, value in attributes.items():
            known = fields.get(name)
            if known is None:
                if name not in names.REPEATED:
                    self.take_other(name, value)
                continue
            field = known[0]
            # Nearly all of them: calling `take` for each would take longer than all the rest.
            if field not in values and value is not None and field not in _NEED_A_LOOK:
                values[field], rank[field], set_by[field] = value, known[1], name
            else:
                self.take(name, field, value, known[1])

    def row(self, reading: Reading) -> dict[str, Any]:
        """Return the row that localops has sent as this span."""
        row = exact.as_read(reading)
        change = self.our_envelope.get("exact")
        if type(change) is not str:
            return row
        return attempt(lambda: exact.applied(row, change), row)

    def take(self, name: str, field: str, value: Any, rank: int) -> None:
        """Take the value of an attribute for a field; of two that differ, the later in the tables stays unread."""
        if value is None:
            return
        if field.startswith(names.OURS):
            self.our_envelope[field.removeprefix(names.OURS)] = value
            return
        if field == "kind":
            self.kinds.append(value.lower() if type(value) is str else describe(value).lower())
        if field not in self.values:
            self.values[field], self.rank[field], self.set_by[field] = value, rank, name
            return
        before = self.values[field]
        if rank < self.rank[field]:
            name, self.set_by[field] = self.set_by[field], name
            self.values[field], self.rank[field] = value, rank
            before, value = value, before
        if before != value and field != "kind":
            self.unread[name] = value

    def take_other(self, name: str, value: Any) -> None:
        """Take an attribute whose whole name is in no table."""
        into, start, rest = _place_of(name) if type(name) is str else (_UNREAD, "", describe(name))
        if into == _UNREAD:
            self.unread[rest] = value
        elif into == _OURS:
            self.take_our_field(rest, value)
        elif into == _PARAMETERS:
            self.parameters.setdefault(rest, value)
        elif into == _FACTS:
            self.facts.setdefault(rest, value)
        elif into not in self.at_start:
            if start:
                self.numbered.setdefault(into, {}).setdefault(start, {})[rest] = value
            else:
                self.unread[rest] = value

    def take_our_field(self, field: str, value: Any) -> None:
        """Take a field that localops sent; numbers are sent as texts."""
        if field in names.TOKENS or field in ("time_to_first_token", "stream"):
            value = attempt(lambda: encode.loads(value), value)
        if field in names.TOKENS:
            self.values[field] = value
        else:
            self.our_fields[field] = parsed(value)

    def take_events(
        self, reading: Reading, events: Iterable[tuple[str, int | None, Attributes | None]], start_ns: int | None
    ) -> None:
        """Take the events of the span: exceptions, contents, the first part of an answer."""
        kept: list[dict[str, Any]] = []
        exceptions: list[dict[str, Any]] = []
        chunks = 0
        for name, at, given in events:
            about = dict(given or {})
            if name == "exception" or name.endswith(".exception"):
                kept.append({"name": name, **({"at": at} if at is not None else {}), **about})
                exceptions.append(kept[-1])
                continue
            if name in names.FIRST_TOKEN:
                chunks += 1
                if chunks == 1 and at is not None and start_ns is not None:
                    self.values.setdefault("time_to_first_token", max(0, at - start_ns) / 1e9)
                is_read = True
            else:
                is_read = self.take_content(name, about)
            if about or not is_read:
                kept.append({"name": name, **({"at": at} if at is not None else {}), **about})
        if reading.failed and exceptions:  # the last one is the reason: earlier ones were handled inside it
            reading.errors.append(_error_of(exceptions[-1]))
            kept = [event for event in kept if event is not exceptions[-1]]
        if kept:
            reading.fields["events"] = kept
        if chunks > 1:
            reading.fields["chunks"] = chunks

    def take_content(self, name: str, about: dict[str, Any]) -> bool:
        """Take the messages of a request or an answer out of an event; return whether it has any."""
        if name in names.CONTENT:
            for attribute, field in names.CONTENT[name].items():
                if attribute in about:
                    self.take(attribute, field, about.pop(attribute), names.FIELDS[attribute][1] + names.LAST)
            return True
        if name in names.MESSAGES:
            field, role = names.MESSAGES[name]
            messages = self.values.setdefault(f"events.{field}", [])
            messages.append(_message_of_event(about, role))
            about.clear()
            return True
        return False

    # Filling.  The order matters: each step takes out the values that it uses, and `fill_rest` keeps all others.

    def fill(self, reading: Reading) -> None:
        """Fill a reading with the gathered values."""
        if self.values.get("mcp_method") == _MCP_CALL and (name := reading.name.partition(f"{_MCP_CALL} ")[2]):
            self.values.setdefault("tool_name", name)
        reading.kind, reading.has_kind = self.kind(reading.name)
        reading.kinds = self.kinds
        values = self.values
        for field in names.IN_JSON & values.keys():
            values[field] = parsed(values[field])
        if reading.kind == "llm":
            self.fill_call(reading)
        else:
            self.fill_work(reading)
        self.fill_rest(reading)

    def kind(self, name: str) -> tuple[str, bool]:
        """Return the kind, and whether it is from an attribute."""
        own = self.our_envelope.get("kind")
        if type(own) is str and own:
            return own[:64], True
        if _is_no_call(name, self.scope):
            return "operation", True
        if len(self.kinds) == 1 and (only := names.KINDS.get(self.kinds[0])) is not None:  # nearly always
            return only, True
        known = [names.KINDS[word] for word in self.kinds if word in names.KINDS]
        if known:
            # Several conventions on one span: if one says `agent` and another `chat`, it is an agent.
            return next((kind for kind in known if kind not in ("operation", "task")), known[0]), True
        if self.kinds:
            return self.kinds[0][:64], True
        if self.before is not None and self.before.has_kind:
            return self.before.kind, True
        if not _OF_CALLS.isdisjoint(self.values) and (
            "model" in self.values or "provider" in self.values or "some_model" in self.values
        ):
            return "llm", True
        if "tool_name" in self.values or "call_id" in self.values:
            return "tool", True
        if "parameters" in self.values and "prompt" in self.numbered:  # groq's instrumentor gives the kind at the end
            return "llm", False
        return _kind_of_name(name, self.scope), False

    def pop(self, field: str) -> Any:
        """Take a field out, or None."""
        return self.values.pop(field, None)

    def listed(self, field: str) -> list[Any] | None:
        """Return the value of a field from numbered attributes, or None; most clients also send it as one text."""
        starts = self.numbered.get(field)
        if starts is None:
            return None
        return [item for start, parts in starts.items() for item in in_order(parts, wording(start))]

    def fill_call(self, reading: Reading) -> None:
        """Fill the fields of a call of a language model."""
        fields, values, at_start = reading.fields, self.values, self.at_start
        if self.our_envelope:  # in our own spans, input and output are params and returns
            self.our_fields.update({to: values.pop(of) for of, to in _OWN_PLACES if of in values})
        request, asked = self.take_request()
        is_answered = "completion" in self.numbered or not _OF_AN_ANSWER.isdisjoint(values)  # not at its start
        response, answered = self.take_response() if is_answered else (None, _NOTHING)
        self.fill_model(reading, asked, answered)
        for field, of_events in _OF_A_REQUEST:
            value, of_event = values.pop(field, None), values.pop(of_events, None)
            if asked:
                value = first(asked.get(field), value)
            if field in at_start:  # it was recorded when the call began
                continue
            if value is None:
                value = of_event if of_event is not None or not self.numbered else self.listed(field)
            if value is not None:
                fields[field] = tidy(value)
        stream = first(values.pop("stream", None), asked.get("stream"))
        fields["stream"] = stream if type(stream) is bool else None
        if request or self.parameters or "parameters" in values:
            fields["params"] = self.params(
                request, has_tools="tool_definitions" in fields or "tool_definitions" in at_start
            )
        if is_answered:
            fields["response"] = response
            self.fill_answer(reading, answered)

    def fill_answer(self, reading: Reading, answered: dict[str, Any]) -> None:
        """Fill the fields that are known when the call has ended; `answered` is from a whole response."""
        fields, values = reading.fields, self.values
        completion = first(
            answered.get("completion"), values.pop("completion", None), values.pop("events.completion", None)
        )
        if completion is None and self.numbered:
            completion = self.listed("completion")
        if completion is not None:
            fields["completion"] = completion = tidy(completion)
            fields["tool_calls"] = tool_calls(completion)
        ended = first(values.pop("finish_reason", None), answered.get("finish_reason"))
        fields["finish_reason"] = one(ended if ended is not None else reasons(completion))
        fields["response_id"] = first(values.pop("response_id", None), answered.get("id"))
        if "time_to_first_token" in values:
            fields["time_to_first_token"] = number(values.pop("time_to_first_token"))
        self.count(reading.figures)

    def fill_model(self, reading: Reading, asked: dict[str, Any], answered: dict[str, Any]) -> None:
        """Fill the models of the request and of the answer, and the provider."""
        figures = reading.figures
        if self.before is not None:
            figures.update(self.before.figures)
        values = self.values
        parameters = values.get("parameters")
        in_parameters = parameters.get("model") if type(parameters) is dict else None
        some = values.pop("some_model", None)
        response_model = values.pop("response_model", None) or answered.get("model") or some
        model = (
            values.pop("model", None) or asked.get("model") or figures.get("model") or in_parameters or response_model
        )
        figures["model"] = model
        if response_model != model:
            reading.fields["response_model"] = response_model
        provider = first(values.pop("provider", None), figures.get("provider"))
        figures["provider"] = provider.lower() if type(provider) is str else provider  # older clients write OpenAI

    def params(self, request: dict[str, Any], *, has_tools: bool) -> dict[str, Any]:
        """Return the parameters of a request that have no field of their own."""
        parameters = self.pop("parameters")
        named = parameters if type(parameters) is dict else {"parameters": parameters}
        params = {**self.parameters, **named, **request}
        self.parameters = {}
        left_out = {"model", "model_name", "messages", *(("tools",) if has_tools else ())}
        if type(params.get("stream")) is bool:
            left_out.add("stream")
        return {name: value for name, value in params.items() if value is not None and name not in left_out}

    def take_request(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Take the request out of `input.value`: return the values that have no field, and those that have one."""
        given = self.values.get("input")
        if type(given) is not dict or not is_request(given):
            if "prompt" in self.at_start or "prompt" in self.values or "prompt" in self.numbered:
                self.pop("input")  # it has the same in another form
            elif given is not None:
                self.values["prompt"] = self.pop("input")
            return {}, {}
        self.pop("input")
        rest = dict(given)
        asked = {}
        for field, keys in REQUEST.items():
            for name in keys:
                if rest.get(name) is not None:
                    asked[field] = rest.pop(name)
                    break
        if "stream" in rest:
            asked["stream"] = rest["stream"]
        return rest, asked

    def take_response(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Take the response out of `output.value`: return the values that have no field, and those that have one."""
        given = self.pop("output")
        is_langchain = type(given) is dict and type(given.get("generations")) is list
        if is_langchain and "completion" in self.numbered:
            return langchain_reply(given)
        if type(given) is not dict or not is_response(given):
            if given is not None and "completion" not in self.values and "completion" not in self.numbered:
                self.values["completion"] = given
            return {}, {}
        # Anthropic counts the tokens of an answer at its end, so an incomplete one does not have their number.
        self.broke_off = given.get("type") == "message" and given.get("stop_reason", "") is None
        rest = dict(given)
        answer: dict[str, Any] = {"id": rest.pop("id", None), "model": rest.pop("model", None)}
        for name in ECHOED:
            rest.pop(name, None)
        if "input_tokens" in self.values:
            rest.pop("usage", None)
        answer["completion"], answer["finish_reason"] = answer_of(rest)
        return {key: value for key, value in rest.items() if value not in (None, [], {})}, answer

    def count(self, figures: dict[str, Any]) -> None:
        """Set the tokens as `LLMEvent` takes them: for some providers, without those of a cache."""
        values = self.values
        counts = {field: whole(values.pop(field)) for field in names.TOKENS if field in values}
        if self.broke_off:
            counts.pop("completion_tokens", None)
        prompt = counts.pop("input_tokens", None)
        # AgentOps passes on the provider's count; a row of ours counts the whole prompt.
        if prompt is not None and "agentops" not in self.scope and not self.our_envelope:
            cached, written = counts.get("cached_tokens") or 0, counts.get("cache_write_tokens") or 0
            prompt = prompt_without_cache(prompt, cached, written, figures.get("provider"), figures.get("model"))
        if prompt is not None:
            figures["prompt_tokens"] = prompt
        figures.update({name: count for name, count in counts.items() if count or name in names.COLUMNS})
        if "cost" in values:
            figures["cost"] = number(values.pop("cost"))

    def fill_work(self, reading: Reading) -> None:
        """Fill the fields of anything but a call of a model: its input and output."""
        fields = reading.fields
        if self.scope.startswith("agentops") and "input" not in self.values:  # for which these are the arguments
            self.values["input"] = self.pop("definition.parameters")
        for name, kept_in in _OF_WORK.items():
            value = first(*map(self.pop, kept_in))
            if value is None and self.numbered:
                value = first(*map(self.listed, reversed(kept_in)))
            fields[name] = tidy(value)
        definition = {
            word: self.pop(f"definition.{word}")
            for word in ("description", "type", "parameters", "json_schema")
            if f"definition.{word}" in self.values
        }
        if reading.kind == "tool":
            fields["call_id"] = self.pop("call_id")
            fields["definition"] = definition or None
            reading.figures["cost"] = number(self.pop("cost"))
        elif definition:
            fields["definition"] = definition
        if "model" in self.values or "some_model" in self.values:
            fields["model"] = self.pop("model") or self.pop("some_model")
        counts = {field: value for field in names.TOKENS if (value := self.pop(field)) is not None}
        if counts:
            fields["usage"] = counts  # of the calls inside of it, which have their own rows
        if self.parameters:
            fields["parameters"] = self.parameters
            self.parameters = {}

    def fill_rest(self, reading: Reading) -> None:
        """Fill name, tags, facts, and the values that no other step has used."""
        fields, values, known = reading.fields, self.values, self.at_start
        self.fill_name(reading)
        if "tags" in values:
            reading.tags = tag_list(values.pop("tags"))
        metadata = values.pop("metadata", None)
        if self.facts:
            metadata = {**(metadata if type(metadata) is dict else {}), **self.facts}
        fields["metadata"] = metadata
        # Request and answer have the same, if both are there.
        if "embeddings" in self.numbered and not (
            (fields.get("prompt") or known.get("prompt")) and fields.get("completion")
        ):
            fields["embeddings"] = self.listed("embeddings")
        values.pop("kind", None)
        if self.kinds and self.kinds != [reading.kind] and not self.our_envelope:
            words = sorted(set(self.kinds))
            if words != [reading.kind]:
                fields["operation"] = single(words)
        for field, value in values.items():
            # The rest of these is in other fields, in a fuller form.
            if not field.startswith(("error.", "events.")):
                fields.setdefault(field, value)
        if self.unread:
            fields["attributes"] = plans.as_json(self.unread)
        fields.update(self.our_fields)
        if known:
            self.merge(fields)
        reading.fields = {
            field: value
            for field, value in fields.items()
            if (value or (value is not None and value != [] and value != {}))
            and (not known or value != known.get(field))
        }

    def merge(self, fields: dict[str, Any]) -> None:
        """Add to fields what they had when the span started and may have more of since."""
        known = self.at_start
        for field in _MERGED & known.keys() & fields.keys():
            if type(fields[field]) is dict and type(known[field]) is dict:
                fields[field] = {**known[field], **fields[field]}

    def fill_name(self, reading: Reading) -> None:
        """Set the name for lists, if a convention has one beside the name of the span."""
        values, span_name = self.values, reading.name
        labels = _LABELS.get(reading.kind, _LABELS_OF_OTHERS)
        label = next((values.pop(field) for field in labels if type(values.get(field)) is str and values[field]), None)
        if label is not None:
            reading.name = label
            if label not in span_name:
                reading.fields["span_name"] = span_name
        elif self.before is not None and span_name == self.before.span_name:
            reading.name = self.before.name
        entity = values.get("entity_name")
        if entity is not None and (entity == reading.name or (type(entity) is str and entity in span_name)):
            del values["entity_name"]

    def explain(self, reading: Reading, message: str | None) -> None:
        """Set the reason of the failure, if it is not known from an exception."""
        values = self.values
        if reading.errors:
            return
        kind, text = values.get("error.type"), values.get("error.message")
        if kind is None and text is None and message is None:
            return
        error = Error(text_of(kind), text_of(text if text is not None else message), text_of(values.get("error.stack")))
        reading.errors.append(error)


def _gathered(name: str, scope: str, attributes: Attributes) -> Gathered | None:
    """Return where attributes belong; None if names, types and the words for the kind do not decide it."""
    gathered = Gathered()
    reader = _Reader(scope, None)
    reader.gather(attributes)
    if reader.numbered or reader.facts or reader.our_fields or reader.our_envelope:
        return None
    by_field = {field: attribute for field, attribute in reader.set_by.items() if field != "kind"}
    for attribute, value in attributes.items():
        field, _ = names.FIELDS.get(attribute, ("", 0))
        is_second = field in by_field and value is not None and by_field[field] != attribute
        if is_second or (field == "kind" and type(value) is not str):
            return None
    places = {attribute: _place_of(attribute) for attribute in attributes if attribute not in names.NAMES}
    parameters = {rest: attribute for attribute, (into, _, rest) in places.items() if into == _PARAMETERS}
    kind, has_kind = reader.kind(name)
    if not has_kind or len(parameters) + len(reader.unread) != len(places):
        return None
    gathered.kind, gathered.kinds, gathered.fields = kind, reader.kinds, by_field
    gathered.parameters, gathered.unread = parameters, list(reader.unread)
    gathered.is_answered = not _OF_AN_ANSWER.isdisjoint(reader.values)
    gathered.counts_whole_prompts = "agentops" in scope
    return gathered


def _place_of(name: str) -> tuple[str, str, str]:
    """Return where an attribute belongs whose whole name is in no table, and the two parts of its name.

    The place is one of the words below, or the field of a numbered attribute; its first part is empty without a number.
    """
    known = _places.get(name)
    if known is None:
        if len(_places) >= _MOST_PLACES:
            _places.clear()
        known = _places[name] = _found_place(name)
    return known


def _found_place(name: str) -> tuple[str, str, str]:
    if not name.startswith(names.STARTS):
        return _UNREAD, "", name
    for start, field in names.NUMBERED.items():
        if name.startswith(start):
            rest = name[len(start) :]
            is_numbered = rest.partition(".")[0].isdecimal() and rest.count(".") < _DEEPEST
            return (field, start, rest) if is_numbered else (field, "", name)
    for starts, into in (((names.OWN,), _OURS), (names.PARAMETERS, _PARAMETERS), (names.FACTS, _FACTS)):
        for start in starts:
            if name.startswith(start):
                return into, start, name[len(start) :]
    raise ValueError(name)  # STARTS are those of the tables above


# Places of attributes that are not in a field; no field has such a name.
_UNREAD, _OURS, _PARAMETERS, _FACTS = ">unread", ">ours", ">parameters", ">facts"
# By name, as the spans of a program have the same names again and again.
_places: dict[str, tuple[str, str, str]] = {}
_MOST_PLACES = 4_096
# Fields that use more than their first value, or that do not belong into a body.
_NEED_A_LOOK = frozenset({"kind", *names.LOCALOPS.values()})
_MERGED = frozenset("params definition metadata parameters".split())  # more of it may come later
_OF_CALLS = frozenset("prompt completion input_tokens completion_tokens model".split())
# Fields that are set with an answer only.
_OF_AN_ANSWER = frozenset(
    ("output", "completion", "events.completion", "finish_reason", "response_id", "time_to_first_token", "cost")
).union(names.TOKENS)
_NOTHING: dict[str, Any] = {}
# The fields of a request, as attributes and as events have them, in this order of preference.
_OF_A_REQUEST = [(field, f"events.{field}") for field in ("prompt", "system_instructions", "tool_definitions")]
# The fields that name a span, by its kind.
_LABELS: dict[str, tuple[str, ...]] = {
    "tool": ("tool_name", "entity_name"),
    "agent": ("agent_name", "entity_name"),
    "workflow": ("entity_name", "workflow_name"),
    "llm": (),
}
_LABELS_OF_OTHERS = ("entity_name",)
_OF_WORK = {"params": ("input", "prompt"), "returns": ("output", "completion")}
_OWN_PLACES = (("input", "params"), ("output", "returns"))


def _error_of(about: dict[str, Any]) -> Error:
    return Error(
        text_of(about.get("exception.type")),
        text_of(about.get("exception.message")),
        text_of(about.get("exception.stacktrace")),
    )


def _message_of_event(about: dict[str, Any], role: str) -> Message:
    about.pop("gen_ai.system", None)
    about.pop("gen_ai.provider.name", None)
    message = parsed(about.pop("message", None))
    content = {**(message if type(message) is dict else {}), **{key: parsed(value) for key, value in about.items()}}
    return {"role": role, **content}


# Requests that no model answers and that cost nothing; OpenInference marks all requests of a client as LLM.
_FREE = {
    "messages.count_tokens": "openinference.instrumentation.anthropic",
    "beta.messages.count_tokens": "openinference.instrumentation.anthropic",
    "ModerationCreateResponse": "openinference.instrumentation.openai",
}

_LLAMA_INDEX = "openinference.instrumentation.llama_index"
_INSTRUMENTORS = (
    "opentelemetry.instrumentation.",
    "opentelemetry.util.genai",
    "openinference.",
    "agentops",
    "traceloop",
)


def _is_no_call(name: str, scope: str) -> bool:
    """Return whether a span is no call although its instrumentor marks it as one: it may prepare a request."""
    return scope == _LLAMA_INDEX if "._" in name else name in _FREE and scope.startswith(_FREE[name])


def _kind_of_name(name: str, scope: str) -> str:
    """Return the kind from a span's name, for libraries that set the attribute for it only at the end."""
    if not scope.startswith(_INSTRUMENTORS):
        return "operation"
    word, _, rest = name.partition(" ")
    if rest and word in names.KINDS:
        return names.KINDS[word]
    last = name.rpartition(".")[2]
    return (
        names.KINDS[last]
        if "." in name and last in names.KINDS and last not in ("completion", "text", "mcp")
        else "operation"
    )
