"""Write a post-mortem as a page of sentences: plain text for a terminal, Markdown for a ticket."""

from __future__ import annotations

from collections import Counter

from localops import output
from localops.reading import (
    error_page,
    given_results,
    growing_prompts,
    last_call,
    loops,
    session_state,
    spending,
    uncounted,
    waiting_rows,
    waste_page,
)
from localops.reading.markdown import code
from localops.reading.run_words import at_ns, linked, named, nanoseconds, when, with_input
from localops.reading.sentences import Linked, Recorded, Word, marked, names_events, plain, separated, with_event

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from localops.reading.facts import Facts
    from localops.reading.sentences import Section, Sentence


_KILLED = "was killed by a signal (such as a SIGKILL, perhaps after a SIGTERM), crashed in native code"
_MAYBE = given_results.MAYBE
_LEFT_OPEN = "the program exited and did not end the session. Whether it reached its goal is not recorded"
_MAYBE_LOST = "no end is recorded, but rows of it may be lost, so how the program ended is not known"
_ENDED = frozenset(("declared", "exception", "exit code", "signal"))
_EXITS = ("exit code", "Signal")
_HOLDS_OTHERS = frozenset(("session", "workflow", "agent"))


@separated
def sections(findings: Facts) -> list[Section]:
    """Return the page: its sections with their sentences; empty sections are left out."""
    page = [
        ("State" if findings["how"] == "running" else "How it ended", list(_end(findings))),
        *_errors(findings),
        ("What the errors have in common", list(error_page.common(findings["common"]))),
        ("In progress when an earlier run ended", list(_stopped(findings))),
        ("In progress when its process died", list(_under_way_in_dead(findings))),
        (
            "In progress now" if findings["how"] == "running" else "In progress when it ended",
            list(_under_way(findings)),
        ),
        ("Totals", list(_done(findings))),
        ("Cost by model", list(_made_the_cost(findings))),
        ("Last call and answer", list(last_call.sentences(findings))),
        ("Wasted", list(_waste(findings))),
        ("If it is resumed", list(_steps(findings))),
        ("Recording", list(_record(findings))),
    ]
    return [(title, sentences) for title, sentences in page if sentences]


def _errors(findings: Facts) -> list[Section]:
    """Return the sections about the last and the first error; if the first one caused the last, it comes first."""
    last = (error_page.title(findings["last_error"]), list(error_page.sentences(findings, "last_error")))
    first = ("First error", list(error_page.sentences(findings, "first_error")))
    return [first, last] if error_page.is_of_first(findings) else [last, first]


def document(findings: Facts) -> Facts:
    """Return the facts and the page about them: sections with their sentences as plain text, and the event of each."""
    page = [
        {
            "title": title,
            "sentences": [plain(sentence) for sentence in sentences],
            "events": [{"id": one.id, "seq": one.seq} if isinstance(one, Linked) else None for one in sentences],
        }
        for title, sentences in sections(findings)
    ]
    return {**findings, "page": page}


def markdown(findings: Facts) -> list[str]:
    """Return the page as lines of Markdown."""
    title = [Recorded(findings["name"] or "unnamed"), f": {findings['state']}"]
    lines = [f"# {marked(title)}", "", f"Session `{findings['session_id']}`, project {code(findings['project'])}."]
    page = sections(findings)
    for heading, sentences in page:
        lines += ["", f"## {heading}", "", *(f"- {with_event(marked(sentence), sentence)}" for sentence in sentences)]
    return [*lines, "", how_to_show(findings)] if names_events(page) else lines


def how_to_show(findings: Facts) -> str:
    """Return the command that shows the events whose ids the page has."""
    return f"An event in full: `localops show {findings['session_id']} --event ID`"


# How it ended


