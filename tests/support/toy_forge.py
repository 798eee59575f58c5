"""The smallest forge there can be: a flow and the server it reads, for tests that are not about a forge's ways.

`GET /projects/KEY` names the project; `GET /projects/KEY/runs?since=T&page=N` lists runs changed since then, two a
page.
"""

from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from aiohttp import web

from k2alert.collect.flow import Answer, Ask, Batch, Failure, Flow, Forge, Look, Request, Response
from k2alert.model import Event, Outcome, PipelineRun, Project, RefType, Result, RunState
from k2alert.times import iso, parse_instant

_PAGE = 2


class ToyRun(NamedTuple):
    """A run that finished at `at` as its `attempt`th."""

    id: str
    at: datetime
    attempt: int = 1


class ToyServer:
    """What the forge holds. `projects` by key; `paths` where the forge calls one otherwise."""

    def __init__(self) -> None:
        self.projects: dict[str, list[ToyRun]] = {}
        self.paths: dict[str, str] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answers as the forge; for `FaultyServer`."""
        parts = [unquote(part) for part in request.raw_path.split("?")[0].strip("/").split("/")]
        key = parts[1]
        if key not in self.projects:
            return web.json_response({"message": "404 Project Not Found"}, status=404)
        if len(parts) == 2:
            return web.json_response({"path": self.paths.get(key, key)})
        return web.json_response(self._list(key, parse_instant(request.query["since"]), int(request.query["page"])))

    def _list(self, key: str, since: datetime, page: int) -> dict[str, Any]:
        runs = [run for run in self.projects[key] if run.at >= since]
        chosen = runs[page * _PAGE : (page + 1) * _PAGE]
        return {
            "runs": [{"id": run.id, "at": iso(run.at), "attempt": run.attempt} for run in chosen],
            "total": len(runs),
            "next": page + 1 if len(runs) > (page + 1) * _PAGE else None,
        }


def look(ask: Ask) -> Flow:
    """Reads what changed; what is recorded already is left out."""
    path = f"/projects/{quote(ask.project.key, safe='')}"
    named = yield from _fetch(Request(path, kind="project"))
    if isinstance(named, Failure):
        return Look(ask.project, named, memory=ask.memory)
    project = _rename(ask.project, named.data["path"])
    page, done = 0, 0
    while page is not None:
        answer = yield from _fetch(
            Request(f"{path}/runs", (("since", iso(ask.since)), ("page", str(page))), kind="runs")
        )
        if isinstance(answer, Failure):
            return Look(project, answer, memory=ask.memory)
        runs = [_run(project, item) for item in answer.data["runs"]]
        done += len(runs)
        yield Batch(tuple(run for run in runs if _is_news(ask, run)), done, answer.data["total"])
        page = answer.data["next"]
    return Look(project, swept=ask.sweep, memory={"looks": ask.memory.get("looks", 0) + 1})


TOY = Forge(look=look, default_url="https://toy.invalid", api_path="")


def _fetch(request: Request) -> Generator[Request | Batch, Answer | None, Response | Failure]:
    answer = yield request
    assert answer is not None
    return answer


def _rename(project: Project, path: str) -> Project:
    return Project(
        source=project.source,
        key=project.key,
        path=path,
        forge_id="7",
        default_branch="main",
        web_url=f"https://toy.invalid/{path}",
        first_seen_at=project.first_seen_at,
    )


def _is_news(ask: Ask, run: PipelineRun) -> bool:
    known = ask.known.get(run.id)
    return known is None or known.seen < run.seen


def _run(project: Project, item: dict[str, Any]) -> PipelineRun:
    at = parse_instant(item["at"])
    length = timedelta(minutes=1)
    outcome = Outcome(
        attempt=item["attempt"],
        result=Result.SUCCESS,
        started_at=at - length,
        finished_at=at,
        duration=length,
        queued=None,
    )
    return PipelineRun(
        source=project.source,
        project=project.path,
        id=item["id"],
        number=item["id"],
        workflow="",
        event=Event.PUSH,
        ref_type=RefType.DEFAULT,
        branch="main",
        sha="0" * 40,
        title="",
        web_url="",
        state=RunState.FINISHED,
        created_at=at - length,
        started_at=at - length,
        seen=at,
        outcomes=(outcome,),
    )
