"""Checks HTTP exchanges against an OpenAPI 3.0 document, so that what we send and what our stand-ins answer is real.

An `OpenApi` is made from a document; `check_request` and `check_response` return what is wrong, one line each,
nothing when all is well. `validating` is an aiohttp middleware that writes the same lines into a list while a
test talks to a server.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})")
_FORMATS = jsonschema.FormatChecker(formats=())


@_FORMATS.checks("date-time")
def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    try:
        return _RFC3339.fullmatch(value) is not None and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


class OpenApi:
    """An OpenAPI 3.0 document that can be asked whether an exchange keeps to it.

    `prefix` is the path under which the described API is mounted ("/api/v4"). Paths matching one of `beyond`
    (regular expressions on the path without the prefix) exist on the forge but not in the document: not checked.
    """

    def __init__(self, document: Path | Mapping[str, Any], *, prefix: str = "", beyond: Iterable[str] = ()) -> None:
        raw = json.loads(document.read_text()) if isinstance(document, Path) else document
        self._document = _to_draft4(raw)
        self._prefix = prefix
        self._beyond = [re.compile(pattern) for pattern in beyond]
        self._paths = [(_template(path), operations) for path, operations in self._document["paths"].items()]
        self._paths.sort(key=lambda entry: entry[0].groups)  # the most literal path first
        self._validators: dict[int, Any] = {}

    def covers(self, path: str) -> bool:
        """Whether the document speaks of this path at all."""
        return path.startswith(self._prefix) and not any(
            pattern.fullmatch(path.removeprefix(self._prefix)) for pattern in self._beyond
        )

    def check_request(
        self, method: str, path: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str]
    ) -> list[str]:
        """What is wrong with a request; `path` is percent-encoded and without its query."""
        operation, values = self._find(method, path)
        if operation is None:
            return [f"{method} {path}: not in the document"]
        given = {"path": values, "query": query, "header": list(headers.items())}
        problems = []
        known = [self._resolve(parameter) for parameter in operation.get("parameters", [])]
        for parameter in known:
            problems += self._check_parameter(parameter, given.get(parameter["in"], []))
        names = {parameter["name"] for parameter in known if parameter["in"] == "query"}
        problems += [f"query {name}: not in the document" for name, _ in query if name not in names]
        problems += self._check_security(operation, headers)
        return [f"{method} {path}: {problem}" for problem in problems]

    def check_response(
        self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes | str
    ) -> list[str]:
        """What is wrong with an answer to that request."""
        operation, _ = self._find(method, path)
        if operation is None:
            return [f"{method} {path}: not in the document"]
        responses = operation["responses"]
        response = responses.get(str(status)) or responses.get(f"{status // 100}XX") or responses.get("default")
        where = f"{method} {path}: {status}"
        if response is None:
            return [f"{where}: not a status of the document"]
        return [f"{where}: {problem}" for problem in self._check_body(self._resolve(response), headers, body)]

    def _find(self, method: str, path: str) -> tuple[dict[str, Any] | None, list[tuple[str, str]]]:
        for template, operations in self._paths:
            found = template.fullmatch(path.removeprefix(self._prefix))
            if found and method.lower() in operations:
                operation = dict(operations[method.lower()])
                operation["parameters"] = operations.get("parameters", []) + operation.get("parameters", [])
                return operation, [(name, unquote(value)) for name, value in found.groupdict().items()]
        return None, []

    def _check_parameter(self, parameter: dict[str, Any], given: Sequence[tuple[str, str]]) -> list[str]:
        name, place = parameter["name"], parameter["in"]
        same = str.lower if place == "header" else str
        values = [value for key, value in given if same(key) == same(name)]
        if not values:
            return [f"{place} {name}: required"] if parameter.get("required") else []
        schema = self._resolve(parameter.get("schema", {}))
        if schema.get("type") == "array":
            value: Any = [_typed(text, schema.get("items", {})) for text in values]
        elif len(values) > 1:
            return [f"{place} {name}: given {len(values)} times"]
        else:
            value = _typed(values[0], schema)
        return [f"{place} {name}: {text}" for text in self._violations(schema, value)]

    def _check_security(self, operation: dict[str, Any], headers: Mapping[str, str]) -> list[str]:
        wanted = operation.get("security", self._document.get("security")) or [{}]
        schemes = self._document.get("components", {}).get("securitySchemes", {})
        present = {name.lower(): value for name, value in headers.items()}
        if any(all(_authorised(schemes[name], present) for name in option) for option in wanted):
            return []
        return ["no authentication that the document knows"]

    def _check_body(self, response: dict[str, Any], headers: Mapping[str, str], body: bytes | str) -> list[str]:
        content = response.get("content", {})
        kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
        kind = kind.partition(";")[0].strip()
        if not content:
            return []
        if kind not in content:
            return [f"content type {kind or 'absent'} instead of {', '.join(content)}"]
        if not kind.endswith("json"):
            return []
        return self._violations(content[kind].get("schema", {}), json.loads(body))

    def _violations(self, schema: dict[str, Any], value: Any) -> list[str]:
        key = id(schema)
        if key not in self._validators:
            # The components ride along, for `$ref`s point into the whole document.
            whole = {**schema, "components": self._document.get("components", {})}
            self._validators[key] = jsonschema.Draft4Validator(whole, format_checker=_FORMATS)
        return [f"{error.json_path}: {error.message[:300]}" for error in self._validators[key].iter_errors(value)]

    def _resolve(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            target: Any = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node


def validating(api: OpenApi, problems: list[str]) -> Middleware:
    """A middleware that checks every exchange the document covers and writes what is wrong into `problems`."""

    @web.middleware
    async def validate(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.rel_url.raw_path
        try:
            response = await handler(request)
        except web.HTTPException as refused:
            response = web.Response(status=refused.status, headers=refused.headers, text=refused.text)
        if not api.covers(path):
            return response
        query = list(request.query.items())
        problems.extend(api.check_request(request.method, path, query, request.headers))
        # A 304 is HTTP's own answer to who sends an ETag along, whether the document says so or not.
        conditional = response.status == 304 and "If-None-Match" in request.headers
        if isinstance(response, web.Response) and not conditional:
            body = response.body if isinstance(response.body, bytes) else b""
            problems.extend(api.check_response(request.method, path, response.status, response.headers, body))
        return response

    return validate


def _template(path: str) -> re.Pattern[str]:
    pieces = re.split(r"\{(\w+)\}", path)
    return re.compile(
        "".join(f"(?P<{piece}>[^/]+)" if odd % 2 else re.escape(piece) for odd, piece in enumerate(pieces))
    )


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    """A parameter's text as the JSON value its schema means."""
    kind = schema.get("type")
    if kind == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if kind in ("integer", "number"):
        return json.loads(text) if re.fullmatch(r"-?\d+(?:\.\d+)?", text) else text
    return text


def _authorised(scheme: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    if scheme["type"] == "http":
        return headers.get("authorization", "").lower().startswith(scheme["scheme"].lower() + " ")
    return scheme["in"] == "header" and scheme["name"].lower() in headers


def _to_draft4(node: Any) -> Any:
    """The document with OpenAPI 3.0's `nullable` said as JSON Schema says it."""
    if isinstance(node, list):
        return [_to_draft4(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {key: _to_draft4(value) for key, value in node.items() if key not in ("example", "examples")}
    if plain.pop("nullable", False) is True:
        return {"anyOf": [plain, {"type": "null"}]}
    return plain
