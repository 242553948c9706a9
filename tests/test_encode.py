"""Anything can be recorded: it becomes strict JSON that SQLite reads, with marks for what was changed."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import hashlib
import json
import math
import pathlib
import random
import signal
import subprocess
import sys
import tracemalloc
import uuid
import warnings
from collections import OrderedDict, UserDict, deque, namedtuple

import apsw
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import localops
from localops import interruption
from localops.encoding import plain_values
from localops.encoding.encode import Encoder, _small_room, dumps, loads
from localops.encoding.plain_values import MAX_BLOB, MAX_DEPTH, Walk
from localops.encoding.redact import Redactor
from tests import programs
from tests.examples import examples, sized

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn, TypeVar

    R = TypeVar("R")


def _body_of(value: object, **settings: object) -> dict[str, object]:
    """Return an encoder's JSON of a value, with a redactor, read strictly."""
    text = Encoder(redactor=Redactor(), **settings).encode({"params": value})  # type: ignore[arg-type]
    return _strict(text)


def _strict(text: str) -> dict[str, object]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    body: dict[str, object] = json.loads(text, parse_constant=refuse)
    return body


@dataclasses.dataclass
class _Point:
    x: object = 1
    _y: object = 2


class _Colour(enum.Enum):
    RED = "red"
    HOT = math.inf


class _Model:
    """Says about itself what pydantic's models say."""

    def model_dump(self, **_: object) -> dict[str, object]:
        return {"temperature": math.nan}


class _Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class _Endless:
    def to_dict(self) -> dict[str, object]:
        return {"again": _Endless()}


class _BadDict(dict):  # type: ignore[type-arg]
    def items(self) -> object:  # type: ignore[override]
        raise OSError("gone")


class _BadText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise ValueError


class _BadClass(type):
    def __getattribute__(cls, name: str) -> object:
        raise LookupError(name)


class _Stubborn(metaclass=_BadClass):
    def __getattr__(self, name: str) -> object:
        raise OSError(name)


_Pair = namedtuple("_Pair", "left right")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, "a"), [1, "a"]),
        (datetime.date(2026, 11, 21), "2026-11-21"),
        (_Colour.RED, "red"),
        (_Point(), {"x": 1, "_y": 2}),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (decimal.Decimal("0.10"), "0.10"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (deque([1]), [1]),
        (OrderedDict(a=1), {"a": 1}),
        (_Pair(1, 2), {"left": 1, "right": 2}),
        (UserDict(a=1), {"a": 1}),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (_BadText("z"), "z"),
        (_BadDict(a=1), {"a": 1}),
        (ValueError("no"), {"$type": "ValueError", "message": "no"}),
        (datetime.timedelta(seconds=1), "0:00:01"),
        ([None, True, 1.5], [None, True, 1.5]),
        ({"a": None}.keys(), ["a"]),
    ],
)
def test_values_that_lose_nothing(value: object, expected: object) -> None:
    """Values that lose nothing are written plainly, without a note."""
    assert _body_of(value) == {"params": expected}


@pytest.mark.parametrize(
    ("value", "expected", "note"),
    [
        (math.nan, {"$float": "nan"}, "nonfinite"),
        ([-math.inf, None], [{"$float": "-inf"}, None], "nonfinite"),
        (2**64, {"$int": str(2**64)}, "big_int"),
        (b"ab", {"$bytes": "YWI=", "$len": 2}, "bytes"),
        (memoryview(b"abcd")[::2], {"$bytes": "YWM=", "$len": 2}, "bytes"),
        ("a\ud800", "a\ufffd", "surrogate"),
        ({1}, [1], "set"),
        ({1: 2}, {"1": 2}, "key"),
        ({None: 1}, {"null": 1}, "key"),
        (_Model(), {"temperature": {"$float": "nan"}}, "nonfinite"),
        (_Colour.HOT, {"$float": "inf"}, "nonfinite"),
        (1j, {"$type": "complex", "$repr": "1j"}, "not_json"),
        (_Mute(), {"$type": f"{_Mute.__module__}._Mute", "$repr": "<repr failed: RuntimeError>"}, "repr_failed"),
    ],
)
def test_values_that_json_does_not_have(value: object, expected: object, note: str) -> None:
    """Values that JSON does not have are marked in place and counted."""
    body = _body_of(value)
    assert body["params"] == expected
    assert body["notes"][note] == 1  # type: ignore[index]


