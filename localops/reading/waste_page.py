"""The loops and failing tools of a session in sentences: for a terminal, a page, a ticket, an agent."""

from __future__ import annotations

from localops import output
from localops.reading.loops import HABIT
from localops.reading.sentences import Recorded, Word, marked, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localops.reading.facts import Facts
    from localops.reading.sentences import Sentence

_NAMELESS = "(nameless)"
# Loops and failures that have a sentence each.
_SHOWN = 20
# Of each input of a cycle.
_CELLS = 60


def document(findings: Facts) -> Facts:
    """Return the facts, and the words that are made of them."""
    page = [
        {"title": title, "sentences": [plain(sentence) for sentence in sentences]}
        for title, sentences in sections(findings)
    ]
    return {**findings, "headline": headline(findings), "page": page}


def sections(findings: Facts) -> list[tuple[str, list[Sentence]]]:
    """Return the page: each section with its sentences; one without any is left out."""
    page = [
        ("Loops", list(_loops(findings))),
        ("Habits", list(_habits(findings))),
        ("Failing tools", list(_failures(findings))),
    ]
    return [(title, sentences) for title, sentences in page if sentences]


def markdown(findings: Facts) -> Iterator[str]:
    """Yield the page of one session as lines of Markdown."""
    title: Sentence = [Recorded(findings["name"] or "unnamed"), f": {headline(findings)}"]
    yield f"### {'❌' if findings['alarming'] else '✅'} {marked(title)}"
    yield ""
    yield f"Session `{findings['session_id']}`"
    for heading, sentences in sections(findings):
        yield ""
        yield f"#### {heading}"
        yield ""
        yield from (f"- {marked(sentence)}" for sentence in sentences)


def headline(findings: Facts) -> str:
    """Return what was found in a few words, with what it cost."""
    if not findings["loops_count"]:
        return "no loops" if findings["complete"] else "no loops in what could be compared"
    many = findings["loops_count"] - findings["alarming"]
    habits = output.counted(many, "habit")
    if not findings["alarming"]:
        return f"{habits}; wasted {spent(findings['wasted'])}"
    loops = f"{output.counted(findings['alarming'], 'loop')}; wasted {spent(findings['wasted_in_loops'])}"
    return f"{loops}; and {habits}: {spent(findings['wasted_in_habits'])}" if many else loops


def total(results: Sequence[Facts]) -> str:
    """Return what was found in several sessions, in a sentence."""
    of = output.counted(len(results), "session")
    if not any(one["loops_count"] for one in results):
        return f"no loops in {of}"
    alarming = sum(bool(one["alarming"]) for one in results)
    loops = f"{output.count(alarming)} of {of} with loops; wasted {_sum(results, 'wasted_in_loops')}"
    habits = sum(one["loops_count"] > one["alarming"] for one in results)
    of_habits = f"habits in {output.count(habits)}: {_sum(results, 'wasted_in_habits')}"
    if not alarming:
        return f"no loops in {of}; {of_habits}"
    return f"{loops}; and {of_habits}" if habits else loops


def _sum(results: Sequence[Facts], part: str) -> str:
    names = ("calls", "llm_calls", "tokens_in", "tokens_out", "cost_nano", "unpriced")
    wasted: Facts = {name: sum(one[part][name] for one in results) for name in names}
    wasted["cost_at_least"] = any(one[part]["cost_at_least"] for one in results)
    return spent(wasted)


def spent(wasted: Facts) -> str:
    """Return what was wasted: tool calls, LLM calls, tokens, cost."""
    parts = [output.counted(wasted["calls"], "tool call")]
    if wasted["llm_calls"]:
        parts.append(output.counted(wasted["llm_calls"], "LLM call"))
        parts.append(output.counted(wasted["tokens_in"] + wasted["tokens_out"], "token"))
    if wasted["cost_nano"] or wasted["llm_calls"]:
        at_least = wasted["cost_at_least"]
        parts.append(output.money_in_words(wasted["cost_nano"], wasted["unpriced"], at_least=at_least))
    return ", ".join(parts)


