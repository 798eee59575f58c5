"""A server that speaks GitLab's and GitHub's protocols, whose projects are sound but for what a test makes of them.

Each project has three failed runs, one job each, of the last minutes. `odd` alters a project's runs and jobs, field by
field; `raw` replaces all its answers by bytes; what JSON calls for is left to the test.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from k2alert.times import iso

RUNS = 3


@dataclass
class Oddity:
    """What is odd about one project: fields of its runs and jobs, in the forge's own words, or its answers' bytes."""

    run: Mapping[str, Any] = field(default_factory=dict)
    job: Mapping[str, Any] = field(default_factory=dict)
    project: Mapping[str, Any] = field(default_factory=dict)
    raw: bytes | None = None
    jobs: int = 1
    pages: bool = True  # False: page 2 is page 1 again


@dataclass
class HostileForge:
    """The projects by path."""

    odd: dict[str, Oddity] = field(default_factory=dict)
    url: str = ""
    began: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def app(self) -> web.Application:
        """GitLab below /gl (GraphQL and REST) and /rest (REST alone), GitHub below /gh."""
        app = web.Application()
        app.router.add_post("/gl/api/graphql", self.graphql)
        for base in ("/gl/api/v4", "/rest/api/v4"):
            app.router.add_get(f"{base}/projects/{{path:[^/]+}}{{rest:.*}}", self.gitlab)
        app.router.add_get("/gh/repos/{owner}/{name}{rest:.*}", self.github)
        return app

    def at(self, minutes: float) -> str:
        return iso(self.began - timedelta(minutes=minutes))

    def number(self, path: str) -> int:
        return 1000 * (list(self.odd).index(path) + 1)

    # ------------------------------------------------------------------------------------------- GitLab

    async def gitlab(self, request: web.Request) -> web.Response:
        path, rest = self._project(request.match_info["path"]), request.match_info["rest"]
        odd = self.odd[path]
        if odd.raw is not None:
            return _answer(odd.raw)
        if not rest:
            named = {"id": self.number(path), "path_with_namespace": path, "default_branch": "main"}
            return _answer({**named, "web_url": f"https://gitlab.test/{path}", **odd.project})
        parts = rest.strip("/").split("/")
        if len(parts) == 1:
            return _answer([self._gitlab_run(path, number) for number in range(RUNS)])
        number = int(parts[1]) % 1000
        if len(parts) == 2:
            return _answer(self._gitlab_run(path, number))
        page = int(request.query["page"]) - 1 if odd.pages else 0
        return _answer([self._gitlab_job(path, number, job) for job in range(odd.jobs)[page * 100 : page * 100 + 100]])

    def _gitlab_run(self, path: str, number: int) -> dict[str, Any]:
        begun = 30 - number
        return {
            "id": self.number(path) + number,
            "iid": number + 1,
            "status": "failed",
            "ref": "main",
            "tag": False,
            "sha": "a" * 40,
            "source": "push",
            "created_at": self.at(begun),
            "updated_at": self.at(begun - 1),
            "started_at": self.at(begun),
            "finished_at": self.at(begun - 1),
            "duration": 60,
            "queued_duration": 1,
            "web_url": f"https://gitlab.test/{path}/-/pipelines/{self.number(path) + number}",
            **self.odd[path].run,
        }

    def _gitlab_job(self, path: str, number: int, job: int) -> dict[str, Any]:
        run = self._gitlab_run(path, number)
        return {
            "id": (self.number(path) + number) * 1_000_000 + job,
            "name": f"test{job}",
            "stage": "test",
            "status": "failed",
            "failure_reason": "script_failure",
            "tag_list": ["linux"],
            "commit": {"title": "Make it work"},
            **{name: run[name] for name in ("created_at", "started_at", "finished_at", "duration")},
            **self.odd[path].job,
        }

    async def graphql(self, request: web.Request) -> web.Response:
        variables = (await request.json())["variables"]
        if "path" not in variables:
            paths = [self._project(wanted.rpartition("/")[2]) for wanted in variables["ids"]]
            raw = next((self.odd[path].raw for path in paths if self.odd[path].raw is not None), None)
            return _answer({"data": {"projects": {"nodes": [self._graphql_project(path) for path in paths]}}}, raw)
        path = self._project(variables["path"])
        return _answer({"data": {"project": self._graphql_project(path)}}, self.odd[path].raw)

    def _graphql_project(self, path: str) -> dict[str, Any]:
        odd = self.odd[path]
        nodes = [self._graphql_run(path, number) for number in range(RUNS)]
        connection = {"count": RUNS, "pageInfo": {"hasNextPage": False}, "nodes": nodes}
        named = {"id": f"gid://gitlab/Project/{self.number(path)}", "fullPath": path}
        project = {**named, "webUrl": f"https://gitlab.test/{path}", "repository": {"rootRef": "main"}, **odd.project}
        return {**project, "pipelines": connection}

    def _graphql_run(self, path: str, number: int) -> dict[str, Any]:
        run = self._gitlab_run(path, number)
        words = {_camel(name): value for name, value in run.items()}
        # Not failed, for then the jobs would be read over REST.
        jobs = {"pageInfo": {"hasNextPage": False}, "nodes": [{"id": None}, None, "job"] if number == 0 else []}
        return {**words, "id": f"gid://gitlab/Ci::Pipeline/{run['id']}", "jobs": jobs, **self.odd[path].run}

    # ------------------------------------------------------------------------------------------- GitHub

    async def github(self, request: web.Request) -> web.Response:
        path = self._project("/".join((request.match_info["owner"], request.match_info["name"])))
        odd, rest = self.odd[path], request.match_info["rest"]
        if odd.raw is not None:
            return _answer(odd.raw)
        if not rest:
            named = {"id": self.number(path), "full_name": path, "default_branch": "main"}
            return _answer({**named, "html_url": f"https://github.test/{path}", **odd.project})
        if rest.startswith("/commits/") or "status" in request.query:
            return _answer({"total_count": 0, "workflow_runs": []})
        if rest == "/actions/runs":
            runs = [self._github_run(path, number) for number in range(RUNS)]
            return _answer({"total_count": RUNS, "workflow_runs": runs})
        if rest.endswith("/jobs"):
            number = int(rest.split("/")[3]) % 1000
            jobs = [self._github_job(path, number, job) for job in range(odd.jobs)]
            return _answer({"total_count": len(jobs), "jobs": jobs})
        return web.Response(status=404)

    def _github_run(self, path: str, number: int) -> dict[str, Any]:
        begun = 30 - number
        return {
            "id": self.number(path) + number,
            "run_number": number + 1,
            "run_attempt": 1,
            "name": "CI",
            "event": "push",
            "head_branch": "main",
            "head_sha": "a" * 40,
            "display_title": "Make it work",
            "html_url": f"https://github.test/{path}/actions/runs/{self.number(path) + number}",
            "status": "completed",
            "conclusion": "failure",
            "created_at": self.at(begun),
            "run_started_at": self.at(begun),
            "updated_at": self.at(begun - 1),
            **self.odd[path].run,
        }

    def _github_job(self, path: str, number: int, job: int) -> dict[str, Any]:
        begun = 30 - number
        return {
            "id": (self.number(path) + number) * 1_000_000 + job,
            "name": f"test{job}",
            "run_attempt": 1,
            "status": "completed",
            "conclusion": "failure",
            "created_at": self.at(begun),
            "started_at": self.at(begun),
            "completed_at": self.at(begun - 1),
            "labels": ["linux"],
            "html_url": f"https://github.test/{path}/job/{job}",
            **self.odd[path].job,
        }

    def _project(self, named: str) -> str:
        for path in self.odd:
            if named in (path, path.replace("/", "%2F"), str(self.number(path))):
                return path
        raise web.HTTPNotFound


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _answer(said: Any, raw: bytes | None = None) -> web.Response:
    said = said if raw is None else raw
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return web.Response(body=body, content_type="application/json")


@asynccontextmanager
async def hostile_forge(odd: Mapping[str, Oddity]) -> AsyncIterator[HostileForge]:
    """A running forge with these projects."""
    forge = HostileForge(dict(odd))
    server = TestServer(forge.app(), host="127.0.0.1")
    await server.start_server()
    forge.url = str(server.make_url("")).rstrip("/")
    try:
        yield forge
    finally:
        await server.close()
