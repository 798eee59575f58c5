"""A stand-in for GitHub's REST API: repositories in memory and a clock go in, an aiohttp application comes out.

It answers as GitHub does where k2alert listens, and keeps GitHub's traps: a search lists at most 1,000 runs, a re-run
keeps its run's id and `created_at`, `Link` names another host, a pull request's number is only given while it is open,
jobs that wait have a start. Time is the clock's alone: what lies in its future has not happened yet. Change the
dataclasses while it runs, and GitHub has changed.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode

from aiohttp import web

from k2alert.times import EPOCH, iso, parse_instant
from tests.support.github_shapes import (
    API,
    SITE,
    commit,
    content,
    deployment,
    deployment_status,
    full_repository,
    minimal_repository,
    simple_commit,
    tag,
    user,
    workflow,
)

Query = Mapping[str, str]
_SEARCH_LIMIT = 1000
_CONCLUSIONS = {"success": "success", "failed": "failure", "canceled": "cancelled", "skipped": "skipped"}


@dataclass
class StandinJob:
    """A job of one attempt. `attempt` is what GitHub says it is, where that is not the attempt that lists it."""

    id: int
    name: str
    started_at: datetime
    completed_at: datetime | None
    conclusion: str | None = "success"
    created_at: datetime | None = None  # old recordings have none
    labels: tuple[str, ...] = ("ubuntu-latest",)
    attempt: int | None = None


@dataclass
class StandinAttempt:
    """One attempt of a run; `completed_at` None never ends. `gone`: GitHub keeps it no longer (404)."""

    number: int
    started_at: datetime
    completed_at: datetime | None
    conclusion: str | None = "success"
    jobs: list[StandinJob] = field(default_factory=list)
    gone: bool = False


@dataclass
class StandinArtifact:
    """An artifact of a run: an archive, there from `created_at` on."""

    id: int
    name: str
    created_at: datetime
    archive: bytes = field(repr=False)
    expired: bool = False


@dataclass
class StandinRun:
    """A workflow run. `owner` is that of a fork where the run is for a fork's pull request."""

    id: int
    created_at: datetime
    attempts: list[StandinAttempt]
    number: int = 1
    name: str = "CI"
    event: str = "push"
    head_branch: str | None = "main"
    head_sha: str = "c0ffee" * 6 + "c0ff"
    title: str = "Make it work"
    pull_requests: tuple[int, ...] = ()
    owner: str = ""
    artifacts: list[StandinArtifact] = field(default_factory=list)

    def attempt_at(self, now: datetime) -> StandinAttempt | None:
        """The attempt that GitHub shows for the run at this time."""
        begun = [attempt for attempt in self.attempts if attempt.started_at <= now]
        return begun[-1] if begun and self.created_at <= now else None


@dataclass
class StandinDeployment:
    """A deployment. `statuses` are a state and when it came, the oldest first; `run` is that of the logs they name.

    `still`: its time of change does not move with its statuses.
    """

    id: int
    environment: str
    created_at: datetime
    statuses: list[tuple[str, datetime]] = field(default_factory=list)
    sha: str = "c0ffee" * 6 + "c0ff"
    ref: str = "main"
    run: int | None = None
    production: bool = False
    still: bool = False


@dataclass
class StandinWorkflow:
    """A workflow and its file on the default branch."""

    id: int
    name: str
    path: str
    text: str
    state: str = "active"
    updated_at: datetime = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass
class StandinRepository:
    """A repository; `tags` and `branches` are the names it has besides its default branch.

    `commits` says when those were made that are asked for by their sha.
    """

    full_name: str
    runs: list[StandinRun] = field(default_factory=list)
    id: int = 1296269
    default_branch: str = "main"
    branches: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)
    deployments: list[StandinDeployment] = field(default_factory=list)
    workflows: list[StandinWorkflow] = field(default_factory=list)
    commits: dict[str, datetime] = field(default_factory=dict)


class Reply(NamedTuple):
    """What GitHub answers: a status, JSON (None with a 304) and headers."""

    status: int
    data: Any
    headers: Mapping[str, str] = {}


