"""The structure of the code: which module may import which, and the one importer of each outside package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

_TOP = Path(__file__).parent.parent
_LIBRARY = _TOP / "localops"
_WORKER = _TOP / "sync" / "localops_sync"

# The folders whose modules each have a line of their own; of the others, the whole folder has one.
ROOMS = ("recording", "encoding", "journal", "reading", "transfer", "upkeep", "instrument", "otel")
FRONTS = ("instrument", "otel")  # rooms whose own __init__.py is what others use

# Bottom up. A module imports only from lines below its own; `localops` is the package's own __init__.py, and `room`
# that of each room, which is empty.
LAYERS = """
    room
    token_kinds
    errors clock fork_imports interruption lazy own_fields rows urls zstd alignment ambiguous_patterns parallel
    random_letters weak_values
    careful beginnings escapes patterns end_lock named_values
    shapes quick_look keyboard_interrupt
    host
    context facets locks openmetrics output raised redact sql
    objects
    participants events pricing stored plain_values responses
    billing recorded scores
    config encode filters
    faithful todays_rules
    wire parts story price_table
    mirrored session_state
    validation
    spill lost_wal
    blobs reader derived_file keeper
    any_sqlite journal_file
    rollups losses recovery wal forks
    journal
    row_index
    analytics bundle calls causes common_ids hints made_up markdown media_types previews salvage search
    given_scores missing_steps pauses steps rows_in_tables surroundings waiting_rows readable_texts
    diff_texts loops prompts shortest finish_reasons common_input alike prompt_differences ending_error tool_order
    call_table origins
    call_search small_origins
    indexes
    snapshot clocks doubts carried held_back key_ends recorded_steps scrubbed
    incomplete_sessions
    session_html
    missing machines
    returned stated_rows
    unread
    ingest delivery row_lines
    removal
    home parent_session event_processes
    lower_bounds score_hints
    exposition facts prune remotes repricing imported_prices timeline
    sentences
    given_results
    open_ends
    page_html session_details web_bundle
    event_lines matching_events
    erasing file_search temporary_folders slow_patterns findings
    deep_checks
    call_query
    call_facts call_speeds group_diff
    spending uncounted growing_prompts run_words
    doctor usage run_diff runs_table run_gate waste run_rows
    run_errors
    post_mortem waste_page waste_tables error_page last_call
    post_mortem_page made_tables
    past_session
    score_functions one_judge
    budget writer seen_calls own_scores loop_watch
    views
    recorder session_facts scoring sweep
    cleaning
    scrub
    once resuming forked
    once_calls
    operation_rows
    operation score_runs
    session
    process_exit
    notebook
    client
    span_values span_reading names messages exact imports libraries anthropic_streams openai_streams first_tokens
    groq_streams litellm_requests unparsed
    numbered plans tool_definitions
    mapping
    processor pydantic_ai client_calls mcp_calls threads langchain_runs children
    providers genai_requests
    switch
    instrument
    api
    decorators
    localops
    langchain
    dropin coding export sqlite_export otel testing
    report
    agentops
    sdk otlp
    dialects
    runs
    server mcp
    shim
    cli
    localops_sync
    localops_sync.cli
    __main__ __pyinstaller
