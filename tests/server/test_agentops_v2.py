"""Clients of AgentOps 0.3 on a hub: what they send is stored, each once, and their own reads give our figures."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from localops import config
from localops.journal.reader import Reader
from localops.server.home_store import HomeStore
from localops.server.intake import tokens
from localops.server.keys import Keys
from localops.upkeep.scrub import scrub
from tests.server.agentops_clients import HOST_ENV, Client, moment
from tests.server.hubs import RealHub, hub


def test_a_session_is_stored_with_its_events(running: RealHub) -> None:
    """Its tags, machine, times, end and events are there, in our figures and in AgentOps' export."""
    client = Client(running, tags=("nightly",)).begin()
    trigger = client.tool(params={"q": 1}, returns=["a"])
    sent = [client.action("plan", params={"a": 1}, returns="x"), client.call(), trigger, client.error()]
    assert client.events(*sent) == (200, "Success")
    assert client.end("Fail", "it broke", at=9)[0] == 200
    stored = client.stored
    assert [stored[name] for name in ("state", "reason", "tags")] == ["Failure", "it broke", ["nightly"]]
    assert [stored[name] for name in ("actions", "llm_calls", "tool_calls", "errors")] == [1, 1, 1, 1]
    assert (stored["began"], stored["ended"], stored["seconds"]) == (moment(0), moment(9), 9.0)
    export = client.export
    assert export["session"]["host_env"] == HOST_ENV
    action, call, tool, error = (export[name][0] for name in ("actions", "llms", "tools", "errors"))
    assert [each["id"] for each in (action, call, tool, error)] == [each["id"] for each in sent]
    assert (action["name"], json.loads(action["params"]), action["returns"]) == ("plan", {"a": 1}, "x")
    assert (action["init_timestamp"], action["end_timestamp"]) == (moment(1), moment(1.5))
    assert (call["model"], call["prompt_tokens"], call["completion_tokens"]) == ("gpt-4o", 1000, 1000)
    assert call["completion"] == {"role": "assistant", "content": "so"}
    assert (tool["name"], json.loads(tool["returns"])) == ("search", ["a"])
    assert (error["error_type"], error["details"], error["logs"]) == ("ValueError", "no", None)


def test_the_cost_in_an_answer_is_ours(running: RealHub) -> None:
    """It is computed from model and tokens; a cost that the client gives counts instead."""
    client = Client(running).begin()
    assert client.update(with_key=True)[1]["token_cost"] == "0.00"
    client.events(client.call(), client.call(cost=0.5, prompt_tokens=None), client.tool(cost=0.25))
    status, reply = client.end()
    assert (status, reply["status"], Decimal(reply["token_cost"])) == (200, "success", Decimal("0.7625"))
    assert reply["session_url"] == f"{running.url}/s/{client.session}"
    assert client.stats["cost"] == 0.7625


def test_a_call_without_tokens_has_no_price(running: RealHub) -> None:
    """Its tokens are not guessed from its text, as AgentOps does."""
    client = Client(running).begin()
    client.events(client.call(prompt_tokens=None, completion_tokens=None))
    assert (client.stored["unpriced"], client.stats["cost"]) == (1, None)


def test_what_is_sent_again_is_stored_once(running: RealHub) -> None:
    """Sessions, events, agents, logs and ends, whichever request is repeated."""
    client = Client(running, tags=("a",)).begin()
    batch = [client.action(), client.call(), client.error(), {**client.error(), "id": None}]
    agent = {"id": str(uuid.uuid4()), "name": "planner"}
    for _ in range(3):
        client.begin()
        client.events(*batch)
        client.post("/v2/create_agent", agent)
        client.post("/v2/update_logs", {"logs": "hello"}, method="PUT")
        client.update(tags=["a", "b"])
    for _ in range(3):
        client.end(at=5)
        client.events(*batch)
        client.begin()
    stored = client.stored
    assert (stored["state"], stored["tags"], stored["events"], stored["errors"]) == ("Success", ["a", "b"], 5, 2)
    assert [each["kind"] for each in client.kept].count("agent") == 1


