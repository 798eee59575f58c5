"""k2alert against the forges' own documents: whole looks, over HTTP, by the daemon's own collector and client.

Every request must be one that the forge's OpenAPI document allows, and every answer of the stand-ins one that it
describes; each story goes through a backfill, open runs, failing jobs, long lists, re-runs and a restart. GraphQL is
in no such document and is not checked; what is asked over REST beside it is.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from k2alert.collect import SOURCES
from k2alert.collect.collector import Collector
from k2alert.collect.flow import Failure
from k2alert.collect.settings import SourceSettings
from k2alert.model import RESULTS, DeploymentEntry, Entry, Kind, Result
from k2alert.record import Store, open_store
from k2alert.rehearse import gitlab_standin as gitlab
from tests.support import github_standin as github
from tests.support.archives import archive, junit, storage
from tests.support.fake_time import T0, FakeTime
from tests.support.faults import FaultyServer
from tests.support.openapi import OpenApi, validating

MINUTE = timedelta(minutes=1)
MANY = 120  # more than a page
REPORTED: dict[str, Any] = {"wants": frozenset({Kind.TEST}), "reports": {"junit": ["*.xml"]}}


@dataclass
class Desk:
    """A collector with one source, and its store, both real; `asked` counts requests by kind and code."""

    settings: SourceSettings
    store_url: str
    fake: FakeTime
    asked: Counter[tuple[str, str]]
    wants: frozenset[Kind] = frozenset()
    store: Store | None = None
    collector: Collector | None = None

    async def open(self) -> None:
        self.store = open_store(self.store_url)
        self.collector = Collector(
            [self.settings],
            forges=SOURCES,
            store=self.store,
            time=self.fake.time,
            depth=lambda: timedelta(days=7),
            version="1",
            wants=lambda: self.wants,
            on_saved=lambda _: None,
        )
        await self.collector.load()

    async def close(self) -> None:
        assert self.collector is not None
        assert self.store is not None
        self.asked.update(self.collector.stats()["forge"].asked.requests)
        await self.collector.close()
        await self.store.close()

    async def look(self, key: str = "k2/app") -> Failure | None:
        assert self.collector is not None
        return (await self.collector.look("forge", key)).failure

    async def results(self, kind: Kind) -> Counter[Result]:
        """How many recorded rows came to each result."""
        assert self.store is not None
        rows: list[Entry] = [entry async for batch in self.store.entries(kind) for entry in batch]
        return Counter(RESULTS[row.result] for row in rows)

    async def deployments(self) -> Counter[Result]:
        """The same of deployments."""
        assert self.store is not None
        rows = [row async for batch in self.store.facts(Kind.DEPLOYMENT) for row in batch]
        return Counter(RESULTS[row.result] for row in rows if isinstance(row, DeploymentEntry))


@asynccontextmanager
async def collecting(
    app: web.Application, folder: Path, fake: FakeTime, wants: frozenset[Kind] = frozenset(), **source: Any
) -> AsyncIterator[Desk]:
    async with TestServer(app) as server:
        url = str(server.make_url(""))
        wish = {"name": "forge", "url": url, "token": "s3cret", "projects": ["k2/app", "k2/gone"]}
        settings = SourceSettings.model_validate(wish | source)
        desk = Desk(settings, f"sqlite:///{folder}/k2alert.db", fake, Counter(), wants)
        await desk.open()
        try:
            yield desk
        finally:
            await desk.close()


# ---------------------------------------------------------------------------------------------------- GitLab


@pytest.fixture(scope="module")
def gitlab_document(shared_data: Path) -> OpenApi:
    """GitLab's document, which says nothing of `GET /projects/:id` and of pipeline schedules."""
    beyond = ["/projects/[^/]+", "/projects/[^/]+/pipeline_schedules"]
    return OpenApi(shared_data / "api/gitlab-ci-openapi.json", prefix="/api/v4", beyond=beyond)


def pipeline(number: int, start: float, end: float | None, status: str = "success", **more: Any) -> Any:
    """A pipeline from `start` to `end` (minutes after T0) with one job, unless `jobs` says otherwise."""
    started = T0 + start * MINUTE
    finished = None if end is None else T0 + end * MINUTE
    jobs = more.pop("jobs", (gitlab_job(1000 * number, start, end, status),))
    return gitlab.StandinPipeline(
        id=number, created_at=started, started_at=started, finished_at=finished, status=status, jobs=jobs, **more
    )


