"""A small catalogue, and measures written down by hand, for tests of judging."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from k2alert.judge.condition import Condition, compile_condition
from k2alert.labels import Labels
from k2alert.model import EvidenceRefs, Kind, Measured, Metric, Needs, Rule, Selection, Severity, Window

DAY = Window(length=timedelta(days=1))


def metric(name: str, unit: str, needs: Needs, kind: Kind | None = Kind.RUN, high: float = float("inf")) -> Metric:
    return Metric(name=name, help="", unit=unit, needs=needs, kind=kind, gauge=f"k2alert_ci_{name}", high=high)


CATALOGUE: Mapping[str, Metric] = {
    item.name: item
    for item in (
        metric("success_rate", "ratio", Needs.RATIO, high=1.0),
        metric("error_rate", "ratio", Needs.RATIO, high=1.0),
        metric("total_pipelines", "runs", Needs.COUNT),
        metric("failed_pipelines", "runs", Needs.COUNT),
        metric("avg_duration_minutes", "minutes", Needs.MEAN),
        metric("p95_duration_minutes", "minutes", Needs.QUANTILE),
        metric("health_score", "0–1", Needs.MEAN, high=1.0),
        metric("consecutive_failures", "runs", Needs.STREAK),
        metric("minutes_since_success", "minutes", Needs.AGE),
        metric("running_pipelines", "runs", Needs.STATE),
        metric("flaky_test_rate", "ratio", Needs.RATIO, kind=None, high=1.0),
        metric("coverage", "percent", Needs.OTHER, kind=None, high=100.0),
        metric("coverage_drop", "points", Needs.OTHER, kind=None),
    )
}

Answer = Callable[[str, Window, int], Measured]


@dataclass
class WrittenMeasures:
    """Measures that answer from a function, and note what they were asked."""

    answer: Answer
    asked: list[tuple[str, Labels, Window, int]] = field(default_factory=list)

    def measure(self, selection: Selection, metric: str, labels: Labels, window: Window, at: int) -> Measured:
        self.asked.append((metric, labels, window, at))
        return self.answer(metric, window, at)

    def label_sets(self, selection: Selection, window: Window, at: int, kind: Kind) -> Iterable[Labels]:
        raise AssertionError("judging asks for values only")

    def evidence(
        self, selection: Selection, metric: str, labels: Labels, window: Window, at: int, limit: int
    ) -> EvidenceRefs:
        raise AssertionError("judging asks for values only")


def fixed(samples: int = 100, **values: float | int | None) -> WrittenMeasures:
    """Measures that say the same over every window and at every time."""
    return WrittenMeasures(lambda name, window, at: Measured(values.get(name), samples))


def condition(text: str, *, window: Window = DAY, retention: timedelta | None = None) -> Condition:
    return compile_condition(text, metrics=CATALOGUE, window=window, retention=retention)


def rule(text: str, *, window: Window = DAY, clear: str | None = None, **keys: Any) -> Rule:
    return Rule(
        name="r",
        condition=condition(text, window=window),
        clear=None if clear is None else condition(clear, window=window),
        window=window,
        period="24h",
        severity=Severity.WARNING,
        message=keys.pop("message", None),
        selection=Selection((), ("source", "project")),
        **keys,
    )
