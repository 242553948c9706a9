"""Prices that come later: each call concerned gets a row with the difference, and totals stay sums of rows.

A row's id is made from the call, the prices it already has and its new cost: twice at once is once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256

from localops.encoding import encode
from localops.encoding.pricing import Usage
from localops.journal import rows
from localops.journal.stored import Stored, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from localops.encoding.pricing import Prices
    from localops.journal.journal import Journal
    from localops.journal.rows import Row

_PAGE = 1_000


@dataclass
class Repriced:
    """What new prices changed."""

    calls: int = 0  # that got a row
    nano: int = 0  # by how much the sum of costs changed
    same: int = 0  # calls that cost what they did
    unknown: int = 0  # calls whose tokens were not recorded, so that no price can tell what they cost


def reprice(journal: Journal, model: str, prices: Prices, *, source: str, all_calls: bool = False) -> Repriced:
    """Price every call of `model` that had no price when it was recorded; with `all_calls`, every one."""
    journal.fold()
    told = Repriced()
    journal.add(_changes(journal, model, prices, source, all_calls, told))
    journal.fold()
    return told


def _changes(
    journal: Journal, model: str, prices: Prices, source: str, all_calls: bool, told: Repriced
) -> Iterator[Row]:
    earlier = _earlier(journal, model)
    for call in _calls(journal, model):
        if call.cost is not None and not all_calls:
            continue
        body = encode.loads(call.body) if call.body else {}
        provider = body.get("provider")
        provider = provider if isinstance(provider, str) else None
        new = prices.cost(model, _usage(call, body), provider=provider, at_ns=call.at_ns)
        known = [cost for cost in (call.cost, *earlier[call.id]) if cost is not None]
        was = sum(known) if known else None
        if new is None:
            told.unknown += 1
        elif new == was:
            told.same += 1
        else:
            told.calls += 1
            told.nano += new - (was or 0)
            yield _row(call, new, was, len(earlier[call.id]), source)


def unbilled_row(stored: Sequence[Any]) -> Row:
    """Return the price row of a call that was not billed: it cost nothing, which is no unknown cost."""
    return _row(Stored._make(stored), 0, None, 0, rows.UNBILLED)


def _earlier(journal: Journal, model: str) -> dict[bytes, list[int]]:
    """What later prices have added to each call so far."""
    found: dict[bytes, list[int]] = defaultdict(list)
    for parent, cost in journal.all("prices_of_model", model=model):
        found[parent].append(cost)
    return found


def _calls(journal: Journal, model: str) -> Iterator[Stored]:
    """Return the calls of a model, page by page."""
    after = 0
    while page := named(journal.all("calls_of_model", model=model, after=after, many=_PAGE)):
        after = page[-1].seq
        yield from page


def _usage(call: Stored, body: dict[str, Any]) -> Usage:
    written = body.get("cache_write_tokens")
    return Usage(
        input=call.tokens_in,
        output=call.tokens_out,
        cached=call.tokens_cached,
        cache_write=written if isinstance(written, int) else None,
    )


def _row(call: Stored, new: int, was: int | None, nth: int, source: str) -> Row:
    return rows.make(
        "price",
        call.session,
        id=sha256(b"price %b %d %d" % (call.id, nth, new)).digest()[:16],
        at_ns=call.at_ns,  # of the call: a session must not last longer because it was priced
        name=source,
        parent=call.id,
        agent=call.agent,
        model=call.model,
        cost=new - (was or 0),
        body=encode.dumps({"cost": new, "was": was}).decode(),
    )