def gitlab_job(number: int, start: float, end: float | None, status: str = "success", **more: Any) -> Any:
    at = T0 + start * MINUTE
    finished = None if end is None else T0 + end * MINUTE
    name = more.pop("name", "test")
    return gitlab.StandinJob(
        id=number, name=name, created_at=at, started_at=at, finished_at=finished, status=status, **more
    )


@pytest.mark.parametrize("graphql", [False, True])
async def test_a_gitlab_source_keeps_to_the_document(gitlab_document: OpenApi, tmp_path: Path, graphql: bool) -> None:
    fake, problems = FakeTime(), list[str]()
    forge = gitlab.StandinGitLab(lambda: fake.now, token="s3cret", graphql=graphql)
    forge.add_project("k2/app", id=42)
    broken = (
        gitlab_job(1, -90, -85, "failed", failure_reason="runner_system_failure"),
        gitlab_job(2, -85, -80, "failed", allow_failure=True, name="lint"),
        *(gitlab_job(10 + n, -90, -80, name=f"unit {n}/{MANY}") for n in range(MANY)),
    )
    forge.put(
        "k2/app",
        *(pipeline(n, -1000 + n, -990 + n) for n in range(1, MANY + 1)),
        pipeline(500, -90, -80, "failed", jobs=broken),
        pipeline(501, -80, -70, "canceled", ref="v1.0", tag=True),
        pipeline(502, -70, None, "manual", ref="refs/merge-requests/5/head", source="merge_request_event"),
        pipeline(503, -20, 10, "failed"),  # runs when it is first seen
        pipeline(504, 5, 25, source="schedule", name="Nightly"),  # is yet to come
    )
    app = forge.app(middlewares=[validating(gitlab_document, problems)])
    async with collecting(app, tmp_path, fake, type="gitlab") as desk:
        assert await desk.look() is None
        fake.advance(15 * MINUTE)
        assert await desk.look() is None
        retried = gitlab_job(3, 16, 20)
        forge.put("k2/app", pipeline(500, -90, 20, jobs=(*broken, retried)))
        await desk.close()
        fake.advance(30 * MINUTE)
        await desk.open()
        assert await desk.look() is None
        refused = await desk.look("k2/gone")
        runs, jobs = await desk.results(Kind.RUN), await desk.results(Kind.JOB)
    assert problems == []
    assert refused is not None
    assert refused.reason == "not_found"
    # Number 500 finished twice, in error and well; its broken job was retried.
    assert runs == {Result.SUCCESS: MANY + 2, Result.ERROR: 1, Result.FAILURE: 1, Result.CANCELLATION: 1}
    assert jobs == {
        Result.SUCCESS: MANY + MANY + 2,
        Result.ERROR: 1,
        Result.FAILURE: 2,
        Result.CANCELLATION: 1,
    }
    kinds = {kind for kind, code in desk.asked if code == "200"}
    assert kinds == ({"graphql", "jobs"} if graphql else {"project", "pipelines", "pipeline", "jobs"})


async def test_artifacts_of_gitlab_are_asked_for_as_the_document_says(gitlab_document: OpenApi, tmp_path: Path) -> None:
    fake, problems = FakeTime(), list[str]()
    forge = gitlab.StandinGitLab(lambda: fake.now, token="s3cret")
    forge.add_project("k2/app", id=42)
    jobs = (
        gitlab_job(1, -20, -15, artifacts=archive({"junit.xml": junit("+-")})),
        gitlab_job(2, -20, -15, name="lint"),
    )
    forge.put("k2/app", pipeline(1, -20, -10, jobs=jobs))
    app = forge.app(middlewares=[validating(gitlab_document, problems)])
    async with collecting(app, tmp_path, fake, **REPORTED, type="gitlab") as desk:
        assert await desk.look() is None
    assert problems == []
    assert {(kind, code) for kind, code in desk.asked if kind == "artifacts"} == {("artifacts", "200")}


