"""A small chart of a metric against its threshold, as a picture that every mail program shows.

Values come in, the bytes of a PNG go out (https://www.w3.org/TR/png-3/). There is no text in it: numbers stand beside
it, in the reader's own letters. Its background is clear, so it suits a light page and a dark one.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Chart", "png_of"]

_Colour = tuple[int, int, int]

_GOOD: _Colour = (58, 134, 200)
_BAD: _Colour = (216, 58, 58)
_LIMIT: _Colour = (140, 145, 152)
_STROKE = 3.0  # pixels
_SHADE = 0.16  # of the area under the line
_DASH = 6  # pixels on, and as many off


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A metric's values, oldest first and equally far apart, the last one of now; None where there was no data.

    `is_bad` says of each whether it was beyond the threshold. The texts are for people: what is shown, over which
    time (`span`), and the lowest and highest value with their unit.
    """

    values: tuple[float | None, ...]
    is_bad: tuple[bool, ...]
    threshold: float | None
    title: str = ""
    span: str = ""
    low_text: str = ""
    high_text: str = ""
    threshold_text: str = ""


def png_of(chart: Chart, *, width: int = 640, height: int = 150) -> bytes:
    """The chart as a PNG with a clear background."""
    rows = [bytearray(width * 4) for _ in range(height)]
    scale = _Scale.of(chart, height)
    for x, (value, bad) in enumerate(_columns(chart, width)):
        if value is not None:
            _draw(rows, x, scale.y(value), _slope(chart, scale, x, width), _BAD if bad else _GOOD)
    if chart.threshold is not None:
        _dashes(rows, scale.y(chart.threshold), width)
    return _png(rows, width, height)


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where a value stands: `low` at the bottom, `high` at the top, with a margin for the stroke."""

    low: float
    high: float
    height: int

    @classmethod
    def of(cls, chart: Chart, height: int) -> "_Scale":
        shown = [value for value in (*chart.values, chart.threshold) if value is not None] or [0.0]
        low, high = min(shown), max(shown)
        room = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
        return cls(low - room, high + room, height)

    def y(self, value: float) -> float:
        return (self.high - value) / (self.high - self.low) * (self.height - 1)


def _columns(chart: Chart, width: int) -> Iterator[tuple[float | None, bool]]:
    """The value in each column, on the straight line between its neighbours, and whether it is bad."""
    for x in range(width if chart.values else 0):
        place = _place(chart, x, width)
        left = min(int(place), len(chart.values) - 1)
        right = min(left + 1, len(chart.values) - 1)
        near = left if place - left < 0.5 else right
        yield _between(chart.values[left], chart.values[right], place - left), chart.is_bad[near]


def _place(chart: Chart, x: int, width: int) -> float:
    return x / max(1, width - 1) * (len(chart.values) - 1)


def _between(left: float | None, right: float | None, part: float) -> float | None:
    """A value beside a gap is shown for half of the way."""
    if left is None or right is None:
        return left if part < 0.5 else right
    return left + (right - left) * part


def _slope(chart: Chart, scale: _Scale, x: int, width: int) -> float:
    """How many pixels the line climbs in this column."""
    left = min(int(_place(chart, x, width)), len(chart.values) - 2)
    here, there = (chart.values[left], chart.values[left + 1]) if left >= 0 else (None, None)
    if here is None or there is None:
        return 0.0
    return abs(scale.y(here) - scale.y(there)) * (len(chart.values) - 1) / max(1, width - 1)


def _draw(rows: Sequence[bytearray], x: int, y: float, slope: float, colour: _Colour) -> None:
    """One column of the line, as thick as it is anywhere, and of the shade below it."""
    half = _STROKE / 2 * (1 + slope * slope) ** 0.5
    top, bottom = y - half, y + half
    for row in range(max(0, int(top)), len(rows)):
        cover = max(0.0, min(row + 1, bottom) - max(row, top))
        alpha = max(cover, _SHADE if row >= y else 0.0)
        if alpha > 0:
            _put(rows[row], x, colour, min(1.0, alpha))


def _dashes(rows: Sequence[bytearray], y: float, width: int) -> None:
    top, bottom = y - 1, y + 1
    for row in range(max(0, int(top)), min(len(rows), int(bottom) + 1)):
        cover = max(0.0, min(row + 1, bottom) - max(row, top))
        for x in range(width):
            if x // _DASH % 2 == 0:
                _put(rows[row], x, _LIMIT, cover)


def _put(row: bytearray, x: int, colour: _Colour, alpha: float) -> None:
    """Lays a colour over a pixel where it is stronger than what is there."""
    shade = round(alpha * 255)
    if shade > row[x * 4 + 3]:
        row[x * 4 : x * 4 + 4] = bytes((*colour, shade))


def _png(rows: Sequence[bytearray], width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)  # 8 bits for each of red, green, blue, alpha
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
