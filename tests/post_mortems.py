"""Post-mortems of real runs, for tests."""

from __future__ import annotations

import json
from typing import Any

from localops import clock, config
from localops.journal import rows
from localops.journal.journal import Journal
from localops.reading import post_mortem, post_mortem_page
from localops.reading.home import Home
from localops.reading.sentences import plain
from tests import programs

INIT = """
import localops, os, signal, sys, threading
from localops.decorators import agent, operation, tool
session = localops.init(env_data_opt_out=True)
def die(): os.kill(os.getpid(), signal.SIGKILL)
"""
FETCH = """
@tool(name="fetch")
def fetch(url, fails=True):
    if fails: raise TimeoutError(url + " is late")
    return "a page"
"""


def found(session: bytes | None = None) -> dict[str, Any]:
    """Return the post-mortem of a session, by default of the newest."""
    with Home() as home:
        project, id = home.find("last") if session is None else (home.projects[0], session)
        polling = config.polling(home.folder)
        facts = post_mortem.of(project.name, project.snapshot(id), project.reader, polling=polling)
    json.dumps(facts)
    return facts


def page(facts: dict[str, Any]) -> dict[str, list[str]]:
    """Return the sentences of each section."""
    sections = post_mortem_page.sections(facts)
    assert sum(2 + len(sentences) for _, sentences in sections) <= 60
    return {title: [plain(one) for one in sentences] for title, sentences in sections}


def after(code: str) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Run a program, and return the post-mortem of its session, and its page."""
    programs.run(INIT + code)
    facts = found()
    return facts, page(facts)


def command(*arguments: str, **options: Any) -> str:
    """Return what a command of ours prints."""
    code = "import runpy; runpy.run_module('localops', run_name='__main__', alter_sys=True)"
    return programs.run(code, *arguments, **options).stdout


def write(*written: rows.Row) -> None:
    """Put rows into the journal of the tests' project."""
    journal = Journal(programs.project())
    journal.add(list(written))
    journal.close()


def row(kind: str, session: bytes, **columns: Any) -> rows.Row:
    """Return a row of now."""
    at = clock.now_ns()
    return rows.make(kind, session, **{"id": clock.new_id(at), "at_ns": at, **columns})
