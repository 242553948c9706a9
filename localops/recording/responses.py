"""Read the response of a model library: its model, its tokens, its finish reason, its answer.

A response is a dict as the HTTP APIs send it, or an object of a known library.  An object is recognised by the package
of its class and converted to plain data once; no library is imported.  Streams, iterators and coroutines are not
touched.  A dict is read only if its keys identify it beyond doubt.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from localops.careful import quiet, value_of
from localops.interruption import attempt, hold_if_programs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Fields = dict[str, Any]
    # From the plain data of a response and the provider of its library; returns None if it has another shape.
    Reader = Callable[[Fields, str | None], "Reply | None"]

MOST = 10_000
"""Only so many choices, parts and tool calls of one response are read; the rest is stored unread."""


class Reply(NamedTuple):
    """The content of a response; fields that the response does not have are None.

    `prompt_tokens` always includes tokens read from or written to a cache, and `completion_tokens` includes reasoning
    tokens, even if the provider counts them separately.  `plain` is the whole response as plain data, `rest` is the
    same without the `completion`.
    """

    model: str | None = None
    provider: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_audio_tokens: int | None = None
    cached_audio_tokens: int | None = None
    finish_reason: str | list[str] | None = None
    tool_calls: list[dict[str, Any]] | None = None
    response_id: str | None = None
    completion: object = None
    plain: object = None
    rest: object = None


def read(response: object) -> Reply | None:
    """Return the content of a response; None for any value that is not a response of a known library."""
    return attempt(lambda: _quietly(response), None)


def _quietly(response: object) -> Reply | None:
    depth = quiet.depth()
    try:
        with quiet:
            return _read_dict(response, None) if issubclass(type(response), dict) else _read_object(response)
    except BaseException:
        quiet.back_to(depth)  # `__exit__` may have been interrupted before it began
        raise


def _read_dict(response: object, provider: str | None) -> Reply | None:
    fields = _dict(response)
    for keys, reader in _SHAPES:
        reply = reader(fields, provider) if keys <= fields.keys() else None
        if reply is not None:
            return reply._replace(plain=response)
    return None


def _read_object(response: object) -> Reply | None:
    kind = type(response)
    package = _package_of(kind)
    if package is None:
        return None
    if package == "langchain_core" and type.__getattribute__(kind, "__name__") in ("LLMResult", "ChatResult"):
        return _langchain_result(response)
    provider = _PACKAGES[package]
    if package == "litellm":
        provider = _text(_dict(getattr(response, "_hidden_params", None)).get("custom_llm_provider"))
    return _read_dict(_dump(response), provider)


# Known classes

# The packages whose objects are responses, each with its provider, if all its responses come from one.
_PACKAGES: dict[str, str | None] = {
    "anthropic": None,  # also for Bedrock, Vertex AI, and others with the same API
    "cohere": "cohere",
    "google": "google",
    "groq": "groq",
    "langchain_core": None,
    "litellm": None,
    "mistralai": "mistral",
    "ollama": "ollama",
    "openai": None,
    "together": "together",
}


def _package_of(kind: type) -> str | None:
    """Return the known package of a pydantic class or of one of its bases, if any."""
    bases = type.__dict__["__mro__"].__get__(kind)
    modules = [type.__getattribute__(base, "__module__") for base in bases]
    roots = [module.partition(".")[0] for module in modules if type(module) is str]
    if "pydantic" not in roots:
        return None
    return next((root for root in roots if root in _PACKAGES), None)


def _dump(response: object) -> Fields:
    """Return the fields of a pydantic model that have a value."""
    kind = type(response)
    dump = getattr(kind, "model_dump", None)
    if dump is None:  # pydantic 1
        fields = kind.dict(response, exclude_none=True)  # type: ignore[attr-defined]
    else:
        try:
            fields = dump(response, exclude_none=True, warnings=False)
        except TypeError as error:
            # A library may override the method without these arguments.
            hold_if_programs(error)
            fields = dump(response)
    return _dict(fields)


# Values of a response: each may have a wrong type


def _dict(value: object) -> Fields:
    if type(value) is dict:
        return value
    # A subclass may override any method.
    return dict(dict.items(value)) if issubclass(type(value), dict) else {}  # type: ignore[arg-type]


def _list(value: object) -> list[Any]:
    return value[:MOST] if type(value) is list else []


def _dicts(value: object) -> list[Fields]:
    return [_dict(item) for item in _list(value) if issubclass(type(item), dict)]


def _text(value: object) -> str | None:
    if issubclass(type(value), enum.Enum):
        value = value_of(value)
    return value if type(value) is str and value else None


def _count(*values: object) -> int | None:
    """Return the first value that is a valid count."""
    for value in values:
        if type(value) is int and value >= 0:
            return value
        if type(value) is float and value >= 0 and value.is_integer():
            return int(value)
    return None


def _sum(*counts: int | None) -> int | None:
    """Return the sum of the known counts; None if there are none."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _first(fields: Fields, *names: str) -> Any:
    """Return the first of these fields that has a value: some APIs spell a name in two ways."""
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _without(fields: Fields, *names: str) -> Fields:
    return {name: value for name, value in fields.items() if name not in names}


