"""`localops hook AGENT`: write the row of one hook event of a coding agent.

The agent waits for its hooks, and their output or exit code can change what it does.  So this prints nothing on
stdout, always exits with 0, and loads only what writing a row takes.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from localops.coding.recording import Project
    from localops.recording.writer import Writer

    Payload = Mapping[str, Any]

_WAIT = 2.0  # seconds for a journal that is busy; then the row waits in the spill file
_MOST = 64 << 20  # bytes of an event
_SHELLS = frozenset("sh bash dash zsh fish ksh ash busybox".split())
_DEPTH = 4  # shells between the agent and its hook
# Fields that every event repeats: the session has them.
_COMMON = frozenset("session_id transcript_path cwd hook_event_name permission_mode agent_id agent_type".split())
_TASKS = ("Task", "Agent")  # the tools that start a subagent


def main(arguments: Sequence[str]) -> int:
    """Write the row of the event on stdin; print one line on stderr if that fails, and always return 0."""
    from io import StringIO

    stderr, sys.stderr = sys.stderr, StringIO()
    problem = ""
    try:
        _run(arguments)
    except BaseException as error:  # the edge: recording never breaks the agent that is recorded
        problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    words = f"localops hook: {problem}" if problem else sys.stderr.getvalue()
    sys.stderr = stderr
    if words.strip():
        try:
            print(words.strip().splitlines()[0][:1000], file=stderr, flush=True)
        except (OSError, ValueError, AttributeError):  # closed, or a full disk
            pass
    return 0


def _run(arguments: Sequence[str]) -> None:
    agent, options, event = _parsed(arguments)
    payload = _payload(event)
    from localops.coding.recording import AGENTS, Project
    from localops.config import Config

    if agent not in AGENTS:
        raise ValueError(f"invalid agent {agent!r}: expected one of {', '.join(AGENTS)}")
    project = Project(Config.usable(**options), wait=_WAIT)
    try:
        _Event(project, agent, payload).write()
    finally:
        project.journal.close()


def _parsed(arguments: Sequence[str]) -> tuple[str, dict[str, str], str | None]:
    """Return the agent, --home and --project, and an event that was passed as an argument, as Codex's `notify` does."""
    agent, *rest = arguments
    options: dict[str, str] = {}
    event = None
    while rest:
        word = rest.pop(0)
        name, _, value = word.partition("=")
        if name in ("--home", "--project"):
            options[name[2:]] = value or rest.pop(0)
        else:
            event = word
    return agent, options, event


def _payload(event: str | None) -> dict[str, Any]:
    if event is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise ValueError("expected the JSON of a hook event on stdin")
        data = sys.stdin.buffer.read(_MOST + 1)
    else:
        data = event.encode("utf-8", "backslashreplace")
    if len(data) > _MOST:
        raise ValueError(f"the event on stdin has more than {_MOST:,} bytes: it is left out")
    from localops.encoding import encode

    try:
        payload = encode.loads(data)
    except ValueError:
        payload = _lenient(data)
    if not isinstance(payload, dict):
        raise ValueError(f"invalid event on stdin: expected one JSON object, got {type(payload).__name__}")
    return payload


def _lenient(data: bytes) -> Any:
    """Return the value of JSON that is not strict: for example a text that was cut in the middle of a character."""
    import json

    try:
        return json.loads(data)
    except ValueError as error:
        raise ValueError(f"invalid event on stdin: expected one JSON object ({error})") from None


