"""Read the spans of a file of OTLP JSON one by one, however large the file is.

A collector's file exporter writes one request per line; other tools write one document, on one line or many.  A short
line is parsed as a whole.  Otherwise, only one span, resource or scope is in memory at a time.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from typing import NamedTuple

from localops.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO

    Say = Callable[[str], None]  # is called with a problem, which begins with file and line

_SHORT = 16 << 20  # bytes; a line up to this length is parsed as a whole
_PIECE = 1 << 20  # bytes that are read at a time otherwise
_LARGEST = 256 << 20  # the most bytes of one span, which is held in memory
_LONGEST_KEY = 200
_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_OTHER_SIGNALS = ("resourceLogs", "resourceMetrics", "resourceProfiles", "resource_logs", "resource_metrics")


class Found(NamedTuple):
    """A span of a file, as plain values."""

    place: str
    span: dict[str, Any]
    resource: dict[str, Any]
    scope: Scope


class Scope(NamedTuple):
    """The library that made a span: its name, and its other attributes, for the body of the span's row."""

    name: str = ""
    beside: dict[str, Any] = {}  # noqa: RUF012  never changed


def read(path: str, problem: Say) -> Iterator[Found]:
    """Yield the spans of a file; report what cannot be read, and continue with the rest."""
    try:
        with open(path, "rb") as file:
            yield from _File(path, file, problem).spans()
    except OSError as error:
        problem(f"{path}: {error.strerror or error}")


class _File:
    def __init__(self, path: str, file: BinaryIO, problem: Say) -> None:
        self._path, self._file, self._problem = path, file, problem
        self._line = 0

    def spans(self) -> Iterator[Found]:
        """Yield the spans of each line, or of a document on several lines."""
        while True:
            start = self._file.tell()
            data, is_whole = self._next_line()
            if not data:
                return
            self._line += 1
            if is_whole and not data.strip(b" \t\r\n\xef\xbb\xbf"):
                continue
            place = f"{self._path}:{self._line}"
            request = self._loaded(data) if is_whole else None
            is_document = request is None and (not is_whole or self._is_on_several_lines(data))
            is_ended = data.endswith(b"\n")
            del data  # frees memory, as the caller takes long with the spans, and needs memory of its own
            if request is not None:
                yield from self._of_request(request, place)
            elif is_document:
                self._file.seek(start)
                yield from self._of_document(place)
                return
            elif is_ended or self._file.tell() < os.fstat(self._file.fileno()).st_size:
                self._problem(f"{place}: invalid line: expected a JSON object with resourceSpans")
            else:
                self._problem(f"{place}: the line is not complete, and is left out until it is")

    def _next_line(self) -> tuple[bytes, bool]:
        """Read a line, or the beginning of one that is too long; return whether it is the whole line."""
        start = self._file.tell()
        beginning = piece = self._file.readline(_PIECE)
        length = len(piece)
        # The rest is only measured: holding it would need as much memory as the limit allows.
        while len(piece) == _PIECE and not piece.endswith(b"\n"):
            if length >= _SHORT:
                return beginning, False
            piece = self._file.readline(_PIECE)
            length += len(piece)
        if length == len(beginning):
            return beginning, True
        self._file.seek(start)
        return self._file.readline(length), True

    def _loaded(self, data: bytes) -> Any:
        try:
            return encode.loads(data.removeprefix(b"\xef\xbb\xbf"))
        except ValueError:
            return None

    def _is_on_several_lines(self, data: bytes) -> bool:
        """Return whether a line that is not JSON is the first of a document, not a line that was cut off."""
        if self._line > 1 or not data.lstrip(b" \t\xef\xbb\xbf").startswith((b"{", b"[")):
            return False
        here = self._file.tell()
        following = next((line for line in iter(lambda: self._file.readline(_SHORT), b"") if line.strip()), b"")
        self._file.seek(here)
        # The next line of a file of requests is a request; that of a document is not.
        return bool(following) and not isinstance(self._loaded(following), dict)

    def _of_request(self, request: Any, place: str) -> Iterator[Found]:
        many = (request or [None]) if isinstance(request, list) else [request]
        for each in many:
            if not isinstance(each, dict) or not isinstance(_get(each, "resourceSpans", []), list):
                self._problem(f"{place}: invalid line: expected a JSON object with resourceSpans")
                continue
            if not any(name in each for name in ("resourceSpans", "resource_spans")):
                if not any(name in each for name in _OTHER_SIGNALS):
                    self._problem(f"{place}: invalid line: expected a JSON object with resourceSpans")
                continue
            yield from of_request(each, place, self._problem)

    def _of_document(self, place: str) -> Iterator[Found]:
        """Yield the spans of one document, reading it in parts."""
        resource: dict[str, Any] = {}
        scope, number = Scope(), 0
        try:
            for what, data in _Parts(self._file):
                if what == "resource":
                    resource, scope = attributes_of(self._loaded(data)), Scope()
                elif what == "scope":
                    scope = scope_of(self._loaded(data))
                else:
                    number += 1
                    span = self._loaded(data)
                    if isinstance(span, dict):
                        yield Found(f"{self._path}: span {number}", span, resource, scope)
                    else:
                        self._problem(f"{self._path}: span {number}: invalid span: expected a JSON object")
        except ValueError as error:
            self._problem(f"{place}: invalid document: {error}")


