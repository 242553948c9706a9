"""`localops scrub`: what it asks, prints and returns."""

from __future__ import annotations

import base64
import json
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.cli import long_searches
from localops.config import JOURNAL
from localops.config import home as home_folder
from localops.journal import blobs
from localops.journal.journal import Journal
from localops.transfer import scrubbed

AsJson = Callable[..., dict[str, Any]]
Command = Callable[..., tuple[int, str, str]]

KEY = "sk-ant-api03-" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4zAb3dEf6h" + "7a"


@pytest.fixture
def recorded() -> None:
    """Record a secret as a program does that redacts nothing."""
    localops.init(redact=False, auto_start_session=False)
    session = localops.start_session(name="run")
    assert session is not None
    session.record(localops.ActionEvent(name="a", params={"header": f"Bearer {KEY}", "db_password": "hunter2!"}))
    session.end_session("Success")
    localops.api.client().close()


@pytest.mark.usefixtures("recorded")
def test_it_lists_asks_and_replaces(command: Command, as_json: AsJson) -> None:
    """A dry run changes nothing; without a terminal to ask at, it needs --yes; then nothing is found any more."""
    code, out, _ = command("scrub", "--dry-run")
    assert (code, "anthropic: 1 place" in out, KEY in out) == (0, True, False)
    listed = as_json("scrub", "--dry-run")
    assert (listed["dry_run"], listed["secrets"]) == (True, 2)
    code, _, err = command("scrub")
    assert (code, "--yes" in err) == (2, True)
    assert command("doctor", "--secrets")[0] == 1
    document = as_json("scrub", "--yes")
    [project] = document["projects"]
    assert (project["project"], project["rows"], project["secrets"]) == ("default", 1, 2)
    assert (project["ok"], project["left"], project["hubs_behind"]) == (True, [], [])
    assert command("doctor", "--secrets")[0] == 0
    code, out, err = command("scrub", "--yes")
    assert (code, out) == (0, "default: no secrets to replace.\n")
    assert "no patterns of your own" in err
    assert "[redacted:password]" in json.dumps(as_json("show", "last"))


def test_what_escapes_and_structures_hide_is_found_and_replaced(command: Command, as_json: AsJson) -> None:
    """A journal that was written without these rules: in rows and in a file, the search and the scrub have them."""
    secret = "Zq9hunter22Zq9hunter22"
    values: list[Any] = [
        f"\x1b[31mghp_{secret}\x1b[0m",
        f"\x1b[36mDB_PASSWORD\x1b[0m={secret}",
        f"next=%253Faccess_token%253D{secret}",
        f"-eyJ{secret}.{secret}.{secret}",
        ["curl", "-u", f"bob:{secret}"],
        json.dumps(["sshpass", "-p", secret]),
        [("x-api-key", secret)],
        [(b"x-api-key", secret.encode())],
        f'password: str = "{secret}"',
        "word " * 300_000 + f"\x1b[1mapi_token\x1b[0m: {secret}",
    ]
    localops.init(redact=False, auto_start_session=False)
    session = localops.start_session(name="run")
    assert session is not None
    for value in values:
        session.record(localops.ActionEvent(name="a", params={"v": value}))
    session.end_session("Success")
    localops.api.client().close()
    listed = as_json("scrub", "--dry-run")
    assert listed["secrets"] >= len(values)
    assert as_json("scrub", "--yes")["projects"][0]["ok"]
    assert command("doctor", "--secrets")[0] == 0
    # In a process of its own, as closing a file of SQLite here would free its locks.
    forms = [secret, base64.b64encode(secret.encode()).decode()[:-4]]
    words = [word for form in forms for word in ("-e", form)]
    assert subprocess.run(["grep", "-rqaF", *words, home_folder(None)], check=False).returncode == 1


@pytest.mark.usefixtures("recorded")
def test_what_is_left_is_named_and_the_exit_code_says_so(command: Command) -> None:
    """The rest is replaced; a reminder says that the secrets have to be changed in any case."""
    aside = Path(home_folder(None)) / "default" / f"{JOURNAL}.damaged-1"
    aside.write_bytes(b"page " + KEY.encode())
    code, out, err = command("scrub", "--yes")
    assert code == 3
    assert "2 secrets replaced in 1 row and 0 files" in out
    assert f"Left: anthropic in aside {aside}" in out
    assert "change these secrets" in err
    aside.unlink()
    assert command("scrub", "--yes")[0] == 0


@pytest.mark.usefixtures("recorded")
def test_an_unknown_project_is_refused(command: Command) -> None:
    """As by every command."""
    assert "no project" in command("scrub", "--yes", "--project", "nope")[2]


