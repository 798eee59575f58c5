"""What is allowed in a condition and yet can hardly be meant: a threshold outside of a metric's unit, a condition that
can never be true, or always is.

A compiled condition and the catalogue come in, suspicions go out. Every number is followed as the range that it can lie
in, from the bounds that metrics declare; what is said of one term by several comparisons is put together. No data is
left out of it: a rule that is always true but for no data is always true. Nothing is said where it cannot be known.
"""

import ast
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from k2alert.judge.condition import Condition
from k2alert.model import Metric

__all__ = ["Suspicion", "overlap", "suspicions"]


class Suspicion(NamedTuple):
    """Something to look at: a code, what it is and what to do, and the character of the condition where it begins."""

    code: str
    text: str
    offset: int


class _Range(NamedTuple):
    """From `low` to `high`; `open_low` and `open_high` say that the end itself is not in it."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing lies in it."""
        return self.low > self.high or (self.low == self.high and (self.open_low or self.open_high))

    def within(self, other: "_Range") -> "_Range":
        """What lies in both."""
        low = max((self.low, self.open_low), (other.low, other.open_low))
        high = min((self.high, not self.open_high), (other.high, not other.open_high))
        return _Range(low[0], high[0], low[1], not high[1])

    def around(self, other: "_Range") -> "_Range":
        """What reaches over both."""
        return _Range(min(self.low, other.low), max(self.high, other.high))


_ANY = _Range(-math.inf, math.inf)
_Truth = tuple[bool, bool]
"""Whether it can be true, and whether it can be false."""

_NEGATED: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
}  # fmt: skip
_MIRRORED: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE, ast.Eq: ast.Eq, ast.NotEq: ast.NotEq,
}  # fmt: skip


class _Atom(NamedTuple):
    """One comparison of two sides."""

    left: ast.expr
    sign: type[ast.cmpop]
    right: ast.expr


def suspicions(condition: Condition, metrics: Mapping[str, Metric], *, clear: bool = False) -> Iterator[Suspicion]:
    """What can hardly be meant in a rule's condition, or in its `clear`."""
    reader = _Reader(metrics)
    outside = list(reader.outside(condition.tree))
    yield from outside
    can_hold, can_fail = reader.truth(condition.tree)
    if outside or (can_hold and can_fail):
        return
    if not can_hold:
        means = "the alert would never end" if clear else "the rule would never fire"
        yield Suspicion("never", f"can never be true: {means}", 0)
    else:
        means = "the alert would end at once" if clear else "the rule would fire for ever"
        yield Suspicion("always", f"is always true: {means}", 0)


def overlap(condition: Condition, clear: Condition, metrics: Mapping[str, Metric]) -> bool:
    """Whether two single comparisons of one term can both be true: the alert would end and begin again and again."""
    reader = _Reader(metrics)
    ours, theirs = (reader.atoms(one.tree) for one in (condition, clear))
    if len(ours) != 1 or len(theirs) != 1:
        return False
    (first, _), (second, _) = reader.bound(ours[0]), reader.bound(theirs[0])
    return first is not None and first == second and not reader.contradict([*ours, *theirs])


