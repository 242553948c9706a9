"""Import Claude Code's transcripts: `projects/FOLDER/SESSION.jsonl`, and those of subagents below or beside them.

A line is one message or a part of one: an answer of the model has one line per block, each with the same message id
and usage.  A line with `isSidechain` belongs to a subagent.  Lines of other types are Claude Code's own bookkeeping.
"""

from __future__ import annotations

import os

from localops.coding import ids, importing
from localops.coding.importing import Importer, Report, blocks, files, is_settled, read, text_of
from localops.coding.workers import Job
from localops.encoding import encode
from localops.recording.events import LLMEvent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from localops.coding.importing import Line
    from localops.coding.recording import Project
    from localops.coding.workers import Made

    Fields = dict[str, Any]

AGENT = "claude-code"
# Texts that Claude Code writes in the user's place.
_NOT_TYPED = ("<command-", "<local-command-", "<bash-", "<system-reminder>", "[Request interrupted")
_TASKS = ("Task", "Agent")  # the tools that start a subagent
_SYNTHETIC = "<synthetic>"


def folder() -> str:
    """Return the folder of Claude Code's transcripts."""
    top = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~/.claude")
    return os.path.join(top, "projects")


def take(project: Project, top: str) -> Report:
    """Import every transcript below a folder, or one file."""
    sessions = _by_session(top)
    jobs = [Job(ids.session_id(session), paths) for session, paths in sessions.items()]
    return importing.take(project, jobs, lambda job: _Transcript(project, job.session).made(job.paths))


def _by_session(top: str) -> dict[str, list[str]]:
    """Return the files of each session, by Claude Code's session id: its own file first, then its subagents'."""
    sessions: dict[str, list[str]] = {}
    for path in files(top):
        session = _session_of(path)
        if session is None:
            continue
        paths = sessions.setdefault(session, [])
        if _is_of_agent(path):
            paths.append(path)
        else:
            paths.insert(0, path)
    return sessions


def _is_of_agent(path: str) -> bool:
    return os.path.basename(path).startswith("agent-")


def _session_of(path: str) -> str | None:
    """Return the session of a file: from its name, or for a subagent's file from the first line that has one."""
    if not _is_of_agent(path):
        return os.path.basename(path).removesuffix(".jsonl")
    for line in read(path, Report()):
        if isinstance(line.fields.get("sessionId"), str):
            return str(line.fields["sessionId"])
    return None


class _Message:
    """An answer of the model, which is written in several lines."""

    def __init__(self, line: Line, start: int, agent: bytes | None) -> None:
        self.first = self.last = line
        self.start, self.agent = start, agent
        self.lines: list[Fields] = []

    def add(self, line: Line) -> None:
        self.last = line
        self.lines.append(line.fields["message"])

    def whole(self) -> Fields:
        """Return the message with the blocks of all its lines, and the usage of the last: others are estimates."""
        content: list[Fields] = []
        for part in self.lines:
            for block in blocks(part.get("content")):
                block = {name: value for name, value in block.items() if name != "signature"}
                if block not in content:
                    content.append(block)
        newest = max(self.lines, key=lambda part: _output_tokens(part))
        reasons = [part["stop_reason"] for part in self.lines if part.get("stop_reason")]
        return {
            **newest,
            "type": "message",
            "content": content,
            "stop_reason": reasons[-1] if reasons else None,
            "usage": newest["usage"],
        }

    @property
    def id(self) -> str:
        """Return the id of the model's provider for it."""
        return str(self.lines[0]["id"])

    @property
    def is_complete(self) -> bool:
        return any(part.get("stop_reason") for part in self.lines)


