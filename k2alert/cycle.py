"""One evaluation, from facts to notifications, as pure functions: read this first.

`plan` takes the state of things at one instant and says what the alerts become and who is due to be told;
telling.py turns what is due into messages, once the store has looked up the evidence. Nothing here does I/O,
reads a clock or changes what it was given. The round around it (rounds.py) is:

1. now = clock(); 2. plan(...); 3. store the alerts (decided before anyone is told); 4. compose and deliver, each
message stored as tried before it goes; 5. store the log (told, so written).

A crash before 3 repeats the evaluation; a message that was in flight is said again before anything is judged.
"""

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from operator import is_

from k2alert.alert.lifecycle import AlertId, Step, rests, step, stepping, stepping_some
from k2alert.config.model import Config
from k2alert.judge.judge import judge
from k2alert.kept import Kept
from k2alert.labels import Labels
from k2alert.model import (
    FAILING_ALERT,
    STALE_ALERT,
    Alert,
    AlertState,
    Finding,
    Hush,
    Kind,
    LogEntry,
    Measures,
    Metric,
    Project,
    Rule,
    Silence,
    Truth,
)
from k2alert.notify.address import address
from k2alert.notify.digest import digests_due, digests_of
from k2alert.notify.dues import Due
from k2alert.notify.hush import hushes
from k2alert.notify.outlook import Outlook, looking_out
from k2alert.notify.plan import due, due_of
from k2alert.notify.push import PushState
from k2alert.notify.unreached import Who
from k2alert.pauses import Pausing, at_once
from k2alert.stale import current_ones, needed, stale_findings
from k2alert.times import to_ms
from k2alert.undelivered import undelivered_findings
from k2alert.universe import ProjectId, Target, Universe, alert_labels

__all__ = [
    "BUILT_IN",
    "Plan",
    "Scene",
    "concerning",
    "due_now",
    "due_to",
    "hushes_of",
    "judge_one",
    "judge_target",
    "plan",
    "planning",
    "planning_whom",
    "target_of",
    "targets_of",
]

_AT_A_TIME = 1000  # projects looked at before others may work


