"""How far into a journal anything was ever sent to a remote that does not know a row when it comes again.

Kept in a file beside the journal, on disk before the first request that carries a row: whatever happens then, the
next process knows which rows may have arrived without our booking it.  What such a row needs is up to the sink.
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
    """One number for a remote: no row behind that seq was ever sent there.

    It counts for one journal at one address.  A file that is missing, broken, of a journal that was copied, moved
    or set back, or of another address says nothing: then every row there is now may have been sent.
    """

    def __init__(self, source: Reader, folder: str, name: str, address: str) -> None:
        self._source, self._address = source, address
        self._path = os.path.join(folder, f"agentops-{name}.json")
        self._known: dict[str, int | str] = {}

    def begin(self, journal: str, last: int) -> int:
        """Note that rows up to `last` are about to be sent; gives back how far it had come before."""
        before = self._upto(journal)
        told: dict[str, int | str] = {"journal": journal, "address": self._address, "tried": max(before, last)}
        if told != self._known:
            self._write(encode.dumps(told))
            self._known = told
        return before

    def _upto(self, journal: str) -> int:
        told = self._known or self._read()
        tried = told.get("tried")
        if (told.get("journal"), told.get("address")) == (journal, self._address) and isinstance(tried, int):
            return tried
        return int(self._source.ask(statements("delivery.sql")["newest"])[0][0] or 0)

    def _read(self) -> dict[str, int | str]:
        try:
            with open(self._path, "rb") as file:
                found = encode.loads(file.read())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, data: bytes) -> None:
        """Whole or not at all, and safe from a power cut: what was sent is not taken back by one either."""
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
