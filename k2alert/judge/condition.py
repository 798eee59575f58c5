"""Conditions: the text of a rule in, something that can be asked whether it holds out.

`compile_condition` does all the checking once, at load; `Condition.evaluate` then costs a few microseconds.
`check_message` gives the calls in a message the same check, so that a template fails at load as a condition does.
"""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from k2alert.judge.clauses import Clause, clauses_of
from k2alert.judge.compiled import Compiled, compile_tree
from k2alert.judge.evaluate import Names, Value, evaluate
from k2alert.judge.grammar import Checker, Type, Use
from k2alert.judge.syntax import ConditionError, parse
from k2alert.model import Metric, Window
from k2alert.template import Call, Template, TemplateError

__all__ = ["Condition", "ConditionError", "Term", "check_message", "compile_condition"]

_SIGNS: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class Term(NamedTuple):
    """One metric or metric call of a condition, as written, and its value."""

    text: str
    use: Use
    value: Value


@dataclass(frozen=True, slots=True)
class Condition:
    """A checked condition.

    `metrics` are all metrics it names, in calls too; `look_back` how much history it needs, at least the rule's
    period; `first` the first metric or metric call in reading order that is a number (`absent` is none), which
    alerts show as their value, or None where there is none; `operator` how it is compared with its threshold, as if
    it stood on the left (`<`), "" where it is not compared itself.
    """

    text: str
    metrics: frozenset[str]
    look_back: timedelta
    first: Use | None
    operator: str
    _tree: ast.expr = field(compare=False, repr=False)
    _holds: Compiled = field(compare=False, repr=False)
    _value: ast.expr | None = field(compare=False, repr=False)
    _threshold: ast.expr | None = field(compare=False, repr=False)
    _uses: tuple[tuple[Use, ast.expr], ...] = field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def tree(self) -> ast.expr:
        """The checked tree, for who reads it."""
        return self._tree

    @property
    def uses(self) -> tuple[Use, ...]:
        """Every use of a metric, in reading order."""
        return tuple(use for use, _ in self._uses)

    @property
    def holds(self) -> Compiled:
        """`evaluate` for who asks a million times."""
        return self._holds

    def evaluate(self, names: Names) -> bool | None:
        """Whether it holds; None is no data."""
        truth: bool | None = self._holds(names)
        return truth

    def value(self, names: Names) -> Value:
        """What `first` comes to."""
        return None if self._value is None else evaluate(self._value, names)

    def terms(self, names: Names) -> tuple[Term, ...]:
        """Every metric and metric call, in reading order, with what it comes to; also those that are never reached."""
        return tuple(Term(ast.unparse(node), use, evaluate(node, names)) for use, node in self._uses)

    def clauses(self, names: Names) -> Clause:
        """Every sub-expression with what it comes to."""
        return clauses_of(self._tree, names)

    def threshold(self, names: Names) -> float | int | None:
        """The number that `first` is itself compared with (in a chain, the one to its right), or None."""
        found = None if self._threshold is None else evaluate(self._threshold, names)
        return found if isinstance(found, int | float) else None


def compile_condition(
    text: str, *, metrics: Mapping[str, Metric], window: Window, retention: timedelta | None
) -> Condition:
    """The condition that a rule with this period may evaluate.

    `metrics` is the catalogue; `retention` None checks no look-back. Raises `ConditionError`, its column counted
    in characters of `text` from 0.
    """
    tree = parse(text)
    checker = Checker(metrics=metrics, window=window, retention=retention)
    if checker.type_of(tree) is not Type.TRUTH:
        advice = "compare it with something, as in success_rate < 0.95"
        raise ConditionError(f"a condition must be true or false: {advice}", tree.col_offset)
    uses = list(zip(checker.uses, checker.places, strict=True))
    first, place = next(((use, node) for use, node in uses if use.call != "absent"), (None, None))
    threshold, operator = _compared_with(tree, place)
    return Condition(
        text=text,
        metrics=frozenset(use.metric for use in checker.uses),
        look_back=max([window.look_back, *map(checker.reach, checker.uses)]),
        first=first,
        _tree=tree,
        _holds=compile_tree(tree),
        operator=operator,
        _value=place,
        _threshold=threshold,
        _uses=tuple(uses),
    )


def _compared_with(tree: ast.expr, place: ast.expr | None) -> tuple[ast.expr | None, str]:
    """What stands beside the node in a comparison, and the operator between them as if the node stood first."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if place in sides:
                index = sides.index(place)
                if index + 1 < len(sides):
                    return sides[index + 1], _SIGNS.get(type(node.ops[index]), "")
                return sides[index - 1], _MIRRORED.get(_SIGNS.get(type(node.ops[index - 1]), ""), "")
    return None, ""


def check_message(
    template: Template, *, metrics: Mapping[str, Metric], window: Window, retention: timedelta | None
) -> timedelta:
    """How much history a message or annotation needs, after checking its metrics and calls as a condition's are.

    Raises `TemplateError` with the line of the call (or line 1, for a metric that the period does not suit).
    """
    checker = Checker(metrics=metrics, window=window, retention=retention)
    for name in sorted(template.variables & metrics.keys()):
        _check_in_message(checker, ast.Name(name, col_offset=0), 1)
    for call in template.calls:
        _check_in_message(checker, _tree_of(call), call.line)
    return max([window.look_back, *map(checker.reach, checker.uses)])


def _check_in_message(checker: Checker, tree: ast.expr, line: int) -> None:
    try:
        checker.type_of(tree)
    except ConditionError as error:
        raise TemplateError(error.text, line) from None


def _tree_of(call: Call) -> ast.Call:
    """The call as a condition would write it; what a template computes stands as a number."""
    return ast.Call(
        func=ast.Name(call.name, col_offset=0),
        args=[_constant(argument) for argument in call.arguments],
        keywords=[ast.keyword(name, _constant(value), col_offset=0) for name, value in call.keywords],
        col_offset=0,
    )


def _constant(value: Any) -> ast.Constant:
    return ast.Constant(0.0 if value is ... else value, col_offset=0)
