"""Sessions in notebooks: how they show themselves, and what becomes of the exception of a cell."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.decorators import tool
from localops.journal import rows, stored
from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import session_html

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u202e"


@tool
def search(query: str) -> str:
    """Return what was asked for, or fail."""
    if query == "bad":
        raise ValueError("no such thing")
    return query


class _Parsed(HTMLParser):
    """The tags, the attributes and the text of HTML; every tag must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost tag, which must be this one."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data + " "


def _shown(session: localops.Session) -> _Parsed:
    html = session._repr_html_()
    assert html is not None
    return _Parsed(html)


def test_a_session_shows_its_figures_and_what_happened() -> None:
    """Name, state, counts, cost, tags, and the events in their order, nested or not."""
    session = localops.init(trace_name="look up", tags=["nightly"])
    with session.operation("plan", kind="task", params={"city": "Lyon"}):
        search("good")
    with pytest.raises(ValueError, match="no such"):
        search("bad")
    session.record(localops.LLMEvent(model="gpt-4o-mini", prompt="hi", prompt_tokens=1200, completion_tokens=40))
    running = session.operation("wait", kind="action")
    running.open()
    shown = _shown(session)
    assert re.search(r"look up\s+Running\s+nightly", shown.text)
    assert re.search(
        r"LLM calls\s+Tool calls\s.*\s1\s+2\s+1\s+1\s+1,200 in, 40 out\s+\$0.000204", shown.text, re.DOTALL
    )
    events = re.findall(r"(task|tool|error|llm|action)\s+(plan|search|ValueError|gpt-4o-mini|wait)", shown.text)
    assert events == [
        ("task", "plan"),
        ("tool", "search"),
        ("tool", "search"),
        ("error", "ValueError"),
        ("llm", "gpt-4o-mini"),
        ("action", "wait"),
    ]
    assert "failed" in shown.text
    assert "unfinished" in shown.text
    running.close()
    session.end_session("Failure", "it rained")
    assert re.search(r"Failure\s+– it rained", _shown(session).text)


def test_recorded_text_is_escaped() -> None:
    """No tag, attribute or invisible character of what was recorded gets into the page."""
    session = localops.init(trace_name=EVIL, tags=[EVIL])
    session.record(localops.ToolEvent(name=EVIL, params={EVIL: EVIL}, returns=EVIL))
    session.record(localops.LLMEvent(model=EVIL, prompt=EVIL, completion=EVIL))
    session.record(localops.ErrorEvent(error_type=EVIL, details=EVIL))
    session.record(localops.ActionEvent(action_type=EVIL, params=EVIL))
    session.end_session("Failure", EVIL)
    shown = _shown(session)
    assert set(shown.tags) <= set("div b span code table tr th td".split())
    assert shown.attributes <= {"style"}
    assert shown.text.count("<script>alert(1)</script>") >= 6
    assert "\u202e" not in shown.text


def test_a_long_session_shows_its_newest_events() -> None:
    """However many there are, the piece of a page stays small."""
    session = localops.init()
    for number in range(200):
        session.record(localops.ActionEvent(action_type=f"step {number}", params={"text": "x" * 5_000}))
    html = session._repr_html_()
    assert html is not None
    assert len(html) < 30_000
    assert "175 earlier events" in html
    assert "step 199" in html
    assert "step 174<" not in html


def test_an_operation_that_ended_is_shown_so_whatever_order_its_rows_were_stored_in(tmp_path: Path) -> None:
    """The closing row may be long before the opening row, and not among the newest rows."""
    session = localops.start_session()
    assert session is not None
    for number in range(150):
        session.record(localops.ActionEvent(str(number)))
    search("tides")
    with Reader(session._journal.path) as reader:
        *others, closing_row = stored.of_session(reader, session._id)
    assert (closing_row.name, closing_row.phase) == ("search", rows.DONE)
    with closing(Journal(str(tmp_path))) as copy:
        copy.add(row.bare for row in (closing_row, *others))
    html = session_html.shown(copy.path, session._id)
    assert html is not None
    assert "unfinished" not in html


def test_an_empty_session_and_one_whose_journal_is_gone_are_shown(tmp_path: Path) -> None:
    """Without events there is no time line; without a journal IPython shows the plain form."""
    session = localops.init(home=tmp_path / "other")
    assert "LLM calls" in _shown(session).text
    session.end_session("Success")
    for file in (tmp_path / "other" / "default").glob("journal.db*"):
        file.unlink()
    assert session._repr_html_() is None


CELLS = """
import asyncio, sys
import IPython
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="NoColor")
for cell in CELLS:
    result = shell.run_cell(cell)
    print("cell:", type(result.error_in_exec or result.error_before_exec).__name__)
"""


