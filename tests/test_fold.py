"""The fold: what it derives from rows of every kind is what the views say of them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING

from localops.journal import rows
from localops.journal.journal import Journal
from localops.journal.reader import Reader

if TYPE_CHECKING:
    from localops.journal.rows import Row

_CALLS = ("llm", "tool", "action", "agent", "error", "operation")
_OTHERS = ("session", "tags", "price", "end", "loss")
_AS_VIEWED = f"""
  select f.dim, f.value, t.key, {", ".join(f"sum(f.{name})" for name in rows.FIGURES)}
  from facet_part f
  join total t on t.session = f.session
  group by f.dim, f.value, t.key
  order by f.dim, f.value, t.key"""
_FOLDED = f"""
  select dim, value, key, {", ".join(rows.FIGURES)}
  from facet
  where dim <> 'tag' or events > 0
  order by dim, value, key"""


def _row(chance: random.Random, sessions: list[bytes], agents: list[bytes]) -> Row:
    kind = chance.choice((*_CALLS, *_CALLS, *_OTHERS))
    at = 10**18 + chance.randrange(10**12)
    body: dict[str, object] = {"x": 1}
    if kind == "error" and chance.random() < 0.7:
        body["trigger"] = {"kind": chance.choice(("tool", "llm")), "name": chance.choice(("search", "read"))}
    if kind == "price" and chance.random() < 0.5:
        body["was"] = 3
    return rows.make(
        kind,
        chance.choice(sessions),
        id=chance.randbytes(16),
        at_ns=at,
        phase=chance.choice((rows.DONE, rows.DONE, rows.OPEN)) if kind in _CALLS else rows.DONE,
        name="Success" if kind == "end" else chance.choice((None, "set", "search")),
        agent=chance.choice((None, *agents)),
        start_ns=chance.choice((None, at - chance.randrange(10**15))),
        end_ns=chance.choice((None, 0, at + chance.randrange(10**15))),
        model=chance.choice((None, "small", "large")),
        tokens=[chance.choice((None, chance.randrange(99))) for _ in range(4)],
        cost=chance.choice((None, chance.randrange(99))),
        failed=chance.choice((None, 0, 1)),
        tags=chance.choice((None, None, '["x"]', '["y","x"]')),
        body=json.dumps(body),
    )


def test_facets_are_the_sums_of_all_rows_however_they_arrive(tmp_path: Path) -> None:
    """Rows that are folded together are summed together first, those of some kinds apart from the others."""
    chance = random.Random(7)
    sessions, agents = ([chance.randbytes(16) for _ in range(4)] for _ in range(2))
    made = [_row(chance, [*sessions, rows.NO_SESSION], agents) for _ in range(600)]
    journal = Journal(str(tmp_path))
    while made:
        many = chance.choice((1, 5, 60, 200))
        journal.add(made[:many])
        del made[:many]
    journal.close()
    with Reader(journal.path) as reader:
        folded, viewed = reader.ask(_FOLDED), reader.ask(_AS_VIEWED)
    assert {dim for dim, *_ in folded} == {"model", "tool", "agent", "agent_id", "tag"}
    assert folded == viewed
