"""`atif`: sessions as trajectories of the Agent Trajectory Interchange Format 1.8, each one JSON document on a line.

A session is one trajectory.  Where several agents worked, each has an embedded one, and the step that started it
refers to it.  Steps are in a temporary file while the session is read, so that they are never held.
"""

from __future__ import annotations

from array import array
from collections import Counter
from tempfile import TemporaryFile

from localops.clock import iso
from localops.dialects import chat, turns
from localops.encoding import encode
from localops.journal import token_kinds
from localops.journal.rows import id_text
from localops.reading import analytics, facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, BinaryIO

    from localops.dialects.turns import Call, Turn
    from localops.reading.export import Run

    Fields = dict[str, Any]

VERSION = "ATIF-v1.8"
_TOKENS = {"tokens_in": "prompt_tokens", "tokens_out": "completion_tokens", "tokens_cached": "cached_tokens"}
_OTHER_TOKENS = {
    kind.column: kind.field
    for kind in token_kinds.WITH_COLUMN
    if kind.column and kind.field not in ("prompt_tokens", "completion_tokens", "cached_tokens")
}
_NOTES = (
    "Operations, workflows and tasks are around steps, and no steps themselves. Attachments are named, not contained."
)


def write(runs: Iterable[Run], file: BinaryIO) -> None:
    """Write each session as one trajectory, on a line of its own."""
    for run in runs:
        with TemporaryFile() as steps:
            _Session(run, steps).write(file)


class _Trajectory:
    """What is known of the steps of one agent: where each is in the file, and what they amount to."""

    def __init__(self) -> None:
        self.places = array("Q")  # of each step where it begins, and its length
        self.models: Counter[str] = Counter()
        self.tools: dict[str, Fields] = {}
        self.figures: Counter[str] = Counter()

    @property
    def many(self) -> int:
        """Return how many steps it has."""
        return len(self.places) // 2


class _Session:
    """The trajectories of one session."""

    def __init__(self, run: Run, steps: BinaryIO) -> None:
        self._run, self._steps = run, steps
        # Those that did something; one that was only named has no trajectory.
        self._agents = {id_text(bytes.fromhex(part.value.replace("-", ""))) for part in run.parts["agent_id"]}
        # The session of a single agent is its trajectory, with what happened beside it.
        self._only = min(self._agents) if len(self._agents) == 1 else None
        self._whole = _Trajectory()
        self._embedded: dict[str, _Trajectory] = {}

    def write(self, file: BinaryIO) -> None:
        """Write the session's trajectory, with those of its agents."""
        for turn in turns.of(self._run):
            self._add(self._of(turn.agent), _step(turn), turn)
        names = analytics.agent_names(self._run.reader, [*self._embedded, *filter(None, [self._only])])
        own = facts.full_id(self._run.id)
        title = names[self._only] if self._only is not None else self._run.story.name or "session"
        self._write_one(file, self._whole, title, own, {"session_id": own, "notes": _NOTES, "extra": self._about()})
        for number, (id, agent) in enumerate(self._embedded.items()):
            file.write(b"," if number else b',"subagent_trajectories":[')
            self._write_one(file, agent, names[id], id, {})
            file.write(b"}")
        file.write(b"]}\n" if self._embedded else b"}\n")

    def _of(self, agent: str | None) -> _Trajectory:
        if agent is None or agent == self._only:
            return self._whole
        return self._embedded.setdefault(agent, _Trajectory())

    def _add(self, agent: _Trajectory, step: Fields, turn: Turn) -> None:
        event = turn.event
        if event is not None and event["kind"] == "llm":
            step |= _of_llm(event)
            agent.models.update(filter(None, [event["model"]]))
            agent.tools |= {each["function"].get("name", ""): each for each in chat.tools(event)}
            agent.figures.update({name: event[name] or 0 for name in _TOKENS})
            agent.figures["cost"] += event["cost"] or 0
        self._refer(step, turn)
        self._keep(agent, step)

    def _keep(self, agent: _Trajectory, step: Fields) -> None:
        data = encode.dumps({"step_id": agent.many + 1, **step})
        agent.places.extend((self._steps.tell(), len(data)))
        self._steps.write(data)

    def _refer(self, step: Fields, turn: Turn) -> None:
        """Refer to the agents that a turn, or a call of it, started."""
        results = [_result(call) for call in turn.calls if call.has_result or call.agents]
        for result, call in zip(results, (call for call in turn.calls if call.has_result or call.agents), strict=True):
            if references := self._references(call.agents):
                result["subagent_trajectory_ref"] = references
        results += [{"content": result} for result in turn.results]
        if references := self._references(turn.agents):
            results.append({"subagent_trajectory_ref": references})
        if results:
            step["observation"] = {"results": results}

    def _references(self, agents: list[str]) -> list[Fields]:
        embedded = [agent for agent in dict.fromkeys(agents) if agent in self._agents and agent != self._only]
        for agent in embedded:
            self._of(agent)
        return [{"trajectory_id": agent} for agent in embedded]

    # Writing

    def _write_one(self, file: BinaryIO, agent: _Trajectory, name: str, id: str, more: Fields) -> None:
        """Write a trajectory but for its end."""
        if not agent.many:
            self._keep(agent, {"source": "system", "message": "nothing of it was recorded"})
        about: Fields = {"name": name, "version": "unknown"}
        if agent.models:
            about["model_name"] = agent.models.most_common(1)[0][0]
        if agent.tools:
            about["tool_definitions"] = list(agent.tools.values())
        head = {"schema_version": VERSION, "trajectory_id": id, "agent": about, "final_metrics": self._sums(agent)}
        file.write(encode.dumps({**head, **more})[:-1] + b',"steps":[')
        places = iter(agent.places)
        for number, (at, length) in enumerate(zip(places, places, strict=True)):
            self._steps.seek(at)
            file.write((b"," if number else b"") + self._steps.read(length))
        self._steps.seek(0, 2)
        file.write(b"]")

    def _sums(self, agent: _Trajectory) -> Fields:
        """Return the figures of a trajectory: that of the session has the cost of all."""
        cost = self._run.totals.cost if agent is self._whole else agent.figures["cost"]
        sums: Fields = {f"total_{name}": agent.figures[column] for column, name in _TOKENS.items()}
        return {**sums, "total_cost_usd": facts.dollars(cost), "total_steps": agent.many}

    def _about(self) -> Fields:
        run, figures = self._run, self._run.totals
        return {
            "project": run.project,
            "name": run.story.name,
            "state": run.standing.state,
            "reason": run.standing.reason,
            "began": iso(figures.first_ns),
            "last": iso(figures.last_ns),
            "tags": run.story.tags,
            "metadata": run.story.metadata,
            "totals": facts.totals(figures, at_least=run.cost_at_least),
        }


