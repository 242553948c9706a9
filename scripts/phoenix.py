"""Sends recorded sessions to Arize's Phoenix on the loopback address, and compares what it shows with the journal.

Phoenix has an environment of its own below `.phoenix/`, made once.  Each value of the option `semconv` is tried with a
Phoenix that knows nothing yet.  What its API says is compared: sessions, kinds, tokens, costs, messages, errors.
`--table` writes the table of the docs.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from localops.journal.reader import Reader  # noqa: E402
from localops.reading import analytics  # noqa: E402

PAGE = TOP / "localops" / "docs" / "otlp.md"
BEGIN, END = "<!-- made by scripts/phoenix -->", "<!-- end -->"
WAYS = ("both", "genai", "openinference")
_WITHOUT_SCORES = "genai"  # whose scores have no names that annotations are made from
LOOKED_AT = ("sessions", "kinds", "models", "tokens", "cost", "messages", "tool calls", "errors", "scores")

PROGRAM = """
import localops
from localops.decorators import agent, tool, workflow

@tool
def tides(place):
    return {"metres": 4}

@tool
def broken(place):
    raise LookupError(f"no tide at {place}")

def call(prompt, completion, **more):
    localops.record(localops.LLMEvent(prompt=prompt, completion=completion, **more))

@agent
def pilot(port):
    call(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"how high is the tide at {port}?"}],
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "tides", "arguments": '{"place": "Brest"}'}}]},
        model="gpt-4o", prompt_tokens=1000, completion_tokens=50, cached_tokens=200, finish_reason="tool_calls",
        response_id="r-1", params={"temperature": 0.5},
        tool_definitions=[{"type": "function", "function": {"name": "tides", "parameters": {"type": "object"}}}],
    )
    tides(port)
    call(
        [{"role": "user", "content": [{"type": "text", "text": "and at noon?"}]},
         {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "it rises until noon", "signature": "c2lnbmF0dXJl"},
            {"type": "tool_use", "id": "toolu_1", "name": "tides", "input": {"place": "Brest"}}]},
         {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "4 m"}]}],
        {"role": "assistant", "content": [{"type": "text", "text": "four metres at noon"}]},
        model="claude-sonnet-4-5", prompt_tokens=300, completion_tokens=40, cached_tokens=100, cache_write_tokens=60,
        system_instructions="You know the tides.", finish_reason="end_turn",
    )
    call(
        [{"role": "user", "content": [{"type": "input_text", "text": "in feet, please"}]},
         {"type": "function_call", "call_id": "call_2", "name": "convert", "arguments": "{}"},
         {"type": "function_call_output", "call_id": "call_2", "output": "13"}],
        [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "a foot is 0.3 m"}]},
         {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "thirteen feet"}]}],
        model="gpt-5", prompt_tokens=500, completion_tokens=90, reasoning_tokens=64,
    )
    try:
        broken("Nowhere")
    except LookupError:
        pass
    localops.record(localops.ErrorEvent(exception=TimeoutError("no answer in 30 s")))

@workflow
def day(port):
    pilot(port)
    return "done"

for port in ("Brest", "Douarnenez"):
    session = localops.init(tags=["harbour"], trace_name=f"a day at {port}")
    session.update_metadata({"port": port})
    day(port)
    with session.operation("look out", kind="tool") as look:
        look.score("useful", port == "Brest", by="human", comment="from the pier")
    session.score("correct", 0.8, by="human")
    session.score("tone", "friendly", by="llm", version="2")
    localops.end_session("Success" if port == "Brest" else "Failure", "the tide was missed")
