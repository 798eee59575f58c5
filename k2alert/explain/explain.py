"""One rule and one label set explained. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from k2alert.cycle import Scene, judge_one, targets_of
from k2alert.explain.explanation import Explanation
from k2alert.explain.figures import figures_of, scope_of
from k2alert.explain.hearing import hearings_of, quiet_reasons
from k2alert.explain.why import why
from k2alert.judge.condition import Condition
from k2alert.model import Alert, AlertState, Finding, Hush, Rule
from k2alert.notify.standing import Standing
from k2alert.universe import Target

__all__ = ["as_if_firing", "explain", "matching_targets"]

_FIRST = (AlertState.FIRING, AlertState.PENDING, AlertState.ENDED, AlertState.INACTIVE, None)


def matching_targets(
    scene: Scene, rule: Rule, wanted: Sequence[tuple[str, str]], *, now: datetime
) -> tuple[Target, ...]:
    """The rule's label sets whose labels have these values, those with an open alert first."""
    found = [
        target
        for target in targets_of(scene, rule, now=now)
        if all(target.labels.get(name, "") == value for name, value in wanted)
    ]
    return tuple(sorted(found, key=lambda target: _rank(scene, rule, target)))


def _rank(scene: Scene, rule: Rule, target: Target) -> tuple[int, tuple[tuple[str, str], ...]]:
    alert = scene.alerts.get((rule.name, target.identity))
    return (_FIRST.index(alert.state if alert is not None else None), tuple(target.identity.items()))


def explain(
    scene: Scene,
    rule: Rule,
    target: Target,
    standing: Sequence[Standing],
    hushed: Mapping[str, Hush],
    *,
    now: datetime,
) -> Explanation:
    """Judges the rule for the label set as the cycle would, and says what came of it.

    `hushed` is from `hushes_of`, `standing` from `standings_of`: empty for the past.
    """
    finding = judge_one(scene, rule, target, now=now)
    alert = scene.alerts.get((rule.name, target.identity))
    condition: Condition = rule.condition
    clear: Condition | None = rule.clear
    scope = scope_of(scene, rule, target, now=now)
    figures = figures_of(scene, rule, target, scope, now=now)
    quiet = quiet_reasons(scene, target.labels, alert, hushed, now=now)
    firing = alert is not None and alert.state is AlertState.FIRING
    return Explanation(
        at=now,
        rule=rule,
        target=target,
        finding=finding,
        alert=alert,
        clause=condition.clauses(scope),
        clear=clear.clauses(scope) if clear is not None and firing else None,
        figures=figures,
        reason=why(scene, target, finding, alert, figures, now=now),
        quiet=quiet,
        hearings=hearings_of(scene, target.labels, alert, standing, quiet, now=now),
    )


def as_if_firing(one: Explanation) -> Alert:
    """The alert as it fires, or as it would if it fired now."""
    if one.alert is not None and one.alert.state is AlertState.FIRING:
        return _described(one.alert, one.finding)
    born = Alert(
        rule=one.rule.name,
        identity=one.target.identity,
        labels=one.target.labels,
        severity=one.rule.severity,
        state=AlertState.FIRING,
        by=one.rule.selection.shape,
        active_at=one.at,
        fired_at=one.at,
    )
    return _described(born, one.finding)


def _described(alert: Alert, finding: Finding) -> Alert:
    """With the labels and numbers of now: of a stored alert only its life is up to date."""
    return replace(
        alert,
        labels=finding.labels,
        severity=finding.rule.severity,
        value=finding.value if finding.value is not None else alert.value,
        threshold=finding.threshold,
        samples=finding.samples,
    )
