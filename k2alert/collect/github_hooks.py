"""GitHub's webhooks in, facts out: `workflow_run` says how a run goes, `workflow_job` how each of its jobs does.

Neither says all of a run, so all events of one are kept and read together: the newest of each attempt and of each job.
So it does not matter in which order they come, or how often. A `deployment_status` says that there is something to look
at: it lacks the commit's time, and the labels of its run while that is not recorded. A `create` says whether a name is
a tag's, which no event of a run does. The fields are those of
https://docs.github.com/en/webhooks/webhook-events-and-payloads.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from k2alert.collect.github_parse import SeenRun, assemble_run, dig, read_job, read_run, read_text, ref_type_of
from k2alert.collect.hooks import Headers, Hooks, Known, digest, github_signed
from k2alert.model import HookEvent, JobRun, Kind, PipelineRun, RefType, RunState

__all__ = ["HOOKS"]

_RUN = (
    "id", "name", "path", "run_attempt", "run_number", "event", "head_branch", "head_sha", "display_title", "html_url",
    "status", "conclusion", "created_at", "run_started_at", "updated_at",
)  # fmt: skip
_JOB = (
    "id", "name", "run_attempt", "status", "conclusion", "created_at", "started_at", "completed_at", "labels",
    "html_url",
)  # fmt: skip

_LATER = {"in_progress": 1, "completed": 2}  # every other status comes before them
_SECOND = timedelta(seconds=1)


def _delivery(headers: Headers, body: bytes) -> str:
    """GitHub's id stays the same when a webhook is delivered again."""
    return headers.get("x-github-delivery") or digest(body)


def _event(headers: Headers, data: Any) -> tuple[str, str, Mapping[str, Any]] | None:
    repository = _part(data, "repository")
    home = {"path": repository.get("full_name"), "default_branch": repository.get("default_branch")}
    kind = headers.get("x-github-event", "")
    if kind == "workflow_run":
        run = _part(data, "workflow_run")
        kept = {**_kept(run, _RUN), **_nested(run, repository)}
        return _named(repository, run.get("id"), {"kind": "run", "run": kept, **home})
    if kind == "workflow_job":
        job = _part(data, "workflow_job")
        return _named(repository, job.get("run_id"), {"kind": "job", "job": _kept(job, _JOB), **home})
    if kind == "create":
        return _ref_event(data, repository, home)
    if kind == "deployment_status":
        named = _named(repository, _part(data, "deployment").get("id"), {"kind": Kind.DEPLOYMENT.value, **home})
        return named and (named[0], f"deployment {named[1]}", named[2])
    return None


def _ref_event(
    data: Any, repository: Mapping[str, Any], home: Mapping[str, Any]
) -> tuple[str, str, Mapping[str, Any]] | None:
    name, what = (read_text(dig(data, key)) for key in ("ref", "ref_type"))
    named = _named(repository, 1, {"kind": "ref", "name": name, "tag": what == "tag", **home})
    return (named[0], f"ref {name}", named[2]) if named and name and what in ("tag", "branch") else None


def _ref(event: HookEvent) -> tuple[str, bool] | None:
    """The name of a branch or tag that was made, and whether it is a tag's."""
    name, is_tag = event.body.get("name"), event.body.get("tag")
    told = event.body.get("kind") == "ref" and isinstance(name, str) and name and isinstance(is_tag, bool)
    return (str(name), is_tag is True) if told else None


def _named(
    repository: Mapping[str, Any], run: Any, body: Mapping[str, Any]
) -> tuple[str, str, Mapping[str, Any]] | None:
    project = repository.get("id")
    whole = all(isinstance(number, int) and not isinstance(number, bool) and number > 0 for number in (project, run))
    return (str(project), str(run), body) if whole else None


def _nested(run: Mapping[str, Any], repository: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `read_run` looks for deeper down: whose head it is, and the pull request."""
    owner = _part(_part(run, "head_repository"), "owner").get("login")
    changes = run.get("pull_requests")
    listed = [change for change in changes if isinstance(change, Mapping)] if isinstance(changes, list) else []
    return {
        "head_repository": {"owner": {"login": owner}},
        "repository": {"id": repository.get("id")},
        "pull_requests": [
            {"number": change.get("number"), "base": {"repo": {"id": _part(_part(change, "base"), "repo").get("id")}}}
            for change in listed
        ],
    }


def _kept(fields: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    return {name: fields[name] for name in names if name in fields}


def _part(data: Any, key: str) -> Mapping[str, Any]:
    found = data.get(key) if isinstance(data, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _facts(events: Sequence[HookEvent], known: Known, now: datetime) -> Sequence[PipelineRun] | Kind:
    """What all events of one run say together; nothing while only its jobs were heard of."""
    if events[-1].body.get("kind") == Kind.DEPLOYMENT.value:
        return Kind.DEPLOYMENT
    if events[-1].body.get("kind") == "ref":
        return ()
    attempts = _attempts(events)
    if not attempts:
        return ()
    latest = attempts[max(attempts)]
    project = known.project
    if not project.default_branch:
        project = replace(project, default_branch=str(events[-1].body.get("default_branch") or ""))
    ref_type = ref_type_of(latest, project.default_branch)
    if ref_type is None:
        is_tag = known.tags.get(f"{project.path} {latest.branch}")
        if is_tag is None:
            return Kind.RUN
        ref_type = RefType.TAG if is_tag else RefType.BRANCH
    jobs = _jobs(events, latest)
    run = assemble_run(latest, attempts.values(), jobs, project=project, ref_type=ref_type, now=now)
    return (run if _is_whole(run, latest.attempt, jobs) else replace(run, seen=run.seen - _SECOND),)


def _is_whole(run: PipelineRun, attempt: int, jobs: Sequence[JobRun]) -> bool:
    """Whether it needs no look: else it is dated a second early, so that the next look takes it for news.

    A finished run without its jobs, or with one that still runs, lacks an event, or never gets any of jobs.
    """
    own = [job for job in jobs if job.attempt == attempt]
    return run.state is RunState.FINISHED and bool(own) and all(job.state is RunState.FINISHED for job in own)


def _attempts(events: Iterable[HookEvent]) -> dict[int, SeenRun]:
    """The newest that was said of each attempt."""
    newest: dict[int, SeenRun] = {}
    for event in events:
        run = read_run(event.body.get("run")) if event.body.get("kind") == "run" else None
        if run is not None and (run.attempt not in newest or _order(run) > _order(newest[run.attempt])):
            newest[run.attempt] = run
    return newest


def _order(run: SeenRun) -> tuple[datetime, int]:
    return run.updated_at, _LATER.get(run.status, 0)


def _jobs(events: Iterable[HookEvent], run: SeenRun) -> list[JobRun]:
    """The newest that was said of each job, by number."""
    newest: dict[str, tuple[int, JobRun]] = {}
    for event in events:
        fields = event.body.get("job") if event.body.get("kind") == "job" else None
        job = read_job(fields, run)
        if job is None or not isinstance(fields, Mapping):
            continue
        order = _LATER.get(str(fields.get("status")), 0)
        if job.id not in newest or order > newest[job.id][0]:
            newest[job.id] = order, job
    return [job for _, (_, job) in sorted(newest.items(), key=lambda item: int(item[0]))]


HOOKS = Hooks(signed=github_signed, delivery=_delivery, event=_event, facts=_facts, ref=_ref, whole=False)
