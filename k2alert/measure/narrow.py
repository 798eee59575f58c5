"""Whole numbers side by side in as few bytes as they need: what a history takes in memory is mostly these.

Each column is like a list that can be inserted into, appended to and cut, and widens by itself where a number does not
fit. Nothing is rounded, whatever the numbers are.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress

__all__ = ["Floats", "Numbers", "Refs", "Repeated", "base_for", "extended", "inserted", "moved", "narrow", "only"]

_WIDER = {"B": "H", "H": "I", "I": "Q", "i": "q"}
_SPAN = (1 << 32) - 2  # how far apart numbers of 4 bytes may lie
_LOW_BITS = 16
_WHOLE = 1 << 24  # up to here every whole number is one of 4 bytes with a point
_LOW = (1 << _LOW_BITS) - 1
_FEW = 8  # one in so many: taking them out one by one is less than picking all others
_BEFORE = 3 * 86_400_000  # what comes later finished later, but for a little


def narrow(numbers: Sequence[int]) -> "array[int]":
    """The numbers in 4 bytes each, in 8 where one does not fit."""
    return extended(array("i"), numbers)


def inserted(items: "array[int]", index: int, number: int) -> "array[int]":
    """The same array with a number put in, or a wider one."""
    try:
        items.insert(index, number)
    except OverflowError:
        return inserted(array(_WIDER[items.typecode], items), index, number)
    return items


def extended(items: "array[int]", numbers: Sequence[int]) -> "array[int]":
    """The same array with numbers appended, or a wider one."""
    if isinstance(numbers, array) and numbers.typecode == items.typecode:
        items.extend(numbers)  # in one go
        return items
    try:
        more = array(items.typecode, numbers)
    except OverflowError:
        return extended(array(_WIDER[items.typecode], items), numbers)
    items.extend(more)
    return items


def base_for(first: int) -> int:
    """The base less which times from this one on take 4 bytes, for six weeks."""
    return first + _SPAN // 2 - _BEFORE


def only(items: "array[int]", marks: bytes) -> "array[int]":
    """The items that are marked with a one."""
    gone = marks.count(0)
    if gone * _FEW > len(marks):
        return array(items.typecode, compress(items, marks))
    kept, place = items[:], len(marks)
    for _ in range(gone):
        place = marks.rfind(0, 0, place)
        del kept[place]
    return kept


def moved(items: "array[int]", places: Sequence[int]) -> "array[int]":
    """The items in another order: which place each comes from."""
    return array(items.typecode, map(items.__getitem__, places))


class Numbers:
    """Lengths of up to 24 days in milliseconds, in 4 bytes each; with `moving`, times within seven weeks of each other.

    Times are kept less a base that moves with them. What lies further apart takes 8 bytes.
    """

    __slots__ = ("_moving", "base", "items")

    def __init__(self, *, moving: bool = False) -> None:
        self.items = array("i")
        self.base = 0
        self._moving = moving

    @classmethod
    def less(cls, base: int, items: "array[int]") -> "Numbers":
        """Times that are kept less a base."""
        made = cls(moving=True)
        made.base, made.items = base, items
        return made

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> int:
        return self.items[index] + self.base

    def __iter__(self) -> Iterator[int]:
        return iter(self.items) if self.base == 0 else map(self.base.__add__, self.items)

    def place(self, number: int, low: int = 0, high: int | None = None) -> int:
        """Where a number is or would be, before its equals; they must be in order."""
        return bisect_left(self.items, number - self.base, low, high)

    def place_after(self, number: int, low: int = 0, high: int | None = None) -> int:
        """Where a number would be, after its equals."""
        return bisect_right(self.items, number - self.base, low, high)

    def insert(self, index: int, number: int) -> None:
        """Puts one in."""
        self._make_room(number, number)
        self.items = inserted(self.items, index, number - self.base)

    def extend(self, numbers: "Sequence[int] | Numbers") -> None:
        """Appends some; in one go where they are times less the same base."""
        if isinstance(numbers, Numbers):
            if self._moving and not self.items and numbers.items.typecode == self.items.typecode:
                self.base = numbers.base
            if self.base == numbers.base and numbers.items.typecode == self.items.typecode:
                self.items.extend(numbers.items)
                return
            numbers = list(numbers)
        if self._moving and numbers:
            self._make_room(min(numbers), max(numbers))
        base = self.base
        self.items = extended(self.items, [number - base for number in numbers] if base else numbers)

    def remove(self, index: int) -> None:
        """Takes one out."""
        del self.items[index]

    def only(self, marks: bytes) -> "Numbers":
        """Those that are marked with a one, of times."""
        return Numbers.less(self.base, only(self.items, marks))

    def moved(self, places: Sequence[int]) -> "Numbers":
        """Times in another order: which place each comes from."""
        return Numbers.less(self.base, moved(self.items, places))

    def _make_room(self, low: int, high: int) -> None:
        """Moves the base to where all fit in 4 bytes, with room on both sides; to 0 where they cannot."""
        if not self._moving or (self.base - _SPAN // 2 <= low and high <= self.base + _SPAN // 2):
            return
        numbers = list(self)
        low, high = min([low, *numbers]), max([high, *numbers])
        self._moving = high - low <= _SPAN
        self.base = (low + high) // 2 if self._moving else 0
        self.items = narrow([number - self.base for number in numbers])


class Floats:
    """Measurements, in 4 bytes each while that keeps all as they are: whole ones to 2**24, or 4 h in milliseconds."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items = array("f")

    def __len__(self) -> int:
        return len(self.items)

    def insert(self, index: int, value: float) -> None:
        """Puts one in."""
        self._make_room((value,))
        self.items.insert(index, value)

    def extend(self, values: Sequence[float]) -> None:
        """Appends some."""
        self._make_room(values)
        self.items.extend(array(self.items.typecode, values.tolist() if isinstance(values, array) else values))

    def remove(self, index: int) -> None:
        """Takes one out."""
        del self.items[index]

    def _make_room(self, values: Sequence[float]) -> None:
        if self.items.typecode == "f" and not _are_short(values):
            self.items = array("d", self.items)


