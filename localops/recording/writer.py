"""Make rows from events, operations and bookkeeping notes; nothing else makes rows of a recorded program.

A `Writer` belongs to one session.  Times, ids and places are arguments: it uses neither the clock nor the journal.  It
only stores large values in files beside the journal.  `recorder.py` writes the rows to the journal.
"""

from __future__ import annotations

import uuid

from localops.encoding import encode
from localops.interruption import attempt, hold_if_programs
from localops.journal import blobs, rows
from localops.output import say_once
from localops.recording import events
from localops.recording.events import LLMEvent
from localops.recording.scores import KIND
from localops.recording.usage import (
    NO_USAGE,
    UNMEASURED,
    beside_columns,
    in_words,
    nano,
    of_llm,
    of_tool,
    reply_of,
    unusable,
    unusable_of_call,
    why_unpriced,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localops.encoding.pricing import Prices
    from localops.journal.rows import Row
    from localops.recording.events import ErrorEvent, Event
    from localops.recording.responses import Reply
    from localops.recording.scores import Score
    from localops.recording.usage import Measures

    Head = tuple[bytes, str, str, bytes | None, bytes | None, int]  # an operation: id, kind, name, parent, agent, start

NO_FIELDS: Mapping[str, object] = {}
_KINDS = {"actions": "action", "llms": "llm", "tools": "tool", "errors": "error"}
_HOW_TO_NAME = {"llm": "the model with model", "error": "what went wrong with details"}  # by kind; else a name
_COST = rows.COLUMNS.index("cost")
_MOST_NAMED = 5  # models that are listed with a reason
# An iterator may be endless.
_MOST_TAGS = 100_000

plain, seal, with_counts, FORMAT = rows.plain, rows.seal, rows.with_counts, rows.FORMAT


class Writer:
    """Makes the rows of one session."""

    def __init__(self, session: bytes, folder: str, encoder: encode.Encoder, prices: Callable[[], Prices]) -> None:
        self.session = session
        self.encoder = encoder
        self.encode = encoder.encode
        self.text = encoder.text
        self._short = encoder.short_texts
        self._folder = folder
        self.prices = prices
        self.unpriced: dict[str, dict[str, None]] = {}  # why calls have no price, and the models concerned

    # Events

    def event(
        self,
        event: Event,
        id: bytes,
        at: int,
        parent: bytes | None,
        agent: bytes | None,
        measures: Measures = UNMEASURED,
        failed: int | None = None,
        more: Mapping[str, object] = NO_FIELDS,
        *,
        kind: str | None = None,
    ) -> Row:
        """Return the row of an event, recorded at a time and place; `more` is added to its body.

        `kind` is set for a second record, which does not count.
        """
        if event.agent_id is not None:
            agent = self.agent_id(event.agent_id)
        given = event.event_type
        if kind is None:
            kind = _KINDS.get(given) if type(given) is str else None
        name = event.title()
        if kind is None:
            kind, name = self._other_kind(event, name)
        if name is not None:
            # Most names repeat: this lookup saves a function call.
            name = (type(name) is str and self._short.get(name)) or self.text(name)
        if kind == "llm" and measures is UNMEASURED:
            measures, more = NO_USAGE, {**more, "billed": False}
        fields = event.fields()
        if more:
            fields.update(more)
        start: int | None = event.began_ns
        end: int | None = None
        if event._given_start is not None or event._given_end is not None:
            start, end = events.times(event, fields)
        if "screenshot" in fields:
            fields["screenshot"] = self.keep_media(fields["screenshot"])
        body = self.encode(fields) if fields else None
        if measures is UNMEASURED and event.tags is None and failed is None and end is None:
            return plain(id, 0, self.session, kind, name, parent, agent, at, start, body)
        tags = self.tags_text(event.tags) if event.tags is not None else None
        head = (id, 0, self.session, kind, name, parent, agent, at, start, end)
        row = seal((*head, *measures, failed, tags, FORMAT), body)
        return with_counts(row, fields) if kind == "llm" else row

    def measured_event(
        self,
        event: Event,
        id: bytes,
        at: int,
        parent: bytes | None,
        agent: bytes | None,
        failed: int | None,
        more: Mapping[str, object],
        *,
        unbilled: bool = False,
    ) -> Row:
        """Return the row of an event with its model, tokens and cost; a call that was not billed costs 0."""
        if isinstance(event, LLMEvent):
            measures, about = self.call_measures(event, at, unbilled=unbilled)
        else:
            measures, about = of_tool(event), unusable(event)
        return self.event(event, id, at, parent, agent, measures, failed, {**about, **more} if about else more)

    def copy_of_call(
        self,
        event: LLMEvent,
        id: bytes,
        at: int,
        parent: bytes | None,
        agent: bytes | None,
        of: bytes,
        more: Mapping[str, object],
    ) -> Row:
        """Return the row of a second record of an LLM call: with the event's fields, and without figures that count."""
        measures, about = self.call_measures(event, at, unbilled=False)
        fields = {**event.fields(), **in_words(measures), **about, **more, "copy_of": rows.id_text(of)}
        start, end = events.times(event, fields)
        return rows.make(
            "llm_copy",
            self.session,
            id=id,
            at_ns=at,
            name=self.text(event.name) if event.name is not None else None,
            parent=parent,
            agent=self.agent_id(event.agent_id) if event.agent_id is not None else agent,
            start_ns=start,
            end_ns=end,
            tags=self.tags_text(event.tags) if event.tags is not None else None,
            body=self.encode(fields),
        )

    def error(
        self,
        event: ErrorEvent,
        id: bytes,
        at: int,
        parent: bytes | None,
        agent: bytes | None,
        failed: int | None,
        more: Mapping[str, object],
        *,
        kind: str | None = None,
    ) -> Row:
        """Return the row of an error, linked to the event that it happened in.

        `failed` marks that event as failed, if its own row was written before.
        """
        trigger = trigger_of(event)
        measures: Measures = UNMEASURED
        if trigger is not None:
            parent = trigger.id.bytes
            model = getattr(trigger, "model", None)
            measures = (self.text(model, 256) if model is not None and failed else None, *UNMEASURED[1:])
            more = {**_link(parent, trigger.kind, _name_of(trigger)), **more}
        return self.event(event, id, at, parent, agent, measures, failed, more, kind=kind)

    def _other_kind(self, event: Event, name: str | None) -> tuple[str, str | None]:
        """Return kind and name of an event whose type is not one of AgentOps' words."""
        word = event.misplaced_type()
        if word is None:
            known = event.kind
            return known if known in rows.OWN_KINDS else self.text(known, 64), name
        which = events.class_name(event)
        say_once(
            f"type of {which}",
            f"the first argument of {which} is its type, got {word[:40]!r}: it counts as {event.kind}; "
            f"give {_HOW_TO_NAME.get(event.kind, 'a name with name')}={word[:40]!r}",
        )
        return event.kind, name if name is not None else word

    # Operations

    def opening(self, head: Head, fields: dict[str, object], at: int | None = None, model: str | None = None) -> Row:
        """Return the opening row of an operation; `at` is when it is written, if not at its start."""
        id, kind, name, parent, agent, start = head
        body = self.encode(fields) if fields else None
        when, began = (start, None) if at is None else (at, start)
        if model is None:
            return plain(id, rows.OPEN, self.session, kind, name, parent, agent, when, began, body)
        columns = (id, rows.OPEN, self.session, kind, name, parent, agent, when, began, None)
        return seal((*columns, model, *UNMEASURED[1:], None, None, FORMAT), body)

    def closing(
        self,
        head: Head,
        at: int,
        fields: dict[str, object],
        cost: float | None = None,
        tags: str | None = None,
        *,
        failed: bool = False,
        end: int | None = None,
        measures: Measures | None = None,
    ) -> Row:
        """Return the closing row of an operation; of the opening row, it repeats only what identifies the operation.

        `end` is when the operation ended, if not now.
        """
        id, kind, name, parent, agent, start = head
        body = self.encode(fields) if fields else None
        if measures is None:
            price = nano(cost)
            if tags is None and price is None and not failed and end is None:
                return plain(id, rows.DONE, self.session, kind, name, parent, agent, at, start, body)
            measures = (*UNMEASURED[:5], price)
        columns = (id, rows.DONE, self.session, kind, name, parent, agent, at, start, end)
        row = seal((*columns, *measures, 1 if failed else None, tags, FORMAT), body)
        return with_counts(row, fields) if kind == "llm" else row

    def call_measures(
        self, call: LLMEvent, at: int, *, unbilled: bool, unfinished: bool = False
    ) -> tuple[Measures, dict[str, object]]:
        """Return model, tokens and cost of an LLM call, and body fields for its response and invalid figures."""
        reply = reply_of(call)
        measures: Measures = of_llm(call, at, self.text, self.prices, reply)
        more = unusable_of_call(call)
        if reply is not None:
            more.update(beside_columns(call, reply))
        if unbilled:
            measures, more = (*measures[:-1], 0), {**more, "billed": False}
        elif measures[-1] is None and unfinished:
            self.unpriced.setdefault("calls of {} had not ended", {})[measures[0] or "a model"] = None
        elif measures[-1] is None:
            self._note_unpriced(call, measures, at, reply)
        return measures, more

    def later_figures(
        self,
        id: bytes,
        call: bytes,
        agent: bytes | None,
        at: int,
        before: Measures,
        now: Measures,
        *,
        given_cost: bool = False,
    ) -> Row | None:
        """Return the row that adds figures to a call that is already written; None if nothing new is known.

        `at` is the time of the call, as in the row of any later price: a later time would make the session longer.  A
        count that was known does not change, nor does a cost, unless the program gave another one.
        """
        model, *known, was = before
        _, *counts, cost = now
        more = [new if old is None else None for old, new in zip(known, counts, strict=True)]
        if cost is None or (was is not None and not given_cost):
            cost = was
        if cost == was and not any(count is not None for count in more):
            return None
        # If the call had no cost before, this row removes it from the unpriced calls.
        body: dict[str, object] = {"cost": cost, "was": was} if cost is not None else {"was": "unknown"}
        difference = cost - (was or 0) if cost is not None else None
        columns = (id, rows.DONE, self.session, "price", rows.LATER_FIGURES, call, agent, at, None, None)
        return seal((*columns, model or now[0], *more, difference, None, None, FORMAT), self.encode(body))

    def _note_unpriced(self, call: LLMEvent, measures: Measures, at: int, reply: Reply | None) -> None:
        """Remember why a call has no price, until the session warns that its cost is incomplete."""
        # The edge: if the prices cannot be read, that has been reported already.
        why = attempt(lambda: why_unpriced(call, measures, at, self.prices(), reply, self.text), None)
        if why is None:
            return
        reason, model = why
        models = self.unpriced.setdefault(reason, {})
        if len(models) <= _MOST_NAMED:
            models[model] = None

    def operation_error(self, head: Head, event: ErrorEvent, id: bytes, at: int) -> Row:
        """Return the row of an operation's error, linked to the operation."""
        operation, kind, name, _, agent, _ = head
        return rows.make(
            "error",
            self.session,
            id=id,
            at_ns=at,
            name=self.text(event.error_type),
            parent=operation,
            agent=agent,
            body=self.encode({**event.fields(), **_link(operation, kind, name)}),
        )

    # Bookkeeping

    def note(
        self,
        kind: str,
        id: bytes,
        at: int,
        *,
        fields: dict[str, object] | None = None,
        body: str | None = None,
        name: str | None = None,
        parent: bytes | None = None,
        tags: str | None = None,
    ) -> Row:
        """Return a bookkeeping row, from fields or from an encoded body."""
        text = self.encode(fields) if fields else body
        return rows.make(kind, self.session, id=id, at_ns=at, name=name, parent=parent, tags=tags, body=text)

    def score(self, score: Score, id: bytes, *, given_ns: int, seen_ns: int, target: bytes | None) -> Row:
        """Return the row of a score that `scores.checked` returned, or of a note, which has an empty name.

        `seen_ns` is the time of the session's last row if the session has ended: a score must not make it longer.
        """
        fields: dict[str, object] = {"value": score.value, "by": self.text(score.by, 256)}
        if type(score.value) is str:
            fields["value"] = self.text(score.value)  # a secret in it is removed
        fields.update((key, value) for key in ("comment", "version") if (value := getattr(score, key)) is not None)
        name = self.text(score.name) if score.name else None
        body = self.encode(fields)
        return rows.make(KIND, self.session, id=id, at_ns=seen_ns, name=name, parent=target, end_ns=given_ns, body=body)

    def agent(self, name: str, id: bytes, at: int, given: object = None) -> Row:
        """Return the row of an agent; `given` is the id that the program chose, if any."""
        fields = {"agent_id": given} if given is not None else None
        return self.note("agent", id, at, fields=fields, name=self.text(name))

    def agent_id(self, given: object) -> bytes:
        """Return the id of an agent's row.

        A program may use the same ids for its agents in every session, but the id of a row must be unique.  It is
        therefore derived from agent and session, unless it is a UUID of version 7, such as ours, and so unique.
        """
        known = events.to_id(given)
        if known[6] >> 4 == 7:
            return known
        return uuid.uuid5(uuid.UUID(bytes=self.session), known.hex()).bytes

    # Values

    def tags_text(self, tags: object) -> str | None:
        """Return tags as the text of a column; None for an empty list."""
        clean = self.tag_list(tags)
        return encode.dumps(clean).decode() if clean else None

    def tag_list(self, tags: object) -> list[str]:
        """Return tags as clean, distinct strings; one string is one tag, and other values become strings."""
        given = [tags] if issubclass(type(tags), str | bytes) else _as_list(tags)
        wrong = [tag for tag in given if not issubclass(type(tag), str)]
        if wrong:
            say_once("tags", f"a tag is a string; {events.describe(wrong[0])[:80]!r} is kept as its text")
        return list(dict.fromkeys(self.text(tag, 256) for tag in given))

    def keep_media(self, value: object) -> object:
        """If a value is a path, copy its file beside the journal and return the reference; else return the value."""
        return blobs.keep_media(self._folder, value)


def trigger_of(event: ErrorEvent) -> Event | None:
    """Return the event that an error happened in; None without one, or if `trigger_event` is not an event."""
    trigger = event.trigger_event
    return trigger if issubclass(type(trigger), events.Event) else None


def is_unpriced(row: Row) -> bool:
    """Return whether a complete row has no cost."""
    return row[_COST] is None


def _name_of(trigger: Event) -> str | None:
    """Return the name of a failed event; failures of tools are counted by name, so they always have one."""
    name = trigger.title()
    if name is None:
        name = trigger.misplaced_type()
    return "" if name is None and trigger.kind == "tool" else name


def _link(id: bytes, kind: str, name: object) -> dict[str, object]:
    return {"trigger": {"id": rows.id_text(id), "kind": kind, "name": name}}


def _as_list(tags: object) -> list[object]:
    if tags is None:
        return []
    items: list[object] = []
    try:
        for tag in tags:  # type: ignore[attr-defined]
            if len(items) == _MOST_TAGS:
                say_once("many tags", f"more than {_MOST_TAGS} tags were given: the others are left out")
                break
            items += (tag,)
    except BaseException as error:
        # The edge: an unknown class's iterator, or a value that cannot be iterated.
        if not hold_if_programs(error):
            return [tags]
    return items
