"""`localops prices`: show prices of models, and price recorded calls afterwards."""

from __future__ import annotations

import click

from localops import clock, config, output
from localops.cli.common import (
    Group,
    check_home,
    chosen_projects,
    dim,
    json_option,
    place_options,
    print_json,
    print_table,
)
from localops.encoding.pricing import PARTS, Prices
from localops.errors import NotFound
from localops.journal.journal import Journal
from localops.reading import facts
from localops.upkeep.repricing import Repriced, reprice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.encoding.pricing import Price

_MAIN = ("input", "output", "cached", "cache_write")


@click.group(cls=Group)
def prices() -> None:
    """Show and set prices of models: the shipped ones and your own.

    Prices are in US dollars (USD) for a million tokens. Your own are in the home's config.toml:

    \b
    [prices."my-model"]
    input = 0.5
    output = 1.5
    """


@prices.command("list")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--home", metavar="FOLDER", help="The home with your own prices.")
@json_option
def list_prices(words: tuple[str, ...], home: str | None, as_json: bool) -> None:
    """List today's prices; with WORDs, those of models or providers that contain them."""
    check_home(home)
    table = Prices(config.own_prices(config.home(home)))
    wanted = [word.lower() for word in words]
    listed = [
        price
        for price in table.list(at_ns=clock.now_ns())
        if all(word in f"{price.provider} {price.model}".lower() for word in wanted)
    ]
    # A model name with a date or a version is priced by a pattern and is not in the list itself.
    priced = table.find(words[0], at_ns=clock.now_ns()) if len(words) == 1 else None
    if priced is not None and not any((one.provider, one.model) == (priced.provider, priced.model) for one in listed):
        listed.insert(0, priced)
    if as_json:
        print_json({"table": _about(table), "prices": [_facts(price) for price in listed]})
        return
    lines = [(price.model, price.provider or price.source, *(_rate(price, part) for part in _MAIN)) for price in listed]
    if not lines:
        output.say(f"no model or provider contains {' and '.join(map(repr, words))}")
        return
    print_table(lines, ("model", "provider", *_MAIN), align="llrrrr", spare=("cache_write", "cached"))
    print()
    print(dim(f"US dollars for a million tokens, from genai-prices {table.version} of {table.date}"))
    if any(len(steps) > 1 for price in listed for part, steps in price.rates.items() if part in _MAIN):
        print(dim("+ costs more in long prompts: `localops prices show MODEL`"))


@prices.command()
@click.argument("model")
@click.option("--provider", metavar="NAME", help="The price of this provider, if there are several.")
@click.option("--home", metavar="FOLDER", help="The home with your own prices.")
@json_option
def show(model: str, provider: str | None, home: str | None, as_json: bool) -> None:
    """Show what MODEL costs today, and where the price comes from."""
    check_home(home)
    table = Prices(config.own_prices(config.home(home)))
    price = table.find(model, provider=provider, at_ns=clock.now_ns())
    if price is None:
        raise NotFound(_why_no_price(table, model, provider))
    if as_json:
        print_json({"table": _about(table), "price": _facts(price)})
        return
    since = f", since {price.since}" if price.since else ""
    print(f"{output.clean(price.model)} ({price.provider or 'your own price'}; {price.source}{since})")
    for part, steps in price.rates.items():
        for start, dollars in steps:
            above = f", in prompts over {output.count(start)}" if start else ""
            print(f"  {part.ljust(16)}  {output.rate(dollars).rjust(9)} for {_many(part)}{above}")


def _why_no_price(table: Prices, model: str, provider: str | None) -> str:
    """Return who sells a model under that name, else which names are nearly the same."""
    known = list(table.list(at_ns=clock.now_ns()))
    sellers = {price.provider for price in known if price.model.lower() == model.lower() and price.provider}
    if provider is not None and (price := table.find(model, at_ns=clock.now_ns())) is not None and price.provider:
        sellers.add(price.provider)
    if sellers:
        of_whom = f"from provider {provider!r}" if provider is not None else "that name no provider"
        return f"calls of {model!r} {of_whom} have no price; with --provider there is one: {', '.join(sorted(sellers))}"
    from difflib import get_close_matches

    close = get_close_matches(model.lower(), dict.fromkeys(price.model.lower() for price in known), n=3, cutoff=0.75)
    hint = f"did you mean {' or '.join(map(repr, close))}? If not, " if close else ""
    return f"no price for {model!r}: {hint}set one with `localops prices set`"


