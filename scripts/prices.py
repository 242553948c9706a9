#!/usr/bin/env python3
"""Make localops/encoding/prices.json from the installed genai-prices; with --check, only say whether it is current.

Carries over the facts that pricing.py needs: how names match, and what they cost when. A new kind of rate or
match in the library stops it here, so that nothing is left out unseen. The library's prices for special
requests (batch, flex, priority) are not carried over: a recorded call does not say what it was.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_prices import types
from genai_prices.data import providers
from genai_prices.data_units import unit_data

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from localops.encoding.pricing import PARTS

if TYPE_CHECKING:
    from localops.encoding.pricing import Pattern

TABLE = Path(__file__).resolve().parent.parent / "localops" / "encoding" / "prices.json"

# What the library calls the parts of a usage.
NAMES = {
    "input_tokens": "input",
    "output_tokens": "output",
    "cache_read_tokens": "cached",
    "cache_write_tokens": "cache_write",
    "cache_write_5m_tokens": "cache_write_5m",
    "cache_write_1h_tokens": "cache_write_1h",
    "output_reasoning_tokens": "reasoning",
    "output_citation_tokens": "citation",
    "input_audio_tokens": "input_audio",
    "output_audio_tokens": "output_audio",
    "cache_audio_read_tokens": "cached_audio",
    "input_image_tokens": "input_image",
    "output_image_tokens": "output_image",
    "cache_image_read_tokens": "cached_image",
    "input_video_tokens": "input_video",
    "output_video_tokens": "output_video",
    "input_characters": "characters",
    "input_text_messages": "messages",
    "audio_seconds": "audio_seconds",
    "input_audio_seconds": "input_audio_seconds",
    "input_document_pages": "pages",
    "input_annotated_document_pages": "annotated_pages",
    "web_searches": "web_searches",
    "storage_searches": "storage_searches",
    "requests": "requests",
}
PRICE_NAMES = {unit_data[key]["price_key"]: part for key, part in NAMES.items()}

# The library's code, not its data, says that Groq bills at least ten seconds for these.
LEAST_SECONDS = {("groq", "whisper-large-v3"): 10, ("groq", "whisper-large-v3-turbo"): 10}


def main(arguments: list[str]) -> int:
    """Write the table if it would differ by more than its date."""
    check_parts()
    made = table()
    kept = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    if made == {**kept, "date": made["date"]}:
        print("localops/encoding/prices.json is current")
        return 0
    if arguments == ["--check"]:
        print("localops/encoding/prices.json is not what the installed genai-prices gives: run scripts/prices.py")
        return 1
    TABLE.write_text(written(made), encoding="utf-8")
    print(f"localops/encoding/prices.json: {len(made['providers'])} providers, genai-prices {made['version']}")
    return 0


def table() -> dict[str, Any]:
    """Return the whole file: its source, and the providers."""
    package = distribution("genai-prices")
    licence = next(file for file in package.files or () if file.name == "LICENSE")
    return {
        "source": "https://github.com/pydantic/genai-prices",
        "version": package.version,
        "date": datetime.now(tz=UTC).date().isoformat(),
        "licence": " ".join(licence.read_text().split()),
        "providers": {provider.id: seller(provider) for provider in providers},
    }


def written(made: dict[str, Any]) -> str:
    """Return it as JSON with a model a line, so that a change of price is a line in a diff."""
    lines = [f"{compact(key)}: {compact(value)}," for key, value in made.items() if key != "providers"]
    sellers = ",\n".join(f"{compact(name)}: {written_seller(one)}" for name, one in made["providers"].items())
    return "\n".join(["{", *lines, '"providers": {', sellers, "}}", ""])


def written_seller(provider: dict[str, Any]) -> str:
    """Return a provider, and below it a line for each model."""
    fields = [f"{compact(key)}: {compact(value)}, " for key, value in provider.items() if key != "models"]
    models = ",\n".join(f"  {compact(name)}: {compact(model)}" for name, model in provider["models"].items())
    return f'{{{"".join(fields)}"models": {{\n{models}}}}}'


def compact(value: object) -> str:
    """JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def seller(provider: types.Provider) -> dict[str, Any]:
    """Return a provider: its names, the models it is known by, whose models it resells, and its own."""
    made = {
        "names": provider.provider_match and pattern(provider.provider_match),
        "match": provider.model_match and pattern(provider.model_match),
        "resells": provider.fallback_model_providers,
    }
    models = {model.id: priced(provider, model) for model in provider.models}
    if len(models) != len(provider.models):
        raise SystemExit(f"{provider.id} has two models of one name")
    return {**{key: value for key, value in made.items() if value}, "models": models}


