"""The cost of a call: the shipped price table, a user's own prices, and exact sums in nano-dollars.

An unknown price is None, never 0. The table (`prices.json`) is generated from genai-prices by `scripts/prices.py`,
matches names as that library does, and is read at the first lookup. A name may also have the provider in front, as
gateways write it, or be a resource name of a cloud; a name that only resembles a known one is unknown. The caller
counts tokens, and decides what to do with a call without a price.
"""

from __future__ import annotations

import os

from localops.errors import ConfigError, IncompleteInstallation
from localops.interruption import is_programs, pass_on
from localops.journal.token_kinds import IN_BODY, KINDS
from localops.output import say_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, KeysView, Mapping
    from typing import Any

    # name, name*, *name or *name*; a /regular expression/; any of a list; {"all": a list}.
    Pattern = str | list["Pattern"] | dict[str, list["Pattern"]]
    # A price in the table: rates by part, and the first day or the hours of validity.
    Written = Mapping[str, str]
    # Pairs: for prompts longer than this number of tokens, US dollars as exact text. The first is for 0.
    Steps = tuple[tuple[int, str], ...]
    Provider = Mapping[str, Any]

# part: (the number of units that a rate is for, the parts that include it)
PARTS: dict[str, tuple[int, tuple[str, ...]]] = {
    **{kind.price: (1_000_000, kind.within) for kind in KINDS if kind.price},
    "cache_write_5m": (1_000_000, ("cache_write",)),
    "reasoning": (1_000_000, ("output",)),
    "citation": (1_000_000, ("output",)),
    "input_image": (1_000_000, ("input",)),
    "output_image": (1_000_000, ("output",)),
    "cached_image": (1_000_000, ("cached", "input_image")),
    "input_video": (1_000_000, ("input",)),
    "output_video": (1_000_000, ("output",)),
    "characters": (1_000_000, ()),
    "messages": (1_000, ()),
    "audio_seconds": (3_600, ()),
    "input_audio_seconds": (3_600, ("audio_seconds",)),
    "pages": (1_000, ()),
    "annotated_pages": (1_000, ("pages",)),
    "web_searches": (1_000, ()),
    "storage_searches": (1_000, ()),
    "requests": (1_000, ()),
}

# The part of each count in the body of a call.
_IN_BODY = {kind.field: kind.price for kind in IN_BODY if kind.price}
# The same, with the counts that have columns.
PRICED = {kind.field: kind.price for kind in KINDS if kind.price}

# Sums are integers, in units of 10⁻¹⁸ dollars (the last digit in the table) divided by a multiple of all PARTS' units.
_DIGITS = 18
_MULTIPLE = 9_000_000
_NANO: int = _MULTIPLE * 10 ** (_DIGITS - 9)

SHIPPED = os.path.join(os.path.dirname(__file__), "prices.json")
"""The table in the package."""

# Programs may use any number of names: clear the cache after this many.
_REMEMBERED = 1024


class Usage:
    """The usage of a call, by part: `Usage(input=1200, cached=1000, output=80)`.

    A whole includes its parts: `input` includes cached and cache-write tokens, `output` includes reasoning.  None means
    "not reported". The names are those of PARTS, without `requests`: a call is one request.
    """

    __slots__ = ("counts",)

    def __init__(self, **counts: int | None) -> None:
        if not counts.keys() <= _COUNTED:
            raise TypeError(f"a usage has no part {', '.join(sorted(counts.keys() - _COUNTED))}")
        self.counts = {part: count for part, count in counts.items() if count is not None}

    def __repr__(self) -> str:
        return f"Usage({', '.join(f'{part}={count}' for part, count in self.counts.items())})"


def usage_of(tokens_in: int | None, tokens_out: int | None, cached: int | None, body: Mapping[str, Any]) -> Usage:
    """Return the usage of a recorded call, from its columns and its body."""
    beside = {part: body.get(name) for name, part in _IN_BODY.items()}
    counts = {part: count for part, count in beside.items() if type(count) is int}
    return Usage(input=tokens_in, output=tokens_out, cached=cached, **counts)


