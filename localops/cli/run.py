"""`localops run`: a program as it is, except that `import agentops` finds localops.

It takes this process over (exec): exit code, signals, traceback and arguments are its own.  The stand-in for
AgentOps is found by PYTHONPATH, which its own Python processes inherit; nothing that is installed changes.
"""

from __future__ import annotations

import os
import sys

import click

from localops import config


@click.command(context_settings={"allow_interspersed_args": False})  # what follows the program is its own
@click.option("--home", metavar="FOLDER", help="Record into this home.")
@click.option("--project", metavar="NAME", help="Record into this project, where the program names none.")
@click.option("-m", "module", is_flag=True, help="PROGRAM is a module, as for `python -m`.")
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="PROGRAM [ARGS]...")
def run(home: str | None, project: str | None, module: bool, program: tuple[str, ...]) -> None:
    """Run a program; where it imports agentops, it finds localops.

    \b
    localops run app.py --verbose
    localops run -m my_agents.nightly

    The program is run by this Python, unchanged, and its exit code is what comes back. What stands behind
    its name is for the program; options of `run` come before it.
    """
    if not program:
        raise click.UsageError("say what to run: a script, or -m and a module")
    if home is not None:
        os.environ["LOCALOPS_HOME"] = config.home(home)
    if project is not None:
        os.environ["LOCALOPS_PROJECT"] = config.check_project(project)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_stand_in(), os.environ.get("PYTHONPATH")]))
    sys.stdout.flush()
    how = ["-m"] if module else []
    os.execv(sys.executable, [sys.executable, *how, *program])  # noqa: S606  there is no shell in between


def _stand_in() -> str:
    """The folder in which a package named agentops waits."""
    import localops

    return os.path.join(os.path.dirname(os.path.abspath(localops.__file__)), "shim")