class _Event:
    """One event on its way into the journal."""

    def __init__(self, project: Project, agent: str, payload: Payload) -> None:
        from localops.clock import now_ns
        from localops.coding import ids

        self.project, self.agent_name = project, agent
        self.payload = payload if "hook_event_name" in payload else _of_notify(payload)
        given = self.payload.get("session_id")
        if not isinstance(given, str) or not given:
            raise ValueError("invalid event on stdin: expected a session_id")
        self.name = str(self.payload.get("hook_event_name") or "event")
        self.session = ids.session_id(given)
        self.writer: Writer = project.writer(self.session)
        self.at = now_ns()
        subagent = self.payload.get("agent_id")
        # The subagent in which it happened.
        self.agent = ids.agent_id(self.session, subagent) if isinstance(subagent, str) and subagent else None

    def write(self) -> None:
        """Write the row of the event, after the rows that its session and subagent begin with."""
        journal = self.project.journal
        if journal.one("gone", session=self.session):  # deleted here: nothing restores it
            return
        journal.sessions.add(self.session)
        self._join()
        if self.agent is not None and self.name != "SubagentStop":
            self._open_agent(self.agent)
        {
            "SessionStart": self._nothing,
            "SessionEnd": self._end,
            "UserPromptSubmit": self._prompt,
            "PreToolUse": self._open_tool,
            "PostToolUse": self._close_tool,
            "PostToolUseFailure": self._close_tool,
            "SubagentStart": self._nothing if self.agent is not None else self._note,
            "SubagentStop": self._close_agent if self.agent is not None else self._note,
        }.get(self.name, self._note)()

    def _nothing(self) -> None:
        """Write only the rows that the session or the subagent begins with."""

    def _join(self) -> None:
        """Write that the session has begun, or that another process continues it, unless that is known."""
        from localops.clock import new_id
        from localops.coding import ids
        from localops.coding.recording import session_name, session_row

        project, journal = self.project, self.project.journal
        card = _card(project)
        participant = ids.in_session(self.session, "process", card["pid"], card["started"])
        card["participant"] = participant.hex()
        begins = self.name == "SessionStart"
        if not project.has(self.session):
            facts = {
                name: self.payload[name]
                for name in ("cwd", "source", "model", "transcript_path", "permission_mode")
                if self.payload.get(name) is not None
            }
            project.write(session_row(self.writer, self.agent_name, self.at, facts, card, participant))
            from localops.reading import session_state

            if session_state.others_open(journal):
                session_state.derive(journal)
            return
        known = any(one == participant.hex() for one in self._participants())
        if known and not begins:
            return
        # A session that continues after its end, or in another process: `--resume`, `/resume`.
        row = self.writer.note(
            "join",
            new_id(self.at),
            self.at,
            fields=card,
            name=self.writer.text(session_name(self.agent_name, self.payload.get("cwd")), 256),
            parent=participant,
        )
        journal.append(row, sync=True)

    def _participants(self) -> list[str]:
        from localops.reading.story import Story

        return [str(card.get("participant")) for card in Story.read(self.project.journal, self.session).cards()]

    def _end(self) -> None:
        from localops.clock import new_id
        from localops.coding import ids

        card = _card(self.project)
        reason = self.payload.get("reason")
        row = self.writer.note(
            "end",
            new_id(self.at),
            self.at,
            fields={"reason": f"{self.agent_name}: {reason if isinstance(reason, str) else 'ended'}"},
            name="Success",
            parent=ids.in_session(self.session, "process", card["pid"], card["started"]),
        )
        self.project.journal.append(row, sync=True)

    def _prompt(self) -> None:
        from localops.coding import ids

        text = str(self.payload.get("prompt", ""))
        number = 0
        while self.project.has(ids.prompt_id(self.session, text, number)):
            number += 1
        self._action(ids.prompt_id(self.session, text, number), "prompt", {"prompt": text})

    def _note(self) -> None:
        from localops.clock import new_id

        fields = {name: value for name, value in self.payload.items() if name not in _COMMON}
        self._action(new_id(self.at), self.name, fields)

    def _action(self, id: bytes, name: str, params: dict[str, object]) -> None:
        from localops.journal import rows

        writer = self.writer
        body = writer.encode({"params": params}) if params else None
        row = rows.plain(
            id, rows.DONE, self.session, "action", writer.text(name), self.agent, self.agent, self.at, None, body
        )
        self.project.write(row)

    # Tools

    def _open_tool(self) -> None:
        from localops.journal import rows

        id = self._tool_id(closing=False)
        if self.project.has(id, rows.OPEN) or self.project.has(id):  # the hook is configured twice
            return
        head = (id, "tool", self.writer.text(self._tool_name()), self.agent, self.agent, self.at)
        fields = {"params": self.payload["tool_input"]} if "tool_input" in self.payload else {}
        if isinstance(call := self.payload.get("tool_use_id"), str):
            fields["call_id"] = call
        self.project.write(self.writer.opening(head, fields))

    def _close_tool(self) -> None:
        from localops.coding import ids
        from localops.coding.recording import failure
        from localops.journal import rows, stored

        project, writer, payload = self.project, self.writer, self.payload
        id = self._tool_id(closing=True)
        if project.has(id):
            return
        opened = stored.one(project.journal, id, rows.OPEN)
        fields: dict[str, object] = {}
        if opened is None:  # the hook was installed while the tool ran
            fields["params"] = payload.get("tool_input")
            head = (id, "tool", writer.text(self._tool_name()), self.agent, self.agent, self.at)
        else:
            head = (id, "tool", opened.name or "", opened.parent, opened.agent, opened.at_ns)
        failed = self.name == "PostToolUseFailure"
        if "tool_response" in payload:
            fields["returns"] = payload["tool_response"]
        if payload.get("is_interrupt"):
            fields["ended_by"] = "interrupt"
        project.write(writer.closing(head, self.at, fields, failed=failed))
        if failed:
            error = failure("ToolError", payload.get("error", "the tool failed"))
            project.write(writer.operation_error(head, error, ids.error_id(id), self.at))

    def _tool_name(self) -> str:
        return str(self.payload.get("tool_name") or "tool")

    def _tool_id(self, *, closing: bool) -> bytes:
        """Return the id of a tool call; if the agent has none, that of the first such call that fits."""
        from localops.coding import ids

        given = self.payload.get("tool_use_id")
        if isinstance(given, str) and given:
            return ids.tool_id(given)
        from localops.encoding import encode
        from localops.journal import rows

        asked = ids.digest(encode.dumps(self.payload.get("tool_input")).decode())
        number = 0
        while True:
            id = ids.in_session(self.session, "tool", self._tool_name(), asked, number)
            # To open: the first without a row. To close: the oldest that is not closed.
            if not self.project.has(id) and (closing or not self.project.has(id, rows.OPEN)):
                return id
            number += 1

    # Subagents

    def _open_agent(self, id: bytes) -> None:
        from localops.journal import rows

        if self.project.has(id, rows.OPEN) or self.project.has(id):
            return
        head = (id, "agent", self._agent_title(), self._task_of(), None, self.at)
        self.project.write(self.writer.opening(head, {"agent_id": self.payload["agent_id"]}))

    def _agent_title(self) -> str:
        return self.writer.text(self.payload.get("agent_type") or "subagent")

    def _task_of(self) -> bytes | None:
        """Return the tool call that started the subagent: the oldest that runs and has no subagent yet."""
        from localops.journal import stored

        open_operations = stored.unfinished(self.project.journal, self.session)
        taken = {operation.parent for operation in open_operations if operation.kind == "agent"}
        tasks = [one.id for one in open_operations if one.kind == "tool" and one.name in _TASKS]
        return next((task for task in tasks if task not in taken), None)

    def _close_agent(self) -> None:
        from localops.journal import rows, stored

        assert self.agent is not None
        journal = self.project.journal
        if self.project.has(self.agent):
            return
        opened = stored.one(journal, self.agent, rows.OPEN)
        parent, start = (opened.parent, opened.at_ns) if opened is not None else (None, self.at)
        title = (opened.name if opened is not None else None) or self._agent_title()
        returns = self.payload.get("last_assistant_message")
        fields = {"returns": returns} if returns is not None else {}
        self.project.write(self.writer.closing((self.agent, "agent", title, parent, None, start), self.at, fields))


