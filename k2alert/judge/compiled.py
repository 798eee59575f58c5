"""A checked tree made into closures once, so that asking it costs no walk. It comes to what `evaluate` comes to.

`evaluate` is the oracle: tests hold the two against each other, in what they come to and in what they ask for. Only the
nodes of contract §2 can be compiled, so the inner door is as narrow as that of `evaluate`.
"""

import ast
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from k2alert.judge.evaluate import OPERATORS, Names

__all__ = ["Compiled", "compile_tree"]

Compiled = Callable[[Names], Any]
"""What a tree comes to, given the names."""


def compile_tree(tree: ast.expr) -> Compiled:
    """The closure of a tree that `Checker` has passed. Raises `KeyError` for a node that no condition has."""
    return _NODES[type(tree)](tree)


def _name(node: ast.Name) -> Compiled:
    return itemgetter(node.id)  # half a call less than a closure, in what is asked most


def _constant(node: ast.Constant) -> Compiled:
    value = node.value
    return lambda _: value


def _unary(node: ast.UnaryOp) -> Compiled:
    operation, operand = OPERATORS[type(node.op)], compile_tree(node.operand)
    return lambda names: operation(operand(names))


def _binary(node: ast.BinOp) -> Compiled:
    operation, left, right = OPERATORS[type(node.op)], compile_tree(node.left), compile_tree(node.right)
    return lambda names: operation(left(names), right(names))


def _boolean(node: ast.BoolOp) -> Compiled:
    decisive = isinstance(node.op, ast.Or)
    sides = tuple(map(compile_tree, node.values))

    def compute(names: Names) -> bool | None:
        outcome: bool | None = not decisive
        for side in sides:
            truth = side(names)
            if truth is decisive:
                outcome = decisive
                break
            if truth is None:
                outcome = None
        return outcome

    return compute


def _compare(node: ast.Compare) -> Compiled:
    first = compile_tree(node.left)
    sides = tuple(
        (OPERATORS[type(operation)], compile_tree(side))
        for operation, side in zip(node.ops, node.comparators, strict=True)
    )
    return _chain(first, sides) if len(sides) > 1 else _pair(first, *sides[0])


def _pair(first: Compiled, operation: Callable[..., Any], second: Compiled) -> Compiled:
    """What most conditions are."""

    def compute(names: Names) -> bool | None:
        left, right = first(names), second(names)
        return None if left is None or right is None else bool(operation(left, right))

    return compute


def _chain(first: Compiled, sides: tuple[tuple[Callable[..., Any], Compiled], ...]) -> Compiled:
    def compute(names: Names) -> bool | None:
        outcome: bool | None = True
        right = first(names)
        for operation, side in sides:
            left, right = right, side(names)
            if left is None or right is None:
                outcome = None
            elif not operation(left, right):
                return False
        return outcome

    return compute


def _choice(node: ast.IfExp) -> Compiled:
    test, body, orelse = compile_tree(node.test), compile_tree(node.body), compile_tree(node.orelse)

    def compute(names: Names) -> Any:
        truth = test(names)
        return None if truth is None else body(names) if truth else orelse(names)

    return compute


def _call(node: ast.Call) -> Compiled:
    if not isinstance(node.func, ast.Name):
        raise KeyError(type(node.func))
    name = node.func.id
    arguments = tuple(map(compile_tree, node.args))
    keywords = tuple((str(keyword.arg), compile_tree(keyword.value)) for keyword in node.keywords)

    def compute(names: Names) -> Any:
        function = names.functions[name]
        given = [argument(names) for argument in arguments]
        return function(*given, **{key: value(names) for key, value in keywords})

    return compute


def _list(node: ast.List | ast.Tuple) -> Compiled:
    items = tuple(map(compile_tree, node.elts))
    return lambda names: [item(names) for item in items]


_NODES: dict[type[ast.expr], Callable[[Any], Compiled]] = {
    ast.Name: _name,
    ast.Constant: _constant,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.BoolOp: _boolean,
    ast.Compare: _compare,
    ast.IfExp: _choice,
    ast.Call: _call,
    ast.List: _list,
    ast.Tuple: _list,
}
