"""Which rows are behind a value: a series, a metric, a window and a time in; numbers of recorded rows out.

A ratio or a count of failures points at the failures, a count of anything else at what it counted, each newest
first; a length points at the longest; a streak at its own runs. What is of now (running, pending) has no rows yet.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from k2alert.measure.columns import (
    ALL_DURATIONS,
    CANCELLED,
    DECIDED,
    DURATIONS,
    ERRORS,
    FAILED,
    FINISHED,
    QUEUES,
    RETRIED,
    SUCCESSFUL,
    Column,
    Lengths,
)
from k2alert.measure.series import Series
from k2alert.measure.streaks import Streak
from k2alert.measure.timeline import Row
from k2alert.model import EvidenceRefs, Kind, Window

__all__ = ["find_evidence"]

Found = tuple[tuple[int, ...], int, int]
"""Numbers of rows, how many are at fault, and among how many."""

Finder = Callable[[Series, Window, int, int], Found]


def find_evidence(series: Series, metric: str, window: Window, at: int, limit: int) -> EvidenceRefs:
    """At most `limit` rows behind the metric's value, and where the present streak began (of runs only)."""
    refs, faults, samples = _FINDERS.get(metric, _nothing)(series, window, at, limit)
    kind = Kind.JOB if series.jobs else Kind.RUN
    streak = None if series.jobs else series.worst_streak(window, at)
    if streak is None or not streak.failing:
        return EvidenceRefs(kind, refs, faults, samples, None, None)
    return EvidenceRefs(kind, refs, faults, samples, streak.failing[-1], streak.last_green)


def _nothing(series: Series, window: Window, at: int, limit: int) -> Found:
    return (), 0, 0


def _newest(column: Column, among: Column) -> Finder:
    """The newest rows that a column marks."""

    def newest(series: Series, window: Window, at: int, limit: int) -> Found:
        span = series.counted(window, at)
        return _refs(span.newest(column, limit)), span.total(column), span.total(among)

    return newest


def _longest(lengths: Lengths) -> Finder:
    """The rows with the greatest lengths; every row with a length is behind the value."""

    def longest(series: Series, window: Window, at: int, limit: int) -> Found:
        span = series.counted(window, at)
        known = span.total(lengths.known)
        return _refs(span.longest(lengths, limit)), known, known

    return longest


def _longest_execution(series: Series, window: Window, at: int, limit: int) -> Found:
    span = series.executed(window, at)
    return _refs(span.longest(ALL_DURATIONS, limit)), span.total(ALL_DURATIONS.known), span.size


def _streak(series: Series, window: Window, at: int, limit: int) -> Found:
    """The streak's runs, newest first. It may reach back further than the window's runs that it is told among."""
    streak = series.worst_streak(window, at) or Streak((), 0, None)
    length = len(streak.failing)
    return streak.failing[:limit], length, max(length, series.counted(window, at).total(DECIDED))


def _refs(rows: Sequence[Row]) -> tuple[int, ...]:
    return tuple(row.ref for row in rows)


_FAILURES = _newest(FAILED, DECIDED)

_FINDERS: Mapping[str, Finder] = MappingProxyType(
    {
        "total_pipelines": _newest(FINISHED, FINISHED),
        "successful_pipelines": _newest(SUCCESSFUL, DECIDED),
        "failed_pipelines": _FAILURES,
        "cancelled_pipelines": _newest(CANCELLED, FINISHED),
        "success_rate": _FAILURES,
        "error_rate": _newest(ERRORS, DECIDED),
        "avg_duration_minutes": _longest(DURATIONS),
        "median_duration_minutes": _longest(DURATIONS),
        "p95_duration_minutes": _longest(DURATIONS),
        "p99_duration_minutes": _longest(DURATIONS),
        "max_duration_minutes": _longest(DURATIONS),
        "avg_queue_minutes": _longest(QUEUES),
        "p95_queue_minutes": _longest(QUEUES),
        "health_score": _FAILURES,
        "consecutive_failures": _streak,
        "minutes_since_success": _FAILURES,
        "minutes_since_run": _newest(FINISHED, FINISHED),
        "job_success_rate": _FAILURES,
        "failed_jobs": _FAILURES,
        "avg_job_duration_minutes": _longest(DURATIONS),
        "p95_job_duration_minutes": _longest(DURATIONS),
        "avg_job_queue_minutes": _longest(QUEUES),
        "p95_job_queue_minutes": _longest(QUEUES),
        "job_retry_rate": _newest(RETRIED, FINISHED),
        "runner_minutes": _longest_execution,
    }
)
