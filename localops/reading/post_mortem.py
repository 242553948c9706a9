"""The post-mortem of a session: how it ended, which operations were running, the first error, and wasted costs.

`run_rows.py` reads a limited number of its rows, `run_errors.py` analyzes its errors.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property

from localops.clock import iso
from localops.journal import rows
from localops.reading import (
    facts,
    finish_reasons,
    pauses,
    previews,
    recorded_steps,
    spending,
    uncounted,
    waiting_rows,
    waste,
)
from localops.reading.event_processes import PARTICIPANT
from localops.reading.open_ends import Processes, left_to_child
from localops.reading.run_errors import SHOWN, RunErrors, how_it_ended
from localops.reading.run_rows import AFTER, FAR, MOST_TROUBLES, Half, RunRows, as_hex, began_ns, ended_ns, short
from localops.reading.uncounted import Uncounted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from localops.journal.reader import Reader
    from localops.journal.stored import Unfinished
    from localops.reading.facts import Facts
    from localops.reading.recorded_steps import Recorded
    from localops.reading.snapshot import Snapshot

_CALL_KINDS = ("llm", "tool")
_LOOKED_UP = 1_000  # operations without an end to look up the processes of
_INSIDE = 5  # operations to list per operation without an end, of those that ended inside it


def of(project: str, seen: Snapshot, reader: Reader, *, polling: Collection[str] = ()) -> Facts:
    """Return the post-mortem of a session as plain facts; `polling` has the names of tools that are meant to repeat."""
    return _PostMortem(project, seen, reader, polling).facts()


class _PostMortem:
    def __init__(self, project: str, seen: Snapshot, reader: Reader, polling: Collection[str]) -> None:
        self._project, self._seen, self._reader, self._polling = project, seen, reader, polling
        self._rows = RunRows(seen, reader)
        self._errors = RunErrors(self._rows)

    def facts(self) -> Facts:
        seen = self._seen
        figures, story, standing = seen.totals, seen.story, seen.standing
        ended = None if standing.ended_ns is None else iso(standing.ended_ns)
        # An imported run does not have when it was resumed, but a step that was tried again, or decided, was stopped.
        open_operations = [one for one in seen.open_now if self._is_last_try(one.id)]
        stopped = [one for one in seen.unfinished if one not in open_operations]
        first, ending = self._errors.first(), self._errors.ending
        spilled, dropped, cut = story.losses
        return {
            "session_id": facts.full_id(seen.id),
            "project": self._project,
            "name": story.name,
            "state": standing.state,
            "reason": short(standing.reason),
            "how": how_it_ended(self._seen),
            **facts.span(figures.first_ns, figures.last_ns, seen.until_ns, ended=ended),
            "at_least": seen.is_cut_off,
            "imported": story.is_imported,
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
            "first_error": None if first is None else self._errors.about(first),
            "last_error": None
            if ending is None or self._errors.is_ending(first)
            else self._errors.about(ending.trouble),
            "common": self._errors.common(first),
            "waste": (waste_facts := self._waste()),
            "stopped_loops": self._stopped_loops(waste_facts["loops_count"]),
            "not_resumable": recorded_steps.refusal_of(seen, whole=self._rows.is_complete),
            "steps": recorded_steps.counts(self._seen) if self._rows.is_complete else None,
            "waiting": waiting_rows.facts(seen.waiting),
            "spilled": spilled,
            "dropped": dropped,
            "deleted": story.deleted[0],
            "cut": cut,
            "damaged": story.damaged,
            "missing_rows": seen.missing_rows,
            "left": story.left,
            "late": seen.late,
            "complete": self._rows.is_complete,
        }

    def _resumed(self) -> Facts:
        """Return when and by which processes it was resumed, and how the previous run had ended, in order of time."""
        story = self._seen.story
        resumes = story.resumes
        ends = list(story.of_kind("end"))
        known = []
        for one, pause in list(zip(resumes, self._seen.pauses, strict=True))[-SHOWN:]:
            end = pauses.end_before(ends, pause)
            known.append(
                {
                    "at": iso(one.at_ns),
                    "pid": one.body.get("pid"),
                    "host": short(one.body.get("host")),
                    "stopped": iso(pause.stopped_ns),
                    "state": None if end is None else end.name,
                    "reason": None if end is None else short(end.body.get("reason")),
                }
            )
        return {"count": len(resumes), "known": known}

    def _processes(self) -> Facts:
        """Return the processes that recorded into it; those that died inside an operation come first."""
        of_all = self._processes_of_all
        inside: dict[str, list[Facts]] = {}
        for one in self._seen.open_now:
            if (card := self._process_of.get(one.id)) is not None:
                named = {"kind": short(one.kind), "name": short(one.name)}
                inside.setdefault(str(card.get(PARTICIPANT)), []).append(named)
        with_open = {str(card.get(PARTICIPANT)) for card in self._process_of.values()}
        exits = {
            one.participant.hex(): one.body.get("reason")
            for one in self._seen.story.of_kind("leave")
            if one.participant
        }
        everyone = sorted(of_all.everyone, key=lambda each: self._rank(each[0], inside))
        known = [
            {
                "pid": card.get("pid"),
                "host": short(card.get("host")),
                "joined": iso(joined_ns),
                "left": None if left_ns is None or of_all.state(card) != "left" else iso(left_ns),
                "state": of_all.state(card),
                "exit": short(exits.get(str(card.get(PARTICIPANT)))),
                "inside": inside.get(str(card.get(PARTICIPANT)), [])[-SHOWN:],
                "had_open": str(card.get(PARTICIPANT)) in with_open,
            }
            for card, joined_ns, left_ns in everyone[:SHOWN]
        ]
        return {
            "count": len(everyone),
            "never_left": len(of_all.never_left),
            "found_dead_here": self._is_found_dead_here(),
            "known": known,
            "all_open_known": all(one.id in self._process_of for one in self._seen.unfinished),
        }

    def _is_found_dead_here(self) -> bool:
        """Return whether all processes of its last run died here without recording their exit."""
        story, dead = self._seen.story, {card.get(PARTICIPANT) for card in self._seen.died}
        present = {id: card.get(PARTICIPANT) for id, card in story.present().items()}
        newest = [name for id, name in present.items() if id in story.newest] or list(present.values())
        return bool(newest) and dead.issuperset(newest)

    def _rank(self, card: dict[str, Any], inside: dict[str, list[Facts]]) -> tuple[bool, bool]:
        id = str(card.get(PARTICIPANT))
        return id not in inside, id not in self._processes_of_all.never_left

    @cached_property
    def _processes_of_all(self) -> Processes:
        return Processes(self._seen)

    @cached_property
    def _process_of(self) -> dict[bytes, dict[str, Any]]:
        """The cards of the processes that ran the operations without an end, by the operations' ids."""
        return self._processes_of_all.of(self._seen.unfinished[-_LOOKED_UP:])

    @cached_property
    def _left_to_child(self) -> set[bytes]:
        return left_to_child(self._seen, self._seen.unfinished[-_LOOKED_UP:])

    def _done(self) -> Facts:
        seen = self._seen
        parts = seen.parts
        agents = seen.agents[:SHOWN]
        without_end = Counter(one.name for one in seen.unfinished if one.kind == "tool")
        return {
            **facts.totals(seen.totals, at_least=seen.cost_at_least),
            # Of all that failed; the rest are operations, and LLM calls without a model if there are any.
            "failed_llm_calls": sum(one.failed for one in parts["model"]),
            "failed_tool_calls": sum(one.failed for one in parts["tool"]),
            "llm_calls_without_model": seen.totals.llms - sum(one.events for one in parts["model"]),
            # The tokens from a cache and all tokens in, of calls that report both.
            "cached_input": list(seen.cached_input),
            "uncounted": self._uncounted(),
            "agents": [{"name": short(part.value), "events": part.events} for part in agents],
            "agents_count": len(parts["agent_id"]),
            "models": [{"name": short(one.value), "calls": one.events} for one in parts["model"][:SHOWN]],
            "models_count": len(parts["model"]),
            "tools": [
                {
                    "name": short(one.value),
                    "calls": one.events,
                    "failed": one.failed,
                    "open": without_end[one.value],
                }
                for one in parts["tool"][:SHOWN]
            ],
            "tools_count": len(parts["tool"]),
        }

    def _uncounted(self) -> Facts | None:
        """Return the LLM calls whose cost is unknown, because they have no token counts."""
        if not self._seen.totals.unpriced:
            return None
        bounds = {"head": self._rows.head, "tail": self._rows.tail}
        calls = self._rows.ask("uncounted", many=MOST_TROUBLES, **bounds)
        priced = dict(self._rows.ask("prices_of_ids", ids=as_hex(id for id, *_ in calls), **bounds)) if calls else {}
        without = [
            Uncounted(short(name), short(model), bool(failed) or id in self._rows.failed)
            for id, name, model, failed in calls
            if id not in priced
        ]
        return uncounted.of(without) if without else None

    def _spending(self) -> Facts | None:
        """Return what the cost consists of; None if computing that would take long."""
        total = self._seen.totals.cost
        if not total or not self._seen.totals.llms or not self._rows.is_complete:
            return None
        calls = [spending.Call(*row) for row in self._rows.ask("spent")]
        cost = spending.of(calls, total, shown=SHOWN, seq_of=lambda id: self._rows.halves(id)[0].seq)
        if cost is not None:
            parts = [*cost["parts"], *cost["not_known"]]
            names = self._rows.agents([part["agent"] for part in parts])
            for part in parts:
                part.update(model=short(part["model"]), agent=names.get(part["agent"]))
        return cost

    def _stopped_loops(self, loops: int) -> list[Facts]:
        """Return the loops that the program's `on_loop` stopped; `loops` is the number of loops in the session."""
        if not loops:
            return []
        bounds = {"head": self._rows.head, "tail": self._rows.tail}
        stopped = self._rows.ask("stopped_loops", many=SHOWN, **bounds)
        bodies = [(at_ns, self._rows.body(seq).get("params")) for seq, at_ns in stopped]
        return [waste.stopped_loop(at_ns, params) for at_ns, params in bodies if isinstance(params, dict)]

    def _open(self, one: Unfinished) -> Facts:
        """Return the facts about an operation without an end."""
        halves = self._rows.halves(one.id)
        seq, process = halves[0].seq if halves else None, self._process(one)
        is_dead = process is not None and process["state"] == "died"
        until_ns = self._seen.totals.last_ns if is_dead else self._seen.until_ns
        return {
            **self._rows.operation(one.kind, one.name, halves[0].model if halves else None, one.id, one.agent),
            "input": self._rows.preview(seq, one.kind),
            "began": iso(one.at_ns),
            "seconds": max(0, until_ns - one.at_ns) / 1e9,
            "ended_with_session": False,
            "process": process,
            "left_to_child": one.id in self._left_to_child,
            "inside": self._inside(one),
        }

    def _process(self, one: Unfinished) -> Facts | None:
        """Return the process that ran an operation without an end, and its state; None if unknown."""
        card = self._process_of.get(one.id)
        if card is None or self._processes_of_all.everyone[1:] == []:
            return None
        return {"pid": card.get("pid"), "host": short(card.get("host")), "state": self._processes_of_all.state(card)}

    def _inside(self, one: Unfinished) -> Facts | None:
        """Return the number of operations that ended directly inside one without an end, and the last of them."""
        ended = self._ended_inside.get(one.id)
        if ended is None:
            return None
        of_all, alike = ended[0][1:3]
        # The rows of a session that was imported from spans are not in the order of time.
        work = (row for row in self._rows.last_rows if row.kind not in rows.BOOKS)
        newest = max(work, key=lambda row: (row.at_ns, row.id))
        return {
            "count": of_all,
            "at_least": self._seen.totals.rows > AFTER,
            "alike": alike == of_all,
            "known": [self._ended_operation(half, one.at_ns) for half, *_ in reversed(ended)],
            "is_last": ended[0][0].seq == newest.seq,
        }

    def _ended_operation(self, half: Half, since_ns: int) -> Facts:
        """Return an operation that ended inside another, and the time since the beginning of that one."""
        return {
            **self._rows.operation(half.kind, half.name, half.model, half.id, half.agent),
            "input": self._rows.input_of(half.id, half.kind),
            "result": self._rows.preview(half.seq, half.kind, is_result=True),
            "failed": half.id in self._rows.failed or bool(half.failed),
            "seconds_in": max(0, ended_ns(half) - since_ns) / 1e9,
        }

    @cached_property
    def _ended_inside(self) -> dict[bytes, list[tuple[Half, int, int]]]:
        """The operations that ended directly inside each one without an end, newest first, and their total number."""
        without_end = [one.id for one in self._seen.unfinished]
        if not without_end:
            return {}
        bounds = {"upto": FAR, "until": self._rows.until_ns, "many": AFTER, "few": _INSIDE}
        newest: dict[bytes, list[tuple[Half, int, int]]] = {}
        for *half, of_all, alike, _ in self._rows.ask("ended_inside", ids=as_hex(without_end), **bounds):
            one = Half(*half)
            newest.setdefault(one.parent or b"", []).append((one, of_all, alike))
        return newest

    def _stopped(self, one: Unfinished) -> Facts:
        """Return an operation during which an earlier run died, and its outcome since then."""
        step = self._step_of.get(one.id)
        since = given = None
        opened = self._open(one)
        if step is not None:
            if step.id != one.id:
                since = recorded_steps.since(self._seen, [step])[one.id]
            if step.tried == one.id:
                opened["process"] = opened["process"] or recorded_steps.process(self._seen.story, step)
                given = recorded_steps.given(self._seen.source, self._seen.story, step)
        ran_ns = self._seen.ran_until(one.at_ns) - one.at_ns
        return {**opened, "seconds": max(0, ran_ns) / 1e9, "since": since, "given": given}

    def _is_last_try(self, id: bytes) -> bool:
        step = self._step_of.get(id)
        return step is None or step.id == id

    @cached_property
    def _step_of(self) -> dict[bytes, Recorded]:
        """The `once` steps, by the ids of their attempts."""
        steps = recorded_steps.of(self._seen.source, self._seen.id) if self._rows.is_complete else []
        return {id: step for step in steps for id in step.tries}

    def _ended_with_session(self) -> list[Facts]:
        """Return the LLM calls that were still running in other threads when the session ended."""
        return [
            {
                **self._rows.operation(one.kind, one.name, one.model, one.id, one.agent),
                "input": self._rows.input_of(one.id, one.kind),
                "began": iso(began_ns(one)),
                "seconds": max(0, one.at_ns - began_ns(one)) / 1e9,
                "ended_with_session": True,
                "process": None,
                "left_to_child": False,
                "inside": None,
            }
            for one in self._rows.last_rows
            if one.cut_off
        ][:SHOWN]

    def _last_operation(self) -> Facts | None:
        """Return the operation that ended last, among the last rows, with its result."""
        for one in self._rows.last_rows:
            if _is_ended_work(one):
                return {
                    **self._rows.operation(one.kind, one.name, one.model, one.id, one.agent),
                    "failed": one.id in self._rows.failed or bool(one.failed),
                    "result": self._rows.preview(one.seq, one.kind, is_result=True),
                    "result_is_empty": previews.is_empty_result(one.kind, self._rows.body(one.seq)),
                    "ended": iso(ended_ns(one)),
                    "seconds": max(0, ended_ns(one) - began_ns(one)) / 1e9,
                }
        return None

    def _last_answer(self) -> Facts | None:
        """Return the last LLM call that returned an answer, which may be empty."""
        if not self._seen.totals.llms:
            return None
        bounds = {"upto": FAR, "until": self._rows.until_ns, "many": AFTER, "few": SHOWN}
        for one in (Half(*row) for row in self._rows.ask("last_answers", **bounds)):
            body = self._rows.body(one.seq)
            answer, stopped = previews.result(one.kind, body), finish_reasons.unusual(body)
            if one.id not in self._rows.failed and (answer or stopped or previews.is_empty_result(one.kind, body)):
                named = self._rows.operation(one.kind, one.name, one.model, one.id, one.agent)
                [(tokens_out, reasoning)] = self._rows.statement("tokens_of", seq=one.seq)
                return {
                    **named,
                    "answer": answer,
                    "is_empty": previews.is_empty_result(one.kind, body),
                    "stopped": short(stopped),
                    "asked_last": self._asked_last(one, body),
                    "tokens_out": tokens_out,
                    "tokens_reasoning": reasoning,
                    "ended": iso(ended_ns(one)),
                }
        return None

    def _asked_last(self, answer: Half, body: dict[str, Any]) -> list[Facts]:
        """Return the tool calls that the last answer asked for and that have no recorded result, by tool."""
        asked = previews.asked_calls(body)
        newest = self._rows.last_rows
        if not asked or not any(one.id == answer.id for one in newest):
            return []
        later = [one for one in newest if one.at_ns >= answer.at_ns and one.id != answer.id]
        begun = [one.at_ns for one in self._seen.unfinished if one.kind == "llm"]
        if any(one.kind == "llm" for one in later) or any(at_ns >= answer.at_ns for at_ns in begun):
            # A later call was made with the results, or without them.
            return []
        ended = Counter(one.name for one in later if one.phase == rows.DONE and one.kind != "error")
        by_tool: dict[str, list[str]] = {}
        for name, text in asked:
            by_tool.setdefault(name, []).append(text)
        return [
            {"tool": short(name), "asked": len(texts), "ended": ended[name], "calls": texts[:SHOWN]}
            for name, texts in by_tool.items()
            if ended[name] < len(texts)
        ][:SHOWN]

    def _waste(self) -> Facts:
        failed: dict[bytes, tuple[Any, ...]] = {
            one.id: (one.kind, one.cost, one.tokens_in, one.tokens_out)
            for one in self._rows.troubles
            if one.kind in _CALL_KINDS
        }
        later = {one.parent for one in self._rows.errors if one.failed and one.parent} - failed.keys()
        for id, kind, _, cost, *tokens in self._rows.statement("calls_of_ids", ids=as_hex(later)) if later else ():
            failed[id] = (kind, cost, *tokens)
        open_price = [id for id, (kind, cost, *_) in failed.items() if kind == "llm" and cost is None]
        prices: dict[bytes, int | None] = {}
        if open_price:
            prices = dict(
                self._rows.ask("prices_of_ids", head=self._rows.head, tail=self._rows.tail, ids=as_hex(open_price))
            )
        unpriced = sum(kind == "llm" and cost is None and id not in prices for id, (kind, cost, *_) in failed.items())
        nano = sum(cost or 0 for _, cost, *_ in failed.values()) + sum(price or 0 for price in prices.values())
        at_least = unpriced > 0 or not self._rows.is_complete
        return {
            "failed_llm_calls": sum(kind == "llm" for kind, *_ in failed.values()),
            "failed_tool_calls": sum(kind == "tool" for kind, *_ in failed.values()),
            "tokens_in": sum(tokens or 0 for _, _, tokens, _ in failed.values()),
            "tokens_out": sum(tokens or 0 for *_, tokens in failed.values()),
            **facts.cost(nano, at_least=at_least),
            "unpriced": unpriced,
            **waste.brief(self._seen, self._reader, polling=self._polling, shown=SHOWN),
        }


def _is_ended_work(one: Half) -> bool:
    is_work = (
        one.kind not in rows.BOOKS and one.kind not in ("error", "agent") and one.name not in ("budget", "on_loop")
    )
    return one.phase == rows.DONE and is_work and not one.cut_off
