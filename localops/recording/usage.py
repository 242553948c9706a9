"""The figures of an event: its times, tokens and cost, as the columns of a row hold them.

If a value is not a valid number, its column stays empty and the body keeps the value.
"""

from __future__ import annotations

from localops.careful import quiet
from localops.interruption import attempt, settle
from localops.journal import rows, token_kinds
from localops.output import say_once
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from localops.encoding.pricing import Prices
    from localops.recording.events import Event, LLMEvent
    from localops.recording.responses import Reply

    Measures = tuple[Any, ...]  # as in UNMEASURED
    T = TypeVar("T")

UNMEASURED = (None, None, None, None, None, None)  # model, four token counts, cost
# For an event of another class that counts as an LLM call: it has no usage, so it costs 0 and is not unpriced.
NO_USAGE = (None, None, None, None, None, 0)
# More than any call costs; sums of such figures still fit a column.
_MOST_NANO = 10**15
_MOST_TOKENS = rows.MOST_TOKENS


# Common return types that are not the response of a library.
_NO_RESPONSE = frozenset((type(None), str, bytes, int, float, bool, list, tuple))


def reply_of(call: LLMEvent) -> Reply | None:
    """Return the content of the response that a call returned; None if it is not from a known library."""
    if type(call.returns) in _NO_RESPONSE:
        return None
    from localops.recording import responses

    return responses.read(call.returns)


def known_of(call: LLMEvent) -> tuple[object, object, object, object]:
    """Return a call's response id, model, prompt tokens and completion tokens: given, or read from its response."""
    reply = reply_of(call)
    own = (call.response_id, call.model, call.prompt_tokens, call.completion_tokens)
    if reply is None:
        return own
    response = (reply.response_id, reply.model, reply.prompt_tokens, reply.completion_tokens)
    id, model, prompt, completion = (
        given if given is not None else read for given, read in zip(own, response, strict=True)
    )
    return id, model, prompt, completion


def of_llm(
    event: LLMEvent,
    at: int,
    text: Callable[[object, int], str],
    prices: Callable[[], Prices],
    reply: Reply | None = None,
) -> tuple[Any, ...]:
    """Return model, tokens and cost: as the program gave them, else from its response.

    A cost that the program gave takes precedence over the price table.
    """
    given = event.model if event.model is not None or reply is None else reply.model
    model = text(given, 256) if given is not None else None
    provider = event.provider if reply is None or event.provider is not None else reply.provider
    provider = provider if issubclass(type(provider), str) else None
    counts, is_one_unusable = _counts_of(event, reply)
    prompt, cached = counts.get("prompt_tokens"), counts.get("cached_tokens")
    written = counts.get("cache_write_tokens")
    # A count from the response already includes the tokens of the cache.
    if prompt is not None and (cached or written) and (reply is None or prompt != reply.prompt_tokens):
        counts["prompt_tokens"] = prompt = _prompt_with_cache(prompt, cached or 0, written or 0, provider, model)
    cost = nano(event.cost)
    if cost is None and model is not None and not is_one_unusable:
        cost = _priced(model, provider, counts, at, prices)
    return (model, *map(counts.get, _OF_ROW), cost)


def of_figures(
    figures: Mapping[str, Any], at: int, text: Callable[[object, int], str], prices: Callable[[], Prices]
) -> Measures | None:
    """Return what `of_llm` returns for a call with these figures, whose counts are whole numbers.

    None if the call has no model or price, or a cost of its own: `of_llm` has to look at its event.
    """
    given, provider = figures.get("model"), figures.get("provider")
    if type(given) is not str or figures.get("cost") is not None:
        return None
    model = text(given, 256)
    provider = provider if type(provider) is str else None
    counts = {name: count for name in _COUNTED if (count := figures.get(name)) is not None}
    cached, written = counts.get("cached_tokens"), counts.get("cache_write_tokens")
    if (cached or written) and "prompt_tokens" in counts:
        counts["prompt_tokens"] = _prompt_with_cache(
            counts["prompt_tokens"], cached or 0, written or 0, provider, model
        )
    cost = _priced(model, provider, counts, at, prices)
    return None if cost is None else (model, *map(counts.get, _OF_ROW), cost)


def _priced(
    model: str, provider: str | None, counts: dict[str, int], at: int, prices: Callable[[], Prices]
) -> int | None:
    """Return the cost of a call by the price table."""

    def price() -> int | None:
        if counts.keys() == _TWO:
            return prices().cost_of_two(
                model, counts["prompt_tokens"], counts["completion_tokens"], provider=provider, at_ns=at
            )
        # Inside this function, as the import fails while the interpreter shuts down.
        from localops.encoding.pricing import PRICED, Usage

        usage = Usage(**{PRICED[name]: count for name, count in counts.items() if name in PRICED})
        return prices().cost_of_call(model, usage, provider=provider, at_ns=at)

    try:
        return price()
    except BaseException as error:
        # The edge: an event without a price is better than no event.
        return _price_again(error, price, model)


