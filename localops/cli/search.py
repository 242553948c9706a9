"""`localops search`: the events in which words were said, wherever in them."""

from __future__ import annotations

import sys
from itertools import islice

import click

from localops import output
from localops.cli import common
from localops.journal.rows import id_text
from localops.reading.search import Query
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from localops.reading.home import Project
    from localops.reading.search import Hit


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--session", metavar="ID", help="Only in this session.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many.")
@common.place_options
@common.json_option
def search(
    text: tuple[str, ...],
    session: str | None,
    limit: int,
    home: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """Find events by their words.

    Every word must be in the event: in its name, model, tags, or anything given to it or returned by it. What
    is one word to you, like web_search, is found as it stands; light* finds every word that begins so. The
    index is brought up to date first.
    """
    wanted = " ".join(text)
    query = Query(wanted)  # one without a word is refused before anything is read
    with common.look(home, project) as opened:
        only, id = opened.find(session) if session is not None else (None, None)
        hits: list[tuple[Project, Hit]] = []
        for each in opened.projects:
            if only in (None, each):
                _bring_up_to_date(each)
                hits += [(each, hit) for hit in islice(_once(each.index().events(wanted, id)), limit)]
        hits.sort(key=lambda pair: pair[1].at_ns, reverse=True)
        if as_json:
            common.print_json({"hits": [_facts(found, hit) for found, hit in hits[:limit]]})
        elif hits:
            _print_hits(hits[:limit], query)
        else:
            output.say(f"nothing has {wanted!r}" if opened.projects else opened.nothing_yet())


def _once(hits: Iterable[Hit]) -> Iterator[Hit]:
    """Leave out the row an operation opened with where the one it ended with has the words too."""
    seen: set[bytes] = set()
    for hit in hits:
        if hit.id not in seen:
            seen.add(hit.id)
            yield hit


def _bring_up_to_date(project: Project) -> None:
    """Index what is new; on a terminal, with a bar when it takes long enough to wonder."""
    index = project.index()
    missing = index.missing()
    if missing < 20_000 or not sys.stderr.isatty():
        index.extend()
        return
    with click.progressbar(length=missing, label=f"indexing {project.name}", file=sys.stderr) as bar:
        index.extend(bar.update)


def _print_hits(hits: list[tuple[Project, Hit]], query: Query) -> None:
    """A line for each in a file or a pipe; two on a terminal, where what was found needs room to be seen."""
    table = [
        (
            id_text(hit.id)[:23],
            output.when(hit.at_ns),
            found.name_of(hit.session) or common.short_id(hit.session),
            f"{hit.kind} {hit.name or ''}".rstrip(),
            hit.snippet,
        )
        for found, hit in hits
    ]
    room = common.width()
    if room is None:
        common.print_table(table, ("event", "when (UTC)", "session", "what", "where it says"))
        return
    for id, when, session, what, snippet in table:
        begin = f"{id}  {when}  " if room >= 64 else f"{id}  "
        print(common.dim(begin) + output.cut(output.clean(f"{what} in {session}"), max(room - len(begin), 8)))
        print(f"  {_marked(snippet, query, max(room - 2, 20))}")


def _marked(snippet: str, query: Query, room: int) -> str:
    """As much of the text around what was found as there is room for, and that in bold."""
    text = output.clean(snippet)
    first, last = query.place(text)
    while first > 1 and output.cells_wide(text[:last]) > max(room - 12, room // 2):
        text, first, last = "…" + text[2:], first - 1, last - 1
    text = output.cut(text, room)
    return text[:first] + common.bold(text[first:last]) + text[last:]


def _facts(project: Project, hit: Hit) -> dict[str, Any]:
    return {
        "project": project.name,
        "session_id": id_text(hit.session),
        "event_id": id_text(hit.id),
        "kind": hit.kind,
        "name": hit.name,
        "at": events.iso(hit.at_ns),
        "snippet": hit.snippet,
    }
