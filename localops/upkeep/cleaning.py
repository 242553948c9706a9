"""Remove the secrets that today's rules find from rows and files, and change nothing else in them."""

from __future__ import annotations

import os
from collections import Counter
from hashlib import sha256
from itertools import islice
from typing import NamedTuple

from localops.encoding import encode, own_fields, recorded
from localops.encoding.recorded import Again
from localops.encoding.redact import NOTE
from localops.journal import blobs
from localops.journal.stored import Stored
from localops.upkeep import sweep
from localops.upkeep import views as saved_views

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from localops.upkeep.sweep import Sweep

_TRIES = 3  # the text after a removal may look like another secret
_PIECE = 1 << 20
_HEADS = ("kind", "name", "model")
_BLOB = "blob:"
# The keys of a file; of its text, a row has only the beginning.
_MARKS = frozenset(("$blob", "$sha256", "$bytes", "$bytearray"))


class File(NamedTuple):
    """A blob that replaces another one; `spans` are secrets near the beginning of the old one."""

    digest: str
    size: int
    spans: Sequence[tuple[int, int, str]] = ()

    def head(self, head: str) -> str:
        """Return the beginning of the old blob, as in a row, without the part of a secret at its end."""
        data = head.encode()
        for start, end, label in self.spans:
            if start < len(data) < end:
                return data[:start].decode("utf-8", "ignore") + f"[redacted:{label}]"
        return head


class Cleaner:
    """Removes the secrets that a sweep finds."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep, self._redactor = sweep, sweep.redactor

    # Rows

    def row(self, row: Stored, files: Mapping[str, File]) -> tuple[Stored, Counter[str]] | None:
        """Return a row without its secrets, and how often each rule applied; None if there is nothing to remove.

        `files` has the digests of files that were replaced, each with the new one.
        """
        rules: Counter[str] = Counter()
        cleaned = _with_files(row, files)
        for _ in range(_TRIES):
            hits = self._sweep.of_row(cleaned)
            if not hits:
                break
            rules.update(rule for _, rule, _ in hits)
            cleaned = self._without(cleaned)
        else:
            if self._sweep.of_row(cleaned):
                cleaned = self._by_text_alone(cleaned)
        if cleaned == row:
            return None
        return _counted(_without_result(row, cleaned), sum(rules.values())), rules

    def _without(self, row: Stored) -> Stored:
        own = sweep.own_columns(row.kind)
        texts: dict[str, Any] = {name: self._text(getattr(row, name)) for name in _HEADS if name not in own}
        texts["tags"] = self._tags(row.tags)
        return row._replace(**texts).with_body(row.body if sweep.is_ours(row) else self._body(row.body))

    def _by_text_alone(self, row: Stored) -> Stored:
        """Return a row with tags and body cleaned as plain text, if they stay valid JSON."""
        parts = recorded.parts(row.body or "")
        body = "".join(text if is_own else self._text(text) or "" for text, is_own in parts)
        texts = {"tags": self._text(row.tags), "body": row.body and body}
        for name, text in texts.items():
            try:
                encode.loads(text or "null")
            except ValueError:
                texts[name] = getattr(row, name)
        return row._replace(tags=texts["tags"]).with_body(texts["body"])

    def views(self, content: bytes) -> tuple[bytes, Counter[str]]:
        """Return a file of saved views without its secrets, and how often each rule applied."""
        rules: Counter[str] = Counter()

        def clean(_place: str, text: str) -> str:
            rules.update(label for *_, label in self._redactor.places(text))
            return self._text(text) or ""

        cleaned = saved_views.with_texts(content, clean)
        if cleaned is None:
            # It is damaged.
            text = content.decode("utf-8", "replace")
            cleaned = clean("", text).encode()
        return cleaned if rules else content, rules

    def _text(self, text: str | None) -> str | None:
        if text is None:
            return None
        cleaned, done = "", 0
        for start, end, label in self._redactor.places(text):
            cleaned, done = f"{cleaned}{text[done:start]}[redacted:{label}]", end
        return cleaned + text[done:]

    def _tags(self, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            tags = encode.loads(text)
        except ValueError:
            return self._text(text)
        cleaned = [self._text(tag) if isinstance(tag, str) else tag for tag in tags] if isinstance(tags, list) else tags
        return text if cleaned == tags else encode.dumps(cleaned).decode()

    def _body(self, body: str | None) -> str | None:
        if body is None:
            return None
        try:
            fields = encode.loads(body)
        except ValueError:
            return self._text(body)
        cleaned = self._merged(fields, Again(self._redactor).row(fields))
        return body if cleaned == fields else encode.dumps(cleaned).decode()

    def _merged(self, was: Any, now: Any) -> Any:
        """Return a value with the redaction notes that recording would write today, and no other change of it."""
        if recorded.octets(was) is not None and recorded.octets(now) is not None:
            return now
        if isinstance(was, dict) and isinstance(now, dict):
            merged: dict[str, Any] = {}
            for (key, value), (new_key, new_value) in zip(was.items(), now.items(), strict=False):
                merged[new_key if NOTE.search(new_key) else key] = self._merged(value, new_value)
            # Recording stops at a number of values, and writes a mark in place of the rest.
            merged |= {key: self._of_any(was[key]) for key in islice(was, len(now), None)}
            return merged
        if isinstance(was, list) and isinstance(now, list):
            merged_items = [self._merged(item, new) for item, new in zip(was, now, strict=False)]
            return [*merged_items, *map(self._of_any, was[len(now) :])]
        if isinstance(now, str) and NOTE.fullmatch(now):
            return was if isinstance(was, str) and not NOTE.sub("", was) else now
        if isinstance(was, str) and type(now) is str and was == now:
            return was
        if isinstance(was, str):
            cleaned = self._text(was)
            is_hooked = cleaned == was and isinstance(now, str) and NOTE.sub("", now) != NOTE.sub("", was)
            # The user's function returns new text, without the places of secrets or notes.
            return "[redacted:hook]" if is_hooked else cleaned
        return was if type(was) is type(now) else self._of_any(was)

    def _of_any(self, value: Any) -> Any:
        """Return a value with each of its texts cleaned separately."""
        if isinstance(value, str):
            return self._text(value)
        if type(value) in (int, float):
            return self._redactor.number(value) or value
        if isinstance(value, list):
            return [self._of_any(item) for item in value]
        if isinstance(value, dict):
            is_mark = not _MARKS.isdisjoint(value)
            return {
                key if is_mark else self._text(key): inner if is_mark and key != "head" else self._of_any(inner)
                for key, inner in value.items()
            }
        return value

    # Files

    def file(self, folder: str, path: str) -> tuple[list[str], list[tuple[int, int, str]]]:
        """Write a blob without its secrets as another blob; return the new digests, of which the last one is clean.

        The places of its secrets are returned, too.  Without a digest, it has no secret or is not text.
        """
        digests: list[str] = []
        first: list[tuple[int, int, str]] = []
        for _ in range(_TRIES):
            spans = self._sweep.of_file(path)
            if not spans:
                break
            first = first or spans
            digest = sha256()
            for piece in _pieces(path, spans):
                digest.update(piece)
            digests.append(digest.hexdigest())
            blobs.keep_pieces(folder, _pieces(path, spans), digests[-1])
            path = blobs.path_of(folder, digests[-1])
        return digests, first


def _pieces(path: str, spans: Sequence[tuple[int, int, str]]) -> Iterator[bytes]:
    """Yield the bytes of a file with a note in place of each span."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        done = 0
        for start, end, label in [*spans, (size, size, "")]:
            file.seek(done)
            while done < start:
                piece = file.read(min(_PIECE, start - done))
                if not piece:
                    return
                done += len(piece)
                yield piece
            if label:
                yield f"[redacted:{label}]".encode()
            done = max(done, end)


