"""Measures: which facts are counted over which window, the metrics there are, and what rules ask of `measure`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Protocol

from k2alert.intervals import Interval
from k2alert.labels import Labels, Matcher
from k2alert.model.facts import Kind
from k2alert.times import from_ms

__all__ = ["EvidenceRefs", "Measured", "Measures", "Measuring", "Metric", "Needs", "Selection", "Window"]

_MINUTE_MS = 60_000


class Needs(StrEnum):
    """What kind of number a metric is; ratios, means and quantiles obey `min_samples`."""

    COUNT = "count"
    RATIO = "ratio"
    MEAN = "mean"
    QUANTILE = "quantile"
    STREAK = "streak"
    AGE = "age"
    STATE = "state"  # of now: no window, no earlier time
    OTHER = "other"

    @property
    def samples(self) -> bool:
        """Whether too few samples make it no data."""
        return self in (Needs.RATIO, Needs.MEAN, Needs.QUANTILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A line of the catalogue: a name that conditions can use.

    `unit` is the unit of the value in conditions (runs, ratio, minutes, percent, …); `low` and `high` bound what
    it can be. `gauge` is the exported series in base units, `scale` what the value is multiplied by for it.
    `labels` are the fact labels it can be grouped by. `collected`: false while nothing collects its facts.
    """

    name: str
    help: str
    unit: str
    needs: Needs
    kind: Kind | None
    gauge: str
    scale: float = 1.0
    labels: frozenset[str] = frozenset()
    low: float = 0.0
    high: float = float("inf")
    collected: bool = True


class Window(NamedTuple):
    """A rule's period: a length of time, or the last N decided runs."""

    length: timedelta | None = None
    runs: int | None = None

    @property
    def look_back(self) -> timedelta:
        """How much history it needs; a period in runs counts as 7 d (contract §1)."""
        return self.length if self.length is not None else timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which facts count (`match`) and how they are put into series (`by`, always with `source`).

    Facts that finished in one of the time intervals of `without` don't count.
    """

    match: tuple[Matcher, ...]
    by: tuple[str, ...]
    without: tuple[Interval, ...] = ()

    def counts(self, finished: int) -> bool:
        """Whether facts that finished at this time (in milliseconds) count, as far as time alone can tell."""
        return not self.without or not _lies_in(self.without, finished // _MINUTE_MS)

    @property
    def shape(self) -> tuple[str, ...]:
        """The names of all labels it groups by, sorted: `source` is always among them."""
        return _shape(self.by)


@lru_cache(maxsize=200_000)  # a month has 44,640 minutes; time intervals begin and end with whole ones
def _lies_in(intervals: tuple[Interval, ...], minute: int) -> bool:
    at = from_ms(minute * _MINUTE_MS)
    return any(interval.contains(at) for interval in intervals)


@lru_cache(maxsize=10_000)  # asked for every alert in every round
def _shape(by: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({"source", *by}))


class Measured(NamedTuple):
    """A metric's value (None: no data) and the number of samples behind it."""

    value: float | int | None
    samples: int


class EvidenceRefs(NamedTuple):
    """Which recorded rows are behind a value: the newest ones at fault, and how many there are in all.

    `refs` number run outcomes (or what else `kind` says: job executions, reports, deployments), newest first, at most
    the number asked for. `faults` of `samples` are at fault. `first_failing` and `last_green` are run outcomes of the
    worst present streak (None where there is none). `tests`: the tests at fault, each as the number of a report that
    says so and its own.
    """

    kind: Kind
    refs: tuple[int, ...]
    faults: int
    samples: int
    first_failing: int | None
    last_green: int | None
    tests: tuple[tuple[int, int], ...] = ()


class Measuring(Protocol):
    """What conditions and messages ask of `measure`. All times are instants in milliseconds; all calls are pure."""

    def measure(self, selection: Selection, metric: str, labels: Labels, window: Window, at: int) -> Measured:
        """The metric over the series with these `by` labels in the window that ends at `at`."""
        ...


class Measures(Measuring, Protocol):
    """What `judge` and `cycle` ask of `measure`."""

    def label_sets(self, selection: Selection, window: Window, at: int, kind: Kind) -> Iterable[Labels]:
        """The `by` label sets with a fact of the kind in the window that ends at `at`."""
        ...

    def evidence(
        self, selection: Selection, metric: str, labels: Labels, window: Window, at: int, limit: int
    ) -> EvidenceRefs:
        """The rows behind the value that `measure` gives for the same arguments."""
        ...
