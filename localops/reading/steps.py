"""The events of a session as a tree of steps, to compare with other runs of the same program.

A step has a digest of its input, which are the arguments of a tool, or the prompt, parameters and model of an LLM call,
and a digest of its result.  These do not depend on the order of keys, nor on values that differ in every run: see
`without_ids`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby, islice

from localops.encoding import encode
from localops.encoding.lazy import late_pattern
from localops.reading import analytics
from localops.reading.calls import digest
from localops.reading.common_ids import Call, Givers
from localops.reading.made_up import without_durations, without_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from localops.journal.stored import Source

    Event = dict[str, Any]
    Keys = tuple[int, ...]
    Known = tuple[int, int, bool]

# The first events of a session that are compared; reading this many takes seconds.
MOST = 50_000
# The most nested steps that add to a step's weight in an alignment.
_MOST_WEIGHT = 30
# The most messages of the program or the user in a prompt to compare one by one.
_MOST_OWN = 200
_DAY_NS = 86_400 * 1_000_000_000
_GIVEN = ("params", "prompt", "details")
_RESULT = ("returns", "completion")
# Longer results are compared with their ids and times, as searching for these takes long.
_LONG_RESULT = 100_000
# Roles and types of messages that repeat results of earlier calls.
_REPEATING = frozenset(
    ("assistant", "ai", "model", "tool", "function", "function_call", "function_call_output", "tool_call", "tool_use")
)
# Types of a tool call in a model's answer, and levels of an answer to search for them.
_CALL_TYPES = frozenset(("function", "tool_use", "tool_call", "function_call", "server_tool_use", "mcp_tool_use"))
_CALL_DEPTH = 6
_HAS_ID = '"id":'
# In a prompt with at most this many messages, there cannot be two tool results.
_MOST_UNSORTED = 2
_RESULT_TYPES = ("tool", "function_call_output")
_TOOL_RESULTS = ("functionResponse", "function_response")
_NO_END = digest("no end is recorded")  # the result of a step without an end
# Characters of arguments, and messages of a prompt, for the similarity of steps with different inputs.
_SAMPLE, _SAMPLE_MESSAGES = 500, 20
_WORD = late_pattern(r"\w+")
# Ids of tool calls in messages, including numbered ones.
_CALL_ID = late_pattern(r'("(?:tool_call|tool_use|call)_id": ?"|"id": ?"(?=(?:call|toolu|tooluse|fc)[_-]))[^"\\]*')
# Durations, as test runners, builds and logs print them: after certain words, or in brackets.
_AMOUNT = late_pattern(
    r"""
      \d+(?:(?:\.\d+)?\ ?(?:ns|[uµ]s|ms)\b|(?:m\ ?\d+)?\.\d+\ ?s(?:ec(?:ond)?s?)?\b|:\d\d:\d\d\.\d+)
    """,
    re.VERBOSE,
)
_BEFORE_AMOUNT = late_pattern(
    r"(?:\b(?:in|took|after|elapsed:?|duration:?|latency:?|time:?) ~?|[(\[])\Z", re.IGNORECASE
)
_BEFORE_LENGTH = 12


class Step:
    """An event of a run, with the events inside it."""

    __slots__ = (
        "arguments",
        "asked",
        "cost",
        "end_ns",
        "error",
        "exact",
        "failed",
        "finished",
        "given",
        "id",
        "inside",
        "keys",
        "kind",
        "messages",
        "model",
        "name",
        "ordered",
        "own",
        "result",
        "sample",
        "size",
        "start_ns",
        "tokens_in",
        "tokens_out",
        "values",
    )

    def __init__(self, event: Event) -> None:
        self.id: str = event["id"]
        self.kind: str = event["kind"]
        self.name: str = event["name"] or ""
        self.model: str | None = event["model"]
        self.failed: bool = event["failed"]
        self.finished: bool = event["finished"]
        self.start_ns: int = event["start_ns"]
        self.end_ns: int | None = event["end_ns"]
        self.cost: int | None = event["cost"]
        self.tokens_in: int | None = event["tokens_in"]
        self.tokens_out: int | None = event["tokens_out"]
        self.error: str | None = None  # name and message of the error that made it fail
        self.inside: list[Step] = []
        self.size = 1  # the number of steps, including all steps inside
        self.exact = 0  # a digest of its input and result
        # Digests without ids and times: of the input, of the input without the model, and of the result, or the error
        # if it failed.
        self.given = self.asked = self.result = 0
        # For an LLM call, the digests of the parts of its prompt that do not repeat results of earlier calls.
        self.own: tuple[int, ...] = ()
        # For the similarity of steps: the beginning of the arguments, or for an LLM call, the digests of the last
        # messages and the beginning of the answer.
        self.sample = self.arguments = ""
        self.messages: tuple[int, ...] = ()
        self.values: tuple[str, ...] = ()  # the ids and times in its arguments, which the digests leave out
        self.keys: Keys = ()
        # A digest of all keys and of the steps inside in order, while `keys` do not depend on their order.
        self.ordered = 0

    @property
    def has_no_end(self) -> bool:
        """Return whether this was the innermost open step when the run ended or was read."""
        return not self.finished and not self.failed and all(child.finished for child in self.inside)

    @property
    def has_all_arguments(self) -> bool:
        """Whether `arguments` has the complete arguments, not only the beginning."""
        return 0 < len(self.arguments) < _SAMPLE

    @property
    def words(self) -> frozenset[str | int]:
        """The words and numbers in its arguments; for an LLM call, its last messages and the words of its answer."""
        return frozenset((*_WORD.findall(self.sample), *self.messages))

    @property
    def label(self) -> str:
        """Its name for people; for an LLM call without a name, the model."""
        return self.name or self.model or ""

    @property
    def took_ns(self) -> int | None:
        """Its duration; None if it has not ended."""
        return None if self.end_ns is None else max(0, self.end_ns - self.start_ns)

    @property
    def own_ns(self) -> int | None:
        """Its duration without the steps inside."""
        took = self.took_ns
        return None if took is None else max(0, took - sum(step.took_ns or 0 for step in self.inside))


class Steps:
    """The steps of a run: `all` in the order they began, and `roots`, which are not inside another step."""

    def __init__(self, events: list[Event], *, is_cut: bool = False) -> None:
        self.is_cut = is_cut  # the session has more events
        events = sorted(events, key=lambda event: (event["start_ns"], event["seq"]))
        self.all: list[Step] = []
        self.roots: list[Step] = []
        self._without_ids: dict[tuple[int, str], Known] = {}
        self._values: dict[int, tuple[str, ...]] = {}  # the ids and times in arguments, by the digests of these
        self._givers = Givers()
        known: dict[str, Step] = {}
        first_ns = events[0]["start_ns"] if events else 0
        last_ns = max((event["end_ns"] or event["start_ns"] for event in events), default=0)
        self.period = (first_ns - _DAY_NS, last_ns + _DAY_NS)  # times in it are regarded as times of the run
        failed = {event["id"] for event in events if event["failed"]}
        causes: dict[str, str] = {}
        for event in events:
            cause_of = _failed_call(event, failed)
            if cause_of is not None:
                causes.setdefault(cause_of, _message(event))
                continue
            step = Step(event)
            self._digest(step, event)
            # Only an earlier step can be a parent, so no step can be inside itself.
            parent = known.get(event["parent"])
            (self.roots if parent is None else parent.inside).append(step)
            known[step.id] = step
            self.all.append(step)
        for step in reversed(self.all):
            step.error = causes.get(step.id)
            if step.error and not step.result:
                step.result = digest(self.compared(step.error))
            if step.failed and not step.error:
                # An exception that passes through several operations is recorded only in the innermost.
                step.error = next((child.error for child in reversed(step.inside) if child.failed), None)
            if step.has_no_end:
                step.result = _NO_END
            step.size += sum(child.size for child in step.inside)
            step.keys = _keys(step)
            step.ordered = hash((step.keys[-1], *[child.ordered for child in step.inside]))

    @classmethod
    def read(cls, source: Source, session: bytes) -> Steps:
        """Read the steps of a session, without the rows that only name an agent."""
        events = list(islice(analytics.events(source, session), MOST + 1))
        return cls([event for event in events[:MOST] if event["kind"] != "agent"], is_cut=len(events) > MOST)

    def call(self, step: Step) -> Call:
        """Return a step with its ids and times, and which earlier step provided each."""
        at_ns = step.start_ns
        ids = self._givers.ids(step.values, at_ns)
        return Call(_kind_and_name(step), ids, lambda short: self._givers.before(short, at_ns))

    def had_one_of(self, values: Iterable[str]) -> bool:
        """Return whether one of these ids and times occurs in the run."""
        return self._givers.have_one_of(values)

    def compared(
        self,
        text: str,
        *,
        is_argument: bool = False,
        removed: list[str] | None = None,
        kept: frozenset[str] = frozenset(),
    ) -> str:
        """Return the form of a JSON text to compare: without ids and times; unless an argument, also without durations.

        The removed ids and times are appended to `removed`; those in `kept` are not removed.
        """
        text = without_ids(text, *self.period, removed=removed, kept=kept)
        text = without_durations(text, is_argument=is_argument)
        # The form of arguments must not change, as the baselines of `localops check` have digests of it.
        return text if is_argument else _CALL_ID.sub(r"\1<id>", _AMOUNT.sub(_replace_duration, text))

    def _digest(self, step: Step, event: Event) -> None:
        """Store the digests of the input and the result of a step."""
        exact: list[int] = []
        given: list[int] = []
        own: list[int] = []
        removed: list[str] = []
        values: list[str] = []
        for key, value in _given(event).items():
            items = _items(key, value)
            given.append(_digest_of_shape(key, len(items) if isinstance(value, list) else None))
            exact.append(given[-1])
            known = [self._cached_digests(key, item, removed) for item in items]
            if key == "params" and step.kind != "llm":
                values += [value for one in known for value in self._values.get(one[1], ())]
            if key == "prompt" and len(items) > _MOST_UNSORTED:
                known = _with_sorted_results(items, known)
            for compared, whole, repeats in known:
                exact.append(whole)
                given.append(compared)
                if not repeats:
                    own.append(compared)
        step.values = tuple(values)
        self._add_provided(removed, step, step.start_ns)
        # The step itself does not count as the provider of ids in its own input.
        self._add_provided(values, step, step.start_ns + 1)
        if step.kind == "llm":
            step.given = step.asked = hash(tuple(given))
            step.messages = tuple(given[-_SAMPLE_MESSAGES:])
            if event["model"]:
                # The last two are for the key and the value of the model.
                del given[-2:], own[-1:]
                step.asked = hash(tuple(given))
            step.own = tuple(own) if len(own) <= _MOST_OWN else (hash(tuple(own)),)
        else:
            # For tool calls, this digest is in the baselines of `localops check`.
            step.given = step.asked = digest(str(given))
            if params := event.get("params"):
                step.sample = step.arguments = _json(params)[:_SAMPLE]
        self._digest_result(step, event, exact)
        step.exact = hash(tuple(exact))

    def _digest_result(self, step: Step, event: Event, exact: list[int]) -> None:
        """Store the digest of a step's result, and append the exact digest to `exact`."""
        result = result_text(event)
        if not result:
            return
        exact.append(digest(result))
        step.sample = step.sample or result[:_SAMPLE]
        text = result
        if len(result) <= _LONG_RESULT:
            removed: list[str] = []
            text = result_text(event, is_compared=True) if _HAS_ID in result else result
            text = self.compared(text, removed=removed)
            self._add_provided(removed, step, step.start_ns if step.end_ns is None else step.end_ns)
        step.result = exact[-1] if text == result else digest(text)

    def _add_provided(self, values: Sequence[str], step: Step, at_ns: int) -> None:
        if values:
            self._givers.add(values, _kind_and_name(step), at_ns)

    def _cached_digests(self, key: str, item: Any, removed: list[str]) -> Known:
        """Return digests of the compared form and the exact form of a value, and whether it repeats an earlier call.

        The ids and times of a new value are appended to `removed`; those of arguments are stored.
        """
        text = _json(item)
        whole = digest(text)
        # A chat repeats its messages in each call, so most of them are cached.
        known = self._without_ids.get((whole, key))
        if known is None:
            is_argument = key == "params"
            if not is_argument and _HAS_ID in text:
                text = _json(without_call_ids(item))
            if key == "prompt" and (parts := _results(item)):
                text = _json(sorted(self.compared(_json(without_call_ids(part)), removed=removed) for part in parts))
            of_this = [] if is_argument else removed
            compared = digest(self.compared(text, is_argument=is_argument, removed=of_this))
            if is_argument and of_this:
                self._values[whole] = tuple(of_this)
            known = self._without_ids[whole, key] = (compared, whole, key == "prompt" and _repeats(item))
        return known

    @property
    def tools(self) -> Iterator[Step]:
        """The tool calls in the order they began."""
        return (step for step in self.all if step.kind == "tool")


