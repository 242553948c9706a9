"""The LLM and tool calls of a project as one table, for `localops calls` and the page of calls.

It is a derived file, which may be deleted at any time; before it is used, new rows of the journal are added.  It holds
figures, names, arguments and the beginnings of prompts; other texts are read from the journal.
"""

from __future__ import annotations

import os
from collections import namedtuple

from localops import clock
from localops.encoding import encode
from localops.journal import rows, token_kinds
from localops.journal.derived_file import DerivedFile
from localops.journal.sql import statements
from localops.reading import previews, prompts
from localops.reading.calls import digest
from localops.reading.loops import folded, period_around
from localops.reading.surroundings import Surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from localops.journal.reader import Reader

    Execute = Callable[..., Any]

    class Row(rows.Record, rows.Columns, token_kinds.OfCall):
        """The columns of the statement `batch`."""

        is_first_price: int
        body: str | None

else:
    _HEAD = "seq id phase session kind name parent at_ns start_ns end_ns model"
    Row = namedtuple("Row", (*_HEAD.split(), *rows.TOKENS, "cost", "failed", "is_first_price", "body"))

FILE = "call_table.db"
# A file with another version of the schema, or other kinds of tokens, is replaced.
SCHEMA = 3
_VERSION = SCHEMA << 8 | len(rows.TOKENS)
# Rows to add at a time, and bytes of their bodies: about 50 ms.
_BATCH, _BATCH_BYTES = 2_000, 16 << 20
# At most this many rows are added while someone waits for an answer.
SOON = 4_000
# Characters to keep of a name, of arguments, and of a prompt.
_NAME, _ARGUMENTS, _PROMPT = 256, 2_000, 300
# Characters of an error's message that are compared.
_MESSAGE = 2_000
# The most numbers of labels to cache; then the cache is cleared.
_REMEMBERED = 50_000
# A longer time to the first token, in seconds, is taken for a mistake of the program.
_LONGEST = 1e6


