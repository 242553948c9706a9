"""Keeps track of the pattern that is being matched, so that a command can report which one takes long, and where."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator


class AtWork:
    """The pattern that is being matched, and the text that it is matched with."""

    def __init__(self) -> None:
        self.pattern: str | None = None
        self.place = ""
        self.texts = 0  # the number of texts that patterns were matched with

    def begin(self, pattern: str) -> None:
        """Note that a pattern is matched with another text."""
        self.pattern = pattern
        self.texts += 1


class Watched:
    """A pattern that notes when it is matched; it has the methods that redaction uses."""

    def __init__(self, pattern: re.Pattern[str], at_work: AtWork) -> None:
        self.pattern = pattern.pattern
        self._compiled, self._at_work = pattern, at_work

    def search(self, text: str) -> re.Match[str] | None:
        """Return the first match."""
        self._at_work.begin(self.pattern)
        try:
            return self._compiled.search(text)
        finally:
            self._at_work.pattern = None

    def finditer(self, text: str, begin: int = 0) -> Iterator[re.Match[str]]:
        """Yield the matches."""
        self._at_work.begin(self.pattern)
        try:
            yield from self._compiled.finditer(text, begin)
        finally:
            self._at_work.pattern = None


now = AtWork()
"""One for the process, as a command searches in one thread."""
