"""GitHub's JSON in, typed values out; nothing raises, whatever the JSON holds.

Every `read_…` returns None for an answer that is not what it should be, and the flow in `github.py` says so. A field
that only describes (a title, a link) may be missing or odd; identity and times may not. Field facts are from
https://docs.github.com/en/rest/actions/workflow-runs and https://docs.github.com/en/rest/actions/workflow-jobs.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from k2alert.collect.flow import Response
from k2alert.model import Event, JobRun, Outcome, PipelineRun, Project, RefType, Result, RunState
from k2alert.times import parse_instant

__all__ = [
    "Page",
    "SeenRun",
    "assemble_run",
    "dig",
    "is_repository",
    "next_page",
    "read_instant",
    "read_job",
    "read_number",
    "read_page",
    "read_project",
    "read_run",
    "read_text",
    "ref_type_of",
    "run_state",
]

# Contract §3. A conclusion that GitHub invents later says nothing about the code: SKIP, which decides nothing.
_RESULTS = {
    "success": Result.SUCCESS,
    "failure": Result.FAILURE,
    "timed_out": Result.TIMEOUT,
    "startup_failure": Result.ERROR,
    "cancelled": Result.CANCELLATION,
}

# `waiting`: a deployment protection rule, so a person. `pending`: a concurrency limit, so another run.
_STATES = {
    "in_progress": RunState.RUNNING,
    "waiting": RunState.BLOCKED,
    "pending": RunState.BLOCKED,
    "completed": RunState.FINISHED,
}

_EVENTS = {
    "push": Event.PUSH,
    "schedule": Event.SCHEDULE,
    "pull_request": Event.CHANGE_REQUEST,
    "pull_request_target": Event.CHANGE_REQUEST,
    "workflow_dispatch": Event.MANUAL,
    "repository_dispatch": Event.API,
}
_STARTED_BY_A_TAG = frozenset({"push", "create", "release"})

# Events whose run may be of a tag; all others run on a branch.
_OF_ANY_REF = frozenset({"push", "create", "workflow_dispatch", "deployment", "deployment_status"})

# A conclusion follows `completed` within moments; one still missing after this long never comes.
_CONCLUSION_DUE = timedelta(hours=1)

_REPOSITORY = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")
_LINK = re.compile(r"<([^<>]*)>([^<]*)")
_PAGE = re.compile(r"[?&]page=(\d{1,6})(?=[&#]|$)")
_LARGEST = 2**63 - 1  # what the store holds
_UNSET_BEFORE = 2000  # Go servers write 0001-01-01 for "not set"
_LONGEST_TEXT = 1024  # git's and GitHub's own names and titles are shorter
_LONGEST = timedelta(days=10 * 365)  # no run took ten years: one of its two times is rubbish
_FIRST_ATTEMPT = 1


class Page(NamedTuple):
    """One page of a list: its items as they came, how many there are in all, and the next page's number."""

    items: Sequence[Any]
    total: int
    next: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenRun:
    """One attempt of a workflow run as GitHub shows it; `status`, `event` and `result` are not yet judged by time.

    `result` is None while GitHub has no conclusion. `owner` and `branch` are those of the head, which is a
    fork's for some pull requests; `change` is the pull request's number where GitHub names one.
    """

    id: str
    attempt: int
    number: str
    workflow: str
    event: str
    owner: str
    branch: str
    change: int | None
    sha: str
    title: str
    web_url: str
    status: str
    result: Result | None
    created_at: datetime
    started_at: datetime
    updated_at: datetime

    @property
    def is_change_request(self) -> bool:
        """Whether it ran for a pull request, also for a review or a comment on its diff."""
        return self.event.startswith("pull_request")


def read_page(answer: Response, field: str, number: int) -> Page | None:
    """Page `number` of the list under `field`; only later pages follow it, so a list always ends."""
    items, total = dig(answer.data, field), dig(answer.data, "total_count")
    if not isinstance(items, list):
        return None
    following = next_page(answer.headers.get("link", ""))
    return Page(
        items, read_number(total) or len(items), following if following is not None and following > number else None
    )


def read_project(data: Any, before: Project) -> Project | None:
    """What GitHub calls the repository now; renames show here."""
    path, forge_id = read_text(dig(data, "full_name")), read_number(dig(data, "id"))
    default_branch = read_text(dig(data, "default_branch"))
    if forge_id is None or not default_branch or not is_repository(path):
        return None
    web_url = read_text(dig(data, "html_url"))
    return replace(before, path=path, forge_id=str(forge_id), default_branch=default_branch, web_url=web_url)


