"""The pages before any script has run, and their data: a real `localops ui` on a real home."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import localops
from localops.reading import analytics
from localops.reading.home import Home
from localops.server.compare import Side, aligned
from tests.server.hubs import wait_until
from tests.server.uis import RealPages

HOSTILE = "</script><!--<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;\u2028\u2029"
PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 40


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RealPages, str]]:
    """Pages of a home with one session, and its id: an operation with calls and an error in it, all of them hostile."""
    home = tmp_path_factory.mktemp("pages") / "home"
    picture = home.parent / "picture"
    picture.write_bytes(PNG)
    session = localops.init(home=str(home), tags=[HOSTILE], auto_start_session=False)
    session = localops.start_session(tags=[HOSTILE, "plain"], name=HOSTILE)
    assert session is not None
    session.set_video(str(picture))

    @localops.record_tool(HOSTILE)
    def outer() -> None:
        call = localops.LLMEvent(model="gpt-4o", prompt=HOSTILE, completion="north")
        call.prompt_tokens, call.completion_tokens = 1000, 0
        session.record(call)
        session.record(localops.ActionEvent(action_type="look", params={HOSTILE: HOSTILE}))
        raise TimeoutError(HOSTILE)

    with pytest.raises(TimeoutError):
        outer()
    session.end_session("Failure", HOSTILE)
    localops.api._reset()
    with RealPages(home) as pages:
        yield pages, str(session.session_id)


class _Reader(HTMLParser):
    """The elements of a page as a browser sees them, and the text of its data."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("path", ["/", "/s/{id}", "/analytics", "/compare?a={id}&b={id}", "/?tag={tag}", "/s/ffffffff"])
def test_recorded_text_is_only_ever_text(run: tuple[RealPages, str], path: str) -> None:
    """No element of a page is made from recorded text, and no script is inline: only files, and data."""
    from urllib.parse import quote

    pages, id = run
    page = _Reader()
    page.feed(pages.get(path.format(id=id, tag=quote(HOSTILE))).text)
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert all("src" in attributes or attributes.get("type") == "application/json" for attributes in scripts)
    assert all(str(attributes.get("src", "/web/")).startswith("/web/") for attributes in scripts)
    assert not [
        tag for tag, attributes in page.elements if tag == "img" or any(name.startswith("on") for name in attributes)
    ]
    assert not [attributes for tag, attributes in page.elements if tag == "style" or "style" in attributes]


def test_the_data_in_a_page_is_what_the_endpoint_says(run: tuple[RealPages, str]) -> None:
    """The data cannot end its element, and it is the JSON of the endpoint."""
    pages, id = run
    html = pages.get(f"/s/{id}").text
    data = html.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(data)
    reply = pages.get(f"/api/1/sessions/{id}").json
    assert json.loads(data) == {name: value for name, value in reply.items() if name != "localops"}


def test_the_list_reads_without_a_script(run: tuple[RealPages, str]) -> None:
    """The sessions are in the page as a table, with their whole text."""
    pages, id = run
    page = _Reader()
    page.feed(pages.get("/").text)
    assert ("a", {"class": "title", "href": f"/s/{id}"}) in page.elements
    assert HOSTILE in page.texts
    assert "Failure" in page.texts


@pytest.mark.parametrize("name", ["last", "{id:.8}", "{id:.13}"])
def test_short_names_lead_to_the_session(run: tuple[RealPages, str], name: str) -> None:
    """`last`, and the beginning of an id."""
    pages, id = run
    answer = pages.get(f"/s/{name.format(id=id)}")
    assert (answer.status, answer.headers["location"]) == (303, f"/s/{id}")


def test_a_program_logs_in_as_the_manual_says(run: tuple[RealPages, str]) -> None:
    """With the headers of the manual's command the cookie opens the JSON; an `Authorization` header does not."""
    manual = (Path(localops.__file__).parent / "docs" / "dashboard.md").read_text(encoding="utf-8")
    command = manual[manual.index("curl -c cookies") : manual.index("\ncurl -b cookies")]
    headers = {name.replace("-", "_"): value for name, value in re.findall(r"-H '([\w-]+): ([^']*)'", command)}
    body = re.search(r'-d "(.*?)" ', command)
    assert body is not None
    token = re.sub(r"\$\{.*?\}", run[0].token, body[1].replace('\\"', '"'))
    answer = run[0].ask("POST", "/login", token, cookie="", **headers)
    assert answer.status == 200
    cookie = answer.headers["set-cookie"].partition(";")[0]
    for path in ("/api/1/sessions?state=Failure", "/openapi.json"):
        assert run[0].get(path, cookie=cookie).json
        assert run[0].get(path, cookie="", Authorization=f"Bearer {run[0].token}").status == 401
    for path in ("/ready", "/metrics", "/api/1/senders"):
        assert run[0].get(path, cookie=cookie).status == 404


