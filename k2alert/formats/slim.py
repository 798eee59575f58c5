"""JSON with its long lists of numbers left out, while it is being read.

pytest-benchmark writes every single timing into `stats.data`: 15 MB for three benchmarks. JSON is read as a whole, so
what would fill the memory must not get that far. Of a list that begins with some thousand characters of numbers these
are left out; nothing else changes, and nothing inside of a string does.
"""

import re
from collections.abc import Iterator

from k2alert.formats.caps import Caps, Chunks, too_large

__all__ = ["slim"]

_LONG = 4096  # characters of numbers that are left out; where they are worth something there are fewer
_NEXT = re.compile(rb'["\[]')
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NUMBERS = re.compile(rb"[\s0-9.,eE+\-]*+")


def slim(chunks: Chunks, caps: Caps) -> bytes:
    """The whole text, without long lists of numbers; raises `Stop` where it is too large even so."""
    kept = bytearray()
    for piece in _Text(chunks, caps).pieces():
        kept += piece
        if len(kept) > caps.json:
            raise too_large(f"it is larger than {caps.json // 2**20} MiB without its lists of numbers")
    return bytes(kept)


class _Text:
    """The text as it comes in: what is held of it, and how far that has been dealt with."""

    def __init__(self, chunks: Chunks, caps: Caps) -> None:
        self._chunks = iter(chunks)
        self._caps = caps
        self._held = b""
        self._at = 0
        self._size = 0

    def pieces(self) -> Iterator[bytes]:
        """What is kept, in order."""
        while self._at < len(self._held) or self._read():
            found = _NEXT.search(self._held, self._at)
            if found is None:
                yield self._take(len(self._held))
            elif found[0] == b'"':
                yield self._take(found.start())
                yield self._take_string()
            else:
                yield self._take(found.end())
                yield self._take_numbers()

    def _read(self) -> bool:
        """Reads on, and says whether there was anything."""
        chunk = next((chunk for chunk in self._chunks if chunk), b"")
        self._size += len(chunk)
        if self._size > self._caps.size:
            raise too_large(f"it is larger than {self._caps.size // 2**20} MiB")
        self._held, self._at = self._held[self._at :] + chunk, 0
        return bool(chunk)

    def _take(self, end: int) -> bytes:
        taken = self._held[self._at : end]
        self._at = end
        return taken

    def _take_string(self) -> bytes:
        """The string that begins here; what is left of the text where it has no end."""
        while True:
            found = _STRING.match(self._held, self._at)
            if found is not None:
                return self._take(found.end())
            if len(self._held) - self._at > self._caps.text:
                raise too_large(f"one text in it is larger than {self._caps.text // 2**20} MiB")
            if not self._read():
                return self._take(len(self._held))

    def _take_numbers(self) -> bytes:
        """The numbers behind the opening bracket that was taken last; nothing where they are many."""
        kept, size = bytearray(), 0
        while self._at < len(self._held) or self._read():
            found = _NUMBERS.match(self._held, self._at)
            taken = self._take(found.end() if found is not None else self._at)
            size += len(taken)
            if size <= _LONG:
                kept += taken
            if self._at < len(self._held):
                break
        return bytes(kept) if size <= _LONG else b""
