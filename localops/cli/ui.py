"""`localops ui`: serve the pages on this machine, to the user who started it."""

from __future__ import annotations

import gc
import os
import sys

import click

from localops.cli import common
from localops.errors import ConfigError
from localops.output import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from localops.cli.common import F

_PORT = 8640
# Seconds after which new projects and dead sessions are looked for again.
_FRESH = 5.0
# Seconds that a response may take: a page that follows a session keeps one open.
_LINGER = 660.0


def serving_options(command: F) -> F:
    """Add the options of commands that show the pages."""
    command = click.option("--no-browser", is_flag=True, help="Only print the link.")(command)
    return click.option(
        "--port",
        type=click.IntRange(0, 65535),
        help=f"Port to listen on; 0: any free port [default: {_PORT}, else a free one].",
    )(command)


@click.command()
@serving_options
@common.place_options
@common.json_option
def ui(port: int | None, no_browser: bool, home: str | None, project: str | None, as_json: bool) -> None:
    """Show everything in a browser, until Ctrl-C.

    The pages change no event; scores, notes and stars can be added. They are private: the server listens on this
    machine only, and needs the link that it prints. On a terminal it also opens a browser.
    """
    folder, name = common.place(home, project)
    serve(folder, name, port, no_browser, {} if as_json else None)


def serve(folder: str, name: str | None, port: int | None, no_browser: bool, facts: dict[str, Any] | None) -> None:
    """Serve the pages of a home until Ctrl-C; with facts, print them and the link as JSON, and open no browser."""
    # Until the server listens: loading hundreds of modules makes no garbage, and looking for it takes time.
    gc.disable()
    try:
        from localops.server import listen
        from localops.server.app import app
    except ImportError as error:
        raise ConfigError(f"missing packages for the pages: pip install 'localops[ui]' ({error})") from error
    from localops.reading.home import Home
    from localops.server.browser_guard import Tokens
    from localops.server.home_reader import HomeReader
    from localops.server.limits import Limits

    # If the home cannot be read, fail now, not at the first request.
    Home(folder, name).close()
    tokens = Tokens()
    limits = Limits(request=_LINGER, farewell=1)

    def ready(address: str) -> None:
        # The objects that exist by now stay: exclude them from garbage collection.
        gc.freeze()
        gc.enable()
        link = f"{address}/#t={tokens.make()}"
        if facts is not None:
            common.print_json_line({"url": link, **facts})
            return
        print(link, flush=True)
        if sys.stdout.isatty():
            say("stop with Ctrl-C")
            if not no_browser:
                # A token for one login: other users can see the command line of the browser.
                _open(f"{address}/#t={tokens.make(once=True)}")

    listen.serve(
        app(HomeReader(folder, fresh=_FRESH), tokens=tokens, project=name, limits=limits),
        host="127.0.0.1",
        port=_PORT if port is None else port,
        else_any=port is None,
        limits=limits,
        ready=ready,
        is_of_terminal=True,
    )


def _open(link: str) -> None:
    """Open a link in a graphical browser if there is one."""
    if sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    import threading
    import webbrowser

    # In a thread, because some browsers return only when they are closed.
    show: Callable[[str], bool] = webbrowser.open
    threading.Thread(target=show, args=(link,), daemon=True).start()