def test_errors_of_earlier_clients_are_distinguished_by_content(running: RealHub) -> None:
    """0.3.18 sends no id with an error, and leaves out what is null; the link to the event that failed is kept."""
    client = Client(running).begin()
    tool = client.tool()
    bare = {
        "event_type": "errors",
        "trigger_event_id": tool["id"],
        "trigger_event_type": "tools",
        "error_type": "ValueError",
        "details": "no",
        "timestamp": moment(2),
    }
    other = {**bare, "timestamp": moment(3), "trigger_event_id": None}
    for _ in range(2):
        client.events(tool, bare, other, other)
    first, *others = client.export["errors"]
    assert len(others) == 2  # the same twice in one request happened twice
    assert (first["trigger_event_id"], first["trigger_event_type"]) == (tool["id"], "tools")
    assert first["timestamp"] == moment(2)
    assert (client.stored["failed"], client.export["tools"][0]["failed"]) == (1, True)


def test_what_is_sent_again_is_the_same_though_more_is_known_by_then(running: RealHub) -> None:
    """An error whose tool arrived after it, in another request; and an event without times."""
    client = Client(running).begin()
    tool = client.tool()
    error = client.error(trigger_event_id=tool["id"], trigger_event_type="tools")
    first = client.error(trigger_event_id=tool["id"], trigger_event_type="tools")
    undated = client.action(init_timestamp=None, end_timestamp=None)
    assert client.events(error, undated) == (200, "Success")
    assert client.events(first, tool) == (200, "Success")
    for sent in ((error, undated), (first, error, undated)):
        assert client.events(*sent) == (200, "Success")
    assert [each["kind"] for each in client.kept].count("agentops") == 0
    status, reply = client.events({**error, "details": "another"}, {**undated, "returns": 1})
    assert (status, [place for place, _ in reply["problems"]]) == (200, [0, 1])


def test_another_event_under_a_known_id_is_kept_beside_the_first(running: RealHub) -> None:
    """The first stays, as for rows of senders; the other is stored unchanged, and the answer says so."""
    client = Client(running).begin()
    first = client.action(returns="one")
    client.events(first)
    status, reply = client.events({**first, "returns": "two"}, client.action())
    assert (status, [place for place, _ in reply["problems"]]) == (200, [0])
    kept = client.kept
    assert [each.get("returns") for each in kept if each["kind"] == "action"] == ["one", None]
    (raw,) = [each for each in kept if each["kind"] == "agentops"]
    assert json.loads(raw["event"])["returns"] == "two"


def test_json_with_nan_and_lone_surrogates_is_accepted(running: RealHub) -> None:
    """Bare NaN and Infinity, lone surrogates, and texts that are no UUIDs, as the real client sends them."""
    client = Client(running).begin()
    odd = client.action(params={"nan": float("nan"), "far": float("inf"), "text": "\ud800"})
    body = json.dumps({"events": [odd, client.action(id="step 1")]}).encode()
    assert all(part in body for part in (b"NaN", b"Infinity", b"\\ud800"))
    assert client.post("/v2/create_events", body) == (200, "Success")
    assert client.post("/v2/create_events", body) == (200, "Success")
    params = next(each["params"] for each in client.kept if each["id"] == odd["id"])
    assert (params["nan"], params["far"]) == ({"$float": "nan"}, {"$float": "inf"})
    assert client.stored["actions"] == 2


@pytest.mark.parametrize(
    "bad",
    [
        5,
        None,
        ["x"],
        {"event_type": "llms", "model": {"a": 1}, "prompt_tokens": "many"},
        {"event_type": "actions", "init_timestamp": "never", "end_timestamp": {}},
        {"event_type": "end", "id": "x", "params": {"derived": 1}},
        {"event_type": "errors", "trigger_event_id": 7, "trigger_event_type": "tools", "agent_id": [1]},
        {"event_type": "tools", "params": {"$blob": "a" * 64}},
        {"event_type": ["llms"], "id": {}},
        {"event_type": "actions", "params": json.loads("[" * 400 + "]" * 400)},
        {},
    ],
    ids=str,
)
def test_an_invalid_event_does_not_affect_others(running: RealHub, bad: object) -> None:
    """As much of it as can be understood is stored, or the unchanged text; the others are stored, and can be read."""
    client = Client(running).begin()
    for _ in range(2):
        status, _ = client.events(client.action(id=str(uuid.uuid5(uuid.NAMESPACE_OID, client.session))), bad)
        assert status == 200
    assert len(client.kept) == 2
    assert client.end()[0] == 200
    assert client.stored["state"] == "Success"
    assert client.export["session"]["end_state"] == "Success"


