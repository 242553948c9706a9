"""Remove the secrets that a sweep finds from recorded rows and files.

A row with a secret is replaced under its seq and identity, in one transaction with a row about the scrub
(`transfer/scrubbed.py`), which has hubs replace their copy.  Then the old contents are removed from all files: indexes,
free pages, the WAL and old blobs.  After a crash, the next scrub does the rest.  Programs may record during a scrub.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain, count

from localops import clock, config, interruption
from localops.encoding import recorded
from localops.encoding.plain_values import HEAD
from localops.encoding.redact import NOTE
from localops.errors import JournalError
from localops.journal import blobs, participants, rows, spill
from localops.journal.journal import Journal
from localops.journal.journal_file import INSERT
from localops.journal.reader import Reader, SQLiteError, is_damage, reason, user_message
from localops.journal.stored import Stored, named
from localops.recording import scores
from localops.transfer import remotes, scrubbed
from localops.upkeep import erasing, sweep
from localops.upkeep.cleaning import Cleaner, File
from localops.upkeep.sweep import Sweep
from localops.upkeep.views import Views

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from localops.upkeep.sweep import Swept

    Execute = Callable[..., Any]

_TOGETHER = 200  # rows of a transaction
_LONGEST_HEAD = 4 * HEAD  # the most bytes that a row has of the beginning of its file
_TRIES, _PAUSE = 20, 0.05  # attempts to take a lock that a hub holds while it stores a part of a file
_UNREADABLE = frozenset((errno.ENOENT, errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP))
_ROUNDS = 5  # passes over rows that are recorded during the scrub
_ROWS = f"select {', '.join(Stored._fields)} from event where seq = ?"  # noqa: S608
_UNCHANGED = "select 1 from event where seq = ? and sum = ?"
_UPDATE = "update event set kind = ?, name = ?, model = ?, tags = ?, sum = ?, body = ? where seq = ?"
_SCORE_NAMES = "select distinct name from scored"
_SEQ = "select last_insert_rowid()"


@dataclass
class Scrubbed:
    """The result for a project."""

    project: str
    rows: int = 0
    files: int = 0
    views: int = 0  # secrets in saved views of the project
    abandoned: int = 0  # files that killed programs had not finished: they are deleted
    uploads: int = 0  # partly received files with a secret, on a hub: they are deleted, and senders send them again
    rules: Counter[str] = field(default_factory=Counter)
    sent: dict[str, int] = field(default_factory=dict)  # by remote: rows that it has and cannot replace
    hubs: list[str] = field(default_factory=list)  # hubs that will replace these rows at the next sync
    perhaps: list[str] = field(default_factory=list)  # hubs that may have some of them from an interrupted sync
    is_resumed: bool = False  # an earlier scrub was interrupted, and this one has finished it
    damaged: list[str] = field(default_factory=list)  # event ids of damaged rows with a secret, which stay
    damaged_files: dict[str, bool] = field(default_factory=dict)  # by path: whether it still has a secret
    unfinished: str | None = None  # why traces may remain in the files, or nothing could be done
    is_for_later: bool = True  # the next scrub may do the rest; False if a person has to act first
    left: Swept | None = None  # the result of a sweep afterwards

    @property
    def secrets(self) -> int:
        """Return how many secrets were removed; one in two places counts twice."""
        return sum(self.rules.values()) + self.views

    @property
    def is_clean(self) -> bool:
        """Return whether no secret that the rules find is left."""
        is_left = self.left is not None and bool(self.left.secrets or self.left.unread)
        return not (self.unfinished or self.damaged or self.damaged_files or is_left)


def scrub(home: str, project: str, *, progress: Callable[[int], None] | None = None) -> Scrubbed:
    """Remove the secrets that today's rules find in a project."""
    folder = config.project_folder(home, project)
    done = Scrubbed(project)
    done.views = of_views(home, project)
    done.abandoned, _ = blobs.drop_abandoned(folder)
    done.uploads = _drop_uploads(home, folder)
    if os.path.exists(os.path.join(folder, config.JOURNAL)) or spill.waiting(folder):
        _replace_in(folder, home, done, progress or (lambda _: None))
    again = Sweep(home)
    again.project(project)
    done.left = again.result
    return done


