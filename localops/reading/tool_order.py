"""Order the tool calls of two runs in the same way where they ran in parallel: see `parallel.py`.

If steps overlapped in a run, its baseline file has beginning, end and digest of each step.
"""

from __future__ import annotations

from localops.reading.calls import digest
from localops.reading.parallel import in_order_of, overlap, partners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from localops.reading.steps import Step, Steps

_TOOL = "tool"


class Node:
    """A step with its times; a tool call also has its index among the tool calls."""

    __slots__ = ("end_ns", "given", "inside", "keys", "start_ns", "tool")

    def __init__(self, start_ns: int, end_ns: int | None, name: str, given: str, tool: int | None) -> None:
        self.start_ns, self.end_ns, self.tool = start_ns, end_ns, tool
        self.given = given
        self.inside: list[Node] = []
        self.keys: tuple[int, ...] = (hash(name), hash((name, given)))

    def complete(self) -> None:
        """Add the keys of the steps inside, which must be complete."""
        self.keys = (*self.keys[:2], hash((self.keys[1], *sorted(node.keys[-1] for node in self.inside))))


def tree(steps: Steps) -> list[Node]:
    """Return the steps of a run, each with the steps inside it."""
    nodes: dict[str, Node] = {}
    tools = 0
    for step in steps.all:
        is_tool = step.kind == _TOOL
        nodes[step.id] = Node(step.start_ns, step.end_ns, *_keys(step), tool=tools if is_tool else None)
        tools += is_tool
    for step in reversed(steps.all):
        nodes[step.id].inside = [nodes[child.id] for child in step.inside]
        nodes[step.id].complete()
    return [nodes[step.id] for step in steps.roots]


def _keys(step: Step) -> tuple[str, str]:
    """Return the name and the digest of a step; for a tool call, as in a baseline file."""
    if step.kind == _TOOL:
        return step.name, hex64(step.given)
    return "", hex64(digest(f"{step.kind} {step.name} {step.asked}"))


def hex64(number: int) -> str:
    """Return a 64-bit number as 16 hex digits."""
    return f"{number & (1 << 64) - 1:016x}"


def orders(a: Sequence[Node], b: Sequence[Node]) -> list[list[int]]:
    """Return the indexes of two runs' tool calls, in valid orders in which the runs are most similar."""
    order_a = [node.tool for node in _all(a) if node.tool is not None]
    order_b: list[int] = []
    stack: list[tuple[Sequence[Node], Node]] = []

    def add(a: Sequence[Node], b: Sequence[Node]) -> None:
        arranged = in_order_of(a, b)
        insides = [[] if place is None else a[place].inside for place in partners(a, arranged)]
        stack.extend([*zip(insides, arranged, strict=True)][::-1])

    add(a, b)
    while stack:
        inside, node = stack.pop()
        if node.tool is not None:
            order_b.append(node.tool)
        add(inside, node.inside)
    return [order_a, order_b]


def has_overlap(roots: Sequence[Node]) -> bool:
    """Return whether any two steps with the same parent overlapped."""
    return overlap(roots) or any(overlap(node.inside) for node in _all(roots))


def _all(roots: Sequence[Node]) -> Iterable[Node]:
    """Yield all steps, each before the steps inside it."""
    stack = [*reversed(roots)]
    while stack:
        node = stack.pop()
        yield node
        stack += reversed(node.inside)


# Baseline files


def lines(roots: Sequence[Node]) -> list[str]:
    """Return a line per step: its depth, its beginning and end, and the index of a tool call or else a digest."""
    first = roots[0].start_ns
    written = []
    stack = [(0, node) for node in reversed(roots)]
    while stack:
        depth, node = stack.pop()
        end = "-" if node.end_ns is None else node.end_ns - first
        what = node.given if node.tool is None else node.tool
        written.append(f"{depth} {node.start_ns - first} {end} {what}")
        stack += [(depth + 1, child) for child in reversed(node.inside)]
    return written


def of_lines(lines: Sequence[str], tools: Sequence[tuple[Any, ...]]) -> list[Node]:
    """Return the steps in lines of a baseline file; raise ValueError for invalid lines."""
    roots: list[Node] = []
    above: list[Node] = []
    nodes = []
    for line in lines:
        depth, start, end, what = line.split(" ")
        tool = None if len(what) == len(hex64(0)) else int(what)
        name, given = ("", what) if tool is None else tools[tool][:2]
        node = Node(int(start), None if end == "-" else int(end), name, given, tool)
        del above[int(depth) :]
        if len(above) != int(depth):
            raise ValueError(f"expected a step inside of another one, got {line!r}")
        (above[-1].inside if above else roots).append(node)
        above.append(node)
        nodes.append(node)
    if sorted(node.tool for node in nodes if node.tool is not None) != [*range(len(tools))]:
        raise ValueError("expected each tool call once among the steps")
    for node in reversed(nodes):
        node.complete()
    return roots
