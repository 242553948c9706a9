"""Patterns of modules that are compiled when they are first used."""

from __future__ import annotations

import re

import pytest

from localops.encoding.lazy import late_pattern


def test_a_late_pattern_does_what_a_compiled_one_does() -> None:
    """With its flags, through every method."""
    late, compiled = late_pattern(r"b (?P<rest>.)", re.VERBOSE | re.IGNORECASE), re.compile(r"b(?P<rest>.)", re.I)
    for text in ("aBcbd", "nothing"):
        assert late.sub("x", text) == compiled.sub("x", text)
        assert late.findall(text) == compiled.findall(text)
        assert (late.search(text) is None) == (compiled.search(text) is None)
    assert late.groupindex == compiled.groupindex


def test_a_late_pattern_is_not_compiled_before_it_is_used() -> None:
    """A wrong one fails when one of its methods is called."""
    wrong = late_pattern("(")
    with pytest.raises(re.error, match="missing"):
        wrong.search("text")
