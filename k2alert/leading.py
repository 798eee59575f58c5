"""What only one process at a time may do: collect, make facts of webhooks, judge, store what follows, and tell.

In: the parts, already put together. Out: nothing but what they do, until it is to stop; then the round and the messages
in flight are finished, and whoever leads next finds everything in the store.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from k2alert.collect.collector import CannotRecord, Collector
from k2alert.collect.http import Time
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.garbage import leave_out
from k2alert.inbox import KEEP, Inbox
from k2alert.loops import Work, repeat, run_together
from k2alert.memory import Memory
from k2alert.record.store import Lease, NotLeader, Store, StoreError
from k2alert.rounds import Rounds

__all__ = ["Leading", "SourceCounts"]

_LOG = logging.getLogger(__name__)

PRUNE_EVERY = timedelta(hours=1)
HEAR_EVERY = timedelta(seconds=0.1)  # our own changes wake us, too
DELIVER_EVERY = timedelta(seconds=1)  # who asked to be left alone for a second is told after a second
DRAW_EVERY = timedelta(seconds=1)  # or at once, after a round; where drawing takes long, it rests for longer


class SourceCounts:
    """What the collector counts, carried over into our own metrics."""

    def __init__(self, collector: Collector, self_metrics: SelfMetrics) -> None:
        self._collector = collector
        self._self_metrics = self_metrics
        self._counted: dict[tuple[str, str, str], int] = {}

    def carry_over(self) -> None:
        """Adds what has been counted since the last time."""
        for source, stats in self._collector.stats().items():
            for (kind, code), number in stats.asked.requests.items():
                more = self._more(source, "asked", f"{kind} {code}", number)
                self._self_metrics.count_requests(source, kind, code, more)
            for reason, number in stats.refused.items():
                self._self_metrics.count_refused(source, reason, self._more(source, "refused", reason, number))
            self._self_metrics.set_source(
                source,
                remaining=stats.asked.rate_limit_remaining,
                success_at=stats.last_success,
                complete=stats.complete_until,
            )

    def _more(self, source: str, kind: str, word: str, number: int) -> int:
        """How many more there are of something than when it was last asked; a reconfigured source counts from zero."""
        before, self._counted[source, kind, word] = self._counted.get((source, kind, word), 0), number
        return number - before if number >= before else number


class Leading:
    """The work of the one that leads."""

    def __init__(
        self,
        *,
        memory: Memory,
        store: Store,
        collector: Collector,
        inbox: Inbox,
        rounds: Rounds,
        after_round: Callable[[], None],
        self_metrics: SelfMetrics,
        lease: Lease,
        time: Time,
        busy: Callable[[], float],
    ) -> None:
        """`busy` says for how many seconds the event loop's thread has worked: neighbours make no round long."""
        self._memory = memory
        self._store = store
        self._collector = collector
        self._inbox = inbox
        self._rounds = rounds
        self._after_round = after_round
        self._self_metrics = self_metrics
        self._lease = lease
        self._time = time
        self._busy = busy
        self._began = 0.0
        self._epoch = 0
        self._judged = self._drawn = False

    async def run(self, stop: asyncio.Event) -> None:
        """Leads until `stop` is set, and ends what is under way; memory must be as the store has it.

        Where it leads no more before that, everything is broken off at once, and memory must be filled anew.
        """
        self._began, self._epoch, self._judged = self._time.monotonic(), self._lease.epoch, False
        self._drawn = False
        _LOG.info("this replica leads", extra={"epoch": self._epoch})
        self._self_metrics.set_leader(True)
        self._inbox.look()  # others may have left some
        try:
            await self._run(stop)
        except NotLeader as error:
            await self._rounds.break_off()
            led = round(self._time.monotonic() - self._began, 3)
            _LOG.warning("this replica leads no more: %s", error, extra={"seconds": led})
        finally:
            self._self_metrics.set_leader(False)

    async def _run(self, stop: asyncio.Event) -> None:
        await run_together(
            {
                "hold the lease": self._hold,
                "hear the others": self._hear,
                "collect": self._collect,
                "digest webhooks": self._inbox.digest,
                "evaluate": lambda: self._repeat(self._round, self._interval, stop, self._memory.facts_came),
                "deliver": lambda: self._deliver(stop),
                "draw": lambda: self._repeat(self._draw, lambda: DRAW_EVERY, stop, self._rounds.pictures.undrawn),
                "prune": lambda: self._repeat(self._prune, lambda: PRUNE_EVERY, stop),
            },
            stop,
            finish=("evaluate", "deliver", "prune"),
        )

    async def _hold(self) -> None:
        while self._lease.epoch == self._epoch:
            await self._lease.changed()
        raise NotLeader("the lease is lost")

    async def _hear(self) -> None:
        """Webhooks and silences that others have kept."""
        while True:
            with suppress(StoreError):  # the rounds say so
                await self._store.wait_for_change(1.0)
                await self._rounds.hear()
            self._inbox.look()
            await self._time.sleep(HEAR_EVERY.total_seconds())

    async def _collect(self) -> None:
        while True:
            try:
                await self._collector.load()
                await self._memory.forget_departed(self._collector.project_states())
                await self._collector.run()
            except NotLeader:
                raise
            except (CannotRecord, StoreError) as error:
                _LOG.warning("cannot collect yet: %s", error)
                await self._time.sleep(1.0)

    async def _repeat(
        self, work: Work, every: Callable[[], timedelta], stop: asyncio.Event, wake: asyncio.Event | None = None
    ) -> None:
        await repeat(work, every, stop, monotonic=self._time.monotonic, wake=wake, busy=self._busy)

    def _interval(self) -> timedelta:
        return self._memory.config.evaluation_interval

    async def _round(self) -> None:
        await self._rounds.round()
        self._after_round()
        if not self._judged:
            self._judged = True
            leave_out()  # what the first round worked out of each series stays with it
            took = round(self._time.monotonic() - self._began, 3)
            _LOG.info("the first round of this reign is over", extra={"seconds": took})

    async def _draw(self) -> None:
        drawn = self._rounds.pictures.drawings
        await self._rounds.draw()
        if self._rounds.pictures.drawings > drawn and not self._drawn:
            self._drawn = True
            leave_out()  # so does what the first drawing worked out

    async def _deliver(self, stop: asyncio.Event) -> None:
        await self._repeat(self._rounds.deliver, lambda: DELIVER_EVERY, stop)
        await self._rounds.close()

    async def _prune(self) -> None:
        try:
            await self._memory.prune(self._time.now() - self._memory.config.retention)
            await self._store.drop_old_hooks(self._time.now() - KEEP)
        except NotLeader:
            raise
        except StoreError as error:
            _LOG.error("the store could not be pruned: %s", error)