def _kind_and_name(step: Step) -> str:
    return f"{step.kind} {step.name}"


def _replace_duration(amount: re.Match[str]) -> str:
    """Return `<time>` for an amount of time that is a duration, others unchanged."""
    start = amount.start()
    return "<time>" if _BEFORE_AMOUNT.search(amount.string[max(0, start - _BEFORE_LENGTH) : start]) else amount[0]


def _failed_call(event: Event, failed: set[str]) -> str | None:
    """Return the id of the call that failed with an error; None if the error is a step of its own."""
    if event["kind"] != "error":
        return None
    calls = (event["parent"], analytics.trigger_id(event))
    return next((call for call in calls if call in failed), None)


def _message(event: Event) -> str:
    return ": ".join(filter(None, (event["name"], str(event.get("details") or ""))))


def _keys(step: Step) -> Keys:
    """Return the keys to align a step by: kind and name, then also the input, the result and the steps inside.

    An LLM call to another model counts as the same call with another input.  The keys ignore the order of the steps
    inside, which may be random; `ordered` includes it.  The last key is repeated for each step inside, so that of two
    neighbours that changed places, the smaller one counts as moved.  The keys are only valid in this process.
    """
    name = hash((step.kind, step.name))
    given = hash((name, step.given))
    ended = hash((given, step.failed, step.result))
    whole = hash((ended, *sorted([child.keys[-1] for child in step.inside])))
    return (name, given, ended, *[whole] * min(step.size - 1, _MOST_WEIGHT))


