"""Curves drawn: a `Curve` comes in, the geometry of a picture goes out, for the template to write as SVG. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from k2alert.model import Curve

__all__ = ["Drawing", "draw"]

WIDTH, HEIGHT = 720, 160
_MARGIN = 6  # so that no line lies on the edge


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture `width` by `height` units, from the upper left.

    `lines` are the value's path (one for each stretch with data), `dots` stretches of a single point, `limits` the
    threshold's path, `bands` the incidents as (x, width). `low` and `high` are the values at the lower and upper edge.
    """

    width: int
    height: int
    lines: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]
    limits: tuple[str, ...]
    bands: tuple[tuple[float, float], ...]
    low: float
    high: float
    start: datetime
    end: datetime


def draw(curve: Curve) -> Drawing | None:
    """The picture of a curve; None where no value is known in all of its time."""
    values = [point.value for point in curve.points if point.value is not None]
    if len(curve.points) < 2 or not values:
        return None
    limits = [point.threshold for point in curve.points if point.threshold is not None]
    low, high = _bounds([*values, *limits])
    start, end = curve.points[0].at, curve.points[-1].at

    def x(at: datetime) -> float:
        return round((at - start) / (end - start) * WIDTH, 1)

    def y(value: float) -> float:
        return round(HEIGHT - _MARGIN - (value - low) / (high - low) * (HEIGHT - 2 * _MARGIN), 1)

    stretches = _stretches([(x(at), None if value is None else y(value)) for at, value, _ in curve.points])
    return Drawing(
        width=WIDTH,
        height=HEIGHT,
        lines=tuple(_path(stretch) for stretch in stretches if len(stretch) > 1),
        dots=tuple(stretch[0] for stretch in stretches if len(stretch) == 1),
        limits=tuple(
            _path(stretch)
            for stretch in _stretches([(x(at), None if limit is None else y(limit)) for at, _, limit in curve.points])
            if len(stretch) > 1
        ),
        bands=tuple((x(since), max(2.0, x(until) - x(since))) for since, until in curve.incidents),
        low=low,
        high=high,
        start=start,
        end=end,
    )


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        return (0.0, high) if high > 0 else (low, 0.0) if low < 0 else (0.0, 1.0)
    return low, high


def _stretches(points: Iterable[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """The points parted where there is no data."""
    return [
        [(x, y) for x, y in stretch if y is not None]
        for known, stretch in groupby(points, key=lambda point: point[1] is not None)
        if known
    ]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
