"""What a condition may say: every name a metric, every function's arguments right, every operand of its type.

A tree from `syntax` and the catalogue come in; out goes the tree's type, and which metrics it uses over which
windows, so that all that can be wrong with a condition is found when it is loaded.

The types are number, text and truth. Arithmetic and order (`<`) are for numbers, `==` and `!=` compare two of one
type, `in` looks for a number or text in a literal list of the same, `and`, `or`, `not` and `if` are for truths.
"""

import ast
import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from k2alert.judge.syntax import ConditionError
from k2alert.judge.window import parse_window
from k2alert.model import Metric, Needs, Window
from k2alert.times import format_duration, parse_duration

__all__ = ["FUNCTIONS", "Checker", "Function", "Type", "Use"]

_LONGEST_SHOWN = 60  # of a name that nobody knows


class Function(NamedTuple):
    """A function of conditions: how it is written, and what it comes to."""

    written: str
    help: str


FUNCTIONS: Mapping[str, Function] = {
    "abs": Function("abs(x)", "x without its sign."),
    "min": Function("min(x, y)", "The least of its arguments."),
    "max": Function("max(x, y)", "The largest of its arguments."),
    "round": Function("round(x) or round(x, 2)", "x rounded, to so many decimals."),
    "value": Function(
        'value("success_rate", window="1h", offset="24h")',
        "The metric over another window, at an earlier time, or both; what is left out is the rule's own.",
    ),
    "baseline": Function(
        'baseline("success_rate", "30d")',
        "Median of its daily values over the UTC days with data in so long before the window; no data under 7.",
    ),
    "samples": Function('samples("success_rate")', "How many runs, jobs or executions the metric rests on."),
    "lower": Function('lower("success_rate")', "Lower 95 % bound of a ratio (Wilson): it is hardly less."),
    "upper": Function('upper("success_rate")', "Upper 95 % bound of a ratio (Wilson): it is hardly more."),
    "absent": Function('absent("success_rate")', "Whether the metric has no data: true or false, never no data."),
    "default": Function('default("success_rate", 1)', "The metric, or x where it has no data."),
    "label": Function(
        'label("min_success", 0.95)',
        "A label of this alert, or the default where it has none; a number where the default is one.",
    ),
}
"""Every function, by name."""

