"""What the page shows of a snapshot: alerts and findings filtered, in order, a page at a time. Pure."""

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from k2alert.expose.view import Snapshot
from k2alert.labels import parse_matcher
from k2alert.model import Alert, AlertState, Finding, Severity, Truth

__all__ = [
    "PER_PAGE",
    "STATES",
    "Index",
    "Page",
    "Row",
    "Wants",
    "alerts_of",
    "finding_of",
    "grounds_of",
    "index_of",
    "page_of",
    "rows_of",
    "state_of",
    "wants",
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


@dataclass(frozen=True, slots=True)
class Row:
    """A label set of a rule: its finding, its alert and its state, one of `STATES`."""

    finding: Finding
    alert: Alert | None
    state: str


@dataclass(frozen=True, slots=True)
class Index:
    """A snapshot's alerts and findings as the pages look them up.

    `open` are the pending and firing alerts. By rule: `rows`, the most urgent first, `counts` of each of `STATES`, and
    `worst`, for conditions that compare a number with a limit: the label set furthest beyond it, or nearest.
    """

    open: Sequence[Alert]
    by_key: Mapping[str, Alert]
    rows: Mapping[str, Sequence[Row]]
    counts: Mapping[str, Mapping[str, int]]
    worst: Mapping[str, Finding]


def index_of(snapshot: Snapshot) -> Index:
    """Looks at everything once; with tens of thousands of label sets that takes a noticeable part of a second."""
    alerts = {(alert.rule, alert.identity): alert for alert in snapshot.alerts}
    rows: dict[str, list[Row]] = {rule.name: [] for rule in snapshot.rules}
    for finding in snapshot.findings:
        if finding.rule.name in rows:
            alert = alerts.get((finding.rule.name, finding.identity))
            rows[finding.rule.name].append(Row(finding, alert, state_of(finding, alert)))
    for of_rule in rows.values():
        of_rule.sort(key=lambda row: (STATES.index(row.state), tuple(row.finding.identity.items())))
    counts = {name: Counter(row.state for row in of_rule) for name, of_rule in rows.items()}
    return Index(
        open=[alert for alert in snapshot.alerts if alert.state in _OPEN],
        by_key={alert.key: alert for alert in snapshot.alerts},
        rows=rows,
        counts={name: {state: of_rule[state] for state in STATES} for name, of_rule in counts.items()},
        worst={name: found for name, of_rule in rows.items() if (found := _worst(row.finding for row in of_rule))},
    )


def _worst(findings: Iterable[Finding]) -> Finding | None:
    found: tuple[float, Finding] | None = None
    for finding in findings:
        sign = _SIGNS.get(finding.rule.condition.operator)
        value, threshold = _number(finding.value), _number(finding.threshold)
        if sign is None or value is None or threshold is None:
            continue
        beyond = sign * (value - threshold)
        if found is None or beyond > found[0]:
            found = (beyond, finding)
    return found[1] if found is not None else None


_SIGNS = {"<": -1, "<=": -1, ">": 1, ">=": 1}


def _number(value: object) -> float | int | None:
    return value if isinstance(value, int | float) else None


def alerts_of(index: Index, wanted: Wants, hushed: Container[str] = ()) -> list[Alert]:
    """The open alerts that match: firing before pending, those whose keys are `hushed` last among each, by severity,
    then the newest first."""
    found = [alert for alert in index.open if wanted(alert.labels)]
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


def rows_of(index: Index, rule: str, wanted: Wants) -> list[Row]:
    """A rule's label sets that match, the most urgent first."""
    return [row for row in index.rows.get(rule, ()) if wanted(row.finding.labels)]


def finding_of(index: Index, alert: Alert) -> Finding | None:
    """What the last round found where this alert is; None where it judged nothing there."""
    of_rule = index.rows.get(alert.rule, ())
    return next((row.finding for row in of_rule if row.finding.identity == alert.identity), None)


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