@prices.command("set")
@click.argument("model")
@click.option("--input", "input_price", required=True, metavar="USD", help="Dollars for a million tokens of input.")
@click.option("--output", "output_price", required=True, metavar="USD", help="Dollars for a million tokens of output.")
@click.option("--cached", metavar="USD", help="Dollars for a million tokens of input from a cache.")
@click.option(
    "--all", "all_calls", is_flag=True, help="Include calls that already had a price when they were recorded."
)
@place_options
@json_option
def set_price(
    model: str,
    input_price: str,
    output_price: str,
    cached: str | None,
    all_calls: bool,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Price recorded calls of MODEL that have no price.

    Each of these calls gets a row with the difference, so every figure stays a sum of rows. Setting the same price
    again changes nothing. For future calls, put the price into config.toml.
    """
    # As text: prices are decimal numbers, and a float would round them.
    rates: dict[str, int | float | str] = {"input": input_price, "output": output_price}
    if cached is not None:
        rates["cached"] = cached
    table = Prices({model: rates})
    folder, names = chosen_projects(home, project)
    changes = {name: _reprice(config.project_folder(folder, name), model, table, all_calls=all_calls) for name in names}
    if as_json:
        print_json({"model": model, "projects": {name: _changes(one) for name, one in changes.items()}})
        return
    for name, one in changes.items():
        if one.calls or one.same or one.unknown:
            print(_sentence(name, one))
    if not any(one.calls or one.same or one.unknown for one in changes.values()):
        print(output.clean(_why_no_call(model, list(changes.values()))))
    print(f'for future calls, add to {folder}/config.toml:\n\n[prices."{output.clean(model)}"]')
    for part, dollars in rates.items():
        print(f"{part} = {dollars}")


def _reprice(folder: str, model: str, table: Prices, *, all_calls: bool) -> Repriced:
    import os

    if not os.path.exists(os.path.join(folder, config.JOURNAL)):
        return Repriced()
    journal = Journal(folder, gather=True)
    try:
        return reprice(journal, model, table, source="localops prices set", all_calls=all_calls)
    finally:
        journal.close()


def _why_no_call(model: str, projects: list[Repriced]) -> str:
    """Return why nothing was priced: all calls have a price, or there are none, and which names are nearly the same."""
    if any(one.kept for one in projects):
        return f"no recorded call of {model} lacks a price"
    from difflib import get_close_matches

    close = get_close_matches(model, dict.fromkeys(name for one in projects for name in one.models), n=3, cutoff=0.75)
    hint = f": did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"no call of {model!r} is recorded{hint}"


def _sentence(name: str, one: Repriced) -> str:
    parts = [f"{output.count(one.calls)} call{'' if one.calls == 1 else 's'} repriced by {output.money(one.nano)}"]
    if one.same:
        parts.append(f"{output.count(one.same)} already had that price")
    if one.unknown:
        parts.append(f"{output.count(one.unknown)} cannot be priced: their tokens were not all recorded")
    return f"{output.clean(name)}: {', '.join(parts)}"


def _changes(one: Repriced) -> dict[str, Any]:
    return {"calls": one.calls, **facts.money(one.nano), "same": one.same, "unknown": one.unknown}


def _about(table: Prices) -> dict[str, Any]:
    """Return the source of the prices, and how many units of each part a price is for."""
    return {"genai_prices": table.version, "date": table.date, "per": {part: many for part, (many, _) in PARTS.items()}}


def _facts(price: Price) -> dict[str, Any]:
    rates = {
        part: [{"above": start, "usd": dollars} for start, dollars in steps] for part, steps in price.rates.items()
    }
    return {"model": price.model, "provider": price.provider, "source": price.source, "rates": rates}


def _rate(price: Price, part: str) -> str | None:
    if part not in price.rates:
        return None
    steps = price.rates[part]
    return output.rate(steps[0][1]) + ("+" if len(steps) > 1 else "")


def _many(part: str) -> str:
    """Return how many units of a part its price is for."""
    if part.endswith("seconds"):
        return "an hour"
    many = {1_000_000: "a million", 1_000: "a thousand"}[PARTS[part][0]]
    tokens = many == "a million" and part != "characters"
    return f"{many} {'tokens' if tokens else part.replace('_', ' ')}"
