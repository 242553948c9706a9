"""`localops open`: show a file in the pages, without importing it."""

from __future__ import annotations

import click

from localops import output
from localops.cli import common, ui
from localops_sync import opened_file

_MOST_PROBLEMS = 10  # that are printed


@click.command()
@click.argument("file", metavar="FILE")
@ui.serving_options
@common.json_option
def open(file: str, port: int | None, no_browser: bool, as_json: bool) -> None:
    """Show a file in the pages, until Ctrl-C, without importing it.

    FILE is a bundle, an export (sqlite, jsonl or otlp), or a journal, also a damaged one. It is only read: what it
    holds goes into a temporary home, which is removed at the end, or by the
    next `localops open` if this one is killed. What cannot be read of it is printed on stderr.
    """
    with opened_file.temporary_home() as home:
        opened = opened_file.unpack(file, home)
        for problem in opened.problems[:_MOST_PROBLEMS]:
            output.say(problem)
        if len(opened.problems) > _MOST_PROBLEMS:
            output.say(f"and {output.counted(len(opened.problems) - _MOST_PROBLEMS, 'more problem')} like these")
        ui.serve(home, None, port, no_browser, {"kind": opened.kind, "problems": opened.problems} if as_json else None)