"""

# A package, and the only place that may import it. Everything else is the standard library.
DOORS = {
    "apsw": [
        "localops/journal/any_sqlite.py",
        "localops/journal/journal.py",
        "localops/journal/journal_file.py",
        "localops/journal/reader.py",
        "localops/journal/recovery.py",
        "localops/journal/derived_file.py",
    ],
    "orjson": ["localops/encoding/encode.py"],
    "sqlite_utils": ["localops/reading/export.py", "localops/reading/sqlite_export.py"],
    "requests": ["sync/localops_sync/transport.py"],
    "urllib3": ["sync/localops_sync/transport.py", "localops/server/clickhouse/engine.py"],
    "filelock": ["localops/server/presence.py", "sync/localops_sync/worker.py"],
    "obstore": ["localops/server/bucket.py"],
    "opentelemetry": ["localops/otel/", "localops/otlp/protobuf.py", "sync/localops_sync/sinks/otlp_wire.py"],
    "pyarrow": ["localops/dialects/tables.py"],
    "pydantic_ai": ["localops/instrument/pydantic_ai.py"],
    "langchain_core": ["localops/langchain.py"],
    "starlette": ["localops/server/"],
    "uvicorn": ["localops/server/"],
    "PyInstaller": ["localops/__pyinstaller/"],
    "mcp": ["localops/mcp/server.py"],
    "mcp_types": ["localops/mcp/server.py"],
    "anyio": ["localops/mcp/server.py"],
    "pytest": ["localops/testing/plugin.py"],
    "click": ["localops/cli/", "sync/localops_sync/cli/"],
}

# None of these is needed to record, and each costs more than recording a hundred events.
HEAVY = "requests click sqlite_utils pydantic asyncio ssl socket sqlite3 logging signal".split()

_LEVEL = {module: level for level, line in enumerate(LAYERS.strip().splitlines()) for module in line.split()}
_FILES = sorted(path.relative_to(_TOP) for top in (_LIBRARY, _WORKER) for path in top.rglob("*.py"))
_OURS = ("localops", "localops_sync")


def _module(file: Path) -> str:
    """Return the name of a file in LAYERS: its module, its folder below localops, or the worker and its commands."""
    if file.parts[0] == "sync":
        return "localops_sync.cli" if "cli" in file.parts else "localops_sync"
    in_room = file.parts[1] in ROOMS
    name = file.parts[2 if in_room else 1].removesuffix(".py")
    if name != "__init__":
        return name
    return file.parts[1] if file.parts[1] in FRONTS else "room" if in_room else "localops"


def _statements(tree: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    """Yield the statements of a tree, at any depth; imports are nowhere else.

    Without types, those below `if TYPE_CHECKING:` are left out: they are never run, and a name for a type may point up.
    """
    for part in ("body", "handlers", "orelse", "finalbody", "cases"):
        for node in getattr(tree, part, ()):
            yield node
            checking = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            if types or not checking:
                yield from _statements(node, types=types)


def _imports(tree: ast.AST, package: list[str], *, types: bool = True) -> Iterator[str]:
    """Yield each name that a tree imports, in full, anywhere in it."""
    for node in _statements(tree, types=types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def _assigned(tree: ast.Module) -> Iterator[str]:
    """Yield each name that a module's own statements assign."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
            yield node.target.id


@cache
def _read(file: Path) -> tuple[set[str], set[str], list[str]]:
    """Return what a file imports, what of it is more than types, and the names that it assigns more than once.

    The tree is not kept, as it takes much memory.
    """
    tree = ast.parse((_TOP / file).read_text(encoding="utf-8"))
    package = list(file.parts[1:-1] if file.parts[0] == "sync" else file.parts[:-1])
    twice = [name for name, count in Counter(_assigned(tree)).items() if count > 1]
    return set(_imports(tree, package)), set(_imports(tree, package, types=False)), twice


def _imported(file: Path, *, types: bool = True) -> set[str]:
    imported, at_run_time, _ = _read(file)
    return imported if types else at_run_time


@cache
def _target(name: str) -> str | None:
    """Our module behind an imported name; None for other packages, and for the version, which all may ask."""
    top, _, rest = name.partition(".")
    if top not in _OURS or name == "localops.__version__":
        return None
    if name.startswith("localops_sync.cli"):
        return "localops_sync.cli"
    if top == "localops_sync":
        return top
    *rooms, first = [word for word in rest.split(".")[: 2 if rest.partition(".")[0] in ROOMS else 1] if word] or [""]
    folder = _LIBRARY.joinpath(*rooms)
    is_module = first and ((folder / first).is_dir() or (folder / f"{first}.py").is_file())
    if not is_module:
        return "room" if rooms else top
    return "room" if first in ROOMS and not rooms else first


def test_every_module_has_a_layer() -> None:
    """Each module is on one line of LAYERS, so that its imports can be checked."""
    homeless = [f"{file}: put `{_module(file)}` on a line" for file in _FILES if _module(file) not in _LEVEL]
    assert not homeless, "LAYERS in tests/test_layers.py lacks modules:\n" + "\n".join(homeless)


def _upward(file: Path) -> set[str]:
    """Return the modules that a file imports and that do not lie below it; types alone are free."""
    own = _module(file)
    targets = {target for name in _imported(file, types=False) if (target := _target(name)) and target != own}
    return {target for target in targets if _LEVEL.get(target, -1) >= _LEVEL.get(own, len(_LEVEL))}