def _cells(*cells: str) -> list[str]:
    """Run cells in an IPython of their own, and return how each ended."""
    pytest.importorskip("IPython")
    code = CELLS.replace("CELLS", repr(list(cells)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.removeprefix("cell: ") for line in done.stdout.splitlines() if line.startswith("cell: ")]


def _recorded() -> tuple[str, str | None, list[dict[str, Any]]]:
    """Return state, reason and errors of the newest session."""
    from localops.reading import analytics
    from localops.reading.home import Home

    with Home() as home:
        project, id = home.find("last")
        seen = project.snapshot(id)
        errors = [event for event in analytics.events(project.reader, id) if event["kind"] == "error"]
        return seen.standing.state, seen.standing.reason, errors


def test_the_exception_of_a_cell_is_an_error_of_the_session() -> None:
    """Each once, with its traceback; the session continues, and ends with the process."""
    ended = _cells(
        "import localops; session = localops.init()",
        "def look_up(city):\n    raise LookupError(city)",
        "look_up('Lyon')",
        "localops.record(localops.ActionEvent('afterwards')); assert session.is_running",
        "1 +",
        "raise KeyboardInterrupt",
        "import sys; sys.exit(3)",
        "assert localops.init() is session",
    )
    of_cells = ["NoneType", "NoneType", "LookupError", "NoneType", "SyntaxError", "KeyboardInterrupt", "SystemExit"]
    assert ended == [*of_cells, "NoneType"]
    state, reason, errors = _recorded()
    assert [(error["name"], error["details"]) for error in errors] == [("LookupError", "Lyon")]
    assert "in look_up" in errors[0]["logs"]
    assert (state, reason) == ("Indeterminate", "process exited without end_session")


def test_an_exception_that_an_operation_has_recorded_counts_once() -> None:
    """The error of a tool on its way out of the cell is the same error."""
    _cells(
        "import localops\nfrom localops.decorators import tool\nlocalops.init()",
        "@tool\ndef fetch():\n    raise TimeoutError('no answer')",
        "fetch()",
        "async def wait():\n    raise OSError('later')",
        "await wait()",
    )
    _, _, errors = _recorded()
    assert [error["name"] for error in errors] == ["TimeoutError", "OSError"]
    assert errors[0]["trigger"]["name"] == "fetch"


def test_a_session_of_one_cell_ends_with_it() -> None:
    """A `with` statement in a cell means what it does elsewhere; errors after it belong to no session."""
    _cells("import localops\nwith localops.start_session():\n    1/0", "[][1]")
    state, reason, errors = _recorded()
    assert state == "Failure"
    assert str(reason).startswith("ZeroDivisionError")
    assert [error["name"] for error in errors] == ["ZeroDivisionError"]


def test_without_a_notebook_nothing_is_loaded_for_one() -> None:
    """A program that is no notebook loads neither IPython nor our module about it."""
    code = "import localops, sys; localops.init(); localops.end_session('Success')\n"
    code += "print([name for name in sys.modules if 'notebook' in name or 'IPython' in name or 'html' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    # IPython as a library, of which no shell runs.
    code = "import IPython, localops; localops.init(); localops.end_session('Success'); print('done')"
    if find_spec("IPython"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_kernel_shows_sessions_and_ends_them_when_it_is_shut_down(tmp_path: Path) -> None:
    """In a real kernel: HTML as the output of a cell, errors of cells, an interrupt, and the end by a shutdown."""
    pytest.importorskip("ipykernel", reason="ipykernel is not installed: pip install ipykernel nbclient")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: pip install ipykernel nbclient")
    nbformat = pytest.importorskip("nbformat")
    sources = [
        "import localops\nsession = localops.init()\nsession",
        "1/0",
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nimport time; time.sleep(60)",
        "import sys; sys.exit(3)",
        "localops.record(localops.ActionEvent('still here'))\nassert session.is_running\nsession",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book.metadata["kernelspec"] = kernel
    nbclient.NotebookClient(
        book, allow_errors=True, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    first, failed, interrupted, exited, last = (cell.outputs for cell in book.cells)
    assert "Running" in first[-1]["data"]["text/html"]
    assert first[-1]["data"]["text/plain"].startswith("<Session ")
    assert failed[-1]["ename"] == "ZeroDivisionError"
    assert interrupted[-1]["ename"] == "KeyboardInterrupt"
    assert "SystemExit" in [each.get("ename") for each in exited]
    assert "ZeroDivisionError" in last[-1]["data"]["text/html"]
    state, reason, errors = _recorded()
    assert [error["name"] for error in errors] == ["ZeroDivisionError"]
    assert (state, reason) == ("Indeterminate", "process exited without end_session")