def is_repository(path: str) -> bool:
    """Whether this is an `owner/name` that may stand in a URL."""
    return _REPOSITORY.fullmatch(path) is not None and not {".", ".."} & set(path.split("/"))


def read_run(data: Any) -> SeenRun | None:
    """One workflow run, of a list or alone; the oldest recordings have no attempt, no start and no title."""
    number, created_at, updated_at = (
        read_number(dig(data, "id")),
        read_instant(dig(data, "created_at")),
        read_instant(dig(data, "updated_at")),
    )
    if number is None or created_at is None or updated_at is None:
        return None
    return SeenRun(
        id=str(number),
        attempt=read_number(dig(data, "run_attempt")) or _FIRST_ATTEMPT,
        number=str(read_number(dig(data, "run_number")) or ""),
        workflow=read_text(dig(data, "name")) or read_text(dig(data, "path")),
        event=read_text(dig(data, "event")),
        owner=read_text(dig(data, "head_repository", "owner", "login")),
        branch=read_text(dig(data, "head_branch")),
        change=_change_number(data),
        sha=read_text(dig(data, "head_sha")),
        title=read_text(dig(data, "display_title")),
        web_url=read_text(dig(data, "html_url")),
        status=read_text(dig(data, "status")),
        result=_result(dig(data, "conclusion")),
        created_at=created_at,
        started_at=read_instant(dig(data, "run_started_at")) or created_at,
        updated_at=updated_at,
    )


def run_state(run: SeenRun, *, now: datetime) -> RunState:
    """Where the run stands.

    A completed run without a conclusion (they exist) still runs as far as we can tell; after an hour it is
    finished without an outcome, so that nobody asks for it for ever.
    """
    state = _STATES.get(run.status, RunState.PENDING)
    waits = state is RunState.FINISHED and run.result is None and now - run.updated_at < _CONCLUSION_DUE
    return RunState.RUNNING if waits else state


def ref_type_of(run: SeenRun, default_branch: str) -> RefType | None:
    """What the run ran for; None where its branch may be a tag: GitHub's runs name either without saying which."""
    if run.is_change_request:
        return RefType.CHANGE_REQUEST
    if run.branch == default_branch:
        return RefType.DEFAULT
    if run.event == "release":
        return RefType.TAG
    return None if run.event in _OF_ANY_REF and run.branch else RefType.BRANCH


def read_job(data: Any, run: SeenRun) -> JobRun | None:
    """One job execution of the run."""
    number, name = read_number(dig(data, "id")), read_text(dig(data, "name"))
    if number is None or not name:
        return None
    state, result = _job_state(data)
    created_at, started_at, finished_at = (
        read_instant(dig(data, at)) for at in ("created_at", "started_at", "completed_at")
    )
    if state not in (RunState.RUNNING, RunState.FINISHED):
        started_at = None  # GitHub shows created_at here until a runner takes the job
    if state is not RunState.FINISHED:
        finished_at = None
    return JobRun(
        id=str(number),
        name=name,
        job=name,
        stage="",
        runner=_runner(dig(data, "labels")),
        state=state,
        result=result,
        attempt=read_number(dig(data, "run_attempt")) or run.attempt,
        allowed=False,
        created_at=created_at,
        started_at=started_at,
        finished_at=finished_at,
        duration=_between(started_at, finished_at),
        queued=_between(created_at, started_at),
        reason="",
        web_url=read_text(dig(data, "html_url")),
    )


def assemble_run(
    run: SeenRun,
    earlier: Iterable[SeenRun],
    jobs: Sequence[JobRun],
    *,
    project: Project,
    ref_type: RefType,
    now: datetime,
) -> PipelineRun:
    """The facts of one run: its latest attempt, the earlier ones that were read, and the jobs of all of them."""
    attempts = {attempt.attempt: attempt for attempt in (*earlier, run)}
    finished = [attempt for attempt in attempts.values() if run_state(attempt, now=now) is RunState.FINISHED]
    return PipelineRun(
        source=project.source,
        project=project.path,
        id=run.id,
        number=run.number,
        workflow=run.workflow,
        event=_event(run, ref_type),
        ref_type=ref_type,
        branch=_branch(run),
        sha=run.sha,
        title=run.title,
        web_url=run.web_url,
        state=run_state(run, now=now),
        created_at=run.created_at,
        started_at=run.started_at,
        seen=run.updated_at,
        outcomes=tuple(_outcome(each, each.result, jobs) for each in finished if each.result is not None),
        jobs=_executions(jobs, attempts),
    )