def _without_none(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value is not None}


def _reasons(values: Iterable[object]) -> str | list[str] | None:
    """Return why the model stopped; for several answers, each reason once."""
    reasons = list(dict.fromkeys(filter(None, map(_text, values))))
    return reasons[0] if len(reasons) == 1 else reasons or None


def _one_or_all(messages: list[Any]) -> object:
    return messages[0] if len(messages) == 1 else messages or None


def _call(id: object, name: object, arguments: object) -> Fields:
    return {"id": _text(id), "name": _text(name), "arguments": arguments}


def _with_cache(prompt: int | None, *beside: int | None) -> int | None:
    """Return the tokens of a whole prompt, for a provider that counts those of the cache separately."""
    return None if prompt is None else prompt + sum(count or 0 for count in beside)


def _with_reasoning(prompt: int | None, completion: int | None, reasoning: int | None, total: int | None) -> int | None:
    """Return the tokens of a whole completion: if the total shows it, reasoning was counted separately."""
    if completion is None or not reasoning:
        return completion
    beside = reasoning > completion or (prompt is not None and total == prompt + completion + reasoning)
    return completion + reasoning if beside else completion


# OpenAI's chat completions, and the many APIs with the same response


def _chat(fields: Fields, provider: str | None) -> Reply | None:
    usage, choices = _dict(fields.get("usage")), _dicts(fields["choices"])
    prompt = _count(usage.get("prompt_tokens"))
    if prompt is None and _text(fields.get("object")) not in ("chat.completion", "text_completion"):
        return None
    if type(fields["choices"]) is not list or len(choices) != len(_list(fields["choices"])):
        return None
    read = _dict(usage.get("prompt_tokens_details"))
    written_how = _dict(read.get("cache_creation_token_details"))
    produced = _dict(usage.get("completion_tokens_details"))
    cached = _count(
        read.get("cached_tokens"),
        usage.get("cache_read_input_tokens"),
        usage.get("prompt_cache_hit_tokens"),
        usage.get("cached_tokens"),
    )
    written = _count(
        read.get("cache_creation_tokens"), read.get("cache_write_tokens"), usage.get("cache_creation_input_tokens")
    )
    if prompt is not None and (cached or 0) + (written or 0) > prompt:
        # They must have been counted separately.
        prompt = _with_cache(prompt, cached, written)
    completion, reasoning = _count(usage.get("completion_tokens")), _count(produced.get("reasoning_tokens"))
    messages = [
        _without_none(_dict(choice.get("message"))) or _assistant_message(choice.get("text")) for choice in choices
    ]
    answers = [message for message in messages if message]
    return Reply(
        model=_text(fields.get("model")),
        provider=provider or _provider_of(fields, choices),
        prompt_tokens=prompt,
        completion_tokens=_with_reasoning(prompt, completion, reasoning, _count(usage.get("total_tokens"))),
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=_count(written_how.get("ephemeral_1h_input_tokens")),
        reasoning_tokens=reasoning,
        input_audio_tokens=_count(read.get("audio_tokens")),
        output_audio_tokens=_count(produced.get("audio_tokens")),
        finish_reason=_reasons(choice.get("finish_reason") for choice in choices),
        tool_calls=[call for message in messages for call in _chat_calls(message)] or None,
        response_id=_text(fields.get("id")),
        completion=_one_or_all(answers),
        rest={**fields, "choices": [_without(choice, "message", "text") for choice in choices]},
    )


