"""The chart is a picture that any reader takes, whatever the values are."""

import struct
import zlib
from dataclasses import replace

import pytest

from k2alert.notify.chart import Chart, png_of
from tests.support.gallery import rate_chart

WIDTH, HEIGHT = 120, 40


def pixels(chart: Chart) -> list[list[tuple[int, ...]]]:
    """The picture's pixels (red, green, blue, alpha), read back by the rules of PNG."""
    data = png_of(chart, width=WIDTH, height=HEIGHT)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(data):
        size, name = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + size]
        assert struct.unpack(">I", data[place + 8 + size : place + 12 + size])[0] == zlib.crc32(name + body)
        chunks[name] = body
        place += 12 + size
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (WIDTH, HEIGHT, 8, 6, 0, 0, 0)
    raw = zlib.decompress(chunks[b"IDAT"])
    rows = [raw[row * (WIDTH * 4 + 1) :][: WIDTH * 4 + 1] for row in range(HEIGHT)]
    assert {row[0] for row in rows} == {0}
    return [[tuple(row[1 + x * 4 : 5 + x * 4]) for x in range(WIDTH)] for row in rows]


def line_at(picture: list[list[tuple[int, ...]]], x: int) -> int | None:
    """The first row from the top where the line stands in a column."""
    return next((row for row in range(HEIGHT) if picture[row][x][3] > 200), None)


def flat(*values: float | None, threshold: float | None = None) -> Chart:
    return Chart(values=values, is_bad=tuple(False for _ in values), threshold=threshold)


def test_higher_values_stand_higher_and_bad_ones_are_red() -> None:
    picture = pixels(replace(rate_chart(), threshold=None))
    good, bad = line_at(picture, 30), line_at(picture, WIDTH - 1)
    assert good is not None
    assert bad is not None
    assert good < bad
    assert picture[good][30][2] > picture[good][30][0]
    assert picture[bad][WIDTH - 1][0] > picture[bad][WIDTH - 1][2]


def test_a_gap_is_left_clear() -> None:
    picture = pixels(flat(1.0, 1.0, None, None, None, 1.0, 1.0))
    assert {picture[row][WIDTH // 2][3] for row in range(HEIGHT)} == {0}
    assert line_at(picture, 5) is not None


def test_the_threshold_is_dashed() -> None:
    picture = pixels(flat(1.0, 1.0, threshold=0.0))
    row = max(range(HEIGHT), key=lambda row: sum(pixel[:3] == (140, 145, 152) for pixel in picture[row]))
    assert picture[row][0][:3] == (140, 145, 152)
    assert picture[row][8][:3] != (140, 145, 152)


@pytest.mark.parametrize(
    "chart",
    [
        flat(),
        flat(None),
        flat(5.0),
        flat(0.0, 0.0, threshold=0.0),
        flat(-1e9, 1e9, threshold=1e9),
        flat(1e-9, 2e-9),
        flat(*[0.0, 1.0] * 200),
    ],
    ids=["nothing", "no data", "one", "zeros", "far apart", "tiny", "more values than columns"],
)
def test_any_values_make_a_picture(chart: Chart) -> None:
    pixels(chart)