def _replace_in(folder: str, home: str, done: Scrubbed, progress: Callable[[int], None]) -> None:
    """Scrub a journal; on failure, note the reason, so that other projects are still scrubbed."""
    path = os.path.join(folder, config.JOURNAL)
    try:
        with closing(Journal(folder, gather=True)) as journal:
            _Scrub(journal, home, done, progress).run()
    except JournalError as error:
        done.unfinished, done.is_for_later = str(error), False
    except SQLiteError as error:
        done.unfinished, done.is_for_later = user_message(error), not is_damage(error)
        if is_damage(error):
            done.unfinished = f"{path} is damaged: {reason(error)}; `localops repair` saves what it still holds"
    except OSError as error:
        interruption.pass_on(error)
        done.unfinished = user_message(error)


def of_views(home: str, project: str | None = None) -> int:
    """Replace the secrets in the saved views of a home or of one project; return how many.

    A view that filters by a tag with a secret then still matches sessions whose tag was scrubbed.
    """
    cleaner = Cleaner(Sweep(home))
    secrets = 0

    def clean(content: bytes) -> bytes:
        nonlocal secrets
        cleaned, rules = cleaner.views(content)
        secrets += sum(rules.values())
        return cleaned

    Views(home, project).rewrite(clean)
    return secrets


def _drop_uploads(home: str, folder: str) -> int:
    """Delete partly received files with a secret; return how many.  The next scrub deletes those in use now."""
    paths = blobs.uploads(folder)
    if not paths:
        return 0
    search, dropped = Sweep(home), 0
    for path in paths:
        with suppress(FileNotFoundError):
            if search.of_file(path) and _is_dropped(path):
                dropped += 1
    return dropped


def _is_dropped(path: str) -> bool:
    for _ in range(_TRIES):
        try:
            # With the lock, as a part that is received meanwhile would start a new file in its place.
            with participants.alone(os.path.dirname(path)):
                os.unlink(path)
                return True
        except BlockingIOError:
            time.sleep(_PAUSE)
    return False


