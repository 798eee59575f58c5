"""The facts of a rule test: what ran, as a person wrote it, comes in; looks at a forge, each at its time, go out.

A run is seen whenever something of it changes, as a daemon would see it that is told of everything at once. Pure.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import count
from typing import NamedTuple

from k2alert.model import (
    BenchmarkPoint,
    BenchmarkReport,
    CoverageReport,
    Deployment,
    Execution,
    Fact,
    NameOfTest,
    PipelineRun,
    RefType,
    Result,
    RunState,
    Schedule,
    Schedules,
    TestCase,
    TestReport,
)
from k2alert.rehearse.made_runs import Attempt, MadeRun, job_label, runs_of
from k2alert.rehearse.rule_test_given import DeploymentSpec, ScheduleSpec, TestsSpec
from k2alert.rehearse.rule_test_spec import TestSpec

__all__ = ["Look", "looks_of"]

_SUITE = "tests"


class Look(NamedTuple):
    """What became known at a time: a run, and what its jobs reported, or a deployment."""

    at: datetime
    run: PipelineRun | None
    facts: tuple[Fact, ...] = ()


def looks_of(spec: TestSpec) -> list[Look]:
    """Everything that a test's forge says, in the order in which it says it."""
    numbers = count(1)
    made = [run for runs in spec.runs for run in runs_of(runs, spec.start, numbers)]
    looks = [look for run in made for look in _of_run(run)]
    looks += [_of_deployment(one, spec.start, number) for number, one in enumerate(spec.deployments, 1)]
    looks += _of_schedules(spec.schedules, spec.start)
    return sorted(looks, key=lambda look: look.at)


def _of_run(run: MadeRun) -> Iterator[Look]:
    for at in run.instants():
        seen = run.at(at)
        yield Look(at, seen, tuple(fact for attempt in run.ended_at(at) for fact in _reports(seen, attempt)))


def _reports(run: PipelineRun, attempt: Attempt) -> Iterator[Fact]:
    """What the attempt's first job reports."""
    first = attempt.jobs[0] if attempt.jobs else None
    by = Execution(
        source=run.source,
        project=run.project,
        run=run.id,
        attempt=attempt.number,
        id=first.id if first else "",
        name=first.spec.name if first else "test",
        job=job_label(first.spec.name) if first else "test",
        stage=first.spec.stage if first else "",
        finished_at=run.seen,
    )
    if attempt.tests is not None:
        yield _test_report(attempt.tests, by)
    if attempt.coverage is not None:
        yield CoverageReport(by=by, percent=attempt.coverage)
    if attempt.benchmarks:
        points = tuple(BenchmarkPoint(name=name, value=value) for name, value in attempt.benchmarks.items())
        yield BenchmarkReport(by=by, points=points)


def _test_report(spec: TestsSpec, by: Execution) -> TestReport:
    if spec.total is not None:
        return TestReport(by=by, total=spec.total, failed=spec.failures)
    failed = [TestCase(suite=_SUITE, test=test) for test in spec.failed]
    flaky = [TestCase(suite=_SUITE, test=test, executions=2, failures=1, flaky=True) for test in spec.flaky]
    return TestReport(
        by=by,
        total=len(spec.passed) + len(failed) + 2 * len(flaky),
        failed=len(failed) + len(flaky),
        named=True,
        cases=(*failed, *flaky),
        passed=tuple(NameOfTest(_SUITE, test) for test in spec.passed),
    )


def _of_deployment(spec: DeploymentSpec, start: datetime, number: int) -> Look:
    created = start + spec.at
    ended = created + spec.duration
    made = Deployment(
        source=spec.source,
        project=spec.project,
        id=str(number),
        environment=spec.environment,
        tier=spec.tier,
        state=RunState.FINISHED,
        result=Result(spec.result),
        branch=spec.branch,
        ref_type=RefType.DEFAULT,
        created_at=created,
        finished_at=ended,
        committed_at=None if spec.committed is None else created - spec.committed,
        seen=ended,
    )
    return Look(ended, None, (made,))


def _of_schedules(specs: Sequence[ScheduleSpec], start: datetime) -> Iterator[Look]:
    """Each project's schedules, all of them, whenever one is made or taken away."""
    for source, project in dict.fromkeys((spec.source, spec.project) for spec in specs):
        own = [
            (number, spec) for number, spec in enumerate(specs, 1) if (spec.source, spec.project) == (source, project)
        ]
        changes = {spec.at for _, spec in own} | {spec.until for _, spec in own if spec.until is not None}
        for at in sorted(changes):
            there = [one for one in own if one[1].at <= at and (one[1].until is None or at < one[1].until)]
            made = tuple(_schedule(spec, start, number) for number, spec in there)
            yield Look(start + at, None, (Schedules(source=source, project=project, seen=start + at, schedules=made),))


def _schedule(spec: ScheduleSpec, start: datetime, number: int) -> Schedule:
    return Schedule(
        id=str(number),
        name=spec.name,
        cron=spec.cron,
        timezone=spec.timezone,
        branch=spec.branch,
        workflow=spec.workflow,
        since=start + spec.at,
        delay=spec.delay,
    )