class CallTable:
    """The calls of one project; in memory if its folder cannot be written.  Only one thread at a time may use it."""

    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, FILE)
        self.sql = statements("call_table.sql")
        self._file = DerivedFile(self._path, self.sql["schema"], _VERSION)
        self._inode = _inode(self._path)
        self._labels: dict[tuple[str, int], int] = {}
        self._prompts: dict[int, int] = {}
        self._sessions: dict[bytes, int] = {}
        # `_sessions` has all sessions up to this number.
        self._loaded = 0
        self._made_ns = 0
        # Whether there are rows that wait for the end of their call.
        self._has_early = True

    @property
    def is_current(self) -> bool:
        """Return whether the file is still the one at its path; it is deleted when sessions are deleted."""
        return self._inode == _inode(self._path)

    # Following the journal

    @property
    def made_ns(self) -> int:
        """Return when the table was created, as last read; numbers of calls in an older table are not valid in it."""
        return self._made_ns

    @property
    def upto(self) -> int:
        """Return the last seq that was added."""
        [(upto, _)] = self._file.ask(_ABOUT)
        return int(upto)

    @property
    def version(self) -> tuple[int, int]:
        """Return when it was created, and its last seq: one of them changes whenever its rows do."""
        [(upto, made_ns)] = self._file.ask(_ABOUT)
        return int(made_ns), int(upto)

    def missing(self, reader: Reader) -> int:
        """Return how many seqs of a journal were not added yet, including those of pruned rows."""
        journal = reader.ask("select value from meta where key = 'journal'")
        # A journal that was moved or restored has a new id, and its seqs may belong to other rows.
        if self._file.ask("select journal from about") != journal:
            self._file.clear()
            self._file.transact(lambda execute: execute(_BEGIN, (*journal[0], clock.now_ns())))
        [(upto, made_ns)] = self._file.ask(_ABOUT)
        self._clear_if_replaced(made_ns)
        return int(reader.ask(statements("lists.sql")["last_seq"])[0][0]) - int(upto)

    def catch_up(self, reader: Reader) -> int:
        """Add the missing rows if there are few; return how many are missing after that."""
        missing = self.missing(reader)
        if not 0 < missing <= SOON:
            return missing
        self.extend(reader)
        return self.missing(reader)

    def extend(self, reader: Reader, progress: Callable[[int], object] | None = None) -> None:
        """Add all missing rows; `progress` gets the number of seqs of each batch, and returns False to stop."""
        self.missing(reader)
        while upto := self._extend_once(reader):
            if progress is not None and progress(upto) is False:
                return

    def _extend_once(self, reader: Reader) -> int:
        """Add the next batch of rows; return how many seqs it has."""
        added = 0

        def work(execute: Execute) -> None:
            nonlocal added
            [(after, made_ns)] = execute(_ABOUT).fetchall()
            self._clear_if_replaced(made_ns)
            [(upto,)] = reader.ask(self.sql["last_of_batch"], {"after": after, "many": _BATCH})
            if upto is None:
                return
            read, is_whole = reader.some(self.sql["batch"], {"after": after, "upto": upto}, _BATCH_BYTES)
            batch = list(map(Row._make, read))
            self._has_early = bool(execute("select 1 from early limit 1").fetchall())
            if not is_whole:
                upto = batch[-1].seq
            around = Surroundings(reader)
            around.read(row.parent for row in batch if row.kind == "error")
            for row in batch:
                self._add_row(execute, reader, around, row)
            execute("update about set upto = ?", (upto,))
            added = upto - after

        try:
            self._file.transact(work)
        except BaseException:
            # The caches may have numbers that were rolled back.
            self._forget_numbers()
            raise
        return added

    def _clear_if_replaced(self, made_ns: int) -> None:
        """Clear the caches if another process has replaced the table."""
        if made_ns != self._made_ns:
            self._forget_numbers()
            self._made_ns = made_ns

    def _forget_numbers(self) -> None:
        self._labels, self._prompts, self._sessions, self._loaded = {}, {}, {}, 0

    def _add_row(self, execute: Execute, reader: Reader, around: Surroundings, row: Row) -> None:
        if row.kind == "error":
            self._add(execute, row, "add_error", {**self._error(execute, row), "failed": row.failed or 0})
            self._keep_for_calls_around(execute, around, row)
        elif row.kind == "price":
            later = {name: getattr(row, name) for name in ("cost", "is_first_price", *rows.SENT_TOKENS)}
            self._add(execute, row, "add_price", {**later, "unbilled": row.name == rows.UNBILLED})
        elif row.kind == "pruned":
            _remove_session(execute, row.parent)
        elif row.kind in ("llm", "tool"):
            self._add_call(execute, row)
            if row.phase != rows.OPEN and self._has_early:
                self._add_early_rows(execute, reader, around, row)
        else:
            execute("delete from call where id = ?", (row.id,))

    def _add_early_rows(self, execute: Execute, reader: Reader, around: Surroundings, call: Row) -> None:
        """Process the rows about a call, or about an operation inside it, that were written before its closing row."""
        seqs = sorted(execute("delete from early where parent = ? returning seq", (call.id,)).fetchall())
        early = [Row._make(row) for (seq,) in seqs for row in reader.ask(self.sql["row_at"], {"seq": seq})]
        around.read(row.parent for row in early)
        for row in early:
            if row.parent == call.id:
                self._add_row(execute, reader, around, row)
        # The last error is the one with which the call failed.
        for error in reversed(early if call.failed else ()):
            if error.parent != call.id:
                self._add_inner_error(execute, around, error, call.id)

    def _add(self, execute: Execute, row: Row, statement: str, values: Mapping[str, object]) -> None:
        """Add the data of a row about a call; if the call is not in the table yet, remember the row until it is."""
        if row.parent is None:
            return
        changed = execute(f"{self.sql[statement]} returning 1", {**values, "seq": row.seq, "parent": row.parent})
        if not changed.fetchall():
            execute("insert or ignore into early values(?, ?)", (row.parent, row.seq))
            self._has_early = True

    def _keep_for_calls_around(self, execute: Execute, around: Surroundings, error: Row) -> None:
        """Remember an error for the calls around its operation: an exception that leaves them is recorded only once."""
        for operation in around.of(error.parent)[1:]:
            if not operation.is_call:
                continue
            if execute("select 1 from call where id = ? and finished = 1", (operation.id,)).fetchall():
                self._add_inner_error(execute, around, error, operation.id)
            else:
                execute("insert or ignore into early values(?, ?)", (operation.id, error.seq))
                self._has_early = True

    def _add_inner_error(self, execute: Execute, around: Surroundings, error: Row, call: bytes) -> None:
        """Add an error to a call around its operation if all operations between failed; otherwise it was caught."""
        for operation in around.of(error.parent):
            if operation.id == call:
                values = {"seq": error.seq, "parent": call}
                execute(self.sql["add_inner_error"], {**self._error(execute, error), **values})
            if not operation.failed:
                return

    def _add_call(self, execute: Execute, row: Row) -> None:
        body = _plain(row.body)
        began_ns = row.at_ns if row.start_ns is None else row.start_ns
        is_llm, params = row.kind == "llm", body.get("params")
        has_prompt = is_llm and ("prompt" in body or "system_instructions" in body)
        values = {
            "id": row.id,
            "seq": row.seq,
            "session": self._session(execute, row.session),
            "kind": row.kind,
            "began_ns": began_ns,
            "tool": None if is_llm else self._label(execute, "tool", row.name or "", row.seq),
            "model": self._label(execute, "model", row.model, row.seq) if is_llm and row.model is not None else None,
            "prompt": self._prompt(execute, body, began_ns, row.seq) if has_prompt else None,
            "args": None if is_llm else self._arguments(execute, row, params),
            # The arguments of an operation are in its opening row.
            "has_args": params is not None,
        }
        if row.phase == rows.OPEN:
            execute(self.sql["begin_call"], values)
            return
        cause = body.get("ended_by") if row.failed else None
        ended_ns = row.at_ns if row.end_ns is None else row.end_ns
        values |= {
            "took_ns": max(0, ended_ns - began_ns),
            "first_ns": _nanoseconds(body.get("time_to_first_token")),
            "error": self._label(execute, "error", cause, row.seq) if isinstance(cause, str) else None,
            # Used until the row of its error is added, or if there is none.
            "message": self._message(execute, row, cause, None) if row.failed else None,
            **{name: getattr(row, name) for name in rows.TOKENS},
            "cost": row.cost,
            "unpriced": is_llm and row.cost is None,
            "unbilled": body.get("billed") is False,
            "failed": row.failed or 0,
        }
        execute(self.sql["end_call"], values)

    # Numbers

    def _session(self, execute: Execute, id: bytes) -> int:
        num = self._sessions.get(id)
        if num is None:
            execute("insert or ignore into session(id) values(?)", (id,))
            [(num,)] = execute("select num from session where id = ?", (id,)).fetchall()
            self._sessions[id] = num
        return num

    def _label(
        self, execute: Execute, dim: str, text: str, seq: int, *, key: int | None = None, most: int = _NAME
    ) -> int:
        key = digest(text) if key is None else key
        num = self._labels.get((dim, key))
        if num is None:
            values = (dim, key, text[:most], len(text) > most, seq)
            execute("insert or ignore into label(dim, key, text, cut, seq) values(?, ?, ?, ?, ?)", values)
            [(num,)] = execute("select num from label where dim = ? and key = ?", (dim, key)).fetchall()
            if len(self._labels) >= _REMEMBERED:
                self._labels = {}
            self._labels[dim, key] = num
        return num

    def _error(self, execute: Execute, row: Row) -> dict[str, int]:
        name = row.name or ""
        return {
            "error": self._label(execute, "error", name, row.seq),
            "message": self._message(execute, row, name, previews.given("error", _plain(row.body))),
        }

    def _message(self, execute: Execute, row: Row, error: object, message: object) -> int:
        """Return the number of an error's message; those that differ only in numbers and quoted values share one."""
        text = message if isinstance(message, str) else arguments_text(message)
        text = folded(text[:_MESSAGE], period_around(row.at_ns, row.at_ns))
        return self._label(execute, "message", text, row.seq, key=digest(f"{error or ''}\0{text}"), most=_PROMPT)

    def _arguments(self, execute: Execute, row: Row, params: object) -> int:
        """Return the number of a tool with its arguments."""
        key = digest(f"{row.name or ''}\0{digest(params)}")
        return self._label(execute, "args", arguments_text(params), row.seq, key=key, most=_ARGUMENTS)

    def _prompt(self, execute: Execute, body: dict[str, Any], at_ns: int, seq: int) -> int:
        part, is_system = prompts.own_part(body)
        whole = digest(f"{is_system} {part}")
        num = self._prompts.get(whole)
        if num is None:
            text = prompts.template(part, at_ns)
            num = self._label(execute, "prompt", text, seq, key=digest(f"{is_system} {text}"), most=_PROMPT)
            if len(self._prompts) >= _REMEMBERED:
                self._prompts = {}
            self._prompts[whole] = num
        return num

    # Queries

    def ask(self, statement: str, values: Mapping[str, object] | Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        return self._file.ask(statement, values)

    def stream(self, statement: str, values: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a statement, which may be many."""
        return self._file.stream(statement, values)

    def numbers_of(self, dim: str, keys: Sequence[int]) -> list[int]:
        """Return the numbers of labels by their keys, without those that do not exist."""
        values = (dim, encode.dumps(list(keys)).decode())
        return [
            num
            for (num,) in self.ask(
                "select num from label where dim = ? and key in (select value from json_each(?))", values
            )
        ]

    def number_of_session(self, session: bytes) -> int:
        """Return the number of a session; 0 if it has no calls."""
        return self._sessions.get(session) or next((num for (num,) in self.ask(_ONE_SESSION, (session,))), 0)

    def mask(self, sessions: Sequence[bytes]) -> bytes:
        """Return a byte for each number of a session: 1 if it is selected."""
        fresh = dict(self.ask("select id, num from session where num > ?", (self._loaded,)))
        self._sessions.update(fresh)
        self._loaded = max(fresh.values(), default=self._loaded)
        numbers = [num for session in sessions if (num := self._sessions.get(session)) is not None]
        mask = bytearray(self._loaded + 1)
        for num in numbers:
            mask[num] = 1
        return bytes(mask)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_ABOUT = "select upto, made_ns from about"
_BEGIN = "insert into about(journal, made_ns, upto) values(?, ?, 0)"
_ONE_SESSION = "select num from session where id = ?"


def arguments_text(params: object) -> str:
    """Return the arguments of a tool as JSON with sorted keys; empty without arguments.

    >>> arguments_text({"b": 1, "a": "ö"})
    '{"a":"ö","b":1}'
    """
    return "" if params in (None, {}, []) else encode.sorted_dumps(params).decode("utf-8", "replace")


def _remove_session(execute: Execute, session: bytes | None) -> None:
    """Remove the calls of a session that was deleted from the journal."""
    for (num,) in execute(_ONE_SESSION, (session,)).fetchall():
        execute("delete from call where session = ?", (num,))


def _plain(body: str | None) -> dict[str, Any]:
    try:
        plain = encode.loads(body) if body else {}
    # A damaged body.
    except ValueError:
        return {}
    return plain if isinstance(plain, dict) else {"params": plain}


def _nanoseconds(seconds: object) -> int | None:
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    return round(seconds * 1e9) if is_number and 0 <= seconds <= _LONGEST else None  # type: ignore[operator]


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
