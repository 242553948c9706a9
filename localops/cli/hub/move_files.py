"""`localops hub move` with a bucket: send the files of a hub there, or bring them back."""

from __future__ import annotations

import click

from localops import clock, output
from localops.cli.common import print_json, print_table
from localops.cli.hub.common import files_at, note, owned, some

# Nanoseconds between two progress messages.
_EVERY = 10_000_000_000


def move_files(context: click.Context, folder: str, url: str, *, back: bool, as_json: bool) -> None:
    """Move the files of a hub, and print the result; exit code 1 if some cannot be moved."""
    from localops.server import files_elsewhere

    last_ns = clock.now_ns()

    def say(project: str, done: int, of: int) -> None:
        nonlocal last_ns
        if clock.now_ns() - last_ns > _EVERY:
            last_ns = clock.now_ns()
            output.say(f"{project}: {output.count(done)} of {output.counted(of, 'file')}")

    files = files_at(folder, url)
    work = files_elsewhere.to_folder if back else files_elsewhere.to_bucket
    try:
        with owned(folder):
            moved = work(files, folder, say)
    finally:
        files.close()
    is_good = not any(each.lacking for each in moved)
    if is_good:
        note(folder, "hub.move", **({"from": url} if back else {"to": url}))
    if as_json:
        print_json({"projects": [each._asdict() for each in moved], "is_good": is_good})
    else:
        lines = [(each.project, output.count(each.files)) for each in moved]
        if lines:
            print_table(lines, ("project", "files"), align="lr", soft=("project",))
        for each in moved:
            if each.lacking:
                many = output.counted(len(each.lacking), "file is", "files are")
                output.say(f"{each.project}: {many} missing or damaged: {some(each.lacking, 3)}")
        output.say(_next(folder, url, is_good=is_good, back=back))
    if not is_good:
        context.exit(1)


def _next(folder: str, url: str, *, is_good: bool, back: bool) -> str:
    if not is_good:
        return "`localops sync --verify` on the machines sends such files again; then run this once more"
    if back:
        return f"{folder} has every file: start the hub without --files; the files in {url} may be deleted then"
    return f"the files of {folder} are in {url}: start the hub with --files {url}, which moves newer files, too"