def priced(provider: types.Provider, model: types.ModelInfo) -> list[Any]:
    """Its pattern, or null for its own name, and its prices."""
    match = pattern(model.match)
    least = LEAST_SECONDS.get((provider.id, model.id))
    always = f"least_seconds={least} " if least else ""
    prices = [always + condition(price.constraint) + rates(model, price.prices) for price in history(model)]
    return [None if match == model.id else match, *prices]


def history(model: types.ModelInfo) -> list[types.ConditionalPrice]:
    """Its prices, of which the last that applies holds."""
    if isinstance(model.prices, types.ModelPrice):
        return [types.ConditionalPrice(prices=model.prices)]
    return model.prices


def pattern(clause: Any) -> Pattern:
    """Return a clause in the form that pricing.py matches."""
    match clause:
        case types.ClauseEquals(equals=text):
            return literal(text)
        case types.ClauseStartsWith(starts_with=text):
            return f"{literal(text)}*"
        case types.ClauseEndsWith(ends_with=text):
            return f"*{literal(text, after_star=True)}"
        case types.ClauseContains(contains=text):
            return f"*{literal(text, after_star=True)}*"
        case types.ClauseRegex(regex=text):
            return f"/{text}/"
        case types.ClauseOr(or_=clauses):
            return alternatives(clauses)
        case types.ClauseAnd(and_=clauses):
            return {"all": [pattern(one) for one in clauses]}
    raise SystemExit(f"a new kind of match: {clause!r}")


def alternatives(clauses: list[Any]) -> Pattern:
    """Any of these, each once: some differ in letter case only."""
    patterns: list[Pattern] = []
    for one in map(pattern, clauses):
        if one not in patterns:
            patterns.append(one)
    return patterns[0] if len(patterns) == 1 else patterns


def literal(text: str, *, after_star: bool = False) -> str:
    """Lower case, as it is compared; a text that would read as another kind of pattern stops us."""
    if not text or "*" in text or (text.startswith("/") and not after_star):
        raise SystemExit(f"cannot be written as a pattern: {text!r}")
    return text.lower()


def condition(constraint: object) -> str:
    """Return from when, or at which hours, a price holds."""
    match constraint:
        case None:
            return ""
        case types.StartDateConstraint(start_date=date() as day):
            return f"from={day.isoformat()} "
        case types.TimeOfDateConstraint(start_time=opens, end_time=closes):
            return f"hours={clock(opens)}-{clock(closes)} "
    raise SystemExit(f"a new kind of condition: {constraint!r}")


def clock(moment: time) -> str:
    """HH:MM in UTC."""
    if moment.utcoffset() or moment.second or moment.microsecond:
        raise SystemExit(f"not a minute in UTC: {moment!r}")
    return f"{moment:%H:%M}"


def rates(model: types.ModelInfo, price: types.ModelPrice) -> str:
    """Return rates by part. The library has nothing for free models; elsewhere nothing means not known."""
    given = {key: value for key, value in vars(price).items() if value is not None}
    if unknown := given.keys() - PRICE_NAMES.keys():
        raise SystemExit(f"{model.id}: no part for {', '.join(sorted(unknown))}; see PARTS and NAMES")
    if not given and model.id.endswith(":free"):
        return "input=0 output=0"
    by_part = {PRICE_NAMES[key]: steps(value) for key, value in given.items()}
    return " ".join(f"{part}={by_part[part]}" for part in PARTS if part in by_part)


def steps(value: Decimal | types.TieredPrices) -> str:
    """Return a rate, and those for longer prompts."""
    if isinstance(value, Decimal):
        return dollars(value)
    return ",".join([dollars(value.base), *(f"{tier.start}:{dollars(tier.price)}" for tier in value.tiers)])


def dollars(value: Decimal) -> str:
    """Return the shortest exact text."""
    if value < 0 or value != round(value, 18):
        raise SystemExit(f"not a price: {value}")
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def check_parts() -> None:
    """PARTS must count as the library's units do: the same sizes, the same parts inside each other."""
    for key, part in NAMES.items():
        size, wholes = PARTS[part]
        if size != unit_data[key]["per"] or set(wholes) != direct_wholes(key):
            raise SystemExit(f"PARTS differs from the library: {part}")
    if set(PARTS) != set(NAMES.values()):
        raise SystemExit("PARTS has names that the library has not")


def direct_wholes(key: str) -> set[str]:
    """Return the nearest units of the library that include this one."""
    above = {other for other in NAMES if dimensions(other) < dimensions(key)}
    return {NAMES[one] for one in above if not any(dimensions(one) < dimensions(other) for other in above)}


def dimensions(key: str) -> frozenset[tuple[str, str]]:
    """Return what a unit counts; one with more of these is inside one with fewer."""
    return frozenset(unit_data[key]["dimensions"].items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
