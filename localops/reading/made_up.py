"""Ids, times and durations that differ each time a program runs: two runs are compared without them."""

from __future__ import annotations

import re
from datetime import UTC
from itertools import pairwise

# Characters for private use, as a text can have line feeds beside escaped ones.
_ESCAPES = (("\\n", "\ue00a"), ("\\r", "\ue00d"), ("\\t", "\ue009"))

# What services begin their ids with, which need no further look.
_SERVICES = "call|toolu|tooluse|chatcmpl|cmpl|msg|resp|req|gen|fc|rs|asst"
# Words before ids that may be as short as eight hex digits.
_WORDS = "request|trace|span|session|thread|run|job|task|batch"
# What programs and services make up in each run: UUIDs, ids of services such as `call_…` and `req-…`, ULIDs, ids of
# spans and objects, addresses in memory, names of temporary files and folders.
_ID = rf"""
      (?:[A-Za-z]{{2,12}}[_-])?[0-9a-fA-F]{{8}}-?(?:[0-9a-fA-F]{{4}}-?){{3}}[0-9a-fA-F]{{12}}(?![0-9A-Za-z])
    | (?:{_SERVICES})[_-](?:(?=[A-Za-z_-]*\d|[a-z_-]*[A-Z])[A-Za-z0-9_-]{{16,}}|[0-9a-f]{{8,}})(?![0-9A-Za-z])
    | (?:(?:{_WORDS})[_-]|[a-z]{{2,12}}[_-](?=[0-9a-f]{{16}}))(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{{8,}}(?![0-9A-Za-z])
    | (?=\d*[a-f])(?=[a-f]*\d)(?:[0-9a-f]{{24}}|[0-9a-f]{{16}}|[0-9a-f]{{12}})(?![0-9A-Za-z])
    | [0-7](?=\d*[A-Z])[0-9A-HJKMNP-TV-Z]{{25}}(?![0-9A-Za-z])
    | 0x[0-9a-f]{{6,16}}(?![0-9A-Za-z])
    | pytest-of-[^/"]+/pytest-\d+
    | tmp(?<=/tmp)[a-z0-9_]{{8}}(?![0-9A-Za-z_])
"""
# What is an id if its letters are random: `order_8hK2…`, and 20 to 36 letters and digits.
_PERHAPS = r"""
      [a-z]{2,12}[_-](?P<after>[A-Za-z0-9]{16,})(?![0-9A-Za-z])
    | (?=[a-z0-9_-]*[A-Z])(?=[A-Z0-9_-]*[a-z])[A-Za-z0-9_-]{20,36}(?![0-9A-Za-z_-])
"""
_TIME = r"""
      \d{4}-\d\d-\d\d(?:[T\ ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?(?![0-9A-Za-z])
    | (?:\d{19}|\d{16}|\d{13}|\d{10}(?:\.\d+)?)(?![0-9A-Za-z.])
"""
# Nearly all words are passed over at once, as they have no digit, and no capital behind a sign.
_MADE_UP = re.compile(
    rf"(?<![0-9A-Za-z])(?=[A-Za-z_/-]*\d|tmp|(?:{_SERVICES})[_-]|[a-z]{{2,12}}[_-][a-z]*[A-Z])"
    rf"(?:(?P<id>{_ID})|(?P<time>{_TIME})|(?P<perhaps>{_PERHAPS}))",
    re.VERBOSE,
)
# Ids of one request, whatever they look like: in JSON, in JSON inside of a text, and as Python writes a dict.
_REQUEST_ID = re.compile(
    r"""((?:[Rr]equest|[Tt]race|[Ss]pan|[Cc]orrelation|[Ii]dempotency)[_-]?(?:[Ii][Dd]|[Kk]ey)\\*["']\s?:\s?\\*["'])[^"'\\]+"""
)
_REQUEST_WORDS = ("request", "trace", "span", "correlation", "idempotency")
# A duration under a key that says so, and words of which such a key has one.
_TOOK = re.compile(
    r"""
      ("[a-z_-]{0,40}?
      (?:took|duration|elapsed|latency|(?:response|query|process(?:ing)?|exec(?:ution)?|run|wall|cpu|search)[_-]?time)
      (?:[_-]?(?:ns|us|ms|s|secs?|seconds|millis|nanos|micros|milliseconds|nanoseconds|microseconds))?
      \\{0,4}"\s?:\s?)
      (?:\\{0,4}")?-?\d{1,30}(?:\.\d{1,30})?(?:e[+-]?\d{1,3})?\ ?(?:[nuµm]?s)?(?:\\{0,4}")?(?=\s?[,}])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_TOOK_WORDS = ("took", "duration", "elapsed", "latency", "time")
# The most frequent pairs of letters in English words.
_PAIRS = frozenset(
    "in er re te es at on ti ed en st le de or co ar nt al se ra ng li et an me ri ta tr ro di it ne io ec pe nd ic ge "
    "is la ma as ct ce si ac pa lo un ve ca el fi to pr na ea ns il rs".split()
)


def without_ids(text: str, from_ns: int, until_ns: int) -> str:
    """Return JSON with `<id>` for ids that are made up in each run, and `<time>` for times in a period.

    >>> without_ids('{"day":"1970-01-01","id":"01a2276f-5838-79e8-bfff-ce32c169d5b9","n":5}', 0, 10)
    '{"day":"<time>","id":"<id>","n":5}'
    """
    # An escaped line feed would look like a letter before an id.
    is_escaped = "\\" in text
    for escape, character in _ESCAPES if is_escaped else ():
        text = text.replace(escape, character)

    def replaced(match: re.Match[str]) -> str:
        if match["id"] is not None:
            return "<id>"
        if match["perhaps"] is not None:
            return "<id>" if _is_random(match["after"] or match["perhaps"]) else match[0]
        at_ns = _to_ns(match["time"])
        return "<time>" if at_ns is not None and from_ns <= at_ns <= until_ns else match[0]

    if _has_one_of(_REQUEST_WORDS, text):
        text = _REQUEST_ID.sub(r"\1<id>", text)
    text = _MADE_UP.sub(replaced, text)
    for escape, character in _ESCAPES if is_escaped else ():
        text = text.replace(character, escape)
    return text


def without_durations(text: str) -> str:
    """Return JSON with `<time>` for durations under keys that say so.

    >>> without_durations('{"hits":2,"took_ms":41.2,"elapsed":"0.39s"}')
    '{"hits":2,"took_ms":<time>,"elapsed":<time>}'
    """
    return _TOOK.sub(r"\1<time>", text) if _has_one_of(_TOOK_WORDS, text) else text


def _has_one_of(words: tuple[str, ...], text: str) -> bool:
    """Return whether a pattern that takes longer may fit."""
    lower = text.lower()
    return any(word in lower for word in words)


def _is_random(text: str) -> bool:
    """Return whether letters and digits were chosen by chance: of words, more pairs of letters are frequent ones.

    >>> [_is_random(text) for text in ("customerordersarchive2024", "RBrHWajcyAkhGUfpggblWogn", "1234567890123456")]
    [False, True, False]
    """
    if not any(map(str.isalpha, text)):
        return False
    frequent = sum(a + b in _PAIRS for a, b in pairwise(text.lower()))
    # From a small letter to a capital, a digit or a sign, and so on: in words this is rare, too.
    changes = sum(_sort(a) != _sort(b) for a, b in pairwise(text))
    return 2 * frequent < changes + 2


def _sort(character: str) -> int:
    return 0 if character.islower() else 1 if character.isupper() else 2


def _to_ns(text: str) -> int | None:
    """Return a date, a time or seconds (also thousandths and so on) since 1970 in nanoseconds."""
    if "-" not in text:
        whole, _, rest = text.partition(".")
        return int(whole.ljust(19, "0")) + (int(rest[:9].ljust(9, "0")) if rest else 0)
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * 1_000_000_000