# The parts of a document are recognised by their place, so only brackets and texts have to be parsed.
_SPANS = ("resourceSpans", "resource_spans")
_SCOPES = ("scopeSpans", "scope_spans", "instrumentationLibrarySpans")
_WANTED = {
    ("{", _SPANS, "[", "{", "resource"): "resource",
    ("{", _SPANS, "[", "{", _SCOPES, "[", "{", "scope"): "scope",
    ("{", _SPANS, "[", "{", _SCOPES, "[", "{", "instrumentationLibrary"): "scope",
    ("{", _SPANS, "[", "{", _SCOPES, "[", "{", "spans", "["): "span",
}


class _Parts:
    """Yields the resources, scopes and spans of a document as JSON; ValueError if the document is incomplete."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._buffer = b""
        self._at = 0
        self._brackets: list[str] = []  # the open brackets
        self._path: list[str] = []  # the open brackets with their keys
        self._key = ""  # the last text
        self._text: int | None = None  # where the current text begins
        self._part: int | None = None  # where the current part begins
        self._what = ""
        self._depth = 0  # the number of brackets around the current part

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        while True:
            sign = (_OUTSIDE if self._text is None else _INSIDE).search(self._buffer, self._at)
            # A backslash needs the byte after it.
            if sign is None or (sign.group() == b"\\" and sign.end() == len(self._buffer)):
                if not self._read_on(len(self._buffer) if sign is None else sign.start()):
                    return
                continue
            token, self._at = sign.group(), sign.end()
            if self._text is not None:
                self._in_text(token)
            elif token == b'"':
                self._text = self._at
            elif token in b"{[":
                self._open(token.decode())
            else:
                self._close("{" if token == b"}" else "[")
                if self._part is not None and len(self._brackets) == self._depth:
                    yield self._what, self._buffer[self._part : self._at]
                    self._part = None
                self._leave()

    def _read_on(self, upto: int) -> bool:
        """Read the next piece, and keep the unfinished part; return whether there was more."""
        first = min(each for each in (self._part, self._text, upto) if each is not None)
        if upto - first > _LARGEST:
            raise ValueError(f"a span has more than {_LARGEST >> 20} MiB")
        more = self._file.read(_PIECE)
        if not more:
            if self._brackets or self._text is not None:
                raise ValueError("it ends in the middle")
            return False
        self._buffer, self._at = self._buffer[first:] + more, upto - first
        self._part = None if self._part is None else self._part - first
        self._text = None if self._text is None else self._text - first
        return True

    def _in_text(self, token: bytes) -> None:
        if token == b"\\":
            self._at += 1
            return
        assert self._text is not None
        if self._part is None and self._at - self._text < _LONGEST_KEY:
            self._key = self._buffer[self._text : self._at - 1].decode("utf-8", "replace")
        self._text = None

    def _open(self, bracket: str) -> None:
        if self._part is None:
            self._path += [self._key, bracket] if self._brackets[-1:] == ["{"] else [bracket]
            self._what = _what(self._path) if bracket == "{" else ""
            if self._what:
                self._part, self._depth = self._at - 1, len(self._brackets)
        self._brackets.append(bracket)

    def _close(self, bracket: str) -> None:
        if not self._brackets or self._brackets.pop() != bracket:
            raise ValueError("its brackets do not match")

    def _leave(self) -> None:
        if self._part is None:
            self._path.pop()
            if self._brackets[-1:] == ["{"]:
                self._path.pop()


def _what(path: list[str]) -> str:
    """Return the type of a part by the brackets and keys around it; an empty text for any other object."""
    around = path[1:-1] if path[0] == "[" else path[:-1]  # a list of requests
    for wanted, what in _WANTED.items():
        if len(wanted) == len(around) and all(
            each in names if isinstance(names, tuple) else each == names
            for each, names in zip(around, wanted, strict=True)
        ):
            return what
    return ""


def of_request(request: dict[str, Any], place: str, problem: Say) -> Iterator[Found]:
    """Yield the spans of a request that was parsed as a whole."""
    for group in objects_in(_get(request, "resourceSpans", [])):
        resource = attributes_of(_get(group, "resource", {}))
        scopes = _get(group, "scopeSpans", _get(group, "instrumentationLibrarySpans", []))
        for scoped in objects_in(scopes):
            scope = scope_of(_get(scoped, "scope", _get(scoped, "instrumentationLibrary", {})))
            for span in _get(scoped, "spans", []) or []:
                if isinstance(span, dict):
                    yield Found(place, span, resource, scope)
                else:
                    problem(f"{place}: invalid span: expected an object, got {type(span).__name__}")


# Values


def objects_in(values: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list; nothing for any other value."""
    yield from (each for each in values if isinstance(each, dict)) if isinstance(values, list) else ()


