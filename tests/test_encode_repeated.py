"""Names that an event repeats: they are searched for secrets once, and counted each time."""

from __future__ import annotations

import json
import math

import pytest

from localops.encoding import plain_values
from localops.encoding.encode import Encoder
from localops.encoding.redact import Redactor


def test_names_met_again_count_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """One dict with a long name, met again and again, makes no event of any size."""
    monkeypatch.setattr(plain_values, "MAX_TEXT", 100_000)
    text = Encoder(redactor=None).encode({"params": [{"n" * 1_000: math.nan}] * 1_000})
    assert len(text) < 200_000
    assert json.loads(text)["notes"]["too_big"] > 0


def test_a_secret_beside_names_that_were_clean_is_removed() -> None:
    """A dict of the same names as one before may hold a secret, in a text or under a name that it has only here."""
    dicts: list[object] = [{"first": math.nan, "then": 1}, {"first": math.nan, "then": "password=hunter22"}]
    dicts += [{"first": math.nan, "password": 123456}, {"first": math.nan, "password": 123456}]
    text = Encoder(redactor=Redactor()).encode({"params": dicts})
    assert "hunter22" not in text
    assert "123456" not in text
