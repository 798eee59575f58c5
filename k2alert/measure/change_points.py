"""Change points: where the level of a series of measurements moved, told from noise, outliers and machines that differ.

Measurements come in, in time order, and steps go out, each once, at the point that confirms it: what is known of a
beginning is never taken back. So the daemon may add point by point, and a rehearsal sees what was known then.

The test at each split compares two medians, in logarithms (a level that doubles moves as far as one that halves): the
`_REACH` points before against all points after. Five things must hold:

1. there are enough points on both sides (`_BEFORE`, `_AFTER`);
2. the level moved by at least `_EFFECT`;
3. it moved by `_SIGMAS` standard errors of the difference of two medians, the noise taken from the median absolute
   deviation, so that no outlier counts for more than one point (standard error of a median: 1.2533 σ/√n; σ from the
   deviation: 1.4826; https://en.wikipedia.org/wiki/Median_absolute_deviation);
4. and by `_SPREADS` of that noise itself, unless it has lasted for `_LONG` points: short runs of a noisy series wander;
5. `_SEPARATION` of the points lie on their own side of the middle: where machines of two kinds take turns, a series has
   two levels at all times, and more of one than of the other is no change of the code.

The constants were chosen on labelled series (`benchmarks/change_points.py`). Moved by a fifth, each finds the same
documented steps or all but one of eight, save for two: `_BEFORE`, as three of the steps have just ten points before
them, and `_SEPARATION`, which trades what is missed for what is told in vain.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import exp, isfinite, log, sqrt
from statistics import median

__all__ = ["Series", "Step", "find_steps"]

_BEFORE = 10
_AFTER = 6
_REACH = 25  # points before a split that count: the level of today, not of last year
_LATEST = 30  # how many points may pass until a small step shows
_SIZES = (6, 8, 11, 15, 20, 30)  # points after a split at which it is looked for; where it is exactly is found then
_EFFECT = 0.05
_SIGMAS = 6.0
_SPREADS = 3.0
_LONG = 15
_SEPARATION = 0.85
_FLOOR = 0.01  # the least noise that is believed in: counters and cached results have none
_MEDIAN_ERROR, _MAD_SIGMA = 1.2533, 1.4826


@dataclass(frozen=True, slots=True)
class Step:
    """A lasting change of level.

    `at` is the index of the first point of the new level, `confirmed` that of the point at which it was known. `before`
    and `after` are the medians of both sides then.
    """

    at: int
    confirmed: int
    before: float
    after: float

    @property
    def change(self) -> float:
        """How far the level moved, as a share of the level before: 0.1 is ten percent more."""
        return self.after / self.before - 1

    def moved(self, by: int) -> "Step":
        """The same step in a series that begins elsewhere."""
        return replace(self, at=self.at + by, confirmed=self.confirmed + by)


@dataclass(slots=True)
class Series:
    """A series that grows; `steps` are those confirmed so far. A value that is not above 0 is passed over."""

    steps: list[Step] = field(default_factory=list)
    _logs: "array[float]" = field(
        default_factory=lambda: array("d")
    )  # since the last step, at most what a split can reach
    _indexes: "array[int]" = field(default_factory=lambda: array("q"))  # of these
    _known: int = 0  # values seen

    def add(self, value: float) -> Step | None:
        """One more measurement, and the step that it confirms."""
        index = self._known
        self._known += 1
        if not (isfinite(value) and value > 0):
            return None
        self._logs.append(log(value))
        self._indexes.append(index)
        split = _best_split(self._logs)
        if split is None:
            self._forget(len(self._logs) - _REACH - _LATEST)
            return None
        before, after = self._logs[max(0, split - _REACH) : split], self._logs[split:]
        step = Step(self._indexes[split], index, exp(median(before)), exp(median(after)))
        self._forget(split)
        self.steps.append(step)
        return step

    def copy(self) -> "Series":
        """Another one that knows the same."""
        return Series(list(self.steps), self._logs[:], self._indexes[:], self._known)

    def drop_first(self) -> None:
        """The first value of all is forgotten; every index moves by one, and steps that began before are gone."""
        self.steps = [moved for step in self.steps if (moved := step.moved(-1)).at > 0]
        self._indexes = array("q", [index - 1 for index in self._indexes])
        self._known -= 1

    def _forget(self, count: int) -> None:
        if count > 0:
            del self._logs[:count], self._indexes[:count]


def find_steps(values: Iterable[float]) -> tuple[Step, ...]:
    """Every step of a whole series."""
    series = Series()
    for value in values:
        series.add(value)
    return tuple(series.steps)


def _best_split(logs: Sequence[float]) -> int | None:
    """The split that explains most of the spread, of those that pass all tests; None where none of `_SIZES` does."""
    sizes = [size for size in _SIZES if len(logs) - size >= _BEFORE]
    if not any(_score(*_sides(logs, len(logs) - size)) for size in sizes):
        return None
    splits = range(max(_BEFORE, len(logs) - _LATEST), len(logs) - _AFTER + 1)
    return max((_score(*_sides(logs, split)), split) for split in splits)[1]


def _sides(logs: Sequence[float], split: int) -> tuple[Sequence[float], Sequence[float]]:
    return logs[max(0, split - _REACH) : split], logs[split:]


def _score(before: Sequence[float], after: Sequence[float]) -> float:
    """How much of the spread a step here explains; 0 where it is none, by the tests of the module's docstring."""
    middles = median(before), median(after)
    moved = middles[1] - middles[0]
    if abs(moved) < log(1 + _EFFECT):
        return 0.0
    noise = _noise(before, middles[0], after, middles[1])
    error = _MEDIAN_ERROR * noise * sqrt(1 / len(before) + 1 / len(after))
    if abs(moved) < _SIGMAS * error or (len(after) < _LONG and abs(moved) < _SPREADS * noise):
        return 0.0
    if not _is_apart(before, after, sum(middles) / 2, rising=moved > 0):
        return 0.0
    return _spread([*before, *after]) - _spread(before) - _spread(after)


def _spread(values: Sequence[float]) -> float:
    """The sum of the distances from the median."""
    middle = median(values)
    return sum(abs(value - middle) for value in values)


def _noise(before: Sequence[float], low: float, after: Sequence[float], high: float) -> float:
    """The noise of both sides together, never less than that of the longer history."""
    old, new = _sigma(before, low), _sigma(after, high)
    both = sqrt((old * old * len(before) + new * new * len(after)) / (len(before) + len(after)))
    return max(both, old, _FLOOR)


def _sigma(values: Sequence[float], middle: float) -> float:
    return _MAD_SIGMA * median([abs(value - middle) for value in values])


def _is_apart(before: Sequence[float], after: Sequence[float], middle: float, *, rising: bool) -> bool:
    """Whether each side keeps to its own side of the middle."""
    below = sum((value < middle) is rising for value in before)
    above = sum((value > middle) is rising for value in after)
    return below >= _SEPARATION * len(before) and above >= _SEPARATION * len(after)
