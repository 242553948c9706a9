"""The lines that a server writes: for people, or one JSON object each (`--log-format json`).

No line has a key: addresses are written in words and ids that are known to be harmless, and each text is searched for
secrets.  Requests and the start are written to stdout, all else to stderr.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
import uuid
from urllib.parse import parse_qsl

from localops import clock, output
from localops.encoding import encode
from localops.encoding.redact import Redactor
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from localops.server.keys import Keys

FORMATS = ("text", "json")

# A UUID, with or without hyphens, and not a part of a longer number.
_UUID = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{8}(?:-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}(?![0-9a-fA-F])")
# Words of an address, and ids in it: sessions, rows, digests.
_WORD = re.compile(r"[A-Za-z][A-Za-z._-]{0,31}|[vV]?[0-9]{1,18}|[0-9a-f-]{6,64}|")
_PARAMETER = re.compile(r"[a-z_]{1,24}")
# Parameters whose values contain no recorded content.
_PLAIN = frozenset("sort order before after limit since until state kind format by seq seqs projects senders".split())
_VALUE = re.compile(r"[A-Za-z0-9_.:,+-]{1,60}")
_MOST_PARAMETERS = 12
_MOST = 4_000  # characters of a text in a line
_MOST_TRACE = 20_000

_format = "text"
_keys: Keys | None = None
_redactor = Redactor()
# Marks errors that are in the log already: the server below us would log them once more.
_LOGGED = "_localops_logged"


def use(form: str, keys: Keys | None = None) -> None:
    """Set the form of all later lines of this process, and remove `keys` from them."""
    global _format, _keys
    _format, _keys = form, keys
    if form == "json":
        output.write_as(lambda message, level: _json(level, "error" if level == "error" else "notice", message=message))
        sys.excepthook = lambda _, error, __: failed(error)
        threading.excepthook = lambda thread: failed(thread.exc_value) if thread.exc_value else None


def take_over() -> None:
    """Write what uvicorn, asyncio and others log, and what Python warns of, as lines of ours."""
    logging.captureWarnings(capture=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, _Handler)]
    root.addHandler(_Handler())


def started(message: str, **facts: Any) -> None:
    """Write that the server listens; the line is on stdout, for a program that has started it."""
    _write(_json("info", "start", message=message, **facts) if _format == "json" else f"{message}\n", sys.stdout)


def notice(event: str, message: str, *, level: str = "info", **facts: Any) -> None:
    """Write a line for the operator."""
    if _format == "json":
        _write(_json(level, event, message=message, **facts), sys.stderr)
        return
    output.say(f"{_now()} {scrub(message)}")


def trouble(kind: str, why: object, *, status: int, repeated: int, request_id: str | None, **about: str | None) -> None:
    """Write a line about a problem, and `about` what it is in a JSON line; clients get only its kind."""
    if _format == "json":
        facts = {"status": status, "kind": kind, "message": str(why), "repeated": repeated or None}
        _write(_json("error", "trouble", request_id=request_id, **facts, **about), sys.stderr)
        return
    more = f" ({repeated} times more since the last line about it)" if repeated else ""
    output.say(f"{_now()} {status}: {kind}: {scrub(str(why))}{more}")


def access(**facts: Any) -> None:
    """Write a line about a request."""
    if _format == "json":
        level = "error" if (facts.get("status") or 0) >= 500 else "info"
        _write(_json(level, "request", **facts), sys.stdout)
        return
    method, path = facts.pop("method"), facts.pop("path")
    rest = " ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
    _write(f"{_now()} {output.clean(scrub(f'{method} {path} {rest}'))}\n", sys.stdout)


def failed(error: BaseException, **facts: Any) -> None:
    """Write an unexpected error with its traceback."""
    setattr(error, _LOGGED, True)
    trace = "".join(traceback.format_exception(error))
    if _format == "json":
        message = f"{type(error).__name__}: {error}"
        _write(_json("error", "error", message=message, traceback=trace, **facts), sys.stderr)
        return
    where = " ".join(str(facts[name]) for name in ("method", "path", "request_id") if facts.get(name))
    output.say(f"{_now()} 500: internal error: {where}")
    _write(output.clean(scrub(trace[-_MOST_TRACE:]), newlines=True), sys.stderr)


def scrub(text: str) -> str:
    """Return a text without secrets; a key of a hub becomes `key:` and its handle."""
    if len(text) > _MOST_TRACE:
        text = text[-_MOST_TRACE:]
    shown = _UUID.sub(_without_key, text)
    return _redactor.clean(shown)[0]


def address(path: str, query: bytes) -> str:
    """Return the address of a request, without what could be a secret or content.

    >>> address("/api/1/sessions", b"limit=3&text=why&state=Failure")
    '/api/1/sessions?limit=3&text=…&state=Failure'
    """
    segments = path[:1_000].split("/")[:16]
    shown = scrub("/".join(each if _WORD.fullmatch(each) else "…" for each in segments))
    if not query:
        return shown
    try:
        pairs = parse_qsl(query[:4_000].decode("latin-1"), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        return f"{shown}?…"
    parts = [_parameter(*pair) for pair in pairs[:_MOST_PARAMETERS]]
    return f"{shown}?{'&'.join(parts)}"


def _parameter(name: str, value: str) -> str:
    if not _PARAMETER.fullmatch(name):
        return "…"
    plain = name in _PLAIN and _VALUE.fullmatch(value) is not None and scrub(value) == value
    return f"{name}={value if plain else '…'}"


def _without_key(match: re.Match[str]) -> str:
    """Return a UUID, or the handle of the key that it is."""
    from localops.server.keys import handle_of

    parsed = uuid.UUID(match[0])
    # Keys that name their hub have this version; ids of sessions have others.
    if parsed.version == 8 or (_keys is not None and _keys.knows(str(parsed))):
        return f"key:{handle_of(str(parsed))}"
    return match[0]


def _json(level: str, event: str, **facts: Any) -> str:
    shown = {name: _loggable(name, value) for name, value in facts.items() if value is not None}
    document = {"time": _now(), "level": level, "event": event, **shown}
    return encode.dumps(document).decode() + "\n"


def _loggable(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    # The end of a traceback names the error.
    return scrub(value[-_MOST_TRACE:] if name == "traceback" else value[:_MOST])


def _write(line: str, stream: TextIO | None) -> None:
    """Write one line at once; a log that cannot be written stops nothing."""
    try:
        if stream is not None:
            stream.write(line)
            stream.flush()
    except (OSError, ValueError):
        return


def _now() -> str:
    return events.iso(clock.now_ns())


class _Handler(logging.Handler):
    """Writes records of the standard library's logging as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless it is about an error that is in the log already."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and hasattr(error, _LOGGED):
            return
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        if error is not None:
            failed(error, logger=record.name, note=message)
        else:
            notice("log", f"{record.name}: {message}", level=record.levelname.lower(), logger=record.name)