def _end(findings: Facts) -> Iterator[Sentence]:
    state, reason = findings["state"], findings["reason"]
    yield from _how(findings["how"], state, reason, findings)
    if findings["waiting"] is not None:
        yield [f"{waiting_rows.text(findings['waiting'])}. `localops doctor` says why, and what to do."]
    yield from _died_inside(findings["processes"])
    took = output.short_duration(nanoseconds(findings["seconds"]))
    if findings["how"] == "running":
        silent = max(0, nanoseconds(findings["seconds"]) - (at_ns(findings["last"]) - at_ns(findings["began"])))
        newest = f"; its newest row is {output.short_duration(silent)} old"
        yield [f"It began at {when(findings['began'])} UTC and has run for {took}{newest}."]
    elif findings["at_least"]:
        yield [f"It began at {when(findings['began'])} UTC and took at least {took}, to its last row."]
    else:
        yield [f"It began at {when(findings['began'])} UTC and took {took}."]
    if findings["imported"]:
        yield ["It was imported, not recorded while it ran."]
    yield from _budget(findings["budget"], findings["done"])
    yield from map(waste_page.sentence_of_stop, findings["stopped_loops"])
    yield from _resumed(findings["resumed"])
    yield from _processes(findings["processes"], findings["how"])


def _how(how: str, state: str, reason: str | None, findings: Facts) -> Iterator[Sentence]:
    if how == "declared" and reason is None and state == "Success":
        yield ["Success: the program ended the session."]
    elif how == "declared":
        why: Sentence = [" and the reason ", Recorded(reason)] if reason else [", without a reason"]
        yield [f"{state}: the program ended the session with this state", *why, "."]
    elif how == "exception":
        yield [f"{state}: the exception ", Recorded(reason), " ended it. Its traceback is recorded."]
    elif how == "exit code":
        yield [f"{state}: the program ended with ", Word(reason), ". It recorded the code as it exited."]
    elif how == "signal":
        yield [f"{state}: ", Word(reason), ". The program recorded the signal before it died."]
    elif how == "left open":
        yield [f"{state}: {_LEFT_OPEN if reason != session_state.MAYBE_LOST else _MAYBE_LOST}."]
    elif how == "died":
        yield from _died(state, reason, findings)
    elif how == "imported":
        yield [f"{state}: its rows here have no end, so how the program ended is not known."]
    elif how == "running":
        yield ["It is still running: a process that is alive records into it."]
    else:
        yield ["Whether it has ended is not known: no end is recorded, and its processes cannot be seen from here."]
        yield [f"Its last row is from {when(findings['last'])} UTC."]


def _died(state: str, reason: str | None, findings: Facts) -> Iterator[Sentence]:
    yield [
        f"{state}: ",
        Word(reason),
        f". No end was recorded: {_dead(findings['processes'])} {_KILLED}, ran out of memory, lost power ",
        f"or called os._exit{_daemon(findings)}.",
    ]
    if findings["processes"]["found_dead_here"] and findings["processes"]["count"] == 1:
        yield ["Its process no longer runs: the lock that it held is free."]
    elif findings["processes"]["found_dead_here"]:
        yield ["None of its processes runs any more: the locks that they held are free."]
    elif not findings["imported"]:
        yield ["The machine that recorded it found its process dead; whether it was resumed since is not known."]
    if findings["waiting"] is None:
        yield [f"Its last row is from {when(findings['last'])} UTC; nothing after that is recorded."]
    else:
        yield [f"Its last row in the journal is from {when(findings['last'])} UTC."]
    if findings["not_resumable"] is None:
        yield ["A program can resume it where it stopped: see `localops help resume`."]


def _dead(processes: Facts) -> str:
    """Name the processes without a recorded exit, if others of the session left."""
    dead = [_number(one["pid"]) for one in processes["known"] if one["state"] == "died"]
    if processes["count"] == 1 or not dead:
        return "it"
    return f"process {dead[0]}" if len(dead) == 1 else f"each of its processes {', '.join(dead[:-1])} and {dead[-1]}"


def _daemon(findings: Facts) -> str:
    """Return that a child may go on: a daemon begins so, and its child is known only when it records."""
    may_go_on = findings["processes"]["found_dead_here"] and findings["under_way"]
    return "; a child that it forked may go on, and is shown here as soon as it records" if may_go_on else ""


def _budget(budget: Facts | None, spent: Facts) -> Iterator[Sentence]:
    if budget is None:
        return
    limit = output.money(_nano(budget["limit_usd"]))
    if budget["reached_at"] is None:
        is_below = spent["cost_nano"] < _nano(budget["limit_usd"]) and not spent["cost_at_least"]
        unknown = f"Its budget was {limit}; whether it was reached is not recorded."
        yield [f"Its budget of {limit} was not reached." if is_below else unknown]
        return
    having = "" if budget["reached_usd"] is None else f", having spent {output.money(_nano(budget['reached_usd']))}"
    yield [f"It reached its budget of {limit} at {when(budget['reached_at'])} UTC{having}."]


