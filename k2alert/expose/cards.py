"""What the page shows of a snapshot: alerts and findings filtered, in order, a page at a time. Pure."""

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from k2alert.expose.view import Snapshot
from k2alert.labels import parse_matcher
from k2alert.model import Alert, AlertState, Finding, Severity, Truth

__all__ = [
    "PER_PAGE",
    "Page",
    "alert_by_key",
    "alerts_of",
    "counts_of",
    "finding_of",
    "findings_of",
    "grounds_of",
    "page_of",
    "state_of",
    "wants",
    "worst_of",
]

T = TypeVar("T")
Wants = Callable[[Mapping[str, str]], bool]

PER_PAGE = 50
_OPEN = (AlertState.FIRING, AlertState.PENDING)
_SEVERITIES = list(reversed(Severity))
STATES = ("firing", "pending", "no_data", "unknown", "inactive")
"""What a label set of a rule can be, the most urgent first."""

_COMMA = re.compile(r',(?=(?:[^"\\]|\\.|"(?:[^"\\]|\\.)*")*$)')  # outside of quotes


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list: `number` of `pages`, from 1, with `total` items in all."""

    items: Sequence[T]
    number: int
    pages: int
    total: int


def page_of(items: Sequence[T], number: int, size: int = PER_PAGE) -> Page[T]:
    """The page of this number, or the nearest there is."""
    pages = max(1, -(-len(items) // size))
    number = min(max(1, number), pages)
    return Page(items[(number - 1) * size : number * size], number, pages, len(items))


def wants(texts: Iterable[str]) -> Wants:
    """What a search field asks for: matchers, parted by commas, that must all match; a plain word is looked for in all
    values. Raises `ValueError` with a message for the person who wrote it."""
    asked = [part.strip() for text in texts for part in _COMMA.split(text) if part.strip()]
    tests = [_test(part) for part in asked]
    return lambda labels: all(test(labels) for test in tests)


def _test(part: str) -> Wants:
    if "=" in part or "!~" in part:
        return parse_matcher(part).matches
    word = part.strip('"').casefold()
    return lambda labels: any(word in value.casefold() for value in labels.values())


def alerts_of(snapshot: Snapshot, wanted: Wants, hushed: Container[str] = ()) -> list[Alert]:
    """The open alerts that match: firing before pending, those whose keys are `hushed` last among each, by severity,
    then the newest first."""
    found = [alert for alert in snapshot.alerts if alert.state in _OPEN and wanted(alert.labels)]
    return sorted(found, key=lambda alert: _urgency(alert, alert.key in hushed))


def _urgency(alert: Alert, hushed: bool) -> tuple[int, bool, int, float, str]:
    since = alert.fired_at or alert.active_at
    return (
        _OPEN.index(alert.state),
        hushed,
        _SEVERITIES.index(alert.severity),
        -since.timestamp() if since else 0.0,
        alert.key,
    )


def alert_by_key(snapshot: Snapshot, key: str) -> Alert | None:
    """The alert with this key, whatever its state."""
    return next((alert for alert in snapshot.alerts if alert.key == key), None)


def counts_of(snapshot: Snapshot) -> Mapping[str, Mapping[str, int]]:
    """How many label sets each rule has in each of `STATES`."""
    alerts = {(alert.rule, alert.identity): alert for alert in snapshot.alerts}
    counts = {rule.name: dict.fromkeys(STATES, 0) for rule in snapshot.rules}
    for finding in snapshot.findings:
        of_rule = counts.get(finding.rule.name)
        if of_rule is not None:
            of_rule[state_of(finding, alerts.get((finding.rule.name, finding.identity)))] += 1
    return counts


def worst_of(snapshot: Snapshot) -> Mapping[str, Finding]:
    """For each rule whose condition compares a number with a limit, the label set furthest beyond it, or nearest."""
    found: dict[str, tuple[float, Finding]] = {}
    for finding in snapshot.findings:
        condition = finding.rule.condition  # None of the alert that says a source is stale
        sign = _SIGNS.get(condition.operator) if condition is not None else None
        value, threshold = _number(finding.value), _number(finding.threshold)
        if sign is None or value is None or threshold is None:
            continue
        beyond = sign * (value - threshold)
        name = finding.rule.name
        if name not in found or beyond > found[name][0]:
            found[name] = (beyond, finding)
    return {name: finding for name, (_, finding) in found.items()}


_SIGNS = {"<": -1, "<=": -1, ">": 1, ">=": 1}


def _number(value: object) -> float | int | None:
    return value if isinstance(value, int | float) else None


def findings_of(snapshot: Snapshot, rule: str, wanted: Wants) -> list[tuple[Finding, Alert | None, str]]:
    """A rule's label sets that match, each with its alert and its state, the most urgent first."""
    alerts = {alert.identity: alert for alert in snapshot.alerts if alert.rule == rule}
    found = [
        (finding, alerts.get(finding.identity), state_of(finding, alerts.get(finding.identity)))
        for finding in snapshot.findings
        if finding.rule.name == rule and wanted(finding.labels)
    ]
    return sorted(found, key=lambda row: (STATES.index(row[2]), str(row[0].identity)))


def finding_of(snapshot: Snapshot, alert: Alert) -> Finding | None:
    """What the last round found where this alert is; None where it judged nothing there."""
    return next(
        (
            finding
            for finding in snapshot.findings
            if finding.identity == alert.identity and finding.rule.name == alert.rule
        ),
        None,
    )


def state_of(finding: Finding, alert: Alert | None) -> str:
    """One of `STATES`: an alert that is open is what it is, also while there is nothing new to judge it by."""
    if alert is not None and alert.state in _OPEN:
        return alert.state.value
    return finding.truth.value if finding.truth in (Truth.NO_DATA, Truth.UNKNOWN) else "inactive"


def grounds_of(explained: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The figures of an explanation (`/api/v1/explain`) whose evidence is not that of one before."""
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for figure in explained.get("values", ()):
        of = figure["evidence"]
        rows = [*of["tests"], *of["deployments"], *of["runs"]]
        if rows or of["firstFailing"]:
            first = of["firstFailing"]["id"] if of["firstFailing"] else ""
            found.setdefault((first, *(str(row) for row in rows)), figure)
    return list(found.values())
