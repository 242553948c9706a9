"""One run through all doors: SQL, Python, commands, the pages' address and a hub give the same figures of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from localops import cli, runs
from localops.runs import Runs
from localops_sync import exit_codes
from tests import programs
from tests.server.hubs import RealHub, hub
from tests.server.uis import RealPages
from tests.sync.homes import Sender

# A program with a loop, retries, a failing tool, scores and notes, that is killed in a step unless it has an argument.
_AGENT = """
import os, signal, sys
import localops
from localops.decorators import tool

@tool(once=True)
def charge(order):
    return {"receipt": order}

@tool(once=True)
def ship(order):
    os.kill(os.getpid(), signal.SIGKILL)

@tool
def search(query):
    return []

@tool
def fetch(url):
    raise TimeoutError(f"no answer from {url}")

session = localops.init(trace_name="order", tags=["doors"])
for number in range(4):
    session.record(localops.LLMEvent(model="gpt-4o-mini", prompt="where?", completion="I look", prompt_tokens=1200,
                                     completion_tokens=40, cached_tokens=7, cache_write_tokens=3))
    search("tides")
for number in range(3):
    try:
        fetch("https://x.example/a")
    except TimeoutError:
        pass
for model in ("own-model", "other-model"):
    session.record(localops.LLMEvent(model=model, prompt="x", completion="y", prompt_tokens=10, completion_tokens=5))
charge("a")
with session.operation("judged", kind="tool") as judged:
    judged.score("useful", False, comment="no")
session.score("correct", 0.8, by="human", comment="one date is wrong")
session.score("correct", 0.4, by="judge", version="v1")
session.score("correct", 0.5, by="judge", version="v2")
session.score("tone", "friendly")
session.note("the customer called")
print(session.session_id, flush=True)
if sys.argv[1:]:
    charge("b")
    session.end_session("Success")
