"""`localops open`: show a file in the pages, without importing it."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager

import click

from localops import output
from localops.cli import common, ui
from localops.upkeep import temporary_folders
from localops_sync import opened_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_MOST_PROBLEMS = 10  # the most that are printed


@click.command()
@click.argument("file", metavar="FILE")
@ui.serving_options
@common.json_option
def open(file: str, port: int | None, no_browser: bool, as_json: bool) -> None:
    """Show a file in the pages, until Ctrl-C, without importing it.

    FILE is a bundle, an export (sqlite, jsonl or otlp), or a journal, also a damaged one. It is only read: its contents
    go into a temporary home, which is removed at the end, or by the next `localops open` if this one is killed. What
    cannot be read is reported on stderr.
    """
    temporary_folders.remove_left()
    with _ended_by_signals(), temporary_folders.made(temporary_folders.OPEN) as home:
        opened = opened_file.unpack(file, home)
        for problem in opened.problems[:_MOST_PROBLEMS]:
            output.say(problem)
        if len(opened.problems) > _MOST_PROBLEMS:
            output.say(f"and {output.counted(len(opened.problems) - _MOST_PROBLEMS, 'more problem')} like these")
        ui.serve(home, None, port, no_browser, {"kind": opened.kind, "problems": opened.problems} if as_json else None)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Remove the unpacked files also if a signal ends the command; while it serves, the server has its own handlers."""
    # One that is ignored, as under nohup, stays so.
    ending = [
        number
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
        if signal.getsignal(number) == signal.SIG_DFL
    ]

    def end(number: int, _: FrameType | None) -> None:
        for each in ending:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    for number in ending:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)
