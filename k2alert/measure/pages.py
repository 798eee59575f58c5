"""A page of recorded rows on their way into series: sorted by stream once, whoever takes how many of them.

Millions of rows are read at a start. They come as the plain tuples that a database gives, and are turned into columns
pile by pile, by what Python does in C. In: rows of one kind by (finished, ref). Out: piles, the rows of some streams in
that order, as narrow as a timeline holds them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, compress
from operator import itemgetter, sub
from typing import Final, NamedTuple

from k2alert.measure.columns import UNKNOWN, code_of
from k2alert.measure.narrow import Refs, narrow
from k2alert.measure.timeline import Pile
from k2alert.model import RESULTS, EntryRow, Result

__all__ = ["Page", "Times"]

_RESULT = 7  # the bits of a code that say the result
_SUCCESSES = bytes(code & _RESULT == RESULTS.index(Result.SUCCESS) for code in range(256))
_STREAM: Final = 0
_SUPERSEDED: Final = 4
_ORDER = itemgetter(3, 1)  # finished, ref


class Times(NamedTuple):
    """When runs finished, their numbers, and how long they took."""

    finished: Sequence[int]
    refs: Refs
    lengths: Sequence[int]


class Page:
    """Rows of one kind. `lanes` gives the lane of each stream.

    `lasting` are those that nothing supersedes, by stream, each by (finished, ref); `past` are all others.
    """

    def __init__(self, rows: Iterable[EntryRow], lanes: Mapping[int, int]) -> None:
        lasting: defaultdict[int, list[EntryRow]] = defaultdict(list)
        self.past: list[EntryRow] = []
        for row in rows:
            if row[_SUPERSEDED] is None:
                lasting[row[_STREAM]].append(row)
            else:
                self.past.append(row)
        self.lasting: Mapping[int, list[EntryRow]] = dict(lasting)
        self._lanes = lanes
        self._piles: dict[tuple[int, ...], Pile] = {}

    def pile(self, streams: tuple[int, ...]) -> Pile:
        """The lasting rows of some streams; the same pile for whoever asks for the same."""
        pile = self._piles.get(streams)
        if pile is None:
            rows = [self.lasting[stream] for stream in streams]
            pile = self._piles[streams] = self.take(rows[0] if len(rows) == 1 else chain.from_iterable(rows))
        return pile

    def take(self, rows: Iterable[EntryRow]) -> Pile:
        """Some rows as a pile: one or more that nothing supersedes."""
        ordered = rows if isinstance(rows, list) else sorted(rows, key=_ORDER)
        streams, refs, created, finished, _, results, durations, queued, allowed, retries = zip(*ordered, strict=True)
        flagged = any(allowed) or any(retries)
        same = streams.count(streams[0]) == len(streams)
        return Pile(
            finished,
            Refs.of(refs),
            bytes(map(code_of, results, allowed, retries) if flagged else results),
            _lengths(durations),
            _lengths(queued),
            narrow(list(map(sub, finished, created))),
            [self._lanes[streams[0]]] * len(streams) if same else [self._lanes[stream] for stream in streams],
        )

    def timed(self, stream: int) -> Times:
        """The successful lasting runs of a stream, where it is known how long they took."""
        pile = self.pile((stream,))
        marks = pile.codes.translate(_SUCCESSES)
        if min(pile.durations) <= 0:
            marks = bytes(mark and length > 0 for mark, length in zip(marks, pile.durations, strict=True))
        lengths = narrow(list(compress(pile.durations, marks)))
        return Times(list(compress(pile.finished, marks)), pile.refs.only(marks), lengths)


def _lengths(column: Sequence[int | None]) -> Sequence[int]:
    return narrow([UNKNOWN if length is None else length for length in column])
