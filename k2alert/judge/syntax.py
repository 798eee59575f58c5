"""The outer door of conditions: text in, a small syntax tree out, or one clear error with its column.

Nothing here knows metrics. It bounds what later steps must look at (length, nodes, depth, numbers) and lets
through only the kinds of nodes that contract §2 lists, so that they may recurse and evaluate without fear.
"""

import ast
import re
import warnings
from collections.abc import Iterator

__all__ = ["ConditionError", "parse"]

# Far more than people write; small enough that the parser and the walk below take no time worth measuring.
_LONGEST_TEXT = 1000
_LONGEST_STRING = 200
_MOST_NODES = 100
_DEEPEST = 20
_LARGEST_NUMBER = 1e15  # integers are exact in a float up to here

_NODES = (
    ast.BoolOp,
    ast.UnaryOp,
    ast.BinOp,
    ast.Compare,
    ast.IfExp,
    ast.Call,
    ast.Name,
    ast.Constant,
    ast.List,
    ast.Tuple,
)
_OPERATORS = (
    *(ast.And, ast.Or, ast.Not, ast.USub, ast.UAdd, ast.Add, ast.Sub, ast.Mult, ast.Div),
    *(ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.In, ast.NotIn),
)
_WORDS: dict[type[ast.AST], str] = {
    ast.Attribute: "a dot after a name is not allowed: names stand alone",
    ast.Subscript: "square brackets after a value are not allowed",
    ast.Starred: "* before a value is not allowed",
    ast.JoinedStr: "f-strings are not allowed",
    ast.Lambda: "lambda is not allowed",
    ast.NamedExpr: ":= is not allowed; use == to compare",
    ast.Dict: "braces are not allowed",
    ast.Set: "braces are not allowed; write the list in square brackets",
    ast.ListComp: "comprehensions are not allowed",
    ast.SetComp: "comprehensions are not allowed",
    ast.DictComp: "comprehensions are not allowed",
    ast.GeneratorExp: "comprehensions are not allowed",
    ast.Pow: "** is not allowed; there are + - * /",
    ast.Mod: "% is not allowed; there are + - * /",
    ast.FloorDiv: "// is not allowed; there are + - * /",
    ast.BitAnd: "& is not allowed; write and",
    ast.BitOr: "| is not allowed; write or",
    ast.Invert: "~ is not allowed; write not",
    ast.Is: "is is not allowed; use == to compare",
    ast.IsNot: "is not is not allowed; use != to compare",
}
# What people write from the habit of other languages; looked for outside of strings, when Python cannot read it.
_HABITS = (
    (re.compile(r"=>"), "write >= instead of =>"),
    (re.compile(r"=<"), "write <= instead of =<"),
    (re.compile(r"(?<![=!<>:])=(?!=)(?<!window=)(?<!offset=)"), "use == to compare, not ="),
    (re.compile(r"&&"), "write and instead of &&"),
    (re.compile(r"\|\|"), "write or instead of ||"),
    (re.compile(r"!(?!=)"), "write not instead of !"),
    (re.compile(r"\b(?:AND|OR|NOT|IN)\b"), "write and, or, not and in in lower case"),
    (re.compile(r"(?<=\d)\s?%"), "write a percentage as a ratio: 0.95 instead of 95%"),
    (re.compile(r";"), "a condition is one expression; ; is not allowed"),
    (re.compile(r"<>"), "write != instead of <>"),
    (re.compile("≤"), "write <= instead of ≤"),
    (re.compile("≥"), "write >= instead of ≥"),
    (re.compile("≠"), "write != instead of ≠"),
    (re.compile("[\u00a0\u202f\u200b\ufeff]"), "a space that is none: write a plain one"),
    (re.compile("[“”„‟‘’‚‛«»]"), 'write plain quotes, as in "success_rate"'),
    (re.compile(r"(?:[-+*/<>=(,]|\b(?:and|or|not|in|if|else))\s*$"), "ends too early: something must follow"),
)
# Refused before Python reads the text. A comment would swallow the lines below it, for a condition is read as one line;
# without backslashes and triple quotes `_STRING` finds every string, so a # outside of them is a comment.
_REFUSED = (
    (re.compile(r"\\"), "a backslash is not allowed"),
    (re.compile("\"\"\"|'''"), "triple quotes are not allowed"),
)
_COMMENT = re.compile("#")
_STRING = re.compile(r"\"[^\"]*\"|'[^']*'")
_BLANKS = str.maketrans("\t\n\v\f\r", "     ")


class ConditionError(ValueError):
    """A condition that cannot be used. `text` says why; `column_offset` counts characters from 0."""

    def __init__(self, text: str, column_offset: int) -> None:
        super().__init__(text)
        self.text = text
        self.column_offset = column_offset


