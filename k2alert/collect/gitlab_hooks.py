"""GitLab's webhooks in, facts out: a `Pipeline Hook` says all of a pipeline that its status rests on.

It is brought into the words of REST v4 and read by `gitlab_parse`, so that a pipeline means the same whichever way it
came. What it does not say is left open for the next look: coverage, the jobs' tags (`JobRun.attempt` 0 says that an
execution was told of this way), retried executions. A `Deployment Hook` says that there is something to look at: it
names neither its pipeline nor when its commit was made. The fields are those of lib/gitlab/data_builder/pipeline.rb and
deployment.rb in GitLab's sources.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from k2alert.collect.gitlab_parse import Malformed, id_of, instant, parse_jobs, parse_run, text
from k2alert.collect.hooks import Headers, Hooks, Known, digest, gitlab_signed
from k2alert.model import HookEvent, Kind, PipelineRun, RunState

__all__ = ["HOOKS"]

_PIPELINE = (
    "id", "iid", "name", "ref", "tag", "sha", "source", "status", "created_at", "finished_at", "duration",
    "queued_duration",
)  # fmt: skip
_BUILD = (
    "id", "stage", "name", "status", "created_at", "started_at", "finished_at", "duration", "queued_duration",
    "failure_reason", "allow_failure",
)  # fmt: skip

_ORDER = (RunState.FINISHED, RunState.RUNNING, RunState.BLOCKED, RunState.PENDING)
"""Which of two events with the same times is the later one, the latest first."""


def _delivery(headers: Headers, body: bytes) -> str:
    """`Idempotency-Key` is kept when a webhook is sent again; other ids are made anew for each request."""
    return headers.get("idempotency-key") or headers.get("webhook-id") or digest(body)


def _event(_: Headers, data: Any) -> tuple[str, str, Mapping[str, Any]] | None:
    """Pipelines and deployments. A child's belongs to its parent's, and a job's event says nothing of its pipeline."""
    pipeline, project = _part(data, "object_attributes"), _part(data, "project")
    if _part(data, "").get("object_kind") == "deployment":
        return _deployment_event(data, project)
    if _part(data, "").get("object_kind") != "pipeline" or pipeline.get("source") == "parent_pipeline":
        return None
    run, key = id_of(pipeline), id_of(project)
    if not run or not key:
        return None
    builds = data.get("builds")
    commit = _part(data, "commit")
    return key, run, {
        **{name: pipeline[name] for name in _PIPELINE if name in pipeline},
        "ref": _ref(pipeline, _part(data, "merge_request")),
        "title": text(commit, "title") or text(commit, "message").split("\n", 1)[0],
        "home": text(project, "web_url"),
        "path": text(project, "path_with_namespace"),
        "default_branch": text(project, "default_branch"),
        "builds": [_kept(build) for build in builds if isinstance(build, Mapping)] if isinstance(builds, list) else [],
    }  # fmt: skip


def _deployment_event(data: Mapping[str, Any], project: Mapping[str, Any]) -> tuple[str, str, Mapping[str, Any]] | None:
    number, key = id_of({"id": data.get("deployment_id")}), id_of(project)
    if not number or not key:
        return None
    path, branch = text(project, "path_with_namespace"), text(project, "default_branch")
    return key, f"deployment {number}", {"kind": Kind.DEPLOYMENT.value, "path": path, "default_branch": branch}


def _ref(pipeline: Mapping[str, Any], merge_request: Mapping[str, Any]) -> str:
    """As REST has it: a merge request's pipeline has a ref of its own, where webhooks say the source branch."""
    number = merge_request.get("iid")
    if pipeline.get("source") == "merge_request_event" and isinstance(number, int):
        return f"refs/merge-requests/{number}/head"
    return text(pipeline, "ref")


def _kept(build: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: build[name] for name in _BUILD if name in build}


def _part(data: Any, key: str) -> Mapping[str, Any]:
    """A part that is a mapping ("" is the whole), empty where it is none."""
    found = data.get(key) if key and isinstance(data, Mapping) else data
    return found if isinstance(found, Mapping) else {}


def _facts(events: Sequence[HookEvent], known: Known, _: datetime) -> Sequence[PipelineRun] | Kind:
    """Each event's facts, the oldest first; one that is not what it should be says nothing."""
    if any(event.body.get("kind") == Kind.DEPLOYMENT.value for event in events):
        return Kind.DEPLOYMENT
    runs = [run for event in events if (run := _run(event.body, known)) is not None]
    return sorted(runs, key=lambda run: run.seen)


def _run(body: Mapping[str, Any], known: Known) -> PipelineRun | None:
    project = known.project
    if not project.default_branch:
        project = replace(project, default_branch=text(body, "default_branch"))
    home = text(body, "home").rstrip("/")
    jobs = parse_jobs([{**build, "web_url": f"{home}/-/jobs/{id_of(build)}"} for build in body["builds"]])
    if isinstance(jobs, Malformed):
        return None
    told = tuple(replace(job, attempt=0) for job in jobs)
    run = parse_run({**body, "web_url": f"{home}/-/pipelines/{id_of(body)}"}, told, project, title=text(body, "title"))
    return None if isinstance(run, Malformed) else replace(run, seen=_seen(body, run))


def _seen(body: Mapping[str, Any], run: PipelineRun) -> datetime:
    """The newest time that it names: never later than the `updated_at` of a look that shows as much or more.

    Milliseconds, of which looks have none, order events of one second; a look of that second goes before them.
    """
    named = [*_times(body, ("created_at", "finished_at"))]
    for build in body["builds"]:
        named.extend(_times(build, ("created_at", "started_at", "finished_at")))
    newest = max(named, default=run.created_at).replace(microsecond=0)
    return newest - timedelta(milliseconds=1 + _ORDER.index(run.state))


def _times(fields: Mapping[str, Any], keys: Iterable[str]) -> Iterable[datetime]:
    return (at for key in keys if (at := instant(fields, key)) is not None)


HOOKS = Hooks(signed=gitlab_signed, delivery=_delivery, event=_event, facts=_facts, whole=True)
