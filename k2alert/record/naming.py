"""Names of tests and source files as numbers, and sets of them as bits.

In: names as reports give them. Out: the set's number in the store and its bits. A job runs nearly the same tests every
time, so a set that was met before is found by one fingerprint, whatever its size, and ten thousand tests that ran again
cost nothing to keep but the number of their set.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import chain, islice
from typing import Any, NamedTuple

from k2alert.model import NamedTest, NameOfTest
from k2alert.record.connection import Connection
from k2alert.record.rows import storable
from k2alert.record.statements import QUERIES

__all__ = [
    "EMPTY",
    "FILES",
    "MOST_NAMES",
    "TESTS",
    "Namer",
    "NumberSet",
    "bits_of",
    "members_of",
    "named_tests",
    "unpack",
]

TESTS, FILES = 0, 1
"""What a name is of."""

MOST_NAMES = 500_000
"""Names of one kind in one project. Tests beyond it are not named: only the totals of their report are kept."""

_LONGEST_NAME = 500
_LOOKED_UP = 10_000  # names in one statement

Name = tuple[str, str]  # suite and test, or "" and a path


class NumberSet(NamedTuple):
    """A stored set: its number, 0 for the empty one, and its bits."""

    id: int
    bits: int


EMPTY = NumberSet(0, 0)


class Namer:
    """Gives numbers to the names of one project and kind, at most so many, within one transaction.

    `new` are those given just now.
    """

    def __init__(self, con: Connection, origin: int, kind: int, most: int = MOST_NAMES) -> None:
        self._con = con
        self._origin = origin
        self._kind = kind
        self._most = most
        self.new: dict[int, Name] = {}

    def set_of(self, names: Iterable[Name]) -> NumberSet | None:
        """The set of these names; None where the project has too many of them already."""
        distinct = sorted(set(names))
        if not distinct:
            return EMPTY
        fingerprint = _fingerprint(chain.from_iterable(distinct))
        known = self._con.execute(QUERIES["find_set"], (self._origin, self._kind, fingerprint)).fetchone()
        if known is not None:
            return NumberSet(known[0], unpack(known[1]))
        numbers = self.numbers_of(distinct)
        if len(numbers) < len(distinct):
            return None
        bits = bits_of(numbers.values())
        row = (self._origin, self._kind, fingerprint, pack(bits))
        return NumberSet(int(self._con.execute(QUERIES["add_set"], row).fetchone()[0]), bits)

    def numbers_of(self, names: Sequence[Name]) -> dict[Name, int]:
        """The numbers of distinct names, new ones too; without those for which there is no room."""
        by_fingerprint = {_fingerprint(name): name for name in names}
        found = {by_fingerprint[print_]: number for print_, number in self._known(list(by_fingerprint))}
        missing = {print_: name for print_, name in by_fingerprint.items() if name not in found}
        if missing:
            given = dict(zip(missing, self._free(len(missing)), strict=False))
            self._con.executemany(QUERIES["add_name"], [self._row(p, n, missing[p]) for p, n in given.items()])
            found |= {missing[print_]: number for print_, number in given.items()}
            self.new |= {number: missing[print_] for print_, number in given.items()}
        return found

    def _known(self, fingerprints: Sequence[int]) -> Iterator[tuple[int, int]]:
        for start in range(0, len(fingerprints), _LOOKED_UP):
            wanted = json.dumps(fingerprints[start : start + _LOOKED_UP])
            yield from self._con.execute(QUERIES["find_names"], (self._origin, self._kind, wanted))

    def _free(self, count: int) -> list[int]:
        """The lowest numbers that are free, at most so many."""
        taken = {row[0] for row in self._con.execute(QUERIES["taken_names"], (self._origin, self._kind))}
        return list(islice((number for number in range(self._most) if number not in taken), count))

    def _row(self, fingerprint: int, number: int, name: Name) -> tuple[Any, ...]:
        suite, test = shown(*name)
        return (self._origin, self._kind, number, fingerprint, suite, test)


def shown(suite: str, test: str) -> NameOfTest:
    """A test's name as it is stored and shown: cut, for some hold a whole document."""
    return NameOfTest(storable(suite[:_LONGEST_NAME]), storable(test[:_LONGEST_NAME]))


def named_tests(namer: Namer, source: str, project: str) -> Iterator[NamedTest]:
    """What the numbers given just now stand for."""
    return (NamedTest(source, project, number, *shown(*name)) for number, name in namer.new.items())


def _fingerprint(texts: Iterable[str]) -> int:
    """64 bits (signed, as databases count) over texts in their order."""
    digest = sha256("\xff".join(texts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def bits_of(numbers: Iterable[int]) -> int:
    """The set of these numbers."""
    chosen = list(numbers)
    if not chosen:
        return 0
    room = bytearray(max(chosen) // 8 + 1)
    for number in chosen:
        room[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(room, "little")


def pack(bits: int) -> bytes:
    """A set as it is stored: neighbours have run together, so most of it deflates to nothing."""
    return zlib.compress(bits.to_bytes((bits.bit_length() + 7) // 8, "little"))


def unpack(stored: bytes) -> int:
    """The set that was packed."""
    return int.from_bytes(zlib.decompress(stored), "little")


def members_of(con: Connection) -> Mapping[int, int]:
    """The bits of every set by its number, the empty one's too."""
    return {0: 0} | {number: unpack(members) for number, members in con.execute(QUERIES["all_sets"])}
