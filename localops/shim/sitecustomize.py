"""Run by Python itself when a program is started by `localops run`: its model libraries record their calls.

Nothing of localops but two small modules is loaded before such a library is.
"""

from __future__ import annotations


def _run_the_other() -> None:
    """Run the sitecustomize that this one stands in front of, if there is one."""
    import importlib.util
    import os
    import sys
    from importlib.machinery import PathFinder

    here = os.path.dirname(os.path.abspath(__file__))
    others = [path for path in sys.path if os.path.abspath(path or ".") != here]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module  # who imports it is to find this one
        spec.loader.exec_module(module)


def _wait_for_libraries() -> None:
    import os

    if os.environ.get("LOCALOPS_RUN"):
        from localops import instrument

        instrument.wait(_start)


def _start() -> None:
    from localops import api

    api.client()


try:
    _wait_for_libraries()
except Exception as error:  # the edge: a broken installation must not keep the program from running
    import sys

    sys.stderr.write(f"localops: calls of model libraries are not recorded: {type(error).__name__}: {error}\n")
_run_the_other()
