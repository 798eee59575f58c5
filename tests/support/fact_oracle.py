"""The metrics of reports, deployments and schedules, computed the plainest way there is, from lists, every time anew.

It shares nothing with `k2alert.measure` but the nouns, and of a report it knows every single execution.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, NamedTuple

from k2alert.labels import Labels
from k2alert.model import (
    RESULTS,
    CoverageEntry,
    DeploymentEntry,
    Measured,
    ReportEntry,
    Result,
    ScheduleEntry,
    Selection,
    Window,
)

NO_DATA = Measured(None, 0)
HOUR = 3_600_000
MINUTE = 60_000
WORKED = RESULTS.index(Result.SUCCESS)
DECIDED = [code for code, result in enumerate(RESULTS) if result.decided]


class Ran(NamedTuple):
    """One execution of one test; tests are numbered within their project."""

    test: int
    passed: bool


@dataclass(frozen=True)
class RawReport:
    """A test report with every execution; without any (`executions` None) it has totals only."""

    stream: int
    ref: int
    finished: int
    sha: bytes
    executions: tuple[Ran, ...] | None
    total: int = 0
    failed: int = 0

    def outcomes(self, test: int) -> set[bool]:
        return {ran.passed for ran in self.executions or () if ran.test == test}

    @property
    def tests(self) -> set[int]:
        return {ran.test for ran in self.executions or ()}

    @property
    def burst(self) -> bool:
        failing = [test for test in self.tests if False in self.outcomes(test)]
        return len(failing) >= 10 and len(failing) > len(self.tests) / 2

    def entry(self) -> ReportEntry:
        """As the store would give it."""
        if self.executions is None:
            return ReportEntry(
                self.stream, self.ref, self.finished, self.total, self.failed, self.sha, False, 0, 0, 0, ()
            )
        repeats = []
        for test in sorted(self.tests):
            runs = [ran.passed for ran in self.executions if ran.test == test]
            if (len(runs), runs.count(False)) not in ((1, 0), (1, 1)):
                repeats.append((test, len(runs), runs.count(False)))
        return ReportEntry(
            stream=self.stream,
            ref=self.ref,
            finished=self.finished,
            executed=len(self.executions),
            failed=sum(not ran.passed for ran in self.executions),
            sha=self.sha,
            named=True,
            ran=sum(2**test for test in self.tests),
            failing=sum(2**test for test in self.tests if False in self.outcomes(test)),
            mixed=sum(2**test for test in self.tests if len(self.outcomes(test)) == 2),
            repeats=tuple(repeats),
        )


class FactOracle:
    """`streams`: labels by number; `names`: suite and test by project and number."""

    def __init__(
        self,
        streams: Mapping[int, Mapping[str, str]],
        names: Mapping[str, Sequence[tuple[str, str]]],
        project_labels: Callable[[Mapping[str, str]], Labels],
    ) -> None:
        self.streams = streams
        self.names = names
        self.project_labels = project_labels
        self.reports: list[RawReport] = []
        self.coverage: list[CoverageEntry] = []
        self.deployments: list[DeploymentEntry] = []
        self.schedules: list[ScheduleEntry] = []
        self.scheduled_runs: list[tuple[int, int]] = []  # stream, created

    def labels(self, stream: int, **more: str) -> dict[str, str]:
        own = self.streams[stream]
        return {**self.project_labels(own), **own, **more}

    def is_in(self, selection: Selection, labels: Labels, found: Mapping[str, str]) -> bool:
        by = {"source", *selection.by}
        shown = Labels({name: value for name, value in found.items() if name in by})
        return shown == labels and all(matcher.matches(found) for matcher in selection.match)

    # ------------------------------------------------------------------------------------------ tests

    def picked(self, selection: Selection, labels: Labels, reports: Iterable[RawReport]) -> list[RawReport]:
        """Reports with those of their executions that count; with names asked for, totals alone count for nothing."""
        speaks = {"suite", "test"} & ({*selection.by} | {matcher.name for matcher in selection.match})
        found = []
        for report in reports:
            if not speaks:
                if self.is_in(selection, labels, self.labels(report.stream)):
                    found.append(report)
                continue
            kept = []
            for ran in report.executions or ():
                suite, test = self.names[self.streams[report.stream]["project"]][ran.test]
                if self.is_in(selection, labels, self.labels(report.stream, suite=suite, test=test)):
                    kept.append(ran)
            found.append(RawReport(report.stream, report.ref, report.finished, report.sha, tuple(kept)))
        return found

    def tests(self, selection: Selection, metric: str, labels: Labels, window: Window, at: int) -> Measured:
        bursts = {report.ref for report in self.reports if report.burst}
        held = self.picked(selection, labels, self.reports)
        since = at - window.look_back // timedelta(milliseconds=1)
        inside = [report for report in held if since < report.finished <= at]
        before = [report for report in held if report.finished <= since]
        executed = sum(self.count(report)[0] for report in inside)
        failed = sum(self.count(report)[1] for report in inside)
        if metric == "total_tests":
            return Measured(executed, executed)
        if metric == "failed_tests":
            return Measured(failed, executed)
        if metric == "test_failure_rate":
            return Measured(failed / executed, executed) if executed else NO_DATA
        flaky, distinct = self.flaky(inside, bursts), self.distinct(inside)
        if metric == "flaky_tests":
            return Measured(len(flaky), distinct)
        if metric == "new_flaky_tests":
            return Measured(len(flaky - self.flaky(before, bursts)), distinct)
        return Measured(len(flaky) / distinct, distinct) if distinct else NO_DATA

    def count(self, report: RawReport) -> tuple[int, int]:
        if report.executions is None:
            return report.total, report.failed
        return len(report.executions), sum(not ran.passed for ran in report.executions)

    def flaky(self, reports: Iterable[RawReport], bursts: set[int]) -> set[tuple[str, str, int]]:
        outcomes: dict[Any, set[bool]] = {}
        for report in reports:
            labels = self.streams[report.stream]
            for ran in report.executions or ():
                own = report.outcomes(ran.test)
                if ran.passed or report.ref not in bursts or len(own) == 2:
                    alone = report.ref if not report.sha else None
                    if report.ref in bursts and len(own) == 2:
                        key: Any = (labels["project"], labels["job"], ran.test, "in itself", report.ref)
                        outcomes.setdefault(key, set()).update(own)
                    if ran.passed or report.ref not in bursts:
                        key = (labels["project"], labels["job"], ran.test, labels.get("workflow"), report.sha, alone)
                        outcomes.setdefault(key, set()).add(ran.passed)
        return {key[:3] for key, seen in outcomes.items() if len(seen) == 2}

    def distinct(self, reports: Iterable[RawReport]) -> int:
        named: dict[tuple[str, str], set[int]] = {}
        largest: dict[tuple[str, str], int] = {}
        for report in reports:
            job = (self.streams[report.stream]["project"], self.streams[report.stream]["job"])
            named.setdefault(job, set()).update(report.tests)
            if report.executions is None:
                largest[job] = max(largest.get(job, 0), report.total)
        return sum(max(len(tests), largest.get(job, 0)) for job, tests in named.items())

    def test_label_sets(self, selection: Selection, window: Window, at: int) -> set[Labels]:
        since = at - window.look_back // timedelta(milliseconds=1)
        by = {"source", *selection.by}
        speaks = {"suite", "test"} & (by | {matcher.name for matcher in selection.match})
        found = set()
        for report in self.reports:
            if not since < report.finished <= at:
                continue
            names = self.names[self.streams[report.stream]["project"]]
            shown = [names[test] for test in report.tests] if speaks else [("", "")]
            for suite, test in shown:
                labels = self.labels(report.stream, suite=suite, test=test)
                if all(matcher.matches(labels) for matcher in selection.match):
                    found.add(Labels({name: value for name, value in labels.items() if name in by}))
        return found

    # --------------------------------------------------------------------------------------- coverage

    def cover(self, selection: Selection, metric: str, labels: Labels, window: Window, at: int) -> Measured:
        held = [entry for entry in self.coverage if entry.finished <= at]
        held = [entry for entry in held if self.is_in(selection, labels, self.labels(entry.stream))]
        if "branch" not in selection.by and not any(m.name == "branch" and m.op == "=" for m in selection.match):
            held = [entry for entry in held if self.streams[entry.stream]["ref_type"] == "default"]
        held.sort(key=lambda entry: (entry.finished, entry.ref))
        held = [e for e in held if not e.forge or all(other.forge for other in held if other.run == e.run)]
        complete = [entry for entry in held if not self.is_part(entry, held)]
        if not complete:
            return NO_DATA
        newest = complete[-1]
        if metric == "coverage":
            return Measured(newest.percent, 1)
        keys = ("source", "project", "branch", "job")
        mine = [self.streams[newest.stream].get(key) for key in keys]
        earlier = [
            entry
            for entry in complete[:-1]
            if entry.forge == newest.forge and [self.streams[entry.stream].get(key) for key in keys] == mine
        ]
        since = newest.finished - window.look_back // timedelta(milliseconds=1)
        against = {entry.ref: entry.percent for entry in earlier if entry.finished > since}
        against |= {entry.ref: entry.percent for entry in earlier[-1:]}
        return Measured(max(against.values()) - newest.percent, len(against)) if against else NO_DATA

    def is_part(self, entry: CoverageEntry, held: Sequence[CoverageEntry]) -> bool:
        place = [self.streams[entry.stream].get(key) for key in ("source", "project", "branch")]
        same = [
            other
            for other in held
            if [self.streams[other.stream].get(key) for key in ("source", "project", "branch")] == place
        ]
        index = same.index(entry)
        near = same[max(0, index - 30) : index] + [other for other in same[index:] if other.run == entry.run]
        mine = {bit for bit in range(64) if entry.files >> bit & 1}
        for other in near:
            theirs = {bit for bit in range(64) if other.files >> bit & 1}
            if mine and mine < theirs and len(mine) < 0.75 * len(theirs):
                return True
        return False

    # ------------------------------------------------------------------------------------ deployments

    def deploy(self, selection: Selection, metric: str, labels: Labels, window: Window, at: int) -> Measured:
        since = at - window.look_back // timedelta(milliseconds=1)
        held = [
            entry
            for entry in self.deployments
            if entry.finished <= at
            and entry.result in DECIDED
            and self.is_in(selection, labels, self.labels(entry.stream))
        ]
        held.sort(key=lambda entry: (entry.finished, entry.ref))
        inside = [entry for entry in held if entry.finished > since]
        failures = [entry for entry in inside if entry.result != WORKED]
        if metric == "deployments":
            return Measured(len(inside), len(inside))
        if metric == "failed_deployments":
            return Measured(len(failures), len(inside))
        if metric == "change_failure_rate":
            return Measured(len(failures) / len(inside), len(inside)) if inside else NO_DATA
        if metric == "deployment_frequency_per_day":
            days = window.look_back / timedelta(days=1)
            return Measured((len(inside) - len(failures)) / days, len(inside)) if held else NO_DATA
        if metric == "lead_time_hours":
            return self.hours([max(0, e.finished - e.since) for e in inside if e.result == WORKED])
        environments: dict[Any, list[DeploymentEntry]] = {}
        for entry in held:
            of = self.streams[entry.stream]
            environments.setdefault((of["project"], of["environment"]), []).append(entry)
        if metric == "consecutive_failed_deployments":
            found = []
            for entries in environments.values():
                if any(entry.finished > since for entry in entries):
                    newest_first = sorted(entries, key=lambda e: (e.created, e.ref), reverse=True)
                    results = [entry.result == WORKED for entry in newest_first]
                    found.append(results.index(True) if True in results else len(results))
            return Measured(max(found), len(inside)) if found else NO_DATA
        lengths = []
        for entries in environments.values():
            broken: int | None = None
            for entry in entries:
                if entry.result != WORKED:
                    broken = entry.finished if broken is None else broken
                elif broken is not None:
                    if entry.finished > since:
                        lengths.append(entry.finished - broken)
                    broken = None
        return self.hours(lengths)

    def hours(self, lengths: list[int]) -> Measured:
        return Measured(median(lengths) / HOUR, len(lengths)) if lengths else NO_DATA

    # -------------------------------------------------------------------------------------- schedules

    def overdue(self, selection: Selection, labels: Labels, at: int) -> Measured:
        lengths = [
            self.overdue_of(entry, at)
            for entry in self.schedules
            if entry.finished <= at and self.is_in(selection, labels, self.labels(entry.stream))
        ]
        return Measured(max(lengths) / MINUTE, len(lengths)) if lengths else NO_DATA

    def overdue_of(self, schedule: ScheduleEntry, at: int) -> int:
        starts = [created for stream, created in self.scheduled_runs if self.started(schedule, stream, created, at)]
        if schedule.last_run is not None and schedule.last_run <= at:
            starts.append(schedule.last_run)
        due = max([schedule.finished, *(start + MINUTE for start in starts)]) // MINUTE * MINUTE + MINUTE
        while not is_due(schedule.cron, due):
            due += MINUTE
        return at - due if due + schedule.delay <= at else 0

    def started(self, schedule: ScheduleEntry, stream: int, created: int, at: int) -> bool:
        """Whether a run is the schedule's: of those that may have started it none was due later."""
        if created > at or not self.may_start(schedule, stream):
            return False
        rivals = [other for other in self.schedules if self.may_start(other, stream)]
        return all(self.last_due(other, created) <= self.last_due(schedule, created) for other in rivals)

    def may_start(self, schedule: ScheduleEntry, stream: int) -> bool:
        keys = ("project", "branch") if schedule.any_workflow else ("project", "branch", "workflow")
        one, other = self.streams[schedule.stream], self.streams[stream]
        return all(one.get(key, "") == other.get(key, "") for key in keys)

    def last_due(self, schedule: ScheduleEntry, created: int) -> int:
        due = (created + MINUTE) // MINUTE * MINUTE
        while not is_due(schedule.cron, due):
            due -= MINUTE
        return due


def is_due(cron: str, at: int) -> bool:
    """Cron lines of two fields that count: minute and hour, each `*`, `*/n` or a number."""
    when = datetime.fromtimestamp(at / 1000, UTC)
    minute, hour = cron.split()[:2]
    return fits(minute, when.minute) and fits(hour, when.hour)


def fits(field: str, value: int) -> bool:
    if field == "*":
        return True
    return value % int(field[2:]) == 0 if field.startswith("*/") else value == int(field)
