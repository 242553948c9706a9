"""The SQL of the journal: plain files that any SQLite tool can open, and the few lines that read them."""

from __future__ import annotations

import os

from localops.errors import IncompleteInstallation

# A journal says in its header which schema it has.  1 was the first; `migration_2.sql` leads from it to 2, and so on.
# Each number comes with its migration, and with a journal of the one before in tests/fixtures.
SCHEMA = 4


def script(name: str) -> str:
    """Return a file of this folder, whole; IncompleteInstallation when it did not come with the package."""
    path = os.path.join(os.path.dirname(__file__), name)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise IncompleteInstallation(path, error) from error


def named(name: str) -> dict[str, str]:
    """The statements of a file by the name in the `-- name --` line above each."""
    found: dict[str, str] = {}
    for part in f"\n{script(name)}".split("\n-- ")[1:]:
        line, _, text = part.partition("\n")
        if line.endswith(" --"):
            key = line[:-3]
            found[key] = text
        elif found:  # a comment in a statement, or between two
            found[key] += f"\n-- {part}"
    return {key: text.strip().rstrip(";") for key, text in found.items()}


_read: dict[str, dict[str, str]] = {}


def statements(file: str) -> dict[str, str]:
    """The named statements of a file, read once."""
    if file not in _read:
        _read[file] = named(file)
    return _read[file]


def migrations(after: int) -> list[str]:
    """Return the scripts that bring a journal from schema `after` to ours, in order; 0 is a file without tables.

    A new journal gets the tables as they are now, an older one each migration that it lacks; both then get our views.
    """
    steps = range(after + 1, SCHEMA + 1)
    tables = [script(f"migration_{step}.sql") for step in steps] if after else [script("schema.sql")]
    return [*tables, script("views.sql")]


def passing_views() -> str:
    """Return the script that gives one connection our views over a journal of an older schema, and changes nothing."""
    return script("views.sql").replace("create view ", "create temp view ")