def _assistant_message(text: object) -> Fields:
    return {"role": "assistant", "content": text} if type(text) is str else {}


def _chat_calls(message: Fields) -> Iterator[Fields]:
    calls = _dicts(message.get("tool_calls"))
    for call in calls:
        function = _dict(call.get("function")) or _dict(call.get("custom"))
        yield _call(call.get("id"), function.get("name"), _first(function, "arguments", "input"))
    if not calls and (function := _dict(message.get("function_call"))):
        yield _call(None, function.get("name"), function.get("arguments"))


def _provider_of(fields: Fields, choices: list[Fields]) -> str | None:
    """Return the provider, if the response has a field that only this provider sends."""
    if "x_groq" in fields:
        return "groq"
    if "prompt_filter_results" in fields or any("content_filter_results" in choice for choice in choices):
        return "azure"
    is_routed = (_text(fields.get("id")) or "").startswith("gen-") and _text(fields.get("provider"))
    return "openrouter" if is_routed else None


# OpenAI's Responses


def _openai_response(fields: Fields, provider: str | None) -> Reply | None:
    if fields["object"] != "response" or type(fields["output"]) is not list:
        return None
    usage, items = _dict(fields.get("usage")), _dicts(fields["output"])
    read, produced = _dict(usage.get("input_tokens_details")), _dict(usage.get("output_tokens_details"))
    content: list[object] = []
    items_left: list[Fields] = []
    for item in items:
        is_message = item.get("type") == "message" and type(item.get("content")) is list
        content += item["content"] if is_message else [_without_none(item)]
        items_left.append(_without(item, "content") if is_message else {"type": item.get("type"), "id": item.get("id")})
    return Reply(
        model=_text(fields.get("model")),
        provider=provider,
        prompt_tokens=_count(usage.get("input_tokens")),
        completion_tokens=_count(usage.get("output_tokens")),
        cached_tokens=_count(read.get("cached_tokens")),
        cache_write_tokens=_count(read.get("cache_write_tokens")),
        reasoning_tokens=_count(produced.get("reasoning_tokens")),
        input_audio_tokens=_count(read.get("audio_tokens")),
        output_audio_tokens=_count(produced.get("audio_tokens")),
        finish_reason=_text(_dict(fields.get("incomplete_details")).get("reason")) or _text(fields.get("status")),
        tool_calls=[
            _call(_first(item, "call_id", "id"), item.get("name"), _first(item, "arguments", "input"))
            for item in items
            if item.get("type") in ("function_call", "custom_tool_call")
        ]
        or None,
        response_id=_text(fields.get("id")),
        completion={"role": "assistant", "content": content} if content else None,
        rest={**fields, "output": items_left},
    )


# Anthropic's messages: from its own API, Bedrock and Vertex AI

_ISSUERS = {"msg_bdrk_": "bedrock", "msg_vrtx_": "vertex_ai"}


