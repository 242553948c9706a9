"""Values of attributes: requests, answers and messages as clients write them, and what is JSON in a text."""

from __future__ import annotations

from localops.encoding import encode
from localops.interruption import attempt
from localops.recording.events import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST_TEXT = 64 << 20  # a longer text is kept as text
ECHOED = ("object", "tools", "instructions", "input", "messages")  # a response repeats what was asked
REQUEST = {
    "prompt": ("messages", "input", "contents", "prompt"),
    "model": ("model", "model_id", "modelId"),
    "system_instructions": ("system", "instructions", "system_instruction", "systemInstruction"),
    "tool_definitions": ("tools", "functions"),
}


def is_request(given: dict[str, Any]) -> bool:
    """Return whether a value is the whole request of a client: messages of a form that is known, or a text."""
    prompt = next((given[name] for name in REQUEST["prompt"] if given.get(name) is not None), None)
    if type(prompt) is str:
        return "model" in given
    if type(prompt) is not list or not prompt:
        return False
    return all(type(each) is str or (type(each) is dict and "lc" not in each) for each in prompt)


def is_response(given: dict[str, Any]) -> bool:
    """Return whether a value is the whole response of a client."""
    return any(type(given.get(key)) is list for key in ("choices", "output", "candidates", "content", "data"))


def answer_of(rest: dict[str, Any]) -> tuple[Any, Any]:
    """Take the answer and the reason why it ended out of a response."""
    choices = rest.get("choices")
    if type(choices) is list:
        del rest["choices"]
        messages = [each.get("message", each) if type(each) is dict else each for each in choices]
        reasons = [each.get("finish_reason") for each in choices if type(each) is dict]
        left = [_without(each, "message finish_reason index") for each in choices if type(each) is dict]
        if any(left):
            rest["choices"] = left
        return single(list(map(lean, messages))), single([reason for reason in reasons if reason is not None])
    if type(rest.get("content")) is list:
        message = {"role": rest.pop("role", "assistant"), "content": [lean(each) for each in rest.pop("content")]}
        rest.pop("type", None)
        return message, rest.pop("stop_reason", None)
    if type(rest.get("output")) is list:
        return [lean(each) for each in rest.pop("output")], None
    return first(rest.pop("candidates", None), rest.pop("data", None)), None


def langchain_reply(result: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what LangChain's result of a call has beside the answer, and the answer's id and model."""
    about = result.get("llm_output")
    rest = dict(about) if type(about) is dict else {}
    if "id" not in rest:
        at: Any = result["generations"]
        for step in (0, 0, "message", "kwargs", "response_metadata"):
            is_there = step in at if type(at) is dict else type(at) is list and bool(at) and step == 0
            at = at[step] if is_there else None
        rest = dict(at) if type(at) is dict else rest
    rest.pop("token_usage", None)
    answer = {"id": rest.pop("id", None), "model": rest.pop("model_name", None)}
    return {key: value for key, value in rest.items() if value not in (None, [], {})}, answer


def lean(value: Any) -> Any:
    """Return a dict without what is not set."""
    if type(value) is not dict:
        return value
    return {key: each for key, each in value.items() if each is not None or key == "content"}


def _without(value: dict[str, Any], names: str) -> dict[str, Any]:
    left = names.split()
    return {key: each for key, each in value.items() if key not in left and each is not None}


def first(*values: Any) -> Any:
    """Return the first value that is not None."""
    for value in values:
        if value is not None:
            return value
    return None


def one(value: Any) -> Any:
    """Return a list of one as that one, any other sequence as a list."""
    if isinstance(value, (list, tuple)):
        return single(list(value))
    return value


def single(values: list[Any]) -> Any:
    """Return the only one of a list, the list of several, None for none."""
    return values[0] if len(values) == 1 else values or None


def number(value: Any) -> float | None:
    """Return a number, or the one that a text holds; None for anything else."""
    if type(value) is float or type(value) is int:
        return value
    if type(value) is str:
        return attempt(lambda: float(value), None)
    return None


def text_of(value: Any) -> str | None:
    """Return a value as text; None for None."""
    return None if value is None else value if type(value) is str else describe(value)


def parsed(value: Any) -> Any:
    """Return the value of a text in JSON; anything else unchanged."""
    if type(value) is tuple:
        return list(value)
    if type(value) is not str or len(value) > _MOST_TEXT or value[:1] not in ("{", "[", '"'):
        return value
    try:
        return encode.loads(value)
    except ValueError:
        return value


def tidy(value: Any) -> Any:
    """Return messages without names that are not given."""
    if type(value) is not list:
        return value
    return [
        {key: each for key, each in message.items() if each is not None or key == "content"}
        if type(message) is dict and None in message.values()
        else message
        for message in value
    ]


def tag_list(given: Any) -> list[Any] | None:
    """Return tags as a list."""
    if given is None:
        return None
    given = parsed(given)
    return list(given) if isinstance(given, (list, tuple)) else [given]


def reasons(completion: Any) -> list[Any] | None:
    """Return why each answer ended, for those that have a reason."""
    messages = completion if type(completion) is list else [completion]
    reasons = [message.get("finish_reason") for message in messages if type(message) is dict]
    if not reasons or None in reasons:
        return None
    return None if "unknown" in map(text_of, reasons) else reasons


def tool_calls(completion: Any) -> list[Any] | None:
    """Return the tools that an answer asks for, in whichever form it has them."""
    messages = completion if type(completion) is list else [completion]
    calls: list[Any] = []
    for message in messages:
        if type(message) is not dict:
            continue
        if type(message.get("content")) is dict:  # a candidate of Gemini's, with a message in it
            message = message["content"]
        if type(message.get("tool_calls")) is list:
            calls += map(_tool_call, message["tool_calls"])
            continue
        if message.get("type") == "function_call":
            calls.append(_tool_call(message))
        for parts in (message.get("parts"), message.get("content")):
            if type(parts) is list:
                calls += [
                    _tool_call(p) for p in parts if type(p) is dict and p.get("type") in ("tool_call", "tool_use")
                ]
                asked = [first(p.get("function_call"), p.get("functionCall")) for p in parts if _may_ask(p)]
                calls += [_tool_call(call) for call in asked if type(call) is dict]
    return calls or None


def _may_ask(part: Any) -> bool:
    return type(part) is dict and ("function_call" in part or "functionCall" in part)


def _tool_call(call: Any) -> Any:
    """Return a call as id, name and arguments."""
    if type(call) is not dict:
        return call
    inner = call.get("function")
    function = inner if type(inner) is dict else call
    arguments = first(function.get("arguments"), function.get("input"), function.get("args"))
    fields = {
        "id": first(call.get("call_id"), call.get("id")),
        "name": function.get("name"),
        "arguments": parsed(arguments),
    }
    return {key: value for key, value in fields.items() if value is not None}
