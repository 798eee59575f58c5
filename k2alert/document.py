"""YAML in, data out, with the place of everything in it.

In: the bytes of one file that a person wrote. Out: a `Document` (plain data and, for any path in it, the line and
column where it stands) or the problems that keep it from being read. Only the core of YAML 1.2 is read: `yes`, `on`,
`1:30`, `0777` and dates are text. A key written twice, a merge key and a tag are refused rather than guessed at, and
size, depth and what aliases expand to are bounded, so no file can hold the reader up.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from k2alert.model import Place, Problem

__all__ = ["LARGEST_FILE", "Document", "DocumentPath", "parse_document"]

DocumentPath = tuple[str | int, ...]

LARGEST_FILE = 1_000_000  # bytes; a thousand rules are a fifth of it
MOST_NODES = 100_000  # after aliases are expanded
DEEPEST = 40  # collections within collections; our own deepest file needs about ten

# https://yaml.org/spec/1.2.2/#103-core-schema, but decimal numbers only and no leading zeros: `0777` and `0x1F` look
# like something else to half of those who read them. Longer numbers stay text: nothing here counts that far.
_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(
    r"[-+]?(?=\.?[0-9])([0-9]{1,18}\.[0-9]{0,18}|\.[0-9]{1,18}|[0-9]{1,18}(?=[eE]))([eE][-+]?[0-9]{1,2})?"
)

_CORE_TAGS = {
    "scalar": ("!", "tag:yaml.org,2002:str"),
    "sequence": ("!", "tag:yaml.org,2002:seq"),
    "mapping": ("!", "tag:yaml.org,2002:map"),
}
_ESCAPED = {
    "'": re.compile(r"''|.", re.DOTALL),
    '"': re.compile(r"\\x..|\\u.{4}|\\U.{8}|\\.|.", re.DOTALL),
}


@dataclass(frozen=True, slots=True)
class _Node:
    """A value and where it stands. `written` is a scalar's text as it is in the file, quotes and all."""

    value: Any  # a scalar, a tuple of nodes, or a dict of nodes
    place: Place
    written: str = ""
    keys: Mapping[str, Place] = field(default_factory=dict)
    size: int = 1  # nodes in it, aliases expanded
    depth: int = 0


class _Stop(Exception):
    """Nothing after this can be read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Document:
    """One file's data, and where each part of it stands. A path is the keys and positions from the top: ("a", 0)."""

    file: str
    _root: _Node

    @property
    def data(self) -> Any:
        """The plain data: dicts with text keys, lists, text, numbers, booleans, None. A fresh copy each time."""
        return _plain(self._root)

    def has(self, path: DocumentPath) -> bool:
        """Whether something stands at the path."""
        return len(self._walk(path)) == len(path) + 1

    def place(self, path: DocumentPath) -> Place:
        """Where the value at the path starts; of the nearest part around it where there is none."""
        return self._walk(path)[-1].place

    def key_place(self, path: DocumentPath) -> Place:
        """Where the key that the path ends in stands; for a position in a list, where the value starts."""
        nodes = self._walk(path)
        known = path[: len(nodes) - 1]
        return nodes[-2].keys[str(known[-1])] if known and isinstance(known[-1], str) else nodes[-1].place

    def inside(self, path: DocumentPath, offset: int) -> Place:
        """Where a character (from 0) of the text at the path stands: exact where the text is on one line or in a
        literal block (`|`), else where the text starts."""
        node = self._walk(path)[-1]
        if not isinstance(node.value, str):
            return node.place
        offset = min(max(offset, 0), len(node.value))
        if node.written.startswith("|"):
            return _inside_literal(node, offset)
        column = None if "\n" in node.written else _written_offset(node, offset)
        return node.place if column is None else node.place._replace(column=node.place.column + column)

    def renamed(self, path: DocumentPath, key: str) -> "Document":
        """The same with the key that the path ends in called `key`, or left out where that is ""; every place stays."""
        return Document(self.file, _renamed(self._root, path, key))

    def _walk(self, path: DocumentPath) -> list[_Node]:
        """The nodes along the path, the root first, as far as they exist."""
        nodes = [self._root]
        for part in path:
            child = _child(nodes[-1], part)
            if child is None:
                break
            nodes.append(child)
        return nodes


def parse_document(content: bytes, file: str) -> tuple[Document | None, tuple[Problem, ...]]:
    """Read one file's bytes; `file` is its name in places.

    Returns the document and no problem, or None and every problem found (a syntax error ends the search).
    """
    if len(content) > LARGEST_FILE:
        return None, (_problem(Place(file, 1, 1), f"the file is larger than {LARGEST_FILE // 1_000_000} MB"),)
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        return None, (_problem(_byte_place(content, error.start, file), "not UTF-8"),)
    reader = _Reader(text, file)
    try:
        root = reader.read()
    except _Stop as stop:
        return None, (*reader.problems, stop.problem)
    except yaml.YAMLError as error:
        return None, (*reader.problems, _syntax_problem(error, text, file))
    return (None, tuple(reader.problems)) if reader.problems else (Document(file, root), ())


