"""The SQL of the journal, and the functions that read its files.

Lists that several statements need are defined once, in Python, and named in braces: `kind in ({books})` compares with
the kinds of bookkeeping rows.  What is around the name is repeated for each member: `{sum(tokens)}` is
`sum(tokens_in), sum(tokens_out)`, and so on.  A part of a statement that stands in several is in fragments.sql:
`{session_end ROWS=story …}` is that part, with `story` for ROWS.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from localops.errors import IncompleteInstallation
from localops.interruption import pass_on
from localops.journal import rows, token_kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localops.journal.token_kinds import TokenKind

# A journal has the number of its schema in its header.  1 was the first; `migration_2.sql` leads from it to 2, and so
# on.  Each number comes with its migration, and with a journal of the schema before in tests/fixtures.
SCHEMA = 8

# The lists that statements name in braces; no name is part of another.
_LISTS = {
    "columns": ("seq", *rows.COLUMNS),
    "tokens": rows.TOKENS,
    "counts": rows.SENT_TOKENS,
    "totals": rows.TOTALS,
    "figures": rows.FIGURES,
    "listed": rows.LISTED,
    "half": rows.HALF,
    "books": [f"'{kind}'" for kind in rows.BOOK_KINDS],
    "milestones": [f"'{kind}'" for kind in rows.MILESTONES],
    "by_readers": [f"'{kind}'" for kind in rows.BY_READERS],
    "starts": [f"'{kind}'" for kind in rows.STARTS],
    "leaves": [f"'{kind}'" for kind in rows.LEAVES],
    "attendance": [f"'{kind}'" for kind in (*rows.STARTS, *rows.LEAVES)],
}


def script(name: str) -> str:
    """Return the text of a file; raise IncompleteInstallation when the package lacks it."""
    return _filled(_text(name))


def _text(name: str) -> str:
    path = os.path.join(os.path.dirname(__file__), name)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        pass_on(error)
        raise IncompleteInstallation(path, error) from error


def _filled(text: str) -> str:
    """Return a text with everything that it has in braces replaced."""
    filled, *parts = text.split("{")
    for part in parts:
        pattern, _, rest = part.partition("}")
        filled += _replacement(pattern) + rest
    return filled


def _replacement(pattern: str) -> str:
    """Return what is in braces for each member of the list that it names, or the fragment that it names."""
    members = _LISTS.get(pattern)
    if members is not None:
        return ", ".join(members)
    if _is_of_fragment(pattern):
        return _fragment(pattern)
    for name in _LISTS:
        if name in pattern:
            return ", ".join(pattern.replace(name, member) for member in _LISTS[name])
    raise KeyError(pattern)


def _is_of_fragment(pattern: str) -> bool:
    """Return whether a pattern is the name of a fragment, with what words in capitals are replaced by."""
    name, *settings = pattern.split()
    return name.isidentifier() and all(setting.partition("=")[0].isupper() for setting in settings)


def _fragment(pattern: str) -> str:
    """Return a part of statements, without its comments, with what its words in capitals are replaced by."""
    name, *settings = pattern.split()
    text = statements("fragments.sql")[name]
    for setting in settings:
        word, _, value = setting.partition("=")
        text = text.replace(word, value)
    return "\n".join(line for line in text.split("\n") if not line.startswith("-- "))


class Statements(Mapping[str, str]):
    """The statements of a file by the name in the `-- name --` line above each; each is filled in at its first use."""

    def __init__(self, file: str) -> None:
        self._texts: dict[str, str] = {}
        self._filled: dict[str, str] = {}
        key = ""
        for part in f"\n{_text(file)}".split("\n-- ")[1:]:
            line, _, text = part.partition("\n")
            if line.endswith(" --"):
                key = line[:-3]
                self._texts[key] = text
            elif key:
                # A comment inside of a statement, or between two.
                self._texts[key] += f"\n-- {part}"

    def __getitem__(self, name: str) -> str:
        statement = self._filled.get(name)
        if statement is None:
            statement = self._filled[name] = _filled(self._texts[name].strip().rstrip(";"))
        return statement

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


_read: dict[str, Statements] = {}


def statements(file: str) -> Statements:
    """Return the named statements of a file, which is read once."""
    if file not in _read:
        _read[file] = Statements(file)
    return _read[file]


def migrations(after: int) -> list[str]:
    """Return the scripts that bring a journal from schema `after` to the current one, in order; 0: an empty file.

    A new journal gets the current tables, an older one each migration that it lacks; then both get the views.
    """
    steps = range(after + 1, SCHEMA + 1)
    tables = [script(f"migration_{step}.sql") for step in steps] if after else [script("schema.sql")]
    return [*tables, script("views.sql")]


def temporary_views(schema: int) -> str:
    """Return the script of the current views for a connection to an older journal, which stays unchanged."""
    tables = _tables_with_counts([kind for kind in token_kinds.COPIED if schema < kind.since])
    if schema < 7:
        tables += script("before_7.sql")
    return tables + script("views.sql").replace("create view ", "create temp view ")


def _tables_with_counts(kinds: Sequence[TokenKind]) -> str:
    """Return the script of the tables with the columns of kinds of tokens that an older journal has in bodies alone."""
    text = ""
    for table, fragment in _COUNT_OF.items() if kinds else ():
        columns = (f"{_fragment(f'{fragment} NAME={kind.column} KEY={kind.field}')} as {kind.column}" for kind in kinds)
        text += f"create temp view {table} as select t.*, {', '.join(columns)} from main.{table} t;\n"  # noqa: S608
    return text


_COUNT_OF = {"event": "count_in_body", "total": "count_in_total", "facet": "count_in_facet"}
