"""`localops hub move`: move the rows of a hub to ClickHouse, or its files to a bucket, or back to its folder."""

from __future__ import annotations

import os

import click

from localops import clock, output
from localops.cli.common import json_option, print_json, print_table
from localops.cli.hub.common import folder_of, keys_of, note, owned, some
from localops.cli.hub.move_files import move_files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.server.clickhouse.comparing import Compared
    from localops.server.clickhouse.moving import Moved

# Nanoseconds between two progress messages.
_EVERY = 10_000_000_000


@click.command()
@click.option("--from", "source", required=True, metavar="FOLDER|URL", help="Where the rows are: a data folder, or...")
@click.option(
    "--to",
    "target",
    required=True,
    metavar="URL|FOLDER",
    help="...clickhouse://USER@HOST:8123/DATABASE, or s3://BUCKET/PREFIX.",
)
@click.option("--verify", is_flag=True, help="Compare the contents of every row and the state of every session.")
@json_option
@click.pass_context
def move(context: click.Context, source: str, target: str, verify: bool, as_json: bool) -> None:
    """Move the rows of a hub between its folder and ClickHouse, or its files to a bucket and back.

    Run it while the hub serves; if it is killed, it continues when it is run again. Then stop the hub, run the same
    command once more to move what the hub received meanwhile, and start the hub with --store (or, after a move back,
    without it). Senders keep their rows while the hub is stopped. Until that last step, the folder has every row.

    Keys and rules stay in the folder. To move files back, stop the hub first. Exit code 1 if both sides differ in the
    end; then the hub's folder and store stay as they are.
    """
    is_back = _is_url(source)
    if is_back == _is_url(target):
        raise click.UsageError("one of --from and --to is a data folder, and the other clickhouse://... or s3://...")
    url, data = (source, target) if is_back else (target, source)
    if url.startswith("s3:"):
        move_files(context, keys_of(data).folder, url, back=is_back, as_json=as_json)
        return
    folder = folder_of(data) if is_back else keys_of(data).folder
    moved = _move(folder, url, back=is_back, verify=verify)
    if moved.is_done:
        note(folder, "hub.move", **({"from": url} if is_back else {"to": url}))
    if as_json:
        print_json({**vars(moved), "projects": [vars(each) for each in moved.projects], "is_good": moved.is_good})
    else:
        _print(moved, folder, url, back=is_back)
    if not moved.is_good:
        context.exit(1)


def _is_url(place: str) -> bool:
    return "://" in place


def _move(folder: str, url: str, *, back: bool, verify: bool) -> Moved:
    from localops.server.clickhouse import moving
    from localops.server.clickhouse.engine import Engine, address

    engine = Engine(address(url))
    os.makedirs(folder, mode=0o700, exist_ok=True)
    last_ns = clock.now_ns()

    def say(project: str, done: int, of: int) -> None:
        nonlocal last_ns
        if clock.now_ns() - last_ns > _EVERY:
            last_ns = clock.now_ns()
            unit = "sessions are back" if back else "rows are there"
            output.say(f"{project}: {output.count(done)} of {output.count(of)} {unit}")

    work = moving.to_home if back else moving.to_clickhouse
    with owned(folder):
        return work(folder, url, engine, say, whole=verify)


def _print(moved: Moved, folder: str, url: str, *, back: bool) -> None:
    if moved.projects:
        headers = ("project", "sessions", "rows", "digest")
        lines = [
            (each.project, output.count(each.sessions), output.count(each.rows), each.digest or "figures only")
            for each in moved.projects
        ]
        print_table(lines, headers, align="lrrl", soft=("project",))
    for each in moved.projects:
        if problem := _problem(each):
            output.say(f"{each.project}: {problem}")
    if not moved.is_good:
        output.say("nothing was changed: run it again; if it still differs, `localops hub check` names what is missing")
    elif not moved.is_done:
        output.say(
            f"a hub serves {folder}: {'every row is there' if back else f'its rows are in {url}'} up to now. Stop it, "
            f"run the same command again, and start it {'without' if back else 'with'} --store"
        )
    elif back:
        output.say(f"{folder} has every row: start the hub without --store; the rows in {url} may be dropped then")
    else:
        output.say(f"the rows of {folder} are in {url}: start the hub with --store {url}")


def _problem(compared: Compared) -> str:
    problems = []
    if compared.differing:
        many = output.counted(len(compared.differing), "session differs", "sessions differ")
        problems.append(f"{many} ({some(compared.differing, 3)})")
    if compared.notes:
        problems.append(f"{some(compared.notes, 3)} beside rows differ")
    if compared.changing:
        problems.append(f"{output.counted(compared.changing, 'session')} changed meanwhile")
    return ", and ".join(problems)
