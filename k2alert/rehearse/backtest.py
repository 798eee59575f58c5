"""Rules against history: a scene with all its facts and a span of time come in; incidents and messages go out.

The same as one round after the other (`world.World`), which tests hold it against, but each rule is judged only where
its finding may change (`agenda`), and people are told only where something may be due. Every judgement, every step of
an alert and every message is the daemon's own code.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from k2alert.alert.lifecycle import NO_DATA_LIMIT, AlertId, step
from k2alert.cycle import Scene, judge_target, target_of
from k2alert.judge.judge import truth_of
from k2alert.measure.board import Board
from k2alert.model import (
    Alert,
    AlertState,
    EndReason,
    EvidenceRefs,
    Finding,
    NoDataPolicy,
    Project,
    Rule,
    Transition,
    Truth,
)
from k2alert.rehearse.agenda import Grid, covered_from, is_restless, kinds_of, moments_of
from k2alert.rehearse.hearers import Hearers
from k2alert.rehearse.world import Told
from k2alert.telling import wanted
from k2alert.times import to_ms
from k2alert.universe import ProjectId, Target

__all__ = ["Backtest", "Incident", "Rehearsed", "in_history"]


@dataclass(slots=True)
class Incident:
    """One alert from its firing to its end; `ended_at` None: it fires still. `peak` is the worst value in between."""

    rule: Rule
    alert: Alert
    fired_at: datetime
    peak: float | int | str | None
    refs: EvidenceRefs | None
    ended_at: datetime | None = None
    reason: EndReason | None = None


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What rules would have done: incidents in the order of firing, messages in the order of time.

    `judged_from` says of each rule from when on its look-back lay inside the history of some project; rules that are
    not there never could be judged.
    """

    grid: Grid
    incidents: tuple[Incident, ...]
    messages: tuple[Told, ...]
    judged_from: Mapping[str, datetime]
    transitions: tuple[Transition, ...] = ()


@dataclass(slots=True)
class _Case:
    """A rule and a label set. `is_fixed`: it is judged whether or not it has facts. `complete_from`: unknown before."""

    rule: Rule
    target: Target
    is_fixed: bool
    complete_from: datetime | None
    alert: Alert | None = None
    incident: Incident | None = None

    @property
    def id(self) -> AlertId:
        return (self.rule.name, self.target.identity)

    @property
    def is_open(self) -> bool:
        return self.alert is not None and self.alert.state in (AlertState.FIRING, AlertState.ENDED)