def _anthropic_message(fields: Fields, provider: str | None) -> Reply | None:
    usage, blocks = _dict(fields["usage"]), fields["content"]
    prompt = _count(usage.get("input_tokens"))
    if (fields["type"], fields["role"]) != ("message", "assistant") or type(blocks) is not list or prompt is None:
        return None
    model, id = _text(fields.get("model")), _text(fields.get("id")) or ""
    issuer = next((issuer for start, issuer in _ISSUERS.items() if id.startswith(start)), None)
    if issuer is None and id.startswith("msg_") and (model or "").startswith("claude"):
        issuer = "anthropic"
    written_how = _dict(usage.get("cache_creation"))
    for_an_hour = _count(written_how.get("ephemeral_1h_input_tokens"))
    by_age = _sum(_count(written_how.get("ephemeral_5m_input_tokens")), for_an_hour)
    cached = _count(usage.get("cache_read_input_tokens"))
    written = _max_count(_count(usage.get("cache_creation_input_tokens")), by_age)
    return Reply(
        model=model,
        provider=provider or issuer,
        prompt_tokens=_with_cache(prompt, cached, written),
        completion_tokens=_count(usage.get("output_tokens")),
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=for_an_hour,
        reasoning_tokens=_count(_dict(usage.get("output_tokens_details")).get("thinking_tokens")),
        finish_reason=_text(fields.get("stop_reason")),
        tool_calls=[
            _call(block.get("id"), block.get("name"), block.get("input"))
            for block in _dicts(blocks)
            if block.get("type") == "tool_use"
        ]
        or None,
        response_id=id or None,
        completion={"role": "assistant", "content": blocks},
        rest=_without(fields, "content"),
    )


def _max_count(*counts: int | None) -> int | None:
    return max((count for count in counts if count is not None), default=None)


# Google's Gemini: names in camel case over HTTP, with underscores in the library


def _gemini(fields: Fields, provider: str | None) -> Reply | None:
    usage = _dict(_first(fields, "usage_metadata", "usageMetadata"))
    model = _text(_first(fields, "model_version", "modelVersion"))
    prompt = _count(_first(usage, "prompt_token_count", "promptTokenCount"))
    candidates = _dicts(fields.get("candidates"))
    if provider is None and prompt is None and not (model and candidates):
        return None
    contents = [_dict(candidate.get("content")) for candidate in candidates]
    messages = [{"role": "model", **_without_none(content)} for content in contents if content]
    for_tools = _count(_first(usage, "tool_use_prompt_token_count", "toolUsePromptTokenCount"))
    answered = _count(_first(usage, "candidates_token_count", "candidatesTokenCount"))
    reasoning = _count(_first(usage, "thoughts_token_count", "thoughtsTokenCount"))
    return Reply(
        model=model,
        provider="google",
        prompt_tokens=_sum(prompt, for_tools),
        completion_tokens=_sum(answered, reasoning),
        cached_tokens=_count(_first(usage, "cached_content_token_count", "cachedContentTokenCount")),
        reasoning_tokens=reasoning,
        input_audio_tokens=_audio(usage, "prompt_tokens_details", "promptTokensDetails"),
        output_audio_tokens=_audio(usage, "candidates_tokens_details", "candidatesTokensDetails"),
        cached_audio_tokens=_audio(usage, "cache_tokens_details", "cacheTokensDetails"),
        finish_reason=_reasons(_first(candidate, "finish_reason", "finishReason") for candidate in candidates),
        tool_calls=[call for content in contents for call in _gemini_calls(content)] or None,
        response_id=_text(_first(fields, "response_id", "responseId")),
        completion=_one_or_all(messages),
        rest={**fields, "candidates": [_without(each, "content") for each in candidates]} if candidates else fields,
    )


def _audio(usage: Fields, *names: str) -> int | None:
    details = [each for each in _dicts(_first(usage, *names)) if _text(each.get("modality")) == "AUDIO"]
    return _sum(*(_count(_first(each, "token_count", "tokenCount")) for each in details))


def _gemini_calls(content: Fields) -> Iterator[Fields]:
    for part in _dicts(content.get("parts")):
        if function := _dict(_first(part, "function_call", "functionCall")):
            yield _call(function.get("id"), function.get("name"), function.get("args"))


# Bedrock's Converse


