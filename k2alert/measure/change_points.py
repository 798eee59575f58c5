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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
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
_HALVES = tuple(((size + 1) // 2, size) for size in _SIZES)
_WORTH_SCREENING = 10  # values that come at once
_LEAST = log(1 + _EFFECT)
_ROUNDING = 1e-9  # so far apart may be what is the same on paper
_SIDE = ceil(_SEPARATION * _REACH)
_BELOW, _MIDDLE, _ABOVE = _REACH - _SIDE, _REACH // 2, _SIDE - 1  # places in `_REACH` points, least first


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
        logs, indexes = _measurements(values, self._known)
        self._known += len(values)
        done = 0
        while done < len(logs):
            done = self._take_to_step(logs, indexes, done)

    def _take_to_step(self, logs: Sequence[float], indexes: Sequence[int], done: int) -> int:
        """Takes points up to the one that confirms the next step; how many are done then."""
        for end in self._doubts(logs, done):
            self._logs.extend(logs[done:end])
            self._indexes.extend(indexes[done:end])
            self._forget(len(self._logs) - _REACH - _LATEST)
            done = end
            if self._split():
                break
        return done

    def _doubts(self, logs: Sequence[float], done: int) -> Iterator[int]:
        """How many points are done whenever there may be a split; and once all are."""
        if len(logs) - done <= _WORTH_SCREENING:
            yield from range(done + 1, len(logs) + 1)
            return
        screen, known = _Screen(self._logs), len(self._logs)
        for place in screen.doubts(islice(logs, done, None)):
            yield done + place - known
        yield len(logs)

    def _split(self) -> bool:
        """Whether the last value has confirmed a step."""
        split = _best_split(self._logs)
        if split is None:
            return False
        before, after = self._logs[max(0, split - _REACH) : split], self._logs[split:]
        self.steps.append(Step(self._indexes[split], self._indexes[-1], exp(median(before)), exp(median(after))))
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
    """Tells most splits that cannot be from those that have to be looked at, in a small part of the time.

    Of the five tests it takes what is cheap of the second and the fifth. A level that rises must pass `_EFFECT`, and
    its median must lie so far above the one before that the middle between the two is above `_SEPARATION` of the points
    before: so each split has two bounds, known from the points before alone; a median after it between them is no step.
    And where a median of some points is above its split's bound, half of these points are. So a point is *high* where
    it is above the least bound of all splits that it can be after, and medians are looked at only where enough of the
    last points are high. The same goes for low ones.
    """

    __slots__ = ("_doubtful", "_downs", "_highs", "_logs", "_lows", "_recent", "_ups")

    def __init__(self, logs: Iterable[float]) -> None:
        self._logs: list[float] = []
        self._recent: list[float] = []  # the last `_REACH` points, least first
        self._ups: list[float] = []  # by split, what a median after it that is higher must be above
        self._downs: list[float] = []
        self._highs: list[int] = []  # the places of high points
        self._lows: list[int] = []
        self._doubtful = 0  # how many points there are until so many of the last ones cannot be high, or low, any more
        for _ in self.doubts(logs):
            pass

    def doubts(self, points: Iterable[float]) -> Iterator[int]:
        """Takes points; how many it has taken of all, whenever there may be a split."""
        logs, recent, ups, downs, highs, lows = (
            self._logs,
            self._recent,
            self._ups,
            self._downs,
            self._highs,
            self._lows,
        )
        place, doubtful = len(logs), self._doubtful
        least_up, most_down = self._extremes(0)
        for point in points:
            if place % _LATEST == 0:
                least_up, most_down = self._extremes(place - _LATEST)
            if place >= _REACH:  # as `_bounds`, in a third of the time
                middle = recent[_MIDDLE]
                up, down = 2 * recent[_ABOVE] - middle - _ROUNDING, 2 * recent[_BELOW] - middle + _ROUNDING
                if up < middle + _LEAST - _ROUNDING:
                    up = middle + _LEAST - _ROUNDING
                if down > middle - _LEAST + _ROUNDING:
                    down = middle - _LEAST + _ROUNDING
                del recent[bisect_left(recent, logs[place - _REACH])]
            else:
                up, down = _bounds(recent)
            insort(recent, point)
            ups.append(up)
            downs.append(down)
            logs.append(point)
            if up < least_up:
                least_up = up
            if down > most_down:
                most_down = down
            if point > least_up:
                highs.append(place)
                doubtful = self._doubtful = max(doubtful, _doubtful_until(highs))
            elif point < most_down:
                lows.append(place)
                doubtful = self._doubtful = max(doubtful, _doubtful_until(lows))
            place += 1
            if place <= doubtful and self._may_split():
                yield place

    def _extremes(self, first: int) -> tuple[float, float]:
        """The least upper and the greatest lower bound of the splits from a place on."""
        first = max(0, first)
        return min(self._ups[first:], default=inf), max(self._downs[first:], default=-inf)

    def _may_split(self) -> bool:
        count = len(self._logs)
        return any(self._is_outside(count - size) for size in _SIZES if count - size >= _BEFORE)

    def _is_outside(self, split: int) -> bool:
        after = median(self._logs[split:])
        return after > self._ups[split] or after < self._downs[split]


def _doubtful_until(places: Sequence[int]) -> int:
    """Up to how many points some `_SIZES` of the last ones are half of those at these places; 0 where none are."""
    count, last = len(places), places[-1]
    ends = [places[-half] + size for half, size in _HALVES if half <= count and places[-half] + size > last]
    return max(ends, default=0)


def _bounds(recent: Sequence[float]) -> tuple[float, float]:
    """The bounds of a split after these points."""
    count = len(recent)
    if count < _BEFORE:
        return inf, -inf
    middle, most = median(recent), ceil(_SEPARATION * count)
    up = max(2 * recent[most - 1] - middle, middle + _LEAST)
    down = min(2 * recent[count - most] - middle, middle - _LEAST)
    return up - _ROUNDING, down + _ROUNDING


def _measurements(values: Sequence[float], known: int) -> tuple[Sequence[float], Sequence[int]]:
    """The logarithms of those above 0, and their indexes in a series of which so many are known."""
    if isfinite(sum(values)) and min(values, default=1) > 0:  # all of them
        return list(map(log, values)), range(known, known + len(values))
    indexes = [index for index, value in enumerate(values) if isfinite(value) and value > 0]
    return [log(values[index]) for index in indexes], [known + index for index in indexes]


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
