"""The highest seq that was ever sent to a remote which does not recognise a row that is sent again.

It is kept in a file beside the journal, and on disk before the first request with a row.  Whatever happens then, the
next process knows which rows may have arrived without a record of it.  The sink decides what to do about those.
"""

from __future__ import annotations

import os

from localops.encoding import encode
from localops.journal.sql import statements
from localops_sync.sink import Blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.journal.reader import Reader


class Attempts:
    """One number for a remote: no row after that seq was ever sent there.

    It holds for one journal at one address.  When the file is missing, broken, of another address, or of a journal
    that was copied, moved or set back, every row of the journal may have been sent.
    """

    def __init__(self, source: Reader, folder: str, name: str, address: str) -> None:
        self._source, self._address = source, address
        self._path = os.path.join(folder, f"agentops-{name}.json")
        self._known: dict[str, int | str] = {}

    def begin(self, journal: str, last: int) -> int:
        """Write down that rows up to `last` are about to be sent; return the highest seq tried before."""
        before = self._upto(journal)
        record: dict[str, int | str] = {"journal": journal, "address": self._address, "tried": max(before, last)}
        if record != self._known:
            self._write(encode.dumps(record))
            self._known = record
        return before

    def _upto(self, journal: str) -> int:
        record = self._known or self._read()
        tried = record.get("tried")
        if (record.get("journal"), record.get("address")) == (journal, self._address) and isinstance(tried, int):
            return tried
        return int(self._source.ask(statements("delivery.sql")["newest"])[0][0] or 0)

    def _read(self) -> dict[str, int | str]:
        try:
            with open(self._path, "rb") as file:
                record = encode.loads(file.read())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _write(self, data: bytes) -> None:
        """Replace the file at once, and make it safe from a power cut, which does not undo what was sent either."""
        temporary = f"{self._path}.{os.getpid()}"
        try:
            handle = os.open(temporary, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
            _sync(os.path.dirname(self._path))
        except OSError as error:
            raise Blocked(f"nothing was sent, since {self._path} cannot be written: {error}") from error


def _sync(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
