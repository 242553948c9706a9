"""Values that only look like a response of a model library, and what must not be done to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest

from localops import interruption
from localops.recording import responses
from localops.recording.responses import read
from tests.library_responses import CHAT, MESSAGE, SAMPLES, Model, Refuses, Stream, content


class Loud(dict[str, Any]):
    """A dict whose own methods raise."""

    def get(self, *_: object) -> Any:
        """Raise, as all of its methods do."""
        raise RuntimeError("get")

    keys = items = values = copy = __iter__ = __getitem__ = __contains__ = get


class Comparable:
    """An array: comparing it gives another array, which is neither true nor false."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "value",
    [
        None,
        "choices",
        7,
        [CHAT],
        {},
        {"choices": ["red", "blue"]},
        {"choices": [{"text": "red"}], "usage": "often"},
        {"choices": [1, {"message": {}}], "usage": {"prompt_tokens": 3}},
        {"candidates": [{"content": {"parts": []}, "name": "Ada"}]},
        {"candidates": [{"name": "Ada"}], "usageMetadata": None},
        {"type": "message", "role": "assistant", "content": "hello", "usage": {}},
        {"type": "message", "role": "user", "content": [], "usage": {"input_tokens": 3}},
        {"object": "response", "output": "text"},
        {"output": {"text": "x"}, "stopReason": "end", "usage": {"inputTokens": 3}},
        {"model": "car", "done": True, "message": "sold", "eval_count": 3},
        {"model": "m", "done": False, "message": {"role": "assistant"}, "eval_count": 3},
        {"id": 1, "message": {"role": "user"}, "usage": {}, "finish_reason": "x"},
        {"type": "human", "response_metadata": {}, "content": "hi"},
        {1: 2, None: 3},
    ],
)
def test_what_only_looks_like_a_response_is_left_alone(value: object) -> None:
    """A program's own dicts and values have no content."""
    assert read(value) is None


@pytest.mark.parametrize(
    "make",
    [
        MagicMock,
        lambda: MagicMock(**CHAT),
        lambda: MagicMock(spec=Model(**CHAT)),
        lambda: Model(**CHAT),
        lambda: object,
        lambda: Refuses,
        Refuses,
        Comparable,
        lambda: {"choices": Comparable(), "usage": {"prompt_tokens": 3}},
        lambda: {"object": Comparable(), "output": []},
        lambda: {"type": Comparable(), "response_metadata": {}},
        lambda: {"type": Refuses(), "role": "assistant", "content": [], "usage": {"input_tokens": 3}},
    ],
)
def test_what_answers_everything_or_nothing_is_left_alone(make: Callable[[], object]) -> None:
    """Mocks, arrays, streams and objects that raise are not read as responses, and nothing is raised."""
    assert read(make()) is None


def test_a_stream_of_a_library_is_not_touched() -> None:
    """Its class is no model, whatever methods it has."""
    Stream.touched.clear()  # by other tests
    assert read(Stream()) is None
    assert Stream.touched == []


def test_the_methods_of_a_dict_are_not_called() -> None:
    """A response of a dict's subclass is read as a dict."""
    choices = [Loud(choice) for choice in CHAT["choices"]]  # type: ignore[attr-defined]
    assert content(read(Loud({**CHAT, "choices": choices, "usage": Loud(CHAT["usage"])}))) == SAMPLES["chat"][1]  # type: ignore[call-overload]


def test_iterators_and_coroutines_are_not_run() -> None:
    """A generator is not advanced, and a coroutine can still be awaited."""
    numbers = iter(range(3))

    def generate() -> Iterator[int]:
        yield 1

    async def answer() -> dict[str, Any]:
        return CHAT

    generator, coroutine = generate(), answer()
    assert [read(one) for one in (numbers, generator, coroutine)] == [None] * 3
    assert (next(numbers), next(generator), asyncio.run(coroutine)) == (0, 1, CHAT)


@pytest.mark.parametrize("error", [RuntimeError("no"), TypeError("no"), RecursionError(), MemoryError()])
def test_an_object_whose_dump_raises(error: BaseException) -> None:
    """Exceptions of a library's own method do not reach the program."""
    kind = type("Answer", (Model,), {"__module__": "openai.types", "model_dump": lambda self, **_: raise_it(error)})
    assert read(kind()) is None


def raise_it(error: BaseException) -> None:
    """Raise an exception."""
    raise error


def test_pydantic_1_and_older_methods_are_understood() -> None:
    """A method without options is called without, and `dict` if there is no `model_dump`."""
    bare = type("Answer", (Model,), {"__module__": "openai.types", "model_dump": lambda self: vars(self)})

    class Older:
        def dict(self, *, exclude_none: bool) -> dict[str, Any]:
            return CHAT if exclude_none else {}

    Older.__module__ = "pydantic.main"
    older = type("Answer", (Older,), {"__module__": "openai.types"})
    for response in (bare(**CHAT), older()):
        assert content(read(response)) == SAMPLES["chat"][1]
    interruption.deliver()  # nothing: a method that takes no options is no error of the program


def test_a_response_without_end_is_read_in_bounds() -> None:
    """Of a million parts the first some thousands are read; all of them are kept."""
    part = {"type": "tool_use", "id": "t", "name": "tide", "input": {}}
    reply = read({**MESSAGE, "content": [part] * 1_000_000})
    assert reply is not None
    assert reply.tool_calls is not None
    assert len(reply.tool_calls) == responses.MOST
    assert isinstance(reply.completion, dict)
    assert len(reply.completion["content"]) == 1_000_000