_OPERATORS: Mapping[type[ast.AST], str] = {
    **{ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.USub: "-", ast.UAdd: "+"},
    **{ast.And: "and", ast.Or: "or", ast.Not: "not", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="},
}
# A baseline is no data under 7 days; one that could never have them is a mistake.
_SHORTEST_BASELINE = timedelta(days=7)
# Each day of a baseline is a measurement at every evaluation.
_LONGEST_BASELINE = timedelta(days=366)
# Streaks and ages look past their window; contract §1 counts them as 7 d.
_BEYOND_WINDOW = timedelta(days=7)
_MOST_DECIMALS = 15

_T = TypeVar("_T")


class Type(StrEnum):
    """What an expression comes to, in words for messages."""

    NUMBER = "a number"
    TEXT = "text"
    TRUTH = "true or false"


@dataclass(frozen=True, slots=True)
class Use:
    """One place where a metric is used: by its name (`call` is "") or in a call of a function.

    `window` None is the rule's own period.
    """

    metric: str
    call: str = ""
    window: Window | None = None
    offset: timedelta = timedelta(0)
    baseline: timedelta = timedelta(0)
    column_offset: int = 0


@dataclass(slots=True)
class Checker:
    """Checks one tree. `uses` collects the metrics it meets, and `places` the node of each."""

    metrics: Mapping[str, Metric]
    window: Window
    retention: timedelta | None
    uses: list[Use] = field(default_factory=list)
    places: list[ast.expr] = field(default_factory=list)

    def type_of(self, node: ast.expr) -> Type:
        """The type of an expression, everything in it checked. Raises `ConditionError`."""
        return _KINDS[type(node)](self, node)

    def use(self, node: ast.expr, use: Use) -> Type:
        """Note a use of a metric, after checking that its window makes sense for the metric and is kept."""
        self._check_window(use)
        self._check_retention(use)
        self.uses.append(use)
        self.places.append(node)
        return Type.NUMBER

    def reach(self, use: Use) -> timedelta:
        """How much history a use needs."""
        look_back = (use.window or self.window).look_back
        if self.metrics[use.metric].needs in (Needs.STREAK, Needs.AGE):
            look_back = max(look_back, _BEYOND_WINDOW)
        return look_back + use.offset + use.baseline

    def _check_window(self, use: Use) -> None:
        metric = self.metrics[use.metric]
        if metric.needs is Needs.STATE:
            if use.window is not None or use.offset or use.baseline:
                raise ConditionError(f"{use.metric} is of now: it takes no window and no offset", use.column_offset)
        elif not (metric.kind and metric.kind.of_runs) and (use.window or self.window).runs is not None:
            text = f"{use.metric} is not counted in runs: give it a length of time, such as 24h"
            raise ConditionError(text, use.column_offset)

    def _check_retention(self, use: Use) -> None:
        """Only lengths that somebody wrote count here, not the 7 d that runs and streaks stand for."""
        written = ((use.window or self.window).length or timedelta(0)) + use.offset + use.baseline
        if self.retention is not None and written > self.retention:
            text = f"looks back {format_duration(written)}, but retention is {format_duration(self.retention)}"
            raise ConditionError(f"{use.metric} {text}", use.column_offset)


# ------------------------------------------------------------------------------------------- expressions


def _name(checker: Checker, node: ast.Name) -> Type:
    if node.id in checker.metrics:
        return checker.use(node, Use(node.id, column_offset=node.col_offset))
    if node.id in FUNCTIONS:
        raise ConditionError(f"{node.id} is a function: write {FUNCTIONS[node.id].written}", node.col_offset)
    raise ConditionError(f"unknown name {_shown(node.id)}{_nearest(node.id, checker.metrics)}", node.col_offset)


def _shown(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…")


def _nearest(name: str, known: Collection[str]) -> str:
    found = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else " (k2alert metrics lists all)"


def _constant(_: Checker, node: ast.Constant) -> Type:
    return Type.TEXT if isinstance(node.value, str) else Type.NUMBER


def _unary(checker: Checker, node: ast.UnaryOp) -> Type:
    wanted = Type.TRUTH if isinstance(node.op, ast.Not) else Type.NUMBER
    return _expect(checker, node.operand, wanted, _OPERATORS[type(node.op)])


def _binary(checker: Checker, node: ast.BinOp) -> Type:
    for side in (node.left, node.right):
        _expect(checker, side, Type.NUMBER, _OPERATORS[type(node.op)])
    return Type.NUMBER


def _boolean(checker: Checker, node: ast.BoolOp) -> Type:
    for side in node.values:
        _expect(checker, side, Type.TRUTH, _OPERATORS[type(node.op)])
    return Type.TRUTH


def _expect(checker: Checker, node: ast.expr, wanted: Type, who: str) -> Type:
    found = checker.type_of(node)
    if found is not wanted:
        advice = "; compare it with something" if wanted is Type.TRUTH else ""
        raise ConditionError(f"{who} takes {wanted}, and this is {found}{advice}", node.col_offset)
    return wanted


def _compare(checker: Checker, node: ast.Compare) -> Type:
    left = checker.type_of(node.left)
    for operation, side in zip(node.ops, node.comparators, strict=True):
        if isinstance(operation, ast.In | ast.NotIn):
            _check_list(left, side)
            if len(node.ops) > 1:
                raise ConditionError("in does not chain with other comparisons", side.col_offset)
        else:
            left = _check_pair(checker, left, operation, side)
    return Type.TRUTH


def _check_pair(checker: Checker, left: Type, operation: ast.cmpop, side: ast.expr) -> Type:
    right = checker.type_of(side)
    if left is not right:
        raise ConditionError(f"compares {left} with {right}", side.col_offset)
    if right is not Type.NUMBER and type(operation) in _OPERATORS:
        raise ConditionError(f"{_OPERATORS[type(operation)]} takes a number, and this is {right}", side.col_offset)
    return right


def _check_list(wanted: Type, node: ast.expr) -> None:
    if not isinstance(node, ast.List | ast.Tuple) or not node.elts:
        raise ConditionError('in looks into a list, as in label("team", "") in ["a", "b"]', node.col_offset)
    for item in node.elts:
        found = _literal(item)
        if found is None:
            raise ConditionError("a list holds only numbers or only text", item.col_offset)
        if found is not wanted:
            raise ConditionError(f"looks for {wanted} in a list with {found}", item.col_offset)


def _literal(node: ast.expr) -> Type | None:
    """The type of a number (its sign too) or text that is written out."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = node.operand
        return Type.NUMBER if isinstance(inner, ast.Constant) and not isinstance(inner.value, str) else None
    if isinstance(node, ast.Constant):
        return Type.TEXT if isinstance(node.value, str) else Type.NUMBER
    return None


def _choice(checker: Checker, node: ast.IfExp) -> Type:
    # In reading order, so that the first metric is the one a reader meets first.
    body = checker.type_of(node.body)
    _expect(checker, node.test, Type.TRUTH, "if")
    orelse = checker.type_of(node.orelse)
    if body is not orelse:
        raise ConditionError(f"if gives {body} and else gives {orelse}", node.orelse.col_offset)
    return body


def _list(_: Checker, node: ast.expr) -> Type:
    decimals = isinstance(node, ast.Tuple) and all(_is_number(item) for item in node.elts[-1:])
    advice = "; a decimal is written with a point: 0.95" if decimals else ""
    raise ConditionError(f"a list stands only to the right of in{advice}", node.col_offset)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


# --------------------------------------------------------------------------------------------- functions


def _call(checker: Checker, node: ast.Call) -> Type:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    if name not in FUNCTIONS:
        raise ConditionError(_not_a_function(name, checker.metrics), node.col_offset)
    given: set[str | None] = set()
    for keyword in node.keywords:
        if keyword.arg in given:  # which only Python's compiler would refuse
            raise ConditionError(f"{keyword.arg}= is given twice", keyword.col_offset)
        given.add(keyword.arg)
        if name != "value" or keyword.arg not in ("window", "offset"):
            raise ConditionError(f"{name} takes no {keyword.arg}=; write {FUNCTIONS[name].written}", keyword.col_offset)
    return _CALLS[name](checker, node, name)


def _not_a_function(name: str, metrics: Collection[str]) -> str:
    if not name:
        return "only a function's name can be called"
    if name in metrics:
        return f'{name} is a metric, not a function; over another window it is value("{name}", window="1h")'
    found = difflib.get_close_matches(name, FUNCTIONS, n=1, cutoff=0.5)
    return f"unknown function {_shown(name)}" + (f"; did you mean {found[0]!r}?" if found else "")


def _arguments(node: ast.Call, name: str, least: int, most: int | None) -> list[ast.expr]:
    if len(node.args) < least or (most is not None and len(node.args) > most):
        raise ConditionError(f"write {FUNCTIONS[name].written}", node.col_offset)
    return node.args


def _numbers(least: int, most: int | None) -> "Callable[[Checker, ast.Call, str], Type]":
    def check(checker: Checker, node: ast.Call, name: str) -> Type:
        for argument in _arguments(node, name, least, most):
            _expect(checker, argument, Type.NUMBER, name)
        return Type.NUMBER

    return check


def _round(checker: Checker, node: ast.Call, name: str) -> Type:
    number, *decimals = _arguments(node, name, 1, 2)
    for argument in decimals:
        digits = argument.value if isinstance(argument, ast.Constant) else None
        if not isinstance(digits, int) or digits > _MOST_DECIMALS:
            raise ConditionError(
                f"round takes a whole number of decimals from 0 to {_MOST_DECIMALS}", argument.col_offset
            )
    return _expect(checker, number, Type.NUMBER, name)


def _metric(checker: Checker, node: ast.Call, name: str) -> Metric:
    """The metric that a call names in its first argument."""
    first = node.args[0]
    if not isinstance(first, ast.Constant) or not isinstance(first.value, str):
        raise ConditionError(
            f"{name} takes a metric's name in quotes: write {FUNCTIONS[name].written}", first.col_offset
        )
    if first.value not in checker.metrics:
        text = f"unknown metric {_shown(first.value)}{_nearest(first.value, checker.metrics)}"
        raise ConditionError(text, first.col_offset)
    return checker.metrics[first.value]


def _value(checker: Checker, node: ast.Call, name: str) -> Type:
    _arguments(node, name, 1, 1)
    metric = _metric(checker, node, name)
    window, offset = None, timedelta(0)
    for keyword in node.keywords:
        if keyword.arg == "window":
            window = _parsed(parse_window, keyword.value, "window")
        else:
            offset = _parsed(parse_duration, keyword.value, "offset")
    return checker.use(node, Use(metric.name, name, window, offset, column_offset=node.col_offset))


def _parsed(parse: Callable[[str], _T], node: ast.expr, what: str) -> _T:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        raise ConditionError(f'{what} is text in quotes, such as "24h"', node.col_offset)
    try:
        return parse(node.value)
    except ValueError as error:
        raise ConditionError(str(error), node.col_offset) from None


def _baseline(checker: Checker, node: ast.Call, name: str) -> Type:
    _, length = _arguments(node, name, 2, 2)
    metric = _metric(checker, node, name)
    reach = _parsed(parse_duration, length, "the length of a baseline")
    if not _SHORTEST_BASELINE <= reach <= _LONGEST_BASELINE:
        bounds = f"{format_duration(_SHORTEST_BASELINE)} and {format_duration(_LONGEST_BASELINE)}"
        raise ConditionError(f"the length of a baseline is between {bounds}", length.col_offset)
    return checker.use(node, Use(metric.name, name, baseline=reach, column_offset=node.col_offset))


def _samples(checker: Checker, node: ast.Call, name: str) -> Type:
    _arguments(node, name, 1, 1)
    metric = _metric(checker, node, name)
    return checker.use(node, Use(metric.name, name, column_offset=node.col_offset))


def _absent(checker: Checker, node: ast.Call, name: str) -> Type:
    _samples(checker, node, name)
    return Type.TRUTH


def _bound(checker: Checker, node: ast.Call, name: str) -> Type:
    _arguments(node, name, 1, 1)
    metric = _metric(checker, node, name)
    # Wilson's bounds are those of a share of the samples; a score that only lies between 0 and 1 is none.
    if metric.needs is not Needs.RATIO or metric.unit != "ratio":
        raise ConditionError(f"{name} is for ratios, and {metric.name} is none", node.args[0].col_offset)
    return checker.use(node, Use(metric.name, name, column_offset=node.col_offset))


def _default(checker: Checker, node: ast.Call, name: str) -> Type:
    _, instead = _arguments(node, name, 2, 2)
    metric = _metric(checker, node, name)
    checker.use(node, Use(metric.name, name, column_offset=node.col_offset))
    return _expect(checker, instead, Type.NUMBER, name)


def _label(_: Checker, node: ast.Call, name: str) -> Type:
    label, instead = _arguments(node, name, 2, 2)
    if _literal(label) is not Type.TEXT:
        raise ConditionError("label takes a label's name in quotes: write " + FUNCTIONS[name].written, label.col_offset)
    found = _literal(instead)
    if found is None:
        raise ConditionError("the default of a label is a number or text", instead.col_offset)
    return found


_CALLS: Mapping[str, Callable[[Checker, ast.Call, str], Type]] = {
    "abs": _numbers(1, 1),
    "min": _numbers(2, None),
    "max": _numbers(2, None),
    "round": _round,
    "value": _value,
    "baseline": _baseline,
    "samples": _samples,
    "lower": _bound,
    "upper": _bound,
    "absent": _absent,
    "default": _default,
    "label": _label,
}
# One line for each node that `syntax` lets through.
_KINDS: Mapping[type[ast.expr], Callable[[Checker, Any], Type]] = {
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
