"""Replace ids, times and durations that differ each time a program runs, so that two runs can be compared."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC

from localops.encoding.lazy import late_pattern
from localops.reading.random_letters import is_random

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Private-use characters stand for escapes, as a text may contain line feeds besides escaped ones.
_ESCAPES = (("\\n", "\ue00a"), ("\\r", "\ue00d"), ("\\t", "\ue009"))

# Prefixes with which services begin their ids.
_SERVICES = "call|toolu|tooluse|chatcmpl|cmpl|msg|resp|req|gen|fc|rs|asst"
# After these words, an id may be as short as eight hex digits.
_WORDS = (
    "request|trace|span|session|thread|run|job|task|batch|message|event|execution|invocation|conversation|upload|"
    "workflow|operation|attempt"
)
_IS_DAY = r"(?:19|20)\d{6}(?![0-9A-Za-z])"
# A digest depends on a content, so it is kept: it has one of these words, or the length of SHA-1, SHA-224 or SHA-256.
_DIGESTS = "sha|md|commit|digest|hash|rev|revision|tree|blob|etag|checksum|crc"
_IS_DIGEST = "(?:[0-9a-f]{40}|[0-9a-f]{56}|[0-9a-f]{64})(?![0-9A-Za-z])"
# Values that programs and services generate in each run: UUIDs, ids of services such as `call_…` and `req-…`, ULIDs,
# ids of spans and objects, memory addresses, names of temporary files and folders.
_ID = rf"""
      (?:[A-Za-z]{{2,12}}[_-])?[0-9a-fA-F]{{8}}-?(?:[0-9a-fA-F]{{4}}-?){{3}}[0-9a-fA-F]{{12}}(?![0-9A-Za-z])
    | (?:{_SERVICES})[_-](?:(?=[A-Za-z_-]*\d|[a-z_-]*[A-Z])[A-Za-z0-9_-]{{16,}}|[0-9a-f]{{8,}})(?![0-9A-Za-z])
    | (?:{_WORDS})[_-](?!{_IS_DAY})(?=[a-f]*\d)[0-9a-f]{{8,}}(?![0-9A-Za-z])
    | (?!(?:{_DIGESTS})[_-])[a-z]{{2,12}}[_-](?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{{16,}}(?![0-9A-Za-z])
    | (?!{_IS_DIGEST})(?=\d*[a-f])(?=[a-f]*\d)[0-9a-f]{{12,63}}(?![0-9A-Za-z])
    | [0-7](?=\d*[A-Z])[0-9A-HJKMNP-TV-Z]{{25}}(?![0-9A-Za-z])
    | 0x[0-9a-f]{{6,16}}(?![0-9A-Za-z])
    | pytest-of-[^/"]+/pytest-\d+
    | tmp(?<=/tmp)[a-z0-9_]{{8}}(?![0-9A-Za-z_])
"""
# Dates and times in ISO 8601 and in names of files; Unix times in seconds, milliseconds and so on; snowflake ids.
_TIME = r"""
      \d{4}(?P<sign>[-/])\d\d(?P=sign)\d\d
      (?:[T\ _-]\d\d[:-]?\d\d(?:[:-]?\d\d(?:[.,]\d+)?)?(?:\ ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))?)?(?![0-9A-Za-z])
    | 20\d{6}[T_-]?\d{6}(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?(?![0-9A-Za-z])
    | (?:\d{18,19}|\d{16}|(?:\d{13}|\d{10})(?:\.\d+)?)(?![0-9A-Za-z]|\.\d)
"""
# What may be, or contain, an id with random letters, such as `order_8hK2…`; but no address of a cryptocurrency, no
# digest, and nothing that ends like base64.
_PERHAPS = rf"(?!0x[0-9a-fA-F]{{40}}|bc1[0-9a-z]{{30}}|{_IS_DIGEST})[A-Za-z0-9_-]{{16,80}}(?![A-Za-z0-9_=-])"
_SHORTEST, _LONGEST = 16, 64  # letters and digits that may be random
_WORD = late_pattern(r"[a-z]{2,12}[_-]")
_SMALL = late_pattern(rf"(?<![0-9A-Za-z])(?:[a-z]{{2,12}}[_-])?(?!{_IS_DIGEST})([a-z0-9]{{16,64}})(?![0-9A-Za-z])")
_AS_LONG = late_pattern(r"(?<![0-9A-Za-z])(?:[a-z]{2,12}[_-])?[0-9A-Za-z]{12,64}(?![0-9A-Za-z])")
_REDACTED = late_pattern(r"\[redacted:[a-z_-]+\]")
# A fast check that skips nearly all words: they are short, without a digit, and without a capital after a hyphen.
_START = rf"(?<![0-9A-Za-z])(?=[A-Za-z_/-]*\d|tmp|(?:{_SERVICES})[_-]|[a-z]{{2,12}}[_-][a-z]*[A-Z]|[A-Za-z_-]{{16}})"
_MADE_UP = late_pattern(rf"{_START}(?:(?P<id>{_ID})|(?P<time>{_TIME})|(?P<perhaps>{_PERHAPS}))", re.VERBOSE)
_WITHIN = late_pattern(rf"{_START}(?:(?P<id>{_ID})|(?P<time>{_TIME}))", re.VERBOSE)
# Dates and times with names of months, as in HTTP, mails, logs and texts.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = rf"(?:{'|'.join(_MONTHS)})[a-z]{{0,6}}"
_CLOCK = r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?:\ ?[AP]M)?(?:\ ?(?:GMT|UTC|Z|[+-]\d\d:?\d\d))?"
_IS_IN_WORDS = late_pattern(rf"[JFMASOND0-9](?:(?<=\d)[ -/]{_MONTH}|(?<=[JFMASOND])[a-z]{{2,8}}\.?\ \ ?\d)")
_IN_WORDS = late_pattern(
    rf"""
      (?<![0-9A-Za-z])(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{{0,6}},?\ )?
      (?: (?P<day>\d{{1,2}})[ -/](?P<month>{_MONTH})[ -/](?P<year>20\d\d)(?:[ :]{_CLOCK})?
        | (?P<first_month>{_MONTH})\.?\ {{1,2}}(?P<later_day>\d{{1,2}})(?:st|nd|rd|th)?,?
          \ (?:{_CLOCK}\ )?(?P<last_year>20\d\d)(?:,?\ (?:at\ )?{_CLOCK})?
      )(?![0-9A-Za-z])
    """,
    re.VERBOSE,
)
# Ids that begin with a time: its epoch and its unit, both in nanoseconds, and the number of low bits without the time.
# Of other numbers with as many digits, about one in thousands falls into the days of a run; round ones are amounts.
_MS = 1_000_000
_SNOWFLAKES = (
    (1_288_834_974_657 * _MS, _MS, 22),  # Twitter
    (1_420_070_400_000 * _MS, _MS, 22),  # Discord
    (1_314_220_021_721 * _MS, _MS, 23),  # Instagram
    (1_409_529_600_000 * _MS, 10 * _MS, 24),  # Sonyflake
    (1_420_070_400_000 * _MS, 10_000, 15),  # CockroachDB
    (0, _MS, 22),
    (0, _MS, 20),
    (0, _MS, 16),  # Mastodon
    (0, 1000 * _MS, 32),  # MongoDB's timestamps
    (-62_135_596_800_000 * _MS, 100, 0),  # ticks of .NET
    (-11_644_473_600_000 * _MS, 100, 0),  # times of files on Windows
)
_ROUND = "000000"
# Ids of requests, in any form: in JSON, in JSON inside a text, and as Python prints a dict.
_REQUEST_ID = late_pattern(
    r"""((?:[Rr]equest|[Tt]race|[Ss]pan|[Cc]orrelation|[Ii]dempotency)[_-]?(?:[Ii][Dd]|[Kk]ey)\\*["']\s?:\s?\\*["'])[^"'\\]+"""
)
_REQUEST_WORDS = ("request", "trace", "span", "correlation", "idempotency")
# Ids under a key such as `job_id`, which may be short, too; and the words that the key must end with.
_KEYED_ID = late_pattern(
    rf"""[Ii][Dd]\\{{0,4}}["']\s?:\s?\\{{0,4}}["'](?!{_IS_DAY})([0-9a-f]{{8,64}})(?=\\{{0,4}}["'])"""
)
_KEY = late_pattern(rf"(?:{_WORDS})[_-]?\Z", re.IGNORECASE)
_KEY_LENGTH = 16
_MEASURED = "took|elapsed|latency"
_LASTING = (
    rf"{_MEASURED}|duration|(?:up|response|query|process(?:ing)?|exec(?:ution)?|run|wall|cpu|search|total|load)[_-]?time"
    '|time[_-](?:taken|spent)|(?<=["_])time(?=_(?:ms|s|secs?|seconds|millis))'
)


def _under_keys(words: str) -> re.Pattern[str]:
    """Return a pattern for durations under keys that contain one of these words."""
    return late_pattern(
        rf"""
          ("[a-z_-]{{0,40}}?(?:{words})
          (?:[_-]?(?:ns|us|ms|s|secs?|seconds|millis|nanos|micros|milliseconds|nanoseconds|microseconds))?
          \\{{0,4}}"\s?:\s?)
          (?:\\{{0,4}}")?-?\d{{1,30}}(?:\.\d{{1,30}})?(?:e[+-]?\d{{1,3}})?\ ?(?:[nuµm]?s|sec(?:ond)?s?)?
          (?:\\{{0,4}}")?(?=\s?[,}}])
        """,
        re.VERBOSE | re.IGNORECASE,
    )


# Durations under keys; in arguments only measured ones, as others are settings, such as a timeout.
_TOOK, _TOOK_GIVEN = _under_keys(_LASTING), _under_keys(_MEASURED)


def without_ids(
    text: str, from_ns: int, until_ns: int, *, removed: list[str] | None = None, kept: frozenset[str] = frozenset()
) -> str:
    """Replace ids that are generated in each run by `<id>` in JSON, and times in a period by `<time>`.

    Replaced values are added to `removed`; values in `kept` are not replaced.

    >>> without_ids('{"day":"1970-01-01","id":"01a2276f-5838-79e8-bfff-ce32c169d5b9","n":5}', 0, 10)
    '{"day":"<time>","id":"<id>","n":5}'
    """
    period = _Period(from_ns, until_ns, [] if removed is None else removed, kept)
    # The last character of an escaped line feed would look like a letter before an id.
    is_escaped = "\\" in text
    for escape, character in _ESCAPES if is_escaped else ():
        text = text.replace(escape, character)
    lower = text.lower()
    if "id" in lower or "key" in lower:
        if _has_one_of(_REQUEST_WORDS, lower):
            text = _REQUEST_ID.sub(period.without_request, text)
        text = _KEYED_ID.sub(period.without_keyed, text)
    if "20" in text and _IS_IN_WORDS.search(text):
        text = _IN_WORDS.sub(period.without_words, text)
    text = _MADE_UP.sub(period.without, text)
    for escape, character in _ESCAPES if is_escaped else ():
        text = text.replace(character, escape)
    return text


class _Period:
    """The period of a run, with methods that replace ids, and times in the period."""

    __slots__ = ("_from_ns", "_kept", "_removed", "_until_ns")

    def __init__(self, from_ns: int, until_ns: int, removed: list[str], kept: frozenset[str]) -> None:
        self._from_ns, self._until_ns = from_ns, until_ns
        self._removed, self._kept = removed, kept

    def without(self, match: re.Match[str]) -> str:
        """Return the replacement of what may be generated, or the text unchanged."""
        if match["id"] is not None:
            return self._replace(match[0], "<id>")
        if match["time"] is not None:
            return self._unless_in(_moments(match["time"]), match)
        token = match["perhaps"]
        if _has_random_capitals(token):
            return self._replace(token, "<id>")
        return _SMALL.sub(self._without_small, _WITHIN.sub(self.without, token))

    def without_request(self, match: re.Match[str]) -> str:
        """Return the key of a request's id with the replacement of the id."""
        return match[1] + self._replace(match[0][len(match[1]) :], "<id>")

    def without_keyed(self, match: re.Match[str]) -> str:
        """Return a key and its value, which is replaced if it is an id."""
        start = match.start()
        is_id = _KEY.search(match.string[max(0, start - _KEY_LENGTH) : start])
        return match[0].replace(match[1], self._replace(match[1], "<id>")) if is_id else match[0]

    def without_words(self, match: re.Match[str]) -> str:
        """Return the same for a date in words."""
        month = _MONTHS.index((match["month"] or match["first_month"])[:3]) + 1
        day = int(match["day"] or match["later_day"])
        return self._unless_in(_moment_of_day(int(match["year"] or match["last_year"]), month, day), match)

    def _unless_in(self, moments: Iterator[int], match: re.Match[str]) -> str:
        is_own = any(self._from_ns <= moment <= self._until_ns for moment in moments)
        return self._replace(match[0], "<time>") if is_own else match[0]

    def _without_small(self, match: re.Match[str]) -> str:
        return self._replace(match[0], "<id>") if is_random(match[1]) else match[0]

    def _replace(self, value: str, by: str) -> str:
        self._removed.append(value)
        return value if value in self._kept else by


def loosely(text: str) -> tuple[str, int]:
    """Replace also everything as long as an id by `<id>` in a result of `without_ids`; return how many ids it had.

    Of two ids from the same generator, one may look like a name or a number, or may have been redacted as a secret.
    That is so if two texts are loosely equal, but had different numbers of ids.

    >>> loosely('{"job":"<id>"}'), loosely('{"job":"5244229130831098"}')
    (('{"job":"<id>"}', 1), ('{"job":"<id>"}', 0))
    """
    return _AS_LONG.sub("<id>", _REDACTED.sub("<id>", text)), text.count("<id>")


def without_durations(text: str, *, is_argument: bool = False) -> str:
    """Replace durations under keys that say so by `<time>` in JSON; in arguments, only measured ones.

    >>> without_durations('{"hits":2,"took_ms":41.2,"elapsed":"0.39s"}')
    '{"hits":2,"took_ms":<time>,"elapsed":<time>}'
    """
    lower = text.lower()
    if "took" in lower or "elapsed" in lower or "latency" in lower:
        return (_TOOK_GIVEN if is_argument else _TOOK).sub(r"\1<time>", text)
    return _TOOK.sub(r"\1<time>", text) if not is_argument and ("time" in lower or "duration" in lower) else text


def _has_one_of(words: tuple[str, ...], text: str) -> bool:
    """Return whether a text contains one of the words, without which a slower pattern cannot match."""
    return any(word in text for word in words)


def _has_random_capitals(token: str) -> bool:
    """Return whether upper and lower case letters are random, in the whole token or after words in it."""
    if token.islower() or token.isupper():
        return False
    while len(token) > _LONGEST or not is_random(token):
        word = _WORD.match(token)
        if word is None or len(token) - word.end() < _SHORTEST:
            return False
        token = token[word.end() :]
    return True


def _moments(text: str) -> Iterator[int]:
    """Yield the moments, in nanoseconds, that a date, a time, a Unix time or a snowflake id may mean."""
    whole, _, rest = text.partition(".")
    if text.isdigit() and len(text) in (18, 19) and not text.endswith(_ROUND):
        for epoch_ns, unit_ns, bits in _SNOWFLAKES:
            yield epoch_ns + unit_ns * (int(text) >> bits)
    if whole.isdigit() and len(whole) in (10, 13, 16, 19):
        yield int(whole.ljust(19, "0")) + (int(rest[:9].ljust(9, "0")) if rest and len(whole) == 10 else 0)
    elif len(whole) != 18:
        digits = re.sub(r"(?<=\d)[+-]\d\d:?\d\d$|\D|[.,]\d+", "", text)
        yield from _moment_of_day(int(digits[:4]), int(digits[4:6]), int(digits[6:8]), digits[8:14])


def _moment_of_day(year: int, month: int, day: int, clock: str = "") -> Iterator[int]:
    """Yield a moment of a day in nanoseconds; nothing if the day does not exist."""
    from datetime import datetime

    hour, minute, second = (int(clock[at : at + 2] or 0) for at in (0, 2, 4))
    with suppress(ValueError):
        yield int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 1_000_000_000
