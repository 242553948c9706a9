"""The functions of a file that score sessions: load them, and convert their results to scores.

`localops score --with` runs them in a separate process, `main` here: it reads sessions from a pipe and answers with a
line for each.  So a function that prints, or ends its process, affects only its own session.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import namedtuple
from types import ModuleType

from localops.errors import ConfigError
from localops.reading.home import Home
from localops.reading.past_session import PastSession
from localops.recording import events, scores

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NamedTuple

    from localops.reading.home import Project
    from localops.recording.scores import Score

    class Function(NamedTuple):
        """A function that judges sessions."""

        name: str  # of its score, where it returns a bare value
        author: str
        version: str
        call: Callable[[PastSession], object]
else:
    Function = namedtuple("Function", "name author version call")

PREFIX = "score_"  # of the names of functions that judge
_DIGITS = 12  # of a file's digest, as a version


def load(path: str) -> list[Function]:
    """Run a file, and return its functions in the order of their names; raise ConfigError without any."""
    try:
        with open(path, "rb") as file:
            code = file.read()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    stem = os.path.splitext(os.path.basename(path))[0]
    folder = os.path.dirname(os.path.abspath(path))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = _run(code, path, stem)
    version = str(getattr(module, "VERSION", None) or hashlib.sha256(code).hexdigest()[:_DIGITS])
    chosen = [
        Function(name.removeprefix(PREFIX), f"{stem}.{name.removeprefix(PREFIX)}", version, made)
        for name, made in sorted(vars(module).items())
        if name.startswith(PREFIX) and name != PREFIX and callable(made)
    ]
    if not chosen:
        raise ConfigError(f"invalid file {path}: expected functions whose names begin with {PREFIX!r}, found none")
    for function in chosen:
        scores.checked(scores.Score(function.name, None, function.author, None, function.version))
    return chosen


def _run(code: bytes, path: str, stem: str) -> ModuleType:
    """Run code as a module, without an import, as cached byte code could be that of an earlier version."""
    module = ModuleType(stem)
    module.__file__ = path
    sys.modules[stem] = module
    try:
        exec(compile(code, path, "exec"), vars(module))  # noqa: S102  it is what the user asked for
    except Exception as error:  # any exception, as it is the user's code
        raise ConfigError(f"cannot run {path}: {_described(error)}{_place(error, path)}") from error
    return module


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {events.describe(error)}"


def _place(error: BaseException, path: str) -> str:
    """Return the last line of the file in an error's traceback; nothing if the file is not in it."""
    from traceback import walk_tb

    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == path]
    return f" ({path}, line {lines[-1]})" if lines else ""


def judged(function: Function, session: PastSession) -> list[Score]:
    """Return the scores that a function gives; raise its exceptions, and ConfigError for an invalid result.

    Its earlier scores that it does not give again are withdrawn.
    """
    listed = [_whole(function, one) for one in _listed(function, function.call(session))]
    made = [one for one in listed if one.value is not None]
    given = {(one.name, one.event) for one in made}
    for name, event in session.scored_by(function.author):
        if (name, event) not in given:
            made.append(_whole(function, scores.Score(name, None, event=event)))
    return made


def _whole(function: Function, score: Score) -> Score:
    event = None if score.event is None else str(_event_id(score.event))
    return scores.checked(score._replace(by=function.author, version=function.version, event=event))


def _event_id(event: object) -> object:
    from uuid import UUID

    given = event.get("id") if isinstance(event, dict) else event
    try:
        return UUID(str(given))
    except ValueError as error:
        raise ConfigError(f"invalid event of a score: expected an event or its id, got {str(given)[:40]!r}") from error


def _listed(function: Function, result: Any) -> Iterator[Score]:
    """Yield the scores in what a function returned."""
    if isinstance(result, scores.Score):
        yield result
    elif isinstance(result, dict):
        for name, value in result.items():
            yield _one(name, value)
    elif isinstance(result, list):
        for each in result:
            if not isinstance(each, scores.Score):
                raise ConfigError(
                    f"invalid result: expected a list of localops.Score, got one of {type(each).__name__}"
                )
            yield each
    elif result is not None:
        yield _one(function.name, result)


def _one(name: str, value: Any) -> Score:
    if isinstance(value, tuple):
        if len(value) != 2:
            raise ConfigError(f"invalid result: expected (value, comment), got {len(value)} values")
        return scores.Score(name, value[0], comment=value[1])
    return scores.Score(name, value)


# The process


def main(path: str, home: str) -> None:
    """Answer requests on stdin, one a line: a project and ids of sessions."""
    asked, answers = os.fdopen(os.dup(0), encoding="utf-8"), os.fdopen(os.dup(1), "w", encoding="utf-8")
    # A function gets an empty stdin, and what it prints goes to stderr.
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    try:
        functions = load(path)
    except ConfigError as error:
        print(json.dumps({"unusable": str(error)}), file=answers, flush=True)
        return
    about = [[one.name, one.author, one.version] for one in functions]
    print(json.dumps({"functions": about}), file=answers, flush=True)
    by_author = {one.author: one for one in functions}
    opened: dict[str, Home] = {}
    for line in asked:
        question = json.loads(line)
        name = question["project"]
        if name not in opened:
            opened[name] = Home(home, name)
        for ident, authors in question["sessions"]:
            answer = _answer(opened[name].projects[0], ident, [by_author[author] for author in authors], path)
            print(json.dumps({"session": ident, **answer}), file=answers, flush=True)


def _answer(project: Project, ident: str, functions: list[Function], path: str) -> dict[str, Any]:
    session = PastSession(project, bytes.fromhex(ident))
    given: list[list[object]] = []
    marks: list[list[object]] = []
    failures: list[list[str]] = []
    for function in functions:
        try:
            made = judged(function, session)
        except Exception as error:  # any exception, as it is the user's code
            failures.append([function.author, f"{_described(error)}{_place(error, path)}"])
            continue
        given += [list(one._replace(comment=_plain(one.comment))) for one in made]
        if not made:
            marks.append(list(_whole(function, scores.Score(function.name, None))))
    return {"scores": given, "marks": marks, "failures": failures}


def _plain(comment: object) -> object:
    """Return a comment for JSON: text as it is, anything else converted to text."""
    return comment if comment is None or isinstance(comment, str) else events.describe(comment)
