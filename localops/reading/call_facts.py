"""The JSON of calls and of groups of calls, for the command, the pages and the API."""

from __future__ import annotations

from localops.clock import iso
from localops.encoding import encode
from localops.errors import ConfigError
from localops.journal import rows, stored
from localops.reading import call_search, facts, finish_reasons, loops, previews, prompt_differences, prompts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from localops.reading.call_query import Call, Errors, Example, Failures, Group, Groups, Place
    from localops.reading.call_search import Wanted
    from localops.reading.facts import Facts
    from localops.reading.home import Project

    Name = Callable[[Project, bytes], str | None]
    Running = Callable[[Call], bool]

# Bytes of bodies to read for one response; the last call may exceed the limit.
_MOST = 8 << 20
_KEY_BITS = 64


def key_text(key: int) -> str:
    """Return the text of a key: of a prompt, or of a tool with its arguments.

    >>> key_text(-1), key_of("ffffffffffffffff")
    ('ffffffffffffffff', -1)
    """
    return f"{key % (1 << _KEY_BITS):016x}"


def key_of(text: str) -> int:
    """Parse the text of a key; raise ConfigError if it is invalid."""
    try:
        key = int(text, 16) if len(text) == _KEY_BITS // 4 else None
    except ValueError:
        key = None
    if key is None:
        raise ConfigError(f"invalid key {text[:40]!r}: expected 16 hex digits, as groups of calls have")
    return key - (1 << _KEY_BITS) if key >> (_KEY_BITS - 1) else key


def page(
    calls: Iterable[Call], following: Place | None, name_of: Name, running: Running, wanted: Wanted | None = None
) -> Facts:
    """Return a page of calls, and where the next page begins; with `wanted`, where each call has the words."""
    reader = _Inputs(wanted)
    return {
        "calls": [{**_call(one, name_of, reader), "running": running(one)} for one in calls],
        "next": None if following is None else str(following),
    }


def _call(one: Call, name_of: Name, inputs: _Inputs) -> Facts:
    return {
        **_place(one, name_of),
        "kind": one.kind,
        "tool": one.tool,
        "model": one.model,
        "began": iso(one.began_ns),
        "finished": bool(one.finished),
        "seconds": None if one.took_ns is None else one.took_ns / 1e9,
        "time_to_first_token": None if one.first_ns is None else one.first_ns / 1e9,
        **{name: getattr(one, name) for name in rows.TOKENS},
        **facts.money(one.cost),
        "billed": not one.unbilled,
        **_failure(one, inputs),
        **inputs.texts(one),
        **inputs.match(one),
    }


def _place(one: Call, name_of: Name) -> Facts:
    return {
        "id": facts.full_id(one.id),
        "seq": one.seq,
        "session_id": facts.full_id(one.session),
        "session_name": name_of(one.project, one.session),
        "project": one.project.name,
    }


def _failure(one: Call, inputs: _Inputs) -> Facts:
    failed = bool(one.failed)
    message = inputs.message(one) if failed and one.error_seq is not None else None
    near = loops.period_around(one.began_ns, one.began_ns)
    return {
        "failed": failed,
        "error": one.error if failed else None,
        "message": message,
        # Messages that count as the same may differ in numbers, ids and values.
        "message_varies": bool(message) and loops.folded(message or "", near) != message,
    }


def groups(by: str, listed: Groups, name_of: Name) -> Facts:
    """Return groups of calls, and whether there are more."""
    inputs = _Inputs()
    lines = [
        _group(by, group, examples, name_of, inputs)
        for group, examples in zip(listed.first, listed.examples, strict=True)
    ]
    for line, failures in zip(lines, listed.failures, strict=False):
        line |= _failures(by, failures, inputs)
    if by == "prompt":
        whole = [inputs.prompt(group, each) for group, each in zip(listed.first, listed.examples, strict=True)]
        for line, difference in zip(lines, prompt_differences.differences(whole), strict=True):
            line["differs"] = None if difference is None else difference._asdict()
        # Only for a single group: in a list, all prompts together would be too long.
        if len(lines) == 1:
            lines[0]["whole"] = whole[0]
    return {"by": by, "lines": lines, "more": listed.more}


def _failures(by: str, failures: Failures, inputs: _Inputs) -> Facts:
    newest = (
        {"error": None, "message": None, "message_varies": False}
        if failures.newest is None
        else _failure(failures.newest, inputs)
    )
    facts: Facts = {
        "error": newest["error"] or None,
        "message": newest["message"],
        "message_varies": newest["message_varies"],
        "called": [{"kind": kind, "name": name, "calls": calls} for kind, name, calls in failures.called],
        "called_count": failures.called_count,
    }
    if by == "message" and len(failures.messages) == 1:
        facts |= _message(*failures.messages[0][2:], inputs)
    if by == "error":
        facts["messages"] = [
            {**_message(call, errors, inputs), "calls": calls, "filter": {"message": key_text(key)}}
            for key, calls, call, errors in failures.messages
        ]
        facts["messages_count"] = failures.messages_count
    return facts


def _message(call: Call, errors: Errors | None, inputs: _Inputs) -> Facts:
    """Return the message of a call, and whether the messages of the other calls in the group may differ from it."""
    failure = _failure(call, inputs)
    varies = failure["message_varies"]
    if varies and errors is not None:
        varies = len({inputs.message_at(project, seq) for project, seq in errors}) > 1
    return {"message": failure["message"], "message_varies": varies}


def message(one: Facts, calls: int) -> str:
    """Return the text for the message of a number of calls; if it varies, as an example."""
    text: str = one["message"] or ""
    return f"such as {text}" if calls > 1 and one["message_varies"] else text