@dataclass(frozen=True, slots=True)
class _Reader:
    metrics: Mapping[str, Metric]

    # ------------------------------------------------------------------------------------------- numbers

    def range(self, node: ast.expr) -> _Range:
        """Between what a number lies."""
        if isinstance(node, ast.Constant):
            return _Range(node.value, node.value) if isinstance(node.value, int | float) else _ANY
        if isinstance(node, ast.Name):
            return self._of_metric(node.id)
        if isinstance(node, ast.UnaryOp):
            inner = self.range(node.operand)
            return _Range(-inner.high, -inner.low) if isinstance(node.op, ast.USub) else inner
        if isinstance(node, ast.BinOp):
            return _combine(type(node.op), self.range(node.left), self.range(node.right))
        if isinstance(node, ast.IfExp):
            return self.range(node.body).around(self.range(node.orelse))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._of_call(node.func.id, node.args)
        return _ANY

    def _of_metric(self, name: str) -> _Range:
        metric = self.metrics[name]
        return _Range(metric.low, metric.high)

    def _of_call(self, name: str, arguments: list[ast.expr]) -> _Range:
        first = arguments[0]
        if name == "samples":
            return _Range(0, math.inf)
        if name in ("value", "baseline", "lower", "upper") and isinstance(first, ast.Constant):
            return self._of_metric(str(first.value))
        if name == "default" and isinstance(first, ast.Constant):
            return self._of_metric(str(first.value)).around(self.range(arguments[1]))
        ranges = [self.range(argument) for argument in arguments]
        if name in ("min", "max"):
            pick: Callable[[Iterable[float]], float] = min if name == "min" else max
            return _Range(pick(one.low for one in ranges), pick(one.high for one in ranges))
        if name == "abs":
            ends = (abs(ranges[0].low), abs(ranges[0].high))
            return _Range(0 if ranges[0].low <= 0 <= ranges[0].high else min(ends), max(ends))
        return _ANY  # a label, or what is rounded

    # -------------------------------------------------------------------------------------------- truths

    def truth(self, node: ast.expr) -> _Truth:
        """Whether it can be true, and whether it can be false."""
        if isinstance(node, ast.UnaryOp):
            can_hold, can_fail = self.truth(node.operand)
            return can_fail, can_hold
        if isinstance(node, ast.BoolOp):
            truths = [self.truth(value) for value in node.values]
            if isinstance(node.op, ast.And):
                together = not self.contradict(self.atoms(node))
                return all(hold for hold, _ in truths) and together, any(fail for _, fail in truths)
            apart = not self.contradict([_negated(atom) for value in node.values for atom in self._alone(value)])
            return any(hold for hold, _ in truths), all(fail for _, fail in truths) and apart
        if isinstance(node, ast.Compare):
            return self._compared(node)
        if isinstance(node, ast.IfExp):
            one, other = self.truth(node.body), self.truth(node.orelse)
            return one[0] or other[0], one[1] or other[1]
        return True, True

    def _compared(self, node: ast.Compare) -> _Truth:
        atoms = self.atoms(node)
        truths = [self._atom_truth(atom) for atom in atoms]
        can_hold = all(hold for hold, _ in truths) and not self.contradict(atoms)
        return can_hold, any(fail for _, fail in truths)

    def _atom_truth(self, atom: _Atom) -> _Truth:
        if atom.sign not in _NEGATED or _is_text(atom.left) or _is_text(atom.right):
            return True, True
        if ast.dump(atom.left) == ast.dump(atom.right):
            holds = atom.sign in (ast.LtE, ast.GtE, ast.Eq)
            return holds, not holds
        left, right = self.range(atom.left), self.range(atom.right)
        return _can(atom.sign, left, right), _can(_NEGATED[atom.sign], left, right)

    def atoms(self, node: ast.expr) -> list[_Atom]:
        """The comparisons that must all be true for it to be; those that can be told alone."""
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
            return [atom for value in node.values for atom in self.atoms(value)]
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            return [_Atom(sides[i], type(sign), sides[i + 1]) for i, sign in enumerate(node.ops)]
        return []

    def _alone(self, node: ast.expr) -> list[_Atom]:
        atoms = self.atoms(node)
        return atoms if len(atoms) == 1 and atoms[0].sign in _NEGATED else []

    def contradict(self, atoms: Iterable[_Atom]) -> bool:
        """Whether no number satisfies all that these say of some term."""
        said: dict[str, _Range] = {}
        for atom in atoms:
            term, bound = self.bound(atom)
            if term is not None:
                said[term] = said.get(term, bound).within(bound)
        return any(bound.empty for bound in said.values())

    def bound(self, atom: _Atom) -> tuple[str | None, _Range]:
        """What a comparison with a number says of the other side: its text, and where it lies then."""
        for term, sign, side in ((atom.left, atom.sign, atom.right), (atom.right, _MIRRORED.get(atom.sign), atom.left)):
            number = _number(side)
            if number is not None and _number(term) is None and sign is not None and sign is not ast.NotEq:
                return ast.dump(term), _where(sign, number).within(self.range(term))
        return None, _ANY

    # ----------------------------------------------------------------------------------- outside of a unit

    def outside(self, tree: ast.expr) -> Iterator[Suspicion]:
        """Numbers that metrics are compared with and can never reach."""
        for node in ast.walk(tree):
            for atom in self.atoms(node) if isinstance(node, ast.Compare) else ():
                for term, side in ((atom.left, atom.right), (atom.right, atom.left)):
                    metric, number = self._metric(term), _number(side)
                    if metric is not None and number is not None and not metric.low <= number <= metric.high:
                        yield Suspicion("unit", _outside(metric, number), side.col_offset)

    def _metric(self, node: ast.expr) -> Metric | None:
        """The metric that a term is a value of."""
        if isinstance(node, ast.Name):
            return self.metrics[node.id]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            if node.func.id in ("value", "baseline", "lower", "upper") and isinstance(first, ast.Constant):
                return self.metrics[str(first.value)]
        return None


def _outside(metric: Metric, number: float) -> str:
    bounds = f"from {metric.low:g} to {metric.high:g}" if math.isfinite(metric.high) else f"at least {metric.low:g}"
    text = f"{number:g} is outside of what {metric.name} can be ({metric.unit}, {bounds})"
    if metric.high == 1 and 2 <= number <= 100:
        return f"{text}: write {number / 100:g}"
    return text


def _number(node: ast.expr) -> float | None:
    """The number that is written out, its sign too."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = _number(node.operand)
        return None if inner is None else -inner if isinstance(node.op, ast.USub) else inner
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, int | float) else None


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _negated(atom: _Atom) -> _Atom:
    return atom._replace(sign=_NEGATED[atom.sign])


def _where(sign: type[ast.cmpop], number: float) -> _Range:
    if sign in (ast.Lt, ast.LtE):
        return _Range(-math.inf, number, open_high=sign is ast.Lt)
    if sign in (ast.Gt, ast.GtE):
        return _Range(number, math.inf, open_low=sign is ast.Gt)
    return _Range(number, number)


def _can(sign: type[ast.cmpop], left: _Range, right: _Range) -> bool:
    """Whether some number of the one range compares so with some of the other."""
    if sign in (ast.Lt, ast.LtE):
        return left.low < right.high or (sign is ast.LtE and left.low == right.high)
    if sign in (ast.Gt, ast.GtE):
        return left.high > right.low or (sign is ast.GtE and left.high == right.low)
    if sign is ast.Eq:
        return left.low <= right.high and right.low <= left.high
    return not (left.low == left.high == right.low == right.high)


def _combine(operation: type[ast.operator], left: _Range, right: _Range) -> _Range:
    if operation is ast.Add:
        return _Range(left.low + right.low, left.high + right.high)
    if operation is ast.Sub:
        return _Range(left.low - right.high, left.high - right.low)
    ends = [_product(one, other) for one in (left.low, left.high) for other in (right.low, right.high)]
    return _Range(min(ends), max(ends)) if operation is ast.Mult else _ANY


def _product(one: float, other: float) -> float:
    return 0.0 if 0 in (one, other) else one * other
