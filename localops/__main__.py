"""The `localops` command, also as `python -m localops`.

A coding agent waits for each of its hooks: those run without the modules that all other commands need.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_NOT_EVENTS = ("install", "uninstall")
_AGENTS = ("claude-code", "codex")


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    if sys.argv[1:2] == ["hook"] and len(sys.argv) > 2 and _is_event(sys.argv[2:]):
        import gc
        import os

        # It ends before there is garbage worth collecting.
        gc.disable()
        from localops.coding import hook

        code = hook.main(sys.argv[2:])
        # Everything is written and closed: an orderly shutdown of the interpreter would only take time.
        os._exit(code)
    from localops import cli

    cli.main()


def _is_event(arguments: list[str]) -> bool:
    """Return whether these arguments of `hook` name an event, which an agent sends, not a person."""
    if arguments[0] in _NOT_EVENTS or {"-h", "--help"} & set(arguments) or arguments[0][:1] == "-":
        return False
    # A misspelt event in an agent's settings must not block the agent, as the exit code of a wrong command would.
    return arguments[0] in _AGENTS or sys.stdin is None or not sys.stdin.isatty()


if __name__ == "__main__":
    main()
