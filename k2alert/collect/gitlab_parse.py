"""GitLab's JSON in, facts out: one pipeline and its jobs as REST v4 words them become a `PipelineRun`.

GraphQL's answers are first brought into the same words (`gitlab_graphql`), so GitLab's meaning is read in this
one place. Reading is lenient, for old instances lack fields and a field of a wrong type says nothing: both are
"not known". Only what makes a pipeline a pipeline (id, status, created_at) and a job a job (id, name, status) must
be there; an item without is `Malformed`, which names it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from k2alert.model import Event, JobRun, Outcome, PipelineRun, Project, RefType, Result, RunState
from k2alert.times import EPOCH, parse_instant

# GitLab's statuses (app/models/concerns/ci/has_status.rb). What is not listed is a status newer than this file:
# not finished, and BLOCKED, so that no metric counts it as running or pending.
STATES: Mapping[str, RunState] = {
    "created": RunState.PENDING,
    "preparing": RunState.PENDING,
    "waiting_for_callback": RunState.PENDING,
    "pending": RunState.PENDING,
    "running": RunState.RUNNING,
    "canceling": RunState.RUNNING,  # its jobs still run their after_script
    "manual": RunState.BLOCKED,
    "scheduled": RunState.BLOCKED,  # a delayed job's timer
    "waiting_for_resource": RunState.BLOCKED,  # another run holds the resource group
    "success": RunState.FINISHED,
    "failed": RunState.FINISHED,
    "canceled": RunState.FINISHED,
    "skipped": RunState.FINISHED,
}

RESULTS: Mapping[str, Result] = {
    "success": Result.SUCCESS,
    "failed": Result.FAILURE,
    "canceled": Result.CANCELLATION,
    "skipped": Result.SKIP,
}

# Contract §3, the rows `timeout` and `error`.
TIMEOUT_REASONS = frozenset({"job_execution_timeout", "stuck_or_timeout_failure"})
ERROR_REASONS = frozenset(
    {
        "runner_system_failure",
        "api_failure",
        "runner_unsupported",
        "scheduler_failure",
        "data_integrity_failure",
        "stale_schedule",
        "archived_failure",
        "unmet_prerequisites",
        "ci_quota_exceeded",
        "user_blocked",
        "project_deleted",
        "builds_disabled",
    }
)

# A pipeline's `source` (app/models/concerns/enums/ci/pipeline.rb); the others (webide, chat, external, security
# policies, …) are OTHER. `pipeline` is another project's pipeline, through the API.
_EVENTS: Mapping[str, Event] = {
    "push": Event.PUSH,
    "schedule": Event.SCHEDULE,
    "merge_request_event": Event.CHANGE_REQUEST,
    "external_pull_request_event": Event.CHANGE_REQUEST,
    "web": Event.MANUAL,
    "api": Event.API,
    "trigger": Event.API,
    "pipeline": Event.API,
}

_MERGE_REQUEST_REF = re.compile(r"refs/merge-requests/(\d+)/.*", re.DOTALL)
_PARALLEL = re.compile(r" \d+/\d+$")  # `parallel: 20` names its jobs `test 1/20` to `test 20/20`
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # JSON may say them, databases refuse them
_LONGEST_TEXT = 1024  # GitLab's own columns end at 255
_LONGEST_SECONDS = 10 * 365 * 86_400  # no pipeline ran for ten years; a larger number is rubbish
_UNSET_BEFORE = 2000  # a proxy or mirror in Go writes 0001-01-01 for "not set"
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Malformed:
    """An item that is not what the API promises; `what` names it and what it lacks."""

    what: str


def parse_run(item: Any, jobs: Sequence[JobRun], project: Project, *, title: str = "") -> PipelineRun | Malformed:
    """A pipeline as REST's `GET /projects/:id/pipelines/:pipeline_id` words it, with its jobs (see `parse_jobs`).

    `seen` is its `updated_at` in whole seconds, for GraphQL has no more than those and both must order the same.
    """
    fields = item if isinstance(item, Mapping) else {}
    run_id, created_at = id_of(fields), instant(fields, "created_at")
    lacking = _lacking(id=run_id, status=text(fields, "status"), created_at=created_at)
    if lacking or created_at is None:
        return Malformed(f"pipeline {run_id or '?'} has no usable {lacking}")
    state = _state(fields)
    ref_type, branch = _place(fields, project.default_branch)
    return PipelineRun(
        source=project.source,
        project=project.path,
        id=run_id,
        number=_whole(fields.get("iid")),
        workflow=text(fields, "name"),
        event=_event(fields, ref_type),
        ref_type=ref_type,
        branch=branch,
        sha=text(fields, "sha"),
        title=title,
        web_url=link(fields),
        state=state,
        created_at=created_at,
        started_at=instant(fields, "started_at"),
        seen=_seen(fields) or created_at,
        outcomes=(_outcome(fields, created_at, jobs),) if state is RunState.FINISHED else (),
        jobs=tuple(jobs),
    )


def parse_jobs(items: Iterable[Any]) -> tuple[JobRun, ...] | Malformed:
    """All executions of a pipeline's jobs, the oldest first; those of one name are numbered as attempts from 1.

    Takes what `GET …/jobs?include_retried=true` lists: GitLab marks no retries there, so ids order them.
    """
    rows: list[Mapping[str, Any]] = []
    for item in items:
        fields = item if isinstance(item, Mapping) else {}
        lacking = _lacking(id=id_of(fields), name=text(fields, "name"), status=text(fields, "status"))
        if lacking:
            return Malformed(f"job {id_of(fields) or '?'} has no usable {lacking}")
        rows.append(fields)
    attempts: dict[str, int] = defaultdict(int)
    runs = []
    for fields in sorted(rows, key=lambda row: int(id_of(row))):
        name = text(fields, "name")
        attempts[name] += 1
        runs.append(_parse_job(fields, name, attempts[name]))
    return tuple(runs)


def title_of(items: Sequence[Any]) -> str:
    """The title of the commit that the jobs ran for, which REST says with each job; "" where it does not."""
    first = items[0] if items and isinstance(items[0], Mapping) else {}
    commit = first.get("commit")
    return text(commit, "title") if isinstance(commit, Mapping) else ""


def id_of(item: Mapping[str, Any]) -> str:
    """Its id as text, "" where it has none: a whole number, or what a GraphQL global id ends with."""
    return _whole(item.get("id"))


def text(item: Mapping[str, Any], key: str) -> str:
    """A field's text, "" where it is none; cut to a sane length, without what no database stores."""
    value = item.get(key)
    return _UNSTORABLE.sub("�", value[:_LONGEST_TEXT]) if isinstance(value, str) else ""