def _converse(fields: Fields, provider: str | None) -> Reply | None:
    output, usage = _dict(fields["output"]), _dict(fields["usage"])
    message, prompt = _dict(output.get("message")), _count(usage.get("inputTokens"))
    if not message or prompt is None:
        return None
    cached, written = _count(usage.get("cacheReadInputTokens")), _count(usage.get("cacheWriteInputTokens"))
    by_age = _dicts(usage.get("cacheDetails"))
    uses = (_dict(part.get("toolUse")) for part in _dicts(message.get("content")))
    http = _dict(fields.get("ResponseMetadata"))
    return Reply(
        provider=provider or "bedrock",
        prompt_tokens=_with_cache(prompt, cached, written),
        completion_tokens=_count(usage.get("outputTokens")),
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=_sum(*(_count(each.get("inputTokens")) for each in by_age if each.get("ttl") == "1h")),
        finish_reason=_text(fields["stopReason"]),
        tool_calls=[_call(use.get("toolUseId"), use.get("name"), use.get("input")) for use in uses if use] or None,
        response_id=_text(http.get("RequestId")),
        completion=message,
        rest={**fields, "output": _without(output, "message")},
    )


# Ollama's chat and generate


def _ollama(fields: Fields, provider: str | None) -> Reply | None:
    prompt, completion = _count(fields.get("prompt_eval_count")), _count(fields.get("eval_count"))
    message = _without_none(_dict(fields.get("message"))) or _without_none(
        {**_assistant_message(fields.get("response")), "thinking": fields.get("thinking")}
    )
    if fields["done"] is not True or not message or (prompt is None and completion is None):
        return None
    return Reply(
        model=_text(fields["model"]),
        provider=provider or "ollama",
        prompt_tokens=prompt,
        completion_tokens=completion,
        finish_reason=_text(fields.get("done_reason")),
        tool_calls=list(_chat_calls(message)) or None,
        completion=message,
        rest=_without(fields, "message", "response", "thinking"),
    )


# Cohere's chat


def _cohere(fields: Fields, provider: str | None) -> Reply | None:
    usage, message = _dict(fields["usage"]), _dict(fields["message"])
    billed, counted = _dict(usage.get("billed_units")), _dict(usage.get("tokens"))
    prompt = _count(billed.get("input_tokens"), counted.get("input_tokens"))
    if message.get("role") != "assistant" or prompt is None:
        return None
    cached = _count(usage.get("cached_tokens"))
    return Reply(
        provider=provider or "cohere",
        prompt_tokens=prompt,
        completion_tokens=_count(billed.get("output_tokens"), counted.get("output_tokens")),
        cached_tokens=cached if cached is None or cached <= prompt else None,  # of the counted tokens, not the billed
        finish_reason=_text(fields["finish_reason"]),
        tool_calls=list(_chat_calls(message)) or None,
        response_id=_text(fields["id"]),
        completion=_without_none(message),
        rest=_without(fields, "message"),
    )


# LangChain's AI message, and its results with several messages


