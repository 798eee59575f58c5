"""The inner door of conditions: a checked syntax tree and a scope in, a value or no data out.

simpleeval walks the tree with only the nodes and operators of contract §2 left in it. What is ours is the third
truth value: no data (None) spreads through arithmetic, comparisons and functions, and `and`, `or`, `not` follow
Kleene's logic, in which no data may yet turn out either way.
"""

import ast
import math
import operator
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from simpleeval import SimpleEval

__all__ = ["OPERATORS", "Names", "Value", "evaluate"]

Value = float | int | str | bool | None
"""What a name, a call or a whole expression comes to; None is no data."""


class Names(Protocol):
    """What an expression asks: the value of a metric by its name, and the functions. Both only when reached."""

    @property
    def functions(self) -> Mapping[str, Callable[..., Value]]:
        """The functions of contract §2 by name."""
        ...

    def __getitem__(self, name: str, /) -> Value:
        """The value of a metric."""
        ...


def evaluate(tree: ast.expr, names: Names) -> Any:
    """What a checked tree comes to. Division by zero, overflow and not-a-number are no data."""
    if isinstance(tree, ast.Name):
        return names[tree.id]
    if isinstance(tree, ast.Constant):
        return tree.value
    return _THREAD.evaluator.run(tree, names)


def _arithmetic(operation: Callable[..., Any]) -> Callable[..., Any]:
    def compute(*operands: Any) -> Any:
        if None in operands:
            return None
        try:
            result = operation(*operands)
            return result if math.isfinite(result) else None
        except (ZeroDivisionError, OverflowError):
            return None

    return compute


def _negate(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: _arithmetic(operator.add),
    ast.Sub: _arithmetic(operator.sub),
    ast.Mult: _arithmetic(operator.mul),
    ast.Div: _arithmetic(operator.truediv),
    ast.USub: _arithmetic(operator.neg),
    ast.UAdd: _arithmetic(operator.pos),
    ast.Not: _negate,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
"""What each operator does; the arithmetic ones and `not` know no data, and comparisons are never asked about it."""


class _Evaluator(SimpleEval):  # type: ignore[misc]
    """simpleeval with three truth values and nothing that our grammar does not have."""

    names: Any
    functions: Any

    def __init__(self) -> None:
        super().__init__(operators=OPERATORS, functions={}, names={}, allowed_attrs={})
        self.nodes = {
            ast.Name: self._eval_name,
            ast.UnaryOp: self._eval_unaryop,
            ast.BinOp: self._eval_binop,
            ast.BoolOp: self._eval_boolop,
            ast.Compare: self._eval_compare,
            ast.IfExp: self._eval_ifexp,
            ast.Call: self._eval_call,
            ast.keyword: self._eval_keyword,
            ast.Constant: self._eval_constant,
            ast.List: self._eval_list,
            ast.Tuple: self._eval_list,
        }

    def run(self, tree: ast.expr, names: Names) -> Any:
        self.names = names
        try:
            return self._eval(tree)
        finally:
            self.names = self.functions = {}  # else the thread would hold on to what was measured

    def _eval_call(self, node: ast.Call) -> Any:
        self.functions = self.names.functions
        return super()._eval_call(node)

    def _eval_name(self, node: ast.Name) -> Value:
        # simpleeval's own takes a KeyError met while measuring for an unknown name; ours were checked at load.
        found: Value = self.names[node.id]
        return found

    def _eval_boolop(self, node: ast.BoolOp) -> bool | None:
        decisive = isinstance(node.op, ast.Or)
        outcome: bool | None = not decisive
        for operand in node.values:
            truth = self._eval(operand)
            if truth is decisive:
                outcome = decisive
                break
            if truth is None:
                outcome = None
        return outcome

    def _eval_compare(self, node: ast.Compare) -> bool | None:
        """A chain is its comparisons joined by `and`, each side evaluated once."""
        outcome: bool | None = True
        right = self._side(node.left)
        for operation, side in zip(node.ops, node.comparators, strict=True):
            left, right = right, self._side(side)
            if left is None or right is None:
                outcome = None
            elif not self.operators[type(operation)](left, right):
                return False
        return outcome

    def _side(self, node: ast.expr) -> Any:
        """A name or a number, which most sides are, costs no round through simpleeval."""
        if isinstance(node, ast.Name):
            return self.names[node.id]
        return node.value if isinstance(node, ast.Constant) else self._eval(node)

    def _eval_ifexp(self, node: ast.IfExp) -> Any:
        truth = self._eval(node.test)
        return None if truth is None else self._eval(node.body if truth else node.orelse)

    def _eval_list(self, node: ast.List | ast.Tuple) -> list[Any]:
        return [self._eval(item) for item in node.elts]


class _Thread(threading.local):
    """One evaluator for each thread: making one costs more than several evaluations, and it is not re-entrant
    over threads."""

    def __init__(self) -> None:
        self.evaluator = _Evaluator()


_THREAD = _Thread()