def instant(item: Mapping[str, Any], key: str) -> datetime | None:
    """A field's instant, None where it is none."""
    value = item.get(key)
    if not isinstance(value, str):
        return None
    try:
        at = parse_instant(value)
    except (ValueError, OverflowError):
        return None
    return at if at.year >= _UNSET_BEFORE else None


def _parse_job(fields: Mapping[str, Any], name: str, attempt: int) -> JobRun:
    state = _state(fields)
    reason = text(fields, "failure_reason") if text(fields, "status") == "failed" else ""
    return JobRun(
        id=id_of(fields),
        name=name,
        job=_PARALLEL.sub("", name) or name,
        stage=text(fields, "stage"),
        runner=",".join(_tags(fields)),
        state=state,
        result=_job_result(fields, reason) if state is RunState.FINISHED else None,
        attempt=attempt,
        allowed=fields.get("allow_failure") is True,
        created_at=instant(fields, "created_at"),
        started_at=instant(fields, "started_at"),
        finished_at=instant(fields, "finished_at") if state is RunState.FINISHED else None,
        duration=_length(fields, "duration") if state is RunState.FINISHED else None,
        queued=_length(fields, "queued_duration"),
        reason=reason,
        web_url=link(fields),
    )


def _state(fields: Mapping[str, Any]) -> RunState:
    return STATES.get(text(fields, "status"), RunState.BLOCKED)


