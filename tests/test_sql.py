"""The SQL files: the lists that they get from Python."""

from __future__ import annotations

import re
from pathlib import Path

import apsw

from localops.journal import rows, sql

_FILES = sorted(Path(sql.__file__).parent.glob("*.sql"))


def _kinds(path: Path) -> list[list[str]]:
    """Return the kinds that each `in (…)` of a file compares with, as far as they are bookkeeping kinds."""
    lists = re.findall(r"\bin\s*\(([^()]*)\)", path.read_text(encoding="utf-8"))
    return [[kind for kind in re.findall(r"'(\w+)'", text) if kind in rows.BOOKS] for text in lists]


def test_kinds_of_bookkeeping_rows_are_listed_in_python_alone() -> None:
    """No statement repeats the list: one that compares with three of the kinds must name the list instead."""
    assert {path.name: kinds for path in _FILES if (kinds := [each for each in _kinds(path) if len(each) > 2])} == {}


def test_a_list_in_braces_becomes_its_members() -> None:
    """SQLite gets the kinds of rows.py, and no brace is left in any file."""
    for path in _FILES:
        assert not {"{", "}"} & set(sql.script(path.name)), path.name
    lists = [each for path in _FILES for each in re.findall(r"not in \(([^()]*)\)", sql.script(path.name))]
    books = [each for each in lists if "'host'" in each]
    assert books
    for text in books:
        kinds = {kind for (kind,) in apsw.Connection(":memory:").execute(f"values ({text.replace(', ', '),(')})")}
        assert rows.BOOKS <= kinds <= rows.BOOKS | {"agent"}