@pytest.mark.parametrize("path", ["/v2/create_session", "/v2/update_session", "/v2/create_events", "/v2/create_agent"])
@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b'{"session":5,"events":{}}', b"[" * 100_000])
def test_an_invalid_body_is_refused(running: RealHub, path: str, body: bytes) -> None:
    """With 400 and the shape that clients read; nothing is stored."""
    client = Client(running).begin()
    status, reply = client.post(path, body)
    assert (status, reply["path"]) == (400, path)
    assert reply["message"].startswith("invalid")
    assert client.stored["events"] == 0


def test_the_number_and_the_size_of_events_are_limited(running: RealHub) -> None:
    """A request with more than clients ever send is refused as a whole."""
    client = Client(running).begin()
    status, reply = client.events(*[{}] * 5_001)
    assert (status, "too many events" in reply["message"]) == (413, True)
    status, reply = client.events(client.action(params="x" * (9 << 20)))
    assert (status, "too large" in reply["message"]) == (413, True)
    assert client.stored["events"] == 0


# Tags, ends, and processes that share a session


def test_an_older_update_removes_no_tags(running: RealHub) -> None:
    """Sent again after a later one, as its numbers of events show; a later one with fewer tags removes some."""
    client = Client(running, tags=("a",)).begin()
    none, some = client.sent["event_counts"], {"llms": 1, "tools": 2, "actions": 0, "errors": 0, "apis": 0}
    client.update(tags=["a", "b"], event_counts=some)
    client.update(tags=["a"], event_counts=none)
    client.update(tags=["x"], event_counts={**some, "tools": 1})
    assert client.stored["tags"] == ["a", "b"]
    client.update(tags=["b"], event_counts=some)
    assert client.stored["tags"] == ["b"]
    client.update(tags=["c"], event_counts={"llms": "many", 5: None})
    assert client.stored["tags"] == ["c"]


def test_nothing_is_there_to_replay(running: RealHub) -> None:
    """The same answer as AgentOps' server gives for an unknown id, and without a key."""
    assert running.ask("GET", f"/v2/ttd/{uuid.uuid4()}", key="") == (200, [])


def test_tags_are_added_and_replaced(running: RealHub) -> None:
    """As add_tags and set_tags send them: as a whole each time."""
    client = Client(running, tags=("a",)).begin()
    client.update(tags=["a", "b"])
    assert client.stored["tags"] == ["a", "b"]
    client.update(tags=["c"])
    assert client.stored["tags"] == ["c"]
    client.update(tags="d")
    client.update(tags=None)
    assert client.stored["tags"] == ["d"]
    client.update(tags=[])
    assert client.stored["tags"] == []


def test_get_analytics_does_not_end_a_session(running: RealHub) -> None:
    """From its first call on, the client sends an end time while the session runs."""
    client = Client(running).begin()
    client.update(with_key=True, end_timestamp=moment(1))
    assert client.stored["state"] == "Unknown"  # a hub does not know whether the process lives
    client.events(client.action(at=5.0))
    client.end(at=9)
    client.update(with_key=True, is_running=False)  # get_analytics() after the end
    stored = client.stored
    assert (stored["state"], stored["seconds"]) == ("Success", 9.0)


def test_an_earlier_client_ends_its_session_while_it_runs(running: RealHub) -> None:
    """0.3.18 says that it runs when it sends its end."""
    client = Client(running).begin()
    client.update(stop_flag="", queue=[], end_timestamp=moment(4))
    assert (client.stored["state"], client.stored["seconds"]) == ("Indeterminate", 4.0)


@pytest.mark.parametrize(
    ("word", "state"),
    [("Success", "Success"), ("Fail", "Failure"), ("Failure", "Failure"), ("Indeterminate", "Indeterminate")],
)
def test_end_states_have_our_names(running: RealHub, word: str, state: str) -> None:
    """Fail is Failure here."""
    client = Client(running).begin()
    client.end(word)
    assert client.stored["state"] == state


def test_an_unknown_end_state_is_kept(running: RealHub) -> None:
    """Such a state ends the session as Indeterminate; a state without a time ends it at its last row."""
    client = Client(running).begin()
    client.events(client.action(at=3.0))
    client.update(is_running=None, end_state="completed")
    assert (client.stored["state"], client.stored["seconds"]) == ("Indeterminate", 3.5)


