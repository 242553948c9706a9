"""`localops help`: the pages that travel with the package, for machines without a network."""

from __future__ import annotations

import os
import sys

import click

import localops
from localops.cli import common
from localops.errors import NotFound

_DOCS = os.path.join(os.path.dirname(localops.__file__), "docs")


@click.command()
@click.argument("topic", required=False)
@common.json_option
def help(topic: str | None, as_json: bool) -> None:
    """Read a page of the documentation; without a TOPIC, list them."""
    if topic is None:
        _list(as_json=as_json)
        return
    text = _page(topic)
    if as_json:
        common.print_json({"topic": topic, "text": text})
    elif sys.stdout.isatty():
        click.echo_via_pager(text)
    else:
        print(text, end="")


def _list(*, as_json: bool) -> None:
    pages = {topic: _lede(_page(topic)) for topic in _topics()}
    if as_json:
        common.print_json({"topics": pages})
        return
    common.print_pairs(list(pages.items()))


def _topics() -> list[str]:
    names = os.listdir(_DOCS) if os.path.isdir(_DOCS) else []
    return sorted(name.removesuffix(".md") for name in names if name.endswith(".md"))


def _page(topic: str) -> str:
    if topic not in _topics():
        raise NotFound(f"there is no page {topic!r}: {', '.join(_topics())}")
    with open(os.path.join(_DOCS, f"{topic}.md"), encoding="utf-8") as file:
        return file.read()


def _lede(text: str) -> str:
    """What a page is about: the first sentence below its title."""
    return " ".join(text.split("\n\n", 2)[1].split()).partition(". ")[0].rstrip(".")
