"""Streaks of failures: decided runs by order of creation in, the present streak at any time out.

A *lane* is one workflow of one project on one branch: the place where a newer green run heals an older red one,
in whatever order the two finish. A series builds its lanes when a streak is first asked of it.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import compress, groupby, repeat
from operator import itemgetter
from typing import NamedTuple

from k2alert.measure.columns import DECIDED, SUCCESSFUL
from k2alert.measure.timeline import NEVER, Row, Timeline

__all__ = ["Lanes", "Streak"]


class Streak(NamedTuple):
    """Decided runs in a row that are not success.

    `failing` are their numbers in the store, newest created first; `began`: when the first of them was created.
    `last_green` is the success before them, None where none is held.
    """

    failing: tuple[int, ...]
    began: int
    last_green: int | None

    @property
    def rank(self) -> tuple[int, int, int]:
        """Greater for the worse of two streaks: the longer, then the one that began later."""
        return (len(self.failing), self.began, self.failing[-1] if self.failing else 0)


class _Run(NamedTuple):
    """A decided run, in the order in which streaks are read."""

    created: int
    ref: int
    finished: int
    superseded: int
    green: int


class _Lane:
    """The decided runs of one lane by (created, ref), with when each came to count and when it ceased to."""

    __slots__ = ("created", "finished", "green", "refs", "superseded")

    def __init__(self) -> None:
        self.created = array("q")
        self.refs = array("q")
        self.finished = array("q")
        self.superseded = array("q")
        self.green = array("B")

    @property
    def columns(self) -> tuple["array[int]", ...]:
        return (self.created, self.refs, self.finished, self.superseded, self.green)

    def place(self, created: int, ref: int) -> int:
        low = bisect_left(self.created, created)
        return bisect_left(self.refs, ref, low, bisect_right(self.created, created, low))

    def extend(self, runs: Iterable[_Run]) -> None:
        for column, values in zip(self.columns, zip(*runs, strict=True), strict=True):
            column.extend(values)

    def insert(self, run: _Run) -> None:
        index = self.place(run.created, run.ref)
        for column, value in zip(self.columns, run, strict=True):
            column.insert(index, value)

    def remove(self, run: _Run) -> None:
        index = self.place(run.created, run.ref)
        if index < len(self.refs) and self.refs[index] == run.ref:
            for column in self.columns:
                del column[index]

    def streak(self, at: int, skew: int) -> Streak:
        """The streak at `at`; what was created later than `at + skew` cannot have finished by then."""
        failing: list[int] = []
        began = 0
        for index in range(bisect_right(self.created, at + skew) - 1, -1, -1):
            if not self.finished[index] <= at < self.superseded[index]:
                continue
            if self.green[index]:
                return Streak(tuple(failing), began, self.refs[index])
            failing.append(self.refs[index])
            began = self.created[index]
        return Streak(tuple(failing), began, None)


class Lanes:
    """All lanes of a series, made from all its rows."""

    __slots__ = ("_lanes", "_skew")

    def __init__(self, line: Timeline, past: Sequence[Row]) -> None:
        self._skew = max([line.skew, *(row.created - row.finished for row in past)])
        self._lanes: dict[int, _Lane] = {}
        runs = _decided_runs(line)
        for row in past:
            if row.worth(DECIDED):
                runs.append((row.lane, _run_of(row)))
        runs.sort()
        for lane, of_lane in groupby(runs, key=itemgetter(0)):
            self._lanes[lane] = _Lane()
            self._lanes[lane].extend(run for _, run in of_lane)

    def insert(self, row: Row) -> None:
        """Take one row in, where it is decided."""
        if row.worth(DECIDED):
            self._skew = max(self._skew, row.created - row.finished)
            self._lanes.setdefault(row.lane, _Lane()).insert(_run_of(row))

    def remove(self, row: Row) -> None:
        """Take one row out."""
        if row.worth(DECIDED) and row.lane in self._lanes:
            self._lanes[row.lane].remove(_run_of(row))

    def worst(self, lanes: Iterable[int], at: int) -> Streak | None:
        """The worst of the present streaks of some lanes; None where there are no lanes."""
        streaks = (self._lanes[lane].streak(at, self._skew) for lane in lanes)
        return max(streaks, key=lambda streak: streak.rank, default=None)


def _run_of(row: Row) -> _Run:
    return _Run(row.created, row.ref, row.finished, row.superseded, SUCCESSFUL.marks[row.code])


def _decided_runs(line: Timeline) -> list[tuple[int, _Run]]:
    green = line.codes.translate(SUCCESSFUL.marks)
    runs = map(_Run, line.created, line.refs, line.finished, repeat(NEVER), green)
    return list(compress(zip(line.lanes, runs, strict=True), line.codes.translate(DECIDED.marks)))
