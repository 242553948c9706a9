"""Open the home for one command, with a warning about rows that its figures lack.

Nothing here needs click: a command that is run without options does not load it.
"""

from __future__ import annotations

import os

from localops import config, output
from localops.cli import printing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from localops.reading.home import Home

# The file of a home that is only a cache: `mirrored` reads it.
_CACHE = "store.json"


def begin() -> None:
    """Reset the warnings of an earlier command of this process."""
    printing.missing.clear()


def fault(home: str | None) -> str | None:
    """Return the problem of a named home; None if it exists or was not named.

    The default home may be missing: on a new machine there is nothing in it yet. A home that could not be made has
    its rows in the user's state folder.
    """
    folder = config.home(home)
    if not (home or os.environ.get("LOCALOPS_HOME")) or os.path.isdir(folder):
        return None
    from localops.journal import spill

    if spill.strays(folder):
        return None
    return "is not a directory" if os.path.lexists(folder) else "does not exist"


def refuse_cache(home: str | None) -> None:
    """Refuse the folder of a hub that has only a part of its rows there."""
    folder = config.home(home)
    if os.path.exists(os.path.join(folder, _CACHE)):
        from localops.reading import mirrored

        mirrored.refuse(folder)


def look(home: str | None = None, project: str | None = None) -> Home:
    """Open the home for one command; print missing rows as a warning, and add them to its --json.

    A project that cannot be read does not stop the command from showing the others, but the exit code is 1.
    """
    from localops.reading.home import Home

    refuse_cache(home)
    opened = Home(home, project, strict=False)
    unreadable = opened.unreadable
    if unreadable and not opened.projects:
        raise next(iter(unreadable.values()))
    for name, error in unreadable.items():
        output.say(f"skipping {name}: {error}")
    for name, many in opened.waiting.items():
        output.say(f"{name}: {waiting_rows(many)}, not counted in figures yet: run `localops doctor`")
    printing.missing.update(spilled_waiting=sum(opened.waiting.values()), unreadable=sorted(unreadable))
    return opened


def exit_code() -> int:
    """Return the exit code of a finished command: 1 if it had to skip a project."""
    return 1 if printing.missing.get("unreadable") else 0


def waiting_rows(many: int) -> str:
    """Describe how many rows are in the spill file and not yet in the journal."""
    return f"{output.counted(many, 'row waits', 'rows wait')} in the spill file"
