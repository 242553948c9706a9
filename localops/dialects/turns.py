"""The turns of a run: the messages to each agent, its answers, the tools it called and their results.

A prompt repeats the conversation so far, so only what is new in it becomes a turn.  A recorded tool call belongs to the
turn in which the model asked for it, known by its call id, else by tool and arguments; without one, it is a turn of its
own.  Turns come in the order of their ends; what never ended is where it began.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from localops.dialects import chat
from localops.otel.messages import text
from localops.otlp.records import KIND
from localops.reading import analytics
from localops.reading.recorded_steps import RESOLUTION
from localops.recording.recorder import COPY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.dialects.chat import Message
    from localops.reading.export import Run

    Event = dict[str, Any]

# Beginnings of conversations that are known: the oldest of more are forgotten, and would be repeated.
_MOST_KNOWN = 200_000
# Turns that wait for results of their tool calls; the oldest of more go without.
_MOST_WAITING = 200
# Wrappers around other events, which are turns themselves.
AROUND = frozenset(("operation", "workflow", "task", COPY))
REMARKS = frozenset(("error", KIND, RESOLUTION))


@dataclass
class Call:
    """A tool call: as the model asked for it, as it was recorded, or both."""

    id: str
    name: str
    arguments: dict[str, Any]
    event: Event | None = None  # as it was recorded
    result: str | None = None
    has_result: bool = False
    agents: list[str] = field(default_factory=list)  # agents that worked in it


@dataclass
class Turn:
    """A turn of one agent."""

    agent: str | None  # its id
    source: str  # system, user or agent
    at_ns: int
    message: object = ""  # a text, or parts of OpenAI's chat
    reasoning: str | None = None
    calls: list[Call] = field(default_factory=list)
    results: list[str] = field(default_factory=list)  # results of tool calls that are in no turn
    event: Event | None = None  # the LLM call, or another event that is a turn
    agents: list[str] = field(default_factory=list)  # agents that this turn started
    is_earlier: bool = False  # an answer of the model in a prompt, from before the recording

    @property
    def is_whole(self) -> bool:
        """Return whether each of its calls has its result."""
        return all(call.has_result for call in self.calls)


def of(run: Run) -> Iterator[Turn]:
    """Yield the turns of a session."""
    yield from _Turns().of(analytics.events(run.reader, run.id, opened_in_place=True))


class _Turns:
    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str | None, int], None] = OrderedDict()
        self._waiting: deque[Turn] = deque()
        self._agents_in: dict[str, list[str]] = {}  # by the event that they worked in
        self._endless: dict[str, Call] = {}  # calls that never ended, by their events
        self._around: list[Event] = []  # agents and wrappers that never ended: what happened in them comes first

    def of(self, events: Iterator[Event]) -> Iterator[Turn]:
        """Yield the turns of events, which come in the order of their ends."""
        last_ns = 0
        for event in events:
            last_ns = max(last_ns, event["start_ns"])
            if not event["finished"] and (event["kind"] in AROUND or event["kind"] == "agent"):
                self._around.append(event)
            else:
                yield from self._of_event(event)
        # The innermost first.
        for event in reversed(self._around):
            yield from self._of_event(event)
        for agents in self._agents_in.values():
            yield from self._next(Turn(None, "system", last_ns, agents=agents))
        yield from self._waiting

    def _of_event(self, event: Event) -> Iterator[Turn]:
        kind, agent = event["kind"], event["agent"]
        if kind == "llm":
            yield from self._of_llm(event)
        elif kind == "agent":
            yield from self._of_agent(event)
        elif kind in REMARKS:
            yield from self._next(Turn(agent, "system", event["start_ns"], event=event))
        elif kind in AROUND:
            self._pass_on_agents(event)
        elif not (kind == "tool" and self._belongs(event)):
            call = self._recorded(event, event["id"])
            yield from self._next(Turn(agent, "agent", event["start_ns"], calls=[call], event=event))

    def _next(self, turn: Turn) -> Iterator[Turn]:
        """Take the next turn; yield those that are ready by now."""
        self._waiting.append(turn)
        while self._waiting and (self._waiting[0].is_whole or len(self._waiting) > _MOST_WAITING):
            yield self._waiting.popleft()

    # Calls of a model

    def _of_llm(self, event: Event) -> Iterator[Turn]:
        agent, request = event["agent"], chat.request(event)
        begins = list(chat.digests(request))
        news = next((n for n in range(len(begins), 0, -1) if self._is_known(agent, begins[n - 1])), 0)
        for message, begin in zip(request[news:], begins[news:], strict=True):
            yield from self._of_message(agent, event, message)
            self._learn(agent, begin)
        turn = Turn(agent, "agent", event["start_ns"], event=event)
        answer = chat.answer(event)
        if answer is not None:
            turn.message, turn.reasoning = answer.get("content") or "", answer.get("reasoning_content")
            turn.calls = list(map(_asked, answer.get("tool_calls", ())))
            for begin in chat.digests([answer], begins[-1] if begins else 0):
                self._learn(agent, begin)
        yield from self._next(turn)

    def _is_known(self, agent: str | None, begin: int) -> bool:
        if (agent, begin) not in self._known:
            return False
        self._known.move_to_end((agent, begin))
        return True

    def _learn(self, agent: str | None, begin: int) -> None:
        self._known[agent, begin] = None
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def _of_message(self, agent: str | None, event: Event, message: Message) -> Iterator[Turn]:
        """Take a message that is new in a prompt."""
        role, at_ns = message["role"], event["start_ns"]
        if role == "tool":
            result = chat.plain_text(message["content"])
            if not self._answer(agent, message["tool_call_id"], result):
                yield from self._next(Turn(agent, "system", at_ns, results=[result]))
            return
        turn = Turn(agent, "agent" if role == "assistant" else role, at_ns, message.get("content") or "")
        if role == "assistant":
            turn.is_earlier = True
            turn.reasoning = message.get("reasoning_content")
            turn.calls = list(map(_asked, message.get("tool_calls", ())))
        yield from self._next(turn)

    def _answer(self, agent: str | None, id: str, result: str) -> bool:
        """Give a result to the call that a model asked for; False if there is none."""
        for turn in reversed(self._waiting):
            for call in turn.calls:
                if call.id == id and turn.agent == agent:
                    if not call.has_result:
                        call.result, call.has_result = result, True
                    return True
        return False

    # Recorded tool calls

    def _belongs(self, event: Event) -> bool:
        """Put a recorded call into the turn in which the model asked for it; False if none has."""
        call = self._asked_for(event)
        if call is None:
            return False
        recorded = self._recorded(event, call.id)
        call.event, call.result, call.has_result = event, recorded.result, recorded.has_result
        call.agents = recorded.agents
        return True

    def _recorded(self, event: Event, id: str) -> Call:
        """Return a recorded call, with the agents that worked in it: of one that never ended, these come later."""
        call = _call_of(event, id)
        call.agents = self._agents_in.pop(event["id"], [])
        if not call.has_result:
            self._endless[event["id"]] = call
            while len(self._endless) > _MOST_WAITING:
                del self._endless[next(iter(self._endless))]
        return call

    def _asked_for(self, event: Event) -> Call | None:
        id = event.get("call_id")
        calls = [(turn.agent, call) for turn in self._waiting for call in turn.calls if call.event is None]
        if id is not None:
            return next((call for _, call in reversed(calls) if call.id == id), None)
        same = [call for agent, call in calls if agent == event["agent"] and call.name == event["name"]]
        same = [call for call in same if not call.has_result]
        given = chat.arguments(event.get("params"))
        return next((call for call in same if call.arguments == given), same[0] if same else None)

    # Agents

    def _of_agent(self, event: Event) -> Iterator[Turn]:
        """Take an agent: as a turn of the one around it, or into the tool call that it worked in."""
        own, around = event["id"], event["parent"]
        if inside := self._agents_in.pop(own, []):
            yield from self._next(Turn(own, "system", event["start_ns"], agents=inside))
        is_only_named = event["end_ns"] is not None and event["end_ns"] <= event["start_ns"]
        if around is None or is_only_named:
            agent = event["agent"] if event["agent"] != own else None
            yield from self._next(Turn(agent, "system", event["start_ns"], event=event, agents=[own]))
        else:
            self._put_in(around, [own])

    def _pass_on_agents(self, event: Event) -> None:
        """Hand agents that worked in a wrapper to what is around it."""
        if inside := self._agents_in.pop(event["id"], []):
            self._put_in(event["parent"] or "", inside)

    def _put_in(self, around: str, agents: list[str]) -> None:
        """Keep agents for the event that they worked in; one that never ended has its turn already."""
        call = self._endless.get(around)
        (self._agents_in.setdefault(around, []) if call is None else call.agents).extend(agents)


def _asked(call: Message) -> Call:
    function = call["function"]
    return Call(call["id"], function["name"], chat.arguments(function["arguments"]))


def _call_of(event: Event, id: str) -> Call:
    """Return a recorded call."""
    name = event["name"] or event["kind"]
    call = Call(event.get("call_id") or id, name, chat.arguments(event.get("params")), event)
    call.has_result = event["finished"]
    if event.get("returns") is not None:
        call.result = event["returns"] if isinstance(event["returns"], str) else text(event["returns"])
    return call


def remark(event: Event) -> str:
    """Return in words what an event is that is no call."""
    if event["kind"] == "agent":
        return f"agent {event['name'] or ''}".strip()
    details = event.get("details") or event.get("message")
    if event["kind"] == RESOLUTION:
        name, result = event["name"] or "step", event.get("returns")
        return f"{name}: the program decided that it gave {'nothing' if result is None else text(result)}"
    return ": ".join(filter(None, (event["name"] or event["kind"], text(details) if details is not None else None)))
