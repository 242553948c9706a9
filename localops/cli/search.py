"""`localops search`: find events by their words."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from itertools import chain, islice

import click

from localops import output
from localops.cli import common, filters
from localops.errors import LocalopsError
from localops.journal.rows import id_text
from localops.reading.home import Filters
from localops.reading.search import Query, once_each
from localops.recording import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from localops.reading.home import Home, Project
    from localops.reading.search import Hit

# The id of a session, or its beginning as commands print it.
_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}(-?[0-9a-f]{4}){0,2}(-?[0-9a-f]{12})?", re.IGNORECASE)


@click.command()
@click.argument("text", nargs=-1, required=True)
@click.option("--session", metavar="ID", help="Only in this session.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many.")
@filters.options_but_text
@common.place_options
@common.json_option
def search(
    text: tuple[str, ...],
    session: str | None,
    limit: int,
    home: str | None,
    project: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Find events by their words.

    An event must contain every word: in its name, model, tags, input or output; the start of a session also in
    the name of its machine. A name like web_search counts as one word; light* matches every word that begins
    with light. The newest session comes first; its events come in their order, so that the first one is where the
    words occurred first. The options of `localops sessions` choose the sessions that are searched, as --user ann or
    --tag demo. The index is brought up to date first.
    """
    wanted = " ".join(text)
    # Before the home is opened: a query without words is an error whatever it holds.
    query = Query(wanted)
    asked = filters.chosen(given)
    with common.look(home, project) as opened:
        only, id = opened.find(session) if session is not None else (None, None)
        by_session: dict[tuple[str, bytes], list[tuple[Project, Hit]]] = {}
        for source in opened.projects:
            if only in (None, source):
                _bring_up_to_date(source)
                hits_of_all = once_each(source.index().occurrences(wanted, id))
                for hit in islice(_among(source, asked, hits_of_all), limit):
                    by_session.setdefault((source.name, hit.session), []).append((source, hit))
        newest_first = sorted(by_session.values(), key=lambda of_session: of_session[0][1].at_ns, reverse=True)
        hits = list(islice(chain.from_iterable(newest_first), limit))
        if as_json:
            if not hits:
                filters.say_hint(opened, asked)
            common.print_json({"hits": [_facts(where, hit) for where, hit in hits]})
        elif hits:
            _print_hits(hits, query)
        else:
            output.say(_nothing_like(opened, wanted, asked) if opened.projects else opened.nothing_yet())


def _among(project: Project, asked: Filters, hits: Iterator[Hit]) -> Iterator[Hit]:
    """Return the events of the sessions that are asked for."""
    if asked == Filters():
        return hits
    sessions = {listed.session for listed in project.sessions(asked)}
    return (hit for hit in hits if hit.session in sessions)


def _nothing_like(opened: Home, wanted: str, asked: Filters) -> str:
    words = wanted.split()
    options = [filters.option_for(word) for word in words]
    if any(options):
        plain = [word for word, option in zip(words, options, strict=True) if option is None]
        instead = " ".join(["search" if plain else "sessions", *plain, *filter(None, options)])
        return f"no event contains {wanted!r}; filters are options here: localops {instead}"
    if asked != Filters():
        return (
            f"no event of the sessions that pass the filters contains {wanted!r}{filters.unknown_score(opened, asked)}"
        )
    if _ID.fullmatch(wanted):
        with suppress(LocalopsError):
            opened.find(wanted)
            return f"{wanted} is the id of a session: localops show {wanted}"
    if len(words) > 1:
        return f"no event contains all of these words: {wanted!r}"
    more = "" if wanted.endswith("*") else f"; '{wanted}*' finds words that begin with it"
    return f"no event contains the word {wanted!r}{more}"


def _bring_up_to_date(project: Project) -> None:
    """Index new rows; on a terminal, with a progress bar if there are many."""
    index = project.index()
    missing = index.missing()
    # Fewer rows are indexed before a bar could be read.
    if missing < 20_000 or not sys.stderr.isatty():
        index.extend()
        return
    with click.progressbar(length=missing, label=f"indexing {project.name}", file=sys.stderr) as bar:
        index.extend(bar.update)


def _print_hits(hits: list[tuple[Project, Hit]], query: Query) -> None:
    """Print a table into a file or a pipe; on a terminal two lines for each hit, to leave room for its text."""
    table = [
        (
            id_text(hit.id)[:23],
            output.when(hit.at_ns),
            where.name_of(hit.session) or common.short_id(hit.session),
            f"{hit.kind} {hit.name or ''}".rstrip(),
            hit.snippet,
        )
        for where, hit in hits
    ]
    room = common.width()
    if room is None:
        common.print_table(table, ("event", "when (UTC)", "session", "what", "text"))
        return
    for id, when, session, what, snippet in table:
        begin = f"{id}  {when}  " if room >= 64 else f"{id}  "
        print(common.dim(begin) + output.cut(output.clean(f"{what} in {session}"), max(room - len(begin), 8)))
        print(f"  {_marked(snippet, query, max(room - 2, 20))}")


def _marked(snippet: str, query: Query, room: int) -> str:
    """Return as much of the text around the match as fits, with the match in bold."""
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
