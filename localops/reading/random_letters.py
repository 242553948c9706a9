"""Decide whether letters and digits are random, as in an id, or are words, names and numbers."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import log2

# How often each pair of letters occurs in words and names, compared with random letters: from 0 (32 times less often)
# to 9 (16 times more often), for `aa ab ac …`.  Counted in documentation and in names in programs.
_PAIRS = """
    55652352504766150767433341 75546322652743641554612252 72446326506543731546521040 64458432712533631554532230
    53664542302556343776244530 63446741710634731655512130 52438346601545530664532122 73348323703443730545512141
    54655450112658640566040304 63447334636423752453723233 63458454732635442464425040 62358312702633730255521060
    75248211602453660254510040 62666572514434631267441020 34563442404667560755645311 72337424602623652756513050
    53433233412434335553933221 73548341603454640566433040 52537336603433552368623140 62447316701433640665423152
    56545541501667460666210200 84428332711333530343233222 73457425712426631664234401 54656624612442471447332652
    44545433512556471466344374 62348323601332532343213448
""".split()
_SAME = 5  # as often as in random letters
_SMALL, _CAPITAL, _DIGIT, _SIGN = range(4)
# In names, the probability of a small letter, a capital, a digit and a sign after each of these.
_NEXT = ((0.9, 0.03, 0.03, 0.04), (0.65, 0.3, 0.03, 0.02), (0.1, 0.08, 0.7, 0.12), (0.72, 0.1, 0.15, 0.03))
_MANY = (26, 26, 10, 1)  # of each
# Bits by which a text must be likelier random than a name; more without digits and capitals.
_ENOUGH, _ENOUGH_OF_LETTERS = -4.0, 4.0


@lru_cache(4096)
def is_random(text: str) -> bool:
    """Return whether letters and digits are more likely random than a name.

    >>> [is_random(text) for text in ("customerordersarchive2024", "RBrHWajcyAkhGUfpggblWogn", "1234567890123456")]
    [False, True, False]
    """
    kinds = [_kind(character) for character in text]
    has_capital, has_digit = _CAPITAL in kinds, _DIGIT in kinds
    if _SMALL not in kinds and not has_capital:
        return False
    as_name = log2(62 if has_capital else 36) * (len(text) - 1)
    for (a, b), (before, kind) in zip(pairwise(text.lower()), pairwise(kinds), strict=True):
        as_name += log2(_NEXT[before][kind] / _MANY[kind])
        # A capital after a small letter begins another word.
        if (kind == _SMALL and before < _DIGIT) or before == kind == _CAPITAL:
            as_name += int(_PAIRS[ord(a) - 97][ord(b) - 97]) - _SAME
    return as_name < -(_ENOUGH if has_capital or has_digit else _ENOUGH_OF_LETTERS)


def _kind(character: str) -> int:
    if "a" <= character <= "z":
        return _SMALL
    if "A" <= character <= "Z":
        return _CAPITAL
    return _DIGIT if "0" <= character <= "9" else _SIGN