session.star()
ship("a")
"""


class Doors(NamedTuple):
    """The run that was killed, a run beside it, and the ways to both."""

    killed: str
    good: str
    past: Runs
    command: Callable[..., Any]
    sql: Callable[[str], list[list[Any]]]
    get: Callable[[str], Any]
    text: Callable[[str], str]


class Place(NamedTuple):
    """A home, and what serves it."""

    home: Path
    get: Callable[[str], str]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, dict[str, Place]]]:
    """Record both runs, give one of their models a price, send them to a hub, and serve both homes."""
    home = tmp_path_factory.mktemp("home")
    env = {"LOCALOPS_HOME": str(home), "LOCALOPS_PROJECT": "default"}
    killed, good = (programs.run(_AGENT, *arguments, env=env).stdout.strip() for arguments in ((), ("good",)))
    with pytest.raises(SystemExit):
        cli.main(["prices", "set", "own-model", "--input", "5", "--output", "20", "--home", str(home)])
    pages = RealPages(home)
    with hub(tmp_path_factory.mktemp("hub")) as running:
        sender = Sender(home, running.url, running.key)
        assert (sender.sync().code, sender.sync(verify=True).notes) == (exit_codes.DONE, [])
        yield killed, good, {"home": Place(home, _of_pages(pages)), "hub": Place(running.data, _of_hub(running))}
    pages.stop()


def _of_pages(pages: RealPages) -> Callable[[str], str]:
    return lambda path: pages.get(path).text


def _of_hub(running: RealHub) -> Callable[[str], str]:
    def get(path: str) -> str:
        import urllib.request

        request = urllib.request.Request(running.url + path, headers={"Authorization": f"Bearer {running.key}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    return get


@pytest.fixture(params=["home", "hub"])
def doors(
    request: pytest.FixtureRequest,
    recorded: tuple[str, str, dict[str, Place]],
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Doors]:
    """Open the doors to the home, or to the hub that has the same rows."""
    killed, good, places = recorded
    place = places[request.param]

    def text(*arguments: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit):
            cli.main([*arguments, "--home", str(place.home)])
        return capsys.readouterr().out

    def command(*arguments: str) -> Any:
        return json.loads(text(*arguments, "--json"))

    def sql(statement: str) -> list[list[Any]]:
        return [list(row.values()) for row in command("query", statement.format(killed=killed, good=good))["rows"]]

    with runs.opened(place.home) as past:
        yield Doors(
            killed,
            good,
            past,
            command,
            sql,
            lambda path: json.loads(place.get(path.format(killed=killed, good=good))),
            lambda path: place.get(path.format(killed=killed, good=good)),
        )


_TOTALS = (
    "events llm_calls tool_calls actions errors failed tokens_in tokens_out tokens_cached tokens_reasoning "
    "tokens_cache_write cost_usd unpriced"
).split()


def _totals(session: Any) -> list[Any]:
    return [session[name] for name in _TOTALS]


def _ending(why: Any) -> list[Any]:
    first, steps = why["first_error"], why["steps"]
    spent = why["waste"]["looped"]
    return [
        *(why[name] for name in ("state", "how", "reason", "seconds", "under_way_count")),
        *(first[name] for name in ("type", "message", "id")),
        *(steps["uncertain"], why["waste"]["loops_count"], spent["calls"], spent["llm_calls"], spent["cost_usd"]),
    ]


def _steps(steps: Any) -> list[list[Any]]:
    return [[step[name] for name in ("id", "name", "input", "state", "on_resume", "began", "ended")] for step in steps]


def _loops(session: Any) -> list[list[Any]]:
    return [
        [
            *(loop["kind"], ", ".join(loop["tools"]), loop["calls"], loop["rounds"], loop["failed"], loop["error"]),
            *(loop["wasted"][name] for name in ("calls", "llm_calls", "cost_usd")),
            *(loop["wasted"]["tokens_in"] + loop["wasted"]["tokens_out"], loop["first"], loop["last"]),
        ]
        for loop in session["loops"]
    ]


def _failures(session: Any) -> list[list[Any]]:
    names = ("tool", "error", "arguments", "failures", "calls", "message", "last")
    return [[failure[name] for name in names] for failure in session["failures"]]


def _scores(scores: Any) -> list[list[Any]]:
    names = ("id", "name", "value", "type", "by", "version", "comment", "event", "counts")
    return sorted([score[name] for name in names] for score in scores)


def _notes(notes: Any) -> list[list[Any]]:
    return [[note[name] for name in ("id", "text", "by", "event")] for note in notes]


def _differences(diff: Any) -> list[Any]:
    return [diff["counts"], diff["cost_parts"], [[one["marks"], one["name"]] for one in diff["differences"]]]


def _rules(run: Any) -> list[Any]:
    return [run["passed"], [[rule["rule"], rule["passed"], rule["value"], rule["reason"]] for rule in run["rules"]]]


def _starred(sessions: Any) -> list[str]:
    return [one["session_id"] for one in sessions]


_WHY = (
    "select state, how, reason, seconds, under_way, first_error, first_message, first_id, uncertain_steps, loops, "
    "wasted_calls, wasted_llm_calls, wasted_usd from post_mortem where session_id = '{killed}'"
)
_SCORES = (
    "select id, name, value, type, author, version, comment, event, current from score where session = '{killed}' "
    "order by id"
)
_LOOPS = (
    "select kind, tools, calls, rounds, failed, error, wasted_calls, wasted_llm_calls, wasted_usd, wasted_tokens, "
    "first_id, last_id from tool_loop where session_id = '{killed}'"
)
_FAILURES = (
    "select tool, error, arguments, failures, calls, message, last_id from tool_failure where session_id = '{killed}'"
)
_STARRED = "select session from score where name = 'star' and current and value order by session desc"
_RULES: dict[str, Any] = {"max_cost": "+10%", "max_errors": "0", "same_tools": True}
# By figure: what SQL, a command, Python and an address of the pages or a hub say of it.  A door that makes no sense, as
# the page of each feature says, is None.
_FIGURES: dict[str, tuple[Callable[[Doors], Any] | None, ...]] = {
    "totals": (
        lambda at: at.sql(f"select {', '.join(_TOTALS)} from session where session_id = '{{killed}}'")[0],
        lambda at: _totals(at.command("analytics", at.killed)),
        lambda at: _totals(at.past.session(at.killed).figures),
        lambda at: _totals(at.get("/api/1/sessions/{killed}")),
    ),
    "post-mortem": (
        lambda at: at.sql(_WHY)[0],
        lambda at: _ending(at.command("why", at.killed)),
        lambda at: _ending(at.past.session(at.killed).why()),
        lambda at: _ending(at.get("/api/1/sessions/{killed}/why")),
    ),
    "steps": (
        lambda at: at.sql(
            "select id, name, input, state, on_resume, began, ended from once_step where session_id = '{killed}'"
        ),
        lambda at: _steps(at.command("steps", at.killed)["steps"]),
        lambda at: _steps(at.past.session(at.killed).steps),
        lambda at: _steps(at.get("/api/1/sessions/{killed}/steps")["steps"]),
    ),
    "loops": (
        lambda at: at.sql(_LOOPS),
        lambda at: _loops(at.command("lint", at.killed)["sessions"][0]),
        lambda at: _loops(at.past.session(at.killed).loops()),
        lambda at: _loops(at.get("/api/1/sessions/{killed}/loops")),
    ),
    "failures": (
        lambda at: at.sql(_FAILURES),
        lambda at: _failures(at.command("lint", at.killed)["sessions"][0]),
        lambda at: _failures(at.past.session(at.killed).loops()),
        lambda at: _failures(at.get("/api/1/sessions/{killed}/loops")),
    ),
    "differences": (
        None,
        lambda at: _differences(at.command("diff", at.killed, at.good)),
        lambda at: _differences(at.past.session(at.killed).diff(at.past.session(at.good))),
        lambda at: _differences(at.get("/api/1/diff?a={killed}&b={good}")),
    ),
    "differences beside each other": (
        None,
        lambda at: at.command("diff", at.killed, at.good)["counts"],
        lambda at: at.past.session(at.killed).diff(at.past.session(at.good))["counts"],
        lambda at: at.get("/api/1/compare?a={killed}&b={good}")["counts"],
    ),
    "gate": (
        None,
        lambda at: _rules(
            at.command(
                *("check", at.killed, "--baseline", at.good),
                *("--max-cost", "+10%", "--max-errors", "0", "--same-tools"),
            )
        ),
        lambda at: _rules(at.past.session(at.killed).check(at.past.session(at.good), **_RULES)),
        lambda at: _rules(
            at.get("/api/1/sessions/{killed}/check?baseline={good}&max_cost=%2B10%25&max_errors=0&same_tools=1")
        ),
    ),
    "scores": (
        lambda at: at.sql(_SCORES),
        lambda at: _scores(at.command("score", at.killed)["scores"]),
        lambda at: _scores(at.past.session(at.killed).figures["scores"]),
        lambda at: _scores(at.get("/api/1/sessions/{killed}/scores")["scores"]),
    ),
    "scores that count": (
        lambda at: [row for row in at.sql(_SCORES) if row[-1]],
        lambda at: [row for row in _scores(at.command("score", at.killed)["scores"]) if row[-1]],
        lambda at: _scores(at.past.session(at.killed).scores),
        lambda at: [row for row in _scores(at.get("/api/1/sessions/{killed}")["scores"]) if row[-1]],
    ),
    "notes": (
        lambda at: at.sql("select id, text, author, event from note where session = '{killed}'"),
        lambda at: _notes(at.command("score", at.killed)["notes"]),
        lambda at: _notes(at.past.session(at.killed).notes),
        lambda at: _notes(at.get("/api/1/sessions/{killed}/scores")["notes"]),
    ),
    "stars": (
        lambda at: [id for (id,) in at.sql(_STARRED)],
        lambda at: _starred(at.command("sessions", "--score", "star")["sessions"]),
        lambda at: [str(one.id) for one in at.past.sessions(score="star")],
        lambda at: _starred(at.get("/api/1/sessions?score=star")["sessions"]),
    ),
}


@pytest.mark.parametrize("figure", _FIGURES)
def test_a_figure_is_the_same_through_every_door(doors: Doors, figure: str) -> None:
    """In the home where it was recorded and on a hub, of a run with everything in it."""
    answers = [door(doors) for door in _FIGURES[figure] if door is not None]
    assert answers[0]
    assert all(answer == answers[0] for answer in answers), answers


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "md", "atif", "sft", "otlp", "perfetto", "openmetrics"])
def test_a_file_is_the_same_through_every_door(doors: Doors, form: str, tmp_path: Path) -> None:
    """To the byte: written by the command, by Python, and downloaded."""
    files = [tmp_path / name for name in ("command", "python")]
    doors.command("export", doors.killed, "--format", form, "-o", str(files[0]))
    doors.past.export(doors.past.session(doors.killed), files[1], format=form)
    written = [file.read_bytes() for file in files]
    assert written[0]
    assert [*written, doors.text(f"/api/1/sessions/{{killed}}/export?format={form}").encode()] == written[:1] * 3
