"""`localops tail`: the last events, and the next ones as they are written."""

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

_NAP = 0.2  # seconds between two looks; each is a read of its own, so no recorder's WAL grows for us
_PAGE = 500
_QUIET = frozenset(("host", "clock", "journal"))  # rows that tell a person nothing about a run


@click.command()
@click.argument("session", required=False, metavar="[ID|last]")
@click.option("-f", "--follow", is_flag=True, help="Go on as rows are written, until the session ends or Ctrl-C.")
@click.option("-n", "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Rows to begin with.")
@common.place_options
@click.option("--json", "as_json", is_flag=True, help="JSON lines: a document for each row, on a line of its own.")
def tail(session: str | None, follow: bool, limit: int, home: str | None, project: str | None, as_json: bool) -> None:
    """Show the last events as lines: of a session, or of everything.

    With --json each row is a JSON document on a line of its own (JSON lines), printed as soon as it is seen.
    """
    with common.look(home, project) as opened:
        if session is None:
            _tail_all(opened, limit, follow=follow, everything=project is None, as_json=as_json)
            return
        found, id = opened.find(session)
        printer = _Printer(found, as_json=as_json)
        after, newest = printer.newest(limit, id)
        for row in newest:
            printer.show(row)
        while follow and found.standing(id).state == "Running":
            after = printer.next(after, id)
            time.sleep(_NAP)
        if follow:
            printer.next(after, id)


def _tail_all(opened: Home, limit: int, *, follow: bool, everything: bool, as_json: bool) -> None:
    if not opened.projects:
        waits = f"waiting for a first session in {opened.folder}; Ctrl-C ends this"
        output.say(waits if follow else opened.nothing_yet())
    printers = {each.name: _Printer(each, as_json=as_json) for each in opened.projects}
    _prefix(printers)
    positions = {}
    newest: list[tuple[_Printer, Stored]] = []
    for name, printer in printers.items():
        positions[name], found = printer.newest(limit)
        newest += [(printer, row) for row in found]
    for printer, row in sorted(newest, key=lambda pair: pair[1].at_ns)[-limit:]:
        printer.show(row)
    while follow:
        time.sleep(_NAP)
        for name in config.projects(opened.folder) if everything else ():  # one may begin while we look
            if name not in printers.keys() | opened.unreadable.keys() and (each := Project(opened.folder, name)).exists:
                printers[name] = _Printer(each, as_json=as_json)
                _prefix(printers)
        for name, printer in printers.items():
            positions[name] = printer.next(positions.get(name, 0))


def _prefix(printers: dict[str, _Printer]) -> None:
    """Lines name their project where there are several."""
    for name, printer in printers.items():
        printer.prefix = f"{name}  " if len(printers) > 1 else ""


class _Printer:
    """Prints a project's rows, a line each."""

    def __init__(self, project: Project, *, as_json: bool) -> None:
        self.prefix = ""
        self._project = project
        self._as_json = as_json

    def newest(self, limit: int, session: bytes | None = None) -> tuple[int, list[Stored]]:
        """The seq of the very last row, and the last rows up to it that are told, in their order."""
        ask = self._project.ask
        upto = int(ask("last_seq")[0][0])
        many = limit * 4  # rows of the books are not shown
        found = ask("newest_rows", many=many) if session is None else ask("newest_rows_of", session=session, many=many)
        told = [row for row in self._told(reversed(named(found))) if row.seq <= upto]
        return upto, told[-limit:] if limit else []

    def next(self, after: int, session: bytes | None = None) -> int:
        """Print what was written since; the seq of the last row."""
        while page := named(self._project.ask("rows_after", after=after, many=_PAGE)):
            after = page[-1].seq
            for row in self._told(page):
                if session in (None, row.session):
                    self.show(row)
        return after

    def _told(self, page: Iterable[Stored]) -> Iterator[Stored]:
        return (row for row in page if row.kind not in _QUIET)

    def show(self, row: Stored) -> None:
        """Print a row as one line, or as a document of one."""
        if self._as_json:
            document = {"project": self._project.name, "row": facts.dated(analytics.plain(row, None))}
            common.print_json_line(document)
            return
        moment = _moment(row.at_ns)
        line = _fitted(f"{self.prefix}{common.short_id(row.session)}  ", row, len(moment) + 2)
        style = "red" if row.failed or row.kind == "error" else None
        print(f"{common.dim(moment)}  {common.styled(line, style) if style else line}", flush=True)


def _fitted(begin: str, row: Stored, used: int) -> str:
    """A line that a terminal has room for: tokens go first, then the end of what it says."""
    words, figures = _words(row)
    room = common.width()
    line = "  ".join([output.clean(f"{begin}{words}"), *figures])
    if room is None or output.cells_wide(line) + used <= room:
        return line
    right = "  ".join(["", *figures[-2:]])
    return output.cut(output.clean(f"{begin}{words}"), max(room - used - output.cells_wide(right), 20)) + right


def _moment(at_ns: int) -> str:
    """The time of day, with the day before it if that is not today's (both in UTC)."""
    moment = output.when(at_ns)
    return moment[11:] if moment[:10] == output.when(clock.now_ns())[:10] else moment


def _words(row: Stored) -> tuple[str, list[str]]:
    """What a row says in a line, and the figures at its end: tokens, cost, time."""
    kind, name = row.kind, row.name or ""
    body = analytics.plain(row, None)
    if kind == "end":
        return f"session ended: {name}{_because(body)}", []
    if kind in rows.BOOKS:
        return f"{kind} {name} {' '.join(body['tags'])}".strip(), []
    if row.phase == rows.OPEN:
        return f"▸ {kind} {name}", []
    if kind == "error":
        return f"error {name}: {_first_line(body.get('details'))}".rstrip(": "), []
    took = output.short_duration((row.end_ns or row.at_ns) - (row.start_ns or row.at_ns))
    if kind == "llm":
        tokens = f"{output.count(row.tokens_in or 0)} → {output.count(row.tokens_out or 0)}"
        return f"llm {row.model or name}".rstrip(), [tokens, output.money(row.cost), took]
    cost = [output.money(row.cost)] if row.cost else []
    return f"{kind} {name}{' failed' if row.failed else ''}", [*cost, took] if kind != "agent" else []


def _because(body: dict[str, Any]) -> str:
    reason = _first_line(body.get("reason"))
    return f", {reason}" if reason else ""


def _first_line(text: object) -> str:
    return next(iter(str(text or "").strip().splitlines()), "")
