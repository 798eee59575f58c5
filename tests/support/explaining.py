"""Rules, alerts and explanations with sensible defaults; a test names only what it is about."""

from datetime import timedelta
from typing import Any

from k2alert.cycle import Scene, hushes_of
from k2alert.explain.explain import explain, matching_targets
from k2alert.explain.explanation import Explanation
from k2alert.explain.hearing import standings_of
from k2alert.labels import Labels
from k2alert.model import (
    Alert,
    AlertState,
    Severity,
)
from tests.support.bench import MINUTE, T0

HOUR = timedelta(hours=1)
IDENTITY = Labels({"source": "gitlab", "project": "pay/api"})


def rule_text(condition: str, **keys: str) -> str:
    lines = [f"    {key.rstrip('_')}: {value}" for key, value in keys.items()]
    head = [
        "alert_rules:",
        "  - name: red",
        f"    condition: {condition}",
        "    severity: critical",
        '    message: "m"',
    ]
    return "\n".join([*head, *([] if "period" in keys else ["    period: 24h"]), *lines, ""])


def an_alert(state: AlertState, **fields: Any) -> Alert:
    times = {"active_at": T0 - 10 * MINUTE, "fired_at": T0 - 5 * MINUTE if state is AlertState.FIRING else None}
    return Alert(
        rule="red",
        identity=IDENTITY,
        labels=IDENTITY.merged({"alertname": "red", "severity": "critical"}),
        severity=Severity.CRITICAL,
        state=state,
        by=("project", "source"),
        **({} if state is AlertState.INACTIVE else times) | fields,
    )


def explained(scene: Scene) -> Explanation:
    rule = scene.config.rules[0]
    (target,) = matching_targets(scene, rule, [("project", "pay/api")], now=T0)
    hushed = hushes_of(scene, scene.alerts, now=T0)
    return explain(scene, rule, target, standings_of(scene, hushed), hushed, now=T0)


FIRING, PENDING = an_alert(AlertState.FIRING), an_alert(AlertState.PENDING)
