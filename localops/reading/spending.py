"""What made the cost of a session: its LLM calls by model and agent, how their prompts grew, and the costliest call."""

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
        """A row of the statement `spent`: an LLM call that ended, with what a later price added."""

        id: bytes
        model: str | None
        agent: bytes | None
        cost: int
        tokens_in: int | None
        tokens_out: int | None
        tokens_cached: int | None
else:
    Call = namedtuple("Call", "id model agent cost tokens_in tokens_out tokens_cached")

# Parts that have sentences of their own.
_NAMED = 3


def of(calls: Sequence[Call], total: int, *, shown: int, seq_of: Callable[[bytes], int]) -> Facts | None:
    """Return the parts of the cost of calls, which are in the order they began, the largest first; None without a cost.

    `total` is the cost of the session, in which tools have a share too; `seq_of` is the first row of a call.
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
            # The number under which the pages know a call.
            "seq": seq_of(call.id),
            "tokens_in": call.tokens_in,
            **facts.money(call.cost),
        }

    def part(mine: list[Call]) -> Facts:
        counted = [call for call in mine if call.tokens_in]
        asked = sum(call.tokens_in or 0 for call in counted if call.tokens_cached is not None)
        cost = sum(call.cost for call in mine)
        return {
            "model": mine[0].model,
            "agent": mine[0].agent,
            "calls": len(mine),
            **facts.money(cost),
            "share": cost / total,
            "tokens_in": sum(call.tokens_in or 0 for call in mine),
            "tokens_out": sum(call.tokens_out or 0 for call in mine),
            "cached_share": sum(call.tokens_cached or 0 for call in counted) / asked if asked else None,
            "first": named(counted[0] if counted else None),
            "last": named(counted[-1] if len(counted) > 1 else None),
        }

    tools = max(0, total - sum(call.cost for call in calls))
    largest = sorted(parts.values(), key=lambda mine: -sum(call.cost for call in mine))
    return {
        "calls": len(calls),
        "parts": [part(mine) for mine in largest[:shown]],
        "parts_count": len(parts),
        "costliest": named(max(calls, key=lambda call: call.cost)),
        # What is not of LLM calls.
        "tools": {**facts.money(tools), "share": tools / total},
    }


def sentences(spending: Facts | None, session: str, *, at_least: bool) -> Iterator[Sentence]:
    """Say what made the cost, which may be `at_least` this; the page makes links of the commands (`web/why.js`)."""
    if spending is None or spending["calls"] == 1:
        return
    if at_least:
        yield ["Calls without a known cost are left out; shares are of the known cost."]
    for number, one in enumerate(spending["parts"][:_NAMED]):
        agent: Sentence = [" of agent ", Recorded(one["agent"])] if one["agent"] else []
        cost = (
            f": {output.money(one['cost_nano'])} ({_percent(one['share'])}) for {output.counted(one['calls'], 'call')}"
        )
        # Commands take much room: of the largest part only.
        where = None if number else session
        yield [Recorded(one["model"] or "unnamed"), *agent, cost, *_grown(one, where), *_cached(one), "."]
    rest = spending["parts_count"] - min(_NAMED, len(spending["parts"]))
    if rest:
        yield [f"{output.counted(rest, 'more model or agent', 'more models or agents')} cost less each."]
    if (tools := spending["tools"])["cost_nano"]:
        yield [f"Tools cost {output.money(tools['cost_nano'])} ({_percent(tools['share'])})."]
    most = spending["costliest"]
    tokens = "" if most["tokens_in"] is None else f", with {output.counted(most['tokens_in'], 'token')} in"
    yield [f"The most expensive call cost {output.money(most['cost_nano'])}{tokens}{_where(most, session)}."]


def _grown(one: Facts, session: str | None) -> Sentence:
    first, last = one["first"], one["last"]
    if first is None:
        return []
    if last is None:
        return [f", with {output.counted(first['tokens_in'], 'token')} in{_where(first, session)}"]
    return [
        f"; the prompt of the first had {output.counted(first['tokens_in'], 'token')}{_where(first, session)}, ",
        f"that of the last {output.count(last['tokens_in'])}{_where(last, session)}",
    ]


def _cached(one: Facts) -> Sentence:
    share = one["cached_share"]
    return [] if share is None else [f"; {_percent(share)} of the input came from a cache"]


def _where(call: Facts, session: str | None) -> str:
    return "" if session is None else f" (`localops show {session} --event {call['id'][:23]}`)"


def _percent(share: float) -> str:
    """Return a share as text: one that is nearly nothing or nearly all is not called so."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"
