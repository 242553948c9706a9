"""The OpenAPI document of a hub, made from the table of endpoints."""

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
    "trace": ("id of a session: 32 hex digits", {"type": "string", "pattern": "^[0-9a-f]{32}$"}),
    "seq": ("seq of any of its rows", {"type": "integer"}),
    "project": ("name of a project", {"type": "string"}),
    "digest": ("SHA-256 of a blob", {"type": "string", "pattern": "^[0-9a-f]{64}$"}),
}
_NUMBERS = ("limit", "after")
_ALWAYS = {429: "Too many requests with this key.", 503: "Not available now: see Retry-After."}
_OF_BODIES = {
    408: "The body did not arrive in time.",
    411: "Content-Length is missing.",
    413: "The body has too many bytes, compressed or not, or too many rows.",
    415: "Unknown Content-Encoding.",
}
_JSON = "application/json"


def document(endpoints: Sequence[Endpoint], *, keys: bool, root: str = "") -> dict[str, Any]:
    """Return the endpoints as an OpenAPI 3.1 document; `root` is the path that all of them are below."""
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
    errors = (
        {**_of_questions(endpoint), **_of_keys(endpoint, keys=keys), **endpoint.answers, **_ALWAYS}
        if endpoint.key
        else {}
    )
    operation: dict[str, Any] = {
        "operationId": endpoint.handler,
        "summary": endpoint.about,
        "parameters": [*_in_path(endpoint.path), *_in_query(endpoint)],
        "responses": {
            "200": {"description": "Done."} if endpoint.method == "HEAD" else _success_response(endpoint),
            **{
                str(status): _answer(why, {"$ref": "#/components/schemas/Error"})
                for status, why in sorted(errors.items())
            },
        },
    }
    if endpoint.body is not None:
        schema = {"schema": endpoint.form} if endpoint.form else {}
        operation["requestBody"] = {"required": True, "content": {endpoint.body: schema}}
    if endpoint.key and keys:
        operation["security"] = [{"bearer": []}, {"header": []}]
    return operation


def _of_questions(endpoint: Endpoint) -> dict[int, str]:
    errors = {400: "Invalid request: see the message."} if endpoint.query or endpoint.body else {}
    if endpoint.body is not None:
        errors |= _OF_BODIES
    if "{" in endpoint.path or "project" in endpoint.query or "session" in endpoint.query:
        errors[404] = "Not found."
    return errors


def _of_keys(endpoint: Endpoint, *, keys: bool) -> dict[int, str]:
    lacks = f"The key lacks the scope {endpoint.needs}."
    if endpoint.v2:
        unknown = "The key is missing, unknown, revoked or expired, or the session is not in its project."
        return {400: unknown, 403: lacks}
    return {401: "The key is missing, unknown, revoked or expired.", 403: lacks} if keys else {}


def _success_response(endpoint: Endpoint) -> dict[str, Any]:
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