def _output_tokens(message: Fields) -> int:
    usage = message.get("usage")
    tokens = usage.get("output_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else -1


class _Subagent:
    """A subagent, with its known facts."""

    def __init__(self, line: Line, key: str) -> None:
        self.first = self.last = line
        self.key = key
        self.name = ""
        self.task: str | None = None  # the id of the tool call that started it


class _Transcript:
    """The lines of one session on their way into rows."""

    def __init__(self, project: Project, session: bytes) -> None:
        self.id = session
        self.report = Report()
        self.out = Importer(project, AGENT, session, self.report)
        self.asked: dict[str, tuple[Line, Fields, bytes | None]] = {}  # tool calls without a result
        self.tasks: dict[str, str] = {}  # by the prompt of a subagent: the call that started it
        self.agents: dict[str, _Subagent] = {}
        self.kinds: dict[str, str] = {}  # of subagents, by the call that started them
        self.linked: dict[str, str] = {}  # by subagent: the call that started it, according to its result
        self.ended: dict[str, tuple[Line, object]] = {}  # by tool call: the line of its result
        self.chains: dict[str, str] = {}  # of lines of a subagent without an id: uuid -> that of the first
        self.began = False
        self.waits = False  # for a file to settle: it will say more without being written to

    def made(self, paths: Iterable[str]) -> Made:
        """Return the rows of a session's transcripts."""
        for path in paths:
            self._file(path)
        for call, (line, block, agent) in self.asked.items():
            self._tool(call, line, block, agent, None, None, None)
        self._write_agents()
        return self.out.made()._replace(waits=self.waits)

    def _is_settled(self, path: str) -> bool:
        settled = is_settled(path)
        self.waits = self.waits or not settled
        return settled

    def _file(self, path: str) -> None:
        open_messages: dict[bytes | None, _Message] = {}  # by agent: several may answer at the same time
        before: dict[bytes | None, int] = {}  # when the last line of each agent was written
        for line in read(path, self.report):
            if not line.at or line.fields.get("type") not in ("user", "assistant", "system"):
                continue
            if not self.began:
                self._begin(line)
            agent = self._agent_of(line, path)
            if line.fields["type"] == "system":
                self._system(line, agent)
            elif isinstance(line.fields.get("message"), dict):
                self._message(line, open_messages, before.get(agent, line.at), agent)
                before[agent] = line.at
            else:
                self.report.problems.append(f"{line.place}: invalid message: expected an object")
        for answer in open_messages.values():
            if answer.is_complete or self._is_settled(path):
                self._call(answer)

    def _message(
        self, line: Line, open_messages: dict[bytes | None, _Message], start: int, agent: bytes | None
    ) -> None:
        message = line.fields["message"]
        is_answer = line.fields["type"] == "assistant"
        answer = open_messages.get(agent)
        if answer is not None and not (is_answer and answer.id == message.get("id")):
            self._call(open_messages.pop(agent))
        if is_answer:
            self._answer(line, message, open_messages, start, agent)
        else:
            self._user(line, message, agent)

    def _system(self, line: Line, agent: bytes | None) -> None:
        if line.fields.get("subtype") == "compact_boundary":
            id = ids.in_session(self.id, "compact", line.fields.get("uuid"))
            self.out.note(line, id, "compact", {"content": line.fields.get("content")}, agent)

    def _begin(self, line: Line) -> None:
        self.began = True
        fields = line.fields
        facts = {
            "cwd": fields.get("cwd"),
            "version": fields.get("version"),
            "git_branch": fields.get("gitBranch"),
            "transcript_path": line.path,
        }
        self.out.begin(line, facts)

    # Subagents

    def _agent_of(self, line: Line, path: str) -> bytes | None:
        """Return the subagent that a line belongs to; None for the session's own agent."""
        fields = line.fields
        if not fields.get("isSidechain"):
            return None
        key = fields.get("agentId")
        if not isinstance(key, str):  # older transcripts: the chain of lines that begins with the subagent's prompt
            own, parent = str(fields.get("uuid")), fields.get("parentUuid")
            key = self.chains.get(parent, own) if isinstance(parent, str) else own
            self.chains[own] = key
        subagent = self.agents.get(key)
        if subagent is None:
            subagent = self.agents[key] = _Subagent(line, key)
            self._name_agent(subagent, line, path)
        subagent.last = max(subagent.last, line, key=lambda one: one.at)
        return ids.agent_id(self.id, key)

    def _name_agent(self, subagent: _Subagent, line: Line, path: str) -> None:
        about = _about(path) if _is_of_agent(path) else {}
        if isinstance(about.get("agentType"), str):
            subagent.name = about["agentType"]
        if isinstance(about.get("toolUseId"), str):
            subagent.task = about["toolUseId"]
        message = line.fields.get("message")
        prompt = text_of(message.get("content")) if isinstance(message, dict) else ""
        if subagent.task is None and prompt in self.tasks:
            subagent.task = self.tasks.pop(prompt)

    def _write_agents(self) -> None:
        for subagent in self.agents.values():
            subagent.task = subagent.task or self.linked.get(subagent.key)
            # The result of its tool call is its end; a subagent without new lines for long has ended as well.
            end, returns = self.ended.get(subagent.task or "", (None, None))
            if end is None and self._is_settled(subagent.last.path):
                end = subagent.last
            self.out.operation(
                "agent",
                ids.agent_id(self.id, subagent.key),
                subagent.name or self.kinds.get(subagent.task or "", "subagent"),
                subagent.first,
                end,
                {"agent_id": subagent.key},
                {} if returns is None else {"returns": returns},
                parent=ids.tool_id(subagent.task) if subagent.task else None,
            )

    # Messages

    def _answer(
        self,
        line: Line,
        message: Fields,
        open_messages: dict[bytes | None, _Message],
        start: int,
        agent: bytes | None,
    ) -> None:
        """Take a line of an answer, of which more may follow."""
        if line.fields.get("isApiErrorMessage"):
            id = ids.in_session(self.id, "error", line.fields.get("uuid"))
            self.out.error(line, id, "APIError", text_of(message.get("content")), agent)
            return
        if message.get("model") == _SYNTHETIC:  # text of Claude Code itself
            return
        for block in blocks(message.get("content")):
            if block.get("type") == "tool_use" and isinstance(block.get("id"), str):
                self._ask(block["id"], line, block, agent)
        if not isinstance(message.get("usage"), dict) or not isinstance(message.get("id"), str):
            self.report.problems.append(f"{line.place}: invalid answer: expected an id and usage; it counts as no call")
            return
        if agent not in open_messages:
            open_messages[agent] = _Message(line, start, agent)
        open_messages[agent].add(line)

    def _ask(self, call: str, line: Line, block: Fields, agent: bytes | None) -> None:
        self.asked.setdefault(call, (line, block, agent))
        asked = block.get("input")
        if isinstance(asked, dict) and isinstance(asked.get("prompt"), str) and block.get("name") in _TASKS:
            self.kinds[call] = str(asked.get("subagent_type") or "subagent")
            self.tasks.setdefault(asked["prompt"], call)

    def _call(self, answer: _Message) -> None:
        message = answer.whole()
        event = LLMEvent(returns=message, provider="anthropic", model=message.get("model"))
        self.out.call(answer.last, ids.call_id(str(message["id"])), event, answer.start, answer.agent)

    def _user(self, line: Line, message: Fields, agent: bytes | None) -> None:
        content = message.get("content")
        results = [block for block in blocks(content) if block.get("type") == "tool_result"]
        for block in results:
            call = block.get("tool_use_id")
            if not isinstance(call, str):
                continue
            # The tool's result is also kept as data, if a line has only one result.
            whole = line.fields.get("toolUseResult") if len(results) == 1 else None
            returns = whole if whole is not None and not isinstance(whole, str) else block.get("content")
            self.ended[call] = (line, block.get("content"))
            self._link(call, whole)
            begin, asked, caller = self.asked.pop(call, (line, {}, agent))
            error = text_of(block.get("content")) or "the tool failed" if block.get("is_error") else None
            self._tool(call, begin, asked, caller, line, returns, error)
        text = text_of(content)
        is_typed = not (results or line.fields.get("isMeta") or line.fields.get("isCompactSummary"))
        if is_typed and agent is None and text and not text.startswith(_NOT_TYPED):
            self.out.prompt(line, text)

    def _link(self, call: str, whole: object) -> None:
        """Note the subagent that a tool call has started, according to its result."""
        key = whole.get("agentId") if isinstance(whole, dict) else None
        if isinstance(key, str):
            self.linked[key] = call

    def _tool(
        self,
        call: str,
        begin: Line,
        block: Fields,
        agent: bytes | None,
        end: Line | None,
        returns: object,
        error: str | None,
    ) -> None:
        name = block.get("name") if isinstance(block.get("name"), str) else "tool"
        opening: dict[str, object] = {"params": block.get("input"), "call_id": call}
        closing = {"returns": returns} if end is not None else {}
        id = ids.tool_id(call)
        self.out.operation("tool", id, str(name), begin, end, opening, closing, parent=agent, agent=agent, error=error)


def _about(path: str) -> Fields:
    """Return Claude Code's notes beside the transcript of a subagent."""
    try:
        with open(path.removesuffix(".jsonl") + ".meta.json", "rb") as file:
            about = encode.loads(file.read())
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}
