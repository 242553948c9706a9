"""`localops tail`: the last events, and the next ones as they are written."""

from __future__ import annotations

import time

import click

from localops import analytics, clock, config, output, rows
from localops.cli import common
from localops.home import Home, Project

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Row = dict[str, Any]

_NAP = 0.2  # seconds between two looks; each is a read of its own, so no recorder's WAL grows for us
_PAGE = 500
_COLUMNS = ("seq", *rows.COLUMNS)
_QUIET = frozenset(("host", "clock", "journal"))  # rows that tell a person nothing about a run


@click.command()
@click.argument("session", required=False, metavar="[ID|last]")
@click.option("-f", "--follow", is_flag=True, help="Go on as rows are written, until the session ends or Ctrl-C.")
@click.option("-n", "--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Rows to begin with.")
@common.place_options
@common.json_option
def tail(session: str | None, follow: bool, limit: int, home: str | None, project: str | None, as_json: bool) -> None:
    """Show the last events as lines: of a session, or of everything."""
    with Home(home, project) as opened:
        if session is None:
            _tail_all(opened, limit, follow=follow, as_json=as_json)
            return
        found, id = opened.find(session)
        printer = _Printer(found, as_json=as_json, many=False)
        after, newest = printer.newest(limit, id)
        for row in newest:
            printer.show(row)
        while follow and found.standing(id).state == "Running":
            after = printer.next(after, id)
            time.sleep(_NAP)
        if follow:
            printer.next(after, id)


def _tail_all(opened: Home, limit: int, *, follow: bool, as_json: bool) -> None:
    if not opened.projects and not follow:
        output.say(opened.nothing_yet())
        return
    printers = {each.name: _Printer(each, as_json=as_json, many=len(opened.projects) > 1) for each in opened.projects}
    positions = {}
    newest: list[tuple[_Printer, Row]] = []
    for name, printer in printers.items():
        positions[name], found = printer.newest(limit)
        newest += [(printer, row) for row in found]
    for printer, row in sorted(newest, key=lambda told: told[1]["at_ns"])[-limit:]:
        printer.show(row)
    while follow:
        time.sleep(_NAP)
        for name in config.projects(opened.folder):  # a project may begin while we look
            if name not in printers and (each := Project(opened.folder, name)).exists:
                printers[name] = _Printer(each, as_json=as_json, many=True)
        for name, printer in printers.items():
            positions[name] = printer.next(positions.get(name, 0))


class _Printer:
    """Prints a project's rows, a line each, and remembers who is who."""

    def __init__(self, project: Project, *, as_json: bool, many: bool) -> None:
        self._project = project
        self._as_json = as_json
        self._prefix = f"{project.name}  " if many else ""

    def newest(self, limit: int, session: bytes | None = None) -> tuple[int, list[Row]]:
        """The seq of the very last row, and the last rows up to it that are told, in their order."""
        ask = self._project.ask
        upto = int(ask("last_seq")[0][0])
        many = limit * 4  # rows of the books are not shown
        found = ask("newest_rows", many=many) if session is None else ask("newest_rows_of", session=session, many=many)
        told = [row for row in self._told(reversed(found)) if row["seq"] <= upto]
        return upto, told[-limit:] if limit else []

    def next(self, after: int, session: bytes | None = None) -> int:
        """Print what was written since; the seq of the last row."""
        while page := self._project.ask("rows_after", after=after, many=_PAGE):
            after = page[-1][0]
            for row in self._told(page):
                if session in (None, row["session"]):
                    self.show(row)
        return after

    def _told(self, found: Any) -> Iterator[Row]:
        for values in found:
            row = dict(zip(_COLUMNS, values, strict=True))
            if row["kind"] not in _QUIET:
                yield row

    def show(self, row: Row) -> None:
        """Print a row as one line, or as a document of one."""
        if self._as_json:
            from localops.cli.show import event_facts

            common.print_json_line({"project": self._project.name, "row": event_facts(analytics.plain(row, None))})
            return
        line = f"{self._prefix}{common.short_id(row['session'])}  {_words(row)}"
        moment = _moment(row["at_ns"])
        room = (common.width() or 0) - len(moment) - 2
        line = output.clean(line)
        line = output.cut(line, room) if room > 10 else line
        style = "red" if row["failed"] or row["kind"] == "error" else None
        print(f"{common.dim(moment)}  {common.styled(line, style) if style else line}", flush=True)


def _moment(at_ns: int) -> str:
    """The time of day, with the day before it if that is not today's (both in UTC)."""
    moment = output.when(at_ns)
    return moment[11:] if moment[:10] == output.when(clock.now_ns())[:10] else moment


def _words(row: Row) -> str:
    """What a row says, in a line."""
    kind, name = row["kind"], row["name"] or ""
    body = analytics.plain(row, None)
    if kind == "end":
        return f"session ended: {name}{_because(body)}"
    if kind in rows.BOOKS:
        return f"{kind} {name} {' '.join(body['tags'])}".strip()
    if row["phase"] == rows.OPEN:
        return f"▸ {kind} {name}"
    took = output.short_duration((row["end_ns"] or row["at_ns"]) - (row["start_ns"] or row["at_ns"]))
    if kind == "llm":
        tokens = f"{output.count(row['tokens_in'] or 0)} → {output.count(row['tokens_out'] or 0)}"
        return f"llm {row['model'] or name}  {tokens}  {output.money(row['cost'])}  {took}"
    if kind == "error":
        return f"error {name}: {_first_line(body.get('details'))}"
    return f"{kind} {name}  {'failed after ' if row['failed'] else ''}{took}"


def _because(body: Row) -> str:
    reason = _first_line(body.get("reason"))
    return f", {reason}" if reason else ""


def _first_line(text: object) -> str:
    return next(iter(str(text or "").strip().splitlines()), "")
