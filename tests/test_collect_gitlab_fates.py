"""What becomes of GitLab projects while they are watched: renamed, archived, deleted, shut, on instances of any age."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp.test_utils import TestServer

from k2alert.collect import SOURCES
from k2alert.collect.collector import Collector
from k2alert.collect.settings import SourceSettings
from k2alert.model import Kind, Project, ProjectState
from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinJob, StandinPipeline
from tests.support.fake_time import FakeTime
from tests.support.memory_store import MemoryStore
from tests.support.staleness import state_of

MINUTE = timedelta(minutes=1)
OLD = frozenset(
    {"Query.projects", "Query.queryComplexity", "PipelineConnection.count", "Pipeline.name", "Pipeline.coverage"}
    | {"Pipeline.testReportSummary", "Pipeline.queuedDuration", "CiJob.queuedDuration"}
)
ANCIENT = OLD | {"Pipeline.refPath", "CiJob.kind"}
"""Fields that GitLab's GraphQL did not have from the start."""


class Watch:
    """A stand-in GitLab with one project, and a collector of it that looks when it is told to."""

    def __init__(self, gitlab: StandinGitLab, collector: Collector, store: MemoryStore, fake: FakeTime) -> None:
        self.gitlab = gitlab
        self.store = store
        self._collector = collector
        self._fake = fake
        self._number = 0

    def run(self, path: str = "k2/app", status: str = "success") -> None:
        """A pipeline runs and ends."""
        self._number += 1
        at = self._fake.now - MINUTE
        times = {"created_at": at, "started_at": at, "finished_at": self._fake.now}
        job = StandinJob(id=self._number, name="test", status=status, **times)
        self.gitlab.put(path, StandinPipeline(id=self._number, status=status, jobs=(job,), **times))

    async def look(self, key: str, after: timedelta = MINUTE) -> Project:
        """What is known of the project after a look."""
        self._fake.advance(after)
        await self._collector.look("s", key)
        return self.store.project(key)

    def state(self, project: Project) -> ProjectState:
        """Whether it is read."""
        return state_of(project, now=self._fake.now, max_staleness=15 * MINUTE)


@pytest.fixture(params=["graphql", "old", "ancient", "rest"])
def gitlab(request: pytest.FixtureRequest, fake: FakeTime) -> StandinGitLab:
    """Instances of several ages."""
    lacks = {"old": OLD, "ancient": ANCIENT}.get(request.param, frozenset())
    gitlab = StandinGitLab(lambda: fake.now, token="glpat-1", graphql=request.param != "rest", unknown_fields=lacks)
    gitlab.add_project("k2/app", id=42)
    return gitlab


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


@asynccontextmanager
async def watching(gitlab: StandinGitLab, fake: FakeTime, key: str) -> AsyncIterator[Watch]:
    store = MemoryStore()
    async with TestServer(gitlab.app()) as server:
        wish = {"type": "gitlab", "name": "s", "url": str(server.make_url("")), "token": "glpat-1", "projects": [key]}
        collector = Collector(
            [SourceSettings.model_validate(wish)],
            forges=SOURCES,
            store=store,
            time=fake.time,
            depth=lambda: timedelta(days=7),
            version="1",
            wants=lambda: frozenset({Kind.TEST, Kind.COVERAGE, Kind.DEPLOYMENT, Kind.SCHEDULE}),
            on_saved=lambda _: None,
        )
        await collector.load()
        yield Watch(gitlab, collector, store, fake)
        await collector.close()


@pytest.mark.parametrize("key", ["k2/app", "42"])
async def test_a_renamed_project_goes_on_under_its_new_path_with_all_of_its_history(
    gitlab: StandinGitLab, fake: FakeTime, key: str
) -> None:
    async with watching(gitlab, fake, key) as watch:
        watch.run()
        assert watch.state(await watch.look(key)) is ProjectState.OK
        gitlab.rename_project("k2/app", "k2/new")
        fake.advance(60 * MINUTE)
        watch.run("k2/new", "failed")
        moved = await watch.look(key)
        assert (moved.path, watch.state(moved)) == ("k2/new", ProjectState.BACKFILLING)
        settled = await watch.look(key)
    assert (settled.path, watch.state(settled), settled.failures) == ("k2/new", ProjectState.OK, 0)
    assert sorted(watch.store.outcomes) == ["k2/app#1", "k2/new#1", "k2/new#2"]


@pytest.mark.parametrize("key", ["k2/app", "42"])
async def test_a_deleted_project_cannot_be_read_and_takes_nothing_along(
    gitlab: StandinGitLab, fake: FakeTime, key: str
) -> None:
    async with watching(gitlab, fake, key) as watch:
        watch.run()
        await watch.look(key)
        gitlab.rename_project("k2/app", "")
        gone = await watch.look(key)
    assert (gone.failure, watch.state(gone)) == ("pipelines: 404 Project Not Found", ProjectState.FORBIDDEN)
    assert list(watch.store.outcomes) == ["k2/app#1"]


async def test_a_project_whose_pipelines_are_shut_is_forbidden_until_they_are_open(
    gitlab: StandinGitLab, fake: FakeTime
) -> None:
    async with watching(gitlab, fake, "k2/app") as watch:
        watch.run()
        await watch.look("k2/app")
        gitlab.shut.add("k2/app")
        watch.run(status="failed")
        shut = await watch.look("k2/app")
        assert (shut.failure, watch.state(shut)) == ("pipelines: 403 Forbidden", ProjectState.FORBIDDEN)
        gitlab.shut.clear()
        opened = await watch.look("k2/app", after=60 * MINUTE)
    assert (opened.failure, watch.state(opened)) == ("", ProjectState.OK)
    assert sorted(watch.store.outcomes) == ["k2/app#1", "k2/app#2"]


async def test_an_archived_project_that_is_named_is_still_read(gitlab: StandinGitLab, fake: FakeTime) -> None:
    gitlab.add_project("k2/app", id=42, archived=True)
    async with watching(gitlab, fake, "k2/app") as watch:
        watch.run()
        assert watch.state(await watch.look("k2/app")) is ProjectState.OK
    assert list(watch.store.outcomes) == ["k2/app#1"]
