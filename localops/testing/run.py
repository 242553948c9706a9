"""The events that a test has recorded, as plain values, and assertions on them.

Everything is read from the journal when it is asked for, so it is what a crash would have left.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import dataclass, field

from localops import config, output
from localops.reading import analytics, run_gate, waste, waste_page
from localops.reading.home import Home
from localops.reading.sentences import plain
from localops.reading.steps import Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from typing import Any, NoReturn

    from localops.reading.run_gate import Measured

_MANY = 60  # lines of what happened in the message of an assertion
_WIDE = 160  # characters of one of them
_NOT_CALLS = ("error", "agent")


@dataclass(frozen=True)
class Call:
    """One call that was recorded: of a tool, of a model, or another operation."""

    kind: str
    """tool, llm, action, agent, …"""
    name: str
    """Of the tool or operation; of an LLM call, its model where it has no name."""
    args: Any
    """What it was given: for a decorated function, its arguments by name; for an LLM call, its prompt."""
    result: Any
    """What it returned: for an LLM call, its completion."""
    failed: bool
    finished: bool
    model: str | None
    tokens_in: int
    tokens_out: int
    cost: float | None
    """In US dollars; None where no price is known, or where it can have none."""
    seconds: float | None
    parent: str | None
    """The id of the call it was made in."""
    id: str
    session_id: str
    event: dict[str, Any] = field(repr=False)
    """All that is known of it, under the names of `localops show --json`."""


@dataclass(frozen=True)
class Error:
    """One error that was recorded."""

    name: str
    """Of its class."""
    message: str
    call_id: str | None
    """The id of the call that failed with it."""
    event: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class RecordedSession:
    """One session that was recorded."""

    id: uuid.UUID
    name: str | None
    state: str
    """Running, Success, Failure or Indeterminate."""
    reason: str | None
    tags: list[str]
    project: str
    metadata: dict[str, Any]


class Run:
    """The recording of a test so far; the fixture `localops_run` is one."""

    def __init__(self, home: str) -> None:
        self.home = home

    # What was recorded

    @property
    def sessions(self) -> list[RecordedSession]:
        """The sessions, oldest first; `unattributed` is the name of one for events that had none."""
        return [session for session, _ in self._read()]

    @property
    def session(self) -> RecordedSession:
        """The session, where there is exactly one."""
        sessions = self.sessions
        if len(sessions) != 1:
            names = ", ".join(f"{session.name!r} ({session.state})" for session in sessions)
            self._fail(f"expected one session, got {len(sessions)}" + (f": {names}" if names else ""))
        return sessions[0]

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event of every session in the order they began, under the names of `localops show --json`."""
        events = [event for _, events in self._read() for event in events]
        return sorted(events, key=lambda event: (event["start_ns"], event["seq"]))

    @property
    def calls(self) -> list[Call]:
        """Every call of a tool, a model or another operation, in the order they began."""
        return [_call(event) for event in self.events if event["kind"] not in _NOT_CALLS]

    @property
    def tools(self) -> list[Call]:
        """The tool calls, in the order they began."""
        return [call for call in self.calls if call.kind == "tool"]

    @property
    def llm_calls(self) -> list[Call]:
        """The LLM calls, in the order they began."""
        return [call for call in self.calls if call.kind == "llm"]

    @property
    def errors(self) -> list[Error]:
        """The errors, in the order in which they occurred."""
        return [_error(event) for event in self.events if event["kind"] == "error"]

    @property
    def agents(self) -> list[str]:
        """The names of the agents, in the order in which they began."""
        return [str(event["name"]) for event in self.events if event["kind"] == "agent"]

    @property
    def cost(self) -> float:
        """Return the cost of all calls in US dollars, without calls of unknown price: see `unpriced`."""
        return sum(event["cost"] or 0 for event in self.events) / 1e9

    @property
    def unpriced(self) -> int:
        """Return how many LLM calls have no known price."""
        return sum(call.cost is None and call.finished for call in self.llm_calls)

    @property
    def tokens(self) -> int:
        """Tokens of all prompts and completions."""
        return self.tokens_in + self.tokens_out

    @property
    def tokens_in(self) -> int:
        """Tokens of all prompts."""
        return sum(call.tokens_in for call in self.llm_calls)

    @property
    def tokens_out(self) -> int:
        """Tokens of all completions."""
        return sum(call.tokens_out for call in self.llm_calls)

    # Assertions

    def assert_tools(self, *names: str) -> None:
        """Assert that these tools were called, and no others, in this order."""
        __tracebackhide__ = True
        called = [call.name for call in self.tools]
        if called != list(names):
            self._fail(f"expected the tools {_listed(names)}, got {_listed(called)}")

    def assert_tools_include(self, *names: str) -> None:
        """Assert that these tools were called in this order; others may have been called before, between and after."""
        __tracebackhide__ = True
        called = [call.name for call in self.tools]
        rest = iter(called)
        missing = next((name for name in names if name not in rest), None)
        if missing is not None:
            self._fail(
                f"expected the tools {_listed(names)} in this order, got {_listed(called)}: {missing} is missing"
            )

    def assert_called(
        self, name: str, args: Mapping[str, Any] | None = None, *, kind: str | None = None, times: int | None = None
    ) -> Call:
        """Assert that something of this name was called, and return its first call.

        args: what it was given, at least; values are compared as they are in the journal, which is JSON.
        kind: tool, llm, action, … [any]. times: exactly so often [once or more].
        """
        __tracebackhide__ = True
        of_name = [call for call in self.calls if call.name == name and kind in (None, call.kind)]
        matching = [call for call in of_name if args is None or _has(call.args, args)]
        if times is not None:
            if len(matching) != times:
                self._fail(f"expected {output.counted(times, 'call')} of {_described(name, args)}, got {len(matching)}")
        elif of_name and not matching:
            given = "; ".join(_short(call.args) for call in of_name[:5])
            self._fail(f"{name} was not called with {_short(args)}, but with {given}")
        elif not matching:
            self._fail(f"{name} was not called")
        return matching[0] if matching else _NOTHING

    def assert_not_called(self, name: str, args: Mapping[str, Any] | None = None) -> None:
        """Assert that nothing of this name was called, or not with these arguments."""
        __tracebackhide__ = True
        self.assert_called(name, args, times=0)

    def assert_no_errors(self) -> None:
        """Assert that no error was recorded, and that no call failed."""
        __tracebackhide__ = True
        errors, failed = self.errors, [call for call in self.calls if call.failed]
        if errors:
            names = "; ".join(f"{error.name}: {error.message}" for error in errors[:5])
            self._fail(f"expected no errors, got {len(errors)}: {names}")
        if failed:
            self._fail(f"expected no call to fail, got {_listed([call.name for call in failed])}")

    def assert_all_ended(self) -> None:
        """Assert that every call and operation that began has ended: no process was killed in one, and none is open."""
        __tracebackhide__ = True
        begun = [call for call in self.calls if not call.finished]
        if begun:
            named = _listed([f"{call.kind} {call.name}" for call in begun[:5]])
            self._fail(f"expected every operation to end, got {len(begun)} that did not: {named}")

    def assert_no_loops(self, *, polling: Collection[str] = (), habits: bool = False) -> None:
        """Assert that no tool calls repeat as `localops lint` would report it; `polling` names tools that may.

        With `habits`, calls that come often with others between are reported, too.
        """
        __tracebackhide__ = True
        reports: list[str] = []
        count = 0
        with Home(self.home) as opened:
            waits = {*polling, *config.polling(self.home)}
            for listed in opened.sessions():
                snapshot = listed.project.snapshot(listed.session)
                facts = waste.of(listed.project.name, snapshot, listed.project.reader, polling=waits)
                groups = [group for group in facts["loop_groups"] if habits or waste.is_alarming(group["first"])]
                count += sum(group["count"] for group in groups)
                reports += (plain(waste_page.sentence_of_group(group)) for group in groups)
        if reports:
            self._fail("expected no loops, got " + output.count(count) + ":\n" + "\n".join(reports))

    def assert_error(self, name: str, match: str = "") -> Error:
        """Assert that an error of this class was recorded, and return it; `match` is searched in its message."""
        __tracebackhide__ = True
        errors = self.errors
        matching = [error for error in errors if error.name == name and re.search(match, error.message)]
        if not matching:
            recorded = "; ".join(f"{error.name}: {error.message}" for error in errors[:5]) or "none"
            self._fail(f"expected the error {name}{f' with {match!r}' if match else ''}, got {recorded}")
        return matching[0]

    def assert_cost(self, *, at_most: float) -> None:
        """Assert that the run cost no more, in US dollars; a call without a known price could have cost anything."""
        __tracebackhide__ = True
        if self.unpriced:
            unpriced = [call for call in self.llm_calls if call.cost is None and call.finished]
            models = sorted({str(call.model) for call in unpriced})
            why = " or ".join(
                sorted({"no price" if call.tokens_in or call.tokens_out else "no token counts" for call in unpriced})
            )
            self._fail(f"the cost is not known: {why} for {output.counted(len(unpriced), 'call')} of {_listed(models)}")
        if lost := [call for call in self.llm_calls if not call.finished]:
            models = sorted({str(call.model) for call in lost})
            self._fail(f"the cost is not known: {output.counted(len(lost), 'call')} of {_listed(models)} did not end")
        if self.cost > at_most:
            self._fail(f"expected a cost of at most ${at_most:g}, got ${self.cost:g}")

    def assert_tokens(self, *, at_most: int) -> None:
        """Assert that all prompts and completions have no more tokens."""
        __tracebackhide__ = True
        if self.tokens > at_most:
            self._fail(f"expected at most {at_most} tokens, got {self.tokens}")

    def assert_llm_calls(self, count: int | None = None, *, at_most: int | None = None) -> None:
        """Assert how many calls of models were made."""
        __tracebackhide__ = True
        calls = len(self.llm_calls)
        if count is not None and calls != count:
            self._fail(f"expected {output.counted(count, 'LLM call')}, got {calls}")
        if at_most is not None and calls > at_most:
            self._fail(f"expected at most {output.counted(at_most, 'LLM call')}, got {calls}")

    def assert_state(self, state: str) -> None:
        """Assert the state of the session: Running, Success, Failure or Indeterminate; there must be exactly one."""
        __tracebackhide__ = True
        session = self.session
        if session.state != state:
            reason = f" ({session.reason})" if session.reason else ""
            self._fail(f"expected the state {state}, got {session.state}{reason}")

    def assert_matches(
        self,
        baseline: str | os.PathLike[str],
        *,
        max_cost: str | float | None = None,
        max_duration: str | float | None = None,
        max_tokens: str | int | None = None,
        max_calls: str | int | None = None,
        max_errors: str | int | None = None,
        same_tools: bool = False,
        same_arguments: bool = False,
        allow_unpriced: bool = False,
    ) -> None:
        """Assert that the one session keeps these rules beside a baseline file: those of `localops check`.

        A limit is a figure (US dollars, seconds, numbers) or relative to the baseline: `"+10%"`, `"+0.01"`.
        Raise ConfigError for a limit or a file that cannot be used.
        """
        __tracebackhide__ = True
        base = run_gate.read_baseline(os.fspath(baseline))
        limits = run_gate.limits(
            max_cost=max_cost,
            max_duration=max_duration,
            max_tokens=max_tokens,
            max_calls=max_calls,
            max_errors=max_errors,
        )
        verdicts = run_gate.check(
            self._measured(),
            base,
            limits,
            same_tools=same_tools,
            same_arguments=same_arguments,
            allow_unpriced=allow_unpriced,
        )
        broken = [verdict for verdict in verdicts if not verdict.passed]
        if broken:
            lines = [f"{v.rule}: {v.reason} (got {v.value}, limit {v.limit}, baseline {v.baseline})" for v in broken]
            self._fail("\n".join(output.clean(line) for line in lines))

    def save_baseline(self, path: str | os.PathLike[str]) -> None:
        """Write the one session as a baseline file for `assert_matches` and `localops check --baseline`."""
        __tracebackhide__ = True
        measured = self._measured()
        if measured.incomplete is not None:
            self._fail(f"the session cannot be a baseline: {measured.incomplete}")
        run_gate.write_baseline(os.fspath(path), measured)

    def _measured(self) -> Measured:
        __tracebackhide__ = True
        id = self.session.id.bytes
        with Home(self.home) as opened:
            project, _ = opened.find(str(self.session.id))
            return run_gate.measure(project.snapshot(id), Steps.read(project.reader, id), waiting=project.waiting)

    def __str__(self) -> str:
        """Return the events, a line each."""
        sessions = [f"session {session.name!r}: {session.state}" for session in self.sessions]
        events = self.events
        depths: dict[str, int] = {}
        lines = [_line(event, depths) for event in events[:_MANY]]
        more = [f"… and {len(events) - _MANY} more"] if len(events) > _MANY else []
        return "\n".join(sessions + lines + more)

    def __repr__(self) -> str:
        return f"<Run of {len(self.calls)} calls, {len(self.errors)} errors in {self.home}>"

    def _fail(self, message: str) -> NoReturn:
        __tracebackhide__ = True
        raise AssertionError(f"{message}\n\nrecorded:\n{str(self) or 'nothing'}")

    def _read(self) -> Iterator[tuple[RecordedSession, list[dict[str, Any]]]]:
        with Home(self.home) as opened:
            for listed in reversed(list(opened.sessions())):
                project, snapshot = listed.project, listed.project.snapshot(listed.session)
                yield (
                    RecordedSession(
                        id=uuid.UUID(bytes=listed.session),
                        name=snapshot.story.name,
                        state=snapshot.standing.state,
                        reason=snapshot.standing.reason,
                        tags=snapshot.story.tags,
                        project=project.name,
                        metadata=snapshot.story.metadata,
                    ),
                    list(analytics.events(project.reader, listed.session)),
                )