@pytest.mark.usefixtures("recorded")
def test_saved_views_and_patterns_of_ones_own(command: Command, as_json: AsJson) -> None:
    """Views of the home and of a project are searched and replaced, and find the tag as scrubbed; patterns count."""
    home = Path(home_folder(None))
    (home / "config.toml").write_text("redact = ['PROJ-[0-9a-f]{8}']\n")
    files = home / "views.json", home / "default" / "views.json"
    for place, views in zip(([], ["--project", "default"]), files, strict=True):
        assert command("views", "save", "leaky", "--tag", "k=KEY", "--text", "WORD", *place)[0] == 0
        # A view that was saved before these rules has them still.
        views.write_text(views.read_text().replace("KEY", KEY).replace("WORD", "PROJ-0123abcd"))
    code, out, _ = command("doctor", "--secrets")
    assert (code, KEY in out, "1 pattern of your own" in out) == (1, False, True)
    places = as_json("scrub", "--dry-run")["places"]
    assert sorted(place["source"] for place in places) == ["row", "row", "views", "views", "views", "views"]
    document = as_json("scrub", "--yes")
    assert (document["views"], document["projects"][0]["views"], document["projects"][0]["ok"]) == (2, 2, True)
    for views in files:
        assert KEY not in views.read_text()
    listed = as_json("views", "list")["views"]
    assert [(view["project"], view["filters"]["tag"]) for view in listed] == [
        (None, ["k=[redacted:anthropic]"]),
        ("default", ["k=[redacted:anthropic]"]),
    ]
    assert command("doctor", "--secrets")[0] == 0


@pytest.mark.parametrize("text", ["redcat = ['PINE']", "[recording]\nredact = ['PINE']"])
@pytest.mark.usefixtures("recorded")
def test_patterns_that_are_not_used_are_named(command: Command, text: str) -> None:
    """A search without them, or a scrub, does not look clean."""
    assert command("scrub", "--yes")[0] == 0
    (Path(home_folder(None)) / "config.toml").write_text(text + "\n")
    for arguments in (("doctor", "--secrets"), ("scrub", "--yes")):
        code, out, _ = command(*arguments)
        assert (code, "there is no option" in out, "was not searched for" in out) == (3, True, True)


@pytest.mark.usefixtures("recorded")
def test_views_whose_names_become_one_are_numbered(command: Command, as_json: AsJson) -> None:
    """Otherwise one would be lost silently; the keys of the file are never secrets, whatever pattern matches them."""
    home = Path(home_folder(None))
    for number in range(3):
        assert command("views", "save", f"w PINE-{number}", "--tag", f"t{number}")[0] == 0
    (home / "config.toml").write_text(r"redact = ['PINE-\d', 'view\w|filters|tag|20\d\d']" + "\n")
    assert as_json("scrub", "--yes")["views"] == 3
    listed = as_json("views", "list")["views"]
    assert {view["name"]: view["filters"] for view in listed} == {
        "w [redacted:pattern]": {"tag": ["t0"]},
        "w [redacted:pattern] (2)": {"tag": ["t1"]},
        "w [redacted:pattern] (3)": {"tag": ["t2"]},
    }
    assert command("doctor", "--secrets")[0] == 0
    # Saved now, another one does not take the place of these, and the same one does.
    for _ in range(2):
        assert as_json("views", "save", "w PINE-7", "--tag", "t7")["name"] == "w [redacted:pattern] (4)"
    assert len(as_json("views", "list")["views"]) == 4


@pytest.mark.usefixtures("recorded")
def test_an_interrupted_scrub_is_finished_and_says_so(command: Command, as_json: AsJson) -> None:
    """Secrets that it had replaced are not counted again, so the report has to mention it."""
    assert command("scrub", "--yes")[0] == 0
    journal = Journal(str(Path(home_folder(None)) / "default"))
    journal.transact(scrubbed.begin)
    journal.close()
    code, out, _ = command("doctor", "--secrets")
    assert (code, "a scrub was not finished" in out, "No secrets" in out) == (1, True, True)
    searched = json.loads(command("doctor", "--secrets", "--json")[1])
    assert (searched["ok"], searched["unfinished_scrubs"]) == (False, ["default"])
    code, out, _ = command("scrub", "--yes")
    assert (code, out.startswith("default: finished an interrupted scrub")) == (0, True), out
    journal = Journal(str(Path(home_folder(None)) / "default"))
    journal.transact(scrubbed.begin)
    journal.close()
    [project] = as_json("scrub", "--yes")["projects"]
    assert (project["finished_interrupted"], project["rows"]) == (True, 0)