def _resumed(resumed: Facts) -> Iterator[Sentence]:
    if resumed["count"] > len(resumed["known"]):
        yield [f"It was resumed {output.counted(resumed['count'], 'time')}; only the last resumes are described here."]
    for one in resumed["known"]:
        where: Sentence = [" on ", Word(one["host"])] if one["host"] else []
        who = f"It was resumed at {when(one['at'])} UTC by process {_number(one['pid'])}"
        if one["state"] is None:
            ended: Sentence = [f"its last run had no recorded end; its last row was from {when(one['stopped'])} UTC"]
        else:
            why: Sentence = [" with the reason ", Recorded(one["reason"])] if one["reason"] else []
            ended = ["before that it had ended as ", Word(one["state"]), *why]
        yield [who, *where, "; ", *ended, "."]


def _died_inside(processes: Facts) -> Iterator[Sentence]:
    """Name the processes that died inside an operation, which is often the cause of the others' errors."""
    for one in processes["known"]:
        if processes["count"] > 1 and one["state"] == "died" and one["inside"]:
            inside: Sentence = []
            for number, each in enumerate(one["inside"]):
                inside += [", " if number else "", Word(each["kind"] or "operation"), " ", Recorded(each["name"] or "")]
            yield [*_process(one), " died inside ", *inside, "."]


def _processes(processes: Facts, how: str) -> Iterator[Sentence]:
    if processes["count"] > 1:
        yield [f"{output.counted(processes['count'], 'process', 'processes')} recorded into it."]
    states = {
        "died": "died without recording its end",
        "running": "is still alive",
        "unknown": "did not record its end; whether it is alive cannot be seen from here",
    }
    for one in processes["known"] if how != "exit code" else ():
        if (one["exit"] or "").startswith(_EXITS):
            yield [*_process(one), " left with ", Word(one["exit"]), "."]
    idle = 0
    for one in processes["known"]:
        if one["inside"] and one["state"] == "died" and processes["count"] > 1:
            continue
        is_idle = processes["all_open_known"] and not one["had_open"]
        if one["state"] == "died" and processes["count"] > 1 and is_idle:
            idle += 1
        elif one["state"] in states and (processes["count"] > 1 or how not in ("died", "running", "unknown")):
            yield [*_process(one), f", in the session since {when(one['joined'])} UTC, {states[one['state']]}."]
    if idle:
        many, its = ("One", "its") if idle == 1 else (output.count(idle), "their")
        # After the end of a session, a process records no exit.
        ended = "recorded no exit before the session ended" if how in _ENDED else f"ended without recording {its} end"
        yield [f"{many} of them {ended}; none of {its} operations was in progress."]


def _process(one: Facts) -> Sentence:
    return [f"Process {_number(one['pid'])}", *([" on ", Word(one["host"])] if one["host"] else [])]


def _number(value: object) -> str:
    return str(value) if type(value) is int else "of an unknown number"


# Totals


def _done(findings: Facts) -> Iterator[Sentence]:
    done = findings["done"]
    if not done["events"]:
        is_idle = not findings["under_way_count"] and not findings["under_way"]
        nothing = "It recorded no event." if is_idle else "No call or operation has ended yet."
        yield [nothing if findings["waiting"] is None else "None of its events is in the journal yet."]
        yield from _open_cost(findings)
        return
    counts = [
        output.counted(done["llm_calls"], "LLM call"),
        output.counted(done["tool_calls"], "tool call"),
        output.counted(done["actions"], "action"),
        output.counted(done["errors"], "error"),
    ]
    # Without errors, that none failed is what one expects.
    yield [f"{', '.join(counts)}{f'; {_failed(done)} failed' if done['failed'] or done['errors'] else ''}."]
    if done["llm_calls"] or done["cost_nano"]:
        yield from _costs(done)
    elif done["cost_at_least"] and not findings["under_way_count"]:
        yield [f"It cost {_cost(done)}, as LLM calls may be among the rows that are missing."]
    yield from _open_cost(findings)
    is_running = findings["how"] == "running"
    gone = _in_processes_that_ended(findings)
    tools = [
        (
            one["name"] or "(nameless)",
            one["calls"],
            _not_ended_well(one, is_running=is_running and one["name"] not in gone),
        )
        for one in done["tools"]
    ]
    yield from _list("Tools", tools, done["tools_count"])
    yield from _list("Models", [(one["name"], one["calls"], "") for one in done["models"]], done["models_count"])
    yield from _agents(done["agents"], done["agents_count"], are_ended=is_running)


