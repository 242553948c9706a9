"""Recognise what kind of file was given, and name the command that reads it."""

from __future__ import annotations

import re
import shlex
import zipfile

from localops.errors import ConfigError
from localops.journal.reader import has_our_header
from localops.reading import sqlite_export
from localops.transfer import row_lines
from localops.upkeep import salvage
from localops_sync import bundle_file

BUNDLE, ROWS, OTLP, JSON, JOURNAL, EMPTY_JOURNAL, SQLITE = "bundle rows otlp json journal lost sqlite".split()

_SQLITE_HEAD = b"SQLite format 3"
_HEAD_BYTES = 1 << 16
_OTLP_KEY = re.compile(rb'"resource(?:Spans|Logs)"\s*:')
_HOW_TO_IMPORT = "to import its runs, export them as jsonl, or write a bundle, where they were recorded"


def of(path: str) -> str | None:
    """Return the kind of a file: a bundle, an export (rows, otlp, sqlite), other JSON or a journal; None if unknown."""
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if bundle_file.is_bundle(path) or zipfile.is_zipfile(path):
        return BUNDLE
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] in (b"{", b"["):
        has_spans = _OTLP_KEY.search(text) is not None
        # A row may hold such a key, too, but begins with its id.  `are_in` would read all of a large document.
        if has_spans and not text.startswith(b'{"id":'):
            return OTLP
        return ROWS if row_lines.are_in(path) else OTLP if has_spans else JSON
    if salvage.holds_rows(path):
        return JOURNAL
    if head.startswith(_SQLITE_HEAD) and sqlite_export.is_one(path):
        return SQLITE
    return EMPTY_JOURNAL if has_our_header(path) else None


def check_import(path: str, *, as_otlp: bool) -> None:
    """Raise ConfigError if a file is for another command, or for this one with other options."""
    kind, file = of(path), shlex.quote(path)
    if kind == OTLP and not as_otlp:
        raise ConfigError(f"{path} has spans as OTLP JSON: run `localops import --otlp {file}`")
    if as_otlp and kind in (BUNDLE, ROWS):
        what = "a bundle" if kind == BUNDLE else "an export as jsonl"
        raise ConfigError(f"{path} is {what}, not OTLP JSON: run `localops import {file}`")
    if kind in (JOURNAL, SQLITE):
        what = "a journal" if kind == JOURNAL else "an export as sqlite"
        raise ConfigError(
            f"{path} is {what}, which cannot be imported: `localops open {file}` shows it; {_HOW_TO_IMPORT}"
        )