@dataclass
class StandinGitHub:
    """GitHub. `token` "" lets everyone in; after `remaining` requests the primary rate limit is reached.

    `asked` holds the path and query of every request that came in, `billed` of those that count against the limit: all
    but those answered with 304. `storage` is where it sends those who want an artifact's archive.
    """

    clock: Callable[[], datetime]
    repositories: list[StandinRepository] = field(default_factory=list)
    token: str = ""
    remaining: int = 1_000_000
    asked: list[str] = field(default_factory=list)
    billed: list[str] = field(default_factory=list)
    storage: str = "http://127.0.0.1:9"

    def make_app(self, middlewares: Iterable[Any] = ()) -> web.Application:
        """The application that serves it; `middlewares` see the answers as a client does."""
        app = web.Application(middlewares=list(middlewares))
        app.router.add_get("/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.Response:
        authorization = request.headers.get("Authorization", "")
        etag = request.headers.get("If-None-Match", "")
        reply = self.reply(request.rel_url.raw_path, dict(request.query), authorization=authorization, etag=etag)
        if reply.status == 304:
            return web.Response(status=304, headers=reply.headers)
        text = json.dumps(reply.data)
        return web.Response(text=text, status=reply.status, headers=reply.headers, content_type="application/json")

    def reply(self, path: str, query: Query, *, authorization: str = "", etag: str = "") -> Reply:
        """What it answers to a GET; `path` is percent-encoded."""
        line = f"{path}?{urlencode(query)}"
        self.asked.append(line)
        if self.token and authorization != f"Bearer {self.token}":
            return self._bill(line, _error(401, "Bad credentials"), free=False)
        if self.remaining == 0:
            return self._bill(line, _error(403, "API rate limit exceeded for user ID 1."), free=True)
        reply = self._route(path, query)
        if reply.status != 200:
            return self._bill(line, reply, free=False)
        # GitHub's ETags are weak where the body is packed, and hold for one token.
        fresh = sha256(f"{authorization} {json.dumps(reply.data)}".encode()).hexdigest()
        same = etag.removeprefix("W/") == f'"{fresh}"'
        headers = {**reply.headers, "ETag": f'W/"{fresh}"'}
        return self._bill(line, Reply(304, None, headers) if same else reply._replace(headers=headers), free=same)

    def _bill(self, line: str, reply: Reply, *, free: bool) -> Reply:
        if not free:
            self.remaining -= 1
            self.billed.append(line)
        reset = (self.clock() - EPOCH) // timedelta(seconds=1) + 3600
        limits = {"limit": 5000, "remaining": self.remaining, "used": 1, "reset": reset, "resource": "core"}
        said = {f"x-ratelimit-{name}": str(value) for name, value in limits.items()}
        return reply._replace(headers={**reply.headers, **said})

    def _route(self, path: str, query: Query) -> Reply:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        repository = next(
            (each for each in self.repositories if parts[:3] == ["repos", *each.full_name.split("/")]), None
        )
        if repository is None:
            return _error(404, "Not Found")
        match parts[3:]:
            case []:
                return Reply(200, full_repository(repository.full_name, repository.id, repository.default_branch))
            case ["commits", ref]:
                return self._get_commit(repository, ref)
            case ["tags"]:
                return _page(query, "", sorted(repository.tags), lambda name: tag(repository.full_name, name))
            case ["deployments", *rest]:
                return self._get_deployments(repository, rest, query)
            case ["actions", "workflows"]:
                return _page(query, "workflows", repository.workflows, lambda one: _workflow(repository, one))
            case ["contents", ".github", "workflows", *rest]:
                return _contents(repository, rest)
            case ["actions", "runs"]:
                return self._list_runs(repository, query)
            case ["actions", "runs", number, *rest] if number.isdigit():
                return self._get_run(repository, int(number), rest, query)
            case ["actions", "artifacts", number, "zip"] if number.isdigit():
                return self._give_artifact(repository, int(number))
        return _error(404, "Not Found")

    def _get_deployments(self, repository: StandinRepository, rest: list[str], query: Query) -> Reply:
        now = self.clock()
        begun = sorted((one for one in repository.deployments if one.created_at <= now), key=lambda one: -one.id)
        match rest:
            case []:
                return _page(query, "", begun, lambda one: _deployment(repository, one, now))
            case [wanted, "statuses"]:
                found = [one for one in begun if str(one.id) == wanted]
                if found:
                    told = [status for status in enumerate(found[0].statuses) if status[1][1] <= now]
                    return _page(query, "", told[::-1], lambda each: _status_of(repository, found[0], *each))
        return _error(404, "Not Found")

    def _get_commit(self, repository: StandinRepository, ref: str) -> Reply:
        if ref in repository.commits:
            return Reply(200, commit(repository.full_name, ref, iso(repository.commits[ref])))
        kind, _, name = ref.partition("/")
        names = repository.tags if kind == "tags" else repository.branches | {repository.default_branch}
        if name not in names:
            return _error(422, f"No commit found for SHA: {ref}")
        return Reply(200, commit(repository.full_name, "c0ffee"))

    def _list_runs(self, repository: StandinRepository, query: Query) -> Reply:
        now = self.clock()
        created, status = query.get("created"), query.get("status")
        within = _parse_range(created) if created else (lambda _: True)
        shown = [
            (run, attempt) for run in repository.runs if (attempt := run.attempt_at(now)) and within(run.created_at)
        ]
        if status:
            shown = [(run, each) for run, each in shown if status in (_status(each, now), _conclusion(each, now))]
        shown.sort(key=lambda pair: (pair[0].created_at, pair[0].id), reverse=True)
        listed = shown[:_SEARCH_LIMIT] if created or status else shown
        return _page(query, "workflow_runs", listed, lambda pair: _run(repository, *pair, now=now), total=len(shown))

    def _get_run(self, repository: StandinRepository, number: int, rest: list[str], query: Query) -> Reply:
        now = self.clock()
        run = next((each for each in repository.runs if each.id == number), None)
        latest = run.attempt_at(now) if run is not None else None
        if run is None or latest is None:
            return _error(404, "Not Found")
        begun = [attempt for attempt in run.attempts if attempt.started_at <= now]
        match rest:
            case []:
                return Reply(200, _run(repository, run, latest, now=now))
            case ["jobs"]:
                return self._list_jobs(repository, run, begun if query.get("filter") == "all" else begun[-1:], query)
            case ["artifacts"]:
                shown = [one for one in run.artifacts if one.created_at <= now]
                return _page(query, "artifacts", shown, lambda one: _artifact(repository, run, one), total=len(shown))
            case ["attempts", wanted, *more] if more in ([], ["jobs"]):
                found = [each for each in begun if str(each.number) == wanted and not each.gone]
                if found and more:
                    return self._list_jobs(repository, run, found, query)
                if found:
                    return Reply(200, _run(repository, run, found[0], now=now))
        return _error(404, "Not Found")

    def _give_artifact(self, repository: StandinRepository, number: int) -> Reply:
        here = [one for run in repository.runs for one in run.artifacts if one.created_at <= self.clock()]
        found = next((one for one in here if one.id == number), None)
        if found is None:
            return _error(404, "Not Found")
        if found.expired:
            return _error(410, "Artifact has expired")
        return Reply(302, None, {"Location": f"{self.storage}/{found.id}.zip?sig=a%2Bb%3D"})

    def _list_jobs(
        self, repository: StandinRepository, run: StandinRun, attempts: list[StandinAttempt], query: Query
    ) -> Reply:
        now = self.clock()
        jobs = [
            (attempt, job)
            for attempt in attempts
            for job in attempt.jobs
            if not attempt.gone and (job.created_at or attempt.started_at) <= now
        ]
        return _page(query, "jobs", jobs, lambda pair: _job(repository, run, *pair, now=now), total=len(jobs))


def standin_from_row(row: Mapping[str, Any], *, event: str = "push") -> StandinRun:
    """A run of a `pipelines/github_*.jsonl.gz` history; `event` where the history has none.

    The histories know only the last attempt, so earlier ones are gone.
    """
    number = row["run_attempt"] or 1
    finished = max(parse_instant(row["finished_at"]), parse_instant(row["updated_at"]))
    jobs = [_job_from_row(job) for job in row["jobs"]]
    last = StandinAttempt(number, parse_instant(row["started_at"]), finished, _conclusion_of(row), jobs)
    return StandinRun(
        id=row["id"],
        created_at=parse_instant(row["created_at"]),
        attempts=[last],
        number=row["run_number"] or 1,
        name=row["workflow"] or "CI",
        event=row["event"] or event,
        head_branch=row["ref"],
        head_sha=row["sha"],
    )


def _job_from_row(row: Mapping[str, Any]) -> StandinJob:
    return StandinJob(
        id=row["id"],
        name=row["name"],
        started_at=parse_instant(row["started_at"]),
        completed_at=parse_instant(row["finished_at"]) if row["finished_at"] else None,
        conclusion=_conclusion_of(row),
        created_at=parse_instant(row["created_at"]) if row.get("created_at") else None,
        attempt=row.get("run_attempt"),
    )


def _conclusion_of(row: Mapping[str, Any]) -> str | None:
    """GitHub's word; some histories have a word of their own, in capitals."""
    word = row["conclusion"]
    return word if word and word.islower() else _CONCLUSIONS.get(row["status"])


# ------------------------------------------------------------------------------------------- what is answered


def _error(status: int, message: str) -> Reply:
    where = "https://docs.github.com/rest"
    return Reply(status, {"message": message, "documentation_url": where, "status": str(status)})


def _deployment(repository: StandinRepository, one: StandinDeployment, now: datetime) -> dict[str, Any]:
    updated_at = max([one.created_at, *(at for _, at in one.statuses if at <= now and not one.still)])
    return deployment(
        repository.full_name,
        one.id,
        sha=one.sha,
        ref=one.ref,
        environment=one.environment,
        production_environment=one.production,
        created_at=iso(one.created_at),
        updated_at=iso(updated_at),
    )


def _status_of(
    repository: StandinRepository, one: StandinDeployment, number: int, status: tuple[str, datetime]
) -> dict[str, Any]:
    state, at = status
    log = "" if one.run is None else f"{SITE}/{repository.full_name}/actions/runs/{one.run}/job/7"
    name = repository.full_name
    return deployment_status(
        name, one.id, number + 1, state=state, created_at=iso(at), updated_at=iso(at), log_url=log, target_url=log
    )


def _workflow(repository: StandinRepository, one: StandinWorkflow) -> dict[str, Any]:
    at = iso(one.updated_at)
    return workflow(
        repository.full_name, one.id, one.path, name=one.name, state=one.state, created_at=at, updated_at=at
    )


def _contents(repository: StandinRepository, rest: list[str]) -> Reply:
    files = {one.path.rpartition("/")[2]: one for one in repository.workflows if one.path.startswith(".github/")}
    name = repository.full_name
    if rest and rest[0] in files:
        return Reply(200, content(name, files[rest[0]].path, files[rest[0]].text.encode()))
    if rest or not files:
        return _error(404, "Not Found")
    return Reply(200, [content(name, one.path, one.text.encode(), listed=True) for one in files.values()])


def _page(
    query: Query, name: str, items: list[Any], show: Callable[[Any], dict[str, Any]], *, total: int | None = None
) -> Reply:
    """A page of a list, which is a list itself where it has no name."""
    size = min(int(query.get("per_page", "30")), 100)
    number = int(query.get("page", "1"))
    shown = [show(item) for item in items[(number - 1) * size : number * size]]
    last = -(-len(items) // size)
    links = {"prev": number - 1, "next": number + 1, "last": last, "first": 1}
    wanted = {rel: page for rel, page in links.items() if 1 <= page <= last and (page != number or rel == "next")}
    link = ", ".join(f'<{_link(query, page)}>; rel="{rel}"' for rel, page in wanted.items())
    data = {"total_count": len(items) if total is None else total, name: shown} if name else shown
    return Reply(200, data, {"Link": link} if link else {})


def _link(query: Query, page: int) -> str:
    return f"{API}/repositories/1296269/moved?{urlencode({**query, 'page': page})}"


def _parse_range(text: str) -> Callable[[datetime], bool]:
    """GitHub's search syntax for times: `>=T`, `>T`, `<=T`, `<T`, `A..B`, `*..B`, `A..*`, or one exact second."""
    if ".." in text:
        start, end = text.split("..")
        low = None if start == "*" else parse_instant(start)
        high = None if end == "*" else parse_instant(end)
        return lambda at: (low is None or low <= at) and (high is None or at <= high)
    sign = text[: len(text) - len(text.lstrip("<>="))]
    bound = parse_instant(text[len(sign) :])
    compare: dict[str, Callable[[datetime], bool]] = {
        ">=": lambda at: at >= bound,
        ">": lambda at: at > bound,
        "<=": lambda at: at <= bound,
        "<": lambda at: at < bound,
        "": lambda at: at == bound,
    }
    return compare[sign]


def _status(attempt: StandinAttempt, now: datetime) -> str:
    if attempt.completed_at is not None and attempt.completed_at <= now:
        return "completed"
    return "in_progress" if any(job.started_at <= now for job in attempt.jobs) else "queued"


def _conclusion(attempt: StandinAttempt, now: datetime) -> str | None:
    return attempt.conclusion if _status(attempt, now) == "completed" else None


def _updated_at(attempt: StandinAttempt, now: datetime) -> datetime:
    moments = [attempt.started_at, attempt.completed_at]
    for job in attempt.jobs:
        moments += [job.started_at, job.completed_at]
    return max(at for at in moments if at is not None and at <= now)


def _run(repository: StandinRepository, run: StandinRun, attempt: StandinAttempt, *, now: datetime) -> dict[str, Any]:
    owner, _, name = repository.full_name.partition("/")
    head = run.owner or owner
    url = f"{API}/repos/{repository.full_name}/actions/runs/{run.id}"
    earlier = f"{url}/attempts/{attempt.number - 1}" if attempt.number > 1 else None
    return {
        "id": run.id,
        "name": run.name,
        "node_id": "WFR_1",
        "head_branch": run.head_branch,
        "head_sha": run.head_sha,
        "path": ".github/workflows/ci.yml",
        "display_title": run.title,
        "run_number": run.number,
        "run_attempt": attempt.number,
        "event": run.event,
        "status": _status(attempt, now),
        "conclusion": _conclusion(attempt, now),
        "workflow_id": 159038,
        "created_at": iso(run.created_at),
        "run_started_at": iso(attempt.started_at),
        "updated_at": iso(_updated_at(attempt, now)),
        "url": url,
        "html_url": f"{SITE}/{repository.full_name}/actions/runs/{run.id}",
        "previous_attempt_url": earlier,
        "pull_requests": [_pull_request(repository, run, number) for number in run.pull_requests],
        "head_commit": simple_commit(run.head_sha),
        "actor": user(head),
        "repository": minimal_repository(repository.full_name, repository.id),
        "head_repository": minimal_repository(f"{head}/{name}", repository.id + bool(run.owner)),
        **{key: f"{url}/{key}" for key in _RUN_URLS},
    }


_RUN_URLS = (
    "jobs_url",
    "logs_url",
    "check_suite_url",
    "cancel_url",
    "rerun_url",
    "artifacts_url",
    "workflow_url",
)


def _job(
    repository: StandinRepository, run: StandinRun, attempt: StandinAttempt, job: StandinJob, *, now: datetime
) -> dict[str, Any]:
    begun = job.started_at <= now
    ended = job.completed_at is not None and job.completed_at <= now
    url = f"{API}/repos/{repository.full_name}/actions"
    created_at = {"created_at": iso(job.created_at)} if job.created_at else {}
    return {
        "id": job.id,
        "run_id": run.id,
        "workflow_name": run.name,
        "head_branch": run.head_branch,
        "run_url": f"{url}/runs/{run.id}",
        "run_attempt": job.attempt or attempt.number,
        "node_id": "CR_1",
        "head_sha": run.head_sha,
        "url": f"{url}/jobs/{job.id}",
        "html_url": f"{SITE}/{repository.full_name}/actions/runs/{run.id}/job/{job.id}",
        "status": "completed" if ended else "in_progress" if begun else "queued",
        "conclusion": job.conclusion if ended else None,
        **created_at,
        "started_at": iso(job.started_at if begun else job.created_at or attempt.started_at),
        "completed_at": iso(job.completed_at) if ended and job.completed_at else None,
        "name": job.name,
        "steps": [],
        "check_run_url": f"{API}/repos/{repository.full_name}/check-runs/{job.id}",
        "labels": list(job.labels),
        "runner_id": 1 if begun else None,
        "runner_name": "runner" if begun else None,
        "runner_group_id": 1 if begun else None,
        "runner_group_name": "Default" if begun else None,
    }


def _artifact(repository: StandinRepository, run: StandinRun, artifact: StandinArtifact) -> dict[str, Any]:
    url = f"{API}/repos/{repository.full_name}/actions/artifacts/{artifact.id}"
    return {
        "id": artifact.id,
        "node_id": "MDg6QXJ0aWZhY3Q",
        "name": artifact.name,
        "size_in_bytes": len(artifact.archive),
        "url": url,
        "archive_download_url": f"{url}/zip",
        "expired": artifact.expired,
        "created_at": iso(artifact.created_at),
        "expires_at": iso(artifact.created_at + timedelta(days=90)),
        "updated_at": iso(artifact.created_at),
        "workflow_run": {"id": run.id, "head_branch": run.head_branch, "head_sha": run.head_sha},
    }


def _pull_request(repository: StandinRepository, run: StandinRun, number: int) -> dict[str, Any]:
    repo = {"id": repository.id, "url": f"{API}/repos/{repository.full_name}", "name": repository.full_name}
    return {
        "id": 1000 + number,
        "number": number,
        "url": f"{repo['url']}/pulls/{number}",
        "head": {"ref": run.head_branch or "", "sha": run.head_sha, "repo": repo},
        "base": {"ref": repository.default_branch, "sha": run.head_sha, "repo": repo},
    }