@pytest.mark.parametrize("graphql", [False, True])
async def test_what_a_gitlab_source_reads_beside_pipelines_keeps_to_the_document(
    gitlab_document: OpenApi, tmp_path: Path, graphql: bool
) -> None:
    fake, problems = FakeTime(), list[str]()
    forge = gitlab.StandinGitLab(lambda: fake.now, token="s3cret", graphql=graphql)
    forge.add_project("k2/app", id=42)
    red = gitlab.StandinSuite(
        "test", (1000,), (("a", "fine", "success"), ("a", "bad", "failed"), ("a", "x", "skipped"))
    )
    green = gitlab.StandinSuite("test", (2000,), (("a", "fine", "success"), ("a", "bad", "success")))
    deploy = gitlab_job(5, -70, -65, name="deploy")
    forge.put(
        "k2/app",
        pipeline(1, -90, -80, "failed", suites=(red,)),
        pipeline(2, -80, -60, suites=(green,), coverage=81.25, jobs=(gitlab_job(2000, -80, -75), deploy)),
        pipeline(3, 5, 10, coverage=79.0, suites=(replace(green, build_ids=(3000,)),)),
    )
    shipped = gitlab.StandinDeployment(
        id=1, environment="eu", created_at=deploy.created_at, finished_at=deploy.finished_at, pipeline=2, job=5
    )
    many = (replace(shipped, id=2 + n, environment="dev", job=None, pipeline=None) for n in range(MANY))
    forge.deploy("k2/app", shipped, *many, tiers={"eu": "production", "dev": "development"})
    forge.schedule(
        "k2/app",
        gitlab.StandinSchedule(id=1, description="n", cron="0 2 * * *", next_run_at=T0 + 12 * MINUTE, updated_at=T0),
    )
    app = forge.app(middlewares=[validating(gitlab_document, problems)])
    async with collecting(app, tmp_path, fake, type="gitlab") as desk:
        desk.wants = frozenset({Kind.TEST, Kind.COVERAGE, Kind.DEPLOYMENT, Kind.SCHEDULE})
        for _ in range(3):
            assert await desk.look() is None
            fake.advance(20 * MINUTE)
        assert desk.store is not None
        facts = [fact async for batch in desk.store.facts(Kind.COVERAGE) for fact in batch]
        deployments = [fact async for batch in desk.store.facts(Kind.DEPLOYMENT) for fact in batch]
        tests = [fact async for batch in desk.store.facts(Kind.TEST) for fact in batch]
    assert problems == []
    assert sorted(fact.percent for fact in facts) == [79.0, 81.25]
    assert (len(deployments), len(tests)) == (MANY + 1, 3)
    kinds = {kind for kind, code in desk.asked if code == "200"}
    assert kinds >= {"test_report", "deployments", "environments", "schedules"}
    assert ("test_report_summary" in kinds) is not graphql


# ---------------------------------------------------------------------------------------------------- GitHub


@pytest.fixture(scope="module")
def github_document(shared_data: Path) -> OpenApi:
    """GitHub's document, save that it calls `created` one instant where it means a range of them.

    It says nothing of the contents of files, and of the list of tags.
    """
    document = json.loads((shared_data / "api/github-actions-openapi.json").read_text())
    (created,) = (each for each in document["components"]["parameters"].values() if each["name"] == "created")
    del created["schema"]["format"]
    return OpenApi(document, beyond=["/repos/[^/]+/[^/]+/(contents/.*|tags)"])


def attempt(number: int, start: float, end: float, conclusion: str = "success", jobs: int = 1) -> Any:
    """An attempt from `start` to `end` (minutes after T0) whose jobs come to its conclusion."""
    from_, to = T0 + start * MINUTE, T0 + end * MINUTE
    first_id = int(10_000_000 + 1000 * start + number)
    made = [
        github.StandinJob(first_id + n, f"test {n}", from_, to, conclusion, created_at=from_)
        for n in range(1, jobs + 1)
    ]
    return github.StandinAttempt(number, from_, to, conclusion, made)


def deployment(number: int, start: float, *statuses: tuple[str, float], run: int | None) -> Any:
    """A deployment from `start` on (minutes after T0)."""
    told = [(state, T0 + at * MINUTE) for state, at in statuses]
    return github.StandinDeployment(number, "production", T0 + start * MINUTE, told, run=run)


def run(number: int, *attempts: Any, **more: Any) -> Any:
    return github.StandinRun(id=number, created_at=attempts[0].started_at, attempts=list(attempts), **more)