def _counts_of(event: LLMEvent, reply: Reply | None) -> tuple[dict[str, int], bool]:
    """Return the known token counts; the program's take precedence over those of the response.

    The second value is True if the program gave an invalid count: the cost of the call is unknown then.
    """
    counts: dict[str, int] = {}
    is_one_unusable = False
    for name in _COUNTED:
        given = getattr(event, name, None)
        if given is None:
            count = whole(getattr(reply, name)) if reply is not None else None
        else:
            count = given if type(given) is int and 0 <= given <= _MOST_TOKENS else whole(given)
            is_one_unusable |= count is None and name in _COUNTS
        if count is not None:
            counts[name] = count
    return counts, is_one_unusable


# Fields of a response beside the columns; its completion and the response itself are handled separately.
_BESIDE_COLUMNS = (
    *"provider tool_calls finish_reason response_id".split(),
    *(kind.field for kind in token_kinds.IN_BODY),
)


def beside_columns(call: LLMEvent, reply: Reply) -> dict[str, object]:
    """Return the fields of a call's body from its response that the program did not give.

    Nothing is stored twice: if the completion comes from the response, `returns` is the rest of the response, and the
    tool calls omit their arguments, which are in the completion.
    """
    values = {name: getattr(reply, name) for name in _BESIDE_COLUMNS if getattr(call, name, None) is None}
    if call.model is not None and call.response_model is None and reply.model != call.model:
        values["response_model"] = reply.model
    if call.completion is not None or reply.completion is None:
        values["returns"] = reply.plain
    else:
        values["completion"], values["returns"] = reply.completion, reply.rest
        if values.get("tool_calls"):
            values["tool_calls"] = [{"id": asked["id"], "name": asked["name"]} for asked in reply.tool_calls or ()]
    return {name: value for name, value in values.items() if value is not None}


_COUNTS = frozenset(kind.field for kind in token_kinds.WITH_COLUMN if kind.price)
_COUNTED = tuple(kind.field for kind in token_kinds.KINDS)
_OF_ROW = tuple(kind.field for kind in token_kinds.OF_ROW)
_TWO = {"prompt_tokens", "completion_tokens"}  # the counts that most calls have


def why_unpriced(
    event: LLMEvent,
    measures: tuple[Any, ...],
    at: int,
    prices: Prices,
    reply: Reply | None,
    short: Callable[[object, int], str],
) -> tuple[str, str]:
    """Return why a call has no price: a sentence with a placeholder for models, and the model.

    `short` returns a value as text, cut to a number of characters and without secrets.
    """
    model, prompt, completion = measures[:3]
    counted = prompt is not None or completion is not None
    if model is None:
        return ("the calls name no model" if counted else "neither model nor token counts were given"), ""
    provider = event.provider if reply is None or event.provider is not None else reply.provider
    provider = provider if issubclass(type(provider), str) else None
    price = prices.find(model, provider=provider, at_ns=at)
    if price is None or not price.rates:
        shown = f"{model} of provider {short(provider, 40)!r}" if provider else str(model)
        return "no price is known for {}: `localops prices set` adds one", shown
    if _counts_of(event, None)[1]:
        return "calls of {} gave an invalid token count", model
    if not counted:
        return "calls of {} came without token counts", model
    if prompt is None or completion is None:
        return "calls of {} gave only one of prompt_tokens and completion_tokens", model
    if not {"input", "output"} <= price.rates.keys():
        return "the price of {} lacks input or output", model
    return "the token counts of {} contradict each other", model


def _price_again(error: BaseException, price: Callable[[], int | None], model: str) -> int | None:
    try:
        return settle(error, price)
    except BaseException as own:
        say_once("price", f"{model!r} could not be priced: {type(own).__name__}: {events.describe(own)[:200]}")
        return None


# These providers report prompt tokens without those read from or written to a cache; all others include them.
_CACHE_COUNTED_SEPARATELY = frozenset(
    "anthropic bedrock aws amazon aws-bedrock amazon-bedrock amazon_bedrock aws_bedrock aws.bedrock".split()
)


def _prompt_with_cache(prompt: int, cached: int, written: int, provider: str | None, model: str | None) -> int:
    """Return the tokens of the whole prompt, whether or not the provider's count includes those of its cache."""
    is_separate = _counts_cache_separately(provider, model)
    if not is_separate and cached + written > prompt:
        # They must have been counted separately.
        say_once(
            "cache beside prompt",
            f"prompt_tokens={prompt} is less than the {cached + written} tokens of its cache, which it should include: "
            "they are added to it",
        )
        is_separate = True
    return prompt + cached + written if is_separate else prompt


