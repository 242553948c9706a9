"""The OpenAPI document of a hub, made from the table of its doors."""

from __future__ import annotations

import re

from localops import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from localops.server.calls import Door

_IN_PATH = {
    "session": ("id of a session: a UUID", {"type": "string", "format": "uuid"}),
    "seq": ("seq of any of its rows", {"type": "integer"}),
    "project": ("name of a project", {"type": "string"}),
    "digest": ("SHA-256 of a blob", {"type": "string", "pattern": "^[0-9a-f]{64}$"}),
}
_NUMBERS = ("limit", "after")
_ALWAYS = {429: "This key asks too often.", 503: "Not now: Retry-After says when."}


def document(doors: Sequence[Door], *, keys: bool) -> dict[str, Any]:
    """Every door, as OpenAPI 3.1 describes it."""
    paths: dict[str, dict[str, Any]] = {}
    for door in doors:
        paths.setdefault(door.path, {})[door.method.lower()] = _operation(door, keys=keys)
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-Agentops-Api-Key"},
    }
    error = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "localops", "version": __version__},
        "paths": paths,
        "components": {"schemas": {"Error": error}, **({"securitySchemes": schemes} if keys else {})},
    }


def _operation(door: Door, *, keys: bool) -> dict[str, Any]:
    refusals = {**door.answers, **_of_keys(door, keys=keys), **_ALWAYS} if door.key else {}
    told: dict[str, Any] = {
        "operationId": door.handler,
        "summary": door.about,
        "parameters": [*_in_path(door.path), *_in_query(door)],
        "responses": {
            "200": {"description": "Done."} if door.method == "HEAD" else _answer("Done.", {"type": "object"}),
            **{
                str(status): _answer(why, {"$ref": "#/components/schemas/Error"})
                for status, why in sorted(refusals.items())
            },
        },
    }
    if door.body is not None:
        told["requestBody"] = {"required": True, "content": {door.body: {}}}
    if door.key and keys:
        told["security"] = [{"bearer": []}, {"header": []}]
    return told


def _of_keys(door: Door, *, keys: bool) -> dict[int, str]:
    if door.v2:
        return {400: "The key is missing or unknown, or the session is not one of its project."}
    found = {401: "The key is missing, unknown or revoked."} if keys else {}
    return {**found, 404: "There is no such session."} if "{session}" in door.path else found


def _answer(about: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _in_path(path: str) -> list[dict[str, Any]]:
    return [_parameter("path", name, *_IN_PATH[name], required=True) for name in re.findall(r"\{(\w+)\}", path)]


def _in_query(door: Door) -> list[dict[str, Any]]:
    return [
        _parameter("query", name, about, {"type": "integer" if name in _NUMBERS else "string"}, required=False)
        for name, about in door.query.items()
    ]


def _parameter(place: str, name: str, about: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {"in": place, "name": name, "description": about, "required": required, "schema": schema}
