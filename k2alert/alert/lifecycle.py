"""The life of an alert: inactive, pending, firing, ended.

Findings and the alerts of the round before come in; the alerts after, what of them must be stored, and the
edges go out. Pure: one instant, no I/O. The rules of each step are contract §2 ("No data") and §6.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from k2alert.labels import Labels
from k2alert.model import Alert, AlertState, EndReason, Finding, NoDataPolicy, Rule, Transition, Truth
from k2alert.pauses import Pausing, at_once

__all__ = ["NO_DATA_LIMIT", "AlertId", "Step", "described", "forget", "rests", "step", "stepping", "stepping_some"]

AlertId = tuple[str, Labels]
"""What an alert is: its rule's name and its identity."""

NO_DATA_LIMIT = timedelta(days=7)
"""How long a firing alert with `no_data: keep` waits for new runs before it ends (contract §2)."""

# What only describes the present value is not worth a write.
_DESCRIPTIVE = frozenset({"value", "threshold", "samples", "unknown"})
_stored = attrgetter(*(field.name for field in fields(Alert) if field.name not in _DESCRIPTIVE))


@dataclass(frozen=True, slots=True)
class Step:
    """One round's work on the alerts.

    `alerts` are all of them after the round; `changed` those whose stored form is out of date; `dropped` those
    that need not be kept any more.
    """

    alerts: Mapping[AlertId, Alert]
    changed: tuple[Alert, ...]
    dropped: tuple[Alert, ...]
    transitions: tuple[Transition, ...]


def step(
    before: Mapping[AlertId, Alert], findings: Iterable[Finding], *, rules: Mapping[str, Rule], now: datetime
) -> Step:
    """Moves every alert by one round.

    1. Each finding moves its own alert, or begins one; no two findings are of the same.
    2. Each alert without a finding lost its rule, its `by` or its project: if open it ends for that reason,
       otherwise it is dropped.
    """
    return at_once(stepping(before, findings, rules=rules, now=now))


def stepping(
    before: Mapping[AlertId, Alert], findings: Iterable[Finding], *, rules: Mapping[str, Rule], now: datetime
) -> Pausing[Step]:
    """The same as `step`, with a pause after each finding, for who has something else to do meanwhile."""
    after: dict[AlertId, Alert] = {}
    edges: list[tuple[Alert | None, Alert]] = []
    left = dict(before)
    for finding in findings:
        yield
        identity = (finding.rule.name, finding.identity)
        old = left.pop(identity, None)
        alert = _move(old, finding, now)
        if alert is not None:
            after[identity] = alert
            if alert is not old:
                edges.append((old, alert))
    dropped = tuple(alert for alert in left.values() if alert.state is AlertState.INACTIVE)
    for identity, old in left.items():
        if old.state is not AlertState.INACTIVE:
            alert = after[identity] = _depart(old, rules.get(old.rule), now)
            if alert is not old:
                edges.append((old, alert))
    return _step_of(after, edges, dropped, now)


def stepping_some(
    before: Mapping[AlertId, Alert], findings: Iterable[Finding], *, now: datetime
) -> Pausing[Step | None]:
    """The same where all other findings are those of the round before, and their alerts rest (see `rests`).

    None where an alert would come or go: then it takes all findings.
    """
    after = dict(before)
    edges: list[tuple[Alert | None, Alert]] = []
    for finding in findings:
        yield
        identity = (finding.rule.name, finding.identity)
        old = before.get(identity)
        alert = _move(old, finding, now)
        if (old is None) is not (alert is None):
            return None
        if alert is not None and alert is not old:
            after[identity] = alert
            edges.append((old, alert))
    return _step_of(after, edges, (), now)


