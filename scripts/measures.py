#!/usr/bin/env python3
"""Print how the code stands: sizes, names, imports, comments, words.

    scripts/measures.py            the tree as it is
    scripts/measures.py FOLDER     another checkout
    scripts/measures.py --check    refuse idioms, with a few exceptions

Each figure is a count that a reader can repeat by hand; what it counts stands in the function that makes it.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeGuard

ARGUMENTS = [argument for argument in sys.argv[1:] if argument != "--check"]
TOP = Path(ARGUMENTS[0] if ARGUMENTS else Path(__file__).parent.parent).resolve()
LIBRARY = TOP / "localops"
WORKER = TOP / "sync" / "localops_sync"
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef

# The folders that hold the bare rows: there, and only there, a row is a tuple read by position.
ROW_FOLDERS = ("localops/journal/",)

# Words that readers stumble over, as a pattern, and what to write instead.
IDIOMS = {
    "told": (r"\b[Tt]old\b", "reported, printed, given; a local is named for the thing: reply, facts, rows"),
    "said": (r"\b[Ss]aid\b", "reported, printed, warned; a local is named for the thing: text, message"),
    "whoever": (r"\b[Ww]hoever\b", "the client, the user, the program that …"),
    "is none": (r"\b(?<!there )(?:[Ii]s|[Aa]re) none\b(?!\s*[:=])", "not a valid X, does not exist, is missing"),
    "anew": (r"\b[Aa]new\b", "again"),
    "nobody": (r"\b[Nn]obody\b", "no client, no program, no one"),
    "found (as a name)": (
        r"\bfound\b\s*(?::[^=\n]+)?(?:=(?!=)|:=)|\bfound\b,\s*\w+\s*=|\w+,\s*found\s*=|\bfor found in\b",
        "the name of the thing: rows, match, session",
    ),
}
# Files and folders that are checked: the whole repository.
CLEAN = (
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "localops",
    "scripts",
    "sync",
    "tests",
)
# Names in JSON, files and SQL, and comments of tables, which SQLite keeps in each journal, with the page of the tables.
EXCEPTIONS = (
    ("localops/docs/journal.md", "said"),
    ("localops/docs/journal.md", "told"),
    ("localops/journal/sql/schema.sql", "said"),
    ("localops/journal/sql/schema.sql", "told"),
    ("sync/localops_sync/cli/remote.py", "said"),
    ("sync/localops_sync/cli/sync.py", "said"),
    ("tests/sync/test_commands.py", "said"),
    ("tests/sync/test_operator.py", "said"),
    ("tests/test_scripts.py", "found (as a name)"),
    ("tests/test_scripts.py", "is none"),
)


def code_files() -> list[Path]:
    """Return the Python files of the library and the worker."""
    return sorted(path for top in (LIBRARY, WORKER) for path in top.rglob("*.py"))


def module_name(path: Path) -> str:
    """Return the dotted name of a file."""
    base = TOP if path.is_relative_to(LIBRARY) else TOP / "sync"
    parts = list(path.relative_to(base).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def code_lines(source: str) -> tuple[int, int]:
    """Return the lines that hold code, and the comments that stand on a line of their own."""
    coded: set[int] = set()
    comments = 0
    plain = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.ENCODING)
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments += token.line.strip().startswith("#")
        elif token.type not in plain:
            coded.update(range(token.start[0], token.end[0] + 1))
    return len(coded - docstrings), comments


def bare_indexes(tree: ast.AST) -> int:
    """Count what reads a database row by a number: `row[3]`, `event[0]`, and the like."""
    names = re.compile(r"^(?:row|rows|event|milestone|story|record|line|totals?|stored|first|last)$")
    return sum(
        isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and bool(names.match(node.value.id))
        and isinstance(node.slice, ast.Constant | ast.UnaryOp)
        and not (isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str))
        for node in ast.walk(tree)
    )


def private_accesses(trees: Iterable[ast.Module]) -> tuple[int, int]:
    """Count the `thing._name` whose name another file of ours makes, and those whose name no file of ours makes.

    The first are what a reader stumbles over: a module that depends on another one's inside.  The others are of
    Python and of libraries (an instrumentor's span, a lock after a fork), where there is no public name.
    """
    made_in = {tree: _private_names(tree) for tree in trees}
    made = set().union(*made_in.values())
    ours = others = 0
    for tree, own in made_in.items():
        foreign = [node.attr for node in ast.walk(tree) if _is_private_access(node) and node.attr not in own]
        ours += sum(name in made for name in foreign)
        others += sum(name not in made for name in foreign)
    return ours, others


def _private_names(tree: ast.Module) -> set[str]:
    """Return the names that a file makes: of functions and classes, variables, own attributes, and slots."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node):
            names.add(node.attr)
        elif isinstance(node, ast.Tuple):
            names |= {each.value for each in node.elts if isinstance(each, ast.Constant) and type(each.value) is str}
    return {name for name in names if name.startswith("_")}


def _is_private_access(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Return whether a node is `thing._name` of something else, without the public methods of named tuples."""
    return (
        isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in ("_asdict", "_replace", "_fields", "_make")
        and not _is_own(node)
    )


def _is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def methods(name: str) -> int:
    """Count what is defined in a class's body, by the class's name; the largest where several share it."""
    counts = [
        sum(isinstance(item, FUNCTIONS) for item in node.body)
        for path in code_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    return max(counts, default=0)


def used_once() -> tuple[int, int]:
    """Return how many private functions are named once besides their definition, and how many functions there are."""
    sources = [path.read_text(encoding="utf-8") for path in code_files()]
    words = Counter(word for source in sources for word in re.findall(r"\w+", source))
    defined = [n.name for source in sources for n in ast.walk(ast.parse(source)) if isinstance(n, FUNCTIONS)]
    private = [name for name in defined if name.startswith("_") and not name.startswith("__")]
    return sum(words[name] == 2 for name in private), len(defined)


def imports() -> dict[str, set[str]]:
    """Return which of our modules each module imports: at the top, late, and for types alone."""
    modules = {module_name(path): path for path in code_files()}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        targets: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for target in _imported(node, package):
                while target and target not in modules:
                    target = target.rpartition(".")[0]
                targets.add(target)
        # the package's own name is asked for its version, and made of lazy names
        graph[name] = targets - {"", name, "localops", "localops_sync"}
    return graph


def _imported(node: ast.AST, package: list[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        start = ".".join([*base, *filter(None, [node.module])])
        yield from (f"{start}.{alias.name}" for alias in node.names)


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import one another in a circle."""
    reach = {name: _reached(graph, name) for name in graph}
    groups = {
        tuple(sorted({name, *(other for other in reach[name] if name in reach.get(other, ()))})) for name in graph
    }
    return [list(group) for group in sorted(groups) if len(group) > 1]


def _reached(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for target in graph.get(todo.pop(), ()):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def lists_of_books() -> int:
    """Count where kinds of bookkeeping rows are listed: in SQL, and in rows.py, from which SQL gets its list."""
    pattern = re.compile(r"'(?:session|join|leave|tags|price|clock|loss|host|metadata)'")
    lines = [line for path in sorted((LIBRARY / "journal" / "sql").glob("*.sql")) for line in path.open()]
    in_python = (
        (LIBRARY / "journal" / "rows.py").read_text(encoding="utf-8").count('"session join leave tags end price')
    )
    return in_python + sum(len(pattern.findall(line)) > 2 for line in lines)


def text_files() -> Iterator[Path]:
    """Return code, tests, scripts, pages and documents, without this file, which has to name the idioms."""
    kinds = (".py", ".sql", ".md", ".js", ".html", ".css")
    paths = [p for top in ("localops", "sync", "tests", "scripts") for p in (TOP / top).rglob("*") if p.is_file()]
    for path in sorted([*paths, *TOP.glob("*.md")]):
        is_text = path.suffix in kinds or path.parent == TOP / "scripts"
        if is_text and "vendor" not in path.parts and path.name != Path(__file__).name:
            yield path


def idioms() -> tuple[Counter[str], Counter[str]]:
    """Count the idioms in all text files: those that must go, and those that EXCEPTIONS lets stand."""
    counts: Counter[str] = Counter(dict.fromkeys(IDIOMS, 0))
    excepted: Counter[str] = Counter()
    for path in text_files():
        name = path.relative_to(TOP).as_posix()
        source = path.read_text(encoding="utf-8", errors="replace")
        for idiom, (pattern, _) in IDIOMS.items():
            stands = (name, idiom) in EXCEPTIONS
            (excepted if stands else counts)[idiom] += len(re.findall(pattern, source))
    return counts, excepted


def refused() -> Iterator[str]:
    """Return a line for each idiom in a checked file, with its place and what to write instead."""
    for path in text_files():
        name = path.relative_to(TOP).as_posix()
        if not any(name == clean or name.startswith(f"{clean}/") for clean in CLEAN):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for idiom, (pattern, instead) in IDIOMS.items():
                if (name, idiom) not in EXCEPTIONS and re.search(pattern, line):
                    yield f"{name}:{number}: {idiom!r}: write {instead}"


# Records a session with an agent, a tool and an error, and prints how many statements its page
# runs when it is asked for again.
_PAGE = """
import contextlib, os, sys, tempfile
home = os.environ["LOCALOPS_HOME"] = tempfile.mkdtemp()
if not os.fork():
    import localops
    with contextlib.redirect_stderr(None):
        session = localops.init(tags=["measured"])
        agent = session.create_agent("planner")
        session.record(localops.LLMEvent(model="gpt-4o", prompt_tokens=9, completion_tokens=1, agent_id=agent))
        session.record(localops.ToolEvent(name="search", returns=1))
        session.record(localops.ErrorEvent(error_type="TimeoutError"))
        session.end_session("Success")
    os._exit(0)
os.wait()
from localops.journal.reader import Reader
from localops.reading.home import Home
from localops.server.home_reader import HomeReader
with Home(home) as opened:
    _, id = opened.find("last")
statements = []
ask = Reader.ask
Reader.ask = lambda self, statement, *values: (statements.append(statement), ask(self, statement, *values))[1]
pages = HomeReader(home)
pages.session(None, id)
statements.clear()
pages.session(None, id)
print(len(statements))
pages.close()
__import__("shutil").rmtree(home)
"""


def page_queries() -> int | None:
    """Return how many statements the page of one session runs; None where its packages are missing."""
    command = [sys.executable, "-c", _PAGE]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else None


def main() -> int:
    """Print the table, or with --check the idioms that must go; return the exit code."""
    if "--check" in sys.argv[1:]:
        problems = list(refused())
        print(*problems, sep="\n", end="\n" if problems else "")
        return 1 if problems else 0
    sources = {path: path.read_text(encoding="utf-8") for path in code_files()}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    lines, comments = map(sum, zip(*map(code_lines, sources.values()), strict=True))
    once, functions = used_once()
    outside = [p for p in trees if not str(p.relative_to(TOP)).startswith(ROW_FOLDERS)]
    inside, outside_ours = private_accesses(trees.values())
    circles = cycles(imports())
    counts, excepted = idioms()
    rows: list[tuple[str, object]] = [
        ("flat modules in localops/", len([p for p in LIBRARY.glob("*.py") if not p.name.startswith("__")])),
        ("rows read by a bare number, outside the journal", sum(bare_indexes(trees[path]) for path in outside)),
        ("methods of Session", methods("Session")),
        ("methods of Journal", methods("Journal")),
        ("access to another module's _private", f"{inside} ({outside_ours} of Python and libraries)"),
        ("private helpers used once", f"{once} of {functions} functions ({once / functions:.0%})"),
        ("comments on their own line, per 100 code lines", f"{100 * comments / lines:.1f}"),
        ("import cycles, types and late imports included", f"{len(circles)} of {sum(map(len, circles))} modules"),
        ("lists of bookkeeping kinds in SQL", lists_of_books()),
        ("queries of one session page", page_queries() or "not measured: its packages are missing here"),
        ("Python code lines", lines),
        *(
            (f"idiom: {name}", f"{count} ({excepted[name]} in exceptions)" if excepted[name] else count)
            for name, count in counts.items()
        ),
    ]
    for name, value in rows:
        print(f"{name:50} {value}")
    for group in circles:
        print("  cycle:", " ".join(group))
    return 0


if __name__ == "__main__":
    sys.exit(main())
