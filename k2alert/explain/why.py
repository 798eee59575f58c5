"""Why a rule's alert is in its state: a finding, the alert and the values come in, one reason goes out. Pure.

The order of the questions is that of the alert's life (alert/lifecycle.py): was it judged, has it data, does the
condition hold, and what then keeps it from beginning or ending.
"""

from collections.abc import Sequence
from datetime import datetime

from k2alert.alert.lifecycle import NO_DATA_LIMIT
from k2alert.cycle import Scene
from k2alert.explain.explanation import Figure, Reason
from k2alert.judge.condition import Condition
from k2alert.model import Alert, AlertState, Finding, NoDataPolicy, Project, Rule, Truth
from k2alert.stale import is_complete, is_current
from k2alert.telling import value_text
from k2alert.times import human_duration, iso
from k2alert.universe import Target

__all__ = ["why"]


def why(
    scene: Scene, target: Target, finding: Finding, alert: Alert | None, figures: Sequence[Figure], *, now: datetime
) -> Reason:
    """Why the alert (None: never judged) is as it is at this time."""
    rule = finding.rule
    if finding.error:
        return Reason("error", "judging it failed: " + finding.error.strip().splitlines()[-1])
    if finding.truth is Truth.UNKNOWN:
        return _unknown(scene, rule, target, alert, now)
    if finding.truth is Truth.NO_DATA:
        return _no_data(rule, alert, figures, now)
    if finding.truth is Truth.TRUE:
        return _true(rule, alert, now)
    return _false(scene, finding, alert)


# ------------------------------------------------------------------------------------------ not judged


def _unknown(scene: Scene, rule: Rule, target: Target, alert: Alert | None, now: datetime) -> Reason:
    sources = {source.name: source for source in scene.config.sources}
    held = f"; its alert stays {alert.state.value}" if alert is not None else ""
    for project in scene.projects:
        source = sources.get(project.source)
        if (project.source, project.path) not in target.members or source is None:
            continue
        if not is_complete(project, source, rule.look_back, now=now):
            code, text = _incomplete(project, now, rule, is_current(project, source, now=now))
            return Reason(code, f"unknown: {text}{held}")
    return Reason("no_project", f"unknown: none of its projects is known{held}")


def _incomplete(project: Project, now: datetime, rule: Rule, current: bool) -> tuple[str, str]:
    because = f": {project.failure}" if project.failure else ""
    if project.covered_since is None or project.complete_at is None:
        return "backfilling", f"{project.path} has not been read to the end yet{because}"
    if not current:
        return "stale", f"{project.path} was last read to the end {iso(project.complete_at)}{because}"
    since, needed = iso(project.covered_since), iso(now - rule.look_back)
    text = f"the history of {project.path} is recorded from {since} on, and the rule looks back to {needed}"
    return "backfilling", text


# --------------------------------------------------------------------------------------------- no data


def _no_data(rule: Rule, alert: Alert | None, figures: Sequence[Figure], now: datetime) -> Reason:
    missing = [(figure, figure.missing) for figure in figures if figure.missing is not None]
    what = "; ".join(f"{figure.text}: {reason.text}" for figure, reason in missing) or "a division by zero"
    code = missing[0][1].code if missing else "no_value"
    return Reason(code, f"no data ({what}){_meanwhile(rule, alert, now)}")


def _meanwhile(rule: Rule, alert: Alert | None, now: datetime) -> str:
    """What no data does to the alert."""
    state = alert.state if alert is not None else AlertState.INACTIVE
    if alert is not None and state is AlertState.FIRING:
        if rule.no_data is not NoDataPolicy.KEEP:
            return f"; no_data: {rule.no_data.value}"
        until = f", until {iso(alert.no_data_since + NO_DATA_LIMIT)} at most" if alert.no_data_since else ""
        return f"; it stays firing{until} (no_data: keep)"
    if rule.no_data is NoDataPolicy.ALERT:
        return f"; that is the alarm (no_data: alert){_left(rule, alert, now)}"
    return ""


# ----------------------------------------------------------------------------------- it holds, or not


def _true(rule: Rule, alert: Alert | None, now: datetime) -> Reason:
    if alert is None or alert.state in (AlertState.INACTIVE, AlertState.ENDED):
        return Reason("next_round", "the condition holds; the next round begins its alert")
    if alert.state is AlertState.PENDING:
        return Reason("for", f"the condition holds{_left(rule, alert, now)}")
    return Reason("holds", f"the condition holds since {iso(alert.active_at or now)}")


def _left(rule: Rule, alert: Alert | None, now: datetime) -> str:
    if alert is None or alert.state is not AlertState.PENDING or alert.active_at is None:
        return ""
    left = max(rule.hold - (now - alert.active_at), now - now)
    return (
        f"; pending since {iso(alert.active_at)}, it fires if that goes on for {human_duration(left)} more "
        f"(for: {human_duration(rule.hold)})"
    )


def _false(scene: Scene, finding: Finding, alert: Alert | None) -> Reason:
    rule = finding.rule
    distance = _distance(scene, finding)
    text, no_more = f"the condition does not hold{distance}", f"the condition does not hold any more{distance}"
    state = alert.state if alert is not None else AlertState.INACTIVE
    if alert is not None and state is AlertState.FIRING:
        return _still_firing(rule, finding, alert, no_more)
    if state is AlertState.PENDING:
        return Reason("threshold", f"{no_more}; the next round ends its pending")
    if alert is not None and state is AlertState.ENDED and alert.ended_at is not None:
        reason = f" ({alert.reason.value})" if alert.reason is not None else ""
        return Reason("threshold", f"{text}; it ended {iso(alert.ended_at)}{reason}")
    return Reason("threshold", text)


def _still_firing(rule: Rule, finding: Finding, alert: Alert, no_more: str) -> Reason:
    if rule.clear is not None and finding.clears is not Truth.TRUE:
        no_data = ", which has no data" if finding.clears is Truth.NO_DATA else ""
        return Reason("clear", f"{no_more}; it fires until `clear` does: {rule.clear.text}{no_data}")
    if rule.keep_firing_for:
        until = f" until {iso(alert.quiet_since + rule.keep_firing_for)}" if alert.quiet_since else ""
        kept = human_duration(rule.keep_firing_for)
        return Reason("keep_firing_for", f"{no_more}; it goes on firing{until} (keep_firing_for: {kept})")
    return Reason("next_round", f"{no_more}; the next round ends its alert")


def _distance(scene: Scene, finding: Finding) -> str:
    """The first value beside what it would have to be: " (success_rate is 97.1%, not < 95%)"."""
    condition: Condition = finding.rule.condition
    if condition.first is None or finding.threshold is None or not condition.operator or finding.value is None:
        return ""
    metric = scene.metrics[condition.first.metric]
    value, threshold = value_text(finding.value, metric), value_text(finding.threshold, metric)
    return f" ({condition.first.metric} is {value}, not {condition.operator} {threshold})"
