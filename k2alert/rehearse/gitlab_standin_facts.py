"""What the stand-in GitLab holds beside pipelines (tests, deployments, schedules) and how REST v4 shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from k2alert.rehearse.gitlab_standin_json import (
    StandinPipeline,
    StandinProject,
    StandinSuite,
    as_job,
)
from k2alert.times import iso

__all__ = [
    "StandinDeployment",
    "StandinSchedule",
    "StandinSuite",
    "as_deployment",
    "as_environment",
    "as_report",
    "as_schedule",
    "as_summary",
]

_STATUSES = ("success", "failed", "skipped", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class StandinDeployment:
    """A deployment; `status` is what it comes to at `finished_at`, until then it is running.

    `pipeline` and `job` made it; without them it was made over the API.
    """

    id: int
    environment: str
    created_at: datetime
    finished_at: datetime | None = None
    status: str = "success"
    ref: str = "main"
    sha: str = "0" * 40
    pipeline: int | None = None
    job: int | None = None

    def changed_at(self, now: datetime) -> datetime:
        """Its `updated_at` at a moment."""
        return self.finished_at if self.finished_at is not None and self.finished_at <= now else self.created_at


@dataclass(frozen=True, slots=True, kw_only=True)
class StandinSchedule:
    """A pipeline schedule, as it was last changed at `updated_at`."""

    id: int
    description: str
    cron: str
    next_run_at: datetime
    updated_at: datetime
    ref: str = "refs/heads/main"
    timezone: str = "UTC"
    active: bool = True


def as_summary(suites: Sequence[StandinSuite]) -> dict[str, Any]:
    """`GET /projects/:id/pipelines/:pipeline_id/test_report_summary`."""
    rows = [_counts(suite) | {"build_ids": list(suite.build_ids)} for suite in suites]
    total = {status: sum(row[f"{status}_count"] for row in rows) for status in _STATUSES}
    total |= {"time": sum(row["total_time"] for row in rows), "count": sum(row["total_count"] for row in rows)}
    return {"total": total | {"suite_error": None}, "test_suites": rows}


def as_report(suites: Sequence[StandinSuite]) -> dict[str, Any]:
    """`GET /projects/:id/pipelines/:pipeline_id/test_report`."""
    rows = [_counts(suite) | {"test_cases": [_case(*case) for case in suite.cases]} for suite in suites]
    totals = {name: sum(row[name] for row in rows) for name in _COUNTS}
    return totals | {"test_suites": rows}


_COUNTS = ("total_time", "total_count", *(f"{status}_count" for status in _STATUSES))


def _counts(suite: StandinSuite) -> dict[str, Any]:
    found = [status for _, _, status in suite.cases]
    counts = {f"{status}_count": found.count(status) for status in _STATUSES}
    return {
        "name": suite.name,
        "total_time": 0.1 * len(found),
        "total_count": len(found),
        **counts,
        "suite_error": None,
    }


def _case(classname: str, name: str, status: str) -> dict[str, Any]:
    said = "it did not hold" if status in ("failed", "error") else None
    return {
        "status": status,
        "name": name,
        "classname": classname,
        "file": None,
        "execution_time": 0.1,
        "system_output": said,
        "stack_trace": None,
        "recent_failures": None,
    }


def as_deployment(
    project: StandinProject, deployment: StandinDeployment, runs: Mapping[int, StandinPipeline], now: datetime, url: str
) -> dict[str, Any]:
    """An item of `GET /projects/:id/deployments`, whose environment has no tier there."""
    run = runs.get(deployment.pipeline or 0)
    job = next((each for each in run.jobs if each.id == deployment.job), None) if run is not None else None
    changed = deployment.changed_at(now)
    return {
        "id": deployment.id,
        "iid": deployment.id,
        "ref": deployment.ref,
        "sha": deployment.sha,
        "created_at": iso(deployment.created_at),
        "updated_at": iso(changed),
        "status": deployment.status if changed == deployment.finished_at else "running",
        "user": None,
        "environment": {"id": 1, "name": deployment.environment, "slug": "env", "external_url": None},
        "deployable": as_job(project, run, job, now, url) if run is not None and job is not None else None,
    }


def as_environment(number: int, name: str, tier: str) -> dict[str, Any]:
    """An item of `GET /projects/:id/environments`."""
    return {"id": number, "name": name, "slug": "env", "external_url": None, "state": "available", "tier": tier}


def as_schedule(schedule: StandinSchedule) -> dict[str, Any]:
    """An item of `GET /projects/:id/pipeline_schedules`."""
    return {
        "id": schedule.id,
        "description": schedule.description,
        "ref": schedule.ref,
        "cron": schedule.cron,
        "cron_timezone": schedule.timezone,
        "next_run_at": iso(schedule.next_run_at),
        "active": schedule.active,
        "created_at": iso(schedule.updated_at - timedelta(days=1)),
        "updated_at": iso(schedule.updated_at),
        "owner": None,
    }
