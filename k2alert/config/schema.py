"""JSON Schema of the files, for editors (draft 2020-12), made from the models that check them.

Nothing comes in; out goes the schema of the main file or of a rule file. Where the main file's values may be
references (`$NAME`) instead, the schema allows any text with a `$` in it.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from pydantic.json_schema import GenerateJsonSchema

from k2alert.config.expand import UNTOUCHED
from k2alert.config.receivers import INTEGRATIONS
from k2alert.config.settings import MainFile, RuleFile
from k2alert.labels import Matcher
from k2alert.times import format_duration

__all__ = ["DIALECT", "json_schema", "written"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {"type": "string", "pattern": r"\$", "description": "A reference: $NAME, ${NAME} or ${file:/path}."}
# Text that may be anything may be a reference; these may not.
_NARROWER = ("pattern", "format", "enum", "const", "minLength", "maxLength")
_INTEGRATION_OWNERS = ("NotificationSettings", "ReceiverSettings")


def json_schema(kind: Literal["main", "rules"]) -> dict[str, Any]:
    """The schema of the main file, or of a file of rules."""
    model = MainFile if kind == "main" else RuleFile
    schema = model.model_json_schema(ref_template="#/$defs/{model}", schema_generator=_AsWritten)
    if kind == "main":
        _add_integrations(schema["$defs"])
        _allow_references(schema)
    else:
        schema["properties"]["notifications"] = {"description": "Unused in a rule file.", "deprecated": True}
    return {"$schema": DIALECT, **schema, "title": "k2alert.yml" if kind == "main" else "a rule file of k2alert"}


class _AsWritten(GenerateJsonSchema):
    """Shows defaults as people write them: `35d`, where pydantic would say `P35D`."""

    def encode_default(self, dft: Any) -> Any:
        return super().encode_default(written(dft))


def written(default: Any) -> Any:
    """A default as it would stand in a file."""
    if isinstance(default, timedelta):
        return format_duration(default)
    if isinstance(default, tuple):
        return [written(one) for one in default]
    return str(default) if isinstance(default, Matcher) else default


def _add_integrations(definitions: dict[str, Any]) -> None:
    """Say what each integration holds; none of it is required, for `notifications` may give the rest."""
    for kind, model in INTEGRATIONS.items():
        settings = model.model_json_schema(ref_template="#/$defs/{model}", schema_generator=_AsWritten)
        definitions.update(settings.pop("$defs", {}))
        settings.pop("required", None)
        definitions[kind] = {**settings, "title": kind}
        one = {"$ref": f"#/$defs/{kind}"}
        for owner in _INTEGRATION_OWNERS:
            definitions[owner]["properties"][kind] = {
                "anyOf": [one, {"type": "array", "items": one}, {"type": "null"}],
                "description": definitions[owner]["properties"][kind]["description"],
            }


def _allow_references(schema: dict[str, Any]) -> None:
    """Let every value of the main file that is expanded be a reference too."""
    rules = _reached(schema, [schema["properties"][key] for key in UNTOUCHED])
    for name, definition in schema["$defs"].items():
        if name not in rules:
            _loosen_properties(definition)
    _loosen_properties(schema)


def _loosen_properties(definition: dict[str, Any]) -> None:
    properties = definition.get("properties", {})
    for key in properties.keys() - {*UNTOUCHED, "type"}:
        properties[key] = _loosened(properties[key])


def _loosened(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of one value, or a reference in its place where the value is no list and no mapping."""
    if "items" in schema:
        return {**schema, "items": _loosened(schema["items"])}
    if "anyOf" in schema:
        return {**schema, "anyOf": [_loosened(option) for option in schema["anyOf"]]}
    scalar = schema.get("type") in ("string", "integer", "number", "boolean") or "enum" in schema
    if not scalar or (schema["type"] == "string" and not any(key in schema for key in _NARROWER)):
        return schema
    outer: dict[str, Any] = {key: schema[key] for key in ("description", "default", "title") if key in schema}
    return {**outer, "anyOf": [{key: value for key, value in schema.items() if key not in outer}, _REFERENCE]}


def _reached(root: Mapping[str, Any], start: list[Any]) -> frozenset[str]:
    """The names of the definitions that these schemas refer to, however far."""
    found: set[str] = set()
    left = list(start)
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            left += part.values()
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                left.append(root["$defs"][name])
    return frozenset(found)