def rests(alert: Alert | None, finding: Finding) -> bool:
    """Whether the alert that a finding led to stays as it is, whatever the time, for as long as that finding does."""
    if alert is None:
        return finding.truth is Truth.UNKNOWN
    if alert.by != finding.rule.selection.shape:
        return False
    if alert.unknown or finding.truth is Truth.UNKNOWN:
        return alert.unknown and finding.truth is Truth.UNKNOWN
    if not _holds(finding):
        return alert.state in (AlertState.INACTIVE, AlertState.ENDED)
    waits = alert.state is not AlertState.FIRING or alert.no_data_since is not None  # it fires since a moment ago
    return finding.truth is Truth.TRUE and not waits


def _step_of(
    after: dict[AlertId, Alert],
    edges: Iterable[tuple[Alert | None, Alert]],
    dropped: tuple[Alert, ...],
    now: datetime,
) -> Step:
    edges = tuple(edges)
    return Step(
        alerts=after,
        changed=tuple(alert for old, alert in edges if old is None or _is_material(old, alert)),
        dropped=dropped,
        transitions=tuple(_edges(edges, now)),
    )


def described(stored: Mapping[AlertId, Alert], known: Mapping[AlertId, Alert]) -> dict[AlertId, Alert]:
    """Alerts as they are stored, with what is not stored each round: the values as they are known since.

    Those that have moved, or would, stay as they are stored.
    """
    moved = {identity: (alert, known.get(identity)) for identity, alert in stored.items()}
    return {identity: old if new is None or _is_material(old, new) else new for identity, (old, new) in moved.items()}


def forget(alerts: Mapping[AlertId, Alert], heard: Callable[[Alert], bool]) -> tuple[list[Alert], list[Alert]]:
    """Which ended alerts are over: (those that go back to inactive, those that are dropped).

    An ended alert is kept until `heard` says that everyone who was told of it was told of its end. One that
    recovered stays as inactive, for its label set has been judged; one whose rule or project left is dropped.
    """
    back, gone = [], []
    for alert in alerts.values():
        if alert.state is AlertState.ENDED and heard(alert):
            if alert.reason in (EndReason.RULE_CHANGED, EndReason.PROJECT_GONE):
                gone.append(alert)
            else:
                back.append(_inactive(alert))
    return back, gone


def _move(alert: Alert | None, finding: Finding, now: datetime) -> Alert | None:
    if alert is not None and alert.by != finding.rule.selection.shape:
        alert = _outgrown(alert, now)
        if alert is not None:
            return alert
    if finding.truth is Truth.UNKNOWN:
        return None if alert is None else _with(alert, unknown=True)
    holds = _holds(finding)
    if alert is None:
        born = _born(finding)
        return _begin(born, finding, now, initial=True) if holds else born
    if alert.state is AlertState.FIRING:
        return _move_firing(_described(alert, finding), finding, now)
    if alert.state is AlertState.PENDING:
        return _promote(_described(alert, finding), finding, now) if holds else _inactive(alert)
    if holds:
        return _begin(alert, finding, now, initial=False)
    return replace(alert, unknown=False) if alert.unknown else alert


def _outgrown(alert: Alert, now: datetime) -> Alert | None:
    """An alert of an earlier `by` that happens to have the same labels: what fires ends, and is then forgotten."""
    if alert.state is AlertState.FIRING:
        return _end(alert, EndReason.RULE_CHANGED, now)
    return alert if alert.state is AlertState.ENDED and alert.reason is EndReason.RULE_CHANGED else None


def _holds(finding: Finding) -> bool:
    """Whether it makes an alert pending: true, or no data where no data is the alarm."""
    return finding.truth is Truth.TRUE or (
        finding.truth is Truth.NO_DATA and finding.rule.no_data is NoDataPolicy.ALERT
    )


def _born(finding: Finding) -> Alert:
    return Alert(
        rule=finding.rule.name,
        identity=finding.identity,
        labels=finding.labels,
        severity=finding.rule.severity,
        state=AlertState.INACTIVE,
        by=finding.rule.selection.shape,
    )


