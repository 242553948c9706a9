"""The first bodies of a program are written without orjson, which is loaded late, and as orjson would write them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from functools import cache

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from localops.encoding import encode

_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 65), 1 << 65), st.floats(), st.text(), st.binary(max_size=3)
)
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(st.one_of(st.text(), st.integers()), inner),
    ),
    max_leaves=40,
)


@given(_VALUES)
@example([1e16, 1.5e300, -0.0, 1e-4, 1e15, 1 / 3])
@example([1e-5, 5e-324])
@example([math.nan, math.inf])
@example([1 << 64])
@example([(1 << 64) - 1, -(1 << 63)])
@example({"\ud800": "\udfff"})
@example('\x00\x1f\x7f\x80\u2028"\\/\b\f\n\r\t\N{GRINNING FACE}')
@example([[[[[[[[[]]]]]]]]])
@example({1: 2})
def test_what_is_written_early_is_what_orjson_writes(value: object) -> None:
    """A value is written early only if both libraries write it alike, byte for byte."""
    if not encode._is_written_alike(value):
        return
    try:
        early = encode._standard_dumps(value)
    except UnicodeEncodeError:
        return
    assert early == orjson.dumps(value)


def test_plain_values_are_written_early() -> None:
    """The values of most events are among them; those that orjson writes otherwise, or not at all, are not."""
    plain = {"a": [1, (2.5, None, True)], "b": {"c": "d"}}
    assert all(map(encode._is_written_alike, (plain, "text", 7)))
    others: tuple[object, ...] = (1e-5, math.nan, 1 << 64, b"", {1: 2}, object(), [[]] * 200)
    assert not any(encode._is_written_alike([value]) for value in others)


_PROGRAM = """
import sys
if sys.argv[1] == "early":
    assert not {"dataclasses", "json", "inspect"} & set(sys.modules), "the test shows nothing"
else:
    import dataclasses
if sys.argv[1] == "never":
    sys.modules["orjson"] = None
    del sys.modules["dataclasses"]
import localops.encoding.encode as encode
assert (encode._orjson is None) == (sys.argv[1] != "orjson")
class Odd:
    def __repr__(self): return "odd"
values = [
    {"a": 1, "text": "plain", "list": [1, 2.5, None, True, (1,)]}, {"f": 1e-7}, {"f": float("nan")}, {"i": 1 << 70},
    {"s": "\\ud800"}, {"b": b"bytes"}, {"o": Odd()}, {1: 2}, {"notes": 1}, {"password": "hunter22"},
    {"deep": [[[[[[]]]]]]}, {"wide": list(range(5000))}, {"long": "x" * 300_000}, {"e": ""}, {},
]
from localops.encoding.redact import Redactor
encoder = encode.Encoder(redactor=Redactor())
for value in values:
    print(encoder.encode({"params": value}))
loop = {}
loop["self"] = loop
print(encoder.encode({"params": loop}))
print(encode.dumps({"a": ["b", 1]}).decode())
"""


@cache
def _printed(how: str, first: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{first}\n{_PROGRAM}", how], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bodies_are_the_same_with_and_without_orjson() -> None:
    """Every value has the same body, whether orjson is loaded at once, late, or cannot be loaded at all."""
    usual = _printed("orjson")
    assert len(usual.splitlines()) == 17
    assert _printed("early") == usual
    never = _printed("never").splitlines()
    assert [json.loads(line) for line in never] == [json.loads(line) for line in usual.splitlines()]


@pytest.mark.parametrize(
    "change",
    [
        "sys.modules['_json'] = None",
        "import _json; del _json.make_encoder",
        "import _json; _json.make_encoder = lambda only: None",
        "import _json; _json.make_encoder = lambda *_: lambda value, level: ['other']",
    ],
)
def test_an_interpreter_with_another_json_writes_the_same(change: str) -> None:
    """The encoder inside the standard library is not a public one: where it is missing, or changed, `json` is used."""
    for how in ("early", "orjson"):
        assert _printed(how, change) == _printed("orjson")


@pytest.mark.parametrize(("many", "size"), [(2_400, 1), (100, 50_000)])
def test_orjson_is_loaded_for_a_program_that_records_much(many: int, size: int) -> None:
    """It is not loaded by the first events, and then once and for all: many short ones, or a few long ones."""
    code = (
        "import localops, sys\n"
        "session = localops.init(env_data_opt_out=True)\n"
        "seen = []\n"
        f"for n in range({many}):\n"
        f"    session.record(localops.ActionEvent(params={{'n': n, 'text': 'x' * {size}}}))\n"
        "    seen.append('orjson' in sys.modules)\n"
        "assert not any(seen[: len(seen) // 6]) and all(seen[-len(seen) // 6 :]), seen\n"
        f"assert session.get_analytics()['Actions'] == {many}\n"
        "session.end_session('Success')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_timeout_error_arrives_while_orjson_is_loaded() -> None:
    """The import system would take it for a missing file: signals wait until orjson is there."""
    code = (
        "import signal, sys\n"
        "import localops.encoding.encode as encode\n"
        "assert encode._orjson is None\n"
        "def handler(*_): raise TimeoutError\n"
        "signal.signal(signal.SIGALRM, handler)\n"
        "arrived = 0\n"
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'orjson': signal.raise_signal(signal.SIGALRM)\n"
        "sys.meta_path.insert(0, Finder)\n"
        "try:\n"
        "    encode._load_orjson()\n"
        "except TimeoutError:\n"
        "    arrived += 1\n"
        "assert arrived == 1 and encode._orjson is not None\n"
        "assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_orjson_is_not_loaded_in_the_middle_of_what_it_needs() -> None:
    """An object that records while `dataclasses` is imported has its event, and orjson, which would crash, waits."""
    code = (
        "import sys\n"
        "import localops.encoding.encode as encode\n"
        "encoder = encode.Encoder(redactor=None)\n"
        "bodies = []\n"
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'inspect' and not bodies:\n"
        "            bodies.append(encoder.encode({'params': {'f': 1e-7}}))\n"
        "sys.meta_path.insert(0, Finder)\n"
        "import dataclasses\n"
        'assert bodies == [\'{"params":{"f":1e-07}}\'], bodies\n'
        "assert encode._orjson is None\n"
        "assert encoder.encode({'params': {'f': 1e-7}}) == '{\"params\":{\"f\":1e-7}}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
