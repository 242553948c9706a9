"""The post-mortem of a session: how it ended, what was under way, its first error, and what it spent for nothing.

Its work is bounded, however long the session is: of a long one only both ends are looked at, and `complete` says so.
"""

from __future__ import annotations

import re
from collections import Counter, namedtuple
from functools import cached_property
from itertools import islice

from localops.clock import iso
from localops.encoding import encode
from localops.errors import Uncertain
from localops.journal import participants, rows
from localops.journal.sql import statements
from localops.reading import (
    analytics,
    common_input,
    ending_error,
    facts,
    finish_reasons,
    loops,
    origins,
    previews,
    recorded_steps,
    session_state,
    spending,
    uncounted,
    waste,
)
from localops.reading.uncounted import Uncounted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any, NamedTuple

    from localops.journal.reader import Reader
    from localops.journal.stored import Unfinished
    from localops.reading.ending_error import Ending
    from localops.reading.facts import Facts
    from localops.reading.recorded_steps import Recorded
    from localops.reading.snapshot import Snapshot

    class Trouble(NamedTuple):
        """A row of the statement `troubles`."""

        seq: int
        id: bytes
        kind: str
        name: str | None
        parent: bytes | None
        agent: bytes | None
        at_ns: int
        model: str | None
        failed: int | None
        cost: int | None
        tokens_in: int | None
        tokens_out: int | None

    class Half(NamedTuple):
        """A row of the statement `halves`: where an operation began, or where it ended."""

        seq: int
        id: bytes
        phase: int
        kind: str
        name: str | None
        parent: bytes | None
        agent: bytes | None
        at_ns: int
        start_ns: int | None
        end_ns: int | None
        model: str | None
        failed: int | None
        cut_off: int = 0
else:
    Trouble = namedtuple("Trouble", "seq id kind name parent agent at_ns model failed cost tokens_in tokens_out")
    Half = namedtuple(
        "Half", "seq id phase kind name parent agent at_ns start_ns end_ns model failed cut_off", defaults=[0]
    )

# Rows at each end of a session that are looked at.
END = 50_000
# Of each list, in a document and on a page.
SHOWN = 6
_TROUBLES = 10_000
# Rows before the end among which the last operation stands.
_LAST = 64
# Errors whose messages are compared with the reason of the end.
_NAMED = 1_000
# Errors whose calls are compared by what they were given.
_COMPARED = 300
# Rows after an error among which calls of the same kind are counted.
_AFTER = 20_000
# Tool calls before the one that failed, whose arguments are looked at as well.
_BEFORE = 3
# Operations around an error.
_LEVELS = 16
_FAR = 1 << 62
_SQL = "post_mortem.sql"
_CALL_KINDS = ("llm", "tool")
_EXIT = re.compile(r"exit code -?\d+(: |$)")
_SIGNAL = re.compile(r"Signal (SIG\w+) detected$")


def of(project: str, seen: Snapshot, reader: Reader, *, polling: Collection[str] = ()) -> Facts:
    """Return the post-mortem of a session as plain facts; `polling` names tools whose calls repeat by intent."""
    return _PostMortem(project, seen, reader, polling).facts()