def test_a_video_is_kept_and_no_file_of_the_hub_is_read(running: RealHub) -> None:
    """A path is one of the client's machine."""
    client = Client(running).begin()
    client.events(client.action(screenshot=str(Path(__file__))))
    client.end(video=str(Path(__file__)))
    assert client.export["session"]["video"] == str(Path(__file__))
    assert client.kept[0]["screenshot"] == str(Path(__file__))
    assert not (running.folder / "blobs").exists()


def test_a_child_that_inherits_a_session_takes_nothing_from_it(running: RealHub) -> None:
    """Its empty tags and its end do not replace those of the process that began the session and is still running."""
    parent = Client(running, tags=("run",)).begin()
    parent.events(parent.action("before"))
    child = Client(running, parent.session, at=2.0).begin()
    child.events(child.action("within", at=3.0))
    child.update(tags=["child"])
    child.end("Success", at=4)
    assert parent.stored["tags"] == ["run", "child"]
    parent.events(parent.action("after", at=6.0))
    assert parent.stored["state"] == "Unknown"  # it goes on
    parent.update(tags=["run", "more"])
    parent.end("Fail", "late", at=8)
    child.end("Success", at=4)  # sent again
    stored = parent.stored
    assert (stored["state"], stored["reason"], stored["seconds"]) == ("Failure", "late", 8.0)
    assert set(stored["tags"]) == {"run", "child", "more"}
    assert stored["actions"] == 3


def test_a_child_ends_a_session_without_other_processes(running: RealHub) -> None:
    """The process that began it handed it on, and sent nothing more."""
    parent = Client(running).begin()
    parent.events(parent.action())
    child = Client(running, parent.session, at=2.0).begin()
    child.events(child.action(at=3.0))
    child.end("Fail", "the child failed", at=5)
    assert (parent.stored["state"], parent.stored["reason"]) == ("Failure", "the child failed")


def test_a_child_continues_after_the_end_of_its_parent(running: RealHub) -> None:
    """A process that joins an ended session opens it again, until it ends it."""
    parent = Client(running).begin()
    parent.end("Success", at=2)
    child = Client(running, parent.session, at=3.0).begin()
    assert parent.stored["state"] == "Unknown"
    child.end("Fail", at=5)
    assert parent.stored["state"] == "Failure"


def test_an_update_that_arrives_after_the_end_changes_nothing(running: RealHub) -> None:
    """Requests can arrive in another order than they were sent in."""
    client = Client(running, tags=("a",)).begin()
    before = {**client.sent, "is_running": True, "tags": ["a"]}
    client.update(tags=["a", "b"])
    client.end(at=5)
    assert client.post("/v2/update_session", {"session": before})[0] == 200
    assert (client.stored["state"], client.stored["tags"]) == ("Success", ["a", "b"])


def test_events_may_come_before_their_session(running: RealHub) -> None:
    """A hub that was restored from a backup does not know a session whose token is good: all of it is stored."""
    key = Keys(str(running.data)).find(running.key)
    assert key is not None
    client = Client(running, tags=("a",))
    client.jwt = tokens.issue(key, time.time(), tokens.SESSION_LIFE, session_id=client.session)
    assert client.events(client.action())[0] == 200
    assert client.end()[0] == 200
    assert (client.stored["actions"], client.stored["state"], client.stored["tags"]) == (1, "Success", ["a"])


def test_a_deleted_session_stays_deleted(tmp_path: Path) -> None:
    """Its client gets its answers, and nothing of it is stored."""
    with hub(tmp_path) as server:
        client = Client(server).begin()
        store = HomeStore(str(server.data))
        assert store.delete("default", uuid.UUID(client.session).bytes)
        store.close()
        status, reply = client.events(client.action(), client.call())
        assert (status, reply["stored"], reply["gone"]) == (200, 0, 2)
        assert client.begin().end()[0] == 200
        assert server.ask("GET", f"/api/1/sessions/{client.session}")[0] == 404


# Agents


def test_events_belong_to_their_agents(running: RealHub) -> None:
    """By the agent's id from the client; the agent may arrive after the event."""
    client = Client(running).begin()
    agent = str(uuid.uuid4())
    client.events(client.action(agent_id=agent))
    assert client.post("/v2/create_agent", {"id": agent, "name": "planner"}) == (200, "Success")
    assert client.post("/v2/create_agent", {"id": str(uuid.uuid4()), "name": None}) == (200, "Success")
    named = {each["id"]: each["name"] for each in client.export["agents"]}
    assert named[client.export["actions"][0]["agent_id"]] == "planner"
    assert "Default Agent" in named.values()
    assert client.post("/v2/create_agent", {"name": "no id"})[0] == 400


