"""`localops run`: run an unchanged program in which `import agentops` imports localops.

The program replaces this process (exec): exit code, signals, traceback and arguments are its own.  PYTHONPATH leads to
the replacement for AgentOps, and Python processes that the program starts inherit it; no installed package changes.
"""

from __future__ import annotations

import os
import sys

import click

from localops import config


# What follows the program are its own arguments.
@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--home", metavar="FOLDER", help="Record into this home.")
@click.option("--project", metavar="NAME", help="Record into this project, unless the program chooses one.")
@click.option("-m", "module", is_flag=True, help="PROGRAM is a module, as for `python -m`.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="PROGRAM [ARGS]...")
def run(home: str | None, project: str | None, module: bool, program: tuple[str, ...]) -> None:
    """Run a program with localops in place of agentops.

    \b
    localops run app.py --verbose
    localops run -m my_agents.nightly
    localops run uvicorn app:app

    The program is unchanged: `import agentops` imports localops. It runs in this Python, and its exit code is
    returned. A name that is not a file is looked up as a command, first beside this Python. Options of `run` come
    before the name of the program, the program's own arguments after it.
    """
    if not program:
        raise click.UsageError("give a program to run: a script, or -m and a module")
    if home is not None:
        os.environ["LOCALOPS_HOME"] = config.home(home)
    if project is not None:
        os.environ["LOCALOPS_PROJECT"] = config.check_project(project)
    os.environ["LOCALOPS_RUN"] = "1"
    # Child processes inherit it, so that their `import agentops` is localops, too.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_shim(), os.environ.get("PYTHONPATH")]))
    # exec discards buffered output.
    sys.stdout.flush()
    command = None if module else _command(program[0])
    if command is not None:
        os.execv(command, [command, *program[1:]])  # noqa: S606  without a shell
    how = ["-m"] if module else []
    os.execv(sys.executable, [sys.executable, *how, *program])  # noqa: S606  without a shell


def _command(name: str) -> str | None:
    """Return the path of a command such as `pytest`, first of those beside this Python; None for a script."""
    if os.sep in name or os.path.exists(name):
        return None
    if name in ("python", "python3"):
        return sys.executable
    from shutil import which

    return which(name, path=os.path.dirname(sys.executable)) or which(name)


def _shim() -> str:
    """Return the folder that holds our package named agentops."""
    import localops

    return os.path.join(os.path.dirname(os.path.abspath(localops.__file__)), "shim")
