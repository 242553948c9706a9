"""The other commands that read: tail, search, query, status, path, help, and the ends of the command line."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localops
from localops import ActionEvent, LLMEvent, decorators
from localops.cli.group import COMMANDS
from tests import warm

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]


def _begun(**options: Any) -> localops.Session:
    session = localops.start_session(**options)
    assert session is not None
    return session


@pytest.fixture
def session() -> localops.Session:
    """Return a session with an action and a call, ended."""
    session = localops.start_session(name="nightly", tags=["night"])
    assert session is not None
    session.record(ActionEvent(action_type="web_search", params={"q": "cats and dogs"}))
    session.record(LLMEvent(prompt="Ärger in Köln", completion="北京欢迎你", model="gpt-4o"))
    session.end_session("Success", "all done")
    return session


def _start(*arguments: str) -> subprocess.Popen[str]:
    return warm.start(
        [sys.executable, "-m", "localops", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_tail_shows_the_last_rows(session: localops.Session, command: Command) -> None:
    """It prints a line per row, oldest first, the end of the session last."""
    lines = command("tail", "-n", "2")[1].splitlines()
    assert len(lines) == 2
    assert "llm gpt-4o" in lines[0]
    assert lines[1].endswith("session ended: Success, all done")


def test_following_a_session_ends_with_it(command: Command) -> None:
    """`tail -f ID` prints what is written while it looks, and is done when the session is."""
    session = localops.start_session()
    assert session is not None
    following = _start("tail", "-f", str(session.session_id))
    assert following.stdout is not None
    assert "session" in following.stdout.readline()  # it is looking now
    session.record(ActionEvent(action_type="written later"))
    session.end_session("Success")
    out, err = following.communicate(timeout=30)
    assert (following.returncode, err) == (0, "")
    assert "written later" in out
    assert "session ended: Success" in out


def test_following_is_interrupted_in_peace(session: localops.Session) -> None:
    """Ctrl-C ends `tail -f` with 130 and not a word."""
    following = _start("tail", "-f")
    assert following.stdout is not None
    assert following.stdout.readline()
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=30)
    assert (following.returncode, err) == (130, "")


def test_a_reader_that_has_gone_is_no_error(session: localops.Session) -> None:
    """`localops … | head` ends quietly."""
    read, write = os.pipe()
    os.close(read)
    done = warm.run(
        [sys.executable, "-m", "localops", "show"],
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", ["sessions", "show", "export last", "help", "tail", "status"])
def test_a_closed_stdout_is_no_bug(session: localops.Session, arguments: str) -> None:
    """With `>&-` there is nowhere to print to, and that is all."""
    done = subprocess.run(
        f'"{sys.executable}" -m localops {arguments} >&-',
        shell=True,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_pipe_gets_utf_8_whatever_the_locale(session: localops.Session, encoding: str) -> None:
    """Characters that the locale does not have are not lost on the way to a file or another program."""
    done = subprocess.run(
        [sys.executable, "-m", "localops", "show", "--events", "--json"],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "北京欢迎你" in done.stdout.decode()


def test_a_terminal_that_lacks_a_character_shows_another(session: localops.Session) -> None:
    """A terminal that is not in UTF-8 shows a question mark for it."""
    ours, theirs = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "localops", "search", "北京"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "COLUMNS": "200"},
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    shown = os.read(ours, 65536)
    os.close(ours)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\r\n  ?????\r\n" in re.sub(rb"\x1b\[\d+m", b"", shown)


def test_a_mistyped_command_is_guessed(command: Command) -> None:
    """As for options, the message names the nearest command."""
    for words, meant in (
        (["sesions"], "did you mean 'sessions'"),
        (["prices", "lst"], "did you mean 'list'"),
        # In words of click's own, which are others in older releases.
        (["sessions", "--sate", "x"], "--state"),
    ):
        code, out, err = command(*words)
        assert (code, out) == (2, "")
        assert meant in err
    for word in ("zzzz", "compare", "version"):
        assert "did you mean" not in command(word)[2]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("cats", ["action"]),
        ("CATS web_search", ["action"]),
        ("arger koln", ["llm"]),
        ("京欢", ["llm"]),
        ("dogs cats", ["action"]),
        ("search_web", []),
        ("cats gpt-4o", []),
        ("nightly", ["session"]),
    ],
)
def test_words_are_found_in_one_event(session: localops.Session, as_json: AsJson, text: str, kinds: list[str]) -> None:
    """All words are in one event, whatever their case and accents; parts of one word are adjacent."""
    assert [hit["kind"] for hit in as_json("search", text)["hits"]] == kinds


def test_what_was_found_is_in_sight(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """However narrow the terminal and wherever in a text: the word is on the screen."""
    again = localops.start_session(name="a session with a name that goes on and on")
    assert again is not None
    again.record(
        ActionEvent(action_type="a step with a long name too", params="before " * 40 + "nèedle" + " after" * 40)
    )
    for columns in ("40", "80", "140"):
        monkeypatch.setenv("COLUMNS", columns)
        _, out, _ = command("search", "needle")
        assert "nèedle" in out
        assert max(map(len, out.splitlines())) <= int(columns)
    monkeypatch.delenv("COLUMNS")
    assert "nèedle" in command("search", "needle")[1].splitlines()[2]


def test_later_rows_are_found_by_later_searches(session: localops.Session, as_json: AsJson) -> None:
    """Each search updates the index, which contains nothing twice."""
    assert not as_json("search", "unicorn")["hits"]
    again = localops.start_session()
    assert again is not None
    again.record(ActionEvent(action_type="unicorn"))
    for _ in range(2):
        assert len(as_json("search", "unicorn")["hits"]) == 1
    assert not as_json("search", "unicorn", "--session", str(session.session_id))["hits"]


def test_a_search_begins_with_the_first_occurrence(as_json: AsJson) -> None:
    """Of each session, in the order of its events, although later prompts repeat it; newer sessions are first."""
    for name, project in (("older", "one"), ("newer", "two")):
        session = localops.start_session(name=name, config=localops.Config(project=project))
        assert session is not None
        session.record(ActionEvent(action_type=f"unicorn of {name}"))
        for number in range(3):
            session.record(localops.LLMEvent(model=f"m{number}", prompt="look for the unicorn"))
        session.end_session("Success")
    hits = as_json("search", "unicorn", "-n", "5")["hits"]
    assert [(hit["project"], hit["kind"]) for hit in hits] == [
        ("two", "action"),
        *[("two", "llm")] * 3,
        ("one", "action"),
    ]


def test_a_query_without_a_word_is_refused(session: localops.Session, command: Command) -> None:
    """Punctuation alone is wrong usage."""
    assert command("search", "!!")[0] == 2


def test_a_search_without_a_hit_says_how_words_match(session: localops.Session, command: Command) -> None:
    """Whole words, unless one ends in a star; several have to be in one event."""
    assert "no event contains the word 'quer'; 'quer*' finds words that begin with it" in command("search", "quer")[2]
    assert "no event contains all of these words: 'quer zebra'" in command("search", "quer", "zebra")[2]
    assert command("search", "zebra*")[2].strip().endswith("no event contains the word 'zebra*'")
    for text, instead in (("tag:vip", "sessions --tag vip"), ("cats -user:ann", "search cats --not-user ann")):
        assert command("search", "--", text)[2].endswith(f"; filters are options here: localops {instead}\n")


def test_a_search_looks_into_the_sessions_that_are_asked_for(session: localops.Session, as_json: AsJson) -> None:
    """Those of a user, a tag, metadata or a host, and not others; a limit counts what passes."""
    session.end_session()
    for user in ("ann", "bob", "bob"):
        with localops.start_session(user=user, metadata={"plan": user}, tags=["new"]) as each:
            each.record(ActionEvent(action_type="web_search", params={"q": "cats"}))

    def users(*options: str) -> int:
        return len(as_json("search", "cats", *options)["hits"])

    assert [users(), users("--user", "ann"), users("--user", "bob")] == [4, 1, 2]
    assert [users("--not-user", "bob"), users("--meta", "plan=a*"), users("--not-tag", "new")] == [2, 1, 1]
    assert [users("--host", "no-such-host"), users("--not-user", "bob", "-n", "1")] == [0, 1]


@pytest.mark.parametrize("shown", [slice(None), slice(13)])
def test_an_id_is_not_searched_for_but_opened(session: localops.Session, command: Command, shown: slice) -> None:
    """A pasted id of a session leads to the command that shows it; an id of nothing is a word like another."""
    ident = str(session.session_id)[shown]
    assert f"{ident} is the id of a session: localops show {ident}" in command("search", ident)[2]
    assert "no event contains the word" in command("search", "0" * len(ident))[2]


def test_a_search_finds_an_operation_once(command: Command, as_json: AsJson) -> None:
    """Its two rows both have its name; `*` at the end of a word matches all words that begin so."""

    @decorators.tool
    def fetch_page(url: str) -> str:
        return "text"

    with _begun():
        fetch_page("lighthouse")
    assert [hit["name"] for hit in as_json("search", "fetch_page")["hits"]] == ["fetch_page"]
    assert len(as_json("search", "light*")["hits"]) == 1
    assert command("search", "light")[1] == ""


def test_sql_reads_the_views(session: localops.Session, as_json: AsJson, command: Command) -> None:
    """The documented views can be queried."""
    document = as_json("query", "select name, state from session")
    assert document["rows"] == [{"name": "nightly", "state": "Success"}]
    assert command("query", "select 1 as a, '=1+1' as b", "--csv")[1] == "a,b\n1,'=1+1\n"


@pytest.mark.parametrize("sql", ["delete from event", "attach 'x' as x", "pragma user_version = 9", "nonsense"])
def test_sql_that_does_more_than_read_is_refused(session: localops.Session, command: Command, sql: str) -> None:
    """SQLite itself refuses; nothing changes."""
    code, out, err = command("query", sql)
    assert (code, out) == (1, "")
    assert err
    assert command("query", "select count(*) from event", "--csv")[1].splitlines()[1] == str(
        int(command("query", "select max(seq) from event", "--csv")[1].splitlines()[1])
    )


def test_sql_that_never_ends_is_ended(session: localops.Session, command: Command) -> None:
    """The time limit holds."""
    endless = "with recursive a(x) as (select 1 union all select x + 1 from a) select count(*) from a"
    code, _, err = command("query", endless, "--seconds", "0.2")
    assert code == 1
    assert "0.2 s" in err


def test_status_counts_what_there_is(session: localops.Session, as_json: AsJson, command: Command) -> None:
    """Each project has its sessions, running ones, events and bytes."""
    running = localops.start_session()
    assert running is not None
    (project,) = as_json("status")["projects"]
    assert (project["sessions"], project["running"], project["events"]) == (2, 1, 2)
    assert project["journal_bytes"] > 0
    assert "default" in command("status")[1]


def test_path_prints_home_and_journal(command: Command, tmp_path: Path) -> None:
    """It prints the home, also before it exists, or a project's journal; an unknown project is an error."""
    assert command("path")[1].strip() == str(tmp_path / "home")
    assert command("path", "--project", "p")[0] == 1
    _begun(config=localops.Config(project="p")).end_session()
    assert command("path", "--project", "p")[1].strip() == str(tmp_path / "home" / "p" / "journal.db")
    assert command("path")[2] == ""
    nowhere = tmp_path / "nowhere"
    code, out, err = command("path", "--home", str(nowhere))
    assert (code, out, f"{nowhere} does not exist yet" in err) == (0, f"{nowhere}\n", True)


