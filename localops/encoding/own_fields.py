"""The parts of a row's body that localops itself writes, such as names of fields and ids: they are never redacted.

A user's pattern such as `[0-9a-f]{32}` or `param\\w+` matches some of them, and a row without them is not readable.
"""

from __future__ import annotations

from localops.journal import token_kinds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

FIELDS = frozenset(
    "about action_type agent_id agents args at billed body boot budget_usd by call_id code comment completion content "
    "copy_of cost cut derived details dropped ended_by event_counts exact files finish_reason first_prices forked "
    "given_id host host_env imported journal kept logs machine metadata model name now once once_rows "
    "params params_left_out participant phase pid place polling prefix problem process prompt "
    "provider query reason resource response_id response_model resumed returns returns_left_out rules scope "
    "screenshot session_id settled span_id spent_usd spilled started step_key stop_reason stream "
    "system_instructions tags thread thread_id time_to_first_token tool_calls tool_definitions "
    "trace_id trigger type unattributed usage value version video was".split()
).union(token_kinds.columns(token_kinds.WITH_COLUMN), [kind.field for kind in token_kinds.IN_BODY])
"""Names of fields of a body, which are never redacted; most of their values are the program's, and are."""

_OF_PROGRAMS = frozenset(
    "args body code comment completion content details exact logs metadata params problem prompt query resource "
    "returns step_key system_instructions tool_calls tool_definitions video".split()
)
FIGURES = FIELDS - _OF_PROGRAMS
"""Names of fields whose numbers are our own counts, times and amounts: their digits are not searched."""

# Fields that hold an id, and the lengths of its parts.
_ID, _UUID = [32], [8, 4, 4, 4, 12]
_SHAPES = {"participant": _ID, "machine": _ID, "journal": _ID, "boot": _UUID, "copy_of": _UUID}
_HEX = frozenset("0123456789abcdef")
# The field `once` identifies the step of a row, and says how its result was kept.
_STEP = frozenset("args n by in again keyed kept kind why".split())
NOT_KEPT = "a scrub removed a secret from it"
"""Why the result of a step is not kept any more after a scrub."""
_TRIGGER = frozenset("id kind name".split())
_MAY_BE_OWN = frozenset((*_SHAPES, "once", "trigger"))
_FILE = [64]


def is_file(text: str) -> bool:
    """Return whether a text is a reference to a file beside the journal."""
    return text.startswith("blob:") and _is_id(text[5:], _FILE)


def taken_out(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split the fields of a body into those that must be searched for secrets, and our own.

    >>> taken_out({"participant": "0" * 32, "params": 1})
    ({'params': 1}, {'participant': '00000000000000000000000000000000'})
    """
    # Most bodies have none of these.
    own = {name: fields[name] for name in _MAY_BE_OWN & fields.keys() if _is_own(name, fields[name])}
    if not own:
        return fields, own
    rest = {name: value for name, value in fields.items() if name not in own}
    if "trigger" in own:
        # The name of an event is the program's: search it.
        rest["trigger"] = own["trigger"]["name"]
    return {name: rest[name] for name in fields if name in rest}, own


def put_back(rest: Mapping[str, Any], own: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Join the two parts of `taken_out` again, in the order of `names`, after the first one was redacted."""
    pairs = iter(rest.items())
    body: dict[str, Any] = {}
    for name in names:
        if name in own and name != "trigger":
            body[name] = own[name]
        elif (pair := next(pairs, None)) is not None:
            body[pair[0]] = {**own[name], "name": pair[1]} if name in own else pair[1]
    body.update(pairs)
    return body


def without_result(once: Any) -> dict[str, Any] | None:
    """Return the field `once` for a step whose result was scrubbed; None if no result was kept."""
    if not isinstance(once, dict) or once.get("kept") not in ("returns", "exact"):
        return None
    return {**once, "kept": None, "why": NOT_KEPT}


def _is_own(name: str, value: Any) -> bool:
    if name in _SHAPES:
        return _is_id(value, _SHAPES[name])
    if type(value) is not dict:
        return False
    if name == "trigger":
        return value.keys() == _TRIGGER and _is_id(value["id"], _UUID)
    return name == "once" and value.keys() <= _STEP


def _is_id(value: Any, lengths: list[int]) -> bool:
    # Without a regular expression, as commands that must start fast do not load `re`.
    if type(value) is not str:
        return False
    parts = value.split("-")
    return [len(part) for part in parts] == lengths and _HEX.issuperset("".join(parts))
