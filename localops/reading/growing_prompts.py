"""Find prompts that grow with each call because each call repeats the previous prompt.

They are found by their tokens, without those from a cache.  Then the texts of a few calls are compared, as different
prompts may just become longer; for a run without its content, only the tokens are known.
"""

from __future__ import annotations

import itertools
from collections import namedtuple
from itertools import accumulate, pairwise

from localops import output
from localops.encoding import encode
from localops.journal import rows, stored
from localops.journal.sql import statements
from localops.reading import analytics, facts
from localops.reading.calls import digest
from localops.reading.sentences import Recorded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NamedTuple

    from localops.journal.reader import Reader
    from localops.reading.facts import Facts
    from localops.reading.sentences import Sentence
    from localops.reading.snapshot import Snapshot

    class _Call(NamedTuple):
        """A row of the statement `spent`."""

        id: bytes
        model: str | None
        agent: bytes | None
        cost: int
        tokens_in: int
        tokens_out: int | None
        tokens_cached: int | None
        is_priced: int
else:
    _Call = namedtuple("_Call", "id model agent cost tokens_in tokens_out tokens_cached is_priced")

# Fewer or smaller calls are normal: agents send a conversation again with each call.
_FEWEST_CALLS, _FEWEST_TOKENS, _TIMES = 10, 100_000, 10
# At least this share of the prompt tokens was sent before.
_SHARE = 0.5
# How many pairs of calls to compare by their texts, and the share of a prompt that the next one must repeat.
_PAIRS, _KEPT = 3, 0.8
# Longer prompts, in bytes, are not compared.
_LONGEST = 4 << 20
_SHOWN = 6
_SQL = "post_mortem.sql"


def of(seen: Snapshot, reader: Reader) -> list[Facts]:
    """Return the growing prompts by model and agent, those with the most repeated tokens first."""
    if not may_have(seen.totals):
        return []
    calls = itertools.starmap(_Call, reader.ask(statements(_SQL)["spent"], {"session": seen.id}))
    series: dict[tuple[str | None, bytes | None], list[_Call]] = {}
    for call in calls:
        if not call.tokens_in:
            continue
        series.setdefault((call.model, call.agent), []).append(call)
    grown = [one for one in (_grown(reader, mine) for mine in series.values()) if one is not None]
    texts = [rows.id_text(one["agent"]) for one in grown if one["agent"]]
    names = analytics.agent_names(reader, texts)
    for one in grown:
        one["agent"] = None if one["agent"] is None else names.get(rows.id_text(one["agent"]))
    return sorted(grown, key=lambda one: -one["sent_again"])[:_SHOWN]


def may_have(totals: Any) -> bool:
    """Return whether a session with these totals is long enough."""
    return bool(totals.llms >= _FEWEST_CALLS and totals.tokens_in >= _FEWEST_TOKENS)


def _grown(reader: Reader, calls: Sequence[_Call]) -> Facts | None:
    first, last = calls[0], calls[-1]
    if len(calls) < _FEWEST_CALLS or last.tokens_in < _TIMES * first.tokens_in:
        return None
    again = [0, *(_repeated_tokens(before, call) for before, call in pairwise(calls))]
    total, sent_again = sum(call.tokens_in for call in calls), sum(again)
    if sent_again < _FEWEST_TOKENS or sent_again < _SHARE * total:
        return None
    is_same = _is_same_text(reader, calls)
    if is_same is False:
        return None
    # An upper bound: a part of the cost is for the answers.
    nano = sum(call.cost * part // call.tokens_in for call, part in zip(calls, again, strict=True))
    return {
        "model": first.model,
        "agent": first.agent,
        "calls": len(calls),
        "first_tokens_in": first.tokens_in,
        "last_tokens_in": last.tokens_in,
        "tokens_in": total,
        "sent_again": sent_again,
        "share": sent_again / total,
        "half_call": _call_at_half([call.tokens_in for call in calls]),
        "half_cost_call": _call_at_half([call.cost for call in calls]) if nano else None,
        **facts.cost(nano, at_least=False),
        "compared": is_same is not None,
        "first": facts.full_id(first.id),
        "last": facts.full_id(last.id),
    }


def _repeated_tokens(before: _Call, call: _Call) -> int:
    """Return how many tokens of a call repeat the previous one and did not come from a cache."""
    return max(0, min(before.tokens_in, call.tokens_in) - (call.tokens_cached or 0))


def _call_at_half(figures: Sequence[int]) -> int:
    """Return the number of the call with which half of the sum is reached."""
    total = sum(figures)
    sums = accumulate(figures)
    return next((number for number, reached in enumerate(sums, 1) if 2 * reached >= total), 0)


def _is_same_text(reader: Reader, calls: Sequence[_Call]) -> bool | None:
    """Return whether a few calls repeat the previous prompt in their texts; None if that is not known."""
    places = {max(1, (len(calls) - 1) * part // _PAIRS) for part in range(1, _PAIRS + 1)}
    kept = [_kept(_parts(reader, calls[place - 1].id), _parts(reader, calls[place].id)) for place in places]
    known = [share for share in kept if share is not None]
    return all(share >= _KEPT for share in known) if known else None


def _kept(before: list[str], after: list[str]) -> float | None:
    if not before or not after:
        return None
    if len(before) == len(after) == 1:
        return 1.0 if after[0].startswith(before[0][: max(1, int(len(before[0]) * _KEPT))]) else 0.0
    kept = set(map(digest, after))
    return sum(digest(part) in kept for part in before) / len(before)


def _parts(reader: Reader, id: bytes) -> list[str]:
    """Return the messages of a prompt, or its text as the only one; empty if it is not known."""
    for phase in (rows.OPEN, rows.DONE):
        row = stored.one(reader, id, phase)
        if row is None or not row.body or len(row.body) > _LONGEST:
            continue
        try:
            body = encode.loads(row.body)
        # A damaged body.
        except ValueError:
            continue
        prompt = body.get("prompt") if isinstance(body, dict) else None
        if isinstance(prompt, dict):
            prompt = prompt.get("messages")
        if isinstance(prompt, str) and prompt:
            return [prompt]
        if isinstance(prompt, list) and prompt:
            return [encode.sorted_dumps(part).decode("utf-8", "replace") for part in prompt]
    return []


def sentence(one: Facts) -> Sentence:
    """Return a sentence about a growing prompt."""
    agent: Sentence = [" by agent ", Recorded(one["agent"])] if one["agent"] else []
    model: Sentence = [" to ", Recorded(one["model"])] if one["model"] else []
    grew = f" grew from {output.count(one['first_tokens_in'])} to {output.counted(one['last_tokens_in'], 'token')}"
    money = f", up to {output.money(one['cost_nano'])} of its cost" if one["cost_nano"] else ""
    tokens = output.counted(one["tokens_in"], "token")
    again = f"{output.count(one['sent_again'])} of {tokens} ({output.percent(one['share'])})"
    which = "had been in the call before" if one["compared"] else "may have been in the call before"
    half = f"; half of its prompt tokens were sent by call {output.count(one['half_call'])}"
    if one["half_cost_call"]:
        half = f"; half of the money was spent by call {output.count(one['half_cost_call'])}"
    calls = output.counted(one["calls"], "call")
    return ["The prompt", *model, *agent, f"{grew} in {calls}: {again} {which}{money}{half}."]