def _failed(done: Facts) -> str:
    """Name what failed by the words of the counts beside it, which do not include errors."""
    llms, tools = done["failed_llm_calls"], done["failed_tool_calls"]
    rest = (
        ("other call or operation", "other calls or operations") if done["llm_calls_without_model"] else ("operation",)
    )
    parts = [
        output.counted(many, *words)
        for many, words in (
            (llms, ("LLM call",)),
            (tools, ("tool call",)),
            (done["failed"] - llms - tools, rest),
        )
        if many > 0
    ]
    *others, last = parts or ["no call or operation"]
    return f"{', '.join(others)} and {last}" if others else last


def _in_processes_that_ended(findings: Facts) -> set[str]:
    """Return the names of operations that will not end, as their process is no longer there."""
    dead = [one for one in findings["under_way"] if one["process"] and one["process"]["state"] == "died"]
    return {one["name"] for one in (*dead, *findings["stopped"])}


def _not_ended_well(tool: Facts, *, is_running: bool) -> str:
    in_progress = "is running" if tool["open"] == 1 else "are running"
    how = in_progress if is_running else "did not end"
    if not tool["calls"]:
        return f" ({how})"
    failed = f", {output.count(tool['failed'])} failed" if tool["failed"] else ""
    return failed + (f" and {output.count(tool['open'])} that {how}" if tool["open"] else "")


def _agents(agents: Sequence[Facts], count: int, *, are_ended: bool) -> Iterator[Sentence]:
    """List the agents; `are_ended`: events that are still running have no part in the figures."""
    if not agents:
        return
    sentence: Sentence = ["Agents: "]
    for number, one in enumerate(agents):
        events = f" with {output.counted(one['events'], 'event')}{' that ended' if are_ended else ''}"
        sentence += [", " if number else "", Recorded(one["name"] or "unnamed"), events]
    rest = count - len(agents)
    yield [*sentence, f" and {output.count(rest)} more." if rest > 0 else "."]


def _list(title: str, parts: Sequence[tuple[Any, int, str]], count: int) -> Iterator[Sentence]:
    """List what was called how often; a call that never ended does not count."""
    if not parts:
        return
    sentence: Sentence = [f"{title}: "]
    for number, (name, many, more) in enumerate(parts):
        times = f" ×{output.count(many)}{more}" if many else more
        sentence += [", " if number else "", Recorded(name or "unnamed"), times]
    rest = count - len(parts)
    yield [*sentence, f" and {output.count(rest)} more." if rest > 0 else "."]


def _cost(figures: Facts) -> str:
    return output.money_in_words(figures["cost_nano"], figures["unpriced"], at_least=figures["cost_at_least"])


def _costs(done: Facts) -> Iterator[Sentence]:
    """State the cost, and which calls have none; if token counts are missing, do not suggest to set a price."""
    calls = done["uncounted"]
    without_price = done["unpriced"] - (calls["calls"] if calls else 0)
    if calls and not done["cost_nano"] and without_price <= 0:
        had = f" It had {_tokens(done)}." if done["tokens_in"] or done["tokens_out"] else ""
        yield ["Its cost is not known: ", *uncounted.which(calls), f" {uncounted.why(calls)}.{had}"]
        return
    if done["cost_nano"] or not done["unpriced"]:
        yield [f"It cost {_cost(done)}, for {_tokens(done)}."]
    else:
        yield [f"Its cost is {_cost({**done, 'unpriced': without_price})}. It had {_tokens(done)}."]
    if calls:
        first, *rest = uncounted.cost_of(calls)
        yield [first.replace("the", "The", 1), *rest, "."]


def _made_the_cost(findings: Facts) -> Iterator[Sentence]:
    return spending.sentences(findings["spending"], findings["session_id"], at_least=findings["done"]["cost_at_least"])


