"""A grammar in EBNF: read from a document, sentences derived from it, and sentences told from others.

Sentences are tuples of tokens. `? … ?` stands for a class of tokens, which the caller knows.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

_TOKEN = re.compile(r'\s*(?:"([^"]+)"|\?\s*([^?]+?)\s*\?|([a-z][a-z-]*)|([=|\[\]{}();]))')
_CLOSING = {"[": "]", "{": "}", "(": ")"}
_KINDS = {"[": "maybe", "{": "many", "(": "group"}

Tokens = tuple[str, ...]


class Part(NamedTuple):
    """`word` and `class` and `rule` have a name; `sequence`, `choice`, `maybe`, `many` and `group` have parts."""

    kind: str
    name: str = ""
    parts: tuple["Part", ...] = ()


class TokenClass(NamedTuple):
    """Tokens that a grammar does not spell out: some examples, and which tokens are of the class."""

    examples: Sequence[str]
    holds: Callable[[str], bool]


@dataclass(frozen=True)
class Grammar:
    """Rules by name, and the classes of tokens that they speak of."""

    rules: Mapping[str, Part]
    classes: Mapping[str, TokenClass]

    def derives(self, start: str, sentence: Tokens) -> bool:
        """Whether a sentence can be derived: every way is followed at once."""
        with _deep():
            return len(sentence) in _Recognition(self, sentence).ends(Part("rule", start), 0)

    def derive(self, start: str, choose: Callable[[int], int], size: int) -> Tokens:
        """A sentence: `choose(n)` says which of n ways to go, until `size` rules were used; then the shortest way."""
        with _deep():
            return _Derivation(self, choose, size).tokens(Part("rule", start))

    @cached_property
    def heights(self) -> Mapping[Part, int]:
        """How many rules deep each part goes at least."""
        found: dict[Part, int] = {}
        rules = {Part("rule", name): body for name, body in self.rules.items()}
        for _ in rules:
            found.update({rule: 1 + _height(body, found) for rule, body in rules.items()})
        return found


@contextmanager
def _deep() -> Iterator[None]:
    """A few frames for each rule, and sentences 20 levels deep, are more than Python expects."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def read_grammar(text: str, classes: Mapping[str, TokenClass]) -> Grammar:
    """The grammar in a text of rules such as `a = "x" { b } | ? c ? ;`."""
    tokens = [next((i, t) for i, t in enumerate(found.groups()) if t) for found in _TOKEN.finditer(text)]
    rules: dict[str, Part] = {}
    while tokens:
        (_, name), (_, equals) = tokens.pop(0), tokens.pop(0)
        assert equals == "=", name
        rules[name] = _read_choice(tokens, ";")
    return Grammar(rules, classes)


def _read_choice(tokens: list[tuple[int, str]], end: str) -> Part:
    options: list[list[Part]] = [[]]
    while (token := tokens.pop(0)) != (3, end):
        kind, text = token
        if kind < 3:
            options[-1].append(Part(("word", "class", "rule")[kind], text))
        elif text == "|":
            options.append([])
        else:
            options[-1].append(Part(_KINDS[text], parts=(_read_choice(tokens, _CLOSING[text]),)))
    return Part("choice", parts=tuple(Part("sequence", parts=tuple(option)) for option in options))


def _height(part: Part, rules: Mapping[Part, int]) -> int:
    if part.kind == "rule":
        return rules.get(part, 1000)
    if part.kind in ("word", "class", "maybe", "many"):
        return 0
    return (min if part.kind == "choice" else max)(_height(inner, rules) for inner in part.parts)


@dataclass
class _Derivation:
    grammar: Grammar
    choose: Callable[[int], int]
    left: int

    def tokens(self, part: Part) -> Tokens:
        if part.kind == "word":
            return (part.name,)
        if part.kind == "class":
            examples = self.grammar.classes[part.name].examples
            return (examples[self.choose(len(examples))],)
        if part.kind == "rule":
            self.left -= 1
            return self.tokens(self.grammar.rules[part.name])
        return tuple(token for inner in self._ways(part) for token in self.tokens(inner))

    def _ways(self, part: Part) -> Sequence[Part]:
        if part.kind == "choice":
            if self.left > 0:
                return [part.parts[self.choose(len(part.parts))]]
            return [min(part.parts, key=lambda option: _height(option, self.grammar.heights))]
        if part.kind in ("maybe", "many"):
            most = {"maybe": 1, "many": 2}[part.kind]
            return part.parts * max(0, self.choose(most + 3) - 2) if self.left > 0 else ()
        return part.parts


@dataclass
class _Recognition:
    grammar: Grammar
    sentence: Tokens
    known: dict[tuple[Part, int], frozenset[int]] = field(default_factory=dict)

    def ends(self, part: Part, start: int) -> frozenset[int]:
        """Where the part may end that begins at `start`."""
        asked = (part, start)
        if asked not in self.known:
            self.known[asked] = frozenset(self._ends(part, start))
        return self.known[asked]

    def _ends(self, part: Part, start: int) -> set[int]:
        if part.kind == "rule":
            return set(self.ends(self.grammar.rules[part.name], start))
        if part.kind in ("word", "class"):
            return {start + 1} if start < len(self.sentence) and self._is(part, self.sentence[start]) else set()
        if part.kind == "choice":
            return {end for option in part.parts for end in self.ends(option, start)}
        ends = self._after(part.parts, {start})
        if part.kind == "many":
            new = ends
            while new := self._after(part.parts, new) - ends:
                ends |= new
        return ends | {start} if part.kind in ("maybe", "many") else ends

    def _after(self, parts: Sequence[Part], starts: set[int]) -> set[int]:
        for inner in parts:
            starts = {end for start in starts for end in self.ends(inner, start)}
        return starts

    def _is(self, part: Part, token: str) -> bool:
        return token == part.name if part.kind == "word" else self.grammar.classes[part.name].holds(token)