class _PostMortem:
    def __init__(self, project: str, seen: Snapshot, reader: Reader, polling: Collection[str]) -> None:
        self._project, self._seen, self._reader, self._polling = project, seen, reader, polling
        self._head, self._tail = self._edges()
        end = seen.story.last_end
        # Rows that came after the end that counts say nothing about it.
        counts = end is not None and end.at_ns == seen.standing.ended_ns and not seen.standing.derived
        self._upto = end.seq if counts and end is not None and end.seq is not None else _FAR
        self._troubles = self._read_troubles()
        self._failed = {one.id for one in self._troubles if one.kind != "error"}
        self._failed |= {one.parent for one in self._errors if one.failed and one.parent}

    @cached_property
    def _errors(self) -> list[Trouble]:
        return [one for one in self._troubles if one.kind == "error"]

    @property
    def _is_complete(self) -> bool:
        return self._head == _FAR and len(self._troubles) < _TROUBLES

    def facts(self) -> Facts:
        seen = self._seen
        figures, story, stands = seen.totals, seen.story, seen.standing
        ended = None if stands.ended_ns is None else iso(stands.ended_ns)
        open_operations = seen.open_now
        stopped = [one for one in seen.unfinished if one not in open_operations]
        first, ending = self._first_error(), self._ending
        spilled, dropped, cut = story.losses
        return {
            "session_id": facts.full_id(seen.id),
            "project": self._project,
            "name": story.name,
            "state": stands.state,
            "reason": _short(stands.reason),
            "how": self._how(),
            **facts.span(figures.first_ns, figures.last_ns, seen.until_ns, ended=ended),
            "at_least": seen.is_cut_off,
            "imported": any(one.body.get("imported") for one in story.of_kind("session")),
            "metadata_only": story.metadata_only,
            "budget": facts.budget(seen),
            "resumed": self._resumed(),
            "processes": self._processes(),
            "done": self._done(),
            "spending": self._spending(),
            "under_way": [self._open(one) for one in open_operations[-SHOWN:]] + self._ended_with_session(),
            "under_way_count": len(open_operations),
            "stopped": [self._stopped(one) for one in stopped[-SHOWN:]],
            "stopped_count": len(stopped),
            "last_operation": self._last_operation(),
            "last_answer": self._last_answer(),
            "first_error": None if first is None else self._error(first),
            "last_error": None if ending is None or self._is_ending(first) else self._error(ending.trouble),
            "common": self._common(first),
            "waste": self._waste(),
            "steps": recorded_steps.counts(self._seen) if self._is_complete else None,
            "spilled": spilled,
            "dropped": dropped,
            "cut": cut,
            "late": seen.late,
            "complete": self._is_complete,
        }

    # How it ended

    def _how(self) -> str:
        """Return how it ended, in a word that stays the same whatever the reason says."""
        stands = self._seen.standing
        reason = (stands.reason or "").strip()
        if stands.state in ("Running", "Unknown"):
            return stands.state.lower()
        if reason.startswith("imported;"):
            return "imported"
        if stands.derived:
            return "died" if self._seen.story.present() else "left open"
        if reason == session_state.LEFT_OPEN:
            return "left open"
        if _SIGNAL.match(reason):
            return "signal"
        if _EXIT.match(reason):
            return "exit code"
        return "exception" if self._is_traceback(reason) else "declared"

    def _is_traceback(self, reason: str) -> bool:
        return self._seen.standing.state == "Failure" and "\nTraceback (most recent call last)" in reason

    def _resumed(self) -> Facts:
        """Return when and by which processes it was resumed, and how the run before had ended, newest last."""
        story = self._seen.story
        resumes = story.resumes
        ends = list(story.of_kind("end"))
        known = []
        for one, pause in list(zip(resumes, self._seen.pauses, strict=True))[-SHOWN:]:
            own = [end for end in ends if pause.stopped_ns <= end.at_ns <= one.at_ns]
            # As for the session: an end that a program declared counts before one that was derived.
            end = max(own, key=lambda end: (not end.implied, end.at_ns), default=None)
            known.append(
                {
                    "at": iso(one.at_ns),
                    "pid": one.body.get("pid"),
                    "host": _short(one.body.get("host")),
                    "stopped": iso(pause.stopped_ns),
                    "state": None if end is None else end.name,
                    "reason": None if end is None else _short(end.body.get("reason")),
                }
            )
        return {"count": len(resumes), "known": known}

    def _processes(self) -> Facts:
        """Return the processes that recorded into it, and which of them never recorded that they left."""
        seen = self._seen
        present = seen.story.present()
        never_left = {str(card.get("participant")): card for card in present.values()}
        everyone = list(seen.story.participants())
        known = [
            {
                "pid": card.get("pid"),
                "host": _short(card.get("host")),
                "came": iso(came_ns),
                "left": None if left_ns is None or str(card.get("participant")) in never_left else iso(left_ns),
                "state": self._state_of(card) if str(card.get("participant")) in never_left else "left",
            }
            for card, came_ns, left_ns in everyone[:SHOWN]
        ]
        return {"count": len(everyone), "never_left": len(never_left), "known": known}

    def _state_of(self, card: dict[str, Any]) -> str:
        """Return what became of a process that never recorded that it left."""
        # The processes of a hub's sessions ran on other machines.
        is_of_hub = session_state.is_of_hub(self._seen.folder)
        alive = None if is_of_hub else participants.is_alive(self._seen.folder, card)
        return "unknown" if alive is None else "running" if alive else "died"

    # What it did

    def _done(self) -> Facts:
        seen = self._seen
        parts = seen.parts
        agents = analytics.under_names(self._reader, parts["agent_id"][:SHOWN])
        return {
            **facts.totals(seen.totals, open_calls=seen.open_calls > 0),
            "uncounted": self._uncounted(),
            "agents": [{"name": _short(part.value), "events": part.events} for part in agents],
            "agents_count": len(parts["agent_id"]),
            "models": [{"name": _short(one.value), "calls": one.events} for one in parts["model"][:SHOWN]],
            "models_count": len(parts["model"]),
            "tools": [
                {"name": _short(one.value), "calls": one.events, "failed": one.failed} for one in parts["tool"][:SHOWN]
            ],
            "tools_count": len(parts["tool"]),
        }

    def _uncounted(self) -> Facts | None:
        """Return the LLM calls whose cost is not known because they have no token counts."""
        if not self._seen.totals.unpriced:
            return None
        bounds = {"head": self._head, "tail": self._tail}
        calls = self._ask("uncounted", many=_TROUBLES, **bounds)
        priced = dict(self._ask("prices_of_ids", ids=_hex(id for id, *_ in calls), **bounds)) if calls else {}
        without = [
            Uncounted(_short(name), _short(model), bool(failed) or id in self._failed)
            for id, name, model, failed in calls
            if id not in priced
        ]
        return uncounted.of(without) if without else None

    def _spending(self) -> Facts | None:
        """Return what made the cost; None where that would take long to find out."""
        total = self._seen.totals.cost
        if not total or not self._seen.totals.llms or not self._is_complete:
            return None
        calls = [spending.Call(*row) for row in self._ask("spent")]
        cost = spending.of(calls, total, shown=SHOWN, seq_of=lambda id: self._halves(id)[0].seq)
        if cost is not None:
            names = self._agents([part["agent"] for part in cost["parts"]])
            for part in cost["parts"]:
                part.update(model=_short(part["model"]), agent=names.get(part["agent"]))
        return cost

    # The end

    def _open(self, one: Unfinished) -> Facts:
        """Return an operation that began and did not end."""
        halves = self._halves(one.id)
        seq = halves[0].seq if halves else None
        return {
            **self._operation(one.kind, one.name, halves[0].model if halves else None, one.id, one.agent),
            "input": self._preview(seq, one.kind),
            "began": iso(one.at_ns),
            "seconds": max(0, self._seen.until_ns - one.at_ns) / 1e9,
            "ended_with_session": False,
            "last_inside": self._last_inside(one),
        }

    def _last_inside(self, one: Unfinished) -> Facts | None:
        """Return what ended last inside an operation that did not end, and how long after it began."""
        ended = self._ended_inside.get(one.id)
        if ended is None:
            return None
        newest = next(row for row in self._last_rows if row.kind not in rows.BOOKS)
        return {
            **self._operation(ended.kind, ended.name, ended.model, ended.id, ended.agent),
            "input": self._input_of(ended.id, ended.kind),
            "result": self._preview(ended.seq, ended.kind, is_result=True),
            "failed": ended.id in self._failed or bool(ended.failed),
            "seconds_in": max(0, _ended(ended) - one.at_ns) / 1e9,
            "is_last": ended is newest,
        }

    @cached_property
    def _ended_inside(self) -> dict[bytes, Half]:
        """The newest of the last rows that ended inside each operation without an end, by the innermost of these."""
        newest: dict[bytes, Half] = {}
        for one in filter(_is_ended_work, self._last_rows):
            chain = (levels[-1] for levels in self._around(one.parent))
            if (around := next((level for level in chain if level.phase == rows.OPEN), None)) is not None:
                newest.setdefault(around.id, one)
        return newest

    def _stopped(self, one: Unfinished) -> Facts:
        """Return an operation of a run before the last, which it did not outlast, and what came of it since."""
        step = self._step_of.get(one.id)
        since = None
        if step is not None and step.id != one.id:
            since = "decided" if step.is_decided else recorded_steps.state_of(step, self._seen.is_running)
        ran_ns = self._seen.ran_until(one.at_ns) - one.at_ns
        return {**self._open(one), "seconds": max(0, ran_ns) / 1e9, "since": since}

    @cached_property
    def _step_of(self) -> dict[bytes, Recorded]:
        """The steps that run once, by the ids of their tries."""
        steps = recorded_steps.of(self._seen.source, self._seen.id) if self._is_complete else []
        return {id: step for step in steps for id in step.tries}

    def _ended_with_session(self) -> list[Facts]:
        """Return the LLM calls that another thread was in when the session was ended."""
        return [
            {
                **self._operation(one.kind, one.name, one.model, one.id, one.agent),
                "input": self._input_of(one.id, one.kind),
                "began": iso(_began(one)),
                "seconds": max(0, one.at_ns - _began(one)) / 1e9,
                "ended_with_session": True,
                "last_inside": None,
            }
            for one in self._last_rows
            if one.cut_off
        ][:SHOWN]

    @cached_property
    def _last_rows(self) -> list[Half]:
        return [Half(*row) for row in self._ask("last_rows", upto=self._upto, many=_LAST)]

    def _last_operation(self) -> Facts | None:
        """Return what ended last, among the last rows, with its result."""
        for one in self._last_rows:
            if _is_ended_work(one):
                return {
                    **self._operation(one.kind, one.name, one.model, one.id, one.agent),
                    "failed": one.id in self._failed or bool(one.failed),
                    "result": self._preview(one.seq, one.kind, is_result=True),
                    "result_is_empty": previews.is_empty_result(one.kind, self._body(one.seq)),
                    "ended": iso(_ended(one)),
                    "seconds": max(0, _ended(one) - _began(one)) / 1e9,
                }
        return None

    def _last_answer(self) -> Facts | None:
        """Return the last LLM call that gave an answer, or an empty one."""
        if not self._seen.totals.llms:
            return None
        for one in (Half(*row) for row in self._ask("last_answers", upto=self._upto, many=_AFTER, few=SHOWN)):
            body = self._body(one.seq)
            answer, stopped = previews.result(one.kind, body), finish_reasons.unusual(body)
            if one.id not in self._failed and (answer or stopped or previews.is_empty_result(one.kind, body)):
                named = self._operation(one.kind, one.name, one.model, one.id, one.agent)
                [(tokens_out, reasoning)] = self._statement("tokens_of", seq=one.seq)
                return {
                    **named,
                    "answer": answer,
                    "is_empty": previews.is_empty_result(one.kind, body),
                    "stopped": _short(stopped),
                    "tokens_out": tokens_out,
                    "tokens_reasoning": reasoning,
                    "ended": iso(_ended(one)),
                }
        return None

    # Errors

    def _read_troubles(self) -> list[Trouble]:
        if not self._seen.totals.errors and not self._seen.totals.failed:
            return []
        read = self._ask("troubles", head=self._head, tail=self._tail, many=_TROUBLES)
        return list(map(Trouble._make, read))

    def _first_error(self) -> Trouble | None:
        """Return the first error; an operation that failed without one, if that was before it."""
        first = next(iter(self._troubles), None)
        if first is not None and first.kind != "error":
            # The error of an operation stands after the row that it ended with.
            first = next((one for one in self._errors if one.parent == first.id), first)
        if self._seen.standing.state == "Success" and first is not None and _asks(first):
            # A resumed run asked what became of a step, and then went on to its end: nothing went wrong.
            return next((one for one in self._errors if not _asks(one)), None)
        return first

    @cached_property
    def _ending(self) -> Ending | None:
        """The error that ended the run, and what says so."""
        reason = (self._seen.standing.reason or "").strip()
        newest = self._errors[::-1][:_NAMED]
        if self._is_traceback(reason):
            named = [one for one in self._errors[::-1] if one.name and reason.startswith(one.name)][:_NAMED]
            error = ending_error.of_traceback(reason, named, self._details(named))
            return None if error is None else ending_error.Ending(error, ending_error.EXCEPTION)
        how = self._how()
        if self._seen.standing.state != "Failure" or how not in ("declared", "exit code"):
            return None
        error = ending_error.of_reason(reason, newest, self._details(newest)) if reason else None
        if error is not None:
            return ending_error.Ending(error, ending_error.REASON)
        return ending_error.last(self._last_failures(with_operations=how == "declared"), self._after)

    def _last_failures(self, *, with_operations: bool) -> list[Trouble]:
        """Return the last errors, and operations that failed without one, the newest first."""
        errors = self._errors[-SHOWN:]
        explained = {level[-1].id for one in errors for level in self._around(one.parent)}
        last = [
            one
            for one in self._troubles[-_LAST:]
            if one.kind == "error" or (with_operations and one.id not in explained)
        ]
        return last[: -SHOWN - 1 : -1]

    def _after(self, one: Trouble) -> tuple[bool, int, int]:
        """Return whether a call that failed succeeded later, and how many operations and LLM calls began after it."""
        id = one.parent if one.kind == "error" else one.id
        failed = next(iter(self._halves(id)), None) if id is not None else None
        values = (None, None, None) if failed is None else (failed.kind, failed.name, failed.agent)
        names = dict(zip(("kind", "name", "agent"), values, strict=True))
        bounds = {"after": one.seq, "many": _AFTER, "since": one.at_ns}
        succeeded = self._ask("succeeded_since", few=_NAMED, **bounds, **names)
        [(operations, llms)] = self._ask("begun_since", **bounds)
        return any(id not in self._failed for (id,) in succeeded), operations, llms

    @cached_property
    def _threads(self) -> dict[int, str]:
        """The names of the threads that errors ended, by the seqs of these errors."""
        threads: dict[int, str] = {}
        bounds = {"head": self._head, "tail": self._tail, "many": _TROUBLES}
        for seq, body in self._ask("thread_ends", name=rows.THREAD_ENDED, **bounds) if self._errors else ():
            facts = encode.loads(body)
            # The row of an error comes before that about its thread, and maybe others between.
            same = (one for one in self._errors[::-1] if one.seq < seq and one.name == facts["type"])
            if (error := next((one for one in same if one.seq not in threads), None)) is not None:
                threads[error.seq] = facts["thread"]
        return threads

    def _details(self, errors: Sequence[Trouble]) -> dict[int, str | None]:
        if not errors:
            return {}
        seqs = encode.dumps([one.seq for one in errors]).decode()
        return {
            seq: message if isinstance(message, str) else None for seq, message in self._statement("details", seqs=seqs)
        }

    def _error(self, one: Trouble) -> Facts:
        """Return an error: where it happened, and what followed."""
        is_error = one.kind == "error"
        id = one.parent if is_error else one.id
        chain = list(self._around(id)) if id is not None else []
        names = self._agents([level[-1].agent for level in chain])
        body = self._body(one.seq)
        failed = chain[0][-1] if chain else None
        agent = one.agent or (failed.agent if failed else None)
        return {
            "id": facts.full_id(one.id),
            "type": _short(one.name if is_error else body.get("ended_by")),
            "message": _short(body.get("details")) if is_error else None,
            "at": iso(one.at_ns),
            "seconds_in": max(0, one.at_ns - self._seen.totals.first_ns) / 1e9,
            "agent": self._agents([agent]).get(agent) if agent else None,
            "path": [_level(level[-1], names) for level in reversed(chain)],
            "path_is_cut": len(chain) == _LEVELS and chain[-1][-1].parent is not None,
            "input": self._input_of(failed.id, failed.kind) if failed else "",
            "origins": self._origins(chain, body.get("details")),
            **self._what_followed(one, chain),
            "next": self._next(one),
            "thread": self._threads.get(one.seq),
            **self._what_ended(one),
            "same": self._same(one) if is_error else None,
            "again": self._again(one, failed) if failed and failed.kind not in ("error", "agent") else None,
        }

    def _is_ending(self, one: Trouble | None) -> bool:
        """Return whether an error ended the run, or is the same as the last one, of which no more is known."""
        if one is None or (ending := self._ending) is None:
            return False
        if ending.trouble.seq == one.seq:
            return True
        if ending.by != ending_error.LAST or one.kind != "error" or ending.trouble.name != one.name:
            return False
        messages = [details for details in self._details([one, ending.trouble]).values() if details is not None]
        return len(messages) == 2 and loops.folded(messages[0]) == loops.folded(messages[1])

    def _what_ended(self, one: Trouble) -> Facts:
        """Return what says that an error ended the run; of the last failure, what began after it."""
        ending = self._ending if self._is_ending(one) else None
        after = None
        if ending is not None and ending.by == ending_error.LAST:
            is_repeat = ending.trouble.seq != one.seq
            after = {"operations": ending.operations, "llm_calls": ending.llms, "of_a_repeat": is_repeat}
        return {"ended_run": None if ending is None else ending.by, "began_after": after}

    def _around(self, id: bytes | None) -> Iterator[list[Half]]:
        """Yield the rows of an operation and of those around it, the innermost first."""
        known: set[bytes] = set()
        while id is not None and id not in known and len(known) < _LEVELS:
            known.add(id)
            halves = self._halves(id)
            if not halves:
                return
            yield halves
            id = halves[-1].parent

    def _what_followed(self, one: Trouble, chain: list[list[Half]]) -> Facts:
        """Return how far an error came: by a word, and where it stopped."""
        others = {each.parent: each for each in self._errors if each.seq > one.seq}
        for depth, halves in enumerate(chain):
            last = halves[-1]
            if last.phase == rows.OPEN:
                return {"outcome": "open", "where": _level(last, {}), "replaced_by": None}
            if depth and last.id in others and last.failed:
                by = _short(others[last.id].name)
                return {"outcome": "replaced", "where": _level(last, {}), "replaced_by": by}
            if not last.failed and (depth or not one.failed):
                return {"outcome": "caught" if depth else "noted", "where": _level(last, {}), "replaced_by": None}
        is_fatal = self._is_ending(one) and self._ending is not None and self._ending.by == ending_error.EXCEPTION
        # An exit or an interrupt is no error: the operations that it ended say so themselves.
        is_exit = one.kind != "error" and self._how() in ("exit code", "signal")
        outcome = "ended the run" if is_fatal or is_exit else "ended a thread" if one.seq in self._threads else "left"
        return {"outcome": outcome, "where": None, "replaced_by": None}

    def _next(self, one: Trouble) -> Facts | None:
        """Return what began first after an error: of the same agent, or else of any."""
        bounds = {"after": one.seq, "many": _AFTER, "since": one.at_ns, "agent": one.agent}
        for following in (Half(*row) for row in self._ask("begun_after", **bounds)):
            seconds = max(0, _began(following) - one.at_ns) / 1e9
            named = self._operation(following.kind, following.name, following.model, following.id, following.agent)
            return {**named, "seconds_later": seconds}
        return None

    def _same(self, one: Trouble) -> Facts:
        """Return how often the same type with the same message came later."""
        later = [each for each in self._errors if each.name == one.name and each.seq >= one.seq]
        details = self._details(later)
        message = details.get(one.seq)
        same = [each for each in later if details.get(each.seq) == message and message is not None and each is not one]
        others = len(later) - len(same) - 1
        return {"later": len(same), "last": iso(same[-1].at_ns) if same else None, "of_type": max(0, others)}

    def _common(self, first: Trouble | None) -> Facts | None:
        """Return the value that the calls of most errors were given, and the first of these errors."""
        errors = [one for one in self._errors if one.parent][:_COMPARED]
        if len(errors) < common_input.FEWEST:
            return None
        calls = {one.parent: self._given(one.parent) for one in errors}
        common = common_input.most_common([(one, calls[one.parent][1]) for one in errors], self._calls_with)
        if common is None:
            return None
        name, value, sharing = common
        counts = Counter(calls[one.parent][0] for one in sharing)
        earliest = sharing[0]
        return {
            "argument": _short(name),
            "value": _short(str(value)),
            "errors": len(sharing),
            "of": len(errors),
            "calls": [
                {"kind": _short(kind), "name": _short(called), "errors": many}
                for (kind, called), many in counts.most_common(SHOWN)
            ],
            "calls_count": len(counts),
            "first": {
                "id": facts.full_id(earliest.id),
                "type": _short(earliest.name),
                "message": _short(self._body(earliest.seq).get("details")),
                "at": iso(earliest.at_ns),
                "is_first_error": first is not None and first.seq == earliest.seq,
            },
            "last": iso(sharing[-1].at_ns),
        }

    def _given(self, id: bytes | None) -> tuple[tuple[str, str | None], object]:
        """Return kind and name of a call, and what it was given."""
        halves = self._halves(id) if id is not None else []
        given = (previews.given(half.kind, self._body(half.seq)) for half in halves if half.kind != "llm")
        called = (halves[0].kind, halves[0].name) if halves else ("operation", None)
        return called, next((one for one in given if one is not None), None)

    def _calls_with(self, value: str | int) -> int:
        """Return how many operations have a value in one of their rows."""
        bounds = {"head": self._head, "tail": self._tail, "many": _AFTER}
        return int(self._ask("count_with", text=encode.dumps(value).decode(), **bounds)[0][0])

    def _origins(self, chain: list[list[Half]], message: object) -> list[Facts]:
        """Return which arguments of a failed call the run had from the result of another call.

        If a call shortly before it was given a name that a result had in a text, that is among them: what the run read
        there may have led to this.
        """
        text = message if isinstance(message, str) else None
        for halves in chain:
            _, given = self._given(halves[-1].id)
            if given is not None:
                return [*self._origins_of(halves, given, message=text), *islice(self._led_to(halves), 1)]
        return []

    def _led_to(self, halves: list[Half]) -> Iterator[Facts]:
        """Yield the names that the tool calls of the same agent shortly before a tool call were given from a text."""
        own = halves[0]
        if own.kind != "tool":
            return
        before = (Half(*row) for row in self._ask("last_rows", upto=own.seq - 1, many=_LAST))
        calls = (one for one in before if one.kind == "tool" and one.phase == rows.DONE and one.agent == own.agent)
        for call in islice(calls, _BEFORE):
            _, given = self._given(call.id)
            named = self._operation(call.kind, call.name, call.model, call.id, call.agent)
            for one in self._origins_of(self._halves(call.id), given, names_only=True):
                yield {**one, "of": named}

    def _origins_of(
        self, halves: list[Half], given: object, *, message: str | None = None, names_only: bool = False
    ) -> list[Facts]:
        before = halves[0].seq
        return [
            {
                "argument": _short(one.argument) or None,
                "value": _short(str(one.value)),
                "is_part": one.is_part,
                "of": None,
                "kind": _short(one.kind),
                "name": _short(one.name),
                "input": self._input_of(one.id, one.kind),
                "id": facts.full_id(one.id),
                # Its first row: the number under which the pages know a call.
                "seq": self._halves(one.id)[0].seq,
            }
            for one in origins.of(
                self._reader, self._seen.id, given, before=before, message=message, names_only=names_only
            )
        ]

    def _again(self, one: Trouble, failed: Half) -> Facts:
        """Return what came of later calls of the same tool, model or operation."""
        after = max(one.seq, failed.seq)
        values = {"kind": failed.kind, "name": failed.name, "model": failed.model}
        calls = self._ask("calls_after", after=after, many=_AFTER, **values)
        following = [(id, is_failed) for _, id, is_failed, *_ in calls if id != failed.id]
        is_failed = [bool(has_failed) or id in self._failed for id, has_failed in following]
        before, then = self._args(failed.id), self._args(following[0][0]) if following else None
        return {
            "kind": _short(failed.kind),
            "name": _short(failed.name),
            "model": _short(failed.model),
            "calls": len(following),
            "failed": sum(is_failed),
            "next_failed": is_failed[0] if following else None,
            "next_same": before == then if before is not None and then is not None else None,
            "within_rows": None if self._seen.totals.rows <= _AFTER else _AFTER,
        }

    # What it spent for nothing

    def _waste(self) -> Facts:
        failed: dict[bytes, tuple[Any, ...]] = {
            one.id: (one.kind, one.cost, one.tokens_in, one.tokens_out)
            for one in self._troubles
            if one.kind in _CALL_KINDS
        }
        later = {one.parent for one in self._errors if one.failed and one.parent} - failed.keys()
        for id, kind, _, cost, *tokens in self._statement("calls_of_ids", ids=_hex(later)) if later else ():
            failed[id] = (kind, cost, *tokens)
        open_price = [id for id, (kind, cost, *_) in failed.items() if kind == "llm" and cost is None]
        prices: dict[bytes, int | None] = {}
        if open_price:
            prices = dict(self._ask("prices_of_ids", head=self._head, tail=self._tail, ids=_hex(open_price)))
        unpriced = sum(kind == "llm" and cost is None and id not in prices for id, (kind, cost, *_) in failed.items())
        nano = sum(cost or 0 for _, cost, *_ in failed.values()) + sum(price or 0 for price in prices.values())
        at_least = unpriced > 0 or not self._is_complete
        return {
            "failed_llm_calls": sum(kind == "llm" for kind, *_ in failed.values()),
            "failed_tool_calls": sum(kind == "tool" for kind, *_ in failed.values()),
            "tokens_in": sum(tokens or 0 for _, _, tokens, _ in failed.values()),
            "tokens_out": sum(tokens or 0 for *_, tokens in failed.values()),
            **facts.cost(nano, at_least=at_least),
            "unpriced": unpriced,
            **waste.brief(self._seen, self._reader, polling=self._polling, shown=SHOWN),
        }

    # Rows

    def _edges(self) -> tuple[int, int]:
        """Return the seq up to which, and the one from which on rows are looked at."""
        if self._seen.totals.rows <= 2 * END:
            return _FAR, 0
        [(head, tail)] = self._ask("edges", many=END)
        return (_FAR, 0) if head is None or tail is None or tail <= head else (head, tail)

    def _ask(self, name: str, /, **values: object) -> list[tuple[Any, ...]]:
        return self._statement(name, session=self._seen.id, **values)

    def _statement(self, name: str, /, **values: object) -> list[tuple[Any, ...]]:
        return self._reader.ask(statements(_SQL)[name], values)

    def _halves(self, id: bytes) -> list[Half]:
        """Return the rows of an operation, the one that it began with first."""
        return sorted((Half(*row) for row in self._statement("halves", id=id)), key=lambda half: -half.phase)

    def _body(self, seq: int | None) -> dict[str, Any]:
        if seq is None:
            return {}
        read = self._reader.ask("select body from event where seq = ?", (seq,))
        return _loaded(read[0][0]) if read else {}

    def _preview(self, seq: int | None, kind: str, *, is_result: bool = False) -> str:
        body = self._body(seq)
        return previews.result(kind, body) if is_result else previews.line(kind, body)

    def _input_of(self, id: bytes, kind: str) -> str:
        """Return the input of an operation, which is in the first of its rows that has one."""
        return next(filter(None, (self._preview(half.seq, kind) for half in self._halves(id))), "")

    def _args(self, id: bytes) -> bytes | None:
        """Return the arguments of a call, comparable; None if none are recorded."""
        read = ((half.kind, self._body(half.seq)) for half in self._halves(id))
        return next(filter(None, (_args_in(kind, body) for kind, body in read)), None)

    def _agents(self, ids: Iterable[bytes | None]) -> dict[bytes | None, str]:
        """Return the names of agents."""
        texts = {id: rows.id_text(id) for id in ids if id is not None}
        names = analytics.agent_names(self._reader, list(texts.values()))
        return {id: str(_short(names[text])) for id, text in texts.items()}

    def _operation(self, kind: str, name: str | None, model: str | None, id: bytes, agent: bytes | None) -> Facts:
        names = self._agents([agent])
        return {
            "id": facts.full_id(id),
            "kind": _short(kind),
            "name": _short(name),
            "model": _short(model),
            "agent": names.get(agent),
        }


