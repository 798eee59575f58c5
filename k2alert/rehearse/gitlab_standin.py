"""A stand-in GitLab: an aiohttp application that answers as GitLab does, from projects held in memory.

What goes in: projects, and pipelines with the times at which they start and finish. What comes out: REST v4 and
GraphQL as a real instance would answer them at `clock()`, so that a pipeline whose times lie ahead is seen created,
then running, then finished, without anything here ever waiting. `k2alert demo` and the tests collect from it over
HTTP exactly as from GitLab itself.
"""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from html import escape
from typing import Any

from aiohttp import web

from k2alert.rehearse.gitlab_standin_facts import (
    StandinDeployment,
    StandinSchedule,
    StandinSuite,
    as_deployment,
    as_environment,
    as_report,
    as_schedule,
    as_summary,
)
from k2alert.rehearse.gitlab_standin_graphql import answer_query
from k2alert.rehearse.gitlab_standin_http import checked, error, moment, page_of
from k2alert.rehearse.gitlab_standin_json import (
    StandinJob,
    StandinPipeline,
    StandinProject,
    as_basic,
    as_detail,
    as_job,
    as_project,
    changed_at,
    status_at,
)

__all__ = [
    "StandinDeployment",
    "StandinGitLab",
    "StandinJob",
    "StandinPipeline",
    "StandinProject",
    "StandinSchedule",
    "StandinSuite",
]

_STATUSES = frozenset(
    {"created", "waiting_for_resource", "preparing", "waiting_for_callback", "pending", "running", "success"}
    | {"failed", "canceling", "canceled", "skipped", "manual", "scheduled"}
)
_SCOPES: Mapping[str, frozenset[str]] = {
    "running": frozenset({"running"}),
    "pending": frozenset({"pending"}),
    "finished": frozenset({"success", "failed", "canceled"}),
}


class _Shelf:
    """A project's pipelines, found by id and listed in its order."""

    def __init__(self, project: StandinProject) -> None:
        self.project = project
        self.by_id: dict[int, StandinPipeline] = {}
        self.ids: list[int] = []
        self.deployments: dict[int, StandinDeployment] = {}
        self.tiers: dict[str, str] = {}  # of the environments, by name
        self.schedules: dict[int, StandinSchedule] = {}

    def put(self, pipeline: StandinPipeline) -> None:
        if pipeline.id not in self.by_id:
            insort(self.ids, pipeline.id)
        self.by_id[pipeline.id] = pipeline

    def remove(self, pipeline_id: int) -> None:
        del self.by_id[pipeline_id]
        self.ids.remove(pipeline_id)

    def newest_first(self, now: datetime) -> list[StandinPipeline]:
        """What exists now, without child pipelines, as GitLab lists it."""
        pipelines = (self.by_id[number] for number in reversed(self.ids))
        return [run for run in pipelines if run.created_at <= now and run.source != "parent_pipeline"]


