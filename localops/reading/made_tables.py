"""Computed tables for SQL, which are not in a journal: `post_mortem`, `once_step`, `tool_loop`, `tool_failure`.

They have a row for each session, step, loop and kind of failure, as `localops why`, `steps` and `lint` report them.
They are computed when a statement names them, in the memory of its connection: recording does not become slower, and
the rules can change.
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

    from localops.journal.reader import Reader, Table
    from localops.reading.facts import Facts
    from localops.reading.home import Project
    from localops.reading.snapshot import Snapshot

    Records = Callable[[str, Snapshot, Reader, Collection[str]], Iterator[Facts]]

_WASTED: dict[str, tuple[type, str]] = {
    "wasted_calls": (int, "tool calls after the first round"),
    "wasted_llm_calls": (int, "the LLM calls that asked for these"),
    "wasted_tokens": (int, "of these, in and out"),
    "wasted_usd": (float, "what all of these cost"),
}
# The tables with descriptions of their rows, and below their columns with types and descriptions.
ABOUT = {
    "post_mortem": "A row for each session, with what `localops why` says of it.",
    "once_step": "A row for each step that runs once, with what `localops steps` says of it.",
    "tool_loop": "A row for each loop of tool calls that `localops lint` finds.",
    "tool_failure": "A row for each tool, class of error and shape of arguments of calls that failed.",
}
COLUMNS: dict[str, dict[str, tuple[type, str]]] = {
    "post_mortem": {
        "session_id": (str, "of the session, as in the view session"),
        "name": (str, "what it is listed as"),
        "state": (str, "Success, Failure or Indeterminate, also of one that died; else Running or Unknown"),
        "how": (str, "how the end is known, such as declared or died"),
        "reason": (str, "why it ended so"),
        "began": (str, "ISO 8601, UTC"),
        "ended": (str, "ISO 8601, UTC"),
        "seconds": (float, "from its first row to its end, or until now while it runs"),
        "events": (int, "how many"),
        "errors": (int, "how many"),
        "failed": (int, "calls and operations that failed"),
        "cost_usd": (float, "with prices that came later"),
        "cost_at_least": (int, "1: a call has no price or never ended, or rows may be missing"),
        "unpriced": (int, "LLM calls without a price"),
        "under_way": (int, "operations without an end"),
        "uncertain_steps": (int, "steps that may or may not have happened; null for a very long session"),
        "first_error": (str, "class of the first error; null where a call failed without one"),
        "first_message": (str, "of the first error"),
        "first_id": (str, "of its event"),
        "ending_error": (str, "the same of the error that ended the run"),
        "ending_message": (str, "of that error"),
        "ending_id": (str, "of its event"),
        "ending_cause": (str, "class and message of the exception that it was first raised from"),
        "ending_how": (str, "how that is known: exception, reason or last failure"),
        "loops": (int, "how many, without habits; of a very long session in its last part, as `localops why` looks"),
        **_WASTED,
    },
    "once_step": {
        "session_id": (str, "of the session"),
        "id": (str, "of its last call"),
        "kind": (str, "of the operation"),
        "name": (str, "of the function, or as given"),
        "number": (int, "which one of equal calls"),
        "key": (str, "what `key=` returned, as JSON"),
        "input": (str, "its arguments, as JSON; the beginning of long ones"),
        "state": (str, "done, failed, uncertain or running"),
        "on_resume": (str, "what a resumed run gets: give back, run, ask, refuse, not called, wait or no resume"),
        "behind": (int, "1: it is inside of a step that raises, and reached only if that runs again"),
        "tries": (int, "how often it was called"),
        "began": (str, "its last call, ISO 8601, UTC"),
        "ended": (str, "ISO 8601, UTC; null if it never did"),
        "ended_by": (str, "class of the exception that interrupted it"),
        "kept": (int, "1: its result is there"),
        "why": (str, "why its result is not there"),
        "given_at": (str, "when a program gave its result"),
        "inside": (int, "1: it belongs to another step"),
        "pid": (int, "of the process that called it last"),
        "host": (str, "of that process"),
    },
    "tool_loop": {
        "session_id": (str, "of the session"),
        "began": (str, "its first call, ISO 8601, UTC"),
        "ended": (str, "its last call"),
        "kind": (str, "repeat, cycle, retry, error or again"),
        "tools": (str, "what is called; several with commas"),
        "agent": (str, "whose calls they are"),
        "calls": (int, "how many"),
        "rounds": (int, "how many"),
        "failed": (int, "how many of the calls"),
        **_WASTED,
        "unpriced": (int, "of the LLM calls among these"),
        "input": (str, "what the calls of one round were given"),
        "error": (str, "of the first call that failed"),
        "first_id": (str, "of its first call"),
        "last_id": (str, "of its last call"),
        "first_seq": (int, "of its first call"),
        "last_seq": (int, "of its last call"),
    },
    "tool_failure": {
        "session_id": (str, "of the session"),
        "tool": (str, "its name"),
        "error": (str, "class of the error"),
        "arguments": (str, "their names and what they are: `limit: number, path: text`"),
        "failures": (int, "how many of this kind"),
        "calls": (int, "how many of the tool"),
        "message": (str, "of the last failure"),
        "input": (str, "what the last one was given"),
        "first_began": (str, "the first of these, ISO 8601, UTC"),
        "last_began": (str, "the last of these"),
        "last_id": (str, "of the last of these"),
        "last_seq": (int, "of the last of these"),
    },
}
_NAMED = re.compile(rf"\b({'|'.join(COLUMNS)})\b", re.IGNORECASE)


def tables(
    project: Project, statement: str, polling: Collection[str] = (), *, seconds: float = 10.0
) -> dict[str, Table]:
    """Compute the tables that a statement names; most statements name none.

    Raise QueryRefused if they are not complete after `seconds`.
    """
    names = {name.lower() for name in _NAMED.findall(statement)}
    until = time.monotonic() + seconds
    return {name: ([*COLUMNS[name]], list(_rows(name, project, polling, until))) for name in names}


def _rows(name: str, project: Project, polling: Collection[str], until: float) -> Iterator[tuple[Any, ...]]:
    for (session,) in project.reader.ask(statements("made_tables.sql")[_RECORDS[name][0]]):
        if time.monotonic() > until:
            raise QueryRefused(
                f"the query was stopped: {name} has rows of every session, and took too long; give it more time, as by "
                "--seconds 60"
            )
        for record in records(name, project.name, project.snapshot(session), project.reader, polling):
            yield tuple(record.values())


def records(table: str, project: str, seen: Snapshot, reader: Reader, polling: Collection[str]) -> Iterator[Facts]:
    """Yield the rows of one session in a table, as dicts by column."""
    for record in _RECORDS[table][1](project, seen, reader, polling):
        whole = {"session_id": id_text(seen.id), **record}
        yield {column: whole.get(column) for column in COLUMNS[table]}


def _post_mortem(project: str, seen: Snapshot, reader: Reader, polling: Collection[str]) -> Iterator[Facts]:
    findings = post_mortem.of(project, seen, reader, polling=polling)
    first = findings["first_error"]
    ending = findings["last_error"] or (first if first and first["ended_run"] else None)
    yield {
        **findings,
        **findings["done"],
        "under_way": findings["under_way_count"],
        "uncertain_steps": findings["steps"]["uncertain"] if findings["steps"] else 0 if findings["complete"] else None,
        **_error("first", first),
        **_error("ending", ending),
        "ending_cause": ending and _cause(ending),
        "ending_how": ending and ending["ended_run"],
        "loops": findings["waste"]["loops_count"],
        **_wasted(findings["waste"]["looped"]),
    }


def _error(which: str, error: Facts | None) -> Facts:
    names = {"error": "type", "message": "message", "id": "id"}
    return {f"{which}_{column}": error and error[name] for column, name in names.items()}


def _cause(error: Facts) -> str | None:
    """Return the first cause of an error; for a group, the first exception in it or what led to that one."""
    in_it = error["parts"][:1]
    first = next(iter(in_it[0]["causes"] or in_it if in_it else error["causes"]), None)
    return first and ": ".join(filter(None, (first["type"], first["message"])))


def _wasted(spent: Facts) -> Facts:
    return {
        "wasted_calls": spent["calls"],
        "wasted_llm_calls": spent["llm_calls"],
        "wasted_tokens": spent["tokens_in"] + spent["tokens_out"],
        "wasted_usd": spent["cost_usd"],
    }


def _steps(_: str, seen: Snapshot, reader: Reader, __: Collection[str]) -> Iterator[Facts]:
    if not recorded_steps.of(reader, seen.id):
        return
    for step in recorded_steps.facts(seen, limit=1 << 62)["steps"]:
        yield {**step, **(step["process"] or {}), "given_at": step["given"] and step["given"]["at"]}


def _loops(_: str, seen: Snapshot, reader: Reader, polling: Collection[str]) -> Iterator[Facts]:
    # Without arguments and results, calls cannot be compared.
    if seen.story.metadata_only:
        return
    waste = Waste(reader, seen.id, polling=polling)
    for loop in waste.loop_facts(waste.loops):
        yield {
            **loop,
            "tools": ", ".join(name or "" for name in loop["tools"]),
            # In a cycle, calls of one tool differ only by their inputs.
            "input": ", ".join(loop["inputs"]),
            **_wasted(loop["wasted"]),
            "unpriced": loop["wasted"]["unpriced"],
            "first_id": loop["first"],
            "last_id": loop["last"],
        }


def _failures(_: str, seen: Snapshot, reader: Reader, polling: Collection[str]) -> Iterator[Facts]:
    for failure in Waste(reader, seen.id, polling=polling).failure_facts():
        yield {**failure, "last_id": failure["last"]}


# For each table: the statement that selects the sessions that may have rows in it, and the function for the rows.
_RECORDS: dict[str, tuple[str, Records]] = {
    "post_mortem": ("every", _post_mortem),
    "once_step": ("every", _steps),
    "tool_loop": ("with_tools", _loops),
    "tool_failure": ("with_tools", _failures),
}
