"""Search a file for secrets, as text, in overlapping pieces of at most a few megabytes.

A pattern continues where its last match ended, as in a search of the whole text; if a match reaches the end of a piece,
the piece grows.  A rule sees at most 64 KiB of context on either side of a secret.
"""

from __future__ import annotations

import codecs
from itertools import pairwise

from localops.encoding import redact

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO

    from localops.encoding.named_values import Span
    from localops.encoding.redact import Redactor

    # Where a secret begins, its bytes, the rule.
    Secret = tuple[int, bytes, str]

WINDOW = 1 << 20  # bytes that are searched at once
_OVERLAP = 64 << 10  # the overlap with the next piece, so that no secret is cut
_MOST = 64 << 20  # the most bytes of one match: recording searches no longer text
TEXT, ANY_BYTES = "utf-8", "latin-1"


def charset(file: IO[bytes]) -> str:
    """Return the encoding in which recording would search a file: UTF-8, or one character for each byte."""
    decoder = codecs.getincrementaldecoder(TEXT)()
    try:
        for piece in iter(lambda: file.read(WINDOW), b""):
            decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return ANY_BYTES
    finally:
        file.seek(0)
    return TEXT


def secrets(
    file: IO[bytes], first: bytes, redactor: Redactor, charset: str = TEXT, *, seen: Callable[[int], None]
) -> Iterator[Secret]:
    """Yield the secrets of a text in order; `first` was read before, `seen` gets the number of searched bytes."""
    last: Secret | None = None
    for secret in _Search(file, first, redactor, charset, seen).run():
        if last is not None:
            (at, text, rule), (begins_at, more, _) = last, secret
            ends_at = at + len(text)
            if begins_at < ends_at:
                last = (at, text + more[ends_at - begins_at :], rule)
                continue
            yield last
        last = secret
    if last is not None:
        yield last


class _Search:
    def __init__(
        self, file: IO[bytes], first: bytes, redactor: Redactor, charset: str, seen: Callable[[int], None]
    ) -> None:
        self._file, self._redactor, self._charset, self._seen = file, redactor, charset, seen
        self._window = first
        self._base = 0  # the byte of the file at which the window begins
        self._done = 0  # the byte up to which the beginnings of secrets are known
        self._upto = 0  # the byte up to which this window is searched for beginnings
        self._goes_on = [0] * len(redactor.patterns)  # the byte at which the next match of each pattern may begin

    def run(self) -> Iterator[Secret]:
        while self._window:
            more = self._complete(self._file.read(WINDOW - 2 * _OVERLAP))
            text, spans = self._look(is_last=not more)
            while spans is None:
                self._window += more
                more = self._complete(self._file.read(len(self._window)))
                text, spans = self._look(is_last=not more or len(self._window) >= _MOST)
            yield from self._as_bytes(text, redact.in_order(text, spans))
            self._seen(self._base + self._upto - self._done)
            if not more:
                return
            self._step(more)

    def _look(self, *, is_last: bool) -> tuple[str, list[Span] | None]:
        """Return the window as text, and the places of matches; None if a match may continue after the window."""
        self._upto = len(self._window) if is_last else self._begin_of_character(len(self._window) - _OVERLAP)
        if not self._redactor.suspects(self._window.replace(b"\n", b"\\n")):
            return "", []
        text = self._decoded(self._window)
        return text, self._matches(text, is_last=is_last)

    def _step(self, more: bytes) -> None:
        """Move to the next window."""
        self._done = self._base + self._upto
        kept = self._begin_of_character(self._upto - _OVERLAP)
        self._base += kept
        self._window = self._window[kept:] + more

    def _matches(self, text: str, *, is_last: bool) -> list[Span] | None:
        """Return the matches that begin in this window, in characters; None if one may continue after it."""
        begin, upto = (self._characters(at) for at in (self._done - self._base, self._upto))
        spans = [span for span in self._redactor.shaped(text) if begin <= span[0] < upto]
        goes_on: list[int] = []
        for pattern, at in zip(self._redactor.patterns, self._goes_on, strict=True):
            end = self._characters(max(0, at - self._base))
            for match in pattern.finditer(text, end):
                if match.start() >= upto:
                    break
                if match.end() == len(text) and not is_last:
                    return None
                if match[0]:
                    spans.append((match.start(), match.end(), redact.OWN))
                    end = match.end()
            goes_on.append(max(end, upto))
        self._goes_on = [self._base + len(self._encoded(text[:end])) for end in goes_on]
        return spans

    def _as_bytes(self, text: str, spans: Sequence[Span]) -> Iterator[Secret]:
        edges = [0, *(edge for start, end, _ in spans for edge in (start, end))]
        at, places = 0, []
        for before, edge in pairwise(edges):
            at += len(self._encoded(text[before:edge]))
            places.append(at)
        for number, (*_, label) in enumerate(spans):
            start, end = places[2 * number : 2 * number + 2]
            yield self._base + start, self._window[start:end], label

    # Bytes and characters

    def _decoded(self, data: bytes) -> str:
        return data.decode(self._charset, "surrogateescape")

    def _encoded(self, text: str) -> bytes:
        return text.encode(self._charset, "surrogateescape")

    def _characters(self, size: int) -> int:
        return len(self._decoded(self._window[:size]))

    def _begin_of_character(self, at: int) -> int:
        """Return the last byte up to a place at which a character begins."""
        at = max(0, at)
        if self._charset == TEXT:
            for back in range(min(4, at + 1)):
                if at - back < len(self._window) and self._window[at - back] & 0xC0 != 0x80:
                    return at - back
        return at

    def _complete(self, more: bytes) -> bytes:
        """Return what follows the window, beginning with the character that its last bytes begin."""
        if more and self._charset == TEXT:
            whole = self._begin_of_character(len(self._window) - 1)
            if whole and self._window[whole] >= 0xC0:
                more, self._window = self._window[whole:] + more, self._window[:whole]
        return more
