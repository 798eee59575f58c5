"""A stand-in GitLab: an aiohttp application that answers as GitLab does, from projects held in memory.

What goes in: projects, and pipelines with the times at which they start and finish. What comes out: REST v4 and
GraphQL as a real instance would answer them at `clock()`, so that a pipeline whose times lie ahead is seen created,
then running, then finished, without anything here ever waiting. `k2alert demo` and the tests collect from it over
HTTP exactly as from GitLab itself.
"""

import json
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from html import escape
from typing import Any

from aiohttp import web

from k2alert.rehearse.gitlab_standin_graphql import answer_query
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
from k2alert.times import parse_instant

__all__ = ["StandinGitLab", "StandinJob", "StandinPipeline", "StandinProject"]

_STATUSES = frozenset(
    {"created", "waiting_for_resource", "preparing", "waiting_for_callback", "pending", "running", "success"}
    | {"failed", "canceling", "canceled", "skipped", "manual", "scheduled"}
)
_SCOPES: Mapping[str, frozenset[str]] = {
    "running": frozenset({"running"}),
    "pending": frozenset({"pending"}),
    "finished": frozenset({"success", "failed", "canceled"}),
}
_MOST = 100  # rows a page
_UNCOUNTED = 10_000  # above so many rows GitLab leaves out the totals


class _Shelf:
    """A project's pipelines, found by id and listed in its order."""

    def __init__(self, project: StandinProject) -> None:
        self.project = project
        self.by_id: dict[int, StandinPipeline] = {}
        self.ids: list[int] = []

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

    def app(self, *, middlewares: Sequence[Any] = ()) -> web.Application:
        """The web application: REST below /api/v4, GraphQL, and the pages that links lead to."""
        app = web.Application(middlewares=[*middlewares, self._admit])
        project = "/api/v4/projects/{id}"
        app.router.add_get(project, self._show_project)
        app.router.add_get("/api/v4/groups/{id}/projects", self._list_group)
        app.router.add_get(project + "/pipelines", self._list_pipelines)
        app.router.add_get(project + "/pipelines/{pipeline}", self._show_pipeline)
        app.router.add_get(project + "/pipelines/{pipeline}/jobs", self._list_jobs)
        app.router.add_get(project + "/jobs/{job}/artifacts", self._give_artifacts)
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
        raise _error(web.HTTPUnauthorized, "401 Unauthorized")

    async def _show_project(self, request: web.Request) -> web.Response:
        self.requests["project"] += 1
        shelf = self._find(request)
        return web.json_response(as_project(shelf.project, str(request.url.origin())))

    async def _list_group(self, request: web.Request) -> web.Response:
        self.requests["group"] += 1
        inside = f"{request.match_info['id']}/"
        projects = [shelf.project for shelf in self._shelves.values() if shelf.project.path.startswith(inside)]
        if not projects:
            raise _error(web.HTTPNotFound, "404 Group Not Found")
        if request.query.get("include_subgroups") != "true":
            projects = [project for project in projects if "/" not in project.path.removeprefix(inside)]
        if request.query.get("archived") == "false":
            projects = [project for project in projects if not project.archived]
        projects.sort(key=lambda project: project.id, reverse=request.query.get("sort") != "asc")
        return _page(request, projects, lambda project: as_project(project, str(request.url.origin())))

    async def _list_pipelines(self, request: web.Request) -> web.Response:
        self.requests["pipelines"] += 1
        shelf, now, url = self._find(request), self.clock(), str(request.url.origin())
        keep = _conditions(request.query, now)
        rows = [run for run in shelf.newest_first(now) if all(condition(run) for condition in keep)]
        if request.query.get("order_by") == "updated_at":
            rows.sort(key=lambda run: changed_at(run, now), reverse=True)
        if request.query.get("sort") == "asc":
            rows.reverse()
        return _page(request, rows, lambda run: as_basic(shelf.project, run, now, url))

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
        return _page(request, jobs, lambda job: as_job(shelf.project, pipeline, job, now, url))

    async def _give_artifacts(self, request: web.Request) -> web.Response:
        self.requests["artifacts"] += 1
        wanted, now = request.match_info["job"], self.clock()
        jobs = (job for run in self._find(request).by_id.values() for job in run.jobs if str(job.id) == wanted)
        job = next(jobs, None)
        if job is None or not job.artifacts or job.finished_at is None or job.finished_at > now:
            raise _error(web.HTTPNotFound, "404 Not Found")
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
                    raise _error(web.HTTPForbidden, "403 Forbidden")
                return shelf
        raise _error(web.HTTPNotFound, "404 Project Not Found")

    def _find_pipeline(self, request: web.Request) -> tuple[_Shelf, StandinPipeline]:
        shelf, wanted = self._find(request), request.match_info["pipeline"]
        pipeline = shelf.by_id.get(int(wanted)) if wanted.isdecimal() else None
        if pipeline is None or pipeline.created_at > self.clock():
            raise _error(web.HTTPNotFound, "404 Not found")
        return shelf, pipeline


