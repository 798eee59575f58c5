"""The CI and rule series as text: samples come in, the bytes of Prometheus's and OpenMetrics' formats go out.

Rendered once a round, by joining strings: prometheus-client's objects cost 20 times as much at 10,000 samples
and would have to be kept in step with projects that come and go.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal, NamedTuple

from k2alert.labels import Labels
from k2alert.model import Alert, AlertState, Finding, Measures, Metric, Needs, Rule, RunTotal, Selection, Truth, Window
from k2alert.times import format_duration

__all__ = [
    "NEVER_SHOWN",
    "Family",
    "gauge_families",
    "joined",
    "render",
    "rule_families",
    "run_families",
    "window_text",
]

# Label names that a scraping Prometheus would have to rename, for they clash with those of its targets.
_RENAMED = {"job": "ci_job", "stage": "ci_stage", "environment": "deployment_environment"}
NEVER_SHOWN = frozenset({"suite", "test"})
"""Labels of facts that no series has: there are too many of them (contract §5)."""
_ALERT_STATES = ("inactive", "pending", "firing", "no_data", "unknown")


class Sample(NamedTuple):
    """One line: what is put behind the family's name, the labels in braces (or ""), the value."""

    suffix: str
    labels: str
    value: float | int


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one metric. `name` is without a counter's `_total`."""

    name: str
    help: str
    type: Literal["gauge", "counter", "summary"]
    samples: Sequence[Sample]


def gauge_families(
    metrics: Mapping[str, Metric],
    measures: Measures,
    selection: Selection,
    label_sets: Sequence[tuple[Labels, Labels]],
    windows: Sequence[timedelta],
    *,
    at: int,
) -> Iterator[Family]:
    """One gauge for each metric that something collects, in base units; no data is no sample.

    `label_sets` are pairs: the label set that is measured, and the labels that it is shown with. A metric that
    knows no window (a state of now, an age) is shown once, without the label `window`.
    """
    spans = [(Window(length), window_text(length)) for length in windows]
    for metric in metrics.values():
        if not metric.collected:
            continue
        windowed = metric.needs not in (Needs.STATE, Needs.AGE)
        samples = [
            Sample("", _braces(_shown(labels, text if windowed else "")), value * metric.scale)
            for window, text in (spans if windowed else spans[:1])
            for identity, labels in label_sets
            if (value := measures.measure(selection, metric.name, identity, window, at).value) is not None
        ]
        yield Family(metric.gauge, metric.help, "gauge", samples)


def run_families(totals: Iterable[RunTotal]) -> Iterator[Family]:
    """`k2alert_ci_runs_total` and the summary of run durations."""
    rows = [(row, _braces(_run_labels(row))) for row in totals]
    yield Family(
        "k2alert_ci_runs",
        "Finished attempts of pipeline runs, each counted once when it is first recorded.",
        "counter",
        [Sample("_total", labels, row.runs) for row, labels in rows],
    )
    yield Family(
        "k2alert_ci_run_duration_seconds",
        "Durations of finished attempts of pipeline runs, as the forge shows them.",
        "summary",
        [
            sample
            for row, labels in rows
            for sample in (Sample("_count", labels, row.timed_runs), Sample("_sum", labels, row.duration_ms / 1000))
        ],
    )


def rule_families(
    rules: Iterable[Rule], findings: Iterable[Finding], alerts: Mapping[tuple[str, Labels], Alert]
) -> Iterator[Family]:
    """`k2alert_rule_value` and `k2alert_alerts`; every rule has all five states, from the start."""
    counts = {(rule.name, rule.severity.value, state): 0 for rule in rules for state in _ALERT_STATES}
    values = []
    for finding in findings:
        rule = finding.rule
        state = _state(finding, alerts.get((rule.name, finding.identity)))
        counts[(rule.name, rule.severity.value, state)] = counts.get((rule.name, rule.severity.value, state), 0) + 1
        if isinstance(finding.value, int | float) and NEVER_SHOWN.isdisjoint(rule.selection.by):
            values.append(Sample("", _braces({**_shown(finding.identity, ""), "rule": rule.name}), finding.value))
    yield Family("k2alert_rule_value", "The value of a rule's first metric, in the metric's own unit.", "gauge", values)
    yield Family(
        "k2alert_alerts",
        "Label sets of a rule by what they are now.",
        "gauge",
        [
            Sample("", _braces({"rule": name, "severity": severity, "state": state}), count)
            for (name, severity, state), count in counts.items()
        ],
    )


def joined(parts: Iterable[Family]) -> list[Family]:
    """Families that came in parts, each whole: a format allows a family once."""
    found: dict[str, list[Family]] = {}
    for part in parts:
        found.setdefault(part.name, []).append(part)
    return [replace(same[0], samples=[sample for part in same for sample in part.samples]) for same in found.values()]


def render(families: Iterable[Family], *, most: int) -> tuple[bytes, bytes, int]:
    """The families in Prometheus's text format, in OpenMetrics without its end, and how many samples were dropped.

    At most `most` samples are rendered; what is over is cut from the families at the end.
    """
    text: list[str] = []
    openmetrics: list[str] = []
    left, dropped = most, 0
    for family in families:
        samples = family.samples[: max(left, 0)]
        dropped += len(family.samples) - len(samples)
        left -= len(samples)
        lines = [f"{family.name}{sample.suffix}{sample.labels} {_number(sample.value)}" for sample in samples]
        old_name = family.name + ("_total" if family.type == "counter" else "")
        text += (f"# HELP {old_name} {_help(family.help)}", f"# TYPE {old_name} {family.type}", *lines)
        openmetrics += (f"# HELP {family.name} {_help(family.help)}", f"# TYPE {family.name} {family.type}", *lines)
    return ("\n".join([*text, ""]).encode(), "\n".join([*openmetrics, ""]).encode(), dropped)


def window_text(length: timedelta) -> str:
    """A window as people write it: `24h`, `7d`; up to a day in hours, above in days where they are whole."""
    hours, rest = divmod(length, timedelta(hours=1))
    return f"{hours}h" if not rest and 0 < hours <= 24 else format_duration(length)


def _state(finding: Finding, alert: Alert | None) -> str:
    if finding.truth in (Truth.UNKNOWN, Truth.NO_DATA):
        return finding.truth.value
    if alert is None or alert.state not in (AlertState.PENDING, AlertState.FIRING):
        return "inactive"
    return alert.state.value


def _run_labels(row: RunTotal) -> dict[str, str]:
    return {"source": row.source, "project": row.project, "ref_type": row.ref_type.value, "result": row.result.value}


def _shown(labels: Mapping[str, str], window: str) -> dict[str, str]:
    shown = {_RENAMED.get(name, name): value for name, value in labels.items()}
    return {**shown, "window": window} if window else shown


def _braces(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return escaped.encode("utf-8", "replace").decode()


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float | int) -> str:
    return repr(float(value))
