"""Stories of the collector: a real server that misbehaves, and a store that must hold the truth afterwards."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from k2alert.collect import SOURCES
from k2alert.collect.collector import CannotRecord, Collector
from k2alert.collect.flow import Ask, Flow, Forge
from k2alert.collect.http import Limits
from k2alert.collect.settings import SourceSettings
from k2alert.model import Kind, ProjectState, Saved
from tests.support.fake_time import T0, FakeTime
from tests.support.faults import (
    Fault,
    FaultyServer,
    answer,
    broken_off,
    echo_token,
    endless,
    hang,
    html,
    reset,
    text,
    truncated,
)
from tests.support.memory_store import MemoryStore
from tests.support.staleness import state_of
from tests.support.toy_forge import TOY, ToyRun, ToyServer

TOKEN = "glpat-very-secret-0123456789"
MINUTE = timedelta(minutes=1)
WEEK = timedelta(days=7)
STALE = 15 * MINUTE


def runs(count: int, before: datetime = T0) -> list[ToyRun]:
    """So many runs, one an hour, the last one an hour before a time."""
    return [ToyRun(str(count - n + 1), before - n * 60 * MINUTE) for n in range(count, 0, -1)]


def settings(url: str, **other: Any) -> SourceSettings:
    values = {"type": "gitlab", "name": "s", "url": url, "token": TOKEN, "projects": ["a/b"], **other}
    return SourceSettings.model_validate(values)


class World:
    """A forge, a store, a time, and what the collector told on the way."""

    def __init__(self, server: FaultyServer, toy: ToyServer) -> None:
        self.server = server
        self.toy = toy
        self.store = MemoryStore()
        self.fake = FakeTime()
        self.limits = Limits(time=timedelta(seconds=30), size=100_000)
        self.saved: list[Saved] = []
        self.progress: list[tuple[str, int, int | None]] = []

    def make(
        self, *sources: SourceSettings, forge: Forge = TOY, fake: FakeTime | None = None, **other: Any
    ) -> Collector:
        """A collector of these sources (the one on the server, where there are none)."""
        fake = fake or self.fake

        def look(ask: Ask) -> Flow:
            fake.work()
            return (yield from forge.look(ask))

        watched = replace(forge, look=look)
        return Collector(
            sources or (settings(self.server.url),),
            forges={"gitlab": watched, "github": watched},
            store=self.store,
            time=fake.time,
            depth=lambda: WEEK,
            version="1",
            on_saved=self.saved.append,
            on_progress=lambda project, done, total: self.progress.append((project.key, done, total)),
            limits=self.limits,
            **other,
        )

    @asynccontextmanager
    async def collector(self, *sources: SourceSettings, forge: Forge = TOY, **other: Any) -> AsyncIterator[Collector]:
        """A collector that has loaded."""
        collector = self.make(*sources, forge=forge, **other)
        await collector.load()
        yield collector
        await collector.close()

    @property
    def counted(self) -> list[int]:
        """The rows that `on_saved` said came new; one twice would be counted twice."""
        return [change.new.ref for saved in self.saved for change in saved.entries if change.new is not None]

    def truth(self, key: str = "a/b") -> dict[str, list[int]]:
        """What the store must hold of one project."""
        path = self.toy.paths.get(key, key)
        return {f"{path}#{run.id}": [run.attempt] for run in self.toy.projects[key]}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    toy = ToyServer()
    toy.projects["a/b"] = runs(7)
    async with FaultyServer(toy.handle) as server:
        yield World(server, toy)


async def run_until(collector: Collector, reached: Callable[[], Coroutine[Any, Any, object]]) -> None:
    """Runs a collector until something has happened."""
    task = asyncio.create_task(collector.run())
    goal = asyncio.create_task(reached())
    await asyncio.wait([task, goal], return_when=asyncio.FIRST_COMPLETED)
    assert not task.done()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


# ------------------------------------------------------------------------------------------------ one look


async def test_a_first_look_records_all_of_history_and_says_how_far_it_got(world: World) -> None:
    async with world.collector() as collector:
        look = await collector.look("s", "a/b")
        assert look.failure is None
        assert collector.project_states() == [world.store.project("a/b")]
    assert world.store.outcomes == world.truth()
    project = world.store.project("a/b")
    assert (project.cursor, project.covered_since, project.complete_at) == (T0, T0 - WEEK, T0)
    assert (project.forge_id, project.default_branch, project.failure) == ("7", "main", "")
    assert world.progress == [("a/b", 2, 7), ("a/b", 4, 7), ("a/b", 6, 7), ("a/b", 7, 7), ("a/b", 7, 7)]


async def test_history_before_the_depth_is_left_alone_and_the_source_may_name_its_own(world: World) -> None:
    world.toy.projects["a/b"] = [ToyRun("1", T0 - 2 * WEEK), ToyRun("2", T0 - WEEK / 2), ToyRun("3", T0 - MINUTE)]
    async with world.collector(settings(world.server.url, backfill="1d")) as collector:
        await collector.look("s", "a/b")
        assert world.store.said == ["a/b#3"]
        await collector.reconfigure([settings(world.server.url)])
        await collector.look("s", "a/b")
    assert sorted(world.store.said) == ["a/b#2", "a/b#3"]
    assert world.store.project("a/b").covered_since == T0 - WEEK


async def test_a_second_look_reads_only_what_is_new_and_a_restart_changes_nothing(world: World) -> None:
    async with world.collector() as collector:
        await collector.look("s", "a/b")
    world.toy.projects["a/b"].append(ToyRun("8", T0 - MINUTE))  # told late: only the overlap finds it
    world.fake.advance(10 * MINUTE)
    async with world.collector() as restarted:
        await restarted.look("s", "a/b")
    assert world.store.outcomes == world.truth()
    assert len(world.store.said) == len(set(world.store.said)) == 8
    assert len(world.counted) == len(set(world.counted)) == 8
    assert "since=2026-01-05T11%3A55%3A00Z" in world.server.seen[-1].raw_path
    assert len(world.progress) == 5  # nobody waits for the second look


@pytest.mark.parametrize("at", range(5), ids=lambda at: f"request {at}")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(answer({}, status=500), id="500"),
        pytest.param(answer({}, status=401), id="401"),
        pytest.param(answer({}, status=403), id="403"),
        pytest.param(text("Retry later", status=429), id="429"),
        pytest.param(text("", status=429, headers={"Retry-After": "600"}), id="429 for long"),
        pytest.param(html(), id="HTML"),
        pytest.param(truncated(), id="cut JSON"),
        pytest.param(broken_off, id="broken off"),
        pytest.param(endless, id="endless"),
        pytest.param(hang, id="hang"),
        pytest.param(reset, id="reset"),
    ],
)
async def test_after_any_fault_the_truth_is_recorded_once(fault: Fault, at: int, world: World) -> None:
    handle = world.toy.handle
    world.limits = Limits(time=timedelta(seconds=0.3), size=100_000) if fault is hang else world.limits
    count = -1

    async def faulty(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        return await (fault if count == at else handle)(request)

    async with FaultyServer(faulty) as server, world.collector(settings(server.url)) as collector:
        for _ in range(3):
            await collector.look("s", "a/b")
            world.fake.advance(20 * MINUTE)
    assert world.store.outcomes == world.truth()
    assert len(world.store.said) == len(set(world.store.said))
    assert len(world.counted) == len(set(world.counted)) == 7
    project = world.store.project("a/b")
    assert (project.failure, project.forbidden, project.failures) == ("", False, 0)
    assert project.covered_since is not None


async def test_a_restart_in_the_middle_of_a_backfill_goes_on_where_it_was(world: World) -> None:
    async with world.collector() as collector:
        world.server.faults.extend([world.toy.handle] * 3)
        world.server.faults.extend([html(500)] * 3)
        look = await collector.look("s", "a/b")
        assert look.failure is not None
        assert len(world.store.said) == 4
        assert world.store.project("a/b").covered_since is None
    async with world.collector() as restarted:
        await restarted.look("s", "a/b")
    assert world.store.outcomes == world.truth()
    assert len(world.store.said) == len(set(world.store.said))


async def test_facts_carry_the_path_that_the_forge_says(world: World) -> None:
    world.toy.projects["42"] = runs(1)
    world.toy.paths["42"] = "k2/app"
    async with world.collector(settings(world.server.url, projects=[42])) as collector:
        await collector.look("s", "42")
        await collector.look("s", "42")
    assert world.store.outcomes == {"k2/app#1": [1]}
    assert world.store.said == ["k2/app#1"]
    assert world.store.project("42").path == "k2/app"


# --------------------------------------------------------------------------------------------- failing looks


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        pytest.param(answer({"message": "401 Unauthorized"}, status=401), ProjectState.FORBIDDEN, id="401"),
        pytest.param(answer({"message": "404 Project Not Found"}, status=404), ProjectState.FORBIDDEN, id="404"),
        pytest.param(html(503), ProjectState.STALE, id="503"),
        pytest.param(html(), ProjectState.STALE, id="HTML"),
    ],
)
async def test_a_project_that_was_never_read_is_no_zero(fault: Fault, state: ProjectState, world: World) -> None:
    world.server.faults.extend([fault] * 100)
    async with world.collector() as collector:
        for _ in range(4):
            await collector.look("s", "a/b")
            world.fake.advance(5 * MINUTE)
        (project,) = collector.project_states()
    assert project == world.store.project("a/b")
    assert (project.failures, project.covered_since, project.success_at) == (4, None, None)
    assert project.failure
    assert world.saved == []
    assert state_of(project, now=world.fake.now, max_staleness=STALE) is state


async def test_a_project_that_cannot_be_read_is_told_once_for_each_reason(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with world.collector() as collector:
        for fault in (html(503), html(503), answer({}, status=401), answer({}, status=401), None, None):
            world.server.faults.clear()
            world.server.faults.extend([fault] * 3 if fault else [])
            await collector.look("s", "a/b")
    records = [record for record in caplog.records if record.name.startswith("k2alert")]
    told = [(record.levelname, record.getMessage()) for record in records]
    assert told == [
        ("WARNING", "project a/b of source s cannot be read: project: 503 Service Unavailable"),
        ("WARNING", "project a/b of source s cannot be read: project: 401 Unauthorized"),
        ("INFO", "project a/b of source s can be read again"),
    ]
    first = records[0].__dict__
    assert (first["source"], first["project"], first["reason"]) == ("s", "a/b", "server")


async def test_the_token_is_nowhere_in_what_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world.server.faults.extend([echo_token(400), echo_token(401), *[echo_token(500)] * 3])
    async with world.collector() as collector:
        looks = [await collector.look("s", "a/b") for _ in range(3)]
    told = "\n".join(repr(record.__dict__) + record.getMessage() for record in caplog.records)
    assert all(look.failure for look in looks)
    for secret in (TOKEN, "query-secret"):
        assert secret not in told
        assert secret not in repr(looks)
        assert secret not in world.store.project("a/b").failure


async def test_a_source_is_counted(world: World) -> None:
    world.server.faults.append(text("", status=429, headers={"Retry-After": "5", "RateLimit-Remaining": "0"}))
    async with world.collector() as collector:
        assert collector.stats()["s"].last_success is None
        await collector.look("s", "a/b")
        stats = collector.stats()["s"]
    assert stats.asked.requests == {("project", "429"): 1, ("project", "200"): 1, ("runs", "200"): 4}
    assert stats.asked.rate_limit_remaining == 0
    assert (stats.last_success, stats.bugs) == (T0 + timedelta(seconds=5), 0)


# ----------------------------------------------------------------------------------------------- the timetable


async def test_each_project_is_looked_at_once_an_interval(world: World) -> None:
    world.toy.projects = {f"p/{n}": runs(1) for n in range(6)}
    fake = FakeTime(end=10 * MINUTE)
    collector = world.make(settings(world.server.url, projects=sorted(world.toy.projects)), fake=fake)
    await run_until(collector, fake.over.wait)
    looks = [seen.raw_path for seen in world.server.seen if "runs" not in seen.raw_path]
    assert {looks.count(path) for path in set(looks)} <= {9, 10, 11}
    assert len(set(looks)) == 6
    assert sorted(world.store.said) == [f"p/{n}#1" for n in range(6)]


async def test_a_failing_project_is_asked_less_and_less_and_holds_up_no_other(world: World) -> None:
    world.toy.projects = {"good": runs(1)}
    fake = FakeTime(end=60 * MINUTE)
    collector = world.make(settings(world.server.url, projects=["bad", "good"]), fake=fake)
    await run_until(collector, fake.over.wait)
    paths = [seen.raw_path for seen in world.server.seen]
    assert paths.count("/projects/bad") == 8  # at 0, 1, 3, 7, 15, 30, 45 and 60 min
    assert paths.count("/projects/good") >= 50
    assert state_of(world.store.project("good"), now=fake.now, max_staleness=STALE) is ProjectState.OK


async def test_a_limit_is_told_once_for_all_projects_and_kept_by_all_sources_of_one_token(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.toy.projects = {f"p/{n}": runs(1) for n in range(6)}
    world.server.faults.append(text("", status=429, headers={"Retry-After": "1200"}))
    fake = FakeTime(end=30 * MINUTE)
    halves = [
        settings(world.server.url, name=f"half{half}", projects=[f"p/{n}" for n in range(half, 6, 2)])
        for half in range(2)
    ]
    await run_until(world.make(*halves, fake=fake), fake.over.wait)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 2
    assert all("must wait: " in warning for warning in warnings)
    assert sorted(world.store.said) == [f"p/{n}#1" for n in range(6)]
    assert len(world.server.seen) > 1 + 2 * 6
    assert not [record for record in caplog.records if "again" in record.getMessage()]


async def test_at_most_four_projects_of_a_source_are_looked_at_together(world: World) -> None:
    world.toy.projects = {f"p/{n}": runs(1) for n in range(9)}
    going_on, most, arrived = 0, 0, asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        nonlocal going_on, most
        going_on += 1
        most = max(most, going_on)
        if going_on == 4:
            arrived.set()
        await arrived.wait()
        response = await world.toy.handle(request)
        going_on -= 1
        return response

    fake = FakeTime(end=2 * MINUTE)
    async with FaultyServer(slow) as server:
        collector = world.make(settings(server.url, projects=sorted(world.toy.projects)), fake=fake)
        await collector.load()
        fake.advance(MINUTE)  # now all nine are due
        await run_until(collector, fake.over.wait)
    assert most == 4
    assert len(world.store.outcomes) == 9


async def test_a_bug_met_in_one_project_is_counted_told_once_and_holds_up_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def look(ask: Ask) -> Flow:
        if ask.project.key != "good":
            raise KeyError("a bug")
        return (yield from TOY.look(ask))

    world.toy.projects = {"good": runs(3)}
    fake = FakeTime(end=20 * MINUTE)
    sources = settings(world.server.url, projects=["bad", "worse", "good"])
    collector = world.make(sources, forge=Forge(look=look, default_url="", api_path=""), fake=fake)
    await run_until(collector, fake.over.wait)
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert world.store.outcomes == world.truth("good")
    assert [bool(record.exc_info) for record in told] == [True, False]
    assert "KeyError at test_collect_collector.py" in told[0].getMessage()
    assert collector.stats()["s"].bugs == 2 * 5  # at 0, 1, 3, 7 and 15 min
    bad = collector.project_states()[0]
    assert (bad.failures, bad.covered_since, bad.forbidden) == (5, None, False)


async def test_a_store_that_fails_once_costs_one_look(world: World) -> None:
    world.store.fails = OSError("disk full")
    fake = FakeTime(end=5 * MINUTE)
    collector = world.make(fake=fake)
    await run_until(collector, fake.over.wait)
    assert collector.stats()["s"].bugs == 1
    assert world.store.outcomes == world.truth()
    assert len(world.counted) == 7


# ------------------------------------------------------------------------------------------ reload and the end


async def test_what_is_in_the_store_has_been_told_when_a_look_is_cancelled(world: World) -> None:
    saving, go_on = asyncio.Event(), asyncio.Event()
    save = world.store.save

    class SlowStore(MemoryStore):
        async def save(self, runs: Any) -> Saved:
            saving.set()
            await go_on.wait()
            return await save(runs)

    world.store = SlowStore()
    task = asyncio.create_task(world.make().run())
    await saving.wait()
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(world.counted) == 2


async def test_what_cannot_be_recorded_when_a_look_is_cancelled_is_no_task_that_failed_unseen(world: World) -> None:
    saving, go_on, unseen = asyncio.Event(), asyncio.Event(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))

    class RefusingStore(MemoryStore):
        async def save(self, runs: Any) -> Saved:
            saving.set()
            await go_on.wait()
            raise CannotRecord("this replica does not lead")

    world.store = RefusingStore()
    task = asyncio.create_task(world.make().run())
    await saving.wait()
    task.cancel()
    for _ in range(10):  # from the collector down to what it waits for
        await asyncio.sleep(0)
    go_on.set()
    with suppress(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    assert unseen == []


async def test_a_hanging_look_ends_when_the_collector_does(world: World) -> None:
    world.server.faults.append(hang)
    collector = world.make()

    async def asked() -> None:
        while not world.server.seen:
            await asyncio.sleep(0.001)

    await run_until(collector, asked)
    assert world.saved == []
    assert [project.key for project in collector.project_states()] == ["a/b"]


async def test_a_reload_keeps_what_was_read_and_sends_the_new_token(world: World) -> None:
    world.toy.projects["c/d"] = runs(2)
    async with world.collector() as collector:
        await collector.look("s", "a/b")
        before = collector.project_states()
        await collector.reconfigure([settings(world.server.url, token="new", projects=["a/b", "c/d"])])
        assert collector.project_states()[0] == before[0]
        await collector.look("s", "a/b")
        await collector.look("s", "c/d")
        assert world.server.seen[-1].headers["authorization"] == "Bearer new"
        await collector.reconfigure([settings(world.server.url, token="new", projects=["c/d"])])
        assert [project.key for project in collector.project_states()] == ["c/d"]
    assert len(world.store.said) == len(set(world.store.said)) == 9


async def test_a_reload_leaves_other_sources_alone(world: World) -> None:
    one, two = settings(world.server.url, name="one"), settings(world.server.url, name="two")
    async with world.collector(one, two) as collector:
        await collector.look("one", "a/b")
        counted = collector.stats()["one"]
        await collector.reconfigure([one, settings(world.server.url, name="two", poll_interval="5m")])
        assert collector.stats()["one"] == counted
        await collector.reconfigure([one])
        assert list(collector.stats()) == ["one"]


async def test_a_source_added_while_running_is_read_at_once(world: World) -> None:
    world.toy.projects["c/d"] = runs(1)
    first, second = settings(world.server.url), settings(world.server.url, name="t", projects=["c/d"])
    fake = FakeTime(end=3 * MINUTE)
    collector = world.make(first, fake=fake)

    async def reload() -> None:
        while not world.saved:
            await asyncio.sleep(0.001)
        await collector.reconfigure([first, second])
        while "c/d#1" not in world.store.said:
            await asyncio.sleep(0.001)

    await run_until(collector, reload)
    assert world.store.project("c/d").source == "t"


async def test_what_a_look_remembers_is_given_to_the_next_of_the_source(world: World) -> None:
    memories: list[Any] = []

    def look(ask: Ask) -> Flow:
        memories.append(ask.memory)
        return (yield from TOY.look(ask))

    world.toy.projects["c/d"] = runs(1)
    source = settings(world.server.url, projects=["a/b", "c/d"])
    async with world.collector(source, forge=Forge(look=look, default_url="", api_path="")) as collector:
        await collector.look("s", "a/b")
        await collector.look("s", "c/d")
    assert memories == [{}, {"looks": 1}]


async def test_what_two_looks_learn_at_the_same_time_is_remembered_of_both(world: World) -> None:
    memories: list[Any] = []

    def look(ask: Ask) -> Flow:
        memories.append(ask.memory)
        ended = yield from TOY.look(ask)
        kept = {key: value for key, value in ask.memory.items() if key != "old"}
        return replace(ended, memory={**kept, ask.project.key: "learned"} if "old" in ask.memory else {"old": True})

    world.toy.projects["c/d"] = runs(1)
    source = settings(world.server.url, projects=["a/b", "c/d"])
    async with world.collector(source, forge=Forge(look=look, default_url="", api_path="")) as collector:
        await collector.look("s", "a/b")
        await asyncio.gather(collector.look("s", "a/b"), collector.look("s", "c/d"))
        await collector.look("s", "a/b")
    assert memories == [{}, {"old": True}, {"old": True}, {"a/b": "learned", "c/d": "learned"}]


async def test_bookmarks_are_given_to_the_next_look_at_the_same_project_once_all_is_recorded(world: World) -> None:
    given: list[Any] = []

    def look(ask: Ask) -> Flow:
        given.append((ask.project.key, ask.bookmarks))
        ended = yield from TOY.look(ask)
        return replace(ended, bookmarks={"looks": len(given)})

    world.toy.projects["c/d"] = runs(1)
    source = settings(world.server.url, projects=["a/b", "c/d"])
    async with world.collector(source, forge=Forge(look=look, default_url="", api_path="")) as collector:
        await collector.look("s", "a/b")
        await collector.look("s", "c/d")
        await collector.look("s", "a/b")
        world.store.fails = OSError("disk full")
        world.toy.projects["a/b"].append(ToyRun("8", world.fake.now))
        with pytest.raises(OSError, match="disk full"):
            await collector.look("s", "a/b")
        await collector.look("s", "a/b")
    assert given == [("a/b", {}), ("c/d", {}), ("a/b", {"looks": 1}), ("a/b", {"looks": 3}), ("a/b", {"looks": 3})]


async def test_what_a_webhook_only_told_of_is_asked_of_the_looks_until_one_is_whole(world: World) -> None:
    heard: list[frozenset[Kind]] = []

    def look(ask: Ask) -> Flow:
        heard.append(ask.heard)
        return (yield from TOY.look(ask))

    wants = frozenset({Kind.DEPLOYMENT})
    async with world.collector(forge=Forge(look=look, default_url="", api_path=""), wants=lambda: wants) as collector:
        collector.look_soon("s", "a/b", Kind.DEPLOYMENT)
        collector.look_soon("s", "a/b", Kind.SCHEDULE)  # no rule speaks of it
        world.server.faults.append(answer({}, status=404))
        for _ in range(3):
            await collector.look("s", "a/b")
            world.fake.advance(MINUTE)
    assert heard == [wants, wants, frozenset()]


async def test_names_that_webhooks_told_of_are_known_until_there_are_too_many(world: World) -> None:
    async with world.collector() as collector:
        collector.note_ref("s", "a/b", "v1", is_tag=True)
        collector.note_ref("s", "a/b", "v1", is_tag=False)  # both: whoever looks finds out what that means
        collector.note_ref("gone", "a/b", "v1", is_tag=True)
        assert dict(collector.tags("s")) == {"a/b v1": True}
        for number in range(5000):
            collector.note_ref("s", "a/b", f"topic-{number}", is_tag=False)
        assert len(collector.tags("s")) == 5000
        assert "a/b v1" not in collector.tags("s")
        assert collector.tags("gone") == {}


async def test_what_a_webhook_tells_of_during_a_look_has_another_look_follow_at_once(world: World) -> None:
    begun: list[datetime] = []

    def look(ask: Ask) -> Flow:
        begun.append(ask.now)
        if len(begun) == 1:
            world.fake.advance(MINUTE / 60)
            collector.look_soon("s", "a/b")
        return (yield from TOY.look(ask))

    async def twice() -> None:
        while len(begun) < 2:
            await asyncio.sleep(0.001)

    collector = world.make(forge=Forge(look=look, default_url="", api_path=""))
    await run_until(collector, twice)
    assert begun[1] - begun[0] < MINUTE / 2


async def test_only_github_is_swept_and_is_told_the_runs_of_thirty_days(world: World) -> None:
    asks: list[Ask] = []

    def look(ask: Ask) -> Flow:
        asks.append(ask)
        return (yield from TOY.look(ask))

    forge = Forge(look=look, default_url="", api_path="")
    github = settings(world.server.url, type="github")
    async with world.collector(github, forge=forge) as collector:
        await collector.look("s", "a/b")
        await collector.look("s", "a/b")
        world.fake.advance(timedelta(days=1))
        await collector.look("s", "a/b")
        await collector.reconfigure([settings(world.server.url, backfill="1h")])
        await collector.look("s", "a/b")
    assert [ask.sweep for ask in asks] == [True, False, True, False]
    assert [len(ask.known) for ask in asks] == [0, 0, 7, 0]


def test_every_kind_of_source_has_a_forge() -> None:
    assert set(SOURCES) == {"gitlab", "github"}
    assert all(forge.default_url.startswith("https://") for forge in SOURCES.values())
