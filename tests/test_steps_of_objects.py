"""Steps that are methods: which object makes a call is part of it only by a key."""

from __future__ import annotations

from typing import Any

import pytest

import localops
from localops.decorators import tool


def test_a_method_without_a_key_warns_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Another object that makes the same call would be given its result; where there is a key, or no state, not."""
    paid: list[str] = []

    class Payer:
        def __init__(self, name: str) -> None:
            self.name = name

        @tool(once=True)
        def pay(self, order: int) -> str:
            paid.append(self.name)
            return self.name

        @tool(once=True, key=lambda self, order: [self.name, order])
        def refund(self, order: int) -> str:
            paid.append(self.name)
            return self.name

    class Stateless:
        @tool(once=True)
        def notify(self, order: int) -> int:
            return order

        @classmethod
        @tool(once=True)
        def register(cls, order: int) -> int:
            return order

    def calls(name: str) -> list[Any]:
        payer, other = Payer(name), Stateless()
        return [payer.refund(1), other.notify(1), Stateless.register(1), payer.pay(1)]

    session = localops.init()
    assert calls("alice") == ["alice", 1, 1, "alice"]
    assert Payer("alice").pay(2) == "alice"
    warned = capsys.readouterr().err
    assert warned.count("whatever object it is called on") == 1
    assert "pay() runs once" in warned
    session.end_session("Failure")
    localops.resume(session.session_id)
    assert calls("bob") == ["bob", 1, 1, "alice"]
    assert paid == ["alice", "alice", "alice", "bob"]
