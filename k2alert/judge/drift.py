"""What of a condition changes by time alone: a checked tree in, the comparisons that may turn by themselves, out.

An age grows steadily while no fact comes, so a comparison of one with what holds still turns at most once meanwhile,
and when it does can be found by halving. Of an age within a sum, a `round` or an equation that cannot be said.
"""

import ast
from collections.abc import Container, Iterator
from itertools import pairwise

__all__ = ["drifting"]

_ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_STEADY_CALLS = ("absent", "samples")  # whether an age is there changes with facts alone
_PLAIN_CALLS = ("value", "default")


def drifting(tree: ast.expr, ages: Container[str]) -> tuple[ast.Compare, ...] | None:
    """The comparisons of a condition that may turn by time alone, each at most once between two facts.

    `ages` are the metrics that never fall while no fact comes. None: something else may turn too, or more often.
    """
    uses = {id(node) for node in ast.walk(tree) if _drifts(node, ages)}
    found = [link for node in ast.walk(tree) if isinstance(node, ast.Compare) for link in _links(node)]
    turning = [link for link in found if any(id(node) in uses for node in ast.walk(link))]
    told = [side for link in turning for side in _sides(link) if id(side) in uses and _is_plain(side)]
    each_has_one = len(told) == len(turning) and all(isinstance(link.ops[0], _ORDERS) for link in turning)
    return tuple(turning) if each_has_one and {id(side) for side in told} == uses else None


def _drifts(node: ast.AST, ages: Container[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in ages
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
        return False
    first = node.args[0]
    return isinstance(first, ast.Constant) and first.value in ages and node.func.id not in _STEADY_CALLS


def _is_plain(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _PLAIN_CALLS
    )


def _sides(link: ast.Compare) -> tuple[ast.expr, ast.expr]:
    return link.left, link.comparators[0]


def _links(chain: ast.Compare) -> Iterator[ast.Compare]:
    """A chain `a < b < c` as the comparisons that it joins."""
    for operation, (left, right) in zip(chain.ops, pairwise([chain.left, *chain.comparators]), strict=True):
        yield ast.Compare(left=left, ops=[operation], comparators=[right])
