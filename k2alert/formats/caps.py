"""What a report file may cost, and how it is said that one cannot be read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import chain

from k2alert.text import cut, visible

__all__ = [
    "ABSURD",
    "Caps",
    "Chunks",
    "Reason",
    "Stop",
    "Unreadable",
    "malformed",
    "peek",
    "quoted",
    "shorten",
    "too_large",
]

Chunks = Iterable[bytes]
"""A file, piece by piece."""

ABSURD = 1e100
"""No measurement is so large; numbers beyond break arithmetic."""

_MIB = 1024 * 1024
_BEGINNING = 256  # bytes; what tells formats apart is in the first few


class Reason(StrEnum):
    """Why a report is refused; the label `reason` of what is counted."""

    MALFORMED = "malformed"  # not what such a file holds
    TOO_LARGE = "too_large"
    ENTITIES = "entities"  # XML that defines what it is made of
    ARCHIVE = "archive"  # the archive around it cannot be read
    DOWNLOAD = "download"  # it did not come
    BUG = "bug"  # of ours


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A report that cannot be read. `line` says why, for people; it holds little of the file, and nothing invisible."""

    reason: Reason
    line: str


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that is read of one file, and kept of it."""

    size: int = 256 * _MIB  # bytes; of JUnit it is mostly what tests printed
    depth: int = 100  # elements in one another
    token: int = (
        8 * _MIB
    )  # bytes of one tag of XML (pytest's messages are in one) or comment: expat holds it as a whole
    text: int = _MIB  # bytes of one line, or of one text in JSON
    cases: int = 250_000  # tests
    names: int = 64 * _MIB  # characters of all names together
    name: int = 1000  # characters of one name
    files: int = 100_000  # source files of a coverage report
    points: int = 10_000  # measurements
    json: int = 16 * _MIB  # bytes of JSON without its long lists of numbers: it is read as a whole


class Stop(Exception):
    """Carries what is wrong out of a parser's callbacks; never leaves this package."""

    def __init__(self, why: Unreadable) -> None:
        super().__init__(why.line)
        self.why = why


def malformed(line: str) -> Unreadable:
    """A file that is not what it should be."""
    return Unreadable(Reason.MALFORMED, line)


def too_large(what: str) -> Stop:
    """A file with more than is read."""
    return Stop(Unreadable(Reason.TOO_LARGE, what))


def quoted(name: str) -> str:
    """A word of the file, as it may be shown."""
    return cut(visible(name), 40)


def shorten(name: str, longest: int) -> str:
    """The name, or its beginning and a fingerprint where it is longer than that: two names stay two."""
    if len(name) <= longest:
        return name
    print_ = sha256(name.encode("utf-8", "replace")).hexdigest()[:16]
    return f"{name[: longest - 17]}~{print_}"


def peek(chunks: Chunks) -> tuple[bytes, Iterator[bytes]]:
    """How the file begins (what comes before its first character that is no space is dropped), and the whole file.

    At least the first 256 bytes of it, where it has them, however it is cut.
    """
    rest, begun = iter(chunks), b""
    for chunk in rest:
        begun = (begun + chunk).lstrip(b" \t\r\n")
        if len(begun) >= _BEGINNING:
            break
    return begun, chain((begun,), rest)