def _are_short(values: Sequence[float]) -> bool:
    """Whether each takes 4 bytes as it is."""
    if isinstance(values, array) and values.typecode == "i":  # lengths, many at once
        return not values or (min(values) >= -_WHOLE and max(values) <= _WHOLE)
    return array("f", values).tolist() == list(values)


class Refs:
    """The store's numbers of rows: that of a run in 4 bytes, and the row's place in the run in one, or two."""

    __slots__ = ("_places", "_runs")

    def __init__(self) -> None:
        self._runs = array("I")
        self._places = array("B")

    @classmethod
    def split(cls, runs: "array[int]", places: Sequence[int]) -> "Refs":
        """Those of rows of which the runs' numbers and the places in them are known."""
        made = cls()
        made._runs = extended(made._runs, runs)
        made._places = extended(made._places, places)
        return made

    @classmethod
    def of(cls, refs: Sequence[int]) -> "Refs":
        """These numbers."""
        made = cls()
        made._runs = extended(made._runs, [ref >> _LOW_BITS for ref in refs])
        made._places = extended(made._places, [ref & _LOW for ref in refs])
        return made

    def only(self, marks: bytes) -> "Refs":
        """Those that are marked with a one."""
        made = Refs()
        made._runs, made._places = only(self._runs, marks), only(self._places, marks)
        return made

    def moved(self, places: Sequence[int]) -> "Refs":
        """The same in another order: which place each comes from."""
        made = Refs()
        made._runs, made._places = moved(self._runs, places), moved(self._places, places)
        return made

    def __len__(self) -> int:
        return len(self._runs)

    def __getitem__(self, index: int) -> int:
        return self._runs[index] << _LOW_BITS | self._places[index]

    def place(self, ref: int, low: int, high: int) -> int:
        """Where a number is or would be in a stretch that is in order."""
        return low + bisect_left(range(low, high), ref, key=self.__getitem__)

    def insert(self, index: int, ref: int) -> None:
        """Puts one in."""
        self._runs = inserted(self._runs, index, ref >> _LOW_BITS)
        self._places = inserted(self._places, index, ref & _LOW)

    def extend(self, refs: "Sequence[int] | Refs") -> None:
        """Appends some."""
        other = refs if isinstance(refs, Refs) else Refs.of(refs)
        self._runs = extended(self._runs, other._runs)
        self._places = extended(self._places, other._places)

    def remove(self, index: int) -> None:
        """Takes one out."""
        del self._runs[index], self._places[index]


class Repeated:
    """Numbers of which most are the same few, each in a byte that says which one it is; in two where they are many."""

    __slots__ = ("_codes", "_known", "items")

    def __init__(self) -> None:
        self.items = array("B")
        self._codes: dict[int, int] = {}
        self._known: list[int] = []

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> int:
        return self._known[self.items[index]]

    def named(self, items: Iterable[int]) -> set[int]:
        """The numbers that some items stand for."""
        return {self._known[item] for item in set(items)}

    def insert(self, index: int, number: int) -> None:
        """Puts one in."""
        self.items = inserted(self.items, index, self._code(number))

    def extend(self, numbers: Sequence[int]) -> None:
        """Appends some."""
        if numbers and numbers.count(numbers[0]) == len(numbers):
            one = extended(self.items[:0], [self._code(numbers[0])])
            self.items = extended(self.items, one * len(numbers))
        else:
            self.items = extended(self.items, [self._code(number) for number in numbers])

    def remove(self, index: int) -> None:
        """Takes one out."""
        del self.items[index]

    def _code(self, number: int) -> int:
        code = self._codes.get(number)
        if code is None:
            code = self._codes[number] = len(self._known)
            self._known.append(number)
        return code
