"""What the journal says about a session: figures, events, tree and breakdowns, from SQL and nothing else.

Works on anything that answers the named queries: a journal that records, or a reader of one.
"""

from __future__ import annotations

from collections import namedtuple

from localops import clock, encode, output, rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, NamedTuple

    from localops.ends import Source

    class Totals(NamedTuple):
        rows: int
        events: int
        actions: int
        llms: int
        tools: int
        errors: int
        failed: int
        tokens_in: int
        tokens_out: int
        tokens_cached: int
        tokens_reasoning: int
        cost: int
        unpriced: int
        first_ns: int
        last_ns: int
        last_seq: int

    class Part(NamedTuple):
        value: str
        events: int
        failed: int
        tokens_in: int
        tokens_out: int
        tokens_cached: int
        tokens_reasoning: int
        cost: int
        unpriced: int
        took_ns: int
else:
    Totals = namedtuple(
        "Totals",
        "rows events actions llms tools errors failed tokens_in tokens_out tokens_cached tokens_reasoning cost unpriced "
        "first_ns last_ns last_seq",
    )
    Part = namedtuple(
        "Part",
        "value events failed tokens_in tokens_out tokens_cached tokens_reasoning cost unpriced took_ns",
    )

Totals.__doc__ = "A session's exact figures; cost in nano-dollars."
Part.__doc__ = "The figures of one part of a session: of a model, a tool, an agent or a tag."

NOTHING = Totals(*[0] * 16)
DIMS = ("model", "tool", "agent_id", "tag")
_PAGE = 500
_STORED = ("seq", *rows.COLUMNS)


def totals(source: Source, session: bytes) -> Totals:
    """A session's figures at this instant; all zero for one that has no rows here."""
    found = source.one("totals", session=session)
    return Totals(*found) if found else NOTHING


def contract(figures: Totals, *, running: bool) -> dict[str, int | str]:
    """The six figures users know, in their order and formats; a running session lasts until now."""
    until = clock.now_ns() if running else figures.last_ns
    return {
        "LLM calls": figures.llms,
        "Tool calls": figures.tools,
        "Actions": figures.actions,
        "Errors": figures.errors,
        "Duration": output.duration(max(0, until - figures.first_ns) if figures.rows else 0),
        "Cost": output.cost(figures.cost),
    }


def parts(source: Source, session: bytes, dim: str) -> list[Part]:
    """A session's figures by model, tool, agent_id or tag, the busiest first."""
    return [Part(*row) for row in source.all("parts", session=session, dim=dim)]


def stored(source: Source, session: bytes, *, after: int = 0, many: int = _PAGE) -> Iterator[dict[str, Any]]:
    """A session's rows as they are stored, in the order they were written; each page is a read of its own."""
    while page := source.all("events", session=session, after=after, many=many):
        after = page[-1][0]
        for row in page:
            yield dict(zip(_STORED, row, strict=True))


def events(source: Source, session: bytes) -> Iterator[dict[str, Any]]:
    """A session's events, oldest first, as plain values; one that has not ended has `finished` false.

    What an operation was given stands in the row it opened with: the two are put together here.
    """
    opened: dict[bytes, dict[str, Any]] = {}
    for row in stored(source, session):
        if row["kind"] in rows.BOOKS:
            continue
        if row["phase"] == rows.OPEN:
            opened[row["id"]] = row
        else:
            yield plain(row, opened.pop(row["id"], None))
    for row in opened.values():
        yield plain(row, None)


def plain(row: dict[str, Any], opened: dict[str, Any] | None) -> dict[str, Any]:
    """A stored row with ids as text, times as numbers of nanoseconds and its body unpacked."""
    body = _body(row["body"])
    if opened is not None:
        body = {**_body(opened["body"]), **body}
    ended = row["end_ns"] if row["end_ns"] is not None else row["at_ns"]
    finished = row["phase"] == rows.DONE
    return {
        "id": row["id"].hex(),
        "session": row["session"].hex(),
        "kind": row["kind"],
        "name": row["name"],
        "parent": row["parent"].hex() if row["parent"] else None,
        "agent": row["agent"].hex() if row["agent"] else None,
        "start_ns": row["start_ns"] if row["start_ns"] is not None else row["at_ns"],
        "end_ns": ended if finished else None,
        "finished": finished,
        "failed": bool(row["failed"]),
        "model": row["model"],
        "tokens_in": row["tokens_in"],
        "tokens_out": row["tokens_out"],
        "tokens_cached": row["tokens_cached"],
        "tokens_reasoning": row["tokens_reasoning"],
        "cost": row["cost"],
        "tags": _list(row["tags"]),
        "seq": row["seq"],
        **{key if key not in _TAKEN else f"body_{key}": value for key, value in body.items()},
    }


_TAKEN = frozenset(
    "id session kind name parent agent start_ns end_ns finished failed model tokens_in tokens_out tokens_cached "
    "tokens_reasoning cost tags seq".split()
)


def _body(text: str | None) -> dict[str, Any]:
    found = encode.loads(text) if text else {}
    return found if isinstance(found, dict) else {"body": found}


def _list(text: str | None) -> list[str]:
    return list(encode.loads(text)) if text else []


def percentile(values: Iterable[int], share: float) -> int | None:
    """Nearest rank over the exact values; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = -(-share * len(ordered) // 1)  # the ceiling
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]
