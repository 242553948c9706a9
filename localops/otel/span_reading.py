"""The content of a span under the names of localops: the result of `mapping.read`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Error:
    """Why a span failed, as far as that is known."""

    __slots__ = ("message", "stack", "type")

    def __init__(self, type: str | None, message: str | None, stack: str | None) -> None:
        self.type, self.message, self.stack = type, message, stack

    def __repr__(self) -> str:
        return f"<Error {self.type}: {self.message}>"


class Reading:
    """The content of a span: `fields` are for the body of its rows, `figures` for the columns of an LLM call."""

    __slots__ = (
        "errors",
        "failed",
        "fields",
        "figures",
        "has_kind",
        "kind",
        "kinds",
        "name",
        "ours",
        "row",
        "span_name",
        "status",
        "tags",
    )

    def __init__(self, name: str) -> None:
        self.kind = "operation"
        self.kinds: list[str] = []  # the words for it, unchanged
        self.has_kind = False
        self.span_name = name
        self.name = name
        self.fields: dict[str, Any] = {}
        self.figures: dict[str, Any] = {}
        self.tags: list[Any] | None = None
        self.status: str | None = None
        self.failed = False
        self.errors: list[Error] = []
        self.ours: dict[str, Any] = {}  # what localops sends with a span of its own: id, parent, …
        self.row: dict[str, Any] | None = None  # the row of such a span, in the form of `exact`

    def __repr__(self) -> str:
        return f"<Reading {self.kind} {self.name!r}>"
