"""What tests look at in a journal: its names in order, and its derived tables."""

from __future__ import annotations

import os
from typing import Any

from localops.journal.journal import Journal
from localops.journal.reader import Reader
from localops.reading import session_state


def names(folder: str) -> list[str]:
    """Return the names of the actions in a journal, in order."""
    with Reader(os.path.join(folder, "journal.db")) as reader:
        return [name for (name,) in reader.ask("select name from event where kind = 'action' order by seq")]


def after_a_look(journal: Journal) -> None:
    """Pretend that half a second has passed."""
    journal._file.look_at = 0.0


DERIVED = {
    "total": "session, rows, events, actions, llms, tools, errors, failed, tokens_in, tokens_out, cost, unpriced, "
    "first_ns, last_ns, name, state, implied, ended_ns",
    "unfinished": "id",
    "milestone": "session, at_ns, id, kind, name, implied",
    "facet": "dim, value, start_ns, whole, events, failed, cost, unpriced",
    "session_tag": "session, tag",
    "id_of": "id, phase",
}


def derived(journal: Journal) -> dict[str, list[Any]]:
    """Return all that is derived from the stream, without the numbers that depend on its order."""
    tables: dict[str, list[Any]] = {}
    connection = journal._file.connection
    assert connection is not None
    for table, columns in DERIVED.items():
        tables[table] = sorted(connection.execute(f"select {columns} from {table}").fetchall(), key=repr)
    for session in (b"s" * 16, b"t" * 16):
        tables["stands"] = [*tables.get("stands", []), session_state.standing(journal, journal.folder, session)]
    tables["id_of"] = [each for each in tables["id_of"] if each[0][0] < 40 and len(set(each[0])) == 1]
    return tables
