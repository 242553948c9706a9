"""Bodies that are encoded together are those that the encoder makes of each alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localops.encoding.encode import Encoder, Together
from localops.encoding.redact import Redactor
from tests.examples import examples

_SECRETS = ["password=hunter22", "sk-proj-" + "a1B2c3D4" * 6]
_TEXTS = st.sampled_from(["plain", "null", *_SECRETS, "password", "value", "ü\x00\n", "x" * 300, "x" * 3_000, ""])
_NUMBERS = st.integers() | st.floats() | st.sampled_from([float("nan"), float("inf")])
_VALUES = st.recursive(
    _TEXTS | _NUMBERS | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)
_FIELDS = st.dictionaries(st.sampled_from(["params", "notes", "password", "token", "attributes"]), _VALUES, max_size=4)


@settings(max_examples=examples(40))
@given(st.lists(_FIELDS, max_size=20))
def test_together_is_as_alone(many: list[dict[str, object]]) -> None:
    """Secrets, numbers that are not finite, and names that are taken are treated alike."""
    alone = Encoder(redactor=Redactor())
    together = Together(Encoder(redactor=Redactor()))
    bodies = [together.encode(fields) for fields in many]
    clean = together.searched()
    assert [clean.get(body, body) for body in bodies] == [alone.encode(fields) for fields in many]


def test_only_what_came_since_is_searched() -> None:
    """What was searched, or forgotten, is not returned again."""
    together = Together(Encoder(redactor=Redactor()))
    body = together.encode({"params": "password=hunter22"})
    assert together.searched() == {body: '{"params":"password=[redacted:password]","notes":{"redacted":1}}'}
    assert together.searched() == {}
    together.encode({"params": "password=hunter22"})
    together.forget()
    assert together.searched() == {}


@pytest.mark.parametrize("size", [900, 300_000])
def test_large_values_are_kept_beside(size: int) -> None:
    """A text over the limit becomes a file, as it does alone."""
    kept: list[bytes] = []

    def keep(data: bytes) -> str:
        kept.append(data)
        return "0" * 64

    together = Together(Encoder(redactor=Redactor(), max_value=800, keep=keep))
    body = together.encode({"params": "x" * size})
    assert "blob" in body
    assert kept == [b"x" * size]
    assert together.searched() == {}


def test_what_is_nested_deep() -> None:
    """A body is never nested deeper than readers read."""
    value: object = "end"
    for _ in range(300):
        value = [value]
    together = Together(Encoder(redactor=None))
    assert together.encode({"params": value}) == Encoder(redactor=None).encode({"params": value})