class _Scrub:
    """The scrub of one project."""

    def __init__(self, journal: Journal, home: str, done: Scrubbed, progress: Callable[[int], None]) -> None:
        self.journal, self.done, self.progress = journal, done, progress
        self._sweep = Sweep(home)
        self._cleaner = Cleaner(self._sweep)
        self._hubs = {name for name, remote in remotes.load(journal.folder).items() if remote.kind == "hub"}
        self._files: dict[str, File] = {}  # by the digest of the file that each replaces
        self._old_files: list[str] = []
        # The new names of scores by their replaced ones, and all names.
        self._score_names: dict[str, str] = {}
        self._names_taken: set[str] | None = None
        self._is_folded_otherwise = False

    def run(self) -> None:
        self.journal.fold()
        self.journal.collect()
        with Reader(self.journal.path) as reader:
            was_unfinished = self.done.is_resumed = scrubbed.is_unfinished(reader)
            self._replace_files()
            after = 0
            for _ in range(_ROUNDS):
                before, after = after, self._replace_rows(reader, after)
                if after == before:
                    break
        if self.done.rows or self._old_files or was_unfinished:
            if self._is_folded_otherwise or was_unfinished:
                self.journal.rebuild()
            self.done.unfinished = erasing.erase(self.journal, self._old_files, anyway=True)
            # Rows that went to spill files meanwhile.
            self.journal.collect()
        # A file whose whole value was replaced was deleted with it.
        self.done.damaged_files = {path: has for path, has in self.done.damaged_files.items() if os.path.exists(path)}
        with Reader(self.journal.path) as reader:
            self.done.hubs = scrubbed.behind(reader)
            if self.done.rows or self.done.files:
                reached = scrubbed.reached(reader) & self._hubs
                self.done.perhaps = sorted(reached.difference(self.done.hubs))

    def _replace_files(self) -> None:
        folder = self.journal.folder
        for path in sorted(blobs.stored(folder)):
            try:
                if not blobs.is_whole(path, os.path.basename(path)):
                    # A cleaned copy would have a valid digest, so that the intact file would never be sent again.
                    self.done.damaged_files[path] = bool(self._sweep.of_file(path, even_binary=True))
                    continue
                digests, secrets = self._cleaner.file(folder, path)
            except OSError as error:
                interruption.pass_on(error)
                if error.errno not in _UNREADABLE:
                    raise
                # It was pruned meanwhile, or cannot be read, which the sweep afterwards reports.
                continue
            if digests:
                was, now = os.path.basename(path), digests[-1]
                early = [span for span in secrets if span[0] < _LONGEST_HEAD]
                self._files[was] = File(now, blobs.size_of(folder, now), early)
                self._old_files += [was, *digests[:-1]]
                self.done.files += 1
                self.done.rules.update(label for *_, label in secrets)

    def _replace_rows(self, reader: Reader, after: int) -> int:
        """Replace the rows with a secret after a seq; return the last seq that was searched."""
        for page in sweep.pages(reader, self.progress, after):
            seqs = [seq for seq, _, _, _, head, body in page if self._is_suspect(head, body)]
            for at in range(0, len(seqs), _TOGETHER):
                self._replace(list(self._cleaned(reader, seqs[at : at + _TOGETHER])))
            after, *_ = page[-1]
        return after

    def _is_suspect(self, head: bytes, body: bytes | None) -> bool:
        suspects = self._sweep.redactor.suspects
        texts = sweep.as_json(head), body or b""
        if any(map(suspects, texts)) or recorded.has_bytes(body or b""):
            return True
        return bool(self._files) and not self._files.keys().isdisjoint(_blobs_in(body))

    def _cleaned(self, reader: Reader, seqs: Sequence[int]) -> Iterator[tuple[Stored, Stored, Counter[str]]]:
        """Yield each row to replace, its replacement, and the rules that applied."""
        for seq in seqs:
            try:
                stored = named(reader.ask(_ROWS, (seq,)))
            except UnicodeDecodeError:
                # A damaged row; the sweep afterwards shows whether it has a secret.
                continue
            for row in stored:
                cleaned = None if scrubbed.is_about(row) else self._cleaner.row(row, self._files)
                if cleaned is None:
                    continue
                if row.is_intact:
                    now, rules = cleaned
                    yield row, self._with_own_name(reader, row, now), rules
                else:
                    self.done.damaged.append(rows.id_text(row.id))

    def _with_own_name(self, reader: Reader, was: Stored, now: Stored) -> Stored:
        """Return the row of a score with a unique name, as of two scores with the same name only the newer counts.

        The number that makes it unique is inside the note, so that a hub sees that only a secret was replaced.
        """
        if was.kind != scores.KIND or not was.name or not now.name or was.name == now.name:
            return now
        if self._names_taken is None:
            self._names_taken = {name for (name,) in reader.ask(_SCORE_NAMES)}
        name = self._score_names.get(was.name)
        if name is None:
            *_, note = NOTE.finditer(now.name)
            begin, end = now.name[: note.end() - 1], now.name[note.end() - 1 :]
            numbered = chain([now.name], (f"{begin} {number}{end}" for number in count(2)))
            name = self._score_names[was.name] = next(each for each in numbered if each not in self._names_taken)
            self._names_taken.add(name)
        return now._replace(name=name).with_body(now.body)

    def _replace(self, changes: Sequence[tuple[Stored, Stored, Counter[str]]]) -> None:
        """Replace some rows, and add the rows about that, in one transaction."""
        if not changes:
            return
        sent: dict[str, int] = {}
        replaced: list[tuple[Stored, Stored, Counter[str]]] = []

        def work(execute: Execute) -> None:
            nonlocal sent
            at_ns = clock.now_ns()
            about: list[int] = []
            for was, now, rules in changes:
                # Another scrub has replaced it at the same time.
                if execute(_UNCHANGED, (was.seq, was.sum)).get is None:
                    continue
                replaced.append((was, now, rules))
                execute(_UPDATE, (now.kind, now.name, now.model, now.tags, now.sum, now.body, now.seq))
                files = {digest: self._files[digest].digest for digest in self._files if digest in (was.body or "")}
                for row in scrubbed.made(was, now, at_ns=at_ns, rules=rules, files=files):
                    if not scrubbed.is_known(execute, row):
                        execute(INSERT, row)
                        about.append(execute(_SEQ).get)
            scrubbed.begin(execute)
            scrubbed.add(execute, about)
            sent = scrubbed.hold_back(execute, [was.seq for was, _, _ in replaced], about, self._hubs, at_ns)

        self.journal.transact(work, full=True)
        for was, now, rules in replaced:
            self.done.rows += 1
            self.done.rules.update(rules)
            # If the whole value was replaced, because of its name, its file is deleted.
            self._old_files += set(blobs.named([was.body])).difference(blobs.named([now.body]), self._files)
            self._is_folded_otherwise |= scrubbed.is_folded_otherwise(was, now)
        for remote, many in sent.items():
            self.done.sent[remote] = self.done.sent.get(remote, 0) + many


def _blobs_in(body: bytes | None) -> list[str]:
    return blobs.named([body.decode("utf-8", "replace")]) if body and b"blob" in body else []