def test_arrows_point_down() -> None:
    """A module imports only from layers below its own; types alone are free."""
    wrong = [f"{file} imports {', '.join(sorted(upward))}" for file in _FILES if (upward := _upward(file))]
    assert not wrong, "imports that do not point down:\n" + "\n".join(wrong)


def _name(file: Path) -> str:
    """Return the full name of the module in a file."""
    parts = file.with_suffix("").parts[file.parts[0] == "sync" :]
    return ".".join(parts).removesuffix(".__init__")


def _behind(name: str, modules: Collection[str]) -> str | None:
    """Return which of our modules an imported name is, or is in; None for another package, and for our version."""
    while name and name not in modules and name != "localops.__version__":
        name = name.rpartition(".")[0]
    return name if name in modules else None


def test_no_module_wants_itself_by_way_of_others() -> None:
    """Types and late imports count, too: of two modules that name each other, neither is read alone."""
    modules = {_name(file): file for file in _FILES}
    arrows = {
        module: {behind for name in _imported(file) if (behind := _behind(name, modules)) and behind != module}
        for module, file in modules.items()
    }
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}; types and late imports count")


def test_the_library_needs_no_worker() -> None:
    """Nothing in localops imports localops_sync: its commands are found by name, when one of them is run."""
    files = [file for file in _FILES if file.parts[0] != "sync"]
    wanted = {
        str(file): names for file in files if (names := {n for n in _imported(file) if n.startswith("localops_sync")})
    }
    assert not wanted, f"these import the worker: {wanted}"


def _past_the_door(file: Path) -> set[str]:
    """Return the packages from outside that a file imports without being their door."""
    tops = {name.partition(".")[0] for name in _imported(file)} - sys.stdlib_module_names - {*_OURS, ""}
    return {package for package in tops if not str(file).startswith(tuple(DOORS.get(package, [])))}


def test_packages_come_in_by_their_door() -> None:
    """A package from outside is imported by its one door; a package without a door by no module."""
    wrong = [
        f"{file} imports {package}; that is up to {DOORS.get(package) or 'no module'}"
        for file in _FILES
        for package in sorted(_past_the_door(file))
    ]
    assert not wrong, "imports past the door:\n" + "\n".join(wrong)


def test_a_module_assigns_each_of_its_names_once() -> None:
    """A second assignment of a constant, as a merge leaves it behind, hides the first, which a reader sees."""
    wrong = [f"{file}: {', '.join(twice)}" for file in _FILES if (twice := _read(file)[2])]
    assert not wrong, "names that a module assigns more than once:\n" + "\n".join(wrong)


def test_classes_of_click_take_no_type_parameter_at_run_time() -> None:
    """In the oldest click that we allow they have none: `cli/common.py` has names for both."""
    generic = re.compile(r"^(?:class|    class|\w+ =).*\bclick\.\w+\[", re.MULTILINE)
    wrong = [str(file) for file in _FILES if "cli" in file.parts and generic.search((_TOP / file).read_text("utf-8"))]
    assert not wrong, f"these give a class of click a type parameter: {wrong}"


def test_no_module_imports_sqlite3() -> None:
    """The standard sqlite3 is a second SQLite: only export.py loads it, with sqlite-utils."""
    wrong = [str(file) for file in _FILES if "sqlite3" in {name.partition(".")[0] for name in _imported(file)}]
    assert not wrong, "these import sqlite3:\n" + "\n".join(wrong)


def test_files_of_both_packages_are_looked_at() -> None:
    """The tests above are about files that are there: the library, its folders, the worker and its commands."""
    assert {"localops", "journal", "server", "cli", "localops_sync", "localops_sync.cli"} <= set(map(_module, _FILES))


