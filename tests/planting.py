"""A program that records secrets in every place that an event has, and one that looks for them on the disk.

`python planting.py plant` reads pairs of a place and a text from its input, and records each text there;
`python planting.py look HOME` reads texts from its input, and prints those that are in a file of the home.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

import localops
from localops import ActionEvent, ErrorEvent, LLMEvent, ToolEvent

FILLER = "nothing to see here, and here neither. " * 600


@dataclass
class _Order:
    number: int
    remark: str


class _Shown:
    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"<Shown {self._text}>"


def _params(value: object) -> None:
    localops.record(ActionEvent(action_type="plain", params=value))


def _json(text: str, levels: int) -> str:
    for level in range(levels):
        text = json.dumps({"level": level, "text": text})
    return text


def _raise(text: str) -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise RuntimeError(f"it failed: {text}") from first
    except RuntimeError as error:
        localops.record(ErrorEvent(exception=error))


def _end(text: str) -> None:
    session = localops.start_session()
    assert session is not None
    session.end_session("Fail", text)


def _call(text: str) -> None:
    @localops.record_function("ask")
    def ask(question: str) -> list[str]:
        return [question]

    ask(text)


PLACES: dict[str, Callable[[str], object]] = {
    "params": lambda text: _params({"question": text}),
    "list": lambda text: _params(["before", text, "after"]),
    "tuple": lambda text: _params(((text,), 1)),
    "set": lambda text: _params({text}),
    "key": lambda text: _params({text: 1}),
    "dataclass": lambda text: _params(_Order(1, text)),
    "repr": lambda text: _params(_Shown(text)),
    "bytes": lambda text: _params(text.encode()),
    "bytes that are no text": lambda text: _params(b"\xff\xfe" + text.encode("latin-1", "replace")),
    "json": lambda text: _params(_json(text, 1)),
    "json in json": lambda text: _params(_json(text, 2)),
    "five levels of json": lambda text: _params(_json(text, 5)),
    "prose": lambda text: _params(f"First we tried this:\n{text}\nand it worked."),
    "markdown": lambda text: _params(f"Run it:\n\n    {text}\n\nThen wait."),
    "returns": lambda text: localops.record(ActionEvent(action_type="plain", returns=text)),
    "logs": lambda text: localops.record(ActionEvent(action_type="plain", logs=f"10:00 INFO {text}")),
    "screenshot": lambda text: localops.record(ActionEvent(action_type="plain", screenshot=f"/nowhere/{text}")),
    "tool": lambda text: localops.record(ToolEvent(name="shell", params={"command": text})),
    "tool name": lambda text: localops.record(ToolEvent(name=text)),
    "action type": lambda text: localops.record(ActionEvent(action_type=text)),
    "prompt": lambda text: localops.record(LLMEvent(prompt=[{"role": "user", "content": text}], model="m")),
    "completion": lambda text: localops.record(LLMEvent(completion={"content": text}, model="m")),
    "model": lambda text: localops.record(LLMEvent(prompt="x", model=text)),
    "exception": _raise,
    "error details": lambda text: localops.record(ErrorEvent(error_type="E", details=text, logs=f"at {text}")),
    "tags": lambda text: localops.record(ActionEvent(action_type="plain", tags=[text])),
    "session tags": lambda text: localops.add_tags([text]),
    "agent": lambda text: localops.create_agent(text),
    "metadata": lambda text: localops.update_trace_metadata({"note": text}),
    "end reason": _end,
    "arguments": _call,
    "blob": lambda text: _params({"page": f"{FILLER}\n{text}\n{FILLER}"}),
    "spill": lambda text: _params({"question": text}),
}


def plant() -> None:
    """Record each text of the input in its place; those for the spill file while the journal is locked."""
    pairs: list[tuple[str, str]] = json.load(sys.stdin)
    session = localops.init(max_value=20_000, wait=0.05, env_data_opt_out=True)
    assert session is not None
    for place, text in pairs:
        if place not in ("spill", "end reason"):
            PLACES[place](text)
    journal = next(Path(os.environ["LOCALOPS_HOME"]).rglob("journal.db"))
    other = apsw.Connection(str(journal))
    other.execute("BEGIN IMMEDIATE")
    for place, text in pairs:
        if place == "spill":
            PLACES[place](text)
    assert list(journal.parent.rglob("spill/*.ndjson")) or not any(place == "spill" for place, _ in pairs)
    sys.stdout.write(str(len(pairs)))
    sys.stdout.flush()
    os._exit(0)


def end() -> None:
    """End a session for each text of the input, with the text as its reason."""
    texts: list[str] = json.load(sys.stdin)
    localops.init(auto_start_session=False, env_data_opt_out=True)
    for text in texts:
        PLACES["end reason"](text)
    sys.stdout.write(str(len(texts)))


def look(home: str) -> None:
    """Print those texts of the input, as JSON, that are in a file of the home, or in a row of its journal."""
    texts: list[str] = json.load(sys.stdin)
    parts = [path.read_bytes() for path in Path(home).rglob("*") if path.is_file()]
    for journal in Path(home).rglob("journal.db"):
        reader = apsw.Connection(str(journal))
        for (table,) in reader.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            rows: list[tuple[Any, ...]] = reader.execute(f'SELECT * FROM "{table}"').fetchall()
            parts += [
                value if isinstance(value, bytes) else value.encode()
                for row in rows
                for value in row
                if isinstance(value, (str, bytes))
            ]
    everything = b"\n".join(parts)
    encoded = set(re.findall(rb'\$bytes\\*": ?\\*"([A-Za-z0-9+/=]+)', everything))
    everything = b"\n".join([everything, *map(base64.b64decode, encoded)])
    json.dump([text for text in texts if text.encode() in everything], sys.stdout)


if __name__ == "__main__":
    if sys.argv[1] == "look":
        look(sys.argv[2])
    elif sys.argv[1] == "end":
        end()
    else:
        plant()
