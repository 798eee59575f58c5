"""The CI and rule series as text: samples come in, the bytes of Prometheus's and OpenMetrics' formats go out.

Rendered once a round, by joining strings: prometheus-client's objects cost 20 times as much at 10,000 samples
and would have to be kept in step with projects that come and go. Families come in parts of a few hundred samples, each
made into text as it comes, so that whoever goes through them can let others work in between.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice
from typing import Literal, NamedTuple

from k2alert.expose.packing import Packed, pack
from k2alert.labels import Labels
from k2alert.model import Alert, AlertState, Finding, Measures, Metric, Needs, Rule, RunTotal, Selection, Truth, Window
from k2alert.times import format_duration

__all__ = [
    "NEVER_SHOWN",
    "Family",
    "Rendered",
    "Sheet",
    "alerts_family",
    "gauge_families",
    "run_families",
    "states_of",
    "value_families",
    "window_text",
]

# Label names that a scraping Prometheus would have to rename, for they clash with those of its targets.
_RENAMED = {"job": "ci_job", "stage": "ci_stage", "environment": "deployment_environment"}
NEVER_SHOWN = frozenset({"suite", "test"})
"""Labels of facts that no series has: there are too many of them (contract §5)."""
_AT_A_TIME = 500  # findings or totals made into one part of a family: some milliseconds
_ALERT_STATES = ("inactive", "pending", "firing", "no_data", "unknown")


class Sample(NamedTuple):
    """One line: what is put behind the family's name, the labels in braces (or ""), the value."""

    suffix: str
    labels: str
    value: float | int


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one metric, all or a part of them. `name` is without a counter's `_total`."""

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
    spans = [(Window(length), _all_braces(label_sets, window_text(length))) for length in windows]
    timeless = [(window, _all_braces(label_sets, "")) for window, _ in spans[:1]]
    for metric in metrics.values():
        if not metric.collected:
            continue
        samples = [
            Sample("", braces, value * metric.scale)
            for window, sets in (timeless if metric.needs in (Needs.STATE, Needs.AGE) else spans)
            for identity, braces in sets
            if (value := measures.measure(selection, metric.name, identity, window, at).value) is not None
        ]
        yield Family(metric.gauge, metric.help, "gauge", samples)


def _all_braces(label_sets: Sequence[tuple[Labels, Labels]], window: str) -> list[tuple[Labels, str]]:
    return [(identity, _braces(_shown(labels, window))) for identity, labels in label_sets]


def run_families(totals: Iterable[RunTotal]) -> Iterator[Family]:
    """`k2alert_ci_runs_total` and the summary of run durations, in parts."""
    left = iter(totals)
    part: Sequence[RunTotal] | None = None
    while part is None or len(part) == _AT_A_TIME:
        part = tuple(islice(left, _AT_A_TIME))
        yield from _run_families(part)


def _run_families(totals: Iterable[RunTotal]) -> Iterator[Family]:
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


def value_families(findings: Sequence[Finding]) -> Iterator[Family]:
    """`k2alert_rule_value`, in parts."""
    for first in range(0, len(findings) or 1, _AT_A_TIME):
        values = [
            Sample("", _braces({**_shown(finding.identity, ""), "rule": finding.rule.name}), finding.value)
            for finding in findings[first : first + _AT_A_TIME]
            if isinstance(finding.value, int | float) and NEVER_SHOWN.isdisjoint(finding.rule.selection.by)
        ]
        help = "The value of a rule's first metric, in the metric's own unit."
        yield Family("k2alert_rule_value", help, "gauge", values)


def states_of(findings: Iterable[Finding], alerts: Mapping[tuple[str, Labels], Alert]) -> Counter[tuple[str, str, str]]:
    """How many label sets of each rule (its name and severity) are in which state."""
    return Counter(
        (
            finding.rule.name,
            finding.rule.severity.value,
            _state(finding, alerts.get((finding.rule.name, finding.identity))),
        )
        for finding in findings
    )


def alerts_family(rules: Iterable[Rule], states: Mapping[tuple[str, str, str], int]) -> Family:
    """`k2alert_alerts`, of what `states_of` counted; every rule has all five states, from the start."""
    counts = {(rule.name, rule.severity.value, state): 0 for rule in rules for state in _ALERT_STATES} | dict(states)
    return Family(
        "k2alert_alerts",
        "Label sets of a rule by what they are now.",
        "gauge",
        [
            Sample("", _braces({"rule": name, "severity": severity, "state": state}), count)
            for (name, severity, state), count in counts.items()
        ],
    )


@dataclass(frozen=True, slots=True)
class Rendered:
    """The families in Prometheus's text format, in OpenMetrics without its end, and how many samples were dropped."""

    text: Packed
    openmetrics: Packed
    dropped: int


class Sheet:
    """Families on their way to text. A format allows a family once: its parts come in any order and end up together.

    At most `most` samples are rendered; what is over is cut from the families at the end.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._heads: dict[str, Family] = {}
        self._texts: dict[
            str, list[str]
        ] = {}  # of each part its lines: only text, which no garbage collection looks at
        self._counts: dict[str, list[int]] = {}  # and how many they are

    def add(self, part: Family) -> None:
        """Takes in a part of a family."""
        if part.name not in self._heads:
            self._heads[part.name] = replace(part, samples=())
            self._texts[part.name], self._counts[part.name] = [], []
        lines = [f"{part.name}{sample.suffix}{sample.labels} {_number(sample.value)}\n" for sample in part.samples]
        if lines:
            self._texts[part.name].append("".join(lines))
            self._counts[part.name].append(len(lines))

    def render(self) -> Rendered:
        """All of them. Takes some 20 ms a megabyte: to be called in a thread where that matters."""
        left, dropped = self._most, 0
        text: list[str] = []
        openmetrics: list[str] = []
        for name, family in self._heads.items():
            body: list[str] = []
            for count, lines in zip(self._counts[name], self._texts[name], strict=True):
                body.append(lines if count <= left else "".join(lines.splitlines(keepends=True)[: max(left, 0)]))
                dropped += max(0, count - max(left, 0))
                left -= count
            old_name = family.name + ("_total" if family.type == "counter" else "")
            text += (_head(old_name, family), *body)
            openmetrics += (_head(family.name, family), *body)
        return Rendered(pack("".join(text).encode()), pack("".join(openmetrics).encode()), dropped)


def _head(name: str, family: Family) -> str:
    return f"# HELP {name} {_help(family.help)}\n# TYPE {name} {family.type}\n"


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