class Prices:
    """Looks up prices: the user's own first, then those of the table.

    `own` maps a model, or `provider/model`, to US dollars by part (per units as in PARTS).  `imported` is the path of a
    table that replaces the shipped one if it exists and is newer.  Raise ConfigError for an invalid price.
    """

    def __init__(
        self, own: Mapping[str, Mapping[str, int | float | str]] | None = None, *, imported: str | None = None
    ) -> None:
        self._imported = imported
        self._own = {name.lower(): _own_model(name, rates) for name, rates in (own or {}).items()}
        self._known: dict[tuple[str | None, str], _Model | None] = {}
        self._read: _Table | None = None

    def cost(self, model: str | None, usage: Usage, *, provider: str | None = None, at_ns: int) -> int | None:
        """Return nano-dollars for a call at `at_ns` (Unix time), or None if the price is not known."""
        price = self.find(model, provider=provider, at_ns=at_ns)
        return price.cost(usage) if price else None

    def cost_of_call(self, model: str | None, usage: Usage, *, provider: str | None = None, at_ns: int) -> int | None:
        """Return the cost of an LLM call: like `cost`, but None if `Price.lacks` returns a part."""
        price = self.find(model, provider=provider, at_ns=at_ns)
        return price.cost(usage) if price and price.lacks(usage) is None else None

    def cost_of_two(
        self, model: str, prompt: int, completion: int, *, provider: str | None = None, at_ns: int
    ) -> int | None:
        """Return the cost of a call with only these two counts, as most have: like `cost_of_call`, but faster."""
        price = self.find(model, provider=provider, at_ns=at_ns)
        if price is None or price.two is None:
            return self.cost_of_call(model, Usage(input=prompt, output=completion), provider=provider, at_ns=at_ns)
        of_input, of_output = price.two
        return (prompt * of_input + completion * of_output + _NANO // 2) // _NANO

    def find(self, model: str | None, *, provider: str | None = None, at_ns: int) -> Price | None:
        """Return the price valid at `at_ns`, or None for a model without a known price."""
        if not model:
            return None
        try:
            priced = self._known[provider, model]
        except KeyError:
            priced = self._remember(provider, model)
        return priced.at(at_ns) if priced else None

    def list(self, *, at_ns: int) -> Iterator[Price]:
        """Yield every price valid at `at_ns`: the user's own, then the table's, provider by provider."""
        for own in self._own.values():
            yield own.at(at_ns)
        for model in self._table.models():
            price = model.at(at_ns)
            if price.rates:
                yield price

    @property
    def version(self) -> str:
        """Return the release of genai-prices that the table was made from."""
        return self._table.version

    @property
    def date(self) -> str:
        """Return the date of the table, YYYY-MM-DD."""
        return self._table.date

    @property
    def origin(self) -> Mapping[str, str] | None:
        """Return where an imported table came from (`origin`) and when (`at`); None for the shipped one."""
        return self._table.origin

    @property
    def _table(self) -> _Table:
        if self._read is None:
            self._read = self._newest()
        return self._read

    def _newest(self) -> _Table:
        day = date_of(self._imported) if self._imported is not None else None
        if self._imported is not None and day is not None and day > (date_of(SHIPPED) or ""):
            try:
                return _Table(self._imported)
            except (IncompleteInstallation, LookupError, TypeError):
                self._use_shipped()
        return _Table(SHIPPED)

    def _use_shipped(self) -> None:
        """Use the shipped table instead of the imported one, which was damaged after it was checked."""
        say_once("imported prices", f"{self._imported} is damaged: the shipped prices are used; see `localops doctor`")
        self._imported = self._read = None

    def _remember(self, provider: str | None, model: str) -> _Model | None:
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[provider, model] = priced = self._look_up(provider, model.lower())
        return priced

    def _look_up(self, provider: str | None, model: str) -> _Model | None:
        own = self._own.get(f"{provider.strip().lower()}/{model}") if provider else None
        own = own or self._own.get(model)
        if own is None and self._own and (prefixed := _prefixed(model)):
            own = self._own.get(prefixed[1])
        if own is not None:
            return own
        shipped = self._shipped(provider, model)
        # Without a provider, the table determines it: the user may have a price for that provider.
        return (self._own.get(f"{shipped.provider}/{model}") if shipped and not provider else None) or shipped

    def _shipped(self, provider: str | None, model: str) -> _Model | None:
        """Return the model of the table, or None; if the table is missing, no price is known."""
        try:
            return self._table.find(provider, model)
        except IncompleteInstallation as error:
            say_once("prices", f"{error}; calls without a price in config.toml are unpriced")
            return None
        except Exception as error:
            # The edge: the file may have been changed since it was checked, and contain anything.
            if self._table.origin is None or is_programs(error) is not False:
                raise
            self._use_shipped()
            return self._shipped(provider, model)


class Price:
    """The rates of a model in a period.

    `rates` has the steps of each part (for prompts longer than a number of tokens, US dollars as exact text); the last
    step that a prompt reaches applies to the whole call. If it is empty, the model is known, but not its price. `since`
    is the first day and `hours` the time of day in UTC, if limited; `source` says where the price is from.
    """

    __slots__ = (
        "_first_ns",
        "_least_seconds",
        "_lines",
        "_request",
        "_stepped",
        "hours",
        "model",
        "provider",
        "rates",
        "since",
        "source",
        "two",
    )

    def __init__(self, model: _Model, written: Written) -> None:
        self.provider, self.model, self.source = model.provider, model.name, model.source
        self.since = written.get("from")
        self.hours = written.get("hours")
        self.rates = {part: _steps(written[part]) for part in PARTS if part in written}
        self._first_ns = _midnight_ns(self.since) if self.since else None
        self._least_seconds = int(written.get("least_seconds", 0))
        self._lines = [_Line(part, self.rates) for part in _innermost_first(self.rates.keys() & _COUNTED)]
        self._stepped = any(len(steps) > 1 for steps in self.rates.values())
        self._request = _unit_price("requests", self.rates["requests"][0][1]) if "requests" in self.rates else 0
        # The rates of input and output, if nothing else adds to the cost of a call with these two counts.
        self.two = self._rates_of_two()

    def __repr__(self) -> str:
        rates = (f"{part} ${steps[0][1]}{'+' * (len(steps) > 1)}" for part, steps in self.rates.items())
        return f"<Price of {self.model} ({self.provider or self.source}): {', '.join(rates) or 'not known'}>"

    def _rates_of_two(self) -> tuple[int, int] | None:
        if self._stepped or self._least_seconds or self._request or not {"input", "output"} <= self.rates.keys():
            return None
        rates = {line.part: line.rate(0) for line in self._lines}
        return rates["input"], rates["output"]

    def cost(self, usage: Usage) -> int | None:
        """Return nano-dollars, rounded half up; None if counts are missing, contradict each other or have no rate."""
        counts = usage.counts
        if not _are_counts(counts) or not self._covers(counts):
            return None
        if self._least_seconds:
            counts = _with_least(counts, self._least_seconds)
        prompt = _count("input", counts) if self._stepped else 0
        if prompt is None:
            return None
        total = self._request
        billed: dict[str, int] = {}
        for line in self._lines:
            count = counts[line.part] if line.part in counts else _count(line.part, counts)
            if count is None:
                return None
            for inner in line.inner:
                count -= billed[inner]
            if count < 0:
                return None
            billed[line.part] = count
            total += count * line.rate(prompt)
        return (total + _NANO // 2) // _NANO

    def lacks(self, usage: Usage) -> str | None:
        """Return which of `input` and `output` is billed but was not counted, or was counted but has no rate.

        Such a call is not free: if it reports only one of the two counts, the other one is unknown, not 0.
        """
        counts = usage.counts
        for part, other in (("input", "output"), ("output", "input")):
            if part not in counts and other in counts and self._bills(part):
                return part
            if counts.get(part) and part not in self.rates and "requests" not in self.rates:
                return part
        return None

    def _bills(self, part: str) -> bool:
        """Return whether this part is charged; output of embeddings is not, even if the table has a rate."""
        if part == "output" and "embed" in self.model.lower():
            return False
        return any(float(dollars) > 0 for _, dollars in self.rates.get(part, ()))

    def holds(self, at_ns: int) -> bool:
        """Return whether this price is valid at `at_ns`, by its day and hours."""
        if self._first_ns is not None:
            return at_ns >= self._first_ns
        return self.hours is None or _within(self.hours, at_ns)

    def _covers(self, counts: Mapping[str, int]) -> bool:
        """Return whether there is a rate for some of the counts: without one, the call is unpriced, not free."""
        if "requests" in self.rates or any(counts.get(line.part) for line in self._lines):
            return True
        return bool(self.rates) and not any(counts.values())


class _Line:
    """The rate of one part, and the parts inside it that have their own rates."""

    __slots__ = ("_base", "_steps", "inner", "part")

    def __init__(self, part: str, rates: Mapping[str, Steps]) -> None:
        self.part = part
        self.inner = [inner for inner in _INSIDE[part] if inner in rates]
        (_, base), *steps = rates[part]
        self._base = _unit_price(part, base)
        self._steps = [(start, _unit_price(part, dollars)) for start, dollars in reversed(steps)]

    def rate(self, prompt: int) -> int:
        for start, rate in self._steps:
            if prompt > start:
                return rate
        return self._base


class _Model:
    """A model with its prices over time."""

    __slots__ = ("_prices", "name", "provider", "source")

    def __init__(self, name: str, prices: Iterable[Written], *, source: str, provider: str | None = None) -> None:
        self.name, self.provider, self.source = name, provider, source
        self._prices = [Price(self, written) for written in prices]

    def at(self, at_ns: int) -> Price:
        """Return the last price that is valid at a time; if none is, the first."""
        for price in reversed(self._prices):
            if price.holds(at_ns):
                return price
        return self._prices[0]


class _Table:
    """A table of prices, with the rules for looking up a name."""

    def __init__(self, path: str) -> None:
        import json

        try:
            with open(path, encoding="utf-8") as file:
                stored = json.load(file)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError):
                pass_on(error)
            raise IncompleteInstallation(path, error) from error
        self.version: str = stored["version"]
        self.date: str = stored["date"]
        self.origin: Mapping[str, str] | None = stored.get("from")
        self._providers: dict[str, Provider] = stored["providers"]

    def models(self) -> Iterator[_Model]:
        for provider_id, provider in self._providers.items():
            for name in provider["models"]:
                yield self._model(provider_id, name)

    def find(self, provider: str | None, model: str) -> _Model | None:
        """Return the model with this lower-case name at a provider; without a provider, find it by the name."""
        if provider is not None:
            provider, model = self._unwrap(provider.strip().lower(), model)
        if provider not in (None, "litellm"):
            return self._find_with_seller(self._provider_named(provider), model)
        prefixed = _prefixed(model)
        if prefixed is not None:  # the name includes the provider, so prices of others do not apply
            seller, name = prefixed
            return self._find_sold_model(seller, name) or self._find_sold_model(seller, model)
        known = self._provider_of(model)
        sold = self._find_sold_model(known, model) if known is not None else None
        shaped = by_form(model) if sold is None else None
        return self._find_sold_model(*shaped) if shaped is not None else sold

    def _unwrap(self, provider: str, model: str) -> tuple[str, str]:
        """Resolve LiteLLM, which only passes calls on: `litellm` and `openai/gpt-4o` are `openai` and `gpt-4o`."""
        inner, slash, rest = model.partition("/")
        if provider == "litellm" and inner and slash and self._provider_named(inner):
            return inner, rest
        return provider, model

    def _find_with_seller(self, seller: str | None, model: str) -> _Model | None:
        """Return a seller's model; its name may have the seller in front, or a provider whose models it resells."""
        if seller is None:
            return None
        sold = self._find_sold_model(seller, model)
        prefixed = _prefixed(model) if sold is None else None
        if prefixed is None:
            return sold
        maker, name = prefixed
        if maker not in (seller, *self._providers[seller].get("resells", ())):
            return None
        sold = self._find_sold_model(seller, name)
        return sold if sold is not None and (maker == seller or sold.provider in (seller, maker)) else None

    def _find_sold_model(self, seller: str, model: str) -> _Model | None:
        """Return the model of a seller by its name, by the name inside a resource name, or as a fine-tuned one."""
        import re

        names = [model, re.sub(_HOW, "", model)]
        shaped = by_form(names[-1])
        if shaped is not None and shaped[0] == seller:
            names.append(shaped[1])
        for name in dict.fromkeys(names):
            sold = (
                self._match(seller, name)
                or self._match(seller, _with_dashed_date(name))
                or self._fine_tuned(seller, name)
            )
            if sold is not None:
                return sold
        return None

    def _fine_tuned(self, seller: str, name: str) -> _Model | None:
        """Return the model for `ft:gpt-4o-mini:organisation:suffix:id`, if the table has `ft:gpt-4o-mini`."""
        prefix, base, *whose = name.split(":") if name.startswith("ft:") else ("", "")
        id = f"{prefix}:{base}"
        return self._model(seller, id) if whose and id in self._providers[seller]["models"] else None

    def _provider_named(self, name: str) -> str | None:
        if name in self._providers:
            return name
        return _PROVIDERS.get(name) or self._first_provider("names", name)

    def _provider_of(self, model: str) -> str | None:
        return self._first_provider("match", model)

    def _first_provider(self, key: str, text: str) -> str | None:
        for provider_id, provider in self._providers.items():
            if key in provider and _matches(provider[key], text):
                return provider_id
        return None

    def _match(self, provider_id: str, model: str) -> _Model | None:
        """Return a model from the provider's own list, then from those whose models it resells."""
        is_tuned = model.startswith("ft:")  # its price differs from that of its base model
        for seller in (provider_id, *self._providers[provider_id].get("resells", ())):
            for name, (pattern, *_) in self._providers[seller]["models"].items():
                if _matches(pattern or name, model) and (not is_tuned or "ft:" in str(pattern or name)):
                    return self._model(seller, name)
        return None

    def _model(self, provider_id: str, name: str) -> _Model:
        _, *prices = self._providers[provider_id]["models"][name]
        return _Model(name, map(_fields, prices), source=f"genai-prices {self.version}", provider=provider_id)


def date_of(path: str) -> str | None:
    """Return the date of a table, from the first bytes of its file; None without one."""
    import re

    try:
        with open(path, "rb") as file:
            match = re.search(rb'"date": ?"([0-9]{4}-[0-9]{2}-[0-9]{2})"', file.read(512))
    except OSError as error:
        pass_on(error)
        return None
    return match[1].decode() if match is not None else None


def _matches(pattern: Pattern, text: str) -> bool:
    if isinstance(pattern, list):
        return any(_matches(one, text) for one in pattern)
    if isinstance(pattern, dict):
        return all(_matches(one, text) for one in pattern["all"])
    if pattern[0] == "/":
        import re

        return re.search(pattern[1:-1], text) is not None
    if pattern[0] == "*":
        return pattern[1:-1] in text if pattern[-1] == "*" else text.endswith(pattern[1:])
    return text.startswith(pattern[:-1]) if pattern[-1] == "*" else text == pattern


# By provider: its names in gateways, libraries and OpenTelemetry, which may also be in front of a model's name.
_WORDS = {
    "anthropic": "anthropic",
    "aws": "bedrock bedrock_converse aws.bedrock aws-bedrock aws_bedrock amazon-bedrock amazon_bedrock",
    "azure": "azure azure_ai azure_openai azure-openai azure.ai.openai azure.ai.inference azure_ai_inference"
    " az.ai.openai az.ai.inference",
    "baseten": "baseten",
    "cerebras": "cerebras",
    "cloudflare": "cloudflare",
    "cohere": "cohere cohere_chat",
    "databricks": "databricks",
    "deepseek": "deepseek",
    "fireworks": "fireworks fireworks_ai fireworks-ai",
    "github-copilot": "github_copilot github-copilot",
    "google": "google gemini vertex_ai vertex_ai_beta vertex google_genai google-genai google_vertexai google-gla"
    " google-vertex gcp.gemini gcp.vertex_ai gcp.gen_ai",
    "groq": "groq",
    "minimax": "minimax",
    "mistral": "mistral mistralai mistral_ai",
    "moonshotai": "moonshot moonshotai moonshot_ai",
    "novita": "novita",
    "openai": "openai openai-chat openai-responses openai_responses text-completion-openai",
    "openrouter": "openrouter",
    "ovhcloud": "ovhcloud",
    "perplexity": "perplexity",
    "together": "together together_ai together-ai",
    "voyageai": "voyage voyageai",
    "x-ai": "xai x_ai x-ai",
    "zai": "zai",
}
_PROVIDERS = {word: provider for provider, words in _WORDS.items() for word in words.split()}

# Words between a provider and a model: they select an API or a region, and do not change the price.
_HOW = r"^(?:(?:converse_like|converse|invoke|responses|global-standard|global|[a-z]{2}(?:-[a-z]+){1,2}-[0-9])/){1,2}"

# Forms of names that only one provider uses: the provider, and the group with its name for the model.
_PLACES = r"(?:(?:us|us-gov|eu|apac|jp|au|in|ca|sa|me|af|global)\.)?"
_MAKERS = (
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshotai|moonshot|nvidia|openai|qwen"
    r"|writer|zai)"
)
_FORMS = (
    ("aws", r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:(?:foundation-model|inference-profile)/(.+)"),
    ("aws", rf"({_PLACES}{_MAKERS}\..+)"),
    ("google", r"(?:projects/[^/]+/locations/[^/]+/)?publishers/[^/]+/models/(.+)"),
    ("openai", r"(ft:(?:gpt-|o[0-9]|babbage-|davinci-).+)"),
)


def _prefixed(model: str) -> tuple[str, str] | None:
    """Split `azure/gpt-4o` or `azure:gpt-4o` into the provider and its name for the model; None for other names."""
    for sign in "/:":
        word, _, rest = model.partition(sign)
        if rest and word in _PROVIDERS:
            return _PROVIDERS[word], rest
    return None


def by_form(model: str) -> tuple[str, str] | None:
    """Return the provider and its name for a model, if a lower-case name has a form that only one provider uses."""
    import re

    for provider, pattern in _FORMS:
        match = re.fullmatch(pattern, model)
        if match is not None:
            return provider, match[1]
    return None


def _with_dashed_date(model: str) -> str:
    """Write the date in a model's name as the table does: `gpt-5.2-20251211` becomes `gpt-5.2-2025-12-11`."""
    import re
    from datetime import date

    def dashed(match: re.Match[str]) -> str:
        try:
            return f"-{date(*map(int, match.groups())).isoformat()}"
        except ValueError:
            return match[0]

    return re.sub(r"-(20\d\d)(\d\d)(\d\d)(?=[-:]|$)", dashed, model)


def _including_parts(part: str) -> set[str]:
    """Return all parts that include a part, directly or indirectly."""
    wholes = set(PARTS[part][1])
    return wholes.union(*map(_including_parts, wholes))


_COUNTED = PARTS.keys() - {"requests"}
_INSIDE: dict[str, list[str]] = {whole: [] for whole in PARTS}
for _part in PARTS:
    for _whole in _including_parts(_part):
        _INSIDE[_whole].append(_part)


def _innermost_first(parts: set[str]) -> list[str]:
    return sorted(parts, key=lambda part: (-len(_including_parts(part)), part))


def _are_counts(counts: Mapping[str, int]) -> bool:
    """Return whether there are counts, and all are whole numbers of at least 0: a program may report anything."""
    return bool(counts) and all(type(count) is int and count >= 0 for count in counts.values())


def _count(part: str, counts: Mapping[str, int]) -> int | None:
    """Return the reported count of a part; 0 if there is none, but None if other counts show that there must be one."""
    if part in counts:
        return counts[part]
    if any(counts.get(inner) for inner in _INSIDE[part]):
        return None
    # With counts of cached tokens and of audio tokens, it is not known how many tokens were both.
    wholes = PARTS[part][1]
    return None if len(wholes) == 2 and all(counts.get(whole) for whole in wholes) else 0


def _with_least(counts: dict[str, int], least: int) -> dict[str, int]:
    """Return the counts with the minimum number of seconds that a provider bills for a recording."""
    seconds = counts.get("audio_seconds") or counts.get("input_audio_seconds")
    if seconds is None:
        return counts
    seconds = max(seconds, least) if seconds > 0 else 0
    return {**counts, "audio_seconds": seconds, "input_audio_seconds": seconds}


def _fields(price: str) -> Written:
    """Return the rates of `input=3 output=15`."""
    return dict(field.split("=") for field in price.split())


def _steps(rate: str) -> Steps:
    """Return the steps of `1.25`, or of `1.25,200000:2.5`, which costs more for prompts longer than that."""
    base, *steps = rate.split(",")
    pairs = (step.split(":") for step in steps)
    return ((0, base), *((int(start), dollars) for start, dollars in pairs))


def _unit_price(part: str, dollars: str) -> int:
    """Return the price of one unit of a part, in the unit of our sums."""
    whole, _, fraction = dollars.partition(".")
    return int(whole + fraction.ljust(_DIGITS, "0")) * (_MULTIPLE // PARTS[part][0])


def _midnight_ns(day: str) -> int:
    from datetime import date

    return (date.fromisoformat(day).toordinal() - date(1970, 1, 1).toordinal()) * 86_400 * 10**9


def _within(hours: str, at_ns: int) -> bool:
    """Return whether a time is within hours of the day in UTC: `00:30-16:30`, or across midnight `22:00-06:00`."""
    minute = at_ns // (60 * 10**9) % (24 * 60)
    opens, closes = (int(clock[:2]) * 60 + int(clock[3:]) for clock in hours.split("-"))
    return opens <= minute < closes if opens <= closes else minute >= opens or minute < closes


def _own_model(name: str, rates: Mapping[str, int | float | str]) -> _Model:
    if not isinstance(rates, dict):
        raise ConfigError(
            f'invalid prices."{name}": expected a table of prices by part, such as {{ input = 2.5 }}, got {rates!r}'
        )
    unknown = ", ".join(sorted(rates.keys() - PARTS.keys()))
    if unknown or not rates:
        raise ConfigError(f'prices."{name}" has {unknown or "no price"}; it may have {", ".join(PARTS)}')
    for part, (_, wholes) in PARTS.items():
        _refuse_gap(name, part, wholes, rates.keys())
    written = {part: _dollars(f'prices."{name}".{part}', dollars) for part, dollars in rates.items()}
    return _Model(name, [written], source="own")


def _refuse_gap(name: str, part: str, wholes: tuple[str, ...], priced: KeysView[str]) -> None:
    """Refuse a price for a part without one for its wholes, or for two wholes without one for tokens that are both."""
    if part in priced and not priced >= set(wholes):
        raise ConfigError(f'prices."{name}" has {part}, so it needs {" and ".join(wholes)} too')
    if part not in priced and len(wholes) == 2 and priced >= set(wholes):
        raise ConfigError(f'prices."{name}" has {" and ".join(wholes)}, so it needs {part} too')


def _dollars(setting: str, dollars: int | float | str) -> str:
    from decimal import Decimal, InvalidOperation

    try:
        exact = Decimal(str(dollars))
        if exact >= 0 and exact == round(exact, _DIGITS):
            return format(exact, "f")
    except InvalidOperation:  # not a number, infinite, or too fine
        pass
    raise ConfigError(f"invalid {setting}: expected a price in US dollars, got {dollars!r}")
