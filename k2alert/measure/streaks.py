"""Streaks of failures: decided runs by order of creation in, the present streak at any time out.

A *lane* is one workflow of one project on one branch: the place where a newer green run heals an older red one,
in whatever order the two finish. A series builds its lanes when a streak is first asked of it.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import compress
from operator import attrgetter
from typing import NamedTuple

from k2alert.measure.columns import DECIDED, SUCCESSFUL
from k2alert.measure.timeline import Row, Timeline

__all__ = ["Lanes", "Streak"]

_LATE = 64  # rows; what comes or goes further from the end has all lanes made anew
_ORDER = attrgetter("created", "ref")


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
    """A decided run that counts, in the order in which streaks are read."""

    created: int
    ref: int
    green: int


class _Lane:
    """The decided runs of one lane by (created, ref): the places of lasting ones, and the rows of superseded ones.

    A place is one in the timeline plus the rows that were taken from its beginning.
    """

    __slots__ = ("past", "places")

    def __init__(self) -> None:
        self.places = array("I")
        self.past: list[Row] = []


class Lanes:
    """All lanes of a series, made from all its rows."""

    __slots__ = ("_lanes", "_line", "_skew")

    def __init__(self, line: Timeline, past: Sequence[Row]) -> None:
        self._line = line
        self._skew = max([line.skew, *(row.created - row.finished for row in past)])
        self._lanes: dict[int, _Lane] = {}
        created = line.creations()
        for in_lane in _by_lane(line):
            in_lane.sort(key=created.__getitem__)
            if len(set(map(created.__getitem__, in_lane))) < len(in_lane):  # seldom, and a pair takes long to compare
                in_lane.sort(key=lambda index: (created[index], line.refs[index]))
            self._lane(line.lanes[in_lane[0]]).places.extend(map(line.dropped.__add__, in_lane))
        for row in past:
            if row.worth(DECIDED):
                insort(self._lane(row.lane).past, row, key=_ORDER)

    def insert(self, row: Row, place: int | None) -> bool:
        """Take one row in, where it is decided; `place` is where the timeline has it. False: make the lanes anew."""
        if place is not None:
            if not self._move(place, 1):
                return False
            place += self._line.dropped
        if row.worth(DECIDED):
            self._skew = max(self._skew, row.created - row.finished)
            lane = self._lane(row.lane)
            if place is None:
                insort(lane.past, row, key=_ORDER)
            else:
                lane.places.insert(bisect_left(lane.places, _ORDER(row), key=self._order), place)
        return True

    def remove(self, row: Row, place: int | None) -> bool:
        """Take one row out; `place` is where the timeline had it. False: make the lanes anew."""
        lane = self._lane(row.lane)
        lane.past = [other for other in lane.past if other.ref != row.ref]
        if place is None:
            return True
        held = place + self._line.dropped - (place == 0)  # a row taken from the beginning has been counted already
        if row.worth(DECIDED):
            if held not in lane.places:
                return False
            lane.places.remove(held)
        return place == 0 or self._move(place, -1)

    def worst(self, lanes: Iterable[int], at: int) -> Streak | None:
        """The worst of the present streaks of some lanes; None where there are no lanes."""
        streaks = (self._streak(self._lanes[lane], at) for lane in lanes)
        return max(streaks, key=lambda streak: streak.rank, default=None)

    def _lane(self, number: int) -> _Lane:
        return self._lanes.setdefault(number, _Lane())

    def _order(self, place: int) -> tuple[int, int]:
        index = place - self._line.dropped
        return self._line.created(index), self._line.refs[index]

    def _move(self, place: int, by: int) -> bool:
        """The rows that come after a place have moved; whether they are few."""
        after = len(self._line) - place - (by > 0)
        if after > _LATE:
            return False
        if after:
            first = place + self._line.dropped + (by < 0)
            for lane in self._lanes.values():
                lane.places = array("I", [held + by if held >= first else held for held in lane.places])
        return True

    def _streak(self, lane: _Lane, at: int) -> Streak:
        """The streak at `at`; what was created later than `at` plus the skew cannot have finished by then."""
        failing: list[int] = []
        began = 0
        for run in self._newest_first(lane, at):
            if run.green:
                return Streak(tuple(failing), began, run.ref)
            failing.append(run.ref)
            began = run.created
        return Streak(tuple(failing), began, None)

    def _newest_first(self, lane: _Lane, at: int) -> Iterator[_Run]:
        lasting = self._lasting(lane, at)
        past = [_run_of(row) for row in reversed(lane.past) if row.counts(at)]
        return merge(lasting, past, reverse=True) if past else lasting

    def _lasting(self, lane: _Lane, at: int) -> Iterator[_Run]:
        line, until = self._line, at + self._skew
        high = bisect_right(lane.places, until, key=lambda place: line.created(place - line.dropped))
        for number in range(high - 1, -1, -1):
            index = lane.places[number] - line.dropped
            if line.finished[index] <= at:
                yield _Run(line.created(index), line.refs[index], SUCCESSFUL.marks[line.codes[index]])


def _by_lane(line: Timeline) -> Iterable[list[int]]:
    """The places of a timeline's decided rows, those of each lane together."""
    decided, lanes = line.codes.translate(DECIDED.marks), line.lanes.items
    if lanes and lanes.count(lanes[0]) == len(lanes):  # as of a project that is counted on one branch
        found = list(compress(range(len(lanes)), decided))
        return [found] if found else []
    places: dict[int, list[int]] = {}
    for index, lane in compress(zip(range(len(lanes)), lanes, strict=True), decided):
        places.setdefault(lane, []).append(index)
    return places.values()


def _run_of(row: Row) -> _Run:
    return _Run(row.created, row.ref, SUCCESSFUL.marks[row.code])
