"""Costs are those of genai-prices, to the nano-dollar; an unknown price is None."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price, types
from genai_prices.data import providers
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from localops.encoding import pricing
from localops.encoding.pricing import PARTS, Prices, Usage, usage_of
from localops.errors import ConfigError
from tests.examples import examples

ROOT = Path(__file__).resolve().parent.parent
PRICES = Prices()
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
NOON_NS = int(NOON.timestamp()) * 10**9

USAGES = [
    {"input": 0, "output": 0},
    {"input": 1, "output": 0},
    {"output": 1},
    {"input": 999, "output": 7},
    {"input": 100_000, "output": 1},
    {"input": 100_001, "output": 999},
    {"input": 128_000, "output": 4_096, "cached": 127_999},
    {"input": 199_999, "output": 999},
    {"input": 200_000, "output": 999, "reasoning": 998, "citation": 1},
    {"input": 200_001, "output": 999, "cached": 1, "cache_write": 200_000},
    {"input": 272_001, "output": 1, "cached": 3, "cache_write": 70_007, "cache_write_1h": 7},
    {"input": 1_000_000, "output": 1_000_000, "cache_write": 31, "cache_write_5m": 31, "cached": 0},
    {"input": 1_000, "output": 10, "cached": 600, "cache_write": 600},
    {"input": 5, "cache_write_1h": 3},
    {"cached": 5},
    {"input": 999, "output": 99, "input_audio": 500, "output_audio": 50},
    {"input": 999, "output": 99, "cached": 300, "input_audio": 500, "cached_audio": 200},
    {"input": 999, "output": 99, "cached": 300, "input_audio": 500},
    {"input": 999, "output": 99, "cached": 1, "input_image": 998, "output_image": 99, "cached_image": 1},
    {"input": 999, "input_video": 99, "output": 5, "output_video": 3},
    {"audio_seconds": 3, "input_audio_seconds": 3},
    {"audio_seconds": 61, "input_audio_seconds": 61, "input": 3, "output": 2},
    {"input_audio_seconds": 7},
    {"characters": 12_345, "messages": 3},
    {"pages": 17, "annotated_pages": 4},
    {"input": 50_000, "output": 1, "web_searches": 3, "storage_searches": 2},
]
# Those with a kind that none after them has.
EACH_KIND = [counts for number, counts in enumerate(USAGES) if counts.keys() - set().union(*USAGES[number + 1 :])]


def load_script() -> ModuleType:
    """Load the script, which is a program, not part of a package."""
    spec = importlib.util.spec_from_file_location("make_prices", ROOT / "scripts" / "prices.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()
THEIR_NAMES = {part: key for key, part in SCRIPT.NAMES.items()}


def theirs(model: str, counts: dict[str, int], provider: str | None, at: datetime) -> int | None:
    """Return the library's price, but None if it has no rate for anything that was used."""
    usage = TheirUsage(**{THEIR_NAMES[part]: count for part, count in counts.items()})
    try:
        price = calc_price(usage, model, provider_id=provider, genai_request_timestamp=at)
        rates, total = price.model_price, price.total_price
        if not vars(rates):
            rates = free_of_charge(price.model)
            total = rates.calc_price(usage)["total_price"]
    except (LookupError, ValueError):
        return None
    nano = int((total * 10**9).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    return nano if has_rate(rates, counts) else None


def free_of_charge(model: types.ModelInfo) -> types.ModelPrice:
    """Return a price of 0 for free models: the library has no rates for them, nor for those without a known price."""
    if not model.id.endswith(":free"):
        return types.ModelPrice()
    return types.ModelPrice(input_mtok=Decimal(0), output_mtok=Decimal(0))


def has_rate(price: types.ModelPrice, counts: dict[str, int]) -> bool:
    """Return whether the library could bill any of it."""
    rates = {SCRIPT.PRICE_NAMES[key] for key, value in vars(price).items() if value is not None}
    used = {part for part, count in counts.items() if count}
    return bool(rates) and ("requests" in rates or not used or not used.isdisjoint(rates))


def ours(model: str, counts: dict[str, int], provider: str | None, at: datetime) -> int | None:
    """Return our price, in the same form."""
    at_ns = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    return PRICES.cost(model, Usage(**counts), provider=provider, at_ns=at_ns)


def turns(model: types.ModelInfo) -> Iterator[datetime]:
    """Yield the moments at which a price changes, and those just before."""
    yield NOON
    for price in model.prices if isinstance(model.prices, list) else []:
        match price.constraint:
            case types.StartDateConstraint(start_date=day):
                edges = [datetime.combine(day, time(), UTC)]
            case types.TimeOfDateConstraint(start_time=opens, end_time=closes):
                edges = [datetime.combine(NOON.date(), edge) for edge in (opens, closes)]
            case _:
                edges = []
        for edge in edges:
            yield from (edge, edge - timedelta(microseconds=1))


def names(clause: Any) -> Iterator[str]:
    """Names a clause was written for."""
    for field in ("equals", "starts_with", "ends_with", "contains"):
        if text := getattr(clause, field, None):
            yield text
    for part in getattr(clause, "or_", None) or getattr(clause, "and_", None) or []:
        yield from names(part)


NAMES = sorted({name for provider in providers for model in provider.models for name in names(model.match)})


@pytest.mark.parametrize("provider", providers, ids=lambda provider: str(provider.id))
def test_every_model_has_the_cost_of_the_library(provider: types.Provider) -> None:
    """Each usage, at each turn of the price history, is the library's sum rounded to nano-dollars."""
    priced: dict[str, list[dict[str, int]]] = {}
    for model in provider.models:
        # Of models with prices for the same kinds, from the same numbers of tokens on, one is checked with each usage,
        # the others once for each kind that has a price.
        form = re.sub(r"Decimal\('[^']*'\)", "", repr(model.prices))
        for at in turns(model):
            for counts in priced.get(form, USAGES):
                cost = ours(model.id, counts, provider.id, at)
                assert cost == theirs(model.id, counts, provider.id, at), (model.id, counts, at)
        if form not in priced:
            priced[form] = [counts for counts in EACH_KIND if ours(model.id, counts, provider.id, NOON) is not None]


@pytest.mark.parametrize("provider", [None, *(provider.id for provider in providers)])
def test_names_find_the_models_they_find_in_the_library(provider: str | None) -> None:
    """Every name in the table, asked of no provider, or of each that has it, means the same model.

    Without a provider we find more: a name may say whose it is.
    """
    own = [one for one in providers if one.id == provider]
    for name in NAMES if not own else sorted({name for model in own[0].models for name in names(model.match)}):
        theirs = found_by_them(name, provider)
        if theirs is not None or not says_its_seller(name, provider):
            assert found_by_us(name, provider) == theirs, name


@settings(max_examples=examples(100))
@given(
    name=st.sampled_from(NAMES),
    prefix=st.sampled_from(["", "", "openai/", "us.", "eu.anthropic.", "@cf/", "azure/", "x"]),
    suffix=st.sampled_from(["", "", "-latest", "-20251211", "-2025-12-11", "-20251399", "@001", ":free", "-v1:0"]),
    provider=st.sampled_from([None, "litellm", " OpenAI ", "bedrock", "vertex_ai", "unknown", "", "azure", "google"]),
    shout=st.booleans(),
)
def test_names_as_people_write_them_find_the_same(
    name: str, prefix: str, suffix: str, provider: str | None, shout: bool
) -> None:
    """Prefixes, dates, letter case and a router's names lead where the library's matching leads.

    A name that says its seller leads to that seller, or nowhere.
    """
    name = prefix + name + suffix
    name = name.upper() if shout else name
    ours, theirs = found_by_us(name, provider), found_by_them(name, provider)
    if ours != theirs:
        assert says_its_seller(name, provider)
        assert ours is None or ours[0] in sellers(name)


def says_its_seller(name: str, provider: str | None) -> bool:
    """Return whether a name has its seller before the model, and is asked of that seller or of none."""
    named = sellers(name)
    return bool(named) and (provider in (None, "litellm") or not named.isdisjoint(sellers(f"{provider.strip()}/x")))


def sellers(name: str) -> set[str]:
    """Return the provider that a name speaks of, and those whose models it resells."""
    address = pricing._prefixed(name.lower().strip()) or pricing.by_form(name.lower())
    if address is None:
        return set()
    resold = next(one.fallback_model_providers for one in providers if one.id == address[0])
    return {address[0], *(resold or [])}


@settings(max_examples=examples(100))
@given(
    which=st.sampled_from([(one.id, model.id) for one in providers for model in one.models]),
    counts=st.dictionaries(st.sampled_from(sorted(PARTS.keys() - {"requests"})), st.integers(0, 3_000_000)),
    at=st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_any_usage_at_any_time_costs_the_same(which: tuple[str, str], counts: dict[str, int], at: datetime) -> None:
    """Also if parts are missing or contradict each other: what the library refuses is None."""
    provider, model = which
    assert ours(model, counts, provider, at) == (theirs(model, counts, provider, at) if counts else None)


@pytest.mark.parametrize(
    ("name", "provider", "found"),
    [
        ("claude-3-5-sonnet-latest", None, ("anthropic", "claude-3-5-sonnet")),
        ("GPT-4o-20240806", None, ("openai", "gpt-4o")),
        ("gpt-5.2-20251211", "openai", ("openai", "gpt-5.2")),
        ("gpt-5.2-20251299", "openai", None),
        ("gpt-4o", " OpenAI ", ("openai", "gpt-4o")),
        ("llama-3.3-70b-versatile", " Groq ", ("groq", "llama-3.3-70b-versatile")),
        ("gpt-4o", "azure", ("openai", "gpt-4o")),
        ("gpt-4o", "litellm", ("openai", "gpt-4o")),
        ("openai/gpt-4o", "litellm", ("openai", "gpt-4o")),
        ("openai/gpt-4o", "openrouter", ("openrouter", "openai/gpt-4o")),
        ("gpt-4o", "unknown", None),
        (
            "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
            "bedrock",
            ("aws", "regional.anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ),
    ],
)
def test_well_known_spellings(name: str, provider: str | None, found: tuple[str, str] | None) -> None:
    """Names as routers, resellers and people write them lead to the model, like in the library."""
    assert found_by_us(name, provider) == found == found_by_them(name, provider)


LLAMA = "meta-llama/Llama-3.3-70B-Instruct-Turbo"
SONNET = "claude-3-5-sonnet"
SONNET_4 = "us.anthropic.claude-sonnet-4-20250514-v1:0"
ON_BEDROCK = ("aws", "regional.anthropic.claude-3-5-sonnet-20241022-v2:0")
ON_BEDROCK_4 = ("aws", "regional.anthropic.claude-sonnet-4-20250514-v1:0")
FLASH = ("google", "gemini-2.0-flash")
GPT = ("openai", "gpt-4o")
ARN = "arn:aws:bedrock:us-east-1:123456789012"


@pytest.mark.parametrize(
    ("name", "provider", "found"),
    [
        # LiteLLM, OpenRouter and others: the provider before the model
        ("openai/gpt-4o", None, GPT),
        ("OpenAI/GPT-4o-20240806", None, GPT),
        ("openai/responses/gpt-4o", None, GPT),
        ("openai:gpt-4o", None, GPT),
        ("openai-responses:gpt-4o", None, GPT),
        ("text-completion-openai/gpt-3.5-turbo-instruct", None, ("openai", "gpt-3.5-turbo-instruct")),
        ("openai/text-embedding-3-small", None, ("openai", "text-embedding-3-small")),
        ("azure/gpt-4o", None, GPT),
        ("azure/global/gpt-4o-2024-08-06", None, GPT),
        ("azure/gpt-35-turbo", None, ("openai", "gpt-3.5-turbo")),
        ("azure/o4-mini", None, ("azure", "o4-mini")),
        ("azure_ai/deepseek-r1", None, ("deepseek", "deepseek-reasoner")),
        ("azure_ai/phi-4", None, ("azure", "phi-4")),
        ("bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0", None, ON_BEDROCK),
        ("bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0", None, ON_BEDROCK),
        (f"bedrock/converse/{SONNET_4}", None, ON_BEDROCK_4),
        ("bedrock/invoke/us-west-2/anthropic.claude-sonnet-4-20250514-v1:0", None, ON_BEDROCK_4),
        (f"bedrock/{ARN}:inference-profile/{SONNET_4}", None, ON_BEDROCK_4),
        ("models/gemini-2.0-flash", None, FLASH),
        ("models/gemini-2.0-flash-001", "gemini", FLASH),
        ("gemini/gemini-2.0-flash", None, FLASH),
        ("google/gemini-2.0-flash", None, FLASH),
        ("google_genai:gemini-2.0-flash", None, FLASH),
        ("google-gla:gemini-2.0-flash", None, FLASH),
        ("vertex_ai/gemini-2.0-flash", None, FLASH),
        ("vertex_ai/claude-sonnet-4@20250514", None, ("google", "claude-4-sonnet")),
        ("projects/p/locations/global/publishers/google/models/gemini-2.0-flash-001", None, FLASH),
        ("publishers/anthropic/models/claude-sonnet-4@20250514", None, ("google", "claude-4-sonnet")),
        ("anthropic/claude-3-5-sonnet-20241022", None, ("anthropic", SONNET)),
        ("anthropic/claude-3.5-sonnet", None, ("anthropic", SONNET)),
        ("anthropic:claude-3-5-sonnet-latest", None, ("anthropic", SONNET)),
        ("openrouter/anthropic/claude-3.5-sonnet", None, ("openrouter", "anthropic/claude-3.5-sonnet")),
        ("openrouter/openai/gpt-4o", None, ("openrouter", "openai/gpt-4o")),
        ("together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", None, ("together", LLAMA)),
        ("together/Tev1-4B-experimental", None, ("together", "together/Tev1-4B-experimental")),
        ("groq/llama-3.3-70b-versatile", None, ("groq", "llama-3.3-70b-versatile")),
        ("groq/openai/gpt-oss-120b", None, ("groq", "openai/gpt-oss-120b")),
        ("mistral/mistral-large-latest", None, ("mistral", "mistral-large")),
        ("deepseek/deepseek-chat", None, ("deepseek", "deepseek-chat")),
        ("xai/grok-3", None, ("x-ai", "grok-3")),
        ("cohere_chat/command-r", None, ("cohere", "command-r")),
        ("perplexity/sonar", None, ("perplexity", "sonar")),
        ("github_copilot/gpt-4o", None, ("github-copilot", "gpt-4o")),
        # Names whose form says whose they are
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", None, ON_BEDROCK),
        (SONNET_4, None, ON_BEDROCK_4),
        ("global.anthropic.claude-opus-4-5-v1:0", None, ("aws", "global.anthropic.claude-opus-4-5-v1:0")),
        ("us.amazon.nova-lite-v1:0", None, ("aws", "amazon.nova-lite-v1:0")),
        ("meta.llama3-1-8b-instruct-v1:0", None, ("aws", "meta.llama3-1-8b-instruct-v1:0")),
        ("arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-20250514-v1:0", None, ON_BEDROCK_4),
        (f"{ARN}:inference-profile/{SONNET_4}", None, ON_BEDROCK_4),
        (f"{ARN}:inference-profile/anthropic.claude-sonnet-4-20250514-v1:0", "bedrock", ON_BEDROCK_4),
        ("ft:gpt-4o-mini:org::id", None, ("openai", "ft:gpt-4o-mini")),
        ("ft:gpt-4o-mini-2024-07-18:org:name:id", None, ("openai", "ft:gpt-4o-mini")),
        ("ft:gpt-4o:org::id", "openai", ("openai", "ft:gpt-4o")),
        ("openai/ft:gpt-3.5-turbo:org::id", None, ("openai", "ft:gpt-3.5-turbo-")),
        # Providers by the words of OpenTelemetry, LangChain, LiteLLM and pydantic-ai
        *[("gpt-4o", word, GPT) for word in "azure azure_openai azure.ai.openai az.ai.openai azure_ai".split()],
        *[("gpt-4o", word, GPT) for word in "azure.ai.inference openai-responses openai_chat litellm".split()],
        ("o4-mini", "azure.ai.openai", ("azure", "o4-mini")),
        *[("gemini-2.0-flash", word, FLASH) for word in "google_genai gcp.gemini gcp.vertex_ai gcp.gen_ai".split()],
        *[("gemini-2.0-flash", word, FLASH) for word in "vertex_ai google-gla google_vertexai gemini".split()],
        *[(SONNET_4, word, ON_BEDROCK_4) for word in "bedrock aws.bedrock bedrock_converse amazon-bedrock".split()],
        *[("grok-3", word, ("x-ai", "grok-3")) for word in ("xai", "x_ai", "x-ai")],
        *[("mistral-large-latest", word, ("mistral", "mistral-large")) for word in ("mistral_ai", "mistralai")],
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "together_ai", ("together", LLAMA)),
        ("kimi-k2", "moonshot_ai", ("moonshotai", "kimi-k2")),
        # A provider, and a name that repeats it or names one whose models it resells
        ("openai/gpt-4o", "openai", GPT),
        ("openai/gpt-4o", "azure", GPT),
        ("azure/gpt-4o", "azure.ai.openai", GPT),
        ("vertex_ai/claude-sonnet-4@20250514", "gcp.vertex_ai", ("google", "claude-4-sonnet")),
        ("openrouter/openai/gpt-4o", "openrouter", ("openrouter", "openai/gpt-4o")),
        # What is not known, near as it may be to what is
        ("openai/claude-2", "azure", None),
        ("openai/llama-3.3-70b-versatile", "groq", None),
        ("anthropic/claude-3-5-sonnet-20241022", "openai", None),
        ("openai/gpt-4o", "unknown", None),
        ("unknown/gpt-4o", None, None),
        ("openai/gpt-4o-of-mine", None, None),
        ("openai/gemini-2.0-flash", None, None),
        ("openai/", None, None),
        ("azure/my-gpt-4o-deployment", None, None),
        ("azure/eu/gpt-4o-2024-08-06", None, None),
        ("bedrock/us-east-1/1-month-commitment/anthropic.claude-v2:1", None, None),
        ("us.anthropic.claude-99-v1:0", None, None),
        (f"{ARN}:application-inference-profile/abcd1234", None, None),
        (f"{ARN}:provisioned-model/claude-3-haiku-20240307", None, None),
        ("ft:gpt-4.1-mini-2025-04-14:org::id", None, None),
        ("ft:gpt-4.1-mini-2025-04-14:org::id", "openai", None),
        ("ft:o4-mini-2025-04-16:org::id", "azure", None),
        ("ft:open-mistral-7b:org:id", None, None),
        ("together_ai/gpt-4o", None, None),
        ("ollama/gpt-oss:20b", None, None),
        ("gpt-oss:20b", "ollama", None),
        ("openrouter/auto", None, None),
        ("granite-3", "ibm.watsonx.ai", None),
    ],
)
def test_names_as_gateways_write_them(name: str, provider: str | None, found: tuple[str, str] | None) -> None:
    """They lead to the price of the seller; an unknown name has no price."""
    assert found_by_us(name, provider) == found


def test_an_own_price_holds_behind_a_gateway_too() -> None:
    """A price for a model is also for its name with the provider in front; one for both goes first."""
    mine = Prices({"gpt-4o": {"input": 1}, "azure/gpt-4o": {"input": 2}})
    usage = Usage(input=1_000_000)
    costs = [mine.cost(name, usage, at_ns=NOON_NS) for name in ("gpt-4o", "openai/gpt-4o", "azure/gpt-4o")]
    assert costs == [1_000_000_000, 1_000_000_000, 2_000_000_000]


def test_the_usage_of_a_recorded_call_is_in_columns_and_body() -> None:
    """Invalid counts in the body are ignored."""
    body = {"cache_write_tokens": 30, "cache_write_1h_tokens": 20, "input_audio_tokens": "7", "model": "x"}
    used = {"input": 100, "output": 5, "cached": 10, "cache_write": 30, "cache_write_1h": 20}
    assert usage_of(100, 5, 10, body).counts == used


def found_by_us(name: str, provider: str | None) -> tuple[str | None, str] | None:
    """Return the provider and model of a name here."""
    price = PRICES.find(name, provider=provider, at_ns=NOON_NS)
    return (price.provider, price.model) if price else None


def found_by_them(name: str, provider: str | None) -> tuple[str | None, str] | None:
    """Return the same of the library, with the provider that lists the model."""
    try:
        _, model = get_snapshot().find_provider_model(name, None, provider, None)
    except LookupError:
        return None
    return next((one.id, model.id) for one in providers if any(model is other for other in one.models))


def test_the_shipped_table_is_made_by_the_script() -> None:
    """prices.json is not edited by hand, and the pinned library makes exactly it."""
    shipped = (ROOT / "localops" / "encoding" / "prices.json").read_text(encoding="utf-8")
    made = SCRIPT.table() | {"date": PRICES.date}
    assert SCRIPT.written(made) == shipped
    assert json.loads(shipped)["version"] == PRICES.version
    SCRIPT.check_parts()


@pytest.mark.parametrize(
    ("model", "counts", "cost"),
    [
        ("gpt-4o", {"input": 1_200, "cached": 1_000, "output": 80}, 2_550_000),
        ("claude-3-5-sonnet-latest", {"input": 1_000_000}, 3_000_000_000),
        ("meta-llama/llama-3.3-70b-instruct:free", {"input": 1_000, "output": 10}, None),
        ("my-finetune-of-something", {"input": 1}, None),
        ("gpt-4o", {}, None),
        ("gpt-4o", {"input": None, "output": None}, None),
        ("gpt-4o", {"audio_seconds": 60}, None),
        ("gpt-4o", {"input": 10, "cached": 11}, None),
        ("gpt-4o", {"input": -1}, None),
        ("", {"input": 1}, None),
        (None, {"input": 1}, None),
    ],
)
def test_a_call_costs_a_whole_number_or_is_unpriced(
    model: str | None, counts: dict[str, int | None], cost: int | None
) -> None:
    """Nano-dollars; None where the model, the counts or the rate for them is not known."""
    assert PRICES.cost(model, Usage(**counts), at_ns=NOON_NS) == cost


def test_free_is_zero_and_known_without_price_is_not() -> None:
    """A model offered for nothing costs 0; one that a subscription covers has no price of its own."""
    usage = Usage(input=1_000, output=10)
    free = "meta-llama/llama-3.3-70b-instruct:free"
    assert PRICES.cost(free, usage, provider="openrouter", at_ns=NOON_NS) == 0
    assert PRICES.cost("gpt-4o", usage, provider="github-copilot", at_ns=NOON_NS) is None


@pytest.mark.parametrize("count", [True, 1.5, "7", float("nan")])
def test_a_count_that_is_no_count_leaves_the_call_unpriced(count: Any) -> None:
    """The counts of a program may be anything, and never raise."""
    assert PRICES.cost("gpt-4o", Usage(input=count, output=1), at_ns=NOON_NS) is None


def test_own_prices_come_first() -> None:
    """By model, or for one provider only; in any letter case; exact also as floats."""
    mine = Prices({"GPT-4o": {"input": 0.1, "output": "0.2"}, "corp/gpt-4o": {"input": 3}})
    usage = Usage(input=3, output=1)
    assert mine.cost("gpt-4O", usage, at_ns=NOON_NS) == 500
    assert mine.cost("gpt-4o", usage, provider="openai", at_ns=NOON_NS) == 500
    assert mine.cost("gpt-4o", usage, provider="Corp", at_ns=NOON_NS) == 9_000
    assert mine.cost("gpt-4o-mini", usage, at_ns=NOON_NS) == PRICES.cost("gpt-4o-mini", usage, at_ns=NOON_NS)


def test_an_own_price_of_a_provider_holds_for_calls_that_name_none() -> None:
    """The table says whose model it is; a price of the model by itself wins."""
    mine = Prices({"openai/gpt-4o": {"input": 3, "output": 3}})
    usage = Usage(input=3, output=1)
    assert mine.cost("gpt-4o", usage, at_ns=NOON_NS) == 12_000
    assert mine.cost("gpt-4o", usage, provider="azure", at_ns=NOON_NS) != 12_000
    both = Prices({"openai/gpt-4o": {"input": 3, "output": 3}, "gpt-4o": {"input": 0, "output": 0}})
    assert both.cost("gpt-4o", usage, at_ns=NOON_NS) == 0


@pytest.mark.parametrize(
    ("model", "counts", "cost"),
    [
        ("gpt-4o", {"output": 3}, None),
        ("gpt-4o", {"input": 1_000}, None),
        ("gpt-4o", {"input": 1_000, "output": 0}, 2_500_000),
        ("gemini-embedding-001", {"input": 1_000}, 150_000),
        ("mistral-embed", {"input": 1_000}, 100_000),
        ("half", {"input": 1_000, "output": 10}, None),
        ("half", {"input": 1_000}, 1_000_000),
        ("half", {"input": 1_000, "output": 0}, 1_000_000),
        ("free out", {"input": 1_000}, 1_000_000),
        ("by request", {"input": 1_000, "output": 10}, 5_000_000),
    ],
)
def test_half_of_what_a_call_used_is_no_price(model: str, counts: dict[str, int], cost: int | None) -> None:
    """Tokens that were not counted, or that have no rate, are not free; a part that is not billed may be left out."""
    mine = Prices({"half": {"input": 1}, "free out": {"input": 1, "output": 0}, "by request": {"requests": 5}})
    assert mine.cost_of_call(model, Usage(**counts), at_ns=NOON_NS) == cost


def test_the_two_usual_counts_cost_the_same_either_way() -> None:
    """Most calls have these two counts, and a shorter way to their cost."""
    for provider, model in ((one.id, model.id) for one in providers for model in one.models):
        for prompt, completion in ((0, 0), (900, 0), (0, 40), (3, 7), (3_000_000, 150_000)):
            usage = Usage(input=prompt, output=completion)
            cost = PRICES.cost_of_call(model, usage, provider=provider, at_ns=NOON_NS)
            assert PRICES.cost_of_two(model, prompt, completion, provider=provider, at_ns=NOON_NS) == cost


def test_half_a_nano_dollar_rounds_up() -> None:
    """One rounding, at the end: two halves in one call are one."""
    mine = Prices({"m": {"input": "0.0005", "output": "0.0005"}, "n": {"input": "0.000499999999999999"}})
    assert mine.cost("m", Usage(input=1), at_ns=NOON_NS) == 1
    assert mine.cost("m", Usage(input=1, output=1), at_ns=NOON_NS) == 1
    assert mine.cost("n", Usage(input=1), at_ns=NOON_NS) == 0


def test_an_own_price_may_be_by_request() -> None:
    """A call is one request, whatever else was counted."""
    mine = Prices({"search": {"requests": 5}})
    assert mine.cost("search", Usage(input=10), at_ns=NOON_NS) == 5_000_000


@pytest.mark.parametrize(
    ("rates", "complaint"),
    [
        ({}, "no price"),
        ({"input": 1, "prompt": 2}, "prompt"),
        ({"input": -1}, "got -1"),
        ({"input": True}, "True"),
        ({"input": "cheap"}, "cheap"),
        ({"input": float("nan")}, "nan"),
        ({"input": float("inf")}, "inf"),
        ({"input": "0.0000000000000000001"}, "expected a price"),
        ({"cached": 1}, "needs input"),
        ({"input": 2, "cached": 1, "input_audio": 9}, "needs cached_audio"),
    ],
)
def test_an_own_price_that_cannot_be_one_is_refused(rates: dict[str, Any], complaint: str) -> None:
    """The error names the setting and what is wrong with it."""
    with pytest.raises(ConfigError, match=complaint) as caught:
        Prices({"m": rates})
    assert 'prices."m"' in str(caught.value)


def test_a_usage_refuses_parts_it_does_not_know() -> None:
    """A misspelt part must not become a call that costs less."""
    with pytest.raises(TypeError, match="prompt_tokens"):
        Usage(prompt_tokens=3)


def test_a_price_tells_what_it_is() -> None:
    """Rates as exact text with their steps, whose they are and from when."""
    price = PRICES.find("gemini-2.5-pro", at_ns=NOON_NS)
    assert price is not None
    assert price.provider == "google"
    assert price.rates["input"] == ((0, "1.25"), (200_000, "2.5"))
    assert price.source == f"genai-prices {PRICES.version}"
    assert "gemini-2.5-pro" in repr(price)


def test_the_list_has_own_prices_and_every_priced_model() -> None:
    """Own ones lead; a model without a price is not listed."""
    mine = Prices({"zephyr": {"input": 1}})
    first, *others = mine.list(at_ns=NOON_NS)
    assert (first.model, first.source) == ("zephyr", "own")
    assert len({(price.provider, price.model) for price in others}) == len(others) > 1_000
    assert all(price.rates for price in others)


def test_many_names_are_not_all_remembered() -> None:
    """A program that makes up a model name for each call does not fill our memory."""
    some = Prices({"m": {"input": 1}})
    for number in range(3_000):
        assert some.cost(f"made-up-{number}", Usage(input=1), at_ns=NOON_NS) is None
    assert len(some._known) <= 1_024
    assert some.cost("m", Usage(input=1), at_ns=NOON_NS) == 1_000


def test_the_table_is_read_only_when_needed() -> None:
    """Neither importing, nor making Prices, nor a call with an own price opens the file."""
    program = """
import sys
sys.addaudithook(lambda event, args: event == "open" and "prices.json" in str(args[0]) and print("read"))
from localops.encoding.pricing import Prices, Usage
prices = Prices({"m": {"input": 1}})
print(prices.cost("m", Usage(input=1), at_ns=0))
prices.cost("gpt-4o", Usage(input=1), at_ns=0)
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["1000", "read"]
