"""How each metric is computed: a series, a window and a time in; the value and the samples behind it out.

All lengths are added up in whole milliseconds and divided once, so a mean or a quantile is the float nearest to
the true number. Where nothing is there, counts are 0 and everything else has no value. The catalogue says what
each metric means; a metric that nothing collects has no line here, and no data.
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
from k2alert.model import Measured, RunState, Window

__all__ = ["FORMULAS", "NO_DATA", "Formula"]

Formula = Callable[[Series, Window, int], Measured]

NO_DATA = Measured(None, 0)

_MINUTE = 60_000


def _count(column: Column, among: Column) -> Formula:
    """How many rows a column marks; the samples are those of `among`."""

    def count(series: Series, window: Window, at: int) -> Measured:
        span = series.counted(window, at)
        return Measured(span.total(column), span.total(among))

    return count


def _finished(series: Series, window: Window, at: int) -> Measured:
    size = series.counted(window, at).size
    return Measured(size, size)


def _ratio(column: Column, among: Column) -> Formula:
    """marked / among; no data where there is nothing among which to count."""

    def ratio(series: Series, window: Window, at: int) -> Measured:
        span = series.counted(window, at)
        samples = span.total(among)
        return Measured(span.total(column) / samples, samples) if samples else NO_DATA

    return ratio


def _mean(lengths: Lengths) -> Formula:
    """Mean of the known lengths, in minutes."""

    def mean(series: Series, window: Window, at: int) -> Measured:
        span = series.counted(window, at)
        known = span.total(lengths.known)
        return Measured(span.total(lengths.total) / (known * _MINUTE), known) if known else NO_DATA

    return mean


def _quantile(lengths: Lengths, percent: int) -> Formula:
    """The quantile of the known lengths, in minutes, interpolated between the two that it lies between.

    Of n sorted lengths it is the one at rank percent/100 · (n − 1), counted from 0. The median is 50 %, the
    maximum 100 %.
    """

    def quantile(series: Series, window: Window, at: int) -> Measured:
        span = series.counted(window, at)
        key = (lengths.known, percent, window)
        return series.remember(key, span, lambda: _interpolated(series.ordered(lengths, window, span), percent))

    return quantile


def _interpolated(ordered: Sequence[int], percent: int) -> Measured:
    if not ordered:
        return NO_DATA
    index, part = divmod(percent * (len(ordered) - 1), 100)
    above = ordered[min(index + 1, len(ordered) - 1)]
    hundredfold = ordered[index] * (100 - part) + above * part
    return Measured(hundredfold / (100 * _MINUTE), len(ordered))


def _health(series: Series, window: Window, at: int) -> Measured:
    """0.7 · success_rate + 0.3 · clamp(1 − (avg_duration_minutes − 10) / 50, 0, 1), over the decided runs."""
    rate, samples = _SUCCESS_RATE(series, window, at)
    minutes, _ = _MEAN_DURATION(series, window, at)
    if rate is None or minutes is None:
        return NO_DATA
    speed = min(1.0, max(0.0, 1 - (minutes - 10) / 50))
    return Measured(0.7 * rate + 0.3 * speed, samples)


def _streak(series: Series, window: Window, at: int) -> Measured:
    """Length of the worst present streak; the samples are the window's decided runs, and without any no data."""
    worst = series.worst_streak(window, at)
    if worst is None:
        return NO_DATA
    return Measured(len(worst.failing), series.counted(window, at).total(DECIDED))


def _minutes_since(column: Column) -> Formula:
    """Age in minutes of the newest marked row, however old."""

    def minutes_since(series: Series, window: Window, at: int) -> Measured:
        newest = series.newest(column, at)
        return NO_DATA if newest is None else Measured((at - newest) / _MINUTE, 1)

    return minutes_since


def _runner_minutes(series: Series, window: Window, at: int) -> Measured:
    """Minutes of every execution that finished in the window: superseded, cancelled and allowed ones too."""
    span = series.executed(window, at)
    return Measured(span.total(ALL_DURATIONS.total) / _MINUTE, span.size)


def _open(state: RunState) -> Formula:
    """How many are in a state now."""

    def count_open(series: Series, window: Window, at: int) -> Measured:
        count = len(series.waiting(state, at))
        return Measured(count, count)

    return count_open


def _oldest_pending(series: Series, window: Window, at: int) -> Measured:
    """Minutes since the oldest pending one was created. An empty queue is 0, so that an alert on it recovers."""
    created = series.waiting(RunState.PENDING, at)
    return Measured((at - min(created)) / _MINUTE if created else 0, len(created))


_SUCCESS_RATE = _ratio(SUCCESSFUL, DECIDED)
_MEAN_DURATION = _mean(DURATIONS)

FORMULAS: Mapping[str, Formula] = MappingProxyType(
    {
        "total_pipelines": _finished,
        "successful_pipelines": _count(SUCCESSFUL, DECIDED),
        "failed_pipelines": _count(FAILED, DECIDED),
        "cancelled_pipelines": _count(CANCELLED, FINISHED),
        "success_rate": _SUCCESS_RATE,
        "error_rate": _ratio(ERRORS, DECIDED),
        "avg_duration_minutes": _MEAN_DURATION,
        "median_duration_minutes": _quantile(DURATIONS, 50),
        "p95_duration_minutes": _quantile(DURATIONS, 95),
        "p99_duration_minutes": _quantile(DURATIONS, 99),
        "max_duration_minutes": _quantile(DURATIONS, 100),
        "avg_queue_minutes": _mean(QUEUES),
        "p95_queue_minutes": _quantile(QUEUES, 95),
        "health_score": _health,
        "consecutive_failures": _streak,
        "minutes_since_success": _minutes_since(SUCCESSFUL),
        "minutes_since_run": _minutes_since(FINISHED),
        "running_pipelines": _open(RunState.RUNNING),
        "pending_pipelines": _open(RunState.PENDING),
        "oldest_pending_minutes": _oldest_pending,
        "job_success_rate": _SUCCESS_RATE,
        "failed_jobs": _count(FAILED, DECIDED),
        "avg_job_duration_minutes": _MEAN_DURATION,
        "p95_job_duration_minutes": _quantile(DURATIONS, 95),
        "avg_job_queue_minutes": _mean(QUEUES),
        "p95_job_queue_minutes": _quantile(QUEUES, 95),
        "job_retry_rate": _ratio(RETRIED, FINISHED),
        "runner_minutes": _runner_minutes,
        "pending_jobs": _open(RunState.PENDING),
        "oldest_pending_job_minutes": _oldest_pending,
    }
)
