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
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, exp, inf, isfinite, log, sqrt
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
_WORTH_SCREENING = 10  # values that come at once
_MOST_SCREENED = 500  # points held for it, so that they are seldom moved
_LEAST = log(1 + _EFFECT)
_ROUNDING = 1e-9  # so far apart may be what is the same on paper


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
        known = len(self.steps)
        self.extend((value,))
        return self.steps[-1] if len(self.steps) > known else None

    def extend(self, values: Sequence[float]) -> None:
        """More measurements, one after the other."""
        screen = _Screen(self._logs) if len(values) > _WORTH_SCREENING else None
        for value in values:
            self._known += 1
            if not (isfinite(value) and value > 0):
                continue
            self._logs.append(log(value))
            self._indexes.append(self._known - 1)
            if screen is not None and not screen.may_split(self._logs[-1]):
                self._forget(len(self._logs) - _REACH - _LATEST)
            elif self._split() and screen is not None:
                screen = _Screen(self._logs)

    def _split(self) -> bool:
        """Whether the last value has confirmed a step."""
        split = _best_split(self._logs)
        if split is None:
            self._forget(len(self._logs) - _REACH - _LATEST)
            return False
        before, after = self._logs[max(0, split - _REACH) : split], self._logs[split:]
        self.steps.append(Step(self._indexes[split], self._known - 1, exp(median(before)), exp(median(after))))
        self._forget(split)
        return True

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


class _Screen:
    """Tells most splits that cannot be from those that have to be looked at, in a fifth of the time.

    Of the five tests it takes what is cheap of the second and the fifth. A level that rises must pass `_EFFECT`, and
    its median must lie so far above the one before that the middle between the two is above `_SEPARATION` of the points
    before: so each split has two bounds, known from the points before alone; a median after it between them is no step.
    And the median of six points or more is never outside of the medians of all three in a row among them: of each three
    two are on the inner side, which is more than half of all.
    """

    __slots__ = ("_downs", "_logs", "_recent", "_thirds", "_ups")

    def __init__(self, logs: Sequence[float]) -> None:
        self._logs: list[float] = []
        self._thirds: list[float] = []  # the median of each point and the two before it
        self._recent: list[float] = []  # the last `_REACH` points, least first
        self._ups: list[float] = []  # by split, what a median after it that is higher must be above
        self._downs: list[float] = []
        for point in logs:
            self._take(point)

    def may_split(self, point: float) -> bool:
        """Takes one more point, and says whether there may be a split now."""
        self._take(point)
        count = len(self._logs)
        first, last = max(_BEFORE, count - _LATEST), count - _AFTER + 1
        if first >= last:
            return False
        thirds = self._thirds[max(2, count - _LATEST + 2) :]
        if max(thirds) <= min(self._ups[first:last]) and min(thirds) >= max(self._downs[first:last]):
            return False
        return any(self._is_outside(count - size) for size in _SIZES if count - size >= _BEFORE)

    def _is_outside(self, split: int) -> bool:
        after = median(self._logs[split:])
        return after > self._ups[split] or after < self._downs[split]

    def _take(self, point: float) -> None:
        """The bounds of the split before the point come from what was there before it."""
        up, down = self._bounds()
        self._ups.append(up)
        self._downs.append(down)
        if len(self._recent) == _REACH:
            del self._recent[bisect_left(self._recent, self._logs[-_REACH])]
        insort(self._recent, point)
        self._logs.append(point)
        last = sorted(self._logs[-3:])
        self._thirds.append(last[len(last) // 2])  # those of fewer than three are never asked for
        if len(self._logs) > _MOST_SCREENED:
            for held in (self._logs, self._thirds, self._ups, self._downs):
                del held[: len(held) - _REACH - _LATEST]

    def _bounds(self) -> tuple[float, float]:
        count = len(self._recent)
        if count < _BEFORE:
            return inf, -inf
        recent, most = self._recent, ceil(_SEPARATION * count)
        middle = recent[count // 2] if count == _REACH else median(recent)
        up = max(2 * recent[most - 1] - middle, middle + _LEAST)
        down = min(2 * recent[count - most] - middle, middle - _LEAST)
        return up - _ROUNDING, down + _ROUNDING


def find_steps(values: Iterable[float]) -> tuple[Step, ...]:
    """Every step of a whole series."""
    series = Series()
    series.extend(list(values))
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
    if abs(moved) < _LEAST:
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
