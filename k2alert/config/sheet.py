"""One file on the desk: its data, the places of it, and the models it is held against.

A part of a file comes in by its path; a checked model goes out, or None, with every problem of the part added to the
report at its place. Where a value came from the environment, no problem shows it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from k2alert.config.report import Report, did_you_mean, shown
from k2alert.document import Document, DocumentPath
from k2alert.model import Place

__all__ = ["Sheet", "known_keys"]

M = TypeVar("M", bound=BaseModel)

_KINDS = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_pattern_mismatch": "is not written as it should be",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "none_required": "must be left out here",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
}


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file's data after expansion. `references` tells what the expanded texts referred to, `unset` those that
    stand for nothing (their values say nothing, so nothing is said about them)."""

    document: Document
    data: Any
    report: Report
    references: Mapping[DocumentPath, str] = field(default_factory=dict)
    unset: frozenset[DocumentPath] = frozenset()

    def error(self, path: DocumentPath, text: str) -> None:
        """The value at the path is wrong."""
        self._say(path, text, warning=False, code="config")

    def warn(self, path: DocumentPath, text: str, code: str = "config") -> None:
        """The part at the path is allowed, but worth a word; the place is its key."""
        self.report.add(self.document.key_place(path), text, code=code, warning=True)

    def error_inside(self, path: DocumentPath, offset: int, text: str) -> None:
        """A character of the text at the path is where it goes wrong."""
        if path in self.references:
            self.error(path, text)
        else:
            self.report.add(self.document.inside(path, offset), text)

    def warn_inside(self, path: DocumentPath, offset: int, text: str, code: str) -> None:
        """A character of the text at the path is what a warning is about."""
        self.report.add(self.document.inside(path, offset), text, code=code, warning=True)

    def place(self, path: DocumentPath) -> Place:
        """Where the value at the path stands."""
        return self.document.place(path)

    def items(self, path: DocumentPath) -> Iterator[tuple[DocumentPath, Any]]:
        """The items of a list, each with its path; of anything else that is there, a problem."""
        value = self.at(path)
        if isinstance(value, list):
            for index, item in enumerate(value):
                yield (*path, index), item
        elif value is not None:
            self.error(path, f"{path[-1]}: must be a list")

    def read(
        self, model: type[M], path: DocumentPath, data: Any = None, bases: Sequence[DocumentPath] = ()
    ) -> M | None:
        """The part at the path as a model, or None and its problems.

        `data` stands in for what is written there, and `bases` are then the paths it was put together from, in the
        order in which to look for a key.
        """
        data = self.at(path) if data is None else data
        try:
            return model.model_validate(data)
        except ValidationError as error:
            self._explain(error, model, data, bases or (path,))
            return None

    def read_kept(self, model: type[M], data: Mapping[str, Any]) -> M:
        """The top of a file as a model whose keys are all optional; those that are wrong are reported and left out."""
        try:
            return model.model_validate(data)
        except ValidationError as error:
            self._explain(error, model, data, ((),))
            wrong = {details["loc"][0] for details in error.errors() if details["loc"]}
            return model.model_validate({key: value for key, value in data.items() if key not in wrong})

    def check_keys(self, path: DocumentPath, data: Mapping[str, Any], known: Iterable[str]) -> None:
        """Every key of a mapping that is not known is an error."""
        known = tuple(known)
        for key in data:
            if key not in known:
                self.report.add(self.document.key_place((*path, key)), _unknown_key(key, known))

    def complain(self, path: DocumentPath, error: ValidationError, model: type[BaseModel], data: Any) -> None:
        """Report what a model said of the data at the path, save what it lacks and what it is as a whole."""
        self._explain(error, model, data, (path,), partial=True)

    def at(self, path: DocumentPath) -> Any:
        """What is written at the path, expanded; None where nothing is."""
        value = self.data
        for part in path:
            value = value[part] if isinstance(part, int) or part in value else None
        return value

    def _say(self, path: DocumentPath, text: str, *, warning: bool, code: str) -> None:
        if path in self.unset:
            return
        if path in self.references:
            text = f"{_named(path)}: the value of {self.references[path]} does not fit here (it is not shown)"
        self.report.add(self.document.place(path), text, code=code, warning=warning)

    def _explain(
        self,
        error: ValidationError,
        model: type[BaseModel],
        data: Any,
        bases: Sequence[DocumentPath],
        *,
        partial: bool = False,
    ) -> None:
        for (loc, kind), text in _merged(error, data).items():
            base = next((base for base in bases if loc and self.document.has((*base, *loc))), bases[0])
            path = (*base, *loc)
            if kind == "value":
                self._explain_value(path, text, partial=partial and not loc)
            elif kind == "missing":
                self._explain_missing(path, partial=partial)
            else:
                key = shown(str(loc[-1]))
                unknown = kind == "extra_forbidden"
                text = _unknown_key(str(loc[-1]), known_keys(model, loc[:-1])) if unknown else f"{key}: {text}"
                self.report.add(self.document.key_place(path), text)

    def _explain_value(self, path: DocumentPath, text: str, *, partial: bool) -> None:
        # What the whole of a part lacks cannot be told while one of its values is not there.
        if not partial and not any(unset[: len(path)] == path for unset in self.unset):
            self.error(path, f"{_named(path)}: {text}" if path else text)

    def _explain_missing(self, path: DocumentPath, *, partial: bool) -> None:
        *above, key = path
        if not partial:
            owner = f"{_named(tuple(above))} " if above else ""
            self.report.add(self.document.key_place(tuple(above)), f'{owner}lacks the key "{key}"')


