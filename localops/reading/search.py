"""Full-text search over a project's rows, with an index in a derived file, which may be deleted at any time.

A word consists of letters and digits.  A term of a query (a text without spaces, or in quotes) matches a row with its
words next to each other, and a query matches a row with all terms; with `*` at the end of a term, its last word is a
prefix.  The index finds passages of several rows, whose rows are then always checked.
"""

from __future__ import annotations

from collections import deque
from itertools import chain
from math import inf
from time import monotonic
from typing import NamedTuple

from localops.encoding import encode
from localops.encoding.lazy import late_pattern
from localops.errors import ConfigError
from localops.journal import rows
from localops.reading.row_index import RowIndex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from localops.reading.row_index import Execute

# Rows to index at a time, which takes about 50 ms.
_BATCH = 2_000
# The most rows in a passage, all of which are read again for a match.
_PASSAGE = 64
# Bytes of rows to read at a time; the last row may exceed the limit.
_BYTES = 1 << 20
# The number of a passage has this many bits below the session's key.
_SHIFT = 24
# With more other sessions than this between each two sessions of a page, they are not looked up together.
_SPREAD = 20
# The searched fields of bookkeeping rows: values from the program, and the host.
_OF_BOOKS = ("reason", "params", "returns", "metadata", "host", "comment")
# Older than every row, for `between`.
NEWEST = 1 << 62
_SIDE = 48  # characters of a snippet to either side of the match
_MATCHES = 32  # the most matches of a snippet
_NEAR = 4_000  # characters around the first match that are searched for a place with more of the terms

# In scripts without spaces between words, each character is a word.
_SINGLE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = late_pattern(rf"[{_SINGLE}]|[^\W_{_SINGLE}]+")
# Words in quotes, or without blanks; while typing, the last quote may be missing.
_TERM = late_pattern(r'"[^"]*(?:"\*?|$)|\S+')
_WRITTEN = late_pattern(rf"[{_SINGLE}]|(?:[^\W_{_SINGLE}][\u0300-\u036f]*)+")  # the same with its accents

# Images and sounds as base64, in a data URI or not: long texts of letters of both cases and digits, without blanks.
_LONG_WORD = 256
_BASE64 = late_pattern(rf"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{{{_LONG_WORD},}}={{0,2}}")
_MIXED = late_pattern(r"(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[^0-9]*[0-9]")


class Hit(NamedTuple):
    """A row that matches a query."""

    session: bytes
    id: bytes
    kind: str
    name: str | None
    at_ns: int
    seq: int
    snippet: str
    parent: bytes | None


def once_each(hits: Iterable[Hit]) -> Iterator[Hit]:
    """Yield each operation once, even if both its opening and its closing row match."""
    seen: set[bytes] = set()
    for hit in hits:
        if hit.id not in seen:
            seen.add(hit.id)
            yield hit


def words(text: str) -> list[str]:
    """Return the words of a text, normalized without case and accents."""
    return _WORD.findall(_folded(text))


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    from unicodedata import combining, normalize

    plain = "".join(c for c in normalize("NFKD", text) if not combining(c))
    return normalize("NFC", plain).casefold()


