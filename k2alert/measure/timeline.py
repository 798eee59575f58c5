"""Sorted arrays with running sums: rows in, exact counts and sums over any stretch of them out.

A timeline holds one series' rows in the order in which they finished. A window is a stretch of it, found by two
binary searches; what a column adds up to over the stretch is the difference of two running sums. The sums are
whole numbers, so nothing drifts however often rows come and go, and they are filled in when they are asked for:
a row that comes late only cuts them back to its place.

A row takes 23 bytes: its finish less a base that the series shares, its age (from creation to finish) and its two
lengths 4 bytes each, the store's number of it 5, its code and its lane 1 each.
"""

from array import array
from collections.abc import Iterator, Sequence
from itertools import compress
from operator import sub
from typing import NamedTuple

from k2alert.measure.columns import UNKNOWN, Column, Field, Lengths, code_of
from k2alert.measure.narrow import Numbers, Refs, Repeated, moved, only
from k2alert.measure.tallies import Marks, Sums
from k2alert.model import NEVER, Entry

__all__ = ["NEVER", "Pile", "Row", "Span", "Timeline", "row_of"]


class Row(NamedTuple):
    """An `Entry` as a series holds it. Rows sort by when they finished, equals by the store's number.

    `lane` numbers the project's workflow and branch that it ran for; a length of -1 is not known.
    """

    finished: int
    ref: int
    code: int
    duration: int
    queued: int
    created: int
    lane: int
    superseded: int

    def counts(self, at: int) -> bool:
        """Whether it is its run's latest outcome of those finished by `at`."""
        return self.finished <= at < self.superseded

    def length(self, field: Field | None) -> int:
        """One of its lengths in milliseconds."""
        return self.queued if field == "queued" else self.duration

    def worth(self, column: Column) -> int:
        """What it adds to a column."""
        return column.worth(self.code, self.length(column.field))


def row_of(entry: Entry, lane: int) -> Row:
    """The row that stands for a recorded entry."""
    return Row(
        entry.finished,
        entry.ref,
        code_of(entry.result, entry.allowed, entry.retry),
        UNKNOWN if entry.duration is None else entry.duration,
        UNKNOWN if entry.queued is None else entry.queued,
        entry.created,
        lane,
        NEVER if entry.superseded is None else entry.superseded,
    )


class Pile(NamedTuple):
    """Rows that nothing supersedes, by (finished, ref), column by column, on their way to timelines."""

    finished: Numbers
    refs: Refs
    codes: bytes
    durations: "array[int]"
    queued: "array[int]"
    ages: "array[int]"
    lanes: Sequence[int]

    def only(self, marks: bytes) -> "Pile":
        """The rows that are marked with a one."""
        return Pile(
            self.finished.only(marks),
            self.refs.only(marks),
            bytes(compress(self.codes, marks)),
            only(self.durations, marks),
            only(self.queued, marks),
            only(self.ages, marks),
            list(compress(self.lanes, marks)),
        )

    def moved(self, places: Sequence[int]) -> "Pile":
        """The rows in another order: which place each comes from."""
        return Pile(
            self.finished.moved(places),
            self.refs.moved(places),
            bytes(map(self.codes.__getitem__, places)),
            moved(self.durations, places),
            moved(self.queued, places),
            moved(self.ages, places),
            [self.lanes[place] for place in places],
        )

    def rows(self) -> Iterator[Row]:
        """The same, row by row."""
        return (
            Row(
                finished,
                self.refs[place],
                self.codes[place],
                self.durations[place],
                self.queued[place],
                finished - self.ages[place],
                self.lanes[place],
                NEVER,
            )
            for place, finished in enumerate(self.finished)
        )


