"""The errors of a run: the first, the one that ended it, how far each propagated, what failed calls have in common."""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from itertools import islice

from localops.clock import iso
from localops.encoding import encode
from localops.errors import Uncertain
from localops.journal import rows
from localops.reading import (
    causes,
    common_input,
    ending_error,
    facts,
    loops,
    origins,
    pauses,
    previews,
    session_state,
    small_origins,
)
from localops.reading.run_rows import AFTER, LAST, LEVELS, MOST_TROUBLES, Half, began_ns, level_of, short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localops.reading.causes import Raised
    from localops.reading.ending_error import Ending
    from localops.reading.facts import Facts
    from localops.reading.origins import Origin
    from localops.reading.run_rows import RunRows, Trouble
    from localops.reading.small_origins import Found
    from localops.reading.snapshot import Snapshot

SHOWN = 6
"""Entries per list, in a JSON document and on a page."""
# Errors to compare with the reason of the end.
_MOST_MATCHED = 1_000
# Errors to compare the inputs of.
_COMPARED = 300
# Tool calls before the failed one whose arguments are also searched.
_BEFORE = 3
_EXIT = re.compile(r"exit code -?\d+(: |$)")
_SIGNAL = re.compile(r"Signal (SIG\w+) detected$")


def how_it_ended(seen: Snapshot) -> str:
    """Return how a session ended, as one of a fixed set of words."""
    standing = seen.standing
    reason = (standing.reason or "").strip()
    if standing.state in ("Running", "Unknown"):
        return standing.state.lower()
    if reason.startswith("imported;"):
        return "imported"
    if standing.derived and session_state.died(standing, seen.story):
        return "died"
    if standing.derived and standing.state != "Failure":
        return "left open"
    if reason == session_state.LEFT_OPEN:
        return "left open"
    if _SIGNAL.match(reason):
        return "signal"
    if _EXIT.match(reason):
        return "exit code"
    return "exception" if _is_traceback(seen, reason) else "declared"


