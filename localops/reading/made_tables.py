"""The tables for SQL that are no part of a journal: `post_mortem`, `once_step`, `tool_loop` and `tool_failure`.

They have a row for each session, step, loop and kind of failure, as `localops why`, `steps` and `lint` find them.  They
are made when a statement names them, in the memory of its connection: nothing is paid for while recording, and the
rules can change.
"""

from __future__ import annotations

import re
import time

from localops.errors import QueryRefused
from localops.journal.rows import id_text
from localops.journal.sql import statements
from localops.reading import post_mortem, recorded_steps
from localops.reading.waste import Waste

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any

    from localops.journal.reader import Table
    from localops.reading.facts import Facts
    from localops.reading.home import Project

    Records = Callable[[Project, bytes, Collection[str]], Iterator[Facts]]

COLUMNS = {
    "post_mortem": (
        "session_id name state how reason began ended seconds events errors failed cost_usd cost_at_least unpriced "
        "under_way uncertain_steps first_error first_message first_id ending_error ending_message ending_id ending_how "
        "loops wasted_calls wasted_llm_calls wasted_tokens wasted_usd"
    ).split(),
    "once_step": (
        "session_id id kind name number key input state on_resume tries began ended ended_by kept why given_at inside "
        "pid host"
    ).split(),
    "tool_loop": (
        "session_id began ended kind tools agent calls rounds failed wasted_calls wasted_llm_calls wasted_tokens "
        "wasted_usd unpriced input error first_id last_id first_seq last_seq"
    ).split(),
    "tool_failure": (
        "session_id tool error arguments failures calls message input first_began last_began last_id last_seq"
    ).split(),
}
_NAMED = re.compile(rf"\b({'|'.join(COLUMNS)})\b", re.IGNORECASE)


def tables(
    project: Project, statement: str, polling: Collection[str] = (), *, seconds: float = 10.0
) -> dict[str, Table]:
    """Return the tables that a statement names; none for most statements.

    Raise QueryRefused if they are not complete after so many seconds.
    """
    names = {name.lower() for name in _NAMED.findall(statement)}
    until = time.monotonic() + seconds
    return {name: (COLUMNS[name], list(_rows(name, project, polling, until))) for name in names}


def _rows(name: str, project: Project, polling: Collection[str], until: float) -> Iterator[tuple[Any, ...]]:
    which, records = _RECORDS[name]
    for (session,) in project.reader.ask(statements("made_tables.sql")[which]):
        if time.monotonic() > until:
            raise QueryRefused(
                f"the query was stopped: {name} has rows of every session, and took too long; give it more time, as by "
                "--seconds 60"
            )
        for record in records(project, session, polling):
            yield tuple(map({"session_id": id_text(session), **record}.get, COLUMNS[name]))


def _post_mortem(project: Project, session: bytes, polling: Collection[str]) -> Iterator[Facts]:
    findings = post_mortem.of(project.name, project.snapshot(session), project.reader, polling=polling)
    first = findings["first_error"]
    ending = findings["last_error"] or (first if first and first["ended_run"] else None)
    yield {
        **findings,
        **findings["done"],
        "under_way": findings["under_way_count"],
        "uncertain_steps": findings["steps"] and findings["steps"]["uncertain"],
        **_error("first", first),
        **_error("ending", ending),
        "ending_how": ending and ending["ended_run"],
        "loops": findings["waste"]["loops_count"],
        **_wasted(findings["waste"]["looped"]),
    }


def _error(which: str, error: Facts | None) -> Facts:
    names = {"error": "type", "message": "message", "id": "id"}
    return {f"{which}_{column}": error and error[name] for column, name in names.items()}


def _wasted(spent: Facts) -> Facts:
    return {
        "wasted_calls": spent["calls"],
        "wasted_llm_calls": spent["llm_calls"],
        "wasted_tokens": spent["tokens_in"] + spent["tokens_out"],
        "wasted_usd": spent["cost_usd"],
    }


def _steps(project: Project, session: bytes, _: Collection[str]) -> Iterator[Facts]:
    if not recorded_steps.of(project.reader, session):
        return
    for step in recorded_steps.facts(project.snapshot(session), limit=1 << 62)["steps"]:
        yield {**step, **(step["process"] or {}), "given_at": step["given"] and step["given"]["at"]}


def _loops(project: Project, session: bytes, polling: Collection[str]) -> Iterator[Facts]:
    # Without arguments and results no two calls can be compared.
    if project.snapshot(session).story.metadata_only:
        return
    waste = Waste(project.reader, session, polling=polling)
    for loop in waste.loop_facts(waste.loops):
        yield {
            **loop,
            "tools": ", ".join(name or "" for name in loop["tools"]),
            # Of a cycle, only what each call was given tells calls of one tool apart.
            "input": ", ".join(loop["inputs"]),
            **_wasted(loop["wasted"]),
            "unpriced": loop["wasted"]["unpriced"],
            "first_id": loop["first"],
            "last_id": loop["last"],
        }


def _failures(project: Project, session: bytes, polling: Collection[str]) -> Iterator[Facts]:
    for failure in Waste(project.reader, session, polling=polling).failure_facts():
        yield {**failure, "last_id": failure["last"]}


# The statement that names the sessions which may have rows of a table, and what makes these.
_RECORDS: dict[str, tuple[str, Records]] = {
    "post_mortem": ("every", _post_mortem),
    "once_step": ("every", _steps),
    "tool_loop": ("with_tools", _loops),
    "tool_failure": ("with_tools", _failures),
}
