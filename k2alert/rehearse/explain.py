"""Why a rule fires, or does not: the scene of a round, a rule and a label set come in, an explanation goes out.

The same functions that judge and tell are asked, so that an explanation cannot disagree with them. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from k2alert.cycle import Scene, judge_one, targets_of
from k2alert.judge.condition import Condition
from k2alert.judge.grammar import Use
from k2alert.judge.scope import Scope
from k2alert.model import Alert, AlertState, EvidenceRefs, Finding, LogEntry, Project, Rule, Truth
from k2alert.notify.route import Route, routes_for
from k2alert.stale import is_complete
from k2alert.telling import value_text
from k2alert.telling import wanted as evidence_wanted
from k2alert.times import format_duration, human_duration, iso, to_ms
from k2alert.universe import Target

__all__ = ["Explanation", "Line", "explain", "matching_targets"]


@dataclass(frozen=True, slots=True)
class Line:
    """One metric of the condition: as written, over which window, from how many samples, to what value."""

    text: str
    window: str
    samples: int
    value: float | int | str | None
    shown: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """One rule and one label set at one time."""

    at: datetime
    rule: Rule
    target: Target
    finding: Finding
    alert: Alert | None
    lines: tuple[Line, ...]
    why: str
    routes: tuple[Route, ...]
    told: tuple[LogEntry, ...]
    evidence: EvidenceRefs | None


def matching_targets(
    scene: Scene, rule: Rule, wanted: Sequence[tuple[str, str]], *, now: datetime
) -> tuple[Target, ...]:
    """The rule's label sets whose labels have these values."""
    return tuple(
        target
        for target in targets_of(scene, rule, now=now)
        if all(target.labels.get(name, "") == value for name, value in wanted)
    )


def explain(scene: Scene, rule: Rule, target: Target, *, now: datetime) -> Explanation:
    """Judges the rule for the label set as the cycle would, and says what came of it."""
    finding = judge_one(scene, rule, target, now=now)
    alert = scene.alerts.get((rule.name, target.identity))
    route = scene.config.route
    refs = evidence_wanted(scene, [alert] if alert else [], {rule.name: rule}, now=now)
    return Explanation(
        at=now,
        rule=rule,
        target=target,
        finding=finding,
        alert=alert,
        lines=_lines(scene, rule, target, now),
        why=_why(scene, rule, target, finding, alert, now),
        routes=routes_for(route, target.labels) if route is not None else (),
        told=tuple(entry for entry in scene.log if alert is not None and alert.key in entry.told),
        evidence=refs.get(alert.key) if alert is not None else None,
    )


def _lines(scene: Scene, rule: Rule, target: Target, now: datetime) -> tuple[Line, ...]:
    condition: Condition = rule.condition
    scope = Scope(
        rule,
        identity=target.identity,
        labels=target.labels,
        measures=scene.measures,
        metrics=scene.metrics,
        at=to_ms(now),
    )
    return tuple(
        Line(
            text=term.text,
            window=_window(rule, term.use),
            samples=scope.samples_of(term.use),
            value=term.value,
            shown="no data" if term.value is None else value_text(term.value, scene.metrics[term.use.metric]),
        )
        for term in condition.terms(scope)
    )


def _window(rule: Rule, use: Use) -> str:
    window = use.window
    if window is None:
        over = rule.period
    else:
        over = format_duration(window.length) if window.length is not None else f"{window.runs} runs"
    return f"{over}, {format_duration(use.offset)} ago" if use.offset else over


def _why(scene: Scene, rule: Rule, target: Target, finding: Finding, alert: Alert | None, now: datetime) -> str:
    if finding.error:
        return "judging it failed: " + finding.error.strip().splitlines()[-1]
    if finding.truth is Truth.UNKNOWN:
        return _why_unknown(scene, rule, target, now)
    if finding.truth is Truth.NO_DATA:
        return _why_no_data(rule, alert, now)
    state = alert.state if alert is not None else AlertState.INACTIVE
    if state is AlertState.PENDING and alert is not None and alert.active_at is not None:
        left = rule.hold - (now - alert.active_at)
        return f"pending since {iso(alert.active_at)}; it fires if it holds for {human_duration(left)} more"
    if finding.truth is Truth.TRUE:
        since = f" since {iso(alert.fired_at)}" if alert is not None and alert.fired_at else ""
        return f"the condition holds{since}"
    if state is AlertState.FIRING:
        return "the condition does not hold any more; it goes on firing for `clear` or `keep_firing_for`"
    return "the condition does not hold"


def _why_unknown(scene: Scene, rule: Rule, target: Target, now: datetime) -> str:
    sources = {source.name: source for source in scene.config.sources}
    for project in scene.projects:
        source = sources.get(project.source)
        if (project.source, project.path) not in target.members or source is None:
            continue
        if not is_complete(project, source, rule.look_back, now=now):
            return f"unknown: {_what_is_missing(project, now - rule.look_back)}"
    return "unknown: none of its projects is known"


def _what_is_missing(project: Project, needed_since: datetime) -> str:
    because = f": {project.failure}" if project.failure else ""
    if project.covered_since is None or project.complete_at is None:
        return f"{project.path} has not been read to the end yet{because}"
    if project.covered_since > needed_since:
        return f"the history of {project.path} is recorded from {iso(project.covered_since)} on, not before"
    return f"{project.path} was last read to the end {iso(project.complete_at)}{because}"


def _why_no_data(rule: Rule, alert: Alert | None, now: datetime) -> str:
    needed = f" (fewer than min_samples {rule.min_samples}?)" if rule.min_samples > 1 else ""
    if alert is not None and alert.state is AlertState.FIRING:
        since = f" for {human_duration(now - alert.no_data_since)}" if alert.no_data_since else ""
        return f"no data{since}{needed}; it stays firing (no_data: {rule.no_data.value})"
    return f"no data{needed}"