def test_a_missing_page_is_html_for_browsers(run: tuple[RealPages, str]) -> None:
    """A browser gets a page for a missing address, a program gets JSON."""
    pages, _ = run
    assert "<h1>" in pages.get(f"/s/{uuid.uuid4()}").text
    assert "<h1>" in pages.get("/nothing", accept="text/html").text
    assert pages.get("/nothing").json["message"]


def test_a_mistyped_session_is_reported_as_missing(run: tuple[RealPages, str]) -> None:
    """The page and the endpoint report the same, in the words of this project rather than of AgentOps' server."""
    missing = "01980000-0000-7000-8000-000000000000"
    page = run[0].get(f"/s/{missing}", accept="text/html")
    assert (page.status, "<p>No session has this id.</p>" in page.text) == (404, True)
    assert run[0].get(f"/api/1/sessions/{missing}").json["message"] == "no session has this id"


def test_a_session_has_its_host_and_the_source_of_its_cost(run: tuple[RealPages, str]) -> None:
    """A session has host, processes, metadata, video, and the price table of its cost."""
    pages, id = run
    reply = pages.get(f"/api/1/sessions/{id}").json
    assert reply["host"] == reply["host_env"]["OS"]["Hostname"]
    assert [one["alive"] for one in reply["participants"]] == [False]
    assert reply["provenance"]["given"] == 0
    assert reply["provenance"]["priced"] == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", reply["provenance"]["table"]["date"])
    assert reply["sync"] == []
    assert reply["reason"] == HOSTILE


def test_columns_hold_every_event_once(run: tuple[RealPages, str]) -> None:
    """Each event has the seq of its first row, below the operation it happened in."""
    pages, id = run
    reply = pages.get(f"/api/1/sessions/{id}/timeline").json
    kinds = [reply["kinds"][number] for number in reply["kind"]]
    assert kinds == ["tool", "llm", "action", "error"]
    assert reply["parent"] == [0, *[reply["seq"][0]] * 3]
    assert reply["failed"] == [1, 0, 0, 0]
    assert reply["next"] is None


def test_pages_of_columns_make_the_whole(run: tuple[RealPages, str]) -> None:
    """Pages of any size add up to the whole; an event that ended later is listed again with the same seq, unchanged."""
    pages, id = run
    whole = pages.get(f"/api/1/sessions/{id}/timeline").json
    entries: dict[int, tuple[object, ...]] = {}
    after: int | None = 0
    while after is not None:
        part = pages.get(f"/api/1/sessions/{id}/timeline?limit=1&after={after}").json
        for row in zip(part["seq"], part["start_us"], part["dur_us"], part["parent"], part["cost"], strict=True):
            assert entries.setdefault(row[0], row) == row
        after = part["next"]
    rows = zip(*(whole[name] for name in ("seq", "start_us", "dur_us", "parent", "cost")), strict=True)
    assert sorted(entries.values()) == sorted(rows)


def test_an_event_in_full(run: tuple[RealPages, str]) -> None:
    """An event has input, output and raw rows, by any of its rows or its id; an error leads to its trigger."""
    pages, id = run
    reply = pages.get(f"/api/1/sessions/{id}/timeline").json
    tool, llm, _, error = (pages.get(f"/api/1/sessions/{id}/events/{seq}").json for seq in reply["seq"])
    assert pages.get(f"/api/1/sessions/{id}/events/{tool['seq']}").json == tool
    assert pages.get(f"/api/1/sessions/{id}/events/{tool['id']}").json == tool
    assert (tool["entry"], len(tool["raw"])) == (reply["seq"][0], 2)
    assert (llm["prompt"], llm["completion"]) == (HOSTILE, "north")
    assert (error["trigger_entry"], error["details"]) == (tool["entry"], HOSTILE)
    for unknown in ("999", id, "owl"):
        assert pages.get(f"/api/1/sessions/{id}/events/{unknown}").status == 404


