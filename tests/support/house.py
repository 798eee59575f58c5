"""Rounds over a real store, without the loops of a daemon and on a clock in the test's hands."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import aiohttp

from k2alert.collect.http import Time
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.measure.catalogue import METRICS
from k2alert.model import Project, Result, RunEvidence, RunTotal
from k2alert.recall import fill_board, make_board
from k2alert.record import Store, StoreError, open_store
from k2alert.rounds import Rounds, Setting
from tests.support.loading import load_text
from tests.support.looks import T0, finished_run
from tests.support.office import Pause

MAIN = """
sources: [{type: gitlab, name: gitlab, url: "http://127.0.0.1", token: abcdefgh, projects: [k2/app]}]
evaluation_interval: 30s
receivers: [{name: team}]
route: {receiver: team, group_wait: 0s}
alert_rules: [{name: red, condition: consecutive_failures > 1, period: 24h, severity: info,
  message: "{{ evidence.faults }} failed"}]
"""
SINCE = T0 - timedelta(days=30)
APP = Project(source="gitlab", key="k2/app", path="k2/app", first_seen_at=SINCE, covered_since=SINCE)


@dataclass
class House:
    """A store and its rounds; to draw the gauges once takes so many seconds. `drawn` counts how often they were.

    Two runs have failed. `looking` pauses who looks up what is behind an alert, `drawing` who draws; where it is
    `down` they cannot be drawn.
    """

    store: Store
    takes: float = 0.0
    seconds: float = 1000.0
    drawn: int = 0
    down: bool = False
    projects: list[Project] = field(default_factory=lambda: [APP])
    looking: Pause | None = None
    drawing: Pause | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def totals(self) -> list[RunTotal]:
        self.drawn += 1
        self.seconds += self.takes
        if self.down:
            raise StoreError("no space left")
        if self.drawing is not None:
            self.drawing.reached.set()
            await self.drawing.go.wait()
        return await self.store.totals()

    async def run_evidence(self, refs: Sequence[int]) -> dict[int, RunEvidence]:
        if self.looking is not None:
            self.looking.reached.set()
            await self.looking.go.wait()
        return await self.store.run_evidence(refs)

    @property
    def now(self) -> datetime:
        return T0 + timedelta(seconds=self.seconds)


@asynccontextmanager
async def a_house(folder: Path, *, hook: str = "", projects: int = 1) -> AsyncIterator[tuple[House, Rounds]]:
    """A house whose team hears of alerts by a webhook, if there is one; of so many projects one has runs."""
    team = f"{{name: team, webhook: {{url: '{hook}'}}}}" if hook else "{name: team}"
    config = load_text(folder, MAIN.replace("{name: team}", team)).config
    assert config is not None
    house = House(open_store(f"sqlite:///{folder}/k2alert.db"))
    house.projects += [replace(APP, key=f"k2/{number}", path=f"k2/{number}") for number in range(1, projects)]
    self_metrics = SelfMetrics("test")
    self_metrics.declare(rules=["red"], sources=["gitlab"], receivers=[])
    async with AsyncExitStack() as stack:
        stack.push_async_callback(house.store.close)
        await house.store.save([finished_run(str(number), number, Result.FAILURE) for number in (1, 2)])
        board = make_board(config, METRICS)
        await fill_board(board, house.store)
        rounds = Rounds(
            Setting(config=config, board=board),
            metrics=METRICS,
            store=cast(Store, house),
            projects=lambda: [replace(one, complete_at=house.now, success_at=house.now) for one in house.projects],
            session=await stack.enter_async_context(aiohttp.ClientSession()),
            self_metrics=self_metrics,
            time=Time(
                now=lambda: house.now,
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


def counted(rounds: Rounds) -> int:
    """How many runs the series count."""
    assert rounds.snapshot is not None
    text = rounds.snapshot.series.plain.decode()
    return sum(int(float(line.split()[-1])) for line in text.splitlines() if line.startswith("k2alert_ci_runs_total{"))
