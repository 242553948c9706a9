"""Runs the programs of the docs' page of frameworks, and writes what they leave in the journal beside them.

`scripts/clients --page [CLIENT ...]` runs it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.model_server import ModelServer

if TYPE_CHECKING:
    from collections.abc import Callable

    Surroundings = Callable[[ModelServer, Path], dict[str, str]]

PAGE = Path(__file__).resolve().parent.parent / "localops" / "docs" / "frameworks.md"
_SECTION = re.compile(r"```py\n(.*?)```\n\n<!-- made by scripts/clients --page (.*?) -->\n(.*?)<!-- end -->", re.DOTALL)
_MCP = "http://127.0.0.1:8000"  # where the program of the page expects a server


def main(names: list[str], environment: Callable[[str], Path], surroundings: Surroundings) -> int:
    """Run the programs of these clients, or all, and write their output into the page; return how many failed."""
    failed = 0
    for program, name, before in _SECTION.findall(PAGE.read_text(encoding="utf-8")):
        if names and name not in names:
            continue
        try:
            after = f"\n```text\n{_output(environment(name), program, surroundings)}\n```\n\n"
        except subprocess.CalledProcessError as error:
            print(f"{name}: {error}\n{error.stdout[-2000:]}{error.stderr[-2000:]}", file=sys.stderr)
            failed += 1
            continue
        print(f"{name}:{after}", flush=True)
        mark = f"<!-- made by scripts/clients --page {name} -->\n"
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(page.replace(f"{mark}{before}<!-- end -->", f"{mark}{after}<!-- end -->"), encoding="utf-8")
    return failed


def _output(python: Path, program: str, surroundings: Surroundings) -> str:
    """Return the tree of the session of a program."""
    with tempfile.TemporaryDirectory() as folder, ModelServer() as server:
        env = {
            **surroundings(server, Path(folder)),
            "GOOGLE_GEMINI_BASE_URL": server.url,
            "GEMINI_API_KEY": "x",
            "GROQ_BASE_URL": server.url,
            "GROQ_API_KEY": "x",
            "OPENAI_API_BASE": f"{server.url}/v1",  # of LlamaIndex
        }
        app = Path(folder, "app.py")  # smolagents reads the source of tools
        app.write_text(program.replace(_MCP, server.url), encoding="utf-8")
        subprocess.run([python, app], env=env, cwd=folder, capture_output=True, text=True, check=True)
        show = [sys.executable, "-m", "localops", "show", "last", "--tree"]
        shown = subprocess.run(
            show, env={**os.environ, "LOCALOPS_HOME": folder}, capture_output=True, text=True, check=True
        ).stdout
    _, _, tree = shown.partition("\n\n")  # without the line of the session
    return tree.rstrip()
