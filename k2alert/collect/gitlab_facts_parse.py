"""GitLab's JSON in, facts out: test reports, deployments and pipeline schedules, as REST v4 words them.

As lenient as `gitlab_parse`: a field of a wrong type is not known, and an item without what makes it one is left out.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from k2alert.collect.gitlab_parse import RESULTS, STATES, id_of, instant, link, text
from k2alert.model import (
    CoverageKind,
    CoverageReport,
    Deployment,
    Execution,
    NameOfTest,
    PipelineRun,
    Project,
    RefType,
    Result,
    RunState,
    Schedule,
    Schedules,
    TestCase,
    TestReport,
)

_LONGEST_MESSAGE = 1000
_MOST_TESTS = 10**9
_FAILED = ("failed", "error")


def parse_tests(summary: Any, full: Any, run: PipelineRun) -> list[TestReport]:
    """The tests of a finished run, one report for each of its jobs (shards of one job together).

    `summary` is `…/test_report_summary`, `full` is `…/test_report` or None. A suite's name is its job's name; the
    summary alone says which executions it is of (`build_ids`), so that a retried job has a report of its own.
    """
    cases = {text(suite, "name"): _list(suite, "test_cases") for suite in _list(full, "test_suites")}
    reports = []
    for suite in _list(summary, "test_suites"):
        report = _totals(suite, run)
        if report.total:
            reports.append(_named(report, cases.get(report.by.name, [])))
    return reports


def parse_coverage(item: Mapping[str, Any], run: PipelineRun) -> CoverageReport | None:
    """GitLab's coverage of a pipeline, the mean over its jobs' numbers; text in REST, a number in GraphQL.

    Of pipelines that succeeded only: in another a job that should have reported may not have, and the mean is of fewer.
    """
    percent = _percent(item.get("coverage"))
    outcome = run.outcomes[-1] if run.outcomes else None
    if percent is None or outcome is None or outcome.result is not Result.SUCCESS:
        return None
    by = Execution(source=run.source, project=run.project, run=run.id, finished_at=outcome.finished_at)
    return CoverageReport(by=by, kind=CoverageKind.FORGE, percent=percent)


def environment_of(item: Mapping[str, Any]) -> tuple[str, str]:
    """The name and the tier of a deployment's environment; GitLab's list of deployments leaves the tier out."""
    environment = _map(item, "environment")
    return text(environment, "name"), text(environment, "tier")


def parse_deployment(
    item: Mapping[str, Any], project: Project, tiers: Mapping[str, str] | None = None
) -> Deployment | None:
    """An item of `GET /projects/:id/deployments`; None where it lacks what makes it one. `tiers` are by environment."""
    environment, job = _map(item, "environment"), _map(item, "deployable")
    created_at, status, name = instant(item, "created_at"), text(item, "status"), text(environment, "name")
    if created_at is None or not (id_of(item) and status and name):
        return None
    state = STATES.get(status, RunState.BLOCKED)
    seen = instant(item, "updated_at") or created_at
    branch = text(item, "ref")
    return Deployment(
        source=project.source,
        project=project.path,
        id=id_of(item),
        environment=name,
        tier=text(environment, "tier") or (tiers or {}).get(name, ""),
        state=state,
        result=RESULTS[status] if state is RunState.FINISHED else None,
        sha=text(item, "sha"),
        run=id_of(_map(job, "pipeline")),
        branch=branch,
        ref_type=RefType.TAG if job.get("tag") is True else _ref_type(branch, project),
        created_at=created_at,
        finished_at=(instant(job, "finished_at") or seen) if state is RunState.FINISHED else None,
        committed_at=instant(_map(job, "commit"), "created_at"),
        web_url=link(job),
        seen=seen,
    )


def parse_schedules(items: Sequence[Mapping[str, Any]], project: Project, *, seen: datetime) -> Schedules:
    """All items of `GET /projects/:id/pipeline_schedules`."""
    found = (_schedule(item, project) for item in items)
    schedules = tuple(schedule for schedule in found if schedule is not None)
    return Schedules(source=project.source, project=project.path, seen=seen, schedules=schedules)


def next_runs(items: Sequence[Mapping[str, Any]]) -> list[datetime]:
    """When those of the schedules that are on should run next."""
    due = (instant(item, "next_run_at") for item in items if item.get("active") is not False)
    return [at for at in due if at is not None]


def _schedule(item: Mapping[str, Any], project: Project) -> Schedule | None:
    since = instant(item, "updated_at") or instant(item, "created_at")
    if since is None or not (id_of(item) and text(item, "cron")):
        return None
    ref = text(item, "ref")
    branch = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    return Schedule(
        id=id_of(item),
        name=text(item, "description") or id_of(item),
        cron=text(item, "cron"),
        timezone=text(item, "cron_timezone") or "UTC",
        branch=branch,
        ref_type=RefType.TAG if ref.startswith("refs/tags/") else _ref_type(branch, project),
        active=item.get("active") is not False,
        web_url=f"{project.web_url}/-/pipeline_schedules" if project.web_url else "",
        since=since,
    )


def _totals(suite: Mapping[str, Any], run: PipelineRun) -> TestReport:
    ids = suite.get("build_ids")
    of = {id_of({"id": each}) for each in ids} if isinstance(ids, list) else set[str]()
    jobs = [job for job in run.jobs if job.id in of]
    finished = max((job.finished_at for job in jobs if job.finished_at), default=run.outcomes[-1].finished_at)
    name = text(suite, "name")
    return TestReport(
        by=Execution(
            source=run.source,
            project=run.project,
            run=run.id,
            id=max((job.id for job in jobs), key=int, default=""),
            name=name,
            job=jobs[0].job if jobs else name,
            stage=jobs[0].stage if jobs else "",
            finished_at=finished,
        ),
        total=_count(suite, "total_count"),
        failed=_count(suite, "failed_count") + _count(suite, "error_count"),
        skipped=_count(suite, "skipped_count"),
        duration=_length(suite.get("total_time")),
    )


def _named(report: TestReport, rows: Sequence[Mapping[str, Any]]) -> TestReport:
    """The report with every test named, where the full report of the same job has as many as the summary says."""
    if len(rows) != report.total:
        return report
    executed = [row for row in rows if text(row, "status") in ("success", *_FAILED)]
    runs = Counter(_name(row) for row in executed)
    failures = [row for row in executed if text(row, "status") in _FAILED]
    failed = Counter(_name(row) for row in failures)
    cases = tuple(_case(row, runs[name], failed[name]) for name, row in {_name(row): row for row in failures}.items())
    passed = tuple(_name(row) for row in executed if _name(row) not in failed)
    skipped = len(rows) - len(executed)
    return replace(report, named=True, failed=len(failures), skipped=skipped, cases=cases, passed=passed)


def _case(row: Mapping[str, Any], executions: int, failures: int) -> TestCase:
    suite, test = _name(row)
    return TestCase(
        suite=suite,
        test=test,
        file=text(row, "file"),
        executions=executions,
        failures=failures,
        duration=_length(row.get("execution_time")),
        message=_message(row.get("system_output")) or _message(row.get("stack_trace")),
    )


def _name(row: Mapping[str, Any]) -> NameOfTest:
    return NameOfTest(text(row, "classname"), text(row, "name"))


def _message(value: Any) -> str:
    """What a test said: GitLab gives the XML node as it parsed it, which is text, an object, a list or null."""
    said = value if isinstance(value, str) else json.dumps(value) if value else ""
    return text({"message": said[:_LONGEST_MESSAGE]}, "message")


def _ref_type(branch: str, project: Project) -> RefType:
    return RefType.DEFAULT if branch and branch == project.default_branch else RefType.BRANCH


def _map(item: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = item.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(item: Any, key: str) -> list[Mapping[str, Any]]:
    value = item.get(key) if isinstance(item, Mapping) else None
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _count(item: Mapping[str, Any], key: str) -> int:
    value = item.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TESTS else 0


def _percent(value: Any) -> float | None:
    try:
        percent = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except ValueError:
        return None
    return percent if percent is not None and 0 <= percent <= 100 else None


def _length(value: Any) -> timedelta | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _MOST_TESTS:
        return None
    return timedelta(seconds=value)
