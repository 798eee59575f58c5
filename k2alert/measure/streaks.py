"""Streaks of failures: decided runs by order of creation in, the present streak at any time out.

A *lane* is one workflow of one project on one branch: the place where a newer green run heals an older red one,
in whatever order the two finish. A series builds its lanes when a streak is first asked of it.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from k2alert.measure.columns import DECIDED, SUCCESSFUL
from k2alert.measure.timeline import Row

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
    def severity(self) -> tuple[int, int, int]:
        """What makes a streak worse than another: its length, then the later start."""
        return (len(self.failing), self.began, self.failing[-1] if self.failing else 0)


class _Lane:
    """The decided runs of one lane by (created, ref), with when each came to count and when it ceased to."""

    __slots__ = ("created", "finished", "green", "refs", "superseded")

    def __init__(self) -> None:
        self.created = array("q")
        self.refs = array("q")
        self.finished = array("q")
        self.superseded = array("q")
        self.green = bytearray()

    def place(self, row: Row) -> int:
        low = bisect_left(self.created, row.created)
        return bisect_left(self.refs, row.ref, low, bisect_right(self.created, row.created, low))

    def insert(self, row: Row) -> None:
        index = self.place(row)
        self.created.insert(index, row.created)
        self.refs.insert(index, row.ref)
        self.finished.insert(index, row.finished)
        self.superseded.insert(index, row.superseded)
        self.green.insert(index, SUCCESSFUL.marks[row.code])

    def remove(self, row: Row) -> None:
        index = self.place(row)
        if index < len(self.refs) and self.refs[index] == row.ref:
            for column in (self.created, self.refs, self.finished, self.superseded):
                del column[index]
            del self.green[index]

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
    """All lanes of a series."""

    __slots__ = ("_lanes", "_skew")

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._lanes: dict[int, _Lane] = {}
        self._skew = 0
        for row in rows:
            self.insert(row)

    def insert(self, row: Row) -> None:
        """Take one row in, where it is decided."""
        if row.worth(DECIDED):
            self._skew = max(self._skew, row.created - row.finished)
            self._lanes.setdefault(row.lane, _Lane()).insert(row)

    def remove(self, row: Row) -> None:
        """Take one row out."""
        if row.worth(DECIDED) and row.lane in self._lanes:
            self._lanes[row.lane].remove(row)

    def worst(self, lanes: Iterable[int], at: int) -> Streak | None:
        """The worst of the present streaks of some lanes; None where there are no lanes."""
        streaks = (self._lanes[lane].streak(at, self._skew) for lane in lanes)
        return max(streaks, key=lambda streak: streak.severity, default=None)
