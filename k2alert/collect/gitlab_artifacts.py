"""Which artifacts the jobs of a GitLab pipeline have, over REST v4.

The list of jobs says which have an archive, and how large it is, so that one request more for each finished pipeline
saves those for jobs without. Retried jobs are among them: each execution has an archive of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from k2alert.collect.artifacts import Archive, FinishedRun, Steps, is_chosen
from k2alert.collect.flow import Ask, Failure
from k2alert.collect.gitlab_parse import Malformed, id_of, parse_jobs
from k2alert.collect.gitlab_reading import Reading
from k2alert.collect.gitlab_rest import read_jobs
from k2alert.model import Execution, JobRun, Project

__all__ = ["list_archives"]


def list_archives(ask: Ask, project: Project, run: FinishedRun) -> Steps[Sequence[Archive] | Failure]:
    """The archives of a pipeline's jobs; none where GitLab has the pipeline no longer."""
    reading = Reading(ask, project, {})
    items = yield from read_jobs(reading, run.id)
    if isinstance(items, Failure):
        return () if items.reason == "not_found" else items
    sizes = {id_of(item): _size(item) for item in items if isinstance(item, Mapping)}
    jobs = parse_jobs([item for item in items if isinstance(item, Mapping) and sizes[id_of(item)]])
    if isinstance(jobs, Malformed):
        return Failure("body", jobs.what)
    archives = [
        Archive(job.id, f"{reading.api}/jobs/{job.id}/artifacts", sizes[job.id], _by(job, project, run))
        for job in jobs
        if job.finished_at is not None
    ]
    return [archive for archive in archives if is_chosen(archive.by, ask)]


def _size(item: Mapping[str, Any]) -> int:
    """Bytes of the job's archive; 0 where it has none. Reports alone are no archive, and cannot be downloaded."""
    file = item.get("artifacts_file")
    size = file.get("size") if isinstance(file, Mapping) else None
    return size if isinstance(size, int) and size > 0 else 0


def _by(job: JobRun, project: Project, run: FinishedRun) -> Execution:
    return Execution(
        source=project.source,
        project=project.path,
        run=run.id,
        id=job.id,
        name=job.name,
        job=job.job,
        stage=job.stage,
        finished_at=job.finished_at or run.seen,
    )