def _step(turn: Turn) -> Fields:
    """Return a turn as a step, but for its figures and the results of its calls."""
    event = turn.event
    step: Fields = {"timestamp": iso(turn.at_ns), "source": turn.source, "message": chat.plain_text(turn.message)}
    if turn.reasoning:
        step["reasoning_content"] = turn.reasoning
    if turn.calls:
        step["tool_calls"] = [_call(call) for call in turn.calls]
    if turn.is_earlier:
        step["is_copied_context"] = True
    elif turn.source == "agent" and (event is None or event["kind"] != "llm"):
        step["llm_call_count"] = 0
    if turn.source == "system" and event is not None:
        step["message"] = turns.remark(event)
        step["extra"] = _extra(event)
    return step


def _of_llm(event: Fields) -> Fields:
    """Return what a step has of an LLM call beside its messages."""
    metrics: Fields = {name: event[column] for column, name in _TOKENS.items() if event[column] is not None}
    if event["cost"] is not None:
        metrics["cost_usd"] = facts.dollars(event["cost"])
    others = {name: event[column] for column, name in _OTHER_TOKENS.items() if event.get(column) is not None}
    metrics |= {"extra": others} if others else {}
    model = {"model_name": event["model"]} if event["model"] else {}
    return {**model, "llm_call_count": 1, **({"metrics": metrics} if metrics else {}), "extra": _extra(event)}


def _call(call: Call) -> Fields:
    fields: Fields = {"tool_call_id": call.id, "function_name": call.name, "arguments": call.arguments}
    return fields if call.event is None else {**fields, "extra": _extra(call.event)}


def _result(call: Call) -> Fields:
    return {"source_call_id": call.id, **({"content": call.result or ""} if call.has_result else {})}


def _extra(event: Fields) -> Fields:
    """Return what an event was, for those who look it up."""
    extra: Fields = {"event_id": event["id"], "kind": event["kind"]}
    if event["finished"]:
        extra["seconds"] = max(0, event["end_ns"] - event["start_ns"]) / 1e9
    else:
        extra["finished"] = False
    if event["failed"]:
        extra["failed"] = True
    if event["cost"] is not None and event["kind"] != "llm":
        extra["cost_usd"] = facts.dollars(event["cost"])
    return {**extra, "tags": event["tags"]} if event["tags"] else extra
