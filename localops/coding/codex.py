"""Import Codex's transcripts: `sessions/YYYY/MM/DD/rollout-TIME-SESSION.jsonl`.

A line has a timestamp, a type and a payload.  Requests and answers of the model are in `response_item`, tokens in
`event_msg` lines of type `token_count`, whose totals are those of the session so far.
"""

from __future__ import annotations

import os
import re

from localops.coding import ids, importing
from localops.coding.importing import Importer, Report, files, read, text_of
from localops.coding.workers import Job, Made
from localops.encoding import encode
from localops.recording.events import LLMEvent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from localops.coding.importing import Line
    from localops.coding.recording import Project

    Fields = dict[str, Any]

AGENT = "codex"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(?=\.jsonl$)")
_CALLS = ("function_call", "custom_tool_call")
_EXIT = re.compile(r"(?:Exit code:|Process exited with code) (-?\d+)")
_HEAD = 200  # characters at the beginning of an output that may have its exit code
_NAMES = ("type", "message", "reason", "codex_error_info")  # the fields of other events that are kept


def folder() -> str:
    """Return the folder of Codex's transcripts."""
    return os.path.join(os.environ.get("CODEX_HOME") or os.path.expanduser("~/.codex"), "sessions")


def take(project: Project, top: str) -> Report:
    """Import every transcript below a folder, or one file."""
    jobs = (Job(_session_of(path), [path]) for path in files(top))
    return importing.take(project, jobs, lambda job: _Transcript(project, job.paths[0]).made())


def _session_of(path: str) -> bytes:
    """Return the session of a transcript by its name; its first line may name another."""
    named = _ID.search(path)
    return ids.session_id(named[0] if named else os.path.basename(path))


class _Transcript:
    """The lines of one session on their way into rows."""

    def __init__(self, project: Project, path: str) -> None:
        self.project, self.path, self.report = project, path, Report()
        self.out: Importer | None = None
        self.id = b""
        self.model: str | None = None
        self.provider = "openai"
        self.asked: dict[str, tuple[Line, str, object]] = {}  # tool calls without a result
        self.totals: object = None  # of tokens, as last reported
        self.calls = 0  # of the model
        self.before = 0  # the time of the request whose answer is being read
        self.texts: list[str] = []  # of that answer
        self.wanted: list[Fields] = []  # its tool calls

    def made(self) -> Made:
        """Return the rows of the transcript."""
        for line in read(self.path, self.report):
            payload = line.fields.get("payload")
            if not line.at or not isinstance(payload, dict):
                if payload is not None:
                    self.report.problems.append(f"{line.place}: invalid line: expected a timestamp and a payload")
                continue
            out = self.out = self.out or self._begin(line, payload)
            kind = line.fields.get("type")
            if kind == "turn_context":
                self.model = payload["model"] if isinstance(payload.get("model"), str) else self.model
            elif kind == "response_item":
                self._item(out, line, payload)
            elif kind == "event_msg":
                self._message(out, line, payload)
            elif kind == "compacted":
                id = ids.in_session(self.id, "compact", line.number)
                out.note(line, id, "compact", {"content": payload.get("message")})
        if self.out is None:
            return Made(b"", [], 0, False, self.report.files, self.report.problems)
        for call, (line, name, params) in self.asked.items():
            self.out.operation("tool", ids.tool_id(call), name, line, None, {"params": params, "call_id": call}, {})
        return self.out.made()

    def _begin(self, line: Line, payload: Fields) -> Importer:
        is_meta = line.fields.get("type") == "session_meta"
        given = payload.get("id") if is_meta else None
        self.id = ids.session_id(given) if given else _session_of(self.path)
        if isinstance(payload.get("model_provider"), str):
            self.provider = payload["model_provider"]
        out = Importer(self.project, AGENT, self.id, self.report)
        facts = {name: payload.get(name) for name in ("cwd", "originator", "source", "git")} if is_meta else {}
        out.begin(line, {**facts, "version": payload.get("cli_version"), "transcript_path": line.path})
        self.before = line.at
        return out

    def _message(self, out: Importer, line: Line, payload: Fields) -> None:
        kind = payload.get("type")
        if kind == "user_message" and isinstance(payload.get("message"), str):
            out.prompt(line, payload["message"])
            self.before = line.at
        elif kind == "token_count" and isinstance(payload.get("info"), dict):
            self._tokens(out, line, payload["info"])
        elif kind == "error":
            out.error(line, ids.in_session(self.id, "error", line.number), "Error", payload.get("message"), None)
        elif kind == "turn_aborted":
            id = ids.in_session(self.id, "aborted", line.number)
            out.note(line, id, "turn_aborted", {name: payload[name] for name in _NAMES if name in payload})

    # The model

    def _tokens(self, out: Importer, line: Line, info: Fields) -> None:
        """Make the row of the call that these tokens belong to; repeated totals belong to no call."""
        totals, last = info.get("total_token_usage"), info.get("last_token_usage")
        if totals == self.totals or not isinstance(last, dict):
            return
        self.totals = totals
        self.calls += 1
        event = LLMEvent(
            model=self.model,
            provider=self.provider,
            prompt_tokens=last.get("input_tokens"),
            cached_tokens=last.get("cached_input_tokens"),
            completion_tokens=last.get("output_tokens"),
            reasoning_tokens=last.get("reasoning_output_tokens"),
            completion="\n".join(self.texts) or None,
            tool_calls=self.wanted or None,
        )
        out.call(line, ids.in_session(self.id, "call", self.calls), event, self.before, None)
        self.texts, self.wanted, self.before = [], [], line.at

    # Tools

    def _item(self, out: Importer, line: Line, payload: Fields) -> None:
        kind, call = payload.get("type"), payload.get("call_id")
        if kind == "message" and payload.get("role") == "assistant":
            self.texts.append(text_of(payload.get("content")))
        elif kind in _CALLS and isinstance(call, str):
            name = str(payload.get("name") or "tool")
            self.asked[call] = (line, name, _given(payload))
            self.wanted.append({"id": call, "name": name})
        elif isinstance(kind, str) and kind.endswith("_output") and isinstance(call, str):
            begin, name, params = self.asked.pop(call, (line, "tool", None))
            returns = payload.get("output")
            opening: dict[str, object] = {"params": params, "call_id": call}
            error = _failure(returns)
            out.operation("tool", ids.tool_id(call), name, begin, line, opening, {"returns": returns}, error=error)
            self.before = line.at


def _given(payload: Fields) -> object:
    """Return the arguments of a tool call: parsed if they are JSON in a text, else the text."""
    given = payload.get("arguments", payload.get("input"))
    try:
        return encode.loads(given) if isinstance(given, str) else given
    except ValueError:
        return given


def _failure(output: object) -> str | None:
    """Return why a tool call failed, which its output shows in one of several ways; None for one that did not."""
    if isinstance(output, dict):
        return text_of(output.get("content")) or "the tool failed" if output.get("success") is False else None
    if not isinstance(output, str):
        return None
    try:
        about = encode.loads(output)
    except ValueError:
        match = _EXIT.search(output[:_HEAD])
        return output if match is not None and match[1] != "0" else None
    metadata = about.get("metadata") if isinstance(about, dict) else None
    is_failed = isinstance(metadata, dict) and metadata.get("exit_code") not in (0, None)
    return str(about.get("output")) if is_failed else None
