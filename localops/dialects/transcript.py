"""`md`: the messages and tool calls of sessions, as Markdown for a ticket or a model.

Recorded text is in code blocks only, whose fences are longer than any in it, so that it is never markup.
"""

from __future__ import annotations

import re

from localops import output
from localops.dialects import chat, turns
from localops.encoding import encode
from localops.otel.messages import text
from localops.reading import analytics, facts
from localops.reading.markdown import code
from localops.recording import scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

    from localops.dialects.turns import Call, Turn
    from localops.reading.export import Run

    Event = dict[str, Any]

_MOST_TEXT = 20_000  # characters of one text
_MOST_SCORES = 50


def write(runs: Iterable[Run], file: BinaryIO) -> None:
    """Write the transcripts of sessions, one after another."""
    for number, run in enumerate(runs):
        file.write(b"\n" if number else b"")
        for line in _lines(run):
            file.write(line.encode("utf-8", "replace") + b"\n")


def _lines(run: Run) -> Iterator[str]:
    yield f"# {code(run.story.name or 'session')}: {run.standing.state}"
    yield ""
    yield from _head(run)
    names: dict[str, str] = {}
    for number, turn in enumerate(turns.of(run), 1):
        agent = turn.agent
        if agent is not None and agent not in names:
            names[agent] = analytics.agent_name(run.reader, agent)
        yield ""
        yield f"## {number}. {' · '.join(_title(turn, names))}"
        yield from _body(turn)


def _head(run: Run) -> Iterator[str]:
    figures, story = run.totals, run.story
    yield f"- Session `{facts.full_id(run.id)}`, project {code(run.project)}"
    if run.standing.reason:
        yield f"- Reason: {code(output.cut(run.standing.reason, 500))}"
    took = output.short_duration(figures.last_ns - figures.first_ns)
    yield f"- Began {output.when(figures.first_ns)} UTC, took {'at least ' if run.is_cut_off else ''}{took}"
    calls = (("LLM call", figures.llms), ("tool call", figures.tools), ("error", figures.errors))
    yield f"- {', '.join(output.counted(many, what) for what, many in calls)}"
    cost = output.money_of(figures.cost, figures.unpriced, figures.llms, at_least=run.cost_at_least)
    yield f"- {figures.tokens_in:,} tokens in, {figures.tokens_out:,} out, {cost}"
    if story.tags:
        yield f"- Tags: {', '.join(map(code, story.tags))}"
    if story.metadata:
        yield f"- Metadata: {code(output.cut(text(story.metadata), 500))}"
    yield from _judgements(run)


def _judgements(run: Run) -> Iterator[str]:
    """Yield the scores that count, and the notes."""
    shown = [one for one in run.scores if one.counts or one.is_note]
    for one in shown[:_MOST_SCORES]:
        comment = one.body.get("comment")
        words = None if comment is None else code(output.cut(text(comment), 500))
        if one.is_note:
            yield f"- Note by {code(one.author)}: {words}"
        else:
            where = f" of event `{facts.full_id(one.target)}`" if one.target else ""
            value = code(scores.shown(one.value))
            by = code(one.author) + (f" version {code(one.version)}" if one.version else "")
            yield f"- Score {code(one.name)}{where}: {value} by {by}{f': {words}' if words else ''}"
    if len(shown) > _MOST_SCORES:
        yield f"- And {output.count(len(shown) - _MOST_SCORES)} more scores and notes"


def _title(turn: Turn, names: dict[str, str]) -> Iterator[str]:
    event = turn.event
    yield turn.source + (f" {code(names[turn.agent])}" if turn.agent is not None else "")
    if event is None:
        if turn.is_earlier:
            yield "from the prompt"
        return
    if event["kind"] == "llm":
        yield code(event["model"] or "unknown model")
        if event["tokens_in"] is None and event["tokens_out"] is None:
            yield "tokens unknown"
        else:
            yield f"{event['tokens_in'] or 0:,} + {event['tokens_out'] or 0:,} tokens"
        yield from filter(None, [facts.cost_text(event)])
        yield from _ending(event)
    elif event["kind"] in turns.REMARKS:
        yield event["kind"]


def _ending(event: Event) -> Iterator[str]:
    if not event["finished"]:
        yield "**never ended**"
        return
    yield output.short_duration(max(0, event["end_ns"] - event["start_ns"]))
    if event["failed"]:
        yield "**failed**"


def _body(turn: Turn) -> Iterator[str]:
    event = turn.event
    if turn.reasoning:
        yield from _block("Reasoning", turn.reasoning)
    message = chat.plain_text(turn.message)
    if turn.source == "system" and event is not None:
        message = turns.remark(event)
    if message:
        yield from _block(None, message)
    for call in turn.calls:
        yield from _call(call)
    for result in turn.results:
        yield from _block("Result", result)


def _call(call: Call) -> Iterator[str]:
    ending = [] if call.event is None else list(_ending(call.event))
    what = "Call of" if call.event is None or call.event["kind"] == "tool" else call.event["kind"].capitalize()
    title = " · ".join([f"{what} {code(call.name)}", *ending])
    if call.arguments or what == "Call of":
        yield from _block(title, encode.dumps(call.arguments).decode(), "json")
    else:
        yield from ("", title)
    if call.result is not None:
        yield from _block("Result", call.result)


def _block(title: str | None, content: str, language: str = "text") -> Iterator[str]:
    """Yield a text as a block of code, whatever backticks it has."""
    plain = output.clean(content, newlines=True)
    if len(plain) > _MOST_TEXT:
        plain = f"{plain[:_MOST_TEXT]}\n… ({len(plain):,} characters)"
    fence = "`" * max(3, max(map(len, re.findall("`+", plain)), default=0) + 1)
    yield ""
    if title is not None:
        yield f"{title}:"
        yield ""
    yield f"{fence}{language}"
    yield plain
    yield fence
