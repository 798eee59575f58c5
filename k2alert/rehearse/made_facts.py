"""The facts of a rule test: what ran, as a person wrote it, comes in; looks at a forge, each at its time, go out.

A run is seen when it is created, when it starts and when it ends, as a daemon would see it that is told of everything
at once. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha1
from itertools import count
from typing import NamedTuple

from k2alert.model import (
    CoverageReport,
    Deployment,
    Execution,
    Fact,
    JobRun,
    NameOfTest,
    Outcome,
    PipelineRun,
    RefType,
    Result,
    RunState,
    TestCase,
    TestReport,
)
from k2alert.rehearse.rule_test_spec import RESULT_LETTERS, DeploymentSpec, JobSpec, RunsSpec, TestSpec, TestsSpec

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
    looks = [look for runs in spec.runs for look in _of_runs(runs, spec.start, numbers)]
    looks += [_of_deployment(one, spec.start, number) for number, one in enumerate(spec.deployments, 1)]
    return sorted(looks, key=lambda look: look.at)


def _of_runs(spec: RunsSpec, start: datetime, numbers: Iterable[int]) -> Iterator[Look]:
    results = (
        [RESULT_LETTERS[letter] for letter in spec.results] if spec.results else [Result(spec.result or "success")]
    )
    created = start + spec.at
    for result in results:
        number = next(iter(numbers))
        if result is not None:
            yield from _of_run(spec, result, created, number)
        created += spec.every or timedelta(0)


def _of_run(spec: RunsSpec, result: Result, created: datetime, number: int) -> Iterator[Look]:
    started, ended = created + spec.queued, created + spec.duration
    waiting = _run(spec, created, number)
    yield Look(created, waiting)
    if created < started < ended:
        yield Look(started, replace(waiting, state=RunState.RUNNING, started_at=started, seen=started))
    outcome = Outcome(
        attempt=1, result=result, started_at=started, finished_at=ended, duration=ended - started, queued=spec.queued
    )
    jobs = tuple(_job(job, result, created, ended, f"{number}.{place}") for place, job in enumerate(spec.jobs, 1))
    done = replace(waiting, state=RunState.FINISHED, started_at=started, seen=ended, outcomes=(outcome,), jobs=jobs)
    yield Look(ended, done, tuple(_reports(spec, done, ended)))


def _run(spec: RunsSpec, created: datetime, number: int) -> PipelineRun:
    at_home = RefType.DEFAULT if spec.branch == spec.default_branch else RefType.BRANCH
    return PipelineRun(
        source=spec.source,
        project=spec.project,
        id=str(number),
        number=str(number),
        workflow=spec.workflow,
        event=spec.event,
        ref_type=spec.ref_type or at_home,
        branch=spec.branch,
        sha=sha1((spec.sha or str(number)).encode(), usedforsecurity=False).hexdigest(),
        title=spec.title,
        web_url=f"https://forge.example/{spec.project}/-/pipelines/{number}",
        state=RunState.PENDING if spec.queued else RunState.RUNNING,
        created_at=created,
        started_at=None if spec.queued else created,
        seen=created,
    )


def _job(spec: JobSpec, result: Result, created: datetime, ended: datetime, id: str) -> JobRun:
    duration = ended - created if spec.duration is None else spec.duration
    return JobRun(
        id=id,
        name=spec.name,
        job=spec.name.split(" ")[0] if "/" in spec.name else spec.name,
        stage=spec.stage,
        runner=spec.runner,
        state=RunState.FINISHED,
        result=Result(spec.result) if spec.result else result,
        attempt=1,
        allowed=spec.allowed,
        created_at=created,
        started_at=ended - duration,
        finished_at=ended,
        duration=duration,
        queued=spec.queued,
        reason=spec.reason,
        web_url=f"https://forge.example/jobs/{id}",
    )


def _reports(spec: RunsSpec, run: PipelineRun, ended: datetime) -> Iterator[Fact]:
    """What the run's first job reports."""
    first = run.jobs[0] if run.jobs else None
    by = Execution(
        source=run.source,
        project=run.project,
        run=run.id,
        id=first.id if first else "",
        name=first.name if first else "test",
        job=first.job if first else "test",
        stage=first.stage if first else "",
        finished_at=ended,
    )
    if spec.tests is not None:
        yield _test_report(spec.tests, by)
    if spec.coverage is not None:
        yield CoverageReport(by=by, percent=spec.coverage)


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