def _described(alert: Alert, finding: Finding) -> Alert:
    """The same alert with what may be edited at any time: labels, severity, and the value of now."""
    return _with(
        alert,
        labels=finding.labels,
        severity=finding.rule.severity,
        value=alert.value if finding.truth is Truth.NO_DATA else finding.value,
        threshold=finding.threshold if finding.threshold is not None else alert.threshold,
        samples=finding.samples,
        unknown=False,
    )


def _with(alert: Alert, **changes: Any) -> Alert:
    """The alert with these fields; itself where it has them, so that most rounds make nothing new and write nothing."""
    if all(getattr(alert, name) == value for name, value in changes.items()):
        return alert
    return replace(alert, **changes)


def _inactive(alert: Alert) -> Alert:
    return Alert(
        rule=alert.rule,
        identity=alert.identity,
        labels=alert.labels,
        severity=alert.severity,
        state=AlertState.INACTIVE,
        by=alert.by,
    )


def _begin(alert: Alert, finding: Finding, now: datetime, *, initial: bool) -> Alert:
    pending = replace(
        _described(_inactive(alert), finding),
        state=AlertState.PENDING,
        active_at=now,
        initial=initial,
        no_data_since=now if finding.truth is Truth.NO_DATA else None,
    )
    return _promote(pending, finding, now)


def _promote(alert: Alert, finding: Finding, now: datetime) -> Alert:
    since = alert.active_at or now
    if now - since < finding.rule.hold:
        return alert
    return replace(alert, state=AlertState.FIRING, fired_at=now)


def _move_firing(alert: Alert, finding: Finding, now: datetime) -> Alert:
    if finding.truth is Truth.NO_DATA:
        return _move_without_data(alert, finding.rule, now)
    alert = _credit_no_data(alert, now)
    if finding.truth is Truth.TRUE:
        return _with(alert, quiet_since=None)
    if finding.rule.clear is not None and finding.clears is not Truth.TRUE:
        return alert
    quiet_since = alert.quiet_since or now
    if now - quiet_since < finding.rule.keep_firing_for:
        return _with(alert, quiet_since=quiet_since)
    return _end(alert, EndReason.RECOVERED, now)


def _move_without_data(alert: Alert, rule: Rule, now: datetime) -> Alert:
    since = alert.no_data_since or now
    if rule.no_data is NoDataPolicy.RESOLVE:
        return _end(alert, EndReason.NO_DATA, now)
    if rule.no_data is NoDataPolicy.KEEP and now - since >= NO_DATA_LIMIT:
        return _end(alert, EndReason.NO_DATA, now)
    return _with(alert, no_data_since=since)


def _credit_no_data(alert: Alert, now: datetime) -> Alert:
    """Time without data does not count against keep_firing_for: what has run out of it waits meanwhile."""
    if alert.no_data_since is None:
        return alert
    waited = now - alert.no_data_since
    quiet_since = alert.quiet_since + waited if alert.quiet_since else None
    return replace(alert, no_data_since=None, quiet_since=quiet_since)


def _end(alert: Alert, reason: EndReason, now: datetime) -> Alert:
    return replace(alert, state=AlertState.ENDED, ended_at=now, reason=reason, unknown=False)


def _depart(alert: Alert, rule: Rule | None, now: datetime) -> Alert:
    if alert.state is AlertState.ENDED:
        return alert
    changed = rule is None or alert.by != rule.selection.shape
    return _end(alert, EndReason.RULE_CHANGED if changed else EndReason.PROJECT_GONE, now)


def _is_material(old: Alert, new: Alert) -> bool:
    """Whether the stored alert is out of date."""
    return bool(_stored(old) != _stored(new))


def _edges(edges: Iterable[tuple[Alert | None, Alert]], now: datetime) -> Iterable[Transition]:
    for old, new in edges:
        was = old.state if old is not None else AlertState.INACTIVE
        if was is not new.state:
            yield Transition(now, new.rule, new.identity, was, new.state, new.reason, new.value)