@dataclass
class StandinGitLab:
    """A GitLab that holds what it is given and shows what is true of it at `clock()`.

    `token` None lets everyone in. With `graphql` off, GraphQL answers 404. `unknown_fields` ("Pipeline.name") are
    those that this instance is too old to have, `complexity_limit` what a query may cost. Nobody may see the pipelines
    of a project that is `shut` (by path). `storage` is where it sends those who want artifacts ("" for nowhere: they
    come from here). `requests` counts by kind: project, pipelines, pipeline, jobs, artifacts, graphql, page.
    """

    clock: Callable[[], datetime]
    token: str | None = field(default=None, repr=False)
    graphql: bool = True
    unknown_fields: frozenset[str] = frozenset()
    complexity_limit: int = 250
    shut: set[str] = field(default_factory=set)
    storage: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    _shelves: dict[str, _Shelf] = field(default_factory=dict)

    def add_project(
        self, path: str, *, id: int | None = None, default_branch: str = "main", archived: bool = False
    ) -> StandinProject:
        """A new project without pipelines; its number is the next one unless given."""
        number = len(self._shelves) + 1 if id is None else id
        project = StandinProject(id=number, path=path, default_branch=default_branch, archived=archived)
        self._shelves[path] = _Shelf(project)
        return project

    def rename_project(self, path: str, to: str) -> None:
        """The project has another path from now on, or is deleted where that is ""."""
        shelf = self._shelves.pop(path)
        if to:
            shelf.project = replace(shelf.project, path=to)
            self._shelves[to] = shelf

    def put(self, path: str, *pipelines: StandinPipeline) -> None:
        """Adds pipelines to a project, each in the place of the one with its id if there is one (a retry, say)."""
        for pipeline in pipelines:
            self._shelves[path].put(pipeline)

    def remove(self, path: str, pipeline_id: int) -> None:
        """Deletes a pipeline."""
        self._shelves[path].remove(pipeline_id)

    def deploy(self, path: str, *deployments: StandinDeployment, tiers: Mapping[str, str] | None = None) -> None:
        """Adds deployments to a project, or puts them in the place of those with their ids, and their environments."""
        shelf = self._shelves[path]
        shelf.deployments.update({each.id: each for each in deployments})
        shelf.tiers.update({each.environment: "other" for each in deployments} | dict(tiers or {}))

    def schedule(self, path: str, *schedules: StandinSchedule) -> None:
        """Adds schedules to a project, or puts them in the place of those with their ids."""
        self._shelves[path].schedules.update({each.id: each for each in schedules})

    def app(self, *, middlewares: Sequence[Any] = ()) -> web.Application:
        """The web application: REST below /api/v4, GraphQL, and the pages that links lead to."""
        app = web.Application(middlewares=[*middlewares, self._admit])
        project = "/api/v4/projects/{id}"
        app.router.add_get(project, self._show_project)
        app.router.add_get("/api/v4/groups/{id}/projects", self._list_group)
        app.router.add_get(project + "/pipelines", self._list_pipelines)
        app.router.add_get(project + "/pipelines/{pipeline}", self._show_pipeline)
        app.router.add_get(project + "/pipelines/{pipeline}/jobs", self._list_jobs)
        app.router.add_get(project + "/jobs", self._list_all_jobs)
        app.router.add_get(project + "/jobs/{job}/artifacts", self._give_artifacts)
        app.router.add_get(project + "/pipelines/{pipeline}/test_report_summary", self._show_summary)
        app.router.add_get(project + "/pipelines/{pipeline}/test_report", self._show_report)
        app.router.add_get(project + "/deployments", self._list_deployments)
        app.router.add_get(project + "/environments", self._list_environments)
        app.router.add_get(project + "/pipeline_schedules", self._list_schedules)
        app.router.add_post("/api/graphql", self._answer_graphql)
        app.router.add_get(r"/{path:.+}/-/{kind:pipelines|jobs}/{number:\d+}", self._show_page)
        return app

    @web.middleware
    async def _admit(self, request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.headers.get("PRIVATE-TOKEN") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not request.path.startswith("/api/") or self.token is None or given == self.token:
            answer: web.StreamResponse = await handler(request)
            return answer
        if request.path == "/api/graphql":
            return web.json_response({"errors": [{"message": "Invalid token"}]}, status=401)
        raise error(web.HTTPUnauthorized, "401 Unauthorized")

    async def _show_project(self, request: web.Request) -> web.Response:
        self.requests["project"] += 1
        shelf = self._find(request)
        return web.json_response(as_project(shelf.project, str(request.url.origin())))

    async def _list_group(self, request: web.Request) -> web.Response:
        self.requests["group"] += 1
        inside = f"{request.match_info['id']}/"
        projects = [shelf.project for shelf in self._shelves.values() if shelf.project.path.startswith(inside)]
        if not projects:
            raise error(web.HTTPNotFound, "404 Group Not Found")
        if request.query.get("include_subgroups") != "true":
            projects = [project for project in projects if "/" not in project.path.removeprefix(inside)]
        if request.query.get("archived") == "false":
            projects = [project for project in projects if not project.archived]
        projects.sort(key=lambda project: project.id, reverse=request.query.get("sort") != "asc")
        return page_of(request, projects, lambda project: as_project(project, str(request.url.origin())))

    async def _list_pipelines(self, request: web.Request) -> web.Response:
        self.requests["pipelines"] += 1
        shelf, now, url = self._find(request), self.clock(), str(request.url.origin())
        keep = _conditions(request.query, now)
        rows = [run for run in shelf.newest_first(now) if all(condition(run) for condition in keep)]
        if request.query.get("order_by") == "updated_at":
            rows.sort(key=lambda run: changed_at(run, now), reverse=True)
        if request.query.get("sort") == "asc":
            rows.reverse()
        return page_of(request, rows, lambda run: as_basic(shelf.project, run, now, url))

    async def _show_pipeline(self, request: web.Request) -> web.Response:
        self.requests["pipeline"] += 1
        shelf, pipeline = self._find_pipeline(request)
        return web.json_response(as_detail(shelf.project, pipeline, self.clock(), str(request.url.origin())))

    async def _list_jobs(self, request: web.Request) -> web.Response:
        self.requests["jobs"] += 1
        (shelf, pipeline), now, url = self._find_pipeline(request), self.clock(), str(request.url.origin())
        jobs = [job for job in sorted(pipeline.jobs, key=lambda job: -job.id) if job.created_at <= now]
        if request.query.get("include_retried") != "true":
            latest = {job.name: job for job in reversed(jobs)}
            jobs = [job for job in jobs if latest[job.name] is job]
        scopes = request.query.getall("scope[]", [])
        jobs = [job for job in jobs if not job.bridge and (not scopes or status_at(job, now) in scopes)]
        return page_of(request, jobs, lambda job: as_job(shelf.project, pipeline, job, now, url))

    async def _list_all_jobs(self, request: web.Request) -> web.Response:
        self.requests["jobs"] += 1
        shelf, now, url = self._find(request), self.clock(), str(request.url.origin())
        scopes = request.query.getall("scope[]", [])
        rows = [(job, run) for run in shelf.newest_first(now) for job in run.jobs if job.created_at <= now]
        rows = [row for row in rows if not row[0].bridge and (not scopes or status_at(row[0], now) in scopes)]
        rows.sort(key=lambda row: -row[0].id)
        return page_of(request, rows, lambda row: as_job(shelf.project, row[1], row[0], now, url))

    async def _show_summary(self, request: web.Request) -> web.Response:
        self.requests["test_report_summary"] += 1
        return web.json_response(as_summary(self._find_pipeline(request)[1].suites_at(self.clock())))

    async def _show_report(self, request: web.Request) -> web.Response:
        self.requests["test_report"] += 1
        return web.json_response(as_report(self._find_pipeline(request)[1].suites_at(self.clock())))

    async def _list_deployments(self, request: web.Request) -> web.Response:
        self.requests["deployments"] += 1
        shelf, now, url = self._find(request), self.clock(), str(request.url.origin())
        rows = [each for each in shelf.deployments.values() if each.created_at <= now]
        by_change = request.query.get("order_by") == "updated_at"
        if "updated_after" in request.query:
            if not by_change:
                raise error(web.HTTPBadRequest, "`updated_at` filter requires `updated_at` sort")
            after = moment(request.query, "updated_after")
            rows = [each for each in rows if each.changed_at(now) >= after]
        rows.sort(key=lambda each: (each.changed_at(now), each.id) if by_change else (each.created_at, each.id))
        if request.query.get("sort") == "desc":
            rows.reverse()
        return page_of(request, rows, lambda each: as_deployment(shelf.project, each, shelf.by_id, now, url))

    async def _list_environments(self, request: web.Request) -> web.Response:
        self.requests["environments"] += 1
        shelf, name = self._find(request), request.query.get("name")
        rows = [each for each in enumerate(sorted(shelf.tiers.items()), 1) if name in (None, each[1][0])]
        return page_of(request, rows, lambda each: as_environment(each[0], *each[1]))

    async def _list_schedules(self, request: web.Request) -> web.Response:
        self.requests["schedules"] += 1
        rows = sorted(self._find(request).schedules.values(), key=lambda each: each.id)
        return page_of(request, rows, as_schedule)

    async def _give_artifacts(self, request: web.Request) -> web.Response:
        self.requests["artifacts"] += 1
        wanted, now = request.match_info["job"], self.clock()
        jobs = (job for run in self._find(request).by_id.values() for job in run.jobs if str(job.id) == wanted)
        job = next(jobs, None)
        if job is None or not job.artifacts or job.finished_at is None or job.finished_at > now:
            raise error(web.HTTPNotFound, "404 Not Found")
        if self.storage:
            raise web.HTTPFound(f"{self.storage}/{job.id}.zip?signature=of%2Fit")
        return web.Response(body=job.artifacts, content_type="application/zip")

    async def _answer_graphql(self, request: web.Request) -> web.Response:
        self.requests["graphql"] += 1
        if not self.graphql:
            return web.Response(status=404, text="<!DOCTYPE html><title>Not found</title>", content_type="text/html")
        now, url = self.clock(), str(request.url.origin())
        found = {path.lower(): shelf for path, shelf in self._shelves.items()}
        found |= {str(shelf.project.id): shelf for shelf in self._shelves.values()}

        def find(wanted: str) -> tuple[StandinProject, list[StandinPipeline] | None] | None:
            shelf = found.get(wanted.lower())
            if shelf is None:
                return None
            return shelf.project, None if shelf.project.path in self.shut else shelf.newest_first(now)

        answer = answer_query(await request.json(), find, now, url, self.unknown_fields, self.complexity_limit)
        return web.json_response(answer)

    async def _show_page(self, request: web.Request) -> web.Response:
        self.requests["page"] += 1
        path, kind, number = (request.match_info[name] for name in ("path", "kind", "number"))
        if path not in self._shelves:
            raise web.HTTPNotFound
        words = f"{escape(path)}: {kind.removesuffix('s')} {number}"
        page = f"<!DOCTYPE html><html lang=en><title>{words}</title><p>{words}, in the stand-in GitLab of k2alert."
        return web.Response(text=page, content_type="text/html")

    def _find(self, request: web.Request) -> _Shelf:
        wanted = request.match_info["id"]
        for path, shelf in self._shelves.items():
            if wanted in (path, str(shelf.project.id)):
                if path in self.shut and "/pipelines" in request.path:
                    raise error(web.HTTPForbidden, "403 Forbidden")
                return shelf
        raise error(web.HTTPNotFound, "404 Project Not Found")

    def _find_pipeline(self, request: web.Request) -> tuple[_Shelf, StandinPipeline]:
        shelf, wanted = self._find(request), request.match_info["pipeline"]
        pipeline = shelf.by_id.get(int(wanted)) if wanted.isdecimal() else None
        if pipeline is None or pipeline.created_at > self.clock():
            raise error(web.HTTPNotFound, "404 Not found")
        return shelf, pipeline


def _conditions(query: Mapping[str, str], now: datetime) -> list[Callable[[StandinPipeline], bool]]:
    """What the listing's filters ask of a pipeline. Raises a 400 as GitLab words it."""
    keep: list[Callable[[StandinPipeline], bool]] = []
    keep += [_equals(name, query[name]) for name in ("ref", "sha", "source", "name") if name in query]
    if "status" in query:
        wanted = frozenset({checked(query, "status", _STATUSES)})
        keep.append(lambda run: status_at(run, now) in wanted)
    if "scope" in query:
        scope = _SCOPES[checked(query, "scope", _SCOPES)]
        keep.append(lambda run: status_at(run, now) in scope)
    if "updated_after" in query:
        after = moment(query, "updated_after")
        keep.append(lambda run: changed_at(run, now) >= after)
    if "updated_before" in query:
        before = moment(query, "updated_before")
        keep.append(lambda run: changed_at(run, now) <= before)
    return keep


def _equals(name: str, value: str) -> Callable[[StandinPipeline], bool]:
    return lambda run: getattr(run, name) == value