def _level(half: Half, names: dict[bytes | None, str]) -> Facts:
    return {
        "id": facts.full_id(half.id),
        "kind": _short(half.kind),
        "name": _short(half.name),
        "model": _short(half.model),
        "agent": names.get(half.agent),
    }


def _is_ended_work(one: Half) -> bool:
    is_work = one.kind not in rows.BOOKS and one.kind not in ("error", "agent") and one.name != "budget"
    return one.phase == rows.DONE and is_work and not one.cut_off


def _began(one: Half) -> int:
    return one.at_ns if one.start_ns is None else one.start_ns


def _ended(one: Half) -> int:
    return one.at_ns if one.end_ns is None else one.end_ns


def _args_in(kind: str, body: dict[str, Any]) -> bytes | None:
    given = previews.given(kind, body)
    return encode.sorted_dumps(given) if given not in (None, {}, [], "") else None


def _loaded(body: str | None) -> dict[str, Any]:
    try:
        value = encode.loads(body) if body else {}
    # A damaged body.
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {"params": value}


def _hex(ids: Iterable[bytes | None]) -> str:
    return encode.dumps([id.hex() for id in ids if id is not None]).decode()


def _short(value: object) -> str | None:
    """Return the beginning of a recorded text, on one line."""
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    text = text.strip().partition("\n")[0] if isinstance(value, str) else text
    return text if len(text) <= previews.LONGEST else f"{text[: previews.LONGEST - 1]}…"


def _asks(one: Trouble) -> bool:
    """Return whether an error is the question about a step of which it is unknown whether it happened."""
    return one.kind == "error" and (one.name or "").rpartition(".")[2] == Uncertain.__name__