def _open_cost(findings: Facts) -> Iterator[Sentence]:
    """State that an LLM call without an end may have costs that are not recorded."""
    if findings["how"] == "running":
        return
    calls = [one for one in findings["under_way"] if one["kind"] == "llm" and not one["ended_with_session"]]
    for model, many in Counter(one["model"] for one in calls).items():
        of: Sentence = [" of ", Recorded(model)] if model else [" of an unknown model"]
        which, were = ("The LLM call", "was") if many == 1 else (f"{output.count(many)} LLM calls", "were")
        yield [which, *of, f" that {were} in progress may have been billed; the cost is not recorded."]


def _tokens(figures: Facts) -> str:
    cached = output.from_cache(figures["tokens_in"], *figures.get("cached_input", (0, 0)))
    return f"{output.count(figures['tokens_in'])} tokens in{cached} and {output.count(figures['tokens_out'])} out"


# The end


def _under_way(findings: Facts) -> Iterator[Sentence]:
    shown = findings["under_way"]
    for one in shown:
        if not _is_of_dead(one, findings):
            yield from _without_end(one, findings["how"])
    rest = findings["under_way_count"] - sum(not one["ended_with_session"] for one in shown)
    if rest > 0:
        yield [f"{output.counted(rest, 'more operation')} began before these."]


def _under_way_in_dead(findings: Facts) -> Iterator[Sentence]:
    """Describe the operations of processes that died, while others of the session are alive."""
    for one in findings["under_way"]:
        if _is_of_dead(one, findings):
            yield from _without_end(one, "unknown")


def _is_of_dead(one: Facts, findings: Facts) -> bool:
    return findings["how"] == "running" and one["process"] is not None and one["process"]["state"] == "died"


def _without_end(one: Facts, how: str) -> Iterator[Sentence]:
    took = output.short_duration(nanoseconds(one["seconds"]))
    place = given_results.in_process(one["process"])
    what = [*named(one), *with_input(one["input"]), f", began at {when(one['began'])} UTC{place}"]
    if how == "running":
        yield linked([*what, f", has run for {took}."], one)
    elif one["ended_with_session"]:
        yield linked([*what, f", had run for {took} when the session ended; {_MAYBE}."], one)
    else:
        left = "its process exited and left its end to a child, which may go on"
        state = left if one["left_to_child"] else _state_at_end(one["process"], how)
        yield linked([*what, f"{_at_last_row(one['seconds'], 'the last row', state)}{_open_end(one)}."], one)
    if one["inside"] is not None:
        yield _inside(one["inside"], is_running=how == "running")


def _state_at_end(process: Facts | None, how: str) -> str:
    """Describe how the process that ran an operation without an end ended."""
    if how == "signal":
        return "was in progress when the signal ended the process"
    if process is not None and process["state"] == "died":
        return "was in progress when that process died"
    return "was in progress when the process died" if how == "died" else "has no recorded end"


def _at_last_row(seconds: float, last: str, state: str) -> str:
    """State how long before the last row an operation began; if it began with the last row, its duration is unknown."""
    if seconds:
        return f", {output.short_duration(nanoseconds(seconds))} before {last}, and {state}"
    return f", and {state}; no row of its run follows its beginning, so how long it ran is not known"


def _inside(inside: Facts, *, is_running: bool) -> Sentence:
    """Describe the progress of an operation without an end: how many operations ended in it, and the last ones."""
    known, many = inside["known"], inside["count"]
    rest = "; nothing later is recorded." if inside["is_last"] and not is_running else "."
    last = known[-1]
    result: Sentence = [", with the result ", Recorded(last["result"])] if last["result"] else []
    if many == 1 and not inside["at_least"]:
        given: Sentence = [" (", Recorded(last["input"]), ")"] if last["input"] else []
        how = f" {_ended(last)} {_after(last)} after it began"
        return ["Inside it, ", *named({**last, "agent": None}), *given, how, *result, rest]
    at_least = "at least " if inside["at_least"] else ""
    what: Sentence = (
        [f"{at_least}{output.count(many)} calls of ", *_name(last)]
        if inside["alike"]
        else [f"{at_least}{output.count(many)} operations"]
    )
    sentence: Sentence = ["Inside it, ", *what, " ended: "]
    for number, one in enumerate(known):
        name = _name(one) if not inside["alike"] or not one["input"] else []
        shown: Sentence = [" " if name else "", Recorded(one["input"])] if one["input"] else []
        how = " failed" if one["failed"] else ""
        sentence += [", " if number else "", *name, *shown, f"{how} at +{_after(one)}"]
    earlier = many - len(known)
    more = f", and {output.count(earlier)} before these" if earlier else ""
    gave: Sentence = ["; the last gave ", Recorded(last["result"])] if last["result"] else []
    return [*sentence, more, *gave, rest]


