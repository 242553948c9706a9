"""The OpenAPI document of a hub, made from the table of its endpoints."""

from __future__ import annotations

import re

from localops import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from localops.server.request import Endpoint

_IN_PATH = {
    "session": ("id of a session: a UUID", {"type": "string", "format": "uuid"}),
    "seq": ("seq of any of its rows", {"type": "integer"}),
    "project": ("name of a project", {"type": "string"}),
    "digest": ("SHA-256 of a blob", {"type": "string", "pattern": "^[0-9a-f]{64}$"}),
}
_NUMBERS = ("limit", "after")
_ALWAYS = {429: "This key asks too often.", 503: "Not now: Retry-After says when."}
_OF_BODIES = {
    408: "The body did not come in time.",
    411: "Content-Length is missing.",
    413: "It has too many bytes, packed or unpacked, or too many rows.",
    415: "Packed in a way that is not known here.",
}
_JSON = "application/json"


def document(endpoints: Sequence[Endpoint], *, keys: bool, root: str = "") -> dict[str, Any]:
    """Every endpoint, as OpenAPI 3.1 describes it; `root` is the path that all of them are below."""
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, keys=keys)
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-Agentops-Api-Key"},
    }
    error = {"type": "object", "properties": {"message": {"type": "string"}}, "required": ["message"]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "localops", "version": __version__},
        **({"servers": [{"url": root}]} if root else {}),
        "paths": paths,
        "components": {"schemas": {"Error": error}, **({"securitySchemes": schemes} if keys else {})},
    }


def _operation(endpoint: Endpoint, *, keys: bool) -> dict[str, Any]:
    refusals = (
        {**_of_questions(endpoint), **_of_keys(endpoint, keys=keys), **endpoint.answers, **_ALWAYS}
        if endpoint.key
        else {}
    )
    told: dict[str, Any] = {
        "operationId": endpoint.handler,
        "summary": endpoint.about,
        "parameters": [*_in_path(endpoint.path), *_in_query(endpoint)],
        "responses": {
            "200": {"description": "Done."} if endpoint.method == "HEAD" else _done(endpoint),
            **{
                str(status): _answer(why, {"$ref": "#/components/schemas/Error"})
                for status, why in sorted(refusals.items())
            },
        },
    }
    if endpoint.body is not None:
        schema = {"schema": endpoint.form} if endpoint.form else {}
        told["requestBody"] = {"required": True, "content": {endpoint.body: schema}}
    if endpoint.key and keys:
        told["security"] = [{"bearer": []}, {"header": []}]
    return told


def _of_questions(endpoint: Endpoint) -> dict[int, str]:
    found = {400: "That cannot be asked: the message says why."} if endpoint.query or endpoint.body else {}
    if endpoint.body is not None:
        found |= _OF_BODIES
    if "{" in endpoint.path or "project" in endpoint.query or "session" in endpoint.query:
        found[404] = "There is no such thing."
    return found


def _of_keys(endpoint: Endpoint, *, keys: bool) -> dict[int, str]:
    if endpoint.v2:
        return {400: "The key is missing or unknown, or the session is not one of its project."}
    return {401: "The key is missing, unknown or revoked."} if keys else {}


def _done(endpoint: Endpoint) -> dict[str, Any]:
    schemas = {_JSON: {"schema": {"type": "object"}}}
    return {"description": "Done.", "content": {kind: schemas.get(kind, {}) for kind in endpoint.gives}}


def _answer(about: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": about, "content": {_JSON: {"schema": schema}}}


def _in_path(path: str) -> list[dict[str, Any]]:
    return [_parameter("path", name, *_IN_PATH[name], required=True) for name in re.findall(r"\{(\w+)\}", path)]


def _in_query(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        _parameter("query", name, about, {"type": "integer" if name in _NUMBERS else "string"}, required=False)
        for name, about in endpoint.query.items()
    ]


def _parameter(place: str, name: str, about: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    return {"in": place, "name": name, "description": about, "required": required, "schema": schema}
