"""The SQL of the journal: files that any SQLite tool can open, and the functions that read them."""

from __future__ import annotations

import os

from localops.errors import IncompleteInstallation

# A journal has the number of its schema in its header.  1 was the first; `migration_2.sql` leads from it to 2, and so
# on.  Each number comes with its migration, and with a journal of the schema before in tests/fixtures.
SCHEMA = 5


def script(name: str) -> str:
    """Return the text of a file of this folder; raise IncompleteInstallation when the package lacks it."""
    path = os.path.join(os.path.dirname(__file__), name)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise IncompleteInstallation(path, error) from error


def named(name: str) -> dict[str, str]:
    """Return the statements of a file by the name in the `-- name --` line above each."""
    by_name: dict[str, str] = {}
    for part in f"\n{script(name)}".split("\n-- ")[1:]:
        line, _, text = part.partition("\n")
        if line.endswith(" --"):
            key = line[:-3]
            by_name[key] = text
        elif by_name:
            # A comment in a statement, or between two.
            by_name[key] += f"\n-- {part}"
    return {key: text.strip().rstrip(";") for key, text in by_name.items()}


_read: dict[str, dict[str, str]] = {}


def statements(file: str) -> dict[str, str]:
    """Return the named statements of a file, which is read once."""
    if file not in _read:
        _read[file] = named(file)
    return _read[file]


def migrations(after: int) -> list[str]:
    """Return the scripts that bring a journal from schema `after` to ours, in order; 0 means a file without tables.

    A new journal gets the current tables, an older one each migration that it lacks; both then get the views.
    """
    steps = range(after + 1, SCHEMA + 1)
    tables = [script(f"migration_{step}.sql") for step in steps] if after else [script("schema.sql")]
    return [*tables, script("views.sql")]


def temporary_views() -> str:
    """Return the script of our views for one connection to a journal of an older schema, which stays unchanged."""
    return script("views.sql").replace("create view ", "create temp view ")
