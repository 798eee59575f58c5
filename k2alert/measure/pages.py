"""A page of recorded rows on their way into series: sorted by stream once, whoever takes how many of them.

Millions of rows are read at a start. Each is packed into a few bytes beside those of its stream as soon as it comes, so
that none stays behind as an object; the columns of many rows are then cut out of these bytes by what Python does in C.
In: rows of one kind by (finished, ref). Out: piles, the rows of some streams in that order, as narrow as a timeline
holds them.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, starmap
from struct import Struct, error
from typing import NamedTuple

from k2alert.measure.columns import SUCCESSFUL
from k2alert.measure.narrow import Numbers, Refs, base_for, only
from k2alert.measure.timeline import Pile
from k2alert.model import Entry, EntryRow, unpacked

__all__ = ["Page", "Times"]

_PLACE_BITS = 16  # of a ref: the row's place in its run
_PLACE = (1 << _PLACE_BITS) - 1
_WORDS = 6  # of a packed row: run, finished, age, duration, queued; place and code


class _Form(NamedTuple):
    """How rows are packed: in words of `size` bytes."""

    struct: Struct
    run: str
    number: str
    size: int


_NARROW = _Form(Struct("=IiiiiHBx"), "I", "i", 4)
_WIDE = _Form(Struct("=QqqqqHB5x"), "Q", "q", 8)  # where a length or an age is over 24 days, say


class Times(NamedTuple):
    """When runs finished, their numbers, and how long they took."""

    finished: Numbers
    refs: Refs
    lengths: "array[int]"

    def only(self, marks: bytes) -> "Times":
        """Those of the runs that are marked with a one."""
        return Times(self.finished.only(marks), self.refs.only(marks), only(self.lengths, marks))


class Page:
    """Rows of one kind. `lanes` gives the lane of each stream; times are kept less a `base` where they can be.

    `lasting` are those that nothing supersedes, by stream, each by (finished, ref); `past` are all others.
    """

    def __init__(self, lanes: Mapping[int, int], base: int | None = None) -> None:
        self.count = 0
        self.lasting: defaultdict[int, bytearray] = defaultdict(bytearray)
        self.past: list[Entry] = []
        self._lanes = lanes
        self._base = base
        self._form = _NARROW
        self._piles: dict[tuple[int, ...], Pile] = {}

    def next(self) -> "Page":
        """A page for the rows that follow."""
        return Page(self._lanes, self._base)

    def add(self, rows: Sequence[EntryRow]) -> None:
        """Takes more rows, which come after those that are here."""
        self.count += len(rows)
        left = iter(rows)
        while (row := self._pack(left)) is not None:
            self._make_room(row)
            left = chain((row,), left)

    def _pack(self, rows: Iterable[EntryRow]) -> EntryRow | None:
        """Packs rows; the first that does not fit, if there is one."""
        lasting, past, pack, base = self.lasting, self.past, self._form.struct.pack, self._base or 0
        for row in rows:
            stream, superseded, ref, finished, age, duration, queued, code = row
            if superseded is not None:
                past.append(unpacked(row))
                continue
            try:
                lasting[stream] += pack(ref >> _PLACE_BITS, finished - base, age, duration, queued, ref & _PLACE, code)
            except error:
                return row
        return None

    def _make_room(self, row: EntryRow) -> None:
        """Chooses another base, while nothing is kept less the one there is; else packs everything anew, wider.

        Raises `ValueError` for numbers that no store of ours has: they would never fit.
        """
        base = base_for(row[3])
        if not any(self.lasting.values()) and self._base != base:
            self._base = base
            return
        if self._form is _WIDE:
            raise ValueError(f"no row has such numbers: {row}")
        narrow, self._form = self._form, _WIDE
        for stream, packed in self.lasting.items():
            self.lasting[stream] = bytearray().join(starmap(_WIDE.struct.pack, narrow.struct.iter_unpack(packed)))

    def pile(self, streams: tuple[int, ...]) -> Pile:
        """The lasting rows of some streams; the same pile for whoever asks for the same."""
        pile = self._piles.get(streams)
        if pile is None:
            pile = self._piles[streams] = self._make_pile(streams)
        return pile

    def _make_pile(self, streams: tuple[int, ...]) -> Pile:
        form, parts = self._form, [self.lasting[stream] for stream in streams]
        packed = bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
        numbers = _array(form.number, packed)
        finished, ages, durations, queued = (numbers[word::_WORDS] for word in range(1, _WORDS - 1))
        runs = _array(form.run, numbers[::_WORDS].tobytes())
        places = _array("H", packed)[(_WORDS - 1) * form.size // 2 :: form.struct.size // 2]
        codes = packed[(_WORDS - 1) * form.size + 2 :: form.struct.size]
        lanes: list[int] = []
        for stream, part in zip(streams, parts, strict=True):
            lanes += [self._lanes[stream]] * (len(part) // form.struct.size)
        pile = Pile(
            Numbers.less(self._base or 0, finished), Refs.split(runs, places), codes, durations, queued, ages, lanes
        )
        return pile if len(parts) == 1 else pile.moved(_order(finished, runs, places))

    def timed(self, stream: int) -> Times:
        """The successful lasting runs of a stream, where it is known how long they took."""
        pile = self.pile((stream,))
        marks = pile.codes.translate(SUCCESSFUL.marks)
        if min(pile.durations) <= 0:
            marks = bytes(mark and length > 0 for mark, length in zip(marks, pile.durations, strict=True))
        return Times(pile.finished, pile.refs, pile.durations).only(marks)


def _array(typecode: str, packed: bytes) -> "array[int]":
    made = array(typecode)
    made.frombytes(packed)
    return made


def _order(*columns: "array[int]") -> list[int]:
    """The places of rows in the order of some columns."""
    keys = list(zip(*columns, strict=True))
    return sorted(range(len(keys)), key=keys.__getitem__)
