"""Write sessions as one HTML file, a report, which needs no server; it consists of the dashboard's files.

The file has, as JSON, all that a session's page would request from a server; `web/report.js` answers from it.  Recorded
text is escaped, or is JSON without characters that have a meaning in HTML; a content security policy forbids other
scripts and all loading.  Sessions and their events are written one by one.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
from html import escape
from typing import NamedTuple

from localops import __version__, config, output
from localops.errors import ConfigError
from localops.journal import blobs, rows, stored
from localops.reading import (
    analytics,
    event_lines,
    facts,
    media_types,
    page_html,
    post_mortem,
    post_mortem_page,
    recorded_steps,
    session_details,
    timeline,
    waste,
    waste_page,
    web_bundle,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO

    from localops.journal.reader import Reader
    from localops.journal.stored import Stored
    from localops.reading.export import Run
    from localops.reading.facts import Facts

# The most bytes of an image or video in the file, and of all of them.
_LARGEST = 32 << 20
_MOST = 256 << 20
_PIECE = 3 << 18  # a multiple of 3, so that the base64 pieces can be joined
_ROWS = 25_000  # per page of events in columns
# Modules that only pages with a server use.
_SERVED = frozenset(("palette.js",))
_SHOWN = ("image/", "video/")
_STEPS = 100  # on a page

_START = """<!doctype html>
<html lang="en" data-page="{page}" data-report data-view="{view}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title} · localops</title>
<link rel="icon" href="{icon}" type="image/svg+xml">
<script>{theme}</script>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="top">
{brand}
<span id="written">Report</span>
<div class="tools" id="tools"></div>
</header>
"""
_MAIN = """<main id="main" tabindex="-1">
<noscript><p class="problem">This report needs JavaScript, which is inside this file. Its data is below, as
JSON.</p></noscript>
{inside}
</main>
"""
_END = """<footer class="foot">localops {version}</footer>
<script>{plot}</script>
<script type="module">{script}</script>
</body>
</html>
"""


def write(runs: Iterable[Run], file: BinaryIO, view: str = "timeline") -> None:
    """Write sessions as one HTML file; with several, it starts with a list. `view` is the first view of a session."""
    each = iter(runs)
    two = list(itertools.islice(each, 2))
    # A command whose own output is for a program uses no separators, but a report is for people.
    before = output.separate_digits(",")
    try:
        if len(two) == 1:
            _Report(file, view).write_one(two[0])
        else:
            _Report(file, view).write_several(itertools.chain(two, each))
    finally:
        output.separate_digits(before)


class _Where(NamedTuple):
    """Where a session is stored: its project."""

    name: str
    folder: str
    reader: Reader


class _Report:
    def __init__(self, file: BinaryIO, view: str) -> None:
        self._file, self._view = file, view
        # Digests of the files already in the report.
        self._written_files: set[str] = set()
        self._left = _MOST

    def write_one(self, run: Run) -> None:
        where, shown = _facts(run)
        self._start("session", str(shown["name"] or "Session"), '<span class="brand">localops</span>')
        self._put(_MAIN.format(inside=page_html.session_head(shown)))
        self._session(run, where, shown)
        self._end()

    def write_several(self, runs: Iterable[Run]) -> None:
        self._start("sessions", "Sessions", '<a class="brand" href="?" title="All sessions">localops</a>')
        listed = []
        for run in runs:
            where, shown = _facts(run)
            self._put(f'<template data-of="{shown["session_id"]}">{page_html.session_head(shown)}</template>\n')
            self._session(run, where, shown)
            listed.append({**shown, "models": [part.value for part in run.parts["model"]]})
        table = page_html.session_table(listed, lambda id: f"?session={id}", picks=False)
        self._put(_MAIN.format(inside=f'<div class="list-head"><h1 class="page-title">Sessions</h1></div>\n{table}'))
        self._end()

    def _start(self, page: str, title: str, brand: str) -> None:
        style = web_bundle.sheet("style.css", "session.css", "vendor/uplot.css")
        scripts = (web_bundle.classic("theme.js"), web_bundle.classic("vendor/uplot.js"), _script())
        policy = {
            "default-src": ["'none'"],
            "script-src": map(_hash, scripts),
            "style-src": [_hash(style)],
            "img-src": ["data:"],
            "media-src": ["data:", "blob:"],
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
        }
        self._put(
            _START.format(
                page=page,
                view=self._view,
                policy="; ".join(f"{name} {' '.join(sources)}" for name, sources in policy.items()),
                title=escape(title),
                icon=web_bundle.picture("icon.svg"),
                theme=scripts[0],
                style=style,
                brand=brand,
            )
        )

    def _end(self) -> None:
        self._put(
            _END.format(version=escape(__version__), plot=web_bundle.classic("vendor/uplot.js"), script=_script())
        )

    def _session(self, run: Run, where: _Where, shown: Facts) -> None:
        """Write the data for the page of a session."""
        id = str(shown["session_id"])
        self._part(id, "facts", "application/json", shown)
        after: Any = 0
        while after is not None:
            columns = timeline.page(run.reader, run, after=after, limit=_ROWS)
            after = columns["next"]
            self._part(id, "timeline", "application/json", columns)
        self._put(f'<script type="text/plain" data-part="events" data-of="{id}">\n')
        entries: list[int] = []
        files: dict[str, Facts] = {}
        for event in _events(run, where):
            entries.append(event["entry"])
            files.update((one["digest"], one) for one in event.get("attachments", ()))
            self._put(page_html.embedded(event) + "\n")
        self._put("</script>\n")
        self._part(id, "answers", "application/json", {"entries": entries, **_findings(run)})
        video: Any = shown["video"]
        if video and "blob" in video:
            files[video["digest"]] = video
        for digest, one in files.items():
            self._blob(where, digest, one)

    def _part(self, id: str, part: str, kind: str, value: object) -> None:
        self._put(f'<script type="{kind}" data-part="{part}" data-of="{id}">{page_html.embedded(value)}</script>\n')

    def _blob(self, where: _Where, digest: str, one: Facts) -> None:
        """Write an image or a video, each once; too large files are left out."""
        kind, size = str(one["kind"]), one["bytes"]
        if not isinstance(size, int) or not kind.startswith(_SHOWN) or digest in self._written_files:
            return
        if size > min(_LARGEST, self._left):
            return
        try:
            with open(blobs.find(where.folder, digest), "rb") as source:
                content = source.read(_LARGEST + 1)
            if media_types.kind_of(content[: media_types.HEAD]).is_text:
                content = media_types.decoded(content) or b""
        # Deleted in the meantime.
        except OSError:
            return
        self._written_files.add(digest)
        self._left -= len(content)
        self._put(f'<script type="text/plain" data-blob="{digest}">')
        for at in range(0, len(content), _PIECE):
            self._file.write(base64.b64encode(content[at : at + _PIECE]))
        self._put("</script>\n")

    def _put(self, text: str) -> None:
        self._file.write(text.encode())


def _script() -> str:
    return web_bundle.script("report_start.js", _SERVED)


def _hash(inside: str) -> str:
    """Return the source expression that allows an element with this text in the policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"