@lru_cache
def _digest_of_shape(key: str, length: int | None) -> int:
    """Return a digest of a key in an input and the number of items of its value."""
    return digest(f"{key} {'' if length is None else length}")


def _given(event: Event) -> dict[str, Any]:
    given = {key: event[key] for key in _GIVEN if event.get(key)}
    if event["kind"] == "llm" and event["model"]:
        given["model"] = event["model"]
    return given


def _items(key: str, value: Any) -> list[Any]:
    """Return the parts of a value to compare one by one: the items of a list, the messages of a prompt."""
    if key == "prompt" and isinstance(value, dict) and isinstance(value.get("messages"), list):
        return [{name: item for name, item in value.items() if name != "messages"}, *value["messages"]]
    return value if isinstance(value, list) else [value]


def _repeats(message: object) -> bool:
    """Return whether a message in a prompt is the answer of an earlier call or the result of a tool."""
    if not isinstance(message, dict):
        return False
    if str(message.get("role") or message.get("type")) in _REPEATING or str(message.get("type")) in _REPEATING:
        return True
    parts = message.get("content") or message.get("parts")
    return isinstance(parts, list) and bool(parts) and all(map(_is_tool_result, parts))


def _with_sorted_results(messages: Sequence[Any], known: Sequence[Known]) -> list[Known]:
    """Return `known`, with consecutive tool results sorted.

    The results of parallel calls come in the order in which the calls ended.
    """
    groups = groupby(zip(messages, known, strict=True), lambda pair: _is_result(pair[0]))
    return [one for is_result, group in groups for one in _sorted([one for _, one in group], is_result)]


