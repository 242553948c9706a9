"""Patterns that take exponential time are known from those that only look like it, before a text meets them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from localops.encoding import ambiguous_patterns
from localops.encoding.patterns import may_not_end

_SLOW = [
    r"(a+)+$",
    r"(a|aa)+$",
    r"(?:\s*|b)*c",
    r"(a*)*b",
    r"(a*b*)*c",
    r"(\d{1,3}\.?)+$",
    r"(x+x+)+y",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(.*)*$",
    r"(?:a|b|ab)*c",
    r"((ab)*)*c",
    r"(a?a)+b",
    r"(foo|fo+)+$",
    r"(?:[^,]*,?)*$",
    r"(?=(a+)+$)x",
    r"(?i:ab|A(?-i:b))+$",
]
_QUICK = [
    r"(\w+-)+",
    r"\d{13,16}",
    r"\bDE\d{20}\b",
    r"(?:ab|cd)+",
    r"(a|b)+$",
    r"(?:[A-Z]+\d+)+",
    r"(?:\d{3}-){2}\d{4}",
    r"[\w.+-]+@(?:[\w-]+\.)+\w+",
    r"(?:[^,]*,)*$",
    r"(?:\\.|[^\\\"])*",
    r"(a?b)+c",
    r"(?:0|1(?:01*0)*1)*",
    r"((?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}\d+",
    r"(?:a?)+",
    r"(ab|A[b-c]x)+$",
    "(?:" + "|".join(f"word{n}" for n in range(40)) + ")+ ",
]


@pytest.mark.parametrize("pattern", _SLOW)
def test_a_pattern_that_fits_in_many_ways_is_known(pattern: str) -> None:
    """Repetitions of repetitions, and of choices of which two have a text in common."""
    assert may_not_end(re.compile(pattern))


@pytest.mark.parametrize("pattern", _QUICK)
def test_a_pattern_that_fits_in_one_way_is_left_alone(pattern: str) -> None:
    """However many repetitions it has."""
    assert not may_not_end(re.compile(pattern))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="these patterns are new in Python 3.11")
def test_what_gives_nothing_back_is_quick() -> None:
    """Possessive repetitions and atomic groups are tried in one way."""
    assert not any(may_not_end(re.compile(each)) for each in (r"(?:a++)+$", r"(?>a+)+$", r"(?>a|aa)*b"))


def test_very_large_patterns_are_not_analysed() -> None:
    """Analysing a pattern must not take long itself."""
    assert not may_not_end(re.compile("(?:" + "|".join(f"{n:04}" for n in range(400)) + "|0001)+$"))


def test_a_text_shows_that_they_are_slow() -> None:
    """A pattern that is reported as slow does not finish with 40 characters; one that is not does."""
    program = "import re, sys; re.search(sys.argv[1], 'a' * 60 + '!')"
    slow = subprocess.Popen([sys.executable, "-c", program, r"(a|aa)+$"])
    try:
        subprocess.run([sys.executable, "-c", program, r"(a|b)+$"], check=True, timeout=60)
        assert slow.poll() is None
    finally:
        slow.kill()
        slow.wait()
    assert ambiguous_patterns.is_ambiguous(re.compile(r"(a|aa)+$"))