def known_keys(model: type[BaseModel], loc: Iterable[str | int] = ()) -> frozenset[str]:
    """The keys that the model allows in the mapping at `loc`."""
    schema = _schema(model)
    found = _options(schema, schema)
    for part in loc:
        inner = [_inside(option, part) for option in found]
        found = [leaf for option in inner if option is not None for leaf in _options(option, schema)]
    return frozenset(key for option in found for key in option.get("properties", {}))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _options(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A schema with its references followed and its alternatives laid side by side."""
    if "$ref" in schema:
        return _options(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    alternatives = schema.get("anyOf", []) + schema.get("oneOf", [])
    return [leaf for alternative in alternatives for leaf in _options(alternative, root)] or [schema]


def _inside(schema: Mapping[str, Any], part: str | int) -> Mapping[str, Any] | None:
    found: Any = schema.get("items") if isinstance(part, int) else schema.get("properties", {}).get(part)
    return found if isinstance(found, dict) else None


_Loc = tuple[str | int, ...]


def _merged(error: ValidationError, data: Any) -> dict[tuple[_Loc, str], str]:
    """What is wrong, by place and kind; the alternatives of a union at one place become one sentence."""
    texts: dict[tuple[_Loc, str], list[str]] = {}
    for details in error.errors(include_url=False):
        loc, kind = _cleaned(details["loc"], details["type"], data)
        text = _text(details)
        if text not in (known := texts.setdefault((loc, kind), [])):
            known.append(text)
    return {
        where: " or ".join([first, *(text.removeprefix("must be ") for text in rest)])
        for where, (first, *rest) in texts.items()
    }


def _cleaned(loc: _Loc, kind: str, data: Any) -> tuple[_Loc, str]:
    """The loc as a path into the data, without pydantic's own words (names of a union's members, "[key]")."""
    path: list[str | int] = []
    inner: Any = data
    for part in loc:
        if _has(inner, part):
            inner = inner[part]
            path.append(part)
    if kind == "missing":
        return (*path, loc[-1]), kind
    if loc and loc[-1] == "[key]":
        return tuple(path), "key"
    return tuple(path), kind if kind == "extra_forbidden" else "value"


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _text(details: Any) -> str:
    """One problem in our words; it never holds what was written, save where the writer of the check chose to."""
    kind, context = details["type"], dict(details.get("ctx", {}))
    if kind in ("value_error", "assertion_error"):
        return str(context["error"])
    options = context.get("expected", "").replace("'", "")
    near = did_you_mean(details["input"], options.replace(" or ", ", ").split(", ")) if _is_choice(details) else ""
    known: str = _KINDS.get(kind, details["msg"])
    if kind == "string_type" and isinstance(details["input"], bool | int | float):
        return f"{known}: put it in quotes"
    return known.format(**{**context, "expected": options}) + near


def _is_choice(details: Any) -> bool:
    return details["type"] in ("literal_error", "enum") and isinstance(details["input"], str)


def _unknown_key(key: str, known: Iterable[str]) -> str:
    return f"unknown key {shown(key)}{did_you_mean(key, sorted(known))}"


def _named(path: DocumentPath) -> str:
    """The last key of a path, with the positions after it: `projects[0]`."""
    last = max((index for index, part in enumerate(path) if isinstance(part, str)), default=0)
    return "".join(
        f"[{part}]" if isinstance(part, int) and index else str(part) for index, part in enumerate(path[last:])
    )
