"""Describe the loops and failing tools of a session in sentences, for a terminal, a page, a ticket or an agent."""

from __future__ import annotations

from datetime import datetime

from localops import output
from localops.reading import growing_prompts, previews
from localops.reading.loops import HABIT
from localops.reading.sentences import Recorded, Word, marked, plain, separated
from localops.reading.waste import CANCELLED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localops.reading.facts import Facts
    from localops.reading.sentences import Section, Sentence

_NAMELESS = "(nameless)"
# The most loops, and the most failures, with a sentence each.
_SHOWN = 20
# Loops that `on_loop` stopped to show.
_STOPPED = 6
# Terminal cells of each input in a cycle.
_CELLS = 60
# Sessions to name with skipped polling, below other results.
_POLLING = 5
# Follows "the same result" of a loop if the results differed in ids, times or durations.
_BUT_IDS = {True: " except for ids and times", False: ""}


def document(findings: Facts) -> Facts:
    """Return the facts and the words for them."""
    page = [
        {"title": title, "sentences": [plain(sentence) for sentence in sentences]}
        for title, sentences in sections(findings)
    ]
    return {**findings, "headline": headline(findings), "page": page}


@separated
def sections(findings: Facts, *, every: bool = False) -> list[Section]:
    """Return the page: its sections with their sentences; empty sections are left out.

    Similar findings share a sentence; with `every`, each has its own.
    """
    groups = len(findings["loop_groups"]) + len(findings["failure_groups"])
    page = [
        ("Loops", list(_loops(findings, every))),
        ("Habits", list(_habits(findings, every))),
        ("Failing tools", list(_failures(findings, every))),
        ("Growing prompts", list(map(growing_prompts.sentence, findings["growing"]))),
    ]
    page = [(title, sentences) for title, sentences in page if sentences]
    is_short = groups < findings["loops_count"] + findings["failures_count"]
    if not every and (is_short or any(len(sentences) > _SHOWN for _, sentences in page)):
        _, sentences = page[-1]
        sentences.append([f"`localops lint {findings['session_id']} --all` has a line for each loop and failure."])
    passed_over = list(map(_passed_over, findings["passed_over"]))
    return [*page, ("Skipped", passed_over)] if passed_over else page


def markdown(findings: Facts, *, every: bool = False) -> Iterator[str]:
    """Yield the page of one session as lines of Markdown; `every`: see `sections`."""
    title: Sentence = [Recorded(findings["name"] or "unnamed"), f": {headline(findings)}"]
    yield f"### {'❌' if findings['alarming'] or findings['never_worked'] else '✅'} {marked(title)}"
    yield ""
    yield f"Session `{findings['session_id']}`"
    for heading, sentences in sections(findings, every=every):
        yield ""
        yield f"#### {heading}"
        yield ""
        yield from (f"- {marked(sentence)}" for sentence in sentences)


@separated
def headline(findings: Facts) -> str:
    """Return a short summary of loops and failures, with their cost."""
    useless = findings["never_worked"]
    never = f"; {output.counted(len(useless), 'tool')} failed in each call" if useless else ""
    many = len(findings["growing"])
    grew = f"; {output.counted(many, 'growing prompt')}" if many else ""
    many = len(findings["stopped"])
    stopped = f"; on_loop stopped {output.count(many)}" if many else ""
    return f"{_summary_of_loops(findings)}{stopped}{never}{grew}"


def _summary_of_loops(findings: Facts) -> str:
    if not findings["tool_calls"]:
        return "no tool calls, and so no loops"
    if not findings["loops_count"]:
        return "no loops" if findings["complete"] else "no loops among the calls that could be compared"
    many = findings["loops_count"] - findings["alarming"]
    habits = output.counted(many, "habit")
    if not findings["alarming"]:
        return f"{habits}; wasted {spent(findings['wasted'])}"
    loops = f"{output.counted(findings['alarming'], 'loop')}; wasted {spent(findings['wasted_in_loops'])}"
    return f"{loops}; and {habits}: {spent(findings['wasted_in_habits'])}" if many else loops


