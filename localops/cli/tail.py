"""`localops tail`: print the last events, and with -f new ones as they are written."""

from __future__ import annotations

import time

import click

from localops import clock, config, output
from localops.cli import common
from localops.journal import rows
from localops.journal.stored import named
from localops.reading import analytics, facts
from localops.reading.home import Project

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from localops.journal.stored import Stored
    from localops.reading.home import Home

# Seconds between two polls. Each poll is a separate read transaction, as during a long one a recorder's WAL would grow.
_POLL = 0.2
# Rows read at a time, which bounds the memory for a large backlog.
_PAGE = 500
# Rows that are not about the run.
_QUIET = frozenset(("host", "clock", "journal"))


@click.command()
@click.argument("session", required=False, metavar="[ID|last]")
@click.option(
    "-f", "--follow", is_flag=True, help="Print new rows as they are written, until the session ends or Ctrl-C."
)
@click.option("-n", "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Rows to start with.")
@common.place_options
@click.option("--json", "as_json", is_flag=True, help="JSON lines: one document for each row.")
def tail(session: str | None, follow: bool, limit: int, home: str | None, project: str | None, as_json: bool) -> None:
    """Print the last events of a session, or of all projects, a line each."""
    with common.look(home, project) as opened:
        if session is None:
            _tail_all(opened, limit, follow=follow, everything=project is None, as_json=as_json)
            return
        found_in, id = opened.find(session)
        printer = _Printer(found_in, as_json=as_json)
        after, newest = printer.newest(limit, id)
        for row in newest:
            printer.show(row)
        while follow and found_in.standing(id).state == "Running":
            after = printer.next(after, id)
            time.sleep(_POLL)
        # Rows between the last poll and the end of the session.
        if follow:
            printer.next(after, id)


def _tail_all(opened: Home, limit: int, *, follow: bool, everything: bool, as_json: bool) -> None:
    if not opened.projects:
        waits = f"waiting for the first session in {opened.folder}; stop with Ctrl-C"
        output.say(waits if follow else opened.nothing_yet())
    printers = {project.name: _Printer(project, as_json=as_json) for project in opened.projects}
    _prefix(printers)
    positions = {}
    newest: list[tuple[_Printer, Stored]] = []
    for name, printer in printers.items():
        positions[name], page = printer.newest(limit)
        newest += [(printer, row) for row in page]
    for printer, row in sorted(newest, key=lambda pair: pair[1].at_ns)[-limit:]:
        printer.show(row)
    while follow:
        time.sleep(_POLL)
        # A new project can appear while we follow.
        for name in config.projects(opened.folder) if everything else ():
            if (
                name not in printers.keys() | opened.unreadable.keys()
                and (project := Project(opened.folder, name)).exists
            ):
                printers[name] = _Printer(project, as_json=as_json)
                _prefix(printers)
        for name, printer in printers.items():
            positions[name] = printer.next(positions.get(name, 0))


def _prefix(printers: dict[str, _Printer]) -> None:
    """Begin each line with its project if there are several."""
    for name, printer in printers.items():
        printer.prefix = f"{name}  " if len(printers) > 1 else ""


class _Printer:
    """A printer of one project's rows, a line each."""

    def __init__(self, project: Project, *, as_json: bool) -> None:
        self.prefix = ""
        self._project = project
        self._as_json = as_json

    def newest(self, limit: int, session: bytes | None = None) -> tuple[int, list[Stored]]:
        """Return the seq of the last row, and the last rows up to it that are shown, in order."""
        ask = self._project.ask
        # Read first, so that rows written between the two reads are left for `next`.
        upto = int(ask("last_seq")[0][0])
        # Four times as many, because some kinds of rows are not shown.
        many = limit * 4
        if session is None:
            newest = [row for row in named(ask("newest_rows", many=many)) if row.seq <= upto]
        else:
            newest = named(self._project.reader.all("newest_rows_of", session=session, upto=upto, many=many))
        shown = list(self._without_quiet(reversed(newest)))
        return upto, shown[-limit:] if limit else []

    def next(self, after: int, session: bytes | None = None) -> int:
        """Print the rows after a seq; return the seq of the last one."""
        while page := named(self._project.ask("rows_after", after=after, many=_PAGE)):
            after = page[-1].seq
            for row in self._without_quiet(page):
                if session in (None, row.session):
                    self.show(row)
        return after

    def _without_quiet(self, page: Iterable[Stored]) -> Iterator[Stored]:
        return (row for row in page if row.kind not in _QUIET)

    def show(self, row: Stored) -> None:
        """Print a row as a line of text or JSON."""
        if self._as_json:
            document = {"project": self._project.name, "row": facts.dated(analytics.plain(row, None))}
            common.print_json_line(document)
            return
        moment = _moment(row.at_ns)
        line = _fitted(f"{self.prefix}{common.short_id(row.session)}  ", row, len(moment) + 2)
        style = "red" if row.failed or row.kind == "error" else None
        print(f"{common.dim(moment)}  {common.styled(line, style) if style else line}", flush=True)


def _fitted(begin: str, row: Stored, used: int) -> str:
    """Return a line that fits the terminal: tokens are dropped first, then the end of the text."""
    words, figures = _words(row)
    room = common.width()
    line = "  ".join([output.clean(f"{begin}{words}"), *figures])
    if room is None or output.cells_wide(line) + used <= room:
        return line
    right = "  ".join(["", *figures[-2:]])
    return output.cut(output.clean(f"{begin}{words}"), max(room - used - output.cells_wide(right), 20)) + right


def _moment(at_ns: int) -> str:
    """Return the time of day in UTC, preceded by the date if that is not today."""
    moment = output.when(at_ns)
    return moment[11:] if moment[:10] == output.when(clock.now_ns())[:10] else moment


def _words(row: Stored) -> tuple[str, list[str]]:
    """Return a row's text, and the figures at the end of its line: tokens, cost, duration."""
    kind, name = row.kind, row.name or ""
    body = analytics.plain(row, None)
    if kind == "end":
        return f"session ended: {name}{_reason(body)}", []
    if kind == "price":
        return f"price of {row.model or 'a call'}: {name}", [output.money(row.cost)]
    if kind in rows.BOOKS:
        return f"{kind} {name} {' '.join(body['tags'])}".strip(), []
    if row.phase == rows.OPEN:
        return f"▸ {kind} {name}", []
    if kind == "error":
        return f"error {name}: {_first_line(body.get('details'))}".rstrip(": "), []
    took = output.short_duration((row.end_ns or row.at_ns) - (row.start_ns or row.at_ns))
    if kind == "llm":
        counts = (row.tokens_in, row.tokens_out)
        tokens = [] if counts == (None, None) else [" → ".join(output.count(count or 0) for count in counts)]
        names = " ".join(dict.fromkeys(filter(None, (name, row.model))))
        return f"llm {names}".rstrip(), [*tokens, facts.cost_text(body), took]
    cost = [output.money(row.cost)] if row.cost else []
    return f"{kind} {name}{' failed' if row.failed else ''}", [*cost, took] if kind != "agent" else []


def _reason(body: dict[str, Any]) -> str:
    reason = _first_line(body.get("reason"))
    return f", {reason}" if reason else ""


def _first_line(text: object) -> str:
    return next(iter(str(text or "").strip().splitlines()), "")
