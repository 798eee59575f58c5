"""What the rules of a configuration may speak of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from k2alert.intervals import Interval
from k2alert.model import Metric, Place

__all__ = ["RuleScope"]


@dataclass(frozen=True, slots=True)
class RuleScope:
    """What a rule may speak of.

    `names` are the rules seen so far, and where; `labels` the labels that they set. `intervals` are the time intervals
    by name, None for one that is badly written. `closed`: all labels of projects and time intervals are known; else (a
    rule file checked without its main file) an unknown one may be among them. `poll_interval` is the longest of any
    source.
    """

    metrics: Mapping[str, Metric]
    retention: timedelta
    project_labels: frozenset[str] = frozenset()
    intervals: Mapping[str, Interval | None] = field(default_factory=dict)
    poll_interval: timedelta | None = None
    closed: bool = True
    names: dict[str, Place] = field(default_factory=dict)
    labels: set[str] = field(default_factory=set)

    def labels_of(self, metrics: Iterable[str]) -> frozenset[str]:
        """The labels that the facts of all these metrics have; of any metric where none is given."""
        every = [metric.labels for metric in self.metrics.values()]
        common = [self.metrics[name].labels for name in metrics]
        known = frozenset.intersection(*common) if common else frozenset().union(*every)
        return known | {"source"} | self.project_labels