def _langchain(fields: Fields, provider: str | None) -> Reply | None:
    if fields["type"] not in ("ai", "AIMessageChunk"):
        return None
    about, usage = _dict(fields["response_metadata"]), _dict(fields.get("usage_metadata"))
    read, produced = _dict(usage.get("input_token_details")), _dict(usage.get("output_token_details"))
    counted = _dict(about.get("token_usage"))
    for_an_hour = _count(read.get("ephemeral_1h_input_tokens"))
    by_age = _sum(_count(read.get("ephemeral_5m_input_tokens")), for_an_hour)
    own_id = _text(fields.get("id"))
    if own_id is not None and own_id.startswith(("run-", "lc_")):
        # LangChain's id, not the provider's.
        own_id = None
    calls = [
        _call(call.get("id"), call.get("name"), _first(call, "args", "arguments"))
        for call in _dicts(fields.get("tool_calls"))
    ]
    message = {"role": "assistant", "content": fields.get("content")}
    extra = _dict(fields.get("additional_kwargs"))
    rest = _without(fields, "content", "tool_calls")
    if extra:
        rest["additional_kwargs"] = _without(extra, "tool_calls", "function_call")
    return Reply(
        model=_text(_first(about, "model_name", "model", "model_id")),
        provider=provider or _text(about.get("model_provider")),
        prompt_tokens=_count(usage.get("input_tokens"), counted.get("prompt_tokens")),
        completion_tokens=_count(usage.get("output_tokens"), counted.get("completion_tokens")),
        cached_tokens=_count(read.get("cache_read")),
        cache_write_tokens=_max_count(_count(read.get("cache_creation")), by_age),
        cache_write_1h_tokens=for_an_hour,
        reasoning_tokens=_count(produced.get("reasoning")),
        input_audio_tokens=_count(read.get("audio")),
        output_audio_tokens=_count(produced.get("audio")),
        finish_reason=_text(_first(about, "finish_reason", "stop_reason", "stopReason", "done_reason")),
        tool_calls=calls or None,
        response_id=_text(about.get("id")) or own_id,
        completion={**message, "tool_calls": calls} if calls else message,
        rest=rest,
    )


def _langchain_result(result: Any) -> Reply | None:
    """Read a result, which holds lists of answers, one list for each prompt."""
    groups = [group if type(group) is list else [group] for group in _list(result.generations)]
    dumps = [[_dump(getattr(generation, "message", generation)) for generation in _list(group)] for group in groups]
    replies = [[_generation(fields) for fields in group] for group in dumps if group]
    if not replies:
        return None
    everything, first = [reply for group in replies for reply in group], replies[0][0]
    # Each of several answers to one prompt has the tokens of all of them: count the first only.
    counts = {name: _sum(*(getattr(group[0], name) for group in replies)) for name in _COUNTS}
    output = _dict(result.llm_output)
    used = _dict(output.get("token_usage"))
    if counts["prompt_tokens"] is None:
        counts["prompt_tokens"] = _count(used.get("prompt_tokens"))
        counts["completion_tokens"] = _count(used.get("completion_tokens"))
    about = {"llm_output": output} if output else {}
    return first._replace(
        **counts,  # type: ignore[arg-type]
        model=first.model or _text(output.get("model_name")),
        finish_reason=_reasons(reply.finish_reason for reply in everything),
        tool_calls=[call for reply in everything for call in reply.tool_calls or ()] or None,
        response_id=first.response_id or _text(output.get("id")),
        completion=_one_or_all([reply.completion for reply in everything if reply.completion]),
        plain={"generations": dumps, **about},
        rest={"generations": [[reply.rest for reply in group] for group in replies], **about},
    )


def _generation(fields: Fields) -> Reply:
    reply = _langchain(fields, None) if fields.keys() >= {"type", "response_metadata"} else None
    return reply or _plain_text(fields)


def _plain_text(generation: Fields) -> Reply:
    about = _dict(generation.get("generation_info"))
    return Reply(
        finish_reason=_text(about.get("finish_reason")),
        completion=_assistant_message(generation.get("text")) or None,
        rest=_without(generation, "text"),
    )


_COUNTS = tuple(name for name in Reply._fields if name.endswith("_tokens"))

# The required keys of each shape, and its reader, which may still return None.
_SHAPES: tuple[tuple[frozenset[str], Reader], ...] = (
    (frozenset(("choices",)), _chat),
    (frozenset(("object", "output")), _openai_response),
    (frozenset(("type", "role", "content", "usage")), _anthropic_message),
    (frozenset(("candidates",)), _gemini),
    (frozenset(("usageMetadata", "promptFeedback")), _gemini),  # a blocked prompt
    (frozenset(("usage_metadata", "prompt_feedback")), _gemini),
    (frozenset(("output", "stopReason", "usage")), _converse),
    (frozenset(("model", "done")), _ollama),
    (frozenset(("id", "message", "usage", "finish_reason")), _cohere),
    (frozenset(("type", "response_metadata")), _langchain),
)
