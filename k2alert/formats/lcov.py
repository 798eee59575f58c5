"""LCOV's tracefiles: lines of text, one section for each source file and test.

A source file that several tests ran has a section for each of them. So its lines are kept as bits, and a line counts
once, and as covered when any test ran it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from k2alert.formats.caps import Caps, Chunks, Stop, Unreadable, malformed, too_large
from k2alert.formats.lines import Coverage, covered

__all__ = ["read_lcov", "text_lines"]

_LAST_LINE = 1_000_000  # of a source file; beyond it a number is a mistake


def read_lcov(chunks: Chunks, caps: Caps) -> Coverage | Unreadable:
    """What a tracefile says."""
    files: dict[str, _Source] = {}
    try:
        _read(chunks, caps, files)
    except Stop as stop:
        return stop.why
    if not files:
        return malformed("it is neither XML nor LCOV")
    counts = [source.lines() for source in files.values()]
    return covered(
        hit=sum(hit for hit, _ in counts),
        valid=sum(valid for _, valid in counts),
        branches_hit=sum(source.branches[0] for source in files.values()),
        branches_valid=sum(source.branches[1] for source in files.values()),
        files=tuple(files),
    )


def text_lines(chunks: Chunks, caps: Caps) -> Iterator[str]:
    """The lines of a text file, without what ends them; one that is too long ends all."""
    left, size = b"", 0
    for chunk in chunks:
        size += len(chunk)
        if size > caps.size:
            raise too_large(f"it is larger than {caps.size // 2**20} MiB")
        *whole, left = (left + chunk).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace").rstrip("\r")
        if len(left) > caps.text:
            raise too_large(f"one line of it is longer than {caps.text // 2**20} MiB")
    if left:
        yield left.decode("utf-8", "replace").rstrip("\r")


@dataclass(slots=True)
class _Source:
    """One source file: which lines there are and which were run, as bits, and what it says of itself."""

    found: bytearray = field(default_factory=bytearray)
    run: bytearray = field(default_factory=bytearray)
    told: tuple[int, int] = (0, 0)  # lines run, lines found, where it lists none
    branches: tuple[int, int] = (0, 0)

    def lines(self) -> tuple[int, int]:
        """Lines run, and lines found."""
        if not self.found:
            return self.told
        return int.from_bytes(self.run).bit_count(), int.from_bytes(self.found).bit_count()

    def add(self, line: int, run: bool) -> int:
        """Takes a line, and says how many bytes more it holds for it."""
        byte, bit = line >> 3, 1 << (line & 7)
        missing = max(0, byte + 1 - len(self.found))
        self.found.extend(bytes(missing))
        self.run.extend(bytes(missing))
        self.found[byte] |= bit
        if run:
            self.run[byte] |= bit
        return 2 * missing


def _read(chunks: Chunks, caps: Caps, files: dict[str, _Source]) -> None:
    source, room = None, caps.names
    told = {"LH": 0, "LF": 0, "BRH": 0, "BRF": 0}
    for line in text_lines(chunks, caps):
        word, _, rest = line.partition(":")
        if word == "SF":
            room -= len(rest)
            source, told = files.setdefault(rest, _Source()), dict.fromkeys(told, 0)
            if len(files) > caps.files:
                raise too_large(f"it is of more than {caps.files} source files")
        elif source is None:
            continue
        elif word == "DA":
            room -= _take_line(source, rest)
        elif word in told:
            told[word] = _number(rest)
        elif line.strip() == "end_of_record":
            source.told = max(source.told, (told["LH"], told["LF"]))
            source.branches = max(source.branches, (told["BRH"], told["BRF"]))
            source = None
        if room < 0:
            raise too_large(f"it takes more than {caps.names // 2**20} MiB")
    if source is not None:
        raise Stop(malformed("it ends in the middle of a source file"))


def _take_line(source: _Source, rest: str) -> int:
    number, _, hits = rest.partition(",")
    line = _number(number)
    if not 0 < line <= _LAST_LINE:
        raise Stop(malformed("a line of a source file in it has an impossible number"))
    return source.add(line, hits.partition(",")[0].strip() not in ("0", "-", ""))


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else 0
