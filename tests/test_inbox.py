"""Webhooks from the request to the facts: what is answered, kept, and made of them, with a real store."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from pydantic import SecretStr

from k2alert.collect import SOURCES
from k2alert.collect.settings import SourceSettings
from k2alert.inbox import Answer, Inbox, Outcome, Surroundings
from k2alert.model import HookEvent, Kind, PipelineRun, Project, Saved
from k2alert.record import Store, StoreError, open_store
from k2alert.rehearse.gitlab_standin_json import StandinPipeline, StandinProject
from tests.support.fake_time import T0, FakeTime
from tests.support.github_json import run_json
from tests.support.hooks import github_deployment, gitlab_deployment, gitlab_payload, run_hook, sign_github
from tests.support.stores import entries_of

APP = StandinProject(7, "k2/app")
GOOD = {"x-gitlab-event": "Pipeline Hook", "x-gitlab-token": "secret-1"}


def source(name: str, kind: str = "gitlab", *secrets: str) -> SourceSettings:
    return SourceSettings(type=kind, name=name, webhook_secret=[SecretStr(one) for one in secrets])  # type: ignore[arg-type]


def pipeline_body(number: int = 1, project: StandinProject = APP) -> bytes:
    pipeline = StandinPipeline(id=number, created_at=T0, started_at=T0, finished_at=T0)
    return json.dumps(gitlab_payload(project, pipeline, T0)).encode()


@dataclass
class World:
    """An inbox and what surrounds it."""

    store: Store
    sources: list[SourceSettings] = field(default_factory=lambda: [source("one", "gitlab", "secret-1")])
    paths: list[str] | None = field(default_factory=lambda: ["k2/app"])
    saved: list[Saved] = field(default_factory=list)
    looks: list[tuple[str, str, Kind]] = field(default_factory=list)
    counts: list[tuple[str, str]] = field(default_factory=list)
    tags: dict[str, bool] = field(default_factory=dict)
    time: FakeTime = field(default_factory=FakeTime)

    def projects(self) -> list[Project] | None:
        if self.paths is None:
            return None
        return [
            Project(source=one.name, key=path, path=path, first_seen_at=T0)
            for one in self.sources
            for path in self.paths
        ]

    async def record(self, runs: Sequence[PipelineRun]) -> Saved:
        self.saved.append(await self.store.save(runs))
        return self.saved[-1]

    def count(self, source: str, outcome: Outcome, _: datetime) -> None:
        self.counts.append((source, outcome.value))

    def inbox(self) -> Inbox:
        around = Surroundings(
            sources=lambda: self.sources,
            projects=self.projects,
            tags=lambda _: self.tags,
            note_ref=lambda source, path, name, is_tag: self.tags.update({f"{path} {name}": is_tag}),
            record=self.record,
            look_soon=lambda source, key, kind: self.looks.append((source, key, kind)),
            count=self.count,
        )
        return Inbox(forges=SOURCES, store=self.store, time=self.time.time, around=around)


class Down:
    """A store that can do nothing."""

    async def accept_hooks(self, events: Sequence[HookEvent]) -> list[bool]:
        raise StoreError("disk I/O error")

    async def waiting_hooks(self, limit: int) -> list[HookEvent]:
        raise StoreError("disk I/O error")


@asynccontextmanager
async def working(inbox: Inbox, *, digest: bool = True) -> AsyncIterator[Inbox]:
    tasks = [asyncio.create_task(inbox.keep())] + ([asyncio.create_task(inbox.digest())] if digest else [])
    try:
        yield inbox
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


async def settle(world: World) -> None:
    """Until facts were made of all that is kept."""
    while await world.store.waiting_hooks(1):
        await asyncio.sleep(0.01)


async def test_an_accepted_webhook_becomes_facts_once(world: World) -> None:
    async with working(world.inbox()) as inbox:
        answers = [await inbox.receive("gitlab", "", GOOD, pipeline_body()) for _ in range(3)]
        await settle(world)

    assert answers == [Answer(200)] * 3
    assert world.counts == [("one", "accepted"), ("one", "duplicate"), ("one", "duplicate")]
    assert len(await entries_of(world.store)) == 1
    assert len(world.saved) == 1


@pytest.mark.parametrize(
    ("kind", "name", "headers", "body", "wanted"),
    [
        ("gitlab", "", {"x-gitlab-token": "wrong"}, pipeline_body(), 401),
        ("gitlab", "", {}, b"", 401),
        ("gitlab", "one", GOOD, pipeline_body(), 200),
        ("gitlab", "two", GOOD, pipeline_body(), 404),
        ("github", "", GOOD, pipeline_body(), 404),
        ("gitea", "", GOOD, pipeline_body(), 404),
        ("gitlab", "", GOOD, b"{", 400),
        ("gitlab", "", GOOD, b"[]", 200),
        ("gitlab", "", GOOD, b'{"object_kind": "push"}', 200),
        ("gitlab", "", GOOD, pipeline_body(project=StandinProject(8, "k2/other")), 200),
    ],
)
async def test_only_what_no_forge_sends_gets_an_error(
    world: World, kind: str, name: str, headers: dict[str, str], body: bytes, wanted: int
) -> None:
    async with working(world.inbox()) as inbox:
        assert (await inbox.receive(kind, name, headers, body)).status == wanted
    assert world.store is not None


async def test_a_webhook_is_of_the_source_whose_secret_the_sender_knows(world: World) -> None:
    world.sources = [source("one", "gitlab", "a"), source("two", "gitlab", "old", "b"), source("three", "gitlab")]
    async with working(world.inbox(), digest=False) as inbox:
        await inbox.receive("gitlab", "", {"x-gitlab-token": "b"}, pipeline_body())
        await inbox.receive("gitlab", "one", {"x-gitlab-token": "a"}, pipeline_body())
        refused = await inbox.receive("gitlab", "one", {"x-gitlab-token": "b"}, pipeline_body())
        closed = await inbox.receive("gitlab", "three", {"x-gitlab-token": ""}, pipeline_body())

    assert [event.source for event in await world.store.waiting_hooks(9)] == ["two", "one"]
    assert (refused.status, closed.status) == (401, 404)


async def test_what_was_kept_when_a_process_died_becomes_facts_in_the_next(world: World) -> None:
    async with working(world.inbox(), digest=False) as inbox:
        for number in range(1, 4):
            await inbox.receive("gitlab", "", GOOD, pipeline_body(number))
    assert await entries_of(world.store) == []

    async with working(world.inbox()) as inbox:
        assert await inbox.receive("gitlab", "", GOOD, pipeline_body(2)) == Answer(200)
        await settle(world)
    assert len(await entries_of(world.store)) == 3
    assert world.counts[-1] == ("one", "duplicate")


async def test_webhooks_are_kept_before_it_is_known_what_is_read(world: World) -> None:
    world.paths = None
    async with working(world.inbox(), digest=False) as inbox:
        await inbox.receive("gitlab", "", GOOD, pipeline_body())
        await inbox.receive("gitlab", "", GOOD, pipeline_body(2, StandinProject(8, "k2/other")))
    world.paths = ["k2/app"]
    async with working(world.inbox()):
        await settle(world)
    assert len(await entries_of(world.store)) == 1


async def test_a_store_that_is_down_has_the_forge_send_it_again(world: World) -> None:
    world.store = Down()  # type: ignore[assignment]
    async with working(world.inbox()) as inbox:
        answer = await inbox.receive("gitlab", "", GOOD, pipeline_body())
    assert answer == Answer(503, "the store is down")
    assert world.counts == []


async def test_a_burst_is_few_transactions(world: World) -> None:
    async with working(world.inbox()) as inbox:
        await asyncio.gather(*(inbox.receive("gitlab", "", GOOD, pipeline_body(number)) for number in range(1, 300)))
        await settle(world)
    assert len(await entries_of(world.store)) == 299
    assert len(world.saved) < 10


async def test_a_project_is_known_by_its_number_whatever_it_is_called_now(world: World) -> None:
    named = Project(source="one", key="k2/old", path="k2/old", forge_id="7", first_seen_at=T0)
    world.projects = lambda: [named]  # type: ignore[method-assign]
    async with working(world.inbox()) as inbox:
        await inbox.receive("gitlab", "", GOOD, pipeline_body())
        await inbox.receive("gitlab", "", GOOD, pipeline_body(2, StandinProject(8, "k2/old")))  # made anew since
        await settle(world)
    assert {stream.labels["project"] for stream in await world.store.streams()} == {"k2/old"}
    assert len(await entries_of(world.store)) == 1


async def test_a_run_on_what_may_be_a_tag_has_its_project_looked_at(world: World) -> None:
    world.sources = [source("hub", "github", "s")]
    body = json.dumps(
        run_hook(run_json(status="completed", conclusion="success", head_branch="v1", event="push"))
    ).encode()
    headers = {name.lower(): value for name, value in sign_github(body, "s").items()} | {
        "x-github-event": "workflow_run"
    }
    async with working(world.inbox()) as inbox:
        assert (await inbox.receive("github", "", headers, body)).status == 200
        await settle(world)
    assert world.looks == [("hub", "k2/app", Kind.RUN)]


@pytest.mark.parametrize(("ref_type", "wanted"), [("tag", "tag"), ("branch", "branch")])
async def test_a_run_on_a_name_that_a_webhook_told_of_needs_no_look(world: World, ref_type: str, wanted: str) -> None:
    world.sources = [source("hub", "github", "s")]
    ended = run_hook(run_json(status="completed", conclusion="success", head_branch="v1", event="push"))
    made = {"ref": "v1", "ref_type": ref_type, "repository": ended["repository"], "sender": {"login": "ada"}}
    async with working(world.inbox(), digest=False) as inbox:
        for name, payload in (("workflow_run", ended), ("create", made)):  # the run is told of first
            body = json.dumps(payload).encode()
            headers = {key.lower(): value for key, value in sign_github(body, "s").items()}
            assert (await inbox.receive("github", "", headers | {"x-github-event": name}, body)).status == 200
    async with working(world.inbox()):
        await settle(world)
    assert world.looks == []
    assert {stream.labels["ref_type"] for stream in await world.store.streams()} == {wanted}


@pytest.mark.parametrize("kind", ["gitlab", "github"])
async def test_a_project_is_looked_at_when_a_webhook_tells_of_a_deployment(world: World, kind: str) -> None:
    world.sources = [source("hub", kind, "s")]
    body = json.dumps({"gitlab": gitlab_deployment, "github": github_deployment}[kind]()).encode()
    signed = {"x-gitlab-token": "s"} if kind == "gitlab" else sign_github(body, "s")
    headers = {name.lower(): value for name, value in signed.items()} | {"x-github-event": "deployment_status"}
    async with working(world.inbox()) as inbox:
        assert (await inbox.receive(kind, "", headers, body)).status == 200
        await settle(world)
    assert world.looks == [("hub", "k2/app", Kind.DEPLOYMENT)]
    assert world.counts == [("hub", "accepted")]
    assert await entries_of(world.store) == []


@pytest.mark.parametrize("body", [{"kind": "run", "run": 7}, {"builds": 5}, {}, {"builds": [[]], "id": "x"}])
async def test_one_that_meets_a_bug_is_let_go_and_the_others_are_read(world: World, body: dict[str, Any]) -> None:
    async with working(world.inbox(), digest=False) as inbox:
        await inbox.receive("gitlab", "", GOOD, pipeline_body(1))
        (event,) = await world.store.waiting_hooks(1)
        odd = type(event)(
            source="one", delivery="odd", project="7", run="9", received_at=T0, body={"path": "k2/app", **body}
        )
        await world.store.accept_hooks([odd])
        await inbox.receive("gitlab", "", GOOD, pipeline_body(2))
    async with working(world.inbox()):
        await settle(world)
    assert len(await entries_of(world.store)) == 2


async def test_old_ones_are_forgotten_and_those_that_wait_are_not(store_url: str) -> None:
    store = open_store(store_url)
    world = World(store)
    async with working(world.inbox(), digest=False) as inbox:
        await inbox.receive("gitlab", "", GOOD, pipeline_body(1))
        await inbox.receive("gitlab", "", GOOD, pipeline_body(2))
        first, _ = await store.waiting_hooks(2)
        await store.end_hooks([first.id], keep=False)
        await store.drop_old_hooks(world.time.now.replace(year=2027))
        assert [event.run for event in await store.waiting_hooks(9)] == ["2"]
        await inbox.receive("gitlab", "", GOOD, pipeline_body(1))
        assert world.counts[-1] == ("one", "accepted")
    await store.close()
