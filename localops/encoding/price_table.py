"""Check a price table that comes from elsewhere, before calls are priced by it.

It has the format of `prices.json`.  A table may come from a newer release, a hub or a bundle, so it is not trusted: if
a model has a kind of rate that this release does not know, its calls stay unpriced; anything else unknown makes the
table invalid.
"""

from __future__ import annotations

import json
import re
from datetime import date, timedelta

from localops.encoding import encode
from localops.encoding.pricing import PARTS
from localops.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

MOST = 8 << 20
"""The most bytes of a table; the shipped one has 250 kB."""

_ABOUT = ("source", "version", "date", "licence")
_PROVIDER = frozenset(("names", "match", "resells", "models"))
_MOST_VALUES = 500_000
_LONGEST = 500  # characters of a name, a pattern or a price
_DEEPEST = 4
_DOLLARS = r"[0-9]{1,9}(?:\.[0-9]{1,18})?"
_RATE = re.compile(rf"{_DOLLARS}(?:,[0-9]{{1,12}}:{_DOLLARS})*")
_HOURS = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]")
_PROVIDER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# A repeated group, or several unbounded repetitions, may take forever on a name that almost matches.
_ESCAPED = re.compile(r"(?s)\\.")
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_ENDLESS = re.compile(r"[*+]|\{[0-9]*,(?:[0-9]{3,})?\}")
_MOST_ENDLESS = 2
_UNPRICED = ""


class Table:
    """A valid table."""

    def __init__(self, document: Mapping[str, Any], left_out: int) -> None:
        self.version: str = document["version"]
        self.date: str = document["date"]
        self.models = sum(len(provider["models"]) for provider in document["providers"].values())
        self.left_out = left_out
        """The number of models with a kind of rate that this release does not know; their calls stay unpriced."""
        self._document = document

    def written(self, origin: Mapping[str, object] | None = None) -> bytes:
        """Return the content of its file, which begins with the date; `origin` says where it came from."""
        about = {name: self._document[name] for name in _ABOUT if name in self._document}
        whole = {"date": self.date, **about, **({"from": origin} if origin else {})}
        return encode.dumps({**whole, "providers": self._document["providers"]}) + b"\n"


def checked(data: bytes, *, today: date) -> Table:
    """Parse and check the content of a file; raise ConfigError, which says what is wrong, if any part is invalid."""
    if len(data) > MOST:
        raise _invalid(f"expected at most {MOST >> 20} MB, got {len(data) >> 20} MB")
    if data.count(b",") + data.count(b"[") + data.count(b"{") > _MOST_VALUES:
        raise _invalid(f"expected at most {_MOST_VALUES:,} values")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"expected JSON ({error})") from error
    if not isinstance(document, dict) or not isinstance(document.get("providers"), dict) or not document["providers"]:
        raise _invalid("expected what `localops prices export` writes: an object with version, date and providers")
    for name in _ABOUT:
        if not isinstance(document.get(name, ""), str) or (name in ("version", "date") and not document.get(name)):
            raise _invalid(f"expected a text as its {name}, got {document.get(name)!r}")
    _check_date(document["date"], today)
    left_out = 0
    for name, provider in document["providers"].items():
        left_out += _check_provider(name, provider, document["providers"])
    return Table(document, left_out)


def _check_date(text: str, today: date) -> None:
    day = _day(text)
    if day is None:
        raise _invalid(f"expected a date such as 2026-11-21, got {text!r}")
    if today < date.max and day > today + timedelta(days=1):
        raise _invalid(f"it is dated {text}, and today is {today.isoformat()} by this machine's clock; correct either")


def _day(text: object) -> date | None:
    try:
        return date.fromisoformat(text) if isinstance(text, str) and len(text) == 10 else None
    except ValueError:
        return None