class Timeline:
    """Rows that nothing supersedes, column by column, by (finished, ref)."""

    __slots__ = (
        "_ages",
        "_begun",
        "codes",
        "dropped",
        "durations",
        "finished",
        "lanes",
        "queues",
        "refs",
        "skew",
        "summed",
    )

    def __init__(self) -> None:
        self.finished = Numbers(moving=True)
        self.refs = Refs()
        self.codes = bytearray()
        self.durations = Numbers()
        self.queues = Numbers()
        self.lanes = Repeated()
        self._ages = Numbers()
        self.dropped = 0  # rows taken from the beginning so far: a place plus this stays the same when more are
        self.skew = 0  # the most by which a row's creation lies after its finish: two clocks of one forge
        self.summed: dict[Column, Marks | Sums] = {}  # those that reach to the end
        self._begun: dict[Column, Marks | Sums] = {}  # and those that don't any more

    def __len__(self) -> int:
        return len(self.codes)

    def row(self, index: int) -> Row:
        """One row, by its place."""
        return Row(
            self.finished[index],
            self.refs[index],
            self.codes[index],
            self.durations[index],
            self.queues[index],
            self.created(index),
            self.lanes[index],
            NEVER,
        )

    def created(self, index: int) -> int:
        """When a row was created, by its place."""
        return self.finished[index] - self._ages[index]

    def creations(self) -> list[int]:
        """When all rows were created, by place."""
        return list(map(sub, self.finished, self._ages))

    def rows(self, low: int, high: int) -> Iterator[Row]:
        """The rows from place `low` up to but without `high`."""
        return (self.row(index) for index in range(low, high))

    def place(self, finished: int, ref: int) -> int:
        """Where a row with this order is or would be."""
        low = self.finished.place(finished)
        return self.refs.place(ref, low, self.finished.place_after(finished, low))

    def insert(self, row: Row) -> int:
        """Put one row in its place, which it says."""
        index = self.place(row.finished, row.ref)
        self.finished.insert(index, row.finished)
        self.refs.insert(index, row.ref)
        self.codes.insert(index, row.code)
        self.durations.insert(index, row.duration)
        self.queues.insert(index, row.queued)
        self.lanes.insert(index, row.lane)
        self._ages.insert(index, row.finished - row.created)
        self.skew = max(self.skew, row.created - row.finished)
        self._cut(index)
        return index

    def remove(self, finished: int, ref: int) -> int | None:
        """Take one row out; the place where it was, None where it was not there."""
        index = self.place(finished, ref)
        if index == len(self) or self.finished[index] != finished or self.refs[index] != ref:
            return None
        for column in (self.finished, self.refs, self.durations, self.queues, self.lanes, self._ages):
            column.remove(index)
        del self.codes[index]
        self.dropped += index == 0
        self._cut(index)
        return index

    def extend(self, pile: Pile) -> None:
        """Append rows that all come after what is here."""
        self._cut(len(self))
        self.finished.extend(pile.finished)
        self.refs.extend(pile.refs)
        self.codes.extend(pile.codes)
        self.durations.extend(pile.durations)
        self.queues.extend(pile.queued)
        self.lanes.extend(pile.lanes)
        self._ages.extend(pile.ages)
        self.skew = max(self.skew, -min(pile.ages))

    def tally(self, column: Column) -> Marks | Sums:
        """What a column adds up to over any stretch of rows."""
        found = self.summed.get(column)
        return self._sum_up(column) if found is None else found

    def marks(self, column: Column) -> Marks:
        """The same of a column that counts rows. Raises `TypeError` for one that adds up lengths."""
        found = self.tally(column)
        if isinstance(found, Sums):
            raise TypeError("lengths are not counted")
        return found

    def lengths(self, field: Field | None) -> "array[int]":
        """All lengths of one field, in milliseconds."""
        return (self.queues if field == "queued" else self.durations).items

    def _sum_up(self, column: Column) -> Marks | Sums:
        tally = self._begun.pop(column, None) or (Sums() if column.summed else Marks())
        tally.grow(column.worths(self.codes[tally.done :], self.lengths(column.field)[tally.done :]))
        self.summed[column] = tally
        return tally

    def _cut(self, index: int) -> None:
        """The rows from a place on are not what they were."""
        self._begun |= self.summed
        self.summed.clear()
        for tally in self._begun.values():
            tally.cut(index)


class Span(NamedTuple):
    """The rows of one window: a stretch of a timeline, and single rows beside it."""

    line: Timeline
    low: int
    high: int
    extra: tuple[Row, ...] = ()

    @property
    def size(self) -> int:
        """How many rows it has."""
        return self.high - self.low + len(self.extra)

    def total(self, column: Column) -> int:
        """What a column adds up to."""
        tally = self.line.summed.get(column) or self.line.tally(column)  # most are there
        found = tally.between(self.low, self.high)
        if self.extra:
            found += sum(row.worth(column) for row in self.extra)
        return found

    def marked(self, column: Column) -> bytes:
        """A one for each row of the stretch that the column marks, a zero for the others."""
        return bytes(self.line.codes[self.low : self.high].translate(column.marks))

    def lengths(self, lengths: Lengths) -> list[int]:
        """The known lengths in milliseconds, in no order."""
        field = lengths.known.field or "duration"
        stretch = self.line.lengths(field)[self.low : self.high]
        found = [length for length in compress(stretch, self.marked(lengths.known)) if length >= 0]
        found.extend(row.length(field) for row in self.extra if row.worth(lengths.known))
        return found

    def lanes(self, column: Column) -> set[int]:
        """The lanes of the rows that a column marks."""
        lanes = self.line.lanes
        found = lanes.named(compress(lanes.items[self.low : self.high], self.marked(column)))
        found.update(row.lane for row in self.extra if row.worth(column))
        return found

    def newest(self, column: Column, limit: int) -> list[Row]:
        """The rows that a column marks, newest first, at most `limit`."""
        marks, end, found = self.marked(column), self.high - self.low, [r for r in self.extra if r.worth(column)]
        for _ in range(limit):
            end = marks.rfind(1, 0, end)
            if end < 0:
                break
            found.append(self.line.row(self.low + end))
        return sorted(found, reverse=True)[:limit]

    def longest(self, lengths: Lengths, limit: int) -> list[Row]:
        """The rows with the greatest known lengths, longest first, at most `limit`."""
        field = lengths.known.field or "duration"
        known = compress(range(self.low, self.high), self.marked(lengths.known))
        stretch = self.line.lengths(field)
        ranked = sorted(((stretch[index], index) for index in known if stretch[index] >= 0), reverse=True)[:limit]
        found = [self.line.row(index) for _, index in ranked]
        found.extend(row for row in self.extra if row.worth(lengths.known))
        return sorted(found, key=lambda row: (row.length(field), row), reverse=True)[:limit]
