"""Curves: what a rule's value was over time."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

__all__ = ["Curve", "CurvePoint"]


class CurvePoint(NamedTuple):
    """A rule's value as it was at a time (None: no data), and what it was compared with then (None: with no number)."""

    at: datetime
    value: float | None
    threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A rule's value for one label set, oldest point first. `metric` names it.

    `incidents` are the stretches in which the alert fired, oldest first, inside of the curve's time; one that has not
    ended ends with it.
    """

    metric: str
    points: tuple[CurvePoint, ...]
    incidents: tuple[tuple[datetime, datetime], ...] = ()
