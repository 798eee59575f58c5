"""Reports, deployments, schedules with sensible defaults; a test names only what it is about. Times as in `looks`."""

from datetime import datetime, timedelta

from k2alert.model import (
    CoverageKind,
    CoverageReport,
    Deployment,
    Execution,
    NameOfTest,
    RefType,
    Result,
    RunState,
    Schedule,
    Schedules,
    TestCase,
    TestReport,
)
from k2alert.record import Store
from tests.support.looks import T0, at, finished_run

__all__ = ["coverage", "deployment", "every_kind", "executed", "execution", "report", "schedule", "schedules", "totals"]


def execution(
    run: str = "1",
    finished: float | datetime = 9,
    *,
    job: str = "test",
    id: str = "",
    name: str = "",
    attempt: int = 1,
    project: str = "k2/app",
    source: str = "gitlab",
) -> Execution:
    when = finished if isinstance(finished, datetime) else at(finished)
    return Execution(
        source=source,
        project=project,
        run=run,
        attempt=attempt,
        id=id,
        name=name or job,
        job=job,
        stage="check",
        finished_at=when,
    )


def executed(names: str, suite: str = "unit") -> tuple[NameOfTest, ...]:
    """Tests by their names, separated by blanks."""
    return tuple(NameOfTest(suite, name) for name in names.split())


def report(by: Execution, passed: str = "", failed: str = "", *, flaky: str = "", skipped: int = 0) -> TestReport:
    """A report that names its tests; of the flaky ones it says itself that they failed, then passed."""
    cases = tuple(
        TestCase(suite=suite, test=test, message=f"{test} broke", flaky=in_itself, failures=int(not in_itself))
        for names_of, in_itself in ((failed, False), (flaky, True))
        for suite, test in executed(names_of)
    )
    names = executed(passed)
    return TestReport(
        by=by,
        total=len(names) + len(cases) + skipped,
        failed=sum(case.failures for case in cases),
        skipped=skipped,
        named=True,
        cases=cases,
        passed=names,
    )


def totals(by: Execution, total: int, failed: int = 0, skipped: int = 0) -> TestReport:
    """A report of which only totals were read."""
    return TestReport(by=by, total=total, failed=failed, skipped=skipped)


def coverage(
    by: Execution, percent: float, files: str = "", *, kind: CoverageKind = CoverageKind.LINES
) -> CoverageReport:
    """A coverage report that holds these files."""
    return CoverageReport(by=by, percent=percent, files=tuple(files.split()), kind=kind)


def deployment(
    id: str,
    finished: float | datetime | None,
    result: Result | None = Result.SUCCESS,
    *,
    environment: str = "production",
    created: float | datetime = 0,
    run: str = "",
    seen: float | None = None,
    project: str = "k2/app",
) -> Deployment:
    ended = finished if finished is None or isinstance(finished, datetime) else at(finished)
    begun = created if isinstance(created, datetime) else at(created)
    return Deployment(
        source="gitlab",
        project=project,
        id=id,
        environment=environment,
        tier="production" if environment == "production" else "staging",
        state=RunState.RUNNING if ended is None else RunState.FINISHED,
        result=None if ended is None else result,
        run=run,
        branch="main",
        ref_type=RefType.DEFAULT,
        created_at=begun,
        finished_at=ended,
        web_url=f"https://gitlab.example.com/{project}/-/environments/1/deployments/{id}",
        seen=at(seen) if seen is not None else ended or begun,
    )


def schedule(id: str = "1", cron: str = "0 2 * * *", *, since: float | datetime = 0, name: str = "") -> Schedule:
    begun = since if isinstance(since, datetime) else at(since)
    return Schedule(id=id, name=name or f"schedule {id}", cron=cron, branch="main", since=begun)


def schedules(*of: Schedule, project: str = "k2/app", seen: datetime = T0) -> Schedules:
    return Schedules(source="gitlab", project=project, seen=seen, schedules=of)


async def every_kind(store: Store, now: datetime) -> None:
    """A little of each kind of fact, so that every metric has a value at `now`; of runs that ended long before."""
    hour = timedelta(hours=1)
    await store.save([finished_run("old1", 10), finished_run("old2", 20)])
    await store.save_facts(
        [
            report(execution("old1", now - 3 * hour), "a b c", "d"),
            report(execution("old1", now - 2 * hour, attempt=2), "a b c d"),
            coverage(execution("old1", now - 3 * hour), 80.0, "x.py y.py"),
            coverage(execution("old2", now - 2 * hour), 79.0, "x.py y.py"),
            deployment("1", now - 3 * hour, Result.FAILURE, created=now - 4 * hour),
            deployment("2", now - 2 * hour, created=now - 3 * hour),
            schedules(schedule(since=now - 30 * hour)),
        ]
    )