def _tags(fields: Mapping[str, Any]) -> list[str]:
    tags = fields.get("tag_list")
    return sorted(text({"tag": tag}, "tag") for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else []


def _job_result(fields: Mapping[str, Any], reason: str) -> Result:
    result = RESULTS[text(fields, "status")]
    return _fault({reason}) if result is Result.FAILURE else result


def _run_result(fields: Mapping[str, Any], jobs: Sequence[JobRun]) -> Result:
    result = RESULTS[text(fields, "status")]
    if result is not Result.FAILURE:
        return result
    latest = {job.name: job for job in jobs}
    return _fault({job.reason for job in latest.values() if _failed(job) and not job.allowed})


def _failed(job: JobRun) -> bool:
    return job.result in (Result.FAILURE, Result.ERROR, Result.TIMEOUT)


def _fault(reasons: set[str]) -> Result:
    """Whose fault these reasons together are; none at all (as with a broken configuration) is the code's."""
    if not reasons or not reasons <= TIMEOUT_REASONS | ERROR_REASONS:
        return Result.FAILURE
    return Result.TIMEOUT if reasons & TIMEOUT_REASONS else Result.ERROR


def _outcome(fields: Mapping[str, Any], created_at: datetime, jobs: Sequence[JobRun]) -> Outcome:
    started_at = instant(fields, "started_at")
    # A skipped pipeline has no finished_at; rows of GitLab's first years have no updated_at either.
    finished_at = instant(fields, "finished_at") or instant(fields, "updated_at") or created_at
    return Outcome(
        attempt=(finished_at - EPOCH) // _SECOND,
        result=_run_result(fields, jobs),
        started_at=started_at,
        finished_at=finished_at,
        duration=_length(fields, "duration"),
        queued=_queued(fields, created_at, started_at),
    )


def _seen(fields: Mapping[str, Any]) -> datetime | None:
    at = instant(fields, "updated_at") or instant(fields, "finished_at")
    return at.replace(microsecond=0) if at else None


def _queued(fields: Mapping[str, Any], created_at: datetime, started_at: datetime | None) -> timedelta | None:
    """GitLab's number, or the same difference where it is null: GitLab writes null for zero."""
    given = _length(fields, "queued_duration")
    if given is not None or started_at is None:
        return given
    waited = max(started_at - created_at, timedelta(0))
    return waited if waited <= timedelta(seconds=_LONGEST_SECONDS) else None


def _place(fields: Mapping[str, Any], default_branch: str) -> tuple[RefType, str]:
    """What it ran for: the type, and the label `branch`."""
    ref = text(fields, "ref")
    merge_request = _MERGE_REQUEST_REF.fullmatch(ref)
    if merge_request:
        return RefType.CHANGE_REQUEST, f"!{merge_request[1]}"
    name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    if text(fields, "source") in ("merge_request_event", "external_pull_request_event"):
        return RefType.CHANGE_REQUEST, name
    if fields.get("tag") is True or ref.startswith("refs/tags/"):
        return RefType.TAG, name
    return RefType.DEFAULT if name and name == default_branch else RefType.BRANCH, name


def _event(fields: Mapping[str, Any], ref_type: RefType) -> Event:
    event = _EVENTS.get(text(fields, "source"), Event.OTHER)
    return Event.TAG if event is Event.PUSH and ref_type is RefType.TAG else event


def _lacking(**needed: object) -> str:
    return ", ".join(key for key, value in needed.items() if not value)


def _whole(value: Any) -> str:
    if isinstance(value, str):
        tail = value.rpartition("/")[2]
        return tail if tail.isascii() and tail.isdigit() and len(tail) < 20 else ""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**19 else ""


def _length(fields: Mapping[str, Any], key: str) -> timedelta | None:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LONGEST_SECONDS:
        return None
    return timedelta(seconds=value)


def link(fields: Mapping[str, Any]) -> str:
    """Its `web_url` where that is one a browser may be sent to."""
    url = text(fields, "web_url")
    return url if url.startswith(("https://", "http://")) else ""