def parse(text: str) -> ast.expr:
    """The syntax tree of a condition, its `col_offset`s counted in characters of `text`.

    A condition may run over several lines. Raises `ConditionError` for what is too long, not an expression, or
    outside the grammar.
    """
    if len(text) > _LONGEST_TEXT:
        raise ConditionError(f"too long: {len(text)} characters (at most {_LONGEST_TEXT})", 0)
    tree = _read(text)
    for count, (node, depth) in enumerate(_walk(tree), start=1):
        _check_size(node, count, depth)
        _check_node(node)
    return tree


def _read(text: str) -> ast.expr:
    source = text.translate(_BLANKS).lstrip(" ")
    skipped = len(text) - len(source)
    if not source:
        raise ConditionError("empty: write a condition such as success_rate < 0.95", 0)
    _check_characters(source, skipped)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `1if` warns; what it means is checked here
            tree = ast.parse(source, mode="eval").body
    except SyntaxError as error:
        raise _syntax_error(source, skipped, error) from None
    except (RecursionError, MemoryError):
        raise ConditionError(f"nested too deeply (at most {_DEEPEST} levels)", skipped) from None
    except ValueError as error:  # a NUL, a lone surrogate, an endless number
        raise ConditionError(f"not an expression: {_first_line(error)}", skipped) from None
    _count_in_characters(tree, source, skipped)
    return tree


def _check_characters(source: str, skipped: int) -> None:
    for refused, advice in _REFUSED:
        found = refused.search(source)
        if found:
            raise ConditionError(advice, skipped + found.start())
    comment = _COMMENT.search(_without_strings(source))
    if comment:
        raise ConditionError("a comment inside a condition is not allowed", skipped + comment.start())


def _without_strings(source: str) -> str:
    return _STRING.sub(lambda found: " " * len(found[0]), source)


def _syntax_error(source: str, skipped: int, error: SyntaxError) -> ConditionError:
    bare = _without_strings(source)
    for habit, advice in _HABITS:
        found = habit.search(bare)
        if found:
            return ConditionError(advice, skipped + found.start())
    column = min(max((error.offset or 1) - 1, 0), len(source))
    reason = (error.msg or "invalid syntax").replace(" (detected at line 1)", "")
    if "too many nested" in reason:
        return ConditionError(f"nested too deeply (at most {_DEEPEST} levels)", skipped)
    return ConditionError(f"not an expression: {reason}", skipped + column)


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0].split(";", 1)[0][:120]


def _count_in_characters(tree: ast.expr, source: str, skipped: int) -> None:
    """Turn the parser's offsets, bytes of UTF-8, into characters of the whole text."""
    encoded = source.encode()
    for node, _ in _walk(tree):
        node.col_offset = len(encoded[: node.col_offset].decode()) + skipped


def _walk(tree: ast.expr) -> Iterator[tuple[ast.expr | ast.keyword, int]]:
    """Every expression and keyword with its depth, without recursion: a tree may be deeper than Python's stack."""
    left: list[tuple[ast.expr | ast.keyword, int]] = [(tree, 1)]
    while left:
        node, depth = left.pop()
        yield node, depth
        children = ast.iter_child_nodes(node)
        left.extend((child, depth + 1) for child in children if isinstance(child, ast.expr | ast.keyword))


def _check_size(node: ast.expr | ast.keyword, count: int, depth: int) -> None:
    if count > _MOST_NODES:
        raise ConditionError(f"too large (at most {_MOST_NODES} names, numbers and operations)", node.col_offset)
    if depth > _DEEPEST:
        raise ConditionError(f"nested too deeply (at most {_DEEPEST} levels)", node.col_offset)


def _check_node(node: ast.expr | ast.keyword) -> None:
    if isinstance(node, ast.keyword):
        if node.arg is None:
            raise ConditionError("** before a value is not allowed", node.col_offset)
        return
    if not isinstance(node, _NODES):
        raise ConditionError(_words(node), node.col_offset)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.operator | ast.unaryop | ast.cmpop | ast.boolop) and not isinstance(child, _OPERATORS):
            raise ConditionError(_words(child), node.col_offset)
    if isinstance(node, ast.Constant):
        _check_constant(node)


def _words(node: ast.AST) -> str:
    return _WORDS.get(type(node), f"{type(node).__name__} is not allowed in a condition")


def _check_constant(node: ast.Constant) -> None:
    value = node.value
    if isinstance(value, str):
        if len(value) > _LONGEST_STRING:
            raise ConditionError(f"text too long (at most {_LONGEST_STRING} characters)", node.col_offset)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ConditionError(f"{repr(value)[:80]} is not a number or text", node.col_offset)
    elif not abs(value) <= _LARGEST_NUMBER:
        raise ConditionError("number too large (at most 1e15)", node.col_offset)
