"""The tables `tool_loop` and `tool_failure` for SQL: what `waste.py` finds in every session of a journal.

They are made when a statement names them, in the memory of its connection: no digest is stored in a journal, so that
nothing is paid for while recording, and the rules can change.
"""

from __future__ import annotations

import re

from localops.journal.rows import id_text
from localops.journal.sql import statements
from localops.reading.waste import Waste

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any

    from localops.journal.reader import Reader, Table
    from localops.reading.facts import Facts

COLUMNS = {
    "tool_loop": (
        "session_id began ended kind tools agent calls rounds failed wasted_calls wasted_llm_calls wasted_tokens "
        "wasted_usd unpriced input error first_id last_id first_seq last_seq"
    ).split(),
    "tool_failure": (
        "session_id tool error arguments failures calls message input first_began last_began last_id last_seq"
    ).split(),
}
_NAMED = re.compile(rf"\b({'|'.join(COLUMNS)})\b", re.IGNORECASE)


def tables(reader: Reader, statement: str, polling: Collection[str] = ()) -> dict[str, Table]:
    """Return the tables that a statement names, with a row for each loop or failure; none for most statements."""
    names = {name.lower() for name in _NAMED.findall(statement)}
    if not names:
        return {}
    rows_of: dict[str, list[tuple[Any, ...]]] = {name: [] for name in names}
    for id, waste in _all(reader, polling):
        for name in names:
            rows_of[name] += (tuple(map(record.get, COLUMNS[name])) for record in _RECORDS[name](id, waste))
    return {name: (COLUMNS[name], records) for name, records in rows_of.items()}


def _all(reader: Reader, polling: Collection[str]) -> Iterator[tuple[str, Waste]]:
    """Yield what is known of each session that called a tool three times, or in which one failed."""
    for (session,) in reader.ask(statements("waste.sql")["with_tools"]):
        waste = Waste(reader, session, polling=polling)
        if waste.loops or waste.failing:
            yield id_text(session), waste


def _loops(session: str, waste: Waste) -> Iterator[Facts]:
    for loop in waste.loop_facts(waste.loops):
        wasted = loop["wasted"]
        yield {
            **loop,
            "session_id": session,
            "tools": ", ".join(name or "" for name in loop["tools"]),
            # Of a cycle, only what each call was given tells calls of one tool apart.
            "input": ", ".join(loop["inputs"]),
            "wasted_calls": wasted["calls"],
            "wasted_llm_calls": wasted["llm_calls"],
            "wasted_tokens": wasted["tokens_in"] + wasted["tokens_out"],
            "wasted_usd": wasted["cost_usd"],
            "unpriced": wasted["unpriced"],
            "first_id": loop["first"],
            "last_id": loop["last"],
        }


def _failures(session: str, waste: Waste) -> Iterator[Facts]:
    for failure in waste.failure_facts():
        yield {**failure, "session_id": session, "last_id": failure["last"]}


_RECORDS: dict[str, Callable[[str, Waste], Iterator[Facts]]] = {"tool_loop": _loops, "tool_failure": _failures}
