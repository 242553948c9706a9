"""`localops query`: which journal is asked."""

from __future__ import annotations

from collections.abc import Callable

import localops

Command = Callable[..., tuple[int, str, str]]


def _record(project: str, name: str) -> None:
    session = localops.start_session(name=name, config=localops.Config(project=project))
    assert session is not None
    session.end_session("Success")


def test_a_query_says_which_of_several_projects_it_asked(command: Command) -> None:
    """SQL reads one journal: nobody may take one project's answer for that of the whole home."""
    sql = "select name from session"
    _record("default", "one")
    assert "default" not in command("query", sql)[2]
    _record("other", "two")
    code, out, err = command("query", sql)
    assert (code, "one" in out, "two" in out, "project default alone" in err) == (0, True, False, True)
    assert "two" in command("query", sql, "--project", "other")[1]
