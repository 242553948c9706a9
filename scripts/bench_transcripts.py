"""Measures the import of coding agents' transcripts, for bench.py: their megabytes a second, and a second run."""

from __future__ import annotations

import json
import os
import random
import shutil
import sysconfig
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localops import config
from localops.coding import claude_code, codex
from localops.coding.recording import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from scripts.bench import Bench

_SIZE = 2_000_000
_WORDS = (
    "the test of this function reads a file and checks that its rows are in order before they are written so we can "
    "change the parser first then run everything again and look at the failure in detail it seems that a token is lost"
).split()


class Sources:
    """Pieces of real programs, as agents read, write and run them."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        folder = Path(sysconfig.get_path("stdlib"))
        paths = sorted(folder.glob("*.py")) + sorted(folder.glob("asyncio/*.py"))
        self._files = [(str(path), path.read_text(encoding="utf-8", errors="replace").splitlines()) for path in paths]

    def words(self, most: int) -> str:
        """Return a few sentences."""
        return " ".join(self._chance.choices(_WORDS, k=self._chance.randint(most // 4, most))).capitalize() + "."

    def file(self, most: int) -> tuple[str, list[str]]:
        """Return the name of a file and some of its lines."""
        path, lines = self._chance.choice(self._files)
        begin = self._chance.randrange(max(1, len(lines) - most // 2))
        return path, lines[begin : begin + self._chance.randint(most // 4, most)]

    def output(self) -> str:
        """Return what a command printed."""
        path, lines = self.file(60)
        return "\n".join(f"{path}:{number}: {line}" for number, line in enumerate(lines, 1))


def claude_lines(session: str, chance: random.Random, sources: Sources) -> Iterator[dict[str, Any]]:
    """Yield the lines of a session of Claude Code: prompts, answers in several lines, tools and their results."""
    common = {"sessionId": session, "cwd": "/src/tides", "version": "2.1.0", "isSidechain": False, "gitBranch": "main"}
    at, last = 1_770_000_000.0 + chance.randrange(20_000_000), None

    def line(kind: str, **fields: object) -> dict[str, Any]:
        nonlocal at, last
        at += chance.random() * 8
        own = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03}Z"
        made = {"parentUuid": last, **common, "type": kind, "uuid": own, "timestamp": stamp, **fields}
        last = own
        return made

    def answer(id: str, block: dict[str, Any], stop: str | None) -> dict[str, Any]:
        usage = {
            "input_tokens": chance.randrange(100),
            "cache_creation_input_tokens": chance.randrange(5_000),
            "cache_read_input_tokens": chance.randrange(100_000),
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": chance.randrange(2_000),
            "service_tier": "standard",
        }
        message: dict[str, Any] = {"id": id, "type": "message", "role": "assistant"}
        message |= {
            "model": "claude-sonnet-4-5-20250929",
            "content": [block],
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": usage,
        }
        return line("assistant", message=message, requestId=f"req_{id[4:]}")

    while True:
        yield line("user", message={"role": "user", "content": sources.words(60)})
        for _ in range(chance.randint(3, 25)):
            id, call = f"msg_01{chance.getrandbits(100):x}", f"toolu_01{chance.getrandbits(100):x}"
            yield answer(
                id,
                {"type": "thinking", "thinking": sources.words(150), "signature": f"{chance.getrandbits(2400):x}"},
                None,
            )
            yield answer(id, {"type": "text", "text": sources.words(50)}, None)
            name, given, content, whole = _claude_tool(chance, sources)
            yield answer(id, {"type": "tool_use", "id": call, "name": name, "input": given}, "tool_use")
            result = {"type": "tool_result", "tool_use_id": call, "content": content, "is_error": False}
            yield line("user", message={"role": "user", "content": [result]}, toolUseResult=whole)
        yield answer(f"msg_01{chance.getrandbits(100):x}", {"type": "text", "text": sources.words(120)}, "end_turn")
        yield {"type": "summary", "summary": sources.words(8), "leafUuid": last}


def _claude_tool(chance: random.Random, sources: Sources) -> tuple[str, dict[str, Any], str, object]:
    """Return a call of a tool: its name and input, the text and the data of its result."""
    kind = chance.random()
    path, lines = sources.file(200)
    numbered = "\n".join(f"{number:>6}→{line}" for number, line in enumerate(lines, 1))
    if kind < 0.4:
        file = {"filePath": path, "content": "\n".join(lines), "numLines": len(lines), "startLine": 1}
        return "Read", {"file_path": path}, numbered, {"type": "text", "file": file}
    if kind < 0.7:
        printed = sources.output()
        whole = {"stdout": printed, "stderr": "", "interrupted": False, "isImage": False}
        return "Bash", {"command": f"grep -n def {path}", "description": sources.words(8)}, printed, whole
    old, new = "\n".join(lines[:12]), "\n".join(lines[6:24])
    given = {"file_path": path, "old_string": old, "new_string": new}
    patch = [
        {"oldStart": 1, "oldLines": 12, "newStart": 1, "newLines": 18, "lines": [f" {line}" for line in lines[:24]]}
    ]
    whole = {
        "filePath": path,
        "oldString": old,
        "newString": new,
        "originalFile": "\n".join(lines),
        "structuredPatch": patch,
    }
    return "Edit", given, f"The file {path} has been updated.\n{numbered[:1_500]}", whole


def codex_lines(session: str, chance: random.Random, sources: Sources) -> Iterator[dict[str, Any]]:
    """Yield the lines of a session of Codex."""
    at = 1_770_000_000.0 + chance.randrange(20_000_000)
    total = dict.fromkeys(("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens"), 0)

    def line(kind: str, /, **payload: object) -> dict[str, Any]:
        nonlocal at
        at += chance.random() * 8
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03}Z"
        return {"timestamp": stamp, "type": kind, "payload": payload}

    yield line("session_meta", id=session, cwd="/src/tides", originator="codex_cli_rs", cli_version="0.60.0")
    while True:
        yield line("turn_context", cwd="/src/tides", model="gpt-5-codex", summary="auto")
        yield line("event_msg", type="user_message", message=sources.words(60), kind="plain")
        for _ in range(chance.randint(3, 25)):
            call = f"call_{chance.getrandbits(120):x}"
            yield line("response_item", type="reasoning", summary=[], encrypted_content=f"{chance.getrandbits(4000):x}")
            arguments = json.dumps(
                {"command": ["bash", "-lc", f"sed -n 1,80p {sources.file(4)[0]}"], "workdir": "/src"}
            )
            yield line("response_item", type="function_call", name="shell", arguments=arguments, call_id=call)
            printed = json.dumps({"output": sources.output(), "metadata": {"exit_code": 0, "duration_seconds": 0.1}})
            yield line("response_item", type="function_call_output", call_id=call, output=printed)
            read, wrote = chance.randrange(50_000), chance.randrange(2_000)
            last = dict(zip(total, (read, read // 2, wrote, wrote // 2), strict=True))
            total = {name: total[name] + last[name] for name in total}
            yield line("event_msg", type="token_count", info={"total_token_usage": total, "last_token_usage": last})
        content = [{"type": "output_text", "text": sources.words(100)}]
        yield line("response_item", type="message", role="assistant", content=content)


_FORMATS = {"Claude Code": (claude_code, claude_lines), "Codex": (codex, codex_lines)}


def write(folder: Path, agent: str, many: int) -> int:
    """Write so many transcripts of two megabytes; return their bytes."""
    chance, whole = random.Random(7), 0
    sources = Sources(chance)
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(many):
        session = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        size = 0
        with open(folder / f"{session}.jsonl", "wb") as file:
            for line in _FORMATS[agent][1](session, chance, sources):
                size += file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
                if size >= _SIZE:
                    break
        whole += size
        long_ago = time.time() - 86_400
        os.utime(file.name, (long_ago, long_ago))
    return whole


def transcripts(bench: Bench) -> None:
    """Import a thousand transcripts of two megabytes, and look for new ones."""
    for agent, (reader, _) in _FORMATS.items():
        with bench.home(f"transcripts-{reader.AGENT}") as home:
            folder = bench.folder / reader.AGENT
            size = write(folder, agent, bench.many // 1_000)
            first, second = timed_import(reader, home, folder), timed_import(reader, home, folder)
            shutil.rmtree(folder)
            what = f"import of {bench.many // 1_000:,} transcripts of {agent}, 2 MB each"
            bench.say(what, ">= 20 MB/s", f"{size / first / 1e6:.1f} MB/s")
            bench.say(f"{what}: the second run", "<= 1 s", f"{second:.2f} s")


def timed_import(reader: ModuleType, home: Path, folder: Path) -> float:
    """Return the seconds that an import takes."""
    began = time.perf_counter()
    report = reader.take(Project(config.Config(home=str(home), project="default")), str(folder))
    assert not report.problems, report.problems[:3]
    return time.perf_counter() - began


PARTS = {"transcripts": transcripts}