def _check_provider(name: str, provider: Any, all_providers: Mapping[str, Any]) -> int:
    if not _PROVIDER_NAME.fullmatch(name) or not isinstance(provider, dict):
        raise _invalid(f"expected providers by name, got {name[:_LONGEST]!r}")
    unknown = provider.keys() - _PROVIDER
    if unknown or not isinstance(provider.get("models"), dict):
        what = f"what this release does not know ({', '.join(sorted(unknown))})" if unknown else "no models"
        raise _invalid(f"provider {name} has {what}: upgrade localops if a newer one made the table")
    for key in ("names", "match"):
        if key in provider:
            _check_pattern(f"{key} of {name}", provider[key])
    resells = provider.get("resells", [])
    if not isinstance(resells, list) or not all(isinstance(other, str) and other in all_providers for other in resells):
        raise _invalid(f"provider {name} resells what is no provider of the table: {resells!r}")
    return sum(_check_model(f"{name}/{model}", model, entry) for model, entry in provider["models"].items())


def _check_model(place: str, name: str, entry: Any) -> bool:
    """Check a model; return whether it has an unknown kind of rate, so that the cost of its calls is not known."""
    if not name or len(name) > _LONGEST or not isinstance(entry, list) or len(entry) < 2:
        raise _invalid(f"model {place[:_LONGEST]} is not a pattern and prices")
    pattern, *prices = entry
    if pattern is not None:
        _check_pattern(f"model {place}", pattern)
    known = [_check_price(place, price) for price in prices]
    if all(known):
        return False
    # Kept without a price: if the model were removed, its name might match another one.
    entry[1:] = [_UNPRICED]
    return True


def _check_price(place: str, price: Any) -> bool:
    """Check a price; return whether this release knows all its kinds of rates."""
    if not isinstance(price, str) or len(price) > _LONGEST:
        raise _invalid(f"a price of {place} is no text: {price!r:.100}")
    pairs = [field.partition("=") for field in price.split()]
    fields = {name: text for name, _, text in pairs}
    if len(fields) < len(pairs) or not all(fields.values()):
        raise _invalid(f"a price of {place} is not NAME=VALUE for each part: {price!r}")
    for name, text in fields.items():
        if name in PARTS:
            valid = _RATE.fullmatch(text) is not None and _is_increasing(text)
        elif name == "from":
            valid = _day(text) is not None
        elif name == "hours":
            valid = _HOURS.fullmatch(text) is not None
        elif name == "least_seconds":
            valid = text.isascii() and text.isdigit() and len(text) < 6
        else:
            return False
        if not valid:
            raise _invalid(f"a price of {place} has {name}={text}")
    return True


def _is_increasing(rate: str) -> bool:
    """Return whether the steps of a rate are in increasing order."""
    starts = [int(step.partition(":")[0]) for step in rate.split(",")[1:]]
    return all(first < second for first, second in zip([0, *starts], starts, strict=False))


def _check_pattern(place: str, pattern: Any) -> None:
    for text in _texts(place, pattern, _DEEPEST):
        if not text or len(text) > _LONGEST or text == "/":
            raise _invalid(f"{place} has an empty or endless pattern")
        if text[0] == "/":
            _check_expression(place, text)


def _texts(place: str, pattern: Any, levels: int) -> Iterator[str]:
    """Yield the texts of a pattern, which is a text, a list, or {"all": list}."""
    if isinstance(pattern, dict) and pattern.keys() == {"all"} and isinstance(pattern["all"], list):
        pattern = pattern["all"]
    if isinstance(pattern, str):
        yield pattern
    elif isinstance(pattern, list) and pattern and levels:
        for one in pattern:
            yield from _texts(place, one, levels - 1)
    else:
        raise _invalid(f"{place} has a pattern of an unknown form: upgrade localops if a newer one made the table")


def _check_expression(place: str, text: str) -> None:
    plain = _ESCAPED.sub("_", text)
    if text[-1] != "/" or _REPEATED_GROUP.search(plain) or len(_ENDLESS.findall(plain)) > _MOST_ENDLESS:
        raise _invalid(f"{place} has a regular expression that may take long: {text!r}")
    try:
        re.compile(text[1:-1])
    except (re.error, RecursionError, OverflowError) as error:
        raise _invalid(f"{place} has an invalid regular expression: {text!r} ({error})") from error


def _invalid(why: str) -> ConfigError:
    return ConfigError(f"invalid price table: {why}")
