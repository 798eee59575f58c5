"""`/api/v1/rules` and `/api/v1/alerts` in Prometheus's shape: a snapshot comes in, JSON-able values go out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from k2alert.expose.view import Snapshot
from k2alert.model import Alert, AlertState, Finding, Hush, Rule, Truth
from k2alert.times import iso

__all__ = ["alerts_json", "rules_json"]

_OPEN = (AlertState.PENDING, AlertState.FIRING)


def alerts_json(snapshot: Snapshot, hushes: Mapping[str, Hush] | None = None) -> dict[str, Any]:
    """The pending and firing alerts; `hushes` say by `Alert.key` which are not heard, and why."""
    quiet = hushes or {}
    return {"alerts": [_alert(snapshot, alert, quiet.get(alert.key, Hush())) for alert in _open(snapshot.alerts)]}


def rules_json(
    snapshot: Snapshot,
    *,
    names: Collection[str] = (),
    files: Collection[str] = (),
    alerts: bool = True,
    hushes: Mapping[str, Hush] | None = None,
) -> dict[str, Any]:
    """The rules by the file they stand in (Prometheus's rule groups), each with its open alerts.

    `names` and `files` keep only those; `alerts` False leaves the alerts out, as `exclude_alerts=true` asks. `hushes`
    are those of `alerts_json`.
    """
    by_file: dict[str, list[Rule]] = {}
    for rule in snapshot.rules:
        if (not names or rule.name in names) and (not files or rule.place.file in files):
            by_file.setdefault(rule.place.file, []).append(rule)
    findings = _by_rule(snapshot.findings)
    listed = _by_rule(_open(snapshot.alerts))
    shown, quiet = listed if alerts else {}, hushes or {}
    return {
        "groups": [
            {
                "name": file,
                "file": file,
                "interval": snapshot.interval.total_seconds(),
                "limit": 0,
                "evaluationTime": snapshot.took.total_seconds(),
                "lastEvaluation": iso(snapshot.now),
                "rules": [
                    _rule(snapshot, rule, findings.get(rule.name, ()), listed.get(rule.name, ()))
                    | {
                        "alerts": [
                            _alert(snapshot, one, quiet.get(one.key, Hush())) for one in shown.get(rule.name, ())
                        ]
                    }
                    for rule in rules
                ],
            }
            for file, rules in by_file.items()
        ]
    }


def _rule(snapshot: Snapshot, rule: Rule, findings: Sequence[Finding], alerts: Sequence[Alert]) -> dict[str, Any]:
    errors = [finding.error for finding in findings if finding.error]
    counts = {truth.value: sum(finding.truth is truth for finding in findings) for truth in Truth}
    return {
        "state": _worst(alert.state for alert in alerts),
        "name": rule.name,
        "query": rule.condition.text,
        "duration": rule.hold.total_seconds(),
        "keepFiringFor": rule.keep_firing_for.total_seconds(),
        "labels": {**rule.labels, "severity": rule.severity.value},
        "annotations": {name: text.source for name, text in _texts(rule).items()},
        "health": "err" if errors else "ok" if findings else "unknown",
        "lastError": errors[0].strip().splitlines()[-1] if errors else "",
        "evaluationTime": snapshot.took.total_seconds(),
        "lastEvaluation": iso(snapshot.now),
        "type": "alerting",
        "k2alert": {"period": rule.period, "by": list(rule.selection.by), "judged": counts},
    }


def _worst(states: Iterable[AlertState]) -> str:
    met = set(states)
    return next((state.value for state in (AlertState.FIRING, AlertState.PENDING) if state in met), "inactive")


def _texts(rule: Rule) -> dict[str, Any]:
    return {**rule.annotations, "message": rule.message}


def _alert(snapshot: Snapshot, alert: Alert, hush: Hush) -> dict[str, Any]:
    key = alert.key
    annotations = dict(snapshot.annotations.get(key, {}))
    return {
        "labels": dict(alert.labels),
        "annotations": {**annotations, "message": snapshot.messages.get(key, "")},
        "state": alert.state.value,
        "activeAt": iso(alert.active_at) if alert.active_at else None,
        "value": "NaN" if alert.value is None else str(alert.value),
        "k2alert": {
            "fingerprint": key,
            "firedAt": iso(alert.fired_at) if alert.fired_at else None,
            "threshold": alert.threshold,
            "samples": alert.samples,
            "unknown": alert.unknown,
            "noDataSince": iso(alert.no_data_since) if alert.no_data_since else None,
            **_hush(hush),
        },
    }


def _hush(hush: Hush) -> dict[str, list[str]]:
    return {
        "silencedBy": list(hush.silenced_by),
        "inhibitedBy": list(hush.inhibited_by),
        "mutedBy": list(hush.muted_by),
    }


def _open(alerts: Iterable[Alert]) -> list[Alert]:
    return sorted((alert for alert in alerts if alert.state in _OPEN), key=_order)


def _order(alert: Alert) -> tuple[str, tuple[tuple[str, str], ...]]:
    return (alert.rule, tuple(alert.identity.items()))


def _by_rule(things: Iterable[Any]) -> Mapping[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for thing in things:
        name = thing.rule if isinstance(thing.rule, str) else thing.rule.name
        found.setdefault(name, []).append(thing)
    return found
