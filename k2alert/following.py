"""What a replica does while another one leads: it stays ready to take over at once, and shows what the leader shows.

In: what the leader records, by the store's changes. Out: the same board as the leader's, and each round a picture of
the same values, with the alerts as they are stored. Nothing is written and nobody is told.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

from k2alert.collect.collector import CannotRecord, Collector
from k2alert.collect.http import Time
from k2alert.loops import repeat, run_together
from k2alert.memory import Memory
from k2alert.record.store import Lease, Store, StoreError, Topic
from k2alert.rounds import Rounds

__all__ = ["Following"]

_LOG = logging.getLogger(__name__)

_LOOK = 1.0  # seconds: so long nobody need say that something has changed
_DROP_EVERY = timedelta(hours=1)  # as often as whoever leads prunes
_DOWN = (StoreError, CannotRecord)
_AGAIN = timedelta(seconds=0.5)  # until a store that is down is asked again


class Following:
    """Stands by. Memory must be as the store had it at some moment, before `run` and after every loss of the lease."""

    def __init__(
        self,
        *,
        memory: Memory,
        store: Store,
        collector: Collector,
        rounds: Rounds,
        after_round: Callable[[], None],
        lease: Lease,
        time: Time,
    ) -> None:
        self._memory = memory
        self._store = store
        self._collector = collector
        self._rounds = rounds
        self._after_round = after_round
        self._lease = lease
        self._time = time
        self._changed: set[Topic] = set(Topic)  # not yet read again

    async def run(self, stop: asyncio.Event) -> bool:
        """Stands by until this replica is to lead: True, and memory is as the store has it. False: `stop` was set."""
        self._changed = set(Topic)
        while not stop.is_set():
            await self._stand_by(stop)
            if not stop.is_set() and await self._take_over():
                return True
        return False

    async def _stand_by(self, stop: asyncio.Event) -> None:
        """Follows until the lease is won or `stop` is set."""
        over = asyncio.Event()
        await run_together(
            {
                "wait for the lease": lambda: _set_after(self._won, over),
                "wait for the stop": lambda: _set_after(stop.wait, over),
                "follow": self._follow,
                "let go of what is empty": lambda: repeat(
                    self._memory.drop_empty, lambda: _DROP_EVERY, over, monotonic=self._time.monotonic
                ),
                "look on": lambda: repeat(
                    self._look_on,
                    lambda: self._memory.config.evaluation_interval,
                    over,
                    monotonic=self._time.monotonic,
                    wake=self._memory.facts_came,
                ),
            },
            over,
        )

    async def _take_over(self) -> bool:
        """Reads to the end what others wrote; nobody else can write now. False where the lease was lost meanwhile."""
        while self._lease.holds():
            try:
                await self._catch_up()
                await self._collector.follow()
                await self._rounds.load()
                return self._lease.holds()  # all that may have taken long
            except _DOWN as error:
                _LOG.warning("cannot lead yet: %s", error)
                await self._time.sleep(_AGAIN.total_seconds())
        return False

    async def _won(self) -> None:
        while not self._lease.holds():
            await self._lease.changed()

    async def _follow(self) -> None:
        while True:
            try:
                await self._catch_up()
                await self._store.wait_for_change(_LOOK)
            except StoreError:  # the rounds say so
                await self._time.sleep(_AGAIN.total_seconds())

    async def _catch_up(self) -> None:
        setting = self._memory.setting
        changed = await self._memory.follow()
        self._changed |= changed
        if self._memory.setting is not setting:
            self._rounds.replace_setting(self._memory.setting)
        if changed:
            self._memory.facts_came.set()
        if Topic.SILENCES in changed:  # who makes one here and looks for it there need not wait for a round
            await self._rounds.hear()

    async def _look_on(self) -> None:
        with suppress(*_DOWN):  # so it will be with the next that is asked of it, which says so
            await self._read_again()
        await self._rounds.look_on()
        self._after_round()

    async def _read_again(self) -> None:
        changed, self._changed = self._changed, set()
        try:
            if Topic.PROJECTS in changed:
                await self._collector.follow()
            if changed - {Topic.PROJECTS}:
                await self._rounds.load()
        except BaseException:
            self._changed |= changed
            raise


async def _set_after(wait: Callable[[], Awaitable[object]], over: asyncio.Event) -> None:
    await wait()
    over.set()
