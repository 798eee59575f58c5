"""What can be counted or added up of recorded rows: in comes a row's code, out comes whether it counts.

A row's result, whether its failure is allowed and whether it was a retry fit into one byte, its *code*. A column
is then a table of 256 zeros and ones, and `bytes.translate` marks a whole series with it at the speed of C.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

from k2alert.model import RESULTS, UNKNOWN, Result, code_of

__all__ = [
    "ALL_DURATIONS",
    "CANCELLED",
    "DECIDED",
    "DURATIONS",
    "ERRORS",
    "FAILED",
    "FINISHED",
    "QUEUES",
    "RETRIED",
    "SUCCESSFUL",
    "UNKNOWN",
    "Column",
    "Lengths",
    "code_of",
    "marks_of",
]

Field = Literal["duration", "queued"]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """Adds up over rows: how many have a marked code, how many of those know a length, or the sum of the lengths.

    Columns are compared by identity: each is made once, below.
    """

    marks: bytes
    field: Field | None = None
    summed: bool = False

    def worth(self, code: int, length: int) -> int:
        """What one row adds, by its code and its length in milliseconds."""
        return next(iter(self.worths(bytes((code,)), (length,))))

    def worths(self, codes: bytes | bytearray, lengths: Sequence[int]) -> Iterable[int]:
        """What rows add, by their codes and their lengths in milliseconds."""
        marks = codes.translate(self.marks)
        if self.field is None:
            return marks
        if self.summed:
            return [length if mark and length > 0 else 0 for mark, length in zip(marks, lengths, strict=True)]
        return [1 if mark and length >= 0 else 0 for mark, length in zip(marks, lengths, strict=True)]


class Lengths(NamedTuple):
    """The lengths of some rows: how many are known, and their sum in milliseconds."""

    known: Column
    total: Column


def marks_of(holds: Callable[[Result, bool, bool], bool]) -> bytes:
    """A one for each code for which it holds, by its result and whether it is allowed, and a retry."""
    table = bytearray(256)
    for place, result in enumerate(RESULTS):
        for allowed, retry in product((False, True), repeat=2):
            table[code_of(place, allowed, retry)] = holds(result, allowed, retry)
    return bytes(table)


def _is_decided(result: Result, allowed: bool, retry: bool) -> bool:
    """A failure that the project allows says nothing."""
    return result is Result.SUCCESS or (result.decided and not allowed)


def _lengths(marks: bytes, field: Field) -> Lengths:
    return Lengths(Column(marks, field), Column(marks, field, summed=True))


FINISHED = Column(marks_of(lambda *_: True))
DECIDED = Column(marks_of(_is_decided))
SUCCESSFUL = Column(marks_of(lambda result, *_: result is Result.SUCCESS))
FAILED = Column(marks_of(lambda *row: _is_decided(*row) and row[0] is not Result.SUCCESS))
ERRORS = Column(marks_of(lambda *row: _is_decided(*row) and row[0] is Result.ERROR))
CANCELLED = Column(marks_of(lambda result, *_: result is Result.CANCELLATION))
RETRIED = Column(marks_of(lambda _result, _allowed, retry: retry))

DURATIONS = _lengths(DECIDED.marks, "duration")
QUEUES = _lengths(DECIDED.marks, "queued")
ALL_DURATIONS = _lengths(FINISHED.marks, "duration")
