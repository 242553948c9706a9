"""Read the texts of an SQLite file that is not a journal, such as an export."""

from __future__ import annotations

import apsw

from localops.journal.reader import reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = b"SQLite format 3\0"
"""The first bytes of every SQLite file."""


def texts(path: str) -> Iterator[tuple[str, dict[str, str | bytes]]]:
    """Yield for each row the name of its table, and its texts and blobs by column; ValueError if it cannot be read.

    Virtual tables, such as a search index, are skipped: their rows are in ordinary tables, which are read.
    """
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            statement = "select name from sqlite_schema where type = 'table' and rootpage > 0 order by name"
            for (table,) in connection.execute(statement).fetchall():
                yield from _rows(connection, str(table))
        finally:
            connection.close()
    except apsw.Error as error:
        raise ValueError(reason(error)) from error


def _rows(connection: apsw.Connection, table: str) -> Iterator[tuple[str, dict[str, str | bytes]]]:
    quoted = table.replace('"', '""')
    # A table's name cannot be bound as a parameter, but quoted it cannot be anything except a name.
    cursor = connection.execute(f'select * from "{quoted}"')  # noqa: S608
    names: list[str] = []
    for row in cursor:
        names = names or [name for name, *_ in cursor.get_description()]
        named = zip(names, row, strict=True)
        yield table, {name: value for name, value in named if isinstance(value, str | bytes) and value}
