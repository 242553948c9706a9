"""Parameters of requests for calls across sessions."""

from __future__ import annotations

from localops.errors import ConfigError
from localops.reading import call_facts, call_query, call_search
from localops.server.request import HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from localops.server.request import Call

    T = TypeVar("T")

# Characters of a text that names of groups contain.
_LONGEST_NAME = 256


def filters_of_calls(call: Call, of_calls: Mapping[str, Any]) -> call_query.CallFilters:
    """Return the filters of calls; `of_calls` are those that sessions have, too."""
    kind = call.param("kind")
    if kind not in (None, *call_query.KINDS):
        raise HttpError(400, f"invalid kind: use one of {', '.join(call_query.KINDS)}")
    part = call.param("in")
    if part not in (None, *call_search.PARTS):
        raise HttpError(400, f"invalid in: use one of {', '.join(call_search.PARTS)}")
    ident = call.param("session")
    return call_query.CallFilters(
        **of_calls,
        kind=kind,
        part=part,
        argument=call.param("argument"),
        same=_parsed(call_facts.key_of, call.param("same")),
        prompt=_parsed(call_facts.key_of, call.param("prompt")),
        message=_parsed(call_facts.key_of, call.param("message")),
        failed=call.param("failed") == "1",
        session=None if ident is None else call.session_named(ident),
    )


def order(call: Call) -> dict[str, Any]:
    """Return the order and the place of a page."""
    sort = call.param("sort") or "began"
    if sort not in call_query.SORTS:
        raise HttpError(400, f"invalid sort: use one of {', '.join(call_query.SORTS)}")
    direction = call.param("order") or "desc"
    if direction not in ("asc", "desc"):
        raise HttpError(400, "invalid order: use asc or desc")
    return {
        "sort": sort,
        "ascending": direction == "asc",
        "after": _parsed(call_query.Place.parse, call.param("after")),
    }


def grouping(call: Call) -> dict[str, Any]:
    """Return what calls are grouped by, and the order of the groups."""
    by = call.param("by")
    if by is not None and by not in call_query.GROUPS:
        raise HttpError(400, f"invalid by: use one of {', '.join(call_query.GROUPS)}")
    sort = call.param("sort") or call_query.GROUPS.get(by or "", "calls")
    if sort not in call_query.GROUP_SORTS:
        raise HttpError(400, f"invalid sort: use one of {', '.join(call_query.GROUP_SORTS)}")
    like = call.param("like") or ""
    if like and by not in call_query.NAMED:
        raise HttpError(400, f"invalid like: it needs by, one of {', '.join(call_query.NAMED)}")
    return {"by": by, "sort": sort, "like": like[:_LONGEST_NAME]}


def _parsed(parse: Callable[[str], T], text: str | None) -> T | None:
    try:
        return None if text is None else parse(text)
    except ConfigError as error:
        raise HttpError(400, str(error)) from error
