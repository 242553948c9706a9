"""What a session's cost consists of: LLM calls by model and agent, the growth of prompts, the most expensive call."""

from __future__ import annotations

from collections import namedtuple

from localops import output
from localops.reading import facts
from localops.reading.sentences import Recorded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import NamedTuple

    from localops.reading.facts import Facts
    from localops.reading.sentences import Sentence

    class Call(NamedTuple):
        """A row of the statement `spent`: an LLM call that ended, including additions by later prices."""

        id: bytes
        model: str | None
        agent: bytes | None
        cost: int
        tokens_in: int | None
        tokens_out: int | None
        tokens_cached: int | None
        is_priced: int
        """0 means that the cost is unknown."""
else:
    Call = namedtuple("Call", "id model agent cost tokens_in tokens_out tokens_cached is_priced")

# The most parts with sentences of their own.
_NAMED = 3


def of(calls: Sequence[Call], total: int, *, shown: int, seq_of: Callable[[bytes], int]) -> Facts | None:
    """Return the parts of the cost of calls, largest first; None without a cost. The calls are in the order they began.

    `total` is the cost of the session, including tools; `seq_of` returns the seq of a call's first row.
    """
    if not any(call.cost for call in calls):
        return None
    parts: dict[tuple[str | None, bytes | None], list[Call]] = {}
    for call in calls:
        parts.setdefault((call.model, call.agent), []).append(call)

    def named(call: Call | None) -> Facts | None:
        if call is None:
            return None
        return {
            "id": facts.full_id(call.id),
            # By which pages identify a call.
            "seq": seq_of(call.id),
            "tokens_in": call.tokens_in,
            **facts.money(call.cost),
        }

    def part(mine: list[Call]) -> Facts:
        counted = [call for call in mine if call.tokens_in]
        reporting = [call for call in counted if call.tokens_cached is not None]
        cached_of = sum(call.tokens_in or 0 for call in reporting)
        tokens_in = sum(call.tokens_in or 0 for call in mine)
        unpriced = _unpriced(mine)
        cost = None if unpriced == len(mine) else sum(call.cost for call in mine)
        return {
            "model": mine[0].model,
            "agent": mine[0].agent,
            "calls": len(mine),
            "unpriced": unpriced,
            **facts.money(cost),
            "share": None if cost is None else cost / total,
            "tokens_in": tokens_in,
            "tokens_out": sum(call.tokens_out or 0 for call in mine),
            # Of calls that report both; `cached_of` is their input.
            "cached_share": sum(call.tokens_cached or 0 for call in reporting) / cached_of if reporting else None,
            "cached_of": cached_of,
            "first": named(counted[0] if counted else None),
            "last": named(counted[-1] if len(counted) > 1 else None),
        }

    tools = max(0, total - sum(call.cost for call in calls))
    # Parts without a known cost come last, most tokens first.
    largest = sorted(
        parts.values(),
        key=lambda mine: (
            _unpriced(mine) == len(mine),
            -sum(call.cost for call in mine),
            -sum(call.tokens_in or 0 for call in mine),
        ),
    )
    unpriced = [mine for mine in largest if _unpriced(mine)]
    return {
        "calls": len(calls),
        "parts": [part(mine) for mine in largest[:shown]],
        "parts_count": len(parts),
        "not_known": [_not_known(mine) for mine in unpriced[:shown]],
        "not_known_count": len(unpriced),
        "not_known_only": sum(_unpriced(mine) == len(mine) for mine in unpriced),
        "costliest": named(max(calls, key=lambda call: call.cost)),
        # The cost that is not from LLM calls.
        "tools": {**facts.money(tools), "share": tools / total},
    }


def _unpriced(calls: Sequence[Call]) -> int:
    return sum(not call.is_priced for call in calls)


def _not_known(calls: Sequence[Call]) -> Facts:
    """Return the figures of a part's calls whose cost is unknown."""
    mine = [call for call in calls if not call.is_priced]
    return {
        "model": mine[0].model,
        "agent": mine[0].agent,
        "calls": len(mine),
        "tokens_in": sum(call.tokens_in or 0 for call in mine),
        "tokens_out": sum(call.tokens_out or 0 for call in mine),
    }


def sentences(spending: Facts | None, session: str, *, at_least: bool) -> Iterator[Sentence]:
    """State what the cost consists of; the page turns commands into links (`web/why.js`)."""
    if spending is None or spending["calls"] == 1:
        return
    if at_least:
        yield ["Calls without a known cost are left out; shares are of the known cost."]
    known = [one for one in spending["parts"] if one["cost_nano"] is not None][:_NAMED]
    for number, one in enumerate(known):
        calls = output.counted(one["calls"] - one["unpriced"], "call")
        cost = f": {output.money(one['cost_nano'])} ({output.percent(one['share'])}) for {calls}"
        # Commands take much space, so only the largest part has them.
        where = None if number else session
        yield [*_model_and_agent(one), cost, *_growth(one, where), *_cached_share(one), "."]
    rest = spending["parts_count"] - spending["not_known_only"] - len(known)
    if rest:
        yield [f"{output.counted(rest, 'more model or agent', 'more models or agents')} cost less each."]
    yield from _without_cost(spending)
    if (tools := spending["tools"])["cost_nano"]:
        yield [f"Tools cost {output.money(tools['cost_nano'])} ({output.percent(tools['share'])})."]
    most = spending["costliest"]
    tokens = "" if most["tokens_in"] is None else f", with {output.counted(most['tokens_in'], 'token')} in"
    yield [f"The most expensive call cost {output.money(most['cost_nano'])}{tokens}{_where(most, session)}."]


def _without_cost(spending: Facts) -> Iterator[Sentence]:
    """Name the calls whose cost is unknown."""
    shown = spending["not_known"][:_NAMED]
    rest = spending["not_known_count"] - len(shown)
    sentence: Sentence = ["The cost of "]
    for number, one in enumerate(shown):
        tokens = f" ({output.counted(one['tokens_in'], 'token')} in)" if one["tokens_in"] else ""
        calls = f"{output.counted(one['calls'], 'call')} to "
        joined = " and of " if number == len(shown) - 1 and not rest else ", of "
        sentence += [joined if number else "", calls, *_model_and_agent(one), tokens]
    if rest:
        sentence += [f", and of calls to {output.counted(rest, 'more model or agent', 'more models or agents')}"]
    if shown:
        yield [*sentence, " is not known."]


def _model_and_agent(one: Facts) -> Sentence:
    agent: Sentence = [" of agent ", Recorded(one["agent"])] if one["agent"] else []
    return [Recorded(one["model"] or "unnamed"), *agent]


def _growth(one: Facts, session: str | None) -> Sentence:
    first, last = one["first"], one["last"]
    if first is None:
        return []
    if last is None:
        return [f", with {output.counted(first['tokens_in'], 'token')} in{_where(first, session)}"]
    return [
        f"; the prompt of the first had {output.counted(first['tokens_in'], 'token')}{_where(first, session)}, ",
        f"that of the last {output.count(last['tokens_in'])}{_where(last, session)}",
    ]


def _cached_share(one: Facts) -> Sentence:
    share = one["cached_share"]
    if share is None:
        return []
    of = "the input" if one["cached_of"] == one["tokens_in"] else f"{output.count(one['cached_of'])} tokens in"
    return [f"; {output.percent(share)} of {of} came from a cache"]


def _where(call: Facts, session: str | None) -> str:
    return "" if session is None else f" (`localops show {session} --event {call['id'][:23]}`)"