def test_events_are_chosen_by_kind_and_words(run: tuple[RealPages, str]) -> None:
    """Words are looked for in what they were given and gave back."""
    pages, id = run
    by_kind = pages.get(f"/api/1/sessions/{id}/events?kind=action").json["events"]
    assert [one["kind"] for one in by_kind] == ["action"]
    by_text = pages.get(f"/api/1/sessions/{id}/events?text=north").json["events"]
    assert [one["kind"] for one in by_text] == ["llm"]


def test_a_search_of_a_session_continues_where_it_stopped(run: tuple[RealPages, str]) -> None:
    """Part by part from the newest row, each event by its first row; after a seq, only later rows."""
    pages, id = run
    path = f"/api/1/sessions/{id}/matches?limit=1"
    part = pages.get(f"{path}&text=north*").json
    entries = part["entries"]
    while (before := part["next_before"]) is not None:
        part = pages.get(f"{path}&text=north*&before={before}").json
        entries += part["entries"]
    events = pages.get(f"/api/1/sessions/{id}/events?text=north*").json["events"]
    assert sorted(entries) == [one["entry"] for one in events]
    assert entries
    later = f"{path}&text=north&after={part['upto']}"
    assert pages.get(later).json["entries"] == []
    assert pages.get(path).status == 400


def test_pages_of_events_with_words_go_on_where_they_stopped(run: tuple[RealPages, str]) -> None:
    """Every event, in order of arrival; one with the words in both of its rows may be listed twice."""
    pages, id = run
    path = f"/api/1/sessions/{id}/events?text=script"
    events = pages.get(path).json["events"]
    assert len(events) > 2
    parts: dict[str, object] = {}
    after: int | None = 0
    while after is not None:
        part = pages.get(f"{path}&limit=1&after={after}").json
        parts = {**{one["id"]: one for one in part["events"]}, **parts}
        after = part["next_after"]
    assert sorted(parts) == sorted(one["id"] for one in events)


def test_a_picture_is_never_a_page(run: tuple[RealPages, str]) -> None:
    """A picture is served under its digest, as the type of its bytes, in a sandbox; other files are not served."""
    pages, id = run
    video = pages.get(f"/api/1/sessions/{id}").json["video"]
    assert (video["digest"], video["bytes"]) == (hashlib.sha256(PNG).hexdigest(), len(PNG))
    answer = pages.get(video["url"])
    assert (answer.body, answer.headers["content-type"]) == (PNG, "image/png")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("default/" + "0" * 64, "default/../" + video["digest"], "..%2fdefault/" + video["digest"], "x/y"):
        assert pages.get(f"/blobs/{name}").status in (400, 404)


@pytest.mark.parametrize(
    ("form", "begin", "ending"),
    [
        ("json", b'{"session"', "json"),
        ("jsonl", b'{"id"', "jsonl"),
        ("html", b"<!doctype html>", "html"),
        ("csv", b"project,", "csv"),
        ("md", b"# ", "md"),
        ("atif", b'{"schema_version":"ATIF-v1.8"', "atif.json"),
        ("sft", b"", "sft.jsonl"),
        ("otlp", b'{"resourceSpans"', "otlp.jsonl"),
        ("perfetto", b'{"displayTimeUnit"', "perfetto.json"),
        ("parquet", b"PAR1", "parquet"),
        ("openmetrics", b"# HELP localops_sessions", "prom"),
    ],
)
def test_a_session_is_downloaded_as_a_file(run: tuple[RealPages, str], form: str, begin: bytes, ending: str) -> None:
    """The download is an attachment with the session's name and date, in characters that are safe everywhere."""
    pages, id = run
    answer = pages.get(f"/api/1/sessions/{id}/export?format={form}")
    assert answer.body.startswith(begin)
    name = rf'attachment; filename="[a-z0-9-]+-\d{{4}}-\d\d-\d\d\.{re.escape(ending)}"'
    assert re.fullmatch(name, answer.headers["content-disposition"])
    assert pages.get(f"/api/1/sessions/{id}/export?format=exe").status == 400


