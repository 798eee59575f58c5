"""Rules against history: a scene with all its facts and a span of time come in; incidents and messages go out.

The same as one round after the other (`world.World`), which tests hold it against, but each rule is judged only where
its alert may change (`outlook`), and people are told only where something may be due (`hearers`). Every judgement,
every step of an alert and every message is the daemon's own code.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from k2alert.alert.lifecycle import NO_DATA_LIMIT, AlertId, step
from k2alert.cycle import Scene, judge_target, target_of
from k2alert.measure.board import Board
from k2alert.model import (
    Alert,
    AlertState,
    EndReason,
    EvidenceRefs,
    Finding,
    Project,
    Rule,
    Transition,
)
from k2alert.rehearse.agenda import Grid, covered_from, kinds_of
from k2alert.rehearse.hearers import Hearers
from k2alert.rehearse.outlook import Case, Outlook, is_target, look_ahead
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
class _Course:
    """What becomes of a case: its alert and the incident that is open, and what lies ahead of it."""

    case: Case
    outlook: Outlook
    alert: Alert | None = None
    incident: Incident | None = None

    @property
    def id(self) -> AlertId:
        return (self.case.rule.name, self.case.target.identity)

    @property
    def is_inactive(self) -> bool:
        return self.alert is None or self.alert.state is AlertState.INACTIVE

    @property
    def is_open(self) -> bool:
        return self.alert is not None and self.alert.state in (AlertState.FIRING, AlertState.ENDED)


class Backtest:
    """One rehearsal. The scene's projects say how far their history reaches; its alerts and log stand aside."""

    def __init__(self, scene: Scene, board: Board, grid: Grid) -> None:
        self._scene = replace(scene, alerts={}, log=())
        self._board = board
        self._grid = grid
        cases = list(self._make_cases())
        self._courses = list(map(_Course, cases, look_ahead(self._scene, board, grid, cases)))
        self._agenda: defaultdict[int, list[int]] = defaultdict(list)
        self._hearers = Hearers(self._scene, grid)
        self._numbers = {course.id: number for number, course in enumerate(self._courses)}
        self._incidents: list[Incident] = []
        self._messages: list[Told] = []
        self._transitions: list[Transition] = []

    def run(self) -> Rehearsed:
        """From the first instant to the last."""
        for number in range(len(self._courses)):
            self._await(number, -1)
        for instant in range(self._grid.count):
            numbers = self._agenda.pop(instant, ())
            if not numbers and instant < self._hearers.next:
                continue
            now = self._grid.at(instant)
            changed = [number for number in dict.fromkeys(numbers) if self._judge(number, instant, now)]
            if changed or instant >= self._hearers.next:
                self._tell(changed, instant)
        return Rehearsed(
            self._grid,
            tuple(self._incidents),
            tuple(self._messages),
            self._judged_from(),
            tuple(self._transitions),
        )

    # --------------------------------------------------------------------------------------- who, when

    def _make_cases(self) -> Iterable[Case]:
        covered = {(project.source, project.path): project.covered_since for project in self._scene.projects}
        for rule in self._scene.config.rules:
            fixed = self._scene.universe.fixed.get(rule.name)
            for target in self._found(rule) if fixed is None else fixed:
                yield Case(rule, target, fixed is not None, _complete_from(rule, target, covered))

    def _found(self, rule: Rule) -> Iterable[Target]:
        """The label sets of a rule with labels of facts, of all times."""
        sets = {labels for kind in kinds_of(rule) for labels in self._board.every_label_set(rule.selection, kind)}
        targets = (target_of(self._scene, rule, identity) for identity in sorted(sets, key=str))
        return [target for target in targets if target is not None]

    def _await(self, number: int, instant: int) -> None:
        """Puts a case on the agenda where it must be judged next."""
        course = self._courses[number]
        following = course.outlook.after(instant, is_inactive=course.is_inactive)
        if following is not None:
            self._agenda[following].append(number)

    def _judged_from(self) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        for course in self._courses:
            rule, complete = course.case.rule, course.case.complete_from
            if complete is not None and complete <= self._grid.end:
                since = max(complete, self._grid.start)
                found[rule.name] = min(since, found.get(rule.name, since))
        return found

    # --------------------------------------------------------------------------------------- judging

    def _judge(self, number: int, instant: int, now: datetime) -> bool:
        """One case at one instant; whether somebody may have to hear of it."""
        heard = self._move(number, instant, now)
        self._await(number, instant)
        return heard

    def _move(self, number: int, instant: int, now: datetime) -> bool:
        course = self._courses[number]
        if course.is_inactive and not is_target(self._board, course.case, to_ms(now)):
            course.alert = None
            return False
        before = course.alert
        finding = self._finding(course.case, now)
        made = step({} if before is None else {course.id: before}, [finding], rules={}, now=now)
        after = course.alert = made.alerts.get(course.id)
        if after is None or after is before:
            return False
        self._transitions += made.transitions
        self._note(course, finding, now)
        self._wake(number, instant, after, bool(made.transitions))
        self._hearers.note(course.id, after)
        return bool(made.transitions) or (before is not None and before.unknown != after.unknown)

    def _tell(self, changed: Iterable[int], instant: int) -> None:
        told, back = self._hearers.tell((self._courses[number].id for number in changed), instant)
        self._messages += told
        for alert in back:
            number = self._numbers[alert.rule, alert.identity]
            self._courses[number].alert = alert
            self._agenda[instant + 1].append(number)

    def _finding(self, case: Case, now: datetime) -> Finding:
        members: frozenset[ProjectId] = frozenset(case.target.members) if _is_complete(case, now) else frozenset()
        return judge_target(self._scene, case.rule, case.target, members, to_ms(now))

    def _wake(self, number: int, instant: int, alert: Alert, moved: bool) -> None:
        """When it must be looked at again though no fact comes or goes."""
        if moved:  # a label set without facts is let go of in the round after its alert is over
            self._agenda[instant + 1].append(number)
        rule = self._courses[number].case.rule
        waits = (
            (alert.active_at, rule.hold, alert.state is AlertState.PENDING),
            (alert.quiet_since, rule.keep_firing_for, alert.state is AlertState.FIRING),
            (alert.no_data_since, NO_DATA_LIMIT, alert.state is AlertState.FIRING),
        )
        for since, length, counts in waits:
            if since is not None and counts:
                self._agenda[max(self._grid.first(since + length), instant + 1)].append(number)

    def _note(self, course: _Course, finding: Finding, now: datetime) -> None:
        """Keeps the incident up with its alert."""
        alert, rule = course.alert, course.case.rule
        if alert is None or not course.is_open:
            return
        if alert.state is AlertState.FIRING and course.incident is None:
            refs = wanted(self._scene, [alert], {rule.name: rule}, now=now).get(alert.key)
            course.incident = Incident(rule, alert, now, alert.value, refs)
            self._incidents.append(course.incident)
        incident = course.incident
        if incident is None:
            return
        incident.peak = _worse(rule, incident.peak, alert.value)
        if alert.state is AlertState.ENDED:
            incident.ended_at, incident.reason, course.incident = alert.ended_at, alert.reason, None


def _is_complete(case: Case, now: datetime) -> bool:
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