@separated
def total(results: Sequence[Facts], looked_at: int, without_tools: int) -> str:
    """Return a sentence about the results of several sessions, of which some made no tool calls."""
    if not looked_at:
        return "no sessions to check"
    sessions = f"{output.counted(looked_at, 'session')} checked"
    if without_tools == looked_at:
        sessions += ", none with tool calls"
    elif without_tools:
        sessions += f", {output.count(without_tools)} without tool calls"
    alarming = sum(bool(one["alarming"]) for one in results)
    habits = sum(one["loops_count"] > one["alarming"] for one in results)
    what = "no loops"
    if alarming:
        what = f"{output.count(alarming)} with loops, wasted {_sum(results, 'wasted_in_loops')}"
    if habits:
        what += f"; {output.count(habits)} with habits, wasted {_sum(results, 'wasted_in_habits')}"
    if failing := sum(bool(one["failures_count"]) for one in results):
        what += f"; {output.count(failing)} with failing tools"
    if growing := sum(bool(one["growing"]) for one in results):
        what += f"; {output.count(growing)} with growing prompts"
    return f"{sessions}: {what}"


def passed_over(results: Sequence[Facts]) -> Sentence | None:
    """Return which calls of sessions were skipped as polling; None without any."""
    polling = [one for one in results if one["passed_over"]]
    if not polling:
        return None
    sentence: Sentence = ["skipped: "]
    for number, one in enumerate(polling[:_POLLING]):
        sentence += ["; " if number else "", Word(one["name"] or "unnamed")]
        for part in one["passed_over"]:
            sentence += [", ", *_names(part["tools"], len(part["tools"])), f" ×{output.count(part['calls'])}"]
    rest = len(polling) - _POLLING
    return [*sentence, " (polling)", f", and {output.counted(rest, 'session')} more" if rest > 0 else ""]


def _sum(results: Sequence[Facts], part: str) -> str:
    names = ("calls", "llm_calls", "tokens_in", "tokens_out", "cost_nano", "unpriced")
    wasted: Facts = {name: sum(one[part][name] for one in results) for name in names}
    wasted["cost_at_least"] = any(one[part]["cost_at_least"] for one in results)
    return spent(wasted)


def spent(wasted: Facts) -> str:
    """Return the words for what was wasted: tool calls, LLM calls, tokens, cost."""
    parts = [output.counted(wasted["calls"], "tool call")]
    if wasted["llm_calls"]:
        parts.append(output.counted(wasted["llm_calls"], "LLM call"))
        parts.append(output.counted(wasted["tokens_in"] + wasted["tokens_out"], "token"))
    if wasted["cost_nano"] or wasted["llm_calls"]:
        at_least = wasted["cost_at_least"]
        parts.append(output.money_in_words(wasted["cost_nano"], wasted["unpriced"], at_least=at_least))
    return ", ".join(parts)


def _passed_over(one: Facts) -> Sentence:
    return [
        *_names(one["tools"], len(one["tools"])),
        f" ×{output.count(one['calls'])} with the same result: marked as polling.",
    ]


def _loops(findings: Facts, every: bool) -> Iterator[Sentence]:
    yield from _loops_of_kind(findings, every, findings["alarming"], is_habit=False)
    stopped = findings["stopped"]
    yield from map(sentence_of_stop, stopped if every else stopped[:_STOPPED])
    if not every and len(stopped) > _STOPPED:
        yield [f"It stopped {output.counted(len(stopped) - _STOPPED, 'more loop')}."]
    if not findings["complete"]:
        yield ["Not all calls could be compared: the session is too long, or its content was left out."]


def sentence_of_stop(one: Facts) -> Sentence:
    """Return a sentence about a loop that `on_loop` stopped, with the exception."""
    by: Sentence = [" with ", Word(one["error"] or "an exception")]
    at = output.when(round(datetime.fromisoformat(one["at"]).timestamp() * 1e9))
    return ["The program's on_loop stopped a loop", *by, f" at {at} UTC: ", Recorded(one["loop"] or ""), "."]