def _folded_words(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the words of a text as in `words`, with start and end; one character such as `½` can have two words."""
    letters, places = [], []
    for at, letter in enumerate(text):
        folded = _folded(letter)
        letters.append(folded)
        places += [at] * len(folded)
    for word in _WORD.finditer("".join(letters)):
        yield word[0], places[word.start()], places[word.end() - 1] + 1


class Query:
    """A parsed query.

    >>> Query("web_search Cats").is_in("two CATS, one web-search")
    True
    >>> Query("web_search").is_in("search the web")
    False
    >>> Query("light*").is_in("the lighthouse")
    True
    >>> Query('"the light*').is_in("the lighthouse"), Query('"light the"').is_in("the light")
    (True, False)
    """

    def __init__(self, text: str) -> None:
        parsed = [(term_words, term.endswith("*")) for term in _TERM.findall(text) if (term_words := words(term))]
        if not parsed:
            raise ConfigError(f"invalid search {text!r}: give at least one word with a letter or a digit")
        self.terms = [term for term, _ in parsed]
        # One query per term.
        self.parts = [f'"{" ".join(term)}"{"*" if is_prefix else ""}' for term, is_prefix in parsed]
        self._prefixed = [is_prefix for _, is_prefix in parsed]
        self.match = " AND ".join(_match(term, is_prefix) for term, is_prefix in parsed)
        self._runs = [f" {' '.join(term)}{'' if is_prefix else ' '}" for term, is_prefix in parsed]

    def is_in(self, text: str) -> bool:
        """Return whether the text has every term."""
        flat = f" {' '.join(words(text))} "
        return all(run in flat for run in self._runs)

    def snippet(self, text: str, side: int = _SIDE) -> str:
        """Return the place of a text with most of the terms, on one line that begins `side` characters before it."""
        flat = " ".join(text.split())
        at, last = self.place(flat)
        if len(self.terms) > 1:
            at, last = self._densest(flat[: at + _NEAR], max(0, at - _NEAR)) or (at, last)
        start, end = max(0, at - side), max(at + 2 * _SIDE, last)
        return f"{'…' if start else ''}{flat[start:end]}{'…' if end < len(flat) else ''}"

    def place(self, text: str) -> tuple[int, int]:
        """Return start and end of the first term in the text; (0, 0) if it is missing."""
        written = ((_folded(word[0]), word.start(), word.end()) for word in _WRITTEN.finditer(text))
        return self._first_among(written) or self._first_among(_folded_words(text)) or (0, 0)

    def _densest(self, text: str, start: int) -> tuple[int, int] | None:
        """Return start and end of the first match with the most other terms in the snippet that begins there."""
        read = [(_folded(word[0]), word.start(), word.end()) for word in _WRITTEN.finditer(text, start)]
        places = []
        for term in range(len(self.terms)):
            size = len(self.terms[term])
            for at in range(len(read) - size + 1):
                run = read[at : at + size]
                if self._are_term(term, [folded for folded, _, _ in run]):
                    places.append((run[0][1], run[-1][2], term))
        places.sort()
        best, most = None, 0
        for at, (begin, end, _) in enumerate(places):
            seen = {term for _, other, term in places[at : at + _MATCHES] if other <= begin + 2 * _SIDE}
            if len(seen) > most:
                best, most = (begin, end), len(seen)
        return best

    def _first_among(self, read: Iterable[tuple[str, int, int]]) -> tuple[int, int] | None:
        """Return start and end of the first term in a sequence of words with their starts and ends."""
        seen: deque[tuple[str, int, int]] = deque(maxlen=len(self.terms[0]))
        for word in read:
            seen.append(word)
            if self._are_term(0, [folded for folded, _, _ in seen]):
                return seen[0][1], seen[-1][2]
        return None

    def _are_term(self, term: int, read: list[str]) -> bool:
        wanted = self.terms[term]
        if self._prefixed[term] and len(read) == len(wanted):
            return read[:-1] == wanted[:-1] and read[-1].startswith(wanted[-1])
        return read == wanted


def _match(term: list[str], is_prefix: bool) -> str:
    """Write a term in the syntax of SQLite's full-text search."""
    return " AND ".join(f'"{word}"' for word in term) + ("*" if is_prefix else "")


class Index(RowIndex):
    """The full-text index of one project."""

    FILE = "search.db"
    SCHEMA = 4
    SOON = 4_000
    STATEMENTS = "search.sql"

    def _index_after(self, execute: Execute, after: int) -> tuple[int, bool]:
        page = list(map(Searched._make, self._reader.ask(self._sql["rows"], {"after": after, "many": _BATCH})))
        if not page:
            return after, False
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
        return page[-1].seq, len(page) == _BATCH

    def events(self, text: str, session: bytes | None = None, *, until: float = inf) -> Iterator[Hit]:
        """Yield the matching rows, of the newest session first, and in each session the newest row first.

        Stop when time.monotonic() reaches `until`.
        """
        query = Query(text)
        first, before = (0, 1 << 62) if session is None else self._range_of(session)
        while passages := self._file.ask(
            self._sql["passages"], {"match": query.match, "first": first, "before": before}
        ):
            for passage, first_seq, last_seq, of in passages:
                if monotonic() > until:
                    return
                yield from self._hits(query, first_seq, last_seq, of)
                before = passage

    def rows_of(
        self, text: str, session: bytes, *, after: int = 0, before: int = NEWEST
    ) -> Iterator[tuple[Searched, bool]]:
        """Yield the rows of a session between two seqs that may match, newest first, and whether each does.

        Large rows are read one by one, so a caller that stops early does not read all of them.
        """
        query = Query(text)
        first, end = self._range_of(session)
        while passages := self._file.ask(self._sql["passages"], {"match": query.match, "first": first, "before": end}):
            for passage, first_seq, last_seq, of in passages:
                end = passage
                for row in self._one_by_one(max(first_seq, after + 1), min(last_seq, before - 1), of):
                    yield row, query.is_in(row.text)

    def rows_after(self, text: str, session: bytes, after: int) -> Iterator[tuple[Searched, bool]]:
        """Yield the rows of a session after a seq that may match, oldest first, and whether each does."""
        query = Query(text)
        first, end = self._range_of(session)
        of_passages = {"match": query.match, "before": end, "after": after}
        while passages := self._file.ask(self._sql["passages_in_order"], {**of_passages, "first": first}):
            for passage, first_seq, last_seq, of in passages:
                first = passage + 1
                for row in self._one_by_one(max(first_seq, after + 1), last_seq, of, is_ascending=True):
                    yield row, query.is_in(row.text)

    def _one_by_one(self, first: int, last: int, session: bytes, *, is_ascending: bool = False) -> Iterator[Searched]:
        """Yield the rows between two seqs, newest first unless `is_ascending`."""
        statement = self._sql["rows_after" if is_ascending else "rows_between"]
        is_whole = last < first
        while not is_whole:
            page, is_whole = self._reader.some(statement, {"first": first, "last": last, "session": session}, _BYTES)
            for row in map(Searched._make, page):
                first, last = (row.seq + 1, last) if is_ascending else (first, row.seq - 1)
                yield row

    def occurrences(self, text: str, session: bytes | None = None) -> Iterator[Hit]:
        """Yield the matching rows, of the newest session first, and in each session the first row first.

        Each call of a conversation repeats the earlier messages, so the first row is the one of interest.
        """
        query = Query(text)
        first, before = (0, 1 << 62) if session is None else self._range_of(session)
        newest = self._sql["newest_passage"]
        while passage := self._file.ask(newest, {"match": query.match, "first": first, "before": before}):
            before, last = _range(passage[0][0] >> _SHIFT)
            yield from self._in_order(query, before, last + 1)

    def _in_order(self, query: Query, first: int, before: int) -> Iterator[Hit]:
        while passages := self._file.ask(
            self._sql["passages_in_order"], {"match": query.match, "first": first, "before": before, "after": 0}
        ):
            for passage, first_seq, last_seq, of in passages:
                yield from reversed(list(self._hits(query, first_seq, last_seq, of)))
                first = passage + 1

    def between(self, text: str, after: int, upto: int, before: int = NEWEST) -> Iterator[tuple[list[Searched], int]]:
        """Yield the matching rows after a seq, up to another, with the value of `before` to continue from."""
        query = Query(text)
        values = {"match": query.match, "after": after, "upto": upto}
        while passages := self._file.ask(self._sql["passages_between"], {**values, "before": before}):
            for passage, first_seq, last_seq, of in passages:
                before = passage
                yield [row for row in self._searched(first_seq, last_seq, of) if query.is_in(row.text)], before

    def newest_sessions(self, some_words: Sequence[str], many: int) -> list[bytes]:
        """Return the newest sessions that have all given words in one passage."""
        match = " AND ".join(f'"{word}"' for word in some_words)
        sessions: dict[bytes, None] = {}
        before = 1 << 62
        while len(sessions) < many and (
            passages := self._file.ask(self._sql["passages"], {"match": match, "first": 0, "before": before})
        ):
            sessions.update((of, None) for *_, of in passages)
            before, *_ = passages[-1]
        return list(sessions)[:many]

    def how_often(self, word: str, most: int) -> int:
        """Return the number of passages with a word, at most `most`."""
        [(count,)] = self._file.ask(self._sql["how_often"], {"match": f'"{word}"', "many": most})
        return int(count)

    def _hits(self, query: Query, first: int, last: int, session: bytes) -> Iterator[Hit]:
        for row in self._searched(first, last, session):
            text = row.text
            if query.is_in(text):
                yield row.hit(row.passage(query))

    def _searched(self, first: int, last: int, session: bytes) -> Iterator[Searched]:
        values = {"first": first, "last": last, "session": session}
        return map(Searched._make, self._reader.ask(self._sql["rows_between"], values))

    def sessions(self, text: str, most: int) -> list[bytes] | None:
        """Return the sessions with a matching row; None if more than `most` passages match."""
        query = Query(text)
        passages = self._file.ask(self._sql["sessions"], {"match": query.match, "many": most + 1})
        # For a frequent word, the caller reads the list of sessions in its order, and tests each with `has`.
        if len(passages) > most:
            return None
        sessions = dict.fromkeys(session for (session,) in passages)
        return [session for session in sessions if self._is_simple(query) or self.has(session, text)]

    def candidates(self, text: str, most: int) -> tuple[list[bytes] | None, bool]:
        """Return the sessions that have every word of a text in a passage, and whether that proves a match.

        A session is listed once per such passage; if there are more than `most`, the list is None.  If it is no proof,
        `has` returns whether one row of a session matches.
        """
        query = Query(text)
        passages = self._file.ask(self._sql["sessions"], {"match": query.match, "many": most + 1})
        if len(passages) > most:
            return None, False
        return list(chain.from_iterable(passages)), self._is_simple(query)

    def among(self, sessions: list[bytes], text: str) -> set[bytes] | None:
        """Return which of these sessions have every word of a text in a passage, with one query of the index.

        Return None if separate queries are faster, as there are many other sessions between these.
        """
        ids = encode.dumps([session.hex() for session in sessions]).decode()
        keys = dict(self._file.ask(self._sql["keys"], {"ids": ids}))
        if not keys:
            return set()
        first, last = min(keys), max(keys)
        if last - first > _SPREAD * len(keys):
            return None
        values = {"match": Query(text).match, "first": first << _SHIFT, "before": (last + 1) << _SHIFT}
        matching = self._file.ask(self._sql["keys_between"], values)
        return {keys[key] for (key,) in matching if key in keys}

    def has(self, session: bytes, text: str) -> bool:
        """Return whether a row of the session matches."""
        query = Query(text)
        if self._is_simple(query):
            first, before = self._range_of(session)
            values = {"match": query.match, "first": first, "before": before}
            return bool(self._file.ask(self._sql["any_passage"], values))
        return next(self.events(text, session), None) is not None

    def each(self, sessions: Iterable[bytes], text: str) -> Iterator[bool]:
        """Yield for each session whether a row of it matches."""
        return (self.has(session, text) for session in sessions)

    def rows_of_each(self, sessions: Iterable[bytes], text: str) -> Iterator[Iterator[tuple[Searched, bool]]]:
        """Yield for each session its rows that may match, the oldest first, and whether they do."""
        return (self.rows_after(text, session, 0) for session in sessions)

    def _is_simple(self, query: Query) -> bool:
        """Return whether the query is a single word: then a matching passage has a matching row, unread."""
        return len(query.terms) == 1 and len(query.terms[0]) == 1

    def _range_of(self, session: bytes) -> tuple[int, int]:
        keys = self._file.ask("select key from session where id = ?", (session,))
        if not keys:
            return 0, 0
        first, last = _range(keys[0][0])
        return first, last + 1


def _key(execute: Execute, session: bytes) -> int:
    execute("insert or ignore into session(id) values(?)", (session,))
    return int(execute("select key from session where id = ?", (session,)).fetchone()[0])


def _range(key: int) -> tuple[int, int]:
    return key << _SHIFT, ((key + 1) << _SHIFT) - 1


def _add(execute: Execute, id: int, texts: list[tuple[int, str]]) -> None:
    # The tokenizer splits ASCII in the same way as `words`; other text is passed as separate words.
    all_of_it = "\n".join(text for _, text in texts)
    indexed = all_of_it.lower() if all_of_it.isascii() else " ".join(words(all_of_it))
    execute("insert into passage values(?, ?, ?)", (id, texts[0][0], texts[-1][0]))
    execute("insert into fts(rowid, words) values(?, ?)", (id, indexed))


class Searched(NamedTuple):
    """The searched columns of a row, in the statements `rows` and `rows_between`."""

    seq: int
    session: bytes
    kind: str
    name: str | None
    at_ns: int
    model: str | None
    tags: str | None
    id: bytes
    parent: bytes | None
    body: str | None

    def hit(self, snippet: str) -> Hit:
        """Return the row as a match."""
        return Hit(self.session, self.id, self.kind, self.name, self.at_ns, self.seq, snippet, self.parent)

    def passage(self, query: Query) -> str:
        """Return the passage around the words of a query: of one value, without keys, if it has all of them."""
        value = next(filter(query.is_in, self._texts(with_keys=False)), None)
        return query.snippet(self.text if value is None else value)

    @property
    def text(self) -> str:
        """The text to search, with one line per value."""
        return "\n".join(self._texts())

    def _texts(self, *, with_keys: bool = True) -> list[str]:
        texts = [text for text in (self.name, self.model) if text]
        if self.tags:
            texts += encode.loads(self.tags)
        if self.body:
            plain = encode.loads(self.body)
            if self.kind in rows.BOOKS:
                plain = {key: plain[key] for key in _OF_BOOKS if key in plain}
            texts += strings(list(plain.values()) if isinstance(plain, dict) else plain, with_keys=with_keys)
        return texts


def strings(value: object, *, with_keys: bool = True) -> list[str]:
    """Return all texts, numbers and inner keys of plain data, in order, without the bytes of images and sounds."""
    texts: list[str] = []
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            texts.append(item if len(item) < _LONG_WORD else _without_bytes(item))
        elif isinstance(item, dict):
            pairs = reversed(item.items())
            rest.extend(part for key, inner in pairs for part in ((inner, key) if with_keys else (inner,)))
        elif isinstance(item, list):
            rest.extend(reversed(item))
        elif item is not None and not isinstance(item, bool):
            texts.append(str(item))
    return texts


def _without_bytes(text: str) -> str:
    """Remove base64 from a text, as one image is longer than all words of a run.

    >>> _without_bytes("see data:image/png;base64," + "iVBORw0KGgo+" * 30 + "== in it")
    'see data:image/png;base64, in it'
    """
    return _BASE64.sub(lambda match: "" if _MIXED.match(match[0][:_LONG_WORD]) else match[0], text)