class _Reader:
    """Builds nodes from libyaml's events; what it refuses but can step over is added to `problems`."""

    def __init__(self, text: str, file: str) -> None:
        self.problems: list[Problem] = []
        self._text = text
        self._file = file
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._anchors: dict[str, _Node] = {}

    def read(self) -> _Node:
        """The root of the one document there is; a null one in an empty file."""
        next(self._events)  # the stream's start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return _Node(None, Place(self._file, 1, 1))
        root = self._node(next(self._events), 0)
        next(self._events)  # the document's end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise _Stop(_problem(self._place(event), "a second document: each file holds one"))
        return root

    def _node(self, event: Any, depth: int) -> _Node:
        if depth > DEEPEST:
            raise _Stop(_problem(self._place(event), f"nested deeper than {DEEPEST} levels"))
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event)
        node = self._built(event, depth)
        if node.size > MOST_NODES or node.depth > DEEPEST:
            raise _Stop(_problem(node.place, "its aliases expand to too much"))
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _built(self, event: Any, depth: int) -> _Node:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, depth)
        return self._mapping(event, depth)

    def _aliased(self, event: Any) -> _Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise _Stop(_problem(self._place(event), f"the alias *{event.anchor} has no anchor before it"))
        return node

    def _scalar(self, event: Any) -> _Node:
        self._check_tag(event, "scalar")
        value = _resolve(event.value) if event.implicit[0] else event.value
        written = self._text[event.start_mark.index : event.end_mark.index]
        return _Node(value, self._place(event), written)

    def _sequence(self, event: Any, depth: int) -> _Node:
        self._check_tag(event, "sequence")
        items: list[_Node] = []
        while not isinstance(following := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(following, depth + 1))
        return _Node(tuple(items), self._place(event), size=_size(items), depth=_depth(items))

    def _mapping(self, event: Any, depth: int) -> _Node:
        self._check_tag(event, "mapping")
        values: dict[str, _Node] = {}
        keys: dict[str, Place] = {}
        while not isinstance(following := next(self._events), yaml.MappingEndEvent):
            key = self._node(following, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if self._takes(key, keys):
                keys[key.value] = key.place
                values[key.value] = value
        children = list(values.values())
        return _Node(values, self._place(event), keys=keys, size=_size(children), depth=_depth(children))

    def _takes(self, key: _Node, keys: Mapping[str, Place]) -> bool:
        text = ""
        if not isinstance(key.value, str):
            text = f"a key must be text: put it in quotes{f' ({key.written})' if key.written else ''}"
        elif key.value == "<<" and key.written == "<<":
            text = "merge keys (<<) are not read: repeat the keys, or use `defaults`"
        elif key.value in keys:
            text = f'the key "{key.value}" is written twice (first in line {keys[key.value].line})'
        if text:
            self.problems.append(_problem(key.place, text))
        return not text

    def _check_tag(self, event: Any, kind: str) -> None:
        if event.tag is not None and event.tag not in _CORE_TAGS[kind]:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self.problems.append(_problem(self._place(event), f"tags are not read: {tag}"))

    def _place(self, event: Any) -> Place:
        return _mark_place(event.start_mark, self._file)


def _size(children: Sequence[_Node]) -> int:
    return 1 + sum(child.size for child in children)


def _depth(children: Sequence[_Node]) -> int:
    return 1 + max((child.depth for child in children), default=0)


def _resolve(text: str) -> Any:
    """What plain (unquoted) text means."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text in ("true", "True", "TRUE")
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _plain(node: _Node) -> Any:
    if isinstance(node.value, tuple):
        return [_plain(child) for child in node.value]
    if isinstance(node.value, dict):
        return {key: _plain(child) for key, child in node.value.items()}
    return node.value


def _child(node: _Node, part: str | int) -> _Node | None:
    if isinstance(node.value, dict):
        return node.value.get(part)
    if isinstance(node.value, tuple) and isinstance(part, int) and part < len(node.value):
        child: _Node = node.value[part]
        return child
    return None


def _renamed(node: _Node, path: DocumentPath, key: str) -> _Node:
    part, *rest = path
    if rest:
        child = _renamed(node.value[part], tuple(rest), key)
        if isinstance(part, int):
            return replace(node, value=(*node.value[:part], child, *node.value[part + 1 :]))
        return replace(node, value={**node.value, part: child})
    names = {name: key if name == part else name for name in node.value if key or name != part}
    value = {new: node.value[name] for name, new in names.items()}
    return replace(node, value=value, keys={new: node.keys[name] for name, new in names.items()})


def _written_offset(node: _Node, offset: int) -> int | None:
    """How many written characters stand before a character of the value; None where that is not plain to see."""
    quote = node.written[:1]
    if quote in _ESCAPED:
        pieces = [found[0] for found in _ESCAPED[quote].finditer(node.written, 1, len(node.written) - 1)]
        return 1 + sum(map(len, pieces[:offset])) if len(pieces) == len(node.value) else None
    return offset if node.written.startswith(node.value) else None


def _inside_literal(node: _Node, offset: int) -> Place:
    before = node.value[:offset]
    lines = node.written.split("\n")[1:]
    wanted = before.count("\n")
    indent = min((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), default=0)
    return node.place._replace(
        line=node.place.line + 1 + wanted, column=indent + len(before) - (before.rfind("\n") + 1) + 1
    )


def _problem(place: Place, text: str) -> Problem:
    return Problem(place, text, code="syntax")


def _mark_place(mark: Any, file: str) -> Place:
    return Place(file, mark.line + 1, mark.column + 1)


def _byte_place(content: bytes, offset: int, file: str) -> Place:
    before = content[:offset]
    line_start = before.rfind(b"\n") + 1
    return Place(file, before.count(b"\n") + 1, len(before[line_start:].decode("utf-8", "replace")) + 1)


def _syntax_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    if isinstance(error, yaml.reader.ReaderError):
        place = _byte_place(text.encode(), error.position, file)
        return _problem(place, "a control character, which YAML does not allow")
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return _problem(Place(file, 1, 1), "not YAML")
    place = _mark_place(mark, file)
    if text[mark.index : mark.index + 1] == "\t":
        return _problem(place, "not YAML: a tab cannot indent; use spaces")
    context = getattr(error, "context", None)
    return _problem(place, f"not YAML: {getattr(error, 'problem', '')}{f' {context}' if context else ''}")
