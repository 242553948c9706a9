"""Send the two rows of a step that runs once in one span, and split them again.

A resumed run reads a step's identity from its opening row, and its result from its closing row; for any other
operation, one row is enough.  Collectors may cut long attributes, so the span has a digest of the content: a step
whose content was cut is imported without its identity, and its session cannot be resumed.
"""

from __future__ import annotations

from hashlib import blake2b

from localops.encoding import encode
from localops.reading.recorded_steps import ONCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = dict[str, Any]


def sent(opened: Any, row: Any) -> str | None:
    """Return the attribute for a row of a step as JSON; None for any other row.

    Both are rows with unpacked bodies; `opened` may be None.
    """
    first = opened if opened is not None else row
    if not _is_step(first.body):
        return None
    about: Body = {"sum": _digest(row.body)}
    if opened is not None:
        both = opened.body.keys() & row.body.keys()
        about["opened"] = {
            "at": [opened.at_ns, opened.start_ns, opened.end_ns],
            "keys": [key for key in opened.body if key not in both],
            "body": {key: value for key, value in opened.body.items() if key in both},
            "model": opened.model,
        }
    return encode.dumps(about).decode()


def split(body: Body, text: object) -> tuple[Body, Body | None]:
    """Return the body of the row that was sent, and `at`, `model` and `body` of its opening row.

    If its content was cut on the way, leave out the identity of the step.
    """
    if not isinstance(text, str):
        return body, None
    try:
        about = encode.loads(text)
        opened = about.get("opened")
        opening = None if opened is None else {**opened, "body": _opening_body(body, opened)}
        closing = body if opened is None else {key: body[key] for key in body if key not in opened["keys"]}
        is_whole = _digest(closing) == about["sum"]
    except (AttributeError, KeyError, TypeError, ValueError):
        is_whole = False
    if is_whole:
        return closing, opening
    return {key: value for key, value in body.items() if key != ONCE}, None


def _opening_body(body: Body, opened: Body) -> Body:
    return {**{key: body[key] for key in opened["keys"]}, **opened["body"]}


def _is_step(body: Body) -> bool:
    mark = body.get(ONCE)
    return isinstance(mark, dict) and "args" in mark


def _digest(body: Body) -> str:
    return blake2b(encode.sorted_dumps(body), digest_size=8).hexdigest()
