"""The course of a benchmark: its measurements in the order in which they finished, and where its level moved.

Steps are worked out once, point by point, as `change_points` does. What comes late is put in its place, and the steps
after it are worked out again; what retention takes from the beginning changes none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from k2alert.measure.change_points import Series, Step
from k2alert.measure.narrow import Floats, Numbers, Refs
from k2alert.model import Kind

__all__ = ["Course", "Worsening"]

_MARK_EVERY = 64  # points; a state is kept so often, for what comes a little late


class Worsening(NamedTuple):
    """A step for the worse. `confirmed` and `began` are when the points finished that confirmed and that began it.

    `percent` is how much worse the level is: 50 where a time grew by half, or a rate fell by half. `ref` and `before`
    are the rows of the first point of the new level and of the last of the old.
    """

    confirmed: int
    began: int
    percent: float
    ref: int
    before: int


@dataclass(slots=True, eq=False)
class Course:
    """Measurements of one benchmark, on one kind of machine, by one job on one branch. `kind`: what its rows are."""

    kind: Kind
    lower_is_better: bool
    _times: Numbers = field(default_factory=lambda: Numbers(moving=True))
    _refs: Refs = field(default_factory=Refs)
    _values: Floats = field(default_factory=Floats)
    _series: Series = field(default_factory=Series)
    _read: int = 0  # how many points the series has seen
    _marks: list[tuple[int, Series]] = field(default_factory=list)  # the series as it was after so many, the last two
    _worse: list[Worsening] | None = None

    def __len__(self) -> int:
        return len(self._times)

    def insert(self, finished: int, ref: int, value: float) -> None:
        """One more measurement, wherever it belongs."""
        index = len(self._times)
        if index and finished <= self._times[index - 1]:
            index = self._place(finished, ref)
        self._times.insert(index, finished)
        self._refs.insert(index, ref)
        self._values.insert(index, value)
        self._forget_from(index)

    def extend(self, times: Numbers, refs: Refs, values: Sequence[float]) -> None:
        """Many measurements, by (finished, ref)."""
        if len(self._times) and times[0] <= self._times[len(self._times) - 1]:
            for place, finished in enumerate(times):
                self.insert(finished, refs[place], values[place])
            return
        self._times.extend(times)
        self._refs.extend(refs)
        self._values.extend(values)
        self._worse = None

    def remove(self, finished: int, ref: int) -> None:
        """Takes a measurement out; what is not there is no matter."""
        index = self._place(finished, ref)
        if index == len(self._times) or (self._times[index], self._refs[index]) != (finished, ref):
            return
        for column in (self._times, self._refs, self._values):
            column.remove(index)
        if index == 0 and self._read > 0:
            self._drop_first()
        else:
            self._forget_from(index)

    def span(self, since: int, at: int) -> int:
        """How many measurements finished in (since, at]."""
        return self._times.place_after(at) - self._times.place_after(since)

    @property
    def times(self) -> Iterable[int]:
        """When its points finished."""
        return self._times

    def worsenings(self, since: int, at: int) -> list[Worsening]:
        """The steps for the worse that were confirmed in (since, at], the first one first."""
        if self._worse is None:
            self.read_on()
            self._worse = [found for found in map(self._worsening, self._series.steps) if found is not None]
        return [step for step in self._worse if since < step.confirmed <= at]

    def read_on(self, most: int | None = None) -> bool:
        """Works out the steps as far as they are not, of at most so many points; whether some are left."""
        count = len(self._values)
        end = count if most is None else min(count, self._read + most)
        marks = _marks_between(self._read, end) if end == count else ()
        for stop in sorted({*marks, end} - {self._read}):
            self._series.extend(self._values.items[self._read : stop])
            self._read = stop
            if stop in marks:
                self._marks = [*self._marks[-1:], (stop, self._series.copy())]
        return end < count

    def _place(self, finished: int, ref: int) -> int:
        low = self._times.place(finished)
        return self._refs.place(ref, low, self._times.place_after(finished, low))

    def _forget_from(self, index: int) -> None:
        """The series goes back to what it was before this point."""
        self._worse = None
        if index >= self._read:
            return
        self._marks = [mark for mark in self._marks if mark[0] <= index]
        self._read, kept = self._marks[-1] if self._marks else (0, Series())
        self._series = kept.copy()

    def _drop_first(self) -> None:
        """The first point is gone: all that is known moves by one."""
        self._worse = None
        self._read -= 1
        self._series.drop_first()
        for _, series in self._marks:
            series.drop_first()
        self._marks = [(count - 1, series) for count, series in self._marks]

    def _worsening(self, step: Step) -> Worsening | None:
        worse = step.change if self.lower_is_better else -step.change
        if worse <= 0 or step.at < 0:
            return None
        before = self._refs[max(0, step.at - 1)]
        return Worsening(self._times[step.confirmed], self._times[step.at], 100 * worse, self._refs[step.at], before)


def _marks_between(read: int, end: int) -> range:
    """Where the series is kept as it was: the last two of those places, for no more are held."""
    last = end - end % _MARK_EVERY
    return range(max(read // _MARK_EVERY * _MARK_EVERY + _MARK_EVERY, last - _MARK_EVERY), last + 1, _MARK_EVERY)
