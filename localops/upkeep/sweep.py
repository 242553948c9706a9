"""Search everything that was recorded for secrets, with the current rules.

New rules are not applied to what was recorded before.  A sweep reads rows, blobs, spill files, and files such as
bundles, and reports where a rule applies, but never the secret.  It changes nothing, and needs a few megabytes of
memory.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import zipfile
import zlib
from dataclasses import dataclass, field
from itertools import chain
from typing import cast

from localops import config, interruption
from localops.config import Config
from localops.encoding import encode, recorded
from localops.encoding.recorded import Again
from localops.encoding.redact import NOTE
from localops.encoding.todays_rules import redactor
from localops.errors import ConfigError, EmptyJournal, LocalopsError, NotFound
from localops.journal import any_sqlite, blobs, rows, spill
from localops.journal.any_sqlite import HEADER
from localops.journal.reader import Reader, has_our_header
from localops.journal.sql import statements
from localops.journal.stored import Stored
from localops.transfer import bundle, scrubbed
from localops.upkeep import file_search, slow_patterns, temporary_folders
from localops.upkeep import views as saved_views

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import IO, Any

    from localops.encoding.redact import Redactor

    # A row: its id; its session; kind, name, model and tags, separated by NUL; its body.
    Texts = tuple[bytes, bytes, bytes, bytes]
    # A secret in a row: the field, the rule, the secret.
    Hit = tuple[str, str, str]

MOST_PLACES = 10_000  # the most places that are kept; all are counted
_PAGE = 4 << 20  # bytes of rows that are read together
_ROWS = 2_000
_TOGETHER = 64 << 10  # bytes per quick look: with more, a single suspect row has too many others searched
_DIGESTED = 12  # a digest of a shorter secret could be guessed
_LINE = 128 << 20
_LONGEST_KEY = 80
_PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$#-]*")
_HEAD = 512  # bytes that show the type of a file
_DEPTH = 3  # so deep, archives in archives are unpacked
_GZIP = b"\x1f\x8b"
_OTHER_ARCHIVES = (b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")
_OF_SQLITE = ("wal", "shm", "journal")
COLUMNS = ("kind", "name", "model", "tags")
_VALUES = ("blob", "unfinished", "upload")  # files of values


@dataclass(frozen=True)
class Place:
    """A place where a rule applies.

    `digest` is the beginning of the secret's SHA-256, so that equal secrets can be recognised.  A short secret has
    none, as it could be guessed from it.
    """

    rule: str
    project: str | None  # None: in a file that was named
    source: str  # row, blob, unfinished, upload, spill, waiting, aside, views, bundle, file
    file: str | None
    session: str | None
    event: str | None
    field: str | None
    at: int | None  # in a file that is searched as text: the byte at which the secret begins
    length: int
    digest: str | None


@dataclass
class Swept:
    """The result of a search."""

    rows: int = 0
    files: int = 0
    bytes: int = 0
    binary: int = 0  # files that are not text, such as pictures, and were not searched
    unfinished: list[str] = field(default_factory=list)  # projects with an unfinished scrub
    patterns: int = 0  # the number of the user's own patterns, which were searched for, too
    unread: list[str] = field(default_factory=list)  # what could not be read, with the reason
    damaged: list[str] = field(default_factory=list)  # blobs whose name is not their digest
    rules: dict[str, int] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)

    @property
    def secrets(self) -> int:
        """Return how many secrets there are; one in two places counts twice."""
        return sum(self.rules.values())

    def facts(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "ok": not (self.secrets or self.unread or self.unfinished),
            "rows": self.rows,
            "files": self.files,
            "binary_files": self.binary,
            "own_patterns": self.patterns,
            "bytes": self.bytes,
            "secrets": self.secrets,
            "rules": dict(sorted(self.rules.items())),
            "places": [vars(place) for place in self.places],
            "places_left_out": self.secrets - len(self.places),
            "unread": self.unread,
            "damaged_files": self.damaged,
            "unfinished_scrubs": self.unfinished,
        }

    def add(self, place: Place) -> None:
        """Count a place, and keep it unless there are too many."""
        self.rules[place.rule] = self.rules.get(place.rule, 0) + 1
        if len(self.places) < MOST_PLACES:
            self.places.append(place)


class Sweep:
    """A search with the rules of a home: ours, those of its config.toml, and the values of this environment."""

    def __init__(self, home: str, *, since_ns: int = 0, progress: Callable[[int], None] | None = None) -> None:
        try:
            settings = Config(home=home)
        except ConfigError as error:
            raise ConfigError(f"{error}; correct it first: until then, nothing is searched or replaced") from error
        # `redact = false` is for recording only.
        self.redactor: Redactor = redactor(settings) or _ours(home)
        self.redactor.watch(lambda pattern: slow_patterns.Watched(pattern, slow_patterns.now))
        self._home, self._since_ns = home, since_ns
        self._progress = progress or (lambda _: None)
        self.result = Swept(patterns=len(settings.patterns))
        # A search without these patterns must not be reported as clean.
        self.result.unread += [
            f"{problem}; what it names was not searched for" for problem in config.lost_patterns(home)
        ]
        self._project: str | None = None
        # By the digest of a blob with a secret: the first row that names it.
        self._naming: dict[str, tuple[str, str] | None] = {}

    # What is searched

    def project(self, name: str) -> None:
        """Search a project: its blobs, its rows, and its spill files."""
        self._project = name
        folder = config.project_folder(self._home, name)
        first = len(self.result.places)
        self._naming = {}
        self._values(folder)
        path = os.path.join(folder, config.JOURNAL)
        if os.path.exists(path):
            self._journal(path, "row", None)
        for part in _listed(os.path.join(folder, "parts"), ".db"):
            self._journal(part, "row", part)
        waiting = (Stored(0, *rows.whole(row)) for row in spill.rows(folder))
        self._rows(map(_texts, waiting), "spill")
        for place in spill.places(folder):
            for path in _listed(place, ".unreadable"):
                self._file(path, "spill")
        for path in _listed(os.path.join(folder, "waiting"), ".jsonl"):
            self._recent_file(path, "waiting")
        for path in _damaged_journals(folder):
            self._file(path, "aside", even_binary=True)
        self._views(folder)
        self._name_blobs(first)
        self._project = None

    def _values(self, folder: str) -> None:
        """Search the large values of a project, unfinished ones included."""
        waiting = [blobs.find(folder, digest) for digest in blobs.waiting(folder)]
        for path in sorted(blobs.stored(folder)):
            # A damaged text may look like a binary file.
            self._recent_file(path, "blob", even_binary=self._is_damaged(path))
        for path in waiting:
            self._recent_file(path, "blob")
        for path in blobs.unfinished(folder):
            self._recent_file(path, "unfinished")
        for path in blobs.uploads(folder):
            self._recent_file(path, "upload")

    def _is_damaged(self, path: str) -> bool:
        """Return whether a recent file's digest is not its name, and note that: a scrub does not change such a file."""
        try:
            is_damaged = self._is_recent(path) and not blobs.is_whole(path, os.path.basename(path))
        except OSError as error:
            # The search itself reports what cannot be read.
            interruption.pass_on(error)
            return False
        if is_damaged:
            self.result.damaged.append(path)
        return is_damaged

    def home(self) -> None:
        """Search what belongs to the home itself: its saved views."""
        self._views(self._home)

    def _views(self, folder: str) -> None:
        """Search the saved views of a home or a project, as JSON."""
        path = os.path.join(folder, saved_views.FILE)
        try:
            with open(path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return
        except OSError as error:
            interruption.pass_on(error)
            self.result.unread.append(f"{path} cannot be read: {error.strerror}")
            return
        self.result.files += 1
        self.result.bytes += len(content)
        for place, rule, secret in self._of_views(content):
            self._add(rule, secret.encode("utf-8", "surrogatepass"), "views", path, place=place)

    def _of_views(self, content: bytes) -> list[Hit]:
        hits: list[Hit] = []

        def look(place: str, text: str) -> str:
            hits.extend(self._in_text(place, text))
            return text

        if saved_views.with_texts(content, look) is None:
            look("", content.decode("utf-8", "replace"))
        return hits

    def file(self, path: str) -> None:
        """Search a file, or all files of a folder such as a hub's backup.

        It may be a bundle, a journal, any other SQLite file such as an export, a text such as a log, or any of these
        packed by gzip, tar or zip.  Files of other kinds are reported as unread.
        """
        if not os.path.exists(path):
            raise NotFound(f"there is no file {path}")
        if os.path.isdir(path):
            self._folder(path)
        else:
            self._search_as(path, path)

    def _folder(self, folder: str) -> None:
        for inner, folders, names in os.walk(folder, onerror=self._unlisted):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(inner, name)
                base, _, end = name.rpartition("-")
                if end in _OF_SQLITE and base in names:
                    # It is read with its database.
                    continue
                if not os.path.isfile(path):
                    self.result.unread.append(f"{path} is no regular file")
                elif f"{os.sep}blobs{os.sep}" in path[len(folder) :]:
                    # Pictures are counted and left out, as in a home.
                    self._file(path, "blob")
                else:
                    self._search_as(path, path)

    def _unlisted(self, error: OSError) -> None:
        self.result.unread.append(f"{error.filename} cannot be read: {error.strerror}")

    def _search_as(self, path: str, shown: str, depth: int = 0) -> None:
        """Search a file by its type; in reports it has the name `shown`, which the user knows."""
        try:
            with open(path, "rb") as file:
                head = file.read(_HEAD)
        except OSError as error:
            interruption.pass_on(error)
            self.result.unread.append(f"{shown} cannot be read: {error.strerror}")
            return
        if has_our_header(path):
            self._journal(path, "file", shown)
        elif head.startswith(HEADER):
            self._sqlite(path, shown)
        elif zipfile.is_zipfile(path) or head.startswith(b"PK\x03\x04"):
            # The second one is a bundle whose end is missing.
            self._bundle(path, shown)
        elif head.startswith(_GZIP) or _is_tar(head):
            self._archive(path, shown, depth)
        else:
            self._file(path, "file", shown=shown)

    def _sqlite(self, path: str, shown: str) -> None:
        """Search all texts of an SQLite file, as if each row were a JSON object."""
        self.result.files += 1
        try:
            self._rows(map(_as_object, any_sqlite.texts(path)), "file", shown)
        except ValueError as error:
            self.result.unread.append(f"{shown} cannot be read as SQLite: {error}")

    def _archive(self, path: str, shown: str, depth: int) -> None:
        """Search a gzip file, a tar archive, or a compressed tar archive."""
        import tarfile

        if depth >= _DEPTH:
            self.result.unread.append(f"{shown} is packed too many times: unpack it, and name what is in it")
            return
        try:
            with open(path, "rb") as raw:
                is_gzip = raw.read(2) == _GZIP
            with _open(path, is_gzip) as file:
                head = file.read(_HEAD)
            with _open(path, is_gzip) as file:
                if not _is_tar(head):
                    self._inner_file(file, shown, depth)
                    return
                with tarfile.open(fileobj=file, mode="r|") as packed:
                    for member in packed:
                        inner = packed.extractfile(member) if member.isreg() else None
                        if inner is not None:
                            self._inner_file(inner, f"{shown}:{member.name}", depth)
        except (*_DAMAGE, tarfile.TarError) as error:
            if isinstance(error, OSError):
                interruption.pass_on(error)
            self.result.unread.append(f"{shown} is damaged ({error}): only the part before that was searched")

    def _inner_file(self, file: IO[bytes], shown: str, depth: int) -> None:
        """Search a file of an archive like any other; SQLite and zip files are unpacked to disk first."""
        with temporary_folders.made(temporary_folders.SEARCH) as folder:
            path = os.path.join(folder, "unpacked")
            with open(path, "wb") as copy:
                shutil.copyfileobj(file, copy, file_search.WINDOW)
            self._search_as(path, shown, depth + 1)

    def _recent_file(self, path: str, source: str, *, even_binary: bool = False) -> None:
        """Search a file unless it was last written before `since_ns`."""
        try:
            if self._is_recent(path):
                self._file(path, source, even_binary=even_binary)
        except FileNotFoundError:
            # It was pruned or renamed meanwhile.
            return
        except OSError as error:
            interruption.pass_on(error)
            self.result.unread.append(f"{path} cannot be read: {error.strerror}")

    def _is_recent(self, path: str) -> bool:
        return os.stat(path).st_mtime_ns >= self._since_ns

    def _journal(self, path: str, source: str, file: str | None) -> None:
        try:
            with Reader(path) as reader:
                if source == "row" and file is None and scrubbed.is_unfinished(reader):
                    self.result.unfinished.append(self._project or "")
                for page in pages(reader, self._progress):
                    texts = ((id, session, head, body) for _, id, session, at, head, body in page if self._is_new(at))
                    self._rows(texts, source, file)
        except EmptyJournal:
            return
        except LocalopsError as error:
            self.result.unread.append(str(error))

    def _is_new(self, at_ns: int) -> bool:
        return at_ns >= self._since_ns

    def _rows(self, texts: Iterable[Texts], source: str, file: str | None = None) -> None:
        """Search rows: many at once with a quick look, then the suspect ones alone."""
        group: list[Texts] = []
        size = 0
        for each in texts:
            group.append(each)
            size += len(each[2]) + len(each[3] or b"")
            if size >= _TOGETHER:
                self._group(group, size, source, file)
                group, size = [], 0
        if group:
            self._group(group, size, source, file)

    def _group(self, group: Sequence[Texts], size: int, source: str, file: str | None) -> None:
        self.result.rows += len(group)
        self.result.bytes += size
        suspects = self.redactor.suspects
        if self._naming:
            self._look_for_names(group)
        together = b"\n".join([part for *_, head, body in group for part in (as_json(head), body or b"")])
        if not (suspects(together) or recorded.has_bytes(together)):
            return
        for id, session, head, body in group:
            slow_patterns.now.place = f"event {rows.id_text(id)}" if id else file or source
            if suspects(as_json(head)):
                self._report(self._in_columns(head), source, file, id, session)
            if body and not _is_ours(head, session) and (suspects(body) or recorded.has_bytes(body)):
                self._report(self._in_body(body), source, file, id, session)

    def _report(self, hits: Iterable[Hit], source: str, file: str | None, id: bytes, session: bytes) -> None:
        # Rows of an export have no id here: it is one of their texts, if they have one.
        row = (session, id) if id else None
        for place, rule, secret in hits:
            self._add(rule, secret.encode("utf-8", "surrogatepass"), source, file, row, place)

    def _add(
        self,
        rule: str,
        secret: bytes,
        source: str,
        file: str | None,
        row: tuple[bytes, bytes] | None = None,
        place: str | None = None,
        at: int | None = None,
    ) -> None:
        session, id = map(rows.id_text, row) if row else (None, None)
        self.result.add(
            Place(rule, self._project, source, file, session, id, place, at, len(secret), _short_digest(secret))
        )

    # Within a row

    def _in_columns(self, head: bytes) -> Iterator[Hit]:
        values = head.decode("utf-8", "replace").split("\0", 3)
        own = own_columns(values[0])
        for name, text in zip(COLUMNS, values, strict=False):
            if name not in own:
                yield from self._in_text(name, text)

    def _in_body(self, body: bytes) -> Iterator[Hit]:
        """Yield what today's recording would replace: compare the body with what it would write."""
        try:
            fields = encode.loads(body)
        except ValueError:
            yield from self._in_text("body", body.decode("utf-8", "replace"))
            return
        walk = Again(self.redactor)
        hits = list(self._differences("", fields, walk.row(fields)))
        if walk.overran or walk.notes.keys() & {"too_many", "too_deep", "too_big"}:
            # Recording would not search all of it.
            texts = recorded.parts(body.decode("utf-8", "replace"))
            hits += [hit for text, is_own in texts if not is_own for hit in self._in_text("body", text)]
        yield from hits

    def _in_text(self, place: str, text: str) -> Iterator[Hit]:
        for start, end, label in self.redactor.places(text):
            yield from _unless_noted(place, label, text[start:end])

    def _differences(self, place: str, was: Any, now: Any) -> Iterator[Hit]:
        if (data := recorded.octets(was)) is not None and (clean := recorded.octets(now)) is not None:
            if data != clean:
                yield from self._in_octets(place, data)
        elif isinstance(was, dict) and isinstance(now, dict):
            for (key, value), (clean_key, clean_value) in zip(was.items(), now.items(), strict=False):
                inner = _inner(place, clean_key)
                if key != clean_key:
                    yield from self._in_text(inner, key)
                yield from self._differences(inner, value, clean_value)
        elif isinstance(was, list) and isinstance(now, list):
            for at, (item, clean_item) in enumerate(zip(was, now, strict=False)):
                yield from self._differences(f"{place}[{at}]", item, clean_item)
        elif was != now:
            yield from self._replaced(place, was, now)

    def _in_octets(self, place: str, data: bytes) -> Iterator[Hit]:
        try:
            yield from self._in_text(place, data.decode())
        except UnicodeDecodeError:
            yield from self._in_text(place, data.decode("latin-1"))

    def _replaced(self, place: str, was: Any, now: Any) -> Iterator[Hit]:
        """Yield the secrets of a replaced value: parts of it if its text matched, all of it if its name did."""
        if isinstance(was, str) and not (isinstance(now, str) and NOTE.fullmatch(now)):
            hits = list(self._in_text(place, was))
            if not hits and isinstance(now, str) and NOTE.sub("", now) != NOTE.sub("", was):
                # The user's function does not tell which part it replaced.
                hits = [(place, "hook", was)]
            yield from hits
        elif isinstance(now, str) and (note := NOTE.fullmatch(now)):
            text = was if isinstance(was, str) else encode.dumps(was).decode()
            yield from _unless_noted(place, note[0][len("[redacted:") : -1], text)

    # Within a file

    def _file(self, path: str, source: str, *, even_binary: bool = False, shown: str | None = None) -> None:
        try:
            with open(path, "rb") as file:
                self._stream(file, source, shown or path, even_binary=even_binary)
        except FileNotFoundError:
            # Collected or pruned meanwhile.
            return
        except OSError as error:
            interruption.pass_on(error)
            self.result.unread.append(f"{path} cannot be read: {error.strerror}")

    def _stream(self, file: IO[bytes], source: str, path: str, *, even_binary: bool = False) -> None:
        """Search a file as text."""
        self.result.files += 1
        slow_patterns.now.place = path
        window = file.read(file_search.WINDOW)
        if (b"\0" in window or window.startswith(_OTHER_ARCHIVES)) and not even_binary:
            self.result.binary += 1
            if source == "file" or (source == "bundle" and "/blobs/" not in path):
                # The user named it, so it has to be reported: an unknown archive, for example.
                self.result.unread.append(f"{path} is no text, bundle or journal: unpack it, and name what is in it")
            return
        charset = file_search.TEXT
        if source in _VALUES:
            file.seek(0)
            charset = file_search.charset(file)
            file.seek(len(window))
        for at, secret, label in file_search.secrets(file, window, self.redactor, charset, seen=self._seen):
            self._add(label, secret, source, path, at=at)
            if source == "blob":
                self._naming.setdefault(os.path.basename(path), None)

    def _seen(self, size: int) -> None:
        self.result.bytes += size
        self._progress(0)

    def of_file(self, path: str, *, even_binary: bool = False) -> list[tuple[int, int, str]]:
        """Return begin and end of the secrets in a file, with their rules; an empty list if the file is not text."""
        slow_patterns.now.place = path
        with open(path, "rb") as file:
            charset = file_search.charset(file)
            window = file.read(file_search.WINDOW)
            if (b"\0" in window or window.startswith(_OTHER_ARCHIVES)) and not even_binary:
                return []
            secrets = file_search.secrets(file, window, self.redactor, charset, seen=self._seen)
            return [(at, at + len(secret), label) for at, secret, label in secrets]

    def of_row(self, row: Stored) -> list[Hit]:
        """Return the secrets of a row, each with its field and rule."""
        _, _, head, body = _texts(row)
        slow_patterns.now.place = f"event {rows.id_text(row.id)}"
        return [*self._in_columns(head), *(self._in_body(body) if body and not is_ours(row) else ())]

    def _look_for_names(self, group: Iterable[Texts]) -> None:
        """Note the first row that names a blob with a secret."""
        for id, session, _, body in group:
            if body and b"blob" in body:
                for digest in blobs.named([body.decode("utf-8", "replace")]):
                    if digest in self._naming and self._naming[digest] is None:
                        self._naming[digest] = rows.id_text(session), rows.id_text(id)

    def _name_blobs(self, first: int) -> None:
        """Add session and event of a row that names the blob to places in blobs."""
        places = self.result.places
        for at in range(first, len(places)):
            place = places[at]
            if place.source == "blob" and place.file and (naming := self._naming.get(os.path.basename(place.file))):
                session, event = naming
                facts = {**vars(place), "session": session, "event": event}
                places[at] = Place(**facts)

    # Within a bundle

    def _bundle(self, path: str, shown: str) -> None:
        try:
            with zipfile.ZipFile(path) as packed:
                for member in packed.infolist():
                    self._member(packed, member.filename, f"{shown}:{member.filename}")
        except _DAMAGE as error:
            self.result.unread.append(f"{shown} is damaged ({error}): only the part before that was searched")

    def _member(self, packed: zipfile.ZipFile, name: str, shown: str) -> None:
        with packed.open(name) as file:
            if not name.endswith("/rows.ndjson"):
                self._stream(file, "bundle", shown)
                return
            self.result.files += 1
            lines = (line.rstrip(b"\n") for line in iter(lambda: file.readline(_LINE), b""))
            for head in lines:
                batch, _ = bundle.unpack(chain([head], lines))
                self._rows(map(_texts, batch.rows), "bundle", shown)
                self._progress(len(batch.rows))


# The errors of zipfile for a damaged file, and of reading rows for a file of another format.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, ValueError, OSError, LocalopsError)


def total(home: str, names: Iterable[str]) -> int:
    """Return about how many rows the projects have, to show progress."""
    many = 0
    for name in names:
        path = os.path.join(config.project_folder(home, name), config.JOURNAL)
        try:
            with Reader(path) as reader:
                many += reader.ask(statements("lists.sql")["last_seq"])[0][0]
        except LocalopsError:
            # The search reports it.
            continue
    return many


def _ours(home: str | None = None) -> Redactor:
    made = redactor(Config(home=home, redact=True))
    assert made is not None
    return made


def pages(reader: Reader, progress: Callable[[int], None], after: int = 0) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a journal, some megabytes at a time."""
    statement = statements("doctor.sql")["texts"]
    while True:
        page, _ = reader.some(statement, {"after": after, "many": _ROWS}, _PAGE)
        if not page:
            return
        yield page
        (last, *_) = page[-1]
        progress(last - after)
        after = last


def _texts(row: Stored) -> Texts:
    head = "\0".join(text or "" for text in (row.kind, row.name, row.model, row.tags))
    return row.id, row.session, head.encode("utf-8", "replace"), (row.body or "").encode("utf-8", "replace")


def own_columns(kind: str) -> tuple[str, ...]:
    """Return the columns that only localops sets, for a kind of rows."""
    return ("kind", "name") if kind in rows.NAMED_BY_US else ("kind",) if kind in rows.OWN_KINDS else ()


def _is_ours(head: bytes, session: bytes) -> bool:
    """Return whether a body is about the journal itself: it has only ids, digests and figures."""
    return session == rows.NO_SESSION and head.startswith((b"journal\0", b"pruned\0"))


def is_ours(row: Stored) -> bool:
    """Return whether the body of a row is about the journal itself, so that it is not searched."""
    return row.session == rows.NO_SESSION and row.kind in ("journal", "pruned")


def as_json(text: bytes) -> bytes:
    """Return a text with its line ends escaped as in JSON, which the quick look expects."""
    return text.replace(b"\n", b"\\n") if b"\n" in text else text


def _as_object(row: tuple[str, dict[str, str | bytes]]) -> Texts:
    """Return a row of any table as a JSON object by table and column; texts that are JSON are included as JSON."""
    table, columns = row
    values: dict[str, Any] = {}
    for column, value in columns.items():
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        values[column] = text
        if text.startswith(("{", "[")):
            try:
                values[column] = encode.loads(text)
            except ValueError:
                # It only looks like JSON.
                continue
    return b"", b"", b"", encode.dumps({table: values})


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _open(path: str, is_gzip: bool) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if is_gzip else open(path, "rb")


def _listed(folder: str, end: str) -> list[str]:
    try:
        return sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(end))
    except OSError as error:
        interruption.pass_on(error)
        return []


def _damaged_journals(folder: str) -> list[str]:
    """Return the journals that were set aside as damaged."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        interruption.pass_on(error)
        return []
    starts = tuple(f"{config.JOURNAL}.{word}-" for word in ("corrupt", "damaged", "repaired"))
    return [os.path.join(folder, name) for name in names if name.startswith(starts) and not name.endswith("-shm")]


def _inner(place: str, key: str) -> str:
    shown = key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}…"
    if not _PLAIN_KEY.fullmatch(shown):
        return f"{place}[{encode.dumps(shown).decode()}]"
    return f"{place}.{shown}" if place else shown


def _unless_noted(place: str, label: str, secret: str) -> Iterator[Hit]:
    """Yield a hit, unless it is the note that recording has left in place of a secret."""
    if NOTE.sub("", secret):
        yield place, label, secret


def _short_digest(secret: bytes) -> str | None:
    if len(secret) < _DIGESTED:
        return None
    from hashlib import sha256

    return sha256(secret).hexdigest()[:8]
