"""The OpenAPI document of what we serve of Alertmanager's API v2: made from a few tables, in OpenAPI 3.0."""

from collections.abc import Collection
from typing import Any

__all__ = ["document"]

_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_FLAG = {"type": "boolean"}
_LABELS = {"type": "object", "additionalProperties": _TEXT}
_READING = {"active", "silenced", "inhibited", "unprocessed"}


def document(version: str) -> dict[str, Any]:
    """The document, for clients and generators."""
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "k2alert: alerts and silences",
            "version": version,
            "description": "Alertmanager's API v2, as far as it is about alerts that k2alert itself makes.",
        },
        "servers": [{"url": "/api/v2"}],
        "paths": _PATHS,
        "components": {
            "schemas": _SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(optional: Collection[str] = (), /, **properties: Any) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _answers(schema: dict[str, Any] | None, *errors: int) -> dict[str, Any]:
    content = {"content": {"application/json": {"schema": schema}}} if schema is not None else {}
    sentence = {"description": "Why not.", "content": {"application/json": {"schema": _TEXT}}}
    refused = {"description": "A token is needed, or another one."}
    return {
        "200": {"description": "Done.", **content},
        **{str(code): sentence for code in errors},
        "401": refused,
        "403": refused,
    }


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _flags(*names: str) -> list[dict[str, Any]]:
    return [_query(name, {**_FLAG, "default": True}, f"Include those that are {name}.") for name in names]


_FILTER = _query("filter", _list(_TEXT), 'Matchers, all of which must match: `project="k2/app"`.')
_RECEIVER = _query("receiver", _TEXT, "A regular expression (RE2, anchored) for the receiver's name.")
_RECEIVER_MATCHERS = _query("receiver_matchers", _list(_TEXT), "Matchers on labels of receivers; ours have none.")
_ID = {"name": "id", "in": "path", "required": True, "schema": _TEXT}
_SILENCE = {
    "matchers": {**_list(_ref("matcher")), "minItems": 1},
    "startsAt": _TIME,
    "endsAt": _TIME,
    "createdBy": _TEXT,
    "comment": _TEXT,
    "untilResolved": {**_FLAG, "description": "Ours: it ends with what it matched and fired when it was made."},
}
_SCHEMAS: dict[str, Any] = {
    "matcher": _object(("isEqual",), name=_TEXT, value=_TEXT, isRegex=_FLAG, isEqual={**_FLAG, "default": True}),
    "receiver": _object(name=_TEXT),
    "alert": _object(
        labels=_LABELS,
        annotations=_LABELS,
        receivers=_list(_ref("receiver")),
        fingerprint=_TEXT,
        startsAt=_TIME,
        updatedAt=_TIME,
        endsAt=_TIME,
        generatorURL=_TEXT,
        status=_object(
            state={"type": "string", "enum": ["active", "suppressed", "unprocessed"]},
            silencedBy=_list(_TEXT),
            inhibitedBy=_list(_TEXT),
            mutedBy=_list(_TEXT),
        ),
    ),
    "group": _object(labels=_LABELS, routeLabels=_LABELS, receiver=_ref("receiver"), alerts=_list(_ref("alert"))),
    "postedSilence": _object(("id", "untilResolved"), id=_TEXT, **_SILENCE),
    "silence": _object(
        id=_TEXT,
        status=_object(state={"type": "string", "enum": ["active", "pending", "expired"]}),
        updatedAt=_TIME,
        annotations=_LABELS,
        **_SILENCE,
    ),
    "status": _object(
        cluster=_object(
            status={"type": "string", "enum": ["disabled"]}, peers=_list(_object(name=_TEXT, address=_TEXT))
        ),
        versionInfo=_object(
            version=_TEXT, revision=_TEXT, branch=_TEXT, buildUser=_TEXT, buildDate=_TEXT, goVersion=_TEXT
        ),
        config=_object(original=_TEXT),
        uptime=_TIME,
    ),
}
_PATHS: dict[str, Any] = {
    "/status": {"get": {"responses": _answers(_ref("status"))}},
    "/receivers": {"get": {"parameters": [_RECEIVER_MATCHERS], "responses": _answers(_list(_ref("receiver")), 400)}},
    "/alerts": {
        "get": {
            "parameters": [*_flags(*sorted(_READING)), _FILTER, _RECEIVER],
            "responses": _answers(_list(_ref("alert")), 400),
        }
    },
    "/alerts/groups": {
        "get": {
            "parameters": [*_flags("active", "silenced", "inhibited", "muted"), _FILTER, _RECEIVER],
            "responses": _answers(_list(_ref("group")), 400),
        }
    },
    "/silences": {
        "get": {
            "parameters": [*_flags("active", "pending", "expired"), _FILTER],
            "responses": _answers(_list(_ref("silence")), 400),
        },
        "post": {
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _ref("postedSilence")}},
            },
            "responses": _answers(_object(silenceID=_TEXT), 400, 404, 503),
        },
    },
    "/silence/{id}": {
        "get": {"parameters": [_ID], "responses": _answers(_ref("silence"), 404)},
        "delete": {"parameters": [_ID], "responses": _answers(None, 404, 503)},
    },
}