def _conditions(query: Mapping[str, str], now: datetime) -> list[Callable[[StandinPipeline], bool]]:
    """What the listing's filters ask of a pipeline. Raises a 400 as GitLab words it."""
    keep: list[Callable[[StandinPipeline], bool]] = []
    keep += [_equals(name, query[name]) for name in ("ref", "sha", "source", "name") if name in query]
    if "status" in query:
        wanted = frozenset({_checked(query, "status", _STATUSES)})
        keep.append(lambda run: status_at(run, now) in wanted)
    if "scope" in query:
        scope = _SCOPES[_checked(query, "scope", _SCOPES)]
        keep.append(lambda run: status_at(run, now) in scope)
    if "updated_after" in query:
        after = _moment(query, "updated_after")
        keep.append(lambda run: changed_at(run, now) >= after)
    if "updated_before" in query:
        before = _moment(query, "updated_before")
        keep.append(lambda run: changed_at(run, now) <= before)
    return keep


def _equals(name: str, value: str) -> Callable[[StandinPipeline], bool]:
    return lambda run: getattr(run, name) == value


def _page(request: web.Request, rows: Sequence[Any], show: Callable[[Any], dict[str, Any]]) -> web.Response:
    """One page of rows with GitLab's headers of offset pagination."""
    number, size = _count(request, "page", 1), min(_count(request, "per_page", 20), _MOST)
    pages = max(1, -(-len(rows) // size))
    headers = {
        "X-Page": str(number),
        "X-Per-Page": str(size),
        "X-Next-Page": str(number + 1) if number < pages else "",
        "X-Prev-Page": str(number - 1) if number > 1 else "",
    }
    if len(rows) <= _UNCOUNTED:
        headers |= {"X-Total": str(len(rows)), "X-Total-Pages": str(pages)}
    return web.json_response([show(row) for row in rows[(number - 1) * size : number * size]], headers=headers)


def _count(request: web.Request, name: str, default: int) -> int:
    given = request.query.get(name, str(default))
    if not given.isdecimal() or int(given) < 1:
        raise _error(web.HTTPBadRequest, f"{name} does not have a valid value", key="error")
    return int(given)


def _moment(query: Mapping[str, str], name: str) -> datetime:
    try:
        return parse_instant(query[name])
    except ValueError:
        raise _error(web.HTTPBadRequest, f"{name} is invalid", key="error") from None


def _checked(query: Mapping[str, str], name: str, allowed: Iterable[str]) -> str:
    if query[name] not in allowed:
        raise _error(web.HTTPBadRequest, f"{name} does not have a valid value", key="error")
    return query[name]


def _error(kind: type[web.HTTPClientError], message: str, *, key: str = "message") -> web.HTTPClientError:
    return kind(text=json.dumps({key: message}), content_type="application/json")
