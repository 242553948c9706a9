"""`localops tail`: the last events of a home, in the order in which they happened."""

from __future__ import annotations

from collections.abc import Callable

import localops

Command = Callable[..., tuple[int, str, str]]


def test_the_last_events_of_several_projects_are_told_in_order(command: Command) -> None:
    """Of two runs at once, the last lines are the last of both, however many projects there are."""
    sessions = [localops.start_session(config=localops.Config(project=name)) for name in ("b", "a")]
    for step in range(4):
        for session in sessions:
            assert session is not None
            session.record(localops.ActionEvent(action_type=f"step{step}"))
    lines = command("tail", "-n", "3")[1].splitlines()
    assert [(line.split()[1], line.split()[4]) for line in lines] == [
        ("a", "step2"),
        ("b", "step3"),
        ("a", "step3"),
    ]
