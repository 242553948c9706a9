"""Full text over a project's rows, in a side file that is derived, extended when asked for, and safe to
delete.

A word is what letters and digits make; a term of a query (what stands between spaces) must be found with its
words side by side, and all terms in one event.  The index names passages; what is found is always checked in
the rows.
"""

from __future__ import annotations

import os
import re
from collections import deque
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from localops.encoding import encode
from localops.errors import ConfigError
from localops.journal import rows
from localops.journal.derived_file import DerivedFile
from localops.journal.sql import statements

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from localops.journal.reader import Reader

FILE = "search.db"
SCHEMA = 1  # of the side file; another one is made anew
_BATCH = 2_000  # rows taken in at a time: some 50 ms
_SOON = 4_000  # rows that a list of sessions takes in by the way
_PASSAGE = 64  # rows in a passage at most: what has to be looked at again for one match
_SHIFT = 24  # a session's passages are numbered within 2^24
_SIDE = 48  # characters shown to either side of what was found

# Scripts that put no spaces between words are taken character by character.
_SINGLE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_SINGLE}]|[^\W_{_SINGLE}]+")
_WRITTEN = re.compile(rf"[{_SINGLE}]|(?:[^\W_{_SINGLE}][\u0300-\u036f]*)+")  # the same with its accents


class Hit(NamedTuple):
    """A row in which every term of a query was found."""

    session: bytes
    id: bytes
    kind: str
    name: str | None
    at_ns: int
    seq: int
    snippet: str


def forget(folder: str) -> None:
    """Throw the index of a project away: it is derived, and built anew when it is asked for."""
    for side in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, FILE + side))


def words(text: str) -> list[str]:
    """The words of a text, without case and accents."""
    return _WORD.findall(_folded(text))


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    from unicodedata import combining, normalize

    plain = "".join(c for c in normalize("NFKD", text) if not combining(c))
    return normalize("NFC", plain).casefold()


class Query:
    """What is looked for.

    >>> Query("web_search Cats").is_in("two CATS, one web-search")
    True
    >>> Query("web_search").is_in("search the web")
    False
    >>> Query("light*").is_in("the lighthouse")
    True
    """

    def __init__(self, text: str) -> None:
        written = [(found, term.endswith("*")) for term in text.split() if (found := words(term))]
        if not written:
            raise ConfigError(f"no word to search for in {text!r}: give at least one with a letter or a digit")
        self.terms = [term for term, _ in written]
        self._is_prefix = written[0][1]  # of the first term, which is what a snippet shows
        self.match = " AND ".join(_match(term, is_prefix) for term, is_prefix in written)
        self._runs = [f" {' '.join(term)}{'' if is_prefix else ' '}" for term, is_prefix in written]

    def is_in(self, text: str) -> bool:
        """Whether every term stands in the text."""
        flat = f" {' '.join(words(text))} "
        return all(run in flat for run in self._runs)

    def snippet(self, text: str) -> str:
        """The text around the first thing found, on one line."""
        flat = " ".join(text.split())
        at, _ = self.place(flat)
        start, end = max(0, at - _SIDE), at + 2 * _SIDE
        return f"{'…' if start else ''}{flat[start:end]}{'…' if end < len(flat) else ''}"

    def place(self, text: str) -> tuple[int, int]:
        """Where in the text the first term begins and ends; (0, 0) if it is not written there as it is read."""
        seen: deque[tuple[str, int, int]] = deque(maxlen=len(self.terms[0]))
        for word in _WRITTEN.finditer(text):
            seen.append((_folded(word[0]), word.start(), word.end()))
            if self._are_first_term([one for one, _, _ in seen]):
                return seen[0][1], seen[-1][2]
        return 0, 0

    def _are_first_term(self, read: list[str]) -> bool:
        wanted = self.terms[0]
        if self._is_prefix and len(read) == len(wanted):
            return read[:-1] == wanted[:-1] and read[-1].startswith(wanted[-1])
        return read == wanted


def _match(term: list[str], is_prefix: bool) -> str:
    """Return a term as SQLite's full-text search takes it."""
    return " AND ".join(f'"{word}"' for word in term) + ("*" if is_prefix else "")


