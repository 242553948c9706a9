"""Price calls later: each changed call gets a row with the difference, so that totals stay sums of rows.

A row's id is derived from the call, the number of its earlier prices and its new cost, so that two processes that
reprice at the same time write the same row, which counts once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256

from localops.encoding import encode
from localops.encoding.pricing import usage_of
from localops.journal import rows
from localops.journal.stored import Stored, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from typing import Any

    from localops.encoding.pricing import Prices
    from localops.journal.journal import Journal
    from localops.journal.rows import Row

_PAGE = 1_000


@dataclass
class Repriced:
    """The result of new prices."""

    calls: int = 0  # calls that got a row
    nano: int = 0  # by how much the sum of costs changed
    same: int = 0  # calls whose cost did not change
    unknown: int = 0  # calls without tokens, whose cost stays unknown
    kept: int = 0  # calls that had a price already, and kept it
    models: list[str] = field(default_factory=list)  # the recorded models, if there is no call of the given one


def reprice(
    journal: Journal,
    model: str,
    prices: Prices,
    *,
    source: str | None = None,
    all_calls: bool = False,
    unpriced_only: bool = False,
) -> Repriced:
    """Price every call of `model` that had no price when it was recorded; with `all_calls`, every call.

    With `unpriced_only`, skip those that were priced later.  Without a `source`, the name of a row is the source of its
    price.
    """
    # The queries below read derived tables, so every row has to be folded before.
    journal.fold()
    result = Repriced()
    journal.add(_changes(journal, model, prices, source, result, all_calls=all_calls, unpriced_only=unpriced_only))
    journal.fold()
    if not result.calls and not result.same and not result.unknown and not result.kept:
        result.models = [name for (name,) in journal.all("models")]
    return result


def _changes(
    journal: Journal,
    model: str,
    prices: Prices,
    source: str | None,
    result: Repriced,
    *,
    all_calls: bool,
    unpriced_only: bool,
) -> Iterator[Row]:
    earlier = _earlier(journal, model)
    for call in _calls(journal, model):
        if (call.cost is not None and not all_calls) or (unpriced_only and earlier[call.id]):
            result.kept += 1
            continue
        body = encode.loads(call.body) if call.body else {}
        provider = body.get("provider")
        # A body may hold anything: a program or another machine wrote it.
        provider = provider if isinstance(provider, str) else None
        usage = usage_of(call.tokens_in, call.tokens_out, call.tokens_cached, body)
        new = prices.cost_of_call(model, usage, provider=provider, at_ns=call.at_ns)
        # Earlier prices are kept as differences, so the current cost is the sum.
        known = [cost for cost in (call.cost, *earlier[call.id]) if cost is not None]
        was = sum(known) if known else None
        if new is None:
            result.unknown += 1
        elif new == was:
            result.same += 1
        else:
            result.calls += 1
            result.nano += new - (was or 0)
            price = prices.find(model, provider=provider, at_ns=call.at_ns)
            yield _row(call, new, was, len(earlier[call.id]), source or (price.source if price else "price"))


def reprice_all(journal: Journal, prices: Prices, models: Collection[str] = ()) -> dict[str, Repriced]:
    """Price every call that has no price yet, of these models or of all, by current prices; return results by model.

    A model without a price is not in the result.
    """
    journal.fold()
    priced = {}
    for (model,) in journal.all("models"):
        if not models or model in models:
            result = reprice(journal, model, prices, unpriced_only=True)
            if result.calls:
                priced[model] = result
    return priced


def unbilled_row(stored: Sequence[Any]) -> Row:
    """Return the price row of a call that was not billed: its cost is 0, and not unknown."""
    return _row(Stored._make(stored), 0, None, 0, rows.UNBILLED)


def _earlier(journal: Journal, model: str) -> dict[bytes, list[int]]:
    """Return the differences that earlier repricings added to each call."""
    by_call: dict[bytes, list[int]] = defaultdict(list)
    for parent, cost in journal.all("prices_of_model", model=model):
        by_call[parent].append(cost)
    return by_call


def _calls(journal: Journal, model: str) -> Iterator[Stored]:
    """Yield the calls of a model."""
    after = 0
    while page := named(journal.all("calls_of_model", model=model, after=after, many=_PAGE)):
        after = page[-1].seq
        yield from page


def _row(call: Stored, new: int, was: int | None, nth: int, source: str) -> Row:
    return rows.make(
        "price",
        call.session,
        id=sha256(b"price %b %d %d" % (call.id, nth, new)).digest()[:16],
        # The time of the call: a price must not make a session longer.
        at_ns=call.at_ns,
        name=source,
        parent=call.id,
        agent=call.agent,
        model=call.model,
        cost=new - (was or 0),
        body=encode.dumps({"cost": new, "was": was}).decode(),
    )