def test_a_pattern_that_does_not_end_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is loaded, and while it is at work, with the event."""
    monkeypatch.setattr(long_searches, "_EVERY", 0.02)
    localops.init(auto_start_session=False)
    session = localops.start_session()
    assert session is not None
    session.record(localops.ActionEvent(name="a", params={"text": "a" * 21 + "b"}))
    session.end_session("Success")
    localops.api.client().close()
    Path(home_folder(None), "config.toml").write_text("redact = ['(a+)+$']\n")
    _, _, err = command("doctor", "--secrets")
    assert "'(a+)+$' of redact fits some texts in very many ways" in err
    assert "the pattern '(a+)+$' does not come to an end with event 0" in err


@pytest.mark.usefixtures("recorded")
def test_a_scrub_that_lacks_room_says_that_nothing_was_done(command: Command) -> None:
    """It also says how many secrets are left."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (33_000, before[1]))
    try:
        code, out, _ = command("scrub", "--yes")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 3
    assert out.startswith("default: not scrubbed, 2 secrets left: ")
    assert out.count("\n") == 1


@pytest.mark.usefixtures("recorded")
def test_other_projects_are_scrubbed_all_the_same(command: Command) -> None:
    """Beside another program's database, a damaged journal and an empty one; each line says what to do."""
    home = Path(home_folder(None))
    # In a process of its own, as closing a file of SQLite here would free its locks.
    cut = subprocess.run(["head", "-c", "30000", home / "default" / JOURNAL], check=True, capture_output=True).stdout
    for project, content in (("a-foreign", b"x" * 9_000), ("b-damaged", cut), ("c-empty", b"")):
        (home / project).mkdir()
        with (home / project / JOURNAL).open("xb") as file:
            file.write(content)
    code, out, _ = command("scrub", "--yes")
    lines = {line.partition(":")[0]: line for line in out.splitlines()}
    assert (code, "2 secrets replaced" in lines["default"]) == (3, True), out
    assert "not scrubbed" in lines["a-foreign"]
    assert "`localops repair` saves what it still holds. Then run this again." in lines["b-damaged"]
    assert "no secrets to replace" in lines["c-empty"]
    code, out, _ = command("doctor", "--secrets", "--project", "c-empty")
    assert (code, "not searched" in out) == (0, False)


@pytest.mark.usefixtures("recorded")
def test_a_damaged_file_is_named_and_stays_damaged(command: Command) -> None:
    """It is not written again under the digest of the damaged text; when it is whole again, it is scrubbed."""
    folder = Path(home_folder(None), "default")
    text = f"some words and {KEY}".encode()
    session = localops.start_session(name="large")
    assert session is not None
    digest = blobs.keep(str(folder), text)
    session.record(
        localops.ActionEvent(name="b", params={"text": {"$blob": digest, "$len": len(text), "head": "some"}})
    )
    session.end_session("Success")
    localops.api.client().close()
    path = Path(blobs.path_of(str(folder), digest))
    # A flipped bit; a part that was never written, which makes it look like no text.
    for damaged in (text.replace(b"words", b"wordz"), text.replace(b"words", b"\0" * 5)):
        path.write_bytes(damaged)
        code, out, _ = command("scrub", "--dry-run")
        assert (code, f"1 file is damaged, and no scrub changes that: {path}" in out) == (3, True), out
        places = json.loads(command("doctor", "--secrets", "--json")[1])["places"]
        assert [place["file"] for place in places if place["source"] == "blob"] == [str(path)]
        code, out, _ = command("scrub", "--yes")
        assert code == 3, out
        assert f"1 file is damaged and was not scrubbed: {path} (it still holds a secret); put back" in out
        assert "recorded this meanwhile" not in out
        assert ([*blobs.stored(str(folder))], path.read_bytes()) == ([str(path)], damaged)
        code, out, _ = command("doctor", "--deep")
        assert (code, f"1 blob is damaged: {digest}" in out) == (1, True), out
    path.write_bytes(b"some")
    [project] = json.loads(command("scrub", "--yes", "--json")[1])["projects"]
    assert (project["ok"], project["damaged_files"]) == (False, [{"file": str(path), "has_secrets": False}])
    path.write_bytes(text)
    assert (command("scrub", "--yes")[0], command("doctor", "--deep")[0]) == (0, 0)
    [scrubbed_path] = blobs.stored(str(folder))
    assert Path(scrubbed_path).read_bytes() == b"some words and [redacted:anthropic]"


@pytest.mark.usefixtures("recorded")
def test_a_file_that_cannot_be_read_is_named(command: Command) -> None:
    """The rest is scrubbed all the same, and the exit code says that something is left."""
    folder = Path(home_folder(None), "default")
    path = Path(blobs.path_of(str(folder), blobs.keep(str(folder), b"a long text")))
    path.unlink()
    path.symlink_to(path)
    code, out, _ = command("scrub", "--yes")
    assert (code, "2 secrets replaced in 1 row" in out) == (3, True)
    assert f"Not searched: {path} cannot be read: " in out
