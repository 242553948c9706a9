"""`localops ui`: the pages, on this machine and for whoever started them."""

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

_PORT = 8640
_FRESH = 5.0  # seconds after which projects, and sessions that died, are looked for anew
_LINGER = 660.0  # seconds that one answer may take: pages that watch a session keep one open


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Where to listen on this machine; 0: a free port [default: {_PORT}, else a free one].",
)
@click.option("--no-browser", is_flag=True, help="Only print the link.")
@common.place_options
@common.json_option
def ui(port: int | None, no_browser: bool, home: str | None, project: str | None, as_json: bool) -> None:
    """Look at everything in a browser, until Ctrl-C.

    Nothing can be changed there, and nobody else can look: it listens on this machine only, and opens with the
    link that is printed. On a terminal a browser is opened, too.
    """
    gc.disable()  # until it listens: hundreds of modules come in, and none of them is garbage
    try:
        from localops.server import listen
        from localops.server.app import app
    except ImportError as error:
        raise ConfigError(f"the pages need more packages: pip install 'localops[ui]' ({error})") from error
    from localops.reading.home import Home
    from localops.server.browser_guard import Tokens
    from localops.server.home_reader import HomeReader
    from localops.server.limits import Limits

    folder, name = common.place(home, project)
    Home(folder, name).close()  # what cannot be looked into, or is not there, is said at once
    tokens = Tokens()
    limits = Limits(request=_LINGER, farewell=1)

    def ready(address: str) -> None:
        gc.freeze()  # what is there by now stays: no search for garbage looks at it again
        gc.enable()
        link = f"{address}/#t={tokens.make()}"
        if as_json:
            common.print_json_line({"url": link})
            return
        print(link, flush=True)
        if sys.stdout.isatty():
            say("Ctrl-C ends it")
            if not no_browser:
                _open(f"{address}/#t={tokens.make(once=True)}")

    listen.serve(
        app(HomeReader(folder, fresh=_FRESH), tokens=tokens, project=name, limits=limits),
        host="127.0.0.1",
        port=_PORT if port is None else port,
        else_any=port is None,
        limits=limits,
        ready=ready,
    )


def _open(link: str) -> None:
    """A browser with a window, if there is one; in a thread, since some return only when they are closed."""
    if sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    import threading
    import webbrowser

    show: Callable[[str], bool] = webbrowser.open
    threading.Thread(target=show, args=(link,), daemon=True).start()
