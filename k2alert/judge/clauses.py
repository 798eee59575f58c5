"""A condition taken apart: a checked tree and a scope in; each sub-expression with what it came to, out."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from k2alert.judge.evaluate import Names, Value, evaluate

__all__ = ["Clause", "clauses_of"]


class Clause(NamedTuple):
    """One sub-expression of a condition, as written, and what it comes to by itself (None: no data).

    `kind` is `logic` (and, or, not), `comparison` (whose parts are its two sides), `choice` (if), `number` or
    `literal`. `reached`: false where the parts before it had decided, so that it did not count.
    """

    text: str
    kind: str
    value: Value
    reached: bool = True
    parts: tuple["Clause", ...] = ()


def clauses_of(tree: ast.expr, names: Names, *, reached: bool = True) -> Clause:
    """The whole tree as clauses."""
    return Clause(ast.unparse(tree), _kind(tree), _value(tree, names), reached, tuple(_parts(tree, names, reached)))


def _value(tree: ast.expr, names: Names) -> Value:
    if isinstance(tree, ast.List | ast.Tuple):
        return None
    found: Value = evaluate(tree, names)
    return found


def _kind(tree: ast.expr) -> str:
    if isinstance(tree, ast.Compare):
        return "comparison" if len(tree.ops) == 1 else "logic"
    if isinstance(tree, ast.BoolOp) or (isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)):
        return "logic"
    if isinstance(tree, ast.IfExp):
        return "choice"
    return "literal" if isinstance(tree, ast.Constant | ast.List | ast.Tuple) else "number"


def _parts(tree: ast.expr, names: Names, reached: bool) -> Iterator[Clause]:
    if isinstance(tree, ast.BoolOp):
        yield from _until(tree.values, isinstance(tree.op, ast.Or), names, reached)
    elif isinstance(tree, ast.Compare) and len(tree.ops) > 1:
        yield from _until(_links(tree), False, names, reached)
    elif isinstance(tree, ast.Compare):
        for side in (tree.left, *tree.comparators):
            yield clauses_of(side, names, reached=reached)
    elif isinstance(tree, ast.IfExp):
        test = clauses_of(tree.test, names, reached=reached)
        yield test
        yield clauses_of(tree.body, names, reached=reached and test.value is True)
        yield clauses_of(tree.orelse, names, reached=reached and test.value is False)
    else:
        for child in _operands(tree):
            yield clauses_of(child, names, reached=reached)


def _until(operands: list[ast.expr], decisive: bool, names: Names, reached: bool) -> Iterator[Clause]:
    """Operands in their order; what follows a decisive one is not reached."""
    for operand in operands:
        clause = clauses_of(operand, names, reached=reached)
        yield clause
        reached = reached and clause.value is not decisive


def _links(chain: ast.Compare) -> list[ast.expr]:
    """A chain `a < b < c` as the comparisons that it joins."""
    sides = [chain.left, *chain.comparators]
    return [
        ast.Compare(left=sides[place], ops=[operation], comparators=[sides[place + 1]])
        for place, operation in enumerate(chain.ops)
    ]


def _operands(tree: ast.expr) -> list[ast.expr]:
    """What a number or `not` is made of; literals explain nothing there."""
    if isinstance(tree, ast.UnaryOp):
        found = [tree.operand]
    elif isinstance(tree, ast.BinOp):
        found = [tree.left, tree.right]
    else:
        found = list(tree.args) if isinstance(tree, ast.Call) else []
    return [child for child in found if not isinstance(child, ast.Constant)]
