"""Rows that a hub took before it knew better break no page: each read of their project still answers."""

from __future__ import annotations

import os
from typing import Any

import pytest

from localops import cli, clock
from localops.journal import rows
from localops.journal.journal import Journal
from tests.server.hubs import RealHub

_FAR_NS = 4_070_908_800_000_000_000  # the year 2099


def _row(kind: str, session: bytes, **columns: Any) -> rows.Row:
    at = clock.now_ns()
    return rows.make(kind, session, **{"id": clock.new_id(at), "at_ns": at, **columns})


def _start(session: bytes, **columns: Any) -> rows.Row:
    return _row("session", session, name="odd", parent=clock.new_id(), body="{}", **columns)


def _nested(depth: int) -> str:
    return '{"params":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


_ODD: dict[str, list[dict[str, Any]]] = {
    "an end without a name": [{"kind": "end", "body": "{}"}],
    "254 levels": [{"kind": "tool", "name": "t", "body": _nested(254)}],
    "300 levels": [{"kind": "llm", "model": "m", "body": _nested(300)}],
    "a loss without a body": [{"kind": "loss"}],
    "a trigger without an id": [
        {"kind": "error", "failed": 1, "body": '{"trigger":{"id":"no id","kind":"tool","name":"t"}}'}
    ],
    "a host of another form": [{"kind": "host", "body": '{"host_env":{"OS":5,"SDK":[1]}}'}],
    "a century": [{"kind": "end", "name": "Success", "at_ns": _FAR_NS, "body": "{}"}],
}


@pytest.mark.parametrize("odd", _ODD, ids=str)
def test_every_read_of_a_project_with_an_odd_row_answers(
    running: RealHub, odd: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lists, figures, pages, exports and commands show what there is."""
    project = "".join(letter if letter.isalnum() else "-" for letter in odd)
    key = running.new_key(project)
    folder = os.path.join(str(running.data), project)
    journal = Journal(folder, gather=True)
    sessions = [clock.new_id() for _ in range(3)]
    for session in sessions:
        start = _start(session, at_ns=1) if odd == "a century" else _start(session)
        journal.add([start, *[_row(session=session, **columns) for columns in _ODD[odd]]])
    journal.close()
    id = sessions[0].hex()
    asked = [
        "/api/1/sessions?sort=state",
        "/api/1/facets",
        "/api/1/analytics?by=day",
        "/api/1/analytics/daily",
        "/api/1/analytics/distributions",
        f"/api/1/sessions/{id}",
        f"/api/1/sessions/{id}/events",
        *[f"/api/1/sessions/{id}/events/{seq}" for seq in (2, 3)],
        f"/api/1/sessions/{id}/timeline",
        f"/api/1/sessions/{id}/export?format=json",
        f"/v2/sessions/{id}/stats",
        f"/v2/sessions/{id}/export",
        f"/api/1/compare?a={id}&b={sessions[1].hex()}",
    ]
    broken = [path for path in asked if running.ask("GET", path, key=key)[0] >= 500]
    assert broken == []
    for command in (["analytics", "--by", "day"], ["show", id], ["sessions"]):
        with pytest.raises(SystemExit) as ended:
            cli.main([*command, "--home", str(running.data), "--project", project])
        assert ended.value.code == 0, capsys.readouterr().err