def _habits(findings: Facts, every: bool) -> Iterator[Sentence]:
    yield from _loops_of_kind(findings, every, findings["loops_count"] - findings["alarming"], is_habit=True)


def _loops_of_kind(findings: Facts, every: bool, many: int, *, is_habit: bool) -> Iterator[Sentence]:
    if every:
        yield from (sentence_of(loop) for loop in findings["loops"] if (loop["kind"] == HABIT) == is_habit)
        return
    groups = [group for group in findings["loop_groups"] if (group["first"]["kind"] == HABIT) == is_habit]
    yield from map(sentence_of_group, groups[:_SHOWN])
    yield from _rest(groups[:_SHOWN], many)


def _rest(shown: Sequence[Facts], many: int) -> Iterator[Sentence]:
    rest = many - sum(group["count"] for group in shown)
    if rest > 0:
        yield [f"And {output.count(rest)} more."]


def sentence_of_group(group: Facts, *, with_kind: bool = True) -> Sentence:
    """Return a sentence about similar loops: the first of them, and what all of them wasted."""
    first, many = group["first"], group["count"]
    if many == 1:
        return sentence_of(first, with_kind=with_kind)
    what = "habits" if first["kind"] == HABIT else "loops"
    has_many_tools = group["tools_count"] > len(set(first["tools"]))
    tools: Sentence = [" of tools ", *_names(group["tools"], group["tools_count"])] if has_many_tools else []
    kind = _kind(first) if with_kind else []
    are_alike = [*kind, f"{output.count(many)} {what}", *tools, " are similar; the first: "]
    return [*are_alike, *_what(first), *_then(first), f". Together they wasted {spent(group['wasted'])}."]


def _names(tools: Sequence[str | None], many: int) -> Sentence:
    """Return the first names of `many` tools, as in: 'a', 'b' and 3 more."""
    words: Sentence = []
    for name in tools:
        words += [", " if words else "", Recorded(name or _NAMELESS)]
    return [*words, f" and {output.count(many - len(tools))} more"] if many > len(tools) else words


def sentence_of(loop: Facts, *, with_kind: bool = True) -> Sentence:
    """Return a sentence about a loop."""
    kind = _kind(loop) if with_kind else []
    return [*kind, *_what(loop), *_then(loop), f". Wasted: {spent(loop['wasted'])}."]


def _then(loop: Facts) -> Sentence:
    """Return how a loop ended, if the call that it repeated was made once more with another result."""
    if not loop["then_changed"]:
        return []
    return ["; the next call succeeded" if loop["failed"] else "; the next call returned another result"]


def _kind(loop: Facts) -> Sentence:
    """Return the kind of a loop by its name in docs, JSON and SQL; empty for habits, which have their own section."""
    return [] if loop["kind"] == HABIT else [f"[{loop['kind']}] "]