def test_threads_and_logs_are_events(running: RealHub) -> None:
    """What has no counterpart here is stored as events."""
    client = Client(running).begin()
    assert client.post("/v2/create_thread", {"id": "t1", "agent_id": None}) == (200, "Success")
    status, reply = client.post("/v2/update_logs", {"logs": "printed"}, method="PUT")
    assert (status, reply["status"]) == (200, "success")
    assert {each["name"]: each.get("logs", each.get("agent_id")) for each in client.kept} == {
        "thread": None,
        "logs": "printed",
    }
    assert client.post("/v2/developer_errors", {"type": "X"}, method="POST", jwt=False)[0] == 204


# Keys and tokens


@pytest.mark.parametrize(
    ("key", "status", "message"),
    [
        ("", 400, "API Key is Missing"),
        ("x", 400, "Invalid API key format"),
        ("1b1269e5-3c5a-4931-aaa2-b2a418525259", 400, "Invalid API Key"),
    ],
)
def test_a_session_needs_a_key(running: RealHub, key: str, status: int, message: str) -> None:
    """The answers are AgentOps' own."""
    client = Client(running, key=key)
    answered, reply = client.post("/v2/create_session", {"session": client.sent}, jwt=False)
    assert (answered, reply["path"], reply["message"]) == (status, "/v2/create_session", message)


def test_a_token_is_needed_for_all_else(running: RealHub) -> None:
    """A key identifies the project, but not the session."""
    client = Client(running).begin()
    for token in ("", "a.b.c", client.jwt[:-2], client.jwt[:-4] + "AAAA", "." + client.jwt[1:]):
        other = Client(running)
        other.jwt = token
        for path in ("/v2/create_events", "/v2/update_session", "/v2/create_agent"):
            assert other.post(path, {"events": [], "session": {}, "id": "x"})[0] in (400, 401)
    assert client.events(client.action(session_id=str(uuid.uuid4())))[0] == 200
    assert client.stored["actions"] == 1  # the session of the token counts


def test_a_token_leads_into_no_other_session_or_project(running: RealHub) -> None:
    """Neither by the session nor by the key that is sent with it."""
    client = Client(running).begin()
    other = Client(running, client.session, key=running.new_key("other")).begin()
    other.events(other.action("theirs"))
    assert (client.stored["actions"], other.stored["actions"]) == (0, 1)
    client.key = other.key
    client.events(client.action("ours"))
    assert [each["name"] for each in other.kept] == ["theirs"]
    status, reply = client.post("/v2/reauthorize_jwt", {"session_id": Client(running).begin().session}, jwt=False)
    assert (status, reply["message"]) == (400, "Session does not belong to this project")


def test_a_token_is_worth_nothing_without_its_key(running: RealHub) -> None:
    """A revoked key takes its tokens along."""
    client = Client(running, key=running.new_key("default")).begin()
    keys = Keys(str(running.data))
    key = keys.find(client.key)
    assert key is not None
    keys.revoke(key.handle)
    status, reply = client.post("/v2/create_events", {"events": [client.action()]}, key=False)
    assert (status, reply["message"].startswith("Invalid Token")) == (401, True)


def test_an_expired_token_is_good_with_its_key_only(running: RealHub) -> None:
    """Clients never renew it: after a day they would lose everything."""
    client = Client(running).begin()
    key = Keys(str(running.data)).find(running.key)
    assert key is not None
    client.jwt = tokens.issue(key, time.time() - 90_000, tokens.SESSION_LIFE, session_id=client.session)
    assert client.events(client.action())[0] == 200
    status, reply = client.post("/v2/create_events", {"events": [client.action()]}, key=False)
    assert (status, reply["message"]) == (401, "Expired Token")
    client.key = running.new_key("elsewhere")
    assert client.events(client.action())[0] == 401