READING = (
    "sessions;show;show --event 1;analytics;analytics last;search x;query 'select 1';tail;status;doctor;ui --port 0;"
    "export last;backup -o {tmp}/copy;bundle -o {tmp}/rows.lops;prune --older-than 3d;repair --project p;sync;"
    "remote list;remote test r;parked list;parked retry;receipts;prices list;prices show gpt-4o;"
    "prices set m --input 1 --output 1"
).split(";")


@pytest.mark.parametrize("words", READING)
def test_a_home_that_is_not_there_is_no_empty_home(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """A missing home is refused by every command that reads, wherever it was named."""
    missing, file = tmp_path / "nowhere", tmp_path / "file"
    file.touch()
    arguments = shlex.split(words.format(tmp=tmp_path))
    for home, what in ((missing, "does not exist"), (file, "is not a directory")):
        code, out, err = command(*arguments, "--home", str(home))
        assert (code, out, f"{home} {what}" in err) == (2, "", True)
        monkeypatch.setenv("LOCALOPS_HOME", str(home))
        code, out, err = command(*arguments)
        assert (code, out, f"LOCALOPS_HOME names {home}, which {what}" in err) == (2, "", True)
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_machine_gets_a_first_step(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A default home that does not exist yet is not an error."""
    monkeypatch.delenv("LOCALOPS_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "fresh"))
    monkeypatch.setenv("HOME", str(tmp_path / "fresh"))
    for words in ("sessions", "status", "analytics"):
        code, _, err = command(words)
        assert (code, "`localops demo`" in err) == (0, True)


def test_rows_of_a_home_that_could_not_be_made_are_read(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait in the user's state folder: such a home is named rightly, though it does not exist."""
    wall = tmp_path / "wall"
    wall.touch()
    monkeypatch.setenv("LOCALOPS_HOME", str(wall / "home"))
    localops.init()
    localops.end_session("Success")
    wall.unlink()
    code, out, _ = command("status")
    assert (code, "wall/home" in out, "default" in out) == (0, True, True)


@pytest.mark.parametrize("words", ["prices set m --input 1 --output 1", "remote list", "sessions", "status"])
def test_a_project_that_is_not_there_is_refused(session: localops.Session, command: Command, words: str) -> None:
    """A misspelt name is not taken for an empty project."""
    code, out, err = command(*words.split(), "--project", "nope")
    assert (code, out, "no project 'nope' in" in err) == (1, "", True)


@pytest.mark.parametrize("sql", ["select 1 from nope", "select nope from session"])
def test_an_unknown_table_or_column_leads_to_the_documentation(
    session: localops.Session, command: Command, sql: str
) -> None:
    """The error names the page with the tables."""
    code, _, err = command("query", sql)
    assert (code, "`localops help journal`" in err) == (1, True)


def test_help_lists_and_prints_pages(command: Command, as_json: AsJson) -> None:
    """Each page that is listed can be printed."""
    topics = as_json("help")["topics"]
    assert "quickstart" in topics
    for topic, about in topics.items():
        text = as_json("help", topic)["text"]
        assert (text[:2], "<!--" in text) == ("# ", False)
        assert "```" not in about
    assert command("help", "no-such-page")[0] == 1
    for name in " ".join(COMMANDS.values()).split():
        document = as_json("help", name) if name in topics else json.loads(command("help", name, "--json")[1])
        assert f"localops {name}" in document["text"] or name == document["topic"], name
    code, out, err = command("help", "prune")
    assert (code, "# Privacy" in out, "`localops prune --help`" in err) == (0, True, True)


def test_a_page_fits_the_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paragraphs, lists and tables are wrapped, code is as it is, and no word is lost."""
    page = command("help", "configuration")[1]
    assert "| `strict` |" in page
    monkeypatch.setenv("COLUMNS", "60")
    shown = command("help", "configuration")[1]
    code = re.findall(r"^```.*?^```$", page, re.MULTILINE | re.DOTALL)
    assert all(len(line) <= 60 or line.strip() in "".join(code) for line in shown.splitlines())
    words = re.findall(r"\w+", re.sub(r"^```.*$", "", page, flags=re.MULTILINE))
    assert set(words) <= set(re.findall(r"\w+", shown))


@pytest.mark.parametrize("topic", ["hub-upgrade", "servers"])
def test_blocks_stay_as_they_are_on_a_terminal(command: Command, monkeypatch: pytest.MonkeyPatch, topic: str) -> None:
    """Also those in a list: commands that were joined into one line could not be copied."""
    page = command("help", topic)[1]
    monkeypatch.setenv("COLUMNS", "60")
    shown = command("help", topic)[1]
    blocks = re.findall(r"^ *```.*\n((?:.*\n)*?) *```$", page, re.MULTILINE)
    assert blocks
    lines = {line.strip() for line in shown.splitlines()}
    assert {line.strip() for block in blocks for line in block.splitlines()} <= lines
    assert not re.search("```|<!--", shown)


def test_every_command_can_be_described(command: Command) -> None:
    """`--help` works for the group and for each command."""
    assert command("--help")[0] == 0
    for name in " ".join(COMMANDS.values()).split():
        code, out, _ = command(name, "--help")
        assert code == 0
        assert out.startswith(f"Usage: localops {name}")


@pytest.mark.parametrize("group", ["hub", "hub key", "remote", "parked", "prices"])
def test_a_group_lists_its_commands_with_whole_sentences(command: Command, group: str) -> None:
    """No description of a command is cut off."""
    out = command(*group.split(), "--help")[1]
    assert "..." not in out.partition("\nCommands:\n")[2]


def test_only_the_command_that_is_asked_for_is_loaded() -> None:
    """`localops analytics` does not pay for its neighbours."""
    code = (
        "import sys\nfrom localops import cli\n"
        "try:\n    cli.main(['path'])\nexcept SystemExit:\n    pass\n"
        "print(sorted(name for name in sys.modules if name.startswith('localops.cli.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(
        [f"localops.cli.{name}" for name in ("common", "group", "looking", "path", "plain", "printing")]
    )