class RunErrors:
    """Facts about the errors of a run."""

    def __init__(self, rows: RunRows) -> None:
        self._rows, self._seen, self._reader = rows, rows.seen, rows.reader
        self._known_chains: dict[int, list[Raised]] = {}

    def first(self) -> Trouble | None:
        """Return the first error, or an operation that failed earlier without an error."""
        first = next(iter(self._rows.troubles), None)
        if first is not None and first.kind != "error":
            # The error of an operation is recorded after the operation's end.
            # The error of a forked child, which cannot end its parent's operation, is inside that operation.
            of = first.parent if first.kind == rows.END_IN_CHILD else first.id
            first = next((one for one in self._rows.errors if one.parent == of), first)
        if self._seen.standing.state == "Success" and first is not None and _is_uncertain(first):
            # A resumed run asked whether a step had happened, and continued to a successful end: not an error.
            return next((one for one in self._rows.errors if not _is_uncertain(one)), None)
        return first

    @cached_property
    def ending(self) -> Ending | None:
        """The error that ended the run, and how we know."""
        reason = (self._seen.standing.reason or "").strip()
        newest = self._rows.errors[::-1][:_MOST_MATCHED]
        if _is_traceback(self._seen, reason):
            named = [one for one in self._rows.errors[::-1] if one.name and reason.startswith(one.name)][:_MOST_MATCHED]
            error = ending_error.of_traceback(reason, named, self._details(named))
            return None if error is None else ending_error.Ending(error, ending_error.EXCEPTION)
        how = how_it_ended(self._seen)
        if self._seen.standing.state != "Failure" or how not in ("declared", "exit code"):
            return None
        error = ending_error.of_reason(reason, newest, self._details(newest)) if reason else None
        if error is not None:
            return ending_error.Ending(error, ending_error.REASON)
        return ending_error.last(self._last_failures(with_operations=how == "declared"), self._progress_after)

    def is_ending(self, one: Trouble | None) -> bool:
        """Return whether an error ended the run, or equals the one that presumably did."""
        if one is None or (ending := self.ending) is None:
            return False
        if ending.trouble.seq == one.seq:
            return True
        if ending.by != ending_error.LAST or one.kind != "error" or ending.trouble.name != one.name:
            return False
        messages = [details for details in self._details([one, ending.trouble]).values() if details is not None]
        return len(messages) == 2 and loops.folded(messages[0]) == loops.folded(messages[1])

    def _last_failures(self, *, with_operations: bool) -> list[Trouble]:
        """Return the last errors, and operations that failed without an error, newest first."""
        errors = self._rows.errors[-SHOWN:]
        explained = {level[-1].id for one in errors for level in self._rows.around(one.parent)}
        last = [
            one
            for one in self._rows.troubles[-LAST:]
            if one.kind == "error" or (with_operations and one.id not in explained)
        ]
        return last[: -SHOWN - 1 : -1]

    def _progress_after(self, one: Trouble) -> tuple[bool, int, int]:
        """Return whether a failed call succeeded later, and how many operations and LLM calls began after it."""
        id = one.parent if one.kind == "error" else one.id
        failed = next(iter(self._rows.halves(id)), None) if id is not None else None
        values = (None, None, None) if failed is None else (failed.kind, failed.name, failed.agent)
        names = dict(zip(("kind", "name", "agent"), values, strict=True))
        bounds = {"after": self._rows.after(one.seq), "many": AFTER, "since": one.at_ns}
        succeeded = self._rows.ask("succeeded_since", few=_MOST_MATCHED, **bounds, **names)
        [(operations, llms)] = self._rows.ask("begun_since", **bounds)
        return any(id not in self._rows.failed for (id,) in succeeded), operations, llms

    def about(self, one: Trouble) -> Facts:
        """Return the facts about an error: where it happened, and what followed."""
        is_error = one.kind == "error"
        id = one.parent if is_error else one.id
        chain = list(self._rows.around(id)) if id is not None else []
        names = self._rows.agents([level[-1].agent for level in chain])
        body = self._rows.body(one.seq)
        failed = chain[0][-1] if chain else None
        agent = one.agent or (failed.agent if failed else None)
        return {
            "id": facts.full_id(one.id),
            "seq": one.seq,
            "type": short(one.name if is_error else body.get("ended_by")),
            "message": short(body.get("details")) if is_error else None,
            "at": iso(one.at_ns),
            "seconds_in": max(0, one.at_ns - self._seen.totals.first_ns) / 1e9,
            "agent": self._rows.agents([agent]).get(agent) if agent else None,
            "path": [level_of(level[-1], names) for level in reversed(chain)],
            "path_is_cut": len(chain) == LEVELS and chain[-1][-1].parent is not None,
            "input": self._rows.input_of(failed.id, failed.kind) if failed else "",
            **self._causes_and_parts(one),
            "origins": self._origins(chain, body.get("details")),
            **self._what_followed(one, chain),
            "became": self._consequence(one) if is_error else None,
            "next": self._next(one),
            "thread": self._threads.get(one.seq, (None, None))[1],
            "continued": self._continued(one),
            **self._what_ended(one),
            "same": self._repeats(one) if is_error else None,
            "again": self._later_calls(one, chain) if failed and failed.kind not in ("error", "agent") else None,
        }

    def _causes_and_parts(self, one: Trouble) -> Facts:
        """Return where an error was raised, the exceptions that caused it, and the members of an exception group."""
        chain = self._chains(one)
        group = next((each for each in chain if each.parts), None)
        return {
            "place": _place(chain[-1]) if chain else None,
            "causes": [_exception(each) for each in chain[:-1]],
            "group": None if group is None else short(group.type),
            "parts": [] if group is None else [_member(each) for each in group.parts[:SHOWN]],
            "parts_count": 0 if group is None else len(group.parts),
        }

    def _chains(self, one: Trouble) -> list[Raised]:
        """Return the exceptions in the traceback of an error, from the first cause to the error itself."""
        if one.seq not in self._known_chains:
            logs = self._rows.body(one.seq).get("logs") if one.kind == "error" else None
            self._known_chains[one.seq] = causes.of_error(logs, one.name)
        return self._known_chains[one.seq]

    def _consequence(self, one: Trouble) -> Facts | None:
        """Return the later error that was caused by an error or is a group with it, according to the traceback."""
        message = self._rows.body(one.seq).get("details")
        later = self._rows.errors_from(one)[1 : SHOWN + 1]
        if (ending := self.ending) is not None and ending.trouble.kind == "error" and not self._repeats(one)["later"]:
            later.append(ending.trouble)
        for each in later:
            chain, details = self._chains(each), self._rows.body(each.seq).get("details")
            parts = [part for raised in chain for member in raised.parts for part in (*member.causes, member)]
            is_part = any(causes.is_same(part, one.name, message) for part in parts)
            if is_part or any(causes.is_same(raised, one.name, message) for raised in chain[:-1]):
                return {"type": short(each.name), "message": short(details), "is_group": is_part}
            # Later errors came from this one, which has the same message.
            if (each.name, details) == (one.name, message):
                return None
        return None

    def _what_ended(self, one: Trouble) -> Facts:
        """Return how we know that an error ended the run; for the last failure, also what began after it."""
        ending = self.ending if self.is_ending(one) else None
        after = None
        if ending is not None and ending.by == ending_error.LAST:
            is_repeat = ending.trouble.seq != one.seq
            after = {"operations": ending.operations, "llm_calls": ending.llms, "of_a_repeat": is_repeat}
        return {"ended_run": None if ending is None else ending.by, "began_after": after}

    def common(self, first: Trouble | None) -> Facts | None:
        """Return the value that most failed calls got as input, and the first of their errors."""
        errors = [one for one in self._rows.errors if one.parent][:_COMPARED]
        if len(errors) < common_input.FEWEST:
            return None
        calls = {one.parent: self._input_of(one.parent) for one in errors}
        common = common_input.most_common([(one, calls[one.parent][1]) for one in errors], self._calls_with)
        if common is None:
            return None
        name, value, sharing = common
        counts = Counter(calls[one.parent][0] for one in sharing)
        earliest = sharing[0]
        return {
            "argument": short(name),
            "value": short(str(value)),
            "errors": len(sharing),
            "of": len(errors),
            "calls": [
                {"kind": short(kind), "name": short(called), "errors": many}
                for (kind, called), many in counts.most_common(SHOWN)
            ],
            "calls_count": len(counts),
            "first": {
                "id": facts.full_id(earliest.id),
                "type": short(earliest.name),
                "message": short(self._rows.body(earliest.seq).get("details")),
                "at": iso(earliest.at_ns),
                "is_first_error": first is not None and first.seq == earliest.seq,
            },
            "last": iso(sharing[-1].at_ns),
        }

    def _what_followed(self, one: Trouble, chain: list[list[Half]]) -> Facts:
        """Return how far an error propagated: the outcome, and where it stopped."""
        others = {each.parent: each for each in self._rows.errors_from(one) if each.seq != one.seq}
        ended = self._threads.get(one.seq)
        is_fatal = self.is_ending(one) and self.ending is not None and self.ending.by == ending_error.EXCEPTION
        if ended is not None and ended[0] == "process":  # operations around it are those of its parent
            outcome = "ended the run" if is_fatal else "ended a process"
            return {"outcome": outcome, "where": None, "replaced_by": None}
        for depth, halves in enumerate(chain):
            last = halves[-1]
            if last.phase == rows.OPEN:
                return {"outcome": "open", "where": level_of(last, {}), "replaced_by": None}
            if depth and last.id in others and last.failed:
                by = short(others[last.id].name)
                return {"outcome": "replaced", "where": level_of(last, {}), "replaced_by": by}
            if not last.failed and (depth or not one.failed):
                return {"outcome": "caught" if depth else "noted", "where": level_of(last, {}), "replaced_by": None}
        # An exit or an interrupt is not recorded as an error, only as the end of the operations that it left.
        is_exit = one.kind != "error" and how_it_ended(self._seen) in ("exit code", "signal")
        outcome = f"ended a {ended[0]}" if ended is not None else "left"
        outcome = "ended an earlier run" if one.seq in self._ended_earlier else outcome
        outcome = "ended the run" if is_fatal or is_exit else outcome
        return {"outcome": outcome, "where": None, "replaced_by": None}

    def _continued(self, one: Trouble) -> bool:
        """Return whether a row shows that the program continued after an error, apart from the process it ended."""
        bounds = {"after": self._rows.after(one.seq), "many": AFTER, "since": one.at_ns, "agent": None}
        if self._seen.is_running or self._rows.ask("begun_after", **bounds):
            return True
        story, ended = self._seen.story, str(self._threads.get(one.seq, (None, None))[1])
        pids = {card.participant: str(card.body.get("pid")) for card in story.of_kind(*rows.STARTS)}
        later = (each for each in story.of_kind(*rows.LEAVES) if not each.implied and each.at_ns > one.at_ns)
        others = {each.participant for each in later if pids.get(each.participant) != ended}
        # A process of multiprocessing has a name in place of its number: one of those that left later is this one.
        return len(others) > (0 if ended.isdecimal() else 1)

    def _next(self, one: Trouble) -> Facts | None:
        """Return what began first after an error, in the same agent, or else in any."""
        bounds = {"after": self._rows.after(one.seq), "many": AFTER, "since": one.at_ns, "agent": one.agent}
        for following in (Half(*row) for row in self._rows.ask("begun_after", **bounds)):
            seconds = max(0, began_ns(following) - one.at_ns) / 1e9
            is_resumed = any(one.at_ns < pause.resumed_ns <= began_ns(following) for pause in self._seen.pauses)
            named = self._rows.operation(following.kind, following.name, following.model, following.id, following.agent)
            return {**named, "seconds_later": seconds, "after_a_resume": is_resumed}
        return None

    def _repeats(self, one: Trouble) -> Facts:
        """Return how often an error with the same type and message occurred later."""
        later = [each for each in self._rows.errors_from(one) if each.name == one.name]
        details = self._details(later)
        message = details.get(one.seq)
        same = [each for each in later if details.get(each.seq) == message and message is not None and each is not one]
        others = len(later) - len(same) - 1
        return {"later": len(same), "last": iso(same[-1].at_ns) if same else None, "of_type": max(0, others)}

    def _later_calls(self, one: Trouble, chain: list[list[Half]]) -> Facts:
        """Return the outcomes of later calls of the same tool, model or operation."""
        failed = chain[0][-1]
        # In an import with milliseconds, the operations around it may begin at the same time.
        around = {halves[-1].id for halves in chain}
        after = self._rows.after(max(one.seq, failed.seq))
        values = {"kind": failed.kind, "name": failed.name, "model": failed.model}
        calls = self._rows.ask("calls_after", after=after, many=AFTER, since=one.at_ns, **values)
        following = [(id, is_failed) for _, id, is_failed, *_ in calls if id not in around]
        is_failed = [bool(has_failed) or id in self._rows.failed for id, has_failed in following]
        before, then = self._rows.args(failed.id), self._rows.args(following[0][0]) if following else None
        return {
            "kind": short(failed.kind),
            "name": short(failed.name),
            "model": short(failed.model),
            "calls": len(following),
            "failed": sum(is_failed),
            "next_failed": is_failed[0] if following else None,
            "next_same": before == then if before is not None and then is not None else None,
            "within_rows": None if self._seen.totals.rows <= AFTER else AFTER,
        }

    def _origins(self, chain: list[list[Half]], message: object) -> list[Facts]:
        """Return which arguments of a failed call came from the result of an earlier call.

        A name that a call shortly before it took from the text of a result is added if the error mentions it: that text
        may be the cause.
        """
        text = message if isinstance(message, str) else ""
        for halves in chain:
            _, given = self._input_of(halves[-1].id)
            if given is not None:
                before = self._names_read_before(halves) if text else ()
                mentioned = (one for one in before if origins.is_mentioned(one["value"], text))
                return [*self._origins_of(halves, given, message=text), *islice(mentioned, 1)]
        return []

    def _names_read_before(self, halves: list[Half]) -> Iterator[Facts]:
        """Yield the names that an agent's tool calls shortly before a tool call took from a text."""
        own = halves[0]
        if own.kind != "tool":
            return
        before = (row for row in self._rows.last_before(own.at_ns) if row.id != own.id)
        calls = (one for one in before if one.kind == "tool" and one.phase == rows.DONE and one.agent == own.agent)
        for call in islice(calls, _BEFORE):
            _, given = self._input_of(call.id)
            named = self._rows.operation(call.kind, call.name, call.model, call.id, call.agent)
            for one in self._origins_of(self._rows.halves(call.id), given, names_only=True):
                yield {**one, "of": named}

    def _origins_of(
        self, halves: list[Half], given: object, *, message: str | None = None, names_only: bool = False
    ) -> list[Facts]:
        before = halves[0].seq
        known = origins.of(self._reader, self._seen.id, given, before=before, message=message, names_only=names_only)
        small: list[Found] = []
        if not names_only and len(known) < origins.REPORTED:
            caller = halves[0].name
            small = small_origins.of(self._reader, self._seen.id, given, caller=caller, before=before, known=known)
        entries = {} if names_only else self._other_entries(known, small)
        facts_of = [self._origin(one, is_part=one.is_part, entry=entries.get(one.argument)) for one in known]
        facts_of += [self._origin(one, entry=entries.get(one.argument)) for one in small]
        return facts_of[: origins.REPORTED]

    def _other_entries(self, known: list[Origin], small: list[Found]) -> dict[str, int]:
        """Return the list entry that each argument comes from, if these are different entries of one list."""
        whole = [one for one in known if not one.is_part]
        calls = {one.seq for one in whole} | {one.seq for one in small}
        if len(whole) + len(small) < 2 or len(calls) > 1:
            return {}
        returns = self._rows.body(*calls).get("returns") if whole else None
        large = [small_origins.with_entries(one, returns) for one in whole]
        return small_origins.other_entries([*large, *small])

    def _origin(self, one: Origin | Found, *, is_part: bool = False, entry: int | None = None) -> Facts:
        return {
            "argument": short(one.argument) or None,
            "value": short(str(one.value)),
            "is_part": is_part,
            "entry": entry,
            "of": None,
            "kind": short(one.kind),
            "name": short(one.name),
            "input": self._rows.input_of(one.id, one.kind),
            "id": facts.full_id(one.id),
            # Of its first row, by which pages identify a call.
            "seq": self._rows.halves(one.id)[0].seq,
        }

    def _input_of(self, id: bytes | None) -> tuple[tuple[str, str | None], object]:
        """Return kind, name and input of a call."""
        halves = self._rows.halves(id) if id is not None else []
        given = (previews.given(half.kind, self._rows.body(half.seq)) for half in halves if half.kind != "llm")
        called = (halves[0].kind, halves[0].name) if halves else ("operation", None)
        return called, next((one for one in given if one is not None), None)

    def _calls_with(self, value: str | int) -> int:
        """Return the number of operations with a value in one of their rows."""
        bounds = {"head": self._rows.head, "tail": self._rows.tail, "many": AFTER}
        return int(self._rows.ask("count_with", text=encode.dumps(value).decode(), **bounds)[0][0])

    @cached_property
    def _ended_earlier(self) -> set[int]:
        """The seqs of the errors that ended earlier runs of a resumed session."""
        ended, ends, since = set(), list(self._seen.story.of_kind("end")), 0
        for pause in self._seen.pauses:
            end = pauses.end_before(ends, pause)
            reason = str(end.body.get("reason") or "").strip() if end is not None else ""
            if ending_error.has_traceback(reason):
                before = [one for one in self._rows.errors[::-1] if since <= one.at_ns <= pause.resumed_ns]
                named = [one for one in before if one.name and reason.startswith(one.name)][:_MOST_MATCHED]
                error = ending_error.of_traceback(reason, named, self._details(named))
                ended |= set() if error is None else {error.seq}
            since = pause.resumed_ns
        return ended

    @cached_property
    def _threads(self) -> dict[int, tuple[str, str]]:
        """The threads and processes that were ended by errors, as kind and name, by the seqs of the errors."""
        threads: dict[int, tuple[str, str]] = {}
        bounds = {"head": self._rows.head, "tail": self._rows.tail, "many": MOST_TROUBLES}
        for at_ns, body in self._rows.ask("thread_ends", name=rows.THREAD_ENDED, **bounds) if self._rows.errors else ():
            facts = encode.loads(body)
            # The row of an error precedes the row about its thread; other rows may lie between.
            same = (one for one in self._rows.errors[::-1] if one.at_ns <= at_ns and one.name == facts["type"])
            if (error := next((one for one in same if one.seq not in threads), None)) is not None:
                which = "process" if "process" in facts else "thread"
                threads[error.seq] = which, facts[which]
        return threads

    def _details(self, errors: Sequence[Trouble]) -> dict[int, str | None]:
        if not errors:
            return {}
        seqs = encode.dumps([one.seq for one in errors]).decode()
        return {
            seq: message if isinstance(message, str) else None
            for seq, message in self._rows.statement("details", seqs=seqs)
        }


def _exception(one: Raised) -> Facts:
    return {"type": short(one.type), "message": short(one.message), "place": _place(one), "led_by": one.led_by}


def _member(one: Raised) -> Facts:
    """Return a member of an exception group, with its causes."""
    return {**_exception(one), "causes": [_exception(each) for each in one.causes[-SHOWN:]]}


def _place(one: Raised) -> Facts | None:
    place = one.place
    return None if place is None else {"file": place.file, "line": place.line, "function": short(place.function)}


def _is_traceback(seen: Snapshot, reason: str) -> bool:
    return seen.standing.state == "Failure" and ending_error.has_traceback(reason)


def _is_uncertain(one: Trouble) -> bool:
    """Return whether an error asks the program whether a step had happened."""
    return one.kind == "error" and (one.name or "").rpartition(".")[2] == Uncertain.__name__
