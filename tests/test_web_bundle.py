"""The files of the pages are put together for a report, and nothing that this would lose is passed over."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from localops.reading import web_bundle

MODULES = sorted(name for name in os.listdir(web_bundle.WEB) if name.endswith(".js"))


@pytest.fixture(autouse=True)
def fresh() -> None:
    """Forget what was put together before."""
    web_bundle.script.cache_clear()


def test_each_module_can_be_put_together() -> None:
    """Of no form of import or export that is not known, with all names that others import."""
    missing = {*MODULES}
    # Those with the most imports first: they bring the others along.
    for name in sorted(MODULES, key=lambda each: -web_bundle.text(each).count("import")):
        if name in missing:
            script = web_bundle.script(name)
            assert f'"{name}": (function () {{' in script
            assert "\nimport " not in script
            assert "\nexport " not in script
            missing -= {*re.findall(r'^"([\w.-]+)": (?:\(\) =>|\(function \(\)) \{$', script, re.MULTILINE)}
    assert missing == set()


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("export const A = 1,\n  B = 2;\n", "imports B, which b.js does not export"),
        ("export let A = 1;\nexport const B = 1;\n", "unknown form of import or export in b.js: export let"),
        ("export default 1;\nexport const B = 1;\n", "unknown form .* export default"),
        ('import c from "./c.js";\nexport const B = 1;\n', "unknown form .* import c"),
        ("export const B = '</script>';\n", "cannot be in a script"),
        ("export const B = '<!--';\n", "cannot be in a script"),
    ],
)
def test_what_would_be_lost_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, problem: str
) -> None:
    """Instead of an error in a report, long after."""
    monkeypatch.setattr(web_bundle, "WEB", str(tmp_path))
    (tmp_path / "a.js").write_text('import { B as C } from "./b.js";\nuse(C);\n')
    (tmp_path / "b.js").write_text(source)
    with pytest.raises(ValueError, match=problem):
        web_bundle.script("a.js")


def test_modules_run_once_each_when_they_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, namespaces, effects and late modules become calls; what is left out stays a call that fails."""
    monkeypatch.setattr(web_bundle, "WEB", str(tmp_path))
    (tmp_path / "a.js").write_text(
        'import "./c.js";\nimport {\n  B,\n  b as c,\n} from "./b.js";\nimport * as all from "./b.js";\n'
        'const late = () => import("./d.js");\n'
    )
    (tmp_path / "b.js").write_text("export const B = 1;\nexport async function b() {}\n")
    (tmp_path / "c.js").write_text("const inside = 1;\nexport { inside };\n")
    script = web_bundle.script("a.js", frozenset(("d.js",)))
    for part in (
        'use("c.js");\nconst {\n  B,\n  b: c,\n} = use("b.js");\nconst all = use("b.js");\n',
        'const late = () => load("d.js");\n',
        '"b.js": (function () {\nconst B = 1;\nasync function b() {}\nreturn { B, b };\n})',
        "return { inside };",
    ):
        assert part in script
    assert script.endswith('use("a.js");\n')


def test_what_runs_at_once_is_compiled_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in parentheses; a module that only a late import needs is compiled when it runs."""
    monkeypatch.setattr(web_bundle, "WEB", str(tmp_path))
    (tmp_path / "a.js").write_text('import { B } from "./b.js";\nconst late = () => import("./c.js");\n')
    (tmp_path / "b.js").write_text("export const B = 1;\n")
    (tmp_path / "c.js").write_text('import { B } from "./b.js";\nimport { D } from "./d.js";\n')
    (tmp_path / "d.js").write_text("export const D = 1;\n")
    first = re.findall(r'^"(\w)\.js": (.*)$', web_bundle.together("a.js"), re.MULTILINE)
    at_once = "(function () {"
    assert dict(first) == {"a": at_once, "b": at_once, "c": "() => {", "d": "() => {"}
