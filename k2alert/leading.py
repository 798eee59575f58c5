"""What only one process at a time may do: collect, make facts of webhooks, judge, store what follows, and tell.

In: the parts, already put together. Out: nothing but what they do, until it is to stop; then the round and the messages
in flight are finished, and whoever leads next finds everything in the store.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

from k2alert.collect.collector import Collector
from k2alert.collect.http import Time
from k2alert.expose.selfmetrics import SelfMetrics
from k2alert.inbox import KEEP, Inbox
from k2alert.loops import Work, repeat, run_together
from k2alert.memory import Memory
from k2alert.record.store import NotLeader, Store, StoreError
from k2alert.rounds import Rounds

__all__ = ["Leading", "SourceCounts"]

_LOG = logging.getLogger(__name__)

PRUNE_EVERY = timedelta(hours=1)
DELIVER_EVERY = timedelta(seconds=1)  # who asked to be left alone for a second is told after a second


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
        counts: SourceCounts,
        time: Time,
    ) -> None:
        self._memory = memory
        self._store = store
        self._collector = collector
        self._inbox = inbox
        self._rounds = rounds
        self._counts = counts
        self._time = time

    async def run(self, stop: asyncio.Event) -> None:
        """Leads until `stop` is set, and ends what is under way; memory must be as the store has it."""
        await run_together(
            {
                "collect": self._collector.run,
                "digest webhooks": self._inbox.digest,
                "evaluate": lambda: self._repeat(self._round, self._interval, stop, self._memory.facts_came),
                "deliver": lambda: self._deliver(stop),
                "prune": lambda: self._repeat(self._prune, lambda: PRUNE_EVERY, stop),
            },
            stop,
            finish=("evaluate", "deliver", "prune"),
        )

    async def _repeat(
        self, work: Work, every: Callable[[], timedelta], stop: asyncio.Event, wake: asyncio.Event | None = None
    ) -> None:
        await repeat(work, every, stop, monotonic=self._time.monotonic, wake=wake)

    def _interval(self) -> timedelta:
        return self._memory.config.evaluation_interval

    async def _round(self) -> None:
        await self._rounds.round()
        self._counts.carry_over()

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