def _facts(run: Run) -> tuple[_Where, Facts]:
    where = _Where(run.project, run.folder, run.reader)
    more = session_details.more(where, run)
    # A report does not show the remotes of a session.
    return where, {**facts.session(run.project, run, run.report()), **more, "sync": []}


def _findings(run: Run) -> Facts:
    """Return the parts of a session's post-mortem and loops that its page shows."""
    try:
        polling = config.polling(os.path.dirname(run.folder))
    except ConfigError as error:
        config.leave_out(str(error))
        polling = []
    why = post_mortem_page.document(post_mortem.of(run.project, run, run.reader, polling=polling))
    loops = waste_page.document(waste.of(run.project, run, run.reader, polling=polling))
    return {
        # With the targets of its links.
        "why": {name: why[name] for name in ("page", "first_error", "last_error", "spending", "steps")},
        "steps": recorded_steps.facts(run, limit=_STEPS) if why["steps"] else None,
        "loops": {name: loops[name] for name in ("page", "loops", "loops_count", "alarming", "headline")},
    }


def _events(run: Run, where: _Where) -> Iterator[dict[str, Any]]:
    """Yield each event with the facts for its details and its row; events without an end come last."""
    later = analytics.afterwards(run.reader, run.id)
    opened: dict[bytes, Stored] = {}
    agents: dict[bytes, str] = {}

    def one(halves: list[Stored]) -> dict[str, Any]:
        begun, last = halves[0], halves[-1]
        event = facts.event(last, begun if len(halves) == 2 else None, later.get(last.id))
        if last.agent and last.agent not in agents:
            agents[last.agent] = analytics.agent_name(run.reader, last.agent.hex())
        digests = blobs.named([half.body for half in halves])
        known = {
            **event,
            "entry": min(begun.seq, last.seq),
            "agent_name": agents[last.agent] if last.agent else None,
            "trigger_entry": session_details.entry_of(run.reader, session_details.trigger_of(event)),
            "empty": session_details.why_empty(event),
            "attachments": [{**session_details.attachment(where, digest), "url": None} for digest in digests],
        }
        # Most events have only a few of these.
        given = {name: value for name, value in known.items() if value not in (None, []) and name != "session"}
        return {**given, "preview": event_lines.line_of(halves)}

    for row in stored.openings_first(run.reader, run.id):
        # A page has no rows for agents.
        if row.kind in rows.BOOKS or row.kind == "agent":
            continue
        if row.phase == rows.OPEN:
            opened[row.id] = row
        else:
            before = opened.pop(row.id, None)
            yield one([row] if before is None else [before, row])
    for row in opened.values():
        yield one([row])