def _name(one: Facts) -> Sentence:
    return named({**one, "agent": None})


def _ended(one: Facts) -> str:
    return "failed" if one["failed"] else "ended"


def _after(one: Facts) -> str:
    return output.short_duration(nanoseconds(one["seconds_in"]))


def _open_end(one: Facts) -> str:
    """Return what is unknown about an operation without an end; empty if it contains others, as they are listed."""
    return "" if one["kind"] in _HOLDS_OTHERS else f"; {_MAYBE}"


def _stopped(findings: Facts) -> Iterator[Sentence]:
    """Describe the operations during which earlier runs died, and their outcome after the resume."""
    shown = findings["stopped"]
    for one in shown:
        what: Sentence = [*named(one), *with_input(one["input"]), f", began at {when(one['began'])} UTC"]
        at_last_row = _at_last_row(one["seconds"], "the last row of its run", "has no end")
        if not findings["resumed"]["count"]:  # it was imported, without when each run began
            at_last_row = ", and has no end"
        what += [given_results.in_process(one["process"]), at_last_row]
        if one["given"] is not None:
            yield linked([*what, ". ", *given_results.gave(one["given"])], one)
        else:
            yield linked([*what, f"; {given_results.SINCE.get(one['since'], _MAYBE)}."], one)
    if (rest := findings["stopped_count"] - len(shown)) > 0:
        yield [f"{output.counted(rest, 'more operation')} began before these."]


# The rest


def _without_cost(llms: int, tools: int, unpriced: int) -> str:
    """State why failed calls add nothing to the cost, in the words that the dashboard shows for each call."""
    if not llms:
        return f"{'its' if tools == 1 else 'their'} cost was not recorded"
    if not unpriced:
        calls = "LLM call was" if llms == 1 else "LLM calls were"
        return f"the {calls} not billed"
    if unpriced >= llms:
        return f"the cost of the {'LLM call' if llms == 1 else 'LLM calls'} is not known"
    return f"of the LLM calls, {output.count(llms - unpriced)} not billed and {output.count(unpriced)} unpriced"


def _waste(findings: Facts) -> Iterator[Sentence]:
    waste = findings["waste"]
    llms, tools = waste["failed_llm_calls"], waste["failed_tool_calls"]
    if llms or tools:
        counts = [output.counted(many, f"{what} call") for many, what in ((llms, "LLM"), (tools, "tool")) if many]
        tokens = f", for {_tokens(waste)}" if llms else ""
        is_known = waste["cost_nano"] or waste["tokens_in"] or waste["tokens_out"]
        cost = f"which cost {_cost(waste)}" if waste["cost_nano"] or not waste["unpriced"] else _cost(waste)
        spent = f", {cost}{tokens}" if is_known else f"; {_without_cost(llms, tools, waste['unpriced'])}"
        yield [f"{' and '.join(counts)} failed{spent}."]
    yield from map(growing_prompts.sentence, waste["growing"])
    for group in waste["loop_groups"]:
        first = group["first"]
        yield Linked(waste_page.sentence_of_group(group, with_kind=False), first["first"], first["first_seq"])
    if waste["loops_count"] > 1:
        yield [f"All {output.count(waste['loops_count'])} loops wasted {waste_page.spent(waste['looped'])}."]
    lint = f"localops lint {findings['session_id']}"
    if waste["loops_count"] > len(waste["loop_groups"]):
        yield [f"`{lint} --all` lists each of them."]
    if waste["habits_count"]:
        habits = output.counted(waste["habits_count"], "call was repeated", "calls were repeated")
        yield [f"{habits} with other calls between, which may be intended: see `{lint}`."]
    if not waste["all_compared"] and findings["done"]["tool_calls"] >= loops.ALARM:
        if findings["metadata_only"]:
            yield ["Its tool calls could not be compared with each other, as their content was not recorded."]
        else:
            yield [f"The session is long: only its last tool calls were searched for loops; `{lint}` reads more."]