def test_a_plain_run_is_light() -> None:
    """From the first import to the end of a session: nothing heavy, no module for commands, figures or decorators."""
    code = (
        "import localops, sys; localops.init().record(localops.ActionEvent()); localops.end_session('Success')\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=_TOP, capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    packages = {name.partition(".")[0] for name in modules}
    assert {"localops", "apsw"} <= packages
    assert not packages.intersection(HEAVY)
    assert not packages.intersection(DOORS) - {"apsw"}
    # orjson would load them: it takes longer than all else here, and a short program has no need of it.
    assert not packages & {"inspect", "dataclasses", "json"}
    needless = {
        "localops.reading.analytics",
        "localops.encoding.pricing",
        "localops.decorators",
        "localops.reading.home",
    }
    assert not modules & needless


def test_importing_localops_loads_no_more_than_is_asked_for() -> None:
    """The package alone loads none of its modules; each name loads what it needs, and all can be imported."""
    code = (
        "import sys, localops\nassert not {name for name in sys.modules if name.startswith('localops.')}\n"
        "assert not hasattr(localops, '_nothing') and not hasattr(localops, 'nothing')\n"
        "assert localops.errors.LocalopsError is localops.LocalopsError\n"
        "assert set(localops.__all__) <= set(dir(localops))\n"
        "from localops import *\nassert init is localops.init and track_agent is localops.track_agent"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=_TOP, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_figures_of_a_session_need_no_recorder() -> None:
    """`localops analytics last` loads no parser, no orjson, and the journal's writer only to put new rows in order."""
    record = "import localops; localops.init().record(localops.ActionEvent()); localops.end_session('Success')"
    subprocess.run([sys.executable, "-c", record], cwd=_TOP, check=True)
    show = "import sys, atexit; from localops.cli import main; atexit.register(lambda: print(*sys.modules))\n"
    show += "main(['analytics', 'last'])"
    first, second = (
        subprocess.run([sys.executable, "-c", show], cwd=_TOP, capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    for done in (first, second):
        loaded = set(done.stdout.splitlines()[-1].split())
        assert "localops.journal.reader" in loaded
        assert ("localops.journal.journal" in loaded) == (done is first)
        needless = {
            "click",
            "re",
            "uuid",
            "orjson",
            "localops.recording.events",
            "localops.recording.session",
            "locale",
        }
        assert not loaded & needless


def test_pages_of_a_local_home_start_without_the_parts_of_a_hub(tmp_path: Path) -> None:
    """Nor do they load what only one of them needs: exports, post-mortems, scores."""
    code = "import sys, atexit; from localops.cli import main; atexit.register(lambda: print(*sys.modules))\n"
    code += f"main(['ui', '--port', '0', '--home', {str(tmp_path)!r}])"
    with subprocess.Popen([sys.executable, "-c", code], cwd=_TOP, stdout=subprocess.PIPE, text=True) as pages:
        assert pages.stdout is not None
        assert pages.stdout.readline().startswith("http://127.0.0.1:")
        pages.terminate()
        loaded = set(pages.stdout.read().split())
    assert {"localops.server.app", "localops.server.home_reader"} <= loaded
    needless = {
        "localops.server.hub_parts",
        "localops.server.sync_api",
        "localops.server.intake.otlp",
        "localops.server.upkeep",
        "localops.server.bucket",
        "localops.transfer.ingest",
        "localops.upkeep.scoring",
        "localops.reading.export",
        "localops.reading.post_mortem",
    }
    assert not loaded & needless


@pytest.mark.parametrize("command", ["path", "analytics last"])
@pytest.mark.parametrize("collected", [True, False])
def test_a_command_leaves_what_it_loaded_to_the_end(collected: bool, command: str) -> None:
    """A search for garbage goes through nothing that was loaded, and a program that wants no such search gets none."""
    code = "import gc, sys; gc.enable() if sys.argv[2:] else gc.disable(); import localops.cli\n"
    code += "run = localops.cli._loaded(sys.argv[1].split()); print(gc.isenabled(), gc.get_freeze_count() > 5_000)"
    program = [sys.executable, "-c", code, command, *(["collected"] if collected else [])]
    done = subprocess.run(program, cwd=_TOP, capture_output=True, text=True, check=True)
    assert done.stdout == f"{collected} {collected}\n"


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a.b, c", {"a.b", "c"}),
        ("def f():\n    from localops import journal, encode", {"localops.journal", "localops.encode"}),
        ("from . import clock", {"localops.clock"}),
        ("from .rows import Row", {"localops.rows.Row"}),
    ],
)
def test_every_way_to_import_is_seen(source: str, names: set[str]) -> None:
    """Absolute, relative and late imports all count as arrows."""
    assert set(_imports(ast.parse(source), ["localops"])) == names


def test_scripts_of_the_pages_have_lines_that_fit() -> None:
    """The formatter breaks code at 120 characters, and leaves long comments and texts alone."""
    lines = [
        (file.name, number)
        for file in sorted((_LIBRARY / "web").glob("*.js"))
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > 120
    ]
    assert lines == []
