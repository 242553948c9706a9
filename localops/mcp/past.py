"""Look-ups for an agent before it acts: earlier failures of the same call, and earlier attempts at a task."""

from __future__ import annotations

from localops import output
from localops.clock import iso, now_ns
from localops.config import Config
from localops.encoding.encode import Encoder, loads
from localops.encoding.todays_rules import redactor
from localops.journal import rows, stored
from localops.journal.sql import statements
from localops.mcp.answers import answer
from localops.mcp.arguments import number
from localops.mcp.lookups import newest_errors
from localops.reading import search
from localops.reading.calls import COUNTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.journal.stored import Stored
    from localops.mcp.memory import Memory
    from localops.reading.home import Project

    Record = dict[str, Any]

_MANY = 5  # calls that are named
_NEAR = 64  # rows after a failed call that are searched for its error
_SESSIONS = 3
_WORDS = 12  # words of a task to search for
_FREQUENT = 1_000  # passages up to which a word is counted
_COMMON = frozenset(
    "a an and are as at be by can do for from have i in is it me my of on or please so that the then this to was "
    "we were what when where which with you your".split()
)


def have_i_failed_at(memory: Memory, given: dict[str, Any]) -> str:
    """Say whether a tool has failed with some arguments, and with others."""
    tool, args = given["tool"], given.get("args")
    before = number(given.get("cursor"))
    same = failed_same = failed = missing = 0
    is_known = False
    records: list[tuple[int, Record]] = []
    newest: tuple[int, bool] | None = None
    with memory.home(given.get("project")) as home:
        stored_args = None if args is None else _as_stored(home.folder, args)
        for project in home.projects:
            index = memory.calls(project)
            missing += index.catch_up()
            past = index.past(tool, stored_args, many=_MANY, before=before)
            is_known = is_known or past.is_known
            same, failed_same, failed = same + past.same, failed_same + past.same_failed, failed + past.failed
            exact = [] if before is not None else past.newest_same
            for seq, has_failed in exact:
                row = _row_at(project, seq)
                if row is not None:
                    newest = max(newest or (0, False), (row.at_ns, bool(has_failed)))
                    records.append((row.at_ns, _call_record(project, row, bool(has_failed), "same args")))
            known = {seq for seq, _ in past.newest_same}
            others = [row for seq in past.newest_failed if seq not in known and (row := _row_at(project, seq))]
            records += [(row.at_ns, _call_record(project, row, True, "other args")) for row in others]
    records.sort(key=lambda pair: (pair[1]["match"] != "same args" and args is not None, -pair[0]))
    head = _verdict(tool, args, is_known, same, failed_same, failed, newest)
    if missing:
        head += f" {output.counted(missing, 'row is', 'rows are')} not indexed yet: ask again soon."
    others_left = failed - failed_same > sum(record["match"] == "other args" for _, record in records)
    seqs = [record.pop("seq") for _, record in records]
    return answer(
        head,
        [record for _, record in records],
        budget=given["max_tokens"],
        more=(lambda count: str(min(seqs[:count], default=1 << 60))) if len(home.projects) == 1 else None,
        is_all=not others_left,
    )


def _verdict(
    tool: str, args: object, is_known: bool, same: int, failed_same: int, failed: int, newest: tuple[int, bool] | None
) -> str:
    """Return the answer in a sentence; counts end at COUNTED."""
    if not is_known:
        return f"No: no call of a tool {_named(tool)} is recorded."
    if args is None:
        return f"Yes: {_many(failed)} of it failed." if failed else "No: no recorded call of it failed."
    if not same:
        others = f"{_many(failed)} of it with other arguments failed" if failed else "and none with others failed"
        return f"No: it was not called with these arguments; {others}."
    when = ""
    if newest is not None:
        ago = output.ago(now_ns() - newest[0])
        when = f"; the newest {'failed' if newest[1] else 'succeeded'} {ago}"
    verdict = "Yes" if failed_same else "No"
    return f"{verdict}: {failed_same or 'none'} of {_many(same)} with these arguments failed{when}."


def _many(count: int) -> str:
    return f"{output.count(count)} calls or more" if count >= COUNTED else output.counted(count, "call")


def _named(tool: str) -> str:
    return repr(tool if len(tool) <= 60 else tool[:59] + "…")


def _as_stored(home: str, args: object) -> object:
    """Return arguments as the journal has them: without secrets."""
    text = Encoder(redactor=redactor(Config.usable(home=home))).encode({"params": args})
    return loads(text)["params"]