def _get(fields: dict[str, Any], name: str, otherwise: Any = None) -> Any:
    """Return a field by its name in OTLP's JSON, or by protobuf's original name."""
    if name in fields:
        return fields[name]
    return fields.get(re.sub(r"([A-Z])", lambda found: f"_{found.group().lower()}", name), otherwise)


def scope_of(scope: Any) -> Scope:
    """Return the library that made a group of spans."""
    name = scope.get("name") if isinstance(scope, dict) else None
    version = scope.get("version") if isinstance(scope, dict) else None
    return named_scope(name, version, attributes_of(scope))


def named_scope(name: object, version: object, attributes: dict[str, Any]) -> Scope:
    """Return a library with its name, version and attributes, each of which may be missing."""
    known = {"scope_version": version, "scope_attributes": attributes}
    return Scope(name if isinstance(name, str) else "", {key: value for key, value in known.items() if value})


def attributes_of(fields: Any) -> dict[str, Any]:
    """Return the attributes of a span, a resource or an event as plain values."""
    listed = fields.get("attributes") if isinstance(fields, dict) else None
    if not isinstance(listed, list):
        return {}
    pairs = ((each.get("key"), each.get("value")) for each in listed if isinstance(each, dict))
    return {key: plain_value(value) for key, value in pairs if isinstance(key, str)}


def plain_value(value: Any) -> Any:
    """Return a value of OTLP's JSON as a Python value."""
    if not isinstance(value, dict) or not value:
        return None
    kind, inner = next(iter(value.items()))
    kind = kind.replace("_v", "V")
    if kind == "intValue":
        return whole(inner)
    if kind == "arrayValue":
        return [plain_value(each) for each in inner.get("values", ())] if isinstance(inner, dict) else []
    if kind == "kvlistValue":
        return attributes_of({"attributes": inner.get("values", [])}) if isinstance(inner, dict) else {}
    if kind == "doubleValue" and isinstance(inner, str):  # NaN and infinities are texts
        try:
            return float(inner)
        except ValueError:
            return inner
    return inner


def whole(value: Any) -> int | None:
    """Return a whole number, which OTLP's JSON writes as text; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(value) if isinstance(value, str) else None
    except ValueError:
        return None


def id_bytes(value: Any, length: int) -> bytes | None:
    """Return an id from hex, as in OTLP's JSON, or from base64, as other programs write it; None if it is invalid."""
    if not isinstance(value, str) or not value:
        return None
    try:
        raw = bytes.fromhex(value) if len(value) == 2 * length else base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw if len(raw) == length and any(raw) else None


field = _get