def _loops(findings: Facts) -> Iterator[Sentence]:
    yield from _sentences([loop for loop in findings["loops"] if loop["kind"] != HABIT], findings["alarming"])
    if not findings["complete"]:
        yield ["Not all calls could be compared: the session is too long, or its content was left out."]


def _habits(findings: Facts) -> Iterator[Sentence]:
    many = findings["loops_count"] - findings["alarming"]
    yield from _sentences([loop for loop in findings["loops"] if loop["kind"] == HABIT], many)


def _sentences(listed: Sequence[Facts], many: int) -> Iterator[Sentence]:
    yield from map(sentence_of, listed[:_SHOWN])
    rest = many - min(len(listed), _SHOWN)
    if rest > 0:
        yield [f"And {output.count(rest)} more."]


def sentence_of(loop: Facts) -> Sentence:
    """Return a loop in a sentence."""
    who: Sentence = [" by ", Recorded(loop["agent"])] if loop["agent"] else []
    what: Sentence = [": ", Recorded(loop["input"])] if loop["input"] else []
    failed: Sentence = [", failed with ", Recorded(loop["error"])] if loop["error"] else []
    wasted = f". Wasted: {spent(loop['wasted'])}."
    times = f"{output.count(loop['calls'])} times"
    if loop["kind"] == "cycle" and len(set(loop["tools"])) > 1:
        rounds = f" were called in turn, {output.count(loop['rounds'])} rounds with the same results"
        return ["Tools ", *_in_turn(loop["tools"], loop["inputs"]), rounds, *who, *failed, wasted]
    tool = Recorded(loop["tools"][0] or _NAMELESS)
    if loop["kind"] == "cycle":
        each = output.counted(len(loop["tools"]), "call")
        rounds = f" was called {times}, {output.count(loop['rounds'])} rounds of {each} with the same results"
        return ["Tool ", tool, rounds, *who, *_all_of(loop["inputs"]), *failed, wasted]
    if loop["kind"] == "error":
        return ["Tool ", tool, f" failed {times} with the same error", *_named(loop), *who, *what, wasted]
    if loop["kind"] == "retry":
        return ["Tool ", tool, f" failed {times} with the same arguments", *who, *what, *failed, wasted]
    where = " in a row" if loop["kind"] == "repeat" else ", others between,"
    return ["Tool ", tool, f" was called {times}{where} with the same arguments and result", *who, *what, wasted]


def _named(loop: Facts) -> Sentence:
    return [" ", Recorded(loop["error"])] if loop["error"] else []


def _in_turn(tools: Sequence[str | None], inputs: Sequence[str]) -> Sentence:
    words: Sentence = []
    for tool, given in zip(tools, inputs, strict=True):
        words += [", " if words else "", Recorded(tool or _NAMELESS)]
        words += [" (", Recorded(output.cut(given, _CELLS)), ")"] if given else []
    return words


def _all_of(inputs: Sequence[str]) -> Sentence:
    words: Sentence = []
    for given in dict.fromkeys(filter(None, inputs)):
        words += [", " if words else ": ", Recorded(output.cut(given, _CELLS))]
    return words


def _failures(findings: Facts) -> Iterator[Sentence]:
    for one in findings["failures"][:_SHOWN]:
        error: Sentence = [" with ", Word(one["error"])] if one["error"] else []
        shape: Sentence = [" given ", Recorded(one["arguments"])] if one["arguments"] else []
        message: Sentence = [", the last: ", Recorded(one["message"])] if one["message"] else []
        often = f" failed in {output.count(one['failures'])} of {output.counted(one['calls'], 'call')}"
        yield ["Tool ", Recorded(one["tool"] or _NAMELESS), often, *error, *shape, *message, "."]
    rest = findings["failures_count"] - min(len(findings["failures"]), _SHOWN)
    if rest > 0:
        yield [f"And {output.count(rest)} more."]