def _of_notify(payload: Payload) -> dict[str, Any]:
    """Return an event of Codex's `notify` in the form of a hook event."""
    fields = {str(name).replace("-", "_"): value for name, value in payload.items()}
    name, session = fields.pop("type", None) or "notify", fields.pop("thread_id", None) or fields.get("session_id")
    return {**fields, "hook_event_name": name, "session_id": session}


# The process of the agent: while it runs, so does the session.


def _card(project: Project) -> dict[str, object]:
    """Describe the agent's process as a participant of the session."""
    from localops import host
    from localops.journal import participants

    pid = _agent_pid()
    card: dict[str, object] = {
        "pid": pid,
        "started": host.process_started(pid),
        "host": host.hostname(),
        "machine": host.machine_id(),
        "boot": host.boot_id(),
        **participants.watched_card(),
    }
    if project.config.env_data_opt_out:
        card.pop("host")
    return card


def _agent_pid() -> int:
    """Return the nearest process above this one that is not a shell: shells only start the hook."""
    from localops import host

    pid = os.getppid()
    for _ in range(_DEPTH):
        program, *arguments = host.command_of(pid).split(" ", 3)
        is_shell = os.path.basename(program).lstrip("-") in _SHELLS and any(
            word.startswith("-") and word.endswith("c") for word in arguments[:2]
        )
        above = host.parent_of(pid) if is_shell else None
        if not above or above == 1:
            break
        pid = above
    return pid