"""


class Shown(NamedTuple):
    """What somebody says of the sessions: the journal, or Phoenix."""

    sessions: object
    kinds: Counter[str]
    models: object
    tokens: object
    cost: object
    messages: object
    tool_calls: object
    errors: object
    scores: object


def environment(folder: Path) -> Path:
    """Make the environment of Phoenix, once; return its program."""
    program = folder / "bin" / "phoenix"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "-qq", "arize-phoenix"]
        subprocess.run(pip, check=True)
    return program


def free_port() -> int:
    """Return a free port of the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Phoenix:
    """A Phoenix with a database of its own, on the loopback address."""

    def __init__(self, program: Path, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PHOENIX_WORKING_DIR": str(folder / "phoenix"),
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_TELEMETRY_ENABLED": "false",
        }
        self._log = (folder / "phoenix.log").open("wb")
        self._process = subprocess.Popen([program, "serve"], env=env, stdout=self._log, stderr=self._log)
        self._await(folder)

    def _await(self, folder: Path) -> None:
        for _ in range(600):
            try:
                self.get("/openapi.json")
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(1)
            else:
                return
        raise SystemExit(f"Phoenix does not answer:\n{(folder / 'phoenix.log').read_text()[-2000:]}")

    def get(self, path: str, body: object = None) -> Any:
        """Return an answer of its API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()


def surroundings(home: Path) -> dict[str, str]:
    """Return the environment of a program that has this tree and a home of its own."""
    ours = os.pathsep.join([str(TOP), str(TOP / "sync")])
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LOCALOPS_HOME": str(home), "PYTHONPATH": ours}


def record(home: Path) -> None:
    """Record the sessions."""
    subprocess.run([sys.executable, "-c", PROGRAM], env=surroundings(home), check=True, timeout=300)


def send(home: Path, url: str, way: str) -> None:
    """Send them, as a user does."""
    env = surroundings(home)
    localops = [sys.executable, "-m", "localops"]
    remote = ["remote", "add", way, url, "--kind", "otlp", "--project", "default", "--option", f"semconv={way}"]
    if way != _WITHOUT_SCORES:
        remote += ["--option", "annotations=phoenix"]
    subprocess.run([*localops, *remote], env=env, check=True, timeout=300, capture_output=True)
    subprocess.run([*localops, "sync", "--remote", way], env=env, check=True, timeout=300, capture_output=True)


_KINDS = {"llm": "LLM", "tool": "TOOL", "agent": "AGENT"}


def recorded(home: Path) -> Shown:
    """Return what the journal says."""
    with Reader(str(home / "default" / "journal.db")) as reader:
        ids = [id for (id,) in reader.ask("select session from session_total order by first_ns")]
        totals = [analytics.totals(reader, id) for id in ids]
        events = [event for id in ids for event in analytics.events(reader, id)]
    calls = [event for event in events if event["kind"] == "llm"]
    scores = _scores(home, ids)
    return Shown(
        [(id.hex(), figures.tokens_in, figures.tokens_out) for id, figures in zip(ids, totals, strict=True)],
        Counter(_KINDS.get(event["kind"], "CHAIN") for event in events)
        + Counter(CHAIN=len(ids), EVALUATOR=len(scores)),
        Counter(event["model"] for event in calls),
        sorted(
            [
                event["tokens_in"],
                event["tokens_out"],
                event.get("tokens_cached") or 0,
                event.get("cache_write_tokens") or 0,
                event.get("tokens_reasoning") or 0,
            ]
            for event in calls
        ),
        round(sum(figures.cost for figures in totals) / 1e9, 9),
        _texts(calls),
        Counter(
            (call["function"]["name"] if "function" in call else call["name"])
            for event in calls
            for call in _calls([event.get("prompt"), event.get("completion")])
        ),
        sorted({(event["name"], event["details"]) for event in events if event["kind"] == "error"}),
        sorted((score["name"], _judgement(score["value"]), score["comment"]) for score in scores),
    )


def _scores(home: Path, ids: list[bytes]) -> list[dict[str, Any]]:
    """Return the scores of sessions."""
    show = [sys.executable, "-m", "localops", "show", "--json"]
    answers = [subprocess.check_output([*show, str(uuid.UUID(bytes=id))], env=surroundings(home)) for id in ids]
    return [score for answer in answers for score in json.loads(answer)["scores"]]


def _judgement(value: object) -> str:
    """Return a value as a text, numbers and truths alike: Phoenix has numbers and labels."""
    return str(float(value)) if isinstance(value, bool | int | float) else str(value)


def _texts(calls: list[dict[str, Any]]) -> list[str]:
    """Return every text of the calls."""
    texts = [
        text
        for call in calls
        for field in ("system_instructions", "prompt", "completion")
        for text in _said(call.get(field))
    ]
    return sorted(texts)


def _said(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for each in value for text in _said(each)]
    if not isinstance(value, dict):
        return []
    kept = ("content", "text", "thinking", "summary", "output")
    return [text for key in kept for text in _said(value.get(key))]


def _calls(value: Any) -> list[dict[str, Any]]:
    """Return the calls of tools that a prompt and a completion hold, whichever form they have."""
    if isinstance(value, list):
        return [call for each in value for call in _calls(each)]
    if not isinstance(value, dict):
        return []
    if value.get("type") in ("tool_use", "function_call", "function") and "parameters" not in value:
        return [value]
    return _calls(value.get("content")) + _calls(value.get("tool_calls"))


def shown(phoenix: Phoenix, many: int, scores: int) -> Shown:
    """Return what Phoenix says, once it shows as many spans and annotations as were sent."""
    for _ in range(120):
        spans = phoenix.get("/v1/projects/default/spans?limit=1000")["data"]
        annotations = _annotations(phoenix, [span["context"]["span_id"] for span in spans])
        if len(spans) >= many and len(annotations) >= scores:
            break
        time.sleep(1)
    sessions = phoenix.get("/v1/projects/default/sessions")["data"]
    query = "{projects{edges{node{costSummary{total{cost}}}}}}"
    projects = phoenix.get("/graphql", {"query": query})["data"]["projects"]["edges"]
    calls = [span["attributes"] for span in spans if span["span_kind"] == "LLM"]
    tokens = "llm.token_count."
    return Shown(
        [
            (each["session_id"].replace("-", ""), each["token_count_prompt"], each["token_count_completion"])
            for each in sorted(sessions, key=lambda each: str(each["start_time"]))
        ],
        Counter(span["span_kind"] for span in spans),
        Counter(call["llm.model_name"] for call in calls),
        sorted(
            [
                call[f"{tokens}prompt"],
                call[f"{tokens}completion"],
                call.get(f"{tokens}prompt_details.cache_read", 0),
                call.get(f"{tokens}prompt_details.cache_write", 0),
                call.get(f"{tokens}completion_details.reasoning", 0),
            ]
            for call in calls
        ),
        round(sum(edge["node"]["costSummary"]["total"]["cost"] for edge in projects), 9),
        sorted(
            value
            for call in calls
            for name, value in call.items()
            if name.startswith(("llm.input_messages.", "llm.output_messages."))
            and name.endswith((".message.content", ".message_content.text"))
        ),
        Counter(value for call in calls for name, value in call.items() if name.endswith(".tool_call.function.name")),
        sorted(
            {
                (event["attributes"]["exception.type"], event["attributes"]["exception.message"])
                for span in spans
                for event in span["events"]
                if event["name"] == "exception"
            }
        ),
        sorted(map(_annotation, annotations)),
    )


def _annotations(phoenix: Phoenix, spans: list[str]) -> list[dict[str, Any]]:
    if not spans:
        return []
    asked = "&".join(f"span_ids={id}" for id in spans)
    annotations: list[dict[str, Any]] = phoenix.get(f"/v1/projects/default/span_annotations?limit=1000&{asked}")["data"]
    return annotations


def _annotation(given: dict[str, Any]) -> tuple[str, str, str | None]:
    result = given["result"]
    value = result["label"] if result.get("score") is None else result["score"]
    return given["name"], _judgement(value), result.get("explanation")


def try_way(program: Path, way: str) -> list[str]:
    """Send with one vocabulary, and return the line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        record(home)
        ours = recorded(home)
        phoenix = Phoenix(program, home)
        try:
            send(home, phoenix.url, way)
            theirs = shown(phoenix, sum(ours.kinds.values()), 0 if way == _WITHOUT_SCORES else ours.kinds["EVALUATOR"])
        finally:
            phoenix.close()
    cells = [f"`{way}`"]
    for what, own, other in zip(LOOKED_AT, ours, theirs, strict=True):
        if (way, what) == (_WITHOUT_SCORES, "scores"):
            cells.append("–")
            continue
        cells.append("equal" if own == other else "differs")
        print(f"{way:15}{what:12}{cells[-1]}", flush=True)
        if own != other:
            print(f"    journal: {own}\n    Phoenix: {other}")
    return cells


def main() -> int:
    """Try every vocabulary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"values of semconv: {', '.join(WAYS)}")
    parser.add_argument("--table", action="store_true", help="write the table into the docs")
    parser.add_argument("--environment", type=Path, default=TOP / ".phoenix", help="where Phoenix is, or is installed")
    options = parser.parse_args()
    program = environment(options.environment)
    lines = [try_way(program, way) for way in options.ways or WAYS]
    if options.table:
        head = ["`semconv=`", *LOOKED_AT]
        table = "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *lines])
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    return int(any(cell == "differs" for line in lines for cell in line))


if __name__ == "__main__":
    sys.exit(main())
