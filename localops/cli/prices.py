"""`localops prices`: show prices of models, and price recorded calls afterwards."""

from __future__ import annotations

import os

import click

from localops import clock, config, host, output
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
from localops.upkeep import imported_prices
from localops.upkeep.repricing import Repriced, reprice, reprice_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
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

    A machine without a network learns prices of new models by `import`, by bundles and receipts, or from its hub:
    see `localops help recipes`.
    """


@prices.command("list")
@click.argument("words", nargs=-1, metavar="[WORD]...")
@click.option("--home", metavar="FOLDER", help="The home with your own prices.")
@json_option
def list_prices(words: tuple[str, ...], home: str | None, as_json: bool) -> None:
    """List today's prices; with WORDs, those of models or providers that contain them."""
    check_home(home)
    table = config.prices(config.home(home))
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
    print(dim(f"US dollars for a million tokens, from genai-prices {table.version} of {table.date}{_imported(table)}"))
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
    table = config.prices(config.home(home))
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
    """Return the providers of a model of that name, else similar names."""
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


@prices.command("import")
@click.argument("path", metavar="FILE")
@click.option("--home", metavar="FOLDER", help="The home that the prices are for.")
@json_option
def import_table(path: str, home: str | None, as_json: bool) -> None:
    """Use the newer price table in FILE, which `localops prices export` has written elsewhere.

    It is checked first, and is used from now on while the table in the package is not newer; programs that run take
    it at their next start. Your own prices still come first. For calls that were recorded without a price, use
    `localops prices apply`.
    """
    check_home(home)
    folder = config.home(home)
    taken = imported_prices.take(
        folder, imported_prices.read(path), origin=f"file {os.path.abspath(path)}", now_ns=clock.now_ns()
    )
    if as_json:
        print_json({"home": folder, "imported": taken.is_new, **vars(taken)})
        return
    print(what_was_taken(taken))
    if taken.is_new:
        output.say("calls that were recorded without a price: localops prices apply")


def what_was_taken(taken: imported_prices.Imported) -> str:
    """Return a sentence with the result of an offered table."""
    table = f"prices of {taken.date} (genai-prices {output.clean(taken.version)})"
    if not taken.is_new:
        return f"{table} are not newer than those in use, of {taken.used_before}: nothing was changed"
    left = output.counted(taken.left_out, "model has", "models have")
    upgrade = f"; {left} a rate that this release does not know, and no price" if taken.left_out else ""
    return f"{table} are used from now on, for {output.counted(taken.models, 'model')}{upgrade}"


@prices.command("export")
@click.option("-o", "--output", "path", metavar="FILE", required=True, help="The file to write.")
@click.option("--home", metavar="FOLDER", help="The home with the prices.")
def export_table(path: str, home: str | None) -> None:
    """Write the price table in use to FILE, for `localops prices import` on another machine.

    Your own prices are not in it.
    """
    check_home(home)
    data = imported_prices.current(config.home(home))
    host.write_whole(path, data)
    output.say(f"wrote {path}; use it elsewhere with: localops prices import {os.path.basename(path)}")


@prices.command("apply")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@place_options
@json_option
def apply_prices(models: tuple[str, ...], home: str | None, project: str | None, as_json: bool) -> None:
    """Price the recorded calls that still have no price, by the prices that hold in this home now.

    Each gets a row with its cost at the time of the call, so every figure stays a sum of rows, and the rows are sent
    like all others. A call that has a price keeps it, and applying again changes nothing.
    """
    folder, names = chosen_projects(home, project)
    table = config.prices(folder)
    changes = {name: _apply(config.project_folder(folder, name), table, models) for name in names}
    if as_json:
        projects = {
            name: {model: {"calls": one.calls, **facts.money(one.nano)} for model, one in by_model.items()}
            for name, by_model in changes.items()
        }
        print_json({"table": _about(table), "projects": projects})
        return
    lines = [
        (name, model, output.count(one.calls), output.money(one.nano))
        for name, by_model in changes.items()
        for model, one in by_model.items()
    ]
    if lines:
        print_table(lines, ("project", "model", "calls", "cost"), align="llrr")
    else:
        output.say(f"no call without a price has one in the prices of {table.date}")


def _apply(folder: str, table: Prices, models: Collection[str]) -> dict[str, Repriced]:
    if not os.path.exists(os.path.join(folder, config.JOURNAL)):
        return {}
    journal = Journal(folder, gather=True)
    try:
        return reprice_all(journal, table, models)
    finally:
        journal.close()


def _reprice(folder: str, model: str, table: Prices, *, all_calls: bool) -> Repriced:
    if not os.path.exists(os.path.join(folder, config.JOURNAL)):
        return Repriced()
    journal = Journal(folder, gather=True)
    try:
        return reprice(journal, model, table, source="localops prices set", all_calls=all_calls)
    finally:
        journal.close()


def _why_no_call(model: str, projects: list[Repriced]) -> str:
    """Return why nothing was priced: all calls have a price, or there are none; with similar names."""
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
    per = {part: many for part, (many, _) in PARTS.items()}
    imported = dict(table.origin) if table.origin else None
    return {"genai_prices": table.version, "date": table.date, "imported": imported, "per": per}


def _imported(table: Prices) -> str:
    """Return where an imported table came from, as the end of a sentence."""
    if table.origin is None:
        return ""
    return f", imported {output.clean(table.origin.get('at', '')[:10])} from {output.clean(table.origin['origin'])}"


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