def test_keys_that_become_equal_are_both_kept() -> None:
    """1 and "1" are two keys in Python, and stay two."""
    assert _body_of({1: "int", "1": "text"}) == {
        "params": {"1": "int", "1#2": "text"},
        "notes": {"key": 1, "key_clash": 1},
    }


def test_a_field_called_notes_is_kept() -> None:
    """The user's own notes are renamed, with or without any of ours."""
    encode = Encoder(redactor=None).encode
    assert _strict(encode({"notes": "mine"})) == {"notes#2": "mine"}
    assert _strict(encode({"notes": "mine", "notes#2": {1}})) == {
        "notes#3": "mine",
        "notes#2": [1],
        "notes": {"set": 1},
    }


def test_cycles_and_depth() -> None:
    """A value that contains itself, or never ends, is cut with a mark."""
    cycle: list[object] = [1]
    cycle.append({"self": cycle})
    assert _body_of(cycle) == {"params": [1, {"self": {"$cycle": "list"}}], "notes": {"cycle": 1}}
    deep: object = "bottom"
    for _ in range(5000):
        deep = [deep]
    for value in (deep, _Endless()):
        body = _body_of(value)
        assert '"$truncated": "depth"' in json.dumps(body)
        assert body["notes"]["too_deep"] == 1  # type: ignore[index]


def test_depth_that_is_followed() -> None:
    """Nesting well below the limit is written whole, by either way."""
    for bottom in (1, math.nan):
        deep: object = bottom
        for _ in range(MAX_DEPTH - 2):
            deep = [deep]
        assert "$truncated" not in json.dumps(_body_of(deep))


def test_the_same_object_twice_is_no_cycle() -> None:
    """Only what contains itself is a cycle."""
    shared = {"a": math.nan}
    assert "$cycle" not in json.dumps(_body_of([shared, shared]))


def test_a_long_text_goes_to_a_blob() -> None:
    """Ten megabytes are kept whole under their digest, without their secrets; a recognisable beginning stays."""
    kept: dict[str, bytes] = {}

    def keep(data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        kept[digest] = data
        return digest

    text = "prompt é " * 1_000_000 + "password=hunter22 " + "x" * 1000
    body = _body_of({"text": text, "data": b"\xff" * (2 << 20)}, keep=keep)
    kept_text = body["params"]["text"]  # type: ignore[index]
    assert kept[kept_text["$blob"]].decode() == text.replace("hunter22", "[redacted:password]")
    assert kept_text["$len"] == len(kept[kept_text["$blob"]])
    assert text.startswith(kept_text["head"])
    assert len(kept_text["head"]) == 1000
    assert body["params"]["data"]["$type"] == "bytes"  # type: ignore[index]
    assert body["notes"] == {"redacted": 1, "blob": 2, "bytes": 1}


def test_a_long_text_without_a_place_is_cut() -> None:
    """If nothing can be kept, without a keeper or on a full disk, as much as allowed stays in the row."""

    def full(_: bytes) -> str:
        raise OSError(28, "No space left on device")

    for keep, note in ((None, "long_string"), (full, "blob_failed")):
        body = _body_of("x" * 5000, max_value=1000, keep=keep)
        assert body == {"params": {"$truncated": 5000, "head": "x" * 750}, "notes": {note: 1}}


def test_what_is_far_too_large_is_not_kept() -> None:
    """Over 64 MiB head, length and digest stay."""
    data = bytes(MAX_BLOB + 1)
    body = _body_of(data, keep=lambda _: pytest.fail("was kept"))
    assert body["params"]["$sha256"] == hashlib.sha256(data).hexdigest()  # type: ignore[index]
    assert body["notes"] == {"bytes": 1, "too_big": 1}


@pytest.mark.parametrize("keep", [None, lambda data: hashlib.sha256(data).hexdigest()])
def test_an_event_keeps_its_size(keep: object) -> None:
    """Many short texts are too much in the end: the largest fields go first, and small ones stay."""
    fields: dict[str, object] = {"params": ["x" * 900] * 100, "returns": ["y" * 900] * 5, "name": "small"}
    text = Encoder(redactor=None, max_value=1000, max_event=20_000, keep=keep).encode(fields)  # type: ignore[arg-type]
    assert len(text) <= 20_000
    body = _strict(text)
    assert body["name"] == "small"
    assert body["returns"] == fields["returns"]
    assert body["params"]["head"].startswith('["xxx')  # type: ignore[index]


def test_many_fields_keep_its_size_too() -> None:
    """An event of only small fields is cut as a whole."""
    text = Encoder(redactor=None, max_event=20_000).encode({f"field {i}": "x" * 100 for i in range(1000)})
    assert len(text) <= 20_000
    assert _strict(text)["notes"] == {"long_string": 1}


def test_a_hundred_thousand_elements() -> None:
    """A long list is written whole, also by the walk."""
    rows = [{"i": i} for i in range(100_000)]
    assert _body_of(rows)["params"] == rows
    assert len(_body_of([*rows, math.nan])["params"]) == 100_001  # type: ignore[arg-type]


def test_nothing_is_changed() -> None:
    """Encoding does not change the user's objects."""
    value = {
        "password": "hunter22",
        "n": [math.inf, {1: (2, {3})}],
        "p": _Point([b"x"]),
        "t": "sk-" + "aB3" * 12,
    }
    before = copy.deepcopy(value)
    _body_of(value)
    assert repr(value) == repr(before)


def test_an_interrupt_is_not_swallowed() -> None:
    """Ctrl-C during a slow `__repr__` stops the program after the text was written."""

    class Slow:
        looks = 0

        def __repr__(self) -> str:
            self.looks += 1
            if self.looks == 1:
                signal.raise_signal(signal.SIGINT)
            return "done"

    assert '"done"' in Encoder(redactor=Redactor()).encode({"params": Slow()})
    with pytest.raises(KeyboardInterrupt):
        interruption.deliver()


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        ("gpt-4o", 512, "gpt-4o"),
        ("a\0b", 512, "a\ufffdb"),
        ("\ud800", 512, "\ufffd"),
        ("x" * 600, 512, "x" * 512),
        (b"caf\xc3\xa9", 512, "café"),
        (_Colour.RED, 512, "red"),
        (None, 512, "None"),
        pytest.param(2**20000, 5, "0x100", id="large"),
        (_BadText("z"), 512, "z"),
        ("password=hunter22", 512, "password=[redacted:password]"),
        ("é" * 9, 3, "ééé"),
    ],
)
def test_text_for_a_column(value: object, limit: int, text: str) -> None:
    """A column gets clean text from any object, the same the second time."""
    encoder = Encoder(redactor=Redactor())
    assert encoder.text(value, limit) == text
    assert encoder.text(value, limit) == text


