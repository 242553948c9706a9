"""The colours of the style sheet: each kind, state and model has one that no other meaning has."""

from __future__ import annotations

import math
import re
from itertools import combinations
from pathlib import Path

import localops

_STYLE = (Path(localops.__file__).parent / "web" / "style.css").read_text(encoding="utf-8")
_PAIR = re.compile(r"--([\w-]+): light-dark\((#[\da-f]{3,6}), (#[\da-f]{3,6})\);")
_THEMES = [{name: both[at] for name, *both in _PAIR.findall(_STYLE)} for at in (0, 1)]
_KINDS = ("llm", "tool", "agent", "action", "error")
_STATES = ("good", "warn", "running")
_MODELS = [f"model-{number}" for number in range(10)]
# In hundredths of Oklab; a difference of 2 is just visible side by side.
_APART = 5


def _linear(colour: str) -> list[float]:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def _oklab(colour: str) -> tuple[float, float, float]:
    red, green, blue = _linear(colour)
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    middle = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def _contrast(one: str, other: str) -> float:
    dark, light = sorted(
        0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in map(_linear, (one, other))
    )
    return (light + 0.05) / (dark + 0.05)


def test_one_colour_has_one_meaning() -> None:
    """Kinds, states, links, plain numbers and models differ in both themes; an error has the red of a failure."""
    close = [
        (one, other, round(apart, 1))
        for colours in _THEMES
        for one, other in combinations((*_KINDS, *_STATES, "accent", "series", *_MODELS), 2)
        if (apart := 100 * math.dist(_oklab(colours[one]), _oklab(colours[other]))) < _APART
    ]
    assert close == []


def test_words_on_a_bar_can_be_read() -> None:
    """Their contrast is at least 4.5, also that of the words of states and kinds on a card."""
    weak = [
        (name, on)
        for colours in _THEMES
        for on, names in (("paper", _KINDS), ("card", (*_STATES, "bad", *(f"{kind}-ink" for kind in _KINDS))))
        for name in names
        if _contrast(colours[name], colours[on]) < 4.5
    ]
    assert weak == []