def _with_files(row: Stored, files: Mapping[str, File]) -> Stored:
    """Return a row that names the new files."""
    if row.body is None or files.keys().isdisjoint(blobs.named([row.body])):
        return row
    try:
        return row.with_body(encode.dumps(_naming(encode.loads(row.body), files)).decode())
    except ValueError:
        return row


def _naming(value: Any, files: Mapping[str, File]) -> Any:
    """Return a value with the new digest and length of each file that was replaced."""
    if isinstance(value, str) and value.startswith(_BLOB):
        new = files.get(value.removeprefix(_BLOB))
        return value if new is None else f"{_BLOB}{new.digest}"
    if isinstance(value, list):
        return [_naming(item, files) for item in value]
    if isinstance(value, dict):
        named = {key: _naming(inner, files) for key, inner in value.items()}
        new = files.get(digest) if isinstance(digest := value.get("$blob"), str) else None
        if new is not None:
            named |= {key: known for key, known in (("$blob", new.digest), ("$len", new.size)) if key in value}
            if isinstance(head := value.get("head"), str):
                named["head"] = new.head(head)
        return named
    return value


def _without_result(was: Stored, now: Stored) -> Stored:
    """Return a row whose result is not returned to a resumed program, if a part of the result was replaced."""
    if now.body is None or now.body == was.body or '"once"' not in now.body:
        return now
    try:
        before, fields = encode.loads(was.body or "null"), encode.loads(now.body)
    except ValueError:
        return now
    once = own_fields.without_result(fields.get("once")) if isinstance(fields, dict) else None
    if once is None or before.get(name := fields["once"]["kept"]) == fields.get(name):
        return now
    return now.with_body(encode.dumps({**fields, "once": once}).decode())


def _counted(row: Stored, secrets: int) -> Stored:
    """Return a row whose `notes` include the removed secrets, as recording counts them."""
    if row.body is None or not secrets:
        return row
    try:
        fields = encode.loads(row.body)
    except ValueError:
        return row
    if not isinstance(fields, dict):
        return row
    notes = fields.get("notes")
    before = notes.get("redacted", 0) if isinstance(notes, dict) else 0
    if isinstance(notes, dict | None) and isinstance(before, int):
        fields["notes"] = {**(notes or {}), "redacted": before + secrets}
    return row.with_body(encode.dumps(fields).decode())