BUILT_IN = (STALE_ALERT, FAILING_ALERT)
"""The rules that are judged in every round, for they are about ourselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything a round looks at. `started_at` is when this process began to collect.

    `pushed` is how pushes go to those that are pushed to; None where nobody knows yet.
    """

    config: Config
    metrics: Mapping[str, Metric]
    measures: Measures
    universe: Universe
    projects: Sequence[Project]
    alerts: Mapping[AlertId, Alert]
    log: Sequence[LogEntry]
    started_at: datetime
    silences: Sequence[Silence] = ()
    pushed: Mapping[Who, PushState | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a round decided: the findings, and the alerts after it; of which scene."""

    now: datetime
    findings: tuple[Finding, ...]
    step: Step
    scene: Scene

    @property
    def due(self) -> tuple[Due, ...]:
        """What is due to be said. Worked out when it is asked for: the desks plan anew once the alerts are stored."""
        return due_now(self.scene, self.step.alerts, now=self.now)


def plan(scene: Scene, *, now: datetime) -> Plan:
    """One evaluation of every rule over every label set, at one instant."""
    findings = (*_judge_all(scene, now=now), *_built_in(scene, now))
    after = step(scene.alerts, findings, rules=_rules(scene, findings), now=now)
    return Plan(now=now, findings=findings, step=after, scene=scene)


def planning(scene: Scene, kept: Kept, *, now: datetime) -> Pausing[Plan]:
    """The same as `plan`, of a scene on the kept board; judges and moves only what can have changed since."""
    changed, same_targets = yield from _judge_anew(scene, kept, now)
    yield
    built_in = tuple(_built_in(scene, now))
    yield
    findings = (*chain.from_iterable(rule.findings for rule in kept.rules), *built_in)
    moving = _moving(scene.alerts, kept, changed) if same_targets else None
    after = None
    if moving is not None:
        after = yield from stepping_some(scene.alerts, [*moving, *built_in], now=now)
    if after is None:
        after = yield from stepping(scene.alerts, findings, rules=_rules(scene, findings), now=now)
        moving = findings[: len(findings) - len(built_in)]
        kept.restless.clear()
    yield
    for finding in moving or ():
        yield
        identity = (finding.rule.name, finding.identity)
        (set.discard if rests(after.alerts.get(identity), finding) else set.add)(kept.restless, identity)
    kept.end(after.alerts)
    return Plan(now=now, findings=findings, step=after, scene=scene)


def _built_in(scene: Scene, now: datetime) -> Iterator[Finding]:
    yield from stale_findings(scene.config, scene.projects, scene.started_at, now=now)
    yield from undelivered_findings(scene.config, scene.log, scene.pushed, now=now)


def _rules(scene: Scene, findings: Iterable[Finding]) -> dict[str, Rule]:
    return {finding.rule.name: finding.rule for finding in findings} | {rule.name: rule for rule in scene.config.rules}


def _judge_anew(scene: Scene, kept: Kept, now: datetime) -> Pausing[tuple[set[tuple[int, int]], bool]]:
    """Judges what must be; the places of findings that are others now, and whether all have the targets they had."""
    at = to_ms(now)
    mark = kept.begin(at)
    complete = yield from _completing(scene, {rule.look_back for rule in scene.config.rules}, now)
    same_universe, kept.universe = kept.universe is scene.universe, scene.universe
    todo: list[tuple[int, int]] = []
    same_targets = True
    for number, rule in enumerate(kept.rules):
        targets = yield from _targets(scene, rule.rule, now, rule.target_of if same_universe else _unknown)
        yield
        same_targets &= not rule.turn_to(targets)
        yield
        todo += [(place, number) for place in rule.open_places(kept.board, mark, complete[rule.rule.look_back], at)]
        yield
    changed: set[tuple[int, int]] = set()
    for place, number in sorted(todo):  # mostly one project after the other: a processor likes its facts to be at hand
        yield
        rule = kept.rules[number]
        finding = judge_target(scene, rule.rule, rule.targets[place], complete[rule.rule.look_back], at)
        if rule.put(place, finding, kept.board, at):
            changed.add((number, place))
    return changed, same_targets


def _moving(alerts: Mapping[AlertId, Alert], kept: Kept, changed: set[tuple[int, int]]) -> tuple[Finding, ...] | None:
    """The findings whose alerts may move, in their order; None where it cannot be said which do."""
    if len(alerts) != len(kept.alerts):
        return None
    others = list(kept.restless)
    if not all(map(is_, alerts.values(), kept.alerts.values())):  # some were forgotten meanwhile
        for (identity, alert), (was, before) in zip(alerts.items(), kept.alerts.items(), strict=True):
            if alert is not before:
                if identity != was:
                    return None
                others.append(identity)
    places = [kept.place_of(identity) for identity in others if identity[0] not in BUILT_IN]
    if None in places:
        return None
    found = changed.union(place for place in places if place is not None)
    return tuple(kept.rules[number].findings[place] for number, place in sorted(found))


def due_now(scene: Scene, alerts: Mapping[AlertId, Alert], *, now: datetime) -> tuple[Due, ...]:
    """What the receivers are due to hear of these alerts."""
    by_key = concerning(alerts, scene.log)
    route, receivers = scene.config.route, scene.config.receivers
    hushed = hushes(by_key, scene.silences, scene.config.inhibitions, now=now)
    return (
        *due(alerts=by_key, log=scene.log, route=route, receivers=receivers, now=now, hushed=hushed, address=address),
        *digests_due(alerts=by_key, log=scene.log, route=route, receivers=receivers, now=now, hushed=hushed),
    )


def planning_whom(scene: Scene, alerts: Mapping[AlertId, Alert], *, now: datetime) -> Pausing[Outlook]:
    """What it takes to plan who hears of these alerts, one integration after the other, with pauses."""
    by_key = concerning(alerts, scene.log)
    yield
    hushed = hushes(by_key, scene.silences, scene.config.inhibitions, now=now)
    yield
    return (yield from looking_out(by_key, scene.config.route, scene.config.receivers, hushed))


def due_to(who: Who, outlook: Outlook, log: Sequence[LogEntry], *, now: datetime) -> Pausing[tuple[Due, ...]]:
    """What `due_now` says of one integration."""
    singly = yield from due_of(who, outlook, log=log, now=now, address=address)
    return (*singly, *digests_of(who, outlook, log=log, now=now))


def concerning(alerts: Mapping[AlertId, Alert], log: Iterable[LogEntry]) -> dict[str, Alert]:
    """The alerts that somebody may have to hear of, by `Alert.key`: all but the inactive ones of which nobody was told.

    An inactive alert says nothing, unless somebody was last told that it fires. Most alerts are inactive.
    """
    found = {alert.key: alert for alert in alerts.values() if alert.state is not AlertState.INACTIVE}
    told = {
        key
        for entry in log
        if not entry.closed
        for key, state in entry.told.items()
        if state is AlertState.FIRING and key not in found
    }
    if told:  # rarely: it has gone on, or is gone
        found |= {alert.key: alert for alert in alerts.values() if alert.key in told}
    return found


def hushes_of(scene: Scene, alerts: Mapping[AlertId, Alert], *, now: datetime) -> dict[str, Hush]:
    """Which of these alerts are silenced or inhibited, by `Alert.key`."""
    by_key = concerning(alerts, ())
    return hushes(by_key, scene.silences, scene.config.inhibitions, now=now)


def _judge_all(scene: Scene, *, now: datetime) -> Iterator[Finding]:
    """Every rule's findings, in the order of the files."""
    at = to_ms(now)
    complete = at_once(_completing(scene, {rule.look_back for rule in scene.config.rules}, now))
    for rule in scene.config.rules:
        for target in targets_of(scene, rule, now=now):
            yield judge_target(scene, rule, target, complete[rule.look_back], at)


def judge_one(scene: Scene, rule: Rule, target: Target, *, now: datetime) -> Finding:
    """One rule judged for one label set, as the cycle does it."""
    complete = at_once(_completing(scene, [rule.look_back], now))[rule.look_back]
    return judge_target(scene, rule, target, complete, to_ms(now))


def targets_of(scene: Scene, rule: Rule, *, now: datetime) -> tuple[Target, ...]:
    """The label sets that a rule is judged for at this time."""
    return at_once(_targets(scene, rule, now))


def judge_target(scene: Scene, rule: Rule, target: Target, complete: frozenset[ProjectId], at: int) -> Finding:
    """One rule judged for one label set at `at` (ms); unknown unless all its projects are among the complete ones."""
    if not complete.issuperset(target.members):
        return Finding(rule=rule, identity=target.identity, labels=target.labels, truth=Truth.UNKNOWN)
    try:
        return judge(
            rule,
            identity=target.identity,
            labels=target.labels,
            measures=scene.measures,
            metrics=scene.metrics,
            at=at,
        )
    except Exception:  # a bug in one rule must not silence the others: it is unknown, and says so
        return Finding(
            rule=rule,
            identity=target.identity,
            labels=target.labels,
            truth=Truth.UNKNOWN,
            error=traceback.format_exc(),
        )


def _completing(
    scene: Scene, look_backs: Iterable[timedelta], now: datetime
) -> Pausing[dict[timedelta, frozenset[ProjectId]]]:
    """The projects whose data is complete enough to be judged, over each of the look-backs."""
    found: dict[timedelta, set[ProjectId]] = {look_back: set() for look_back in look_backs}
    for source in scene.config.sources:
        known = [project for project in scene.projects if project.source == source.name]
        for first in range(0, len(known), _AT_A_TIME):
            yield
            some = current_ones(known[first : first + _AT_A_TIME], source, now=now)
            covered = [(since, (project.source, project.path)) for project, since in some]
            for look_back, complete in found.items():
                limit = now - needed(source, look_back)
                complete.update([project for since, project in covered if since <= limit])
    yield
    return {look_back: frozenset(complete) for look_back, complete in found.items()}


def _unknown(identity: Labels) -> Target | None:
    """No target is known from before."""


def _targets(
    scene: Scene, rule: Rule, now: datetime, known: Callable[[Labels], Target | None] = _unknown
) -> Pausing[tuple[Target, ...]]:
    """The label sets that a rule is judged for; of one with labels of facts, those with one in the period or an open
    alert. What is `known` of this universe is not worked out again.
    """
    fixed = scene.universe.fixed.get(rule.name)
    if fixed is not None:
        return fixed
    found: list[Target] = []
    for identity in sorted(_label_sets(scene, rule, now), key=str):
        yield
        target = known(identity) or target_of(scene, rule, identity)
        if target is not None:
            found.append(target)
    return tuple(found)


def target_of(scene: Scene, rule: Rule, identity: Labels) -> Target | None:
    """A label set found in facts as a target of the rule; None where it is of no project that the rule may see."""
    of = _members_of(identity, scene.universe.members[rule.name], scene.config)
    return Target(identity, alert_labels(scene.config, rule, identity), of) if of else None


def _label_sets(scene: Scene, rule: Rule, now: datetime) -> set[Labels]:
    kinds = {scene.metrics[name].kind for name in rule.condition.metrics}
    found: set[Labels] = set()
    for kind in kinds:
        if isinstance(kind, Kind):
            found.update(scene.measures.label_sets(rule.selection, rule.window, to_ms(now), kind))
    found.update(
        alert.identity
        for (name, _), alert in scene.alerts.items()
        if name == rule.name and alert.state is not AlertState.INACTIVE and alert.by == rule.selection.shape
    )
    return found


def _members_of(identity: Labels, members: frozenset[ProjectId], config: Config) -> tuple[ProjectId, ...]:
    """The projects behind a label set: its own project, or all of its source that carry its labels."""
    source, project = identity.get("source", ""), identity.get("project")
    if project is not None:
        return ((source, project),) if (source, project) in members else ()
    return tuple(
        member
        for member in sorted(members)
        if member[0] == source
        and all(identity.get(name, value) == value for name, value in config.labels_of_project(*member).items())
    )