async def test_a_github_source_keeps_to_the_document(github_document: OpenApi, tmp_path: Path) -> None:
    fake, problems = FakeTime(), list[str]()
    repository = github.StandinRepository(
        "k2/app",
        [
            *(run(n, attempt(1, -1000 + n, -990 + n)) for n in range(1, MANY + 1)),
            run(500, attempt(1, -90, -80, "failure", jobs=MANY), attempt(2, 10, 14)),  # is run again
            run(501, attempt(1, -80, -70, "cancelled"), head_branch="v1.0"),
            run(502, attempt(1, -70, -60, "timed_out"), event="pull_request", head_branch="fix", pull_requests=(12,)),
            run(503, attempt(1, -60, -50, "startup_failure", jobs=0), head_branch="feature/x"),
            run(504, attempt(1, -20, 10, "failure"), event="schedule"),  # runs when it is first seen
            run(505, attempt(1, 5, 25), event="pull_request", head_branch="main", owner="ada"),  # is yet to come
            run(506, attempt(1, -3000, -2990, "failure"), attempt(2, 20, 22)),  # between two looks: the sweep's
            run(507, attempt(1, -200, -190, "failure"), attempt(2, -100, -95)),  # was run again before we looked
            run(508, attempt(1, -1500, 12)),  # runs, and is older than the newest hundred
        ],
        tags={"v1.0"},
        branches={"feature/x"},
        commits={"c0ffee" * 6 + "c0ff": T0 - 2000 * MINUTE},
        deployments=[
            *(deployment(n, -2000 + n, ("success", -2000 + n), run=None) for n in range(1, MANY + 1)),
            deployment(900, -80, ("in_progress", -79), ("failure", -60), run=500),
            deployment(901, -5, ("queued", -4), ("success", 8), ("inactive", 20), run=504),
        ],
        workflows=[
            github.StandinWorkflow(1, "CI", ".github/workflows/ci.yml", "on: {schedule: [{cron: 0 3 * * *}]}"),
            github.StandinWorkflow(2, "Old", ".github/workflows/old.yml", "on: push", state="disabled_manually"),
        ],
    )
    forge = github.StandinGitHub(lambda: fake.now, [repository], token="s3cret")
    app = forge.make_app([validating(github_document, problems)])
    async with collecting(app, tmp_path, fake, type="github") as desk:
        desk.wants = frozenset({Kind.JOB, Kind.DEPLOYMENT, Kind.SCHEDULE})
        assert await desk.look() is None
        for minutes in (15, 1):
            fake.advance(minutes * MINUTE)
            assert await desk.look() is None
        await desk.close()
        fake.advance(timedelta(days=1))
        await desk.open()
        assert await desk.look() is None
        assert problems == []
        refused = await desk.look("k2/gone")
        runs, jobs = await desk.results(Kind.RUN), await desk.results(Kind.JOB)
        deployments = await desk.deployments()
    # GitHub answers so, though its document does not say it.
    assert problems == ["GET /repos/k2/gone/actions/runs: 404: not a status of the document"]
    assert refused is not None
    assert refused.reason == "not_found"
    assert runs == {
        Result.SUCCESS: MANY + 5,
        Result.FAILURE: 4,
        Result.CANCELLATION: 1,
        Result.TIMEOUT: 1,
        Result.ERROR: 1,
    }
    assert jobs == {
        Result.SUCCESS: MANY + 5,
        Result.FAILURE: MANY + 3,
        Result.CANCELLATION: 1,
        Result.TIMEOUT: 1,
    }
    assert deployments == {Result.SUCCESS: MANY + 1, Result.FAILURE: 1}
    kinds = {kind for kind, code in desk.asked if code == "200"}
    about_runs = {"project", "workflow_runs", "run", "jobs", "attempt", "tags"}
    assert ("ref", "422") in desk.asked
    assert kinds == about_runs | {"deployments", "statuses", "commit", "workflows", "contents"}
    assert {kind for kind, code in desk.asked if code == "304"} >= {"workflow_runs", "deployments", "jobs"}


async def test_artifacts_of_github_are_asked_for_as_the_document_says(github_document: OpenApi, tmp_path: Path) -> None:
    fake, problems = FakeTime(), list[str]()
    packed = archive({"junit.xml": junit("+-")})
    written = github.StandinArtifact(9, "unit", T0 - 12 * MINUTE, packed)
    repository = github.StandinRepository("k2/app", [run(1, attempt(1, -20, -10), artifacts=[written])])
    async with FaultyServer(storage({"9": packed})) as stored:
        forge = github.StandinGitHub(lambda: fake.now, [repository], token="s3cret", storage=stored.url)
        app = forge.make_app([validating(github_document, problems)])
        async with collecting(app, tmp_path, fake, **REPORTED, type="github") as desk:
            assert await desk.look() is None
    assert problems == []
    assert {code for kind, code in desk.asked if kind == "artifacts"} == {"302", "200"}
    assert [seen.raw_path for seen in stored.seen] == ["/9.zip?sig=a%2Bb%3D"]
