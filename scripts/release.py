#!/usr/bin/env python3
"""Make the packages of a release, and try them as a stranger would.

    scripts/release.py --python python3.11 --python python3.12 --python python3.13
    scripts/release.py --no-suite --rehearse     minutes instead of an hour, and today's date may be missing

It stops at the first thing that is wrong: a version without its place in the changelog, a tag that exists, changes
that are not committed, a file that a package lacks, an example of the README that prints something else. The two
packages are left in `dist/`; uploading and tagging is up to a person (CONTRIBUTING.md).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
PYPROJECT = TOP / "pyproject.toml"

# Read from the installed package, outside of the checkout: what it prints is in the README.
QUICKSTART = re.compile(
    r"```python\n(import localops\nfrom localops\.decorators.*?)```\n\n```text\n(.*?)```", re.DOTALL
)

NEEDED = (
    "localops/py.typed",
    "localops/journal/sql/schema.sql",
    "localops/encoding/prices.json",
    "localops/docs/quickstart.md",
    "localops/web/session.js",
    "localops_sync/worker.py",
)
# Of each group of commands, so that all of their modules are imported.
FIRST_STEPS = (
    ["--version"],
    ["demo"],
    ["sessions"],
    ["analytics", "last"],
    ["calls"],
    ["show", "last"],
    ["search", "plan*"],
    ["views", "list"],
    ["why", "last"],
    ["help", "quickstart"],
)

# In the sdist, from which the suite runs.
NEEDED_FOR_TESTS = (
    ".ci/run",
    ".oxlintrc.json",
    ".screenshots/timeline-light.png",
    "pyproject.toml",
    "scripts/check",
    "tests/conftest.py",
)


def main() -> None:
    """Run every check, in the order of what they cost."""
    options = parse()
    version = check_version(rehearse=options.rehearse)
    run("scripts/check", cwd=TOP)
    with tempfile.TemporaryDirectory(prefix="localops-release-") as folder:
        work = Path(folder)
        sdist, wheel = build(work, version)
        for python in options.python:
            check_python(work, python, wheel)
            check_lowest(work, python, wheel)
        check_ways_to_install(work, options.python[0], wheel)
        if options.suite:
            for python in options.python:
                run_suite(work, python, sdist)
            run_suite(work, options.python[0], sdist, lowest=True)
    step(f"localops {version} is ready in dist/: upload both files, then tag this commit v{version}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="an interpreter to try it with; repeat it for others")
    parser.add_argument("--no-suite", dest="suite", action="store_false", help="leave out the test suite")
    parser.add_argument("--rehearse", action="store_true", help="let the version be unreleased and the tree be dirty")
    options = parser.parse_args()
    options.python = options.python or [sys.executable]
    return options


def check_version(*, rehearse: bool) -> str:
    """Return the version, if package, changelog and tags agree about it."""
    version = _match(r'^__version__ = "([^"]+)"', TOP / "localops" / "__init__.py")
    heading = _match(r"^## (.+)$", TOP / "CHANGELOG.md")
    expected = re.compile(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)")
    if not heading.startswith(f"{version} ("):
        sys.exit(f"CHANGELOG.md begins with {heading!r}, but the package is {version}: bring them together")
    if rehearse:
        return version
    if not expected.fullmatch(heading):
        sys.exit(f"CHANGELOG.md: replace {heading!r} by '{version} (YYYY-MM-DD)', the day of the release")
    if output("git", "status", "--porcelain", cwd=TOP):
        sys.exit("the tree has changes that are not committed: commit or remove them first")
    if output("git", "tag", "--list", f"v{version}", cwd=TOP):
        sys.exit(f"the tag v{version} exists: raise __version__ in localops/__init__.py")
    return version


def build(work: Path, version: str) -> tuple[Path, Path]:
    """Make sdist and wheel in dist/, and see that nothing is missing in them and no cache came along."""
    step("build")
    python = new_environment(work / "build", sys.executable, "build>=1.2", "twine>=6")
    shutil.rmtree(TOP / "dist", ignore_errors=True)
    run(python, "-m", "build", "--outdir", TOP / "dist", TOP)
    sdist, wheel = TOP / "dist" / f"localops-{version}.tar.gz", TOP / "dist" / f"localops-{version}-py3-none-any.whl"
    run(python, "-m", "twine", "check", "--strict", sdist, wheel)
    with zipfile.ZipFile(wheel) as archive, tarfile.open(sdist) as source:
        wheel_names, sdist_names = set(archive.namelist()), set(source.getnames())
    missing = [name for name in NEEDED if name not in wheel_names]
    missing += [name for name in NEEDED_FOR_TESTS if f"{sdist.name[:-7]}/{name}" not in sdist_names]
    if missing:
        sys.exit(f"the packages lack {', '.join(missing)}: look at [tool.hatch.build] in pyproject.toml")
    junk = [name for name in wheel_names | sdist_names if "__pycache__" in name or name.endswith((".db", ".pyc"))]
    if junk:
        sys.exit(f"the packages hold generated files: {', '.join(sorted(junk))}")
    return sdist, wheel


def check_python(work: Path, interpreter: str, wheel: Path) -> None:
    """Install the wheel with its declared dependencies alone, and do what the README does first."""
    step(f"wheel with {interpreter}")
    try_first_steps(work, new_environment(work / f"wheel-{Path(interpreter).name}", interpreter, wheel))


def check_lowest(work: Path, interpreter: str, wheel: Path) -> None:
    """Do the same with the oldest dependencies that are allowed, of those that need no compiler here."""
    step(f"lowest dependencies with {interpreter}")
    place = work / f"lowest-{Path(interpreter).name}"
    python = new_environment(place, interpreter, "uv>=0.5")
    uv: list[str | Path] = [python, "-m", "uv", "pip"]
    lowest = ["--only-binary", ":all:", "--resolution", "lowest-direct"]
    run(*uv, "compile", "--quiet", *lowest, "--python", python, "--output-file", place / "lowest.txt", PYPROJECT)
    run(*uv, "install", "--quiet", "--python", python, "--requirement", place / "lowest.txt", wheel)
    try_first_steps(work, python)


def try_first_steps(work: Path, python: Path) -> None:
    """Run the README's first example, and the commands that one tries first."""
    try_quickstart(work, lambda *arguments: [str(python), *arguments])
    for arguments in FIRST_STEPS:
        output(python.parent / "localops", *arguments, cwd=work, env=environment(work))