def _group(by: str, group: Group, examples: Sequence[Example], name_of: Name, inputs: _Inputs) -> Facts:
    median, high = group.percentiles()
    return {
        **_common(by, group, examples, name_of),
        **total(group),
        "median": None if median is None else median / 1e9,
        "p95": None if high is None else high / 1e9,
        "examples": [
            {
                **_place(one.call, name_of),
                "calls": one.calls,
                **_failure(one.call, inputs),
                **inputs.line(one.call),
            }
            for one in examples
        ],
    }


def _common(by: str, group: Group, examples: Sequence[Example], name_of: Name) -> Facts:
    """Return what the calls of a group have in common, and the filters that select them."""
    if by in ("tool", "model"):
        return {by: group.text, "filter": {by: group.text}}
    if by == "error":
        # Without a text: the calls failed, but no error was recorded for them.
        return {by: group.text or None, "filter": {by: group.text} if group.text else {"failed": 1}}
    key = key_text(group.key)
    if by == "message":
        return {"filter": {by: key}}
    if by == "prompt":
        return {by: group.text, "cut": group.cut, "filter": {by: key}}
    call = examples[0].call if examples else None
    own: Facts = {"tool": call.tool if call else None, "arguments": group.text, "cut": group.cut}
    if by == "repeat" and call is not None:
        session = facts.full_id(call.session)
        own |= {"session_id": session, "session_name": name_of(call.project, call.session)}
        return {**own, "project": call.project.name, "filter": {"session": session, "same": key}}
    return {**own, "filter": {"same": key}}


def text(one: Facts) -> str:
    """Return the line of a call or example: a model's answer; without one, its marked input; or a tool's input."""
    if one["answer"] is None:
        return one["input"] or ""
    return one["answer"] or previews.given_line(one["input"] or "")


def total(group: Group) -> Facts:
    """Return the figures of all calls of a group."""
    unpriced = group.sum("unpriced")
    first, last = group.span_ns
    failed_ns = group.first_failed_ns
    return {
        "calls": group.sum("calls"),
        "unfinished": group.sum("unfinished"),
        "failed": group.sum("failed"),
        "failed_share": group.share,
        "llm_calls": group.sum("llms"),
        **{name: group.sum(name) for name in rows.TOKENS},
        **facts.cost(group.sum("cost"), at_least=unpriced > 0 or group.is_open),
        "unpriced": unpriced,
        "seconds": group.sum("took_ns") / 1e9,
        "first": None if first is None else iso(first),
        "last": None if last is None else iso(last),
        "first_failed": None if failed_ns is None else iso(failed_ns),
    }


class _Inputs:
    """Reads the inputs of calls, as a line each, up to a limit of bytes."""

    def __init__(self, wanted: Wanted | None = None) -> None:
        self._left = _MOST
        self._wanted = wanted

    def match(self, one: Call) -> Facts:
        """Return where a call has the words of a search, as `match`; an empty dict without a search."""
        if self._wanted is None:
            return {}
        match = call_search.match(one.project, one.id, one.error_seq, self._wanted) if self._left > 0 else None
        return {"match": None if match is None else {"in": match.part, "text": match.text}}

    def line(self, one: Call) -> dict[str, str | None]:
        """Return the input of a call and its answer, as in `texts`."""
        texts = self.texts(one)
        return {"input": texts["input"], "answer": texts["answer"]}

    def texts(self, one: Call) -> dict[str, str | None]:
        """Return the input of a call (None if the limit is reached) and why its model stopped early, if it did.

        `answer` is a model's answer, empty without one; None for a tool.
        """
        stopped, answer = None, "" if one.kind == "llm" else None
        for phase in (rows.DONE, rows.OPEN):
            if self._left <= 0:
                return {"input": None, "answer": answer, "stopped": stopped}
            row = stored.one(one.project.reader, one.id, phase)
            body = self._body(None if row is None else row.body)
            if one.kind == "llm" and isinstance(body, dict):
                stopped = stopped or finish_reasons.unusual(body)
                answer = answer or previews.result(one.kind, body)
            if row is not None and (text := previews.line(one.kind, body)):
                return {"input": text, "answer": answer, "stopped": stopped}
        return {"input": "", "answer": answer, "stopped": stopped}

    def prompt(self, group: Group, examples: Sequence[Example]) -> str | None:
        """Return the complete prompt of a group (the table has only its beginning); None if the limit is reached."""
        if not group.cut:
            return group.text
        for phase in (rows.DONE, rows.OPEN):
            if not examples or self._left <= 0:
                return None
            call = examples[0].call
            row = stored.one(call.project.reader, call.id, phase)
            body = self._body(None if row is None else row.body)
            if isinstance(body, dict) and (part := prompts.own_part(body)[0]):
                return prompts.template(part, call.began_ns)
        return None

    def message(self, one: Call) -> str | None:
        """Return the message of the error that a call failed with, as a line."""
        return None if one.error_seq is None else self.message_at(one.project, one.error_seq)

    def message_at(self, project: Project, seq: int) -> str | None:
        """Return the message of the error in a row, as a line."""
        bodies = project.reader.ask("select body from event where seq = ?", (seq,))
        return next((self._line("error", body) for (body,) in bodies), None)

    def _line(self, kind: str, body: str | None) -> str:
        return previews.line(kind, self._body(body))

    def _body(self, body: str | None) -> Any:
        self._left -= len(body or "")
        try:
            return encode.loads(body or "{}")
        # A damaged body.
        except ValueError:
            return {}