def _outcome(run: SeenRun, result: Result, jobs: Iterable[JobRun]) -> Outcome:
    """How one attempt ended: at the end of its last job, or at `updated_at` where its jobs are not known."""
    own = [job for job in jobs if job.attempt <= run.attempt and not _is_carried_over(job, run)]
    finished_at = max((job.finished_at for job in own if job.finished_at is not None), default=run.updated_at)
    # A skipped job has a start, but nothing started.
    starts = [job.started_at for job in own if job.started_at is not None and job.result is not Result.SKIP]
    return Outcome(
        attempt=run.attempt,
        result=result,
        started_at=run.started_at,
        finished_at=finished_at,
        duration=_between(run.started_at, finished_at),
        queued=_between(run.started_at, min(starts, default=None)),
    )


def _executions(jobs: Iterable[JobRun], attempts: Mapping[int, SeenRun]) -> tuple[JobRun, ...]:
    """Each execution once: "re-run failed jobs" lists the untouched jobs again, under new ids with their old times."""
    first: dict[tuple[str, datetime | None], int] = {}
    kept = []
    for job in sorted(jobs, key=lambda job: job.attempt):
        attempt = attempts.get(job.attempt)
        if attempt is not None and _is_carried_over(job, attempt):
            continue
        if job.started_at is None or first.setdefault((job.name, job.started_at), job.attempt) == job.attempt:
            kept.append(job)
    return tuple(kept)


def _is_carried_over(job: JobRun, run: SeenRun) -> bool:
    """Whether the job ran in an attempt before this one; before the first there is none, only clocks that differ."""
    return run.attempt > _FIRST_ATTEMPT and job.started_at is not None and job.started_at < run.started_at


def _event(run: SeenRun, ref_type: RefType) -> Event:
    if ref_type is RefType.TAG and run.event in _STARTED_BY_A_TAG:
        return Event.TAG
    return _EVENTS.get(run.event, Event.OTHER)


def _branch(run: SeenRun) -> str:
    if not run.is_change_request:
        return run.branch
    # `ghost` is GitHub's own name for the owner of what has been deleted.
    return f"#{run.change}" if run.change is not None else f"{run.owner or 'ghost'}:{run.branch}"


def _change_number(data: Any) -> int | None:
    """The number of the pull request into this repository; a fork's own pull requests are listed here as well."""
    here = dig(data, "repository", "id")
    listed = dig(data, "pull_requests")
    for change in listed if isinstance(listed, list) else ():
        into = dig(change, "base", "repo", "id")
        number = read_number(dig(change, "number"))
        if number is not None and (here is None or into is None or into == here):
            return number
    return None


def _job_state(data: Any) -> tuple[RunState, Result | None]:
    state = _STATES.get(read_text(dig(data, "status")), RunState.PENDING)
    if state is not RunState.FINISHED:
        return state, None
    result = _result(dig(data, "conclusion"))
    return (RunState.RUNNING, None) if result is None else (state, result)


def _result(conclusion: Any) -> Result | None:
    return _RESULTS.get(conclusion, Result.SKIP) if isinstance(conclusion, str) and conclusion else None


def _runner(labels: Any) -> str:
    return ",".join(sorted({read_text(label) for label in labels} - {""})) if isinstance(labels, list) else ""


def _between(start: datetime | None, end: datetime | None) -> timedelta | None:
    """The time from one to the other, never negative: GitHub's clocks differ by a second now and then."""
    if start is None or end is None or end - start > _LONGEST:
        return None
    return max(end - start, timedelta(0))


def next_page(link: str) -> int | None:
    """The page number behind `rel="next"`; only the number, for hosts behind proxies and of mocks are wrong there."""
    for url, parameters in _LINK.findall(link):
        page = _PAGE.search(url)
        if page and 'rel="next"' in parameters:
            return int(page[1])
    return None


def dig(data: Any, *names: str) -> Any:
    """What stands below these names, each in the one before; None where nothing does."""
    for name in names:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def read_text(value: Any) -> str:
    """The text, cut to a sane length, with what no database stores (half a surrogate pair, NUL) replaced."""
    if not isinstance(value, str):
        return ""
    return value[:_LONGEST_TEXT].encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def read_number(value: Any) -> int | None:
    """A number above zero that the store holds."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST else None


def read_instant(value: Any) -> datetime | None:
    """A time, where it is one."""
    try:
        at = parse_instant(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
    return at if at is not None and at.year >= _UNSET_BEFORE else None