def _what(loop: Facts) -> Sentence:
    who: Sentence = [" by agent ", Recorded(loop["agent"])] if loop["agent"] else []
    what: Sentence = [": ", Recorded(loop["input"])] if loop["input"] else []
    many, first = loop["given"], [", the first ", Recorded(loop["input"])] if loop["input"] else []
    failed: Sentence = [", failed with ", Recorded(loop["error"])] if loop["error"] else []
    times = f"{output.count(loop['calls'])} times"
    same = f"the same results{_BUT_IDS[loop['only_alike']]}"
    if loop["kind"] == "cycle" and len(set(loop["tools"])) > 1:
        rounds = f" were called in turn, {output.count(loop['rounds'])} rounds with {same}"
        return ["Tools ", *_in_turn(loop["tools"], loop["inputs"]), rounds, *who, *failed]
    tool = Recorded(loop["tools"][0] or _NAMELESS)
    if loop["kind"] == "cycle":
        each = output.counted(len(loop["tools"]), "call")
        rounds = f" was called {times}, {output.count(loop['rounds'])} rounds of {each} with {same}"
        return ["Tool ", tool, rounds, *who, *_all_of(loop["inputs"]), *failed]
    if loop["kind"] == "error":
        if many > 1:
            what = [f", given {output.count(many)} different arguments", *first]
        return ["Tool ", tool, f" failed {times} with the same error", *_named(loop), *who, *what]
    if loop["kind"] == "retry":
        return ["Tool ", tool, f" failed {times}{_in_rounds(loop)} with the same arguments", *who, *what, *failed]
    where = _in_rounds(loop) or (" in a row" if loop["kind"] == "repeat" else ", with other calls between,")
    both = f"arguments, and the same result{_BUT_IDS[True]}" if loop["only_alike"] else "arguments and result"
    return ["Tool ", tool, f" was called {times}{where} with the same {both}", *who, *what]


def _in_rounds(loop: Facts) -> str:
    """Return in how many rounds calls were made that overlapped; empty if none did."""
    is_parallel = loop["kind"] in ("repeat", "retry") and loop["calls"] > loop["rounds"]
    return f" in {output.count(loop['rounds'])} rounds of parallel calls," if is_parallel else ""


def _named(loop: Facts) -> Sentence:
    """Return the error of a loop; if only values in it differ, the first one."""
    of_many = " except for values in it, the first" if loop["messages"] > 1 else ""
    return [f"{of_many} ", Recorded(loop["error"])] if loop["error"] else []


def _in_turn(tools: Sequence[str | None], inputs: Sequence[str]) -> Sentence:
    words: Sentence = []
    for tool, given in zip(tools, previews.cut_distinct(inputs, _CELLS), strict=True):
        words += [", " if words else "", Recorded(tool or _NAMELESS)]
        words += [" (", Recorded(given), ")"] if given else []
    return words


def _all_of(inputs: Sequence[str]) -> Sentence:
    words: Sentence = []
    for given in dict.fromkeys(filter(None, previews.cut_distinct(inputs, _CELLS))):
        words += [", " if words else ": ", Recorded(given)]
    return words


def _failures(findings: Facts, every: bool) -> Iterator[Sentence]:
    if every:
        yield from map(_failure, findings["failures"])
        return
    groups = findings["failure_groups"][:_SHOWN]
    yield from map(_failure_group, groups)
    yield from _rest(groups, findings["failures_count"])


def _failure(one: Facts) -> Sentence:
    shape: Sentence = [" given ", Recorded(one["arguments"])] if one["arguments"] else []
    return ["Tool ", Recorded(one["tool"] or _NAMELESS), *_failure_count(one, one["error"]), *shape, *_last(one), "."]


def _failure_group(group: Facts) -> Sentence:
    first, many = group["first"], group["count"]
    if many == 1:
        return _failure(first)
    if group["tools_count"] > 1:
        tools = _names(group["tools"], group["tools_count"])
        which = f"{output.count(group['tools_count'])} tools"
        return [which, *_failure_count(group, first["error"]), *_last(group), ": ", *tools, "."]
    tool = Recorded(first["tool"] or _NAMELESS)
    shape: Sentence = [", most often ", Recorded(first["arguments"])] if first["arguments"] else []
    shapes = f" given {output.count(many)} kinds of arguments"
    return ["Tool ", tool, *_failure_count(group, first["error"]), shapes, *shape, *_last(group), "."]


def _failure_count(one: Facts, error: str | None) -> Sentence:
    of_calls = f"in {output.count(one['failures'])} of {output.counted(one['calls'], 'call')}"
    if error == CANCELLED:
        return [f" was cancelled {of_calls}"]
    return [f" failed {of_calls}", *([" with ", Word(error)] if error else [])]


def _last(one: Facts) -> Sentence:
    return [", the last: ", Recorded(one["message"])] if one["message"] else []
