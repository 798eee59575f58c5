"""Projects of one source are read together: whose turn is whose, and what happens when a scan goes wrong."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestServer

from k2alert.collect import SOURCES
from k2alert.collect.collector import Collector
from k2alert.collect.flow import Ask, Flow
from k2alert.collect.looking import CannotRecord
from k2alert.collect.settings import SourceSettings
from k2alert.rehearse.gitlab_standin import StandinGitLab, StandinJob, StandinPipeline
from tests.support.fake_time import T0, FakeTime
from tests.support.memory_store import MemoryStore

MINUTE = timedelta(minutes=1)
PROJECTS = 60


@dataclass
class Desk:
    """A collector of a stand-in GitLab's projects; `scans` and `looks` list what was asked of it."""

    gitlab: StandinGitLab
    url: str
    fake: FakeTime
    store: MemoryStore = field(default_factory=MemoryStore)
    scans: list[list[str]] = field(default_factory=list)
    looks: list[str] = field(default_factory=list)
    spoil: Callable[[Sequence[Ask]], None] = lambda asks: None

    def make(self, **given: Any) -> Collector:
        forge = SOURCES["gitlab"]

        def look(ask: Ask) -> Flow:
            self.fake.work()
            self.looks.append(ask.project.key)
            return (yield from forge.look(ask))

        def scan(asks: Sequence[Ask]) -> Any:
            self.fake.work()
            self.scans.append([ask.project.key for ask in asks])
            self.spoil(asks)
            return (yield from forge.scan(asks))

        keys = [f"k2/p{number}" for number in range(PROJECTS)]
        wish = {"type": "gitlab", "name": "s", "url": self.url, "token": "t", "projects": keys, **given}
        wish = {"webhook_secret": ("w",), **wish}  # webhooks tell of runs that end: nobody hurries
        return Collector(
            [SourceSettings.model_validate(wish)],
            forges={"gitlab": replace(forge, look=look, scan=scan)},
            store=self.store,
            time=self.fake.time,
            depth=lambda: timedelta(days=7),
            version="1",
            on_saved=lambda _: None,
        )

    async def run(self, minutes: float, **given: Any) -> Collector:
        """Collects for so long from a new start, and forgets what was asked for."""
        self.fake.end_after(minutes * MINUTE)
        collector = self.make(**given)
        task = asyncio.create_task(collector.run())
        over = asyncio.create_task(self.fake.over.wait())
        await asyncio.wait([task, over], return_when=asyncio.FIRST_COMPLETED)
        assert not task.done()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return collector

    def forget(self) -> None:
        self.scans.clear()
        self.looks.clear()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    fake = FakeTime()
    gitlab = StandinGitLab(lambda: fake.now, token="t")
    for number in range(PROJECTS):
        gitlab.add_project(f"k2/p{number}")
    async with TestServer(gitlab.app()) as server:
        yield Desk(gitlab, str(server.make_url("")), fake)


def pipeline(number: int, minute: float) -> StandinPipeline:
    """A pipeline that runs for two minutes from this minute after T0 on."""
    times = {"created_at": T0 + minute * MINUTE, "started_at": T0 + minute * MINUTE}
    times |= {"finished_at": T0 + (minute + 2) * MINUTE}
    return StandinPipeline(id=number, jobs=(StandinJob(id=number, name="test", **times),), **times)


async def test_after_its_backfill_each_project_is_read_along_with_others_once_an_interval(desk: Desk) -> None:
    await desk.run(11)
    assert Counter(desk.looks) == Counter(f"k2/p{number}" for number in range(PROJECTS))
    assert {len(scan) for scan in desk.scans} == {50, 10}
    times = Counter(key for scan in desk.scans for key in scan)
    assert set(times.values()) <= {9, 10, 11}
    assert len(times) == PROJECTS


async def test_a_restart_backfills_nothing_and_scans_at_once(desk: Desk) -> None:
    await desk.run(2)
    desk.forget()
    await desk.run(0.5)
    assert (desk.looks, sorted(map(len, desk.scans[:2]))) == ([], [10, 50])


async def test_what_happens_between_two_scans_is_recorded(desk: Desk) -> None:
    for number in range(0, PROJECTS, 7):
        desk.gitlab.put(f"k2/p{number}", *(pipeline(1000 * number + minute, minute) for minute in range(1, 8, 3)))
    await desk.run(12)
    runs = {f"k2/p{number}#{1000 * number + minute}" for number in range(0, PROJECTS, 7) for minute in (1, 4, 7)}
    assert {run for run, attempts in desk.store.outcomes.items() if len(attempts) == 1} == runs
    assert set(desk.looks[PROJECTS:]) == set()


async def test_a_project_that_a_scan_leaves_out_is_looked_at_by_itself(desk: Desk) -> None:
    await desk.run(2)
    desk.forget()
    desk.gitlab.rename_project("k2/p3", "")
    await desk.run(10)
    assert desk.looks == ["k2/p3"] * 4  # gone: at once, and after 1, 2 and 4 minutes more
    assert desk.store.project("k2/p3").forbidden
    assert desk.store.project("k2/p4").failures == 0
    desk.gitlab.add_project("k2/p3", id=4)
    await desk.run(20)
    assert not desk.store.project("k2/p3").forbidden


async def test_a_bug_in_a_scan_is_told_once_and_everyone_is_read_all_the_same(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    await desk.run(2)
    desk.forget()

    def spoil(asks: Sequence[Ask]) -> None:
        raise ZeroDivisionError

    desk.spoil = spoil
    collector = await desk.run(3)
    assert {Counter(desk.looks)[f"k2/p{number}"] for number in range(PROJECTS)} <= {3, 4}
    assert collector.stats()["s"].bugs == len(desk.scans)
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert told[0].startswith("scanning source s failed: ZeroDivisionError at ")
    assert desk.store.project("k2/p3").failures == 0


async def test_a_store_that_fails_costs_a_scan_one_turn(desk: Desk) -> None:
    await desk.run(2)
    desk.gitlab.put("k2/p3", pipeline(1, 2))
    desk.store.fails = CannotRecord("the disk is full")
    desk.forget()
    await desk.run(6)
    assert desk.store.outcomes == {"k2/p3#1": [desk.store.outcomes["k2/p3#1"][0]]}
    assert desk.looks == []


async def test_a_forge_in_trouble_is_asked_once_for_all_and_then_less_and_less(desk: Desk) -> None:
    await desk.run(2)
    desk.forget()
    desk.gitlab.token = "another"
    await desk.run(6)
    assert sorted(map(len, desk.scans)) == [10, 10, 10, 50, 50, 50]  # at once, and after 1 and 2 minutes more
    assert (desk.looks, desk.store.project("k2/p3").forbidden) == ([], True)
    desk.gitlab.token = "t"
    await desk.run(20)
    assert (desk.looks, desk.store.project("k2/p3").forbidden) == ([], False)


async def test_a_project_where_a_run_goes_on_is_read_sooner(desk: Desk) -> None:
    await desk.run(2)
    desk.forget()
    desk.gitlab.put("k2/p3", pipeline(1, 3))
    await desk.run(6, webhook_secret=())
    reads = Counter([*desk.looks, *(key for scan in desk.scans for key in scan)])
    assert reads["k2/p3"] > reads["k2/p4"] >= 6


async def test_a_source_that_looks_seldom_is_scanned_together_too(desk: Desk) -> None:
    await desk.run(61, poll_interval="10m")
    assert {Counter(key for scan in desk.scans for key in scan)[f"k2/p{n}"] for n in range(PROJECTS)} <= {5, 6}
    assert {len(scan) for scan in desk.scans} == {50, 10}
