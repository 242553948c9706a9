"""Definitions of tools, in the format of any model vendor, as those of the semantic conventions."""

from __future__ import annotations

from localops.otel.messages import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Definition = dict[str, Any]

_SCHEMAS = ("parameters", "input_schema", "inputSchema", "parametersJsonSchema", "parameters_json_schema")
_LISTS = ("function_declarations", "functionDeclarations", "tools")
_HOLDERS = ("function", "toolSpec", "custom")


def tool_definitions(value: object) -> list[Definition]:
    """Return definitions as the conventions have them: type, name, description and parameters."""
    return list(_definitions(value))


def _definitions(value: object) -> Iterator[Definition]:
    if value is None:
        return
    if isinstance(value, list):
        for each in value:
            yield from _definitions(each)
        return
    if not isinstance(value, dict):
        yield {"type": "function", "name": text(value)}
        return
    listed = next((value[key] for key in _LISTS if isinstance(value.get(key), list)), None)
    if listed is not None:
        yield from _definitions(listed)
    else:
        yield _definition(value)


def _definition(value: Definition) -> Definition:
    inner = next((value[key] for key in _HOLDERS if isinstance(value.get(key), dict)), value)
    kind = value.get("type")
    has_schema = not inner.keys().isdisjoint(_SCHEMAS)
    is_function = not isinstance(kind, str) or (kind in ("custom", "tool") and has_schema)
    named = inner.get("name") or value.get("name")
    definition: Definition = {
        "type": "function" if is_function else kind,
        "name": text(named) if named else text(kind) if isinstance(kind, str) else text(value),
    }
    if isinstance(inner.get("description"), str):
        definition["description"] = inner["description"]
    schema = next((inner[key] for key in _SCHEMAS if isinstance(inner.get(key), dict)), None)
    if schema is not None:
        # Bedrock has the schema one level deeper.
        definition["parameters"] = schema["json"] if isinstance(schema.get("json"), dict) else schema
    return definition