class Backtest:
    """One rehearsal. The scene's projects say how far their history reaches; its alerts and log stand aside."""

    def __init__(self, scene: Scene, board: Board, grid: Grid) -> None:
        self._scene = replace(scene, alerts={}, log=())
        self._board = board
        self._grid = grid
        self._cases = list(self._make_cases())
        self._agenda: defaultdict[int, list[int]] = defaultdict(list)
        self._hearers = Hearers(self._scene, grid)
        self._numbers = {case.id: number for number, case in enumerate(self._cases)}
        self._incidents: list[Incident] = []
        self._messages: list[Told] = []
        self._transitions: list[Transition] = []
        self._plan()

    def run(self) -> Rehearsed:
        """From the first instant to the last."""
        restless = [number for number, case in enumerate(self._cases) if is_restless(case.rule)]
        for number in range(self._grid.count):
            numbers = self._agenda.pop(number, ())
            if not numbers and not restless and number < self._hearers.next:
                continue
            now = self._grid.at(number)
            changed = [one for one in dict.fromkeys((*numbers, *restless)) if self._judge(one, number, now)]
            if changed or number >= self._hearers.next:
                self._tell(changed, number)
        return Rehearsed(
            self._grid,
            tuple(self._incidents),
            tuple(self._messages),
            self._judged_from(),
            tuple(self._transitions),
        )

    # --------------------------------------------------------------------------------------- who, when

    def _make_cases(self) -> Iterable[_Case]:
        covered = {(project.source, project.path): project.covered_since for project in self._scene.projects}
        for rule in self._scene.config.rules:
            fixed = self._scene.universe.fixed.get(rule.name)
            for target in self._found(rule) if fixed is None else fixed:
                yield _Case(rule, target, fixed is not None, _complete_from(rule, target, covered))

    def _found(self, rule: Rule) -> Iterable[Target]:
        """The label sets of a rule with labels of facts, of all times."""
        sets = {labels for kind in kinds_of(rule) for labels in self._board.every_label_set(rule.selection, kind)}
        targets = (target_of(self._scene, rule, identity) for identity in sorted(sets, key=str))
        return [target for target in targets if target is not None]

    def _plan(self) -> None:
        """Puts every case on the agenda wherever its finding may change."""
        for number, case in enumerate(self._cases):
            instants = self._grid.numbers(moments_of(self._board, case.rule, case.target.identity)) | {0}
            if case.complete_from is not None:
                instants.add(self._grid.first(case.complete_from))
            for instant in instants:
                self._agenda[instant].append(number)

    def _judged_from(self) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        for case in self._cases:
            if case.complete_from is not None and case.complete_from <= self._grid.end:
                since = max(case.complete_from, self._grid.start)
                found[case.rule.name] = min(since, found.get(case.rule.name, since))
        return found

    # --------------------------------------------------------------------------------------- judging

    def _judge(self, number: int, instant: int, now: datetime) -> bool:
        """One case at one instant; whether somebody may have to hear of it."""
        case = self._cases[number]
        if not self._is_target(case, now):
            case.alert = None
            return False
        before = case.alert
        if before is not None and self._stays_inactive(case, before, now):
            return False
        finding = self._finding(case, now)
        made = step({} if before is None else {case.id: before}, [finding], rules={}, now=now)
        after = case.alert = made.alerts.get(case.id)
        if after is None or after is before:
            return False
        self._transitions += made.transitions
        self._note(case, finding, now)
        self._wake(number, instant, after, bool(made.transitions))
        self._hearers.note(case.id, after)
        return bool(made.transitions) or (before is not None and before.unknown != after.unknown)

    def _tell(self, changed: Iterable[int], instant: int) -> None:
        told, back = self._hearers.tell((self._cases[number].id for number in changed), instant)
        self._messages += told
        for alert in back:
            number = self._numbers[alert.rule, alert.identity]
            self._cases[number].alert = alert
            self._agenda[instant + 1].append(number)

    def _stays_inactive(self, case: _Case, alert: Alert, now: datetime) -> bool:
        """Whether an inactive alert stays as it is, for its condition does not hold: by far the most there is to do."""
        if alert.state is not AlertState.INACTIVE or alert.unknown or not _is_complete(case, now):
            return False
        rule, target, scene = case.rule, case.target, self._scene
        truth = truth_of(
            rule,
            identity=target.identity,
            labels=target.labels,
            measures=scene.measures,
            metrics=scene.metrics,
            at=to_ms(now),
        )
        return truth is Truth.FALSE or (truth is Truth.NO_DATA and rule.no_data is not NoDataPolicy.ALERT)

    def _is_target(self, case: _Case, now: datetime) -> bool:
        """Whether a round would look at it: it has a fact in the period, or an open alert."""
        if case.is_fixed or (case.alert is not None and case.alert.state is not AlertState.INACTIVE):
            return True
        at, rule = to_ms(now), case.rule
        return any(
            self._board.has_fact(rule.selection, rule.window, at, kind, case.target.identity)
            for kind in kinds_of(rule, clear=False)
        )

    def _finding(self, case: _Case, now: datetime) -> Finding:
        members: frozenset[ProjectId] = frozenset(case.target.members) if _is_complete(case, now) else frozenset()
        return judge_target(self._scene, case.rule, case.target, members, to_ms(now))

    def _wake(self, number: int, instant: int, alert: Alert, moved: bool) -> None:
        """When it must be looked at again though no fact comes or goes."""
        if moved:  # a label set without facts is let go of in the round after its alert is over
            self._agenda[instant + 1].append(number)
        rule = self._cases[number].rule
        waits = (
            (alert.active_at, rule.hold, alert.state is AlertState.PENDING),
            (alert.quiet_since, rule.keep_firing_for, alert.state is AlertState.FIRING),
            (alert.no_data_since, NO_DATA_LIMIT, alert.state is AlertState.FIRING),
        )
        for since, length, counts in waits:
            if since is not None and counts:
                self._agenda[max(self._grid.first(since + length), instant + 1)].append(number)

    def _note(self, case: _Case, finding: Finding, now: datetime) -> None:
        """Keeps the incident up with its alert."""
        alert = case.alert
        if alert is None or not case.is_open:
            return
        if alert.state is AlertState.FIRING and case.incident is None:
            refs = wanted(self._scene, [alert], {case.rule.name: case.rule}, now=now).get(alert.key)
            case.incident = Incident(case.rule, alert, now, alert.value, refs)
            self._incidents.append(case.incident)
        incident = case.incident
        if incident is None:
            return
        incident.peak = _worse(case.rule, incident.peak, alert.value)
        if alert.state is AlertState.ENDED:
            incident.ended_at, incident.reason, case.incident = alert.ended_at, alert.reason, None


def _is_complete(case: _Case, now: datetime) -> bool:
    return case.complete_from is not None and now >= case.complete_from


def _complete_from(rule: Rule, target: Target, covered: Mapping[ProjectId, datetime | None]) -> datetime | None:
    """From when on all projects of a label set are complete; None: never."""
    since = [covered.get(member) for member in target.members]
    known = [covered_from(one, rule) for one in since if one is not None]
    return max(known) if known and len(known) == len(since) else None


def _worse(rule: Rule, peak: float | int | str | None, value: float | int | str | None) -> float | int | str | None:
    """The worse of two values: the smaller where the condition asks for less than something, else the greater."""
    if not isinstance(value, int | float) or not isinstance(peak, int | float):
        return value if peak is None else peak
    return min(peak, value) if rule.condition.operator in ("<", "<=") else max(peak, value)


def in_history(project: Project, *, until: datetime, retention: timedelta) -> Project:
    """The project as a rehearsal takes it: read to the end, complete as far back as facts are kept."""
    covered = project.covered_since
    since = None if covered is None else max(covered, (project.complete_at or until) - retention)
    return replace(project, covered_since=since, complete_at=until, success_at=until, failure="", forbidden=False)