def _sorted(known: list[Known], is_result: bool) -> list[Known]:
    return sorted(known) if is_result else known


def _is_result(message: object) -> bool:
    return isinstance(message, dict) and (message.get("role") == "tool" or message.get("type") in _RESULT_TYPES)


def _results(message: object) -> list[Any]:
    """Return the tool results in a message that consists of several; else an empty list."""
    parts = (message.get("content") or message.get("parts")) if isinstance(message, dict) else None
    is_results = isinstance(parts, list) and len(parts) > 1 and all(map(_is_tool_result, parts))
    return parts if is_results and isinstance(parts, list) else []


def _is_tool_result(part: object) -> bool:
    return isinstance(part, dict) and (part.get("type") == "tool_result" or any(key in part for key in _TOOL_RESULTS))


def given_text(event: Event, *, is_own: bool = False) -> str:
    """Return the input of an event, without its model, as JSON with sorted keys.

    is_own: leave out the messages in a prompt that repeat results of earlier calls.
    """
    given = {key: event[key] for key in _GIVEN if event.get(key)}
    if is_own and "prompt" in given:
        given["prompt"] = [item for item in _items("prompt", given["prompt"]) if not _repeats(item)]
    if "prompt" in given:
        given["prompt"] = without_call_ids(given["prompt"])
    return _json(given) if given else ""


def result_text(event: Event, *, is_compared: bool = False) -> str:
    """Return the result of an event: a text unchanged, other values as JSON with sorted keys; empty without a result.

    is_compared: leave out the ids of tool calls.
    """
    results = [event[key] for key in _RESULT if event.get(key) is not None]
    if is_compared:
        results = [without_call_ids(result) for result in results]
    return "\n".join(result if isinstance(result, str) else _json(result) for result in results)


def without_call_ids(value: Any, depth: int = _CALL_DEPTH) -> Any:
    """Replace the ids of tool calls in a message, an answer or a list of them by `<id>`, in any format."""
    if not depth or not isinstance(value, dict | list):
        return value
    if isinstance(value, list):
        return [without_call_ids(item, depth - 1) for item in value]
    plain = {name: without_call_ids(item, depth - 1) for name, item in value.items()}
    is_call = value.get("type") in _CALL_TYPES or isinstance(value.get("function"), dict)
    return {**plain, "id": "<id>"} if is_call and isinstance(value.get("id"), str) else plain


def _json(value: object) -> str:
    return encode.sorted_dumps(value).decode("utf-8", "replace")
