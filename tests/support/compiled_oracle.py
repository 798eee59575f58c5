"""Conditions evaluated a second way: rewritten as Python calls, compiled, and run by Python itself.

Nothing is shared with `k2alert.judge` but the nouns, `parse_duration` and Wilson's formula. A truth is the set of what
it may turn out to be: no data is either. A number is itself, or None.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import reduce
from statistics import median
from typing import Any

from k2alert.judge.scope import wilson
from k2alert.model import Measured, Metric, Needs, Rule, Window
from k2alert.times import parse_duration

DAY_MS = 86_400_000
EITHER = frozenset({True, False})
SIGNS: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    **{ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge},
    **{ast.Eq: operator.eq, ast.NotEq: operator.ne},
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv},
}


@dataclass(frozen=True)
class World:
    """What a condition looks at: `measure(name, window, at)` answers for every metric."""

    rule: Rule
    labels: Mapping[str, str]
    metrics: Mapping[str, Metric]
    at: int
    answer: Callable[[str, Window, int], Measured]

    def measured(self, name: str, window: Window, at: int) -> Measured:
        """A value, and none where a ratio, mean or quantile has too few samples."""
        found = self.answer(name, window, at)
        needs_samples = self.metrics[name].needs in (Needs.RATIO, Needs.MEAN, Needs.QUANTILE)
        return Measured(None, found.samples) if needs_samples and found.samples < self.rule.min_samples else found

    def own(self, name: str) -> Measured:
        return self.measured(name, self.rule.window, self.at)


def truth_of(text: str, world: World) -> bool | None:
    """What the condition comes to; None is no data."""
    tree = ast.parse(text.translate(dict.fromkeys(range(9, 14), " ")).strip(), mode="eval")  # blanks are spaces
    source = _source(tree.body)
    found = eval(compile(source, "oracle", "eval"), {"__builtins__": {}, **_names(world)})
    return None if found == EITHER else True in found


def _source(node: ast.expr) -> str:
    match node:
        case ast.Constant():
            return repr(node.value)
        case ast.Name():
            return f"name({node.id!r})"
        case ast.BoolOp():
            how = "both" if isinstance(node.op, ast.And) else "any_of"
            return f"{how}({_list(node.values)})"
        case ast.UnaryOp(op=ast.Not()):
            return f"denied({_source(node.operand)})"
        case ast.UnaryOp():
            return f"signed({isinstance(node.op, ast.USub)}, {_source(node.operand)})"
        case ast.BinOp():
            return f"computed({type(node.op).__name__}, {_list([node.left, node.right])})"
        case ast.IfExp():
            return f"chosen({_list([node.test, node.body, node.orelse])})"
        case ast.Compare(ops=[ast.In() | ast.NotIn() as sign], comparators=[ast.List() | ast.Tuple() as items]):
            return f"within({isinstance(sign, ast.In)}, {_source(node.left)}, [{_list(items.elts)}])"
        case ast.Compare():
            signs = ", ".join(type(sign).__name__ for sign in node.ops)
            return f"compared([{signs}], [{_list([node.left, *node.comparators])}])"
        case ast.Call(func=ast.Name()):
            keywords = "".join(f", {keyword.arg}={_source(keyword.value)}" for keyword in node.keywords)
            return f"call_{node.func.id}({_list(node.args)}{keywords})"
    raise AssertionError(ast.dump(node))


def _list(nodes: list[ast.expr]) -> str:
    return ", ".join(map(_source, nodes))


def _names(world: World) -> Mapping[str, Any]:
    return {
        **{sign.__name__: how for sign, how in SIGNS.items()},
        **{"both": _both, "any_of": _any_of, "denied": _denied, "computed": _computed, "signed": _signed},
        **{"chosen": _chosen, "within": _within, "compared": _compared},
        "name": lambda name: world.own(name).value,
        **{f"call_{name}": _spreading(how) for name, how in {"abs": abs, "min": min, "max": max}.items()},
        "call_round": _spreading(round),
        "call_value": lambda name, window=None, offset="0": (
            world.measured(name, _window(window) if window else world.rule.window, world.at - _ms(offset)).value
        ),
        "call_baseline": lambda name, length: _baseline(world, name, _ms(length)),
        "call_samples": lambda name: world.own(name).samples,
        "call_lower": lambda name: _bound(world, name, -1),
        "call_upper": lambda name: _bound(world, name, +1),
        "call_absent": lambda name: frozenset({world.own(name).value is None}),
        "call_default": lambda name, instead: instead if world.own(name).value is None else world.own(name).value,
        "call_label": lambda name, instead: _label(world.labels.get(name), instead),
    }


def _pairs(left: frozenset[bool], right: frozenset[bool], join: Callable[[bool, bool], bool]) -> frozenset[bool]:
    return frozenset(join(a, b) for a in left for b in right)


def _both(*truths: frozenset[bool]) -> frozenset[bool]:
    return reduce(lambda left, right: _pairs(left, right, lambda a, b: a and b), truths)


def _any_of(*truths: frozenset[bool]) -> frozenset[bool]:
    return reduce(lambda left, right: _pairs(left, right, lambda a, b: a or b), truths)


def _denied(truth: frozenset[bool]) -> frozenset[bool]:
    return frozenset(not one for one in truth)


def _computed(how: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    try:
        found = how(left, right)
        return found if math.isfinite(float(found)) else None
    except (ZeroDivisionError, OverflowError):
        return None


def _signed(minus: bool, number: Any) -> Any:
    return None if number is None else -number if minus else number


def _chosen(test: frozenset[bool], body: Any, orelse: Any) -> Any:
    if test == EITHER:  # a truth that may be either, a number that is none
        return EITHER if isinstance(body, frozenset) or isinstance(orelse, frozenset) else None
    return body if True in test else orelse


def _within(wanted: bool, item: Any, items: list[Any]) -> frozenset[bool]:
    return EITHER if item is None else frozenset({any(item == one for one in items) is wanted})


def _compared(signs: list[Callable[[Any, Any], bool]], sides: list[Any]) -> frozenset[bool]:
    return _both(*(_compare(sign, *sides[place : place + 2]) for place, sign in enumerate(signs)))


def _compare(sign: Callable[[Any, Any], bool], left: Any, right: Any) -> frozenset[bool]:
    if left is None or right is None or EITHER in (left, right):
        return EITHER
    return frozenset({sign(left, right)})


def _spreading(how: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *numbers: None if None in numbers else how(*numbers)


def _ms(text: str) -> int:
    return parse_duration(text) // timedelta(milliseconds=1)


def _window(text: str) -> Window:
    runs = text.endswith((" run", " runs"))
    return Window(runs=int(text.split()[0])) if runs else Window(length=parse_duration(text))


def _bound(world: World, name: str, sign: int) -> float | None:
    found = world.own(name)
    return None if found.value is None else wilson(found.value, found.samples, sign)


def _baseline(world: World, name: str, length: int) -> float | None:
    """Day by day of UTC, the first and last cut where the time before the window begins and ends."""
    end = world.at - world.rule.window.look_back // timedelta(milliseconds=1)
    begin, values = end - length, []
    while begin < end:
        until = min((begin // DAY_MS + 1) * DAY_MS, end)
        found = world.measured(name, Window(length=timedelta(milliseconds=until - begin)), until)
        if found.value is not None and found.samples:
            values.append(found.value)
        begin = until
    return median(values) if len(values) >= 7 else None


def _label(text: str | None, instead: Any) -> Any:
    if isinstance(instead, str):
        return text or instead
    try:
        number = float(text or "")
    except ValueError:
        return instead
    return number if math.isfinite(number) else instead