def prompt_without_cache(prompt: int, cached: int, written: int, provider: object, model: object) -> int:
    """Return prompt tokens as the provider's events count them, which may exclude the tokens of its cache."""
    is_separate = _counts_cache_separately(
        provider if isinstance(provider, str) else None,
        model if isinstance(model, str) else None,
    )
    return prompt - cached - written if is_separate and cached + written <= prompt else prompt


def _counts_cache_separately(provider: str | None, model: str | None) -> bool:
    if provider is not None:
        return provider.strip().lower() in _CACHE_COUNTED_SEPARATELY
    return model is not None and (model.lower().startswith("claude") or _is_of_bedrock(model))


def _is_of_bedrock(model: str) -> bool:
    """Return whether a model is named as on Bedrock (`us.anthropic.claude-…`, or an ARN) and can have a cache."""
    try:
        from localops.encoding.pricing import by_form
    except ImportError:  # the interpreter shuts down
        return False
    provider, name = by_form(model.lower()) or ("", "")
    return provider == "aws" and ("anthropic." in name or "amazon." in name)


def nano(dollars: Any) -> int | None:
    """Return US dollars as whole nano-dollars; None if it is not a number, is negative or impossibly high."""
    if dollars is None:
        return None
    # Converting a complex number of numpy to a float prints a warning.
    amount = _quietly(lambda: attempt(lambda: round(float(dollars) * 1_000_000_000), -1))
    return amount if 0 <= amount <= _MOST_NANO else None


def whole(value: Any) -> int | None:
    """Return a token count as an int; None if it is not a whole number, is negative or impossibly high."""
    if value is None:
        return None
    if type(value) is int:
        return value if 0 <= value <= _MOST_TOKENS else None
    number = _quietly(lambda: attempt(lambda: int.__int__(int(value)), -1))
    if not issubclass(type(value), str) and not _quietly(lambda: attempt(lambda: bool(value == number), False)):
        return None  # a fraction, such as 1.5
    return number if 0 <= number <= _MOST_TOKENS else None


def _quietly(step: Callable[[], T]) -> T:
    depth = quiet.depth()
    try:
        with quiet:
            return step()
    except BaseException:
        quiet.back_to(depth)  # `__exit__` may have been interrupted before it began
        raise


_MEASURES = "model prompt_tokens completion_tokens cached_tokens reasoning_tokens".split()


def in_words(measures: Measures) -> dict[str, object]:
    """Return model and tokens as fields of a body, for a copy of a call."""
    return {name: value for name, value in zip(_MEASURES, measures, strict=False) if value is not None}


def together(measures: Measures, inner: list[Measures]) -> Measures:
    """Return the figures of a call; if it has none, the sums of those recorded inside it.

    A call that was retried has one inner call for each attempt.
    """
    model, tokens_in, tokens_out, *_, cost = measures
    if tokens_in is not None or tokens_out is not None or cost is not None:
        return measures
    models, *counts = zip(*inner, strict=True)
    sums = (None if None in column else sum(column) for column in counts[-1:])
    known = (sum(filter(None, column)) if any(each is not None for each in column) else None for column in counts[:-1])
    return (model or models[0], *known, *sums)


def of_tool(event: Event) -> tuple[Any, ...]:
    """Return the figures of a tool call: its cost, if one was given."""
    cost = getattr(event, "cost", None)
    return UNMEASURED if cost is None else (None, None, None, None, None, nano(cost))


def unusable(event: Event) -> dict[str, object]:
    """Return an invalid cost, to keep it in the body."""
    cost = getattr(event, "cost", None)
    if cost is None or nano(cost) is not None:
        return {}
    say_unusable("cost", cost)
    return {"given_cost": cost}


def unusable_of_call(call: LLMEvent) -> dict[str, object]:
    """Return the invalid cost and counts of a call, to keep them in the body."""
    wrong = unusable(call)
    for name in token_kinds.ARGUMENTS:
        value = getattr(call, name, None)
        if value is None or (type(value) is int and 0 <= value <= _MOST_TOKENS) or whole(value) is not None:
            continue
        wrong[f"given_{name}"] = value
        say_unusable(name, value)
    return wrong


def say_unusable(name: str, value: object) -> None:
    """Warn, once for each name, that a figure is invalid and does not count."""
    shown = events.describe(value)[:80]
    expected = "US dollars" if name == "cost" else "a number of tokens"
    say_once(f"figure {name}", f"invalid {name}: expected {expected}, got {shown}; it does not count")
