"""The names that `import localops` promises."""

from __future__ import annotations

import contextlib
import importlib
import re
import types
from pathlib import Path

import pytest

import localops


def test_all_is_what_can_be_imported_sorted() -> None:
    """`__all__` lists every public name of the package that is no module, in order."""
    for name in localops.__all__:
        getattr(localops, name)  # loaded on first use
    loaded = {name for name, value in vars(localops).items() if not isinstance(value, types.ModuleType)}
    public = sorted(
        name for name in loaded if not name.startswith("_") and name not in ("annotations", "TYPE_CHECKING")
    )
    assert localops.__all__ == public


def test_a_name_of_agentops_leads_to_its_module() -> None:
    """Each public name of AgentOps that this package does not have leads to the module that has it, by its error."""
    from localops import agentops

    for name in set(agentops.__all__) - set(localops.__all__):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}': use localops") as refusal:
            getattr(localops, name)
        (module, there), *_ = re.findall(r"from (\S+) import (\w+)", str(refusal.value))
        assert hasattr(importlib.import_module(module), there)


def test_no_module_takes_the_name_of_a_decorator() -> None:
    """Whatever is imported after them, `localops.session` and the others stay the decorators."""
    from localops import decorators
    from localops.sdk import decorators as there

    localops.init()
    for file in Path(localops.__file__).parent.glob("*"):
        if file.suffix in (".py", "") and not file.name.startswith(("_", ".")) and file.stem != "langchain":
            with contextlib.suppress(ImportError):
                importlib.import_module(f"localops.{file.stem}")
    for name in decorators.__all__:
        assert getattr(localops, name) is getattr(decorators, name)
    assert all(getattr(there, name) is getattr(decorators, name) for name in there.__all__ if name != "track_endpoint")


def test_every_decorator_is_listed() -> None:
    """`localops.decorators.__all__` is sorted, and each of its names is there and documented."""
    from localops import decorators

    assert decorators.__all__ == sorted(decorators.__all__)
    assert all(getattr(decorators, name).__doc__ for name in decorators.__all__)


def test_a_session_offers_what_the_page_lists() -> None:
    """`dir` of a session, which a prompt completes from, has the names of the page about recording."""
    page = (Path(localops.__file__).parent / "docs" / "recording.md").read_text(encoding="utf-8")
    listed = page[page.index("Attributes of a `Session`") : page.index("### How a session ends")]
    with localops.start_session() as session:
        offered = {name for name in dir(session) if not name.startswith("_")}
    assert offered == {name for name in re.findall(r"`(\w+)`", listed) if name not in ("Session", "None")}
    assert {name for name in dir(localops) if not name.startswith("__")} == set(localops.__all__)
