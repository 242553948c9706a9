"""Bundle the files of `localops/web`: modules in one script and, for a page without a server, styles in one sheet.

Each module becomes a function with unchanged code, which runs when it is first needed, in the way of browsers.  Forms
of `import` and `export` that no module uses are refused, so that none is overlooked.
"""

from __future__ import annotations

import base64
import os
import re
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

WEB = os.path.join(os.path.dirname(os.path.dirname(__file__)), "web")

_STATIC = re.compile(r'^import (?:(\{[^}]*\}|\* as \w+) from )?"\./([\w/.-]+)";$', re.MULTILINE)
_LATE = re.compile(r'import\("\./([\w/.-]+)"\)')
_EXPORTED = re.compile(r"^export ((?:const|class|function|async function\*?) (\w+))", re.MULTILINE)
_LISTED = re.compile(r"^export \{([\w, ]+)\};$", re.MULTILINE)
_LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_ADDRESS = re.compile(r'url\("([\w.-]+\.svg)"\)')
# Any occurrence of these ends the element that contains it.
_END = re.compile(r"</(?:script|style)|<!--", re.IGNORECASE)

_RUNTIME = """const modules = {
%s
};
const known = {};
const use = (name) => (known[name] ??= modules[name]());
const load = async (name) => use(name);
%s"""


@cache
def script(start: str, without: frozenset[str] = frozenset()) -> str:
    """Return the script of `together` as the text of an element; it is cached."""
    return _checked(together(start, without))


def together(start: str, without: Collection[str] = ()) -> str:
    """Return a module and its imports as one script, which ends with a call of `use` for the module.

    Modules in `without` are left out; a late import of one fails, as it would without a server.
    """
    sources: dict[str, str] = {}
    _gather(start, without, sources)
    exported = {name: _exports(source) for name, source in sources.items()}
    for name, source in sources.items():
        _check_imports(name, source, exported)
    at_once = _imported_by(start, sources)
    functions = (
        f'"{name}": {_function(_body(name, source, exported[name]), runs_at_once=name in at_once)}'
        for name, source in sources.items()
    )
    return _RUNTIME % (",\n".join(functions), f'use("{start}");\n')


def _gather(name: str, without: Collection[str], sources: dict[str, str]) -> None:
    if name in sources or name in without:
        return
    # The order does not matter, as each module runs when it is first used.
    sources[name] = source = text(name)
    for match in (*_STATIC.finditer(source), *_LATE.finditer(source)):
        _gather(match[match.re.groups], without, sources)


def _imported_by(start: str, sources: dict[str, str]) -> set[str]:
    """Return `start` and the modules that run with it: all that it and they import, except by late imports."""
    names, waiting = {start}, [start]
    while waiting:
        new = {match[2] for match in _STATIC.finditer(sources[waiting.pop()])} - names
        names |= new
        waiting += new
    return names


def _function(body: str, *, runs_at_once: bool) -> str:
    # Browsers compile a function in parentheses at once, and any other only when it first runs.
    return f"(function () {{\n{body}}})" if runs_at_once else f"() => {{\n{body}}}"


def _exports(source: str) -> list[str]:
    listed = [each.strip() for match in _LISTED.finditer(source) for each in match[1].split(",")]
    return [match[2] for match in _EXPORTED.finditer(source)] + listed


def _check_imports(name: str, source: str, exported: dict[str, list[str]]) -> None:
    """Refuse an imported name that the other module seems not to export: it would be undefined."""
    for names, module in _STATIC.findall(source):
        wanted = re.findall(r"(\w+)(?: as \w+)?[,\s}]", names) if names.startswith("{") else []
        if unknown := sorted(set(wanted) - set(exported[module])):
            raise ValueError(
                f"{name} imports {', '.join(unknown)}, which {module} does not export by a line of its own"
            )


def _body(name: str, source: str, exported: Sequence[str]) -> str:
    """Convert a module to the body of a function that returns its exports."""
    code = _STATIC.sub(_used, source)
    code = _LATE.sub(r'load("\1")', code)
    code = _LISTED.sub("", _EXPORTED.sub(r"\1", code))
    if left := _LEFT.search(code):
        raise ValueError(f"unknown form of import or export in {name}: {left[0]}")
    return f"{code}return {{ {', '.join(exported)} }};\n"


def _used(match: re.Match[str]) -> str:
    names, module = match[1], match[2]
    if names is None:
        return f'use("{module}");'
    target = names.removeprefix("* as ") if names.startswith("*") else names.replace(" as ", ": ")
    return f'const {target} = use("{module}");'


@cache
def sheet(*names: str) -> str:
    """Return style sheets as one, with their images embedded."""
    return _checked("\n".join(_ADDRESS.sub(lambda match: f'url("{picture(match[1])}")', text(name)) for name in names))


def picture(name: str) -> str:
    """Return an SVG of the folder as a data URL."""
    return f"data:image/svg+xml;base64,{base64.b64encode(text(name).encode()).decode()}"


@cache
def classic(name: str) -> str:
    """Return a script that is not a module."""
    return _checked(text(name))


def text(name: str) -> str:
    """Return a file of the folder."""
    with open(os.path.join(WEB, *name.split("/")), encoding="utf-8") as file:
        return file.read()


def _checked(inside: str) -> str:
    """Return the content of an element; raise an error if it would end the element."""
    if match := _END.search(inside):
        raise ValueError(f"{match[0]} cannot be in a script or a style sheet of a page")
    return inside
