"""Why jobs failed, for many pipelines at once: the failed jobs of a project over REST v4, the newest first.

GraphQL does not say it as a code. Where a page of pipelines has several that failed, a backfill above all, a hundred
failed jobs in one request save a request for each of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from k2alert.collect.flow import Failure, Request
from k2alert.collect.gitlab_parse import id_of
from k2alert.collect.gitlab_reading import FATAL, Reading, Steps, fetch

__all__ = ["explain", "read_failed_jobs"]

_PAGE = 100
_KEPT = (
    *("id", "name", "status", "stage", "allow_failure", "failure_reason", "tag_list", "web_url", "commit"),
    *("created_at", "started_at", "finished_at", "duration", "queued_duration"),
)
_SEVERAL = 3  # failed pipelines from which on the list is likely to cost less than one request each
_SPARE = 2  # pages that it may cost more: a project may have many jobs that fail and are allowed to


def read_failed_jobs(reading: Reading, pipelines: Sequence[Sequence[Mapping[str, Any]]]) -> Steps[Failure | None]:
    """Reads on in the list until it has come past all failed jobs of these pipelines, given by their jobs.

    Where it cannot be read, or costs more than it saves, it is left alone, and its jobs are asked for by pipeline.
    """
    needed = [int(id_of(job)) for jobs in pipelines for job in jobs if _failed(job)]
    reading.failing += len(pipelines)
    if not needed or not (reading.ask.first or len(pipelines) >= _SEVERAL):
        return None
    while reading.failed_page and not reading.failed_until <= min(needed):
        if reading.failed_page > reading.failing + _SPARE:
            reading.failed_page = 0
            break
        failure = yield from _read_page(reading)
        if failure is not None and failure.reason in FATAL:
            return failure
    return None


def explain(reading: Reading, jobs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    """A failed pipeline's jobs, each failed one as the list has it; None where one is not there."""
    known = [reading.failed_jobs.get(id_of(job)) if _failed(job) else job for job in jobs]
    found = [job for job in known if job is not None]
    return found if len(found) == len(jobs) and any(map(_failed, jobs)) else None


def _failed(job: Mapping[str, Any]) -> bool:
    return bool(job.get("status") == "failed" and id_of(job))


def _read_page(reading: Reading) -> Steps[Failure | None]:
    params = (("scope[]", "failed"), ("include_retried", "true"), ("order_by", "id"), ("sort", "desc"))
    paged = (("per_page", str(_PAGE)), ("page", str(reading.failed_page)))
    answer = yield from fetch(Request(f"{reading.api}/jobs", (*params, *paged), kind="jobs"))
    items = [] if isinstance(answer, Failure) or not isinstance(answer.data, list) else answer.data
    found = {number: _kept(item) for item in items if isinstance(item, Mapping) and (number := id_of(item))}
    reading.failed_jobs.update(found)
    if isinstance(answer, Failure):
        reading.failed_page = 0
        return answer
    reading.failed_until = min((int(number) for number in found), default=0)
    reading.failed_page = reading.failed_page + 1 if len(items) == _PAGE and found else 0
    return None


def _kept(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a job is read from, of the much that the list says of each: thousands may wait for their pipelines."""
    commit = item.get("commit")
    title = {"title": commit.get("title")} if isinstance(commit, Mapping) else None
    return {name: item.get(name) for name in _KEPT} | {"commit": title}