def try_quickstart(work: Path, command: Callable[..., list[str]]) -> None:
    """Run the README's first example away from the checkout, and compare what it prints."""
    example = QUICKSTART.search((TOP / "README.md").read_text(encoding="utf-8"))
    if example is None:
        sys.exit("README.md: its first example and what it prints are no longer where QUICKSTART looks for them")
    program = work / "quickstart.py"
    program.write_text(example[1], encoding="utf-8")
    printed = output(*command(str(program)), cwd=work, env=environment(work))
    if _without_duration(printed) != _without_duration(example[2]):
        sys.exit(f"the README's first example printed {printed!r} instead of {example[2]!r}")


def check_ways_to_install(work: Path, interpreter: str, wheel: Path) -> None:
    """Try the other usual ways: editable, a command of its own, one file with everything in it."""
    step("editable install")
    python = new_environment(work / "editable", interpreter, "--editable", TOP)
    try_quickstart(work, lambda *arguments: [str(python), *arguments])
    step("pipx")
    tools = new_environment(work / "tools", interpreter, "pipx>=1.4", "shiv>=1.0")
    places = {"PIPX_HOME": str(work / "pipx"), "PIPX_BIN_DIR": str(work / "bin"), "PIPX_MAN_DIR": str(work / "man")}
    run(
        tools,
        "-m",
        "pipx",
        "install",
        "--python",
        shutil.which(interpreter) or interpreter,
        wheel,
        env=environment(work) | places,
    )
    output(work / "bin" / "localops", "demo", cwd=work, env=environment(work))
    step("zipapp")
    archive = work / "localops.pyz"
    run(tools, "-m", "shiv", "--quiet", "--output-file", archive, wheel)
    shiv = environment(work) | {"SHIV_ROOT": str(work / "shiv")}
    try_quickstart(work, lambda *arguments: ["env", f"SHIV_ROOT={work / 'shiv'}", str(tools), str(archive), *arguments])
    output(tools, archive, "-m", "localops", "analytics", "last", cwd=work, env=shiv)


def run_suite(work: Path, interpreter: str, sdist: Path, *, lowest: bool = False) -> None:
    """Run the whole suite from the unpacked sdist; with the oldest dependencies that we allow, if asked for."""
    step(f"suite with {interpreter}" + (" and the lowest dependencies" if lowest else ""))
    place = work / f"suite-{Path(interpreter).name}{'-lowest' if lowest else ''}"
    with tarfile.open(sdist) as archive:
        archive.extractall(place, filter="data")
    (tree,) = place.iterdir()
    python = new_environment(place / "env", interpreter)
    if lowest:
        run(python, "-m", "pip", "install", "--quiet", "uv>=0.5")
        run(
            python,
            "-m",
            "uv",
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            "--resolution",
            "lowest-direct",
            "-e",
            f"{tree}[dev]",
        )
    else:
        run(python, "-m", "pip", "install", "--quiet", "--editable", f"{tree}[dev]")
    run(python, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", cwd=tree, env=environment(place))


def new_environment(folder: Path, interpreter: str, *packages: str | Path) -> Path:
    """Make a virtual environment with these packages, and return its interpreter."""
    run(interpreter, "-m", "venv", folder)
    python = folder / "bin" / "python"
    if packages:
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    return python


def environment(work: Path) -> dict[str, str]:
    """Return this environment with a home of its own, and without what would let the checkout in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LOCALOPS_", "PYTHON", "XDG_"))}
    return kept | {"LOCALOPS_HOME": str(work / "home")}


def step(name: str) -> None:
    """Print what comes next."""
    print(f"== {name}", flush=True)


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command, show what it prints, and stop where it fails."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, check=False)
    if done.returncode:
        sys.exit(f"exit {done.returncode}: {' '.join(map(str, command))}")


def output(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it prints; stop where it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"exit {done.returncode}: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def _match(pattern: str, file: Path) -> str:
    match = re.search(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        sys.exit(f"{file.name}: nothing in it looks like {pattern}")
    return match[1]


def _without_duration(printed: str) -> str:
    return re.sub(r"'\d+\.\d+s'", "'…s'", printed)


if __name__ == "__main__":
    main()
