"""Ids, times and durations that each run makes up are left out of what is compared; what a program means is not."""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest

from localops.reading.made_up import without_durations, without_ids
from localops.reading.steps import Steps
from tests.constants import PAIRS

_NOW = 1_795_957_938  # 2026-11-29T13:12:18Z
_DAY_NS = 86_400 * 1_000_000_000
_BASE32, _CROCKFORD = string.digits + "abcdefghijklmnopqrstuv", "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BASE36, _BASE62 = string.digits + string.ascii_lowercase, string.digits + string.ascii_letters
_SHORT = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _compared(text: str) -> str:
    return without_ids(text, _NOW * 10**9 - _DAY_NS, _NOW * 10**9 + _DAY_NS)


def _letters(alphabet: str, count: int, before: str = "") -> Callable[[Random], str]:
    return lambda random: before + "".join(random.choices(alphabet, k=count))


def _number(value: int, alphabet: str) -> str:
    text = ""
    while value:
        value, digit = divmod(value, len(alphabet))
        text = alphabet[digit] + text
    return text


def _ms(random: Random) -> int:
    return _NOW * 1000 + random.randrange(60_000)


def _uuid1(random: Random) -> str:
    time = _ms(random) * 10_000 + 0x01B21DD213814000
    parts = (time & 0xFFFFFFFF, time >> 32 & 0xFFFF, time >> 48 | 0x1000, 0x80, random.getrandbits(8))
    return str(UUID(fields=(*parts, random.getrandbits(48))))


def _shifted(bits: int) -> Callable[[Random], str]:
    return lambda random: str(_ms(random) << bits | random.getrandbits(bits))


