"""Label sets, matchers and fingerprints, in Prometheus's and Alertmanager's words.

A label set is immutable and hashable; a label that is absent equals "". Matchers are Alertmanager's
(`=`, `!=`, `=~`, `!~`), anchored, with RE2's regular expressions: linear time, whatever a pattern says.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import re2

__all__ = ["Labels", "Matcher", "make_matcher", "matches_all", "parse_matcher"]


class Labels(Mapping[str, str]):
    """An immutable set of labels; equal sets hash equal, an empty value is no label."""

    __slots__ = ("__dict__", "_hash", "_items")

    def __init__(self, labels: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = dict(labels)
        self._items = {name: pairs[name] for name in sorted(pairs) if pairs[name] != ""}
        self._hash = hash(tuple(self._items.items()))

    def __getitem__(self, name: str) -> str:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Labels):
            return self._items == other._items
        return NotImplemented

    def __repr__(self) -> str:
        return "{" + ", ".join(f'{name}="{value}"' for name, value in self._items.items()) + "}"

    def merged(self, other: Mapping[str, str]) -> "Labels":
        """These labels with `other`'s on top."""
        return Labels({**self._items, **other})

    def only(self, names: Iterable[str]) -> "Labels":
        """The labels of these names that are here."""
        return Labels({name: self._items[name] for name in names if name in self._items})

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that tell this set from every other, the same in every process."""
        joined = "\xff".join(f"{name}\xfe{value}" for name, value in self._items.items())
        return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label. `op` is one of `=`, `!=`, `=~`, `!~`."""

    name: str
    op: str
    value: str
    _pattern: Any = field(default=None, compare=False, repr=False)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy it; an absent label is ""."""
        return self.matches_value(labels.get(self.name, ""))

    def matches_value(self, value: str) -> bool:
        """Whether one value of its label satisfies it."""
        if self.op == "=":
            return value == self.value
        if self.op == "!=":
            return value != self.value
        found = self._pattern.fullmatch(value) is not None
        return found if self.op == "=~" else not found

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.op}"{escaped}"'


_MATCHER = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_LONGEST_MATCHER = 4096


def parse_matcher(text: str) -> Matcher:
    """One matcher as Alertmanager writes it: `team="payments"`, `branch=~"release/.*"`, `a!=b`.

    Raises `ValueError` with a message for the person who wrote it.
    """
    found = _MATCHER.fullmatch(text) if len(text) <= _LONGEST_MATCHER else None
    if found is None:
        raise ValueError(f'not a matcher: {text[:80]!r} (write it as name="value", with =, !=, =~ or !~)')
    name, op, raw = found.groups()
    return make_matcher(name, op, _unquote(raw, text))


def make_matcher(name: str, op: str, value: str) -> Matcher:
    """A matcher of these parts. Raises `ValueError` where the value is no regular expression and must be one."""
    return Matcher(name, op, value, _compile(value) if op in ("=~", "!~") else None)


def matches_all(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every matcher matches; none at all matches everything."""
    return all(matcher.matches(labels) for matcher in matchers)


def _unquote(raw: str, text: str) -> str:
    if not raw.startswith('"'):
        if '"' in raw or "," in raw or "{" in raw or "}" in raw:
            raise ValueError(f"not a matcher: {text[:80]!r} (put the value in double quotes)")
        return raw
    quoted = _QUOTED.fullmatch(raw)
    if quoted is None:
        raise ValueError(f"not a matcher: {text[:80]!r} (its quotes do not close)")
    return _ESCAPE.sub(lambda found: {"n": "\n", '"': '"', "\\": "\\"}.get(found[1], found[0]), quoted[1])


def _compile(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        detail = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"not a regular expression RE2 reads: {pattern[:80]!r} ({detail})") from None
