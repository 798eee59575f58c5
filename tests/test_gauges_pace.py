"""Gauges that take long to draw hold up no round: rounds over a real store, on a clock in the test's hands."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp

from k2alert.collect.http import Time
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.measure.catalogue import METRICS
from k2alert.model import RunTotal
from k2alert.recall import make_board
from k2alert.record import Store, open_store
from k2alert.rounds import Rounds, Setting
from tests.support.loading import load_text
from tests.support.looks import T0

MAIN = """
sources: [{type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, projects: [k2/app]}]
evaluation_interval: 30s
receivers: [{name: team}]
route: {receiver: team}
alert_rules: [{name: red, condition: consecutive_failures > 1, period: 24h, severity: info, message: m}]
"""


@dataclass
class House:
    """A store and its rounds; to draw the gauges once takes so many seconds. `drawn` counts how often they were."""

    store: Store
    takes: float = 0.0
    seconds: float = 1000.0
    drawn: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def totals(self) -> list[RunTotal]:
        self.drawn += 1
        self.seconds += self.takes
        return await self.store.totals()


@asynccontextmanager
async def a_house(folder: Path) -> AsyncIterator[tuple[House, Rounds]]:
    config = load_text(folder, MAIN).config
    assert config is not None
    house = House(open_store(f"sqlite:///{folder}/k2alert.db"))
    self_metrics = SelfMetrics("test")
    self_metrics.declare(rules=["red"], sources=["gitlab"], receivers=[])
    async with AsyncExitStack() as stack:
        stack.push_async_callback(house.store.close)
        rounds = Rounds(
            Setting(config=config, board=make_board(config, METRICS)),
            metrics=METRICS,
            store=cast(Store, house),
            projects=lambda: [],
            session=await stack.enter_async_context(aiohttp.ClientSession()),
            self_metrics=self_metrics,
            time=Time(
                now=lambda: T0 + timedelta(seconds=house.seconds),
                monotonic=lambda: house.seconds,
                sleep=asyncio.sleep,
                random=lambda: 0.5,
            ),
            started_at=T0,
            new_id=lambda: "1",
        )
        await rounds.load()
        yield house, rounds
        await rounds.close()


async def test_gauges_that_take_long_are_left_alone_for_ten_times_as_long_and_drawn_then(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        house.takes = 0.5
        await rounds.round()
        assert house.drawn == 1
        house.seconds += 1
        await rounds.round()
        await rounds.draw()
        assert house.drawn == 1
        assert rounds.snapshot is not None
        assert rounds.snapshot.now == T0 + timedelta(seconds=house.seconds)
        house.seconds += 4.1
        await rounds.draw()
        assert house.drawn == 2
        house.seconds += 60
        await rounds.draw()
        assert house.drawn == 2  # there is nothing new


async def test_gauges_that_take_a_moment_are_drawn_in_every_round(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        for number in range(3):
            house.takes = 0.2
            await rounds.round()
            assert house.drawn == number + 1


async def test_however_long_gauges_take_they_are_drawn_as_often_as_rounds_come_by_themselves(tmp_path: Path) -> None:
    async with a_house(tmp_path) as (house, rounds):
        house.takes = 20.0
        await rounds.round()
        house.seconds += 30
        await rounds.round()
        assert house.drawn == 1
        await rounds.draw()
        assert house.drawn == 2
