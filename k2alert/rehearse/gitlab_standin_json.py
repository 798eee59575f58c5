"""The stand-in GitLab's pipelines and jobs, what is true of them at a moment, and how REST v4 shows that."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from k2alert.times import iso


@dataclass(frozen=True, slots=True)
class StandinProject:
    """A project: its number, path ("group/name") and default branch."""

    id: int
    path: str
    default_branch: str = "main"
    archived: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StandinJob:
    """One execution of a job; a retried job is another one of the same name with a higher id.

    `status` is what it comes to at `finished_at`; until then it is created, pending or running as its times say.
    Without a `finished_at` it has that status from its creation on ("manual", "skipped", a job that never ends).
    """

    id: int
    name: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    status: str = "success"
    stage: str = "test"
    failure_reason: str = "script_failure"  # shown while the status is failed
    allow_failure: bool = False
    tags: tuple[str, ...] = ()
    bridge: bool = False  # a trigger job
    artifacts: bytes = field(default=b"", repr=False)  # an archive, once it has finished


@dataclass(frozen=True, slots=True)
class StandinSuite:
    """The tests of one job: its name, the executions that they are of, and cases (classname, name, status)."""

    name: str
    build_ids: tuple[int, ...]
    cases: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandinPipeline:
    """A pipeline; `status` is what it comes to at `finished_at`, as with `StandinJob`.

    `duration` is in seconds and defaults to the time from start to finish; GitLab's own leaves out the gaps between
    jobs. `coverage` and `suites` are known once it has finished. `changed_at` puts the last change later than its times
    do. `title` is its commit's. `sha` has 40 hex digits.
    """

    id: int
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    changed_at: datetime | None = None
    status: str = "success"
    iid: int | None = None
    ref: str = "main"
    tag: bool = False
    source: str = "push"
    name: str | None = None
    sha: str = "0" * 40
    title: str = "Change something"
    duration: int | None = None
    jobs: tuple[StandinJob, ...] = ()
    coverage: float | None = None
    suites: tuple[StandinSuite, ...] = ()

    def suites_at(self, now: datetime) -> tuple[StandinSuite, ...]:
        """The tests that are known at a moment."""
        return self.suites if self.finished_at is not None and self.finished_at <= now else ()


def status_at(item: StandinPipeline | StandinJob, now: datetime) -> str:
    """Its status at a moment."""
    if item.finished_at is None or item.finished_at <= now:
        return item.status
    if item.started_at is not None and item.started_at <= now:
        return "running"
    return "pending" if item.created_at < now else "created"


def changed_at(pipeline: StandinPipeline, now: datetime) -> datetime:
    """When its status last changed before a moment: its `updated_at`."""
    last = pipeline.created_at
    for at in (pipeline.started_at, pipeline.finished_at, pipeline.changed_at):
        if at is not None and last < at <= now:
            last = at
    return last


def as_project(project: StandinProject, url: str) -> dict[str, Any]:
    """`GET /projects/:id`."""
    return {
        "id": project.id,
        "path": project.path.rpartition("/")[2],
        "path_with_namespace": project.path,
        "default_branch": project.default_branch,
        "archived": project.archived,
        "web_url": f"{url}/{project.path}",
    }


def as_basic(project: StandinProject, pipeline: StandinPipeline, now: datetime, url: str) -> dict[str, Any]:
    """An item of `GET /projects/:id/pipelines`."""
    return {
        "id": pipeline.id,
        "iid": pipeline.iid or pipeline.id,
        "project_id": project.id,
        "sha": pipeline.sha,
        "ref": pipeline.ref,
        "status": status_at(pipeline, now),
        "source": pipeline.source,
        "created_at": iso(pipeline.created_at),
        "updated_at": iso(changed_at(pipeline, now)),
        "web_url": f"{url}/{project.path}/-/pipelines/{pipeline.id}",
        "name": pipeline.name,
    }


def as_detail(project: StandinProject, pipeline: StandinPipeline, now: datetime, url: str) -> dict[str, Any]:
    """`GET /projects/:id/pipelines/:pipeline_id`."""
    started, finished = _past(pipeline.started_at, now), _past(pipeline.finished_at, now)
    return as_basic(project, pipeline, now, url) | {
        "before_sha": "0" * 40,
        "tag": pipeline.tag,
        "yaml_errors": None,
        "user": None,
        "started_at": _iso(started),
        "finished_at": _iso(finished),
        "committed_at": None,
        "duration": _duration(pipeline, started, finished),
        # GitLab writes null for no time at all.
        "queued_duration": int((started - pipeline.created_at).total_seconds()) or None if started else None,
        "coverage": None if pipeline.coverage is None or finished is None else f"{pipeline.coverage:.2f}",
        "detailed_status": None,
    }


def as_execution(job: StandinJob, now: datetime) -> dict[str, Any]:
    """What both APIs show of a job."""
    started, finished = _past(job.started_at, now), _past(job.finished_at, now)
    return {
        "id": job.id,
        "status": status_at(job, now),
        "stage": job.stage,
        "name": job.name,
        "allow_failure": job.allow_failure,
        "created_at": iso(job.created_at),
        "started_at": _iso(started),
        "finished_at": _iso(finished),
        "duration": ((finished or now) - started).total_seconds() if started else None,
        "queued_duration": (started - job.created_at).total_seconds() if started else None,
        "tag_list": list(job.tags),
    }


def as_job(
    project: StandinProject, pipeline: StandinPipeline, job: StandinJob, now: datetime, url: str
) -> dict[str, Any]:
    """An item of `GET /projects/:id/pipelines/:pipeline_id/jobs`."""
    basic, shown = as_basic(project, pipeline, now, url), as_execution(job, now)
    if shown["status"] == "failed":
        shown["failure_reason"] = job.failure_reason
    return shown | {
        "ref": pipeline.ref,
        "tag": pipeline.tag,
        "coverage": None,
        "erased_at": None,
        "user": None,
        "commit": {"id": pipeline.sha, "short_id": pipeline.sha[:8], "title": pipeline.title},
        "pipeline": {key: basic[key] for key in _PIPELINE_OF_JOB},
        "web_url": f"{url}/{project.path}/-/jobs/{job.id}",
        "artifacts": [],
        **({"artifacts_file": artifacts_of(job)} if job.artifacts and shown["finished_at"] else {}),
        "runner": None,
        "artifacts_expire_at": None,
        "archived": False,
    }


def artifacts_of(job: StandinJob) -> dict[str, Any]:
    """A job's archive, as its list shows it."""
    return {"filename": "artifacts.zip", "size": len(job.artifacts)}


_PIPELINE_OF_JOB = ("id", "iid", "project_id", "sha", "ref", "status", "source", "created_at", "updated_at", "web_url")


def _duration(pipeline: StandinPipeline, started: datetime | None, finished: datetime | None) -> int | None:
    if started is None or finished is None:
        return None
    return int((finished - started).total_seconds()) if pipeline.duration is None else pipeline.duration


def _past(at: datetime | None, now: datetime) -> datetime | None:
    return at if at is not None and at <= now else None


def _iso(at: datetime | None) -> str | None:
    return None if at is None else iso(at)