def test_text_of_the_unspeakable() -> None:
    """An object whose text cannot be read still has a class."""
    assert Encoder(redactor=None).text(_Mute()) == f"<{_Mute.__module__}._Mute>"


def test_text_is_cut_after_its_secrets_are_gone() -> None:
    """A limit in the middle of a secret leaves no half of it."""
    encoder = Encoder(redactor=Redactor())
    assert "sk-" not in encoder.text("key sk-" + "aB3" * 12, 20)


def _hostile(pick: random.Random, depth: int) -> object:
    leaves = (
        None,
        True,
        pick.randint(-(10**30), 10**30),
        10**5000,
        pick.random(),
        math.nan,
        "",
        "\0\ud800\udfff\uffff",
        _BadText("z"),
        pick.randbytes(9),
        bytearray(b"x"),
        _Mute(),
        _Stubborn(),
        _Stubborn,
        _Colour.HOT,
        _Point(_Mute()),
        _Model(),
        Exception("\ud800"),
        datetime.datetime.max.replace(tzinfo=datetime.UTC),
        decimal.Decimal("NaN"),
        pathlib.Path("\udcff"),
        _BadDict(a=1),
        {1, "a"},
        range(3),
        type,
        ...,
        math,
        _hostile,
        "x" * 5000,
        "password=hunter22",
        _Endless(),
        iter(()),
        apsw.Connection(":memory:"),
        "".join(chr(pick.randrange(0x110000)) for _ in range(5)),
    )
    kind = pick.random()
    if depth <= 0 or kind < 0.4:
        return pick.choice(leaves)
    if kind < 0.7:
        return [_hostile(pick, depth - 1) for _ in range(pick.randrange(5))]
    plain = (str, int, float, type(None), enum.Enum, Exception, range)
    keys = [leaf for leaf in leaves if issubclass(type(leaf), plain)]
    return {pick.choice(keys): _hostile(pick, depth - 1) for _ in range(pick.randrange(5))}


