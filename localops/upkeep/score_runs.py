"""Judge many recorded sessions by the functions of a file, in several processes.

A session is skipped if the same version of the function has judged it and it has no new rows: an interrupted run can
be continued, and a second run does nothing.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections import namedtuple
from dataclasses import dataclass, field

from localops import config as settings
from localops.encoding import encode
from localops.encoding.todays_rules import redactor
from localops.errors import ConfigError
from localops.journal import rows
from localops.reading.home import Home
from localops.recording.scores import Score
from localops.upkeep.one_judge import only_one
from localops.upkeep.scoring import Scorer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, NamedTuple

    from localops.config import Config
    from localops.journal.rows import Row
    from localops.reading.home import Filters, Project

    class Work(NamedTuple):
        """Sessions of one project, and the authors that have to judge each."""

        project: str
        sessions: list[tuple[str, list[str]]]

    class Failure(NamedTuple):
        """A function that gave no scores to a session."""

        session: str
        author: str
        reason: str
else:
    Work = namedtuple("Work", "project sessions")
    Failure = namedtuple("Failure", "session author reason")

_CHUNK = 50  # sessions that a process is asked about at once
_AT_ONCE = 500  # rows that are written together
_MOST_PROCESSES = 8
_REASON = 2_000  # characters
_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from localops.upkeep.score_functions import main; main(*sys.argv[2:])"
)


@dataclass
class Judged:
    """The result of a run."""

    functions: list[list[str]] = field(default_factory=list)  # name, author and version of each
    sessions: int = 0  # that were judged now
    scores: int = 0  # that were given
    withdrawn: int = 0  # the number of earlier scores that were withdrawn
    unchanged: int = 0  # sessions that had been judged before
    running: int = 0  # sessions that have not ended, and were left out
    failures: list[Failure] = field(default_factory=list)


def judge(
    path: str,
    config: Config,
    filters: Filters,
    *,
    home: str | None = None,
    project: str | None = None,
    processes: int | None = None,
) -> Judged:
    """Judge the sessions that pass the filters, and return what was done.

    An exception of a function is a failure of its session alone; so is the end of its process.  Raise ConfigError for a
    file that cannot be used.
    """
    folder = settings.home(home)
    many = processes or min(os.cpu_count() or 1, _MOST_PROCESSES)
    first = _Process(path, folder)
    try:
        result = Judged(functions=first.functions)
        authors = {author: version for _, author, version in first.functions}
        with only_one(folder, authors):
            work, seen = _due(Home(home, project), filters, authors, result)
            _run(first, work, seen, config, folder, path, many, result)
    finally:
        first.end()
    if result.failures:
        # A provider's error message may contain the key.
        clean = encode.Encoder(redactor=redactor(config)).text
        result.failures = [one._replace(reason=clean(one.reason, _REASON)) for one in result.failures]
    return result


def _due(
    opened: Home, filters: Filters, authors: dict[str, str], result: Judged
) -> tuple[list[Work], dict[tuple[str, str], int]]:
    """Return the sessions to judge, and the time of the last row of each."""
    work: list[Work] = []
    seen: dict[tuple[str, str], int] = {}
    with opened:
        done = {project.name: _judged_before(project, authors) for project in opened.projects}
        for one in opened.sessions(filters):
            if one.state == "Running":
                result.running += 1
                continue
            before = done[one.project.name].get(one.session, {})
            due = [author for author, version in authors.items() if before.get(author) != (version, one.last_ns)]
            if not due:
                result.unchanged += 1
                continue
            name = one.project.name
            seen[name, one.session.hex()] = one.last_ns
            if not work or work[-1].project != name or len(work[-1].sessions) == _CHUNK:
                work.append(Work(name, []))
            work[-1].sessions.append((one.session.hex(), due))
    return work, seen


def _judged_before(project: Project, authors: dict[str, str]) -> dict[bytes, dict[str, tuple[str, int]]]:
    """Return in which version each author judged a session last, and the time of its last row then."""
    known: dict[bytes, dict[str, tuple[str, int]]] = {}
    listed = encode.dumps(list(authors)).decode()
    for session, author, version, seen_ns in project.ask("judged_by", authors=listed):
        known.setdefault(session, {})[author] = (version, seen_ns)
    return known


def _run(
    first: _Process,
    work: Sequence[Work],
    seen: dict[tuple[str, str], int],
    config: Config,
    folder: str,
    path: str,
    many: int,
    result: Judged,
) -> None:
    waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
    for each in work:
        waiting.put(each)
    answers: queue.Queue[tuple[str, dict[str, Any]] | BaseException | None] = queue.Queue(4 * _AT_ONCE)
    stopped = threading.Event()

    def ask(process: _Process | None) -> None:
        try:
            _ask(waiting, answers.put, stopped, process, lambda: _Process(path, folder))
        except BaseException as error:  # raised again by the thread that writes
            answers.put(error)
        answers.put(None)

    number = max(1, min(many, len(work)))
    threads = [threading.Thread(target=ask, args=(first if not n else None,), daemon=True) for n in range(number)]
    for thread in threads:
        thread.start()
    try:
        with _Writing(config, folder, seen, result) as writing:
            going = number
            while going:
                answer = answers.get()
                if answer is None:
                    going -= 1
                elif isinstance(answer, BaseException):
                    raise answer
                else:
                    writing.take(*answer)
    finally:
        stopped.set()


def _ask(
    waiting: queue.SimpleQueue[Work],
    put: Callable[[tuple[str, dict[str, Any]]], None],
    stopped: threading.Event,
    process: _Process | None,
    start: Callable[[], _Process],
) -> None:
    """Send the waiting sessions to a process; start another process if it dies."""
    try:
        while not stopped.is_set():
            try:
                work = waiting.get_nowait()
            except queue.Empty:
                return
            left = list(work.sessions)
            while left and not stopped.is_set():
                process = process or start()
                for answer in process.ask(work.project, left):
                    put((work.project, answer))
                    left.pop(0)
                if left:
                    code = process.end()
                    session, authors = left.pop(0)
                    reason = f"the process ended in it, with exit code {code}"
                    put((work.project, {"session": session, "failures": [[author, reason] for author in authors]}))
                    process = None
    finally:
        if process is not None:
            process.end()


class _Process:
    """A process that runs the functions of a file."""

    def __init__(self, path: str, home: str) -> None:
        arguments = [sys.executable, "-c", _CODE, json.dumps(sys.path), path, home]
        self._process = subprocess.Popen(  # noqa: S603
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        greeting = self._read()
        if greeting is None or "unusable" in greeting:
            code = self.end()
            raise ConfigError(greeting["unusable"] if greeting else f"{path} ended its process, with exit code {code}")
        self.functions: list[list[str]] = greeting["functions"]

    def ask(self, project: str, sessions: Sequence[tuple[str, list[str]]]) -> Iterator[dict[str, Any]]:
        """Yield the answer about each session; fewer if the process ends."""
        assert self._process.stdin is not None
        try:
            print(json.dumps({"project": project, "sessions": sessions}), file=self._process.stdin, flush=True)
        except OSError:
            return
        for _ in range(len(sessions)):
            answer = self._read()
            if answer is None:
                return
            yield answer

    def _read(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
        return answer

    def end(self) -> int:
        """End it, and return its exit code."""
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:  # it has exited
                pass
        try:
            return self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class _Writing:
    """Writes scores in batches of some hundred."""

    def __init__(self, config: Config, folder: str, seen: dict[tuple[str, str], int], result: Judged) -> None:
        self._config, self._folder, self._seen, self._result = config, folder, seen, result
        self._scorers: dict[str, Scorer] = {}
        self._rows: dict[str, list[Row]] = {}

    def take(self, project: str, answer: dict[str, Any]) -> None:
        """Add the scores of a session."""
        session, ident = bytes.fromhex(answer["session"]), answer["session"]
        self._result.failures += [
            Failure(rows.id_text(session), author, reason) for author, reason in answer["failures"]
        ]
        given = answer.get("scores", ())
        # Rows for functions that gave no score, so that the next run skips these sessions.
        marks = answer.get("marks", ())
        if not given and not marks:
            return
        self._result.sessions += 1
        if project not in self._scorers:
            self._scorers[project] = Scorer(self._config, settings.project_folder(self._folder, project))
        gathered = self._rows.setdefault(project, [])
        for columns in (*given, *marks):
            score = Score(*columns)
            target = None if score.event is None else bytes.fromhex(str(score.event).replace("-", ""))
            _, row = self._scorers[project].row(session, score, target, self._seen[project, ident])
            gathered.append(row)
        values = [Score(*columns).value for columns in given]
        self._result.withdrawn += values.count(None)
        self._result.scores += len(values) - values.count(None)
        if len(gathered) >= _AT_ONCE:
            self._write(project)

    def _write(self, project: str) -> None:
        self._scorers[project].journal.add(self._rows.pop(project, []))

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, *failure: object) -> None:
        try:
            # Scores from before an interruption are kept, so that these sessions are not judged again.
            for project in list(self._rows):
                self._write(project)
        finally:
            for scorer in self._scorers.values():
                scorer.close()