def test_a_token_can_be_renewed(running: RealHub) -> None:
    """With the key; the process is then known by when it began the session."""
    client = Client(running, tags=("a",)).begin()
    status, reply = client.post("/v2/reauthorize_jwt", {"session_id": client.session}, jwt=False)
    assert (status, reply["status"]) == (200, "Success")
    client.jwt = reply["jwt"]
    client.update(tags=["a", "b"])
    assert client.events(client.action())[0] == 200
    client.end()
    assert (client.stored["state"], client.stored["tags"]) == ("Success", ["a", "b"])


def test_a_token_opens_no_other_door(running: RealHub) -> None:
    """Only the addresses of AgentOps accept it."""
    client = Client(running).begin()
    assert running.ask("GET", "/sync/1/hello", key=client.jwt)[0] == 401
    assert running.ask("GET", "/api/1/sessions", key=client.jwt)[0] == 401
    assert running.ask("GET", f"/v2/sessions/{client.session}/stats", key=client.jwt)[0] == 200


def test_no_token_or_secret_is_stored(tmp_path: Path) -> None:
    """The client sends its token in clear with every update, and programs send their secrets."""
    with hub(tmp_path) as server:
        client = Client(server).begin()
        secret = "sk-proj-" + "a1B2c3D4e5F6" * 4
        client.events(client.call(prompt=f"use {secret}"), client.action(params={"password": "hunter2222"}))
        client.update(tags=["x"])
        client.end(reason=f"no {secret}")
        server.stop()
        reader = Reader(str(server.folder / config.JOURNAL))
        text = json.dumps(reader.ask("select kind, body, tags from event"))
        reader.close()
        assert "redacted" in text
        for hidden in (secret, "hunter2222", client.jwt, client.jwt.rpartition(".")[2]):
            assert hidden not in text


def test_what_was_scrubbed_does_not_come_back(tmp_path: Path) -> None:
    """A client cannot scrub, and sends as often as it likes: rows and files stay as the scrub has left them."""
    with hub(tmp_path) as server:
        client = Client(server).begin()
        long = client.tool(params={"text": "OAK-12345 " + "word " * 300_000})
        sent = [client.action(params={"note": "OAK-12345"}), long]
        assert client.events(*sent) == (200, "Success")
        (server.data / "config.toml").write_text("redact = ['OAK-[0-9]+']\n")
        assert scrub(str(server.data), server.project).secrets > 1
        for _ in range(2):
            assert client.events(*sent) == (200, "Success")
        assert [client.stored[name] for name in ("actions", "tool_calls")] == [1, 1]
        held = subprocess.run(["grep", "-rlaF", "OAK-12345", str(server.folder)], capture_output=True, check=False)
        assert held.stdout == b""


# Chaos


def test_clients_at_once_lose_nothing(running: RealHub) -> None:
    """More of them than one key may have running requests: each waits for its turn."""
    clients = [Client(running).begin() for _ in range(20)]
    failed: list[Any] = []

    def work(client: Client) -> None:
        for _ in range(3):
            status, reply = client.events(*[client.action() for _ in range(25)])
            if status != 200:
                failed.append((status, reply))
        client.end()

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [client.stored["actions"] for client in clients] == [75] * 20


def test_processes_that_send_one_session_at_once_lose_nothing(running: RealHub) -> None:
    """The same requests from several threads: stored once, and the tags are all there."""
    client = Client(running, tags=("a",)).begin()
    batch = [client.action(), client.call()]
    replies: list[int] = []

    def work(number: int) -> None:
        process = Client(running, client.session, at=float(number)).begin()
        replies.append(process.events(*batch)[0])
        replies.append(process.update(tags=[f"t{number}"])[0])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [200] * 16
    assert (client.stored["actions"], client.stored["llm_calls"]) == (1, 1)
    assert set(client.stored["tags"]) == {"a", *(f"t{number}" for number in range(1, 9))}


def test_a_killed_hub_has_what_it_answered(tmp_path: Path) -> None:
    """Tokens are good after a restart, and a batch that is sent again after it is stored once."""
    with hub(tmp_path) as server:
        client = Client(server, tags=("a",)).begin()
        batches = [[client.action(), client.call()] for _ in range(5)]
        for batch in batches:
            assert client.events(*batch)[0] == 200
            server.kill()
            server.start()
            assert client.events(*batch)[0] == 200
        client.end()
        server.kill()
        server.start()
        stored = client.stored
        assert (stored["actions"], stored["llm_calls"], stored["state"]) == (5, 5, "Success")