class Index:
    """The index of one project; where its folder cannot be written, one in memory, for the moment."""

    def __init__(self, folder: str, reader: Reader) -> None:
        self._reader = reader
        self._file = DerivedFile(os.path.join(folder, FILE), statements("search.sql")["schema"], SCHEMA)
        self._check()

    def _check(self) -> None:
        """An index of another journal (moved, repaired, put back) is begun anew: its seqs are of no use."""
        journal = self._reader.ask("select value from meta where key = 'journal'")
        if self._file.ask("select journal from about") != journal:
            self._file.begin_anew()
            self._file.transact(lambda execute: execute("insert into about values(?, 0)", journal[0]))

    @property
    def upto(self) -> int:
        """The last seq that is in it."""
        return int(self._file.ask("select upto from about")[0][0])

    def missing(self) -> int:
        """How many rows are not in it yet (some of which prune may have taken)."""
        return int(self._reader.ask(statements("lists.sql")["last_seq"])[0][0]) - self.upto

    def catch_up(self) -> int:
        """Take in what is missing if that is soon done; how many rows are missing then."""
        missing = self.missing()
        if 0 < missing <= _SOON:
            self.extend()
            return self.missing()
        return missing

    def extend(self, progress: Callable[[int], None] | None = None) -> None:
        """Take in all rows that are missing; `progress` is told how many more are in, batch by batch."""
        more = True
        while more:
            before = self.upto

            def work(execute: Callable[..., Any]) -> None:
                nonlocal more
                more = self._take_in(execute)

            self._file.transact(work)
            if progress is not None:
                progress(self.upto - before)

    def _take_in(self, execute: Callable[..., Any]) -> bool:
        after = execute("select upto from about").fetchone()[0]
        rows_after = self._reader.ask(statements("search.sql")["rows"], {"after": after, "many": _BATCH})
        page = list(map(_Searched._make, rows_after))
        if not page:
            return False
        sessions: dict[bytes, list[tuple[int, str]]] = {}
        for row in page:
            if text := row.text:
                sessions.setdefault(row.session, []).append((row.seq, text))
        for session, texts in sessions.items():
            key = _key(execute, session)
            last = execute("select max(id) from passage where id between ? and ?", _range(key)).fetchone()[0]
            number = (key << _SHIFT) if last is None else last + 1
            for at in range(0, len(texts), _PASSAGE):
                _add(execute, number, texts[at : at + _PASSAGE])
                number += 1
        execute("update about set upto = ?", (page[-1].seq,))
        return len(page) == _BATCH

    def events(self, text: str, session: bytes | None = None) -> Iterator[Hit]:
        """The rows that have every term: the newest session's first, and in it the newest row first."""
        query = Query(text)
        first, before = (0, 1 << 62) if session is None else self._range_of(session)
        while passages := self._file.ask(
            statements("search.sql")["passages"], {"match": query.match, "first": first, "before": before}
        ):
            for passage, first_seq, last_seq, of in passages:
                yield from self._hits(query, first_seq, last_seq, of)
                before = passage

    def _hits(self, query: Query, first: int, last: int, session: bytes) -> Iterator[Hit]:
        found = self._reader.ask(
            statements("search.sql")["rows_between"], {"first": first, "last": last, "session": session}
        )
        for row in map(_Searched._make, found):
            text = row.text
            if query.is_in(text):
                yield Hit(row.session, row.id, row.kind, row.name, row.at_ns, row.seq, query.snippet(text))

    def sessions(self, text: str, most: int) -> list[bytes] | None:
        """The sessions with every term in one row; None when more than `most` passages must be looked at."""
        query = Query(text)
        found = self._file.ask(statements("search.sql")["sessions"], {"match": query.match, "many": most + 1})
        if len(found) > most:
            return None
        sessions = dict.fromkeys(session for (session,) in found)
        return [session for session in sessions if self._is_simple(query) or self.has(session, text)]

    def candidates(self, text: str, most: int) -> tuple[list[bytes] | None, bool]:
        """The sessions that have every word of a text somewhere in a passage, and whether that is all that is asked.

        Each comes as often as it has such passages; None when there are more of them than `most`.  If that is not all,
        `has` knows whether one row of a session has every term.
        """
        query = Query(text)
        found = self._file.ask(statements("search.sql")["sessions"], {"match": query.match, "many": most + 1})
        if len(found) > most:
            return None, False
        return list(chain.from_iterable(found)), self._is_simple(query)

    def has(self, session: bytes, text: str) -> bool:
        """Whether one row of the session has every term."""
        query = Query(text)
        if self._is_simple(query):
            first, before = self._range_of(session)
            values = {"match": query.match, "first": first, "before": before}
            return bool(self._file.ask(statements("search.sql")["any_passage"], values))
        return next(self.events(text, session), None) is not None

    def _is_simple(self, query: Query) -> bool:
        """A single word: the passage has it in one of its rows, there is nothing more to look at."""
        return len(query.terms) == 1 and len(query.terms[0]) == 1

    def _range_of(self, session: bytes) -> tuple[int, int]:
        found = self._file.ask("select key from session where id = ?", (session,))
        if not found:
            return 0, 0
        first, last = _range(found[0][0])
        return first, last + 1

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _key(execute: Callable[..., Any], session: bytes) -> int:
    execute("insert or ignore into session(id) values(?)", (session,))
    return int(execute("select key from session where id = ?", (session,)).fetchone()[0])


def _range(key: int) -> tuple[int, int]:
    return key << _SHIFT, ((key + 1) << _SHIFT) - 1


def _add(execute: Callable[..., Any], id: int, texts: list[tuple[int, str]]) -> None:
    # The tokenizer splits plain ASCII as `words` does; only other text has to be split for it.
    all_of_it = "\n".join(text for _, text in texts)
    given = all_of_it.lower() if all_of_it.isascii() else " ".join(words(all_of_it))
    execute("insert into passage values(?, ?, ?)", (id, texts[0][0], texts[-1][0]))
    execute("insert into fts(rowid, words) values(?, ?)", (id, given))


class _Searched(NamedTuple):
    """What of a row is searched, as the statements `rows` and `rows_between` give it."""

    seq: int
    session: bytes
    kind: str
    name: str | None
    at_ns: int
    model: str | None
    tags: str | None
    body: str | None
    id: bytes

    @property
    def text(self) -> str:
        """What a person wrote or read in it, a line each; of rows that keep the books what they were given."""
        found = [text for text in (self.name, self.model) if text]
        if self.tags:
            found += encode.loads(self.tags)
        if self.body:
            plain = encode.loads(self.body)
            if self.kind in rows.BOOKS:
                plain = {key: plain[key] for key in ("reason", "params", "returns", "metadata") if key in plain}
            found += _strings(list(plain.values()) if isinstance(plain, dict) else plain)
        return "\n".join(found)


def _strings(value: object) -> list[str]:
    """Every text, number and inner key of plain data, in order."""
    found: list[str] = []
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, dict):
            rest.extend(part for pair in reversed(item.items()) for part in reversed(pair))
        elif isinstance(item, list):
            rest.extend(reversed(item))
        elif item is not None and not isinstance(item, bool):
            found.append(str(item))
    return found
