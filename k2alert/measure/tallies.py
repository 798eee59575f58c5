"""Running sums of a column over a timeline: what any stretch of rows adds up to is the difference of two of them.

A count is not kept as a sum for each row: most rows are marked, or most are not, so the places of the few are enough,
and two binary searches count them. Both kinds grow at the end, and are cut back to where a row came or went.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate, compress, islice

__all__ = ["Marks", "Sums"]

_INVERTED = bytes((1, 0)) + bytes(254)
_SHORT = 64  # rows, up to which it does not matter of which there are fewer
_BITS = 32
_MASK = (1 << _BITS) - 1


class Marks:
    """The places of the rows that are marked, or of all others where those are fewer."""

    __slots__ = ("_of_marked", "_places", "done")

    def __init__(self) -> None:
        self.done = 0  # how many rows have been looked at
        self._places = array("I")
        self._of_marked = True

    def between(self, low: int, high: int) -> int:
        """How many of the rows from place `low` up to but without `high` are marked."""
        found = bisect_left(self._places, high) - bisect_left(self._places, low)
        return found if self._of_marked else high - low - found

    def place(self, number: int) -> int:
        """The place of the marked row with this number, counted from 1."""
        if self._of_marked:
            return self._places[number - 1]
        others = self._places
        return number - 1 + bisect_left(range(len(others)), number, key=lambda index: others[index] - index)

    def grow(self, worths: Iterable[int]) -> None:
        """Looks at further rows: a one for each that is marked, a zero for the others."""
        marks = bytes(worths)
        if self.done == 0:
            self._of_marked = 2 * marks.count(1) <= len(marks)
        wanted = marks if self._of_marked else marks.translate(_INVERTED)
        self._places.extend(compress(range(self.done, self.done + len(marks)), wanted))
        self.done += len(marks)
        if len(self._places) > max(_SHORT, 2 * self.done // 3):
            self._turn()

    def cut(self, index: int) -> None:
        """Forgets the rows from this place on."""
        self.done = min(self.done, index)
        del self._places[bisect_left(self._places, index) :]

    def _turn(self) -> None:
        held = bytearray(self.done)
        for place in self._places:
            held[place] = 1
        self._places = array("I", compress(range(self.done), held.translate(_INVERTED)))
        self._of_marked = not self._of_marked


class Sums:
    """Running sums of lengths, the lower 32 bits of each, and the places at which these began anew.

    Where a single length has more bits than that, sums of 8 bytes instead.
    """

    __slots__ = ("_carries", "_sums")

    def __init__(self) -> None:
        self._sums = array("I", (0,))
        self._carries = array("I")

    @property
    def done(self) -> int:
        """How many rows have been added up."""
        return len(self._sums) - 1

    def between(self, low: int, high: int) -> int:
        """What the rows from place `low` up to but without `high` add up to."""
        found = self._sums[high] - self._sums[low]
        if self._carries:
            found += bisect_right(self._carries, high) - bisect_right(self._carries, low) << _BITS
        return found

    def grow(self, worths: Iterable[int]) -> None:
        """Adds further rows."""
        before = self.between(0, self.done)
        totals = list(islice(accumulate(worths, initial=before), 1, None))
        if not totals:
            return
        if self._sums.typecode == "I" and totals[-1] >> _BITS > (before >> _BITS) + len(totals):
            self._widen()
        if self._sums.typecode == "q":
            self._sums.extend(totals)
            return
        if totals[-1] >> _BITS:
            self._carry(totals, before >> _BITS)
        self._sums.extend([total & _MASK for total in totals])

    def cut(self, index: int) -> None:
        """Forgets the rows from this place on."""
        del self._sums[index + 1 :]
        del self._carries[bisect_right(self._carries, index) :]

    def _carry(self, totals: list[int], high: int) -> None:
        """Notes where the running sums pass another 32 bits: they never fall."""
        for part in range(high + 1, (totals[-1] >> _BITS) + 1):
            self._carries.append(self.done + 1 + bisect_left(totals, part << _BITS))

    def _widen(self) -> None:
        self._sums = array("q", [self.between(0, place) for place in range(len(self._sums))])
        self._carries = array("I")