def _steps(findings: Facts) -> Iterator[Sentence]:
    """State what a resumed run would do with the `once` steps."""
    steps, refusal = findings["steps"], findings["not_resumable"]
    if refusal is not None and (steps is not None or findings["how"] == "died"):
        yield [f"It cannot be resumed: {refusal}."]
    if steps is None or refusal is not None:
        return
    yield from _done_steps(steps)
    yield from _uncertain_steps(steps)
    if failed := steps["failed"] - steps["failed_behind"]:
        yield [f"{_many_steps(failed)} failed, and would run again."]
    behind = {state: steps[f"{state}_behind"] for state in ("done", "uncertain", "failed")}
    if any(behind.values()):
        states = ", ".join(f"{many} {state}" for state, many in behind.items() if many)
        yield [f"Inside a step that raises: {states}. They are reached only if the program runs that step again."]
    if steps["running"]:
        yield [f"{_steps_are(steps['running'])} in progress."]
    if refused := steps["refused"]:
        yield [f"{_of_them(refused)} a secret in the arguments, {_WITHOUT_RULES}."]


def _done_steps(steps: Facts) -> Iterator[Sentence]:
    if kept := steps["done_given"]:
        yield [f"{_steps_are(kept)} done: the recorded {'result is' if kept == 1 else 'results are'} returned."]
    if passed := steps["done_not_called"]:
        yield [f"{_steps_are(passed)} done, and would not be called: {_around(passed)}."]
    if again := steps["not_kept_run"]:
        yield [f"{_done_and_lost(again)}: {'it runs' if again == 1 else 'they run'} again, as idempotent=True allows."]
    if asks := steps["not_kept_asked"]:
        yield [f"{_done_and_lost(asks)}: {_raises_uncertain(asks)}."]


def _uncertain_steps(steps: Facts) -> Iterator[Sentence]:
    if again := steps["uncertain_run"]:
        yield [f"{_steps_are(again)} uncertain, and would run again: idempotent=True allows that."]
    if passed := steps["uncertain_not_called"]:
        yield [f"{_steps_are(passed)} uncertain, and would not be called: {_around(passed)}."]
    if asks := steps["uncertain"] - again - passed - steps["uncertain_behind"]:
        yield [f"{_steps_are(asks)} uncertain: {_raises_uncertain(asks)}."]


def _done_and_lost(many: int) -> str:
    return f"{_steps_are(many)} done, but what {'it' if many == 1 else 'they'} returned cannot be restored"


def _raises_uncertain(many: int) -> str:
    return f"{'it' if many == 1 else 'each'} raises Uncertain, unless the program decides"


def _around(many: int) -> str:
    if many == 1:
        return "the step around it returns its recorded result"
    return "the steps around them return their recorded results"


_WITHOUT_RULES = (
    "recorded without the rules of today, as with redact=False: resumed with these rules, the call raises StepError "
    "and does not run"
)


def _steps_are(many: int) -> str:
    return f"{_many_steps(many)} {'is' if many == 1 else 'are'}"


def _of_them(many: int) -> str:
    return "1 of them has" if many == 1 else f"{many} of them have"


def _many_steps(many: int) -> str:
    return "1 step" if many == 1 else f"{many} steps"


def _record(findings: Facts) -> Iterator[Sentence]:
    if unwritten := findings["dropped"] - findings["deleted"]:
        them = "it" if unwritten == 1 else "them"
        yield [f"{output.counted(unwritten, 'event was', 'events were')} lost: the disk refused to store {them}."]
    if deleted := findings["deleted"]:
        yield [f"At least {output.counted(deleted, 'event was', 'events were')} lost when the journal was deleted."]
    is_lacking = any(findings[name] for name in ("dropped", "missing_rows", "waiting", "not_resumable"))
    notes = (
        ("spilled", "row came", "rows came", f" through a spill file{'' if is_lacking else '; none is missing'}"),
        ("cut", "value was cut", "values were cut", ": only the beginning was stored"),
        ("late", "event was", "events were", " recorded after its end"),
    )
    for name, one, more, rest in notes:
        if findings[name]:
            yield [f"{output.counted(findings[name], one, more)}{rest}."]
    if reason := findings["missing_rows"]:
        yield [f"{reason[:1].upper()}{reason[1:]}."]
    if not findings["complete"]:
        yield ["The session is long: only its first and last rows were searched for errors and failed calls."]
        yield ["The figures under Totals are complete."]


def _nano(dollars: float) -> int:
    return round(dollars * 1e9)