def _call(event: dict[str, Any]) -> Call:
    is_llm = event["kind"] == "llm"
    ended = event["end_ns"]
    return Call(
        kind=event["kind"],
        name=event["name"] or event["model"] or "",
        args=event.get("prompt" if is_llm else "params"),
        result=event.get("completion" if is_llm else "returns"),
        failed=event["failed"],
        finished=event["finished"],
        model=event["model"],
        tokens_in=event["tokens_in"] or 0,
        tokens_out=event["tokens_out"] or 0,
        cost=None if event["cost"] is None else event["cost"] / 1e9,
        seconds=None if ended is None else max(0, ended - event["start_ns"]) / 1e9,
        parent=event["parent"],
        id=event["id"],
        session_id=event["session"],
        event=event,
    )


_NOTHING = Call("", "", None, None, False, False, None, 0, 0, None, None, None, "", "", {})


def _error(event: dict[str, Any]) -> Error:
    return Error(
        name=event["name"] or "", message=str(event.get("details") or ""), call_id=event["parent"], event=event
    )


def _has(given: Any, expected: Mapping[str, Any]) -> bool:
    return isinstance(given, dict) and all(
        key in given and (given[key] == value or _as_recorded(value) == given[key]) for key, value in expected.items()
    )


def _as_recorded(value: Any) -> Any:
    """Return a value as the journal has it, without redaction: a tuple as a list, a date as text."""
    from localops.encoding.encode import Encoder, loads

    text = Encoder(redactor=None).encode({"value": value})
    return loads(text).get("value") if text else None


def _line(event: dict[str, Any], depths: dict[str, int]) -> str:
    depth = depths.get(event["parent"] or "", 0)
    depths[event["id"]] = depth + 1
    what = " ".join(filter(None, (event["kind"], event["name"] or event["model"])))
    facts = event.get("params") or event.get("prompt") or event.get("details")
    marks = [mark for mark, holds in (("failed", event["failed"]), ("unfinished", not event["finished"])) if holds]
    text = f"{what} {_short(facts) if facts else ''} {' '.join(marks)}".rstrip()
    return "  " * (depth + 1) + output.cut(output.clean(text), _WIDE)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _described(name: str, args: Mapping[str, Any] | None) -> str:
    return name if args is None else f"{name} with {_short(args)}"


def _short(value: Any) -> str:
    return output.cut(output.clean(repr(value)), _WIDE)
