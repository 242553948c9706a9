"""Values of every shape that a program may hand over, and a child process that encodes many of them.

    python -m tests.stress.hostile SEED COUNT MODE

MODE is `plain`, `stack` (a thread with 64 KiB of it; 1 MiB on Python 3.13), `memory` (an address space with little
left) or `record` (into a real journal).  The child prints how many values it wrote and the longest CPU time that one
of them took, in seconds.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import hashlib
import json
import math
import os
import random
import sys
import threading
import time
import uuid
import warnings
from typing import Any

import orjson

import localops
from localops.encoding.encode import Encoder
from localops.encoding.redact import Redactor

Pair = collections.namedtuple("Pair", "left right")


@dataclasses.dataclass
class Box:
    """A dataclass that holds anything."""

    content: object
    password: object = None


class Colour(enum.Enum):
    """An enum whose value is nested."""

    RED = "red"
    DEEP = ((("x",),),)


def _refuse(*_: object, **__: object) -> Any:
    raise ValueError("no")


class BadInt(int):
    """A number that raises whatever it is asked."""

    __eq__ = __lt__ = __bool__ = __index__ = __str__ = __repr__ = __add__ = __sub__ = _refuse
    __hash__ = int.__hash__


class BadFloat(float):
    """The same with a point in it."""

    __eq__ = __lt__ = __bool__ = __float__ = __str__ = __repr__ = __add__ = __sub__ = _refuse
    __hash__ = float.__hash__


class BadText(str):
    """A text that raises whatever it is asked."""

    __slots__ = ()
    __eq__ = __len__ = __str__ = __repr__ = __getitem__ = __iter__ = __contains__ = encode = _refuse
    __hash__ = str.__hash__


class Hostile:
    """An object that raises whatever it is asked, an error of the given kind."""

    def __init__(self, kind: type[BaseException]) -> None:
        object.__setattr__(self, "kind", kind)

    def __getattribute__(self, name: str) -> Any:
        raise object.__getattribute__(self, "kind")(name)

    def __repr__(self) -> str:
        raise object.__getattribute__(self, "kind")("repr")

    __bool__ = __len__ = __eq__ = __iter__ = _refuse
    __hash__ = object.__hash__


class Warner:
    """An object that warns about being looked at."""

    def to_dict(self) -> dict[str, object]:
        """Warn, and give back a mapping."""
        warnings.warn("looked at", UserWarning, stacklevel=1)
        return {"a": math.nan}


class Endless:
    """An object that holds another of its kind, and so on."""

    def to_dict(self) -> dict[str, object]:
        """Give back one more."""
        return {"again": Endless()}


def _text(pick: random.Random) -> str:
    kind = pick.random()
    if kind < 0.5:
        return pick.choice(("", "plain words", "naïve café ", "日本語", "\0\x1f", "password=hunter22", "a" * 300))
    if kind < 0.8:
        return "".join(map(chr, pick.choices(range(0x250), k=pick.randrange(60))))
    if kind < 0.97:
        return "".join(map(chr, pick.choices(range(0x110000), k=pick.randrange(30))))
    return pick.choice("xé日\U0001f600\n") * pick.choice((1_000, 20_000, 70_000, 300_000))


def _leaf(pick: random.Random) -> object:
    return pick.choice(
        (
            None,
            True,
            lambda: pick.randint(-(10**25), 10**25),
            lambda: 10 ** pick.choice((19, 400, 5_000)),
            pick.random,
            math.nan,
            -math.inf,
            1e308,
            lambda: _text(pick),
            lambda: _text(pick),
            lambda: _text(pick),
            lambda: pick.randbytes(pick.choice((0, 9, 3_000))),
            BadInt(5),
            BadFloat(0.5),
            BadText("bad"),
            lambda: Hostile(pick.choice((ValueError, MemoryError, RecursionError, StopIteration, BaseException))),
            Warner,
            Endless,
            Colour.DEEP,
            uuid.UUID(int=7),
            datetime.datetime(2026, 11, 28, tzinfo=datetime.UTC),
            decimal.Decimal("1.0"),
            iter(()),
            int,
            ...,
            orjson.Fragment(b"{broken"),
        )
    )


def _leaf_value(pick: random.Random) -> object:
    leaf = _leaf(pick)
    return leaf() if callable(leaf) and not isinstance(leaf, Hostile) and leaf is not int else leaf


def _wrap(pick: random.Random, inner: Any) -> object:
    """One more level around a value."""
    kind = pick.randrange(9)
    key = pick.choice(("a", "password", "k" * 40, 7, 1.5, None, (1, 2), b"k", BadText("key"), BadInt(3), "\ud800"))
    made: Any = [inner]
    if kind == 0:
        made = (inner,)
    elif kind == 1:
        made = {key: inner}
    elif kind == 2:
        made = (_leaf_value(pick), inner)
    elif kind == 3:
        made = Pair(inner, 1)
    elif kind == 4:
        made = Box(inner)
    elif kind == 5:
        made = collections.deque([inner])
    elif kind == 6:
        made = {"a": inner, "b": inner}
    return made


def _deep(pick: random.Random, depth: int) -> object:
    """A chain of one kind of box, such as a list in the manner of Lisp."""
    value: Any = _leaf_value(pick)
    kind = pick.randrange(4)
    for number in range(depth):
        value = ((value,), [value], (number, value), {"a": value})[kind]
    return value


def _doubled(pick: random.Random, times: int) -> object:
    """A value that is small, and endless when it is written out."""
    value: Any = _leaf_value(pick)
    for _ in range(times):
        value = [value, value] if pick.random() < 0.5 else (value, value)
    return value


def _cycle(pick: random.Random) -> object:
    value: Any = [1, {"a": (2, 3)}]
    value.append(pick.choice((value, {"self": value}, (value,), [[value], value])))
    return value


def _wide(pick: random.Random) -> object:
    many = pick.choice((10, 200, 3_000))
    kind = pick.randrange(5)
    if kind == 0:
        return [pick.random() for _ in range(many)]
    if kind == 1:
        return {number: number for number in range(many)}
    if kind == 2:
        return [[1, 2]] * many
    if kind == 3:
        return {f"key {number}": None for number in range(many)}
    return {(number, "x"): BadText("v") for number in range(many // 10)}


def value_of(pick: random.Random) -> object:
    """One value; most are small, as a million of them must be."""
    kind = pick.random()
    if kind < 0.05:
        return _deep(pick, pick.choice((50, 126, 127, 128, 200, 253, 254, 255, 1_000, 2_500, 6_000)))
    if kind < 0.06:
        return _doubled(pick, pick.choice((4, 8, 12)))
    if kind < 0.0602:
        return _doubled(pick, pick.choice((26, 40, 120)))
    if kind < 0.08:
        return _cycle(pick)
    if kind < 0.11:
        return _wide(pick)
    value = _leaf_value(pick)
    for _ in range(pick.choice((0, 1, 2, 3, 5, 8))):
        value = _wrap(pick, value) if pick.random() < 0.7 else [value, _leaf_value(pick)]
    return value


def large_value(pick: random.Random) -> object:
    """A value for a process with little memory."""
    size = pick.choice((1 << 16, 1 << 18, 1 << 20, 3 << 20, 12 << 20, 30 << 20))
    kind = pick.randrange(8)
    text = pick.choice("xé日\n") * (size // pick.choice((1, 2, 4)))
    made: Any = text
    if kind == 1:
        made = [text[: 1 << 18]] * (size >> 16)
    elif kind == 2:
        made = {text: 1}
    elif kind == 3:
        made = list(range(size >> 4))
    elif kind == 4:
        made = text.encode()
    elif kind == 5:
        made = [text, math.nan, {text: text}]
    elif kind == 6:
        made = {number: str(number) for number in range(size >> 7)}
    elif kind == 7:
        made = [str(number) * 20 for number in range(size >> 8)]
    return made


def _strict(text: str) -> None:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    body = json.loads(text, parse_constant=refuse)
    assert isinstance(body, dict)


def _encode(seed: int, count: int, write: Any, *, small_memory: bool = False) -> float:
    """Encode many values, and return the longest time that one of them took."""
    longest = 0.0
    for number in range(count):
        pick = random.Random(seed * 1_000_003 + number)
        try:
            value = large_value(pick) if small_memory and number % 4 == 0 else value_of(pick)
        except MemoryError:
            continue
        began = time.thread_time()
        text = write({"params": value, "returns": None})
        took = time.thread_time() - began
        if took > longest:
            longest = took
            print(f"{took:.3f} s: value {number} of seed {seed}", file=sys.stderr, flush=True)
        if text is not None and len(text) < 100_000 and not small_memory:
            _strict(text)
    return longest


def _limit_memory(pick: random.Random) -> None:
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    most = now + pick.choice((60, 100, 150, 300)) * (1 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _recorded(fields: dict[str, object]) -> None:
    localops.record(localops.ActionEvent(action_type="step", **fields))  # type: ignore[arg-type]


def main(seed: int, count: int, mode: str) -> None:
    """Encode the values of a seed in a mode."""
    warnings.simplefilter("error")
    encoder = Encoder(redactor=Redactor(), keep=lambda data: hashlib.sha256(data).hexdigest())
    longest: list[float] = []
    if mode == "memory":
        _limit_memory(random.Random(seed))
    if mode == "record":
        localops.init(env_data_opt_out=True)
        longest.append(_encode(seed, count, _recorded))
        localops.end_session("Success")
    elif mode == "stack":
        # CPython 3.13 frees nested tuples as if it had the stack of a main thread.
        threading.stack_size(1 << (16 if sys.version_info < (3, 13) else 20))
        thread = threading.Thread(target=lambda: longest.append(_encode(seed, count, encoder.encode)))
        thread.start()
        thread.join()
    else:
        longest.append(_encode(seed, count, encoder.encode, small_memory=mode == "memory"))
    print(count, f"{longest[0]:.3f}", flush=True)
    os._exit(0)  # the values that are nested deepest would take their time to be let go


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