def test_a_table_is_named_for_formats_that_have_it(run: tuple[RealPages, str]) -> None:
    """The tables differ, another word is refused, and so is a table of another format."""
    pages, id = run
    path = f"/api/1/sessions/{id}/export?format"
    events, sessions = (pages.get(f"{path}=parquet&table={table}") for table in ("events", "sessions"))
    assert events.body[:4] == sessions.body[:4] == b"PAR1"
    assert events.body != sessions.body
    assert pages.get(f"{path}=csv&table=sessions").body.startswith(b"session,project,name,state,")
    assert pages.get(f"{path}=parquet&table=rows").status == pages.get(f"{path}=json&table=events").status == 400


def test_two_sessions_side_by_side(run: tuple[RealPages, str]) -> None:
    """An event and what is inside of it; a session is not compared with itself, and an unknown one is not found."""
    pages, id = run
    with Home(str(pages.home)) as home:
        side = Side(home.projects[0].reader, uuid.UUID(id).bytes)
        lines: Any = aligned(side, side)["lines"]
    # An error is a part of the call that it ended.
    assert [line["depth"] for line in lines] == [0, 1, 1]
    assert all(line["a"] == line["b"] for line in lines)
    assert not any(line["input_differs"] or line["output_differs"] for line in lines)
    assert pages.get(f"/api/1/compare?a={id}&b={uuid.uuid4()}").status == 404
    assert pages.get(f"/api/1/compare?a={id}").status == 400
    for path in (f"compare?a={id}&b={id}", f"diff?a={id}&b={id}", f"compare/runs?sessions={id},{id}"):
        refused = pages.get(f"/api/1/{path}")
        assert (refused.status, f"expected different ones, got {id} twice" in refused.text) == (400, True), path
    refused = pages.get(f"/api/1/sessions/{id}/check?baseline={id}&same_tools=1")
    assert (refused.status, "expected" in refused.text) == (400, True)


def test_days_and_bars_have_the_figures_of_the_command(run: tuple[RealPages, str]) -> None:
    """The figures of the pages are those of `localops analytics`, and lead to their sessions."""
    pages, _ = run
    with Home(str(pages.home)) as home:
        [line] = analytics.across(home.projects[0].reader, "day", analytics.Chosen())
    [day] = pages.get("/api/1/analytics/daily").json["days"]
    assert (day["day"], day["sessions"], day["cost_nano"]) == (line.value, line.sessions, line.cost)
    assert day["states"] == {"Failure": 1}
    assert day["cost_per_session"] == {"sessions": 1, **dict.fromkeys(("mean_nano", "p50_nano", "p90_nano"), line.cost)}
    assert sum(model["cost_nano"] for model in day["by_model"]) == line.cost
    reply = pages.get("/api/1/analytics/distributions").json
    for query in (day["filter"], *(bar["filter"] for name in ("seconds", "cost") for bar in reply[name]["bars"])):
        asked = "&".join(f"{name}={value.replace('+', '%2B')}" for name, value in query.items())
        assert len(pages.get(f"/api/1/sessions?{asked}").json["sessions"]) == 1
    assert pages.get("/api/1/analytics/daily?tz=../../etc/passwd").status == 400


@pytest.mark.parametrize(
    "query", ["sort=x", "order=x", "state=x", "min_cost=x", "min_seconds=nan", "since=x", "limit=x"]
)
def test_what_makes_no_sense_is_an_error(run: tuple[RealPages, str], query: str) -> None:
    """In a sentence, with the name of what was wrong."""
    answer = run[0].get(f"/api/1/sessions?{query}")
    assert answer.status == 400
    assert query.partition("=")[0] in answer.json["message"]


def test_a_page_gets_a_stream_of_new_events(tmp_path: Path) -> None:
    """A stream reports new events; a stop of the server ends the stream at once, without an error."""
    import http.client

    with RealPages(tmp_path / "home") as pages:
        connection = http.client.HTTPConnection("127.0.0.1", pages.port, timeout=30)
        connection.request("GET", "/api/1/live", headers={"Cookie": pages.cookie})
        stream = connection.getresponse()
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = iter(stream.readline, b"")
        assert b'data: {"seq":0}\n' in lines
        session = localops.init(home=str(tmp_path / "home"))
        assert session is not None
        wait_until(lambda: pages.get("/api/1/sessions").json["sessions"])
        assert any(line.startswith(b"data: ") for line in lines)
        assert pages.stop() == 0
        assert list(lines) is not None
        connection.close()