@pytest.mark.parametrize("seed", range(4))
def test_hostile_objects(seed: int) -> None:
    """Objects that lie, raise and never end: no exception, strict JSON, and SQLite reads every value."""
    pick = random.Random(seed)
    connection = apsw.Connection(":memory:")
    encoders = [
        Encoder(redactor=Redactor(), max_value=2000, max_event=20_000, keep=lambda _: "0" * 64),
        Encoder(redactor=None, max_value=2000, max_event=9000),
    ]
    for _ in range(examples(100)):
        fields = {"params": _hostile(pick, pick.randrange(6)), "returns": _hostile(pick, 1)}
        for encoder in encoders:
            text = encoder.encode(fields)
            _strict(text)
            read = "select json_valid(?1), (select count(atom || '') from json_tree(?1))"
            ((valid, _),) = connection.execute(read, (text,)).fetchall()
            assert valid
            encoder.text(fields["returns"]).encode()


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_values_come_back(value: object) -> None:
    """A JSON value is read back equal, by the quick way and by the walk."""
    assert loads(Encoder(redactor=None).encode({"params": value})) == {"params": value}
    assert Walk().plain(value) == value


def _tuples(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = (value, 2)
    return value


@pytest.mark.parametrize("depth", [MAX_DEPTH - 2, MAX_DEPTH, 1_800, 5_000])
def test_tuples_are_followed_as_far_as_lists(depth: int) -> None:
    """orjson follows them without a limit, past the end of its buffer, so it never gets deeply nested ones."""
    body = _body_of(_tuples(depth))
    assert ("notes" in body) == (depth >= MAX_DEPTH)


def test_what_is_deep_leaves_its_neighbours_whole() -> None:
    """A deep list like Lisp's is cut where it is too deep; its neighbours are not."""
    body = _body_of({"deep": _tuples(5_000), "text": "x", "many": list(range(5_000))})
    assert body["params"]["text"] == "x"  # type: ignore[index]
    assert body["params"]["many"] == list(range(5_000))  # type: ignore[index]
    assert body["notes"] == {"too_deep": 1}


def test_a_value_that_doubles_itself_ends() -> None:
    """A few lists that hold each other twice would be gigabytes when written: the event stays small, with a mark."""
    laughs: object = ["ha"] * 10
    for _ in range(60):
        laughs = [laughs, laughs]
    text = Encoder(redactor=None, keep=lambda data: "0" * 64).encode({"params": laughs})
    assert len(text) <= 16 << 20
    assert _strict(text)["notes"]["too_many"] > 0  # type: ignore[index]


def _refuse() -> NoReturn:
    raise ValueError("no")


class _Object:
    """An object of an unknown class."""


class _Refusing:
    """An object that cannot be shown in any way."""

    def to_dict(self) -> NoReturn:
        """Raise."""
        _refuse()

    def __repr__(self) -> str:
        _refuse()


@pytest.mark.parametrize(
    ("item", "most"),
    [
        (_Object(), 4_000),
        (_Refusing(), 2_000),
        ("password=hunter22", 4_000),
        (10**4_000, 500),
        (b"x" * 3_000, 1_500),
        (b"x", 8_000),
        (ValueError("x"), 12_000),
        (decimal.Decimal("1.0"), 12_000),
    ],
)
def test_what_takes_long_counts_for_more(item: object, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower a value is to write, the fewer of it end the walk: an event never takes long."""
    monkeypatch.setattr(plain_values, "MAX_NODES", 50_000)
    body = _body_of([item] * 13_000)
    written = body["params"]
    assert isinstance(written, list)
    assert written[-1] == {"$truncated": "nodes"}
    assert len(written) <= most


def test_a_value_that_holds_itself_twice_is_soon_given_up() -> None:
    """Its cycle is noticed before the limit of the walk is reached."""
    value: list[object] = []
    value.append([[value], value])
    visits = 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal visits
        visits += event == "c_call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        body = _body_of(value)
    finally:
        sys.setprofile(before)
    assert body["params"] == [[[{"$cycle": "list"}], {"$cycle": "list"}]]
    assert visits < 100_000


def test_one_long_text_met_often_is_stored_once() -> None:
    """A thousand references to the same two megabytes are one blob."""
    kept: list[bytes] = []
    text = "x" * (2 << 20)

    def keep(data: bytes) -> str:
        kept.append(data)
        return "0" * 64

    body = _body_of([text] * 1_000, keep=keep)
    assert len(kept) == 1
    assert body["params"][999]["$blob"] == "0" * 64  # type: ignore[index]


def test_the_texts_of_an_event_end() -> None:
    """Texts that are short enough each, but not together, end the walk, and the event says so."""
    text = "x" * (1 << 20)
    written = Encoder(redactor=None, keep=lambda data: "0" * 64).encode({"params": [text, math.nan] * 5_000})
    assert len(written) < 16 << 20
    assert _strict(written)["notes"]["too_big"] >= 1  # type: ignore[index]


@pytest.mark.parametrize("count", [10, 5_000])
def test_numbers_as_keys(count: int) -> None:
    """Keys that are numbers become their text, and are counted, however many there are."""
    body = _body_of({number: str(number) for number in range(count)})
    assert body["params"] == {str(number): str(number) for number in range(count)}
    assert body["notes"] == {"key": count}


def test_a_secret_among_many_is_found() -> None:
    """Names and texts are looked at many at a time; a secret among them is still seen, as key, item and option."""
    plain = {str(number): f"text {number}" for number in range(2_500)}
    secret = "sk-" + "aB3" * 12
    plain_values: list[object] = [
        {**plain, "last": f"the key is {secret}", "n": math.nan},
        {**plain, "password": secret, 5: 6},  # type: ignore[misc]
        [*plain, secret, math.nan],
        [*plain.values(), "--password", secret, math.nan],
        {secret: 1, 5: plain},
        {5: {"token": (secret,)}},
    ]
    for value in plain_values:
        text = Encoder(redactor=Redactor()).encode({"params": value})
        assert secret not in text
        assert "[redacted:" in text


def test_a_literal_among_numbers_is_found() -> None:
    """A secret of digits only may be a key that is a number."""
    assert "48151623" not in Encoder(redactor=Redactor(secrets=["48151623"])).encode({"params": {48151623: 1}})


def test_a_key_that_cannot_be_shown_leaves_the_others() -> None:
    """The value is under the name of the key's class."""

    class Key:
        __hash__ = object.__hash__

        def __str__(self) -> str:
            raise OSError

    body = _body_of({Key(): 1, "a": 2})
    assert sorted(body["params"].values()) == [1, 2]  # type: ignore[attr-defined]
    assert body["notes"] == {"key": 1, "failed": 1}


def test_many_keys_that_become_equal() -> None:
    """Counting up from one for each of them would take minutes."""

    class Key:
        def __str__(self) -> str:
            return "same"

    body = _body_of({Key(): number for number in range(20_000)})
    assert len(body["params"]) == 20_000  # type: ignore[arg-type]
    assert body["notes"] == {"key": 20_000, "key_clash": 19_999}


def test_a_fragment_of_the_user_is_checked() -> None:
    """A user's fragment that claims to be JSON may be anything."""
    assert "$repr" in json.dumps(_body_of([orjson.Fragment(b"{broken")]))


class _Warner:
    def to_dict(self) -> dict[str, object]:
        warnings.warn("columns are not unique", UserWarning, stacklevel=1)
        return {"a": 1}


def test_warnings_of_values_are_kept_from_the_program() -> None:
    """Warnings of a recorded object are not shown; the program's filters do not change."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        assert _body_of(_Warner()) == {"params": {"a": 1}}
        assert warnings.filters == before
        _Warner().to_dict()
    assert len(shown) == 1


def test_warnings_that_are_errors_do_not_hide_a_value() -> None:
    """Under -W error the object is written all the same, and warns as before when the program asks it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _body_of(_Warner()) == {"params": {"a": 1}}
        with pytest.raises(UserWarning):
            _Warner().to_dict()


def _at_depth(depth: int, function: Callable[[], R]) -> R:
    """Call a function from so many frames further down."""
    return _at_depth(depth - 1, function) if depth else function()


def test_close_to_the_recursion_limit() -> None:
    """An event that is recorded deep in a recursion is whole, and so are its names; the limit is restored."""
    limit = sys.getrecursionlimit()
    fields: dict[str, object] = {"params": {"a": [1, {"b": "x" * 300}], "n": math.nan}}
    encoder = Encoder(redactor=Redactor())
    expected = encoder.encode(fields)
    tried = 0
    for depth in range(limit - 150, limit):
        try:
            _at_depth(depth, lambda: _at_depth(10, list))
        except RecursionError:  # the program itself could not do anything here
            break
        tried += 1
        assert _at_depth(depth, lambda: encoder.encode(fields)) == expected
        assert _at_depth(depth, lambda: Encoder(redactor=None).text("a name")) == "a name"
        assert sys.getrecursionlimit() == limit
    assert tried > 20


def test_recording_close_to_the_recursion_limit() -> None:
    """A call that had any room has recorded its event under its own name; its caller makes room where it has none."""
    session = localops.init(env_data_opt_out=True)
    recorded = []
    for depth in range(sys.getrecursionlimit() - 150, sys.getrecursionlimit()):
        event = localops.ActionEvent(action_type=f"at {depth}")
        try:
            _at_depth(depth, lambda event=event: session.record(event))  # type: ignore[misc]
        except RecursionError:
            break
        recorded.append(f"at {depth}")
    assert len(recorded) > 20
    assert programs.names() == recorded


def test_without_memory_a_smaller_event_is_written() -> None:
    """If memory is short, the beginning and the type of a value are written."""

    class Hungry:
        def to_dict(self) -> dict[str, object]:
            raise MemoryError

    def full(_: bytes) -> str:
        raise MemoryError

    body = _body_of({"text": "x" * (2 << 20), "other": Hungry(), "n": 1}, keep=full)
    assert body["params"]["text"]["head"].startswith("xxx")  # type: ignore[index]
    assert body["params"]["n"] == 1  # type: ignore[index]
    assert body["notes"] == {"blob_failed": 1, "not_json": 1} or body["notes"] == {"blob_failed": 1, "failed": 1}


def test_dumps_of_what_is_nested_deep() -> None:
    """A text that can be read can be written again, as it may be from another program."""
    deep = "[" * 600 + "]" * 600
    assert dumps(loads(deep)).decode() == deep


def test_dumps_and_loads() -> None:
    """Our own structures are one line of JSON, with stored JSON put in as it is."""
    assert dumps({"a": "x\ny", "body": orjson.Fragment('{"b":1}')}) == b'{"a":"x\\ny","body":{"b":1}}'
    with pytest.raises(ValueError, match="unexpected"):
        loads("[NaN]")


def test_the_modules_stay_light() -> None:
    """Importing the encoder loads nothing heavy beyond orjson."""
    heavy = "typing logging hashlib decimal pathlib tempfile subprocess sqlite3 base64"
    code = (
        "import sys, orjson; before = set(sys.modules); package = type(sys)('localops');"
        "sys.modules['localops'] = package;"
        f"package.__path__ = {localops.__path__!r}; import localops.encoding.encode;"
        f"print(*(set(sys.modules) - before) & set({heavy.split()}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ""


PLAIN = st.recursive(
    st.none() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=60) | st.dictionaries(st.text(max_size=60), inner, max_size=60),
    max_leaves=150,
)


@settings(max_examples=sized(30, examples(60)))
@given(PLAIN)
@example([1] * 545)
@example([{"a": [0.5, None]}] * 99)
@example({str(number): number for number in range(550)})
@example({f"a{number}": f"b{number}" for number in range(9)})
@example([dict.fromkeys("abcdefgh", "a" * 128)] * 30)
@example([["\\" * 128] * 8] * 30)
@example([[-(2**63)] * 8] * 60)
@example([[-1.2345678901234567e-300] * 8] * 60)
@example([[uuid.UUID(int=1)] * 8] * 60)
@example([[datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone(-datetime.timedelta(hours=9.5)))] * 8] * 60)
@example([[[]] * 8] * 10)
@example(["\\" * 124])
@example(["\\" * 125])
@example(["\0" * 900, "é" * 900])
def test_orjson_needs_no_more_than_is_reserved(value: object) -> None:
    """It ends the process when memory ends, so the memory is reserved before."""
    fields = {"params": value}
    redactor = Redactor()
    encoder = Encoder(redactor=redactor)
    for is_known in (False, True):
        room = _small_room(fields, 1 << 30, redactor.known, {}, {})
        if not room:
            return
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            orjson.dumps(fields)
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        assert 1.5 * peak <= room, is_known  # it has the former buffer of half the size while it makes the next
        encoder.encode(fields)  # from now on its texts are known