def _row_at(project: Project, seq: int) -> Stored | None:
    read = stored.named(project.reader.ask(statements("calls.sql")["row_at"], (seq,)))
    return read[0] if read else None


def _call_record(project: Project, row: Stored, failed: bool, match: str) -> Record:
    opened = stored.one(project.reader, row.id, rows.OPEN)
    args = _body(opened).get("params") if opened is not None else None
    record: Record = {
        "match": match,
        "at": iso(row.at_ns)[:19],
        "failed": failed,
        "args": args if args is not None else _body(row).get("params"),
    }
    if failed:
        error = _error_of(project, row)
        if error is not None:
            record |= {"error": error.name, "message": _body(error).get("details")}
    session = rows.id_text(row.session)[:18]
    return record | {"event": rows.id_text(row.id)[:23], "session": session, "seq": row.seq}


def _error_of(project: Project, row: Stored) -> Stored | None:
    """Return the error that a call failed with: it is written right after the call."""
    values = {"session": row.session, "after": row.seq, "upto": row.seq + _NEAR}
    near = stored.named(project.reader.all("errors_near", **values))
    return next((error for error in reversed(near) if error.parent == row.id), None)


def _body(row: Stored) -> dict[str, Any]:
    plain = loads(row.body) if row.body else {}
    return plain if isinstance(plain, dict) else {}


def last_time(memory: Memory, given: dict[str, Any]) -> str:
    """Say how the newest sessions about a task went."""
    wanted = _words(given["task"])
    missing = 0
    sessions: list[tuple[int, Project, bytes]] = []
    used: list[str] = []
    with memory.home(given.get("project")) as home:
        for project in home.projects:
            index = project.index()
            missing += index.catch_up()
            matched, ids = _matching(index, wanted)
            if len(matched) > len(used):
                sessions, used = [], matched
            if len(matched) == len(used):
                sessions += [(project.snapshot(id).totals.first_ns, project, id) for id in ids]
        sessions.sort(key=lambda one: -one[0])
        note = f" {output.counted(missing, 'row is', 'rows are')} not indexed yet: ask again soon." if missing else ""
        if not sessions or not used:
            return answer(
                f"Never, as far as is recorded: no session has these words.{note}", budget=given["max_tokens"]
            )
        ago = output.ago(now_ns() - sessions[0][0])
        left = [word for word in wanted if word not in used]
        ignored = f" (without {', '.join(left)})" if left else ""
        return answer(
            f"The newest session about {', '.join(used)}{ignored} began {ago}. The newest first, times in UTC.{note}",
            [_session_record(project, id) for _, project, id in sessions[:_SESSIONS]],
            budget=given["max_tokens"],
        )


def _words(task: str) -> list[str]:
    """Return the words of a task that say what it is about."""
    words = list(dict.fromkeys(search.words(task)))
    return [word for word in words if word not in _COMMON][:_WORDS] or words[:_WORDS]


def _matching(index: search.Index, words: list[str]) -> tuple[list[str], list[bytes]]:
    """Return the words that the newest matching sessions have, and these sessions.

    A task is seldom worded the same twice: words are left out, the rarest first, until a session has the others.
    """
    often = {word: index.how_often(word, _FREQUENT) for word in words}
    left = [word for word in words if often[word]]
    while left:
        if sessions := index.newest_sessions(left, _SESSIONS):
            return left, sessions
        left.remove(min(left, key=lambda word: often[word]))
    return [], []


def _session_record(project: Project, session: bytes) -> Record:
    seen = project.snapshot(session)
    total = seen.totals
    return {
        "session": rows.id_text(session)[:18],
        "name": seen.story.name,
        "began": iso(total.first_ns)[:19],
        "state": seen.standing.state,
        "reason": seen.standing.reason,
        "seconds": round((seen.until_ns - total.first_ns) / 1e9, 1),
        "cost": round(total.cost / 1e9, 6) or None,
        "tags": seen.story.tags,
        "tools": [
            f"{part.value} ({part.events}{f', {part.failed} failed' if part.failed else ''})"
            for part in seen.parts["tool"][:6]
        ],
        "errors": [
            f"{error.name}: {_body(error).get('details') or ''}"
            for error in newest_errors(project, session, total.rows)
        ],
        "unfinished": [f"{one.kind} {one.name or ''}" for one in seen.unfinished[:3]],
    }
