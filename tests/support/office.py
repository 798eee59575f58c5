"""Desks at work on a small world: a real store, real receivers on loopback, and time in hand."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import aiohttp

from k2alert.collect.http import Time
from k2alert.desks import Desks, PlanRow
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.model import LogEntry
from k2alert.notify.dues import Due
from k2alert.notify.message import Message, compose, shown
from k2alert.notify.route import Receiver
from k2alert.notify.unreached import Who
from k2alert.record import Store, open_store
from tests.support.notified import MINUTE, World, item
from tests.support.wires import Waits, a_wire


@dataclass
class Pause:
    """A long pause in planning or composing: `reached` once it has begun, over when let `go`; it may fail then."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    fails: Exception | None = None


@dataclass
class Office:
    """A world whose messages are delivered by desks.

    `pauses` are made where the rows of these are planned, the one of `composing` where any message is composed.
    """

    world: World
    desks: Desks
    store: Store
    self_metrics: SelfMetrics
    waits: Waits
    pauses: dict[Who, Pause] = field(default_factory=dict)
    composing: Pause | None = None

    def due(self) -> tuple[Due, ...]:
        self.world.log = {entry.key: entry for entry in self.desks.log}
        return self.world.due()

    async def rows(self) -> dict[Who, PlanRow]:
        """What plans the row of each integration."""
        whom = {(receiver, one.name) for receiver, has in self.world.receivers.items() for one in has.integrations}
        return {who: partial(self._row, who) for who in sorted(whom)}

    async def _row(self, who: Who) -> list[Due]:
        row = [due for due in self.due() if (due.receiver, due.integration.name) == who]
        if who in self.pauses:
            self.pauses[who].reached.set()
            await self.pauses[who].go.wait()
        return row

    async def round(self, after: timedelta = MINUTE) -> None:
        """Plans, and begins to deliver, without waiting for it."""
        self.world.now += after
        self.desks.begin_round()
        await self.desks.begin()
        await asyncio.sleep(0)

    async def told(self, after: timedelta = MINUTE) -> None:
        """A round, and all its deliveries."""
        await self.round(after)
        await self.quiet()

    async def quiet(self) -> None:
        await self.desks.settle(timedelta(seconds=60))

    def entry(self, integration: str = "slack[0]") -> LogEntry:
        (found,) = (entry for entry in self.desks.log if entry.integration == integration)
        return found


@asynccontextmanager
async def an_office(
    folder: Path,
    receivers: dict[str, Receiver],
    *,
    within: timedelta = timedelta(seconds=30),
    allowed: Callable[[], bool] = lambda: True,
) -> AsyncIterator[Office]:
    """Everybody at their desks."""
    world = World(receivers=receivers)

    async def words(due: Due) -> Message:
        if office.composing is not None:
            office.composing.reached.set()
            await office.composing.go.wait()
            if office.composing.fails is not None:
                raise office.composing.fails
        return compose(due, [item(alert) for alert in shown(due)], now=world.now)

    store = open_store(f"sqlite:///{folder}/k2alert.db")
    self_metrics = SelfMetrics("test")
    self_metrics.declare(
        rules=(),
        sources=(),
        receivers=[(one.name, kind.kind) for one in receivers.values() for kind in one.integrations],
    )
    waits = Waits()
    async with aiohttp.ClientSession() as session:
        desks = Desks(
            store=store,
            wire=a_wire(session, within, waits, allowed),
            self_metrics=self_metrics,
            time=Time(
                now=lambda: world.now,
                monotonic=lambda: world.now.timestamp(),
                sleep=asyncio.sleep,
                random=lambda: 1.0,
            ),
            plan=lambda: office.rows(),
            compose=words,
        )
        office = Office(world, desks, store, self_metrics, waits)
        try:
            yield office
        finally:
            await desks.close(timedelta(seconds=0.1))
            await store.close()
