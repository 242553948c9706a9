"""`localops help`: show the documentation that is installed with the package, without a network."""

from __future__ import annotations

import os
import re
from itertools import groupby
from operator import itemgetter

import click

import localops
from localops import output
from localops.cli import common
from localops.cli.topics import TOPICS
from localops.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Longer lines are hard to read.
_WIDEST = 100
# Width that the last column of a table needs; with less, each row becomes a list.
_LAST = 24
_ITEM = re.compile(r"([-*]|\d+\.) +")
# Notes of the repository in a page.
_COMMENT = re.compile(r"^ *<!--.*-->\n", re.MULTILINE)
# The main page of each command.
_PAGE_OF = {
    **dict.fromkeys(("run", "tail", "show", "path"), "quickstart"),
    **dict.fromkeys(("views", "query", "prices", "demo"), "recipes"),
    **dict.fromkeys(("diff", "check"), "compare"),
    **dict.fromkeys(("ui", "calls", "analytics"), "dashboard"),
    **dict.fromkeys(("bundle", "import"), "carry"),
    **dict.fromkeys(("remote", "parked", "receipts"), "sync"),
    **dict.fromkeys(("score", "note"), "scores"),
    **dict.fromkeys(("doctor", "repair", "backup", "status"), "durability"),
    "prune": "privacy",
    "hook": "coding-agents",
    "sessions": "recording",
    "lint": "loops",
    "steps": "resume",
    **dict.fromkeys(("export", "open"), "formats"),
    **dict.fromkeys(("search", "help"), "cli"),
}
_DOCS = os.path.join(os.path.dirname(localops.__file__), "docs")


@click.command()
@click.argument("topic", required=False)
@common.json_option
def help(topic: str | None, as_json: bool) -> None:
    """Read a page of the documentation; without a TOPIC, list them."""
    if topic is None:
        _list(as_json=as_json)
        return
    page = topic if topic in _topics() else _PAGE_OF.get(topic, topic)
    text = _page(page)
    if page != topic:
        output.say(f"the page {page} is about `localops {topic}`, too; its options: `localops {topic} --help`")
    if as_json:
        common.print_json({"topic": page, "text": text})
    elif room := common.width():
        click.echo_via_pager("\n".join(_laid_out(text, min(room, _WIDEST))) + "\n")
    else:
        print(text, end="")


def _list(*, as_json: bool) -> None:
    if as_json:
        common.print_json({"topics": {topic: text for pages in TOPICS.values() for topic, text in pages.items()}})
        return
    longest = max(len(topic) for pages in TOPICS.values() for topic in pages)
    for number, (heading, pages) in enumerate(TOPICS.items()):
        if number:
            print()
        print(common.styled(heading, "bold"))
        common.print_pairs([(topic.ljust(longest), text) for topic, text in pages.items()])


def _topics() -> list[str]:
    names = os.listdir(_DOCS) if os.path.isdir(_DOCS) else []
    return sorted(name.removesuffix(".md") for name in names if name.endswith(".md"))


def _page(topic: str) -> str:
    if topic not in _topics():
        raise NotFound(f"unknown page {topic!r}: use one of {', '.join(_topics())}")
    with open(os.path.join(_DOCS, f"{topic}.md"), encoding="utf-8") as file:
        return _COMMENT.sub("", file.read())


# A page on a terminal: paragraphs and tables fit its width, headings are bold, code stays as it is.


def _laid_out(text: str, room: int) -> Iterator[str]:
    for code, lines in groupby(_marked(text), itemgetter(0)):
        if code:
            yield from (f"  {line}" for _, line in lines)
        else:
            yield from _prose([line for _, line in lines], room)


def _marked(text: str) -> Iterator[tuple[bool, str]]:
    """Return each line and whether it is code, without fences."""
    code = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):  # blocks in a list are indented
            code = not code
        else:
            yield code, line


def _prose(lines: list[str], room: int) -> Iterator[str]:
    paragraph: list[str] = []
    for table, part in groupby(lines, lambda line: line.startswith("|")):
        if table:
            yield from _table([_cells(line) for line in part], room)
            continue
        for line in part:
            ends = not line or line.startswith("#") or _ITEM.match(line)
            if ends:
                yield from _paragraph(paragraph, room)
                paragraph = []
            if line.startswith("#"):
                yield common.bold(line.lstrip("# "))
            elif line:
                paragraph.append(line)
            else:
                yield ""
        yield from _paragraph(paragraph, room)
        paragraph = []


def _paragraph(lines: list[str], room: int) -> Iterator[str]:
    """Wrap a paragraph; an item of a list is indented below its mark."""
    words = " ".join(line.strip() for line in lines)
    item = _ITEM.match(words)
    mark = item[0] if item else ""
    if words:
        first, *more = output.wrap(words[len(mark) :], room - len(mark))
        yield mark + first
        yield from (" " * len(mark) + line for line in more)


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _table(rows: list[list[str]], room: int) -> Iterator[str]:
    """Lay out a table, with its last column wrapped; as lists if there is no room for it."""
    head, _, *body = rows
    widths = [max(output.cells_wide(row[column]) for row in [head, *body]) for column in range(len(head))]
    begins = sum(widths[:-1]) + 2 * len(widths[:-1])
    if room - begins < min(_LAST, widths[-1]):
        yield from _lists(head, body, room)
        return
    for row in [head, *body] if any(head) else body:
        *narrow, wide = row
        left = "".join(cell.ljust(width + 2) for cell, width in zip(narrow, widths[:-1], strict=True))
        first, *more = output.wrap(wide, room - begins)
        line = f"{left}{first}".rstrip()
        yield common.dim(line) if row is head else line
        yield from (" " * begins + line for line in more)


def _lists(head: list[str], body: list[list[str]], room: int) -> Iterator[str]:
    for name, *cells in body:
        yield from map(common.bold, output.wrap(name, room))
        for title, cell in zip(head[1:], cells, strict=True):
            text = f"{title}: {cell}" if title and cell else cell
            yield from (f"  {line}" for line in output.wrap(text, room - 2) if line)
