"""Read from a recorded traceback what an exception was raised from, and where in the program.

Python prints a cause before the exception that it led to. Journals of all releases have only this text.
"""

from __future__ import annotations

import re
from collections import namedtuple

from localops.encoding.lazy import late_pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NamedTuple

    class Place(NamedTuple):
        """A line of a program."""

        file: str
        line: int
        function: str | None

    class Raised(NamedTuple):
        """An exception in a traceback: its class, its message, where it was raised, and how it led to the next one."""

        type: str
        message: str
        place: Place | None
        led_by: str | None = None
        """CAUSE if the next one was raised from it, CONTEXT if raised while it was handled, None for the last."""
        parts: Sequence[Raised] = ()
        """For a group: each exception in it that is not a group itself."""
        causes: Sequence[Raised] = ()
        """For an exception in a group: the exceptions that led to it, the first cause first."""
else:
    Place = namedtuple("Place", "file line function")
    Raised = namedtuple("Raised", "type message place led_by parts causes", defaults=(None, (), ()))

CAUSE, CONTEXT = "cause", "context"
# A longer text is not parsed.
_LONGEST = 1 << 20
_LINKS = {
    "The above exception was the direct cause of the following exception:": CAUSE,
    "During handling of the above exception, another exception occurred:": CONTEXT,
}
_HEADS = ("Traceback (most recent call last):", "Exception Group Traceback (most recent call last):")
_HEAD = late_pattern(r"(?m)^[ +]*(?:Exception Group )?Traceback \(most recent call last\):$")
_FRAME = late_pattern(r'  File "(.+)", line (\d+)(?:, in (.+))?$')
_TYPE = late_pattern(r"([^\W\d][\w.<>]*)(?:: (.*)|:?)$")
# A pool of processes wraps the traceback of its worker in this.
_REMOTE = late_pattern(r'(?m)^[\w.]*RemoteTraceback: *\n"""\n(.*?)"""$', re.DOTALL)
_LIBRARY = late_pattern(
    r"[/\\](?:lib(?:64)?[/\\]python\d|python\d*[/\\]lib[/\\]|site-packages[/\\]|dist-packages[/\\]"
    r"|localops[/\\](?:decorators|api|recording)\b)|^<frozen ",
    re.IGNORECASE,
)
# The lines before each exception of a group, and the line after the last one.
_MEMBER = late_pattern(r" *\+(-\+)?-{5,} (?:\d+|\.\.\.) -{5,}$")
_LAST = late_pattern(r" *\+-{10,}$")
_MARGIN = late_pattern(r" *[|+] ?")


def of(text: object) -> list[Raised]:
    """Parse a traceback into its exceptions, the first cause first; return [] for any other text."""
    if not isinstance(text, str) or len(text) > _LONGEST or not any(head in text for head in _HEADS):
        return []
    chain: list[Raised] = []
    for section, link in _sections(_REMOTE.sub(r"\1", text).splitlines()):
        raised = _parse_exception(section)
        if raised is None:
            return []
        # The exception of a worker process is raised again in its parent: merge the two.
        again = chain and (chain[-1].type, chain[-1].message) == (raised.type, raised.message)
        one = chain.pop()._replace(led_by=link) if again else raised._replace(led_by=link)
        chain.append(one)
    return chain


def of_error(text: object, error: str | None) -> list[Raised]:
    """Return the exceptions of a traceback, the first cause first, if the last one is of the class of the error."""
    chain = of(text)
    return chain if chain and last_part(chain[-1].type) == last_part(error or "") else []


def of_reason(reason: str | None) -> str | None:
    """Return the first cause of the exception that is the reason of an end, as a line; None without a cause.

    For a group, it is the first exception in it, or what led to that one.
    """
    start = None if reason is None else _HEAD.search(reason)
    chain = of(reason[start.start() :]) if reason is not None and start is not None else []
    group = next((one for one in chain if one.parts), None)
    if group is not None:
        first, rest = first_cause(group.parts[0]), len(group.parts) - 1
        more = f", and {rest} more" if rest else ""
        return f"{_line(first)}{more}"
    # A cancellation by a time limit is not a cause.
    is_known = len(chain) > 1 and last_part(chain[0].type) != "CancelledError"
    return _line(chain[0]) if is_known else None


def first_cause(one: Raised) -> Raised:
    """Return the first cause of an exception in a group, or the exception itself without one."""
    return one.causes[0] if one.causes else one


def _line(one: Raised) -> str:
    message = one.message.partition("\n")[0]
    return f"{last_part(one.type)}: {message}" if message else last_part(one.type)


def last_part(type: str) -> str:
    """Return the name of a class without its module."""
    return type.rpartition(".")[2]


def is_same(one: Raised, type: str | None, message: object) -> bool:
    """Return whether an exception of a traceback is the recorded error; notes may follow its message."""
    text = message.strip() if isinstance(message, str) else ""
    return last_part(one.type) == last_part(type or "") and one.message.partition("\n")[0] == text.partition("\n")[0]


def _sections(lines: Sequence[str]) -> Iterator[tuple[list[str], str | None]]:
    """Yield the lines of each exception of a chain, and how it led to the next one."""
    section: list[str] = []
    for line in lines:
        if (link := _LINKS.get(line)) is not None:
            yield section, link
            section = []
        else:
            section.append(line)
    yield section, None


def _parse_exception(section: Sequence[str]) -> Raised | None:
    own, members = _members(section)
    lines = [line for line in own if line.strip()]
    if lines and lines[0] in _HEADS:
        lines = lines[1:]
    frames: list[Place] = []
    for number, line in enumerate(lines):
        if not line.startswith(" "):
            title = _TYPE.match(line)
            if title is None:
                return None
            message = "\n".join([title[2] or "", *lines[number + 1 :]]).strip()
            return Raised(title[1], message, _place(frames), None, members)
        if (frame := _FRAME.match(line)) is not None:
            frames.append(Place(frame[1], int(frame[2]), frame[3]))
    return None


def _members(section: Sequence[str]) -> tuple[list[str], list[Raised]]:
    """Return the lines of an exception itself and, if it is a group, the exceptions in it with their causes."""
    start = next((line for line in section if line.strip()), "")
    if start.lstrip(" +") != _HEADS[1]:
        return list(section), []
    blocks: list[list[str]] = [[]]
    is_group = [False]
    for line in section:
        if (member := _MEMBER.match(line)) is not None:
            is_group[-1] = is_group[-1] or member[1] is not None
            blocks.append([])
            is_group.append(False)
        elif not _LAST.match(line):
            blocks[-1].append(_MARGIN.sub("", line, count=1))
    chains = [of("\n".join(block)) or _without_traceback(block) for block in blocks[1:]]
    members = [
        chain[-1]._replace(causes=tuple(chain[:-1]))
        for chain, has_own in zip(chains, is_group[1:], strict=True)
        if chain and not has_own
    ]
    return blocks[0], members


def _without_traceback(block: Sequence[str]) -> list[Raised]:
    """Parse an exception of a group that was never raised, and so has no traceback."""
    one = _parse_exception(block)
    return [] if one is None else [one]


def _place(frames: Sequence[Place]) -> Place | None:
    """Return the last line in the program's own code, else the last line."""
    own = (frame for frame in reversed(frames) if not _LIBRARY.search(frame.file))
    return next(own, frames[-1] if frames else None)