GENERATORS: dict[str, Callable[[Random], str]] = {
    "uuid1": _uuid1,
    "uuid4": lambda random: str(UUID(int=random.getrandbits(128), version=4)),
    "uuid7": lambda random: str(UUID(int=_ms(random) << 80 | 7 << 76 | 1 << 63 | random.getrandbits(62))),
    "nanoid": _letters(_BASE62 + "_-", 21),
    "ksuid": lambda random: _number((_NOW - 1_400_000_000) << 128 | random.getrandbits(128), _BASE62).rjust(27, "0"),
    "ulid": lambda random: "0" + _number(_ms(random) << 80 | random.getrandbits(80), _CROCKFORD),
    "cuid": lambda random: "c" + _number(_ms(random), _BASE36) + _letters(_BASE36, 16)(random),
    "cuid2": lambda random: random.choice(string.ascii_lowercase) + _letters(_BASE36, 23)(random),
    "shortuuid": lambda random: _number(random.getrandbits(128), _SHORT).rjust(22, "2"),
    "xid": _letters(_BASE32, 20),
    "objectid": lambda random: f"{_NOW:08x}{random.getrandbits(64):016x}",
    "snowflake of Twitter": lambda random: str(_ms(random) - 1_288_834_974_657 << 22 | random.getrandbits(22)),
    "snowflake of Discord": lambda random: str(_ms(random) - 1_420_070_400_000 << 22 | random.getrandbits(22)),
    "snowflake of Instagram": lambda random: str(_ms(random) - 1_314_220_021_721 << 23 | random.getrandbits(23)),
    "snowflake of Sony": lambda random: str((_ms(random) - 1_409_529_600_000) // 10 << 24 | random.getrandbits(24)),
    "of CockroachDB": lambda random: str((_ms(random) - 1_420_070_400_000) * 100 << 15 | random.getrandbits(15)),
    "timestamp of MongoDB": lambda random: str(_ms(random) // 1000 << 32 | random.randrange(1, 100)),
    "ticks of .NET": lambda random: str(_ms(random) * 10_000 + 621_355_968_000_000_000 + random.randrange(10_000)),
    "time of Windows": lambda random: str(_ms(random) * 10_000 + 116_444_736_000_000_000 + random.randrange(10_000)),
    **{f"milliseconds and {bits} bits": _shifted(bits) for bits in (16, 20, 22)},
    "base64 of 16 bytes": lambda random: base64.urlsafe_b64encode(random.randbytes(16)).decode().rstrip("="),
    "base64 of 32 bytes": lambda random: base64.urlsafe_b64encode(random.randbytes(32)).decode().rstrip("="),
    **{f"base36 {count}": _letters(_BASE36, count) for count in (16, 20, 25)},
    **{f"base62 {count}": _letters(_BASE62, count) for count in (16, 20, 22, 24, 32)},
    **{f"hex {count}": _letters("0123456789abcdef", count) for count in (12, 14, 16, 20, 24, 32, 36, 48)},
    "of a word and base36": _letters(_BASE36, 16, "order_"),
    "of a word and base62": _letters(_BASE62, 16, "order-"),
    "of a service": _letters(_BASE62, 24, "call_"),
    "of a job": _letters("0123456789abcdef", 8, "job-"),
}
# What is an id by its key only: short, or as long as a digest of content.
KEYED = {f"hex {count}": _letters("0123456789abcdef", count) for count in (8, 10, 40, 56, 64)}
PLACES = ('{"id":"%s","n":5}', '"see %s, it is done"', '"https://x.example/jobs/%s/logs?n=1"')


def differing(make: Callable[[Random], str], places: tuple[str, ...], count: int) -> int:
    """Return how many of some pairs of ids differ in what is compared."""
    random = Random(1)
    pairs = (
        [place % make(random) for _ in range(2)] for number in range(count) for place in [places[number % len(places)]]
    )
    return sum(_compared(one) != _compared(other) for one, other in pairs)


@pytest.mark.parametrize("name", GENERATORS)
def test_two_ids_are_the_same(name: str) -> None:
    """Of each usual kind; one in a hundred pairs may look like a name (`scripts/bench --only made_up` counts more)."""
    assert differing(GENERATORS[name], PLACES, 200) <= 2


@pytest.mark.parametrize("name", KEYED)
def test_two_ids_under_a_key_are_the_same(name: str) -> None:
    """What alone could be a digest or a number is an id under a key of a job, a run and the like."""
    places = ('{"job_id":"%s"}', '{"runId": "%s"}', r'"{\"task_id\": \"%s\"}"', "{'parent_span_id': '%s'}")
    assert differing(KEYED[name], places, 200) <= 2
    assert differing(KEYED[name], ('{"customer":"%s"}',), 50) == 50


@pytest.mark.parametrize("place", ['{"value":%s}', '{"id":%s}', '[1,"take it",%s]', "%s"])
def test_values_that_a_program_means_differ(place: str) -> None:
    """Account numbers, versions, names of tables, files and models, amounts, dates, goods, machines, people."""
    assert len(PAIRS) > 150
    for one, other in PAIRS:
        assert _compared(place % json.dumps(one)) != _compared(place % json.dumps(other)), (one, other)


_FORMATS = (
    "%Y-%m-%dT%H:%M:%SZ|%Y-%m-%d %H:%M:%S,123|%Y-%m-%dT%H:%M:%S.123456+00:00|%Y-%m-%d %H:%M:%S UTC|%Y-%m-%d|"
    "%Y/%m/%d %H:%M|%Y-%m-%d_%H-%M-%S|%Y-%m-%d-%H%M%S|%Y%m%dT%H%M%SZ|%Y%m%d_%H%M%S|%Y%m%d-%H%M%S|%Y%m%d%H%M%S|"
    "%a, %d %b %Y %H:%M:%S GMT|%a, %d %b %Y %H:%M:%S +0000|%d %b %Y|%a %b %d %H:%M:%S %Y|%d/%b/%Y:%H:%M:%S +0000|"
    "%A, %B %d, %Y|%B %d, %Y at %I:%M %p|%d %B %Y|%b %d %Y|report-%Y-%m-%d-%H%M%S.csv|export_%Y%m%d_%H%M%S|"
    "Report_%Y%m%d_%H%M%S|backup-of-customers-%Y-%m-%d.tar.gz|log.%Y-%m-%d"
).split("|")


@pytest.mark.parametrize("form", _FORMATS)
@pytest.mark.parametrize("place", ['{"at":"%s"}', '"it is %s."', r'"one\n%s\ttwo"'])
def test_times_of_a_run_are_left_out(form: str, place: str) -> None:
    """However they are written; those of another month are not."""
    one, other, month_later = (
        place % datetime.fromtimestamp(_NOW + later, UTC).strftime(form) for later in (0, 30_000, 30 * 86_400)
    )
    assert _compared(one) == _compared(other)
    assert _compared(one) != _compared(month_later) == month_later


@pytest.mark.parametrize("text", ["%d", '"%d"', "%d.5", "%d123", '"%d123"', "%d123456", "%d123456789", '"log-%d.txt"'])
def test_seconds_since_1970_are_left_out(text: str) -> None:
    """With thousandths and so on, as numbers and in texts."""
    one, other, month_later = (text % (_NOW + later) for later in (0, 30_000, 30 * 86_400))
    assert _compared(one) == _compared(other)
    assert _compared(month_later) == month_later


def test_durations_are_left_out_where_they_were_measured() -> None:
    """All durations in results; in arguments none, as these are requests."""
    measured = ["took", "took_ms", "elapsed", "elapsedMs", "elapsed_seconds", "latency_ms", "request_latency"]
    wanted = ["duration", "run_time", "runtime", "total_time", "time_ms", "uptime", "query_time_ms", "time_taken"]
    for key in measured + wanted:
        for value in ("0.39", "41", '"0.39s"', '"412 ms"', '"1.2 seconds"'):
            text = f'{{"{key}":{value},"n":2}}'
            folded = f'{{"{key}":<time>,"n":2}}'
            assert without_durations(text) == folded
            assert without_durations(text, is_argument=True) == (folded if key in measured else text)
    both = '{"took":1.5,"duration":30}'
    assert without_durations(both, is_argument=True) == '{"took":<time>,"duration":30}'
    for text in ('{"timeout":30}', '{"timeout_ms":30}', '{"times":3}', '{"time":"19:30"}', '{"lifetime":5}'):
        assert without_durations(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20 passed in 0.12s", "20 passed in <time>"),
        ("done (0.39s), took 412 ms", "done (<time>), took <time>"),
        ("Elapsed: 0:00:01.23 after 1.2 seconds", "Elapsed: <time> after <time>"),
        ("retry after 30 seconds", None),
        ("in 3 steps, a delay of 0.5s", None),
        ("waits (30 s)", None),
    ],
)
def test_durations_in_texts_are_left_out_of_results(text: str, expected: str | None) -> None:
    """If a text says how long something took; texts in arguments do not change."""
    assert Steps([]).compared(text) == (expected or text)
    assert Steps([]).compared(text, is_argument=True) == text


@pytest.mark.parametrize("count", [18, 19])
def test_large_amounts_are_no_times(count: int) -> None:
    """Neither round ones, as those of a currency in its smallest unit, nor those of any other size."""
    random = Random(1)
    round_ones = [f"{number}{'0' * (count - 3)}" for number in range(100, 1000)]
    others = [str(random.randrange(10 ** (count - 1), 10**count)) for _ in range(1000)]
    assert sum(_compared(amount) == amount for amount in round_ones) == len(round_ones)
    assert sum(_compared(amount) == amount for amount in others) >= len(others) - 1
