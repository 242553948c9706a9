"""A -shm file that is removed under recorders, again and again: STRESS_ROUNDS is the number for each way."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence

import pytest

from tests import programs
from tests.test_watch import WAYS, lose_the_shared_file

ROUNDS = int(os.environ.get("STRESS_ROUNDS", "1"))


# An ordinary run has later recorders with and without a kill, commands only with one, and both only without.
@pytest.mark.parametrize(
    ("late", "commands", "kill"),
    [
        (*way, kill)
        for number, way in enumerate(WAYS)
        for kill in (False, True)
        if ROUNDS > 1 or number == 0 or kill == (number == 1)
    ],
)
def test_a_removed_shm_costs_nothing(late: int, commands: Sequence[str], kill: bool) -> None:
    """With later recorders, commands, or both, and all of them killed: every acknowledged row is there."""
    folder = programs.project()
    for _ in range(ROUNDS):
        early = random.choice([1, 2, 3])
        acknowledged, kept = lose_the_shared_file(
            folder, recorders=early, late=late, commands=commands, seconds=1.0, kill=kill
        )
        assert acknowledged <= kept
        print(f"{early} + {late} recorders, {len(commands)} commands: {len(acknowledged)} rows acknowledged, 0 lost")
        shutil.rmtree(folder)
